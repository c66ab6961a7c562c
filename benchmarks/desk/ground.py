"""The bridge of this measurement: two providers, players with two currencies, tables full of transfers and orphans."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg

from benchmarks import filling, patterns
from benchmarks.children import CLEARED, PROJECT, Child, python
from benchmarks.contestants import BRIDGE, DAY
from benchmarks.contestants.base import PLAYERS, SECRET, Ground
from benchmarks.contestants.bridge import OPERATOR, PURSE, Bridge
from benchmarks.contestants.floor import plain
from benchmarks.desk import kinds
from benchmarks.desk.kinds import CLEAN, EUR, LIAR, USD, Workshop
from benchmarks.field import postgres, start_provider
from bridge import cashier, keys, players
from bridge.app import compose
from bridge.config import Config
from bridge.runtime import Runtime
from bridge.sections import WebSection

Tell = Callable[[str], None]

BYTES_EACH, BYTES_SPARE = 7_000, 12 << 30
"""As of growth: a transfer with its rows and indexes, and what else needs room."""


class NoRoom(Exception):
    """The disk does not hold so many transfers."""


class CommandFailed(Exception):
    """A command of the bridge did not do what it was to do: an invariant does not hold, for instance."""


class DeskBridge(Bridge):
    """As every bridge that is measured, with the simulator as a second provider and a desk."""

    def __init__(self, ground: Ground, folder: Path, simulator: dict[str, Any]) -> None:
        super().__init__(BRIDGE, ground, folder, verify_seconds=DAY)
        self.simulator = simulator
        self._desk_secret = secrets.token_urlsafe(32)

    def prepare(self) -> None:
        """Players with both currencies, the patterns' among them."""
        super().prepare()
        runtime = self.runtime()
        operator = self.operator_id(runtime)
        for player in (patterns.PLAYER, *(f"p{number}" for number in range(PLAYERS))):
            players.register(runtime, operator, player, [EUR, USD])
            for currency in (EUR, USD) if player == patterns.PLAYER else (USD,):
                wish = cashier.CashWish(player, PURSE, currency)
                cashier.move(runtime, operator, cashier.DEPOSIT, f"{currency}-{player}", wish)
        runtime.engine.dispose()

    def runtime(self, *, hurried: bool = False) -> Runtime:
        """As of Bridge; `hurried`: to make patterns."""
        tables: dict[str, Any] = {**self._tables()}
        sections = {name: tables.pop(f"providers.{name}") for name in (CLEAN, LIAR)}
        if hurried:
            sections[LIAR] |= kinds.HURRY
            tables["engine"] |= kinds.POLLS
        return compose(Config(**tables, providers=sections))

    def operator_id(self, runtime: Runtime) -> int:
        """The only operator."""
        return next(int(row["id"]) for row in keys.operators(runtime) if row["name"] == OPERATOR)

    def workshop(self) -> Workshop:
        """Where its patterns are made; the caller disposes of its engine."""
        return Workshop(self.runtime(hurried=True), self.key, str(self.simulator["control"]))

    def command(self, *words: str) -> str:
        """What `python -m bridge` says to a command. Raises CommandFailed."""
        command = [python(peers=False), "-m", "bridge", *words]
        clean = {name: value for name, value in os.environ.items() if not name.startswith(CLEARED)}
        environment = {**clean, "BRIDGE_CONFIG": str(self._config)}
        done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CommandFailed(f"{' '.join(words)}: {done.stdout[-2000:]} {done.stderr[-2000:]}")
        return done.stdout.strip()

    @property
    def key(self) -> str:
        """Of the operator, to the API."""
        return self.headers()["Authorization"].removeprefix("Bearer ")

    def _tables(self) -> dict[str, dict[str, Any]]:
        tables = super()._tables()
        liar = {
            "operator": OPERATOR, "protocol": "generic", "base_url": str(self.simulator["address"]),
            "currencies": [EUR, USD], "request_secret": SECRET,
        }  # fmt: skip
        return {**tables, f"providers.{LIAR}": liar, "desk": {"secret": self._desk_secret}}


@contextmanager
def opened(transfers: int) -> Iterator[DeskBridge]:
    """A bridge that is prepared, beside both providers; all of it is gone afterwards. Raises NoRoom."""
    with ExitStack() as ends:
        folder = Path(tempfile.mkdtemp(prefix="bridge-desk-"))
        ends.callback(shutil.rmtree, folder, ignore_errors=True)
        room = (shutil.disk_usage(folder).free - BYTES_SPARE) // BYTES_EACH
        if room < transfers:
            raise NoRoom(f"{folder} has room for {max(0, room):,} transfers; DESK_TRANSFERS says how many there are")
        server = ends.enter_context(postgres())
        provider = start_provider(folder)
        ends.callback(provider.stop)
        ground = Ground(
            provider=str(provider.line()["address"]), fresh=server.create_database, roots=(server.pid,),
            workers=1, threads=WebSection().threads,
        )  # fmt: skip
        simulator = start_simulator(folder)
        ends.callback(simulator.stop)
        bridge = DeskBridge(ground, folder / BRIDGE, simulator.line())
        ends.callback(bridge.kill)
        bridge.prepare()
        yield bridge


def start_simulator(folder: Path) -> Child:
    """The product's own simulator, started; its first line tells its address and its control."""
    command = [python(peers=False), "-m", "bridge.simulator", "--protocol", "generic",
               "--currencies", f"{EUR}:2,{USD}:2", "--ledger", str(folder / "simulator.ledger")]  # fmt: skip
    child = Child("simulator", command, folder, {"SIMULATOR_SECRET": SECRET}, pipes=True)
    child.start()
    return child


@dataclass(frozen=True)
class Filled:
    """So many bytes, and rows a table."""

    bytes: int
    rows: dict[str, int]


def fill(bridge: DeskBridge, transfers: int, orphans: int, tell: Tell, *, looks_at_most: int | None = None) -> Filled:
    """Make a pattern of every kind, and copy them: so many plain transfers, and so many orphans among them."""
    with ExitStack() as ends:
        # What is logged about the patterns does not belong on the screen.
        log = ends.enter_context((bridge.folder / "workshop.log").open("a", encoding="utf-8"))
        ends.enter_context(redirect_stderr(log))
        workshop = bridge.workshop()
        ends.callback(workshop.runtime.engine.dispose)
        with psycopg.connect(plain(bridge.url), autocommit=True) as connection:
            workshop.begin()
            shares = [
                *_shares(connection, workshop, kinds.PLAIN, transfers, tell, looks_at_most),
                *_shares(connection, workshop, kinds.ORPHANS, orphans, tell, looks_at_most),
            ]
            filling.fill(
                connection, shares, PLAYERS,
                lambda done: tell(f"filling: {done:,} of {transfers + orphans:,}"),
            )  # fmt: skip
            size = patterns.one(connection, "SELECT pg_database_size(current_database())")
            return Filled(size, patterns.counts(connection))


def _shares(
    connection: psycopg.Connection[Any], workshop: Workshop, alike: tuple[kinds.Kind, ...], copies: int, tell: Tell,
    looks_at_most: int | None,
) -> list[filling.Share]:  # fmt: skip
    made = []
    for kind in alike:
        tell(f"making the pattern {kind.name}")
        wanted = kind if looks_at_most is None else replace(kind, looks=min(kind.looks, looks_at_most))
        made.append((wanted, workshop.pattern(connection, wanted)))
    return kinds.shares(made, copies)
