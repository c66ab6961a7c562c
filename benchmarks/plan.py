"""How much is measured: everything, or the same on a small scale."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.contestants import DATABASES, POSTGRESQL

CONNECTIONS = 32
"""Clients of a closed loop: as many as the bridge has threads in one web process."""

OPEN_CONNECTIONS = 128
"""Connections over which an open loop may spread what is due; where none is free, it waits, and the wait counts."""

COMMON_RATE = 20.0
"""Arrivals a second that every contestant carries, also at the slowest provider."""


@dataclass(frozen=True)
class Scale:
    """One size of a run. Times in seconds, `delays` of the provider in milliseconds, `growth` in transfers.

    `crash_wait`: what a system has after its restart until it is asked what became of everything.
    """

    name: str
    delays: tuple[int, ...]
    rounds: int
    seconds: float
    first_warm_seconds: float
    warm_seconds: float
    latency_delays: tuple[int, ...]
    latency_rounds: int
    latency_seconds: float
    crash_seconds: float
    crash_wait: float
    growth: tuple[int, int]
    growth_rounds: int

    @property
    def crash_alone(self) -> float:
        """So long nobody else is struck, or loads the machine, while one recovers; who needs longer has company."""
        return min(60.0, self.crash_wait * 2 / 3)


FULL = Scale(
    name="full", delays=(0, 20, 200), rounds=5, seconds=5, first_warm_seconds=5, warm_seconds=1.5,
    latency_delays=(0, 20, 200), latency_rounds=5, latency_seconds=6, crash_seconds=6, crash_wait=300,
    growth=(10_000, 5_000_000), growth_rounds=5,
)  # fmt: skip
QUICK = Scale(
    name="quick", delays=(0, 20), rounds=3, seconds=1.2, first_warm_seconds=1.5, warm_seconds=0.3, latency_delays=(20,),
    latency_rounds=1, latency_seconds=2.5, crash_seconds=2, crash_wait=30, growth=(1_000, 30_000), growth_rounds=3,
)  # fmt: skip

THROUGHPUT, LATENCY, CRASH, GROWTH = "throughput", "latency", "crash", "growth"


@dataclass(frozen=True)
class Part:
    """What is measured in one go, and kept in one file; a run that was cut short goes on with the next one.

    `delay`: of the provider, in milliseconds.
    """

    kind: str
    database: str
    delay: int

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.kind}-{self.database}" + (f"-{self.delay}ms" if self.kind in (THROUGHPUT, LATENCY) else "")


def parts(scale: Scale) -> list[Part]:
    """All parts in their order: throughput first, for the other rates are taken from it."""
    found = []
    for database in DATABASES:
        found += [Part(THROUGHPUT, database, delay) for delay in scale.delays]
        found += [Part(LATENCY, database, delay) for delay in scale.latency_delays]
        found.append(Part(CRASH, database, 200))
    return [*found, Part(GROWTH, POSTGRESQL, 0)]
