"""The board of the jobs: one line about each, who runs them, and what people want of them.

A job that finds nothing to do every second must not write every second: runs that say nothing new are noted every
QUIET_SECONDS by whichever process comes first, whatever is new at once. Nothing here runs a job; `jobs/shift.py` does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, Table, delete, func, or_, select, update

from bridge import db, models, reasons
from bridge.errors import Conflict, Invalid, NotFound
from bridge.ports import SECOND
from bridge.runtime import Runtime

_line: Table = models.metadata.tables["job_line"]
_beat: Table = models.metadata.tables["beat"]

MAY_REST = {
    "deliver": "events are kept, and are sent when it goes on",
    "inspect": "what is written stays written, and is inspected later",
    "seal": "what is written stays written, and is sealed later",
    "sweep": "a provider that a restore has closed stays closed for transfers in",
    "verify": "what does not hold is found later",
}
"""Jobs that people may pause, and what happens meanwhile. Every other one never rests: money, or its resolution, or the
word that something is wrong depends on it."""

LONGEST_PAUSE_SECONDS = 8 * 3600

QUIET_SECONDS, BUSY_SECONDS, FAILING_SECONDS = 15, 2, 5
"""A run is noted if none was for so long: one that had nothing to do, one that had something, one that failed."""

ELSEWHERE_SECONDS = 60
"""A job that failed in another process, and has not failed there again for so long, works again."""

BEAT_SECONDS = 5
SILENT_SECONDS = 60
"""Without any beat for so long nobody runs the jobs."""

HANGS_SECONDS, HANGS_INTERVALS = 600, 10
"""A run that is in hand for longer than either hangs: most jobs end by themselves after half a minute."""

TAKES_SECONDS = {"inspect": 6 * 3600, "sweep": 3600, "verify": 2 * 3600}
"""Those that read everything there is may take so long."""

FORGOTTEN_SECONDS = 86_400
"""The row of a process that died stays for so long, for people to see."""

WISH_SECONDS = 300
"""A wish that no process has taken by then is not carried out any more: whoever had it has gone home."""


@dataclass(frozen=True)
class Planned:
    """A job as the schedule has it: `every` in seconds, and why it is there."""

    name: str
    every: float
    why: str


@dataclass(frozen=True)
class Standing:
    """What a process has to know before it runs a job."""

    job: str
    rests: bool
    ended_at: int | None = None
    idle: bool = True
    error: str | None = None
    error_at: int | None = None
    failing_by: str | None = None


@dataclass(frozen=True)
class Hanging:
    """A run that a living process has had in hand for so many seconds that it will not end by itself."""

    job: str
    worker: str
    seconds: int


@dataclass(frozen=True)
class Ended:
    """A run that has ended: `error` is empty where it went well. Instants in microseconds."""

    started_at: int
    ended_at: int
    counts: Mapping[str, int]
    error: str = ""
    wanted: bool = False


# --- for whoever looks --------------------------------------------------------------------------------


def listed(connection: Connection, runtime: Runtime) -> list[dict[str, Any]]:
    """Every job's line, with `paused` and `may_rest` beside the columns, and `at_work`: who has it in hand, since when
    (microseconds), as of their last beat."""
    now = runtime.clock.now()
    in_hand = [(beat["worker"], json.loads(beat["at_work"])) for beat in living(connection, now)]
    found = []
    for row in connection.execute(select(_line).order_by(_line.c.job)).mappings():
        at_work = {worker: work[row["job"]] for worker, work in in_hand if row["job"] in work}
        paused = row["paused_until"] is not None and row["paused_until"] > now
        more = {"paused": paused, "may_rest": row["job"] in MAY_REST, "at_work": at_work}
        found.append({**row, "counts": json.loads(row["counts"] or "{}"), **more})
    return found


def failing(connection: Connection) -> list[RowMapping]:
    """The lines of jobs that fail, longest first."""
    query = select(_line).where(_line.c.failing_since.is_not(None)).order_by(_line.c.failing_since, _line.c.job)
    return list(connection.execute(query).mappings())


def rested(connection: Connection, job: str, since: int) -> bool:
    """Whether a pause of a job lasts, or has ended after an instant (microseconds)."""
    query = select(_line.c.job).where(_line.c.job == job, _line.c.paused_until > since)
    return connection.execute(query).first() is not None


def hanging(connection: Connection, now: int) -> list[Hanging]:
    """What hangs in processes that live, at `now` (microseconds), longest first: their beat goes on, from a thread of
    its own, and says since when."""
    every = {row.job: row.every for row in connection.execute(select(_line.c.job, _line.c.every))}
    found = []
    for beat in living(connection, now):
        for job, since in json.loads(beat["at_work"]).items():
            longest = max(HANGS_SECONDS * SECOND, HANGS_INTERVALS * every.get(job, 0))
            if now - since >= max(longest, TAKES_SECONDS.get(job, 0) * SECOND):
                found.append(Hanging(job, beat["worker"], (now - since) // SECOND))
    return sorted(found, key=lambda each: (-each.seconds, each.job, each.worker))


def beats(connection: Connection) -> list[RowMapping]:
    """Every process that runs the jobs, or has died at it, the last one that was seen first."""
    return list(connection.execute(select(_beat).order_by(_beat.c.seen_at.desc(), _beat.c.worker)).mappings())


def living(connection: Connection, now: int) -> list[RowMapping]:
    """The beats that are not too old at `now` (microseconds)."""
    return [beat for beat in beats(connection) if lives(beat, now)]


def lives(beat: RowMapping, now: int) -> bool:
    """Whether a process was seen lately enough to be taken to run the jobs. A beat from a later day, of a clock that
    was wrong, is no sign of life."""
    return abs(now - int(beat["seen_at"])) < SILENT_SECONDS * SECOND


def quiet_for(connection: Connection, now: int) -> int | None:
    """Microseconds since the last sign of life of any process that runs the jobs: its beat, or, where it was stopped
    and has taken that with it, a run that was noted; None where no process has ever run them. A sign from a later day,
    of a clock that was wrong, is none."""
    signs = [
        connection.execute(select(func.max(column)).where(column <= now + SILENT_SECONDS * SECOND)).scalar()
        for column in (_beat.c.seen_at, _line.c.ended_at)
    ]
    newest = max((int(sign) for sign in signs if sign is not None), default=None)
    return None if newest is None else max(0, now - newest)


# --- for people ---------------------------------------------------------------------------------------


def pause(
    connection: Connection, runtime: Runtime, job: str, actor: str, reason: str, seconds: float = LONGEST_PAUSE_SECONDS
) -> int:
    """No process begins a run of a job any more, until the instant that is returned (microseconds), at the latest in
    LONGEST_PAUSE_SECONDS; a run under way is not cut off.

    Raises NotFound, Conflict for a job that never rests, Invalid for the reason or the time.
    """
    _known(connection, job)
    if job not in MAY_REST:
        raise Conflict(
            f"{job} cannot be paused: money, its resolution, or the word that something is wrong depends on it."
        )
    told = reasons.stated(reason)
    if not 1 <= seconds <= LONGEST_PAUSE_SECONDS:
        raise Invalid(fields={"seconds": f"must be between 1 and {LONGEST_PAUSE_SECONDS}"})
    now = runtime.clock.now()
    until = now + int(seconds * SECOND)
    _change(
        connection, job, paused_at=now, paused_until=until, paused_by=actor, pause_reason=told,
        wanted_at=None, wanted_by=None,
    )  # fmt: skip
    return until


def resume(connection: Connection, runtime: Runtime, job: str) -> RowMapping:
    """End a pause: it stays on the board as one that ended now. The line as it was. Raises NotFound, Conflict where the
    job is not paused."""
    before, now = _known(connection, job), runtime.clock.now()
    if before["paused_until"] is None or before["paused_until"] <= now:
        raise Conflict(f"{job} is not paused.")
    _change(connection, job, paused_until=now)
    return before


def run_now(connection: Connection, runtime: Runtime, job: str, actor: str) -> int:
    """Have the next process that is free for it run a job at once: one of them does, once. When that was wished
    (microseconds); a wish that waits already is not made again. Raises NotFound, Conflict while the job is paused."""
    now, before = runtime.clock.now(), _known(connection, job)
    if before["paused_until"] is not None and before["paused_until"] > now:
        raise Conflict(f"{job} is paused: end the pause first.")
    if before["wanted_at"] is not None and now - before["wanted_at"] < WISH_SECONDS * SECOND:
        return int(before["wanted_at"])
    _change(connection, job, wanted_at=now, wanted_by=actor)
    return now


def _known(connection: Connection, job: str) -> RowMapping:
    """The line, which nobody else changes until the transaction ends."""
    found = connection.execute(select(_line).where(_line.c.job == job).with_for_update()).mappings().first()
    if found is None:
        raise NotFound(f"There is no job {job!r} that any process has ever run here.")
    return found


def _change(connection: Connection, job: str, **values: Any) -> None:
    connection.execute(update(_line).where(_line.c.job == job).values(**values))


# --- for the processes that run the jobs --------------------------------------------------------------


def enrol(runtime: Runtime, schedule: Iterable[Planned]) -> None:
    """Write what this process is going to run on the board, and forget processes that died long ago."""
    with db.writing(runtime.engine) as connection:
        for job in sorted(schedule, key=lambda each: each.name):
            row = {"job": job.name, "why": job.why, "every": int(job.every * SECOND), "pause_reason": ""}
            if not db.insert_if_absent(connection, _line, row):
                _change(connection, job.name, why=row["why"], every=row["every"])
        now = runtime.clock.now()
        long_ago, to_come = now - FORGOTTEN_SECONDS * SECOND, now + SILENT_SECONDS * SECOND
        connection.execute(delete(_beat).where(or_(_beat.c.seen_at < long_ago, _beat.c.seen_at > to_come)))


def standing(connection: Connection, job: str, now: int) -> Standing:
    """How a job stands before a run at `now` (microseconds); one that is not on the board runs, and is not noted."""
    row = connection.execute(select(_line).where(_line.c.job == job)).mappings().first()
    if row is None:
        return Standing(job, rests=False)
    rests = row["paused_until"] is not None and row["paused_until"] > now and job in MAY_REST
    idle = not any(json.loads(row["counts"] or "{}").values())
    return Standing(job, rests, row["ended_at"], idle, row["error"], row["error_at"], row["failing_by"])


def wanted(connection: Connection, now: int) -> list[tuple[str, int]]:
    """(job, when) of the wishes that wait for a process."""
    mine = _line.c.wanted_at > now - WISH_SECONDS * SECOND, or_(_line.c.paused_until.is_(None), _rest_is_over(now))
    return [(row.job, row.wanted_at) for row in connection.execute(select(_line).where(*mine).order_by(_line.c.job))]


def take(runtime: Runtime, job: str, wanted_at: int) -> bool:
    """Whether this process, and no other, carries out the wish of that instant."""
    now = runtime.clock.now()
    same = (_line.c.job == job, _line.c.wanted_at == wanted_at)
    free = or_(_line.c.paused_until.is_(None), _rest_is_over(now))
    taken = update(_line).where(*same, free).values(
        wanted_at=None, wanted_by=None, started_at=now, worker=runtime.worker
    )  # fmt: skip
    with db.writing(runtime.engine) as connection:
        return connection.execute(taken).rowcount == 1


def _rest_is_over(now: int) -> Any:
    return _line.c.paused_until <= now


def note(runtime: Runtime, seen: Standing, run: Ended) -> bool:
    """Note a run on the job's line if it says anything new; whether it was noted."""
    values = _news(runtime, seen, run)
    if not values:
        return False
    with db.writing(runtime.engine) as connection:
        _change(connection, seen.job, **values)
    return True


def _news(runtime: Runtime, seen: Standing, run: Ended) -> dict[str, Any]:
    """The columns that a run changes; none where nothing is new, or was noted a moment ago."""
    if run.error:
        same = seen.failing_by is not None and seen.error == run.error
        if same and not run.wanted and _lately(seen.error_at, run.ended_at, FAILING_SECONDS):
            return {}
        since = func.coalesce(_line.c.failing_since, run.ended_at)
        broken = {"error": run.error, "error_at": run.ended_at, "failing_since": since, "failing_by": runtime.worker}
        return {**_ran(runtime, run), **broken}
    # What fails in another process is not well because it went well here; but nobody waits for one that has died.
    elsewhere = seen.failing_by not in (None, runtime.worker)
    well = seen.failing_by is not None and not (
        elsewhere and _lately(seen.error_at, run.ended_at, ELSEWHERE_SECONDS)
    )  # fmt: skip
    idle = not any(run.counts.values())
    rest = QUIET_SECONDS if idle or not seen.idle else BUSY_SECONDS
    if not well and not run.wanted and _lately(seen.ended_at, run.ended_at, rest):
        return {}
    return {**_ran(runtime, run), **({"failing_since": None, "failing_by": None} if well else {})}


def _ran(runtime: Runtime, run: Ended) -> dict[str, Any]:
    return {
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "worker": runtime.worker,
        "counts": json.dumps(dict(run.counts)),
        "next_at": func.coalesce(run.started_at + _line.c.every, run.ended_at),
    }


def _lately(then: int | None, now: int, seconds: int) -> bool:
    return then is not None and 0 <= now - then < seconds * SECOND


def beat(runtime: Runtime, started_at: int, at_work: Mapping[str, int]) -> None:
    """This process lives, and has this in hand (by job, since when in microseconds)."""
    row = {"worker": runtime.worker, "started_at": started_at, "seen_at": runtime.clock.now(),
           "at_work": json.dumps(dict(at_work))}  # fmt: skip
    with db.writing(runtime.engine) as connection:
        insert = db.inserting(connection, _beat)
        newer = {name: insert.excluded[name] for name in ("seen_at", "at_work")}
        connection.execute(insert.on_conflict_do_update(index_elements=["worker"], set_=newer), row)


def leave(runtime: Runtime) -> None:
    """This process ends, as it should."""
    with db.writing(runtime.engine) as connection:
        connection.execute(delete(_beat).where(_beat.c.worker == runtime.worker))
