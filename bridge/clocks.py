"""How far the clock of a process may be from the database's.

Leases of several machines are compared by their clocks, and what is concluded from silence rests on time that has
passed. A process that is further off neither moves nor asks: jobs rest, and the web answers 503, the API and the desk.
"""

from __future__ import annotations

from sqlalchemy import Connection

from bridge import db, log
from bridge.errors import Unavailable
from bridge.ports import SECOND
from bridge.runtime import Runtime

APART_AT_MOST = 2 * SECOND
"""Microseconds; beyond this, leases would be taken too early."""

DATABASE_CLOCK = {
    "sqlite": "SELECT CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)",
    "postgresql": "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)",
}
"""What a database is asked for its clock, in microseconds since 1970."""

WATCH = "bridge.watch"
"""Where an application keeps its watch, among Flask's extensions."""

WAIT_SECONDS = 10
"""When somebody may ask again who met a process whose clock is off: by then nobody is sent here any more."""

_log = log.get("clocks")


def apart(runtime: Runtime, connection: Connection) -> int:
    """How far this process's clock is from the database's, in microseconds; the time that the question takes counts for
    nothing."""
    before, theirs = runtime.clock.now(), of_database(connection)
    return max(before - theirs, theirs - runtime.clock.now(), 0)


def of_database(connection: Connection) -> int:
    """The database's clock, in microseconds since 1970: the same one for every process."""
    return int(connection.exec_driver_sql(DATABASE_CLOCK[connection.dialect.name]).scalar_one())


def is_off(runtime: Runtime) -> bool:
    """Whether this process must leave leases, and conclusions from silence, to others; logged where it is so."""
    with db.reading(runtime.engine) as connection:
        microseconds = apart(runtime, connection)
    if microseconds < APART_AT_MOST:
        return False
    _log.error("nothing is moved: the clock is off", seconds=microseconds // SECOND)
    return True


class Watch:
    """Asks for a process that serves requests, so often that a clock that was set is noticed soon, and so seldom that
    nobody pays for it."""

    EVERY_SECONDS = 5

    def __init__(self) -> None:
        self._next, self._off = float("-inf"), False

    def says_off(self, runtime: Runtime) -> bool:
        """Whether the clock was off when it was last asked."""
        if runtime.clock.monotonic() >= self._next:
            self._off = is_off(runtime)
            self._next = runtime.clock.monotonic() + self.EVERY_SECONDS
        return self._off

    def require_right(self, runtime: Runtime) -> None:
        """Raise Unavailable while the clock is off."""
        if self.says_off(runtime):
            raise Unavailable("The clock of this process is off.", code="clock_off", after_seconds=WAIT_SECONDS)
