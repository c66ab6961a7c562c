"""Which planted bugs do the tests let pass? Those are the simulation's own to find.

Each is planted in a clone, and `make test` is run there, to its first failure. Tests that ask whether a planted bug
still fits its place are left out: any change of that place fails them. Takes minutes a bug: a command of its own.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.simulation.planted_bugs import PATCHES, ROOT

FITS = ("test_a_planted_bug_still_fits", "test_planted_bug_is_found", "test_the_oracle_names_what_a_planted_bug_breaks")
CAUGHT = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)
PASSED = re.compile(r"^\d+ passed.* in ", re.MULTILINE)


def run(named: str) -> int:
    """Plant every bug whose name holds `named`; the exit code is 0 where each run came to an end."""
    patches = [patch for patch in sorted(PATCHES.glob("*.patch")) if named in patch.name]
    green = failed = 0
    for patch in patches:
        told = _try(patch)
        green, failed = green + (told == "green"), failed + told.startswith("?")
        sys.stdout.write(f"  {told:<8} {patch.stem}\n" if told == "green" else f"  caught   {patch.stem}: {told}\n")
        sys.stdout.flush()
    sys.stdout.write(f"planted={len(patches)} green={green}\n")
    return 1 if failed or not patches else 0


def _try(patch: Path) -> str:
    """`green`, or the first test that noticed; what was told instead, behind a question mark."""
    with TemporaryDirectory(prefix="planted-") as folder:
        copy = Path(folder) / "copy"
        _run(Path(folder), "git", "clone", "--quiet", "--shared", str(ROOT), str(copy))
        applied = _run(copy, "git", "apply", "--whitespace=nowarn", str(patch))
        if applied.returncode != 0:
            return f"? does not apply: {applied.stderr.strip()}"
        left_out = " and ".join(f"not {name}" for name in FITS)
        told = _run(copy, sys.executable, "-m", "pytest", "-q", "-x", "-n", "2", "-k", left_out)
    if told.returncode == 0 and PASSED.search(told.stdout):
        return "green"
    caught = CAUGHT.search(told.stdout)
    return caught[1] if caught else f"? {told.stdout[-300:]}{told.stderr[-300:]}"


def _run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
