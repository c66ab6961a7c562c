"""A stroke: everything that one transaction writes, in one statement, written whole or not at all.

A stroke is a list of parts. The first one decides: where it writes no row, nothing else is written either, for every
later part is written FROM a part before it. On PostgreSQL all of them are one data-modifying WITH, sent once, prepared
by the server, committed by itself: one round trip where a transaction of single statements has one for each. SQLite,
which has no round trips and no such WITH, runs the same parts one after another in one transaction.

In a part, `:name` is a value, `{name}` after FROM is an earlier part, and `@name` is what that part RETURNs as `it`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.raw_cursor import RawCursor
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from bridge import db

Value = str | int | None
"""What a stroke is given: text, or a whole number; for a boolean column the words `true` and `false` in its SQL."""

_VALUE, _EARLIER, _TOLD = re.compile(r"(?<!:):(\w+)"), re.compile(r"\{(\w+)\}"), re.compile(r"@(\w+)")

_LOST = (psycopg.IntegrityError, psycopg.errors.SerializationFailure)
"""What PostgreSQL says when somebody was faster: the whole statement is undone then, by the database itself."""


@dataclass(frozen=True)
class Part:
    """One INSERT or UPDATE of a stroke; `returns` what its RETURNING clause gives, to be told as `it`."""

    name: str
    sql: str
    returns: str = ""


class _Nothing(Exception):
    """The deciding part wrote no row: SQLite's transaction is given up."""


class Stroke:
    """Parts, put together once for each database. `numbers`: the values that are whole numbers."""

    def __init__(self, parts: Sequence[Part], numbers: frozenset[str]) -> None:
        self._steps = tuple((part.name, _alone(part)) for part in parts)
        self._names: list[str] = []
        self._telling = tuple(part.name for part in parts if part.returns)
        withs = ",\n".join(f"{part.name} AS (\n{_together(part)})" for part in parts)
        told = ", ".join(f"(SELECT it FROM {name})" for name in self._telling)
        self._query = self._numbered(f"WITH {withs}\nSELECT {told} FROM {parts[0].name}", numbers).encode()

    def strike(self, engine: Engine, values: Mapping[str, Value]) -> Mapping[str, int | None] | None:
        """Write all of it and commit; what each telling part told, or None when nothing at all was written.

        Raises what the database raises (sqlalchemy.exc); a connection that broke may have committed.
        """
        if engine.dialect.name == "postgresql":
            # Everything travels as text of no declared type: one plan, whatever size a number has.
            row = at_once(engine, self._query, [_text(values[name]) for name in self._names])
            return None if row is None else dict(zip(self._telling, row, strict=True))
        try:
            with db.writing(engine) as connection:
                return self._one_by_one(connection, values)
        except _Nothing:
            return None

    def _one_by_one(self, connection: Connection, values: Mapping[str, Value]) -> Mapping[str, int | None]:
        known: dict[str, Any] = dict(values)
        for place, (name, sql) in enumerate(self._steps):
            ran = connection.exec_driver_sql(sql, known)
            if name in self._telling:
                row = ran.first()
                known[name] = None if row is None else row[0]
            if place == 0 and known[name] is None:
                raise _Nothing
        return {name: known[name] for name in self._telling}

    def _numbered(self, query: str, numbers: frozenset[str]) -> str:
        """The query with `$1`, `$2`, …, each value once; only a number needs to be told what it is."""

        def place(match: re.Match[str]) -> str:
            name = match[1]
            if name not in self._names:
                self._names.append(name)
            number = f"${self._names.index(name) + 1}"
            return f"CAST({number} AS BIGINT)" if name in numbers else number

        return _VALUE.sub(place, query)


def at_once(engine: Engine, query: bytes, values: Sequence[str | None]) -> tuple[Any, ...] | None:
    """One statement that commits itself, on PostgreSQL; its first row, or None when it wrote nothing, be it that it
    says so, be it that a constraint refused it because somebody was faster.

    It goes past SQLAlchemy, whose statement machinery costs more than the statement, on a connection of SQLAlchemy's
    pool. So what SQLAlchemy does for others is done here: a broken connection is thrown away, an error gets its name.
    """
    pooled = engine.raw_connection()
    try:
        raw = cast("psycopg.Connection[tuple[Any, ...]]", pooled.driver_connection)
        raw.autocommit = True
        try:
            return RawCursor(raw).execute(query, values, prepare=True).fetchone()
        except _LOST:
            return None
        except psycopg.Error as error:
            raise DBAPIError.instance(query.decode(), None, error, psycopg.Error) from error
        finally:
            if raw.info.transaction_status == TransactionStatus.IDLE:
                raw.autocommit = False
            else:  # it broke, or somebody interrupted us in the middle: not to be used again
                pooled.invalidate()
    finally:
        pooled.close()


def _text(value: Value) -> str | None:
    return value if value is None or isinstance(value, str) else str(value)


def _together(part: Part) -> str:
    """A part inside of PostgreSQL's WITH."""
    sql = _TOLD.sub(r"(SELECT it FROM \1)", _EARLIER.sub(r"\1", part.sql))
    return f"{sql}\nRETURNING {part.returns} AS it" if part.returns else sql


def _alone(part: Part) -> str:
    """A part as a statement of its own: that the one before it wrote something is known by then."""
    sql = _TOLD.sub(r":\1", _EARLIER.sub(r"(SELECT 1) AS \1", part.sql))
    return f"{sql}\nRETURNING {part.returns} AS it" if part.returns else sql
