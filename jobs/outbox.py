"""Outbox: moves become events, numbered in one sequence for each operator.

1. What a restored backup means is dealt with first: no number is given again before operators are told so.
2. The rows of the outbox are given the next numbers, by one process at a time for each operator.
3. Each becomes the text that is sent, and a delivery to every enabled endpoint.
"""

from __future__ import annotations

from threading import Event

from bridge import events, lineage, log
from bridge.ports import SECOND
from bridge.runtime import Runtime

TICK_SECONDS = 30
"""A run that still finds something after this long ends, and leaves the rest to the next tick."""

BATCH = 200
"""Events numbered in one transaction, which holds the operator's sequence, and on SQLite the write lock."""

_log = log.get("jobs")


def run_once(runtime: Runtime, now: int, limit: int, stop: Event) -> dict[str, int]:
    """One tick at `now` (microseconds) for at most about `limit` events. Counts: numbered."""
    lineage.check(runtime)
    ends, numbered = now + TICK_SECONDS * SECOND, 0
    while operators := events.waiting(runtime):
        before = numbered
        for operator_id in operators:
            if numbered >= limit or runtime.clock.now() >= ends or stop.is_set():
                return {"numbered": numbered}
            numbered += _number(runtime, operator_id, min(BATCH, limit - numbered))
        if numbered == before:
            break
    return {"numbered": numbered}


def _number(runtime: Runtime, operator_id: int, limit: int) -> int:
    """What is wrong with one operator's moves delays no other's."""
    try:
        return events.number(runtime, operator_id, limit)
    except Exception:  # noqa: BLE001 - whatever it is
        _log.exception("moves left without a number", operator=operator_id)
        return 0
