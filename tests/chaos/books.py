"""The judge: the simulator's ledger file against our tables, transfer by transfer and player by player.

Reads both from outside: JSON lines and plain SQL, with no code of the bridge and none of the simulator.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, text

MINOR_PER_UNIT = {"EUR": 100}
KIND = {"in": "CREDIT", "out": "DEBIT"}
BACK = {"CREDIT": "DEBIT", "DEBIT": "CREDIT"}
FINAL = ("confirmed", "reversed")
TAKEN = 200


@dataclass(frozen=True)
class Effect:
    """Money that moved there: a `completed` line of the simulator's ledger, or a `taken_back` one, which moves the
    other way. Minor units."""

    reference: str
    type: str
    player: str
    currency: str
    amount: int


@dataclass(frozen=True)
class Record:
    """One transfer as our tables tell it. `references`: of its tries, oldest first; `take_back`: of the leg by which
    people had it taken out of the game again. `posted`: account → sum of its postings."""

    id: str
    key: str
    state: str
    direction: str
    provider: str
    player: str
    currency: str
    amount: int
    references: tuple[str, ...]
    take_back: str | None
    posted: Mapping[str, int]

    @property
    def reference(self) -> str:
        """The newest try's."""
        return self.references[-1]


@dataclass(frozen=True)
class Ours:
    """What our tables say: the transfers, and every player's cached balances by (account, currency)."""

    records: tuple[Record, ...]
    balances: Mapping[tuple[str, str], int] = field(default_factory=dict)
    cashed: Mapping[tuple[str, str], int] = field(default_factory=dict)  # (player, currency) → deposits


@dataclass(frozen=True)
class Heard:
    """One message of our inbox: what became of it, and the references of the legs that it is evidence of."""

    message: str
    state: str
    evidence: tuple[str, ...]


def heard(engine: Engine) -> list[Heard]:
    """The whole inbox."""
    found: dict[tuple[str, str], list[str]] = {}
    told = text(
        "SELECT i.message_id, k.state, l.reference FROM inbox i JOIN inbox_task k ON k.inbox_id = i.id"
        " LEFT JOIN evidence e ON e.inbox_id = i.id"
        " LEFT JOIN leg l ON l.transfer_id = e.transfer_id AND l.ordinal = e.ordinal ORDER BY i.id"
    )
    with engine.connect() as connection:
        for row in connection.execute(told):
            references = found.setdefault((row.message_id, row.state), [])
            references += [] if row.reference is None else [row.reference]
    return [Heard(message, state, tuple(references)) for (message, state), references in found.items()]


def effects(ledger: Path) -> list[Effect]:
    """Every effect that the provider's own file knows."""
    found = []
    for line in map(json.loads, ledger.read_text(encoding="utf-8").splitlines()):
        if line["kind"] in ("completed", "taken_back"):
            way = line["type"] if line["kind"] == "completed" else BACK[line["type"]]
            found.append(Effect(line["reference"], way, line["player"], line["currency"], _minor(line)))
    return found


def wire(ledger: Path, reference: str) -> Counter[str]:
    """How many money requests of each operation reached the provider for a reference or its transfer."""
    lines = [json.loads(line) for line in Path(f"{ledger}.wire").read_text(encoding="utf-8").splitlines()]
    ids = {line["id"] for line in lines if line["reference"] == reference and line["id"]}
    return Counter(
        line["operation"] for line in lines
        if line["operation"] in ("create", "prepare", "complete", "cancel")
        and (line["reference"] == reference or line["id"] in ids)
    )  # fmt: skip


def before_expiry(ledger: Path, reference: str, operation: str) -> int:
    """How many requests of an operation reached the provider while it still held what they are about, and let it go
    afterwards because nothing more came."""
    lines = map(json.loads, ledger.read_text(encoding="utf-8").splitlines())
    ends = [line["at"] for line in lines if line["kind"] == "cancelled" and line["reference"] == reference]
    sent = map(json.loads, Path(f"{ledger}.wire").read_text(encoding="utf-8").splitlines())
    mine = [line["at"] for line in sent if (line["reference"], line["operation"]) == (reference, operation)]
    return sum(Decimal(at) < Decimal(ends[0]) for at in mine) if ends else 0


def ours(engine: Engine) -> Ours:
    """Read our side with plain SQL. Transfers first: whatever is read after them has the legs of each."""
    transfers = text(
        "SELECT id, idempotency_key AS key, state, direction, provider, player_id AS player, currency, amount"
        " FROM transfer"
    )
    with engine.connect() as connection:
        rows = connection.execute(transfers).all()
        posted: defaultdict[str, Counter[str]] = defaultdict(Counter)
        cashed: Counter[tuple[str, str]] = Counter()
        postings = text("SELECT transfer_id, player_id, currency, debit, credit, amount FROM posting")
        for row in connection.execute(postings):
            if row.transfer_id is None:
                cashed[row.player_id, row.currency] += row.amount if row.debit == "cashier" else -row.amount
            else:
                posted[row.transfer_id][row.debit] -= row.amount
                posted[row.transfer_id][row.credit] += row.amount
        tries, take_backs = _references(connection)
        records = tuple(
            Record(
                **row._mapping, references=tuple(tries[row.id]), take_back=take_backs.get(row.id),
                posted={account: total for account, total in posted[row.id].items() if total},
            )
            for row in rows
        )  # fmt: skip
        balances = {
            (row.account, row.currency): row.balance
            for row in connection.execute(text("SELECT account, currency, balance FROM account"))
        }
    return Ours(records, balances, cashed)


def _references(connection: Connection) -> tuple[Mapping[str, list[str]], Mapping[str, str]]:
    """(the references of the tries, oldest first, that of the newest take-back), by transfer."""
    tries: defaultdict[str, list[str]] = defaultdict(list)
    take_backs = {}
    legs = text("SELECT transfer_id, reference, undoes FROM leg WHERE reference IS NOT NULL ORDER BY ordinal")
    for row in connection.execute(legs):
        if row.undoes is None:
            tries[row.transfer_id].append(row.reference)
        else:
            take_backs[row.transfer_id] = row.reference
    return tries, take_backs


def judge(mine: Ours, theirs: Mapping[str, Sequence[Effect]]) -> list[str]:
    """What is wrong, in sentences: each transfer has exactly one effect (confirmed) or none (reversed) in its
    provider's own ledger, nobody else has one, and both sides agree to the minor unit. `theirs`: by provider."""
    wrong = [sentence for record in mine.records for sentence in _wrong_record(record, theirs[record.provider])]
    known = {(record.provider, reference) for record in mine.records for reference in _all_of(record)}
    for provider, found in theirs.items():
        wrong += [
            f"{provider} has an effect that none of our transfers stands for: {effect}"
            for effect in found
            if (provider, effect.reference) not in known
        ]
        wrong += _wrong_players(mine, provider, found)
    return wrong


def _wrong_record(record: Record, found: Iterable[Effect]) -> list[str]:
    if record.state not in FINAL:
        return [f"{record.id} is {record.state}, not final"]
    mine = [effect for effect in found if effect.reference in _all_of(record)]
    if mine != _due(record):
        return [f"{record.id} is {record.state}, but its effects are {mine or 'none'}"]
    arrived = record.amount if record.direction == "in" else -record.amount
    there = {f"wallet:{record.player}": -arrived, f"game:{record.provider}:{record.player}": arrived}
    if dict(record.posted) != (there if record.state == "confirmed" else {}):
        return [f"{record.id} is {record.state}, but its postings sum to {dict(record.posted)}"]
    return []


def _all_of(record: Record) -> tuple[str, ...]:
    return record.references if record.take_back is None else (*record.references, record.take_back)


def _due(record: Record) -> list[Effect]:
    """Every effect that a final transfer must have there, in their order: of its newest try alone.

    What people had taken out of the game came in (in, reversed), or had been taken back by the provider (out,
    confirmed).
    """
    one = Effect(record.reference, KIND[record.direction], record.player, record.currency, record.amount)
    if record.take_back is None:
        return [one] if record.state == "confirmed" else []
    out = replace(one, reference=record.take_back, type="DEBIT")
    return [one, replace(one, type="CREDIT"), out] if record.direction == "out" else [one, out]


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


def unheard(diary: Sequence[Mapping[str, Any]], heard: Sequence[Heard]) -> list[str]:
    """Every letter that the provider's diary calls taken is in our inbox once, acted on, and evidence once of the
    transfer that it names; and nothing else is in there."""
    sent = {line["id"]: line["reference"] for line in diary}
    taken = {line["id"] for line in diary if line["status"] == TAKEN}
    ours = [each for each in heard if each.message in sent]
    counted = Counter(each.message for each in ours)
    wrong = [f"{message} was taken, and is in the inbox {counted[message]} times"
             for message in sorted(taken) if counted[message] != 1]  # fmt: skip
    wrong += [f"{each} is in the inbox, and nobody has sent it" for each in heard if each.message not in sent]
    for each in ours:
        if (each.state, each.evidence) != ("done", (sent[each.message],)):
            wrong.append(f"{each.message} about {sent[each.message]} is {each.state}, and evidence of {each.evidence}")
    return wrong


def _minor(line: Mapping[str, str]) -> int:
    amount = Decimal(line["amount"]) * MINOR_PER_UNIT[line["currency"]]
    if amount != int(amount):
        raise ValueError(f"{line['amount']} {line['currency']} is not a whole number of minor units")
    return int(amount)
