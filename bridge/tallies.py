"""Tallies: how often transfers came to each of their states, after how long, and how much value that was.

They are counted when moves are given their numbers, in that transaction: each once, whichever process did it, and
however often processes are started anew.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, Table, select

from bridge import db, models
from bridge.ports import SECOND

_tally: Table = models.metadata.tables["tally"]

BOUNDS_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 86_400)
"""Upper bounds of the times that are counted together; what took longer is counted behind the last one."""

GIGA = 10**9
"""Value is added up in two parts, for a life's turnover may exceed 64 bits."""

MILLI = 1000

_KEY = ("operator_id", "provider", "currency", "direction", "state", "bucket")
_ADDED = ("moves", "giga_units", "units", "millis")


def add(connection: Connection, operator_id: int, moved: Iterable[Mapping[Any, Any]]) -> None:
    """Count moves of an operator, each the outbox's row with its transfer's `provider`, `currency`, `direction` and
    `created_at`."""
    sums: dict[tuple[Any, ...], list[int]] = {}
    for row in moved:
        micros = max(0, row["at"] - row["created_at"])
        value = row["amount"] if row["arrived"] is None else row["arrived"]
        kind = tuple(row[name] for name in _KEY[1:-1])
        counted = sums.setdefault((*kind, bisect_left(BOUNDS_SECONDS, micros / SECOND)), [0] * len(_ADDED))
        for place, more in enumerate((1, value // GIGA, value % GIGA, micros // MILLI)):
            counted[place] += more
    if not sums:
        return
    rows = [dict(zip((*_KEY, *_ADDED), (operator_id, *key, *values), strict=True)) for key, values in sums.items()]
    insert = db.inserting(connection, _tally)
    grown = {name: _tally.c[name] + insert.excluded[name] for name in _ADDED}
    connection.execute(insert.on_conflict_do_update(index_elements=_KEY, set_=grown), rows)


def read(connection: Connection) -> Sequence[RowMapping]:
    """Every tally, in the order of its key."""
    query = select(_tally).order_by(*(_tally.c[name] for name in _KEY))
    return connection.execute(query).mappings().all()


def cumulative(buckets: Mapping[int, int]) -> Iterator[tuple[str, int]]:
    """(upper bound, moves within it) of a histogram as Prometheus writes it, the last one `+Inf`."""
    seen = 0
    for place, bound in enumerate((*map(str, map(float, BOUNDS_SECONDS)), "+Inf")):
        seen += buckets.get(place, 0)
        yield bound, seen
