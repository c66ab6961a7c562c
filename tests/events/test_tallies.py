"""Tallies: what is counted of moves, in which hour, and for how long it is kept."""

from __future__ import annotations

import math

import pytest

from bridge import db, events, tallies
from tests.harness import Bench, Hands, together


def counted(casino: Bench) -> int:
    """Moves of all time."""
    with db.reading(casino.runtime.engine) as connection:
        return sum(row["moves"] for row in tallies.of_all_time(connection))


def test_each_move_is_counted_once_by_eight_at_once(casino: Bench) -> None:
    """C-38 Whoever numbers, however many do: the tally is the number of events."""
    for _ in range(20):
        casino.run("in", "1.00")
    together(8, lambda _: events.number(casino.another().runtime, 3))
    while events.number(casino.runtime, 100):
        pass
    assert counted(casino) == 20
    assert sum(row["units"] for row in casino.rows("SELECT units FROM tally WHERE slot = 0")) == 2000


def test_hours_are_apart_and_forgotten(casino: Bench, hands: Hands) -> None:
    """The charts of a month; what is of all time stays."""
    for hours in (0, 1, 1):
        hands.turn(hours * 3600)
        casino.run("in", "1.00")
        events.number(casino.runtime, 10)
    with db.reading(casino.runtime.engine) as connection:
        slots = [row["slot"] for row in tallies.by_hour(connection, 0)]
        assert [slot - slots[0] for slot in slots] == [0, tallies.HOUR, 2 * tallies.HOUR]
        assert len(tallies.by_hour(connection, slots[1])) == 2
    hands.turn((tallies.KEPT_HOURS - 1) * 3600)
    casino.run("in", "1.00")
    events.number(casino.runtime, 10)
    with db.reading(casino.runtime.engine) as connection:
        assert len(tallies.by_hour(connection, 0)) == 2
    assert counted(casino) == 4


@pytest.mark.parametrize(
    ("buckets", "share", "found"),
    [
        ({}, 0.5, None), ({0: 0}, 0.5, None), ({0: 1}, 0.99, 0.1), ({0: 99, 5: 1}, 0.99, 0.1), ({0: 98, 5: 2}, 0.99, 5),
        ({0: 1, 13: 1}, 0.5, 0.1), ({0: 1, 13: 1}, 0.99, math.inf), ({3: 1}, 0.5, 1),
    ],
)  # fmt: skip
def test_quantile(buckets: dict[int, int], share: float, found: float | None) -> None:
    """The upper bound of the bucket in which that share is reached."""
    assert tallies.quantile(buckets, share) == found


def test_a_histogram_grows_to_all() -> None:
    """As Prometheus has it: each bound counts what is below it too."""
    told = list(tallies.cumulative({0: 2, 3: 1, 13: 4}))
    assert told[0] == ("0.1", 2)
    assert told[3] == ("1.0", 3)
    assert told[-2:] == [("86400.0", 3), ("+Inf", 7)]
