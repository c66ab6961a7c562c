"""Tallies: what is counted of moves."""

from __future__ import annotations

from bridge import db, events, tallies
from tests.harness import Bench, together


def counted(casino: Bench) -> int:
    """Moves of all time."""
    with db.reading(casino.runtime.engine) as connection:
        return sum(row["moves"] for row in tallies.read(connection))


def test_each_move_is_counted_once_by_eight_at_once(casino: Bench) -> None:
    """C-38 Whoever numbers, however many do: the tally is the number of events."""
    for _ in range(20):
        casino.run("in", "1.00")
    together(8, lambda _: events.number(casino.another().runtime, casino.operator, 3))
    while events.number(casino.runtime, casino.operator, 100):
        pass
    assert counted(casino) == 20
    assert sum(row["units"] for row in casino.rows("SELECT units FROM tally")) == 2000


def test_a_lifes_turnover_has_room(casino: Bench) -> None:
    """More value than 64 bits hold is added up exactly."""
    row = {"provider": "p", "currency": "EUR", "direction": "in", "state": "confirmed", "arrived": None,
           "amount": 10**15 - 1, "at": 10**16, "created_at": 0}  # fmt: skip
    for _ in range(3):
        with db.writing(casino.runtime.engine) as connection:
            tallies.add(connection, casino.operator, [row] * 10_000)
    with db.reading(casino.runtime.engine) as connection:
        (found,) = tallies.read(connection)
    assert found["giga_units"] * tallies.GIGA + found["units"] == 30_000 * (10**15 - 1)
    assert found["moves"] == 30_000


def test_a_histogram_grows_to_all() -> None:
    """As Prometheus has it: each bound counts what is below it too."""
    told = list(tallies.cumulative({0: 2, 3: 1, 13: 4}))
    assert told[0] == ("0.1", 2)
    assert told[3] == ("1.0", 3)
    assert told[-2:] == [("86400.0", 3), ("+Inf", 7)]
