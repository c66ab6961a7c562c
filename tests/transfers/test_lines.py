"""The wire to PostgreSQL under a stroke: what breaks, is forgotten, or stands still there."""

from __future__ import annotations

import time
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import QueuePool

from bridge import db, stroke
from bridge.transfers.advance import advance
from bridge.transfers.drive import drive
from tests.harness import Bench
from tests.transfers.scripted_one import ScriptedOne
from tests.transfers.test_strokes import plainly


def test_a_connection_that_broke_is_not_used_again(lanes: Bench) -> None:
    """C-43 One error of the database for what was under way; the next stroke has a connection that lives."""
    assert plainly(lanes, "one", "out") is not None
    with lanes.another().runtime.engine.connect() as other:
        killed = text("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                      "WHERE datname = current_database() AND pid <> pg_backend_pid()")  # fmt: skip
        other.execute(killed)
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


def test_statements_that_were_prepared_in_another_session(lanes: Bench) -> None:
    """Something between us and the server hands statements to other sessions: the long way is left."""
    assert plainly(lanes, "one", "out") is not None
    with lanes.runtime.engine.connect() as same:
        same.connection.info.pop(stroke._PREPARED)
    assert plainly(lanes, "two", "out") is None
    assert lanes.begin("out", "1.00").outcome is not None
    lanes.audit()


def test_an_answer_outlives_the_connection_for_which_it_was_meant(
    lanes: Bench, one: ScriptedOne, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C-43 The database is there again before the provider has answered: what it said is stored all the same."""
    outcome, answer = lanes.begin("in", "10.00").outcome, one.money
    assert outcome is not None

    def money(*request: Any) -> Any:
        with lanes.another().runtime.engine.connect() as other:
            other.execute(text("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                               "WHERE datname = current_database() AND pid <> pg_backend_pid()"))  # fmt: skip
        return answer(*request)

    monkeypatch.setattr(one, "money", money)
    assert drive(lanes.runtime, outcome).transfer.state.value == "confirmed"
    (evidence,) = lanes.rows("SELECT answer FROM evidence WHERE source = 'call'")
    assert evidence["answer"] == "applied"
    lanes.audit()


def test_whoever_stands_still_holds_nobody_up_for_long(lanes: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """I-31 I-32 A machine that dies inside a transaction: who waits for its rows gives up, and soon they are free."""
    assert "SET lock_timeout = '15s'" in db._SESSION
    assert "SET idle_in_transaction_session_timeout = '20s'" in db._SESSION
    shorter = [each.replace("15s", "0.2s").replace("20s", "1s") for each in db._SESSION]
    outcome = lanes.begin("out", "10.00").outcome
    assert outcome is not None
    monkeypatch.setattr(db, "_SESSION", shorter)
    still, busy = lanes.another(), lanes.another()
    with still.runtime.engine.connect() as standing:
        standing.execute(text("UPDATE transfer SET version = version + 1"))
        with pytest.raises(OperationalError, match="lock timeout"):
            advance(busy.runtime, outcome.transfer.id, None)
        time.sleep(1.2)
        assert advance(busy.runtime, outcome.transfer.id, None).transfer.version == outcome.transfer.version
        with pytest.raises(DBAPIError):
            standing.execute(text("SELECT 1"))
    lanes.audit()


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
