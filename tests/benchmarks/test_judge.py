"""The judgement after a crash: by the provider's books, against what clients were told and the system says."""

from __future__ import annotations

import pytest

from benchmarks.contestants.base import DONE, OPEN, UNDONE
from benchmarks.judge import judge
from benchmarks.wire.order import BROKEN, CONFIRMED

ONCE = [("a", "0.07", 1, 1)]
NEVER: list[tuple[str, str, int, int]] = []


def found(verdict):
    """(lost, doubled, unresolved, sent again)."""
    return verdict.lost, verdict.doubled, verdict.unresolved, verdict.sent_again


@pytest.mark.parametrize(
    ("told", "said", "books", "expected"),
    [
        (CONFIRMED, DONE, ONCE, (0, 0, 0, 0)),
        (BROKEN, DONE, ONCE, (0, 0, 0, 0)),
        (BROKEN, UNDONE, NEVER, (0, 0, 0, 0)),  # it did not take place, and that is what the system says
        (BROKEN, None, NEVER, (0, 0, 0, 0)),  # it never arrived
        (CONFIRMED, DONE, NEVER, (1, 0, 0, 0)),  # told as done, and never executed
        (BROKEN, DONE, NEVER, (1, 0, 0, 0)),  # the same, told by the system alone
        (CONFIRMED, OPEN, NEVER, (1, 0, 1, 0)),
        (BROKEN, UNDONE, ONCE, (1, 0, 0, 0)),  # executed, and denied
        (BROKEN, None, ONCE, (1, 0, 0, 0)),  # executed, and unknown to the system
        (BROKEN, OPEN, ONCE, (0, 0, 1, 0)),
        (BROKEN, OPEN, NEVER, (0, 0, 1, 0)),
        (CONFIRMED, DONE, [("a", "0.07", 1, 1), ("b", "0.07", 1, 1)], (0, 1, 0, 1)),  # under two ids
        (CONFIRMED, DONE, [("a", "0.07", 3, 1)], (0, 0, 0, 1)),  # the provider knew the id again
        (CONFIRMED, DONE, [("a", "0.07", 2, 2)], (0, 1, 0, 1)),
    ],
)
def test_one_transfer(told, said, books, expected):
    """The seventh transfer is the one of seven cents, whatever id it came under."""
    verdict = judge({7: told}, {} if said is None else {7: said}, books)
    assert found(verdict) == expected
    assert verdict.asked_for == 1
    assert verdict.unanswered == (told == BROKEN)


def test_many_are_counted_one_by_one():
    """One lost, one doubled, one unresolved, and one as it should be."""
    books = [("b", "0.02", 1, 1), ("c", "0.02", 1, 1), ("d", "0.03", 1, 1), ("e", "1.04", 1, 1)]
    told = {1: CONFIRMED, 2: CONFIRMED, 3: BROKEN, 104: CONFIRMED}
    verdict = judge(told, {1: DONE, 2: DONE, 3: OPEN, 104: DONE}, books)
    assert found(verdict) == (1, 1, 1, 1)
    assert verdict.executed == 3
