"""Planted bugs: each a patch of one line of the heart, applied to a copy; the test it names must turn red.

A patch begins with two lines of comment: what a careless hand would have written, and the tests to run.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]
PATCHES = Path(__file__).parent / "planted"
COPIED = ("bridge", "statemachines", "jobs", "tests", "docs", "pyproject.toml", "requirements.txt", "wsgi.py")
SECONDS_AT_MOST = 300


@dataclass(frozen=True)
class Verdict:
    """What became of one planted bug: `red` names the first test that turned red, empty if none did."""

    name: str
    story: str
    red: str
    trouble: str = ""


def try_all() -> list[Verdict]:
    """Plant each bug in a copy of its own, two at a time, and run the tests that should catch it."""
    with ThreadPoolExecutor(2) as pool:
        verdicts = []
        for verdict in pool.map(_try, sorted(PATCHES.glob("*.patch"))):
            print(
                f"  {'caught' if verdict.red else 'MISSED'}  {verdict.name}: {verdict.red or verdict.trouble}",
                flush=True,
            )
            verdicts.append(verdict)
    return verdicts


def _try(patch: Path) -> Verdict:
    story, tests = _head(patch)
    with TemporaryDirectory(prefix="planted-") as folder:
        copy = Path(folder) / "copy"
        _copy(copy)
        applied = _run(copy, "git", "apply", "--whitespace=nowarn", str(patch))
        if applied.returncode != 0:
            return Verdict(patch.stem, story, "", f"does not apply: {applied.stderr.strip()}")
        run = _pytest(copy, *tests)
        red = re.search(r"^FAILED (.+?)(?: - .*)?$", run.stdout, re.MULTILINE)
        if run.returncode != 1 or red is None:
            return Verdict(patch.stem, story, "", f"pytest ended with {run.returncode}: {run.stdout[-300:]}")
        _run(copy, "git", "apply", "--reverse", "--whitespace=nowarn", str(patch))
        if _pytest(copy, red[1]).returncode != 0:
            return Verdict(patch.stem, story, "", f"{red[1]} is red without the bug too")
    return Verdict(patch.stem, story, red[1])


def _pytest(folder: Path, *tests: str) -> subprocess.CompletedProcess[str]:
    options = ("-q", "-x", "-p", "no:randomly", "-p", "no:cacheprovider")
    return _run(folder, sys.executable, "-m", "pytest", *options, *tests)


def _run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=SECONDS_AT_MOST)


def _head(patch: Path) -> tuple[str, list[str]]:
    first, second = patch.read_text(encoding="utf-8").splitlines()[:2]
    return first.removeprefix("# "), second.removeprefix("# tests: ").split()


def _copy(target: Path) -> None:
    target.mkdir()
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, target / name)
