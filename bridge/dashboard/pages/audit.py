"""The audit log: who did or tried what at the desk; as a file; and its review, page by page, oldest first."""

from __future__ import annotations

import re
from enum import StrEnum

from flask import Blueprint, redirect, render_template, request, url_for

from bridge import reasons
from bridge.dashboard.entrance import EVERYBODY, Page, Visit, allowed
from bridge.dashboard.pages import asked, files
from bridge.desk import accesses, reviews
from bridge.errors import Invalid
from bridge.models import desk
from bridge.views import audit_log

room = Blueprint("audit", __name__, url_prefix="/ops")

SEE_OTHER, REFUSED = 303, 422
_PLACE = re.compile(r"([0-9]{1,19})-([0-9]{1,19})", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)


class Outcome(StrEnum):
    """How an access ended, or either way."""

    ANY = "any"
    DONE = desk.Outcome.DONE.value
    REFUSED = desk.Outcome.REFUSED.value


@room.get("/audit")
@allowed(*EVERYBODY)
def show(visit: Visit) -> Page:
    """A page of the log, newest first."""
    wanted = _wanted()
    told = audit_log.page(visit.runtime, visit.operator_id, wanted)
    return render_template(
        "desk/audit.html", told=told, wanted=wanted, outcomes=tuple(Outcome), kinds=accesses.KINDS, again=asked.again,
        by_command=accesses.COMMAND_LINE, most_counted=audit_log.MOST_COUNTED,
    )  # fmt: skip


@room.get("/audit.csv")
@allowed(*EVERYBODY)
def export(visit: Visit) -> Page:
    """All that is wanted of it as a file for a spreadsheet; that it was taken is written down."""
    lines = audit_log.lines(visit.runtime, visit.operator_id, _wanted())
    return files.taken(visit, "audit.csv", "audit.csv", lines)


@room.get("/audit/review")
@allowed(*EVERYBODY)
def unreviewed(visit: Visit) -> Page:
    """The oldest entries that nobody has reviewed, a page of them, and a form below to say that one has."""
    return _unreviewed(visit, {})


@room.post("/audit/review")
@allowed(*EVERYBODY)
def review(visit: Visit) -> Page:
    """Say that what was shown is reviewed, and what was found. A viewer may: whoever reviews need not act."""
    form = request.form
    up_to, shown = form.get("up_to", ""), form.get("shown", "")
    try:
        if not _NUMBER.fullmatch(up_to):
            raise Invalid(fields={"up_to": "is no entry of this log"})
        if not _NUMBER.fullmatch(shown):
            raise Invalid(fields={"shown": "says not how many entries were"})
        more = reviews.record(visit.runtime, visit.sitting, int(up_to), int(shown), form.get("reason", ""))
    except Invalid as refusal:
        return _unreviewed(visit, refusal.fields), REFUSED
    return redirect(url_for("audit.unreviewed" if more else "audit.show"), SEE_OTHER)


def _unreviewed(visit: Visit, wrong: dict[str, str]) -> str:
    told = audit_log.unreviewed(visit.runtime, visit.operator_id)
    return render_template(
        "desk/audit_review.html", told=told, by_command=accesses.COMMAND_LINE, most_counted=audit_log.MOST_COUNTED,
        wrong=wrong, reason=request.form.get("reason", ""), least=reasons.LEAST, most=reasons.MOST,
    )  # fmt: skip


def _wanted() -> audit_log.Wanted:
    outcome = asked.choice("outcome", Outcome, Outcome.ANY)
    return audit_log.Wanted(
        person=asked.word("person"),
        kind=asked.one_of("kind", accesses.KINDS),
        outcome=None if outcome is Outcome.ANY else outcome.value,
        subject=asked.word("subject"),
        since=asked.instant("since"),
        until=asked.instant("until"),
        before=_before(),
    )


def _before() -> tuple[int, int] | None:
    told = asked.word("before")
    if told is None:
        return None
    found = _PLACE.fullmatch(told)
    if found is None or max(int(found[1]), int(found[2])) >= 2**63:
        raise Invalid(fields={"before": "is no place in this log"})
    return int(found[1]), int(found[2])
