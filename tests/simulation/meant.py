"""What a transfer's row means, by design §4 and §7: what it must have posted, and done at its provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def effect(row: Mapping[str, Any]) -> int:
    """What a transfer that has ended must have done to the player's balance at the provider."""
    if row["state"] == "reversed":
        return 0
    arrived = row["amount"] if row["arrived"] is None else row["arrived"]
    return int(arrived) if row["direction"] == "in" else int((row["written_off"] or 0) - arrived)


def position(row: Mapping[str, Any]) -> dict[str, int]:
    """Design §7, from the rows: account -> units."""
    wallet, game = f"wallet:{row['player_id']}", f"game:{row['provider']}:{row['player_id']}"
    inward, amount = row["direction"] == "in", row["amount"]
    source, destination = (wallet, game) if inward else (game, wallet)
    custody, house = f"custody:{row['provider']}", f"house:{row['provider']}"
    match row["state"]:
        case "reversed":
            return {}
        case "confirmed":
            arrived, lost = amount if row["arrived"] is None else row["arrived"], row["written_off"] or 0
            return {source: lost - arrived, destination: arrived, house: -lost}
        case "pending":
            return {source: -amount, "transit": amount} if _source_moved(row) else {}
    had = given(row)
    return {source: had - amount, custody: amount - had, destination: had, house: -had}


def _source_moved(row: Mapping[str, Any]) -> bool:
    sources = [leg for leg in row["legs"] if leg["undoes"] is None and (leg["holder"] == "wallet") is is_inward(row)]
    return bool(sources) and sources[-1]["state"] == "applied"


def given(row: Mapping[str, Any]) -> int:
    """What the wallet has been given that the game has or may have too."""
    net = sum(
        leg["amount"] * (1 if leg["side"] == "credit" else -1)
        for leg in row["legs"]
        if leg["holder"] == "wallet" and leg["state"] == "applied"
    )
    return int(net + row["amount"] if is_inward(row) else net)


def is_inward(row: Mapping[str, Any]) -> bool:
    """Whether money goes into the game."""
    return bool(row["direction"] == "in")
