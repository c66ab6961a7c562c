"""From rows to seals, behind the work and beside it: nothing here holds a lock that a transfer needs.

PostgreSQL commits rows in another order than it numbers them. So a table is sealed only up to a place that was seen
`audit.delay_seconds` ago, and only when every transaction that was running then has ended. Rows are read and hashed
without a lock; the seals are added in one short transaction, which first sees that nobody else has sealed meanwhile.

Each run is looked at a second time. A row that is there then and was not before is sealed by a run of its own that says
so; an inspection tells of it until a person has accepted it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

from sqlalchemy import Connection, Row

from bridge import db, log
from bridge.audit import chain, marks
from bridge.audit.canon import Bundle, Place, ordered, place_text
from bridge.audit.marks import Mark
from bridge.audit.sealed import Between, Source, scopes
from bridge.clocks import APART_AT_MOST
from bridge.ports import SECOND
from bridge.runtime import Runtime

_log = log.get("audit")

BATCH = 2000
"""Rows of one run, and of one transaction that adds seals."""

AGAIN_SECONDS = 600
"""So long after a run its places are looked at a second time."""

AGAIN_AT_MOST = AGAIN_SECONDS + 3600
"""No run is looked at a second time that is older than this: a mark that was set back would have rows that somebody has
put among sealed ones taken for late."""

RUNS_AT_ONCE = 200
"""Runs that one second look covers."""

# Read together: an unfinished transaction, also one that has begun after the rows were seen, is not below the first.
_HORIZON = "SELECT CAST(CAST(pg_snapshot_{0}(pg_current_snapshot()) AS text) AS bigint)"


def every(runtime: Runtime, source: Source) -> list[int]:
    """The scopes of a table."""
    with db.reading(runtime.engine) as connection:
        return scopes(connection, source)


def seal(runtime: Runtime, source: Source, scope: int, limit: int = BATCH) -> int:
    """Seal the next rows of a table, at most `limit`, if any are old enough; how many were sealed."""
    with db.reading(runtime.engine) as connection:
        mark, begun = marks.read(connection, source, scope), chain.sealed_upto(connection, source, scope)
        after, run, anew, present = max(begun, mark.looked, key=ordered), None, None, _present(runtime, source)
        if ordered(mark.seen) <= ordered(after) or _is_foreign(connection, runtime, mark):
            last = Between(source, scope, [], present).last(connection)
            # Nobody has looked beyond the last row: a mark that says so would have rows passed over for ever.
            is_known = last is None or ordered(mark.looked) <= ordered(last) <= ordered(after)
            anew = None if is_known else last
        elif not _is_ripe(connection, runtime, mark):
            return 0
        else:
            upto = mark.seen if present is None else min(mark.seen, present, key=ordered)
            run = _run(source, scope, begun, Between(source, scope, after, upto).rows(connection, limit))
    if run is not None:
        return _append(runtime, source, run, begun)
    if anew is not None:
        _see(runtime, source, scope, mark)
    elif ordered(mark.seen) > ordered(after):
        _remember(runtime, source, scope, looked=place_text(mark.seen))
    return 0


def _run(source: Source, scope: int, begun: Place, rows: Sequence[Row[Any]]) -> chain.Run | None:
    """What was read, by chain; None where nothing was. Up to its last row, not to where was seen: a number that is used
    later than those behind it is then not behind the end of sealing."""
    if not rows:
        return None
    upto = list(rows[-1][: len(source.place)])
    return chain.Run(source.name, scope, begun, upto, bundled(source, rows))


def bundled(source: Source, rows: Sequence[Row[Any]]) -> Mapping[int, Bundle]:
    """Rows by the chain to which they belong, hashed."""
    places = len(source.place)
    values = places + 1 + len(source.key)
    bundles: dict[int, Bundle] = {}
    for row in rows:
        told = tuple(row)
        owner = told[places]
        bundle = bundles.get(owner)
        if bundle is None:
            bundle = bundles[owner] = Bundle()
        bundle.add(list(told[places + 1 : values]), source.hash_of(told[values:]))
    return bundles


def _append(runtime: Runtime, source: Source, run: chain.Run, begun: Place) -> int:
    """Add what was planned, unless somebody was faster; how many rows are sealed by it."""
    with db.writing(runtime.engine) as connection:
        chain.take_turn(connection)
        if chain.sealed_upto(connection, source, run.scope) != begun:
            return 0
        chain.append(connection, run, runtime.clock.now())
    return run.entries


# --- how far ------------------------------------------------------------------------------------------


def _present(runtime: Runtime, source: Source) -> Place | None:
    """Where places are instants: the last one that may be sealed. What a clock that was wrong has dated later waits for
    its day; were it sealed, whatever is written until then would stand behind the end, and never be."""
    if source.place[0] != source.at:
        return None
    return [runtime.clock.now() + APART_AT_MOST, *[""] * (len(source.place) - 1)]


def _see(runtime: Runtime, source: Source, scope: int, mark: Mark) -> None:
    """Remember how far the table goes now, and which transactions may be running."""
    with db.writing(runtime.engine) as connection:
        seen = Between(source, scope, [], _present(runtime, source)).last(connection)
        # Asked behind it, in a statement of its own: whoever has a number below `seen` and no end yet is counted in.
        horizon = _transaction(connection, "xmax")
        if seen is not None:
            now = runtime.clock.now()
            looked = place_text(mark.looked if ordered(mark.looked) <= ordered(seen) else [])
            marks.put(connection, source, scope, seen=place_text(seen), seen_at=now, horizon=horizon, looked=looked)


def _is_ripe(connection: Connection, runtime: Runtime, mark: Mark) -> bool:
    """Whether what was seen can be sealed: it is old enough, and nobody is left who could come before it."""
    old = runtime.clock.now() - mark.seen_at >= int(runtime.config.audit.delay_seconds * SECOND)
    return old and _transaction(connection, "xmin") >= mark.horizon


def _is_foreign(connection: Connection, runtime: Runtime, mark: Mark) -> bool:
    """Whether the mark is from another clock, or from another server whose transactions had gone further: after a
    restore, or where a clock was set, waiting for them would never end."""
    return mark.seen_at > runtime.clock.now() or mark.horizon > _transaction(connection, "xmax")


def _transaction(connection: Connection, which: str) -> int:
    """Of the transactions as this one sees them: `xmin`, the first that may be running; `xmax`, the first that had not
    begun. SQLite lets nobody write beside another, and there are none."""
    if connection.dialect.name == "sqlite":
        return 0
    return int(connection.exec_driver_sql(_HORIZON.format(which)).scalar_one())


def _remember(runtime: Runtime, source: Source, scope: int, **values: Any) -> None:
    with db.writing(runtime.engine) as connection:
        marks.put(connection, source, scope, **values)


# --- what came too late -------------------------------------------------------------------------------


def look_again(runtime: Runtime, source: Source, scope: int) -> int:
    """Look a second time at the runs that are old enough for it; how many rows were sealed late."""
    with db.reading(runtime.engine) as connection:
        mark, now = marks.read(connection, source, scope), runtime.clock.now()
        floor = chain.last_before(connection, source.name, scope, now - AGAIN_AT_MOST * SECOND)
        found = chain.runs(connection, source.name, scope, max(mark.again, floor), RUNS_AT_ONCE)
        # In their order, whatever clocks they are from.
        due = list(takewhile(lambda run: run.at <= now - AGAIN_SECONDS * SECOND, found))
        if not due:
            return 0
        sealed = sum(run.entries for run in due) + _late_between(connection, source, scope, due)
        whole = Between(source, scope, source.read_place(due[0].after), source.read_place(due[-1].upto))
        more = whole.count(connection)[0] > sealed
        plans, again = _all_missed(connection, source, scope, due) if more else ([], due[-1].number)
    with db.writing(runtime.engine) as connection:
        chain.take_turn(connection)
        if marks.read(connection, source, scope).again != mark.again:
            return 0
        for plan in plans:
            number = chain.append(connection, plan, runtime.clock.now())
            _log.error("rows came too late for their run", table=plan.source, rows=plan.entries, run=number)
        marks.put(connection, source, scope, again=max(again, mark.again))
    return sum(plan.entries for plan in plans)


def _all_missed(
    connection: Connection, source: Source, scope: int, due: Sequence[chain.SealRow]
) -> tuple[list[chain.Run], int]:
    """What the runs missed, and the last run of which that is all; what is left is for the next look."""
    plans, again = [], 0
    for run in due:
        plan, whole = _missed(connection, source, scope, run)
        plans += [plan] if plan is not None else []
        if not whole:
            break
        again = run.number
    return plans, again


def _late_between(connection: Connection, source: Source, scope: int, due: Sequence[chain.SealRow]) -> int:
    """How many rows are sealed as late ones already, of these runs' places."""
    places = {(run.after, run.upto) for run in due}
    late = chain.late_runs(connection, source.name, scope)
    return sum(run.entries for run in late if (run.after, run.upto) in places)


def _missed(
    connection: Connection, source: Source, scope: int, run: chain.SealRow
) -> tuple[chain.Run | None, bool]:
    """The rows at a run's places that no seal lists, BATCH of them or more; whether these are all."""
    late = chain.late_runs(connection, source.name, scope)
    numbers = [run.number, *(each.number for each in late if (each.after, each.upto) == (run.after, run.upto))]
    listed = {key for seal in chain.of_runs(connection, numbers) for key, _mark_of in source.read_keys(seal.content)}
    after, upto = source.read_place(run.after), source.read_place(run.upto)
    first, limit = len(source.place) + 1, len(listed) + BATCH
    found = Between(source, scope, after, upto).rows(connection, limit)
    rows = [row for row in found if tuple(row[first : first + len(source.key)]) not in listed]
    plan = chain.Run(source.name, scope, after, upto, bundled(source, rows), late=True) if rows else None
    return plan, len(found) < limit
