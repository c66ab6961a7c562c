"""The engine: what a failed statement leaves behind on a connection, and what holds on every connection of PostgreSQL,
also for what goes past SQLAlchemy."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlalchemy.pool import QueuePool

from bridge import db, stroke
from bridge.sections import DatabaseSection
from tests.postgres import PostgresServer


@pytest.fixture
def url(postgres: Any) -> Iterator[str]:
    """An empty database of PostgreSQL."""
    name = f"bridge_engine_{uuid.uuid4().hex}"
    yield postgres.create_database(name)
    postgres.drop_database(name)


def asked(engine: Engine, query: str) -> bytes | None:
    """What a stroke's way gets for a query of one value."""
    with stroke.line(engine) as line:
        row = stroke.at_once(line, hashlib.sha256(query.encode()).hexdigest()[:16].encode(), query.encode(), [])
    return None if row is None else row[0]


def test_a_connection_at_which_a_statement_failed_is_not_used_again(tmp_path: Path) -> None:
    """An unfinished SELECT keeps SQLite's snapshot until the collector ends it. Back in the pool, such a connection
    would show every later transaction the rows of then, and find the database locked when it wants to write."""
    engine = db.connect(DatabaseSection(url=f"sqlite:///{tmp_path / 'one.db'}", busy_seconds=0.2))
    with db.writing(engine) as connection:
        connection.execute(text("CREATE TABLE t (n INTEGER)"))
        connection.execute(text("INSERT INTO t VALUES (1), (2)"))
    unfinished = []

    def fail_beside_an_unfinished_select() -> None:
        with db.reading(engine) as connection:
            rows = connection.execute(text("SELECT n FROM t"))
            unfinished.append((rows, rows.fetchone()))
            connection.execute(text("SELECT n FROM nowhere"))

    with pytest.raises(OperationalError):
        fail_beside_an_unfinished_select()
    other = db.connect(DatabaseSection(url=str(engine.url)))
    with db.writing(other) as connection:
        connection.execute(text("INSERT INTO t VALUES (3)"))
    with db.writing(engine) as connection:
        connection.execute(text("INSERT INTO t VALUES (4)"))
    with db.reading(engine) as connection:
        assert connection.execute(text("SELECT COUNT(*) FROM t")).scalar_one() == 4
    other.dispose()
    engine.dispose()


def test_a_connection_at_which_a_stroke_failed_is_not_used_again(tmp_path: Path) -> None:
    """A stroke goes past SQLAlchemy; what holds for the connection of any other statement holds for its own."""
    engine = db.connect(DatabaseSection(url=f"sqlite:///{tmp_path / 'one.db'}"))
    with db.writing(engine) as connection:
        connection.execute(text("CREATE TABLE t (n INTEGER)"))
        before = connection.connection.driver_connection
    decides = stroke.Part("decides", f"INSERT INTO t SELECT 1 WHERE {stroke.SOON}", "n")
    fails = stroke.Part("fails", "INSERT INTO nowhere SELECT 1 FROM {decides}")
    with pytest.raises(OperationalError), stroke.line(engine) as line:
        stroke.Stroke([decides, fails], frozenset()).strike(line, {})
    with db.reading(engine) as connection:
        assert connection.connection.driver_connection is not before
        assert connection.execute(text("SELECT COUNT(*) FROM t")).scalar_one() == 0
    engine.dispose()


def test_every_statement_is_read_committed(url: str) -> None:
    """Whatever the default of a role or a database says, and whoever sends it."""
    engine = db.connect(DatabaseSection(url=url))
    with db.writing(engine) as connection:
        name = engine.url.database
        connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'"))
    engine.dispose()
    assert asked(engine, "SELECT current_setting('transaction_isolation')") == b"read committed"
    with db.reading(engine) as connection:
        assert connection.execute(text("SHOW transaction_isolation")).scalar_one() == "repeatable read"
    with db.writing(engine) as connection:
        assert connection.execute(text("SHOW transaction_isolation")).scalar_one() == "read committed"
    assert asked(engine, "SELECT current_setting('transaction_isolation')") == b"read committed"
    engine.dispose()


def test_every_connection_speaks_utf_8(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment or a database says: what a stroke writes is read as it was written."""
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    engine = db.connect(DatabaseSection(url=url))
    with db.writing(engine) as connection:
        connection.execute(text(f"ALTER DATABASE {engine.url.database} SET client_encoding = 'LATIN1'"))
    engine.dispose()
    assert asked(engine, "SELECT 'jou\u00e9'") == "jou\u00e9".encode()
    assert asked(engine, "SELECT length('jou\u00e9')") == b"4"
    with db.reading(engine) as connection:
        assert connection.execute(text("SELECT 'jou\u00e9'")).scalar_one() == "jou\u00e9"
    engine.dispose()


def test_a_connection_that_broke_leaves_the_pool_as_large_as_it_was(url: str) -> None:
    """C-43 One backend is ended while other connections are in use: there are never more than the pool may have."""
    size = 3
    engine = db.connect(DatabaseSection(url=url, pool_size=size))
    assert isinstance(engine.pool, QueuePool)
    engine.pool._timeout = 0.2  # no option of ours, and the usual one is too long for a test
    with ExitStack() as held:
        ours = [held.enter_context(engine.connect()) for _ in range(size)]
        gone = ours.pop()
        pid = gone.execute(text("SELECT pg_backend_pid()")).scalar_one()
        gone.close()
        ours[0].execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        time.sleep(0.2)
        with pytest.raises(OperationalError):
            asked(engine, "SELECT 1")
        held.enter_context(engine.connect()).execute(text("SELECT 1"))
        with pytest.raises(PoolExhausted):
            held.enter_context(engine.connect())
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        assert ours[0].execute(text(query)).scalar_one() == size
    engine.dispose()


def test_a_server_that_is_gone_is_told_as_any_trouble_of_the_database() -> None:
    """C-43 Also where a connection has to be made first: whoever asks may come again, and is told so."""
    with PostgresServer() as server:
        engine = db.connect(DatabaseSection(url=server.create_database("gone")))
        assert asked(engine, "SELECT 1") == b"1"
        server.stop()
        for _ in range(3):  # on what was open, and then on what cannot be opened
            with pytest.raises(OperationalError):
                asked(engine, "SELECT 1")
        server.start()
        assert asked(engine, "SELECT 1") == b"1"
        engine.dispose()
