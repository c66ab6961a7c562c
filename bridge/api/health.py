"""Health: does the process serve, and should requests be sent to it. No key, and nothing of any tenant."""

from __future__ import annotations

from flask import Response
from flask_openapi.blueprint import APIBlueprint

from bridge.api.answers import document, replies
from bridge.api.answers.views import Health, Readiness, Trouble
from bridge.api.intake.admission import runtime_of_app
from bridge.troubles import found_wrong

room = APIBlueprint("health", __name__, abp_tags=[document.HEALTH])


@room.get("/healthz", responses={200: document.success(Health), 500: document.problem(500)})
def healthz() -> Response:
    """The process serves."""
    return replies.show(Health("ok"))


@room.get(
    "/readyz",
    responses={200: document.success(Readiness), 503: document.success(Readiness), 500: document.problem(500)},
)
def readyz() -> Response:
    """Whether this process can do its work: 200, or 503 with the list of what is wrong."""
    wrong = [Trouble(each.check, each.detail) for each in found_wrong(runtime_of_app())]
    body = replies.text(Readiness("unready" if wrong else "ready", wrong))
    return Response(body, 503 if wrong else 200, content_type=replies.JSON)
