"""The providers: what each promises, how it does, and the switch that closes it for transfers in."""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, request, url_for

from bridge import reasons
from bridge.dashboard.entrance import EVERYBODY, Page, Visit, allowed
from bridge.desk import switches
from bridge.desk.rows import PROPOSERS
from bridge.views import providers

room = Blueprint("providers", __name__, url_prefix="/ops")

SEE_OTHER = 303


@room.get("/providers")
@allowed(*EVERYBODY)
def show(visit: Visit) -> Page:
    """All of them."""
    lines = providers.listed(visit.runtime, visit.operator_id)
    return render_template("desk/providers.html", lines=lines, now=visit.runtime.clock.now())


@room.get("/providers/<name>")
@allowed(*EVERYBODY)
def one(visit: Visit, name: str) -> Page:
    """One of them."""
    told = providers.page(visit.runtime, visit.operator_id, name)
    may_switch = visit.person.role in PROPOSERS
    seen = "" if told.door.closed is None else switches.mark(told.door.closed)
    return render_template(
        "desk/provider.html", told=told, may_switch=may_switch, seen=seen, least=reasons.LEAST,
        longest=reasons.MOST,
    )  # fmt: skip


@room.post("/providers/<name>/pause")
@allowed(*PROPOSERS, proved=True)
def pause(visit: Visit, name: str) -> Page:
    """Close it for transfers in."""
    switches.pause(visit.runtime, visit.sitting, name, request.form.get("reason", ""))
    return redirect(url_for("providers.one", name=name), SEE_OTHER)


@room.post("/providers/<name>/resume")
@allowed(*PROPOSERS, proved=True)
def resume(visit: Visit, name: str) -> Page:
    """Open it again."""
    told = request.form
    switches.resume(visit.runtime, visit.sitting, name, told.get("reason", ""), told.get("seen", ""))
    return redirect(url_for("providers.one", name=name), SEE_OTHER)
