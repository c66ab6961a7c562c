"""The database: one engine per process, explicit transactions, SQLite and PostgreSQL alike.

`writing` takes SQLite's write lock at once (BEGIN IMMEDIATE: a deferred BEGIN that turns into a write
fails without waiting); on PostgreSQL it is READ COMMITTED on the primary. Nothing commits by itself
and nothing here retries: a failed COMMIT is unknown, and is driven again by its idempotency key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Executable, Table, create_engine, event, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.sqlite import insert as insert_on_sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry

from bridge import sqlite
from bridge.sections import DatabaseSection

TROUBLE = (DBAPIError, PoolTimeout)
"""What is raised where a database cannot be reached, is locked for too long, has no connection left, or is not ours."""


class NotMigrated(RuntimeError):
    """The database is empty or of another version: run `python -m bridge migrate`."""


def connect(settings: DatabaseSection) -> Engine:
    """The engine for `settings.url`; no connection is opened yet."""
    url = make_url(settings.url)
    if url.get_backend_name() == "sqlite":
        return sqlite.connect(settings)
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_size=settings.pool_size,
        max_overflow=0,
        isolation_level="READ COMMITTED",
        connect_args=_TO_POSTGRESQL,
    )
    event.listen(engine, "connect", _furnish)
    return engine


_TO_POSTGRESQL = {
    # A stroke is written in UTF-8, whatever the environment or a role says.
    "client_encoding": "utf8",
    # A server that is not there any more, or whose answers do not come, is noticed; nothing waits for it for hours.
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}

_SESSION = (
    # To read again and fold again is to see what others committed, whatever a role's default says; also in a stroke,
    # which is its own transaction, and of which the driver says nothing.
    "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED",
    # A machine that dies, or a process that stands still, inside of a transaction must not hold its rows until the
    # server notices by itself; and whoever waits for them anyway gives up, is set aside, and comes again.
    "SET idle_in_transaction_session_timeout = '10s'",
    # Longer than that: whoever waits with a provider's answer in hand gets the rows before it gives up.
    "SET lock_timeout = '20s'",
    # The server notices a machine that is gone too, and does not keep its idle sessions for hours.
    "SET tcp_keepalives_idle = 10",
    "SET tcp_keepalives_interval = 5",
    "SET tcp_keepalives_count = 3",
)


def _furnish(connection: Any, _record: ConnectionPoolEntry) -> None:
    for statement in _SESSION:
        connection.execute(statement)
    connection.commit()


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction that writes: committed when the block ends, rolled back when it raises."""
    ended = False
    try:
        with engine.begin() as connection:
            yield connection
            ended = True
    except DBAPIError as trouble:
        if ended:
            trouble.add_detail(AT_COMMIT)
        raise


AT_COMMIT = "at the commit, which may be durable"


def is_away(trouble: DBAPIError | PoolTimeout) -> bool:
    """Whether a block of `writing` failed because the database could not be reached, or not any more, or because every
    connection to it is in use, and has certainly written nothing: a commit that failed may be durable."""
    if isinstance(trouble, PoolTimeout):
        return True
    return AT_COMMIT not in trouble.detail and (trouble.connection_invalidated or trouble.statement is None)


def cause(trouble: DBAPIError | PoolTimeout) -> str:
    """What the driver calls it, for the log."""
    return type(trouble.orig if isinstance(trouble, DBAPIError) else trouble).__name__


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One transaction that only reads, from one snapshot; it never blocks a writer."""
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.execution_options(isolation_level="REPEATABLE READ")
        else:
            sqlite.only_read(connection)
        with connection.begin():
            yield connection


def insert_if_absent(connection: Connection, table: Table, row: Mapping[str, Any]) -> bool:
    """Insert `row` unless a unique key holds it already; true when this call inserted it.

    On PostgreSQL it waits for a concurrent inserter of the same key to commit or roll back.
    """
    return connection.execute(_insert_if_absent(connection.dialect.name, table), row).first() is not None


@cache
def _insert_if_absent(dialect: str, table: Table) -> Executable:
    insert = postgresql.insert if dialect == "postgresql" else insert_on_sqlite
    return insert(table).on_conflict_do_nothing().returning(*table.primary_key.columns)


def inserting(connection: Connection, table: Table) -> postgresql.Insert:
    """An INSERT that can say what to do about a row that is there; both databases say it alike."""
    insert: Any = postgresql.insert if connection.dialect.name == "postgresql" else insert_on_sqlite
    made: postgresql.Insert = insert(table)
    return made


def migrate(url: str) -> None:
    """Bring the database at `url` to this version's schema; running it again changes nothing. Raises NotMigrated where
    it has one that this version does not know."""
    from alembic import command
    from alembic.config import Config as AlembicConfig
    from alembic.util import CommandError

    alembic = AlembicConfig()
    alembic.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    engine = connect(DatabaseSection(url=url))
    try:
        with engine.connect() as connection:
            alembic.attributes["connection"] = connection
            command.upgrade(alembic, "head")
    except CommandError:
        _require_known(engine)  # asked only now: before, it would not wait for its turn
        raise
    finally:
        engine.dispose()


@cache
def schema_version() -> str:
    """The revision that this code expects; looked for once, for reading the scripts takes longer than a transfer."""
    return _known_schemas()[0]


@cache
def _known_schemas() -> tuple[str, ...]:
    """Every revision that this code can bring a database to, or on from; the newest first."""
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory(str(Path(__file__).parent / "migrations"))
    return tuple(script.revision for script in scripts.walk_revisions())


def found_schema(connection: Connection) -> str | None:
    """The revision that the database has."""
    found: str | None = connection.execute(_FOUND_SCHEMA).scalar()
    return found


_FOUND_SCHEMA = text("SELECT version_num FROM alembic_version")


def require_migrated(engine: Engine) -> None:
    """Raise NotMigrated, with one sentence, unless the database holds this version's schema."""
    with reading(engine) as connection:
        if not engine.dialect.has_table(connection, "alembic_version"):
            raise NotMigrated("The database is empty: run `python -m bridge migrate` first.")
        found = found_schema(connection)
    if found != schema_version():
        raise NotMigrated(_another(found))


def _require_known(engine: Engine) -> None:
    with reading(engine) as connection:
        found = found_schema(connection) if engine.dialect.has_table(connection, "alembic_version") else None
    if found is not None and found not in _known_schemas():
        raise NotMigrated(_another(found))


def _another(found: str | None) -> str:
    """What is to be done about a schema that is not this version's. One that is not known is a newer version's."""
    is_older = found is None or found in _known_schemas()
    help_ = "run `python -m bridge migrate`" if is_older else "start the version that it was migrated for"
    return f"The database has schema {found}, this version needs {schema_version()}: {help_}."
