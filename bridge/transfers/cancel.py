"""The operator's cancel: a wish, stored, that whoever holds the lease acts on (design §6)."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection

from bridge import db
from bridge.errors import AlreadyFinal, NotFound
from bridge.runtime import Runtime
from bridge.transfers import resolve, rows
from bridge.transfers.advance import ROUNDS_AT_MOST
from bridge.transfers.core.contract import UNRESOLVED
from bridge.transfers.core.draft import Move
from bridge.transfers.core.facts import Transfer
from bridge.transfers.write import record


def cancel(runtime: Runtime, operator_id: int, transfer_id: str) -> Transfer:
    """Wish a transfer cancelled and act on it at once if nobody else is driving it.

    Never sent → reversed now; prepared → voided; sent → looked up, voided only where the provider can.
    Raises NotFound, and AlreadyFinal when it has ended.
    """
    _wish(runtime, operator_id, transfer_id)
    resolve.refresh(runtime, transfer_id, runtime.clock.monotonic() + runtime.config.web.wait_seconds)
    with db.reading(runtime.engine) as connection:
        after = rows.load(connection, transfer_id)
    assert after is not None
    return after


def _wish(runtime: Runtime, operator_id: int, transfer_id: str) -> None:
    with db.writing(runtime.engine) as connection:
        for _ in range(ROUNDS_AT_MOST):
            seen = rows.load(connection, transfer_id, to_move=True)
            if seen is None or seen.operator_id != operator_id:
                raise NotFound("There is no such transfer.")
            if seen.state not in UNRESOLVED:
                raise AlreadyFinal(f"The transfer is {seen.state.value} already.", transfer_id=transfer_id)
            if seen.cancel_requested_at is not None or _stored(connection, runtime, seen):
                return
        raise RuntimeError(f"{transfer_id} changed {ROUNDS_AT_MOST} times under one transaction")


def _stored(connection: Connection, runtime: Runtime, seen: Transfer) -> bool:
    now, version = runtime.clock.now(), seen.version + 1
    changes = {"cancel_requested_at": now, "version": version, "updated_at": now}
    if not rows.update_transfer(connection, seen, changes):
        return False  # it moved at this very moment: read again
    wished = Move("transfer", "wish_cancel", seen.state.value, seen.state.value, "cancel requested")
    record(connection, runtime, replace(seen, version=version), [wished], now)
    return True
