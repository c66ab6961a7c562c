"""Inspect: everything that was sealed is recomputed, once per slot among all processes, and the outcome kept.

1. The slot (the number of whole intervals since 1970) is claimed by inserting its row: one process gets it.
2. Each finding is logged.
3. The row keeps the outcome: `ok`, or `failed` with what was found; `/readyz` is red then.
"""

from __future__ import annotations

from threading import Event

from bridge import db, log, models
from bridge.audit.findings import Report
from bridge.audit.inspection import Stopped, inspect
from bridge.audit.standing import FAILED, INSPECT_JOB
from bridge.ports import SECOND
from bridge.runtime import Runtime

HOUR_SECONDS = 3600

_runs = models.metadata.tables["job_run"]
_log = log.get("jobs")


def run_once(runtime: Runtime, now: int, limit: int, stop: Event) -> dict[str, int]:
    """Inspect if this process gets the slot of `now`; at most `limit` findings are logged one by one.

    Counts: claimed, findings, entries. Raises what the database raised, after its slot is marked as failed.
    """
    slot = now // int(runtime.config.audit.inspect_hours * HOUR_SECONDS * SECOND)
    row = {"job": INSPECT_JOB, "slot": slot, "worker": runtime.worker, "started_at": now}
    with db.writing(runtime.engine) as connection:
        claimed = not stop.is_set() and db.insert_if_absent(connection, _runs, row)
    if not claimed:
        return {"claimed": 0, "findings": 0, "entries": 0}
    try:
        report = inspect(runtime, stop)
    except Stopped:
        _give_back(runtime, slot)
        return {"claimed": 0, "findings": 0, "entries": 0}
    except Exception as error:
        _finish(runtime, slot, f"{FAILED}: {type(error).__name__}")
        raise
    for finding in report.findings[:limit]:
        _log.error("audit finding", kind=finding.kind.value, where=finding.where, which=finding.which,
                   operator=finding.chain, sentence=finding.sentence)  # fmt: skip
    _finish(runtime, slot, outcome_of(report))
    return {"claimed": 1, "findings": report.count, "entries": report.entries}


def outcome_of(report: Report) -> str:
    """What the run's row says: `ok`, or `failed: 3 findings (2 edited, 1 deleted)`."""
    if not report.count:
        return "ok"
    kinds = ", ".join(f"{count} {kind.value}" for kind, count in sorted(report.kinds.items()))
    return f"{FAILED}: {report.count} finding{'s' if report.count > 1 else ''} ({kinds})"


def _finish(runtime: Runtime, slot: int, outcome: str) -> None:
    mine = (_runs.c.job == INSPECT_JOB, _runs.c.slot == slot)
    with db.writing(runtime.engine) as connection:
        connection.execute(_runs.update().where(*mine).values(finished_at=runtime.clock.now(), outcome=outcome))


def _give_back(runtime: Runtime, slot: int) -> None:
    """The process stops before the end: another one may have the slot."""
    mine = (_runs.c.job == INSPECT_JOB, _runs.c.slot == slot, _runs.c.worker == runtime.worker)
    with db.writing(runtime.engine) as connection:
        connection.execute(_runs.delete().where(*mine))
