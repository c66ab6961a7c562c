"""The bugs that `make proof` and `bridge simulate --planted` plant: each still fits its place, and is a program."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.proof import planted_bugs as proof
from tests.simulation import planted_bugs as simulation

ROOT = Path(__file__).parents[1]
PLANTED = sorted([*proof.PATCHES.glob("*.patch"), *simulation.PATCHES.glob("*.patch")])


def run(folder: Path, *command: str) -> str:
    """What a command printed; it has to succeed."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("patch", PLANTED, ids=lambda patch: f"{patch.parts[-3]}-{patch.stem}")
def test_a_planted_bug_still_fits(patch: Path, tmp_path: Path) -> None:
    """One whose place has changed would plant nothing; one that names what is not there would be caught by whatever
    test runs first, and nothing would be shown."""
    apply = ("git", "apply", "--whitespace=nowarn", str(patch))
    for line in run(ROOT, *apply, "--numstat").splitlines():
        path = line.split("\t")[2]
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    run(tmp_path, *apply)
    run(tmp_path, sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821,F822,F823", ".")
