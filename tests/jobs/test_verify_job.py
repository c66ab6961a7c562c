"""The verify job: one process per slot, and the outcome kept."""

from __future__ import annotations

from threading import Event

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from bridge.ports import SECOND
from jobs import verify
from tests.harness import bench, together


def test_a_slot_is_claimed_by_one_of_many(migrated_url):
    """C-38: eight workers at the same instant: one verifies, the row says so; the next slot is free again."""
    with bench(migrated_url, engine_verify_every_seconds=300) as made:
        now = 300 * SECOND * 1000
        workers = [made.another() for _ in range(8)]

        counts = together(8, lambda number: verify.run_once(workers[number].runtime, now, 5, Event()))
        again = verify.run_once(made.runtime, now + 299 * SECOND, 5, Event())
        later = verify.run_once(made.runtime, now + 300 * SECOND, 5, Event())

        assert sum(count["claimed"] for count in counts) == 1, counts
        assert (again["claimed"], later["claimed"]) == (0, 1)
        runs = made.rows("SELECT * FROM job_run ORDER BY slot")
        told = [(run["job"], run["slot"], run["outcome"]) for run in runs]
        assert told == [("verify", 1000, "ok"), ("verify", 1001, "ok")]
        assert all(run["finished_at"] is not None for run in runs)
        for worker in workers:
            worker.runtime.engine.dispose()


def test_a_finding_is_kept_as_a_failure(migrated_url):
    """I-06, design §8: what does not hold stands in the run's row, where `/readyz` reads it."""
    with bench(migrated_url) as made:
        with made.runtime.engine.begin() as connection:
            connection.execute(text("UPDATE account SET version = version + 1"))

        counts = verify.run_once(made.runtime, made.runtime.clock.now(), 5, Event())

        assert counts == {"claimed": 1, "findings": 1}
        assert made.rows("SELECT outcome FROM job_run")[0]["outcome"] == "failed: I-06 (1 row)"


def test_an_error_is_kept_as_a_failure_and_raised(migrated_url):
    """C-19: a verification that could not be made is not taken for a good one."""
    with bench(migrated_url) as made:
        with made.runtime.engine.begin() as connection:
            connection.execute(text("ALTER TABLE account RENAME TO was_account"))

        with pytest.raises(DBAPIError) as raised:
            verify.run_once(made.runtime, made.runtime.clock.now(), 5, Event())

        assert made.rows("SELECT outcome FROM job_run")[0]["outcome"] == f"failed: {raised.type.__name__}"


def test_a_process_that_stops_takes_no_slot(migrated_url):
    """Design §10: a slot that is taken is also worked on."""
    with bench(migrated_url) as made:
        stop = Event()
        stop.set()

        assert verify.run_once(made.runtime, made.runtime.clock.now(), 5, stop)["claimed"] == 0
        assert made.rows("SELECT * FROM job_run") == []
