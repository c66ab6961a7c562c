"""A bridge whose people get alerts at a server of the test's and in a letterbox, on the test's clock."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from threading import Event
from typing import Any

import pytest
from standardwebhooks import Webhook

from jobs import alerts
from tests.harness import Bench, Hands, bench
from tests.letterbox import Letterbox
from tests.providers import ScriptedServer, http
from tests.transfers.conftest import ONE_TIMES
from tests.transfers.scripted_one import HALF, ScriptedOne

SECRET = "whsec_YWxlcnRzIHRvIHBlb3BsZTogZm9yIHRlc3RzIDAwMDE="
LIVES = 1
"""When a process of jobs was started that beats at each tick of the test."""

SOUND = 0
"""The slot of a verification that ends at each tick of the test and finds nothing; any other one is newer."""

TO, SENDER = "oncall@casino.example", "bridge@casino.example"


class Watched:
    """A bridge, and what its people hear."""

    def __init__(self, made: Bench, hands: Hands, one: ScriptedOne, receiver: ScriptedServer, box: Letterbox) -> None:
        self.made, self.hands, self.one, self.receiver, self.box = made, hands, one, receiver, box

    def tick(self, worker: Bench | None = None) -> dict[str, int]:
        """What the job does at its next tick."""
        runtime = (worker or self.made).runtime
        self.alive()
        return alerts.run_once(runtime, runtime.clock.now(), 100, Event())

    def alive(self) -> None:
        """The process of `LIVES` is as alive as the clock is late, and has just ended a verification."""
        with self.made.runtime.engine.begin() as connection:
            connection.exec_driver_sql(f"UPDATE beat SET seen_at = {self.hands.now()} WHERE started_at = {LIVES}")
            connection.exec_driver_sql(f"UPDATE job_run SET finished_at = {self.hands.now()} WHERE slot = {SOUND}")

    def pass_time(self, seconds: float, step: float = 10) -> None:
        """Time passes, and the job ticks."""
        while seconds > 0:
            self.hands.turn(min(step, seconds))
            seconds -= step
            self.tick()

    def orphan(self, amount: str = "10.00") -> str:
        """A transfer that becomes an orphan at once: the provider moved half of it."""
        self.one.script = [HALF]
        transfer = self.made.run("in", amount)
        assert self.made.row(transfer)["state"] == "orphaned"
        return transfer

    def posted(self) -> list[dict[str, Any]]:
        """What came by webhook, each signature verified by the reference implementation."""
        return [verified(request) for request in self.receiver.received]

    def heard(self) -> list[tuple[str, str]]:
        """(type, kind) of what came by webhook."""
        return [(each["type"], each["data"]["kind"]) for each in self.posted()]


def verified(request: Any) -> dict[str, Any]:
    """The body of a message that is really signed by the bridge, or an error."""
    at = datetime.fromtimestamp(int(request.headers["webhook-timestamp"]), UTC)
    expected = Webhook(SECRET).sign(request.headers["webhook-id"], at, request.body.decode())
    assert request.headers["webhook-signature"] == expected
    body: dict[str, Any] = json.loads(request.body)
    return body


@pytest.fixture
def hands() -> Hands:
    """The clock."""
    return Hands()


@pytest.fixture
def one(hands: Hands) -> ScriptedOne:
    """A one-phase provider with books of its own."""
    return ScriptedOne(hands)


@pytest.fixture
def receiver() -> Iterator[ScriptedServer]:
    """Where alerts are posted to."""
    with ScriptedServer() as started:
        started.routes["/alerts"] = http(204)
        yield started


@pytest.fixture
def box() -> Iterator[Letterbox]:
    """Where letters go."""
    with Letterbox() as opened:
        yield opened


def ways(receiver: ScriptedServer, box: Letterbox) -> dict[str, Any]:
    """Settings of both ways to people."""
    return {
        "alerts_webhook_url": receiver.url + "/alerts", "alerts_webhook_secret": SECRET,
        "alerts_allowed_networks": ("127.0.0.0/8",), "alerts_email_to": (TO,), "alerts_email_from": SENDER,
        "alerts_smtp_host": "127.0.0.1", "alerts_smtp_port": box.port, "alerts_smtp_security": "none",
        "alerts_desk_url": "https://desk.example/ops", "alerts_answer_seconds": 3,
    }  # fmt: skip


@pytest.fixture
def build(
    migrated_url: str, hands: Hands, one: ScriptedOne, receiver: ScriptedServer, box: Letterbox
) -> Iterator[Callable[..., Watched]]:
    """Builds a bridge whose people are told, with other settings."""
    running = []

    def built(**settings: Any) -> Watched:
        opened = bench(
            migrated_url, clock=hands, provider=one, **{**ONE_TIMES, **ways(receiver, box), **settings}
        )  # fmt: skip
        made = opened.__enter__()
        running.append(opened)
        watched = Watched(made, hands, one, receiver, box)
        alive(watched)
        with made.runtime.engine.begin() as connection:
            connection.exec_driver_sql(f"INSERT INTO job_run VALUES ('verify', {SOUND}, 'w', 1, 1, 'ok')")
        return watched

    yield built
    for opened in running:
        opened.__exit__(None, None, None)


@pytest.fixture
def watched(build: Callable[..., Watched]) -> Watched:
    """A bridge whose people are told by webhook and by e-mail."""
    return build()


def alive(watched: Watched) -> None:
    """A process of jobs that lives as long as the test: its beat follows the test's clock."""
    now = watched.hands.now()
    with watched.made.runtime.engine.begin() as connection:
        connection.exec_driver_sql(
            f"INSERT INTO beat (worker, started_at, seen_at, at_work) VALUES ('w', {LIVES}, {now}, '{{}}')"
        )
