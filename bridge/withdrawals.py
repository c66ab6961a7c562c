"""Withdrawals out of the house: closed by a restore of the database until a person opens them.

What comes home passes no gate; a withdrawal leaves. Those that a backup has forgotten stand in no provider's books,
so that nothing which the bridge could compare would ever show that one is paid out again.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from sqlalchemy import Connection, Table, delete, select

from bridge import db, models
from bridge.errors import NotFound, Unavailable

_switch: Table = models.metadata.tables["withdrawal_switch"]

ONLY_ROW = 1

CLOSED_WAIT_SECONDS = 60
"""When a client may ask again: people take at least that long."""

RESTORED = "database_restored"
"""The code of the refusal."""

HOW_TO_OPEN = "compare the platform's payouts since the backup, then `python -m bridge withdrawals open --reason WHY`"
"""For people, after what it is that is closed."""


@dataclass(frozen=True)
class Closed:
    """Since when (microseconds) nothing is withdrawn, by whom it was closed and why."""

    reason: str
    actor: str
    closed_at: int


def closed(connection: Connection) -> Closed | None:
    """Whether withdrawals are closed, and since when."""
    row = connection.execute(select(*(_switch.c[each.name] for each in fields(Closed)))).first()
    return None if row is None else Closed(*row)


def require_open(connection: Connection) -> None:
    """Raise Unavailable while they are closed: the same key may try again."""
    if closed(connection) is not None:
        raise refusal()


def refusal() -> Unavailable:
    """What a withdrawal is answered with until a person has opened them."""
    return Unavailable(
        "Withdrawals wait until what was paid out is compared with a database that was restored.",
        code=RESTORED,
        after_seconds=CLOSED_WAIT_SECONDS,
    )


def close_restored(connection: Connection, reason: str, actor: str, now: int) -> None:
    """Close them because the database was set back; of two restores the later one is told."""
    row = {"reason": reason, "actor": actor, "closed_at": now}
    closing = db.inserting(connection, _switch).on_conflict_do_update(index_elements=["id"], set_=row)
    connection.execute(closing, {"id": ONLY_ROW, **row})


def open_in(connection: Connection) -> Closed:
    """Open them in the caller's transaction; what had closed them. Raises NotFound when nothing had."""
    row = connection.execute(delete(_switch).returning(*(_switch.c[each.name] for each in fields(Closed)))).first()
    if row is None:
        raise NotFound("Withdrawals are not closed.")
    return Closed(*row)
