"""Holds the key of states to account: two states that it calls the same must do the same."""

from __future__ import annotations

from tests.simulation.orderings.events import State
from tests.simulation.orderings.search import Search


def differences(search: Search, depth: int) -> tuple[int, list[str]]:
    """How many pairs of different states with one key were compared down to `depth`, and where one of a pair can do
    what the other cannot, or comes out elsewhere."""
    level, first = [search.start], {search.key(search.start): search.start}
    pairs, found = 0, []
    for _ in range(depth):
        ahead = []
        for state in level:
            for step in search.events.steps(state):
                key, after = search.key(step.state), step.state
                other = first.setdefault(key, after)
                if other is after:
                    ahead.append(after)
                elif other != after:
                    pairs += 1
                    found += _compared(search, other, after)
        level = ahead
    return pairs, found


def _compared(search: Search, one: State, other: State) -> list[str]:
    mine, others = _outcomes(search, one), _outcomes(search, other)
    return [
        f"{label}: {mine.get(label)} and {others.get(label)} from {one} and {other}"
        for label in sorted({*mine, *others})
        if mine.get(label) != others.get(label)
    ]


def _outcomes(search: Search, state: State) -> dict[str, tuple[bytes, tuple[str, ...]]]:
    return {step.label: (search.key(step.state), step.wrong) for step in search.events.steps(state)}
