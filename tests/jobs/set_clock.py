"""`python -m jobs` on a machine whose wall clock is ahead by as many seconds as a file says: the real one is not ours.

Everything that the process reads of the wall clock goes through one of these two.
"""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime, tzinfo
from pathlib import Path

import apscheduler.schedulers.base

from bridge.runtime import SystemClock
from jobs.__main__ import main

AHEAD = Path(os.environ["SET_CLOCK"])


def now() -> int:
    """Microseconds since 1970, as the clock was set."""
    return time.time_ns() // 1000 + int(AHEAD.read_text()) * 1_000_000


class Set(datetime):
    """What APScheduler asks for the time."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]  # a plain one, as it is compared with
        """As datetime.now."""
        return datetime.fromtimestamp(now() / 1_000_000, tz or UTC)


if __name__ == "__main__":
    SystemClock.now = lambda _self: now()  # type: ignore[method-assign]  # the clock itself cannot be set
    apscheduler.schedulers.base.datetime = Set
    sys.exit(main())
