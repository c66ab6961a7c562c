"""What the bridge is to reach beside the others, and whether it does: told first, reached or not."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import Any

from benchmarks.arithmetic import ratio
from benchmarks.contestants import BRIDGE, DATABASES, DBOS, FLOOR
from benchmarks.figures import Figures
from benchmarks.parts.rates import HALF
from benchmarks.plan import GROWTH, LATENCY, THROUGHPUT, Part, Scale

OF_FLOOR, CPU_OF_FLOOR, OF_DBOS, ADDED_MILLIS, FLAT = 0.6, 1.8, 4.0, 20.0, 0.15
NAMES = {"postgresql": "PostgreSQL", "sqlite": "SQLite"}

Row = tuple[str, str, str, bool]
"""What is wanted, on what; what was measured; whether it is reached."""


def rows(figures: Figures, scale: Scale) -> Iterator[Row]:
    """Each target for which there are figures."""
    yield from _against(figures, "postgresql", FLOOR, "per_second", f"at least {OF_FLOOR} of the floor's throughput")
    yield from _against(figures, "postgresql", FLOOR, "cpu_millis", f"at most {CPU_OF_FLOOR} × its CPU time")
    for database in DATABASES:
        yield from _against(figures, database, DBOS, "per_second", f"at least {OF_DBOS:.0f} × DBOS Transact")
    for delay in scale.latency_delays:
        kinds = figures.read(Part(LATENCY, "postgresql", delay).name).get("rounds", {})
        added = [each["times"]["p99"] - delay for each in kinds.get(HALF, {}).get(BRIDGE, []) if each["times"]]
        if added:
            wanted = f"p99 adds at most {ADDED_MILLIS:.0f} ms at half of the throughput, provider {delay} ms"
            yield wanted, NAMES["postgresql"], f"{median(added):.1f} ms", median(added) <= ADDED_MILLIS
    grown = figures.read(Part(GROWTH, "postgresql", 0).name)
    if grown:
        pair = [[each["per_second"] for each in grown["rounds"][name]] for name in reversed(grown["sizes"])]
        found = ratio(*pair)
        yield f"as fast on the larger tables, within {FLAT:.0%}", NAMES["postgresql"], f"{found:.2f}", found >= 1 - FLAT


def _against(figures: Figures, database: str, other: str, figure: str, wanted: str) -> Iterator[Row]:
    rounds: dict[str, list[dict[str, Any]]] = figures.read(Part(THROUGHPUT, database, 0).name).get("rounds", {})
    if rounds.get(BRIDGE) and rounds.get(other):
        found = ratio(*([each[figure] for each in rounds[name]] for name in (BRIDGE, other)))
        bound = {FLOOR: OF_FLOOR, DBOS: OF_DBOS}[other]
        reached = found <= CPU_OF_FLOOR if figure == "cpu_millis" else found >= bound
        yield wanted, NAMES[database], f"{found:.2f}", reached
