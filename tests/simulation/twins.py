"""Twin stories: the same clients, once with nothing going wrong, and once with only what must not matter.

I13: callbacks that are late, lost and sent again, doubled, in any order. I14: clocks that are off or are set. Every
transfer has to end as it does without.
"""

from __future__ import annotations

from tests.simulation.story import Stage, Story

CALLBACKS = frozenset({"callback_lost", "callback_delayed", "callback_repeated"})
CLOCKS = frozenset({"clock_skew", "clock_jump"})


def differing(stage: Stage, seed: int) -> str:
    """Which invariant does not hold, and the first transfer that shows it; empty if none."""
    plain = Story(stage, seed, only=frozenset()).run()
    for invariant, kinds in (("I13", CALLBACKS), ("I14", CLOCKS)):
        twin = Story(stage, seed, only=kinds).run()
        broken = [*plain.violations, *twin.violations]
        if broken:
            return f"{broken[0]} (in a twin story with only {', '.join(sorted(kinds))})"
        for key, end in plain.ends.items():
            if twin.ends.get(key) != end:
                kinds_told = ", ".join(sorted(kinds))
                return f"{invariant}: {key} ends as {end}, and with only {kinds_told} as {twin.ends.get(key)}"
    return ""
