"""Upkeep: which job ran when, and which database this is."""

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


class Lineage(SQLModel, table=True):
    """Which database this is, as seen from outside of it: a restored copy differs (one row)."""

    __table_args__ = (CheckConstraint("id = 1", name="single"),)
    id: int = Field(primary_key=True)
    fingerprint: str
    seen_at: int = Field(sa_type=BigInteger)
