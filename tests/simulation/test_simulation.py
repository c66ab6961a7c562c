"""The simulation itself: a few seeds, the seeds that once failed, and that a story is the same story again.

Each runs as a process of its own, for the simulation rules over the clock, the ids and the chance of its process.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.planted_bugs import NAMED, PATCHES, ROOT, VERIFIED

REGRESSIONS = Path(__file__).with_name("regressions.txt")
CLOSING = re.compile(r"^seeds=(\d+) steps=(\d+) failing=(\d+) seeds_per_minute=(\d+)$")

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


def once_failed() -> list[int]:
    """The seeds that have found a bug of ours."""
    lines = (line.partition("#")[0].strip() for line in REGRESSIONS.read_text(encoding="utf-8").splitlines())
    return [int(line) for line in lines if line]


def test_new_seeds_hold() -> None:
    """I1 to I9 of the simulation over a few seeds of this commit, each of at least 100 steps."""
    run = simulate("--seeds", "4", "--workers", "1")
    seeds, steps, failing = closing(run)
    assert (run.returncode, seeds, failing) == (0, 4, 0), run.stdout
    assert steps >= 400


@pytest.mark.parametrize("seed", once_failed())
def test_a_seed_that_once_failed_holds(seed: int) -> None:
    """Every seed that found a bug of ours stays here."""
    run = simulate("--seed", str(seed))
    assert (run.returncode, closing(run)[2]) == (0, 0), run.stdout


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


@pytest.mark.parametrize("patch", sorted(PATCHES.glob("*.patch")), ids=lambda patch: patch.stem)
def test_a_planted_bug_still_fits(patch: Path) -> None:
    """A patch that does not apply any more would plant nothing."""
    command = ["git", "apply", "--check", "--whitespace=nowarn", str(patch)]
    fits = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert fits.returncode == 0, fits.stderr


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
