"""Rows ↔ values: reads a transfer with its legs, attempts and evidence, and writes what `advance` decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, Table, bindparam, insert, select, update

from bridge import models
from bridge.evidence import Answer, Evidence, Reply, Source, Step
from bridge.ports import WALLET, Direction, Side
from bridge.runtime import Runtime
from bridge.transfers.core.facts import Attempt, Leg, Transfer, replace
from statemachines import LegState, TransferState

transfer_table: Table = models.metadata.tables["transfer"]
leg_table: Table = models.metadata.tables["leg"]
attempt_table: Table = models.metadata.tables["attempt"]
evidence_table: Table = models.metadata.tables["evidence"]
history_table: Table = models.metadata.tables["history"]

_REPLY_FIELDS = (
    "code", "detail", "amount", "currency", "player", "side", "reference", "provider_reference",
    "provider_time", "balance", "attempt_sensitive", "digest", "sequence", "requested",
)  # fmt: skip
_MESSAGES = ("sent", "received")
"""Written with a reply and never read to decide: a transfer that is asked about for years does not carry them along."""

EVIDENCE_COLUMNS = tuple(column.name for column in evidence_table.c if column.name != "id")


def of_transfer(table: Table, *columns: str) -> Select[Any]:
    """The rows of one transfer in this order, without the messages."""
    query = select(*(column for column in table.c if column.name not in _MESSAGES))
    return query.where(table.c.transfer_id == bindparam("transfer")).order_by(*(table.c[name] for name in columns))


# Built once: on the hot path, building a statement costs more than running it.
_TRANSFER = select(transfer_table).where(transfer_table.c.id == bindparam("transfer"))
_TRANSFER_TO_MOVE = _TRANSFER.with_for_update(key_share=True)  # its id never changes: what refers to it may go on
_LEGS = of_transfer(leg_table, "ordinal")
_ATTEMPTS = of_transfer(attempt_table, "ordinal", "attempt")
_EVIDENCE = of_transfer(evidence_table, "id")
_INSERT_EVIDENCE = insert(evidence_table).returning(evidence_table.c.id)
_INSERT_LEG, _INSERT_ATTEMPT, _INSERT_HISTORY = insert(leg_table), insert(attempt_table), insert(history_table)
_UPDATE_TRANSFER = update(transfer_table).where(
    transfer_table.c.id == bindparam("of_transfer"),
    transfer_table.c.state == bindparam("of_state"),
    transfer_table.c.version == bindparam("of_version"),
)
_UPDATE_UNDER_LEASE = _UPDATE_TRANSFER.where(transfer_table.c.lease_epoch == bindparam("of_epoch"))
_UPDATE_LEG = update(leg_table).where(
    leg_table.c.transfer_id == bindparam("of_transfer"), leg_table.c.ordinal == bindparam("of_ordinal")
)


@dataclass(frozen=True)
class Story:
    """A transfer's row and its legs, without their evidence, as the API and the command line show them."""

    row: Mapping[str, Any]
    legs: tuple[Leg, ...]

    @property
    def provider_reference(self) -> str | None:
        """The provider's own id of the transfer, once it is known."""
        return next((leg.provider_reference for leg in self.legs if leg.provider_reference), None)


def load(connection: Connection, transfer_id: str, *, to_move: bool = False) -> Transfer | None:
    """The transfer as a value, or None.

    `to_move` locks its row first (PostgreSQL; SQLite's writer is alone anyway): under READ COMMITTED a
    transfer read before another worker's commit and its legs read after it would be no transfer at all.
    """
    which = {"transfer": transfer_id}
    row = connection.execute(_TRANSFER_TO_MOVE if to_move else _TRANSFER, which).mappings().first()
    if row is None:
        return None
    evidence = connection.execute(_EVIDENCE, which).mappings().all()
    return _transfer(row, legs_of(connection, transfer_id, evidence))


def legs_of(connection: Connection, transfer_id: str, evidence: Sequence[RowMapping] = ()) -> tuple[Leg, ...]:
    """The legs of a transfer with their attempts, and with those rows of evidence that are given."""
    which = {"transfer": transfer_id}
    legs = connection.execute(_LEGS, which).mappings().all()
    attempts = connection.execute(_ATTEMPTS, which).mappings().all()
    return tuple(_leg(leg, attempts, evidence) for leg in legs)


def insert_evidence(
    connection: Connection,
    transfer: Transfer,
    piece: Evidence,
    *,
    worker: str,
    lease_epoch: int,
    message: int | None = None,
) -> int:
    """Store one piece of evidence for ever; the id of its row. `message`: the callback's number in the inbox."""
    values = evidence_columns(transfer, piece, worker=worker, lease_epoch=lease_epoch, message=message)
    return int(connection.execute(_INSERT_EVIDENCE, values).scalar_one())


def evidence_columns(
    transfer: Transfer, piece: Evidence, *, worker: str, lease_epoch: int, message: int | None = None
) -> dict[str, Any]:
    """The row of one piece of evidence about a leg of this transfer."""
    reply, holder = piece.reply, transfer.leg(piece.ordinal).holder
    values: dict[str, Any] = {name: getattr(reply, name) for name in (*_REPLY_FIELDS, *_MESSAGES)}
    values |= {
        "transfer_id": transfer.id,
        "ordinal": piece.ordinal,
        "provider": None if holder == WALLET else holder,
        "source": piece.source.value,
        "step": piece.step.value if piece.step else None,
        "attempt": piece.attempt,
        "answer": reply.answer.value,
        "watermark": piece.watermark,
        "inbox_id": message,
        "at": piece.at,
        "worker": worker,
        "lease_epoch": lease_epoch,
    }
    return values


def with_ids(transfer: Transfer, ids: Mapping[int, int]) -> Transfer:
    """The transfer with the numbers that its new evidence got; `ids`: id() of a piece → its row."""

    def numbered(leg: Leg) -> Leg:
        if not any(id(piece) in ids for piece in leg.evidence):
            return leg
        told = (replace(piece, id=ids[id(piece)]) if id(piece) in ids else piece for piece in leg.evidence)
        return replace(leg, evidence=tuple(told))

    return replace(transfer, legs=tuple(numbered(leg) for leg in transfer.legs)) if ids else transfer


def insert_leg(connection: Connection, transfer_id: str, leg: Leg) -> None:
    """A new leg: an undo, or those of a new transfer."""
    connection.execute(_INSERT_LEG, {"transfer_id": transfer_id, **leg_columns(leg)})


def update_leg(connection: Connection, transfer_id: str, leg: Leg) -> None:
    """Write a leg's state; only ever behind the transfer's own conditional update."""
    which = {"of_transfer": transfer_id, "of_ordinal": leg.ordinal}
    connection.execute(_UPDATE_LEG, {**which, **leg_columns(leg)})


def insert_attempt(connection: Connection, runtime: Runtime, transfer: Transfer, attempt: Attempt) -> None:
    """A money request of the outside leg, before it may leave."""
    row = {
        "transfer_id": transfer.id,
        "ordinal": transfer.driven.ordinal,
        "attempt": attempt.number,
        "step": attempt.step.value,
        "sent_at": attempt.sent_at,
        "wire_until": attempt.wire_until,
        "lease_owner": runtime.worker,
        "lease_epoch": transfer.lease_epoch,
    }
    connection.execute(_INSERT_ATTEMPT, row)


def insert_history(connection: Connection, moves: list[dict[str, Any]]) -> None:
    """The moves of one transaction, in the order in which they were made."""
    if moves:
        connection.execute(_INSERT_HISTORY, moves)


def update_transfer(
    connection: Connection, seen: Transfer, changes: Mapping[str, Any], *, lease_epoch: int | None = None
) -> bool:
    """Change the row only if it is still as it was seen; false when somebody was faster (I-10).

    With `lease_epoch` it also has to be still under that lease: the fence of a stale worker (I-30).
    """
    which: dict[str, Any] = {"of_transfer": seen.id, "of_state": seen.state.value, "of_version": seen.version}
    statement = _UPDATE_TRANSFER
    if lease_epoch is not None:
        statement, which["of_epoch"] = _UPDATE_UNDER_LEASE, lease_epoch
    return connection.execute(statement, {**which, **changes}).rowcount == 1


def _transfer(row: RowMapping, legs: tuple[Leg, ...]) -> Transfer:
    return Transfer(
        id=row["id"],
        operator_id=row["operator_id"],
        player=row["player_id"],
        provider=row["provider"],
        direction=Direction(row["direction"]),
        amount=row["amount"],
        currency=row["currency"],
        state=TransferState(row["state"]),
        version=row["version"],
        created_at=row["created_at"],
        orphan_at=row["orphan_at"],
        lease_epoch=row["lease_epoch"],
        legs=legs,
        settled_at=row["settled_at"],
        cancel_requested_at=row["cancel_requested_at"],
        reason_code=row["reason_code"],
        failures=row["failures"],
        lease_owner=row["lease_owner"],
        sweep=bool(row["sweep"]),
        dust=row["dust"],
        arrived=row["arrived"],
        written_off=row["written_off"],
        rewound_at=row["rewound_at"],
        first_rewound_at=row["first_rewound_at"],
        quiet_from=row["quiet_from"],
        moved_at=row["moved_at"],
    )


def _leg(row: RowMapping, attempts: Sequence[RowMapping], evidence: Sequence[RowMapping]) -> Leg:
    ordinal = row["ordinal"]
    return Leg(
        ordinal=ordinal,
        holder=row["holder"],
        side=Side(row["side"]),
        state=LegState(row["state"]),
        amount=row["amount"],
        step=Step(row["step"]) if row["step"] else None,
        undoes=row["undoes"],
        reference=row["reference"],
        provider_reference=row["provider_reference"],
        unknown_since=row["unknown_since"],
        attempts=tuple(
            Attempt(a["attempt"], Step(a["step"]), a["sent_at"], a["wire_until"])
            for a in attempts
            if a["ordinal"] == ordinal
        ),
        evidence=tuple(_evidence(e) for e in evidence if e["ordinal"] == ordinal),
    )


def _evidence(row: RowMapping) -> Evidence:
    return Evidence(
        id=row["id"],
        ordinal=row["ordinal"],
        source=Source(row["source"]),
        reply=Reply(Answer(row["answer"]), **{name: row[name] for name in _REPLY_FIELDS}),
        at=row["at"],
        step=Step(row["step"]) if row["step"] else None,
        attempt=row["attempt"],
        watermark=row["watermark"],
    )


def leg_columns(leg: Leg) -> dict[str, Any]:
    """The row of a leg, without its transfer."""
    return {
        "ordinal": leg.ordinal,
        "holder": leg.holder,
        "side": leg.side.value,
        "undoes": leg.undoes,
        "state": leg.state.value,
        "step": leg.step.value if leg.step else None,
        "reference": leg.reference,
        "provider_reference": leg.provider_reference,
        "unknown_since": leg.unknown_since,
        "amount": leg.amount,
    }
