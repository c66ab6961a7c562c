"""Whether this process may work now: asked again and again, for what was so at its start need not have stayed so.

A process whose clock is off would take other processes' leases, and count silence for older than it is. One whose code
is of another version than the database, for it was left running when that was migrated, would move rows by rules that
are not theirs. Either rests, its web answers 503, the API and the desk, and it goes on by itself once that is right.
"""

from __future__ import annotations

from enum import StrEnum

from bridge import clocks, db, denominations, log
from bridge.errors import Unavailable
from bridge.ports import SECOND
from bridge.runtime import Runtime

WATCH = "bridge.watch"
"""Where an application keeps its watch, among Flask's extensions."""

WAIT_SECONDS = 10
"""When somebody may ask again who met a process that rests: by then nobody is sent here any more."""

_log = log.get("watch")


class Hindrance(StrEnum):
    """What keeps a process from working; the code of the problem that its clients are told."""

    CLOCK = "clock_off"
    SCHEMA = "schema_changed"


_SAID = {
    Hindrance.CLOCK: "The clock of this process is off.",
    Hindrance.SCHEMA: "The database has been migrated for another version than this process runs.",
}


def hindrance(runtime: Runtime) -> Hindrance | None:
    """What keeps this process from working now, if anything does; logged where it is so. Raises `db.TROUBLE` where the
    database cannot be asked.

    A clock that was set forward, the database's with it, keeps nobody: it is noted, and silence counts anew. Nor does a
    currency that has other decimals here than in the books: that one alone is left.
    """
    with db.reading(runtime.engine) as connection:
        found, apart = db.found_schema(connection), clocks.apart(runtime, connection)
        fits = found == db.schema_version()
        if fits:
            denominations.look(connection, runtime)
    if not fits:
        _log.error("nothing is moved: another schema", found=found, needed=db.schema_version())
        return Hindrance.SCHEMA
    if apart >= clocks.APART_AT_MOST:
        _log.error("nothing is moved: the clock is off", seconds=apart // SECOND)
        return Hindrance.CLOCK
    if clocks.has_stepped(runtime, runtime.moment()):
        clocks.note_step(runtime)
    return None


class Watch:
    """Asks for a process that serves requests, so often that a change is noticed soon, and so seldom that nobody pays
    for it."""

    EVERY_SECONDS = 5

    def __init__(self) -> None:
        self._next = float("-inf")
        self._found: Hindrance | None = None

    def found(self, runtime: Runtime) -> Hindrance | None:
        """What kept this process from working when it was last asked."""
        if runtime.clock.monotonic() >= self._next:
            self._found = hindrance(runtime)
            self._next = runtime.clock.monotonic() + self.EVERY_SECONDS
        return self._found

    def require(self, runtime: Runtime, *, timely: bool) -> None:
        """Raise Unavailable while this process may not do what it is asked for; the clock matters only to what is
        `timely`."""
        found = self.found(runtime)
        if found is not None and (timely or found is not Hindrance.CLOCK):
            raise Unavailable(_SAID[found], code=found.value, after_seconds=WAIT_SECONDS)
