"""The engine: what a failed statement leaves behind on a connection."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from bridge import db
from bridge.config import DatabaseSection


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
