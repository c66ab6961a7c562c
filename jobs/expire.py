"""Expire: what was proposed at the desk and not approved in time has lapsed; its case is open again."""

from __future__ import annotations

from threading import Event

from bridge import log
from bridge.desk import proposals
from bridge.runtime import Runtime

_log = log.get("jobs")


class ProposalsFailed(Exception):
    """Some proposals could not be ended; the others were."""


def run_once(runtime: Runtime, now: int, limit: int, stop: Event) -> dict[str, int]:
    """One tick at `now` (microseconds) for at most `limit` proposals. Counts: due, expired.

    Raises ProposalsFailed when all were tried and some could not be ended.
    """
    counts, failed = {"due": 0, "expired": 0}, 0
    for proposal_id in proposals.lapsed(runtime, now, limit):
        if stop.is_set():
            break
        counts["due"] += 1
        try:
            counts["expired"] += proposals.expire(runtime, proposal_id)
        except Exception:  # noqa: BLE001 - whatever is wrong with one, the others expire
            failed += 1
            _log.exception("proposal not expired", proposal=proposal_id)
    if failed:
        raise ProposalsFailed(f"{failed} failures, see the log; {counts}")
    return counts
