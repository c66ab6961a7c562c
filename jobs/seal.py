"""Seal: what is written for ever is added to the chains, behind the work.

1. Each table is sealed up to a place that was seen `audit.delay_seconds` ago, in pieces, one after the other in turn.
2. Places that were sealed ten minutes ago are looked at again: what came too late is sealed by a run that says so.

Any number of processes may do it: rows are hashed without a lock, and whoever adds seals first sees that nobody has
added the same ones. What is wrong with one table keeps no other from being sealed.
"""

from __future__ import annotations

from threading import Event

from bridge import log
from bridge.audit import sealing
from bridge.audit.sealed import SOURCES, Source
from bridge.ports import SECOND
from bridge.runtime import Runtime

TICK_SECONDS = 30
"""A run that still finds something after this long ends, and leaves the rest to the next tick."""

_log = log.get("jobs")


def run_once(runtime: Runtime, now: int, limit: int, stop: Event) -> dict[str, int]:
    """One tick at `now` (microseconds) for at most about `limit` rows. Counts: sealed, late, failed (tables)."""
    counts = {"sealed": 0, "late": 0, "failed": 0}
    ends = now + TICK_SECONDS * SECOND
    todo = [(source, scope) for source in SOURCES for scope in _scopes(runtime, source, counts)]
    for source, scope in list(todo):
        if stop.is_set():
            return counts
        late = _done(runtime, source, scope, counts, again=True)
        counts["late"] += late or 0
    while todo:
        for source, scope in list(todo):
            left = limit - counts["sealed"]
            if left <= 0 or stop.is_set() or runtime.clock.now() >= ends:
                return counts
            sealed = _done(runtime, source, scope, counts, again=False)
            if sealed:
                counts["sealed"] += sealed
            else:
                todo.remove((source, scope))
    return counts


def _scopes(runtime: Runtime, source: Source, counts: dict[str, int]) -> list[int]:
    try:
        return sealing.every(runtime, source)
    except Exception:  # noqa: BLE001 - one table delays no other
        _log.exception("table not sealed", table=source.name)
        counts["failed"] += 1
        return []


def _done(runtime: Runtime, source: Source, scope: int, counts: dict[str, int], *, again: bool) -> int | None:
    """The next piece of a table; None where it could not be done."""
    work = sealing.look_again if again else sealing.seal
    try:
        return work(runtime, source, scope)
    except Exception:  # noqa: BLE001 - whatever is wrong with one table, the others are sealed
        _log.exception("table not sealed", table=source.name, scope=scope)
        counts["failed"] += 1
        return None
