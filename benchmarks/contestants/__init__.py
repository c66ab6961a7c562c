"""Who is measured: the bridge on two servers, the floor, and peers that do less."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.contestants.base import Contestant, Ground
from benchmarks.contestants.bridge import Bridge
from benchmarks.contestants.floor import Floor
from benchmarks.contestants.peers import Dbos, Procrastinate, Restate

POSTGRESQL, SQLITE = "postgresql", "sqlite"
DATABASES = (POSTGRESQL, SQLITE)

BRIDGE, GUNICORN, FLOOR, DBOS = "bridge", "gunicorn", "floor", "dbos"
PROCRASTINATE, RESTATE = "procrastinate", "restate"

DAY = 86_400
"""Seconds between two verifications of everything: in a run there is one, at the start. It would fall into the turn of
somebody else."""

Maker = Callable[[Ground, Path], Contestant]
ENTRIES: dict[str, Maker] = {
    BRIDGE: lambda ground, folder: Bridge(BRIDGE, ground, folder, verify_seconds=DAY),
    FLOOR: lambda ground, folder: Floor(FLOOR, ground, folder),
    DBOS: lambda ground, folder: Dbos(DBOS, ground, folder),
    GUNICORN: lambda ground, folder: Bridge(GUNICORN, ground, folder, gunicorn=True, verify_seconds=DAY),
    PROCRASTINATE: lambda ground, folder: Procrastinate(PROCRASTINATE, ground, folder),
    RESTATE: lambda ground, folder: Restate(RESTATE, ground, folder),
}
FIELD = {
    POSTGRESQL: (BRIDGE, FLOOR, DBOS, GUNICORN, PROCRASTINATE, RESTATE),
    SQLITE: (BRIDGE, FLOOR, DBOS, GUNICORN),
}
"""Who takes part beside which database. Restate keeps its own, and runs in PostgreSQL's field."""

WORDS = {
    BRIDGE: "bridge",
    GUNICORN: "bridge on gunicorn",
    FLOOR: "floor",
    DBOS: "DBOS Transact",
    PROCRASTINATE: "Procrastinate",
    RESTATE: "Restate",
}

__all__ = ["BRIDGE", "DATABASES", "DBOS", "ENTRIES", "FIELD", "FLOOR", "POSTGRESQL", "SQLITE", "WORDS", "Contestant",
           "Ground"]  # fmt: skip
