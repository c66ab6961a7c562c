"""How the audit stands, as far as it can be told at once: what waits to be sealed, and whether something is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, Table, update

from bridge import checks, db, models
from bridge.audit import chain, marks, memory
from bridge.audit.canon import Place, Unreadable, ordered
from bridge.audit.sealed import SOURCES, Between, Source, scopes
from bridge.ports import SECOND
from bridge.runtime import Runtime

_mark: Table = models.metadata.tables["seal_mark"]

LATE_SECONDS = 900
"""Where rows wait and nothing was sealed for so long, beyond the trailing delay, sealing does not work."""

MIRROR_LATE = 5
"""So many intervals of the mirror without a line, while heads have moved, and it is late."""


@dataclass(frozen=True)
class Waiting:
    """Rows of one table that are not sealed yet; since when the oldest was written (microseconds), and for how many
    seconds nothing was sealed, where that is too long."""

    source: Source
    scope: int
    rows: int
    oldest: int | None
    late: int


def waiting(connection: Connection, runtime: Runtime) -> Iterator[Waiting]:
    """What waits, by table."""
    for source in SOURCES:
        for scope in scopes(connection, source):
            rows, oldest = Between(source, scope, _upto(connection, source, scope)).count(connection)
            if rows:
                yield Waiting(source, scope, rows, oldest, _late(connection, runtime, source, scope, oldest))


def late(connection: Connection, runtime: Runtime) -> Iterator[tuple[str, int]]:
    """(table, seconds) where rows wait and nothing was sealed for too long; few rows are asked for."""
    for source in SOURCES:
        for scope in scopes(connection, source):
            looked = marks.read(connection, source, scope).looked
            there = Between(source, scope, []).last(connection)
            is_there = there is not None and ordered(looked) <= ordered(there)
            behind = max(looked if is_there else [], _upto(connection, source, scope), key=ordered)
            seconds = _late(connection, runtime, source, scope, Between(source, scope, behind).oldest(connection))
            if seconds:
                yield source.name, seconds


def trouble(connection: Connection, runtime: Runtime) -> str:
    """What was found to be changed, or cut off, in a sentence; nothing if nothing is known to be. Requests are kept
    away for this, and not for sealing that is late: no money is in doubt for that (`checks.concerns`)."""
    inspected = checks.last(connection, runtime, checks.INSPECT)
    if inspected is not None and inspected.failed:
        return f"the last inspection {inspected.outcome}"
    for name, known in memory.remembered(connection).items():
        if known.refused:
            return f"mirror {name} is refused: {known.refused}"
    return ""


def keep(runtime: Runtime) -> None:
    """Leave, once a minute, where alerts and figures look, how sealing and the mirrors stand: what is asked for it is
    too much for every look."""
    now = runtime.clock.now()
    with db.reading(runtime.engine) as connection:
        before = checks.standing(connection)
        if before is not None and 0 <= now - before["seen_at"] < checks.STANDING_SECONDS * SECOND:
            return
        behind = list(late(connection, runtime))
        told = [f"nothing of {source} was sealed for {seconds} s, and rows wait" for source, seconds in behind]
        told += mirrors_late(connection, runtime)
    row = {"source": checks.STANDING, "scope": 0, "again": 0}
    most = max((seconds for _, seconds in behind), default=0)
    values = {"note": "; ".join(told) or None, "seen_at": now, "again": most}
    with db.writing(runtime.engine) as connection:
        db.insert_if_absent(connection, _mark, row)
        connection.execute(update(_mark).where(_mark.c.source == checks.STANDING).values(**values))


def mirrors_late(connection: Connection, runtime: Runtime) -> list[str]:
    """Mirrors of the last days that heads have left behind."""
    found = []
    for name, known in memory.remembered(connection).items():
        seconds = mirror_late(connection, runtime, (known.run, "")) if memory.counts(known, runtime) else 0
        if seconds:
            found.append(f"heads have not been mirrored in {name} for {seconds} s")
    return found


def mirror_late(connection: Connection, runtime: Runtime, runs: chain.Head) -> int:
    """For how many seconds heads have moved on from `runs` without being mirrored, where that is too long."""
    following = chain.at_number(connection, chain.RUNS, runs[0] + 1)
    if following is None:
        return 0
    seconds = (runtime.clock.now() - marks.number(following.at)) // SECOND
    allowed = max(LATE_SECONDS, MIRROR_LATE * runtime.config.audit.mirror_seconds)
    return int(seconds) if seconds > allowed else 0


def _late(connection: Connection, runtime: Runtime, source: Source, scope: int, oldest: int | None) -> int:
    """Seconds without a seal although rows wait, the first of them written at `oldest`, where that is too long; 0 where
    sealing has not begun yet."""
    last, now = chain.last_run(connection, source.name, scope), runtime.clock.now()
    # A mark can be changed, and is asked only where nothing was sealed yet; no instant that is still to come counts.
    mark = marks.read(connection, source, scope)
    if oldest is None or (last is None and not mark.begun):
        return 0
    began = mark.seen_at if last is None else marks.number(last.at)
    seconds = (now - max((at for at in (oldest, began) if at <= now), default=now)) // SECOND
    audit = runtime.config.audit
    allowed = LATE_SECONDS + audit.delay_seconds + 2 * audit.seal_every_seconds
    return int(seconds) if seconds > allowed else 0


def _upto(connection: Connection, source: Source, scope: int) -> Place:
    """Up to where a table is sealed; where its last run does not say, nothing of it is."""
    try:
        return chain.sealed_upto(connection, source, scope)
    except Unreadable:
        return []
