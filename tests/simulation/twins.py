"""Twin stories: the same clients, once with nothing going wrong but answers that are lost or say that it is not decided
yet, and once with what must not matter beside that.

I13: callbacks that are late, lost and sent again, doubled, in any order. I14: clocks that are off or are set. In both
strands overtake each other, and in the story without they do not. Every transfer has to end as it does there.
"""

from __future__ import annotations

from tests.simulation.platform import wishes
from tests.simulation.story import Stage, Story

EVERY = 25
"""One seed in so many has a twin, by turns of either kind: two more stories."""

KINDS = (("I13", ("callback_lost", "callback_delayed", "callback_repeated")), ("I14", ("clock_skew", "clock_jump")))


def differing(stage: Stage, seed: int) -> str:
    """Which invariant does not hold, and the first transfer that shows it; empty if none, or no twin."""
    if seed % EVERY:
        return ""
    invariant, kinds = KINDS[seed // EVERY % len(KINDS)]
    plain = Story(stage, seed, only=frozenset()).run()
    if plain.states.keys() - {"confirmed", "reversed"}:
        return f"I13: of a story in which every transfer is decided by its provider, not all have ended: {plain.states}"
    planned = {wish.key for wish in wishes(seed)}
    twin = Story(stage, seed, only=frozenset(kinds)).run()
    broken = [*plain.violations, *twin.violations, *plain.errors, *twin.errors]
    if broken:
        return f"{broken[0]} (in a twin story with only {', '.join(kinds)})"
    swept = plain.swept | twin.swept
    for key in sorted(planned & (plain.ends.keys() | twin.ends.keys())):
        ends = plain.ends.get(key), twin.ends.get(key)
        # How much a sweep finds, and leaves, depends on when it comes; so does whether the clients want more.
        if ends[0] != ends[1] and not any(end.lane in swept for end in ends if end is not None):
            return f"{invariant}: {key} ends as {ends[0]}, and with only {', '.join(kinds)} as {ends[1]}"
    return ""
