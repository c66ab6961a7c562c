"""A process whose clock is off leaves other processes' leases alone."""

from __future__ import annotations

from threading import Event
from typing import Any

import pytest

from bridge import board, clocks, db, models
from bridge.ports import SECOND
from bridge.runtime import SystemClock
from jobs import resolve
from jobs.__main__ import run
from jobs.schedule import SCHEDULE
from jobs.shift import Shift
from tests.harness import Bench, bench
from tests.transfers.scripted_one import ScriptedOne


class SetClock(SystemClock):
    """This machine's clock as somebody set it, so many seconds away from the right time."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def now(self) -> int:
        return super().now() + round(self.seconds * SECOND)


@pytest.mark.parametrize(("seconds", "runs"), [(0, True), (86_400, False), (-86_400, False), (5, False), (-5, False)])
def test_jobs_rest_while_the_clock_is_off(migrated_url: str, seconds: float, runs: bool) -> None:
    """I-34 I-30 A worker whose clock is off from the database's takes no lease: no tick of any job does anything."""
    clock = SetClock(0)
    with bench(migrated_url, clock=clock) as desk:
        transfer_id = str(desk.begin("out", queued=True).transfer_id)
        with db.reading(desk.runtime.engine) as connection:
            assert clocks.apart(desk.runtime, connection) < 2 * SECOND
        clock.seconds = seconds
        for job in SCHEDULE:
            run(desk.runtime, job, Event())
        assert (desk.row(transfer_id)["lease_epoch"] > 1) is runs
        clock.seconds = 0
        for job in SCHEDULE:
            run(desk.runtime, job, Event())
        assert desk.row(transfer_id)["lease_epoch"] > 1
        desk.audit()


def contents(desk: Bench) -> dict[str, list[str]]:
    """Every row of every table."""
    return {name: sorted(map(repr, desk.rows(f'SELECT * FROM "{name}"'))) for name in models.metadata.tables}


def test_a_process_that_was_left_running_by_a_migration_rests(migrated_url: str) -> None:
    """No tick of any job does anything, no wish of people is taken, no beat says that it works; until it is right."""
    with bench(migrated_url) as desk:
        desk.begin("out", queued=True)
        working = Shift(desk.runtime, Event())
        working.begin()
        found = desk.rows("SELECT version_num FROM alembic_version")[0]["version_num"]
        with db.writing(desk.runtime.engine) as connection:
            board.run_now(connection, desk.runtime, "verify", "olga")
            connection.exec_driver_sql("DELETE FROM beat")
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        before = contents(desk)
        for job in SCHEDULE:
            working.tick(job)
        working.look()
        working.beat()
        assert contents(desk) == before
        with db.writing(desk.runtime.engine) as connection:
            connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{found}'")
        for job in SCHEDULE:
            working.tick(job)
        working.beat()
        assert {row["lease_epoch"] for row in desk.rows("SELECT lease_epoch FROM transfer")} != {1}
        assert len(desk.rows("SELECT * FROM beat")) == 1


def test_a_run_that_a_migration_overtakes_takes_nothing_more(lone: Bench, one: ScriptedOne) -> None:
    """What is in hand is brought to its end; the next transfer is left to the new version."""
    for _ in range(20):
        lone.begin("in", "1.00", queued=True)

    def migrated(_operation: str) -> None:
        with db.writing(lone.runtime.engine) as connection:
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")

    one.during = migrated
    hands = lone.runtime.config.engine.resolve_threads
    counts = resolve.run_once(lone.runtime, lone.runtime.clock.now(), 100, Event())
    assert counts["claimed"] == counts["driven"] == hands
    assert len(lone.rows("SELECT 1 FROM transfer WHERE lease_epoch = 1")) == 20 - hands


def test_a_slow_question_is_no_wrong_clock(migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """I-34 What the database takes to answer, or this process to go on, counts for nothing."""
    with bench(migrated_url, clock=SetClock(0)) as desk, db.reading(desk.runtime.engine) as connection:
        asked = connection.exec_driver_sql

        def slowly(statement: str) -> Any:
            answer = asked(statement)
            monkeypatch.setattr(desk.runtime.clock, "seconds", 3)
            return answer

        monkeypatch.setattr(connection, "exec_driver_sql", slowly)
        assert clocks.apart(desk.runtime, connection) < SECOND


def test_a_job_that_raises_runs_again(migrated_url: str, monkeypatch: Any) -> None:
    """C-19 An error in one tick ends that tick, not the job."""
    with bench(migrated_url) as desk:
        transfer_id = str(desk.begin("out", queued=True).transfer_id)
        job = next(job for job in SCHEDULE if job.name == "resolve")
        with monkeypatch.context() as broken:
            broken.setattr(clocks, "apart", lambda *_: 1 // 0)
            run(desk.runtime, job, Event())
        assert desk.row(transfer_id)["lease_epoch"] == 1
        run(desk.runtime, job, Event())
        assert desk.row(transfer_id)["lease_epoch"] > 1


class StandsStill(SystemClock):
    """Of a process that stands still for a hundred seconds right after it has read a clock for the n-th time."""

    def __init__(self) -> None:
        self.after, self.stood = 0, 0

    def now(self) -> int:
        return self._read(super().now() + self.stood * SECOND)

    def monotonic(self) -> float:
        return self._read(super().monotonic() + self.stood)

    def _read(self, told: Any) -> Any:
        self.after -= 1
        if self.after == 0:
            self.stood += 100
        return told


@pytest.mark.parametrize("reading", range(1, 7))
@pytest.mark.parametrize("plainly", [True, False], ids=["stroke", "long way"])
def test_a_request_may_leave_no_longer_than_its_lease_lasts(migrated_url: str, reading: int, *, plainly: bool) -> None:
    """I-30 Also where the process stood still between the two clocks by which the two are counted."""
    clock = StandsStill()
    with bench(migrated_url, clock=clock) as desk:
        clock.after = reading
        outcome = desk.begin("in", plainly=plainly).outcome
        clock.after = 0
        assert outcome is not None
        assert outcome.order is not None
        lease = desk.row(outcome.transfer.id)["wake_at"] / SECOND - clock.now() / SECOND
        assert outcome.order.window.not_after - clock.monotonic() < lease
