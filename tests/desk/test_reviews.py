"""Reviews of the audit log by several people at once, each in a transaction of its own."""

from __future__ import annotations

from threading import Barrier, BrokenBarrierError, Event
from typing import Any

import pytest
from sqlalchemy import event

from bridge import db
from bridge.desk import accesses, reviews
from bridge.errors import Conflict, Invalid
from bridge.models.desk import Outcome
from bridge.views import audit_log
from tests.desk import crew
from tests.desk.crew import ADDRESS
from tests.desk.stand import Desk
from tests.harness import together

FOUND = "nothing but what I know of"


def written(desk: Desk, number: int) -> list[int]:
    """So many new entries of the log; the numbers of all there are."""
    with db.writing(desk.runtime.engine) as connection:
        for _ in range(number):
            accesses.note(connection, desk.runtime, kind="access", outcome=Outcome.REFUSED, operator_id=desk.operator,
                          address=ADDRESS)  # fmt: skip
    query = "SELECT id FROM access_note WHERE operator_id = :operator ORDER BY id"
    return [row["id"] for row in desk.rows(query, operator=desk.operator)]


@pytest.mark.parametrize("later", ["fewer", "more"])
def test_two_who_review_at_once(desk: Desk, later: str) -> None:
    """GLI-19 B.6.5: two have read how far the log is reviewed before either has written: no review is taken back by one
    that saw less, whichever is the later. Each begins where the one before it ended, so one of the two looks again."""
    ids = written(desk, 8)
    seats = {who: crew.seat(desk.runtime, crew.person(desk.runtime, desk.people[who].id))[1]
             for who in ("admin", "viewer")}  # fmt: skip
    wishes = {"more": (seats["admin"], ids[7], 8), "fewer": (seats["viewer"], ids[2], 3)}
    at_once, first_is_done = Barrier(2), Event()

    def before(_connection: Any, _cursor: Any, statement: str, told: Any, *_: Any) -> None:
        """Whoever is about to write waits for the other, who may wait for a lock, and `later` for the end of it."""
        if not statement.startswith("INSERT INTO access_note"):
            return
        try:
            at_once.wait(1)
        except BrokenBarrierError:
            return
        if wishes[later][0].person.id in (told.values() if isinstance(told, dict) else told):
            first_is_done.wait(5)

    def review(number: int) -> bool:
        sitting, up_to, shown = wishes[("fewer", "more")[number]]
        try:
            return reviews.record(desk.runtime, sitting, up_to, shown, FOUND)
        finally:
            first_is_done.set()

    event.listen(desk.runtime.engine, "before_cursor_execute", before)
    try:
        results = together(2, review)
    finally:
        event.remove(desk.runtime.engine, "before_cursor_execute", before)
    (refused,) = [each for each in results if isinstance(each, Exception)]
    assert isinstance(refused, Conflict | Invalid)
    with db.reading(desk.runtime.engine) as connection:
        last = audit_log.last_review(connection, desk.operator)
    (note,) = desk.notes("review")
    assert last is not None
    assert last.up_to == (ids[2] if isinstance(refused, Invalid) else ids[7])
    assert note["after"].startswith(f"up to entry {last.up_to} of ")
    assert note["after"].endswith(f", {ids.index(last.up_to) + 1} since the review before")


def test_a_review_says_whether_others_are_left(desk: Desk) -> None:
    """GLI-19 B.6.5: the note of a review is an entry like any other, for the next one, and none that it left itself."""
    ids = written(desk, 5)
    sitting = crew.seat(desk.runtime, crew.person(desk.runtime, desk.people["viewer"].id))[1]
    assert reviews.record(desk.runtime, sitting, ids[2], 3, FOUND)
    assert not reviews.record(desk.runtime, sitting, written(desk, 0)[-1], 3, FOUND)
