"""DBOS Transact: a workflow of one step behind a WSGI door. Its id is the idempotency key; DBOS commits the start, the
step's result and the end.

The application is `benchmarks.apps.dbos_transfers:app`. BENCH_FOLDER: where worker processes find a name that no other
one has, so that each recovers its own workflows after a crash.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path
from typing import IO, Any

import orjson
import sqlalchemy
import urllib3
from dbos import DBOS, SetWorkflowID

THREADS = int(os.environ["BENCH_THREADS"])
PROVIDER = os.environ["BENCH_PROVIDER"]
_held: list[IO[str]] = []  # the lock of this process's name, kept open as long as it lives
wire = urllib3.PoolManager(maxsize=THREADS, retries=False, timeout=urllib3.Timeout(total=10))


@sqlalchemy.event.listens_for(sqlalchemy.Engine, "connect")
def _durable(connection: Any, _record: object) -> None:
    """On SQLite the same durability as everybody's, which is not its default."""
    if type(connection).__module__.startswith("sqlite3"):
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")


@DBOS.step()
def ask(content: dict[str, str]) -> str:
    """The request, as a step: done again after a crash before its result was stored."""
    body = orjson.dumps({"type": "transfer.create", "data": content})
    answer = wire.request("POST", PROVIDER, body=body, headers={"Content-Type": "application/json"})
    return str(orjson.loads(answer.data)["status"])


@DBOS.workflow()
def transfer(content: dict[str, str]) -> str:
    """One transfer."""
    state: str = ask(content)
    return state


def _executor() -> str:
    """The first name that no living process has: the lock goes with its process."""
    for number in count():
        lock = (Path(os.environ["BENCH_FOLDER"]) / f"executor-{number}").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        _held.append(lock)
        return f"executor-{number}"
    raise AssertionError


DBOS(
    config={
        "name": "transfers",
        "system_database_url": os.environ["BENCH_DATABASE"],
        "executor_id": _executor(),
        "application_version": "1",
        "log_level": "WARNING",
    }
)
DBOS.launch()


def app(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """`POST` with an Idempotency-Key: 201 and the state."""
    wish = orjson.loads(environ["wsgi.input"].read())
    key = environ["HTTP_IDEMPOTENCY_KEY"]
    content = {"id": key, "player": wish["player_id"], "direction": wish["direction"],
               "amount": wish["amount"], "currency": wish["currency"]}  # fmt: skip
    with SetWorkflowID(key):
        state = transfer(content)
    body = orjson.dumps({"id": key, "state": state})
    start_response("201 Created", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
