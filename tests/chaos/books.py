"""The judge: the simulator's ledger file against our tables, transfer by transfer and player by player.

Reads both from outside: JSON lines and plain SQL, with no code of the bridge and none of the simulator.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from sqlalchemy import Engine, text

MINOR_PER_UNIT = {"EUR": 100}
KIND = {"in": "CREDIT", "out": "DEBIT"}
FINAL = ("confirmed", "reversed")


@dataclass(frozen=True)
class Effect:
    """One `completed` line of the simulator's ledger: money that moved there. Minor units."""

    reference: str
    type: str
    player: str
    currency: str
    amount: int


@dataclass(frozen=True)
class Record:
    """One transfer as our tables tell it; `posted`: account → sum of its postings."""

    id: str
    key: str
    state: str
    direction: str
    provider: str
    player: str
    currency: str
    amount: int
    reference: str
    posted: Mapping[str, int]


@dataclass(frozen=True)
class Ours:
    """What our tables say: the transfers, and every player's cached balances by (account, currency)."""

    records: tuple[Record, ...]
    balances: Mapping[tuple[str, str], int] = field(default_factory=dict)
    cashed: Mapping[tuple[str, str], int] = field(default_factory=dict)  # (player, currency) → deposits


def effects(ledger: Path) -> list[Effect]:
    """Every effect that the provider's own file knows."""
    lines = (json.loads(line) for line in ledger.read_text(encoding="utf-8").splitlines())
    return [
        Effect(line["reference"], line["type"], line["player"], line["currency"], _minor(line))
        for line in lines
        if line["kind"] == "completed"
    ]


def wire(ledger: Path, reference: str) -> Counter[str]:
    """How many money requests of each operation reached the provider for a reference or its transfer."""
    lines = [json.loads(line) for line in Path(f"{ledger}.wire").read_text(encoding="utf-8").splitlines()]
    ids = {line["id"] for line in lines if line["reference"] == reference and line["id"]}
    return Counter(
        line["operation"] for line in lines
        if line["operation"] in ("prepare", "complete", "cancel")
        and (line["reference"] == reference or line["id"] in ids)
    )  # fmt: skip


def ours(engine: Engine) -> Ours:
    """Read our side with plain SQL."""
    with engine.connect() as connection:
        posted: defaultdict[str, Counter[str]] = defaultdict(Counter)
        cashed: Counter[tuple[str, str]] = Counter()
        postings = text("SELECT transfer_id, player_id, currency, debit, credit, amount FROM posting")
        for row in connection.execute(postings):
            if row.transfer_id is None:
                cashed[row.player_id, row.currency] += row.amount if row.debit == "cashier" else -row.amount
            else:
                posted[row.transfer_id][row.debit] -= row.amount
                posted[row.transfer_id][row.credit] += row.amount
        records = tuple(
            Record(**row._mapping, posted={account: total for account, total in posted[row.id].items() if total})
            for row in connection.execute(text(
                "SELECT t.id, t.idempotency_key AS key, t.state, t.direction, t.provider, t.player_id AS player,"
                " t.currency, t.amount, l.reference"
                " FROM transfer t JOIN leg l ON l.transfer_id = t.id AND l.holder = t.provider"
            ))
        )  # fmt: skip
        balances = {
            (row.account, row.currency): row.balance
            for row in connection.execute(text("SELECT account, currency, balance FROM account"))
        }
    return Ours(records, balances, cashed)


def judge(mine: Ours, theirs: Mapping[str, Sequence[Effect]]) -> list[str]:
    """What is wrong, in sentences: each transfer has exactly one effect (confirmed) or none (reversed) in its
    provider's own ledger, nobody else has one, and both sides agree to the minor unit. `theirs`: by provider."""
    wrong = [sentence for record in mine.records for sentence in _wrong_record(record, theirs[record.provider])]
    known = {(record.provider, record.reference) for record in mine.records}
    for provider, found in theirs.items():
        wrong += [
            f"{provider} has an effect that none of our transfers stands for: {effect}"
            for effect in found
            if (provider, effect.reference) not in known
        ]
        wrong += _wrong_players(mine, provider, found)
    return wrong


def _wrong_record(record: Record, found: Iterable[Effect]) -> list[str]:
    mine = [effect for effect in found if effect.reference == record.reference]
    one = Effect(record.reference, KIND[record.direction], record.player, record.currency, record.amount)
    arrived = record.amount if record.direction == "in" else -record.amount
    there = {f"wallet:{record.player}": -arrived, f"game:{record.provider}:{record.player}": arrived}
    expected = {"confirmed": ([one], there), "reversed": ([], {})}.get(record.state)
    if expected is None:
        return [f"{record.id} is {record.state}, not final"]
    if mine != expected[0]:
        return [f"{record.id} is {record.state}, but its effects are {mine or 'none'}"]
    if dict(record.posted) != expected[1]:
        return [f"{record.id} is {record.state}, but its postings sum to {dict(record.posted)}"]
    return []


def _wrong_players(mine: Ours, provider: str, found: Iterable[Effect]) -> list[str]:
    """Cached balances, which no posting of a transfer is asked for: wallet and game against the provider's file."""
    moved: Counter[tuple[str, str]] = Counter()
    for effect in found:
        moved[effect.player, effect.currency] += effect.amount if effect.type == "CREDIT" else -effect.amount
    players = {(r.player, r.currency) for r in mine.records if r.provider == provider} | set(moved)
    wrong = []
    for player, currency in sorted(players):
        at_game = mine.balances.get((f"game:{provider}:{player}", currency), 0)
        if at_game != moved[player, currency]:
            truly = moved[player, currency]
            wrong.append(f"{player} has {at_game} at {provider} by our balance, {truly} by its ledger")
    return wrong


def unexplained_wallets(mine: Ours, theirs: Mapping[str, Sequence[Effect]]) -> list[str]:
    """Every wallet is what the cashier put in, less what the providers' own ledgers say went there."""
    due = Counter(mine.cashed)
    for effect in (effect for found in theirs.values() for effect in found):
        due[effect.player, effect.currency] -= effect.amount if effect.type == "CREDIT" else -effect.amount
    held = {owner: mine.balances.get((f"wallet:{owner[0]}", owner[1]), 0) for owner in due}
    return [f"the wallet of {player} holds {held[player, code]}, not {due[player, code]}"
            for player, code in sorted(due) if held[player, code] != due[player, code]]  # fmt: skip


def _minor(line: Mapping[str, str]) -> int:
    amount = Decimal(line["amount"]) * MINOR_PER_UNIT[line["currency"]]
    if amount != int(amount):
        raise ValueError(f"{line['amount']} {line['currency']} is not a whole number of minor units")
    return int(amount)
