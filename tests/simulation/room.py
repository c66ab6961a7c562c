"""What may begin beside what is unresolved: no more value at a provider than its cap (I-57 of correctness.md), and
nothing on a lane, a player at a provider, whose policy forbids it (design §6, Lanes). Money that comes home may always.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tests.simulation.ledgers import minor
from tests.simulation.meant import is_inward
from tests.simulation.told import Ask

_UNRESOLVED = """SELECT id, player_id, currency, direction, amount FROM transfer
    WHERE provider = ? AND state IN ('pending', 'orphaned') AND id <> ?"""


class Room:
    """Judges at each begin, by a sum of its own. `providers`: as the operator has them configured."""

    def __init__(self, ask: Ask, fail: Callable[[str, str], None], providers: Mapping[str, Any]) -> None:
        self._ask, self._fail, self._providers = ask, fail, providers

    def check(self, row: Mapping[str, Any]) -> None:
        """A transfer has just been begun, and nothing else has happened since."""
        if not is_inward(row):
            return
        settings = self._providers[row["provider"]]
        unresolved = self._ask(_UNRESOLVED, row["provider"], row["id"])
        cap = settings.exposure_caps.get(row["currency"])
        value = row["amount"] + sum(
            amount for _, _, currency, direction, amount in unresolved
            if (currency, direction) == (row["currency"], "in")
        )  # fmt: skip
        if cap is not None and value > minor(cap, row["currency"]):
            told = f"{value} {row['currency']} are unresolved at {row['provider']}, where {cap} may be"
            self._fail("I-57", f"{row['id']} was begun, and with it {told}")
        forbidden = {"block": ("in", "out"), "opposite": ("in",), "allow": ()}[settings.lane_policy]
        for other, player, _, direction, _ in unresolved:
            if player == row["player_id"] and direction in forbidden:
                told = f"{other} ({direction}) of {player} is not resolved there"
                self._fail("I-57", f"{row['id']} was begun into {row['provider']}, and {told}: {settings.lane_policy}")
