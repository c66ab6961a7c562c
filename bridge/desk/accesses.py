"""Every access to the desk, made or refused, is noted for ever."""

from __future__ import annotations

from sqlalchemy import Connection, Table, insert

from bridge import models
from bridge.desk.people import Person
from bridge.runtime import Runtime

_note: Table = models.metadata.tables["access_note"]


def note(
    connection: Connection,
    runtime: Runtime,
    *,
    kind: str,
    outcome: str,
    person: Person | None = None,
    login: str | None = None,
    operator_id: int | None = None,
    subject: str | None = None,
    reason: str | None = None,
    before: str | None = None,
    after: str | None = None,
    address: str,
) -> None:
    """Note one access in the caller's transaction."""
    row = {
        "at": runtime.clock.now(),
        "operator_id": person.operator_id if person is not None else operator_id,
        "person_id": person.id if person is not None else None,
        "login": login,
        "kind": kind,
        "outcome": outcome,
        "subject": subject,
        "reason": reason,
        "before": before,
        "after": after,
        "address": address,
    }
    connection.execute(insert(_note).values(**row))
