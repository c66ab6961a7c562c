"""The floor: apps/floor.py on granian, with as many workers and threads as the bridge has."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping

import psycopg

from benchmarks.children import HOST, Child, python
from benchmarks.contestants.base import DONE, UNDONE, Contestant, Ground, numbers


def granian(ground: Ground, port: int, application: str) -> list[str]:
    """The command of a WSGI application on the bridge's own server, started alike."""
    return [
        *(python(peers=True), "-m", "granian", "--interface", "wsgi", "--host", HOST, "--port", str(port)),
        *("--workers", str(ground.workers), "--blocking-threads", str(ground.threads)),
        *("--respawn-failed-workers", application),
    ]


def plain(url: str) -> str:
    """A database URL without the driver's name in it."""
    return url.replace("+psycopg", "", 1)


class Floor(Contestant):
    """One program and one table."""

    def prepare(self) -> None:
        """A new database; the program makes its table."""
        self._url = plain(self.ground.fresh(self.name))

    def programs(self) -> Iterator[tuple[Child, int | None]]:
        """One."""
        settings = {"BENCH_DATABASE": self._url, "BENCH_PROVIDER": self.provider,
                    "BENCH_THREADS": str(self.ground.threads)}  # fmt: skip
        command = granian(self.ground, self.port, "benchmarks.apps.floor:app")
        yield Child("floor", command, self.folder, settings), self.port

    def said(self, run: str) -> Mapping[int, str]:
        """Its rows."""
        words = {"confirmed": DONE, "refused": UNDONE, "cancelled": UNDONE}
        return numbers(rows(self._url, "SELECT key, state FROM transfer"), run, words)


def rows(url: str, query: str) -> list[tuple[str, str]]:
    """What a query finds in a database of either kind."""
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()
    with psycopg.connect(url) as server:
        return [(str(key), str(state)) for key, state in server.execute(query.encode()).fetchall()]
