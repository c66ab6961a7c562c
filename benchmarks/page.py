"""The page of the benchmarks, made from the stored figures alone: run again, it comes out the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.arithmetic import ratio, spread
from benchmarks.contestants import BRIDGE, DATABASES, DBOS, FIELD, FLOOR, GUNICORN, WORDS
from benchmarks.figures import Figures, closing_line
from benchmarks.parts.rates import COMMON, HALF
from benchmarks.pictures import Bar, Group, bars
from benchmarks.plan import COMMON_RATE, CONNECTIONS, CRASH, GROWTH, LATENCY, THROUGHPUT, Part, Scale
from benchmarks.prose import (
    COMPARED,
    COSTS,
    CRASHED,
    GREW,
    INTRODUCTION,
    LATE,
    REST,
    SETTINGS,
    THROUGH,
    WANTED,
)
from benchmarks.wanted import NAMES, rows
from bridge.sections import EngineSection

Rounds = list[dict[str, Any]]


def write(figures: Figures, scale: Scale, folder: Path) -> Path:
    """Write benchmarks.md into `folder`, and its pictures and raw figures into benchmarks/ beside it."""
    beside = folder / "benchmarks"
    beside.mkdir(parents=True, exist_ok=True)
    for name, drawn in pictures(figures, scale).items():
        (beside / f"{name}.svg").write_text(drawn, encoding="utf-8")
    raw = json.dumps(figures.everything(), indent=1, sort_keys=True)
    (beside / "figures.json").write_text(raw + "\n", encoding="utf-8")
    target = folder / "benchmarks.md"
    target.write_text("\n".join(text(figures, scale)), encoding="utf-8")
    return target


def text(figures: Figures, scale: Scale) -> Iterator[str]:
    """The page, line by line."""
    yield "# Benchmarks"
    yield ""
    if scale.name != "full":
        yield f"**A {scale.name} run: fewer and shorter rounds, smaller tables. Its figures are rough.**\n"
    yield INTRODUCTION
    yield f"\n```\n{closing_line(figures)}\n```\n"
    yield from _wanted(figures, scale)
    yield from _about(figures)
    yield f"{COMPARED}\n"
    for database in DATABASES:
        yield f"## {NAMES[database]}: throughput and cost\n"
        yield f"{THROUGH.format(connections=CONNECTIONS, rounds=scale.rounds, seconds=scale.seconds)}\n"
        yield f"![throughput](benchmarks/throughput-{database}.svg)\n"
        for delay in scale.delays:
            yield from _throughput(figures, database, delay)
        yield f"{COSTS}\n"
        yield f"![CPU](benchmarks/cpu-{database}.svg)\n"
    for database in DATABASES:
        yield f"## {NAMES[database]}: latency\n"
        yield f"{LATE.format(rate=COMMON_RATE, rounds=scale.latency_rounds, seconds=scale.latency_seconds)}\n"
        yield f"![latency](benchmarks/latency-{database}.svg)\n"
        for delay in scale.latency_delays:
            yield from _latency(figures, database, delay)
    yield "## After a SIGKILL\n"
    yield f"{CRASHED.format(wait=scale.crash_wait, alone=scale.crash_alone)}\n"
    for database in DATABASES:
        yield from _crash(figures, database)
    yield "## Growth\n"
    yield from _growth(figures)
    yield from _absent(figures, scale)


def _wanted(figures: Figures, scale: Scale) -> Iterator[str]:
    yield f"## Wanted, and reached\n\n{WANTED}\n"
    yield "| wanted of the bridge | on | measured | |"
    yield "|---|---|--:|---|"
    for wanted, database, measured, reached in rows(figures, scale):
        yield _row(wanted, database, measured, "reached" if reached else "**not reached**")
    yield ""


def _about(figures: Figures) -> Iterator[str]:
    run = figures.run
    yield "## What it ran on\n"
    yield f"- commit: `{run['commit'][:12]}`"
    yield from (f"- {name}: {value}" for name, value in run["machine"].items())
    yield "- versions: " + ", ".join(f"{name} {number}" for name, number in run["versions"].items())
    first = figures.read(Part(THROUGHPUT, "postgresql", 0).name)
    if first:
        yield "- PostgreSQL: " + ", ".join(f"`{name}={value}`" for name, value in first["settings"].items())
        yield f"- every web server: {first['workers']} worker, {first['threads']} threads, as `bridge serve` starts"
    yield f"\n{SETTINGS}\n"


def _throughput(figures: Figures, database: str, delay: int) -> Iterator[str]:
    rounds: dict[str, Rounds] = figures.read(Part(THROUGHPUT, database, delay).name).get("rounds", {})
    if not rounds:
        return
    yield f"Provider answers after {delay} ms:\n"
    yield from _head("", "transfers/s", "of the floor", "CPU ms/transfer", "× floor", "memory MiB", "not confirmed")
    for name in _order(database, rounds):
        mine = rounds[name]
        yield _row(
            WORDS[name], _figure(mine, "per_second", 0), _of_floor(rounds, name, "per_second"),
            _figure(mine, "cpu_millis", 2), _of_floor(rounds, name, "cpu_millis"),
            f"{median(each['memory_mib'] for each in mine):,.0f}", _not_confirmed(mine),
        )  # fmt: skip
    if rounds.get(BRIDGE) and rounds.get(DBOS):
        pair = [[each["per_second"] for each in rounds[name]] for name in (BRIDGE, DBOS)]
        yield f"\nThe bridge makes {ratio(*pair):.2f} × the transfers of DBOS Transact.\n"


def _not_confirmed(rounds: Rounds) -> str:
    """How many were refused, or never answered."""
    return str(sum(number for each in rounds for what, number in each["answers"].items() if what != "confirmed"))


def _latency(figures: Figures, database: str, delay: int) -> Iterator[str]:
    kinds: dict[str, dict[str, Rounds]] = figures.read(Part(LATENCY, database, delay).name).get("rounds", {})
    if not kinds:
        return
    yield f"Provider answers after {delay} ms; what is added to that, in ms:\n"
    half, common = f"at {HALF}", f"at {COMMON_RATE:.0f}/s"
    yield from _head("", f"rate {half}", f"p50 {half}", f"p99 {half}", f"p50 {common}", f"p99 {common}",
                     "not confirmed")  # fmt: skip
    for name in _order(database, kinds[COMMON]):
        of_half, of_common = kinds[HALF].get(name, []), kinds[COMMON][name]
        rate = f"{of_half[0]['rate']:,.0f}/s" if of_half else "–"
        shown = (_added(of_one, rank, delay) for of_one in (of_half, of_common) for rank in ("p50", "p99"))
        yield _row(WORDS[name], rate, *shown, _not_confirmed([*of_half, *of_common]))
    yield ""


def _crash(figures: Figures, database: str) -> Iterator[str]:
    found = figures.read(Part(CRASH, database, 200).name)
    if not found:
        return
    yield f"{NAMES[database]}:\n"
    yield from _head("", "asked for", "unanswered at the kill", "lost", "doubled", "unresolved", "sent twice",
                     "resolved after")  # fmt: skip
    for name in _order(database, found["verdicts"]):
        each = found["verdicts"][name]
        after = "never" if each["resolved_after"] is None else f"{each['resolved_after']:.0f} s"
        yield _row(WORDS[name], *(str(each[which]) for which in (
            "asked_for", "unanswered", "lost", "doubled", "unresolved", "sent_again")), after)  # fmt: skip
    yield ""


def _growth(figures: Figures) -> Iterator[str]:
    found = figures.read(Part(GROWTH, "postgresql", 0).name)
    if not found:
        return
    yield f"{GREW}\n"
    yield "![growth](benchmarks/growth.svg)\n"
    yield from _head("transfers in the tables", "database", "transfers/s", "CPU ms/transfer", "p50 ms", "p99 ms",
                     "all invariants verified in")  # fmt: skip
    for name, size in found["sizes"].items():
        mine, times = found["rounds"][name], found["latency"].get(name, [])
        verified = found["verify_seconds"][name]
        yield _row(
            f"{size:,}", f"{found['filled'][name]['bytes'] / (1 << 30):.2f} GiB", _figure(mine, "per_second", 0),
            _figure(mine, "cpu_millis", 2), _added(times, "p50", 0), _added(times, "p99", 0),
            "more than an hour" if verified is None else f"{verified:,.1f} s",
        )  # fmt: skip
    small, large = found["sizes"]
    pair = [[each["per_second"] for each in found["rounds"][name]] for name in (large, small)]
    many, few = f"{found['sizes'][large]:,}", f"{found['sizes'][small]:,}"
    ratios = sorted(one / other for one, other in zip(*pair, strict=True) if other)
    told = f"{ratio(*pair):.2f} × as many as with {few}, round by round ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    rates = [each["rate"] for of_one in found["latency"].values() for each in of_one]
    asked = f" Latency was asked for at {median(rates):.0f} arrivals a second." if rates else ""
    yield f"\nWith {many} transfers it makes {told}.{asked}\n"
    late = found["verify_seconds"][large]
    if late is None or late > EngineSection().verify_every_seconds:
        yield f"{REST}\n"


def _absent(figures: Figures, scale: Scale) -> Iterator[str]:
    """Who could not take part, with the command and the error."""
    told: dict[str, dict[str, str]] = {}
    for database in DATABASES:
        for kind, delay in ((THROUGHPUT, scale.delays[0]), (CRASH, 200)):
            for name, why in figures.read(Part(kind, database, delay).name).get("absent", {}).items():
                told[f"{WORDS[name]} on {NAMES[database]}, {kind}"] = why
    if told:
        yield "## Who could not take part\n"
    for who, why in told.items():
        yield f"{who}:\n\n```\n$ {why['command']}\n{why['error']}\n```\n"


def pictures(figures: Figures, scale: Scale) -> dict[str, str]:
    """SVG by name."""
    drawn = {}
    for database in DATABASES:
        rounds = {
            f"provider {delay} ms": figures.read(Part(THROUGHPUT, database, delay).name).get("rounds", {})
            for delay in scale.delays
        }
        late = {
            f"provider {delay} ms": _late(figures.read(Part(LATENCY, database, delay).name).get("rounds", {}), delay)
            for delay in scale.latency_delays
        }
        for kind, title, found, figure, unit, digits in (
            ("throughput", "throughput", rounds, "per_second", "transfers per second", 0),
            ("cpu", "cost", rounds, "cpu_millis", "CPU ms per transfer", 1),
            ("latency", "p99 at half of its own capacity", late, "added", "ms beside the provider's", 1),
        ):
            groups = [
                Group(heading, [_bar(WORDS[name], of_all[name], figure, name) for name in _order(database, of_all)])
                for heading, of_all in found.items()
            ]
            drawn[f"{kind}-{database}"] = bars(f"{NAMES[database]}: {title}", unit, groups, digits)
    grown = figures.read(Part(GROWTH, "postgresql", 0).name)
    if grown:
        mine = [_bar(f"{size:,}", grown["rounds"][name], "per_second", BRIDGE) for name, size in grown["sizes"].items()]
        drawn["growth"] = bars("Growth", "transfers per second", [Group("transfers in the tables", mine)])
    return drawn


def _late(kinds: dict[str, dict[str, Rounds]], delay: int) -> dict[str, Rounds]:
    """Of each contestant, round by round: its p99 at half of its own capacity without the provider's delay."""
    found = kinds.get(HALF, {})
    return {
        name: [{"added": each["times"]["p99"] - delay} for each in of_one if each["times"]]
        for name, of_one in found.items()
    }


def _bar(label: str, rounds: Rounds, figure: str, name: str) -> Bar:
    values = [each[figure] for each in rounds]
    return Bar(label, median(values), min(values), max(values), ours=name in (BRIDGE, GUNICORN))


def _order(database: str, found: dict[str, Any]) -> list[str]:
    return [name for name in FIELD[database] if found.get(name)]


def _figure(rounds: Rounds, name: str, digits: int) -> str:
    """Median and spread."""
    values = [each[name] for each in rounds]
    return f"{median(values):,.{digits}f} ± {spread(values):.0%}" if values else "–"


def _of_floor(rounds: dict[str, Rounds], name: str, figure: str) -> str:
    if name == FLOOR or not rounds.get(FLOOR):
        return "1" if name == FLOOR else "–"
    return f"{ratio([each[figure] for each in rounds[name]], [each[figure] for each in rounds[FLOOR]]):.2f}"


def _added(rounds: Rounds, rank: str, delay: int) -> str:
    values = [each["times"][rank] - delay for each in rounds if each["times"]]
    return f"{median(values):,.1f}" if values else "–"


def _head(*names: str) -> Iterator[str]:
    yield _row(*names)
    yield "|" + "---|" + "--:|" * (len(names) - 1)


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"
