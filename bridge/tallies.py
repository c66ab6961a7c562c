"""Tallies: how often transfers came to each of their states, after how long, and how much value that was.

They are counted when moves are given their numbers, in that transaction: each once, whichever process did it, and
however often processes are started anew. `slot` 0 is all time, another one the hour that began at that instant.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, Table, delete, select

from bridge import db, models
from bridge.ports import SECOND

_tally: Table = models.metadata.tables["tally"]

BOUNDS_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 86_400)
"""Upper bounds of the times that are counted together; what took longer is counted behind the last one."""

HOUR = 3600 * SECOND
KEPT_HOURS = 31 * 24
ALL_TIME = 0

_KEY = ("slot", "operator_id", "provider", "currency", "direction", "state", "bucket")
_ADDED = ("moves", "units", "micros")


def add(connection: Connection, operator_id: int, moved: Iterable[Mapping[Any, Any]], now: int) -> None:
    """Count moves of an operator, each the outbox's row with its transfer's `provider`, `currency`, `direction` and
    `created_at`; and forget the hours of that operator that are long ago."""
    sums: dict[tuple[Any, ...], list[int]] = {}
    for row in moved:
        micros = max(0, row["at"] - row["created_at"])
        units = row["amount"] if row["arrived"] is None else row["arrived"]
        kind = tuple(row[name] for name in _KEY[1:-1])
        bucket = bisect_left(BOUNDS_SECONDS, micros / SECOND)
        for slot in (ALL_TIME, row["at"] // HOUR * HOUR):
            counted = sums.setdefault((slot, *kind, bucket), [0, 0, 0])
            for place, value in enumerate((1, units, micros)):
                counted[place] += value
    if not sums:
        return
    rows = [dict(zip((*_KEY, *_ADDED), (*key, *values), strict=True)) for key, values in sorted(sums.items())]
    insert = db.inserting(connection, _tally)
    more = {name: _tally.c[name] + insert.excluded[name] for name in _ADDED}
    connection.execute(insert.on_conflict_do_update(index_elements=_KEY, set_=more), rows)
    old = now - KEPT_HOURS * HOUR
    mine = _tally.c.operator_id == operator_id
    connection.execute(delete(_tally).where(_tally.c.slot > ALL_TIME, _tally.c.slot < old, mine))


def of_all_time(connection: Connection) -> Sequence[RowMapping]:
    """Every tally since there are events, in the order of its key."""
    query = select(_tally).where(_tally.c.slot == ALL_TIME).order_by(*(_tally.c[name] for name in _KEY))
    return connection.execute(query).mappings().all()


def by_hour(connection: Connection, since: int) -> Sequence[RowMapping]:
    """The tallies of the hours that began at `since` or later, in the order of their key."""
    query = select(_tally).where(_tally.c.slot >= max(since, 1)).order_by(*(_tally.c[name] for name in _KEY))
    return connection.execute(query).mappings().all()


def quantile(buckets: Mapping[int, int], share: float) -> float | None:
    """The time in seconds within which `share` of the moves came, as the upper bound of its bucket; infinite behind the
    last bound, None where nothing is counted. `buckets`: bucket → moves."""
    total, seen = sum(buckets.values()), 0
    for bucket, moves in sorted(buckets.items()):
        seen += moves
        if seen >= share * total > 0:
            return BOUNDS_SECONDS[bucket] if bucket < len(BOUNDS_SECONDS) else float("inf")
    return None


def cumulative(buckets: Mapping[int, int]) -> Iterator[tuple[str, int]]:
    """(upper bound, moves within it) of a histogram as Prometheus writes it, the last one `+Inf`."""
    seen = 0
    for place, bound in enumerate((*map(str, map(float, BOUNDS_SECONDS)), "+Inf")):
        seen += buckets.get(place, 0)
        yield bound, seen
