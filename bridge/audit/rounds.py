"""Rounds: one inspection per slot among all processes, and what it came to.

A slot is the number of whole intervals since 1970; it is claimed by inserting its row. A process that dies, or does not
reach its database, says nothing of what was sealed: its slot is free again. Every other error is an outcome: what was
sealed cannot be inspected.
"""

from __future__ import annotations

from sqlalchemy import Connection, Table, and_, or_, select
from sqlalchemy.exc import InterfaceError, OperationalError

from bridge import board, db, models
from bridge.audit import mirror
from bridge.audit.findings import Report
from bridge.checks import FAILED, INSPECT, slot_of
from bridge.ports import SECOND
from bridge.runtime import Runtime

_runs: Table = models.metadata.tables["job_run"]

LOST_SECONDS = 3600
"""An inspection that has not ended after so long, and of whose process nothing is heard, died."""

LONGEST_OUTCOME = 500
BEFORE = " (before that: "


def take(runtime: Runtime, now: int, *, again: bool = False) -> int | None:
    """The slot of `now` (microseconds), if this process may inspect it: nobody has, or (`again`) a person wants it once
    more; nobody is at it; and the mirror, where there is one, can be read here."""
    if not mirror.can_judge(runtime):
        return None
    slot = slot_of(runtime.config, INSPECT, now)
    row = {"job": INSPECT, "slot": slot, "worker": runtime.worker, "started_at": now}
    over = and_(_runs.c.finished_at.is_not(None), _runs.c.finished_at >= _runs.c.started_at)
    lost = and_(~over, _runs.c.started_at <= now - LOST_SECONDS * SECOND)
    is_free = or_(lost, over) if again else lost
    with db.writing(runtime.engine) as connection:
        if _is_under_way(connection, now):
            return None
        anew = _runs.update().where(_runs.c.job == INSPECT, _runs.c.slot == slot, is_free)
        # What was found before stands until this one has ended: `finished_at` and `outcome` stay.
        taken = db.insert_if_absent(connection, _runs, row) or connection.execute(
            anew.values(worker=runtime.worker, started_at=now)
        ).rowcount == 1
    return slot if taken else None


def _is_under_way(connection: Connection, now: int) -> bool:
    """Whether a process that lives has one in hand, of whatever slot, or may still have."""
    newest = select(_runs).where(_runs.c.job == INSPECT).order_by(_runs.c.slot.desc()).limit(3)
    begun = [
        row for row in connection.execute(newest.with_for_update()).mappings()
        if row["started_at"] <= now and (row["finished_at"] is None or row["finished_at"] < row["started_at"])
    ]  # fmt: skip
    working = {beat["worker"] for beat in board.living(connection, now) if INSPECT in beat["at_work"]}
    return any(row["started_at"] > now - LOST_SECONDS * SECOND or row["worker"] in working for row in begun)


def end(runtime: Runtime, slot: int, outcome: str) -> bool:
    """Keep what it came to, with what was said of the same slot before; whether the slot was still this process's."""
    mine = (_runs.c.job == INSPECT, _runs.c.slot == slot, _runs.c.worker == runtime.worker)
    with db.writing(runtime.engine) as connection:
        row = connection.execute(select(_runs.c.outcome).where(*mine)).first()
        before = "" if row is None else str(row.outcome or "")
        ended = _runs.update().where(*mine).values(finished_at=runtime.clock.now(), outcome=_beside(before, outcome))
        return connection.execute(ended).rowcount == 1


def _beside(before: str, outcome: str) -> str:
    """An outcome, and the other finding that was made in the same slot before it."""
    last = before.partition(BEFORE)[0]
    if last == outcome:
        return before
    return f"{outcome}{BEFORE}{last})"[:LONGEST_OUTCOME] if last.startswith(FAILED) else outcome


def break_off(runtime: Runtime, slot: int, trouble: BaseException) -> None:
    """An error ended it."""
    if not isinstance(trouble, Exception) or _is_away(trouble):
        give_back(runtime, slot)
    else:
        end(runtime, slot, f"{FAILED}: {type(trouble).__name__}, see the log")


def _is_away(trouble: Exception) -> bool:
    """Whether it was the database that could not be asked; on SQLite a text that is none is told in the same words."""
    if isinstance(trouble, OperationalError | InterfaceError):
        return "decode" not in str(trouble.orig)
    if isinstance(trouble, db.TROUBLE):
        return db.is_away(trouble)
    return isinstance(trouble, ConnectionError)


def give_back(runtime: Runtime, slot: int) -> None:
    """It did not come to its end: the next process may have the slot. What was found in it before stands, as of when
    that was."""
    mine = (_runs.c.job == INSPECT, _runs.c.slot == slot, _runs.c.worker == runtime.worker)
    with db.writing(runtime.engine) as connection:
        connection.execute(_runs.delete().where(*mine, _runs.c.finished_at.is_(None)))
        connection.execute(_runs.update().where(*mine).values(started_at=_runs.c.finished_at))


def outcome_of(report: Report) -> str:
    """What the row says: `ok`, or `failed: 3 findings (2 edited, 1 deleted)`."""
    if not report.count:
        return "ok"
    kinds = ", ".join(f"{count} {kind.value}" for kind, count in sorted(report.kinds.items()))
    return f"{FAILED}: {report.count} finding{'s' if report.count > 1 else ''} ({kinds})"
