"""Reviews of the audit log: who has looked through it, when, up to which entry, and what they found (GLI-19 B.6.5).

A review is a note like any other: it is never changed, and it is sealed. What it covers goes by the numbers of entries.
"""

from __future__ import annotations

from sqlalchemy import Connection, Table, select

from bridge import db, log, models, reasons
from bridge.desk import accesses, sittings
from bridge.desk.sittings import Sitting
from bridge.errors import Conflict, Invalid
from bridge.models.desk import Outcome
from bridge.runtime import Runtime
from bridge.views import audit_log
from bridge.views.amounts import clock_time

_operator: Table = models.metadata.tables["operator"]

_log = log.get("desk")


def record(runtime: Runtime, sitting: Sitting, up_to: int, shown: int, found: str) -> bool:
    """Note that a person has reviewed the oldest entries of their operator's log that nobody had, up to one, and what
    they found; whether others are left. `shown`: so many entries stood before them.

    Raises Unauthorized; Invalid naming the field, also where more stand up to there than were shown; Conflict where it
    is reviewed that far already."""
    finding = reasons.stated(found)
    with db.writing(runtime.engine) as connection:
        person = sittings.still(connection, runtime, sitting)
        _take_turn(connection, person.operator_id)
        at = audit_log.entry_at(connection, person.operator_id, up_to)
        if at is None:
            raise Invalid(fields={"up_to": "is no entry of this log"})
        behind = audit_log.reviewed_to(audit_log.last_review(connection, person.operator_id))
        if up_to <= behind:
            raise Conflict(f"It is reviewed up to entry {behind} already.", code="reviewed")
        entries, shown = audit_log.between(connection, person.operator_id, behind, up_to), min(shown, audit_log.PAGE)
        if entries != shown:
            why = f"takes in {entries} entries that nobody has reviewed, and {shown} were shown: look again"
            raise Invalid(fields={"up_to": why})
        left = audit_log.behind(connection, person.operator_id, up_to)
        accesses.note(
            connection, runtime, kind="review", outcome=Outcome.DONE, person=person, subject=audit_log.LOG,
            reason=finding, before=f"up to entry {behind}" if behind else None,
            after=f"up to entry {up_to} of {clock_time(at)}, {entries} since the review before",
            address=sitting.address,
        )  # fmt: skip
    _log.info("audit log reviewed", person=person.id, up_to=up_to)
    return left > 0


def _take_turn(connection: Connection, operator_id: int) -> None:
    """Reviews of one log are made one after the other: each begins where the one before it has ended."""
    query = select(_operator.c.id).where(_operator.c.id == operator_id)
    connection.execute(query.with_for_update(key_share=True))
