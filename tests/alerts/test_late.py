"""A check is late when none has ended in so much time in which the jobs ran; and until one ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bridge import board, checks, db
from bridge.board import Planned
from bridge.ports import SECOND
from tests.alerts.conftest import SOUND, alive
from tests.alerts.test_episodes import HOUR, looks, verified, write

BOTH = pytest.mark.parametrize("job", ["verify", "inspect"])
BEGUN, AGAIN, OVER = (f"alert.{each}" for each in ("begun", "again", "over"))


@pytest.fixture
def watched(watched: Any, request: pytest.FixtureRequest) -> Any:
    """A bridge that inspects every hour, so that an inspection is late as early as a verification: after two. Of both,
    none ends but by the test; where that is about inspections, verifications do."""
    config = watched.made.runtime.config
    hourly = config.model_copy(update={"audit": config.audit.model_copy(update={"inspect_hours": 1})})
    watched.made.runtime = replace(watched.made.runtime, config=hourly)
    if request.node.callspec.params.get("job") != "inspect":
        write(watched.made, "DELETE FROM job_run WHERE slot = :sound", sound=SOUND)
    return watched


def begins(watched: Any, job: str, slot: int) -> None:
    """A run that has not ended."""
    write(
        watched.made, "INSERT INTO job_run (job, slot, worker, started_at) VALUES (:j, :s, 'w', :n)",
        j=job, s=slot, n=watched.hands.now(),
    )  # fmt: skip


def sealed(watched: Any) -> None:
    """The first seal: from now on there is something to inspect."""
    write(
        watched.made,
        "INSERT INTO seal (chain, number, run, source, scope, late, after, upto, entries, content, digest, previous,"
        " hash, at, format) VALUES (-1, 1, 1, 'runs', 0, false, '', '', 1, '', '', '', '', :n, 1)",
        n=watched.hands.now(),
    )  # fmt: skip


def stop(watched: Any, seconds: float) -> None:
    """For so long nobody runs the jobs; then another process does, and looks."""
    write(watched.made, "DELETE FROM beat")
    watched.hands.turn(seconds)
    alive(watched)
    watched.tick()


def pause(watched: Any) -> None:
    """People pause verifications."""
    board.enrol(watched.made.runtime, [Planned("verify", 300, "x")])
    with db.writing(watched.made.runtime.engine) as connection:
        board.pause(connection, watched.made.runtime, "verify", "somebody", "a reason")


def told(watched: Any) -> list[str]:
    """What was heard of a check, and of nothing else."""
    assert {kind for _, kind in watched.heard()} <= {"check_failed"}
    return [said for said, _ in watched.heard()]


def test_a_verification_that_never_ends_is_told(watched):
    """One whose process dies at it each time finds nothing, and fails nowhere."""
    verified(watched.made, 1, "ok")
    watched.tick()
    for slot in (2, 3):
        begins(watched, "verify", slot)
    watched.pass_time(2 * HOUR, step=600)
    assert watched.heard() == []
    watched.pass_time(60)
    (event,) = [each["data"] for each in watched.posted()]
    assert (event["kind"], event["operator"]) == ("check_failed", None)
    assert event["sentence"] == "No verification has ended for 2 hours: what does not hold is not found."
    verified(watched.made, 4, "ok")
    watched.pass_time(60)
    assert told(watched) == [BEGUN, OVER]
    assert watched.posted()[1]["data"]["sentence"] == "A verification has ended again."


def test_a_first_verification_that_never_ends_is_told(watched):
    """Counted from its beginning."""
    begins(watched, "verify", 1)
    watched.tick()
    watched.pass_time(2 * HOUR, step=600)
    assert watched.heard() == []
    watched.pass_time(60)
    assert told(watched) == [BEGUN]


def test_a_verification_that_never_begins_is_told(watched):
    """None is ever claimed, whatever keeps it: counted from when the jobs were first seen to run, each stop left out.
    That one begins is no all-clear."""
    watched.tick()
    watched.pass_time(HOUR, step=300)
    stop(watched, 100 * HOUR)
    watched.pass_time(HOUR - 300, step=300)
    assert watched.heard() == []
    watched.pass_time(600, step=300)
    assert told(watched) == [BEGUN]
    assert watched.posted()[0]["data"]["sentence"].startswith("No verification has ended for 102 hours: ")
    begins(watched, "verify", 1)
    stop(watched, 100 * HOUR)
    watched.pass_time(HOUR, step=300)
    assert OVER not in told(watched)
    verified(watched.made, 2, "ok")
    watched.pass_time(60)
    assert told(watched)[-1] == OVER


def test_a_bridge_whose_jobs_were_noted_before_counts_from_now(watched):
    """An upgrade: that the jobs run was noted, and not since when. A clock that was ahead is believed no longer."""
    watched.tick()
    write(watched.made, "DELETE FROM alert_turn WHERE name <> 'jobs ran'")
    watched.pass_time(2 * HOUR, step=300)
    assert watched.heard() == []
    write(watched.made, "UPDATE alert_turn SET until = until + 9000000000000 WHERE name LIKE 'jobs %'")
    watched.pass_time(2 * HOUR, step=300)
    assert watched.heard() == []
    watched.pass_time(900, step=300)
    assert told(watched) == [BEGUN]


def test_a_pause_before_the_first_verification_is_no_alarm(watched):
    """Nor is it one that people rested it, and nobody ran the jobs afterwards."""
    watched.tick()
    watched.pass_time(HOUR, step=300)
    pause(watched)
    watched.pass_time(8 * HOUR, step=600)
    stop(watched, 100 * HOUR)
    watched.pass_time(HOUR - 600, step=300)
    assert watched.heard() == []
    watched.pass_time(900, step=300)
    assert told(watched) == [BEGUN]


@BOTH
def test_a_stop_of_the_jobs_makes_no_check_late(watched, job):
    """After a night, or a week, in which nobody ran the jobs a check has its time; one that dies at each run, whose
    process is started anew after minutes or after longer, has not more."""
    verified(watched.made, 1, "ok", job)
    watched.tick()
    for slot in range(4):
        stop(watched, 100 * HOUR if slot % 2 else 300)
        begins(watched, job, 1000 + slot)
        watched.pass_time(HOUR / 2 - 300, step=300)
        assert watched.heard() == []
    watched.pass_time(1200, step=300)
    (event,) = [each["data"] for each in watched.posted()]
    assert " has ended for 202 hours: " in event["sentence"]


def test_a_stop_that_is_shorter_than_its_time_makes_no_check_late(watched):
    """Nobody ran the jobs for nearly two hours: what is begun afterwards has two hours, and not five minutes."""
    verified(watched.made, 1, "ok")
    watched.tick()
    stop(watched, 115 * 60)
    begins(watched, "verify", 2)
    watched.pass_time(2 * HOUR, step=300)
    assert watched.heard() == []
    watched.pass_time(120)
    assert told(watched) == [BEGUN]


def test_who_lives_for_seconds_at_a_time_is_late_all_the_same(watched):
    """A machine without memory: the process dies ten seconds after its start, and another starts five minutes later."""
    verified(watched.made, 1, "ok")
    for slot in range(2, 27):
        stop(watched, 290)
        begins(watched, "verify", slot)
        watched.pass_time(10)
    assert told(watched) == [BEGUN]


@BOTH
@pytest.mark.parametrize("seconds", [30, HOUR])
def test_a_start_of_the_jobs_is_no_all_clear(watched, job, seconds):
    """A check hangs, people start its process anew as they were told to: that is no end of a check."""
    verified(watched.made, 1, "ok", job)
    watched.tick()
    begins(watched, job, 2)
    watched.pass_time(2 * HOUR + 10, step=590)
    assert told(watched) == [BEGUN]
    stop(watched, seconds)
    begins(watched, job, 3)
    watched.pass_time(HOUR, step=300)
    assert OVER not in told(watched)
    verified(watched.made, 4, "ok", job)
    watched.pass_time(60)
    assert told(watched)[-1] == OVER


@pytest.mark.parametrize("job", ["inspect"])
@pytest.mark.parametrize("seconds", [30, 1200])
def test_jobs_that_are_started_anew_each_hour_are_late_all_the_same(watched, job, seconds):
    """No inspection begins any more, whatever keeps it: no process lives for as long as it takes to be late."""
    verified(watched.made, 1, "ok", job)
    watched.tick()
    for _ in range(12):
        watched.pass_time(HOUR - seconds, step=590)
        stop(watched, seconds)
    heard = told(watched)
    assert (heard[0], set(heard[1:])) == (BEGUN, {AGAIN})
    assert watched.posted()[-1]["data"]["sentence"].startswith("No inspection has ended for ")


@BOTH
def test_a_run_that_ends_tomorrow_has_not_ended(watched, job):
    """A clock that was wrong wrote its end; while it is to come, none has ended."""
    watched.tick()
    begins(watched, job, 1)
    write(
        watched.made, "UPDATE job_run SET finished_at = :n, outcome = 'ok'",
        n=watched.hands.now() + 100 * 24 * HOUR * SECOND,
    )  # fmt: skip
    if job == "inspect":
        sealed(watched)
    watched.pass_time(2 * HOUR + 600, step=590)
    assert told(watched) == [BEGUN]


@BOTH
def test_another_interval_makes_no_check_late(watched, job):
    """The slots of the longer interval have smaller numbers: those that ended in others count all the same."""
    config, now = watched.made.runtime.config, watched.hands.now()
    for ago in (30 * 86_400, 86_400, 60):
        at = now - ago * SECOND
        write(
            watched.made, "INSERT INTO job_run VALUES (:j, :s, 'w', :n, :n, 'ok')",
            j=job, s=checks.slot_of(config, job, at), n=at,
        )  # fmt: skip
    engine = config.engine.model_copy(update={"verify_every_seconds": config.engine.verify_every_seconds * 4})
    audit = config.audit.model_copy(update={"inspect_hours": config.audit.inspect_hours * 4})
    if job == "inspect":
        sealed(watched)
    watched.alive()
    looks(replace(watched.made.runtime, config=config.model_copy(update={"engine": engine, "audit": audit})))
    assert watched.posted() == []


def test_a_verification_may_rest_and_not_for_ever(watched):
    """A pause is no alarm, nor its end; pauses one after the other are."""
    verified(watched.made, 1, "ok")
    watched.tick()
    pause(watched)
    watched.pass_time(8 * HOUR + 300, step=600)
    assert watched.heard() == []
    pause(watched)
    watched.pass_time(2 * HOUR, step=600)
    assert told(watched) == [BEGUN]


def test_the_end_of_a_pause_by_hand_is_no_alarm(watched):
    """No verification can have ended by then; one that does not end afterwards is told, ten hours after the last."""
    verified(watched.made, 1, "ok")
    watched.tick()
    pause(watched)
    watched.pass_time(5 * HOUR, step=600)
    with db.writing(watched.made.runtime.engine) as connection:
        board.resume(connection, watched.made.runtime, "verify")
    stop(watched, 3 * HOUR)
    watched.pass_time(5 * HOUR, step=600)
    assert watched.heard() == []
    watched.pass_time(600)
    assert told(watched) == [BEGUN]


def test_a_pause_is_no_all_clear(watched):
    """What was told to be late is so until a verification has ended."""
    verified(watched.made, 1, "ok")
    watched.tick()
    watched.pass_time(2 * HOUR + 60, step=590)
    pause(watched)
    watched.pass_time(HOUR, step=300)
    assert told(watched) == [BEGUN]
