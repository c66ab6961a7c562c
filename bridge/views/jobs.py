"""The jobs: what the verification of the books has said lately."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Table, select

from bridge import db, models
from bridge.runtime import Runtime

_run: Table = models.metadata.tables["job_run"]

VERIFICATIONS = 20


@dataclass(frozen=True)
class Run:
    """One run that exactly one process had; `ended_at` is None while it goes on, or where its process died."""

    job: str
    worker: str
    started_at: int
    ended_at: int | None
    outcome: str


def verifications(runtime: Runtime) -> list[Run]:
    """The last verifications of all invariants, newest first."""
    names = ("job", "worker", "started_at", "finished_at", "outcome")
    query = select(*(_run.c[name] for name in names)).where(_run.c.job == "verify").order_by(_run.c.slot.desc())
    with db.reading(runtime.engine) as connection:
        rows = connection.execute(query.limit(VERIFICATIONS)).all()
    return [Run(job, worker, started, ended, outcome or "") for job, worker, started, ended, outcome in rows]
