"""A person's own account, and proving in the middle of a sitting that it is still they who sit there."""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, request

from bridge.dashboard.entrance import EVERYBODY, PROOF, Page, Visit, allowed, local
from bridge.desk import proving
from bridge.errors import Invalid

room = Blueprint("account", __name__, url_prefix="/ops")


@room.get("/account")
@allowed(*EVERYBODY)
def show(visit: Visit) -> Page:
    """Who one is here."""
    return render_template("desk/account.html", person=visit.person)


@room.get("/prove")
@allowed(*EVERYBODY)
def prove(_visit: Visit) -> Page:
    """The page that asks for a code, and goes back to where it was wanted."""
    return _asked(local(request.args.get("next")))


@room.post("/prove")
@allowed(*EVERYBODY)
def proved(visit: Visit) -> Page:
    """A code has come."""
    wanted = local(request.form.get("next"))
    try:
        proving.by_code(visit.runtime, visit.sitting, request.form.get(PROOF, ""))
    except Invalid as refusal:
        return _asked(wanted, refusal.fields["code"]), 422
    return redirect(wanted, 303)


def _asked(wanted: str, wrong: str = "") -> str:
    carried = [("next", wanted)]
    return render_template("desk/prove.html", action="/ops/prove", carried=carried, wrong=wrong, field=PROOF)
