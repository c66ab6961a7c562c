"""Conditions: what is wrong at this instant, read from the rows. Each lasts until it is not found any more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, Select, Table, select, text
from sqlalchemy.exc import DBAPIError

from bridge import board, breaker, breaks, checks, gates, identity, log, models, withdrawals
from bridge.alerts import orphans
from bridge.ports import SECOND
from bridge.runtime import Runtime

_cap_hit: Table = models.metadata.tables["cap_hit"]
_endpoint: Table = models.metadata.tables["webhook_endpoint"]
_lineage: Table = models.metadata.tables["lineage"]
_person: Table = models.metadata.tables["person"]
_transfer: Table = models.metadata.tables["transfer"]
_turn: Table = models.metadata.tables["alert_turn"]

# In the words of the index over what is unresolved, which has all that is asked: no page of the table is read.
_PENDING = text("transfer.state IN ('pending', 'orphaned') AND transfer.state = 'pending'")

CAP_SECONDS = 300
"""A cap is hit until nothing has been refused for so long."""

RESTORE_SECONDS = 3600
"""A database that was set back is told for so long at least."""

PENDING_SECONDS = 3600
"""A transfer that is pending for so long after its patience is spent does not become an orphan by itself."""

LATE = {checks.INSPECT: ("audit inspection", "what was changed"), checks.VERIFY: ("verify late", "what does not hold")}
"""About what it is that a check is late, and what is not found for that."""

UNREAD = "alerts"
"""Before the kind of a condition that cannot be read."""

_log = log.get("alerts")


class Kind(StrEnum):
    """What can be wrong."""

    ORPHANS = "orphans"
    CAP_HIT = "exposure_cap"
    BREAKER = "breaker_open"
    PENDING = "pending_too_long"
    SILENT = "scheduler_silent"
    CHECK = "check_failed"
    ENDPOINT = "endpoint_disabled"
    JOB = "job_failing"
    HANGS = "job_hanging"
    SET_BACK = "database_set_back"
    MOVED = "provider_moved"
    LOCKED = "login_locked"


@dataclass(frozen=True)
class Condition:
    """One thing that is wrong. `about` tells two of a kind apart, `operator_id` whose it is (None: everybody's),
    `over` is the sentence for when it is not so any more. One that is `early` is not told yet; what was told of it
    lasts."""

    kind: Kind
    about: str
    operator_id: int | None
    sentence: str
    over: str
    early: bool = False


@dataclass(frozen=True)
class Found:
    """What one look came to. Of kinds that could not be read (`unread`), what was wrong is taken to last."""

    conditions: tuple[Condition, ...]
    orphans: orphans.Seen
    unread: frozenset[Kind]


def find(connection: Connection, runtime: Runtime, kinds: tuple[Kind, ...] = tuple(Kind)) -> Found:
    """Everything of these kinds that is wrong now; orphans by themselves, for they are counted one by one."""
    found: list[Condition] = []
    seen, unread = orphans.Seen(), set[Kind]()
    for kind in kinds:
        try:
            with connection.begin_nested():  # also after an error of the database the others are asked
                if kind is Kind.ORPHANS:
                    seen = orphans.look(connection, runtime)
                else:
                    found += list(_ASKED[kind](connection, runtime))
        except Exception as trouble:  # whatever is wrong with one, people are told of the others, and of this
            if isinstance(trouble, DBAPIError) and trouble.connection_invalidated:
                raise  # nothing more can be asked
            _log.exception("condition not read", kind=kind.value)
            unread.add(kind)
    if Kind.CHECK in kinds:
        found += [_unread(kind) for kind in sorted(unread)]
    return Found(tuple(found), seen, frozenset(unread))


def _unread(kind: Kind) -> Condition:
    return Condition(
        Kind.CHECK, f"{UNREAD}/{kind.value}", None,
        f"Whether there is anything to tell of {kind.value} cannot be read; see the log of the jobs.",
        f"Whether there is anything to tell of {kind.value} is known again.",
    )  # fmt: skip


def _cap_hits(connection: Connection, runtime: Runtime) -> Iterator[Condition]:
    since = runtime.clock.now() - CAP_SECONDS * SECOND
    query = select(_cap_hit.c.provider, _cap_hit.c.currency).where(_cap_hit.c.hit_at > since)
    for provider, currency in connection.execute(query.order_by(_cap_hit.c.provider, _cap_hit.c.currency)):
        if provider not in runtime.config.providers:
            continue
        cap = gates.cap_known(runtime, provider, currency)
        most = "the cap" if cap is None else f"the cap of {runtime.currencies.spelled(cap, currency)}"
        yield Condition(
            Kind.CAP_HIT, f"{provider}/{currency}", breaks.operator_of(connection, runtime, provider),
            f"Transfers into {provider} are refused: {most} on what is unresolved there is reached.",
            f"Nothing has been refused for {CAP_SECONDS // 60} minutes for the cap on {currency} at {provider}.",
        )  # fmt: skip


def _breakers(connection: Connection, runtime: Runtime) -> Iterator[Condition]:
    for provider in sorted(runtime.config.providers):
        if breaker.open_until(connection, provider, runtime.clock.now()):
            yield Condition(
                Kind.BREAKER, provider, breaks.operator_of(connection, runtime, provider),
                f"The breaker of {provider} is open: too many of its answers were unknown. Transfers in are refused, "
                "those out wait.",
                f"The breaker of {provider} is closed again.",
            )  # fmt: skip


def _pending(connection: Connection, runtime: Runtime) -> Iterator[Condition]:
    """What has no end long after the resolver should have put it before people, whatever has kept it from that: nobody
    is told of a transfer but by the orphan that it becomes."""
    found: dict[int, list[str]] = {}
    for row in connection.execute(past_patience(runtime.clock.now())):
        found.setdefault(row.operator_id, []).append(row.id)
    for operator, (first, *others) in sorted((operator, sorted(ids)) for operator, ids in found.items()):
        these = f"Transfer {first}, and {len(others)} more, are" if others else f"Transfer {first} is"
        yield Condition(
            Kind.PENDING, str(operator), operator,
            f"{these} pending although patience was spent more than an hour ago: nobody resolves that.",
            "No transfer of this operator is pending long after its patience any more.",
        )  # fmt: skip


def past_patience(now: int) -> Select[tuple[int, str]]:
    """(operator_id, id) of what is pending long after its patience, at `now` (microseconds). In no order: for that,
    SQLite would read every transfer there ever was."""
    spent = _transfer.c.orphan_at < now - PENDING_SECONDS * SECOND
    return select(_transfer.c.operator_id, _transfer.c.id).where(_PENDING, spent)


def _silence(connection: Connection, runtime: Runtime) -> Iterator[Condition]:
    quiet = board.quiet_for(connection, runtime.clock.now())
    if quiet is not None and quiet < runtime.config.alerts.silent_seconds * SECOND:
        return
    since = "no process has ever run the jobs" if quiet is None else f"no sign of life for {quiet // SECOND} s"
    yield Condition(
        Kind.SILENT, "jobs", None,
        f"The scheduler is silent: {since}. Nothing unresolved is resolved; start `python -m jobs`.",
        "The scheduler runs again.",
    )  # fmt: skip


def _checks(connection: Connection, runtime: Runtime) -> Iterator[Condition]:
    """How the audit stands; and of each check that no run ends, or what the last one that has ended came to."""
    for about, sentence in checks.concerns(connection, runtime):
        over = "It is as it should be again."
        yield Condition(Kind.CHECK, f"audit {about}", None, f"The audit: {sentence}.", f"The audit, {about}: {over}")
    for job, (about, what) in LATE.items():
        late = checks.overdue(connection, runtime, job)
        if late is not None:
            yield Condition(
                Kind.CHECK, about, None, f"{late.sentence.capitalize()}: {what} is not found.",
                f"{'An' if job == checks.INSPECT else 'A'} {checks.CHECKS[job]} has ended again.", early=late.early,
            )  # fmt: skip
        ended = checks.last(connection, runtime, job)
        if ended is not None and ended.failed:
            yield Condition(
                Kind.CHECK, job, None,
                f"{job.capitalize()} {ended.outcome}. See the runbook before anything else is done.",
                f"{job.capitalize()} finds nothing wrong any more.",
            )  # fmt: skip


def _endpoints(connection: Connection, _runtime: Runtime) -> Iterator[Condition]:
    dead = select(_endpoint.c.id, _endpoint.c.operator_id, _endpoint.c.reason).where(_endpoint.c.state == "disabled")
    for endpoint, operator, reason in connection.execute(dead.order_by(_endpoint.c.id)):
        yield Condition(
            Kind.ENDPOINT, endpoint, operator,
            f"Events are not sent to endpoint {endpoint} any more: {reason}.",
            f"Endpoint {endpoint} is enabled again, or gone.",
        )  # fmt: skip


def _locked(connection: Connection, _runtime: Runtime) -> Iterator[Condition]:
    """Each by itself, so that whoever tries all logins is told of as often as people are kept out. Whose it is stands
    at the desk and in no message: those may go to people of other operators."""
    locked = (_person.c.locked_at.is_not(None), _person.c.state == "active")
    for person, operator in connection.execute(
        select(_person.c.id, _person.c.operator_id).where(*locked).order_by(_person.c.id)
    ):
        yield Condition(
            Kind.LOCKED, person, operator,
            "A login at the desk is locked after three wrong tries; whose stands in the audit log there.",
            "A login at the desk that was locked is open again, or disabled.",
        )  # fmt: skip


def _jobs(connection: Connection, runtime: Runtime) -> Iterator[Condition]:
    """What one process has told by its own `failing_seconds` is over for every other when the job works, not before."""
    for line in board.failing(connection):
        lasts = runtime.clock.now() - line["failing_since"]
        yield Condition(
            Kind.JOB, line["job"], None,
            f"The job {line['job']} has failed for {lasts // SECOND} s: {line['error']}.",
            f"The job {line['job']} works again.",
            early=lasts < runtime.config.alerts.failing_seconds * SECOND,
        )  # fmt: skip


def _hanging(connection: Connection, runtime: Runtime) -> Iterator[Condition]:
    """Each job once, by the process that has had it in hand for longest."""
    named = set[str]()
    for each in board.hanging(connection, runtime.clock.now()):
        if each.job not in named:
            named.add(each.job)
            yield Condition(
                Kind.HANGS, each.job, None,
                f"The job {each.job} hangs: {each.worker} began it {each.seconds} s ago and does not end it. "
                "Restart that process.",
                f"The job {each.job} does not hang any more.",
            )  # fmt: skip


def _set_back(connection: Connection, runtime: Runtime) -> Iterator[Condition]:
    """While a restore keeps a provider closed, or people have closed it and it was not compared yet; while it keeps
    withdrawals closed; and for a while after one that closed nothing."""
    accepted = identity.accepted_at(connection)
    compared = [each for each in gates.closed(connection) if each.restored_at is not None]
    closed = [each.provider for each in compared if each.restored_at != accepted.get(each.provider)]
    shut = withdrawals.closed(connection) is not None
    looked = connection.execute(select(_lineage.c.seen_at)).scalar()
    known = connection.execute(select(_turn.c.lineage_at).where(_turn.c.name == "look")).scalar()
    is_new = known is not None and looked not in (None, known)
    if closed or shut or (is_new and runtime.clock.now() - int(looked or 0) < RESTORE_SECONDS * SECOND):
        told = f"Closed for transfers in: {', '.join(closed)}." if closed else "No provider is closed by that."
        yield Condition(
            Kind.SET_BACK, "database", None,
            f"The database is a restored backup or a copy. {told}"
            + (f" Nothing is withdrawn: {withdrawals.HOW_TO_OPEN}." if shut else ""),
            "What a restore of the database had closed is open again, or was compared and is closed by people.",
        )  # fmt: skip


def _moved(connection: Connection, runtime: Runtime) -> Iterator[Condition]:
    """By the configuration of the process that looks."""
    for provider, told in identity.moved(connection, runtime).items():
        yield Condition(
            Kind.MOVED, provider, breaks.operator_of(connection, runtime, provider),
            f"{told}. Nothing is sent to it, concluded about it or begun at it until people accept it, or it is "
            "configured as it was.",
            f"{provider} is the one that it was, or was accepted as another.",
        )  # fmt: skip


_ASKED: dict[Kind, Callable[[Connection, Runtime], Iterator[Condition]]] = {
    Kind.CAP_HIT: _cap_hits,
    Kind.BREAKER: _breakers,
    Kind.PENDING: _pending,
    Kind.SILENT: _silence,
    Kind.CHECK: _checks,
    Kind.ENDPOINT: _endpoints,
    Kind.JOB: _jobs,
    Kind.HANGS: _hanging,
    Kind.SET_BACK: _set_back,
    Kind.MOVED: _moved,
    Kind.LOCKED: _locked,
}
