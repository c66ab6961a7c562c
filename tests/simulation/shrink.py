"""Which of a story's faults and wishes it takes to break the same invariant: delta debugging over the tape."""

from __future__ import annotations

import time
from collections.abc import Sequence

from tests.simulation.story import Outcome, Stage, Story

SECONDS_AT_MOST = 60


def shrunk(stage: Stage, outcome: Outcome) -> list[str]:
    """The fewest decisions found, within a minute, under which the seed still breaks what it broke."""
    wanted = outcome.violations[0].invariant
    ends = time.monotonic() + SECONDS_AT_MOST

    def breaks(kept: Sequence[str]) -> bool:
        found = Story(stage, outcome.seed, kept).run().violations
        return bool(found) and found[0].invariant == wanted

    kept = [str(decision) for decision in outcome.tape]
    if not breaks(kept):
        return kept
    parts = 2
    while len(kept) > 1 and time.monotonic() < ends:
        size = max(1, -(-len(kept) // parts))
        chunks = [kept[place : place + size] for place in range(0, len(kept), size)]
        for chunk in chunks:
            rest = [decision for decision in kept if decision not in set(chunk)]
            if breaks(rest):
                kept, parts = rest, max(2, parts - 1)
                break
            if time.monotonic() > ends:
                return kept
        else:
            if size == 1:
                break
            parts = min(len(kept), parts * 2)
    return kept
