"""Child processes: the simulator of one provider, and programs of ours that are started and ended by their pid."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.chaos.books import Effect, effects
from tests.chaos.client import Door, answered

PROJECT = Path(__file__).parents[2]
_PORTS: set[int] = set()
_PORTS_LOCK = threading.Lock()
STOP_SECONDS = 60.0  # jobs finishes what it has in hand, at most one exchange with a provider
START_SECONDS = 40.0


class DidNotStart(Exception):
    """A program ended, or stayed silent, instead of serving; the text ends with its own log."""


class Program:
    """One program of ours as a child: `python -m …` with its log in a file."""

    def __init__(self, name: str, arguments: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self.name, self.log = name, log
        with log.open("ab") as written:
            self._child = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                cwd=PROJECT, env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
                stdout=written, stderr=written,
            )  # fmt: skip

    def check(self) -> None:
        """Raise DidNotStart when it is not running any more."""
        if self._child.poll() is not None:
            tail = self.log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise DidNotStart(f"{self.name} ended with {self._child.returncode}:\n{tail}")

    def stop(self) -> None:
        """SIGTERM, and SIGKILL when that is not obeyed."""
        self._child.terminate()
        try:
            self._child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_exception: object) -> None:
        """Stop it; one that had ended by itself is a failure of its own."""
        try:
            if kind is None:
                self.check()
        finally:
            self.stop()


class Web(Program):
    """The normal web process: granian in front of `wsgi:app`, one worker."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        port = free_port()
        arguments = ["granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
                     "--blocking-threads", "32", "--no-ws", "--log-level", "warning", "wsgi:app"]  # fmt: skip
        super().__init__("granian", arguments, folder / f"web-{port}.log", environment)
        self.address = f"127.0.0.1:{port}"
        end = time.monotonic() + START_SECONDS
        while not answered(self.address, "/healthz"):
            self.check()
            if time.monotonic() > end:
                self.stop()
                raise DidNotStart(f"the web process did not answer within {START_SECONDS:.0f} s")
            time.sleep(0.05)


class Jobs(Program):
    """The normal jobs process: `python -m jobs`."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        super().__init__("jobs", ["jobs"], folder / "jobs.log", environment)


class Simulator:
    """A provider that does not lie unless it is told to; its ledger file is the judge's witness."""

    def __init__(self, name: str, folder: Path, expiry: float, *options: str) -> None:
        self.name, self.expiry, self.ledger = name, expiry, folder / f"{name}.ledger"
        with (folder / f"{name}.log").open("ab") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "bridge.simulator", "--ledger", str(self.ledger), "--expiry", str(expiry),
                 *options],
                cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        assert self._child.stdout is not None
        told: dict[str, Any] = json.loads(self._child.stdout.readline() or "{}")
        if not told:
            raise DidNotStart((folder / f"{name}.log").read_text(encoding="utf-8"))
        self.address, self._control = told["address"], Door(told["control"].removeprefix("http://"))

    def order(self, path: str, **wanted: Any) -> Mapping[str, Any]:
        """One POST to the control port; what was answered."""
        reply = self._control.ask("POST", path, wanted)
        assert reply.status in (200, 201), reply
        return reply.body

    def win(self, player: str, amount: str) -> None:
        """A player wins at the provider, so that there is something to bring out."""
        self.order("/play", player=player, currency="EUR", amount=amount)

    def effects(self) -> list[Effect]:
        """What truly moved there."""
        return effects(self.ledger)

    def diary(self, of: str) -> list[dict[str, Any]]:
        """The lines of the diary `wire` or `callbacks`; none before the first."""
        path = Path(f"{self.ledger}.{of}")
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []

    def stop(self) -> None:
        """SIGTERM; its file stays."""
        self._child.terminate()
        self._child.wait(STOP_SECONDS)
        if self._child.stdout is not None:
            self._child.stdout.close()


def free_port() -> int:
    """A port of loopback that nobody has now, and that was given to nobody of this run before."""
    while True:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = int(listener.getsockname()[1])
        with _PORTS_LOCK:
            if port not in _PORTS:
                _PORTS.add(port)
                return port
