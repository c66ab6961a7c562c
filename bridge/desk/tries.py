"""Tries to come in by password, counted: so many wrong ones lock, and no more are under way than may still be wrong.

A try that is under way is a row from before anything is compared until it is judged, so that nobody has more guesses at
once, in however many processes. One that nobody judges, because the database failed or the process died, counts for a
minute and then for nothing: it has told nobody anything. So does one that a clock has begun that was ahead: its time is
over, not tomorrow. One that takes longer than its minute is judged all the same. Only wrong ones lock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, Table, delete, insert, or_, select

from bridge import keys, models
from bridge.desk import rows
from bridge.desk.sittings import MINUTE
from bridge.ports import SECOND

_under_way: Table = models.metadata.tables["challenge"]

MOST, WINDOW_MINUTES = 3, 30
"""So many wrong tries within this time lock (GLI-19 2.5.3 d)."""

UNDER_WAY_SECONDS = 60
"""A try is judged, or its process has died, long before that."""

APART_SECONDS = 60
"""Clocks of processes differ by less than that."""

PURPOSE = "try"
"""By which a try stands beside what authenticators are asked for."""

UNLOCKED: dict[str, Any] = {"failures": 0, "failing_since": None, "locked_at": None}
"""Columns of somebody who has nothing to answer for."""


@dataclass(frozen=True)
class Begun:
    """One try under way: its place, of as many as there are, and until when (microseconds) it has it."""

    place: str
    until: int


def begin(connection: Connection, row: RowMapping, now: int) -> Begun | None:
    """Begin a try for a person whose row the caller holds; None where they are locked, or as many are under way as may
    still be wrong."""
    places = [keys.digest(f"try {number} of {row['id']}") for number in range(MOST)]
    latest = now + (UNDER_WAY_SECONDS + APART_SECONDS) * SECOND  # by a clock that is right
    over = or_(_under_way.c.expires_at <= now, _under_way.c.expires_at > latest)
    connection.execute(delete(_under_way).where(_under_way.c.digest.in_(places), over))
    taken = set(connection.execute(select(_under_way.c.digest).where(_under_way.c.digest.in_(places))).scalars())
    if row["locked_at"] is not None or _wrong(row, now) + len(taken) >= MOST:
        return None
    begun = Begun(next(each for each in places if each not in taken), now + UNDER_WAY_SECONDS * SECOND)
    values = {"digest": begun.place, "person_id": row["id"], "purpose": PURPOSE, "expires_at": begun.until}
    connection.execute(insert(_under_way).values(**values))
    return begun


def end(connection: Connection, begun: Begun) -> None:
    """Have a try be under way no more; if its time is over, whoever has its place now keeps it."""
    mine = (_under_way.c.digest == begun.place, _under_way.c.expires_at == begun.until)
    connection.execute(delete(_under_way).where(*mine))


def count_wrong(connection: Connection, row: RowMapping, now: int) -> bool:
    """Count a wrong try of a person whose row the caller holds; whether it is the one that locks."""
    if row["locked_at"] is not None:
        return False
    before = _wrong(row, now)
    rows.change(connection, row["id"], now, failures=before + 1, failing_since=row["failing_since"] if before else now)
    return before + 1 >= MOST


def _wrong(row: RowMapping, now: int) -> int:
    """Wrong tries that still count."""
    since = row["failing_since"]
    return 0 if since is None or now - since > WINDOW_MINUTES * MINUTE else int(row["failures"])
