"""Which of a story's faults and wishes it takes to break the same invariant: delta debugging over the tape.

Bounded by stories, never by a clock: a busy machine comes to the same list, only later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.simulation.story import Outcome, Stage, Story

STORIES_AT_MOST = 200


def shrunk(stage: Stage, outcome: Outcome) -> list[str]:
    """The fewest decisions found under which the seed still breaks what it broke."""
    wanted = outcome.violations[0].invariant

    def breaks(kept: Sequence[str]) -> bool:
        found = Story(stage, outcome.seed, kept).run().violations
        return bool(found) and found[0].invariant == wanted

    kept = [str(decision) for decision in outcome.tape]
    return fewest(kept, breaks, STORIES_AT_MOST - 1) if breaks(kept) else kept


def fewest(kept: Sequence[str], breaks: Callable[[Sequence[str]], bool], tries: int) -> list[str]:
    """What is left of `kept` when nothing more can be left out, or after so many tries: halves, then quarters, and so
    on to single ones. Where a part could be left out, the next one stands in its place."""
    left, size = list(kept), len(kept)
    while size:
        size, place, before = -(-size // 2) if size > 1 else 1, 0, len(left)
        while place < len(left):
            if not tries or len(left) == 1:
                return left
            tries, rest = tries - 1, left[:place] + left[place + size :]
            if breaks(rest):
                left = rest
            else:
                place += size
        if size == 1 and len(left) == before:
            break
    return left
