"""The comparison of two books: the bridge's database against the provider's own ledger file.

It reads both with code of its own, imports nothing of the bridge and nothing of the simulator, and knows
only what the two have to agree on: which reference moved which amount for which player, how often.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

DECIMALS = {"EUR": 2, "JPY": 0, "BTC": 8}

Holding = tuple[str, str]
"""(player, currency)"""


@dataclass(frozen=True)
class Transfer:
    """One transfer in our books; `booked` is what it posted on the player's game account, in minor units."""

    id: str
    reference: str
    holding: Holding
    effect: int
    state: str
    reason: str
    booked: int


@dataclass(frozen=True)
class Effect:
    """One line of the provider's ledger that moved money: into the game positive, out of it negative."""

    reference: str
    holding: Holding
    amount: int


@dataclass
class Comparison:
    """Where the two differ, in minor units: per player, and what each orphan accounts for of it."""

    differences: dict[Holding, int] = field(default_factory=dict)
    orphans: dict[str, int] = field(default_factory=dict)
    unexplained: list[str] = field(default_factory=list)

    def of_currency(self, currency: str) -> int:
        """Our game accounts minus the provider's transfers."""
        return sum(difference for (_, code), difference in self.differences.items() if code == currency)


def ours(database: Path) -> tuple[list[Transfer], dict[Holding, int]]:
    """Every transfer, and every player's game account as the sum of its postings."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        moves = connection.execute("""
            SELECT transfer_id, player_id, currency, CASE WHEN credit LIKE 'game:%' THEN amount ELSE -amount END
            FROM posting WHERE credit LIKE 'game:%' OR debit LIKE 'game:%'""").fetchall()
        rows = connection.execute("""
            SELECT t.id, leg.reference, t.player_id, t.currency,
                CASE t.direction WHEN 'in' THEN t.amount ELSE -t.amount END, t.state,
                COALESCE(t.reason_code || ': ' || t.reason_detail, t.reason_code, '')
            FROM transfer t JOIN leg ON leg.transfer_id = t.id AND leg.holder <> 'wallet' ORDER BY t.id""").fetchall()
    booked: Counter[str] = Counter()
    accounts: defaultdict[Holding, int] = defaultdict(int)
    for transfer_id, player, currency, amount in moves:
        booked[transfer_id] += amount
        accounts[player, currency] += amount
    transfers = [
        Transfer(transfer_id, reference, (player, currency), effect, state, reason, booked[transfer_id])
        for transfer_id, reference, player, currency, effect, state, reason in rows
    ]
    return transfers, accounts


def theirs(ledger: Path) -> list[Effect]:
    """Every transfer that the provider executed; a game result is no transfer."""
    effects = []
    for line in ledger.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if entry["kind"] == "completed":
            units = Decimal(entry["amount"]).scaleb(DECIMALS[entry["currency"]])
            if units != int(units):
                raise ValueError(f"{entry['amount']} {entry['currency']} is no whole number of minor units")
            sign = {"CREDIT": 1, "DEBIT": -1}[entry["type"]]
            effects.append(Effect(entry["reference"], (entry["player"], entry["currency"]), sign * int(units)))
    return effects


def compare(transfers: list[Transfer], accounts: dict[Holding, int], effects: list[Effect]) -> Comparison:
    """What is left over when every confirmed transfer has its one effect, every reversed one has none, and an
    orphan has at most one: anything else is unexplained, by name."""
    found = Comparison()
    of_reference: defaultdict[str, list[Effect]] = defaultdict(list)
    for effect in effects:
        of_reference[effect.reference].append(effect)
    explained: Counter[Holding] = Counter()
    for transfer in transfers:
        done = of_reference.pop(transfer.reference, [])
        wanted = Effect(transfer.reference, transfer.holding, transfer.effect)
        right = {"confirmed": ([wanted],), "reversed": ([],), "orphaned": ([], [wanted])}.get(transfer.state, ())
        if done not in right:
            what = ", ".join(f"{effect.amount} for {effect.holding[0]}" for effect in done) or "nothing"
            found.unexplained.append(f"{transfer.id} is {transfer.state}, the provider executed {what}")
        elif transfer.state == "orphaned":
            found.orphans[transfer.id] = transfer.booked - sum(effect.amount for effect in done)
            explained[transfer.holding] += found.orphans[transfer.id]
    for reference in of_reference:
        found.unexplained.append(f"the provider executed {reference}, which we do not know")
    moved: Counter[Holding] = Counter()
    for effect in effects:
        moved[effect.holding] += effect.amount
    for holding in sorted({*accounts, *moved}):
        difference = accounts.get(holding, 0) - moved[holding]
        found.differences[holding] = difference
        if difference != explained[holding]:
            left = difference - explained[holding]
            found.unexplained.append(f"{holding[0]} differs by {left} minor units of {holding[1]} for no reason known")
    return found


def faults_met(diary: Path) -> dict[str, set[int]]:
    """Reference → numbers of the faults that its requests met, from the simulator's diary."""
    met: defaultdict[str, set[int]] = defaultdict(set)
    for line in diary.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if not entry.get("observed"):
            met[entry["reference"]].add(entry["case"])
    return met


def open_at_provider(ledger: Path) -> int:
    """How many transfers the provider has prepared and not yet ended; without an end nothing can be compared."""
    open_ids: set[str] = set()
    for line in ledger.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if entry["kind"] == "prepared":
            open_ids.add(entry["id"])
        elif entry["kind"] in ("completed", "cancelled"):
            open_ids.discard(entry["id"])
    return len(open_ids)
