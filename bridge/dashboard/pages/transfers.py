"""One transfer: where its money is, why, and what can be done about it."""

from __future__ import annotations

from flask import Blueprint, render_template

from bridge.dashboard.entrance import EVERYBODY, Page, Visit, allowed
from bridge.dashboard.pages import proposing
from bridge.desk.rows import PROPOSERS
from bridge.views import transfer

room = Blueprint("transfer", __name__, url_prefix="/ops")


@room.get("/transfers/<transfer_id>")
@allowed(*EVERYBODY)
def show(visit: Visit, transfer_id: str) -> Page:
    """The page."""
    return render_template("desk/transfer.html", **_read(visit, transfer_id))


@room.get("/transfers/<transfer_id>/part")
@allowed(*EVERYBODY)
def part(visit: Visit, transfer_id: str) -> Page:
    """What on it changes."""
    return render_template("desk/transfer_part.html", **_read(visit, transfer_id))


def _read(visit: Visit, transfer_id: str) -> dict[str, object]:
    told = transfer.page(visit.runtime, visit.operator_id, transfer_id)
    options = proposing.options(visit, transfer_id) if told.proposal is None else []
    return {"told": told, "options": options, "may_propose": visit.person.role in PROPOSERS}
