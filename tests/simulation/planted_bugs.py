"""Who tests the simulation? Planted bugs: each a patch of the bridge, applied to a copy; the oracle has to name what
it breaks, within so many seeds, each of which holds without the bug. An exception or a program that does not start is
not a finding.

A patch begins with a line of comment: what a careless hand would have written.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]
PATCHES = Path(__file__).parent / "planted"
COPIED = ("bridge", "statemachines", "jobs", "tests", "pyproject.toml")
SEEDS_AT_MOST = 5000
SECONDS_AT_MOST = 1800
OWN = "(?!verify: |inspect: )"
"""So begins what the bridge finds when it verifies itself (`ending.py`); it is the code that is under test, and what it
says is no finding of the oracle's."""

NAMED = re.compile(rf"^FAILED seed (\d+): (I\S+): {OWN}(.*)$", re.MULTILINE)
VERIFIED = re.compile(r"^FAILED seed \d+: (I\S+): (.*)$", re.MULTILINE)
CLOSING = re.compile(r"^seeds=(\d+) ", re.MULTILINE)


@dataclass(frozen=True)
class Verdict:
    """What became of one planted bug: the invariant that was named after how many seeds; empty where none was.
    `verified`: the bridge itself found something, and the oracle nothing."""

    name: str
    story: str
    invariant: str
    seeds: int
    told: str
    verified: bool = False

    @property
    def outcome(self) -> str:
        """In a word."""
        if self.invariant:
            return f"found by {self.invariant} after {self.seeds}"
        return "only by bridge verify" if self.verified else "MISSED"


def run(first: int, named: str, workers: int) -> int:
    """Plant every bug whose name holds `named`; the exit code."""
    patches, verdicts = chosen(named), []
    with ThreadPoolExecutor(workers) as pool:
        for trial in as_completed([pool.submit(_try, patch, first) for patch in patches]):
            verdict = trial.result()
            sys.stdout.write(f"  {verdict.outcome:<26} {verdict.name}: {verdict.told[:160]}\n")
            sys.stdout.flush()
            verdicts.append(verdict)
    found = [verdict.seeds for verdict in verdicts if verdict.invariant]
    sys.stdout.write(f"{sum(verdict.verified for verdict in verdicts)} found by `bridge verify` alone\n")
    middle, worst = (median(found), max(found)) if found else (0, 0)
    told = f"planted={len(verdicts)} found={len(found)} median_seeds={middle:g} worst_seeds={worst}"
    sys.stdout.write(told + "\n")
    return 0 if verdicts and len(found) == len(verdicts) else 1


def chosen(named: str) -> list[Path]:
    """The bugs whose name holds one of the words between commas; all of them for no word."""
    words = named.split(",")
    return [patch for patch in sorted(PATCHES.glob("*.patch")) if any(word in patch.name for word in words)]


def simulated(patch: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """The simulation with a bug planted, in a copy; raises ValueError where the bug does not fit."""
    with TemporaryDirectory(prefix="planted-") as folder:
        copy = Path(folder) / "copy"
        _copy(copy)
        applied = _run(copy, "git", "apply", "--whitespace=nowarn", str(patch))
        if applied.returncode != 0:
            raise ValueError(f"does not apply: {applied.stderr.strip()}")
        return _run(copy, sys.executable, "-m", "tests.simulation", *options)


def _try(patch: Path, first: int) -> Verdict:
    story = patch.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
    try:
        told = _seeds(patch, first)
    except ValueError as misfit:
        return Verdict(patch.stem, story, "", 0, str(misfit))
    named, closing = NAMED.search(told), CLOSING.search(told)
    if verified := VERIFIED.search(told) if named is None else None:
        return Verdict(patch.stem, story, "", 0, f"{verified[1]}: {verified[2]}", verified=True)
    if named is None or closing is None:
        return Verdict(patch.stem, story, "", 0, told[-300:].replace("\n", " "))
    if _run(ROOT, sys.executable, "-m", "tests.simulation", "--seed", named[1]).returncode != 0:
        return Verdict(patch.stem, story, "", 0, f"seed {named[1]} fails without it too")
    return Verdict(patch.stem, story, named[2], int(closing[1]), f"seed {named[1]}, {named[3]}")


def _seeds(patch: Path, first: int) -> str:
    """What new seeds tell, until the oracle names something."""
    options = ("--seeds", str(SEEDS_AT_MOST), "--first", str(first), "--stop", "--plainly", "--workers", "1")
    try:
        run = simulated(patch, *options)
    except subprocess.TimeoutExpired as late:
        told = late.stdout.decode() if isinstance(late.stdout, bytes) else late.stdout or ""
        return f"{told}not within {SECONDS_AT_MOST} s"
    return run.stdout + run.stderr


def _run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=SECONDS_AT_MOST, env=environment
    )


def _copy(target: Path) -> None:
    target.mkdir()
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target / name)
