"""`python -m jobs` as its users run it: a process, configured by a file, stopped by a signal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import EUR, OPERATOR, PROVIDER, SHORT_TIMES

ROOT = Path(__file__).resolve().parents[2]


class Jobs:
    """One process of the scheduler."""

    def __init__(self, folder: Path, tables: dict[str, dict[str, Any]], module: str = "jobs", **told: str) -> None:
        config = folder / f"jobs-{time.monotonic_ns()}.toml"
        with config.open("w") as file:
            for name, table in tables.items():
                lines = (f"{key} = {json.dumps(value)}" for key, value in table.items())
                print(f"[{name}]", *lines, sep="\n", file=file)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("BRIDGE_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", module],
            cwd=ROOT,
            env={**kept, "BRIDGE_CONFIG": str(config), **told},
            stdout=subprocess.PIPE,
            stderr=(config.with_suffix(".log")).open("w"),
            text=True,
        )
        self.log = config.with_suffix(".log")

    def ready(self) -> dict[str, Any]:
        """Wait for the line that says that the schedule runs."""
        line = self.process.stdout.readline()
        assert line, self.log.read_text()
        return json.loads(line)

    def stop(self, number: int = signal.SIGTERM, seconds: float = 30) -> int:
        """End it; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(seconds)
        self.process.stdout.close()
        return code


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Callable[..., Jobs]]:
    """Start processes of the scheduler on a database and a provider; all end with the test. `clock`: a file that says
    how many seconds the process's wall clock is ahead."""
    running: list[Jobs] = []

    def start(url: str, base_url: str, clock: Path | None = None, **engine: Any) -> Jobs:
        short = {name: value for name, value in SHORT_TIMES.items() if name not in engine}
        of_provider = {name: engine.pop(name) for name in list(engine) if name in SHORT_TIMES}
        account = {"operator": OPERATOR, "protocol": "qtech", "username": "demo", "password": "demo"}
        provider = {**short, **of_provider, **account, "base_url": base_url, "currencies": [EUR]}
        times = {"lease_slack_seconds": 1.5, "poll_seconds": [0, 0.2, 0.3, 0.5, 1], "resolve_every_seconds": 0.2}
        tables = {"database": {"url": url}, "engine": {**times, **engine}, f"providers.{PROVIDER}": provider}
        by_clock = {} if clock is None else {"module": "tests.jobs.set_clock", "SET_CLOCK": str(clock)}
        running.append(Jobs(tmp_path, tables, **by_clock))
        return running[-1]

    yield start
    for each in running:
        if each.process.returncode is None:
            each.stop(signal.SIGKILL)
