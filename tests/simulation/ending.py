"""The last judgement of a story: what must hold once the world has healed, and when everything rests."""

from __future__ import annotations

from bridge.verify import verify
from tests.simulation.node import Bridge
from tests.simulation.oracle import Oracle
from tests.simulation.settings import CURRENCIES, PLAYERS, PROTOCOLS


def check_healed(oracle: Oracle) -> None:
    """I8: fifteen minutes after the last fault nothing is pending; an orphan has a file and a reason."""
    for row in oracle.transfers():
        if row["state"] == "pending":
            oracle.fail("I8", f"{row['id']} is pending long after the last fault")
        if row["state"] == "orphaned" and not oracle.has_open_case(row["id"]):
            oracle.fail("I8", f"{row['id']} is orphaned, and nobody has a file about it")


def check_ending(oracle: Oracle, bridges: list[Bridge]) -> None:
    """I5, I6, I7: at rest every cent is where the provider's own ledger says, but for what is named."""
    rows = list(oracle.transfers())
    named: dict[tuple[str, str, str], int] = {}
    for row in rows:
        lane = row["provider"], row["player_id"], row["currency"]
        if row["state"] not in ("confirmed", "reversed") or oracle.ledgers.is_lied_about(row):
            named[lane] = named.get(lane, 0) + 1
        if row["state"] == "confirmed" and oracle.ledgers.is_undone(row) and not oracle.is_decided(row["id"]):
            oracle.fail("I5", f"{row['id']} is confirmed, and the provider has taken it back and said so")
        if row["state"] == "reversed" and not oracle.is_decided(row["id"]) and oracle.last_word(row) == "applied":
            oracle.fail("I7", f"{row['id']} is reversed, and the last word of {row['provider']} is that it was done")
    balances = oracle.balances()
    for provider in PROTOCOLS:
        for player in PLAYERS:
            for currency in CURRENCIES:
                lane = provider, player, currency
                ours = balances.get((f"game:{provider}:{player}", currency), 0)
                theirs = oracle.ledgers.moved_by_transfers(*lane)
                if ours != theirs and lane not in named:
                    oracle.fail("I6", f"{player} holds {theirs} {currency} at {provider} by transfers; we say {ours}")
    _verify(oracle, bridges)
    oracle.check_evidence()


def _verify(oracle: Oracle, bridges: list[Bridge]) -> None:
    """What the bridge itself asks of its database must find nothing."""
    for finding in verify(bridges[-1].runtime):
        oracle.fail(finding.invariant, f"verify: {finding.sentence} {finding.rows[:2]}")
