"""What the figures were measured on: the machine, and the versions of everything that took part."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import tempfile
from importlib.metadata import version
from pathlib import Path

from benchmarks.children import PEERS, PROJECT
from benchmarks.contestants.peers import installed

OURS = ("granian", "flask", "sqlalchemy", "psycopg", "requests", "urllib3")
THEIRS = ("gunicorn", "psycopg-pool", "dbos", "procrastinate", "restate-sdk", "hypercorn", "aiohttp")
SERVER = "@restatedev/restate-server"
GIB = 1 << 30


def described() -> dict[str, str]:
    """The machine in words, by name."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": f"{os.cpu_count()} × {_processor()}",
        "memory": f"{pages / GIB:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "file system": _file_system(),
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    """Of what is measured, by name; what is not installed is left out."""
    freeze = dict(line.split("==", 1) for line in installed().splitlines() if "==" in line)
    peers = {name.lower().replace("_", "-"): number for name, number in freeze.items()}
    found = {name: version(name) for name in OURS} | {name: peers[name] for name in THEIRS if name in peers}
    restate = PEERS / "npm" / "node_modules" / SERVER / "package.json"
    if restate.exists():
        found["restate-server"] = str(json.loads(restate.read_text(encoding="utf-8"))["version"])
    return found


def commit() -> str:
    """The revision of this project, as far as it is known; behind a plus sign, a digest of what is not committed."""
    try:
        revision, changes = _git("rev-parse", "--short", "HEAD").strip(), _git("diff", "HEAD")
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f"{revision}+{hashlib.sha256(changes.encode()).hexdigest()[:8]}" if changes else revision


def _git(*asked: str) -> str:
    command = ("git", *asked)  # found on PATH
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _file_system() -> str:
    """Of the folder in which databases are made: a commit is as durable and as fast as its disk."""
    folder = Path(tempfile.gettempdir()).resolve()
    mounts = [line.split() for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    above = [(len(mount[1]), mount[2]) for mount in mounts if folder.is_relative_to(mount[1])]
    return max(above, default=(0, "unknown"))[1]
