"""Amounts as they stand in sentences, and what belongs to an operator."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from bridge import players
from bridge.money import Currencies, UnknownCurrency
from bridge.ports import SECOND
from bridge.runtime import Runtime

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
"""The last instant that calendars here have, in microseconds."""


@dataclass(frozen=True)
class Money:
    """An amount in minor units of its currency."""

    units: int
    currency: str


def written(currencies: Currencies, units: int, currency: str) -> str:
    """An amount as people read it, such as "12 345.67 EUR"; one whose currency is not configured any more tells its
    minor units."""
    try:
        return currencies.spelled(units, currency)
    except UnknownCurrency:
        return f"{units} minor units of {currency}"


def instant(at: int) -> datetime:
    """The instant of microseconds since 1970, UTC; one that no calendar has is its nearest end."""
    return _EPOCH + timedelta(microseconds=max(0, min(at, LAST)))


def clock_time(at: int, *, exact: bool = False) -> str:
    """An instant as people read it, in UTC wherever they are: to the second, or `exact`, to the millisecond."""
    moment = instant(at)
    part = f".{moment.microsecond // 1000:03}" if exact else ""
    return f"{moment:%Y-%m-%d %H:%M:%S}{part} UTC"


def duration(micros: int) -> str:
    """A length of time in its two largest units, such as "3 days 4 hours"; under a minute, seconds."""
    seconds = max(0, micros) // SECOND
    parts = []
    for size, name in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        count, seconds = divmod(seconds, size)
        parts.append((count, name))
    parts.append((seconds, "second"))
    first = next((place for place, (count, _) in enumerate(parts) if count), len(parts) - 1)
    told = [(count, name) for count, name in parts[first : first + 2] if count] or [(0, "second")]
    return " ".join(f"{count} {name}{'' if count == 1 else 's'}" for count, name in told)


def providers_of(connection: Connection, runtime: Runtime, operator_id: int) -> list[str]:
    """The configured providers that are this operator's, by name."""
    name = players.operator_name(connection, operator_id)
    return sorted(each for each, policy in runtime.config.providers.items() if policy.operator == name)
