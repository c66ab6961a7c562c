"""Many seeds, side by side; what failed, told so that it can be seen again."""

from __future__ import annotations

import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty
from typing import Any

from tests.memory import memory
from tests.simulation.planted_bugs import OWN
from tests.simulation.platform import LEAST_STEPS, LEAST_TRANSFERS
from tests.simulation.shrink import shrunk
from tests.simulation.story import Outcome, Stage, Story
from tests.simulation.twins import differing
from tests.simulation.usual import Tally

ROOT = Path(__file__).parents[2]
PLAYED_TWICE = 100
"""One seed in so many is played a second time, as the first story of a process, and the same must happen."""

SHOWN_FAILURES = 3
NAMED = re.compile(rf"FAILED seed \d+: I\S+: {OWN}")
"""How a failure begins by which the oracle names an invariant, also one of twin stories."""


@contextmanager
def stage() -> Iterator[Stage]:
    """A stage in a folder of its own, in memory where the machine has such a place."""
    with tempfile.TemporaryDirectory(prefix="simulation-", dir=memory()) as folder:
        yield Stage(Path(folder))


def seed_of_the_commit() -> int:
    """Another beginning for every commit, so that every build sees seeds that nobody has seen."""
    asked = ("git", "rev-parse", "HEAD")
    told = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    return int(told[:10] or "1", 16)


def replay(seed: int, kept: str | None, *, telling: bool) -> int:
    """One seed again; its story, if that is wanted."""
    with stage() as scene:
        story = Story(scene, seed, None if kept is None else kept.split(","))
        outcome = story.run(telling=telling)
        failure = _failure(scene, outcome, shrink=False) if kept is None else _broken(outcome)
    if telling:
        sys.stdout.write("\n".join(story.lines) + "\n")
    if failure:
        sys.stdout.write(failure + "\n")
    _close(1, outcome.steps, len(failure) > 0, outcome.seconds)
    return 1 if failure else 0


@dataclass(frozen=True)
class Extent:
    """How far a campaign goes: from which seed, over how many, for how long (minutes), in how many processes; whether
    it ends with the first failure that names an invariant, and whether failures are shrunk."""

    first: int
    seeds: int | None = None
    minutes: float | None = None
    workers: int = 1
    stop: bool = False
    shrink: bool = True


def run(extent: Extent) -> int:
    """New seeds until so many are told or the time is over; the exit code."""
    began = time.monotonic()
    ends = None if extent.minutes is None else began + extent.minutes * 60
    tally, failures, steps, least = Tally(), 0, 0, (10**9, 10**9)
    with stage() as untouched:
        for told in _side_by_side(extent, ends):
            tally.add(told["counts"])
            steps += told["steps"]
            least = min(least[0], told["steps"]), min(least[1], told["transfers"])
            if failure := told["failure"] or _differently(untouched, told["seed"], told["hash"]):
                failures += 1
                named = bool(NAMED.match(failure))
                if failures <= SHOWN_FAILURES or (extent.stop and named):
                    sys.stdout.write(failure + "\n")
                    sys.stdout.flush()
                if extent.stop and named:
                    break
    sys.stdout.write("\n".join(tally.lines()) + "\n")
    sys.stdout.write(f"least steps of a seed: {least[0]}, least transfers: {least[1]}\n")
    _close(tally.seeds, steps, failures, time.monotonic() - began)
    return 1 if failures or tally.missing() or not tally.seeds or tally.seeds < (extent.seeds or 0) else 0


def _side_by_side(extent: Extent, ends: float | None) -> Iterator[dict[str, Any]]:
    context = multiprocessing.get_context("fork")
    results: Any = context.Queue()
    parts = [
        context.Process(target=_work, args=(extent, number, ends, results), daemon=True)
        for number in range(extent.workers)
    ]
    for part in parts:
        part.start()
    try:
        while any(part.is_alive() for part in parts) or not results.empty():
            try:
                told = results.get(timeout=0.2)
            except Empty:
                if any(part.exitcode not in (None, 0) for part in parts):
                    raise RuntimeError("a worker of the simulation ended with an error") from None
                continue
            yield told
    finally:
        for part in parts:
            part.terminate()


def _work(extent: Extent, number: int, ends: float | None, results: Any) -> None:
    """Every so-manieth seed, as there are processes."""
    parent = os.getppid()
    with stage() as scene:
        while (extent.seeds is None or number < extent.seeds) and (ends is None or time.monotonic() < ends):
            if os.getppid() != parent:
                return  # nobody listens any more
            outcome = _played(scene, extent.first + number)
            failure = _failure(scene, outcome, shrink=extent.shrink)
            told = {"steps": outcome.steps, "transfers": outcome.transfers, "counts": outcome.counts}
            results.put({**told, "seed": outcome.seed, "hash": outcome.hash, "failure": failure})
            number += extent.workers
        results.close()
        results.join_thread()


def _played(scene: Stage, seed: int) -> Outcome:
    """One story; an error that escapes from it ends the worker, and says whose it is."""
    try:
        return Story(scene, seed).run()
    except Exception as error:
        error.add_note(f"while seed {seed} was told")
        raise


def _failure(scene: Stage, outcome: Outcome, *, shrink: bool) -> str:
    """What is wrong with a seed, in the words that are shown; empty if nothing is."""
    if outcome.violations and shrink:
        return _told(outcome, shrunk(scene, outcome))
    if broken := _broken(outcome):
        return broken
    if told := differing(scene, outcome.seed):
        return f"FAILED seed {outcome.seed}: {told}"
    if outcome.steps < LEAST_STEPS or outcome.transfers < LEAST_TRANSFERS:
        return f"FAILED seed {outcome.seed}: only {outcome.steps} steps and {outcome.transfers} transfers"
    return ""


def _differently(untouched: Stage, seed: int, known: str) -> str:
    """What is wrong with a seed that is another story where none was told before it, as a person replays it."""
    if seed % PLAYED_TWICE:
        return ""
    context = multiprocessing.get_context("fork")
    ear, mouth = context.Pipe(duplex=False)
    part = context.Process(target=lambda: mouth.send(Story(untouched, seed).run().hash), daemon=True)
    part.start()
    mouth.close()  # with the process its only end is gone, and one that says nothing is noticed
    try:
        again = str(ear.recv())
    except EOFError:
        again = "an error"
    part.join()
    return "" if again == known else f"FAILED seed {seed}: played twice, it was another story ({known}, {again})"


def _told(outcome: Outcome, decisions: list[str]) -> str:
    lines = [f"FAILED seed {outcome.seed}: {outcome.violations[0]}"]
    lines.append(f"  again: python -m bridge simulate --seed {outcome.seed} --trace")
    if decisions:
        lines.append(f"  shrunk to {len(decisions)} of {len(outcome.tape)} decisions: --kept '{','.join(decisions)}'")
    return "\n".join(lines)


def _broken(outcome: Outcome) -> str:
    if outcome.violations:
        return _told(outcome, [])
    return f"FAILED seed {outcome.seed}: an error of our own, {outcome.errors[0]}" if outcome.errors else ""


def _close(seeds: int, steps: int, failing: int, seconds: float) -> None:
    per_minute = seeds / seconds * 60 if seconds else 0
    sys.stdout.write(f"seeds={seeds} steps={steps} failing={failing:d} seeds_per_minute={per_minute:.0f}\n")
