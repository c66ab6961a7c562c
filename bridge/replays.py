"""What people ask of deliveries: how they went, and to have events sent again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, Table, and_, literal, select

from bridge import db, endpoints, events, models
from bridge.deliveries import WAITING
from bridge.errors import Conflict, Invalid
from bridge.runtime import Runtime

_event: Table = models.metadata.tables["event"]
_endpoint: Table = models.metadata.tables["webhook_endpoint"]
_delivery: Table = models.metadata.tables["delivery"]
_try: Table = models.metadata.tables["delivery_try"]

REPLAYED_AT_ONCE = 10_000


def page(
    runtime: Runtime, operator_id: int, endpoint_id: str, state: str | None, before: int | None, limit: int
) -> Sequence[Mapping[str, Any]]:
    """Deliveries to an endpoint, newest event first, below number `before`; each with its event and its tries."""
    query = (
        select(_delivery, _event.c.id.label("event_id"), _event.c.kind)
        .join(_event, and_(_event.c.operator_id == _delivery.c.operator_id, _event.c.sequence == _delivery.c.sequence))
        .where(_delivery.c.endpoint_id == endpoint_id)
    )
    if state is not None:
        query = query.where(_delivery.c.state == state)
    if before is not None:
        query = query.where(_delivery.c.sequence < before)
    with db.reading(runtime.engine) as connection:
        endpoints.one(connection, operator_id, endpoint_id)
        rows = connection.execute(query.order_by(_delivery.c.sequence.desc()).limit(limit)).mappings().all()
        tried: dict[int, list[RowMapping]] = {row["id"]: [] for row in rows}
        log_of = select(_try).where(_try.c.delivery_id.in_(tried)).order_by(_try.c.id)
        for each in connection.execute(log_of).mappings():
            tried[each["delivery_id"]].append(each)
    return [{**row, "log": tried[row["id"]]} for row in rows]


def replay(runtime: Runtime, operator_id: int, endpoint_id: str, first: int, last: int) -> int:
    """Send the events from number `first` to `last` to an endpoint again, whether or not they arrived; how many.

    Raises NotFound; Conflict where it is disabled; Invalid for a range that is none, or of more than REPLAYED_AT_ONCE.
    """
    if last < first:
        raise Invalid(fields={"last": "must be at least `first`"})
    if last - first >= REPLAYED_AT_ONCE:
        raise Invalid(fields={"last": f"must leave at most {REPLAYED_AT_ONCE} events: ask for the rest afterwards"})
    with db.writing(runtime.engine) as connection:
        events.hold(connection, operator_id)
        endpoint = endpoints.one(connection, operator_id, endpoint_id, to_change=True)
        if endpoint["state"] != endpoints.ENABLED:
            raise Conflict("Nothing is sent to this endpoint: enable it first.")
        wanted = and_(_event.c.operator_id == operator_id, _event.c.sequence.between(first, last))
        return _ask(connection, runtime, select(literal(endpoint_id), _event.c.sequence).where(wanted), operator_id)


def resend(runtime: Runtime, operator_id: int, event_id: str) -> int:
    """Send one event to all enabled endpoints of its operator again; to how many. Raises NotFound."""
    with db.writing(runtime.engine) as connection:
        events.hold(connection, operator_id)
        sequence = events.one(connection, operator_id, event_id)["sequence"]
        enabled = and_(_endpoint.c.operator_id == operator_id, _endpoint.c.state == endpoints.ENABLED)
        return _ask(connection, runtime, select(_endpoint.c.id, literal(sequence)).where(enabled), operator_id)


def _ask(connection: Connection, runtime: Runtime, wanted: Select[Any], operator_id: int) -> int:
    """Have deliveries made of (endpoint, number), or made anew; whatever is on its way of them is no longer heard."""
    now = runtime.clock.now()
    anew = {"state": WAITING, "tries": 0, "epoch": _delivery.c.epoch + 1, "wake_at": now, "ended_at": None}
    fixed = {"operator_id": operator_id, "state": WAITING, "tries": 0, "epoch": 0, "wake_at": now, "created_at": now}
    rows = wanted.add_columns(*(literal(value).label(name) for name, value in fixed.items()))
    insert = db.inserting(connection, _delivery).from_select(["endpoint_id", "sequence", *fixed], rows)
    asked = insert.on_conflict_do_update(index_elements=["endpoint_id", "sequence"], set_=anew)
    return len(connection.execute(asked.returning(_delivery.c.id)).all())
