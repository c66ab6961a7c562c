"""The sequence of an operator's events: one for each move, in the commit of the move, numbered without a gap."""

from __future__ import annotations

import json
from collections.abc import Iterator
from threading import Event
from typing import Any

import pytest

from bridge import db, endpoints, events, keys, lineage, models, outbox, players, tallies
from bridge.errors import Conflict
from bridge.verify import verify
from jobs import outbox as job
from tests.harness import EUR, PLAYER, PROVIDER, Bench, Hands, together
from tests.test_verify import change, unguarded
from tests.transfers.scripted_one import LOST, REFUSES, ScriptedOne


def told(casino: Bench, operator: int | None = None) -> list[dict[str, Any]]:
    """All events of an operator, as they are sent."""
    rows = events.page(casino.runtime, casino.operator if operator is None else operator, 0, 1000)
    return [json.loads(row["body"]) for row in rows]


def moves(casino: Bench) -> Iterator[tuple[str, int, str]]:
    """(transfer, version, state) of every move, by the history."""
    for row in casino.rows("SELECT * FROM history WHERE subject = 'transfer' AND source IS NOT NULL ORDER BY id"):
        if row["source"] != row["target"]:
            yield row["transfer_id"], row["version"], row["target"]


@pytest.mark.parametrize("direction", ["in", "out"])
def test_a_transfer_that_ends_is_one_event(casino: Bench, direction: str) -> None:
    """I-43 The event tells the transfer as its move has left it."""
    transfer_id = casino.run(direction, "12.50")
    assert events.number(casino.runtime, casino.operator, 100) == 1
    (event,) = told(casino)
    row = casino.row(transfer_id)
    assert event == {
        "id": event["id"],
        "sequence": 1,
        "type": "transfer.confirmed",
        "timestamp": event["timestamp"],
        "data": {
            "transfer_id": transfer_id,
            "version": row["version"],
            "state": "confirmed",
            "direction": direction,
            "player_id": "ann",
            "provider": PROVIDER,
            "amount": "12.50",
            "arrived": "12.50",
            "currency": EUR,
            "reason": None,
        },
    }
    assert event["id"].startswith("evt_")
    assert event["timestamp"].startswith("2027-01-15T08:00:0")
    assert casino.rows("SELECT * FROM outbox") == []


def test_every_move_is_told_once_and_in_its_order(casino: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-43 The events are the moves: ended at once, ended by look-ups, refused, orphaned, proved afterwards."""
    one.script = ["ok", LOST, REFUSES, LOST]
    for _ in range(3):
        casino.run("in", "5.00")
    one.broken = True
    casino.run("out", "5.00")
    for _ in range(40):
        hands.turn(60)
        casino.resolve_due()
    one.broken = False
    for _ in range(40):
        hands.turn(600)
        casino.resolve_due()
        events.number(casino.runtime, casino.operator, 2)
    while events.number(casino.runtime, casino.operator, 100):
        pass
    sent = told(casino)
    assert [event["sequence"] for event in sent] == list(range(1, len(sent) + 1))
    assert sorted((e["data"]["transfer_id"], e["data"]["version"], e["data"]["state"]) for e in sent) == sorted(
        moves(casino)
    )
    assert {event["type"] for event in sent} == {"transfer.confirmed", "transfer.reversed", "transfer.orphaned"}
    for transfer_id in {event["data"]["transfer_id"] for event in sent}:
        versions = [event["data"]["version"] for event in sent if event["data"]["transfer_id"] == transfer_id]
        assert versions == sorted(versions)
    reasons = {(e["data"]["state"], (e["data"]["reason"] or {}).get("code")) for e in sent}
    assert {("orphaned", "unproved"), ("reversed", "provider_refused"), ("confirmed", None)} <= reasons


def test_what_is_rolled_back_is_no_event(casino: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """C-59 An error behind the outbox takes the event with it."""
    put = outbox.put

    def fails(connection: Any, moved: Any) -> None:
        put(connection, moved)
        raise RuntimeError("the process dies here")

    monkeypatch.setattr("bridge.transfers.ending.strokes.end", lambda *_: None)  # the long way
    monkeypatch.setattr(outbox, "put", fails)
    with pytest.raises(RuntimeError, match="dies here"):
        casino.run("in")
    assert casino.rows("SELECT * FROM outbox") == []
    assert [row["state"] for row in casino.rows("SELECT state FROM transfer")] == ["pending"]


def test_numbers_are_given_once_by_eight_at_once(casino: Bench) -> None:
    """I-43 C-38 Any number of processes may number: no gap, no event twice."""
    for _ in range(40):
        casino.run("in", "1.00")
    made = together(8, lambda _: events.number(casino.another().runtime, casino.operator, 5))
    while events.number(casino.runtime, casino.operator, 100):
        pass
    assert all(isinstance(count, int) for count in made), made
    sent = told(casino)
    assert [event["sequence"] for event in sent] == list(range(1, 41))
    assert len({event["data"]["transfer_id"] for event in sent}) == 40


def test_each_operator_has_a_sequence_of_its_own(casino: Bench) -> None:
    """I-55 One operator's events are not in another's sequence, nor are its numbers."""
    other = keys.add_operator(casino.runtime, "rivals")
    casino.run("in", "1.00")
    casino.run("out", "1.00")
    with db.writing(casino.runtime.engine) as connection:
        events.emit(connection, casino.runtime, other, events.Draft("test", {}, 0))
    assert events.number(casino.runtime, casino.operator, 100) == 2
    assert [event["sequence"] for event in told(casino)] == [1, 2]
    assert [(event["sequence"], event["type"]) for event in told(casino, other)] == [(1, "test")]


def test_one_operators_trouble_delays_no_other(casino: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A move that cannot be told holds up its own operator's sequence, without a gap, and nobody else's."""
    other = keys.add_operator(casino.runtime, "rivals")
    casino.run("in", "1.00")
    (row,) = casino.rows("SELECT * FROM outbox")
    theirs = {**row, "id": row["id"] + 1, "operator_id": other, "version": row["version"] + 1}
    with db.writing(casino.runtime.engine) as connection:
        connection.execute(models.metadata.tables["outbox"].insert(), theirs)
    real = events._of_move

    def fails(moved: Any, currencies: Any) -> Any:
        if moved["operator_id"] == casino.operator:
            raise RuntimeError("cannot be told")
        return real(moved, currencies)

    monkeypatch.setattr(events, "_of_move", fails)
    now = casino.runtime.clock.now()
    assert job.run_once(casino.runtime, now, 100, Event()) == {"numbered": 1}
    assert told(casino) == []
    assert [event["sequence"] for event in told(casino, other)] == [1]
    monkeypatch.undo()
    assert job.run_once(casino.runtime, now, 100, Event()) == {"numbered": 1}
    assert [event["sequence"] for event in told(casino)] == [1]


def test_what_cannot_be_counted_is_told_all_the_same(casino: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures hold up no event."""
    casino.run("in", "1.00")

    def fails(connection: Any, *_: Any) -> None:
        connection.exec_driver_sql("INSERT INTO nowhere VALUES (1)")

    with monkeypatch.context() as uncounted:
        uncounted.setattr(tallies, "add", fails)
        assert events.number(casino.runtime, casino.operator, 100) == 1
    assert len(told(casino)) == 1
    assert casino.rows("SELECT * FROM tally") == []


def test_a_restored_backup_is_told(casino: Bench) -> None:
    """C-58 Numbers that were known may mean other events now: asking behind the last one is a conflict, and an event
    says so."""
    for _ in range(3):
        casino.run("in", "1.00")
    events.number(casino.runtime, casino.operator, 100)
    known = [row["id"] for row in events.page(casino.runtime, casino.operator, 0, 10)]
    with unguarded(casino, "event"):  # the last two are forgotten, as by a backup
        change(casino, "DELETE FROM event WHERE sequence > 1")
        change(casino, "UPDATE event_head SET sequence = 1")
    lineage.restored(casino.runtime, "the disk was lost", "op:test")
    with pytest.raises(Conflict) as beyond:
        events.page(casino.runtime, casino.operator, 3, 10)
    with pytest.raises(Conflict) as another:
        events.page(casino.runtime, casino.operator, 2, 10, known[1])
    for refused in (beyond.value, another.value):
        assert refused.code == "sequence_set_back"
        assert "1 is the last number that is as it was" in refused.fields["after"]
    (event,) = events.page(casino.runtime, casino.operator, 1, 10, known[0])
    assert json.loads(event["body"])["type"] == "sequence.set_back"
    assert json.loads(event["body"])["data"] == {"known_until": 1, "reason": "the disk was lost"}


def test_a_reader_from_before_two_restores_misses_nothing(casino: Bench) -> None:
    """C-58 Which of two lost lines its cursor is from, nobody knows: it reads on behind the shorter backup."""
    for _ in range(3):
        casino.run("in", "1.00")
    events.number(casino.runtime, casino.operator, 100)
    lineage.restored(casino.runtime, "the disk was lost", "op:test")  # the reader had come to 8
    with db.writing(casino.runtime.engine) as connection:
        events.emit(connection, casino.runtime, casino.operator, events.Draft("test", {}, 0))
    lineage.restored(casino.runtime, "moved to another machine", "op:test")
    assert [event["data"].get("known_until") for event in told(casino)][3:] == [3, None, 5]
    with pytest.raises(Conflict) as lost:
        events.page(casino.runtime, casino.operator, 8, 10, "evt_of_the_lost_line")
    assert lost.value.fields["after"].startswith("3 is the last number")


def test_a_restore_is_told_where_the_backup_has_no_event(casino: Bench) -> None:
    """C-58 An operator's first events may all have come after the backup."""
    lineage.restored(casino.runtime, "the disk was lost", "op:test")
    assert [(event["type"], event["data"]["known_until"]) for event in told(casino)] == [("sequence.set_back", 0)]


def test_no_number_is_given_before_a_restore_is_told(casino: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """C-58 The job looks at the database before it numbers: what is told of the backup's end is its end."""
    casino.run("in", "1.00")
    order: list[str] = []
    monkeypatch.setattr(lineage, "check", lambda _: order.append("looked"))
    real = events.number
    monkeypatch.setattr(events, "number", lambda *given: order.append("numbered") or real(*given))
    job.run_once(casino.runtime, casino.runtime.clock.now(), 10, Event())
    assert order == ["looked", "numbered"]


BROKEN = {
    "a gap": "UPDATE event SET sequence = 9 WHERE sequence = 3",
    "an end that is cut off": "DELETE FROM event WHERE sequence = 3",
    "no head": "DELETE FROM event_head",
    "a move that is not told": "DELETE FROM outbox",
    "another end": "UPDATE event SET kind = 'transfer.reversed' WHERE sequence = 1",
    "another version": "UPDATE event SET version = 7 WHERE sequence = 1",
    "another's": "UPDATE transfer SET operator_id = 2 WHERE id = (SELECT transfer_id FROM event WHERE sequence = 3)",
    "waiting for nobody": "UPDATE webhook_endpoint SET state = 'disabled'",
}


@pytest.mark.parametrize("statement", BROKEN.values(), ids=BROKEN)
def test_verify_sees_what_is_wrong_with_events(casino: Bench, statement: str) -> None:
    """I-43 Events of which one was changed, taken out or never made are named."""
    players.register(casino.runtime, keys.add_operator(casino.runtime, "rivals"), PLAYER, [EUR])
    if "endpoint" in statement:  # a delivery would hold its event fast
        endpoints.register(casino.runtime, casino.operator, "https://casino.example/", "")
    for _ in range(3):
        casino.run("in", "1.00")
    events.number(casino.runtime, casino.operator, 100)
    casino.run("out", "1.00")
    assert verify(casino.runtime) == []
    with unguarded(casino, "event"):
        assert change(casino, statement) == 1
    assert "I-43" in {finding.invariant for finding in verify(casino.runtime)}


def test_verify_sees_events_in_another_order(casino: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-43 Two events of one transfer, each of which is right, whose numbers were exchanged."""
    one.broken = True
    casino.run("in", "5.00")
    for _ in range(40):
        hands.turn(60)
        casino.resolve_due()
    one.broken = False
    for _ in range(40):
        hands.turn(600)
        casino.resolve_due()
    while events.number(casino.runtime, casino.operator, 1):
        pass
    assert [event["data"]["version"] for event in told(casino)] == sorted(e["data"]["version"] for e in told(casino))
    assert len(told(casino)) == 2
    assert verify(casino.runtime) == []
    with unguarded(casino, "event"):
        for before, after in ((1, 9), (2, 1), (9, 2)):
            change(casino, f"UPDATE event SET sequence = {after} WHERE sequence = {before}")
    assert {finding.invariant for finding in verify(casino.runtime)} == {"I-43"}


def test_an_event_never_changes(casino: Bench) -> None:
    """I-07 The database refuses it, for every role."""
    casino.run("in")
    events.number(casino.runtime, casino.operator, 1)
    for statement in ("UPDATE event SET body = '{}'", "DELETE FROM event"):
        with pytest.raises(Exception, match="append only"), db.writing(casino.runtime.engine) as connection:
            connection.exec_driver_sql(statement)


def test_who_numbers_late_is_told(casino: Bench, hands: Hands) -> None:
    """I-31 Where nobody numbers for a minute, that is trouble; where one operator's moves wait alone, it is not."""
    casino.run("in")
    other = keys.add_operator(casino.runtime, "rivals")
    with db.reading(casino.runtime.engine) as connection:
        assert events.late(connection, hands.now()) == 0
        assert events.late(connection, hands.now() + 61_000_000) == 61
    hands.turn(50)
    with db.writing(casino.runtime.engine) as connection:
        events.emit(connection, casino.runtime, other, events.Draft("test", {}, 0))
    with db.reading(casino.runtime.engine) as connection:
        assert events.late(connection, hands.now() + 60_000_000) == 0
        assert events.late(connection, hands.now() + 61_000_000) == 61
