"""The people of an operator, for its admins: invite, give roles, vouch, unlock, disable; and what each has done."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, redirect, render_template, request

from bridge import db, reasons
from bridge.dashboard import origin
from bridge.dashboard.entrance import ADMINS, Page, Visit, allowed
from bridge.desk import accesses, invitations, people, rows
from bridge.errors import Conflict, Invalid
from bridge.models.desk import InvitationKind, PersonState, Role

room = Blueprint("people", __name__, url_prefix="/ops")

NOTES = 100
"""So many of the last notes about a person are shown."""

_BOUNDS = {"least": reasons.LEAST, "most": reasons.MOST}


@room.get("/people")
@allowed(*ADMINS)
def show(visit: Visit) -> Page:
    """Everybody of this operator."""
    return _list(visit)


@room.post("/people")
@allowed(*ADMINS, proved=True)
def invite(visit: Visit) -> Page:
    """Somebody new; the link by which they join is shown once."""
    form = request.form
    told = {"login": form.get("login", ""), "name": form.get("name", ""), "role": form.get("role", "")}
    shown = {**told, "reason": form.get("reason", "")}
    try:
        made = people.add(visit.runtime, _by(visit), visit.operator_id, **told)
    except Invalid as refusal:
        return _list(visit, refusal.fields, shown), 422
    except Conflict as refusal:
        return _list(visit, refusal.fields, shown), 409
    return _link(visit, *made)


@room.get("/people/<person_id>")
@allowed(*ADMINS)
def show_one(visit: Visit, person_id: str) -> Page:
    """One person, what can be done about them, and what they did."""
    return _one(visit, person_id, {})


def _one(visit: Visit, person_id: str, wrong: dict[str, str]) -> str:
    with db.reading(visit.runtime.engine) as connection:
        row = rows.one(connection, visit.operator_id, person_id)
        notes = accesses.about(connection, visit.operator_id, person_id, NOTES)
        waits = invitations.is_open(connection, person_id, visit.runtime.clock.now())
    own, vouched = visit.person.id, rows.is_vouched(row)
    is_theirs = own in (row["made_by"], row["id"])
    return render_template(
        "desk/person.html", row=row, notes=notes, roles=tuple(Role), own=own, vouched=vouched, seen=people.mark(row),
        may_vouch=row["state"] == PersonState.ACTIVE and not (vouched or waits or is_theirs), wrong=wrong,
        reason=request.form.get("reason", ""), role=request.form.get("role", row["role"]), **_BOUNDS,
    )  # fmt: skip


@room.post("/people/<person_id>/role")
@allowed(*ADMINS, proved=True)
def give_role(visit: Visit, person_id: str) -> Page:
    """Another role."""
    role = request.form.get("role", "")
    return _done(visit, person_id, lambda by: people.give_role(visit.runtime, by, visit.operator_id, person_id, role))


@room.post("/people/<person_id>/link")
@allowed(*ADMINS, proved=True)
def make_link(visit: Visit, person_id: str) -> Page:
    """A new link, shown once."""
    try:
        kind = InvitationKind(request.form.get("kind", ""))
    except ValueError:
        raise Invalid(fields={"kind": f"must be one of {', '.join(InvitationKind)}"}) from None
    return _done(visit, person_id, lambda by: people.link(visit.runtime, by, visit.operator_id, person_id, kind))


@room.post("/people/<person_id>/vouch")
@allowed(*ADMINS, proved=True)
def vouch(visit: Visit, person_id: str) -> Page:
    """Stand for somebody whom another admin has made, as they were shown."""
    seen = request.form.get("seen", "")
    return _done(visit, person_id, lambda by: people.vouch(visit.runtime, by, visit.operator_id, person_id, seen))


@room.post("/people/<person_id>/disable")
@allowed(*ADMINS, proved=True)
def disable(visit: Visit, person_id: str) -> Page:
    """Let somebody in no more."""
    return _done(visit, person_id, lambda by: people.disable(visit.runtime, by, visit.operator_id, person_id))


@room.post("/people/<person_id>/enable")
@allowed(*ADMINS, proved=True)
def enable(visit: Visit, person_id: str) -> Page:
    """Let somebody in again."""
    return _done(visit, person_id, lambda by: people.enable(visit.runtime, by, visit.operator_id, person_id))


def _done(visit: Visit, person_id: str, change: Callable[[people.Actor], str | None]) -> Page:
    """Change something about a person, and show them, or the link that it came to; what was typed stays where a field
    is refused."""
    try:
        token = change(_by(visit))
    except Invalid as refusal:
        return _one(visit, person_id, refusal.fields), 422
    return redirect(f"/ops/people/{person_id}", 303) if token is None else _link(visit, person_id, token)


def _by(visit: Visit) -> people.Actor:
    return people.by_admin(visit.sitting, request.form.get("reason", ""))


def _list(visit: Visit, wrong: dict[str, str] | None = None, told: dict[str, str] | None = None) -> str:
    listed = people.listed(visit.runtime, visit.operator_id)
    vouched = {row["id"]: rows.is_vouched(row) for row in listed}
    told = {"login": "", "name": "", "role": Role.VIEWER.value, "reason": "", **(told or {})}
    return render_template(
        "desk/people.html", people=listed, vouched=vouched, roles=tuple(Role), wrong=wrong or {}, told=told, **_BOUNDS
    )


def _link(visit: Visit, person_id: str, token: str) -> str:
    address = f"{origin.for_links(visit.runtime)}/ops/link/{token}"
    hours = visit.runtime.config.desk.invitation_hours
    return render_template("desk/link.html", address=address, person_id=person_id, hours=hours)
