"""Providers: what they told us unasked, whether they may be sent money, and what their balances say."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKeyConstraint, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from bridge.models.base import RowId


class InboxMessage(SQLModel, table=True):
    """One signed message of a provider, exactly as it came; its id is taken once, for ever."""

    __tablename__ = "inbox"
    __table_args__ = (UniqueConstraint("provider", "message_id"),)
    id: int | None = Field(default=None, sa_column=Column(RowId, primary_key=True, autoincrement=True))
    provider: str
    message_id: str
    kind: str
    reference: str | None = None
    body: str
    digest: str
    peer: str
    sent_at: int = Field(sa_type=BigInteger)
    received_at: int = Field(sa_type=BigInteger)


class InboxTask(SQLModel, table=True):
    """What became of a message: acted on, parked until its transfer appears, or passed over."""

    __tablename__ = "inbox_task"
    __table_args__ = (
        CheckConstraint("state IN ('waiting', 'parked', 'done', 'passed_over')", name="state"),
        CheckConstraint("(wake_at IS NULL) = (state IN ('done', 'passed_over'))", name="awake"),
        Index(None, "wake_at"),
        Index(None, "provider", "reference"),
    )
    inbox_id: int = Field(foreign_key="inbox.id", primary_key=True, sa_type=RowId)
    provider: str
    reference: str | None = None
    state: str
    transfer_id: str | None = Field(default=None, foreign_key="transfer.id")
    reason: str = ""
    failures: int = 0
    wake_at: int | None = Field(default=None, sa_type=BigInteger)
    handled_at: int | None = Field(default=None, sa_type=BigInteger)


class SecurityEvent(SQLModel, table=True):
    """Something that an honest, working partner does not do."""

    __tablename__ = "security_event"
    id: int | None = Field(default=None, sa_column=Column(RowId, primary_key=True, autoincrement=True))
    kind: str
    provider: str
    peer: str
    detail: str
    digest: str
    at: int = Field(sa_type=BigInteger)


class BalanceBreak(SQLModel, table=True):
    """A balance that a provider told on a quiet lane and that is not ours; closed when they agree again."""

    __tablename__ = "balance_break"
    __table_args__ = (
        ForeignKeyConstraint(["operator_id", "player_id"], ["player.operator_id", "player.player_id"]),
        Index(
            "ix_balance_break_open",
            "provider",
            "player_id",
            "currency",
            unique=True,
            sqlite_where=text("closed_at IS NULL"),
            postgresql_where=text("closed_at IS NULL"),
        ),
    )
    id: str = Field(primary_key=True)
    operator_id: int = Field(foreign_key="operator.id", sa_type=RowId)
    provider: str
    player_id: str
    currency: str
    ours: int = Field(sa_type=BigInteger)
    theirs: int = Field(sa_type=BigInteger)
    told_by: str  # `callback` or `sweep`
    opened_at: int = Field(sa_type=BigInteger)
    closed_at: int | None = Field(default=None, sa_type=BigInteger)


class ProviderIdentity(SQLModel, table=True):
    """Who a provider's name stands for: whatever is open or held there is with this one, and with no other."""

    __tablename__ = "provider_identity"
    provider: str = Field(primary_key=True)
    identity: str  # JSON: protocol, operator, address, path (its digest), account
    kept_at: int = Field(sa_type=BigInteger)
    # When people accepted it, who did, why, and the newest row of history then.
    accepted_at: int | None = Field(default=None, sa_type=BigInteger)
    accepted_by: str | None = None
    reason: str | None = None
    accepted_behind: int | None = Field(default=None, sa_type=BigInteger)


class Breaker(SQLModel, table=True):
    """A provider whose answers became too often unknown; no row means closed."""

    provider: str = Field(primary_key=True)
    open: bool
    counted_from: int = Field(sa_type=BigInteger)
    probe_at: int = Field(sa_type=BigInteger)
    version: int = Field(sa_type=BigInteger)


class Switch(SQLModel, table=True):
    """Transfers into a provider are closed; the row goes when they are open again. Never against `out`."""

    __table_args__ = (
        CheckConstraint("direction = 'in'", name="money_may_come_home"),
        CheckConstraint("cause IN ('paused', 'restored')", name="cause"),
    )
    provider: str = Field(primary_key=True)
    direction: str = Field(primary_key=True)
    cause: str
    reason: str
    actor: str
    closed_at: int = Field(sa_type=BigInteger)
    # When a restore closed it, alone or beside people; NULL where nothing is left to compare for it.
    restored_at: int | None = Field(default=None, sa_type=BigInteger)


class Exposure(SQLModel, table=True):
    """The lock under which unresolved value is added up against a cap; the sum itself is never stored."""

    provider: str = Field(primary_key=True)
    currency: str = Field(primary_key=True)
