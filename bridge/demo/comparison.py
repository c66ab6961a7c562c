"""The comparison of books: the bridge's database against each provider's own ledger file.

It reads all of them with code of its own, imports nothing of the bridge and nothing of the simulators, and knows
only what they have to agree on: which reference moved which amount for which player at which provider, how often.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

DECIMALS = {"EUR": 2, "JPY": 0, "BTC": 8}
USED_BEFORE = 409
"""The bridge's answer to a callback whose id was used with another body."""

Holding = tuple[str, str, str]
"""(provider, player, currency)"""


@dataclass(frozen=True)
class Transfer:
    """One transfer in our books. `references`: one a try, the last one is the one that counts; `effect`: what it
    means to do, and `booked`: what it posted on the player's game account, both in minor units."""

    id: str
    key: str
    references: tuple[str, ...]
    holding: Holding
    effect: int
    state: str
    reason: str
    booked: int


@dataclass(frozen=True)
class Effect:
    """Money that a provider has moved for good: into the game positive, out of it negative."""

    reference: str
    holding: Holding
    amount: int


@dataclass
class Comparison:
    """Where the books differ, in minor units: per player, and what each orphan accounts for of it."""

    differences: dict[Holding, int] = field(default_factory=dict)
    orphans: dict[str, int] = field(default_factory=dict)
    unexplained: list[str] = field(default_factory=list)

    def of(self, provider: str, currency: str) -> int:
        """Our game accounts minus the provider's transfers."""
        return sum(each for (name, _, code), each in self.differences.items() if (name, code) == (provider, currency))


def ours(database: Path) -> tuple[list[Transfer], dict[Holding, int]]:
    """Every transfer, and every player's game accounts as the sums of their postings."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        moves = connection.execute("""
            SELECT transfer_id, credit, currency, amount FROM posting WHERE credit LIKE 'game:%'
            UNION ALL SELECT transfer_id, debit, currency, -amount FROM posting WHERE debit LIKE 'game:%'""").fetchall()
        tries = connection.execute("""
            SELECT transfer_id, reference FROM leg WHERE holder <> 'wallet' ORDER BY transfer_id, ordinal""").fetchall()
        rows = connection.execute("""
            SELECT id, idempotency_key, provider, player_id, currency,
                CASE direction WHEN 'in' THEN amount ELSE -amount END, state,
                COALESCE(reason_code || ': ' || reason_detail, reason_code, '')
            FROM transfer ORDER BY id""").fetchall()
    booked: Counter[str] = Counter()
    accounts: defaultdict[Holding, int] = defaultdict(int)
    for transfer_id, account, currency, amount in moves:
        _, provider, player = account.split(":", 2)
        booked[transfer_id] += amount
        accounts[provider, player, currency] += amount
    references: defaultdict[str, list[str]] = defaultdict(list)
    for transfer_id, reference in tries:
        references[transfer_id].append(reference)
    transfers = [
        Transfer(each, key, tuple(references[each]), (provider, player, code), effect, state, reason, booked[each])
        for each, key, provider, player, code, effect, state, reason in rows
    ]
    return transfers, accounts


def theirs(provider: str, ledger: Path) -> list[Effect]:
    """Every transfer that the provider executed and did not take back; a game result is no transfer."""
    effects: list[Effect] = []
    for entry in _lines(ledger):
        if entry["kind"] not in ("completed", "taken_back"):
            continue
        sign = {"CREDIT": 1, "DEBIT": -1}[entry["type"]]
        effect = Effect(entry["reference"], (provider, entry["player"], entry["currency"]), sign * _units(entry))
        if entry["kind"] == "completed":
            effects.append(effect)
        elif effect in effects:
            effects.remove(effect)
        else:
            effects.append(replace(effect, amount=-effect.amount))
    return effects


def compare(transfers: list[Transfer], accounts: Mapping[Holding, int], effects: list[Effect]) -> Comparison:
    """What is left over when every confirmed transfer has its one effect, every reversed one has none, and an
    orphan has at most one: anything else is unexplained, by name."""
    found = Comparison()
    of_reference: defaultdict[tuple[str, str], list[Effect]] = defaultdict(list)
    for effect in effects:
        of_reference[effect.holding[0], effect.reference].append(effect)
    explained: Counter[Holding] = Counter()
    for transfer in transfers:
        provider = transfer.holding[0]
        done = [effect for each in transfer.references for effect in of_reference.pop((provider, each), [])]
        wanted = Effect(transfer.references[-1], transfer.holding, transfer.effect)
        right = {"confirmed": ([wanted],), "reversed": ([],), "orphaned": ([], [wanted])}.get(transfer.state, ())
        if done not in right:
            what = ", ".join(f"{effect.amount} for {effect.holding[1]}" for effect in done) or "nothing"
            found.unexplained.append(f"{transfer.id} is {transfer.state}, {provider} executed {what}")
        elif transfer.state == "orphaned":
            found.orphans[transfer.id] = transfer.booked - sum(effect.amount for effect in done)
            explained[transfer.holding] += found.orphans[transfer.id]
    for provider, reference in of_reference:
        found.unexplained.append(f"{provider} executed {reference}, which we do not know")
    moved: Counter[Holding] = Counter()
    for effect in effects:
        moved[effect.holding] += effect.amount
    for holding in sorted({*accounts, *moved}):
        provider, player, currency = holding
        difference = accounts.get(holding, 0) - moved[holding]
        found.differences[holding] = difference
        if left := difference - explained[holding]:
            where = f"{player} at {provider}"
            found.unexplained.append(f"{where} differs by {left} minor units of {currency} for no reason known")
    return found


def owned(provider: str, ledger: Path) -> dict[Holding, int]:
    """What each player has at the provider, in minor units: transfers and game results together."""
    amounts: defaultdict[Holding, int] = defaultdict(int)
    for effect in theirs(provider, ledger):
        amounts[effect.holding] += effect.amount
    for entry in _lines(ledger):
        if entry["kind"] == "result":
            amounts[provider, entry["player"], entry["currency"]] += _units(entry)
    return amounts


def faults_met(ledger: Path) -> dict[str, set[int]]:
    """Reference → numbers of the faults that it met, from what the provider wrote down beside its ledger.

    A transfer that was taken back, and a callback that came again with another body, meet case 53 as well: for
    these the ledger and the diary of callbacks are the witness.
    """
    met: defaultdict[str, set[int]] = defaultdict(set)
    for entry in _lines(_beside(ledger, "faults")):
        if not entry.get("observed"):
            met[entry["reference"]].add(entry["case"])
    for entry in _lines(ledger):
        if entry["kind"] == "taken_back" and not entry.get("unrecorded"):
            met[entry["reference"]].add(53)
    for entry in _lines(_beside(ledger, "callbacks")):
        if entry["status"] == USED_BEFORE:
            met[entry["reference"]].add(53)
    return met


def open_at_provider(ledger: Path) -> int:
    """How many transfers the provider has begun and will yet end; before that nothing can be compared."""
    open_ids: set[str] = set()
    for entry in _lines(ledger):
        if entry["kind"] in ("prepared", "pending") and not entry.get("for_ever"):
            open_ids.add(entry["id"])
        elif entry["kind"] in ("completed", "cancelled", "refused"):
            open_ids.discard(entry["id"])
    return len(open_ids)


def unheard(database: Path) -> int:
    """How many callbacks are stored and still to be acted on; one about an unknown transfer stays so."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        (waiting,) = connection.execute("SELECT COUNT(*) FROM inbox_task WHERE state = 'waiting'").fetchone()
    return int(waiting)


def _units(entry: Mapping[str, Any]) -> int:
    """The amount of a line in minor units, exactly."""
    units = Decimal(entry["amount"]).scaleb(DECIMALS[entry["currency"]])
    if units != int(units):
        raise ValueError(f"{entry['amount']} {entry['currency']} is no whole number of minor units")
    return int(units)


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file of JSON lines, without a last one that is still being written; none without a file."""
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    yield from (json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n"))


def _beside(ledger: Path, diary: str) -> Path:
    return ledger.with_name(f"{ledger.name}.{diary}")
