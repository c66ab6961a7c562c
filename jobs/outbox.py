"""Outbox: moves become events, numbered in one sequence for each operator.

1. The rows of the outbox are given the next numbers, by one process at a time for each operator.
2. Each becomes the text that is sent, and a delivery to every enabled endpoint.
"""

from __future__ import annotations

from threading import Event

from bridge import events
from bridge.ports import SECOND
from bridge.runtime import Runtime

TICK_SECONDS = 30
"""A run that still finds something after this long ends, and leaves the rest to the next tick."""

BATCH = 200
"""Events numbered in one transaction, which holds the operator's sequence, and on SQLite the write lock."""


def run_once(runtime: Runtime, now: int, limit: int, stop: Event) -> dict[str, int]:
    """One tick at `now` (microseconds) for at most about `limit` events. Counts: numbered."""
    ends, numbered = now + TICK_SECONDS * SECOND, 0
    while numbered < limit and runtime.clock.now() < ends and not stop.is_set():
        made = events.number(runtime, min(BATCH, limit - numbered))
        if not made:
            break
        numbered += made
    return {"numbered": numbered}
