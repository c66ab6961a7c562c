"""Fresh migrated databases for stations: copies of one SQLite file, or of one template on a PostgreSQL server."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bridge.db import migrate
from tests.postgres import PostgresServer

ENGINES = ("sqlite", "postgresql")
Fresh = Callable[[str], str]
"""A name → the URL of a new database as migration leaves it."""


@contextmanager
def fresh(engine: str, folder: Path) -> Iterator[Fresh]:
    """How to get new databases of a kind; the PostgreSQL server, durable as in production, ends with the block."""
    if engine == "sqlite":
        yield _sqlite(folder)
        return
    with PostgresServer(durable=True) as server:
        migrate(server.create_database("chaos_template"))
        yield lambda name: server.create_database(f"chaos_{name}", "chaos_template")


def _sqlite(folder: Path) -> Fresh:
    template = folder / "template.db"
    migrate(f"sqlite:///{template}")

    def copy(name: str) -> str:
        target = folder / f"{name}.db"
        shutil.copyfile(template, target)
        return f"sqlite:///{target}"

    return copy
