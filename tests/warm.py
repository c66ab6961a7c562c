"""`python -m bridge` without waiting a second for its imports: they are made once, and each command is a fork of that.

What runs is the command line itself, in a process of its own, with its own folder, environment, files and exit code;
only what was imported is shared. What serves, starts others or is ended by a signal is started the usual way.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PRELOADED = "bridge.cli bridge.app bridge.doctor bridge.keys bridge.verify alembic.command jobs.schedule".split()

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(PRELOADED)


def bridge(
    *arguments: str, folder: Path, environment: Mapping[str, str], seconds: float
) -> subprocess.CompletedProcess[str]:
    """One command to its end, as `subprocess.run` tells it. Raises TimeoutExpired after so many seconds."""
    with tempfile.TemporaryDirectory() as place:
        out, err = (Path(place) / name for name in ("out", "err"))
        asked = (arguments, str(folder), dict(environment), str(out), str(err))
        process = _forks.Process(target=_command, args=asked)
        process.start()
        process.join(seconds)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(arguments, seconds, out.read_text(), err.read_text())
        return subprocess.CompletedProcess(arguments, process.exitcode, out.read_text(), err.read_text())


def _command(arguments: tuple[str, ...], folder: str, environment: dict[str, str], out: str, err: str) -> None:
    """In the fork: become that command."""
    for file, number in ((out, 1), (err, 2)):
        os.dup2(os.open(file, os.O_CREAT | os.O_WRONLY | os.O_APPEND), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["bridge", *arguments]
    code = _run()
    gc.collect()  # as the end of an interpreter does: SQLite's last connection writes its log into the file
    sys.exit(code)


def _run() -> Any:
    try:
        runpy.run_module("bridge", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        return ended.code
    return 0
