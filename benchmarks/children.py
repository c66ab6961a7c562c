"""Child processes, each the leader of a session of its own, so that it is ended with everything that it started."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
PEERS = PROJECT / ".venv-bench"
"""Where `make bench` installs what is measured beside the bridge."""

HOST = "127.0.0.1"
START_SECONDS = 60.0
STOP_SECONDS = 60.0
CLEARED = ("BRIDGE_", "BENCH_", "RESTATE_", "DBOS_", "PROCRASTINATE_")
"""Variables that decide for a child come from us alone."""


class DidNotStart(Exception):
    """A program ended, or stayed silent, instead of serving: its command, and the end of its own log."""

    def __init__(self, command: Sequence[str], said: str) -> None:
        self.command, self.said = " ".join(command), said.strip()[-1500:]
        super().__init__(f"{self.command}\n{self.said}")


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


def python(peers: bool) -> str:
    """The interpreter of .venv-bench, or our own."""
    return str(PEERS / "bin" / "python") if peers else sys.executable


@dataclass
class Child:
    """A program, its log, and its process while it runs."""

    name: str
    command: Sequence[str]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    pipes: bool = False
    process: subprocess.Popen[str] | None = None

    @property
    def log(self) -> Path:
        """What it says."""
        return self.folder / f"{self.name}.log"

    @property
    def pid(self) -> int:
        """Of the program itself; what it starts stands below it."""
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """Start it. Raises DidNotStart where there is no such program."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(CLEARED)}
        with self.log.open("ab") as log:
            try:
                self.process = subprocess.Popen(
                    self.command, cwd=PROJECT, env={**clean, **self.environment},
                    stdin=subprocess.PIPE if self.pipes else subprocess.DEVNULL,
                    stdout=subprocess.PIPE if self.pipes else log, stderr=log, text=True, start_new_session=True,
                )  # fmt: skip
            except OSError as missing:
                raise DidNotStart(self.command, str(missing)) from missing

    def wait_for_port(self, port: int) -> None:
        """Return when it accepts connections. Raises DidNotStart."""
        end = time.monotonic() + START_SECONDS
        while True:
            self.check()
            with contextlib.suppress(OSError), socket.create_connection((HOST, port), 1):
                return
            if time.monotonic() > end:
                raise DidNotStart(self.command, f"nothing listens after {START_SECONDS:.0f} s\n{self.said()}")
            time.sleep(0.05)

    def line(self) -> dict[str, Any]:
        """The next JSON object that it prints. Raises DidNotStart when it ends instead."""
        assert self.process is not None
        assert self.process.stdout is not None
        text = self.process.stdout.readline()
        if not text:
            self.process.wait()
            raise DidNotStart(self.command, self.said())
        told: dict[str, Any] = json.loads(text)
        return told

    def check(self) -> None:
        """Raise DidNotStart when it does not run any more."""
        if self.process is None or self.process.poll() is not None:
            raise DidNotStart(self.command, self.said())

    def said(self) -> str:
        """Its log."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def kill(self) -> None:
        """SIGKILL to it and to everything in its session."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL to its whole session when that is not obeyed."""
        if self.process is None:
            return
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_SECONDS)
        self._end(signal.SIGKILL)  # what it may have left behind

    def _end(self, how: signal.Signals) -> None:
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, how)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self.process = None
