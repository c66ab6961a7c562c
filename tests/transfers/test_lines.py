"""The wire to PostgreSQL under a stroke: what breaks, is forgotten, or stands still there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from threading import Timer
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlalchemy.pool import QueuePool

from bridge import db, stroke
from bridge.transfers import ending
from bridge.transfers.advance import advance
from bridge.transfers.drive import AWAY_SECONDS, drive
from tests.harness import Bench, Hands
from tests.transfers.scripted import ScriptedProvider
from tests.transfers.scripted_one import ScriptedOne
from tests.transfers.test_strokes import plainly


def end_all_sessions(lanes: Bench) -> None:
    """The server ends every session in the test's database."""
    with lanes.another().runtime.engine.connect() as other:
        ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        other.execute(text(ended + "WHERE datname = current_database() AND pid <> pg_backend_pid()"))


def unreachable(why: str) -> OperationalError:
    """As SQLAlchemy raises it where no statement was sent: without one, and without values."""
    nothing: Any = None
    return OperationalError(nothing, nothing, Exception(why))


def test_a_connection_that_broke_is_not_used_again(lanes: Bench) -> None:
    """C-43 One error of the database for what was under way; the next stroke has a connection that lives."""
    assert plainly(lanes, "one", "out") is not None
    end_all_sessions(lanes)
    with pytest.raises(OperationalError):
        plainly(lanes, "two", "out")
    assert plainly(lanes, "two", "out") is not None
    lanes.audit()


def test_statements_that_the_server_forgot_are_told_it_again(lanes: Bench) -> None:
    """After a rollback psycopg has the server forget what is prepared: a stroke notices, and is executed once."""
    assert plainly(lanes, "one", "out") is not None
    with lanes.runtime.engine.connect() as same:
        same.exec_driver_sql("DEALLOCATE ALL")
        same.rollback()
    assert plainly(lanes, "two", "out") is not None
    assert len(lanes.rows("SELECT id FROM transfer")) == 2


def test_statements_that_somebody_else_prepared(lanes: Bench) -> None:
    """Something between us and the server hands statements to other sessions: what is there under the name is it."""
    assert plainly(lanes, "one", "out") is not None
    with lanes.runtime.engine.connect() as same:
        same.connection.info.pop(stroke._PREPARED)
    assert plainly(lanes, "two", "out") is not None
    assert len(lanes.rows("SELECT id FROM transfer")) == 2


def test_statements_that_are_nowhere_when_they_are_to_be_executed(
    lanes: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something between us and the server executes elsewhere than it prepared: the long way is left."""
    done = stroke._done

    def forgets(wire: Any, result: Any) -> Any:
        prepared = done(wire, result)
        wire.exec_(b"DEALLOCATE ALL")
        return prepared

    monkeypatch.setattr(stroke, "_done", forgets)
    assert plainly(lanes, "one", "out") is None
    assert lanes.rows("SELECT id FROM transfer") == []
    assert lanes.begin("out", "1.00").outcome is not None
    lanes.audit()


def test_an_answer_outlives_the_connection_for_which_it_was_meant(
    lanes: Bench, one: ScriptedOne, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C-43 The database is there again before the provider has answered: what it said is stored all the same."""
    outcome, answer = lanes.begin("in", "10.00").outcome, one.money
    assert outcome is not None

    def money(*request: Any) -> Any:
        end_all_sessions(lanes)
        return answer(*request)

    monkeypatch.setattr(one, "money", money)
    assert drive(lanes.runtime, outcome).transfer.state.value == "confirmed"
    (evidence,) = lanes.rows("SELECT answer FROM evidence WHERE source = 'call'")
    assert evidence["answer"] == "applied"
    lanes.audit()


def shortened(monkeypatch: pytest.MonkeyPatch, *, idle: str, lock: str) -> None:
    """The limits of sessions, in proportion."""
    assert "SET idle_in_transaction_session_timeout = '10s'" in db._SESSION
    assert "SET lock_timeout = '20s'" in db._SESSION
    shorter = [each.replace("'10s'", f"'{idle}'").replace("'20s'", f"'{lock}'") for each in db._SESSION]
    monkeypatch.setattr(db, "_SESSION", shorter)


def test_whoever_stands_still_costs_nobody_an_answer(lanes: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """I-31 I-32 A machine dies inside a transaction: the server frees its rows before a worker gives up who waits for
    them with a provider's answer in hand."""
    outcome = lanes.begin("out", "10.00").outcome
    assert outcome is not None
    shortened(monkeypatch, idle="1s", lock="2s")
    still, busy = lanes.another(), lanes.another()
    busy = replace(busy, runtime=replace(busy.runtime, providers=lanes.runtime.providers))
    with still.runtime.engine.connect() as standing:
        standing.execute(text("UPDATE transfer SET version = version + 1"))
        assert drive(busy.runtime, outcome).transfer.state.value == "confirmed"
        with pytest.raises(DBAPIError):
            standing.execute(text("SELECT 1"))
    (evidence,) = lanes.rows("SELECT answer FROM evidence WHERE source = 'call'")
    assert evidence["answer"] == "applied"
    lanes.audit()


def test_whoever_works_on_holds_nobody_up_for_ever(lanes: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """I-32 A transaction that never ends: who waits for its rows gives up, and is not stuck with it."""
    outcome = lanes.begin("out", "10.00").outcome
    assert outcome is not None
    shortened(monkeypatch, idle="60s", lock="0.2s")
    still, busy = lanes.another(), lanes.another()
    with still.runtime.engine.connect() as working:
        working.execute(text("UPDATE transfer SET version = version + 1"))
        with pytest.raises(OperationalError, match="lock timeout"):
            advance(busy.runtime, outcome.transfer.id, None)
        working.rollback()
    lanes.audit()


def test_a_migration_waits_for_its_turn(lanes: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of the schema is not given up where a session would give up, and only in its own transaction."""
    shortened(monkeypatch, idle="60s", lock="0.2s")
    url = lanes.runtime.config.database.url
    with lanes.another().runtime.engine.connect() as reader:
        reader.execute(text("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE"))
        Timer(1.0, reader.rollback).start()
        db.migrate(url)
    with lanes.another().runtime.engine.connect() as session:
        assert session.execute(text("SHOW lock_timeout")).scalar() == "200ms"


def test_both_sides_notice_that_the_other_is_gone(lanes: Bench) -> None:
    """C-43 Neither waits for TCP's own hours."""
    with lanes.runtime.engine.connect() as session:
        line: Any = session.connection.driver_connection
        told = line.info.get_parameters()
        ours = {name: told.get(name) for name in ("connect_timeout", "keepalives_idle", "tcp_user_timeout")}
        assert ours == {"connect_timeout": "10", "keepalives_idle": "10", "tcp_user_timeout": "25000"}
        asked = (f"SHOW tcp_keepalives_{name}" for name in ("idle", "interval", "count"))
        theirs = [session.execute(text(each)).scalar() for each in asked]
        assert theirs == ["10", "5", "3"]


@pytest.mark.parametrize("direction", ["in", "out"])
def test_an_end_that_was_committed_and_told_as_failed(
    lone: Bench, monkeypatch: pytest.MonkeyPatch, direction: str
) -> None:
    """C-04 I-12 The connection breaks behind the commit: the answer is stored twice, and nothing moves twice."""
    end = ending.strokes.end

    def breaks(line: Any, *rest: Any) -> Any:
        end(line, *rest)
        if lone.runtime.engine.dialect.name == "sqlite":
            line.commit()
        raise OperationalError("COMMIT", {}, Exception("server closed the connection unexpectedly"))

    monkeypatch.setattr(ending.strokes, "end", breaks)
    transfer_id = lone.run(direction, "10.00")
    assert lone.row(transfer_id)["state"] == "confirmed"
    told = lone.rows("SELECT answer FROM evidence WHERE source = 'call'")
    assert [row["answer"] for row in told] == ["applied"] * 2
    moves = lone.rows("SELECT target FROM history WHERE subject = 'transfer' ORDER BY id")
    assert [row["target"] for row in moves] == ["pending", "confirmed"]
    lone.audit()


@pytest.mark.parametrize("failures", [1, 3])
def test_an_answer_is_kept_in_hand_while_the_database_is_away(
    still: Bench, scripted: ScriptedProvider, hands: Hands, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    """C-43 C-04 Also one that ends nothing: a prepare's answer is stored when the database is there again, or, where it
    stays away for too long, the failure is told and nothing is sent again."""
    left = [failures]

    def away(*arguments: Any, **options: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise unreachable("connection refused")
        return advance(*arguments, **options)

    monkeypatch.setattr("bridge.transfers.drive.advance", away)
    before = hands.monotonic()
    still.run("in")
    assert hands.monotonic() - before >= sum(AWAY_SECONDS[:failures])
    assert [operation for operation, _ in scripted.requests] == ["prepare", "complete"]
    (row,) = still.rows("SELECT state FROM transfer")
    assert row["state"] == "confirmed"
    left[0] = len(AWAY_SECONDS) + 1
    with pytest.raises(OperationalError):
        still.run("in")
    assert [operation for operation, _ in scripted.requests][2:] == ["prepare"]
    still.audit()


def hold_every_connection(bench: Bench, held: ExitStack) -> None:
    """The pool is as full as it gets, and whoever waits for a connection does not get one."""
    pool = bench.runtime.engine.pool
    assert isinstance(pool, QueuePool)
    pool._timeout = 0.05  # no option of ours, and the usual one is too long for a test
    with pytest.raises(PoolExhausted):
        while True:
            held.callback(bench.runtime.engine.raw_connection().close)


def fills(bench: Bench, scripted: ScriptedProvider, held: ExitStack, during: str) -> Callable[..., Any]:
    """The provider, while whose answer to this request all connections are taken."""
    money = scripted.money

    def answers(step: Any, *rest: Any) -> Any:
        if step == during:
            hold_every_connection(bench, held)
        return money(step, *rest)

    return answers


@pytest.mark.parametrize("during", ["prepare", "complete"])
def test_an_answer_is_kept_in_hand_while_the_pool_is_full(
    still: Bench, scripted: ScriptedProvider, hands: Hands, monkeypatch: pytest.MonkeyPatch, during: str
) -> None:
    """C-43 C-04 Whoever waits for a connection and gets none has written nothing: what the provider said, be it that it
    holds the money or that it moved it, is stored when there is one, and nobody asks."""
    with ExitStack() as held:
        monkeypatch.setattr(scripted, "money", fills(still, scripted, held, during))
        monkeypatch.setattr(hands, "sleep", lambda _seconds: held.close())
        transfer_id = still.run("in")
    assert [operation for operation, _ in scripted.requests] == ["prepare", "complete"]
    assert still.row(transfer_id)["state"] == "confirmed"
    told = still.rows("SELECT answer FROM evidence WHERE source = 'call' ORDER BY id")
    assert [row["answer"] for row in told] == ["reserved", "applied"]
    still.audit()


@pytest.mark.parametrize("during", ["prepare", "complete"])
def test_an_answer_for_which_there_is_no_connection_at_all(
    still: Bench, scripted: ScriptedProvider, hands: Hands, monkeypatch: pytest.MonkeyPatch, during: str
) -> None:
    """C-43 C-04 A pool that stays full for too long is told as such; nothing is sent again, and what the provider did
    is found by whoever has the next lease."""
    before = hands.monotonic()
    with ExitStack() as held:
        monkeypatch.setattr(scripted, "money", fills(still, scripted, held, during))
        with pytest.raises(PoolExhausted):
            still.run("in")
    assert hands.monotonic() - before >= sum(AWAY_SECONDS)
    sent = [operation for operation, _ in scripted.requests]
    assert sent == (["prepare"] if during == "prepare" else ["prepare", "complete"])
    monkeypatch.undo()
    for _ in range(60):
        hands.turn(1)
        still.resolve_due()
    (row,) = still.rows("SELECT state FROM transfer")
    assert row["state"] == ("reversed" if during == "prepare" else "confirmed")
    assert [operation for operation, _ in scripted.requests].count("complete") == sent.count("complete")
    still.audit()


def test_no_connection_is_left_behind(lanes: Bench) -> None:
    """I-33 Whatever becomes of a stroke, its connection is back in the pool, out of any transaction."""
    for key in ("one", "one", "two"):
        plainly(lanes, key)
    outcome = lanes.begin("out", "1.00").outcome
    assert outcome is not None
    drive(lanes.runtime, outcome)
    assert isinstance(lanes.runtime.engine.pool, QueuePool)
    assert lanes.runtime.engine.pool.checkedout() == 0
    idle = "SELECT state FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    assert {row["state"] for row in lanes.rows(idle)} <= {"idle"}


def test_what_a_lost_commit_may_have_committed_is_not_done_again(
    still: Bench, scripted: ScriptedProvider, hands: Hands
) -> None:
    """C-43 I-30 The commit of a prepare's answer is that of the complete as sent, too: where nobody knows whether it is
    durable, the lease stands, and nothing is sent under it."""

    def breaks(_connection: Any) -> None:
        if [operation for operation, _ in scripted.requests] == ["prepare"]:
            raise unreachable("connection lost")

    event.listen(still.runtime.engine, "commit", breaks)
    before = hands.monotonic()
    with pytest.raises(OperationalError, match=db.AT_COMMIT):
        still.run("in")
    event.remove(still.runtime.engine, "commit", breaks)
    assert hands.monotonic() - before < AWAY_SECONDS[1]
    assert [operation for operation, _ in scripted.requests] == ["prepare"]
    still.audit()
