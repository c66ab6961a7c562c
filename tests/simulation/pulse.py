"""The pulse of the jobs: their ticks, without the empty ones. A job that would find nothing due is not fired."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from bridge.clocks import APART_AT_MOST
from tests.simulation.node import Bridge
from tests.simulation.settings import STORY_HOURS
from tests.simulation.world import SECOND, World

_DUE = {
    "resolve": """SELECT MIN(at) FROM (SELECT MIN(wake_at) AS at FROM transfer WHERE state IN ('pending', 'orphaned')
        UNION ALL SELECT probe_at FROM breaker WHERE open)""",
    "aftercare": "SELECT MIN(wake_at) FROM transfer WHERE state IN ('confirmed', 'reversed')",
    "inbox": "SELECT MIN(wake_at) FROM inbox_task",
    "outbox": "SELECT MIN(at) FROM outbox",
    "expire": "SELECT MIN(expires_at) FROM proposal WHERE state = 'open'",
}
SEALED_AT_HOURS = (20, 46)
SEALED_APART_SECONDS = (31.0, 700.0)
"""Seals come in two ticks: one sees how far a table goes, a later one seals up to there. After ten minutes
what was sealed is looked at a second time."""
LAST_SEALED_SECONDS = (120.0, 60.0)
"""So long before a story ends, in the healed world, all that is old enough is sealed."""

LONGEST_REST_SECONDS = 300
"""Ticks at which nothing moves, for every clock is off or every process stands still, become as rare as this."""

BOTH_TICK = 0.3
"""How often the second process of jobs fires at the same tick as the first: both are always there, and what is due is
there for both, but one of them is usually the faster."""

SEALING = 0.4
"""In so many stories anything is sealed: it is a third of the work of a story."""

SEALS = 0.6
"""How often each process of jobs seals at such a tick: often both at once."""

HOUR = 3600
IDLE_TICK, EARLY = 0.1, APART_AT_MOST
"""How often a tick comes although nothing is due any more; so much earlier a clock that is ahead finds it due."""


class Pulse:
    """Fires the jobs of every process at the ticks at which something may be due."""

    def __init__(self, world: World, database: Path) -> None:
        self.world, self.jobs = world, list[Bridge]()
        self._dice = world.chance.stream("pulse")
        self._connection = sqlite3.connect(database, isolation_level=None)
        self._next = dict.fromkeys(_DUE, 0)
        self._rests = dict.fromkeys(_DUE, 1.0)
        self._looks = dict.fromkeys(_DUE, 0)
        self._every = dict.fromkeys(_DUE, 1.0) | {"aftercare": 10.0, "outbox": 60.0, "expire": 60.0}
        self.seals = self._dice.random() < SEALING
        for hour in SEALED_AT_HOURS if self.seals else ():
            begun = (hour + self._dice.random()) * HOUR
            for seconds in (0.0, *SEALED_APART_SECONDS):
                world.after(begun + seconds, self._seal, SEALS)
        for seconds in LAST_SEALED_SECONDS if self.seals else ():
            world.after(STORY_HOURS * HOUR - seconds, self._seal, 1.0)

    def _seal(self, chance: float) -> None:
        for bridge in self.jobs:
            if self._dice.random() < chance:
                bridge.tick("seal")

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def look(self) -> None:
        """See what is due next; called whenever rows have changed."""
        for job in _DUE:
            self._rests[job] = self._every[job]
            due = self._due(job)
            if due is not None:
                self._plan(job, due)

    def _plan(self, job: str, due: int) -> None:
        now, interval = self.world.now, int(self._every[job] * SECOND)
        at = max(now + 1, due + int(self._dice.random() * interval))
        if self._next[job] <= now or at < self._next[job]:
            self._next[job] = at
            self.world.at(at, self._fire, job, at)

    def _fire(self, job: str, at: int) -> None:
        if at != self._next[job]:
            return  # an earlier one was planned meanwhile
        self._next[job] = 0
        due = self._due(job)
        if (due is None or due > self.world.now + EARLY) and self._dice.random() >= IDLE_TICK:
            if due is not None:
                self._plan(job, due)
            return  # somebody has dealt with it since this was planned
        self._rests[job] = min(LONGEST_REST_SECONDS, 2 * self._rests[job])
        first, *others = self._dice.sample(self.jobs, len(self.jobs))
        first.tick(job)
        for other in others:
            if first.dead or first.frozen_until > self.world.now or self._dice.random() < BOTH_TICK:
                other.tick(job)
        # What was due and was not taken, by a clock that is behind or a process that stands still, is due again.
        at = self.world.now + int(self._rests[job] * SECOND)
        if not self.world.now < self._looks[job] <= at:
            self._looks[job] = at
            self.world.at(at, self._look_again, job, at)

    def _look_again(self, job: str, at: int) -> None:
        if at != self._looks[job]:
            return  # an earlier one came
        self._looks[job] = 0
        due = self._due(job)
        if due is not None:
            self._plan(job, due)

    def _due(self, job: str) -> int | None:
        due: int | None = self._connection.execute(_DUE[job]).fetchone()[0]
        return due


