"""`python -m tests.proof`: writes docs/proof.md and fails on a gap or on a planted bug that nobody noticed."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.proof.claims import CLAIMS, LATER
from tests.proof.coverage import shown
from tests.proof.planted_bugs import Verdict, try_all

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "proof.md"


def page(by_claim: dict[str, list[str]], verdicts: list[Verdict]) -> str:
    """docs/proof.md."""
    lines = [
        "# What is claimed, and what shows it",
        "",
        "Written by `make proof` from the tests' own docstrings. A claim without a test, or a planted bug that no",
        "test notices, makes the command fail.",
        "",
        "| claim | | shown by |",
        "|---|---|---|",
    ]
    for claim, sentence in CLAIMS.items():
        tests = "<br>".join(f"`{test}`" for test in by_claim.get(claim, []))
        lines.append(f"| {claim} | {sentence} | {tests or LATER.get(claim, '**nothing**')} |")
    lines += ["", "## Planted bugs", "", "| bug | the test that turns red |", "|---|---|"]
    lines += [f"| {v.story} | {f'`{v.red}`' if v.red else '**none**'} |" for v in verdicts]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Print the gaps and the closing line; 0 only when there is no gap and every bug was caught."""
    by_claim = shown(ROOT / "tests")
    uncovered = [claim for claim in CLAIMS if not by_claim.get(claim) and claim not in LATER]
    stale = [claim for claim in LATER if by_claim.get(claim) or claim not in CLAIMS]
    for claim in uncovered:
        print(f"  {claim} has no test: {CLAIMS[claim]}")
    for claim in stale:
        print(f"  {claim} is said to need a later part, but is not an open claim any more")
    verdicts = try_all()
    PAGE.write_text(page(by_claim, verdicts), encoding="utf-8")
    caught = sum(bool(verdict.red) for verdict in verdicts)
    print(f"claims={len(CLAIMS)} uncovered={len(uncovered)} planted={len(verdicts)} caught={caught}")
    return 1 if uncovered or stale or caught < len(verdicts) or len(verdicts) < 40 else 0


if __name__ == "__main__":
    sys.exit(main())
