"""`python -m benchmarks`: measures every part that has no figures yet, writes the page, and prints the closing line.

`--fresh` begins anew; `--quick`, or QUICK=1 in the environment, measures the same on a small scale within ten minutes,
and leaves docs/ alone. Ctrl-C stops it; the next start goes on with the part that was interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import figures, machine, page
from benchmarks.children import PEERS, PROJECT
from benchmarks.contestants import FIELD
from benchmarks.field import Field, opened
from benchmarks.parts.crash import crash
from benchmarks.parts.growth import growth
from benchmarks.parts.rates import Tell, capacities, latency, throughput
from benchmarks.plan import CRASH, FULL, GROWTH, LATENCY, QUICK, THROUGHPUT, Part, Scale, parts
from bridge.up import interrupt_once

WORK = PROJECT / ".bench"
"""Where the figures of a run grow; what a full run has found is written into docs/ when it is complete."""

DOCS = PROJECT / "docs"
INTERRUPTED = 130


def main() -> int:
    """The exit code: 0 when every part has figures, 130 after Ctrl-C."""
    given = _command_line()
    scale = QUICK if given.quick else FULL
    folder = WORK / scale.name
    run = {"scale": scale.name, "commit": machine.commit(), "machine": machine.described(),
           "versions": machine.versions()}  # fmt: skip
    found = figures.Figures(folder / "figures", run, fresh=given.fresh)
    out = Console(highlight=False, soft_wrap=True)
    if not PEERS.is_dir():
        out.print(f"{PEERS.name} is not there: `make bench` installs the floor and the peers into it.")
    interrupt_once()
    try:
        _measure(scale, found, out)
    except KeyboardInterrupt:
        out.print("interrupted; the next start goes on from here")
        return INTERRUPTED
    target = folder if scale is QUICK else DOCS
    written = page.write(found, scale, target)
    found.complete()
    out.print(f"written: {written}")
    print(figures.closing_line(found))
    return 0


def _command_line() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="side by side with peers in one run")
    parser.add_argument("--fresh", action="store_true", help="begin anew, also where an earlier run was interrupted")
    parser.add_argument(
        "--quick", action="store_true", default=os.environ.get("QUICK", "") not in ("", "0"),
        help="everything smaller, within ten minutes (or QUICK=1)",
    )  # fmt: skip
    return parser.parse_args()


def _measure(scale: Scale, found: figures.Figures, out: Console) -> None:
    """Every part that has no figures yet."""
    todo = parts(scale)
    with _progress(out, len(todo)) as (tell, advance):
        for part in (each for each in todo if found.has(each.name)):
            out.print(f"{part.name}: measured before")
            advance()
        missing = [part for part in todo if not found.has(part.name)]
        for (database, ground), of_one in groupby(missing, key=lambda part: (part.database, _ground(part))):
            tell(f"starting everybody on {database}")
            names = () if ground == GROWTH else FIELD[database]
            with opened(database, names) as field:
                for part in of_one:
                    begun = time.monotonic()
                    found.keep(part.name, _figures(field, part, scale, found, tell))
                    out.print(f"{part.name}: {time.monotonic() - begun:.0f} s")
                    advance()


def _ground(part: Part) -> str:
    """Rates are measured on one field; a crash, and growth, each on one of its own."""
    return part.kind if part.kind in (CRASH, GROWTH) else THROUGHPUT


def _figures(field: Field, part: Part, scale: Scale, found: figures.Figures, tell: Tell) -> dict[str, Any]:
    if part.kind == LATENCY:
        before = found.read(Part(THROUGHPUT, part.database, part.delay).name)
        return latency(field, part, scale, tell, capacities(before["rounds"]))
    measured = {THROUGHPUT: throughput, CRASH: crash, GROWTH: growth}[part.kind]
    return measured(field, part, scale, tell)


@contextmanager
def _progress(out: Console, total: int) -> Iterator[tuple[Tell, Any]]:
    """Two functions: one says what is done now, the other that a part is finished."""
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=out, transient=True) as shown:
        task = shown.add_task("", total=total)
        yield lambda what: shown.update(task, description=what), lambda: shown.advance(task)


if __name__ == "__main__":
    sys.exit(main())
