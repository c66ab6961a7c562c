"""How long a client wants to wait (RFC 7240), and waiting that long for the end of a transfer."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bridge.runtime import Runtime
from bridge.transfers import stories
from bridge.transfers.rows import Story

SHORTEST_STEP, LONGEST_STEP = 0.1, 0.25
"""Seconds between two looks at the row."""

_WAIT = re.compile(r'wait *= *"?([0-9]{1,6})"?', re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Preference:
    """What a `Prefer` header asks for, as far as it is granted. `seconds` is the wait budget."""

    seconds: float
    applied: str = ""
    said_wait: bool = False

    @property
    def queued(self) -> bool:
        """Nothing is to be waited for: the resolver makes the first request."""
        return self.seconds <= 0


def preferred(header: str, at_most: float) -> Preference:
    """`wait=N` shortens the wait, `respond-async` alone ends it; what is not understood is passed over."""
    wishes = [part.split(";")[0].strip() for part in header.split(",")]
    waits = [match for match in map(_WAIT.fullmatch, wishes) if match is not None]
    if waits:
        granted = min(float(waits[0][1]), at_most)
        return Preference(granted, f"wait={int(granted)}", said_wait=True)
    if any(wish.lower() == "respond-async" for wish in wishes):
        return Preference(0, "respond-async")
    return Preference(at_most)


def for_end(runtime: Runtime, operator_id: int, transfer_id: str, until: float) -> Story:
    """The transfer once it is no longer pending, or as it stands at `until` (monotonic seconds).

    No connection is held between two looks.
    """
    step = SHORTEST_STEP
    while (left := until - runtime.clock.monotonic()) > 0 and stories.is_pending(runtime, operator_id, transfer_id):
        runtime.clock.sleep(min(step, left))
        step = min(step * 1.5, LONGEST_STEP)
    return stories.one(runtime, operator_id, transfer_id)
