"""Alerts: people are told what is wrong, again while it lasts, and when it is over.

1. What is wrong is compared with what is known to be; what is new is written, with its notices, in one commit.
2. What is due is sent: new notices, and those that were not taken before.
"""

from __future__ import annotations

from threading import Event

from bridge.alerts import episodes, sending
from bridge.runtime import Runtime

EVERY_SECONDS = 5


def run_once(runtime: Runtime, _now: int, limit: int, stop: Event) -> dict[str, int]:
    """One tick; at most `limit` notices go to each sink. Counts: told, sent, unsent."""
    told = {"told": 0}
    try:
        told["told"] = episodes.look(runtime)
    finally:  # whatever cannot be read, what was found before is sent
        sent = sending.send_due(runtime, limit, stop)
    return {**told, **sent}
