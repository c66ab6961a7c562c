"""Reviews of the audit log: who has looked through it, when, up to which entry, and what they found (GLI-19 B.6.5).

A review is a note like any other: it is never changed, and it is sealed. What it covers goes by the numbers of entries.
"""

from __future__ import annotations

from bridge import db, log, reasons
from bridge.desk import accesses, sittings
from bridge.desk.sittings import Sitting
from bridge.errors import Conflict, Invalid
from bridge.models.desk import Outcome
from bridge.runtime import Runtime
from bridge.views import audit_log
from bridge.views.amounts import clock_time

_log = log.get("desk")


def record(runtime: Runtime, sitting: Sitting, up_to: int, found: str) -> None:
    """Note that a person has reviewed their operator's log up to an entry, and what they found. Raises Unauthorized,
    Invalid naming the field, Conflict where it is reviewed that far already."""
    finding = reasons.stated(found)
    with db.writing(runtime.engine) as connection:
        person = sittings.still(connection, runtime, sitting)
        at = audit_log.entry_at(connection, person.operator_id, up_to)
        if at is None:
            raise Invalid(fields={"up_to": "is no entry of this log"})
        last = audit_log.last_review(connection, person.operator_id)
        behind = 0 if last is None else last.up_to
        if up_to <= behind:
            raise Conflict(f"It is reviewed up to entry {behind} already.", code="reviewed")
        entries = audit_log.between(connection, person.operator_id, behind, up_to)
        accesses.note(
            connection, runtime, kind="review", outcome=Outcome.DONE, person=person, subject=audit_log.LOG,
            reason=finding, before=f"up to entry {behind}" if behind else None,
            after=f"up to entry {up_to} of {clock_time(at)}, {entries} since the review before",
            address=sitting.address,
        )  # fmt: skip
    _log.info("audit log reviewed", person=person.id, up_to=up_to)
