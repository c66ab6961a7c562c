"""What is remembered of a table between two runs of sealing. Whoever owns the database can change it: nothing rests on
it, and what cannot be read of it is as if it had never been there."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, bindparam, select, update

from bridge import db, models
from bridge.audit.canon import Place, Unreadable
from bridge.audit.sealed import Source

_mark: Table = models.metadata.tables["seal_mark"]

_OF = _mark.c.source == bindparam("of_source"), _mark.c.scope == bindparam("of_scope")
_READ = select(_mark).where(*_OF)
_PUT = update(_mark).where(*_OF)


@dataclass(frozen=True)
class Mark:
    """How far a table was seen, when (microseconds) and beside which transactions; up to where there is nothing that is
    not sealed; the last run that was looked at a second time."""

    seen: Place
    seen_at: int
    horizon: int
    looked: Place
    again: int
    begun: bool = True  # somebody has seen it


def read(connection: Connection, source: Source, scope: int) -> Mark:
    """What is remembered of a table."""
    row = connection.execute(_READ, {"of_source": source.name, "of_scope": scope}).first()
    if row is None:
        return Mark([], 0, 0, [], 0, begun=False)
    seen, looked = _place(source, row.seen), _place(source, row.looked)
    return Mark(seen, number(row.seen_at), number(row.horizon), looked, number(row.again), row.seen_at is not None)


def put(connection: Connection, source: Source, scope: int, **values: Any) -> None:
    """Remember something else of a table; the rest stays."""
    db.insert_if_absent(connection, _mark, {"source": source.name, "scope": scope, "again": 0})
    connection.execute(_PUT, {"of_source": source.name, "of_scope": scope, **values})


def number(value: Any) -> int:
    """A number that SQLite may have been made to hold otherwise; 0 for what is none."""
    return value if isinstance(value, int) else 0


def _place(source: Source, text: str | None) -> Place:
    with suppress(Unreadable):
        return source.read_place(text)
    return []
