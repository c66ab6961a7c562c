"""Events to operators: what is still to be numbered, the numbered events, who gets them, and how each delivery went."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKeyConstraint, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from bridge.models.base import RowId, one_of
from statemachines import TransferState


class Outbox(SQLModel, table=True):
    """A move of a transfer that its operator is to be told of: written in the commit of the move, gone when it has
    become an event. What may change afterwards is kept as it was."""

    __table_args__ = (
        one_of("state", TransferState),
        UniqueConstraint("transfer_id", "version"),
        Index(None, "operator_id", "id"),
    )
    id: int | None = Field(default=None, sa_column=Column(RowId, primary_key=True, autoincrement=True))
    operator_id: int = Field(foreign_key="operator.id", sa_type=RowId)
    transfer_id: str = Field(foreign_key="transfer.id")
    version: int = Field(sa_type=BigInteger)
    state: str
    amount: int = Field(sa_type=BigInteger)
    arrived: int | None = Field(default=None, sa_type=BigInteger)
    reason_code: str | None = None
    reason_detail: str | None = None
    at: int = Field(sa_type=BigInteger)


class Tally(SQLModel, table=True):
    """How many moves came after so long, and how much value they were, since there are events. `bucket`: the place
    among the bounds of `bridge/tallies.py`; the value is `giga_units` x 10^9 + `units`."""

    operator_id: int = Field(foreign_key="operator.id", primary_key=True, sa_type=RowId)
    provider: str = Field(primary_key=True)
    currency: str = Field(primary_key=True)
    direction: str = Field(primary_key=True)
    state: str = Field(primary_key=True)
    bucket: int = Field(primary_key=True)
    moves: int = Field(sa_type=BigInteger)
    giga_units: int = Field(sa_type=BigInteger)
    units: int = Field(sa_type=BigInteger)
    millis: int = Field(sa_type=BigInteger)


class HourTally(SQLModel, table=True):
    """How many moves of one hour came after so long; `hour` is its first instant, `bucket` as in Tally."""

    __tablename__ = "hour_tally"
    operator_id: int = Field(foreign_key="operator.id", primary_key=True, sa_type=RowId)
    hour: int = Field(primary_key=True, sa_type=BigInteger)
    provider: str = Field(primary_key=True)
    state: str = Field(primary_key=True)
    bucket: int = Field(primary_key=True)
    moves: int = Field(sa_type=BigInteger)


class EventOrigin(SQLModel, table=True):
    """Where events begin: the last move in the history of which there is none (one row)."""

    __tablename__ = "event_origin"
    __table_args__ = (CheckConstraint("id = 1", name="single"),)
    id: int = Field(primary_key=True)
    history_id: int = Field(sa_type=RowId)


class EventHead(SQLModel, table=True):
    """The number of an operator's last event; whoever numbers the next one holds this row."""

    __tablename__ = "event_head"
    operator_id: int = Field(foreign_key="operator.id", primary_key=True, sa_type=RowId)
    sequence: int = Field(sa_type=BigInteger)


class Event(SQLModel, table=True):
    """One event of an operator, exactly as it is sent, whenever and to whomever; numbered from 1 without a gap."""

    __table_args__ = (
        CheckConstraint("sequence > 0", name="sequence"),
        UniqueConstraint("id"),
        UniqueConstraint("transfer_id", "version"),
    )
    operator_id: int = Field(foreign_key="operator.id", primary_key=True, sa_type=RowId)
    sequence: int = Field(primary_key=True, sa_type=BigInteger)
    id: str
    kind: str
    transfer_id: str | None = Field(default=None, foreign_key="transfer.id")
    version: int | None = Field(default=None, sa_type=BigInteger)
    body: str
    occurred_at: int = Field(sa_type=BigInteger)
    numbered_at: int = Field(sa_type=BigInteger)


class WebhookEndpoint(SQLModel, table=True):
    """An address of an operator to which its events are sent. Its secret is in no row: `secret_number` says which of
    those that are derived for it is the present one, and until `overlap_until` that of `previous_number` signs too."""

    __tablename__ = "webhook_endpoint"
    __table_args__ = (
        CheckConstraint("state IN ('enabled', 'disabled', 'deleted')", name="state"),
        CheckConstraint("secret_number > 0", name="secret_number"),
        Index(None, "operator_id"),
    )
    id: str = Field(primary_key=True)
    operator_id: int = Field(foreign_key="operator.id", sa_type=RowId)
    url: str
    label: str
    state: str
    reason: str = ""  # why it is not enabled
    secret_number: int = Field(default=1, sa_type=BigInteger)  # the instant from which it signs
    previous_number: int | None = Field(default=None, sa_type=BigInteger)
    overlap_until: int | None = Field(default=None, sa_type=BigInteger)
    failures: int = 0  # deliveries that failed one after the other
    failing_since: int | None = Field(default=None, sa_type=BigInteger)
    failed_at: int | None = Field(default=None, sa_type=BigInteger)  # the last time
    quiet_until: int | None = Field(default=None, sa_type=BigInteger)  # while it fails: when it is tried again
    created_at: int = Field(sa_type=BigInteger)
    changed_at: int = Field(sa_type=BigInteger)


class Delivery(SQLModel, table=True):
    """One event on its way to one endpoint. `wake_at` is schedule and lease in one."""

    __table_args__ = (
        CheckConstraint("state IN ('waiting', 'delivered', 'given_up', 'dropped')", name="state"),
        CheckConstraint("(wake_at IS NULL) = (state <> 'waiting')", name="awake"),
        ForeignKeyConstraint(["operator_id", "sequence"], ["event.operator_id", "event.sequence"]),
        UniqueConstraint("endpoint_id", "sequence"),
        Index(
            None,
            "endpoint_id",
            "wake_at",
            sqlite_where=text("wake_at IS NOT NULL"),
            postgresql_where=text("wake_at IS NOT NULL"),
        ),
    )
    id: int | None = Field(default=None, sa_column=Column(RowId, primary_key=True, autoincrement=True))
    endpoint_id: str = Field(foreign_key="webhook_endpoint.id")
    operator_id: int = Field(sa_type=RowId)
    sequence: int = Field(sa_type=BigInteger)
    state: str
    tries: int = 0  # since it was last asked for; those before are in the log
    epoch: int = 0  # of the lease: an outcome under an earlier one moves nothing
    wake_at: int | None = Field(default=None, sa_type=BigInteger)
    created_at: int = Field(sa_type=BigInteger)
    ended_at: int | None = Field(default=None, sa_type=BigInteger)


class DeliveryTry(SQLModel, table=True):
    """One request to an endpoint and what came of it."""

    __tablename__ = "delivery_try"
    __table_args__ = (Index(None, "delivery_id"),)
    id: int | None = Field(default=None, sa_column=Column(RowId, primary_key=True, autoincrement=True))
    delivery_id: int = Field(foreign_key="delivery.id", sa_type=RowId)
    at: int = Field(sa_type=BigInteger)
    status: int | None = None  # of HTTP, where an answer came
    failure: str = ""  # else why none came
    milliseconds: int = Field(sa_type=BigInteger)
