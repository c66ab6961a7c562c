"""A provider in the world: the simulator's own books, protocol and lies, on virtual time and behind the virtual wire.

Its ledger is a file, written and read again after a crash by the code of `bridge/simulator/`; nothing of the bridge
is in it. What it has written is told to whoever judges.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from bridge.simulator.books import Books
from bridge.simulator.faults.cases import TABLES
from bridge.simulator.faults.choice import Choice, read_weights
from bridge.simulator.generic import signature
from bridge.simulator.generic.books import GenericBooks
from bridge.simulator.generic.caller import Caller
from bridge.simulator.generic.games import Games
from bridge.simulator.generic.lies.requests import LIES as GENERIC_LIES
from bridge.simulator.generic.outbox import LONGEST_PAUSE, Letter, Outbox
from bridge.simulator.generic.protocol import Generic
from bridge.simulator.journal import NO_ANSWER, TAKEN, CallbackDiary, FaultDiary, Journal, WireDiary
from bridge.simulator.messages import MICROS, Currencies, Delivery, Request
from bridge.simulator.qtech.books import QTechBooks
from bridge.simulator.qtech.lies import LIES as QTECH_LIES
from bridge.simulator.qtech.protocol import QTech
from bridge.simulator.qtech.tokens import Tokens
from bridge.simulator.stage import Stage
from tests.simulation.settings import (
    CALLBACK_SECRETS,
    CURRENCIES,
    EXPIRY_SECONDS,
    PASSWORD,
    REQUEST_SECRET,
    USERNAME,
)
from tests.simulation.world import Node, World

Told = Callable[[str, dict[str, Any]], None]
"""(provider, line of its ledger): called once the line is durable."""

RESTART_SECONDS = (0.2, 2, 20, 120)
CALLBACK_PAUSE, CALLBACKS_AT_MOST = 5.0, 40
LATE_CALLBACK_SECONDS = (70, 900, 7200, 86_400 + 600)
REPEATED = (2, 3, 20)


class Ledger(Journal):
    """The ledger file; every line is told as soon as it is in it."""

    def __init__(self, path: Path, told: Callable[[dict[str, Any]], None]) -> None:
        super().__init__(path, durable=False)  # a killed process loses nothing of a file; the machine is never lost
        self._told = told

    def append(self, entry: dict[str, Any]) -> None:
        """Write a line and tell of it."""
        super().append(entry)
        self._told(entry)


class Diary(FaultDiary):
    """The diary of lies; every one is told as it is shown."""

    def __init__(self, path: Path, provider: Provider) -> None:
        super().__init__(path, provider.clock)
        self._provider = provider

    def shown(self, case: int, on: str, reference: str, transfer_id: str, player: str) -> None:
        """As the simulator has it."""
        super().shown(case, on, reference, transfer_id, player)
        self._provider.shown(case, on, reference)


class Gate:
    """What the simulator waits by; here time passes virtually."""

    def __init__(self, world: World) -> None:
        self.stopping = threading.Event()
        self._world = world

    def pause(self, seconds: float) -> bool:
        """Wait; never cut short."""
        self._world.sleep(seconds)
        return False


class Provider:
    """One provider, up or down. `starts` counts how often it was started."""

    def __init__(self, world: World, name: str, protocol: str, folder: Path, told: Told) -> None:
        self.world, self.name, self.protocol, self._told = world, name, protocol, told
        self.node = _ProviderNode(self)
        self.starts = 0
        self.lies: tuple[Decimal, dict[int, int], dict[int, dict[str, Any]]] = (Decimal(0), {}, {})
        self.breaks_its_word: frozenset[int] = frozenset()
        self.lied: Callable[[str, str, str], None] = lambda _provider, _reference, _how: None
        self.deliver: Callable[[Letter, dict[str, str]], int | str] | None = None
        self.stage: Stage
        self.books: Books[Any]
        self._file = folder / f"{name}.ledger"
        self._journals: list[Journal] = []
        self._looks_at = 0
        silent = world.swarm.rate("callbacks_silent")
        self.is_silent = world.chance.stream(f"{name} calls back").strikes("callbacks_silent", silent)
        self.start()

    # --- its life -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Read the ledger and be there."""
        self.starts += 1
        self.node.dead = False
        table = TABLES[self.protocol]
        choice = Choice(table, self.world.chance.seed, self.clock)
        rate, weights, params = self.lies
        choice.set_rate(rate, weights or read_weights(None, table), params)
        faults = Diary(self._beside("faults"), self)
        wire = WireDiary(self._beside("wire"), self.clock)
        ledger = Ledger(self._file, lambda line: self._told(self.name, line))
        self._journals = [ledger, faults._journal, wire._journal]
        of_books = ledger, Currencies(CURRENCIES), int(EXPIRY_SECONDS[self.protocol] * MICROS), self.clock
        gate: Any = Gate(self.world)
        if self.protocol == "qtech":
            books = self.books = QTechBooks(*of_books)
            tokens = Tokens(USERNAME, PASSWORD, 600_000, self.clock)
            self.stage = Stage(QTech(books, tokens, None), QTECH_LIES, choice, faults, wire, gate)
        else:
            self._start_generic(GenericBooks(*of_books), choice, faults, wire, gate)
        self.node.strands.clear()
        self._look_ahead()

    def _start_generic(
        self, books: GenericBooks, choice: Choice, faults: FaultDiary, wire: WireDiary, gate: Any
    ) -> None:
        self.books = books
        provider = Generic(books, Games(self.clock), (signature.key_of(REQUEST_SECRET),), None)
        self.stage = Stage(provider, GENERIC_LIES, choice, faults, wire, gate)
        diary = CallbackDiary(self._beside("callbacks"), self.clock)
        self._journals.append(diary._journal)
        caller = Caller(provider, choice, Post(self, diary), faults, diary)
        books.when_changed = caller.changed
        caller.call_to("http://bridge/callbacks")

    def stop(self) -> None:
        """Let go of the files."""
        for journal in self._journals:
            os.close(journal._file)
        self._journals = []

    def lie(self, rate: Decimal, weights: dict[int, int], params: dict[int, dict[str, Any]]) -> None:
        """From now on, also after a crash: this share of transfers meets a case of these weights."""
        self.lies = (rate, weights, params)
        self.stage.choice.set_rate(*self.lies)

    def clock(self) -> int:
        """Its own clock, microseconds."""
        return self.node.now()

    def _beside(self, diary: str) -> Path:
        return self._file.with_name(f"{self._file.name}.{diary}")

    # --- what it does ---------------------------------------------------------------------------------

    def answer(self, request: Request) -> Delivery:
        """Answer a request, or be killed when all is done and nothing is said."""
        world = self.world
        delivery = self.stage.answer(request)
        self._look_ahead()
        assert world.current is not None
        crash = world.swarm.rate("provider_crash")
        if world.faulty and world.current.dice.strikes("provider_crash", crash):
            world.struck("provider_crash", self.name)
            world.crash(self.node)
        return delivery

    def shown(self, case: int, on: str, reference: str) -> None:
        """A lie is about to be told."""
        self.world.struck("provider_lies", f"{self.name} case {case} on {on}, {reference}")
        self.world.swarm.counts[f"{self.protocol} case {case}"] += 1
        if case in self.breaks_its_word and reference:
            self.lied(self.name, reference, f"case {case}")

    def settle(self) -> None:
        """Do what time has decided; a real provider does that without being asked."""
        if not self.node.dead:
            self.books.settle_due()
            self._look_ahead()

    def _look_ahead(self) -> None:
        """Be there when the next thing falls due."""
        due = [each for each in _due(self.books) if each is not None]
        if not due:
            return
        when = min(due) - self.node.skew
        if self._looks_at <= self.world.now or when < self._looks_at:
            self._looks_at = max(when, self.world.now + 1)
            self.world.at(self._looks_at, self.settle)


class _ProviderNode(Node):
    mortal = False  # it dies in one place only: between its ledger and its answer

    def __init__(self, provider: Provider) -> None:
        super().__init__(provider.world, provider.name)
        self.provider = provider

    def died(self) -> None:
        self.provider.stop()
        dice = self.world.chance.stream(f"{self.name} starts again {self.provider.starts}")
        self.world.after(dice.choice(RESTART_SECONDS), self.provider.start)


class Post(Outbox):
    """The queue of callbacks on virtual time; each letter is signed and repeated as the simulator's own outbox does."""

    def __init__(self, provider: Provider, diary: CallbackDiary) -> None:
        keys = tuple(signature.key_of(secret) for secret in CALLBACK_SECRETS[:1])
        gate: Any = Gate(provider.world)
        super().__init__(keys, CALLBACK_PAUSE, lambda: provider.clock() // MICROS, diary, gate)
        self._provider, self._start = provider, provider.starts

    def put(self, letter: Letter, delay: float = 0.0) -> None:
        """Send a letter, soon or after some seconds, unless the network has it otherwise."""
        world = self._provider.world
        dice, rate = world.chance.stream(f"letter {letter.id}"), world.swarm.rate
        if world.faulty and dice.strikes("callback_delayed", rate("callback_delayed")):
            late = dice.choice(LATE_CALLBACK_SECONDS)
            world.struck("callback_delayed", f"{letter.id}, {late:g} s")
            delay += late
        if world.faulty and dice.strikes("callback_repeated", rate("callback_repeated")):
            times = dice.choice(REPEATED)
            world.struck("callback_repeated", f"{letter.id}, {times} times")
            letter = replace(letter, rounds=times)
        world.after(min(delay, self._at_latest()), self._post_in_time, letter, 1)

    def _at_latest(self) -> float:
        """In so many seconds a letter is on its way at the latest: what a story is judged by is told before its end."""
        world = self._provider.world
        return max(0, world.faults_until - world.now) / MICROS + LATE_CALLBACK_SECONDS[0]

    def _post_in_time(self, letter: Letter, attempt: int) -> None:
        provider = self._provider
        if self.url is None or provider.node.dead or provider.starts != self._start:
            return  # a provider that was started anew sends what nobody took by itself
        name = f"{provider.name} calls back {letter.id} {attempt}"
        provider.world.spawn(provider.node, name, lambda: self._try(letter, attempt))

    def _try(self, letter: Letter, attempt: int) -> None:
        world = self._provider.world
        statuses: list[int | str] = []
        for round_ in range(letter.rounds):
            statuses += self._together(letter, attempt + round_)
        if letter.then is not None and attempt == 1:
            self.put(letter.then)
        if letter.insist and attempt < CALLBACKS_AT_MOST and not any(status in TAKEN for status in statuses):
            pause = CALLBACK_PAUSE * min(2 ** (attempt - 1), LONGEST_PAUSE)
            world.after(pause, self._post_in_time, letter, attempt + letter.rounds)

    def _together(self, letter: Letter, attempt: int) -> list[int | str]:
        """All copies at one instant."""
        provider, world = self._provider, self._provider.world
        if letter.copies == 1:
            return [self._once(letter, attempt)]
        name = f"{provider.name} calls back {letter.id} {attempt} copy"
        copies = [
            world.spawn(provider.node, f"{name} {number}", lambda: self._once(letter, attempt))
            for number in range(letter.copies)
        ]
        for copy in copies:
            world.join(copy)
        return [copy.result for copy in copies if copy.result is not None]

    def _post(self, letter: Letter) -> int | str:
        world = self._provider.world
        assert world.current is not None
        lost = world.faulty and world.current.dice.strikes("callback_lost", world.swarm.rate("callback_lost"))
        silent = world.faulty and self._provider.is_silent
        if lost or silent:
            world.struck("callbacks_silent" if silent else "callback_lost", letter.id)
        if lost or silent or self._provider.deliver is None:
            return NO_ANSWER
        return self._provider.deliver(letter, self._headers(letter))


def _due(books: Books[Any]) -> list[int | None]:
    deadlines: list[tuple[int, str]] = books._deadlines  # type: ignore[attr-defined]
    due: list[int | None] = [deadlines[0][0] if deadlines else None]
    if isinstance(books, QTechBooks):
        due += books._postponed.values()
    elif isinstance(books, GenericBooks):
        due += [plan.due for plan in books._plans]
    return due


