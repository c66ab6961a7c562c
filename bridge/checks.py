"""What the checks of our own have come to, read from rows: the last `verify` and inspection, and how the audit stands.

No check is made here; whoever owns the database can write these rows too, but none from a later day.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, Table, func, select, update

from bridge import board, clocks, db, models
from bridge.config import Config
from bridge.ports import SECOND
from bridge.runtime import Runtime

_runs: Table = models.metadata.tables["job_run"]
_mark: Table = models.metadata.tables["seal_mark"]
_seal: Table = models.metadata.tables["seal"]
_turn: Table = models.metadata.tables["alert_turn"]

VERIFY, INSPECT = "verify", "inspect"
CHECKS = {INSPECT: "inspection", VERIFY: "verification"}
"""Jobs that look whether all is right, and what a run of each is called."""

FAILED = "failed"

HOUR_SECONDS = 3600
LATE_INTERVALS = 2
"""So many of its intervals without one that has ended, and a check is late."""

VERIFY_LATE_SECONDS = 7200
"""A verification is not late earlier: its interval is short, and a large database takes longer."""

RAN = "jobs ran"
"""The row, of those about turns, that says when the jobs last looked; with the name of a check behind it: from when the
time counts in which they ran without its ending, each stop left out."""

FIRST_RAN = "jobs first ran"
"""The row that says when the jobs looked for the first time: from then on a verification is to be begun."""

NOTED_SECONDS = 60
"""That the jobs run is noted this often."""

STOP_SECONDS = 600
"""For so long nobody has looked: the jobs stood still. Less is a start anew, as of one who dies at each check."""

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
    return now // int(_interval(config, job) * SECOND)


def _interval(config: Config, job: str) -> float:
    return {VERIFY: config.engine.verify_every_seconds, INSPECT: config.audit.inspect_hours * HOUR_SECONDS}[job]


def last(connection: Connection, runtime: Runtime, job: str) -> Ended | None:
    """The newest run of a check that has ended, of the slots up to the present one."""
    present = slot_of(runtime.config, job, runtime.clock.now())
    ended = (_runs.c.job == job, _runs.c.slot <= present, _runs.c.finished_at.is_not(None))
    query = select(_runs.c.finished_at, _runs.c.outcome).where(*ended).order_by(_runs.c.slot.desc()).limit(1)
    row = connection.execute(query).first()
    return None if row is None else Ended(row.finished_at, str(row.outcome or ""))


def _since(connection: Connection, runtime: Runtime, job: str) -> int | None:
    """When a check last ended, in whatever slot: those of another interval are numbered otherwise. Where none has, when
    there was something to check first: a seal; or when the first verification was begun, or was to be, for the jobs
    ran. None before that."""
    ended: int | None = connection.execute(
        select(func.max(_runs.c.finished_at)).where(_runs.c.job == job, _runs.c.finished_at <= runtime.clock.now())
    ).scalar()
    if ended is not None:
        return ended
    first = {
        VERIFY: select(func.min(_runs.c.started_at)).where(_runs.c.job == VERIFY),
        INSPECT: select(_seal.c.at).where(_seal.c.chain == -1).order_by(_seal.c.number).limit(1),
    }[job]
    begun: int | None = connection.execute(first).scalar()
    ran = _kept(connection, FIRST_RAN) if job == VERIFY else None
    return min((at for at in (begun, ran) if at is not None), default=None)


def inspected_age(connection: Connection, runtime: Runtime) -> float | None:
    """Seconds since the last inspection ended, or, where none has, since the first seal was made; None before that."""
    since = _since(connection, runtime, INSPECT)
    return None if since is None else max(0, runtime.clock.now() - since) / SECOND


@dataclass(frozen=True)
class Overdue:
    """A check of which no run has ended for long, in a sentence. As long as it is `early` it had no time to: the jobs
    stood still, or people had it rest."""

    sentence: str
    early: bool


def overdue(connection: Connection, runtime: Runtime, job: str) -> Overdue | None:
    """Whether a check is late: no run of it has ended in so much time in which the jobs ran, with the longest pause
    beside it where people have paused it since. Nothing but such an end makes it None again."""
    now, late = runtime.clock.now(), LATE_INTERVALS * _interval(runtime.config, job) * SECOND
    late = late if job == INSPECT else max(late, VERIFY_LATE_SECONDS * SECOND)
    ended = last(connection, runtime, job)
    if ended is not None and 0 <= now - ended.at <= late:
        return None  # nearly always: what follows reads every run that there was
    since = _since(connection, runtime, job)
    if since is None or now - since <= late:
        return None
    if board.rested(connection, job, since):
        late += board.LONGEST_PAUSE_SECONDS * SECOND
    hours = (now - since) // SECOND // HOUR_SECONDS
    ran = now - _counted_from(connection, job, since, now)
    return Overdue(f"no {CHECKS[job]} has ended for {hours} hours", early=ran <= late)


def is_noted(connection: Connection, runtime: Runtime) -> bool:
    """Whether it was noted a moment ago that the jobs run."""
    looked = _kept(connection, RAN)
    return looked is not None and -clocks.APART_AT_MOST <= runtime.clock.now() - looked < NOTED_SECONDS * SECOND


def note(connection: Connection, runtime: Runtime) -> None:
    """The jobs run, and look. After a stop all that counts is moved by it; kept in rows, so that no start of a process
    begins to count anew. One at a time does this."""
    now = runtime.clock.now()
    if not 0 <= now - (_kept(connection, RAN) or 0) <= STOP_SECONDS * SECOND:
        for job in CHECKS:
            since = _since(connection, runtime, job)
            if since is not None:
                _keep(connection, f"{RAN} {job}", _counted_from(connection, job, since, now))
    first = _kept(connection, FIRST_RAN)
    if first is None or first > now:
        _keep(connection, FIRST_RAN, now)
    _keep(connection, RAN, now)


def _counted_from(connection: Connection, job: str, since: int, now: int) -> int:
    """The instant from which the time counts in which the jobs ran, for a check that last ended at `since`: that end,
    or, where they stood still afterwards, later by as long as they did."""
    stop = now - (_kept(connection, RAN) or 0)
    kept = _kept(connection, f"{RAN} {job}") or 0
    return min(now, max(since, kept) + (stop if stop > STOP_SECONDS * SECOND else 0))


def _kept(connection: Connection, name: str) -> int | None:
    kept: int | None = connection.execute(select(_turn.c.until).where(_turn.c.name == name)).scalar()
    return kept


def _keep(connection: Connection, name: str, at: int) -> None:
    if not db.insert_if_absent(connection, _turn, {"name": name, "until": at}):
        connection.execute(update(_turn).where(_turn.c.name == name).values(until=at))


def standing(connection: Connection) -> RowMapping | None:
    """How sealing stood when it was last looked at: `seen_at`, `note` (nothing: well), `again` (seconds late)."""
    return connection.execute(select(_mark).where(_mark.c.source == STANDING)).mappings().first()


def concerns(connection: Connection, runtime: Runtime) -> Iterator[tuple[str, str]]:
    """(about what, in a sentence) of what is not as it should be with the seals and their mirrors, beside what an
    inspection finds, and that none ends."""
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
