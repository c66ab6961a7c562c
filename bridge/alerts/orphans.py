"""Orphans that people have not been told of yet: each is told once, together with what came within the same minute."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, Select, Table, delete, func, insert, select, text

from bridge import models
from bridge.ports import SECOND
from bridge.runtime import Runtime

_transfer: Table = models.metadata.tables["transfer"]
_told: Table = models.metadata.tables["alerted_orphan"]

# In the words of the index over what is unresolved, so that both databases use it.
_ORPHANED = text("transfer.state IN ('pending', 'orphaned') AND transfer.state = 'orphaned'")
_UNTOLD = ~select(_told.c.transfer_id).where(_told.c.transfer_id == _transfer.c.id).exists()

NAMED = 10
"""So many transfers are named in a message; the desk shows all."""

LOCKED_TOGETHER = 500
"""Rows written in one statement."""


@dataclass(frozen=True)
class Group:
    """New orphans of one operator: their ids, oldest first, and their value in minor units by currency."""

    operator_id: int
    transfers: tuple[str, ...]
    units: Mapping[str, int]


@dataclass(frozen=True)
class Seen:
    """What there is to know at one look: what is to be told now, which operators have orphans of which people know or
    are told now, and whether one that they know of is none any more."""

    groups: tuple[Group, ...] = ()
    operators: frozenset[int] = frozenset()
    has_ended: bool = False


def look(connection: Connection, runtime: Runtime) -> Seen:
    """All of that."""
    groups = tuple(new(connection, runtime))
    operators = with_told(connection) | {group.operator_id for group in groups}
    return Seen(groups, frozenset(operators), has_ended(connection))


def new(connection: Connection, runtime: Runtime) -> list[Group]:
    """What is to be told now: of each operator whose first untold orphan is old enough, all that are untold."""
    since = func.coalesce(_transfer.c.settled_at, _transfer.c.updated_at)
    query = (
        select(_transfer.c.id, _transfer.c.operator_id, _transfer.c.currency, _transfer.c.amount, since.label("since"))
        .where(_ORPHANED, _UNTOLD)
        .order_by(_transfer.c.operator_id, since, _transfer.c.id)
    )
    found: dict[int, list[tuple[str, str, int, int]]] = {}
    for row in connection.execute(query):
        found.setdefault(row.operator_id, []).append((row.id, row.currency, row.amount, row.since))
    due = runtime.clock.now() - int(runtime.config.alerts.orphans_grouped_seconds * SECOND)
    return [
        Group(operator, tuple(each[0] for each in rows), _sums((each[1], each[2]) for each in rows))
        for operator, rows in sorted(found.items())
        if rows[0][3] <= due
    ]


def standing(connection: Connection, operator_id: int) -> tuple[int, dict[str, int]]:
    """(how many orphans an operator has, their value in minor units by currency)."""
    query = select(_transfer.c.currency, _transfer.c.amount).where(_ORPHANED, _transfer.c.operator_id == operator_id)
    rows = connection.execute(query).all()
    return len(rows), _sums((row.currency, row.amount) for row in rows)


def with_told(connection: Connection) -> set[int]:
    """Operators with orphans that people have been told of."""
    query = select(_transfer.c.operator_id).join(_told, _told.c.transfer_id == _transfer.c.id).where(_ORPHANED)
    return set(connection.execute(query.distinct()).scalars())


def has_ended(connection: Connection) -> bool:
    """Whether a transfer that people were told of is no orphan any more."""
    return connection.execute(_ended().limit(1)).first() is not None


def forget_ended(connection: Connection) -> None:
    """What is no orphan any more is a new one if it becomes one again."""
    gone = [row.transfer_id for row in connection.execute(_ended())]
    for start in range(0, len(gone), LOCKED_TOGETHER):
        these = gone[start : start + LOCKED_TOGETHER]
        connection.execute(delete(_told).where(_told.c.transfer_id.in_(these)))


def mark_told(connection: Connection, group: Group, alert_id: str) -> None:
    """These have been told under this alert."""
    connection.execute(insert(_told), [{"transfer_id": each, "alert_id": alert_id} for each in group.transfers])


def _ended() -> Select[tuple[str]]:
    return (
        select(_told.c.transfer_id)
        .join(_transfer, _transfer.c.id == _told.c.transfer_id)
        .where(_transfer.c.state != "orphaned")
        .order_by(_told.c.transfer_id)
    )


def _sums(amounts: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Added up here: a database's own sum might not fit into 64 bits."""
    sums: dict[str, int] = {}
    for currency, amount in amounts:
        sums[currency] = sums.get(currency, 0) + amount
    return dict(sorted(sums.items()))
