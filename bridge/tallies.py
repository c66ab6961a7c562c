"""Tallies: how often transfers came to each of their states, after how long, and how much value that was.

They are counted when moves are given their numbers, in that transaction: each once, whichever process did it, and
however often processes are started anew.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, Table, select

from bridge import db, models
from bridge.ports import SECOND

_tally: Table = models.metadata.tables["tally"]
_hour: Table = models.metadata.tables["hour_tally"]

BOUNDS_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 86_400)
"""Upper bounds of the times that are counted together; what took longer is counted behind the last one."""

GIGA = 10**9
"""Value is added up in two parts, for a life's turnover may exceed 64 bits."""

MILLI = 1000

HOUR = 3600 * SECOND
"""The moves of one hour are counted together too, so that what happened lately can be told without reading them all."""

_KEY = ("operator_id", "provider", "currency", "direction", "state", "bucket")
_ADDED = ("moves", "giga_units", "units", "millis")
_HOUR_KEY = ("operator_id", "hour", "provider", "state", "bucket")


def add(connection: Connection, operator_id: int, moved: Iterable[Mapping[Any, Any]]) -> None:
    """Count moves of an operator, each the outbox's row with its transfer's `provider`, `currency`, `direction` and
    `created_at`."""
    sums: dict[tuple[Any, ...], list[int]] = {}
    hours: dict[tuple[Any, ...], list[int]] = {}
    for row in moved:
        micros = max(0, row["at"] - row["created_at"])
        value = row["amount"] if row["arrived"] is None else row["arrived"]
        bucket = bisect_left(BOUNDS_SECONDS, micros / SECOND)
        kind = tuple(row[name] for name in _KEY[1:-1])
        counted = sums.setdefault((operator_id, *kind, bucket), [0] * len(_ADDED))
        for place, more in enumerate((1, value // GIGA, value % GIGA, micros // MILLI)):
            counted[place] += more
        when = operator_id, row["at"] // HOUR * HOUR, row["provider"], row["state"], bucket
        hours.setdefault(when, [0])[0] += 1
    _grow(connection, _tally, _KEY, _ADDED, sums)
    _grow(connection, _hour, _HOUR_KEY, ("moves",), hours)


def _grow(
    connection: Connection, table: Table, key: tuple[str, ...], added: tuple[str, ...], sums: Mapping[Any, list[int]]
) -> None:
    if not sums:
        return
    rows = [dict(zip((*key, *added), (*kind, *values), strict=True)) for kind, values in sums.items()]
    insert = db.inserting(connection, table)
    grown = {name: table.c[name] + insert.excluded[name] for name in added}
    connection.execute(insert.on_conflict_do_update(index_elements=key, set_=grown), rows)


def read(connection: Connection) -> Sequence[RowMapping]:
    """Every tally, in the order of its key."""
    query = select(_tally).order_by(*(_tally.c[name] for name in _KEY))
    return connection.execute(query).mappings().all()


def lately(connection: Connection, operator_id: int, since: int) -> Sequence[RowMapping]:
    """What was counted of an operator's moves in each hour from that of `since` (microseconds) on, oldest first."""
    query = select(_hour).where(_hour.c.operator_id == operator_id, _hour.c.hour >= since // HOUR * HOUR)
    return connection.execute(query.order_by(*(_hour.c[name] for name in _HOUR_KEY))).mappings().all()


def quantile(buckets: Mapping[int, int], share: float) -> float | None:
    """Within how many seconds that share of the moves came, taken as spread evenly inside of a bound; infinite behind
    the last bound, None where there is nothing."""
    wanted, seen = share * sum(buckets.values()), 0
    if not wanted:
        return None
    for place, bound in enumerate(BOUNDS_SECONDS):
        here = buckets.get(place, 0)
        if here and seen + here >= wanted:
            below = BOUNDS_SECONDS[place - 1] if place else 0.0
            return below + (bound - below) * (wanted - seen) / here
        seen += here
    return math.inf


def cumulative(buckets: Mapping[int, int]) -> Iterator[tuple[str, int]]:
    """(upper bound, moves within it) of a histogram as Prometheus writes it, the last one `+Inf`."""
    seen = 0
    for place, bound in enumerate((*map(str, map(float, BOUNDS_SECONDS)), "+Inf")):
        seen += buckets.get(place, 0)
        yield bound, seen
