"""The exhaustive checker in small: every shape to a shallow depth, what its key of states leaves out, its closing line,
and that it finds bugs that are planted. `python -m tests.simulation --orderings` goes deep."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulation.orderings import campaign
from tests.simulation.orderings.account import differences
from tests.simulation.orderings.planted import BUGS, FOUND, FOUND_BY, Bug, planted
from tests.simulation.orderings.search import HONESTLY, Found, Violation, searching
from tests.simulation.orderings.shapes import SHAPES, Shape
from tests.simulation.orderings.stand import schema

ROOT = Path(__file__).parents[2]
CLOSING = re.compile(r"shapes=(\d+) states=(\d+) edges=(\d+) depth=(\d+) frontier=(\d+) violations=(\d+)")

SHALLOW, LIVES = 4, 40
STATES = {"generic": 230, "generic wished": 210, "generic weighed": 340, "generic accepted": 340, "qtech": 450}
"""At least so many different states are reached within SHALLOW events."""


@pytest.fixture(scope="module")
def database() -> Iterator[bytes]:
    """An empty database with today's schema."""
    return schema()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_no_ordering_of_few_events_breaks_anything(shape: Shape, database: bytes) -> None:
    """I-02 I-03 I-10 I-12 I-17 I-30 Whatever happens in whatever order: every rule holds, and it comes to an end."""
    with searching(shape, database) as search:
        found = search.run(SHALLOW, time.monotonic() + 100, lives=LIVES)
    assert found.violations == []
    assert found.depth == SHALLOW
    assert LIVES // 2 < found.lives <= LIVES
    assert found.edges > found.states > STATES[" ".join(filter(None, (shape.protocol, shape.what)))]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_states_that_are_called_the_same_do_the_same(shape: Shape, database: bytes) -> None:
    """What the key of a state leaves out makes no difference: both of a pair lead to the same by the same events."""
    with searching(shape, database) as search:
        pairs, found = differences(search, SHALLOW + (shape.protocol == "qtech"))
    assert found == []
    assert pairs > 0


@pytest.mark.parametrize("bug", BUGS, ids=str)
def test_planted_bug_is_found(bug: Bug, database: bytes) -> None:
    """The checker has teeth: the shortest way to what a bug breaks, and the same way again breaks it again."""
    with planted(bug), searching(bug.shape, database) as search:
        found = search.run(bug.depth, time.monotonic() + 100)
        assert [violation.sentence.split(":")[0] in bug.breaks for violation in found.violations] == [True]
        told = found.violations[0]
        again = [wrong for _, wrong in search.replay(list(told.path)) if wrong]
    assert again == [told.sentence]
    with searching(bug.shape, database) as search:
        assert not any(wrong for _, wrong in search.replay(list(told.path)[:1]))


def test_bug_that_was_found_stays_mended(database: bytes) -> None:
    """I-12 Two workers stand still with "not found" in hand, told before the execution: that is no absence."""
    with planted(FOUND), searching(FOUND.shape, database) as search:
        wrong = [sentence for _, sentence in search.replay(list(FOUND_BY))]
    assert wrong == [None] * 10 + ["truth: reversed, and the effect is in the provider's ledger"]
    with searching(FOUND.shape, database) as search, pytest.raises(ValueError, match="absence counts again"):
        list(search.replay(list(FOUND_BY)))


def test_closing_line_is_for_scripts() -> None:
    """The last line is exact; few states with more ahead are not enough for exit code 0."""
    command = [sys.executable, "-m", "tests.simulation", "--orderings", "--depth", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    closing = CLOSING.fullmatch(done.stdout.splitlines()[-1])
    assert closing, done.stdout + done.stderr
    shapes, states, edges, depth, frontier, violations = map(int, closing.groups())
    assert (shapes, depth, violations, done.returncode) == (len(SHAPES), 2, 0, 1)
    assert edges >= states - len(SHAPES) > frontier > 0


def _reached(states: int, depth: int) -> Found:
    return Found(states=states, frontier=1, depth=depth)


def test_verdict() -> None:
    """Enough states as deep as was wanted, or nothing ahead; and nothing violated."""
    assert campaign.verdict([_reached(60_000, 5), _reached(40_000, 6)], 5) == 0
    assert campaign.verdict([_reached(60_000, 5), _reached(40_000, 4)], 5) == 1
    assert campaign.verdict([_reached(99_999, 5)], 5) == 1
    assert campaign.verdict([Found(states=5, frontier=0)], 5) == 0
    broken = Found(states=200_000, violations=[Violation("generic in", "truth: is otherwise", ("begin",))])
    assert campaign.verdict([broken], 5) == 1


def test_accepted_first_and_called_back_then(database: bytes) -> None:
    """The provider takes its time, and says how it ended while a worker stands still with "in progress"."""
    shape = next(shape for shape in SHAPES if str(shape) == "generic in accepted")
    ends = {}
    for verb in ("confirms", "cancels"):
        kind = "confirmed" if verb == "confirms" else "cancelled"
        path = ["begin", "worker 1 transfer answered, accepts, stands still", f"provider {verb}", f"callback {kind} #2",
                "worker 1 brings in_progress"]  # fmt: skip
        with searching(shape, database) as search:
            steps = list(search.replay(path))
            ends[verb] = search.service.kept[steps[-1][0].state.books].books.state
        assert [wrong for _, wrong in steps] == [None] * len(path)
    assert ends == {"confirms": "confirmed", "cancels": "reversed"}


def test_violation_is_told_with_the_way_to_it() -> None:
    """Readable, and one line goes the same way again."""
    told: list[str] = []
    violation = Violation("generic in", "truth: is otherwise", ("begin", "worker 1 dies", HONESTLY, "goes on"))
    campaign.tell(violation, told.append)
    assert "truth: is otherwise" in told[0]
    assert told[-1].strip() == f"again: {campaign.REPLAY} 'generic in: begin; worker 1 dies; {HONESTLY}; goes on'"


def test_one_path_again(capsys: pytest.CaptureFixture[str]) -> None:
    """A path is told event by event; one that cannot happen says what can."""
    path = f"qtech out: begin; worker 1 prepare answered; worker 1 dies; {HONESTLY}"
    assert campaign.replay(path) == 0
    assert "provider: PENDING" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"cannot happen here; what can: .*worker 1 dies"):
        campaign.replay("qtech out: begin; provider takes back")
