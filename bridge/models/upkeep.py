"""Upkeep: which job ran when, who runs them, what people want of them, and which database this is."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint
from sqlmodel import Field, SQLModel


class JobRun(SQLModel, table=True):
    """One firing of a job: the unique (job, slot) lets exactly one process have it."""

    __tablename__ = "job_run"
    job: str = Field(primary_key=True)
    slot: int = Field(primary_key=True, sa_type=BigInteger)
    worker: str
    started_at: int = Field(sa_type=BigInteger)
    finished_at: int | None = Field(default=None, sa_type=BigInteger)
    outcome: str | None = None


class JobLine(SQLModel, table=True):
    """The board's line about one job: the last run that was noted, what is wrong with it, what people want of it."""

    __tablename__ = "job_line"
    __table_args__ = (
        CheckConstraint("(failing_since IS NULL) = (failing_by IS NULL)", name="failing"),
        CheckConstraint("(wanted_at IS NULL) = (wanted_by IS NULL)", name="wanted"),
        CheckConstraint(
            "(paused_until IS NULL) = (paused_by IS NULL) AND (paused_until IS NULL) = (paused_at IS NULL)",
            name="paused",
        ),
        # A pause that nobody ends ends by itself, whatever was typed.
        CheckConstraint("paused_until IS NULL OR paused_until - paused_at <= 28800000000", name="pause_ends"),
    )
    job: str = Field(primary_key=True)
    why: str
    every: int = Field(sa_type=BigInteger)  # microseconds from one run to the next
    started_at: int | None = Field(default=None, sa_type=BigInteger)
    ended_at: int | None = Field(default=None, sa_type=BigInteger)
    worker: str | None = None
    counts: str | None = None  # of that run, JSON
    next_at: int | None = Field(default=None, sa_type=BigInteger)
    error: str | None = None  # the last one: its kind, and where it was raised; never its text
    error_at: int | None = Field(default=None, sa_type=BigInteger)
    failing_since: int | None = Field(default=None, sa_type=BigInteger)
    failing_by: str | None = None
    wanted_at: int | None = Field(default=None, sa_type=BigInteger)
    wanted_by: str | None = None
    paused_at: int | None = Field(default=None, sa_type=BigInteger)
    paused_until: int | None = Field(default=None, sa_type=BigInteger)
    paused_by: str | None = None
    pause_reason: str = ""


class Beat(SQLModel, table=True):
    """A process that runs the jobs, as long as it lives; one that is stopped takes its row with it."""

    worker: str = Field(primary_key=True)
    started_at: int = Field(sa_type=BigInteger)
    seen_at: int = Field(sa_type=BigInteger)
    at_work: str = "{}"  # what it has in hand at that instant: since when, by job; JSON


class Lineage(SQLModel, table=True):
    """Which database this is, as seen from outside of it: a restored copy differs (one row)."""

    __table_args__ = (CheckConstraint("id = 1", name="single"),)
    id: int = Field(primary_key=True)
    fingerprint: str
    seen_at: int = Field(sa_type=BigInteger)
    # When it was last seen to be a restored backup, and the newest row of history then; never: no value.
    restored_at: int | None = Field(default=None, sa_type=BigInteger)
    restored_behind: int | None = Field(default=None, sa_type=BigInteger)
