"""The watchman: a thread of each web process that notices when nobody runs the jobs, or one fails or hangs, which
may be the one that tells people: no job can tell then.

One of all web processes that have the same ways to people watches at a time, by a lease that it renews; what it finds
it also sends. One that has no way keeps none from watching that has: it could tell nobody.
"""

from __future__ import annotations

import os
from threading import Event, Thread

from sqlalchemy import Table, or_, select, update

from bridge import db, log, models, watch
from bridge.alerts import episodes, sending
from bridge.alerts.conditions import Kind
from bridge.ports import SECOND
from bridge.runtime import Runtime

_turn: Table = models.metadata.tables["alert_turn"]

EVERY_SECONDS = 10
LEASE_SECONDS = 60
"""Longer than one look takes, with a message that hangs; another process takes over after it."""

AT_ONCE = 10
"""Notices sent at one look."""

WATCHED = (Kind.SILENT, Kind.JOB, Kind.HANGS)
"""What he looks at. All the rest is left to the job `alerts`: if that one does not tell, this does; of what it saw a
moment ago, he tells what it has no way to tell."""

WATCH = "watch"
_log = log.get("watchman")


class Watchman:
    """Watches from a thread of its own, until the process ends; `start` again in a process that was forked."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def start(self) -> None:
        """Begin to watch; the first look comes when jobs that are started beside this process have had their time."""
        Thread(target=self._watch, args=(Event(),), name="watchman", daemon=True).start()

    def _watch(self, stop: Event) -> None:
        stop.wait(self._runtime.config.alerts.silent_seconds)
        while not stop.is_set():
            self.look(stop)
            stop.wait(EVERY_SECONDS)

    def _name(self) -> str:
        """Workers that a server has forked share the name that leases carry: here they are told apart."""
        return f"{self._runtime.worker}/{os.getpid()}"

    def look(self, stop: Event) -> bool:
        """One look, if it is this process's turn; whether it was. Whatever goes wrong is logged, and it looks again."""
        runtime = self._runtime
        try:
            if watch.hindrance(runtime) is not None or not is_mine(runtime, self._name()):
                return False
            episodes.look(runtime, WATCHED)
            sending.send_due(runtime, AT_ONCE, stop)
        except Exception:  # noqa: BLE001 - a database that is away for a moment ends no watch
            _log.exception("not watched")
            return False
        return True


def is_mine(runtime: Runtime, name: str) -> bool:
    """Whether the process of this name watches now: it holds the lease, or takes one that has run out."""
    now, turn = runtime.clock.now(), " ".join((WATCH, *episodes.sinks(runtime)))
    with db.reading(runtime.engine) as connection:
        row = connection.execute(select(_turn.c.owner, _turn.c.until).where(_turn.c.name == turn)).first()
    # A lease that ends later than any that is taken now was taken by a clock that was ahead: it is nobody's.
    furthest = now + 2 * LEASE_SECONDS * SECOND
    if row is not None and row.owner != name and now < row.until <= furthest:
        return False
    if row is not None and row.owner == name and now + LEASE_SECONDS * SECOND // 2 < row.until <= furthest:
        return True
    free = or_(_turn.c.owner == name, _turn.c.until <= now, _turn.c.until > furthest)
    taken = update(_turn).where(_turn.c.name == turn, free)
    with db.writing(runtime.engine) as connection:
        db.insert_if_absent(connection, _turn, {"name": turn, "until": 0})
        return connection.execute(taken.values(owner=name, until=now + LEASE_SECONDS * SECOND)).rowcount == 1
