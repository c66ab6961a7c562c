"""Reads: one transfer with its legs, a page of transfers, one transfer's whole story. Nothing moves here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, Table, bindparam, func, or_, select

from bridge import db, models
from bridge.errors import NotFound
from bridge.runtime import Runtime
from bridge.transfers import rows
from bridge.transfers.rows import Story
from statemachines import TransferState

_case: Table = models.metadata.tables["orphan_case"]
_inbox: Table = models.metadata.tables["inbox"]

_ROW = select(rows.transfer_table).where(rows.transfer_table.c.id == bindparam("transfer"))
_STATE = select(rows.transfer_table.c.state).where(
    rows.transfer_table.c.id == bindparam("transfer"), rows.transfer_table.c.operator_id == bindparam("operator")
)
_ROW_OF_OPERATOR = _ROW.where(rows.transfer_table.c.operator_id == bindparam("operator"))
_EVIDENCE = rows.of_transfer(rows.evidence_table, "id")

PAGE_AT_MOST = 200


@dataclass(frozen=True)
class Page:
    """Transfers, newest first; `cursor` continues behind the last one, None at the end."""

    stories: tuple[Story, ...]
    cursor: str | None


def one(runtime: Runtime, operator_id: int, transfer_id: str) -> Story:
    """One transfer of an operator; raises NotFound, also for another operator's."""
    with db.reading(runtime.engine) as connection:
        return _story(connection, _row(connection, operator_id, transfer_id))


def is_pending(runtime: Runtime, operator_id: int, transfer_id: str) -> bool:
    """Whether an operator's transfer is on its way: all that a waiting client has to know."""
    with db.reading(runtime.engine) as connection:
        state = connection.execute(_STATE, {"transfer": transfer_id, "operator": operator_id}).scalar()
    return bool(state == TransferState.PENDING)


def page(runtime: Runtime, operator_id: int | None, filters: Mapping[str, str], cursor: str | None, limit: int) -> Page:
    """Transfers by `state`, `provider`, `player_id`, newest first. `operator_id` None: everybody's (command line)."""
    table = rows.transfer_table
    query = select(table).order_by(table.c.id.desc()).limit(min(limit, PAGE_AT_MOST) + 1)
    if operator_id is not None:
        query = query.where(table.c.operator_id == operator_id)
    for name, value in filters.items():
        query = query.where(table.c[name] == value)
    if cursor is not None:
        query = query.where(table.c.id < cursor)  # ids are UUIDv7 behind a fixed prefix: they sort by creation
    with db.reading(runtime.engine) as connection:
        found = connection.execute(query).mappings().all()
        kept = found[: min(limit, PAGE_AT_MOST)]
        stories = tuple(_story(connection, row) for row in kept)
    return Page(stories, kept[-1]["id"] if len(found) > len(kept) else None)


def history(runtime: Runtime, operator_id: int | None, transfer_id: str) -> list[dict[str, Any]]:
    """Everything that happened to a transfer, oldest first: moves, requests and evidence on one time axis."""
    with db.reading(runtime.engine) as connection:
        _row(connection, operator_id, transfer_id)
        moves = _all(connection, rows.history_table, transfer_id, "id")
        attempts = _all(connection, rows.attempt_table, transfer_id, "attempt")
        evidence = connection.execute(_EVIDENCE, {"transfer": transfer_id}).mappings().all()
    entries = [{"kind": "move", **row} for row in moves]
    entries += [{"kind": "request", "at": row["sent_at"], **row} for row in attempts]
    entries += [{"kind": "evidence", **row} for row in evidence]
    order = {"request": 0, "evidence": 1, "move": 2}
    return sorted(entries, key=lambda entry: (entry["at"], order[entry["kind"]], entry.get("id", 0)))


def messages(runtime: Runtime, operator_id: int | None, transfer_id: str) -> Sequence[RowMapping]:
    """What was said on the wire about a transfer, as it is kept, oldest first; of callbacks what the inbox has."""
    evidence = rows.evidence_table
    received = func.coalesce(_inbox.c.body, evidence.c.received).label("received")
    shown = (evidence.c[name] for name in ("id", "ordinal", "at", "source", "digest", "sent"))
    query = select(*shown, received).outerjoin(_inbox, _inbox.c.id == evidence.c.inbox_id).order_by(evidence.c.id)
    said = or_(evidence.c.sent.is_not(None), received.is_not(None))
    with db.reading(runtime.engine) as connection:
        _row(connection, operator_id, transfer_id)
        return connection.execute(query.where(evidence.c.transfer_id == transfer_id, said)).mappings().all()


def case_of(runtime: Runtime, transfer_id: str) -> RowMapping | None:
    """The case of a transfer, None if it never had one."""
    with db.reading(runtime.engine) as connection:
        return connection.execute(select(_case).where(_case.c.transfer_id == transfer_id)).mappings().first()


def _row(connection: Connection, operator_id: int | None, transfer_id: str) -> RowMapping:
    query = _ROW if operator_id is None else _ROW_OF_OPERATOR
    row = connection.execute(query, {"transfer": transfer_id, "operator": operator_id}).mappings().first()
    if row is None:
        raise NotFound("There is no such transfer.")
    return row


def _story(connection: Connection, row: RowMapping) -> Story:
    return Story(dict(row), rows.legs_of(connection, row["id"]))


def _all(connection: Connection, table: Table, transfer_id: str, order: str) -> list[dict[str, Any]]:
    query = select(table).where(table.c.transfer_id == transfer_id).order_by(table.c[order])
    return [dict(row) for row in connection.execute(query).mappings()]
