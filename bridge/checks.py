"""What the checks of our own have come to, read from rows: the last `verify` and inspection, and how the audit stands.

No check is made here; whoever owns the database can write these rows too, but none from a later day.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, Table, func, select

from bridge import models
from bridge.config import Config
from bridge.ports import SECOND
from bridge.runtime import Runtime

_runs: Table = models.metadata.tables["job_run"]
_mark: Table = models.metadata.tables["seal_mark"]
_seal: Table = models.metadata.tables["seal"]

VERIFY, INSPECT = "verify", "inspect"
FAILED = "failed"

HOUR_SECONDS = 3600
LATE_INTERVALS = 2
"""So many of its intervals without one that has ended, and a check is late."""

VERIFY_LATE_SECONDS = 7200
"""A verification is not late earlier: its interval is short, and a large database takes longer."""

STANDING = "standing"
"""The row of the marks in which the job `seal` leaves how sealing and the mirrors stand."""

REFUSED = "refused/"
"""Before the name of a place whose mirror was not gone on with, in the table of marks: `note` says why."""

STANDING_SECONDS = 60
STALE_SECONDS = 1200
"""What was left so long ago says nothing any more: of how sealing stands, that nobody seals; of a refusal, that it is
over, or its process gone."""


@dataclass(frozen=True)
class Ended:
    """A check that has ended: when (microseconds), and what it came to."""

    at: int
    outcome: str

    @property
    def failed(self) -> bool:
        """Whether it found something, or could not be made."""
        return self.outcome.startswith(FAILED)


def slot_of(config: Config, job: str, now: int) -> int:
    """The number of whole intervals of a check since 1970, at `now` (microseconds)."""
    seconds = {VERIFY: config.engine.verify_every_seconds, INSPECT: config.audit.inspect_hours * HOUR_SECONDS}[job]
    return now // int(seconds * SECOND)


def last(connection: Connection, runtime: Runtime, job: str) -> Ended | None:
    """The newest run of a check that has ended, of the slots up to the present one."""
    present = slot_of(runtime.config, job, runtime.clock.now())
    ended = (_runs.c.job == job, _runs.c.slot <= present, _runs.c.finished_at.is_not(None))
    query = select(_runs.c.finished_at, _runs.c.outcome).where(*ended).order_by(_runs.c.slot.desc()).limit(1)
    row = connection.execute(query).first()
    return None if row is None else Ended(row.finished_at, str(row.outcome or ""))


def _since(connection: Connection, runtime: Runtime, job: str) -> int | None:
    """When a check last ended, in whatever slot: those of another interval are numbered otherwise. Where none has, when
    there was something to check first: a seal, or the first verification that was begun; None before that."""
    ended = select(func.max(_runs.c.finished_at)).where(
        _runs.c.job == job, _runs.c.finished_at <= runtime.clock.now()
    )  # fmt: skip
    first = {
        VERIFY: select(func.min(_runs.c.started_at)).where(_runs.c.job == VERIFY),
        INSPECT: select(_seal.c.at).where(_seal.c.chain == -1).order_by(_seal.c.number).limit(1),
    }[job]
    since: int | None = connection.execute(ended).scalar()
    return connection.execute(first).scalar() if since is None else since


def inspected_age(connection: Connection, runtime: Runtime) -> float | None:
    """Seconds since the last inspection ended, or, where none has, since the first seal was made; None before that."""
    since = _since(connection, runtime, INSPECT)
    return None if since is None else max(0, runtime.clock.now() - since) / SECOND


def overdue(
    connection: Connection, runtime: Runtime, job: str, late: float, alive_since: int | None
) -> float | None:
    """Seconds since a check last ended, where that is more than `late` ago although one could have; else None.

    While nobody runs the jobs none can. So it is counted from the first run after a time in which none was begun, or
    from when the process started that has run the jobs for longest (`alive_since`); not from the newest run, for one
    whose process dies at it each time never ends.
    """
    now, longest = runtime.clock.now(), int(late * SECOND)
    ended = last(connection, runtime, job)
    if ended is not None and now - ended.at <= longest:
        return None  # nearly always: what follows reads every run that there was
    since = _since(connection, runtime, job)
    if since is None:
        return None
    lately = (_runs.c.started_at > max(since, now - 2 * longest), _runs.c.started_at <= now)
    signs = set(connection.execute(select(_runs.c.started_at).where(_runs.c.job == job, *lately)).scalars())
    if alive_since is not None and since < alive_since <= now:
        signs.add(alive_since)
    first, *before = sorted({since, *signs}, reverse=True)
    for sign in before:
        if first - sign > longest:
            break
        first = sign
    return (now - since) / SECOND if now - first > longest else None


def standing(connection: Connection) -> RowMapping | None:
    """How sealing stood when it was last looked at: `seen_at`, `note` (nothing: well), `again` (seconds late)."""
    return connection.execute(select(_mark).where(_mark.c.source == STANDING)).mappings().first()


def concerns(
    connection: Connection, runtime: Runtime, alive_since: int | None = None
) -> Iterator[tuple[str, str]]:
    """(about what, in a sentence) of what is not as it should be with the audit, beside an inspection's findings.
    `alive_since`: as for `overdue`."""
    now = runtime.clock.now()
    stood = standing(connection)
    if stood is not None and stood["note"]:
        yield "sealing", stood["note"]
    if stood is not None and not now - STALE_SECONDS * SECOND < stood["seen_at"]:
        yield "seal", f"nothing has been sealed, or looked at, for {(now - stood['seen_at']) // SECOND} s"
    refused = select(_mark).where(_mark.c.source.startswith(REFUSED, autoescape=True), _mark.c.note.is_not(None))
    for row in connection.execute(refused.order_by(_mark.c.source)).mappings():
        if (row["seen_at"] or 0) > now - STALE_SECONDS * SECOND:
            yield row["source"], f"the mirror is refused at {row['source'].removeprefix(REFUSED)}: {row['note']}"
    late = LATE_INTERVALS * runtime.config.audit.inspect_hours * HOUR_SECONDS
    age = overdue(connection, runtime, INSPECT, late, alive_since)
    if age is not None:
        yield "inspection", f"no inspection has ended for {age // HOUR_SECONDS:.0f} hours"
