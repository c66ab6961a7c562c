"""Whether transfers may go into a provider: what happens to one that is asked for now, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, Table, select

from bridge import gates, gauges, identity, models
from bridge.alerts.conditions import CAP_SECONDS
from bridge.ports import SECOND, Direction
from bridge.runtime import Runtime

_cap_hit: Table = models.metadata.tables["cap_hit"]


class Way(StrEnum):
    """What becomes of a transfer in that is asked for now, in the order in which people would want to know it."""

    MOVED = "moved"  # refused, and those out too: configured as another one than it was
    CLOSED = "closed"  # by people: only they open it
    RESTORED = "restored"  # since a restore: until what it holds is compared
    BREAKER = "breaker"  # refused: too many of its answers were of no use
    CAP = "cap"  # refused: in every currency as much is unresolved as may be
    PARTLY = "partly"  # refused in some currency, or where it is larger than what is left of a cap
    ACCEPTED = "accepted"


@dataclass(frozen=True)
class Used:
    """What is unresolved of transfers into a provider, and the most that may be (minor units; None: no bound).
    `refused`: whether a transfer was refused for it a moment ago."""

    currency: str
    units: int
    cap: int | None
    refused: bool = False

    @property
    def room(self) -> int | None:
        """How much more may become unresolved there; None for any amount."""
        return None if self.cap is None else max(0, self.cap - self.units)


@dataclass(frozen=True)
class Door:
    """A provider's door for transfers in: its breaker, the switch that people or a restore have closed, its caps, and
    whether it is another one here than it was."""

    provider: str
    breaker_open: bool
    closed: gates.Closed | None
    exposure: tuple[Used, ...]
    moved: bool = False

    @property
    def way(self) -> Way:
        """What happens to a transfer in now: all that can keep it out is asked here, and nowhere else."""
        if self.moved:
            return Way.MOVED
        if self.closed is not None:
            return Way.RESTORED if self.closed.cause == gates.RESTORED else Way.CLOSED
        if self.breaker_open:
            return Way.BREAKER
        if self.exposure and all(used.room == 0 for used in self.exposure):
            return Way.CAP
        return Way.PARTLY if self.tight else Way.ACCEPTED

    @property
    def tight(self) -> tuple[Used, ...]:
        """Where a cap is reached, or has kept a transfer out a moment ago."""
        return tuple(used for used in self.exposure if used.cap is not None and (used.room == 0 or used.refused))


def doors(
    connection: Connection, runtime: Runtime, providers: Sequence[str], unresolved: Iterable[gauges.Unresolved]
) -> list[Door]:
    """The doors of these providers. `unresolved`: all that has not ended of their operator."""
    broken, moved = gauges.open_breakers(connection), identity.moved(connection, runtime)
    closed = {each.provider: each for each in gates.closed(connection)}
    refused = _refused_lately(connection, runtime)
    used: Counter[tuple[str, str]] = Counter()
    for each in unresolved:
        if each.direction == Direction.IN:
            used[each.provider, each.currency] += each.units
    return [
        Door(
            name,
            breaker_open=name in broken,
            closed=closed.get(name),
            exposure=tuple(
                Used(
                    currency,
                    used[name, currency],
                    gates.cap_known(runtime, name, currency),
                    refused=(name, currency) in refused,
                )
                for currency in sorted(runtime.policy(name).currencies)
            ),
            moved=name in moved,
        )
        for name in providers
    ]


def _refused_lately(connection: Connection, runtime: Runtime) -> set[tuple[str, str]]:
    """(provider, currency) where the cap has kept a transfer out so lately that people are alerted to it."""
    since = runtime.clock.now() - CAP_SECONDS * SECOND
    query = select(_cap_hit.c.provider, _cap_hit.c.currency).where(_cap_hit.c.hit_at > since)
    return {(row.provider, row.currency) for row in connection.execute(query)}
