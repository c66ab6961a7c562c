"""Inbox: acts on what providers told us unasked; each message by itself, oldest first.

1. Due messages are taken under a short lease, so that several processes share the work.
2. Each is acted on. One that fails is set aside and comes again later, for ever; the others go on.
"""

from __future__ import annotations

from threading import Event

from bridge import inbox, log
from bridge.ports import SECOND
from bridge.runtime import Runtime
from bridge.transfers import hear

TICK_SECONDS = 30
"""A run that still finds something due after this long ends, and leaves the rest to the next tick."""

BATCH = 20
"""Messages taken at once: far fewer than are acted on while their lease lasts."""

_log = log.get("jobs")


def run_once(runtime: Runtime, now: int, limit: int, stop: Event) -> dict[str, int]:
    """One tick at `now` (microseconds) for at most `limit` messages. Counts: taken, acted, set_aside."""
    ends = now + TICK_SECONDS * SECOND
    counts = {"taken": 0, "acted": 0, "set_aside": 0}
    while counts["taken"] < limit and runtime.clock.now() < ends and not stop.is_set():
        batch = inbox.due(runtime, min(BATCH, limit - counts["taken"]))
        if not batch:
            break
        counts["taken"] += len(batch)
        for inbox_id in batch:
            counts["acted" if _act(runtime, inbox_id) else "set_aside"] += 1
    return counts


def _act(runtime: Runtime, inbox_id: int) -> bool:
    """Where not even setting it aside works, as in an outage of the database, its lease runs out by itself."""
    try:
        return hear.act_or_set_aside(runtime, inbox_id)
    except Exception:  # noqa: BLE001 - one bad row must not end the run
        _log.exception("message left to its lease", message=inbox_id)
        return False
