"""The proof page in short: every claim has its tests and the planted bugs still fit; `make proof` runs them."""

from __future__ import annotations

from tests.proof.claims import CLAIMS, LATER
from tests.proof.coverage import named, shown
from tests.proof.planted_bugs import ROOT

PAGE = ROOT / "docs" / "proof.md"


def test_no_claim_is_without_a_test() -> None:
    """A claim that nothing shows, or that is excused though something shows it, is a lie in docs/proof.md."""
    by_claim = shown(ROOT / "tests")
    assert [claim for claim in CLAIMS if not by_claim.get(claim) and claim not in LATER] == []
    assert [claim for claim in LATER if by_claim.get(claim)] == []


def test_the_page_names_the_tests_that_there_are() -> None:
    """docs/proof.md is what `make proof` writes from today's tests."""
    rows = {line.split(" | ")[0].strip("| "): line for line in PAGE.read_text(encoding="utf-8").splitlines()}
    stale = [
        claim
        for claim, tests in shown(ROOT / "tests").items()
        if claim in CLAIMS and not all(f"`{test}`" in rows[claim] for test in tests)
    ]
    assert stale == [], "run `make proof`"


def test_ranges_and_single_claims_are_read() -> None:
    """A range names every claim between its ends; a number without its letter names none."""
    assert named("I-20 to I-26, C-04; 17") == {f"I-{number}" for number in range(20, 27)} | {"C-04"}
