"""Ends a PostgreSQL server whose owner is gone, however it went, and removes the folders named as arguments.

The owner holds the other end of standard input and writes the server's process id to it whenever that
changes, 0 for none. The pipe closes with the owner, by SIGKILL too, on every system.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time

STOP_SECONDS_MAX = 5


def end_server(pid: int) -> None:
    """Ask `pid` to quit at once, and kill it where it does not within STOP_SECONDS_MAX."""
    deadline = time.monotonic() + STOP_SECONDS_MAX
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGQUIT)
        while time.monotonic() < deadline:
            time.sleep(0.01)
            os.kill(pid, 0)
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    server = 0
    for line in sys.stdin:
        server = int(line)
    if server:
        end_server(server)
    for folder in sys.argv[1:]:
        shutil.rmtree(folder, ignore_errors=True)
