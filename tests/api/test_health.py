"""Health and trouble: what the process says of itself, and what a client is told when the database is gone."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from bridge import db, identity, keys
from bridge.app import compose, create_app
from bridge.config import Config
from bridge.ports import SECOND
from bridge.runtime import SystemClock
from bridge.sections import DatabaseSection


class Skewed(SystemClock):
    """This machine's clock, some seconds off."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._off = int(seconds * SECOND)

    def now(self) -> int:
        return super().now() + self._off


def readiness(runtime: Any) -> tuple[int, list[str]]:
    """The status of /readyz and the checks that are red."""
    answer = create_app(runtime).test_client().get("/readyz")
    return answer.status_code, [trouble["check"] for trouble in answer.json["wrong"]]


def test_a_healthy_process_is_ready(house):
    """Design §8: /healthz and /readyz need no key and tell nothing of a tenant."""
    house.job_ran()
    client = create_app(house.runtime).test_client()
    alive, ready = client.get("/healthz"), client.get("/readyz")
    assert (alive.status_code, alive.json) == (200, {"status": "ok"})
    assert (ready.status_code, ready.json) == (200, {"status": "ready", "wrong": []})


def test_an_empty_database_is_not_ready(database_url):
    """Design §8: the process serves, but nothing should be sent to it: 503 and the sentence that helps."""
    runtime = compose(Config(database=DatabaseSection(url=database_url)))
    client = create_app(runtime).test_client()
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json["wrong"][0]["check"]) == (503, "database")
    assert "python -m bridge migrate" in answer.json["wrong"][0]["detail"]
    assert client.get("/healthz").status_code == 200
    runtime.engine.dispose()


@pytest.mark.parametrize(("seconds", "expected"), [(-3, (503, ["clock"])), (3, (503, ["clock"])), (1, (200, []))])
def test_a_clock_that_is_off_is_told(house, seconds, expected):
    """I-34: two seconds between our clock and the database's are too many."""
    house.job_ran()
    assert readiness(replace(house.runtime, clock=Skewed(seconds))) == expected


def test_a_scheduler_that_is_silent_is_told(house):
    """I-31: without a job process nothing is resolved, so nothing should be sent here."""
    assert readiness(house.runtime) == (503, ["scheduler"])
    house.job_ran(started_ago=61)
    assert readiness(house.runtime) == (503, ["scheduler"])
    house.job_ran(2, None)
    assert readiness(house.runtime) == (200, [])


def test_overdue_work_is_told(house):
    """I-31: a transfer that is due for a minute shows that no worker is at it."""
    house.job_ran()
    house.transfer("k-1", Prefer="respond-async")
    assert readiness(house.runtime) == (200, [])
    house.write("UPDATE transfer SET wake_at = wake_at - :minute", minute=61 * SECOND)
    assert readiness(house.runtime) == (503, ["resolver"])
    house.resolve()
    assert readiness(house.runtime) == (200, [])


def test_a_failed_verification_is_told(house):
    """Design §8: while the last finished verification found something, the process is not ready."""
    house.job_ran(1, "failed: I-03 (1 row)")
    assert readiness(house.runtime) == (503, ["verify"])
    house.job_ran(2, None)
    assert readiness(house.runtime) == (503, ["verify"])
    house.job_ran(3, "ok")
    assert readiness(house.runtime) == (200, [])


def test_a_database_that_is_gone_is_told(house):
    """Design §10: no database → /readyz 503 and /healthz 200, and neither says where the database is."""
    url = house.runtime.engine.url
    gone = "sqlite:////nowhere/at/all.db" if url.get_backend_name() == "sqlite" else "postgresql://x:y@127.0.0.1:9/z"
    client = create_app(compose(Config(database=DatabaseSection(url=gone)))).test_client()
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json["wrong"]) == (503, [{"check": "database", "detail": "cannot be asked"}])
    assert client.get("/healthz").status_code == 200
    refused = client.get("/v1/transfers", headers={"Authorization": "Bearer bk_x"})
    assert (refused.status_code, refused.json["code"]) == (503, "database_unavailable")
    assert b"nowhere" not in refused.data
    assert b"127.0.0.1" not in refused.data


def test_money_and_a_database_that_fails(build_house):
    """Design §10: trouble of the database → 503 with `retry: same_key`; the same key then makes one transfer."""
    house = build_house()
    with Lost(house):
        answer = house.transfer("k-1")
    assert (answer.status_code, answer.json["code"], answer.json["retry"]) == (503, "database_unavailable", "same_key")
    assert answer.headers["Retry-After"] == "1"
    assert b"Traceback" not in answer.data
    again = house.transfer("k-1")
    assert (again.status_code, again.json["state"]) == (201, "confirmed")
    assert (house.effects(again.json), len(house.rows("SELECT id FROM transfer"))) == (1, 1)
    house.audit()


class Lost:
    """The database as a client may lose it: SQLite's write lock is taken, PostgreSQL's backends are ended."""

    def __init__(self, house: Any) -> None:
        self._house, self._url = house, make_url(house.runtime.config.database.url)

    def __enter__(self) -> None:
        if self._url.get_backend_name() == "sqlite":
            self._house.runtime.engine.dispose()
            short = self._house.runtime.config.database.model_copy(update={"busy_seconds": 0.2})
            config = self._house.runtime.config.model_copy(update={"database": short})
            self._kept, self._house.callers = dict(self._house.callers), dict(self._house.callers)
            impatient = compose(config)
            self._house.callers["ann"] = replace(self._house.ann, client=create_app(impatient).test_client())
            self._lock = sqlite3.connect(Path(str(self._url.database)), isolation_level=None)
            self._lock.execute("BEGIN IMMEDIATE")
        else:
            with closing(psycopg.connect(self._dsn(), autocommit=True)) as other:
                other.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )

    def __exit__(self, *_exception: object) -> None:
        if self._url.get_backend_name() == "sqlite":
            self._lock.execute("ROLLBACK")
            self._lock.close()
            self._house.callers = self._kept

    def _dsn(self) -> str:
        return self._url.set(drivername="postgresql").render_as_string(hide_password=False)


def test_a_provider_that_is_another_is_told_by_name(house):
    """I-09: money stands in our books at the one that it was: this process is not to be sent anybody, the one that is
    configured as before is; nothing of who they are is told."""
    house.job_ran()
    identity.keep(house.runtime)
    (name,) = house.runtime.config.providers
    keys.add_operator(house.runtime, "held")
    with db.writing(house.runtime.engine) as connection:
        connection.execute(text("INSERT INTO player (operator_id, player_id, created_at) VALUES (1, 'zed', 1)"))
        held = f"VALUES (1, 'game:{name}:zed', 'EUR', 'zed', 5, 1)"
        columns = "operator_id, account, currency, player_id, balance, version"
        connection.execute(text(f"INSERT INTO account ({columns}) {held}"))
    policy = house.runtime.config.providers[name].model_copy(update={"base_url": "http://127.0.0.1:10"})
    config = house.runtime.config.model_copy(update={"providers": {name: policy}})
    answer = create_app(replace(house.runtime, config=config)).test_client().get("/readyz")
    assert (answer.status_code, answer.json["wrong"]) == (
        503, [{"check": "providers", "detail": f"configured as another than it was: {name}"}]
    )  # fmt: skip
    assert readiness(house.runtime) == (200, [])
