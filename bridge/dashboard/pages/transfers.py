"""One transfer: where its money is, why, and what can be done about it."""

from __future__ import annotations

from flask import Blueprint, render_template

from bridge.dashboard.entrance import EVERYBODY, Page, Visit, allowed
from bridge.views import transfer

room = Blueprint("transfer", __name__, url_prefix="/ops")


@room.get("/transfers/<transfer_id>")
@allowed(*EVERYBODY)
def show(visit: Visit, transfer_id: str) -> Page:
    """The page."""
    told = transfer.page(visit.runtime, visit.operator_id, transfer_id)
    return render_template("desk/transfer.html", told=told)


@room.get("/transfers/<transfer_id>/part")
@allowed(*EVERYBODY)
def part(visit: Visit, transfer_id: str) -> Page:
    """What on it changes."""
    told = transfer.page(visit.runtime, visit.operator_id, transfer_id)
    return render_template("desk/transfer_part.html", told=told)
