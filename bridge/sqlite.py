"""SQLite as the bridge uses it: durable, its transactions begun in so many words, its connections parted with after a
failure. A dialect of SQLAlchemy rather than listeners, which would be asked at every statement.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor, DBAPIModule
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from bridge.sections import DatabaseSection

_READ_ONLY = "bridge_read_only"
_FAILED = "bridge_failed"


class Dialect(SQLiteDialect_pysqlite):
    """What differs from SQLAlchemy's own."""

    supports_statement_cache = True

    def do_begin(self, dbapi_connection: PoolProxiedConnection) -> None:
        """Take the write lock at once: a deferred BEGIN that turns into a write fails without waiting."""
        read_only = dbapi_connection.info.pop(_READ_ONLY, False)
        cursor = dbapi_connection.cursor()
        try:
            cursor.execute("BEGIN" if read_only else "BEGIN IMMEDIATE")
        finally:
            cursor.close()

    def is_disconnect(
        self,
        e: DBAPIModule.Error,
        connection: PoolProxiedConnection | DBAPIConnection | None,
        cursor: DBAPICursor | None,
    ) -> bool:
        """Asked about every error: the connection is noted as one at which a statement failed."""
        if isinstance(connection, PoolProxiedConnection):
            connection.info[_FAILED] = True
        return super().is_disconnect(e, connection, cursor)


registry.register("sqlite.bridge", __name__, Dialect.__name__)


def connect(settings: DatabaseSection) -> Engine:
    """The engine for a file of SQLite; no connection is opened yet."""
    engine = create_engine(
        make_url(settings.url).set(drivername="sqlite+bridge"),
        connect_args={"timeout": settings.busy_seconds, "isolation_level": None},
        max_overflow=64,
    )
    event.listen(engine, "connect", _furnish)
    event.listen(engine, "checkin", _part_with_a_failed_one)
    return engine


def only_read(connection: Connection) -> None:
    """Have the transaction that begins next on this connection not take the write lock."""
    connection.info[_READ_ONLY] = True


def note_failure(connection: Connection) -> None:
    """A statement failed past SQLAlchemy: the connection is parted with when it is given back, as after any other."""
    connection.info[_FAILED] = True


def _furnish(connection: Any, _record: ConnectionPoolEntry) -> None:
    """WAL lets readers pass writers; FULL makes an answered commit survive a power cut; recursive
    triggers make INSERT OR REPLACE fire the guard against DELETE."""
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "recursive_triggers=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _part_with_a_failed_one(_connection: Any, record: ConnectionPoolEntry) -> None:
    """A connection at which a statement failed is not used again: another statement of it may be unfinished, by
    which it would go on seeing the rows of that instant, and find the database locked, until the collector comes.
    Not before it is given back, and rolled back: closing alone leaves a transaction to its unfinished statements.
    """
    record.info.pop(_READ_ONLY, None)
    if record.info.get(_FAILED):
        record.invalidate()
