"""Procrastinate's front door: a WSGI application that defers the job, and answers when its end is committed.

Procrastinate itself has nobody wait for a job. Here a trigger on its table tells the number of each job that has ended,
by NOTIFY, and one listening connection a process wakes whoever waits: the client is told as everywhere else in this
benchmark, after the outcome is durable, and nothing polls.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from typing import Any

import orjson
import psycopg
from procrastinate import App, SyncPsycopgConnector

WAIT_SECONDS = 30
TOLD_AT_MOST = 10_000  # ends of jobs that another process of this door waits for are forgotten again
DATABASE = os.environ["BENCH_DATABASE"]
TRIGGER = """
CREATE OR REPLACE FUNCTION bench_ended() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_notify('bench_ended', NEW.id || ' ' || NEW.status); RETURN NULL; END $$;
DROP TRIGGER IF EXISTS bench_ended ON procrastinate_jobs;
CREATE TRIGGER bench_ended AFTER UPDATE OF status ON procrastinate_jobs FOR EACH ROW
WHEN (NEW.status IN ('succeeded', 'failed')) EXECUTE FUNCTION bench_ended();
"""


def prepare() -> None:
    """Once, after its schema was made."""
    with psycopg.connect(DATABASE, autocommit=True) as connection:
        connection.execute(TRIGGER)


jobs = App(connector=SyncPsycopgConnector(conninfo=DATABASE, min_size=16, max_size=16))
jobs.open()


class Ends:
    """The ends that were told, and who waits for one."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._waiting: dict[int, threading.Event] = {}
        self._told: dict[int, str] = {}
        threading.Thread(target=self._listen, daemon=True).start()

    def of(self, job: int) -> str:
        """`succeeded`, `failed`, or `unknown` when it takes too long."""
        with self._turn:
            if job in self._told:
                return self._told.pop(job)
            event = self._waiting[job] = threading.Event()
        event.wait(WAIT_SECONDS)
        with self._turn:
            self._waiting.pop(job, None)
            return self._told.pop(job, "unknown")

    def _listen(self) -> None:
        with psycopg.connect(DATABASE, autocommit=True) as connection:
            connection.execute("LISTEN bench_ended")
            for note in connection.notifies():
                job, _, status = note.payload.partition(" ")
                with self._turn:
                    self._told[int(job)] = status
                    if int(job) in self._waiting:
                        self._waiting[int(job)].set()
                    elif len(self._told) > TOLD_AT_MOST:
                        del self._told[next(iter(self._told))]


ends = Ends()
transfer = jobs.configure_task("transfer")


def app(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """`POST` with an Idempotency-Key: 201 and the state."""
    wish = orjson.loads(environ["wsgi.input"].read())
    key = environ["HTTP_IDEMPOTENCY_KEY"]
    content = {"id": key, "player": wish["player_id"], "direction": wish["direction"],
               "amount": wish["amount"], "currency": wish["currency"]}  # fmt: skip
    ended = ends.of(transfer.defer(content=content))
    body = orjson.dumps({"id": key, "state": "confirmed" if ended == "succeeded" else ended})
    start_response("201 Created", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
