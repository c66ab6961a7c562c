"""Alerts: what is wrong and since when, what people are told of it, and what of that has been sent."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import BigInteger, CheckConstraint, Index, text
from sqlmodel import Field, SQLModel

from bridge.models.base import RowId, one_of


class Phase(StrEnum):
    """What a notice says of its alert."""

    BEGUN = "begun"
    MORE = "more"  # it is not over, and there is more of it
    AGAIN = "again"  # it is as it was, and has been for a while
    OVER = "over"


class Sink(StrEnum):
    """How notices reach people."""

    WEBHOOK = "webhook"
    EMAIL = "email"


class NoticeState(StrEnum):
    """How far a notice has come."""

    WAITING = "waiting"
    SENT = "sent"
    GIVEN_UP = "given_up"


class Alert(SQLModel, table=True):
    """One thing that is wrong, from when it was seen first until it is over; the same thing has one open row."""

    __table_args__ = (
        CheckConstraint("ended_at IS NULL OR ended_at >= began_at", name="ended"),
        Index(
            "uq_alert_open",
            "kind",
            "about",
            unique=True,
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
        Index(None, "began_at"),
    )
    id: str = Field(primary_key=True)
    kind: str
    about: str  # a provider, a job, an operator's number: what tells two of a kind apart
    operator_id: int | None = Field(default=None, foreign_key="operator.id", sa_type=RowId)  # None: all of them
    sentence: str  # how it stood when it was last seen
    over: str  # the sentence for its end
    began_at: int = Field(sa_type=BigInteger)
    seen_at: int = Field(sa_type=BigInteger)
    told_at: int = Field(sa_type=BigInteger)  # all of it; that there is more of it does not count
    ended_at: int | None = Field(default=None, sa_type=BigInteger)


class AlertNotice(SQLModel, table=True):
    """One message about an alert to one sink, exactly as it is sent. `wake_at` is schedule and lease in one."""

    __tablename__ = "alert_notice"
    __table_args__ = (
        one_of("phase", Phase),
        one_of("sink", Sink),
        one_of("state", NoticeState),
        CheckConstraint("(wake_at IS NULL) = (state <> 'waiting')", name="awake"),
        Index(None, "alert_id"),
        Index(
            None,
            "wake_at",
            sqlite_where=text("wake_at IS NOT NULL"),
            postgresql_where=text("wake_at IS NOT NULL"),
        ),
    )
    id: str = Field(primary_key=True)
    alert_id: str = Field(foreign_key="alert.id")
    phase: str
    sink: str
    subject: str
    body: str
    state: str
    tries: int = 0
    epoch: int = 0  # of the lease: an outcome under an earlier one changes nothing
    wake_at: int | None = Field(default=None, sa_type=BigInteger)
    failure: str = ""  # of the last try
    created_at: int = Field(sa_type=BigInteger)
    ended_at: int | None = Field(default=None, sa_type=BigInteger)


class AlertedOrphan(SQLModel, table=True):
    """An orphan that people have been told of; the row goes when the transfer is no orphan any more."""

    __tablename__ = "alerted_orphan"
    transfer_id: str = Field(foreign_key="transfer.id", primary_key=True)
    alert_id: str = Field(foreign_key="alert.id")


class CapHit(SQLModel, table=True):
    """When a transfer in was last refused because too much was unresolved at its provider."""

    __tablename__ = "cap_hit"
    provider: str = Field(primary_key=True)
    currency: str = Field(primary_key=True)
    hit_at: int = Field(sa_type=BigInteger)


class AlertTurn(SQLModel, table=True):
    """Whose turn it is: `look` is held by one transaction at a time, `watch` by one web process for a while, of those
    that have the ways to people that stand behind the word; until when a `way` is taken to be some process's. Beside
    the turns, `jobs ran`: when the jobs last looked, and, by check, from when it counts that they ran; and when they
    first did (`checks.py`)."""

    __tablename__ = "alert_turn"
    name: str = Field(primary_key=True)
    owner: str | None = None
    until: int = Field(default=0, sa_type=BigInteger)
    lineage_at: int | None = Field(default=None, sa_type=BigInteger)  # which database was known as the right one
