"""`python -m jobs` as a process: doubled, stopped, killed, and refused where it cannot work."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from threading import Event

from apscheduler.schedulers.base import BaseScheduler

from jobs import __main__ as entry
from jobs.schedule import SCHEDULE, Job
from jobs.shift import Shift
from tests.harness import PLAYER, bench, simulator

ROOT = Path(__file__).resolve().parents[2]
CALM = {"prepare_seconds": 5, "complete_seconds": 5, "lookup_seconds": 5, "expiry_seconds": 20, "patience_seconds": 60}


def until(true, seconds=30.0):
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)


def states(made):
    """The states of all transfers."""
    return {row["state"] for row in made.rows("SELECT state FROM transfer")}


def test_two_processes_share_the_work_and_one_verifies(migrated_url, tmp_path, jobs):
    """C-38, I-30: two schedulers on one database: every transfer has one effect and one complete on the wire,
    and of the three that ask for a slot of `verify` one gets it."""
    with simulator(tmp_path, "--expiry", "20") as provider, bench(migrated_url, provider.address, **CALM) as made:
        for _ in range(20):
            made.begin("in", "1.00", queued=True)
        options = {**CALM, "verify_every_seconds": 86_400}
        processes = [jobs(migrated_url, provider.address, **options) for _ in range(3)]
        names = [
            "resolve", "inbox", "aftercare", "sweep", "outbox", "deliver", "expire", "verify", "seal", "mirror",
            "inspect", "alerts",
        ]  # fmt: skip
        assert [process.ready()["jobs"] for process in processes] == [names] * 3
        until(lambda: states(made) == {"confirmed"})
        until(lambda: all(run["finished_at"] for run in made.rows("SELECT * FROM job_run")))

        assert [process.stop() for process in processes] == [0, 0, 0]
        assert provider.owns(PLAYER) == 2000
        assert len(provider.wire(PLAYER, "complete")) == 20
        assert [run["outcome"] for run in made.rows("SELECT outcome FROM job_run")] == ["ok"] * 2


def test_a_stop_finishes_the_work_in_hand(migrated_url, tmp_path, jobs):
    """Design §10: SIGTERM while a request is on the wire: its answer is still stored, the exit code is 0."""
    with simulator(tmp_path, "--expiry", "20") as provider, bench(migrated_url, provider.address, **CALM) as made:
        provider.script(16, on="complete", params={"delay": 2})
        transfer = made.begin("in", "1.00", queued=True).transfer_id
        process = jobs(migrated_url, provider.address, **CALM)
        process.ready()
        until(lambda: made.rows("SELECT 1 FROM attempt WHERE step = 'complete'"))

        assert process.stop() == 0
        assert made.row(transfer)["state"] == "confirmed"
        assert provider.owns(PLAYER) == 100


def test_asked_often_to_stop_it_stops(migrated_url, tmp_path, jobs):
    """Design §10: signal upon signal, as from somebody impatient: it ends, and the exit code is 0."""
    process = jobs(migrated_url, "http://127.0.0.1:9", **CALM)
    process.ready()
    for _ in range(200):
        process.process.send_signal(signal.SIGTERM)
        process.process.send_signal(signal.SIGINT)

    assert process.stop() == 0


def test_what_a_killed_process_had_in_hand_is_taken_over(migrated_url, tmp_path, jobs):
    """C-45, I-31: SIGKILL in the middle of a complete: after its lease another process proves the one effect."""
    with simulator(tmp_path, "--expiry", "20") as provider, bench(migrated_url, provider.address, **CALM) as made:
        provider.script(16, on="complete", params={"delay": 4})
        transfer = made.begin("in", "1.00", queued=True).transfer_id
        first = jobs(migrated_url, provider.address, **CALM)
        first.ready()
        until(lambda: provider.owns(PLAYER) == 100)
        assert first.stop(signal.SIGKILL) == -signal.SIGKILL
        assert made.row(transfer)["state"] == "pending"

        second = jobs(migrated_url, provider.address, **CALM)
        second.ready()
        until(lambda: made.row(transfer)["state"] == "confirmed")

        assert second.stop() == 0
        assert provider.owns(PLAYER) == 100
        assert len(provider.wire(PLAYER, "complete")) == 1


def refused(tmp_path, config: str) -> subprocess.CompletedProcess[str]:
    """A start that is expected to fail."""
    file = tmp_path / "refused.toml"
    file.write_text(config)
    return subprocess.run(
        [sys.executable, "-m", "jobs"],
        cwd=ROOT,
        env={"BRIDGE_CONFIG": str(file), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_an_unmigrated_database_is_one_sentence(database_url, tmp_path):
    """Issue, point 10: exit code 2, one sentence, no traceback."""
    ended = refused(tmp_path, f'[database]\nurl = "{database_url}"\n')

    assert ended.returncode == 2
    assert ended.stderr == "The database is empty: run `python -m bridge migrate` first.\n"


def test_an_unknown_key_is_named(tmp_path):
    """Design §8: a misspelt key is refused by its name."""
    ended = refused(tmp_path, "[engine]\nresolve_thread = 8\n")

    assert ended.returncode == 2
    assert "unknown key engine.resolve_thread." in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_job_that_raises_stays_scheduled(migrated_url):
    """C-19: an error ends a run, never the schedule; after a stop was asked for nothing is begun."""
    with bench(migrated_url) as made:
        runs = []

        def raising(_runtime, now, _limit, _stop):
            runs.append(now)
            raise OSError("the database is gone")

        job, stop = Job("raising", lambda _engine: 1, raising, 1, "a test"), Event()
        entry.run(made.runtime, job, stop)
        entry.run(made.runtime, job, stop)
        stop.set()
        entry.run(made.runtime, job, stop)

        assert len(runs) == 2


def test_no_run_is_skipped_because_it_is_late(migrated_url):
    """C-39: late firings run, once; in UTC. Of two at a time the shift begins one."""
    with bench(migrated_url) as made:
        scheduler: BaseScheduler = entry.build(Shift(made.runtime, Event()))
        scheduler.start(paused=True)
        try:
            planned = scheduler.get_jobs()
            assert {job.id for job in planned} == {job.name for job in SCHEDULE} | {"board beat", "board look"}
            assert {(job.misfire_grace_time, job.coalesce) for job in planned} == {(None, True)}
            once = {job.id: job.max_instances for job in planned}
            assert once == {each.name: 2 for each in SCHEDULE} | {"board beat": 1, "board look": 1}
            assert str(scheduler.timezone) == "UTC"
            first = [job.next_run_time for job in planned if job.id in {each.name for each in SCHEDULE}]
            assert len({at.microsecond for at in first}) == len(SCHEDULE), "two jobs begin at once in each second"
            assert max(first) - min(first) < timedelta(seconds=1)
        finally:
            scheduler.shutdown()


def test_every_job_has_its_file_and_its_line():
    """Design §9: one file a job, each on the schedule."""
    apart = {"__init__", "__main__", "schedule", "shift", "crew", "ticks"}
    files = {path.stem for path in (ROOT / "jobs").glob("*.py")} - apart

    assert files == {job.name for job in SCHEDULE}
