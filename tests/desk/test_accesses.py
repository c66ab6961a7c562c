"""How the notes about one person are found among those of everybody."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import event

from bridge import db
from bridge.desk import accesses
from bridge.models.desk import Outcome
from tests.desk.crew import ADDRESS
from tests.desk.stand import STRANGER, Desk


def written(desk: Desk, who: str, subject: str | None, **told: Any) -> None:
    """A note of what somebody did, or had done to them."""
    with db.writing(desk.runtime.engine) as connection:
        accesses.note(connection, desk.runtime, kind="role", outcome=Outcome.DONE, person=desk.people[who],
                      subject=subject, address=ADDRESS, **told)  # fmt: skip
    desk.hands.turn(1)


def about(desk: Desk, who: str, limit: int) -> list[int]:
    """The numbers of the notes about somebody, as their page shows them."""
    person = desk.people[who]
    with db.reading(desk.runtime.engine) as connection:
        return [row["id"] for row in accesses.about(connection, desk.operator, person.id, limit)]


def test_what_a_person_did_and_what_was_done_to_them(desk: Desk) -> None:
    """Newest first, each once, no more than asked for, and nothing that another operator's people did or typed."""
    ann = desk.people["viewer"].id
    for who, subject in (("viewer", None), ("admin", ann), ("operator", None), (STRANGER, ann), ("viewer", ann),
                         ("admin", desk.people["operator"].id), ("admin", ann)):  # fmt: skip
        written(desk, who, subject)
    first = desk.rows("SELECT MIN(id) AS id FROM access_note")[0]["id"]
    assert about(desk, "viewer", 10) == [first + place for place in (6, 4, 1, 0)]
    assert about(desk, "viewer", 3) == [first + place for place in (6, 4, 1)]
    assert about(desk, STRANGER, 10) == []


def test_no_page_of_a_person_reads_the_notes_of_everybody(desk: Desk) -> None:
    """By an index of the person and one of the subject, in its order: an operator has years of notes of others."""
    asked: list[tuple[str, Any]] = []

    def before(_connection: Any, _cursor: Any, statement: str, told: Any, *_: Any) -> None:
        asked.append((statement, told))

    event.listen(desk.runtime.engine, "before_cursor_execute", before)
    try:
        about(desk, "viewer", 10)
    finally:
        event.remove(desk.runtime.engine, "before_cursor_execute", before)
    found = [(statement, told) for statement, told in asked if "access_note" in statement]
    explain = "EXPLAIN QUERY PLAN " if desk.runtime.engine.dialect.name == "sqlite" else "EXPLAIN "
    with db.reading(desk.runtime.engine) as connection:
        if explain == "EXPLAIN ":  # an empty table is read as a whole unless it must not be
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        plans = [" ".join(str(row[-1]) for row in connection.exec_driver_sql(explain + statement, told))
                 for statement, told in found]  # fmt: skip
    assert [re.findall(r"ix_access_note_(\w+?)(?: |$)", plan) for plan in plans] == [["person_id_at"], ["subject"]]
    assert [plan for plan in plans if "TEMP B-TREE" in plan] == []
