"""One field: a database, the provider, and every contestant that takes part, all running side by side on this machine.

One is measured at a time; the others wait for requests.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import meter
from benchmarks.children import Child, DidNotStart, python
from benchmarks.contestants import BRIDGE, ENTRIES, GUNICORN, POSTGRESQL, Contestant, Ground
from benchmarks.contestants.base import PLAYERS, SECRET
from benchmarks.wire.order import Order
from bridge.sections import WebSection
from tests.postgres import PostgresServer

POSTGRES_SETTINGS = {
    "shared_buffers": "1GB",
    "effective_cache_size": "4GB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
}
"""Beside the defaults, and beside fsync, full_page_writes and synchronous_commit, which are on: room for one database
of the size measured, and no checkpoint that falls into one contestant's turn and not into another's."""

GROWN = ("small", "large")
"""Two bridges that differ in how many transfers their tables hold."""


@dataclass(frozen=True)
class Measured:
    """One run of load: what was answered in `seconds`, how long each took, and what it cost."""

    seconds: float
    answers: dict[str, int]
    micros: list[int]
    cpu_seconds: float
    memory_bytes: int
    told: dict[int, str]
    next: int
    odd: str

    @property
    def per_second(self) -> float:
        """Confirmed transfers."""
        return self.answers.get("confirmed", 0) / self.seconds

    @property
    def cpu_millis(self) -> float:
        """CPU time per confirmed transfer, of all processes that work for it."""
        return self.cpu_seconds * 1000 / max(1, self.answers.get("confirmed", 0))


@dataclass
class Field:
    """`absent`: who could not start, with its command and its error."""

    ground: Ground
    folder: Path
    running: dict[str, Contestant] = field(default_factory=dict)
    absent: dict[str, dict[str, str]] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    entered: list[Contestant] = field(default_factory=list)
    _next: int = 1
    _loads: list[Child] = field(default_factory=list)

    def enter(self, contestant: Contestant) -> Contestant:
        """Whatever of it runs when the field is closed is ended; to be called before its first start."""
        self.entered.append(contestant)
        return contestant

    def close(self) -> None:
        """End all contestants and what asks them, at once: their databases go with the field."""
        for load in self._loads:
            load.kill()
        for contestant in self.entered:
            contestant.kill()

    def delay(self, seconds: float) -> None:
        """Let the provider wait so long before each answer."""
        _ask(f"{self.ground.provider}/delay", seconds)

    def books(self, name: str) -> list[tuple[str, str, int, int]]:
        """(id, amount, asked, executed) of every transfer that the provider knows from a contestant."""
        return [(row[0], row[1], row[2], row[3]) for row in _ask(f"{self.ground.provider}/{name}/books")]

    def begin(self, contestant: Contestant, **order: Any) -> Child:
        """Start a load; `finish` reads it. The numbers of transfers never come twice in a field."""
        command = [python(peers=False), "-m", "benchmarks.wire.clients"]
        load = Child(f"load-{len(self._loads)}", command, self.folder, pipes=True)
        self._loads.append(load)
        load.start()
        assert load.process is not None
        assert load.process.stdin is not None
        full = Order(door=contestant.door, first=self._next, players=PLAYERS, **order)
        print(json.dumps(full.as_json()), file=load.process.stdin, flush=True)
        return load

    def finish(self, load: Child, seconds: float, begun: float = 0.0, ended: float = 0.0, size: int = 0) -> Measured:
        """The last line of a load."""
        told = load.line()
        load.stop()
        self._next = max(self._next, told["next"])
        told["told"] = {int(number): what for number, what in told["told"].items()}
        return Measured(seconds=seconds, cpu_seconds=ended - begun, memory_bytes=size, **told)

    def measure(self, contestant: Contestant, **order: Any) -> Measured:
        """One whole load, with what it cost from the end of the warm-up on."""
        load = self.begin(contestant, run="b", **order)
        load.line()
        begun = meter.cpu_seconds(contestant.roots)
        load.line()
        ended = meter.cpu_seconds(contestant.roots)
        size = meter.memory_bytes(contestant.roots)
        return self.finish(load, order["seconds"], begun, ended, size)


@contextmanager
def opened(database: str, names: Sequence[str]) -> Iterator[Field]:
    """A field with these contestants started; all of it is gone afterwards."""
    with ExitStack() as ends:
        folder = Path(tempfile.mkdtemp(prefix="bridge-bench-"))
        ends.callback(shutil.rmtree, folder, ignore_errors=True)
        server = ends.enter_context(postgres()) if database == POSTGRESQL else None
        provider = start_provider(folder)
        ends.callback(provider.stop)
        ground = Ground(
            provider=str(provider.line()["address"]),
            fresh=server.create_database if server else lambda name: f"sqlite:///{folder / name}.db",
            roots=(server.pid,) if server else (),
            workers=int(WebSection().model_dump().get("workers", 1)),
            threads=WebSection().threads,
        )
        found = Field(ground, folder, settings=_settings(server) if server else {})
        ends.callback(found.close)
        for name in names:
            contestant = found.enter(ENTRIES[name](ground, folder / name))
            try:
                contestant.prepare()
                contestant.start()
            except DidNotStart as refused:
                found.absent[name] = {"command": refused.command, "error": refused.said}
            else:
                found.running[name] = contestant
        yield found


@contextmanager
def postgres() -> Iterator[PostgresServer]:
    """A server of our own with everything durable, and POSTGRES_SETTINGS."""
    with PostgresServer(durable=True) as server:
        with server.connect() as connection:
            for name, value in POSTGRES_SETTINGS.items():
                connection.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
        server.restart()
        yield server


def start_provider(folder: Path) -> Child:
    """The provider, started; its first line is its address. It checks signatures for the bridges among the accounts."""
    secrets = (f"--secret={name}={SECRET}" for name in (BRIDGE, GUNICORN, *GROWN))
    command = [python(peers=False), "-m", "benchmarks.wire.provider", *secrets]
    provider = Child("provider", command, folder, pipes=True)
    provider.start()
    return provider


def _settings(server: PostgresServer) -> dict[str, str]:
    shown = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "wal_sync_method",
             "max_connections", *POSTGRES_SETTINGS)  # fmt: skip
    with server.connect() as connection:
        rows = connection.execute("SELECT name, current_setting(name) FROM pg_settings").fetchall()
    found = {str(name): str(value) for name, value in rows}
    return {name: found[name] for name in shown}


def _ask(url: str, content: object | None = None) -> Any:
    body = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(url, body, method="GET" if body is None else "POST")  # noqa: S310 - our own child
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - as above
        return json.loads(answer.read())
