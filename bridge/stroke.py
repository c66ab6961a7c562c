"""A stroke: everything that one transaction writes, in one statement, written whole or not at all.

A stroke is a list of parts. The first one decides: where it writes no row, nothing else is written either, for every
later part is written FROM a part before it. On PostgreSQL all of them are one data-modifying WITH, sent once, prepared
by the server, committed by itself: one round trip where a transaction of single statements has one for each. SQLite,
which has no round trips and no such WITH, runs the same parts one after another in one transaction.

In a part, `:name` is a value, `{name}` after FROM is an earlier part, and `@name` is what that part RETURNs as `it`.
The first one has SOON among its conditions.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

import psycopg
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import PoolProxiedConnection

from bridge import db
from bridge.sqlite import note_failure

Value = str | int | None
"""What a stroke is given: text, or a whole number; a boolean only for a column of that type."""

_VALUE, _EARLIER, _TOLD = re.compile(r"(?<!:):(\w+)"), re.compile(r"\{(\w+)\}"), re.compile(r"@(\w+)")

Line = PoolProxiedConnection | Connection
"""A connection on which to strike: of PostgreSQL straight from the pool, of SQLite with its write lock."""

SOON = "TRUE /* soon */"
"""Stands among the conditions of the first part, and holds always. On PostgreSQL no lock is waited for longer than
LONGEST_WAIT from there on: a statement that waited goes on by what it saw of all other rows before it waited."""

LONGEST_WAIT = "50ms"

_LOST = (
    psycopg.IntegrityError,
    psycopg.errors.SerializationFailure,
    psycopg.errors.LockNotAvailable,
    psycopg.errors.InvalidSqlStatementName,
)
"""What PostgreSQL says when somebody was faster, or is about to be: the whole statement is undone then, by the database
itself. Or that what was just prepared is not there: something between us and it hands statements to other sessions than
they were prepared in. Nothing was executed then."""


@dataclass(frozen=True)
class Part:
    """One INSERT or UPDATE of a stroke; `returns` what its RETURNING clause gives, to be told as `it`."""

    name: str
    sql: str
    returns: str = ""


class Stroke:
    """Parts, put together once for each database. `numbers`: the values that are whole numbers; `text`: the one
    statement of PostgreSQL."""

    def __init__(self, parts: Sequence[Part], numbers: frozenset[str]) -> None:
        assert parts[0].returns, "the part that decides has to tell whether it wrote a row"
        assert SOON in parts[0].sql, "the part that decides has to come soon"
        self._steps = tuple((part.name, _alone(part), bool(part.returns)) for part in parts)
        self._names: list[str] = []
        self._telling = tuple(part.name for part in parts if part.returns)
        withs = ",\n".join(f"{part.name} AS (\n{_together(part)})" for part in parts)
        told = ", ".join(f"(SELECT it FROM {name})" for name in self._telling)
        self.text = self._numbered(f"WITH {withs}\nSELECT {told} FROM {parts[0].name}", numbers)
        self._query = self.text.encode()
        self._name = b"stroke_" + hashlib.sha256(self._query).hexdigest()[:16].encode()

    def strike(self, line: Line, values: Mapping[str, Value]) -> Mapping[str, int | None] | None:
        """Write all of it; what each telling part told, or None when nothing at all was written. On PostgreSQL it is
        committed then, on SQLite with the end of the line.

        Raises what the database raises (sqlalchemy.exc); a connection that broke may have committed.
        """
        if not isinstance(line, Connection):
            # Everything travels as text of no declared type: one plan, whatever size a number has.
            told = map(values.__getitem__, self._names)
            sent = [None if value is None else str(value).encode() for value in told]
            if b"\0" in b"".join(filter(None, sent)):
                return None  # libpq would cut it off there without a word; the long way says that it cannot be stored
            row = at_once(line, self._name, self._query, sent)
            return None if row is None else dict(zip(self._telling, map(_number, row), strict=True))
        try:
            written = self._one_by_one(line, values)
        except sqlite3.IntegrityError:
            written = None
        except sqlite3.Error as error:
            note_failure(line)
            raise DBAPIError.instance(self.text, None, error, sqlite3.Error) from error
        if written is None:
            line.rollback()
        return written

    def _one_by_one(self, connection: Connection, values: Mapping[str, Value]) -> Mapping[str, int | None] | None:
        """Also past SQLAlchemy, for the same reason, but in a transaction of its."""
        known: dict[str, Any] = dict(values)
        cursor = connection.connection.cursor()
        for name, sql, tells in self._steps:
            cursor.execute(sql, known)
            if tells:
                row = next(iter(cursor.fetchall()), None)
                known[name] = None if row is None else row[0]
                if row is None and name == self._telling[0]:
                    return None
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


@contextmanager
def line(engine: Engine) -> Iterator[Line]:
    """A line to the database, to be had before the clock is read and anything is decided: whoever has to wait for it,
    or for SQLite's write lock, decides afterwards, and then the request may leave for as long as is meant. A block that
    raises has written nothing on SQLite.

    Raises what the database raises (sqlalchemy.exc).
    """
    if engine.dialect.name != "postgresql":
        with db.writing(engine) as connection:
            yield connection
        return
    try:
        pooled = engine.raw_connection()
    except psycopg.Error as error:
        raise DBAPIError.instance(None, None, error, psycopg.Error) from error
    try:
        yield pooled
    finally:
        if _wire(pooled).transaction_status != TransactionStatus.IDLE:
            # As SQLAlchemy does: this one is parted with, and whatever is as old, for its server is probably gone.
            engine.pool._invalidate(pooled)  # noqa: SLF001 - there is no other way that keeps the pool's size
        pooled.close()


def at_once(
    line: PoolProxiedConnection, name: bytes, query: bytes, values: Sequence[bytes | None]
) -> list[bytes | None] | None:
    """One statement that commits itself, on PostgreSQL; its one row, or None when it wrote nothing, be it that it says
    so, be it that a constraint refused it because somebody was faster. `name`: of the statement, prepared under it.

    It goes past SQLAlchemy and psycopg's cursors, whose machinery costs more than the statement, to libpq, on a
    connection of SQLAlchemy's pool. What they do for others is done here: an error gets its name, and a connection
    that broke is thrown away.
    """
    try:
        result = _executed(_wire(line), line.info.setdefault(_PREPARED, set()), name, query, values)
    except _LOST:
        return None
    except psycopg.Error as error:
        raise DBAPIError.instance(query.decode(), None, error, psycopg.Error) from error
    return [result.get_value(0, column) for column in range(result.nfields)] if result.ntuples else None


def _wire(line: PoolProxiedConnection) -> PGconn:
    return cast("psycopg.Connection[Any]", line.driver_connection).pgconn


_PREPARED = "bridge.strokes"
"""Under which a connection keeps what is prepared on it."""


def _executed(
    wire: PGconn, prepared: set[bytes], name: bytes, query: bytes, values: Sequence[bytes | None]
) -> PGresult:
    """The result of a statement that is prepared on its connection once; raises what went wrong (psycopg.Error)."""
    sent = cast("Sequence[bytes]", values)
    if name in prepared:
        try:
            return _done(wire, wire.exec_prepared(name, sent))
        except psycopg.errors.InvalidSqlStatementName:
            prepared.discard(name)  # after a rollback psycopg has the server forget all; nothing was executed
    with suppress(psycopg.errors.DuplicatePreparedStatement):  # its name is the digest of its text: it is this one
        _done(wire, wire.prepare(name, query))
    prepared.add(name)
    return _done(wire, wire.exec_prepared(name, sent))


def _done(wire: PGconn, result: PGresult) -> PGresult:
    """The result of a statement that went well; raises what went wrong (psycopg.Error)."""
    if result.status in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
        return result
    if wire.status != ConnStatus.OK:
        raise psycopg.OperationalError(wire.get_error_message())
    raise psycopg.errors.error_from_result(result)


def _number(text: bytes | None) -> int | None:
    return None if text is None else int(text)


def _together(part: Part) -> str:
    """A part inside of PostgreSQL's WITH."""
    sql = _TOLD.sub(r"(SELECT it FROM \1)", _EARLIER.sub(r"\1", part.sql))
    # To the end of the statement's own transaction; called before a row goes where it may have to wait.
    sql = sql.replace(SOON, f"set_config('lock_timeout', '{LONGEST_WAIT}', TRUE) <> ''")
    return f"{sql}\nRETURNING {part.returns} AS it" if part.returns else sql


def _alone(part: Part) -> str:
    """A part as a statement of its own: that the one before it wrote something is known by then."""
    sql = _TOLD.sub(r":\1", _EARLIER.sub(r"(SELECT 1) AS \1", part.sql))
    return f"{sql}\nRETURNING {part.returns} AS it" if part.returns else sql
