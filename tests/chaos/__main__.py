"""`python -m tests.chaos`: kill points, pauses and crowds on both databases; ends with one line of counts."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from tests.chaos import crowd, kills, pauses
from tests.chaos.client import ConnectionDied
from tests.chaos.databases import ENGINES, Fresh, fresh
from tests.chaos.kills import PointNotReached, Scene, Tally
from tests.chaos.simulators import DidNotStart
from tests.chaos.station import Station, Victims

QUICK = {"quick": 1.0}
SLOW = {"slow": 6.0}
DIRECTIONS = ("in", "out")
SIZE = 200
CAMPAIGNS_SIDE_BY_SIDE = 4
Say = Callable[[str], None]
Campaign = tuple[str, Mapping[str, float], Callable[[Station], Tally]]


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 when nothing was wrong and nothing doubled."""
    wanted = _wanted(arguments)
    engines = ENGINES if wanted.database is None else (wanted.database,)
    folder, say = Path(tempfile.mkdtemp(prefix="bridge-chaos-")), _voice()
    with ExitStack() as stack:
        victims = stack.enter_context(Victims(folder))
        databases = {engine: stack.enter_context(fresh(engine, folder)) for engine in engines}
        tally = _points(folder, victims, databases, say)
        rounds = crowd.Rounds()
        for engine in () if wanted.points_only else engines:
            name = f"{engine}-crowd"
            with Station(name, folder / name, databases[engine](f"{engine}_crowd"), victims, {"slow": 10.0}) as station:
                rounds.add(crowd.run(station, wanted.rounds, SIZE, say))
    return _report(folder, tally, rounds)


def _wanted(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--points-only", action="store_true", help="no crowds")
    parser.add_argument("--rounds", type=int, default=50, help="rounds of one key 200 times, for each database (50)")
    parser.add_argument("--database", choices=ENGINES, help="only this one (default: both)")
    return parser.parse_args(arguments)


def _voice() -> Say:
    began, lock = time.monotonic(), threading.Lock()

    def say(sentence: str) -> None:
        with lock:
            print(f"[{time.monotonic() - began:6.1f} s] {sentence}", flush=True)

    return say


def _campaigns(say: Say) -> Iterator[Campaign]:
    """For one database; those that take longest come first."""
    for direction in DIRECTIONS:
        yield f"jobs-{direction}", QUICK, partial(kills.jobs, direction=direction, scenes=list(Scene), say=say)
    yield "restart", QUICK, partial(kills.restart, directions=DIRECTIONS, say=say)
    yield "takeover", SLOW, partial(kills.takeover, directions=DIRECTIONS, say=say)
    yield "pause", QUICK | SLOW, partial(pauses.run, directions=DIRECTIONS, say=say)


def _points(folder: Path, victims: Victims, databases: Mapping[str, Fresh], say: Say) -> Tally:
    """Every campaign on every database, a few side by side."""

    def one(engine: str, campaign: Campaign) -> Tally:
        name, expiries, run = campaign
        url = databases[engine](f"{engine}_{name}".replace("-", "_"))
        try:
            with Station(f"{engine}-{name}", folder / f"{engine}-{name}", url, victims, expiries) as station:
                return run(station)
        except (DidNotStart, PointNotReached, ConnectionDied) as trouble:
            say(f"{engine}-{name} was given up: {trouble}")
            return Tally(wrong=[f"{engine}-{name} was given up: {trouble}"])

    total = Tally()
    # By turns, so that the long ones of every database begin first.
    plan = [(engine, campaign) for campaign in _campaigns(say) for engine in databases]
    with ThreadPoolExecutor(CAMPAIGNS_SIDE_BY_SIDE) as pool:
        for tally in pool.map(lambda each: one(*each), plan):
            total.add(tally)
    return total


def _report(folder: Path, tally: Tally, rounds: crowd.Rounds) -> int:
    wrong = tally.wrong + rounds.wrong
    if not tally.ends["confirmed"] or not tally.ends["reversed"]:
        wrong.append(f"the kills do not reach both ends: {dict(tally.ends)}")
    print("after the kills and pauses: " + ", ".join(f"{n} {state}" for state, n in sorted(tally.ends.items())))
    print("answers to the crowds: " + ", ".join(f"{n} × {said}" for said, n in sorted(rounds.answers.items())))
    for sentence in wrong:
        print(f"WRONG: {sentence}")
    if wrong or rounds.doubled:
        print(f"ledgers, databases, logs and diaries are kept in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"points={tally.points} wrong={len(wrong)} rounds={rounds.rounds} doubled={rounds.doubled}")
    return 1 if wrong or rounds.doubled else 0


if __name__ == "__main__":
    sys.exit(main())
