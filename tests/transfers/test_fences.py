"""The fences: one row, one lock, one owner; and what a database that fails after the call may not cause."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError, OperationalError

from bridge import db
from bridge.transfers import resolve, rows
from bridge.transfers.begin import FIRST_EPOCH
from tests.harness import Bench, Hands, strokes_seen
from tests.transfers.scripted import LOST, ScriptedProvider


def test_a_row_that_moved_since_it_was_read_is_not_changed(still: Bench) -> None:
    """I-10, C-30: an update made from what was read before somebody's move changes no row, even in the same state."""
    begun = still.begin(queued=True)
    assert begun.transfer_id is not None
    old = still.get(begun.transfer_id)
    with db.writing(still.runtime.engine) as connection:
        assert rows.update_transfer(connection, old, {"version": old.version + 1})
        assert not rows.update_transfer(connection, old, {"version": old.version + 2, "state": "reversed"})
    assert still.row(old.id)["version"] == old.version + 1
    assert still.row(old.id)["state"] == "pending"


def test_every_way_to_drive_a_transfer_takes_the_same_lock(
    still: Bench, hands: Hands, scripted: ScriptedProvider
) -> None:
    """C-32: API, resolver and refresh contend for one lease epoch of one row; who comes second gets nothing."""
    begun = still.begin()
    assert begun.transfer_id is not None
    assert still.row(begun.transfer_id)["lease_epoch"] == FIRST_EPOCH
    resolve.refresh(still.runtime, begun.transfer_id, hands.monotonic())
    assert resolve.claim_due(still.another().runtime, 10) == []
    assert scripted.requests == []

    hands.turn(60)
    (claim,) = resolve.claim_due(still.runtime, 10)
    assert claim.epoch == FIRST_EPOCH + 1
    resolve.refresh(still.another().runtime, begun.transfer_id, hands.monotonic())
    assert resolve.claim_due(still.another().runtime, 10) == []
    assert still.row(begun.transfer_id)["lease_epoch"] == FIRST_EPOCH + 1


@pytest.mark.parametrize("state", ["pending", "orphaned"])
def test_nothing_is_held_without_an_end(still: Bench, state: str) -> None:
    """C-27, I-17: the database refuses an open transfer without a wake-up time, and any without an end of patience."""
    begun = still.begin(queued=True)
    for change in ({"wake_at": None, "state": state}, {"orphan_at": None}):
        with pytest.raises(IntegrityError), db.writing(still.runtime.engine) as connection:
            table = rows.transfer_table
            connection.execute(table.update().where(table.c.id == begun.transfer_id).values(**change))
    assert still.row(str(begun.transfer_id))["wake_at"] is not None


@contextmanager
def answers_not_stored(bench: Bench, scripted: ScriptedProvider, after: str, times: int) -> Iterator[None]:
    """A database that is locked, so many times, whenever the answer to this request is to be written."""
    engine, failing = bench.runtime.engine, {"left": times}

    def fails(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        answered = bool(scripted.requests) and scripted.requests[-1][0] == after
        if failing["left"] and answered and "INSERT INTO evidence" in statement:
            failing["left"] -= 1
            raise OperationalError(statement, {}, Exception("database is locked"))

    event.listen(engine, "before_cursor_execute", fails)
    with strokes_seen(lambda text: fails(None, None, text)):
        yield
    event.remove(engine, "before_cursor_execute", fails)
    assert failing["left"] == 0


@pytest.mark.parametrize("direction", ["in", "out"])
@pytest.mark.parametrize(("after", "times"), [("prepare", 1), ("complete", 2)])
def test_a_database_that_fails_after_the_call_does_not_call_again(
    still: Bench, scripted: ScriptedProvider, direction: str, after: str, times: int
) -> None:
    """C-04: locked or serialization failure once the answer is there: the call is not made again by itself, and the
    transfer ends by what the provider did, once. The end of a transfer is tried twice: at a stroke and the long way."""
    with answers_not_stored(still, scripted, after, times), pytest.raises(OperationalError):
        still.run(direction)
    sent = [operation for operation, _ in scripted.requests]
    assert sent == (["prepare"] if after == "prepare" else ["prepare", "complete"])

    for _ in range(60):
        still.runtime.clock.sleep(1)
        still.resolve_due()
    (row,) = still.rows("SELECT state FROM transfer")
    completes = [record.state for record in scripted.records.values()].count("COMPLETED")
    assert (row["state"], completes) == (("reversed", 0) if after == "prepare" else ("confirmed", 1))
    assert [operation for operation, _ in scripted.requests].count("complete") == completes
    still.audit()


@pytest.mark.parametrize("direction", ["in", "out"])
def test_an_end_that_fails_once_is_stored_the_long_way(
    still: Bench, scripted: ScriptedProvider, direction: str
) -> None:
    """C-04: the answer that ends a transfer is still in hand when the database fails; it is stored, and nobody asks."""
    with answers_not_stored(still, scripted, "complete", 1):
        still.run(direction)
    (row,) = still.rows("SELECT state FROM transfer")
    assert row["state"] == "confirmed"
    assert [operation for operation, _ in scripted.requests] == ["prepare", "complete"]
    assert [record.state for record in scripted.records.values()] == ["COMPLETED"]
    still.audit()


def test_lost_answers_ask_before_they_complete_again(still: Bench, scripted: ScriptedProvider) -> None:
    """C-04, C-01: after a lost answer to a complete the next request on the wire is a look-up."""
    scripted.script = ["ok", LOST]
    still.run("in", ask=5)
    assert [operation for operation, _ in scripted.requests] == ["prepare", "complete", "look_up"]
