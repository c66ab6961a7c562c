"""The audit: seals over what is written for ever, in one chain for each operator, and how far sealing has seen."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Index
from sqlmodel import Field, SQLModel

from bridge.models.base import RowId


class Seal(SQLModel, table=True):
    """One link of a chain: what was found at some places of one table, and the hash of the link before it.

    `chain` is an operator's id; 0 holds what belongs to no operator, and -1 the runs: which places were looked at, and
    how many rows of each operator were there. A run and the seals that it led to are written in one transaction.
    """

    __table_args__ = (
        CheckConstraint("number > 0", name="number"),
        CheckConstraint("entries > 0", name="entries"),
        Index(None, "run"),
        Index(None, "chain", "source", "scope", "number"),
    )
    chain: int = Field(sa_column=Column(RowId, primary_key=True, autoincrement=False))
    number: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))  # from 1, without a gap
    run: int = Field(sa_type=BigInteger)  # the number, in chain -1, of the run that this belongs to
    source: str  # the table
    scope: int = Field(sa_type=RowId)  # whose rows of it, where each operator's are numbered for themselves; else 0
    late: bool  # these rows were not there when their places were looked at
    after: str  # looked at behind this place
    upto: str  # and up to this one
    entries: int = Field(sa_type=BigInteger)
    content: str  # each row's key and the beginning of its hash; of a run: chain, entries, hash of each seal
    digest: str  # over all rows in full
    previous: str
    hash: str
    at: int = Field(sa_type=BigInteger)
    format: int  # which columns are sealed, and how they are written down


class SealMark(SQLModel, table=True):
    """How far a table was seen, since when; what a mirror of the chains holds (`seen`: its last line, `again`: up to
    which run, `looked`: where it is, `horizon`: when another was begun there); how sealing stood when it was last
    looked at. It may change, and nothing rests on it: what is sealed is read from the seals."""

    __tablename__ = "seal_mark"
    source: str = Field(primary_key=True)
    scope: int = Field(sa_column=Column(RowId, primary_key=True, autoincrement=False))
    seen: str | None = None  # the last place when it was looked for
    seen_at: int | None = Field(default=None, sa_type=BigInteger)
    horizon: int | None = Field(default=None, sa_type=BigInteger)  # no transaction before this one may be running
    looked: str | None = None  # nothing that is not sealed is there up to this place
    again: int = Field(default=0, sa_type=BigInteger)  # the last run that was looked at a second time
    note: str | None = None  # why a mirror was refused
