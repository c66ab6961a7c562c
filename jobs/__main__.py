"""`python -m jobs`: the scheduler in a process of its own; any number of them may run.

APScheduler is only the clock. What has to be done stands in rows, and rows are claimed, so a job that runs
twice, late or not at all in one process changes nothing. SIGTERM finishes the work in hand.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from datetime import UTC, datetime
from threading import Event, Thread

from apscheduler.schedulers.background import BackgroundScheduler

from bridge import clocks, doctor, log
from bridge.ports import SECOND
from bridge.runtime import Runtime
from jobs.schedule import SCHEDULE, Job

STOP = (signal.SIGTERM, signal.SIGINT)
LAST_WORK_SECONDS = 45.0
"""A stop waits no longer: longer than any one exchange with a provider; a lease covers what is cut off."""

_log = log.get("jobs")


def build(runtime: Runtime, stop: Event) -> BackgroundScheduler:
    """A scheduler with every job of SCHEDULE, the first run at once; it is not started yet.

    No run is dropped because it comes late (`misfire_grace_time` None), late ones run once (`coalesce`).
    """
    scheduler = BackgroundScheduler(
        timezone="UTC",
        executors={"default": {"type": "threadpool", "max_workers": len(SCHEDULE)}},
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
    )
    at_once = datetime.fromtimestamp(runtime.clock.now() / SECOND, UTC)
    for job in SCHEDULE:
        seconds = job.every(runtime.config)
        scheduler.add_job(
            run, "interval", seconds=seconds, args=(runtime, job, stop), id=job.name, next_run_time=at_once
        )
    return scheduler


def run(runtime: Runtime, job: Job, stop: Event) -> None:
    """One run of a job; an error is logged and the job stays scheduled (C-19)."""
    if stop.is_set():
        return
    try:
        if clocks.is_off(runtime):
            return
        counts = job.run_once(runtime, runtime.clock.now(), job.limit, stop)
    except Exception:  # noqa: BLE001 - a job that failed runs again at its next tick
        _log.exception("job failed", job=job.name)
        return
    if any(counts.values()):
        _log.info("job done", job=job.name, **counts)


def main() -> int:
    """The exit code: 0 after a stop; exits with 2 where it cannot start."""
    # Waited for, not handled: a handler that sets an event can wait for a lock that the interrupted code holds.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP)  # before any thread is started: threads inherit it
    runtime = doctor.bridge_or_exit()
    logging.getLogger("apscheduler").setLevel(logging.CRITICAL)  # a tick that is skipped because one runs is no news
    stop = Event()
    scheduler = build(runtime, stop)
    scheduler.start()
    print(json.dumps({"jobs": [job.name for job in SCHEDULE], "pid": os.getpid()}), flush=True)
    signal.sigwait(STOP)
    stop.set()
    last = Thread(target=scheduler.shutdown, daemon=True)
    last.start()
    last.join(LAST_WORK_SECONDS)
    if last.is_alive():
        _log.error("stopped with work in hand", seconds=LAST_WORK_SECONDS)
        os._exit(0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
