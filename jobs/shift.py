"""A shift: the jobs as one process runs them, and what the board is told of it.

1. Each tick of the scheduler runs one job, unless people have paused it; what came of it is noted on the board.
2. What people want to be run now is taken by the first process that is free for it.
3. The process's beat says that it lives, and what it has in hand. It is a tick of the same scheduler: where that one
   stands still, there is no beat.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from threading import Event, Lock

from bridge import board, db, log, traces, watch
from bridge.board import Ended, Planned, Standing
from bridge.ports import SECOND
from bridge.runtime import Runtime
from jobs.schedule import SCHEDULE, Job

LOOK_SECONDS = 1
"""How often it is looked for what people want to be run now."""

PROJECT = Path(__file__).resolve().parents[1]

_log = log.get("jobs")


def run(runtime: Runtime, job: Job, stop: Event, *, at_once: bool = False) -> dict[str, int] | Exception | None:
    """One run of a job: its counts, or the error, which is logged while the job stays scheduled (C-19); None where
    nothing was begun. `at_once`: a person wants it, also if it had its turn."""
    if stop.is_set():
        return None
    try:
        if watch.hindrance(runtime) is not None:
            return None
        work = job.at_once if at_once and job.at_once is not None else job.run_once
        with traces.span("job", job=job.name):
            counts = work(runtime, runtime.clock.now(), job.limit, stop)
    except Exception as error:  # noqa: BLE001 - a job that failed runs again at its next tick
        _log.exception("job failed", job=job.name)
        return error
    if any(counts.values()):
        _log.info("job done", job=job.name, **counts)
    return counts


class Shift:
    """The jobs of one process. `hurry(job)` has the scheduler fire a job at once."""

    def __init__(self, runtime: Runtime, stop: Event) -> None:
        self.runtime, self._stop, self._started_at = runtime, stop, runtime.clock.now()
        self._lock = Lock()
        self._in_hand: dict[str, int] = {}
        self._wishes: dict[str, int] = {}
        self.hurry: Callable[[str], None] = lambda _job: None

    def begin(self) -> None:
        """Write the schedule on the board; what is wrong with the board keeps no job from running."""
        planned = [Planned(job.name, job.every(self.runtime.config), job.why) for job in SCHEDULE]
        try:
            board.enrol(self.runtime, planned)
        except Exception:  # noqa: BLE001 - whatever it is
            _log.exception("board not written")
        self.beat()

    def tick(self, job: Job) -> None:
        """One tick of a job, and another at once where somebody wanted it meanwhile: the scheduler would drop that
        one. Nothing where this process has the job in hand."""
        with self._lock:
            if job.name in self._in_hand:
                return
            self._in_hand[job.name] = self.runtime.clock.now()
        try:
            self._once(job)
            while self._is_wanted_again(job.name):
                self._once(job)
        except BaseException:
            with self._lock:
                self._in_hand.pop(job.name, None)
            raise

    def _is_wanted_again(self, job: str) -> bool:
        """If not, it is out of hand in the same instant: no wish comes between."""
        with self._lock:
            if job in self._wishes:
                return True
            del self._in_hand[job]
            return False

    def _once(self, job: Job) -> None:
        runtime, seen = self.runtime, self._standing(job.name)
        with self._lock:
            # One that this tick came too late for is not carried out any more: whoever had it has gone home.
            wished_at = self._wishes.pop(job.name, None)
            wanted = wished_at is not None and runtime.clock.now() - wished_at < board.WISH_SECONDS * SECOND
            self._in_hand[job.name] = started = runtime.clock.now()
        came = None if seen.rests else run(runtime, job, self._stop, at_once=wanted)
        if came is None:
            return
        error = told(came) if isinstance(came, Exception) else ""
        counts = {} if isinstance(came, Exception) else came
        try:
            board.note(runtime, seen, Ended(started, runtime.clock.now(), counts, error, wanted))
        except Exception:  # noqa: BLE001 - the work is done, whatever is wrong with the board
            _log.exception("run not noted", job=job.name)

    def _standing(self, job: str) -> Standing:
        try:
            with db.reading(self.runtime.engine) as connection:
                return board.standing(connection, job, self.runtime.clock.now())
        except Exception:  # noqa: BLE001 - it runs, and fails by itself if the database is away
            _log.exception("board not read", job=job)
            return Standing(job, rests=False)

    def look(self) -> None:
        """Take what people want to be run now, unless this process is at it already."""
        if self._stop.is_set():
            return
        try:
            with db.reading(self.runtime.engine) as connection:
                wanted = board.wanted(connection, self.runtime.clock.now())
            if wanted and watch.hindrance(self.runtime) is not None:
                return  # others take it
            for job, wanted_at in wanted:
                if self._is_free(job) and board.take(self.runtime, job, wanted_at):
                    with self._lock:
                        self._wishes[job] = wanted_at
                    _log.info("job wanted", job=job)
                    self.hurry(job)
        except Exception:  # noqa: BLE001 - it is looked again
            _log.exception("wishes not looked at")

    def _is_free(self, job: str) -> bool:
        with self._lock:
            return job not in self._in_hand and any(each.name == job for each in SCHEDULE)

    def beat(self) -> None:
        """Say that this process lives, unless something keeps it from working: then it must not seem to."""
        with self._lock:
            at_work = dict(self._in_hand)
        try:
            if watch.hindrance(self.runtime) is None:
                board.beat(self.runtime, self._started_at, at_work)
        except Exception:  # noqa: BLE001 - it is tried again
            _log.exception("beat not written")

    def end(self) -> None:
        """The process ends: its beat goes with it."""
        try:
            board.leave(self.runtime)
        except Exception:  # noqa: BLE001 - it goes stale by itself
            _log.exception("beat not removed")


def told(error: Exception) -> str:
    """An error for the board: its kind, and the last line of ours that it came through. Its text may hold anything,
    also what a provider or a database said, and is in the log alone."""
    ours = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(PROJECT) and ".venv" not in frame.filename
    ]
    where = f" at {Path(ours[-1].filename).relative_to(PROJECT)}:{ours[-1].lineno}" if ours else ""
    return f"{type(error).__name__}{where}"
