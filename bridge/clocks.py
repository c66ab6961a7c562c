"""How far the clock of a process may be from the database's.

Leases of several machines are compared by their clocks, and what is concluded from silence rests on time that has
passed. A process that is further off neither moves nor asks: jobs rest, and the web answers 503, the API and the desk.
"""

from __future__ import annotations

from sqlalchemy import Connection

from bridge.ports import SECOND
from bridge.runtime import Runtime

APART_AT_MOST = 2 * SECOND
"""Microseconds; beyond this, leases would be taken too early."""

DATABASE_CLOCK = {
    "sqlite": "SELECT CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)",
    "postgresql": "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)",
}
"""What a database is asked for its clock, in microseconds since 1970."""


def apart(runtime: Runtime, connection: Connection) -> int:
    """How far this process's clock is from the database's, in microseconds; the time that the question takes counts for
    nothing."""
    before, theirs = runtime.clock.now(), of_database(connection)
    return max(before - theirs, theirs - runtime.clock.now(), 0)


def of_database(connection: Connection) -> int:
    """The database's clock, in microseconds since 1970: the same one for every process."""
    return int(connection.exec_driver_sql(DATABASE_CLOCK[connection.dialect.name]).scalar_one())
