"""Where a link leads that lets somebody in once: joining, choosing everything anew, coming in again after a lock."""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, request

from bridge.dashboard import cookies, origin
from bridge.dashboard.entrance import Page, anybody
from bridge.dashboard.gate import seated
from bridge.desk import codes, doorkeeper, entering, invitations
from bridge.desk.invitations import Invited
from bridge.errors import Invalid
from bridge.models.desk import InvitationKind
from bridge.runtime import Runtime

room = Blueprint("links", __name__, url_prefix="/ops")


@room.get("/link/<token>")
@anybody
def show(runtime: Runtime, token: str) -> Page:
    """What a link is for; looking at it does not use it."""
    doorkeeper.knock(runtime, origin.address(runtime))
    return _form(runtime, invitations.look(runtime, token))


@room.post("/link/<token>")
@anybody
def use(runtime: Runtime, token: str) -> Page:
    """A link is used."""
    invited, form = invitations.look(runtime, token), request.form
    told = {"password": form.get("password", ""), "code": form.get("code", ""), "address": origin.address(runtime),
            "instead_of": request.cookies.get(cookies.SITTING, "")}  # fmt: skip
    try:
        if invited.kind == InvitationKind.UNLOCK:
            return seated(invitations.unlock(runtime, invited, **told).token, redirect("/ops", 303))
        if told["password"] != form.get("again", ""):
            raise Invalid(fields={"again": "is not the same"})
        doorkeeper.knock(runtime, told["address"])
        joined = invitations.join(runtime, invited, offered=form.get("offered", ""), **told)
    except Invalid as refusal:
        return _form(runtime, invited, wrong=refusal.fields), 422
    except entering.NotLetIn as refusal:
        return _form(runtime, invited, trouble=refusal.detail), 403
    return seated(joined.token, render_template("desk/recovery.html", codes=joined.recovery, joined=True))


def _form(runtime: Runtime, invited: Invited, *, wrong: dict[str, str] | None = None, trouble: str = "") -> str:
    if invited.kind == InvitationKind.UNLOCK:
        return render_template("desk/unlock.html", invited=invited, wrong=wrong or {}, trouble=trouble)
    seed, offered = invitations.offer(runtime, invited)
    enrolment = codes.enrolment(seed, invited.login)
    return render_template(
        "desk/join.html", invited=invited, seed=seed, offered=offered, enrolment=enrolment, wrong=wrong or {}
    )
