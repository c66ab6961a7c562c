"""The overview: what is unresolved at whom, how long certainty takes, whether the doors are open, how it has gone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, Table, func, select, text

from bridge import db, gauges, models, tallies
from bridge.ports import SECOND
from bridge.runtime import Runtime
from bridge.views import alerted, losses
from bridge.views.alerted import Alert
from bridge.views.amounts import Money, providers_of
from bridge.views.doors import Door, doors
from bridge.views.losses import Loss

_transfer: Table = models.metadata.tables["transfer"]
_case: Table = models.metadata.tables["orphan_case"]
_proposal: Table = models.metadata.tables["proposal"]

DAY = 86_400 * SECOND
DAYS, HOURS, CERTAINTY_HOURS = 30, 48, 24
"""How far back the charts reach, and over what time it is told how long certainty takes."""

CERTAIN = ("confirmed", "reversed")


@dataclass(frozen=True)
class Heap:
    """So many transfers, their value in minor units, and when the oldest of them was begun (microseconds)."""

    transfers: int = 0
    units: int = 0
    oldest: int | None = None

    def plus(self, transfers: int, units: int, oldest: int) -> Heap:
        """This heap and more."""
        first = oldest if self.oldest is None else min(self.oldest, oldest)
        return Heap(self.transfers + transfers, self.units + units, first)


@dataclass(frozen=True)
class Standing:
    """What has not ended at one provider in one currency: on its way with an answer still to be expected (`pending`),
    without a usable answer (`unknown`), and before people (`orphaned`)."""

    provider: str
    currency: str
    pending: Heap = Heap()
    unknown: Heap = Heap()
    orphaned: Heap = Heap()


@dataclass(frozen=True)
class Certainty:
    """Seconds from the begin of a transfer to its proved end, for half of them and for 99 of 100; None without any."""

    provider: str
    transfers: int
    median: float | None
    slow: float | None


@dataclass(frozen=True)
class Day:
    """Cases of orphans that were opened and closed on a day, which begins at `start`."""

    start: int
    opened: int
    closed: int


@dataclass(frozen=True)
class Hour:
    """Transfers that came to these states in an hour, which begins at `start`."""

    start: int
    confirmed: int
    reversed: int
    orphaned: int


@dataclass(frozen=True)
class Overview:
    """How an operator's transfers stand at the instant `at`."""

    at: int
    standings: tuple[Standing, ...]
    certainty: tuple[Certainty, ...]
    doors: tuple[Door, ...]
    losses: tuple[Loss, ...]
    alerts: tuple[Alert, ...]
    days: tuple[Day, ...]
    hours: tuple[Hour, ...]
    proposals_open: int

    def total(self, stage: str) -> list[Money]:
        """The value of a stage (`pending`, `unknown`, `orphaned`) by currency."""
        sums: Counter[str] = Counter()
        for each in self.standings:
            if getattr(each, stage).transfers:
                sums[each.currency] += getattr(each, stage).units
        return [Money(units, currency) for currency, units in sorted(sums.items())]

    def count(self, stage: str) -> int:
        """How many transfers are at a stage."""
        return sum(getattr(each, stage).transfers for each in self.standings)

    def oldest(self, stage: str) -> int | None:
        """When the oldest transfer of a stage was begun (microseconds)."""
        begun = (getattr(each, stage).oldest for each in self.standings)
        return min((at for at in begun if at is not None), default=None)


def overview(runtime: Runtime, operator_id: int, *, whole: bool = True) -> Overview:
    """How an operator's transfers stand now. `whole`: with all that is told of what all operators share."""
    now = runtime.clock.now()
    with db.reading(runtime.engine) as connection:
        mine = providers_of(connection, runtime, operator_id)
        unresolved = gauges.unresolved(connection, operator_id)
        counted = tallies.lately(connection, operator_id, now - HOURS * tallies.HOUR)
        return Overview(
            at=now,
            standings=tuple(_standings(unresolved)),
            certainty=tuple(_certainty(counted, now)),
            doors=tuple(doors(connection, runtime, mine, unresolved)),
            losses=tuple(losses.taken(connection, operator_id)),
            alerts=tuple(alerted.open_ones(connection, operator_id, whole=whole)),
            days=tuple(_days(connection, operator_id, now)),
            hours=tuple(_hours(counted, now)),
            proposals_open=_proposals_open(connection, operator_id),
        )


def _standings(unresolved: Iterable[gauges.Unresolved]) -> list[Standing]:
    heaps: defaultdict[tuple[str, str], defaultdict[str, Heap]] = defaultdict(lambda: defaultdict(Heap))
    for each in unresolved:
        mine = heaps[each.provider, each.currency]
        mine[each.stage] = mine[each.stage].plus(each.transfers, each.units, each.oldest)
    return [Standing(*key, *(mine[stage] for stage in gauges.STAGES)) for key, mine in sorted(heaps.items())]


def _certainty(counted: Iterable[RowMapping], now: int) -> list[Certainty]:
    since = (now - CERTAINTY_HOURS * tallies.HOUR) // tallies.HOUR * tallies.HOUR
    buckets: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for row in counted:
        if row["hour"] >= since and row["state"] in CERTAIN:
            buckets[row["provider"]][row["bucket"]] += row["moves"]
    return [
        Certainty(name, sum(mine.values()), tallies.quantile(mine, 0.5), tallies.quantile(mine, 0.99))
        for name, mine in sorted(buckets.items())
    ]


def _hours(counted: Iterable[RowMapping], now: int) -> list[Hour]:
    moves: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for row in counted:
        moves[row["hour"]][row["state"]] += row["moves"]
    last = now // tallies.HOUR * tallies.HOUR
    starts = range(last - (HOURS - 1) * tallies.HOUR, last + 1, tallies.HOUR)
    return [Hour(at, *(moves[at][state] for state in ("confirmed", "reversed", "orphaned"))) for at in starts]


def _days(connection: Connection, operator_id: int, now: int) -> list[Day]:
    today = now // DAY * DAY
    first = today - (DAYS - 1) * DAY
    opened, closed = (_cases_by_day(connection, operator_id, column, first) for column in ("opened_at", "closed_at"))
    return [Day(at, opened.get(at, 0), closed.get(at, 0)) for at in range(first, today + 1, DAY)]


def _cases_by_day(connection: Connection, operator_id: int, column: str, since: int) -> dict[int, int]:
    """First instant of a day → cases whose `column` lies in it. By integers: both databases divide them alike."""
    day: Any = (_case.c[column] // DAY).label("day")
    # As a value, case by case: joined, a planner would rather read all transfers than look up so many.
    owner = select(_transfer.c.operator_id).where(
        _transfer.c.id == _case.c.transfer_id, _transfer.c.operator_id == operator_id
    )
    mine = select(day, func.count()).where(_case.c[column] >= since, owner.scalar_subquery() == operator_id)
    return {int(number) * DAY: count for number, count in connection.execute(mine.group_by(day))}


def _proposals_open(connection: Connection, operator_id: int) -> int:
    query = select(func.count()).where(_proposal.c.operator_id == operator_id, text("proposal.state = 'open'"))
    return int(connection.execute(query).scalar_one())
