"""Real processes: two of jobs, two of the web; people are told once by either kind, and what was not sent is sent by
whoever is left."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from bridge import db
from tests.alerts.conftest import SECRET, SENDER, TO, verified
from tests.harness import EUR, OPERATOR, PROVIDER, ROOT, bench
from tests.jobs.test_process import until
from tests.letterbox import Letterbox
from tests.providers import ScriptedServer, http


class Town:
    """A database, people who are told, and processes that are started and ended."""

    def __init__(self, url: str, folder: Path, receiver: ScriptedServer, box: Letterbox) -> None:
        self.url, self.folder, self.receiver, self.box = url, folder, receiver, box
        self.running: list[subprocess.Popen[str]] = []

    def start(self, *command: str) -> subprocess.Popen[str]:
        """A process with a configuration and a port of its own."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        tables = {
            "database": {"url": self.url},
            "web": {"port": port},
            "alerts": {
                "webhook_url": self.receiver.url + "/alerts", "webhook_secret": SECRET, "silent_seconds": 15,
                "allowed_networks": ["127.0.0.0/8"], "email_to": [TO], "email_from": SENDER,
                "smtp_host": "127.0.0.1", "smtp_port": self.box.port, "smtp_security": "none", "answer_seconds": 2,
            },
            f"providers.{PROVIDER}": {
                "operator": OPERATOR, "protocol": "qtech", "username": "demo", "password": "demo",
                "base_url": "http://127.0.0.1:9", "currencies": [EUR], "breaker_probe_seconds": 3600,
            },
        }  # fmt: skip
        config = self.folder / f"{port}.toml"
        with config.open("w") as file:
            for name, table in tables.items():
                print(f"[{name}]", *(f"{k} = {json.dumps(v)}" for k, v in table.items()), sep="\n", file=file)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("BRIDGE_")}
        log = config.with_suffix(".log").open("w")
        process = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=ROOT, env={**kept, "BRIDGE_CONFIG": str(config)},
            stdout=log, stderr=log, text=True, start_new_session=True,
        )  # fmt: skip
        self.running.append(process)
        return process

    def end(self, process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> None:
        """End a process and all that it has started."""
        os.killpg(process.pid, number)
        process.wait(60)

    def heard(self) -> list[tuple[str, str]]:
        """(type, kind) of every message that came by webhook."""
        return [(told["type"], told["data"]["kind"]) for told in map(verified, self.receiver.received)]


@pytest.fixture
def town(migrated_url: str, tmp_path: Path) -> Iterator[Town]:
    """Nothing runs yet."""
    with ScriptedServer() as receiver, Letterbox() as box:
        receiver.routes["/alerts"] = http(204)
        made = Town(migrated_url, tmp_path, receiver, box)
        yield made
        for process in made.running:
            if process.poll() is None:
                made.end(process, signal.SIGKILL)


def write(made: Any, statement: str) -> None:
    """Change a row by hand."""
    with db.writing(made.runtime.engine) as connection:
        connection.execute(text(statement))


OPEN_BREAKER = (
    "INSERT INTO breaker (provider, open, counted_from, probe_at, version)"
    f" VALUES ('{PROVIDER}', true, 1, {2**60}, 1)"
)  # fmt: skip


def test_two_processes_of_jobs_tell_once_and_a_killed_one_is_made_good(town, migrated_url):
    """C-38 C-59 One alert and one message by each way; stored while nobody could be told, it is told after a kill."""
    with bench(migrated_url) as made:
        write(made, OPEN_BREAKER)
        jobs = [town.start("jobs") for _ in range(2)]
        until(lambda: town.receiver.received and town.box.got, 60)
        time.sleep(12)
        assert town.heard() == [("alert.begun", "breaker_open")]
        assert len(town.box.got) == 1
        assert len(made.rows("SELECT * FROM alert")) == 1

        town.receiver.routes["/alerts"] = http(503)
        write(made, "DELETE FROM breaker")
        waiting = "SELECT 1 FROM alert_notice WHERE phase = 'over' AND sink = 'webhook' AND tries > 0"
        until(lambda: made.rows(waiting), 90)
        for process in jobs:
            town.end(process, signal.SIGKILL)
        town.receiver.received.clear()
        town.receiver.routes["/alerts"] = http(204)
        town.start("jobs")
        until(lambda: town.receiver.received, 60)
        assert town.heard() == [("alert.over", "breaker_open")]


def test_two_web_processes_tell_once_that_nobody_runs_the_jobs(town, migrated_url):
    """I-31 The jobs are killed; one of two web processes notices, and tells by both ways, once."""
    with bench(migrated_url) as made:
        jobs = town.start("jobs")
        until(lambda: made.rows("SELECT 1 FROM beat"), 60)
        for _ in range(2):
            town.start("bridge", "serve")
        until(lambda: made.rows("SELECT 1 FROM alert_turn WHERE name LIKE 'watch%' AND owner IS NOT NULL"), 60)
        assert town.heard() == []
        town.end(jobs, signal.SIGKILL)
        until(lambda: town.receiver.received and town.box.got, 60)
        time.sleep(12)
        assert town.heard() == [("alert.begun", "scheduler_silent")]
        assert len(town.box.got) == 1
        assert [row["kind"] for row in made.rows("SELECT kind FROM alert")] == ["scheduler_silent"]
