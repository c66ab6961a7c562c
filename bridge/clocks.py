"""How far the clock of a process may be from the database's.

Leases of several machines are compared by their clocks, and what is concluded from silence rests on time that has
passed. A process that is further off neither moves nor asks: jobs rest, and the web answers 503, the API and the desk.

Where the clock of a process is set forward together with the database's, the two agree, and all silence looks older
than it is. Each process sees that by a clock that nobody sets: it notes for every transfer that is open from when on
seconds are seconds again, and until it has noted that it concludes nothing from silence.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, Table, case, or_, update

from bridge import db, log, models
from bridge.ports import SECOND
from bridge.runtime import Moment, Runtime

APART_AT_MOST = 2 * SECOND
"""Microseconds; beyond this, leases would be taken too early."""

DATABASE_CLOCK = {
    "sqlite": "SELECT CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)",
    "postgresql": "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)",
}
"""What a database is asked for its clock, in microseconds since 1970."""

_transfer: Table = models.metadata.tables["transfer"]
_least_ahead: WeakKeyDictionary[Engine, int] = WeakKeyDictionary()
"""How far the wall clock of this process was ahead of its monotonic one, when that was least: microseconds."""

_log = log.get("clocks")


def apart(runtime: Runtime, connection: Connection) -> int:
    """How far this process's clock is from the database's, in microseconds; the time that the question takes counts for
    nothing."""
    before, theirs = runtime.clock.now(), of_database(connection)
    return max(before - theirs, theirs - runtime.clock.now(), 0)


def of_database(connection: Connection) -> int:
    """The database's clock, in microseconds since 1970: the same one for every process."""
    return int(connection.exec_driver_sql(DATABASE_CLOCK[connection.dialect.name]).scalar_one())


def has_stepped(runtime: Runtime, moment: Moment) -> bool:
    """Whether this process's clock was set forward, by `moment`, since it looked first, or has noted that last."""
    ahead, least = _ahead(moment), _least_ahead.get(runtime.engine)
    if least is None or ahead < least:
        _least_ahead[runtime.engine] = least = ahead
    return ahead - least > APART_AT_MOST


def note_step(runtime: Runtime) -> None:
    """Have silence about what is open counted anew: from when every request has ended that was under way by the clock
    as it was before. By the database's clock, which is everybody's."""
    moment = runtime.moment()
    with db.writing(runtime.engine) as connection:
        since = of_database(connection) + int(runtime.longest_lease * SECOND)
        noted = _transfer.c.quiet_from
        later = case((or_(noted.is_(None), noted < since), since), else_=noted)
        marked = connection.execute(update(_transfer).where(_transfer.c.wake_at.is_not(None)).values(quiet_from=later))
    least = _least_ahead.get(runtime.engine, 0)
    _least_ahead[runtime.engine] = _ahead(moment)
    _log.error("clock set forward", seconds=(_ahead(moment) - least) // SECOND, transfers=marked.rowcount)


def _ahead(moment: Moment) -> int:
    return moment.now - int(moment.mono * SECOND)
