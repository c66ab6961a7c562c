"""The two strokes of a plain transfer: BEGIN commits the key, the intention and the first request as sent; END commits
the answer, the proof, the last postings and what the client is told.

They write what `begin` and `advance` have decided on values, row for row as :mod:`write` would, and decide nothing.
Each names, in its first part, what must still be as it was taken to be, all but one thing: the version of the wallet is
compared in the second part, which debits it, and a begin that debited nothing has no amount, which NOT NULL refuses in
the third. Where anything is otherwise nothing is written, and the caller goes the long way, which reads everything and
says why.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from operator import attrgetter
from typing import Any

from bridge import idempotency, identity, ledger
from bridge.evidence import Evidence
from bridge.idempotency import Key
from bridge.keys import Caller
from bridge.ports import WALLET, Direction
from bridge.runtime import Runtime
from bridge.stroke import SOON, Line, Part, Stroke, Value
from bridge.transfers import rows
from bridge.transfers.core import fold
from bridge.transfers.core.draft import Draft, Move
from bridge.transfers.core.facts import Leg, Transfer
from statemachines import TransferState

SAID, FOUND = "said", "found"
"""The parts that store evidence: what the provider said, and what the embedded wallet proves in the same stroke."""

_IN_LEG = ("ordinal", "holder", "side", "undoes", "state", "step", "reference", "provider_reference", "unknown_since",
           "amount")  # fmt: skip
_OF_LEG = ("state", "step", "provider_reference", "unknown_since", "amount")  # what ever changes of it
_IN_MOVE = ("subject", "trigger", "source", "target", "reason")
_IN_EVIDENCE = rows.EVIDENCE_COLUMNS

_NUMBERS = frozenset({
    "now", "operator_id", "amount", "epoch", "version", "seen_version", "orphan_at", "wake_at", "attempt", "sent_at",
    "wire_until", "posted", "status", "dust", "arrived", "written_off",
    *(f"leg{place}_{name}" for place in range(4) for name in ("ordinal", "undoes", "unknown_since", "amount")),
})  # fmt: skip
"""The values that are whole numbers, where PostgreSQL cannot tell by the column into which they go."""


# --- begin --------------------------------------------------------------------------------------------

# A repeated key inserts nothing here, and then no balance is touched: everything else is FROM this row.
_TAKEN = f"""INSERT INTO idempotency_key (operator_id, operation, key, body, subject_id, answered, created_at)
SELECT :operator_id, :operation, :key, :body, :transfer, FALSE, :now
FROM operator JOIN account AS wallet ON wallet.operator_id = operator.id
    AND wallet.account = :wallet AND wallet.currency = :currency
WHERE {SOON} AND operator.id = :operator_id AND operator.name = :operator
    AND NOT EXISTS (SELECT 1 FROM breaker WHERE breaker.provider = :provider AND breaker.open)
    AND NOT EXISTS (SELECT 1 FROM provider_identity WHERE provider = :provider AND identity <> :identity)"""

_WALLET_HOLDS_IT = "wallet.balance >= :amount"
_IS_OPEN = "NOT EXISTS (SELECT 1 FROM switch WHERE switch.provider = :provider)"
_LANE_IS_CLEAR = """NOT EXISTS (SELECT 1 FROM transfer WHERE transfer.operator_id = :operator_id
        AND transfer.player_id = :player AND transfer.provider = :provider
        AND transfer.state IN ('pending', 'orphaned'))"""
# What makes two begins of one lane wait for each other is the wallet, and a player may have one in each currency. One
# that is opened meanwhile is empty: it has to be filled, by a commit of its own, before anything is begun from it.
_WALLET_IS_THE_ONLY_ONE = """NOT EXISTS (SELECT 1 FROM account AS other WHERE other.operator_id = :operator_id
        AND other.account = :wallet AND other.currency <> :currency)"""
_NOT_SPOKEN_OF = """NOT EXISTS (SELECT 1 FROM inbox_task WHERE inbox_task.provider = :provider
        AND inbox_task.reference = :reference AND inbox_task.state IN ('waiting', 'parked'))"""
_KEY_STANDS = """EXISTS (SELECT 1 FROM api_key WHERE api_key.digest = :digest AND api_key.operator_id = :operator_id
        AND api_key.scopes = :scopes AND api_key.revoked_at IS NULL)"""

# Two begins of one lane at the same instant may both get this far. The second waits here for the first, for it is the
# same wallet; then it finds another version than the one beside which this statement has looked at the lane, and debits
# nothing.
_DEBITED = """UPDATE account SET balance = account.balance - :amount, version = account.version + 1
FROM {taken}, (SELECT version FROM account WHERE operator_id = :operator_id AND account = :wallet
    AND currency = :currency) AS seen
WHERE account.operator_id = :operator_id AND account.account = :wallet AND account.currency = :currency
    AND account.version = seen.version"""

_INTENDED = """INSERT INTO transfer (id, operator_id, player_id, provider, direction, amount, currency, state, version,
    idempotency_key, created_at, updated_at, orphan_at, wake_at, lease_owner, lease_epoch, failures)
SELECT :transfer, :operator_id, :player, :provider, :direction, :amount, :currency, :state, :version,
    :key, :now, :now, :orphan_at, :wake_at, :worker, :epoch, 0 FROM {taken}"""
# Nothing debited, no amount: NOT NULL then undoes the whole statement, the key that was taken included.
_INTENDED_IN = _INTENDED.replace(":direction, :amount", ":direction, CASE WHEN @debited > 0 THEN :amount END")

_REQUESTED = """INSERT INTO attempt (transfer_id, ordinal, attempt, step, sent_at, wire_until, lease_owner, lease_epoch)
SELECT :transfer, :driven, :attempt, :step, :sent_at, :wire_until, :worker, :epoch FROM {taken}"""


# --- the end ------------------------------------------------------------------------------------------

# All that another worker could have changed since this one committed its request: state and version move with every
# move, wish and proof, the epoch with every claim; a restored backup marks the row alone, and our own failures count.
_MOVED = f"""UPDATE transfer SET state = :state, version = :version, amount = :amount, dust = :dust, arrived = :arrived,
    written_off = :written_off, reason_code = :reason_code, reason_detail = :reason_detail, settled_at = :now,
    updated_at = :now, wake_at = :wake_at, lease_owner = NULL
WHERE {SOON} AND id = :transfer AND state = 'pending' AND version = :seen_version AND lease_epoch = :epoch
    AND rewound_at IS NULL AND failures = 0"""

_ANSWERED = """UPDATE idempotency_key SET status = :status, response = :response, answered = TRUE FROM {moved}
WHERE operator_id = :operator_id AND operation = :operation AND key = :key AND status IS NULL"""


_OUTBOXED = """INSERT INTO outbox (operator_id, transfer_id, version, state, amount, arrived, reason_code,
    reason_detail, at)
SELECT :operator_id, :transfer, :version, :state, :amount, :arrived, :reason_code, :reason_detail, :now FROM {moved}"""


# --- rows of both -------------------------------------------------------------------------------------


def _legs_planned(places: Sequence[int], source: str) -> str:
    listed = ", ".join(f"({', '.join(f':leg{place}_{name}' for name in _IN_LEG)})" for place in places)
    columns = ", ".join(_IN_LEG)
    return f"""INSERT INTO leg (transfer_id, {columns})
SELECT :transfer, planned.* FROM {{{source}}}, (VALUES {listed}) AS planned"""


def _leg_moved(place: int) -> str:
    columns = ", ".join(f"{name} = :leg{place}_{name}" for name in _OF_LEG)
    return f"UPDATE leg SET {columns} FROM {{moved}} WHERE transfer_id = :transfer AND ordinal = :leg{place}_ordinal"


def _stored(part: str, source: str) -> str:
    values = ", ".join(f":{part}_{name}" for name in _IN_EVIDENCE)
    return f"INSERT INTO evidence ({', '.join(_IN_EVIDENCE)})\nSELECT {values} FROM {{{source}}}"


def _balance_moved(side: str, source: str) -> str:
    """The first posting of an account makes its row. A wallet is only ever given something from here."""
    sign = "-" if side == "debit" else ""
    return f"""INSERT INTO account (operator_id, account, currency, player_id, balance, version)
SELECT :operator_id, :{side}, :currency, :player, {sign}:posted, 1 FROM {{{source}}} WHERE TRUE
ON CONFLICT (operator_id, account, currency)
DO UPDATE SET balance = account.balance + excluded.balance, version = account.version + 1"""


def _posted(source: str, versions: Mapping[str, str]) -> str:
    """`versions`: side → the part that tells which version the account there has by this posting."""
    debit, credit = (f"@{versions[side]}" if side in versions else "NULL" for side in ("debit", "credit"))
    return f"""INSERT INTO posting (operator_id, player_id, transfer_id, version, debit, credit, amount, currency,
    debit_version, credit_version, at)
SELECT :operator_id, :player, :transfer, :version, :debit, :credit, :posted, :currency, {debit}, {credit}, :now
FROM {{{source}}}"""


def _told(proofs: Sequence[str | None], source: str) -> str:
    """History in the order of its moves; `proofs`: on which evidence part each rests."""
    listed = ", ".join(
        f"({place}, {', '.join(f':move{place}_{name}' for name in _IN_MOVE)}, {f'@{proof}' if proof else 'NULL'})"
        for place, proof in enumerate(proofs)
    )
    columns = ", ".join(f"column{2 + number}" for number in range(len(_IN_MOVE)))
    # Where no move rests on evidence, the column has no type of its own.
    proof = f"CAST(column{2 + len(_IN_MOVE)} AS BIGINT)"
    return f"""INSERT INTO history (transfer_id, version, {", ".join(_IN_MOVE)}, evidence_id, actor, lease_epoch, at)
SELECT :transfer, :version, {columns}, {proof}, :worker, :epoch, :now
FROM {{{source}}}, (VALUES {listed}) AS moves ORDER BY column1"""


@lru_cache(maxsize=64)
def _begin(*, inward: bool, lane: bool, pushes: bool, caller: bool) -> Stroke:
    asked = [_WALLET_HOLDS_IT, _IS_OPEN] if inward else []
    asked += [_LANE_IS_CLEAR, _WALLET_IS_THE_ONLY_ONE] if lane else []
    asked += [_NOT_SPOKEN_OF] if pushes else []
    asked += [_KEY_STANDS] if caller else []
    taken = "\n    AND ".join([_TAKEN, *asked]) + "\nON CONFLICT DO NOTHING"
    parts = [Part("taken", taken, "operator_id")]
    if inward:
        parts += [Part("debited", _DEBITED, "account.version"), Part("intended", _INTENDED_IN)]
    else:
        parts += [Part("intended", _INTENDED)]
    parts += [Part("planned", _legs_planned((0, 1), "taken")), Part("requested", _REQUESTED)]
    if inward:
        parts += [Part(FOUND, _stored(FOUND, "taken"), "id")]
        parts += [Part("posted", _posted("taken", {"debit": "debited"}))]
    # The moves of `begin`: the transfer's own, then the wallet's leg sent and applied, then the first request.
    proofs = (None, None, FOUND, None) if inward else (None, None)
    return Stroke([*parts, Part("told", _told(proofs, "taken"))], _NUMBERS)


@dataclass(frozen=True)
class _Shape:
    """What an end writes beside the transfer's row: how many legs, on which evidence the moves rest, what is posted."""

    found: bool
    changed: int
    new: int
    players: tuple[str, ...]  # the sides of the posting whose account is the player's, by the account's name
    posts: bool
    proofs: tuple[str | None, ...]
    answers: bool


@lru_cache(maxsize=64)
def _end(shape: _Shape) -> Stroke:
    parts = [Part("moved", _MOVED, "version"), Part(SAID, _stored(SAID, "moved"), "id")]
    parts += [Part(f"leg{place}", _leg_moved(place)) for place in range(shape.changed)]
    if shape.new:
        places = range(shape.changed, shape.changed + shape.new)
        parts += [Part("planned", _legs_planned(places, "moved"))]
    if shape.found:
        parts += [Part(FOUND, _stored(FOUND, SAID), "id")]  # behind what was said, also by its number
    source = "moved"
    for side in shape.players:  # locked one after the other, in the order of their names
        parts += [Part(f"{side}ed", _balance_moved(side, source), "account.version")]
        source = f"{side}ed"
    if shape.posts:
        parts += [Part("posted", _posted("moved", {side: f"{side}ed" for side in shape.players}))]
    parts += [Part("told", _told(shape.proofs, "moved")), Part("outboxed", _OUTBOXED)]
    if shape.answers:
        parts += [Part("answered", _ANSWERED, "status")]
    return Stroke(parts, _NUMBERS)


# --- what goes into them ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """What a begin was asked for and by whom: the key, the client's own words, and whose API key is to stand."""

    key: Key
    body: Mapping[str, Any]
    operator: str
    caller: Caller | None
    lane: bool


def begin(
    line: Line, runtime: Runtime, asked: Asked, draft: Draft, wake_at: int, now: int
) -> Transfer | None:
    """Write a new transfer with its first request; as it is committed, or None when nothing was written."""
    transfer, attempt = draft.transfer, draft.attempt
    assert attempt is not None
    inward = transfer.direction is Direction.IN
    pushes = runtime.providers[transfer.provider].descriptor.pushes
    debit, credit = ledger.wallet(transfer.player), ledger.TRANSIT
    values: dict[str, Value] = {
        **_common(runtime, transfer, now),
        **_of_key(asked.key),
        "body": idempotency.canonical(asked.body),
        "operator": asked.operator,
        "identity": identity.written(runtime.policy(transfer.provider)),
        "wallet": debit,
        "reference": transfer.outside.reference,
        "direction": transfer.direction.value,
        "orphan_at": transfer.orphan_at,
        "wake_at": wake_at,
        "driven": transfer.driven.ordinal,
        "attempt": attempt.number,
        "step": attempt.step.value,
        "sent_at": attempt.sent_at,
        "wire_until": attempt.wire_until,
        "debit": debit,
        "credit": credit,
        "posted": transfer.amount,
    }
    if asked.caller is not None:
        values |= {"digest": asked.caller.digest, "scopes": asked.caller.written}
    for place, leg in enumerate(transfer.legs):
        values.update(_of_leg(place, leg))
    for piece in draft.found:
        values.update(_of_evidence(FOUND, runtime, transfer, piece))
    values.update(_of_moves(draft.moves))
    stroke = _begin(inward=inward, lane=asked.lane, pushes=pushes, caller=asked.caller is not None)
    told = stroke.strike(line, values)
    if told is None:
        return None
    return rows.with_ids(transfer, {id(piece): int(told[FOUND] or 0) for piece in draft.found})


@dataclass(frozen=True)
class End:
    """The end of a transfer as decided: as it was seen before, on what was said, with which columns; and the answer
    that its key keeps."""

    seen: Transfer
    said: Evidence
    draft: Draft
    columns: Mapping[str, Any]
    key: Key | None = None
    status: int = 0
    response: str = ""

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing in it that `end` does not write: no case, no request, no leg at a provider, one
        posting at most, and that gives."""
        draft, transfer = self.draft, self.draft.transfer
        known = {id(piece) for piece in (self.said, *draft.found)}
        return (
            self.seen.state is TransferState.PENDING
            and transfer.state in (TransferState.CONFIRMED, TransferState.REVERSED)
            and self.columns.keys() == _COLUMNS
            and self.columns["lease_owner"] is None
            and draft.attempt is None
            and len(draft.found) <= 1
            and all(move.proof is None or id(move.proof) in known for move in draft.moves)
            and all(transfer.leg(ordinal).holder == WALLET for ordinal in draft.new_legs)
            and len(self.postings) <= 1
            and not any(ledger.is_wallet(debit) for debit, _, _ in self.postings)
        )

    @cached_property
    def postings(self) -> list[tuple[str, str, int]]:
        """What brings the transfer from where its committed facts have put it (I-03) to where it belongs now."""
        transfer = self.draft.transfer
        accounts = ledger.accounts_of(transfer.direction, transfer.provider, transfer.player)
        return ledger.between(accounts, fold.position(self.seen), fold.position(transfer))


_COLUMNS = frozenset({
    "state", "amount", "dust", "arrived", "written_off", "updated_at", "reason_code", "reason_detail", "settled_at",
    "wake_at", "lease_owner", "version",
})  # fmt: skip
"""What `_MOVED` sets: an end that changes anything else of the row is not plain."""


def end(line: Line, runtime: Runtime, decided: End, now: int) -> tuple[Transfer, bool] | None:
    """Write the end of a transfer; as it is committed, and whether its key keeps the answer (another one may have been
    first). None when nothing was written: what was said is not stored either then, and the caller stores it."""
    draft = decided.draft
    transfer = draft.transfer
    changed = [leg for leg in transfer.legs if leg.ordinal in draft.changed_legs - draft.new_legs]
    new = [leg for leg in transfer.legs if leg.ordinal in draft.new_legs]
    parts = {id(decided.said): SAID, **{id(piece): FOUND for piece in draft.found}}
    values: dict[str, Value] = {
        **_common(runtime, transfer, now),
        **decided.columns,
        "seen_version": decided.seen.version,
    }
    for place, leg in enumerate([*changed, *new]):
        values.update(_of_leg(place, leg))
    values.update(_of_evidence(SAID, runtime, transfer, decided.said))
    for piece in draft.found:
        values.update(_of_evidence(FOUND, runtime, transfer, piece))
    values.update(_of_moves(draft.moves))
    players: tuple[str, ...] = ()
    for debit, credit, amount in decided.postings:
        values |= {"debit": debit, "credit": credit, "posted": amount}
        sides = sorted(((debit, "debit"), (credit, "credit")))
        players = tuple(side for account, side in sides if ledger.is_players(account))
    if decided.key is not None:
        values |= {**_of_key(decided.key), "status": decided.status, "response": decided.response}
    proofs = tuple(None if move.proof is None else parts[id(move.proof)] for move in draft.moves)
    answers, posts = decided.key is not None, bool(decided.postings)
    shape = _Shape(bool(draft.found), len(changed), len(new), players, posts, proofs, answers)
    told = _end(shape).strike(line, values)
    if told is None:
        return None
    kept = told.get("answered") is not None
    return rows.with_ids(transfer, {each: int(told[part] or 0) for each, part in parts.items()}), kept


def _common(runtime: Runtime, transfer: Transfer, now: int) -> dict[str, Value]:
    return {
        "transfer": transfer.id,
        "operator_id": transfer.operator_id,
        "player": transfer.player,
        "provider": transfer.provider,
        "amount": transfer.amount,
        "currency": transfer.currency,
        "state": transfer.state.value,
        "version": transfer.version,
        "epoch": transfer.lease_epoch,
        "worker": runtime.worker,
        "now": now,
    }


def _of_key(key: Key) -> dict[str, Value]:
    return {"operation": key.operation, "key": key.text}


def _of_leg(place: int, leg: Leg) -> Iterator[tuple[str, Value]]:
    columns = rows.leg_columns(leg)
    return zip(_NAMES["leg", place], map(columns.__getitem__, _IN_LEG), strict=True)


def _of_evidence(part: str, runtime: Runtime, transfer: Transfer, piece: Evidence) -> Iterator[tuple[str, Value]]:
    columns = rows.evidence_columns(transfer, piece, worker=runtime.worker, lease_epoch=transfer.lease_epoch)
    return zip(_NAMES[part, 0], map(columns.__getitem__, _IN_EVIDENCE), strict=True)


def _of_moves(moves: Sequence[Move]) -> Iterator[tuple[str, Value]]:
    for place, move in enumerate(moves):
        yield from zip(_NAMES["move", place], _move_columns(move), strict=True)


_move_columns = attrgetter(*_IN_MOVE)

_NAMES = {("leg", place): tuple(f"leg{place}_{name}" for name in _IN_LEG) for place in range(4)}
_NAMES |= {("move", place): tuple(f"move{place}_{name}" for name in _IN_MOVE) for place in range(8)}
_NAMES |= {(part, 0): tuple(f"{part}_{name}" for name in _IN_EVIDENCE) for part in (SAID, FOUND)}
"""What the values of each row are called."""
