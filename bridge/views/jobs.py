"""The jobs: the board's line about each, the processes that run them, and what the last verifications have said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Table, select

from bridge import board, db, models
from bridge.ports import SECOND
from bridge.runtime import Runtime

_run: Table = models.metadata.tables["job_run"]

VERIFICATIONS, PROCESSES = 10, 50


@dataclass(frozen=True)
class Line:
    """One job. `every` in seconds; instants in microseconds. `at_work`: (process, since when) of those who have it in
    hand; `counts`: what its last run did; `rests`: why it may be paused, empty for one that never rests."""

    job: str
    why: str
    every: float
    started_at: int | None
    ended_at: int | None
    worker: str | None
    counts: Mapping[str, int]
    next_at: int | None
    error: str | None
    error_at: int | None
    failing_since: int | None
    wanted_at: int | None
    wanted_by: str | None
    paused_until: int | None
    paused_by: str | None
    pause_reason: str
    at_work: tuple[tuple[str, int], ...]
    rests: str


@dataclass(frozen=True)
class Beat:
    """A process that runs the jobs, or died at it; `lives`: whether it was seen lately."""

    worker: str
    started_at: int
    seen_at: int
    lives: bool


@dataclass(frozen=True)
class Run:
    """One run that exactly one process had; `ended_at` is None while it goes on, or where its process died."""

    worker: str
    started_at: int
    ended_at: int | None
    outcome: str


@dataclass(frozen=True)
class Page:
    """Everything about the jobs as of the instant `at`. `silent`: no process has been seen for so long that nobody can
    be taken to run them. `whole`: with what is of all operators together; else only whether each job works."""

    at: int
    lines: tuple[Line, ...]
    beats: tuple[Beat, ...]
    verifications: tuple[Run, ...]
    silent: bool
    whole: bool = True


def page(runtime: Runtime, *, whole: bool) -> Page:
    """The board. It is of the whole installation: all operators share its jobs; so `whole` is for people of the one
    that looks after them, and others learn of each job whether it works, and nothing of hosts, people and amounts of
    work that are not their operator's."""
    now = runtime.clock.now()
    with db.reading(runtime.engine) as connection:
        beats = tuple(
            Beat(row["worker"], row["started_at"], row["seen_at"], board.lives(row, now))
            for row in board.beats(connection)[:PROCESSES]
        )
        lines = tuple(_line(row, now) for row in board.listed(connection, runtime))
        verifications = tuple(_verifications(connection)) if whole else ()
    silent = not any(beat.lives for beat in beats)
    if whole:
        return Page(now, lines, beats, verifications, silent)
    return Page(now, tuple(_told_to_others(line) for line in lines), (), (), silent, whole=False)


def _told_to_others(line: Line) -> Line:
    """Names, times and whether it works."""
    nobody: dict[str, Any] = {"worker": None, "wanted_at": None, "wanted_by": None, "paused_by": None}
    return replace(line, **nobody, counts={}, error=None, pause_reason="", at_work=())


def _line(row: Mapping[str, Any], now: int) -> Line:
    waits = row["wanted_at"] is not None and now - row["wanted_at"] < board.WISH_SECONDS * SECOND
    return Line(
        job=row["job"],
        why=row["why"],
        every=row["every"] / SECOND,
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        worker=row["worker"],
        counts=row["counts"],
        next_at=row["next_at"],
        error=row["error"],
        error_at=row["error_at"],
        failing_since=row["failing_since"],
        wanted_at=row["wanted_at"] if waits else None,
        wanted_by=row["wanted_by"] if waits else None,
        paused_until=row["paused_until"] if row["paused"] else None,
        paused_by=row["paused_by"] if row["paused"] else None,
        pause_reason=row["pause_reason"] if row["paused"] else "",
        at_work=tuple(sorted(row["at_work"].items())),
        rests=board.MAY_REST.get(row["job"], ""),
    )


def _verifications(connection: Connection) -> list[Run]:
    names = ("worker", "started_at", "finished_at", "outcome")
    query = select(*(_run.c[name] for name in names)).where(_run.c.job == "verify").order_by(_run.c.slot.desc())
    rows = connection.execute(query.limit(VERIFICATIONS)).all()
    return [Run(worker, started, ended, outcome or "") for worker, started, ended, outcome in rows]
