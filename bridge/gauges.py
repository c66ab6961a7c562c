"""Gauges: how things stand at this instant, read from the rows, and so the same whichever process is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, case, func, select, text

from bridge import board, models
from bridge.alerts import sending
from bridge.ports import SECOND
from bridge.runtime import Runtime
from bridge.tallies import GIGA

_transfer: Table = models.metadata.tables["transfer"]
_leg: Table = models.metadata.tables["leg"]
_case: Table = models.metadata.tables["orphan_case"]
_evidence: Table = models.metadata.tables["evidence"]
_outbox: Table = models.metadata.tables["outbox"]
_delivery: Table = models.metadata.tables["delivery"]
_inbox_task: Table = models.metadata.tables["inbox_task"]
_breaker: Table = models.metadata.tables["breaker"]
_switch: Table = models.metadata.tables["switch"]
_break: Table = models.metadata.tables["balance_break"]
_job_line: Table = models.metadata.tables["job_line"]
_alert: Table = models.metadata.tables["alert"]

_operator: Table = models.metadata.tables["operator"]

OPERATORS = select(_operator.c.id, _operator.c.name)
ANSWERS_SECONDS = 300
"""The answers of providers are counted over so long."""

STAGES = PENDING, UNKNOWN, ORPHANED = "pending", "unknown", "orphaned"
"""What is unresolved: on its way; without an answer that says what became of it; before people."""


@dataclass(frozen=True)
class Unresolved:
    """Transfers of one provider, currency, direction and stage that have not ended: how many, their value in minor
    units, and the instant at which the oldest of them was begun."""

    operator_id: int
    provider: str
    currency: str
    direction: str
    stage: str
    transfers: int
    units: int
    oldest: int


def unresolved(connection: Connection, operator_id: int | None = None) -> list[Unresolved]:
    """All that has not ended, of one operator or of everybody."""
    lost = select(_leg.c.transfer_id).where(_leg.c.transfer_id == _transfer.c.id, _leg.c.unknown_since.is_not(None))
    stage = case((_transfer.c.state == ORPHANED, ORPHANED), (lost.exists(), UNKNOWN), else_=PENDING)
    kind = (_transfer.c.operator_id, _transfer.c.provider, _transfer.c.currency, _transfer.c.direction, stage)
    # In the index's own words, so that both databases see that it holds all that is asked for.
    parts = (func.sum(_transfer.c.amount // GIGA), func.sum(_transfer.c.amount % GIGA))  # one sum might not fit
    query = select(*kind, func.count(), *parts, func.min(_transfer.c.created_at)).where(
        text("transfer.state IN ('pending', 'orphaned')")
    )
    if operator_id is not None:
        query = query.where(_transfer.c.operator_id == operator_id)
    # Sorted here, where there are few: a database would sort all of them by their words before it counts.
    return sorted(
        (
            Unresolved(operator, provider, currency, direction, named, count, int(giga) * GIGA + int(units), oldest)
            for operator, provider, currency, direction, named, count, giga, units, oldest in connection.execute(
                query.group_by(*kind)
            )
        ),
        key=lambda each: (each.operator_id, each.provider, each.currency, each.direction, each.stage),
    )


def answers(connection: Connection, runtime: Runtime) -> Sequence[Any]:
    """(provider, source, answer, number) of what providers have said within ANSWERS_SECONDS."""
    since = runtime.clock.now() - ANSWERS_SECONDS * SECOND
    kind = (_evidence.c.provider, _evidence.c.source, _evidence.c.answer)
    recent = _evidence.c.provider.in_(sorted(runtime.config.providers)), _evidence.c.at >= since
    told = _evidence.c.source.in_(("call", "lookup", "callback"))
    return connection.execute(select(*kind, func.count()).where(*recent, told).group_by(*kind).order_by(*kind)).all()


def open_cases(connection: Connection) -> Sequence[Any]:
    """(provider, state, number) of cases that people have not closed."""
    kind = (_transfer.c.provider, _case.c.state)
    query = select(*kind, func.count()).join(_transfer, _transfer.c.id == _case.c.transfer_id)
    return connection.execute(query.where(_case.c.state != "closed").group_by(*kind).order_by(*kind)).all()


def open_breakers(connection: Connection) -> set[str]:
    """Providers to which no money is sent in, for they answer too little."""
    return set(connection.execute(select(_breaker.c.provider).where(_breaker.c.open)).scalars())


def closed(connection: Connection) -> set[str]:
    """Providers that people, or a restored backup, have closed for transfers in."""
    return set(connection.execute(select(_switch.c.provider)).scalars())


def balances_that_differ(connection: Connection) -> Sequence[Any]:
    """(provider, currency, number) of balances that providers tell otherwise than we do."""
    kind = (_break.c.provider, _break.c.currency)
    query = select(*kind, func.count()).where(text("balance_break.closed_at IS NULL"))
    return connection.execute(query.group_by(*kind).order_by(*kind)).all()


@dataclass(frozen=True)
class Waiting:
    """So many of a kind wait; the oldest has waited, or has been due, since `oldest`, None where nothing waits."""

    number: int
    oldest: int | None


def waiting(connection: Connection) -> dict[str, Waiting]:
    """Moves that wait for their number, events on their way to an endpoint, and messages of providers to act on."""
    asked = {
        "outbox": select(func.count(), func.min(_outbox.c.at)),
        "deliveries": select(func.count(), func.min(_delivery.c.wake_at)).where(_delivery.c.wake_at.is_not(None)),
        "inbox": select(func.count(), func.min(_inbox_task.c.wake_at)).where(_inbox_task.c.wake_at.is_not(None)),
    }
    return {name: Waiting(*connection.execute(query).one()) for name, query in asked.items()}


@dataclass(frozen=True)
class JobFigures:
    """How a job stands: seconds since its last noted run (None: never), for how long it has failed, and whether people
    have paused it."""

    job: str
    age: float | None
    failing: float
    paused: bool


def jobs(connection: Connection, now: int) -> list[JobFigures]:
    """Every job on the board."""
    found = []
    for row in connection.execute(select(_job_line).order_by(_job_line.c.job)).mappings():
        age = None if row["ended_at"] is None else max(0, now - row["ended_at"]) / SECOND
        failing = 0.0 if row["failing_since"] is None else max(0, now - row["failing_since"]) / SECOND
        found.append(JobFigures(row["job"], age, failing, (row["paused_until"] or 0) > now))
    return found


def job_processes(connection: Connection, now: int) -> int:
    """How many processes run the jobs."""
    return len(board.living(connection, now))


def open_alerts(connection: Connection) -> Sequence[Any]:
    """(kind, number) of what is wrong."""
    query = select(_alert.c.kind, func.count()).where(text("alert.ended_at IS NULL"))
    return connection.execute(query.group_by(_alert.c.kind).order_by(_alert.c.kind)).all()


def unsent_alerts(connection: Connection) -> list[sending.Unsent]:
    """What people are to be told and have not been, by the way to them."""
    return sending.unsent(connection)
