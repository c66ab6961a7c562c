"""What runs when: the whole schedule on one screen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Event

from bridge.checks import HOUR_SECONDS
from bridge.config import Config
from bridge.runtime import Runtime
from jobs import aftercare, alerts, deliver, expire, inbox, inspect, mirror, outbox, resolve, seal, sweep, verify

RunOnce = Callable[[Runtime, int, int, Event], dict[str, int]]


@dataclass(frozen=True)
class Job:
    """One line of the schedule: `every` gives its interval in seconds, `limit` bounds one run. `at_once` is how it runs
    when a person wants it, where that is another way."""

    name: str
    every: Callable[[Config], float]
    run_once: RunOnce
    limit: int
    why: str
    at_once: RunOnce | None = None


def inspect_every(config: Config) -> float:
    """It is looked for a slot more often than one begins: an inspection that died is made soon."""
    return min(inspect.EVERY_SECONDS, config.audit.inspect_hours * HOUR_SECONDS)


SCHEDULE = (
    Job("resolve",   lambda config: config.engine.resolve_every_seconds, resolve.run_once,   1000,
        "open transfers are driven when they are due, however long ago that was"),
    Job("inbox",     lambda _config: 1,                                  inbox.run_once,     1000,
        "what providers told us unasked is acted on, oldest first"),
    Job("aftercare", lambda _config: 10,                                 aftercare.run_once, 200,
        "a reversal that rests on our inference is asked about again: 1 min, 10 min, 1 h, 24 h"),
    Job("sweep",     lambda _config: sweep.EVERY_SECONDS,                sweep.run_once,     10_000,
        "what a restore has closed is compared, balance by balance, and opened if all agrees"),
    Job("outbox",    lambda config: config.events.deliver_every_seconds, outbox.run_once,    10_000,
        "moves become events, numbered in one sequence for each operator"),
    Job("deliver",   lambda config: config.events.deliver_every_seconds, deliver.run_once,   10_000,
        "events are sent to their operators until they are taken, over days"),
    Job("expire",    lambda _config: 60,                                 expire.run_once,    1000,
        "what was proposed at the desk and not approved in time lapses"),
    Job("verify",    lambda config: config.engine.verify_every_seconds,  verify.run_once,    5,
        "what must always hold is asked of the database, by one process per slot", verify.run_again),
    Job("seal",      lambda config: config.audit.seal_every_seconds,     seal.run_once,      500_000,
        "what is written for ever is added to hash chains, behind the work"),
    Job("mirror",    lambda config: config.audit.mirror_seconds,         mirror.run_once,    1,
        "the chains' heads are signed and kept outside of the database"),
    Job("inspect",   inspect_every,                                      inspect.run_once,   100,
        "everything that was sealed is recomputed, by one process per slot", inspect.run_again),
    Job("alerts",    lambda _config: alerts.EVERY_SECONDS,               alerts.run_once,    100,
        "people are told what is wrong, and when it is over"),
)  # fmt: skip
