"""Expire: what was proposed at the desk and not approved in time has lapsed; its case is open again."""

from __future__ import annotations

from threading import Event

from bridge import log
from bridge.desk import proposals
from bridge.runtime import Runtime

_log = log.get("jobs")


def run_once(runtime: Runtime, now: int, limit: int, stop: Event) -> dict[str, int]:
    """One tick at `now` (microseconds) for at most `limit` proposals. Counts: due, expired, failed."""
    counts = {"due": 0, "expired": 0, "failed": 0}
    for proposal_id in proposals.lapsed(runtime, now, limit):
        if stop.is_set():
            break
        counts["due"] += 1
        try:
            counts["expired"] += proposals.expire(runtime, proposal_id)
        except Exception:  # noqa: BLE001 - whatever is wrong with one, the others expire
            counts["failed"] += 1
            _log.exception("proposal not expired", proposal=proposal_id)
    return counts
