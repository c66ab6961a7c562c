"""The gate: coming in by password and code, or by a passkey; and leaving."""

from __future__ import annotations

from flask import Blueprint, make_response, redirect, render_template, request

from bridge.dashboard import cookies
from bridge.dashboard.entrance import EVERYBODY, Page, Visit, allowed, anybody, local
from bridge.desk import sittings
from bridge.runtime import Runtime

room = Blueprint("gate", __name__, url_prefix="/ops")


@room.get("/gate")
@anybody
def show(_runtime: Runtime) -> Page:
    """The form."""
    return render_template("desk/gate.html", next=local(request.args.get("next")), wrong={}, told={})


@room.post("/leave")
@allowed(*EVERYBODY)
def leave(visit: Visit) -> Page:
    """End the sitting, here and on the server."""
    sittings.leave(visit.runtime, visit.sitting)
    response = make_response(redirect("/ops/gate", 303))
    cookies.drop(response, cookies.SITTING)
    return response
