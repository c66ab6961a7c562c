"""Which planted bugs do the tests let pass? Those are the simulation's own to find.

They are planted in a clone, as many together as fit, and `make test` is run there without the simulation's own seeds.
For every test that fails, the bug that it catches is searched by halves and taken out, until all tests pass. What is
left then has been let pass by every one of them. Takes long: a command of its own, whose verdicts are kept in
`against_tests.txt`, each with the commit at which it was asked; asked for some bugs, it writes anew only theirs.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.simulation.planted_bugs import ROOT, chosen

RECORD = Path(__file__).with_suffix(".txt")
OWN_SEEDS = "tests/simulation/test_simulation.py"
FITS = ("test_a_planted_bug_still_fits", "test_planted_bug_is_found")
"""Tests that ask whether a planted bug still fits its place: any change of that place fails them."""

STAGES = (("tests/providers", "tests/test_webhooks.py"), ("tests/transfers",), ("tests",))
"""Where most bugs are caught soon comes first; the last stage is everything."""

FAILURES_AT_ONCE = 20
UNEXPLAINED_AT_MOST, TRIES_ALONE = 2, 3
"""A test of many threads fails by chance: a bug is caught if one of so many runs with it alone fails, and a stage is
run again so often where no bug is."""

PASSED, SOME_FAILED = 0, 1


def run(named: str) -> int:
    """Plant every bug whose name holds `named`; the exit code is 0 where each is either caught or let pass."""
    waiting = chosen(named)
    planted, green = len(waiting), 0
    while waiting:
        group, waiting = _fitting(waiting)
        left = _let_pass(group)
        if left is None:
            return 1
        keep({patch.stem: "green" for patch in left})
        green += len(left)
        for patch in left:
            _tell(f"  green    {patch.stem}")
    _tell(f"planted={planted} green={green}")
    return 0 if planted else 1


def keep(verdicts: Mapping[str, str], record: Path = RECORD) -> None:
    """Write down what became of these bugs, beside what is known of the others that are still planted."""
    lines = record.read_text(encoding="utf-8").splitlines() if record.exists() else []
    known = {line.partition(":")[0]: line for line in lines}
    commit = _run(ROOT, "git", "rev-parse", "--short", "HEAD").stdout.strip()
    known |= {name: f"{name}: {verdict}, {commit}" for name, verdict in verdicts.items()}
    planted = sorted({patch.stem for patch in chosen("")} & known.keys())
    record.write_text("".join(f"{known[name]}\n" for name in planted), encoding="utf-8")


def _let_pass(group: list[Path]) -> list[Path] | None:
    """Those of a group that no test catches; None where a failure is nobody's. The others are written down at once."""
    stages, unexplained = list(STAGES), 0
    while group and stages:
        status, failed = _tested(group, *_whole(stages[0]))
        if status == PASSED:
            stages.pop(0)
            continue
        before = len(group)
        for test in failed:
            for culprit in _culprits(test, group):
                keep({culprit.stem: f"caught by {test}"})
                group = [patch for patch in group if patch != culprit]
        unexplained += len(group) == before
        if unexplained > UNEXPLAINED_AT_MOST:
            _tell(f"?? pytest ended with {status}, and no planted bug alone is why: {failed}")
            return None
    return group


def _culprits(test: str, group: Sequence[Path]) -> Iterator[Path]:
    """The bugs that a test catches, one by one: the last of the fewest with which it fails."""
    left = list(group)
    while left and _tested(left, test)[0] == SOME_FAILED:
        passes, fails = 0, len(left)
        while fails - passes > 1:
            middle = (passes + fails) // 2
            passes, fails = (passes, middle) if _tested(left[:middle], test)[0] == SOME_FAILED else (middle, fails)
        culprit = left.pop(fails - 1)
        if all(_tested([culprit], test)[0] != SOME_FAILED for _ in range(TRIES_ALONE)):
            return  # chance, or more than one bug together
        _tell(f"  caught   {culprit.stem}: {test}")
        yield culprit


def _whole(stage: Sequence[str]) -> tuple[str, ...]:
    """Pytest's options for all tests of a stage."""
    left_out = " and ".join(f"not {name}" for name in FITS)
    return (*stage, "-n", "3", f"--maxfail={FAILURES_AT_ONCE}", "--ignore", OWN_SEEDS, "-k", left_out)


def _tested(group: Sequence[Path], *options: str) -> tuple[int, list[str]]:
    """Pytest's exit code with these bugs planted, and the tests that failed."""
    with _planted(group) as copy:
        status = _run(copy, sys.executable, "-m", "pytest", "-q", *options).returncode
        failures = copy / ".pytest_cache/v/cache/lastfailed"
        return status, sorted(json.loads(failures.read_text())) if failures.exists() else []


def _fitting(patches: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """As many as can be planted together, and the others."""
    group: list[Path] = []
    others: list[Path] = []
    with _planted(()) as copy:
        for patch in patches:
            fits = _run(copy, "git", "apply", "--whitespace=nowarn", str(patch)).returncode == 0
            (group if fits else others).append(patch)
    return group, others


@contextmanager
def _planted(group: Sequence[Path]) -> Iterator[Path]:
    with TemporaryDirectory(prefix="planted-") as folder:
        copy = Path(folder) / "copy"
        _run(Path(folder), "git", "clone", "--quiet", "--shared", str(ROOT), str(copy))
        for patch in group:
            applied = _run(copy, "git", "apply", "--whitespace=nowarn", str(patch))
            assert applied.returncode == 0, applied.stderr
        yield copy


def _run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
