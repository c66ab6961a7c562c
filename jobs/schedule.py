"""What runs when: the whole schedule on one screen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Event

from bridge.config import EngineSection
from bridge.runtime import Runtime
from jobs import aftercare, inbox, resolve, sweep, verify

RunOnce = Callable[[Runtime, int, int, Event], dict[str, int]]


@dataclass(frozen=True)
class Job:
    """One line of the schedule: `every` gives its interval in seconds, `limit` bounds one run."""

    name: str
    every: Callable[[EngineSection], float]
    run_once: RunOnce
    limit: int
    why: str


SCHEDULE = (
    Job("resolve",   lambda engine: engine.resolve_every_seconds, resolve.run_once,   1000,
        "open transfers are driven when they are due, however long ago that was"),
    Job("inbox",     lambda _engine: 1,                           inbox.run_once,     1000,
        "what providers told us unasked is acted on, oldest first"),
    Job("aftercare", lambda _engine: 10,                          aftercare.run_once, 200,
        "a reversal that rests on our inference is asked about again: 1 min, 10 min, 1 h, 24 h"),
    Job("sweep",     lambda _engine: sweep.EVERY_SECONDS,         sweep.run_once,     10_000,
        "what a restore has closed is compared, balance by balance, and opened if all agrees"),
    Job("verify",    lambda engine: engine.verify_every_seconds,  verify.run_once,    5,
        "what must always hold is asked of the database, by one process per slot"),
)  # fmt: skip
