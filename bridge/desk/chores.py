"""Jobs, paused or wanted by people at the desk: what is done and the note of who did it in one transaction. All
operators share the jobs: only people of the operator `desk.steward` may."""

from __future__ import annotations

from sqlalchemy import Connection

from bridge import board, db, log, players, reasons
from bridge.desk import accesses, sittings
from bridge.desk.rows import PROPOSERS, Person
from bridge.desk.sittings import Sitting
from bridge.errors import NotFound
from bridge.models.desk import Outcome
from bridge.runtime import Runtime

_log = log.get("desk")


def pause(runtime: Runtime, sitting: Sitting, job: str, reason: str) -> None:
    """No process begins a run of a job any more, until somebody ends the pause, or it ends by itself. Raises
    Unauthorized, Forbidden, NotFound, Conflict for a job that never rests, Invalid naming the reason."""
    with db.writing(runtime.engine) as connection:
        person = _steward(connection, runtime, sitting)
        told = {"reason": reasons.stated(reason), "before": "running", "after": "paused"}
        board.pause(connection, runtime, job, person.login, told["reason"])
        _note(connection, runtime, sitting, person, kind="pause job", job=job, **told)
    _log.warning("job paused", job=job, person=person.id)


def resume(runtime: Runtime, sitting: Sitting, job: str) -> None:
    """End a pause. Raises as `pause`, Conflict where it is not paused."""
    with db.writing(runtime.engine) as connection:
        person = _steward(connection, runtime, sitting)
        was = board.resume(connection, runtime, job)
        before = f"paused by {was['paused_by']}: {was['pause_reason']}"
        _note(connection, runtime, sitting, person, kind="resume job", job=job, before=before, after="running")
    _log.warning("job resumed", job=job, person=person.id)


def run_now(runtime: Runtime, sitting: Sitting, job: str) -> None:
    """Have the next process that is free for it run a job at once. Raises as `pause`, Conflict while it is paused."""
    with db.writing(runtime.engine) as connection:
        person = _steward(connection, runtime, sitting)
        board.run_now(connection, runtime, job, person.login)
        _note(connection, runtime, sitting, person, kind="run job", job=job, after="wanted now")
    _log.info("job wanted", job=job, person=person.id)


def _steward(connection: Connection, runtime: Runtime, sitting: Sitting) -> Person:
    person = sittings.still(connection, runtime, sitting, *PROPOSERS)
    steward = runtime.config.desk.steward
    if steward is None or players.operator_name(connection, person.operator_id) != steward:
        raise NotFound
    return person


def _note(
    connection: Connection, runtime: Runtime, sitting: Sitting, person: Person, *, kind: accesses.Kind, job: str,
    reason: str | None = None, before: str | None = None, after: str,
) -> None:  # fmt: skip
    accesses.note(
        connection, runtime, kind=kind, outcome=Outcome.DONE, person=person, subject=job, reason=reason,
        before=before, after=after, address=sitting.address,
    )  # fmt: skip
