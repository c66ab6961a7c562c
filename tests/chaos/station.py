"""A station: one database, its simulators, one operator with a key and players, and the processes run on them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from sqlalchemy import create_engine, text

from bridge import cashier, keys, players
from bridge.app import compose
from bridge.config import Config
from tests.chaos.books import FINAL, Heard, Ours, heard, judge, ours, unexplained_wallets
from tests.chaos.client import Door, Reply
from tests.chaos.settings import CURRENCY, OPERATOR, SIGNED, Contract, settings, toml
from tests.chaos.simulators import PROJECT, START_SECONDS, DidNotStart, Jobs, Simulator, Web

LONG_SECONDS = 3600.0  # what is pending at a provider of our own contract stays so until somebody ends it
PURSE = "500.00"  # put into the wallet and won at each provider: more than one transfer takes
FINAL_SECONDS = 60.0
AT_WORK = 3
SETTLE_SECONDS = 0.3  # after a kick a game settles for so long; the bridge waits longer
MAX = "max"


@dataclass(frozen=True)
class Wish:
    """One transfer that a client wants, under its key."""

    key: str
    player: str
    provider: str
    direction: str
    amount: str

    @property
    def body(self) -> dict[str, str]:
        """The body of the request."""
        return {"player_id": self.player, "provider": self.provider, "direction": self.direction,
                "amount": self.amount, "currency": CURRENCY}  # fmt: skip


@dataclass(frozen=True)
class Point:
    """The nth occurrence of a label among the points of a process, as a dry run has found it."""

    label: str
    occurrence: int = 1

    def __str__(self) -> str:
        return self.label if self.occurrence == 1 else f"{self.label} ({self.occurrence})"


NEVER = Point("", 0)


def numbered(labels: Sequence[str]) -> list[Point]:
    """The points of a diary, in order."""
    return [Point(label, labels[: place + 1].count(label)) for place, label in enumerate(labels)]


@dataclass(frozen=True)
class Victim:
    """A process that will strike itself; its folder holds the diary of its points, its log and its port."""

    pid: int
    folder: Path

    @property
    def points(self) -> list[Point]:
        """The points it has reached, the last one being where it was struck."""
        diary = self.folder / "points"
        return numbered(diary.read_text(encoding="utf-8").splitlines() if diary.exists() else [])

    @property
    def paused(self) -> bool:
        """Whether it is stopped (SIGSTOP) at this moment."""
        return Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "T"


class Victims:
    """The parent of all victims (tests.chaos.victim), shared by all stations; safe between threads."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._lock, self._born = folder, threading.Lock(), 0
        self.turns = threading.Semaphore(AT_WORK)  # more at work at once would starve each other past their expiry
        with (folder / "victims.log").open("ab") as log:
            self._parent = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.victim"],
                cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip

    def begin(
        self, kind: str, environment: Mapping[str, str], point: Point, strike: signal.Signals = signal.SIGKILL
    ) -> Victim:
        """A fresh `web` or `jobs` process that strikes itself at `point`."""
        with self._lock:
            self._born += 1
            folder = self._folder / f"victim-{self._born:04}"
        folder.mkdir()
        order = {"do": "begin", "kind": kind, "environment": dict(environment), "folder": str(folder),
                 "label": point.label, "occurrence": point.occurrence, "strike": strike.name}  # fmt: skip
        return Victim(self._order(order)["pid"], folder)

    def door(self, victim: Victim, secret: str) -> Door:
        """The web victim's address, once it listens."""
        end = time.monotonic() + START_SECONDS
        while not (victim.folder / "port").exists():
            if self.status(victim) is not None or time.monotonic() > end:
                raise DidNotStart((victim.folder / "log").read_text(encoding="utf-8", errors="replace")[-2000:])
            time.sleep(0.01)
        return Door(f"127.0.0.1:{(victim.folder / 'port').read_text(encoding='utf-8')}", secret)

    def status(self, victim: Victim) -> int | None:
        """How it ended (a negative number: the signal), None while it lives."""
        marker = victim.folder / "status"
        if marker.exists():
            return int(marker.read_text(encoding="utf-8"))
        told = self._order({"do": "ended", "pid": victim.pid})["status"]
        if told is not None:
            marker.write_text(str(told), encoding="utf-8")
        return None if told is None else int(told)

    def wait(self, victim: Victim, seconds: float) -> int | None:
        """Its end, waited for at most so long."""
        end = time.monotonic() + seconds
        while (status := self.status(victim)) is None and time.monotonic() < end:
            time.sleep(0.02)
        return status

    def end(self, victim: Victim) -> None:
        """SIGKILL, if it still lives."""
        if self.status(victim) is None:
            os.kill(victim.pid, signal.SIGKILL)
            self.wait(victim, 10)

    def close(self) -> None:
        """End the parent, and with it every victim that is left."""
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.close()
        self._parent.wait(START_SECONDS)
        self._parent.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _order(self, order: Mapping[str, Any]) -> dict[str, Any]:
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        with self._lock:
            print(json.dumps(order), file=self._parent.stdin, flush=True)
            line = self._parent.stdout.readline()
        if not line:
            raise DidNotStart((self._folder / "victims.log").read_text(encoding="utf-8")[-2000:])
        return dict(json.loads(line))


class Station:
    """A migrated database, an operator, a key, players, and providers: those of the given expiry (name → seconds),
    and one of our own contract if that is given."""

    def __init__(
        self, name: str, folder: Path, url: str, victims: Victims, expiries: Mapping[str, float],
        contract: Contract | None = None,
    ) -> None:  # fmt: skip
        self.name, self.folder, self.victims = name, folder, victims
        folder.mkdir(parents=True)
        self._stack = ExitStack()
        self.simulators = {each: Simulator(each, folder, expiry) for each, expiry in expiries.items()}
        if contract is not None:
            self.simulators[SIGNED] = Simulator(SIGNED, folder, LONG_SECONDS, *contract.options)
        for simulator in self.simulators.values():
            self._stack.callback(simulator.stop)
        tables: dict[str, Any] = dict(settings(url, self.simulators.values(), contract))
        (folder / "bridge.toml").write_text(toml(tables), encoding="utf-8")
        self.environment = {"BRIDGE_CONFIG": str(folder / "bridge.toml")}
        self.runtime = compose(Config(**tables))
        self._stack.callback(self.runtime.engine.dispose)
        self._reader = create_engine(self.runtime.engine.url)
        self._stack.callback(self._reader.dispose)
        self.operator = keys.add_operator(self.runtime, OPERATOR)
        _, self.secret = keys.create(self.runtime, OPERATOR, ["admin"], "chaos")
        self._wishes, self._lock = 0, threading.Lock()

    def wish(self, direction: str, provider: str | None = None) -> Wish:
        """A new player with money on both sides, and a transfer of theirs that nobody has asked for yet, at the
        station's first provider unless another is named. MAX: all that was won there, while the player is in a game.

        Each amount is its own, so that a mixed-up effect could not pass for the right one.
        """
        player, amount = self._enrolled()
        provider = provider or next(iter(self.simulators))
        if direction == MAX:
            self.simulators[provider].win(player, amount)
            self.simulators[provider].order("/game", player=player, in_game=True, settle=SETTLE_SECONDS)
            return Wish(f"key-{player}", player, provider, "out", MAX)
        self.simulators[provider].win(player, PURSE)
        return Wish(f"key-{player}", player, provider, direction, amount)

    def player(self) -> str:
        """A new player with money in the wallet and at every provider."""
        player, _ = self._enrolled()
        for simulator in self.simulators.values():
            simulator.win(player, PURSE)
        return player

    def _enrolled(self) -> tuple[str, str]:
        """A new player with money in the wallet, and an amount that is nobody else's."""
        with self._lock:
            self._wishes += 1
            number = self._wishes
        player = f"{self.name}-{number}"
        players.register(self.runtime, self.operator, player, [CURRENCY])
        purse = cashier.CashWish(player, PURSE, CURRENCY)
        cashier.move(self.runtime, self.operator, "deposit", f"purse-{player}", purse)
        return player, f"{10 + number // 100}.{number % 100:02}"

    def web(self) -> Web:
        """Start the normal web process."""
        return Web(self.folder, self.environment)

    def jobs(self) -> Jobs:
        """Start the normal jobs process."""
        return Jobs(self.folder, self.environment)

    def victim(self, kind: str, point: Point = NEVER, strike: signal.Signals = signal.SIGKILL) -> Victim:
        """Start a victim on this station."""
        return self.victims.begin(kind, self.environment, point, strike)

    def post(self, door: Door, wish: Wish, **headers: str) -> Reply:
        """Ask for the transfer, or again for it: the same key, the same body. Raises ConnectionDied."""
        return door.ask("POST", "/v1/transfers", wish.body, Idempotency_Key=wish.key, **headers)

    def final(self, door: Door, transfer_id: str, seconds: float = FINAL_SECONDS) -> str:
        """The final state of a transfer, waited for; the present one when it does not come."""
        end = time.monotonic() + seconds
        while True:
            reply = door.ask("GET", f"/v1/transfers/{transfer_id}")
            if reply.state in FINAL or time.monotonic() > end:
                return str(reply.state)
            time.sleep(0.1)

    def id_of(self, wish: Wish) -> str:
        """The transfer that a key has begun."""
        ((transfer_id,),) = self.rows("SELECT id FROM transfer WHERE idempotency_key = :key", key=wish.key)
        return str(transfer_id)

    def ours(self) -> Ours:
        """What our tables say now."""
        return ours(self._reader)

    def heard(self) -> list[Heard]:
        """What our inbox says now."""
        return heard(self._reader)

    def rows(self, query: str, **values: object) -> list[tuple[Any, ...]]:
        """What a plain query of our tables tells now; it never waits for a writer."""
        with self._reader.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query), values)]

    def wrong(self) -> list[str]:
        """Everything that the ledger files, our tables and `bridge.verify` object to, once all is final."""
        from bridge.verify import verify

        mine, theirs = self.ours(), {each.name: each.effects() for each in self.simulators.values()}
        findings = [f"verify {finding}" for finding in verify(self.runtime)]
        return [*judge(mine, theirs), *unexplained_wallets(mine, theirs), *findings]

    def close(self) -> None:
        """End the simulators, close the database."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()
