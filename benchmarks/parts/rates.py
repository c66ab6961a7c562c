"""Throughput in a closed loop, and latency in an open one: rounds in which every contestant has its turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Any

from benchmarks.arithmetic import percentile
from benchmarks.field import Field, Measured
from benchmarks.plan import COMMON_RATE, CONNECTIONS, OPEN_CONNECTIONS, Part, Scale

HALF, COMMON = "half of its own capacity", "the common rate"
MILLI = 1000.0

Tell = Callable[[str], None]
"""Hears what is being done."""


def turns(names: Sequence[str], rounds: int) -> Iterator[tuple[int, str]]:
    """(round, name): every contestant once a round, and behind another neighbour each time, for whose leavings it may
    pay (a Williams square: 0, 5, 1, 4, 2, 3, and in the next round all of them one further)."""
    places = [place // 2 if place % 2 == 0 else len(names) - 1 - place // 2 for place in range(len(names))]
    for number in range(rounds):
        yield from ((number, names[(place + number) % len(names)]) for place in places)


def throughput(field: Field, part: Part, scale: Scale, tell: Tell) -> dict[str, Any]:
    """As many transfers as the contestant answers to CONNECTIONS clients."""
    field.delay(part.delay / MILLI)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in field.running}
    for number, name in turns(list(field.running), scale.rounds):
        tell(f"{part.name}: round {number + 1} of {scale.rounds}, {name}")
        warm = scale.first_warm_seconds if number == 0 else scale.warm_seconds
        measured = field.measure(
            field.running[name], connections=CONNECTIONS, warm_seconds=warm, seconds=scale.seconds
        )
        found[name].append(_shown(measured))
    return {"rounds": found, "absent": field.absent, "settings": field.settings, "connections": CONNECTIONS,
            "workers": field.ground.workers, "threads": field.ground.threads}  # fmt: skip


def latency(field: Field, part: Part, scale: Scale, tell: Tell, capacity: dict[str, float]) -> dict[str, Any]:
    """How long each takes at half of its own capacity, and at a rate that all of them carry.

    `capacity`: transfers a second of each at this delay, by name.
    """
    field.delay(part.delay / MILLI)
    rates = {HALF: {name: capacity[name] / 2 for name in field.running if capacity.get(name)},
             COMMON: dict.fromkeys(field.running, COMMON_RATE)}  # fmt: skip
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for kind, of_each in rates.items():
        found[kind] = {name: [] for name in of_each}
        for number, name in turns(list(of_each), scale.latency_rounds):
            tell(f"{part.name}: {kind}, round {number + 1} of {scale.latency_rounds}, {name}")
            measured = field.measure(
                field.running[name], connections=OPEN_CONNECTIONS, warm_seconds=scale.warm_seconds,
                seconds=scale.latency_seconds, rate=of_each[name],
            )  # fmt: skip
            found[kind][name].append({**_shown(measured), "rate": of_each[name]})
    return {"rounds": found, "absent": field.absent, "delay": part.delay}


def capacities(rounds: dict[str, list[dict[str, Any]]]) -> dict[str, float]:
    """Median throughput by name, from what `throughput` has found."""
    return {name: median(each["per_second"] for each in of_one) for name, of_one in rounds.items() if of_one}


def _shown(measured: Measured) -> dict[str, Any]:
    """One round, for the file: times as percentiles in milliseconds."""
    times = {f"p{rank}": percentile(measured.micros, rank) / MILLI for rank in (50, 90, 99)} if measured.micros else {}
    return {
        "per_second": measured.per_second,
        "cpu_millis": measured.cpu_millis,
        "memory_mib": measured.memory_bytes / (1 << 20),
        "answers": measured.answers,
        "times": times,
        "odd": measured.odd,
    }
