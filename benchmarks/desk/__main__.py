"""`python -m benchmarks.desk`: fills a bridge's tables, then measures three pages of its desk over HTTP.

DESK_TRANSFERS and DESK_ORPHANS in the environment say how much stands in the tables. The last line that is printed has
the 95th percentile of each page in milliseconds; the exit code is 1 where one of them is above BOUND.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from benchmarks import machine
from benchmarks.desk import ground, visit
from benchmarks.desk.ground import DeskBridge, Filled, Tell
from benchmarks.desk.people import come_in
from benchmarks.desk.visit import Measured
from bridge.up import interrupt_once

TRANSFERS, ORPHANS = 1_000_000, 10_000
BOUND = 300.0
"""Milliseconds that the 95th percentile of a page may take."""

INTERRUPTED = 130
MEBI = 1 << 20


def main() -> int:
    """The exit code: 0, 1 where a page is too slow, 130 after Ctrl-C."""
    transfers, orphans = _asked("DESK_TRANSFERS", TRANSFERS), _asked("DESK_ORPHANS", ORPHANS)
    out = Console(highlight=False, soft_wrap=True)
    interrupt_once()
    try:
        with _progress(out) as tell, ground.opened(transfers + orphans) as bridge:
            measured = _run(bridge, transfers, orphans, tell, out)
    except KeyboardInterrupt:
        out.print("interrupted")
        return INTERRUPTED
    slow = {name: measured.pages[name].millis(95) for name in visit.PAGES}
    print(" ".join(f"{name}_p95_ms={millis:.1f}" for name, millis in slow.items()))
    return int(max(slow.values()) > BOUND)


def _asked(name: str, otherwise: int) -> int:
    told = os.environ.get(name) or str(otherwise)
    if not told.isdecimal() or int(told) < 1:
        raise SystemExit(f"{name} is a number of rows, not {told!r}")
    return int(told)


def _run(bridge: DeskBridge, transfers: int, orphans: int, tell: Tell, out: Console) -> Measured:
    begun = time.monotonic()
    filled = ground.fill(bridge, transfers, orphans, tell)
    out.print(_filled(filled, time.monotonic() - begun))
    tell("asking every invariant of the filled tables")
    begun = time.monotonic()
    out.print(f"{bridge.command('verify')} ({time.monotonic() - begun:.0f} s)")
    bridge.start()
    with come_in(bridge, tell) as browser:
        measured = visit.measure(bridge, browser, tell)
    for line in _told(measured):
        out.print(line)
    return measured


def _filled(filled: Filled, seconds: float) -> str:
    rows = filled.rows
    return (
        f"{rows['transfer']:,} transfers, {rows['orphan_case']:,} of them orphans, with {rows['evidence']:,} pieces of "
        f"evidence and {rows['history']:,} moves: {filled.bytes / MEBI:,.0f} MiB in {seconds:.0f} s"
    )


def _told(measured: Measured) -> Iterator[str]:
    yield ", ".join(f"{name}: {value}" for name, value in machine.described().items())
    for name in visit.PAGES:
        times = measured.pages[name]
        yield f"{name}: {len(times.micros)} requests, p50 {times.millis(50):.1f} ms, p95 {times.millis(95):.1f} ms"
    ended = ", ".join(f"{number} {what}" for what, number in sorted(measured.answers.items()))
    took = measured.transfers
    yield f"transfers meanwhile: {ended}; p50 {took.millis(50):.1f} ms, p95 {took.millis(95):.1f} ms"


@contextmanager
def _progress(out: Console) -> Iterator[Tell]:
    columns = (SpinnerColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=out, transient=True) as shown:
        task = shown.add_task("starting PostgreSQL, the providers and a bridge")
        yield lambda what: shown.update(task, description=what)


if __name__ == "__main__":
    sys.exit(main())
