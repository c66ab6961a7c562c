"""`python -m tests.simulation --orderings`: every ordering of what can happen around one transfer, not a sample.

For each shape (`shapes.py`) all that can happen (`events.py`) is followed breadth first (`search.py`): the real
transfer service runs over a real database (`stand.py`, `calls.py`) before a provider that keeps its contract
(`truth_one.py`, `truth_two.py`); after each event everything is judged (`judge.py`). A state is followed once: what
two states may differ in and still be the same is said in `rows.py` and `sameness.py`. From the states of the last
level, or every so many-th of them, all goes well from then on, and has to end as it is at the provider.

Not in here: lies of a provider, clocks that are set, failed commits other than by a crash around them, the bytes and
the gate of the socket (`bridge/outbound.py`), two transfers beside each other, a callback together with the client's
wish to cancel, a callback that is stored and acted on later at a provider that accepts first (the families of events of
`shapes.py` are searched apart), an answer to a money request that counts from before a worker stood still with it.
Those are the simulation's.

The last line is for scripts: `shapes=… states=… edges=… depth=… frontier=… violations=…`. `depth` is the least that a
search has completed, `frontier` what lies ahead of them all. Exit code 0: nothing was violated, and at least
STATES_AT_LEAST states were seen, or nothing lies ahead.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Callable

from tests.simulation.orderings import shapes
from tests.simulation.orderings.search import Found, Violation, searching
from tests.simulation.orderings.shapes import SHAPES, Shape
from tests.simulation.orderings.stand import schema

DEPTH = 10
STATES_AT_LEAST = 100_000
MINUTES_AT_MOST = 13.0
"""A machine that is too slow for all ends its levels at this time, each shape at its turn of it, and says how deep
it came."""

REPLAY = "python -m tests.simulation --orderings --path"


def run(depth: int = DEPTH, workers: int = 2, wanted: tuple[Shape, ...] = SHAPES) -> int:
    """Search every shape, print what was found and the closing line; the exit code."""
    began, database = time.monotonic(), schema()
    tasks = [(shape, depth, began + MINUTES_AT_MOST * 60 * shape.until, database) for shape in wanted]
    found: list[Found] = []
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for shape, each in zip(wanted, pool.imap(_search, tasks, chunksize=1), strict=True):
            found.append(each)
            print(f"{shape}: {_line(1, [each])} calls={each.calls} ended={each.lives} "
                  f"after {time.monotonic() - began:.0f} s", flush=True)  # fmt: skip
    for each in found:
        for violation in each.violations:
            tell(violation)
    print(_line(len(wanted), found))
    return verdict(found, depth)


def verdict(found: list[Found], depth: int) -> int:
    """The exit code: 0 only if nothing was violated and each shape was seen as deep as was wanted, or to its end."""
    open_ones = [each for each in found if each.frontier]
    enough = not open_ones or sum(each.states for each in found) >= STATES_AT_LEAST
    deep = all(each.depth >= depth for each in open_ones)
    return 0 if enough and deep and not any(each.violations for each in found) else 1


def _search(task: tuple[Shape, int, float, bytes]) -> Found:
    shape, depth, end, database = task
    with searching(shape, database) as search:
        return search.run(depth, end, lambda line: print(f"  {line}", file=sys.stderr, flush=True))


def _line(count: int, found: list[Found]) -> str:
    return (
        f"shapes={count} states={sum(each.states for each in found)} edges={sum(each.edges for each in found)} "
        f"depth={min(each.depth for each in found)} frontier={sum(each.frontier for each in found)} "
        f"violations={sum(len(each.violations) for each in found)}"
    )


def tell(violation: Violation, write: Callable[[str], None] = print) -> None:
    """The shortest way to a violation, readably, and how to go it again."""
    write(f"\nVIOLATION in {violation.shape}: {violation.sentence}")
    for number, label in enumerate(violation.path, 1):
        write(f"  {number:2}. {label}")
    write(f"  again: {REPLAY} '{violation.shape}: {'; '.join(violation.path)}'\n")


def replay(path: str) -> int:
    """Go one path again and tell what is true after each event; the exit code is 0 if nothing was wrong."""
    name, _, events = path.partition(":")
    failed = 0
    with searching(shapes.named(name.strip())) as search:
        for number, (step, wrong) in enumerate(search.replay([each.strip() for each in events.split(";")]), 1):
            print(f"{number:2}. {step.label}")
            for line in search.described(step.state):
                print(f"      {line}")
            if wrong:
                failed += 1
                print(f"      WRONG: {wrong}")
    return 1 if failed else 0
