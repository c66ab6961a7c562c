"""Mirror: the heads of the chains are signed and added to a file that the database's owner cannot write.

Nothing is signed that does not go on from the last line: that is logged as an error at every tick, alerted, and, where
the database was cut off or written anew, `/readyz` is red, until a person has looked (docs/audit.md). Without a key or
a file nothing is done.
"""

from __future__ import annotations

from threading import Event

from bridge import log
from bridge.audit import mirror
from bridge.runtime import Runtime

_log = log.get("jobs")


def run_once(runtime: Runtime, _now: int, _limit: int, stop: Event) -> dict[str, int]:
    """One line, if heads have moved since the last one. Counts: mirrored, refused."""
    if stop.is_set() or not mirror.is_wanted(runtime):
        return {"mirrored": 0, "refused": 0}
    try:
        return {"mirrored": int(mirror.go_on(runtime)), "refused": 0}
    except mirror.REFUSALS as why:
        _log.error("mirror refused", why=str(why))
        return {"mirrored": 0, "refused": 1}
