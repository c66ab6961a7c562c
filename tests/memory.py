"""Where a run keeps what need not outlive the machine: a folder in memory, so that no test waits for a disk."""

from __future__ import annotations

import os
from pathlib import Path

MEMORY = Path("/dev/shm")  # noqa: S108 - whoever asks makes a folder of their own in it
BYTES_MIN = 2 << 30  # far more than a run needs with its write-ahead logs; many containers have 64 MB


def memory() -> Path | None:
    """The folder in memory, where this machine has one that is open to us and large enough."""
    if not os.access(MEMORY, os.W_OK):
        return None
    space = os.statvfs(MEMORY)
    return MEMORY if space.f_bavail * space.f_frsize >= BYTES_MIN else None
