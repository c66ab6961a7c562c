"""What a campaign makes of its seeds, without telling any: what it misses, how it shrinks, what it keeps."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.simulation import against_tests
from tests.simulation.planted_bugs import chosen
from tests.simulation.shrink import fewest
from tests.simulation.usual import CASES, ENOUGH_FOR_CASES, HAD_TO, KNOWN, RARE_CASES, SEEDS_OF_A_THOUSAND, Tally


def told(seeds: int, *, without: str = "") -> Tally:
    """So many seeds in which everything came that had to, but one thing."""
    return Tally(seeds, met=Counter({*KNOWN, *CASES} - {without}))


@pytest.mark.parametrize("kind", KNOWN)
def test_a_kind_that_is_dead_fails_a_run_in_which_it_had_to_come(kind: str) -> None:
    """As soon as it usually comes in a dozen seeds of so many, and not before; each kind within the build's 2,000."""
    enough = -(-HAD_TO * 1000 // SEEDS_OF_A_THOUSAND[kind])
    assert enough <= 2000
    assert told(enough, without=kind).missing() == [kind]
    assert told(enough - 1, without=kind).missing() == []
    assert f"FAILED {kind} never happened" in told(enough, without=kind).lines()


def test_each_case_of_a_providers_mistakes_has_to_be_shown() -> None:
    """By as many seeds as a build tells; but the few that need two things at once."""
    rare = [case for case, number in CASES.items() if number in RARE_CASES]
    assert len(rare) == 4
    for case in CASES:
        assert told(ENOUGH_FOR_CASES, without=case).missing() == ([] if case in rare else [case])
    assert told(ENOUGH_FOR_CASES - 1, without="generic case 53").missing() == []


def test_a_tally_counts_seeds_and_times() -> None:
    """What comes three times in one seed has come in one."""
    tally = Tally()
    tally.add({"crash": 3, "pause": 0})
    tally.add({"crash": 1})
    assert (tally.seeds, tally.times["crash"], tally.met["crash"], tally.met["pause"]) == (2, 4, 2, 0)


@pytest.mark.parametrize("decisions", [1, 2, 7, 52, 80])
@pytest.mark.parametrize("needed", [1, 2, 6])
def test_shrinking_leaves_what_it_takes(decisions: int, needed: int) -> None:
    """Whatever it takes, in its order, and nothing else; within far fewer stories than are allowed."""
    tape = [f"fault@web#{number}" for number in range(decisions)]
    takes = set(random.Random(f"{decisions}/{needed}").sample(tape, min(needed, decisions)))
    stories: list[Sequence[str]] = []

    def breaks(kept: Sequence[str]) -> bool:
        stories.append(kept)
        return takes <= set(kept)

    assert fewest(tape, breaks, 199) == [decision for decision in tape if decision in takes]
    assert len(stories) < 80


def test_shrinking_ends_by_the_number_of_stories() -> None:
    """After as many as were allowed it gives what it has; no clock is asked."""
    stories: list[Sequence[str]] = []

    def breaks(kept: Sequence[str]) -> bool:
        stories.append(kept)
        return "17" in kept

    left = fewest([str(number) for number in range(64)], breaks, 3)
    assert len(stories) == 3
    assert (len(left), "17" in left) == (16, True)


def test_what_the_tests_let_pass_is_kept(tmp_path: Path) -> None:
    """A second time only what was asked again is written anew, and who is planted no more is left out."""
    record, (one, other) = tmp_path / "kept.txt", [patch.stem for patch in chosen("")[:2]]
    against_tests.keep({one: "green", other: "green", "00_no_such_bug": "green"}, record)
    against_tests.keep({other: "caught by tests/test_money.py::test_a"}, record)
    assert [line.rpartition(", ")[0] for line in record.read_text().splitlines()] == [
        f"{one}: green",
        f"{other}: caught by tests/test_money.py::test_a",
    ]
