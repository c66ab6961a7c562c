"""A clock that somebody sets stops no job: neither one that was ahead, nor one that was behind."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from apscheduler.schedulers.background import BackgroundScheduler

from jobs.ticks import Every, bring_near
from tests.harness import bench
from tests.jobs.test_process import until

NOON, SECOND = datetime(2026, 6, 1, 12, tzinfo=UTC), timedelta(seconds=1)
HOUR_SECONDS = 3600


def started(made: Any, since: int) -> set[str]:
    """The jobs that were noted to have run since an instant."""
    return {line["job"] for line in made.rows("SELECT job FROM job_line WHERE started_at >= :since", since=since)}


@pytest.mark.parametrize("ahead", [HOUR_SECONDS, -HOUR_SECONDS])
def test_a_clock_that_is_put_right_stops_no_job(migrated_url: str, tmp_path: Path, jobs: Any, ahead: int) -> None:
    """I-34 A machine starts with a clock that is off; the jobs rest, and run as soon as it is right."""
    clock = tmp_path / "ahead"
    clock.write_text(str(ahead))
    with bench(migrated_url) as made:
        process = jobs(migrated_url, "http://127.0.0.1:9", clock=clock)
        process.ready()
        time.sleep(2.5)
        assert made.rows("SELECT * FROM beat") == [], "it works by a clock that is off"
        clock.write_text("0")
        right = made.runtime.clock.now()
        until(lambda: {"resolve", "inbox", "outbox", "deliver"} <= started(made, right), 20)
        until(lambda: made.rows("SELECT * FROM beat"), 20)
        assert process.stop() == 0


def test_ticks_keep_step_and_those_missed_are_one() -> None:
    """Also where they are many: a clock that was years behind is put right at once."""
    every = Every(1)
    assert every.get_next_fire_time(NOON, NOON) == NOON + SECOND
    late = NOON + timedelta(days=9999, seconds=0.3)
    assert every.get_next_fire_time(NOON + 0.25 * SECOND, late) == NOON + timedelta(days=9999, seconds=1.25)


@pytest.mark.parametrize("ahead", [0.5, 1.5, 3600, 86_400 * 9999.0])
def test_what_is_planned_too_far_ahead_is_brought_near_in_step(ahead: float) -> None:
    """Each keeps its place within the second, and none waits for longer than from tick to tick."""
    scheduler = BackgroundScheduler(timezone="UTC")
    for name, seconds, place in (("often", 1, 0.0), ("seldom", 300, 0.5)):
        scheduler.add_job(print, Every(seconds), id=name, next_run_time=NOON + timedelta(seconds=ahead + place))
    scheduler.start(paused=True)
    try:
        far = bring_near(scheduler, NOON)
        planned = {job.id: job.next_run_time - NOON for job in scheduler.get_jobs()}
    finally:
        scheduler.shutdown()
    assert far == [name for name, longest in (("often", 1), ("seldom", 299.5)) if ahead > longest]
    assert timedelta() <= planned["often"] <= SECOND
    assert timedelta() <= planned["seldom"] <= 300 * SECOND
    assert (planned["seldom"] - planned["often"]) % SECOND == 0.5 * SECOND


def test_what_is_planned_in_time_is_left_alone() -> None:
    """The look itself moves nothing."""
    scheduler = BackgroundScheduler(timezone="UTC")
    scheduler.add_job(print, Every(10), id="one", next_run_time=NOON + 10 * SECOND)
    scheduler.start(paused=True)
    try:
        assert bring_near(scheduler, NOON) == []
        assert [job.next_run_time for job in scheduler.get_jobs()] == [NOON + 10 * SECOND]
    finally:
        scheduler.shutdown()
