"""Seal: what is written for ever is added to the chains, behind the work.

1. Each table is sealed up to a place that was seen `audit.delay_seconds` ago, in pieces, one after the other in turn.
2. Places that were sealed ten minutes ago are looked at again: what came too late is sealed by a run that says so.

Any number of processes may do it: rows are hashed without a lock, and whoever adds seals first sees that nobody has
added the same ones. What is wrong with one table keeps no other from being sealed; then the run has failed, which the
board tells. After each piece it rests as long as it took: money's threads share this process.
"""

from __future__ import annotations

from threading import Event

from bridge import log
from bridge.audit import sealing, standing
from bridge.audit.sealed import SOURCES, Source
from bridge.ports import SECOND
from bridge.runtime import Runtime

TICK_SECONDS = 30
"""A run that still finds something after this long ends, and leaves the rest to the next tick."""

REST_AT_MOST = 1.0
"""Seconds between two pieces: a machine that stood still is not waited for as long again."""

_log = log.get("jobs")


class TablesFailed(Exception):
    """Some tables could not be sealed; the others were."""


def run_once(runtime: Runtime, now: int, limit: int, stop: Event) -> dict[str, int]:
    """One tick at `now` (microseconds) for at most about `limit` rows. Counts: sealed, late.

    Raises TablesFailed when all tables were tried and some could not be done.
    """
    counts = {"sealed": 0, "late": 0, "failed": 0}
    _run(runtime, now, limit, stop, counts)
    if not stop.is_set():
        _keep(runtime, failed=bool(counts["failed"]))
    if failed := counts.pop("failed"):
        raise TablesFailed(f"{failed} failures, see the log; {counts}")
    return counts


def _keep(runtime: Runtime, *, failed: bool) -> None:
    """Also where a table failed: people are told which one is late, and not that nobody seals."""
    try:
        standing.keep(runtime)
    except Exception:
        if not failed:
            raise
        _log.exception("standing not kept")  # what cannot be sealed can often not be read either


def _run(runtime: Runtime, now: int, limit: int, stop: Event, counts: dict[str, int]) -> None:
    ends = now + TICK_SECONDS * SECOND
    todo = [(source, scope) for source in SOURCES for scope in _scopes(runtime, source, counts)]
    for source, scope in list(todo):
        if stop.is_set():
            return
        late = _done(runtime, source, scope, counts, again=True)
        counts["late"] += late or 0
    while todo:
        for source, scope in list(todo):
            left = limit - counts["sealed"]
            if left <= 0 or stop.is_set() or runtime.clock.now() >= ends:
                return
            began = runtime.clock.monotonic()
            sealed = _done(runtime, source, scope, counts, again=False)
            if sealed:
                counts["sealed"] += sealed
                stop.wait(min(REST_AT_MOST, runtime.clock.monotonic() - began))
            else:
                todo.remove((source, scope))


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
