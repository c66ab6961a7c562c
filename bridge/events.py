"""Events to an operator: one sequence from 1, without a gap, of everything that its transfers came to.

A move leaves a row in the outbox, in its own commit. Here the rows are given numbers, by one at a time for each
operator, and become what is sent: a text that never changes. Of one transfer the events stand in the order of its
moves; transfers beside each other are in no order but that of their numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import orjson
from sqlalchemy import Connection, RowMapping, Table, delete, func, insert, select, update
from sqlalchemy.exc import DBAPIError

from bridge import db, denominations, log, models, tallies
from bridge.errors import Conflict, NotFound
from bridge.money import Currencies
from bridge.ports import SECOND
from bridge.runtime import Runtime
from statemachines import TransferState

_outbox: Table = models.metadata.tables["outbox"]
_head: Table = models.metadata.tables["event_head"]
_event: Table = models.metadata.tables["event"]
_transfer: Table = models.metadata.tables["transfer"]
_endpoint: Table = models.metadata.tables["webhook_endpoint"]
_delivery: Table = models.metadata.tables["delivery"]
_operator: Table = models.metadata.tables["operator"]

ENDPOINT_DISABLED, SET_BACK = "endpoint.disabled", "sequence.set_back"

LATE_SECONDS = 60
"""A move that has waited longer than this for its number says that nobody is numbering."""

_WAITING = (
    select(_outbox, _transfer.c.player_id, _transfer.c.provider, _transfer.c.direction, _transfer.c.currency,
           _transfer.c.created_at)
    .join(_transfer, _transfer.c.id == _outbox.c.transfer_id)
    .order_by(_outbox.c.id)
)
_HAS_SOME = select(_outbox.c.id).where(_outbox.c.operator_id == _operator.c.id).limit(1).exists()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_log = log.get("events")


@dataclass(frozen=True)
class Draft:
    """An event that has no number yet. `about`: (transfer, version), where it is about one; instants in
    microseconds."""

    kind: str
    data: Mapping[str, Any]
    occurred_at: int
    about: tuple[str | None, int | None] = (None, None)


def waiting(runtime: Runtime) -> Sequence[int]:
    """Operators whose moves wait for their numbers."""
    query = select(_operator.c.id).where(_HAS_SOME).order_by(_operator.c.id)
    with db.reading(runtime.engine) as connection:
        return connection.execute(query).scalars().all()


def number(runtime: Runtime, operator_id: int, limit: int) -> int:
    """Make events of up to `limit` rows of an operator's outbox; how many it made.

    Any number of processes may do so at once: one does, and the others find nothing to do.
    """
    with db.writing(runtime.engine) as connection:
        db.insert_if_absent(connection, _head, {"operator_id": operator_id, "sequence": 0})
        head = select(_head.c.sequence).where(_head.c.operator_id == operator_id).with_for_update(skip_locked=True)
        last = connection.execute(head).scalar()  # whoever held it before has committed what it numbered
        if last is None:
            return 0
        rows = connection.execute(_WAITING.where(_outbox.c.operator_id == operator_id).limit(limit)).mappings().all()
        for row in rows:
            denominations.require(connection, runtime, row["currency"])
        drafts = [_of_move(row, runtime.currencies) for row in rows]
        _write(connection, runtime, operator_id, int(last), drafts)
        connection.execute(delete(_outbox).where(_outbox.c.id.in_([row["id"] for row in rows])))
        _count(connection, operator_id, rows)
    return len(rows)


def _count(connection: Connection, operator_id: int, rows: Sequence[RowMapping]) -> None:
    """Figures are no reason to tell an operator nothing."""
    try:
        with connection.begin_nested():
            tallies.add(connection, operator_id, rows)
    except DBAPIError:
        _log.exception("moves not counted", operator=operator_id, moves=len(rows))


def emit(connection: Connection, runtime: Runtime, operator_id: int, draft: Draft) -> None:
    """Number one event at once, in the caller's transaction, which holds the operator's sequence until it ends."""
    _write(connection, runtime, operator_id, hold(connection, operator_id), [draft])


def tell_of_a_restore(connection: Connection, runtime: Runtime, reason: str) -> None:
    """Tell every operator that a backup was restored: numbers it knows may be given again, also where the backup holds
    no event of its."""
    for operator_id in connection.execute(select(_operator.c.id).order_by(_operator.c.id)).scalars().all():
        data = {"known_until": hold(connection, operator_id), "reason": reason}
        emit(connection, runtime, operator_id, Draft(SET_BACK, data, runtime.clock.now()))


def hold(connection: Connection, operator_id: int) -> int:
    """The number of the operator's last event; until this transaction ends nobody else numbers another one, or takes
    from those who get them."""
    db.insert_if_absent(connection, _head, {"operator_id": operator_id, "sequence": 0})
    held = select(_head.c.sequence).where(_head.c.operator_id == operator_id).with_for_update()
    return int(connection.execute(held).scalar_one())


def _write(connection: Connection, runtime: Runtime, operator_id: int, last: int, drafts: Sequence[Draft]) -> None:
    if not drafts:
        return
    now = runtime.clock.now()
    rows = [
        _row(runtime.ids.new("evt"), operator_id, sequence, draft, now)
        for sequence, draft in enumerate(drafts, last + 1)
    ]
    connection.execute(insert(_event), rows)
    connection.execute(update(_head).where(_head.c.operator_id == operator_id).values(sequence=last + len(drafts)))
    to = select(_endpoint.c.id).where(_endpoint.c.operator_id == operator_id, _endpoint.c.state == "enabled")
    deliveries = [
        {"endpoint_id": endpoint, "operator_id": operator_id, "sequence": row["sequence"], "state": "waiting",
         "tries": 0, "epoch": 0, "wake_at": now, "created_at": now}
        for endpoint in connection.execute(to).scalars()
        for row in rows
    ]  # fmt: skip
    if deliveries:
        connection.execute(insert(_delivery), deliveries)


def _row(event_id: str, operator_id: int, sequence: int, draft: Draft, now: int) -> dict[str, Any]:
    body = {
        "id": event_id,
        "sequence": sequence,
        "type": draft.kind,
        "timestamp": _instant(draft.occurred_at),
        "data": draft.data,
    }
    transfer_id, version = draft.about
    return {
        "operator_id": operator_id,
        "sequence": sequence,
        "id": event_id,
        "kind": draft.kind,
        "transfer_id": transfer_id,
        "version": version,
        "body": orjson.dumps(body).decode(),
        "occurred_at": draft.occurred_at,
        "numbered_at": now,
    }


def _of_move(row: RowMapping, currencies: Currencies) -> Draft:
    """What a move is told as: the transfer as that move left it."""
    currency = row["currency"]
    arrived = None
    if row["state"] == TransferState.CONFIRMED:
        arrived = row["amount"] if row["arrived"] is None else row["arrived"]
    code, detail = row["reason_code"], row["reason_detail"]
    data = {
        "transfer_id": row["transfer_id"],
        "version": row["version"],
        "state": row["state"],
        "direction": row["direction"],
        "player_id": row["player_id"],
        "provider": row["provider"],
        "amount": currencies.format(row["amount"], currency),
        "arrived": None if arrived is None else currencies.format(arrived, currency),
        "currency": currency,
        "reason": None if code is None else {"code": code, "detail": detail or ""},
    }
    return Draft(f"transfer.{row['state']}", data, row["at"], (row["transfer_id"], row["version"]))


def _instant(microseconds: int) -> str:
    at = _EPOCH + timedelta(microseconds=microseconds)
    return at.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


# --- what can be asked of them ------------------------------------------------------------------------


def page(
    runtime: Runtime, operator_id: int, after: int, limit: int, after_id: str | None = None
) -> Sequence[RowMapping]:
    """The operator's events behind number `after`, in their order.

    Raises Conflict where no event has that number, or the one that has it is not `after_id`: a backup was restored.
    """
    mine = (_event.c.operator_id == operator_id, _event.c.sequence > after)
    query = select(_event).where(*mine).order_by(_event.c.sequence).limit(limit)
    last = select(_event.c.id).where(_event.c.operator_id == operator_id, _event.c.sequence == after)
    with db.reading(runtime.engine) as connection:
        there = connection.execute(last).scalar()
        if after and (there is None or after_id not in (None, there)):
            _refuse_cursor(connection, operator_id)
        return connection.execute(query).mappings().all()


def _refuse_cursor(connection: Connection, operator_id: int) -> NoReturn:
    """Name the number from which a reader has to go on: where the shortest of the backups ended, for which of them the
    reader knows the line of is not known. It may read again what it has read; nothing is missed."""
    told = select(_event.c.body).where(_event.c.operator_id == operator_id, _event.c.kind == SET_BACK)
    bodies = connection.execute(told).scalars()
    known_until = min((int(orjson.loads(body)["data"]["known_until"]) for body in bodies), default=0)
    raise Conflict(
        f"There is no such event, or another has its number: a backup was restored. Read on behind {known_until}.",
        code="sequence_set_back",
        fields={"after": f"{known_until} is the last number that is as it was"},
    )


def one(connection: Connection, operator_id: int, event_id: str) -> RowMapping:
    """One event of an operator; raises NotFound."""
    query = select(_event).where(_event.c.operator_id == operator_id, _event.c.id == event_id)
    row = connection.execute(query).mappings().first()
    if row is None:
        raise NotFound("There is no such event.")
    return row


def late(connection: Connection, now: int) -> int:
    """For how many seconds a move has waited for its number while nobody has given any, if for longer than
    LATE_SECONDS; else 0. While others' moves become events, one operator's that wait say nothing."""
    oldest = connection.execute(select(_outbox.c.at).order_by(_outbox.c.id).limit(1)).scalar()
    if oldest is None or now - oldest <= LATE_SECONDS * SECOND:
        return 0
    newest = select(func.max(_event.c.numbered_at)).join(
        _head, (_head.c.operator_id == _event.c.operator_id) & (_head.c.sequence == _event.c.sequence)
    )
    since = max(int(oldest), connection.execute(newest).scalar() or 0)
    waited = (now - since) // SECOND
    return waited if waited > LATE_SECONDS else 0
