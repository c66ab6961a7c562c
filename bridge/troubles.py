"""Troubles: what keeps this process, or the bridge as a whole, from doing its work. `/readyz` is red for it, and the
first page of the desk says it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bridge import board, checks, clocks, db, events, identity, log, models, readiness
from bridge.audit import standing
from bridge.ports import SECOND
from bridge.runtime import Runtime

_log = log.get("health")

OVERDUE_AT_MOST = 60 * SECOND
"""The resolver looks every second or so: what is due for a minute shows that no worker is at it."""

QUIET_AT_MOST = board.SILENT_SECONDS * SECOND
"""Without a sign of life for so long the scheduler is taken for dead; a restart takes less."""

_TRANSFER = models.metadata.tables["transfer"]


@dataclass(frozen=True)
class Trouble:
    """Which check finds something wrong, and what, in a few words."""

    check: str
    detail: str


def found_wrong(runtime: Runtime) -> list[Trouble]:
    """Everything that is wrong; the database first, for without it nothing else can be asked."""
    unreachable = _asked(runtime, "database", _database)
    if unreachable:
        return unreachable
    asked = {
        "clock": _clock, "providers": _moved, "scheduler": _silent, "resolver": _overdue, "verify": _verified,
        "events": _unnumbered, "audit": _sealed,
    }  # fmt: skip
    return [trouble for name, check in asked.items() for trouble in _asked(runtime, name, check)]


def _asked(runtime: Runtime, name: str, check: Callable[[Runtime], str]) -> list[Trouble]:
    try:
        detail = check(runtime)
    except Exception:  # noqa: BLE001 - whatever it is, it is a reason not to be ready, and the log has it
        _log.exception("check failed", check=name)
        detail = "cannot be asked"
    return [Trouble(name, detail)] if detail else []


def _database(runtime: Runtime) -> str:
    try:
        readiness.require(runtime)
    except db.NotMigrated as unmigrated:
        return str(unmigrated)
    return ""


def _clock(runtime: Runtime) -> str:
    with db.reading(runtime.engine) as connection:
        apart = clocks.apart(runtime, connection)
    too_far = apart >= clocks.APART_AT_MOST
    return f"{apart // SECOND} s away from the database's clock" if too_far else ""


def _moved(runtime: Runtime) -> str:
    """By name alone: who they are stands in the alert, and is told by the doctor."""
    with db.reading(runtime.engine) as connection:
        others = ", ".join(identity.moved(connection, runtime))
    return f"configured as another than it was: {others}" if others else ""


def _overdue(runtime: Runtime) -> str:
    awake = _TRANSFER.select().where(_TRANSFER.c.wake_at.is_not(None)).order_by(_TRANSFER.c.wake_at).limit(1)
    with db.reading(runtime.engine) as connection:
        oldest = connection.execute(awake).mappings().first()
    late = runtime.clock.now() - oldest["wake_at"] if oldest is not None else 0
    return f"the oldest due transfer has waited for {late // SECOND} s" if late >= OVERDUE_AT_MOST else ""


def _silent(runtime: Runtime) -> str:
    """Whether any process runs the jobs: its scheduler leaves a beat every few seconds."""
    with db.reading(runtime.engine) as connection:
        quiet = board.quiet_for(connection, runtime.clock.now())
    if quiet is None:
        return "no job has ever run: start `python -m jobs`"
    return f"no process of jobs was heard of for {quiet // SECOND} s" if quiet >= QUIET_AT_MOST else ""


def _unnumbered(runtime: Runtime) -> str:
    with db.reading(runtime.engine) as connection:
        late = events.late(connection, runtime.clock.now())
    return f"no move has become an event for {late} s" if late else ""


def _sealed(runtime: Runtime) -> str:
    with db.reading(runtime.engine) as connection:
        return standing.trouble(connection, runtime)


def _verified(runtime: Runtime) -> str:
    with db.reading(runtime.engine) as connection:
        ended = checks.last(connection, runtime, checks.VERIFY)
    return f"the last verification {ended.outcome}" if ended is not None and ended.failed else ""
