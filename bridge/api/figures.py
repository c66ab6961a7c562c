"""Figures for Prometheus. They are about all operators, so no operator's key opens them, but a token of their own."""

from __future__ import annotations

import hmac
from typing import Any

from flask import Response, g, request
from flask_openapi.blueprint import APIBlueprint

from bridge import log, metrics
from bridge.api.answers import document
from bridge.api.intake.admission import runtime_of_app
from bridge.errors import NotFound, Unauthorized, Unavailable
from bridge.runtime import Runtime

room = APIBlueprint("figures", __name__, abp_tags=[document.HEALTH])

UNKNOWN_ROUTE, UNKNOWN_METHOD = "unknown", "other"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_BEARER = "Bearer "
_log = log.get("figures")


@room.get(
    "/metrics",
    responses={
        200: {"description": "The figures, as text.", "content": {"text/plain": {"schema": {"type": "string"}}}},
        **{status: document.problem(status) for status in (401, 404, 500, 503)},
    },
    security=document.BEARER,
)
def show_figures() -> Response:
    """Every figure in Prometheus's text format, for whoever sends `metrics.token`."""
    runtime = runtime_of_app()
    given = request.headers.get("Authorization", "")
    if not hmac.compare_digest(given.encode(), f"{_BEARER}{_expected(runtime)}".encode()):
        raise Unauthorized("Send `Authorization: Bearer` with `metrics.token` of this bridge's configuration.")
    return Response(metrics.exposition(runtime), content_type=metrics.CONTENT_TYPE)


def _expected(runtime: Runtime) -> str:
    try:
        token = runtime.config.metrics.expected()
    except (OSError, ValueError) as ours:
        _log.error("metrics.token cannot be read", error=type(ours).__name__)
        raise Unavailable(after_seconds=60) from ours
    if token is None:
        raise NotFound("This bridge has no `metrics.token`: it shows its figures to nobody.")
    return token


def begun() -> None:
    """A request has arrived; its time runs."""
    g.began = runtime_of_app().clock.monotonic()


def ended(response: Response) -> Response:
    """Count the request, by its route as it is declared: nothing that a client makes up may make a series. What is
    wrong with the counting changes no answer: money may have moved."""
    began: Any = g.get("began")
    if began is None:
        return response
    try:
        route = UNKNOWN_ROUTE if request.url_rule is None else request.url_rule.rule
        method = request.method if request.method in METHODS else UNKNOWN_METHOD
        metrics.request_ended(method, route, response.status_code, runtime_of_app().clock.monotonic() - began)
    except Exception:  # noqa: BLE001 - whatever it is: it is only counted
        _log.exception("request not counted")
    return response
