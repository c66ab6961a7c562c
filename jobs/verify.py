"""Verify: asks every invariant of the database, once per slot among all processes, and keeps the outcome.

1. The slot (the number of whole intervals since 1970) is claimed by inserting its row: one process gets it.
2. The invariants are asked; each that does not hold is logged with its first rows.
3. The row keeps the outcome: `ok`, or `failed` with the invariants, or with the error that prevented it.
"""

from __future__ import annotations

from threading import Event

from bridge import db, log, models
from bridge.ports import SECOND
from bridge.runtime import Runtime
from bridge.verify import Finding, verify

JOB = "verify"
OK = "ok"
NOTHING = {"claimed": 0, "findings": 0}

LONGEST_SECONDS = 3600
"""A run that has not ended after this long died: a person may have its slot verified again."""

LONGEST_OUTCOME = 500

_runs = models.metadata.tables["job_run"]
_log = log.get("jobs")


def run_once(runtime: Runtime, now: int, limit: int, stop: Event) -> dict[str, int]:
    """Verify if this process gets the slot of `now`; of each finding at most `limit` rows are logged.

    Counts: claimed, findings. Raises what the database raised, after its slot is marked as failed.
    """
    slot = _slot(runtime, now)
    row = {"job": JOB, "slot": slot, "worker": runtime.worker, "started_at": now}
    with db.writing(runtime.engine) as connection:
        claimed = not stop.is_set() and db.insert_if_absent(connection, _runs, row)
    return _verify(runtime, slot, limit) if claimed else dict(NOTHING)


def run_again(runtime: Runtime, now: int, limit: int, stop: Event) -> dict[str, int]:
    """As `run_once`, also in a slot that has been verified, unless some process is at it; what was found before stays
    in the slot's outcome."""
    slot = _slot(runtime, now)
    mine = (_runs.c.job == JOB, _runs.c.slot == slot)
    row = {"job": JOB, "slot": slot, "worker": runtime.worker, "started_at": now}
    is_over = _runs.c.finished_at.is_not(None) | (_runs.c.started_at < now - LONGEST_SECONDS * SECOND)
    anew = _runs.update().where(*mine, is_over).values(worker=runtime.worker, started_at=now, finished_at=None)
    with db.writing(runtime.engine) as connection:
        claimed = not stop.is_set() and (
            db.insert_if_absent(connection, _runs, row) or connection.execute(anew).rowcount == 1
        )
    return _verify(runtime, slot, limit) if claimed else dict(NOTHING)


def _slot(runtime: Runtime, now: int) -> int:
    return now // int(runtime.config.engine.verify_every_seconds * SECOND)


def _verify(runtime: Runtime, slot: int, limit: int) -> dict[str, int]:
    try:
        findings = verify(runtime)
    except Exception as error:
        _finish(runtime, slot, f"failed: {type(error).__name__}")
        raise
    for finding in findings:
        _log.error(
            "invariant broken",
            invariant=finding.invariant,
            rule=finding.sentence,
            count=finding.count,
            rows=finding.rows[:limit],
        )
    _finish(runtime, slot, outcome_of(findings))
    return {"claimed": 1, "findings": len(findings)}


def outcome_of(findings: list[Finding]) -> str:
    """What the run's row says: `ok`, or `failed: I-03 (2 rows), I-17 (1 row)`."""
    told = [f"{each.invariant} ({each.count} row{'s' if each.count > 1 else ''})" for each in findings]
    return f"failed: {', '.join(told)}" if told else OK


def _finish(runtime: Runtime, slot: int, outcome: str) -> None:
    mine = (_runs.c.job == JOB, _runs.c.slot == slot)
    with db.writing(runtime.engine) as connection:
        row = connection.execute(_runs.select().where(*mine)).mappings().first()
        before = None if row is None else row["outcome"]
        told = outcome if before in (None, outcome) else f"{outcome} (before that: {before})"[:LONGEST_OUTCOME]
        connection.execute(_runs.update().where(*mine).values(finished_at=runtime.clock.now(), outcome=told))
