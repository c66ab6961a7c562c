"""The audit log: who did or tried what at the desk."""

from __future__ import annotations

import re
from enum import StrEnum

from flask import Blueprint, render_template

from bridge.dashboard.entrance import EVERYBODY, Page, Visit, allowed
from bridge.dashboard.pages import asked
from bridge.errors import Invalid
from bridge.views import audit_log

room = Blueprint("audit", __name__, url_prefix="/ops")

_PLACE = re.compile(r"([0-9]{1,19})-([0-9]{1,19})", re.ASCII)


class Outcome(StrEnum):
    """How an access ended, or either way."""

    ANY = "any"
    DONE = audit_log.DONE
    REFUSED = audit_log.REFUSED


@room.get("/audit")
@allowed(*EVERYBODY)
def show(visit: Visit) -> Page:
    """A page of the log, newest first."""
    outcome = asked.choice("outcome", Outcome, Outcome.ANY)
    wanted = audit_log.Wanted(
        person=asked.word("person"),
        kind=asked.word("kind"),
        outcome=None if outcome is Outcome.ANY else outcome.value,
        subject=asked.word("subject"),
        since=asked.instant("since"),
        until=asked.instant("until"),
        before=_before(),
    )
    told = audit_log.page(visit.runtime, visit.operator_id, wanted)
    return render_template("desk/audit.html", told=told, wanted=wanted, outcomes=tuple(Outcome), again=asked.again)


def _before() -> tuple[int, int] | None:
    told = asked.word("before")
    if told is None:
        return None
    found = _PLACE.fullmatch(told)
    if found is None or max(int(found[1]), int(found[2])) >= 2**63:
        raise Invalid(fields={"before": "is no place in this log"})
    return int(found[1]), int(found[2])
