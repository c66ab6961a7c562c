"""`python -m tests.chaos`: kills, pauses, crowds and crossings on both databases; ends with one line of counts."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, redirect_stderr
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.chaos import crossing, crowd, kills, pauses, scenes, unasked
from tests.chaos.client import ConnectionDied
from tests.chaos.databases import ENGINES, Fresh, fresh
from tests.chaos.kills import PointNotReached, Tally
from tests.chaos.settings import Contract
from tests.chaos.simulators import DidNotStart
from tests.chaos.station import MAX, Station, Victims

QUICK = {"quick": 1.0}
SLOW = {"slow": 6.0}
DIRECTIONS = ("in", "out")
SIZE = 200
CAMPAIGNS_SIDE_BY_SIDE = 4
CROSSING_SECONDS = 30.0
Say = Callable[[str], None]


@dataclass(frozen=True)
class Campaign:
    """One run on a station of its own, with QTech providers of these expiries and one of our own contract, if any."""

    name: str
    run: Callable[[Station], Tally]
    expiries: Mapping[str, float] = field(default_factory=dict)
    contract: Contract | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 when nothing was wrong and nothing doubled."""
    wanted = _wanted(arguments)
    engines = ENGINES if wanted.database is None else (wanted.database,)
    folder, say = Path(tempfile.mkdtemp(prefix="bridge-chaos-")), _voice()
    with ExitStack() as stack:
        # What the bridge logs in this process, as the parties of a campaign that are no process of their own.
        stack.enter_context(redirect_stderr(stack.enter_context((folder / "chaos.log").open("a", encoding="utf-8"))))
        victims = stack.enter_context(Victims(folder))
        databases = {engine: stack.enter_context(fresh(engine, folder)) for engine in engines}
        tally = _points(folder, victims, databases, wanted.only, say)
        rounds = crowd.Rounds()
        for engine in () if wanted.points_only else engines:
            name = f"{engine}-crossing"
            url = databases[engine](name.replace("-", "_"))
            with Station(name, folder / name, url, victims, crossing.EXPIRIES, crossing.CONTRACT) as station:
                tally.wrong += _wrong_crossing(crossing.run(station, CROSSING_SECONDS, say), name)
            name = f"{engine}-crowd"
            with Station(name, folder / name, databases[engine](f"{engine}_crowd"), victims, {"slow": 10.0}) as station:
                rounds.add(crowd.run(station, wanted.rounds, SIZE, say))
    # One campaign alone may have reason to reach one end only.
    return _report(folder, tally, rounds, both_ends=not wanted.only)


def _wrong_crossing(found: crossing.Crossing, name: str) -> list[str]:
    deadlocks = [f"{name}: {found.deadlocks} deadlocks"] if found.deadlocks else []
    return [*deadlocks, *(f"{name}: {sentence}" for sentence in found.wrong)]


def _wanted(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--points-only", action="store_true", help="no crossing, no crowds")
    parser.add_argument("--rounds", type=int, default=50, help="rounds of one key 200 times, for each database (50)")
    parser.add_argument("--only", default="", help="only campaigns whose name holds this, for one that went wrong")
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
    contract = Contract()
    yield Campaign("letters", partial(unasked.run, directions=DIRECTIONS, say=say), contract=unasked.CONTRACT)
    for direction in DIRECTIONS:
        run = partial(kills.jobs, direction=direction, scenes=scenes.OF_THE_CONTRACT, say=say)
        yield Campaign(f"signed-jobs-{direction}", run, contract=contract)
        run = partial(kills.jobs, direction=direction, scenes=scenes.OF_QTECH, say=say)
        yield Campaign(f"jobs-{direction}", run, QUICK)
    sweeps = partial(kills.jobs, direction=MAX, scenes=[scenes.QUEUED], say=say)
    yield Campaign("signed-jobs-max", sweeps, contract=contract)
    yield Campaign("signed-cancels", partial(kills.cancels, directions=DIRECTIONS, say=say), contract=contract)
    yield Campaign("restart", partial(kills.restart, directions=DIRECTIONS, say=say), QUICK)
    yield Campaign("takeover", partial(kills.takeover, directions=DIRECTIONS, say=say), SLOW)
    yield Campaign("signed-restart", partial(kills.restart, directions=DIRECTIONS, say=say), contract=contract)
    # A sweep out of a game rests between its tries: somebody has to be there who goes on.
    every = (*DIRECTIONS, MAX)
    yield Campaign("signed-takeover", partial(kills.takeover, directions=every, say=say), contract=Contract(money=4))
    yield Campaign("pause", partial(pauses.run, directions=DIRECTIONS, say=say), QUICK | SLOW)
    yield Campaign("signed-pause", partial(pauses.run, directions=DIRECTIONS, say=say), contract=contract)


def _points(folder: Path, victims: Victims, databases: Mapping[str, Fresh], only: str, say: Say) -> Tally:
    """Every campaign whose name holds `only` on every database, a few side by side."""

    def one(engine: str, campaign: Campaign) -> Tally:
        name = f"{engine}-{campaign.name}"
        url = databases[engine](name.replace("-", "_"))
        try:
            with Station(name, folder / name, url, victims, campaign.expiries, campaign.contract) as station:
                return campaign.run(station)
        except (DidNotStart, PointNotReached, ConnectionDied) as trouble:
            say(f"{name} was given up: {trouble}")
            return Tally(wrong=[f"{name} was given up: {trouble}"])

    total = Tally()
    # By turns, so that the long ones of every database begin first.
    plan = [(engine, each) for each in _campaigns(say) if only in each.name for engine in databases]
    with ThreadPoolExecutor(CAMPAIGNS_SIDE_BY_SIDE) as pool:
        for tally in pool.map(lambda each: one(*each), plan):
            total.add(tally)
    return total


def _report(folder: Path, tally: Tally, rounds: crowd.Rounds, both_ends: bool) -> int:
    wrong = tally.wrong + rounds.wrong
    if both_ends and not (tally.ends["confirmed"] and tally.ends["reversed"]):
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
