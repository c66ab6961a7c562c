"""Writes a draft: evidence, legs, attempt, postings, case, history and outbox, in the caller's one transaction,
behind its conditional update. State, money and proof are committed together or not at all (I-14)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from bridge import cases, ledger, outbox
from bridge.evidence import Evidence, Source
from bridge.runtime import Runtime
from bridge.transfers import rows
from bridge.transfers.core import fold
from bridge.transfers.core.draft import Draft, Move
from bridge.transfers.core.facts import Transfer
from statemachines import TransferState


def write(connection: Connection, runtime: Runtime, draft: Draft, before: TransferState | None, now: int) -> Transfer:
    """Write everything but the transfer's own row; the transfer as it is written, its evidence with the numbers that
    it got. `before`: the state it had, None for a new one.

    Raises ledger.FloorReached when a wallet does not hold what would be taken from it.
    """
    transfer = draft.transfer
    for leg in transfer.legs:
        if leg.ordinal in draft.new_legs:
            rows.insert_leg(connection, transfer.id, leg)
        elif leg.ordinal in draft.changed_legs:
            rows.update_leg(connection, transfer.id, leg)
    ids = {id(piece): _store_found(connection, runtime, draft, piece) for piece in draft.found}
    if draft.attempt is not None:
        rows.insert_attempt(connection, runtime, transfer, draft.attempt)
    if draft.moves:
        _post(connection, transfer, now)
    moves = [*draft.moves, *_move_case(connection, runtime, draft, before, now)]
    record(connection, runtime, transfer, moves, now, ids)
    if any(move.subject == "transfer" and move.source not in (None, move.target) for move in draft.moves):
        outbox.put(connection, moved(draft, now))
    return rows.with_ids(transfer, ids)


def moved(draft: Draft, now: int) -> dict[str, Any]:
    """A move as its operator is told of it."""
    transfer, (code, detail) = draft.transfer, draft.reason or ("", "")
    return {
        "operator_id": transfer.operator_id,
        "transfer_id": transfer.id,
        "version": transfer.version,
        "state": transfer.state.value,
        "amount": transfer.amount,
        "arrived": transfer.arrived,
        "reason_code": code or None,
        "reason_detail": detail or None,
        "at": now,
    }


def _store_found(connection: Connection, runtime: Runtime, draft: Draft, piece: Evidence) -> int:
    epoch = draft.transfer.lease_epoch
    return rows.insert_evidence(connection, draft.transfer, piece, worker=runtime.worker, lease_epoch=epoch)


def _post(connection: Connection, transfer: Transfer, now: int) -> None:
    cause = ledger.Cause(
        transfer.operator_id, transfer.player, transfer.currency, transfer.version, now, transfer_id=transfer.id
    )
    accounts = ledger.accounts_of(transfer.direction, transfer.provider, transfer.player)
    ledger.take_position(connection, cause, accounts, fold.position(transfer))


def _move_case(
    connection: Connection, runtime: Runtime, draft: Draft, before: TransferState | None, now: int
) -> list[Move]:
    """An orphan has an open case in the same transaction; a proved end closes it."""
    transfer = draft.transfer
    if before is transfer.state:
        return []
    reason = draft.reason[0] if draft.reason is not None else ""
    moved = None
    proof = draft.finding.proof
    if transfer.state is TransferState.ORPHANED:
        moved = cases.open_for(connection, runtime.ids, transfer.id, reason, now)
    elif before is TransferState.ORPHANED and proof is not None and proof.source is Source.PERSON:
        decided = cases.decide(connection, transfer.id, now)
        return [Move("case", each.trigger, each.source, each.target, reason, proof) for each in decided]
    elif before is TransferState.ORPHANED or (before is not None and transfer.failures):
        # A failure of our own may have opened a case too; the end that is proved now closes either.
        moved = cases.settle(connection, transfer.id, now)
    return [] if moved is None else [Move("case", moved.trigger, moved.source, moved.target, reason)]


def record(
    connection: Connection,
    runtime: Runtime,
    transfer: Transfer,
    moves: Sequence[Move],
    now: int,
    stored: Mapping[int, int] | None = None,
    actor: str | None = None,
) -> None:
    """Write moves into the history of `transfer.version`; `stored`: id() of found evidence → its row; `actor`: who
    moved it, this process unless a person is named."""
    rows.insert_history(
        connection,
        [
            {
                "transfer_id": transfer.id,
                "version": transfer.version,
                "subject": move.subject,
                "trigger": move.trigger,
                "source": move.source,
                "target": move.target,
                "reason": move.reason,
                "evidence_id": None if move.proof is None else (move.proof.id or (stored or {}).get(id(move.proof))),
                "actor": actor or runtime.worker,
                "lease_epoch": transfer.lease_epoch,
                "at": now,
            }
            for move in moves
        ],
    )
