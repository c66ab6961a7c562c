"""One seed told: the world is set up, two days pass, the world heals, and everything has to be in order."""

from __future__ import annotations

import gc
import hashlib
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bridge import cashier, db, keys, lineage, models, players
from bridge.app import compose
from bridge.runtime import Runtime
from bridge.simulator.messages import Request
from tests.simulation import log
from tests.simulation.chance import Chance, Decision, rule_the_system
from tests.simulation.database import Slot, Store
from tests.simulation.desk import hire
from tests.simulation.ending import check_ending, check_healed
from tests.simulation.ledgers import ProviderLedgers
from tests.simulation.lies import lies_of, undecided
from tests.simulation.node import Bridge, Clock, Ids, application
from tests.simulation.oracle import Oracle, Violation
from tests.simulation.people import People
from tests.simulation.platform import Platform
from tests.simulation.provider import Provider
from tests.simulation.pulse import Pulse
from tests.simulation.settings import (
    BEGINS,
    ENOUGH,
    FIRST,
    HEAL_SECONDS,
    OPERATOR,
    PLAYERS,
    PROTOCOLS,
    PROVIDER_ADDRESS,
    STORY_HOURS,
    WALLETS,
    configuration,
    paid_in,
)
from tests.simulation.spoken import Asked, Spoken
from tests.simulation.swarm import Swarm
from tests.simulation.wire import Network
from tests.simulation.world import SECOND, World

FAULTS_HOURS = 46
_LAST_ROWS = tuple(sorted(models.metadata.tables.keys() - {"lineage"}))
"""Every row of every table belongs to what a story was, but the one that names its file."""

MOST_EVENTS = 200_000
"""A story that does not end by so many is one in which something is due for ever and nobody gets it done."""

CLOCK_TOLD_SECONDS = 3600
WON = {"EUR": 20_000, "JPY": 20_000}
"""What every player has won at every provider before the story begins, in minor units."""


Lane = tuple[str, str, str]
"""A player at a provider in a currency."""


@dataclass(frozen=True)
class End:
    """How a transfer has ended, and about how much it was, in minor units."""

    lane: Lane
    state: str
    amount: int


@dataclass
class Outcome:
    """What became of a seed. `hash` is over everything that happened, in its order; `swept`: from where a sweep took
    all that was there."""

    seed: int
    violations: list[Violation]
    errors: list[str]
    steps: int
    transfers: int
    seconds: float
    hash: str
    counts: Counter[str]
    tape: list[Decision]
    states: Counter[str]
    ends: dict[str, End] = field(default_factory=dict)
    swept: set[Lane] = field(default_factory=set)


class Stage:
    """What outlives seeds: the template of a database, and for each process its engine and its application."""

    def __init__(self, folder: Path) -> None:
        lineage._turn = nullcontext()  # type: ignore[assignment] # a lock of one process; here they are several
        self.folder = folder
        self.database = folder / "bridge.db"
        self._template, self._rich = folder / "template.db", folder / "rich.db"
        self.operator, self.api_key = self._prepare()
        log.take_over()
        self.webs = [(Slot(self.database), application(self._composed)) for _ in range(2)]
        self.jobs = [Slot(self.database) for _ in range(2)]
        self._warm_up()

    def _prepare(self) -> tuple[int, str]:
        """Migrated databases with an operator, players and their money, made once: one as most stories begin, and one
        where every wallet holds so much more."""
        db.migrate(f"sqlite:///{self._rich}")
        at_first: Any = SimpleNamespace(now=lambda: BEGINS, world=SimpleNamespace(now=BEGINS))
        self._composed = compose(configuration(0, self._rich))
        runtime = replace(
            self._composed,
            clock=Clock(at_first),
            ids=Ids(at_first, Chance(0).stream("template")),  # type: ignore[arg-type] # as of a Bridge
        )
        operator = keys.add_operator(runtime, OPERATOR)
        hire(runtime, operator)
        _, secret = keys.create(runtime, OPERATOR, ["transfers", "read"], "simulation")
        for player in PLAYERS:
            players.register(runtime, operator, player, list(WALLETS[player]))
        self._fund(runtime, operator, FIRST)
        shutil.copyfile(self._rich, self._template)
        self._fund(runtime, operator, ENOUGH - FIRST)
        return operator, secret

    def _fund(self, runtime: Runtime, operator: int, times: int) -> None:
        """Pay in, so many times what a wallet holds at first; the database is closed and in one file then."""
        for key, player, currency, amount in paid_in(times):
            cashier.move(runtime, operator, cashier.DEPOSIT, key, cashier.CashWish(player, amount, currency))
        runtime.engine.dispose()
        with sqlite3.connect(self._rich) as connection:
            connection.execute("PRAGMA journal_mode=DELETE")

    def _warm_up(self) -> None:
        """What an engine asks of its first database, and of no other, is asked before the first story."""
        self.clean()
        nobody: Any = SimpleNamespace(current=None)
        for slot in (*(slot for slot, _ in self.webs), *self.jobs):
            slot.begin(Store(nobody, self.database, lambda: None), nobody)
            slot.engine.connect().close()
            slot.hang_up()

    def clean(self, *, rich: bool = False) -> None:
        """A database and ledgers as before the first story, and nothing left of the one before."""
        gc.collect()
        gc.freeze()  # the program itself need not be looked through again before every story
        for slot in (*(slot for slot, _ in self.webs), *self.jobs):
            slot.hang_up()
        for path in self.folder.iterdir():
            if path not in (self._template, self._rich):
                path.unlink()
        shutil.copyfile(self._rich if rich else self._template, self.database)


def _lane(row: Mapping[str, Any]) -> Lane:
    return row["player_id"], row["provider"], row["currency"]


class Story:
    """One seed, from its beginning to its judgement."""

    def __init__(self, stage: Stage, seed: int, kept: Collection[str] | None = None, *, only: Any = None) -> None:
        self.stage, self.seed = stage, seed
        self.digest, self.lines, self.telling = hashlib.sha256(), list[str](), False
        self.chance, self.swarm = Chance(seed, kept), Swarm(seed, only)
        stage.clean(rich=self.swarm.mild)
        rule_the_system(self.chance)
        self.world = World(self.chance, self.swarm, BEGINS, self.tell)
        self.world.most = MOST_EVENTS
        self.world.faults_until = BEGINS + FAULTS_HOURS * 3600 * SECOND
        self.ledgers, self.spoken = ProviderLedgers(), Spoken()
        self.config = configuration(seed, stage.database, capped=not self.swarm.mild)
        self.oracle = Oracle(self.world, stage.database, self.ledgers)
        self.world.endless = lambda: self.oracle.fail("I8", f"there is no end of it: {MOST_EVENTS} events, and more")
        self.oracle.heed(self.config, self.spoken)
        self.network = Network(self.world, self._sent, self._left, self.spoken.answered)

    def tell(self, room: str, what: str) -> None:
        """Take down what happened."""
        line = f"{(self.world.now - BEGINS) / SECOND:.6f} {room} {what}"
        self.digest.update(line.encode())
        if self.telling:
            self.lines.append(line)

    def run(self, *, telling: bool = False) -> Outcome:
        """Tell the story to its end, or to what broke."""
        self.telling = telling
        began = time.perf_counter()
        gc.disable()  # what the collector ends, a connection for one, it must not end in the middle of a story
        log.listen(self.world, self.oracle)
        self._set_up()
        self.world.run(self.world.faults_until)
        self._heal()
        self.world.run(self.world.faults_until + HEAL_SECONDS * SECOND)
        if not self.world.halted:
            check_healed(self.oracle)
        self.world.run(BEGINS + STORY_HOURS * 3600 * SECOND)
        if not self.world.halted:
            check_ending(self.oracle, self.bridges, sealed=self.pulse.seals)
        outcome = self._outcome(time.perf_counter() - began)
        gc.enable()
        return outcome

    def _set_up(self) -> None:
        config = self.config
        self.providers = [
            Provider(self.world, name, protocol, self.stage.folder, self._wrote) for name, protocol in PROTOCOLS.items()
        ]
        for provider in self.providers:
            self.network.peers[provider.name] = provider
            self._furnish(provider)
        self.pulse = Pulse(self.world, self.stage.database)
        store = Store(self.world, self.stage.database, self._committed)
        webs = [
            Bridge(self.world, f"web-{n}", config, (slot, store, self.network, app))
            for n, (slot, app) in enumerate(self.stage.webs, 1)
        ]
        jobs = [
            Bridge(self.world, f"jobs-{n}", config, (slot, store, self.network, None))
            for n, slot in enumerate(self.stage.jobs, 1)
        ]
        self.bridges = [*webs, *jobs]
        self.oracle.clocks_agree = self._clocks_agree
        self.oracle.silent = frozenset(provider.name for provider in self.providers if provider.is_silent)
        self.pulse.jobs = jobs
        Platform(self.world, self.chance, webs, (self.oracle, self.steps), self.stage.api_key)
        People(self.world, self.bridges, self.providers, self.oracle, self.stage.operator)
        for provider in self.providers:
            provider.deliver = partial(self._deliver, webs, provider.name)

    def _furnish(self, provider: Provider) -> None:
        """What players have there, and how it will lie."""
        provider.lied = self.ledgers.lied
        for player in PLAYERS:
            for currency, units in WON.items():
                provider.books.play(player, currency, units * (ENOUGH if self.swarm.mild else 1))
        if self.swarm.mild:
            provider.lie(*undecided(provider.protocol).as_rate())
            return
        wanted = lies_of(self.seed, provider.protocol)
        dice = self.chance.stream(f"{provider.name} lies")
        if dice.strikes("provider_lies", self.swarm.rate("provider_lies")):
            provider.lie(*wanted.as_rate())
            provider.breaks_its_word = wanted.breaking

    def _wrote(self, provider: str, line: dict[str, Any]) -> None:
        self.ledgers.wrote(provider, line, self.world.now)
        told = " ".join(str(line[name]) for name in ("kind", "reference", "type", "player", "amount") if name in line)
        self.tell(provider, f"ledger {told}")
        if hasattr(self, "pulse"):
            self.oracle.provider_wrote(provider, line)

    def _committed(self) -> None:
        self.oracle.committed()
        self.pulse.look()

    def _sent(self, provider: str, name: str) -> None:
        node = self.world.current.node if self.world.current is not None else None
        if isinstance(node, Bridge):
            now = node.now() if self._has_told(node) else None
            self.oracle.sent(node.runtime.worker, now, provider, name)

    def _left(self, provider: str, request: Request) -> Asked | None:
        node = self.world.current.node if self.world.current is not None else None
        sure = isinstance(node, Bridge) and not node.skew and self._has_told(node)
        return self.spoken.left(provider, request, self.world.now, sure=sure)

    def _has_told(self, bridge: Bridge) -> bool:
        """Whether what it wrote down by its clock, and is still of interest, was by the clock that it has now."""
        return bridge.set_at == 0 or self.world.now - bridge.set_at > CLOCK_TOLD_SECONDS * SECOND

    def _clocks_agree(self) -> bool:
        return all(not bridge.skew and self._has_told(bridge) for bridge in self.bridges)

    def _deliver(self, webs: list[Bridge], provider: str, letter: Any, headers: dict[str, str]) -> int | str:
        assert self.world.current is not None
        web = self.world.current.dice.choice(webs)
        if web.dead:
            return "no answer"
        self.spoken.called_back(provider, headers, letter.body)
        path = f"/v1/providers/{provider}/callbacks"
        answer = web.serve("POST", path, headers, letter.body, PROVIDER_ADDRESS, seconds=5)
        self.tell("callback", f"{letter.id} {letter.type} -> {'nothing' if answer is None else answer.status}")
        if answer is not None and answer.status < HTTPStatus.MULTIPLE_CHOICES:
            self.oracle.told.accepted(provider, letter.id)
        return "no answer" if answer is None else answer.status

    def _heal(self) -> None:
        """No fault strikes any more; clocks are right, everybody is up."""
        self.tell("world", "heals")
        for bridge in self.bridges:
            bridge.set_right()
            bridge.frozen_until = 0
        for provider in self.providers:
            provider.node.set_right()
            provider.lie(Decimal(0), {}, {})
            provider.stage.choice.clear()

    def steps(self) -> int:
        """How much has happened: exchanges on the wire, commits that left a row about money, crashes."""
        crashes = sum(self.swarm.counts[kind] for kind in ("crash", "crash_before_commit", "crash_after_commit"))
        return self.network.exchanges + self.oracle.money_commits + crashes

    def _outcome(self, seconds: float) -> Outcome:
        rows = list(self.oracle.transfers())
        for table in _LAST_ROWS:
            self.digest.update(repr(self.oracle.ask(f"SELECT * FROM {table} ORDER BY 1, 2")).encode())
        outcome = Outcome(
            seed=self.seed,
            violations=self.oracle.violations,
            errors=self.oracle.errors,
            steps=self.steps(),
            transfers=len(rows),
            seconds=seconds,
            hash=self.digest.hexdigest(),
            counts=self.swarm.counts,
            tape=self.chance.tape,
            states=Counter(row["state"] for row in rows),
            ends={row["idempotency_key"]: End(_lane(row), row["state"], row["amount"]) for row in rows},
            swept={_lane(row) for row in rows if row["sweep"]},
        )
        self._close()
        return outcome

    def _close(self) -> None:
        """End what is still under way; nobody is told."""
        self.world.halted = True
        for node in (*self.bridges, *(provider.node for provider in self.providers)):
            node.dead = True
            for strand in list(node.strands):
                if not strand.ended:
                    self.world.current = strand
                    strand.greenlet.throw()
                    self.world.current = None
        for provider in self.providers:
            provider.stop()
        for bridge in self.bridges:
            bridge._slot.hang_up()
        self.oracle.close()
        self.pulse.close()
