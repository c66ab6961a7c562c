"""The floor: what no bridge can do without. A durable intent, one request, a durable outcome, each database write one
statement in a transaction of its own; no evidence, no ledger, no history, no validation, no log, no metric.

The application is `benchmarks.apps.floor:app`.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

import orjson
import urllib3

THREADS = int(os.environ["BENCH_THREADS"])
PROVIDER = os.environ["BENCH_PROVIDER"]
TABLE = (
    "CREATE TABLE IF NOT EXISTS transfer (key TEXT PRIMARY KEY, player TEXT NOT NULL, direction TEXT NOT NULL, "
    "amount BIGINT NOT NULL, currency TEXT NOT NULL, state TEXT NOT NULL, provider_id TEXT)"
)


class PostgresRows:
    """The driver's own pool; prepared statements, autocommit: one round trip a transaction."""

    def __init__(self, url: str) -> None:
        from psycopg_pool import ConnectionPool

        self._pool: Any = ConnectionPool(
            url, min_size=16, max_size=16, kwargs={"autocommit": True, "prepare_threshold": 0}, open=True
        )
        with self._pool.connection() as connection:
            connection.execute(TABLE)

    def intend(self, key: str, wish: dict[str, str]) -> bool:
        """Commit the intent; false when the key is known."""
        with self._pool.connection() as connection:
            return bool(
                connection.execute(
                    "INSERT INTO transfer VALUES (%s, %s, %s, %s, %s, 'pending') ON CONFLICT DO NOTHING",
                    _columns(key, wish),
                ).rowcount
            )

    def end(self, key: str, state: str, provider_id: str | None) -> None:
        """Commit the outcome."""
        with self._pool.connection() as connection:
            connection.execute(
                "UPDATE transfer SET state = %s, provider_id = %s WHERE key = %s", (state, provider_id, key)
            )


class SqliteRows:
    """One connection a thread. Writers of this process take turns by a lock: SQLite's own waiting sleeps too long."""

    def __init__(self, file: str) -> None:
        self._file, self._mine, self._turn = file, threading.local(), threading.Lock()
        self._connection().execute(TABLE)

    def intend(self, key: str, wish: dict[str, str]) -> bool:
        """Commit the intent; false when the key is known."""
        with self._turn:
            return bool(
                self._connection()
                .execute(
                    "INSERT INTO transfer VALUES (?, ?, ?, ?, ?, 'pending', NULL) ON CONFLICT DO NOTHING",
                    _columns(key, wish),
                )
                .rowcount
            )

    def end(self, key: str, state: str, provider_id: str | None) -> None:
        """Commit the outcome."""
        with self._turn:
            self._connection().execute(
                "UPDATE transfer SET state = ?, provider_id = ? WHERE key = ?", (state, provider_id, key)
            )

    def _connection(self) -> sqlite3.Connection:
        found: sqlite3.Connection | None = getattr(self._mine, "connection", None)
        if found is None:
            found = self._mine.connection = sqlite3.connect(self._file, timeout=30, isolation_level=None)
            found.execute("PRAGMA journal_mode=WAL")
            found.execute("PRAGMA synchronous=FULL")
        return found


def _columns(key: str, wish: dict[str, str]) -> tuple[Any, ...]:
    return (key, wish["player_id"], wish["direction"], int(wish["amount"].replace(".", "")), wish["currency"])


def _open() -> PostgresRows | SqliteRows:
    url = os.environ["BENCH_DATABASE"]
    return SqliteRows(url.removeprefix("sqlite:///")) if url.startswith("sqlite") else PostgresRows(url)


rows = _open()
wire = urllib3.connection_from_url(PROVIDER, maxsize=THREADS, timeout=urllib3.Timeout(total=10))
PATH = urlsplit(PROVIDER).path


def app(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """`POST` with an Idempotency-Key: 201 and the state."""
    wish = orjson.loads(environ["wsgi.input"].read())
    key = environ["HTTP_IDEMPOTENCY_KEY"]
    if not rows.intend(key, wish):
        start_response("409 Conflict", [("Content-Type", "application/json")])
        return [b'{"code":"known"}']
    content = {"id": key, "player": wish["player_id"], "direction": wish["direction"],
               "amount": wish["amount"], "currency": wish["currency"]}  # fmt: skip
    answer = wire.urlopen(
        "POST",
        PATH,
        retries=False,
        body=orjson.dumps({"type": "transfer.create", "data": content}),
        headers={"Content-Type": "application/json"},
    )
    told = orjson.loads(answer.data)
    rows.end(key, told["status"], told.get("provider_id"))
    body = orjson.dumps({"id": key, "state": told["status"]})
    start_response("201 Created", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
