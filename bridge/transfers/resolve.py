"""The resolver: finds what was left over and drives it. Claims are leases with an epoch.

No lower time bound, no window, no give-up: a row is due when its `wake_at` has passed, however long ago.
A claimed row is pushed into the future before it is driven, so one that always fails delays nobody.

Who has a claim may conclude from silence, and a restored database has forgotten what it sent. So behind each claim, and
before anything is read by it, it is looked whether this is still the database that it was; where that cannot be seen,
nothing is concluded. A database that comes back later than that look knows nothing of the claim. And who takes amounts
of a currency for others than they are in the books claims nothing in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from sqlalchemy import Connection, bindparam, select, update
from sqlalchemy.sql.dml import ReturningUpdate

from bridge import cases, db, denominations, identity, lineage, log
from bridge.ports import SECOND
from bridge.runtime import Runtime
from bridge.transfers import rows
from bridge.transfers.advance import FAILURES_FORGOTTEN_BELOW, Asking, Claim, Outcome, advance
from bridge.transfers.drive import drive
from statemachines import TransferState

_log = log.get("resolver")

LONGEST_BACKOFF_SECONDS = 3600


def claim_due(
    runtime: Runtime, limit: int, transfer_id: str | None = None, states: Iterable[TransferState] = TransferState
) -> list[Claim]:
    """Take up to `limit` due transfers in one of `states`, or the one named if it is not under somebody's
    live lease, but none with a provider that is another one here than it was, or in a currency that counts otherwise
    here (named, or met for the first time, that raises Unavailable); a restore is noticed before they are handed
    out."""
    with db.writing(runtime.engine) as connection:
        claims = _claimed(connection, runtime, limit, transfer_id, states)
    if claims:
        lineage.check(runtime)
    return claims


def claim_within(connection: Connection, runtime: Runtime, transfer_id: str) -> Claim | None:
    """Take one transfer in the caller's transaction, after whose commit a restore is looked for (`lineage.check`), and
    it is driven; None under somebody's live lease."""
    return next(iter(_claimed(connection, runtime, 1, transfer_id, ())), None)


def _claimed(
    connection: Connection, runtime: Runtime, limit: int, transfer_id: str | None, states: Iterable[TransferState]
) -> list[Claim]:
    which: dict[str, Any] = {"now": runtime.clock.now(), "most": limit}
    if transfer_id is not None:
        which["named"], states = transfer_id, (TransferState.PENDING, TransferState.ORPHANED)
    lease = runtime.in_seconds(runtime.longest_lease)
    statement = _claim(tuple(states), named=transfer_id is not None)
    which |= identity.by_configuration(runtime)
    if transfer_id is None:
        which["distrusted"] = list(runtime.currencies.distrusted)
    claimed = connection.execute(statement, {**which, "lease_owner": runtime.worker, "wake_at": lease}).all()
    for row in claimed:
        denominations.require(connection, runtime, row.currency)
    return [Claim(row.id, row.lease_epoch) for row in claimed]


@cache
def _claim(states: tuple[TransferState, ...], *, named: bool) -> ReturningUpdate[Any]:
    transfer = rows.transfer_table
    is_due = transfer.c.wake_at <= bindparam("now")
    due = select(transfer.c.id).where(transfer.c.state.in_([state.value for state in states]))
    if named:
        due = due.where(transfer.c.id == bindparam("named"), transfer.c.lease_owner.is_(None) | is_due)
    else:
        due = due.where(is_due, transfer.c.currency.not_in(bindparam("distrusted", expanding=True)))
    due = due.where(~identity.elsewhere(transfer.c.provider))
    due = due.order_by(transfer.c.wake_at).limit(bindparam("most")).with_for_update(skip_locked=True, key_share=True)
    chosen = due.cte("due")  # a CTE is evaluated once; a bare sub-select under LIMIT may lock more rows
    statement = update(transfer).where(transfer.c.id.in_(select(chosen.c.id)))
    statement = statement.values(lease_epoch=transfer.c.lease_epoch + 1)
    return statement.returning(transfer.c.id, transfer.c.lease_epoch, transfer.c.currency)


def resolve(runtime: Runtime, claim: Claim, *, ask_until: float | None = None, asking: Asking = Asking.DUE) -> Outcome:
    """Drive one claimed transfer as far as it goes now."""
    return drive(runtime, advance(runtime, claim.transfer_id, claim, asking=asking), ask_until=ask_until)


def resolve_or_set_aside(
    runtime: Runtime, claim: Claim, *, ask_until: float | None = None, asking: Asking = Asking.DUE
) -> bool:
    """Like :func:`resolve`, but an error of our own is logged and the row waits longer each time;
    false when that happened."""
    try:
        resolve(runtime, claim, ask_until=ask_until, asking=asking)
    except Exception:  # noqa: BLE001 - whatever is wrong with one row, the others are driven on
        _set_aside(runtime, claim)
        _log.exception("transfer set aside", transfer=claim.transfer_id)
        return False
    return True


def refresh(runtime: Runtime, transfer_id: str, ask_until: float) -> None:
    """Run the resolver on one transfer now and ask the provider, unless a worker is already at it."""
    for claim in claim_due(runtime, 1, transfer_id):
        resolve_or_set_aside(runtime, claim, ask_until=ask_until, asking=Asking.NOW)


def _set_aside(runtime: Runtime, claim: Claim) -> None:
    transfer, now = rows.transfer_table, runtime.clock.now()
    mine = (transfer.c.id == claim.transfer_id, transfer.c.lease_epoch == claim.epoch)
    with db.writing(runtime.engine) as connection:
        row = connection.execute(
            update(transfer)
            .where(*mine)
            .values(failures=transfer.c.failures + 1)
            .returning(transfer.c.failures, transfer.c.version)
        ).first()
        if row is None:
            return
        wake_at = now + min(2**row.failures, LONGEST_BACKOFF_SECONDS) * SECOND
        connection.execute(update(transfer).where(*mine).values(wake_at=wake_at, lease_owner=None))
    if row.failures >= FAILURES_FORGOTTEN_BELOW:
        _escalate(runtime, claim, row.version, now)


def _escalate(runtime: Runtime, claim: Claim, version: int, now: int) -> None:
    """Put an error of our own before people; by the id alone, for the row itself may be what is broken."""
    with db.writing(runtime.engine) as connection:
        moved = cases.open_for(connection, runtime.ids, claim.transfer_id, "engine_error", now)
        if moved is None:
            return
        entry = {
            "transfer_id": claim.transfer_id,
            "version": version,
            "subject": "case",
            "trigger": moved.trigger,
            "source": moved.source,
            "target": moved.target,
            "reason": "engine_error",
            "evidence_id": None,
            "actor": runtime.worker,
            "lease_epoch": claim.epoch,
            "at": now,
        }
        rows.insert_history(connection, [entry])
