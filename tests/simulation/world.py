"""The world: virtual time, and strands (greenlets) of which exactly one runs, until it waits for something.

Time passes only while everybody waits. Whoever is due next runs next, so one seed is one story. At every yield point
(a statement, a commit, a connection, a request, an answer, a sleep) a strand may be overtaken by others, its process
paused, or killed.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from math import ceil
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet

from tests.simulation.chance import Chance
from tests.simulation.swarm import Swarm

SECOND = 1_000_000
"""Microseconds, as everywhere."""

TIMED_OUT = object()
"""What a wait brings whose time ran out."""

OVERTAKEN_SECONDS = (0.0, 0.0002, 0.002, 0.02, 0.3)
PAUSE_SECONDS = (0.5, 3, 8, 20, 70, 200, 600)
PAUSE_AT_THE_GATE_SECONDS = (0.2, 1, 4)
"""Shorter than the lease outlasts the gate: who stands still for longer after the last look at his clock sends late
whatever is written, and only the provider can help it."""

TIMES_AT_THE_GATE = 10
"""A story has a few dozen requests, and thousands of statements."""


class Killed(GreenletExit):
    """The process of this strand has been killed. No `except Exception` sees it."""


class Node:
    """A process, or the world outside of all of ours; its strands die with it."""

    mortal = True

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.dead = False
        self.frozen_until = 0
        self.skew, self.set_at = 0, 0
        self.strands: dict[Strand, None] = {}

    def now(self) -> int:
        """Its wall clock, microseconds since 1970."""
        return self.world.now + self.skew

    def set_clock(self, seconds: float) -> None:
        """From now on its wall clock is off by so much; `set_at`: the world's time at which it was set last."""
        self.skew, self.set_at = int(seconds * SECOND), self.world.now

    def set_right(self) -> None:
        """Its wall clock is right from now on, if it was not."""
        if self.skew:
            self.set_clock(0)

    def died(self) -> None:
        """All its strands are gone; what it kept in memory goes now."""


class Outside(Node):
    """Whoever is not ours: clients, people, the network. Never killed, never paused."""

    mortal = False


class Strand:
    """One thread of control of a node; `result` is what its work returned, once it has `ended`."""

    def __init__(self, world: World, node: Node, name: str, work: Callable[[], Any]) -> None:
        self.world, self.node, self.name, self._work = world, node, name, work
        self.dice = world.chance.stream(name)
        self.ticket, self.joins = 0, False
        self.ended, self.killed, self.result = False, False, None
        self.failure: BaseException | None = None
        self._watchers: list[Strand] = []
        self.greenlet = greenlet(self._run, world.hub)

    def _run(self, *_first: Any) -> None:
        try:
            self.result = self._work()
        except GreenletExit:
            self.killed = True
        except BaseException as failure:  # noqa: BLE001 - raised again by whoever waits for it, or by the world
            self.failure = failure
        finally:
            self.ended = True
            self.node.strands.pop(self, None)
            for watcher in self._watchers:
                if watcher.joins:  # it may have given up, and wait for something else by now
                    self.world.wake(watcher, self)
            if self.failure is not None and not self._watchers:
                self.world.broken(self)

    def watch(self, watcher: Strand) -> None:
        """Wake `watcher` at the end of this one."""
        self._watchers.append(watcher)


class World:
    """Time and all that happens in it. `trace` is told what happened, in words."""

    def __init__(self, chance: Chance, swarm: Swarm, begins: int, trace: Callable[[str, str], None]) -> None:
        self.chance, self.swarm, self.now, self.begins = chance, swarm, begins, begins
        self.trace = trace
        self.hub = getcurrent()
        self.current: Strand | None = None
        self.faults_until = 0
        self.halted = False
        self.most, self.endless = 0, lambda: None
        self._queue: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0
        self._crashed: list[Node] = []

    # --- time -----------------------------------------------------------------------------------------

    def at(self, when: int, act: Callable[..., None], *arguments: Any, first: bool = False) -> None:
        """Do something at an instant, or now if that has passed; `first`: before all else of that instant."""
        self._count += 1
        order = -self._count if first else self._count
        heapq.heappush(self._queue, (max(when, self.now), order, act, arguments))

    def after(self, seconds: float, act: Callable[..., None], *arguments: Any) -> None:
        """Do something after a while; what is above nothing is a microsecond at least, or a wait would never end."""
        self.at(self.now + ceil(seconds * SECOND), act, *arguments)

    def run(self, until: int) -> None:
        """Let everything happen that is due before `until`."""
        while self._queue and self._queue[0][0] <= until and not self.halted:
            when, _, act, arguments = heapq.heappop(self._queue)
            if self.most and self._count > self.most:
                self.endless()
                return
            self.now = max(self.now, when)
            act(*arguments)
            while self._crashed:
                self._bury(self._crashed.pop(0))
        self.now = max(self.now, until)

    @property
    def faulty(self) -> bool:
        """Whether faults may still happen; at the end of a story the world heals."""
        return self.now < self.faults_until

    # --- strands --------------------------------------------------------------------------------------

    def spawn(self, node: Node, name: str, work: Callable[[], Any]) -> Strand:
        """Begin a strand as soon as everything that is due now has run."""
        strand = Strand(self, node, name, work)
        node.strands[strand] = None
        self.at(self.now, self._resume, strand, 0, None)
        return strand

    def park(self, seconds: float | None = None, *, joins: bool = False) -> Any:
        """Wait to be woken, at most so long; what `wake` brought, or TIMED_OUT. `joins`: for the end of a strand."""
        strand = self._alive()
        strand.ticket, strand.joins = strand.ticket + 1, joins
        if seconds is not None:
            self.after(max(0.0, seconds), self._resume, strand, strand.ticket, TIMED_OUT)
        brought = self.hub.switch()
        if strand.node.dead:
            raise Killed
        return brought

    def wake(self, strand: Strand, brought: Any) -> None:
        """End the wait that a strand is in."""
        self.at(self.now, self._resume, strand, strand.ticket, brought)

    def sleep(self, seconds: float) -> None:
        """Let time pass for this strand."""
        self.park(seconds)

    def join(self, strand: Strand, seconds: float | None = None) -> bool:
        """Wait for the end of another strand; false if that took too long."""
        if not strand.ended:
            strand.watch(self._alive())
            end = None if seconds is None else self.now + int(seconds * SECOND)
            while not strand.ended:
                if self.park(None if end is None else (end - self.now) / SECOND, joins=True) is TIMED_OUT:
                    return False
        return True

    def _alive(self) -> Strand:
        assert self.current is not None, "only a strand can wait"
        if self.current.node.dead:
            raise Killed
        return self.current

    def _resume(self, strand: Strand, ticket: int, brought: Any) -> None:
        if strand.ended or ticket != strand.ticket:
            return
        if strand.node.frozen_until > self.now:
            self.at(strand.node.frozen_until, self._resume, strand, ticket, brought)
            return
        self.current = strand
        strand.greenlet.switch(brought)
        self.current = None

    def broken(self, strand: Strand) -> None:
        """A strand ended with an error that nobody waits for: the simulation itself is wrong."""
        assert strand.failure is not None
        raise strand.failure

    # --- what may happen to a process -------------------------------------------------------------------

    def passing(self) -> None:
        """A yield point: the strand may be overtaken, its process paused or killed."""
        strand = self.current
        if strand is None:
            return
        if strand.node.dead:
            raise Killed
        unrest = strand.dice.random()
        if unrest < self.swarm.overtaken:
            self.sleep(strand.dice.choice(OVERTAKEN_SECONDS))
        elif unrest < self.swarm.unrest and strand.node.mortal and self.faulty:
            self._strike(strand)

    def leaving(self) -> None:
        """The same between the last look at the clock and the bytes: the others cannot overtake it there."""
        strand = self.current
        if strand is None or not strand.node.mortal or not self.faulty:
            return
        if strand.dice.random() < TIMES_AT_THE_GATE * (self.swarm.unrest - self.swarm.overtaken):
            self._strike(strand, PAUSE_AT_THE_GATE_SECONDS)

    def _strike(self, strand: Strand, pauses: Sequence[float] = PAUSE_SECONDS) -> None:
        dice, node = strand.dice, strand.node
        pause = dice.choice(pauses)
        if dice.strikes("pause", self.swarm.share_of_pauses):
            self.pause(node, pause)
            # It goes on before whoever else waited for the end of this, and might stand still again at once.
            self.at(node.frozen_until, self._resume, strand, strand.ticket + 1, TIMED_OUT, first=True)
            self.park()
        elif dice.strikes("crash", 1.0 if self.swarm.rate("crash") else 0.0):
            self.struck("crash", f"{node.name} is killed")
            self.crash(node)

    def pause(self, node: Node, seconds: float, kind: str = "pause") -> None:
        """Stop a process for a while, in the middle of whatever it does."""
        self.struck(kind, f"{node.name} stands still for {seconds:g} s")
        node.frozen_until = max(node.frozen_until, self.now + int(seconds * SECOND))

    def crash(self, node: Node) -> None:
        """Kill a process: nothing that it would have done after this instant is done."""
        if not node.dead:
            node.dead = True
            self._crashed.append(node)
        if self.current is not None and self.current.node is node:
            raise Killed

    def _bury(self, node: Node) -> None:
        for strand in list(node.strands):
            if not strand.ended:
                self.current = strand
                strand.greenlet.throw(Killed())
                self.current = None
        node.strands.clear()
        node.died()

    def struck(self, kind: str, told: str) -> None:
        """Count a fault that has truly happened, and tell of it."""
        self.swarm.counts[kind] += 1
        self.trace("fault", f"{kind}: {told}")
