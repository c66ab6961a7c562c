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
from datetime import UTC, datetime, timedelta
from threading import Event, Thread

from apscheduler.schedulers.background import BackgroundScheduler

from bridge import board, doctor, log
from bridge.ports import SECOND
from jobs.schedule import SCHEDULE
from jobs.shift import LOOK_SECONDS, Shift, run
from jobs.ticks import Every, bring_near

STOP = (signal.SIGTERM, signal.SIGINT)
LAST_WORK_SECONDS = 45.0
"""A stop waits no longer: longer than any one exchange with a provider; a lease covers what is cut off."""

BOARD_TICKS = {"beat": board.BEAT_SECONDS, "look": LOOK_SECONDS}
"""What the shift does by itself, and how often, in seconds; in threads of their own, so that no job delays it."""

__all__ = ["build", "main", "run"]

_log = log.get("jobs")


def build(shift: Shift) -> BackgroundScheduler:
    """A scheduler with every job of SCHEDULE, the first run within a second, and the two ticks of the shift itself; it
    is not started yet.

    Each job keeps a place of its own within the second: begun together, they take the processors from the web all at
    once, and players feel it.
    No run is dropped because it comes late (`misfire_grace_time` None), late ones run once (`coalesce`). That a job is
    in hand once is the shift's own care: what is wanted while a run ends must reach it (`max_instances` 2).
    """
    scheduler = BackgroundScheduler(
        timezone="UTC",
        executors={
            "default": {"type": "threadpool", "max_workers": len(SCHEDULE)},
            "board": {"type": "threadpool", "max_workers": len(BOARD_TICKS)},
        },
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
    )
    begin, place = _now(shift), timedelta(seconds=1) / len(SCHEDULE)
    for number, job in enumerate(SCHEDULE):
        every, first = Every(job.every(shift.runtime.config)), begin + number * place
        scheduler.add_job(shift.tick, every, args=(job,), id=job.name, next_run_time=first, max_instances=2)
    for name, seconds in BOARD_TICKS.items():
        every, first = Every(seconds), begin + timedelta(seconds=seconds)
        scheduler.add_job(getattr(shift, name), every, id=f"board {name}", executor="board", next_run_time=first)
    shift.hurry = lambda job: scheduler.modify_job(job, next_run_time=_now(shift))
    return scheduler


def _now(shift: Shift) -> datetime:
    return datetime.fromtimestamp(shift.runtime.clock.now() / SECOND, UTC)


def wait(shift: Shift, scheduler: BackgroundScheduler) -> None:
    """Until somebody wants a stop. Meanwhile it is looked whether the clock was set back: from here, for what is
    planned by that clock cannot see it."""
    while signal.sigtimedwait(STOP, LOOK_SECONDS) is None:
        late = bring_near(scheduler, _now(shift))
        if late:
            _log.warning("planned anew: the clock was set back", jobs=late)


def main() -> int:
    """The exit code: 0 after a stop; exits with 2 where it cannot start."""
    # Waited for, not handled: a handler that sets an event can wait for a lock that the interrupted code holds.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP)  # before any thread is started: threads inherit it
    runtime = doctor.bridge_or_exit()
    logging.getLogger("apscheduler").setLevel(logging.CRITICAL)  # a tick that is skipped because one runs is no news
    stop = Event()
    shift = Shift(runtime, stop)
    shift.begin()
    scheduler = build(shift)
    scheduler.start()
    print(json.dumps({"jobs": [job.name for job in SCHEDULE], "pid": os.getpid()}), flush=True)
    wait(shift, scheduler)
    stop.set()
    last = Thread(target=scheduler.shutdown, daemon=True)
    last.start()
    last.join(LAST_WORK_SECONDS)
    shift.end()
    if last.is_alive():
        _log.error("stopped with work in hand", seconds=LAST_WORK_SECONDS)
        os._exit(0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
