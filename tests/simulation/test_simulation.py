"""The simulation itself: a few seeds, the seeds that once failed, and that a story is the same story again.

Each runs as a process of its own, for the simulation rules over the clock, the ids and the chance of its process.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.simulation.planted_bugs import NAMED, PATCHES, ROOT, VERIFIED, simulated

REGRESSIONS = Path(__file__).with_name("regressions.txt")
CLOSING = re.compile(r"^seeds=(\d+) steps=(\d+) failing=(\d+) seeds_per_minute=(\d+)$")

SHRUNK, SHRUNK_SEED, FEW = "34_lease_released_when_it_is_sent", "1", 3

pytestmark = pytest.mark.timeout(600)


def simulate(*options: str, door: str = "bridge simulate") -> subprocess.CompletedProcess[str]:
    """The command as a person types it."""
    command = [sys.executable, "-m", *door.split(" "), *options]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONHASHSEED"}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)


def closing(run: subprocess.CompletedProcess[str]) -> tuple[int, int, int]:
    """(seeds, steps, failing) of the last line."""
    told = CLOSING.match(run.stdout.splitlines()[-1])
    assert told is not None, run.stdout + run.stderr
    return int(told[1]), int(told[2]), int(told[3])


def once_failed() -> list[tuple[int, str]]:
    """The seeds by which a bug of ours is found, and the patch that brings it back."""
    lines = (line.partition("#")[0].split() for line in REGRESSIONS.read_text(encoding="utf-8").splitlines())
    return [(int(line[0]), line[1]) for line in lines if line]


def test_new_seeds_hold() -> None:
    """I1 to I9 of the simulation over a few seeds of this commit, each of at least 100 steps."""
    run = simulate("--seeds", "4", "--workers", "1")
    seeds, steps, failing = closing(run)
    assert (run.returncode, seeds, failing) == (0, 4, 0), run.stdout
    assert steps >= 400


@pytest.mark.parametrize(("seed", "bug"), once_failed())
def test_a_seed_that_is_kept_fails_with_its_bug_alone(seed: int, bug: str) -> None:
    """A bug of ours stays mended, and the seed still comes to where it was: with the bug planted again, the oracle
    names an invariant. Where it does not any more, `simulate --planted --bug` names another seed."""
    holds = simulate("--seed", str(seed))
    assert (holds.returncode, closing(holds)[2]) == (0, 0), holds.stdout
    fails = simulated(PATCHES / f"{bug}.patch", "--seed", str(seed))
    named = NAMED.search(fails.stdout)
    assert named is not None, f"seed {seed} tells another story by now: {fails.stdout}{fails.stderr}"
    assert (fails.returncode, int(named[1])) == (1, seed)


def test_one_seed_is_one_story() -> None:
    """The same seed, twice, in two processes: the same things happen at the same instants."""
    first, second = (simulate("--seed", "31", "--trace").stdout.splitlines()[:-1] for _ in range(2))
    assert len(first) > 100
    assert first == second


def test_a_story_can_be_told_without_some_of_its_faults() -> None:
    """The decisions that are kept happen, and no other: without any there is no client and no fault."""
    run = simulate("--seed", "31", "--trace", "--kept", "wish@1#0,wish@2#0")
    clients = [line for line in run.stdout.splitlines() if " client POST" in line]
    assert {line.split(" ")[4] for line in clients} == {"wish-1", "wish-2"}
    assert " fault " not in run.stdout


def test_the_oracle_names_what_a_planted_bug_breaks() -> None:
    """Found means: an invariant, by name, and how many seeds that took."""
    run = simulate("--planted", "--bug", "01_generic_timeout", "--first", "1", "--workers", "1")
    named = r"found by I(5|-13) after \d+ +01_generic_timeout_is_a_refusal"
    assert re.search(named, run.stdout), run.stdout + run.stderr
    assert re.match(r"planted=1 found=1 median_seeds=\d+ worst_seeds=\d+$", run.stdout.splitlines()[-1])


@pytest.mark.parametrize("word", ["verify", "inspect"])
def test_what_the_bridge_finds_of_itself_is_not_the_oracles(word: str) -> None:
    """It is the code under test; a bug that only it has found is told as such."""
    told = f"FAILED seed 7: I-12: {word}: What ended references proof of its end. []"
    assert NAMED.search(told) is None
    assert VERIFIED.search(told) is not None
    assert NAMED.search("FAILED seed 7: I-12: tr_1 is confirmed, and beta has not said that it did just that")


def test_what_fails_is_shrunk_to_the_same_few_however_busy_the_machine_is() -> None:
    """Two at once, each of which is the other's load; what is left of a story's decisions still breaks it."""
    bug, options = PATCHES / f"{SHRUNK}.patch", ("--seeds", "1", "--workers", "1", "--first", SHRUNK_SEED)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: simulated(bug, *options).stdout.splitlines()[:3], range(2))
    assert first == second
    told = re.search(r"shrunk to (\d+) of (\d+) decisions: --kept '(.*)'", "\n".join(first))
    assert told is not None, first
    assert int(told[1]) <= FEW
    assert int(told[2]) > 5 * FEW
    assert NAMED.search(simulated(bug, "--seed", SHRUNK_SEED, "--kept", told[3]).stdout)


def test_a_bug_that_does_not_start_is_not_found(tmp_path: Path) -> None:
    """A program that ends with an error has found nothing."""
    run = simulate("--planted", "--bug", "there is no such bug")
    assert run.returncode == 1
    assert run.stdout.splitlines()[-1] == "planted=0 found=0 median_seeds=0 worst_seeds=0"


def test_a_wrong_option_is_told() -> None:
    """The command hands its options on, and their errors back."""
    run = simulate("--seeds", "many")
    assert run.returncode == 2
    assert "--seeds" in run.stderr
