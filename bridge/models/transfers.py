"""Transfers: the row, its legs and requests, every piece of evidence, every move, and the case of an orphan."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKeyConstraint, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from bridge.evidence import Answer, Source, Step
from bridge.models.base import RowId, one_of
from bridge.ports import Direction, Side
from statemachines import CaseState, LegState, TransferState


class Transfer(SQLModel, table=True):
    """One movement of one amount for one player between the operator's wallet and a provider."""

    __table_args__ = (
        CheckConstraint("amount > 0", name="amount"),
        one_of("state", TransferState),
        one_of("direction", Direction),
        # Of the whole so much arrived (a partial end; NULL: all of it), and so much of that the house bears.
        CheckConstraint("arrived IS NULL OR (arrived >= 0 AND arrived <= amount)", name="arrived"),
        CheckConstraint("written_off IS NULL OR (written_off > 0 AND written_off <= amount)", name="written_off"),
        # I-17 below the code: what is open always has a time at which somebody looks at it.
        CheckConstraint("wake_at IS NOT NULL OR state IN ('confirmed', 'reversed')", name="awake"),
        UniqueConstraint("operator_id", "idempotency_key"),
        ForeignKeyConstraint(["operator_id", "player_id"], ["player.operator_id", "player.player_id"]),
        Index(None, "wake_at"),
        Index(None, "operator_id", "player_id", "provider", "state"),
        Index(None, "operator_id", "id"),
        # What is unresolved per provider and currency: the few rows that an exposure cap adds up. Behind that, all that
        # the desk counts, adds up and sorts by: its orphans stand on as many pages of the table as there are.
        Index(
            "ix_transfer_unresolved",
            *("provider", "currency", "direction", "operator_id", "state", "reason_code", "player_id"),
            *("created_at", "settled_at", "orphan_at", "amount", "id"),
            sqlite_where=text("state IN ('pending', 'orphaned')"),
            postgresql_where=text("state IN ('pending', 'orphaned')"),
        ),
    )
    id: str = Field(primary_key=True)
    operator_id: int = Field(foreign_key="operator.id", sa_type=RowId)
    player_id: str
    provider: str
    direction: str
    amount: int = Field(sa_type=BigInteger)
    currency: str
    state: str
    version: int = Field(sa_type=BigInteger)
    reason_code: str | None = None
    reason_detail: str | None = None
    idempotency_key: str
    created_at: int = Field(sa_type=BigInteger)
    updated_at: int = Field(sa_type=BigInteger)
    settled_at: int | None = Field(default=None, sa_type=BigInteger)
    orphan_at: int = Field(sa_type=BigInteger)
    cancel_requested_at: int | None = Field(default=None, sa_type=BigInteger)
    wake_at: int | None = Field(default=None, sa_type=BigInteger)
    lease_owner: str | None = None
    lease_epoch: int = Field(sa_type=BigInteger)
    failures: int = 0
    sweep: bool | None = None  # the amount asked for was "max"
    dust: int | None = Field(default=None, sa_type=BigInteger)  # what a sweep had to leave behind
    arrived: int | None = Field(default=None, sa_type=BigInteger)  # NULL: all of it, where it arrived
    written_off: int | None = Field(default=None, sa_type=BigInteger)  # of what arrived, borne by the house
    rewound_at: int | None = Field(default=None, sa_type=BigInteger)  # a restored backup forgot what came after
    first_rewound_at: int | None = Field(default=None, sa_type=BigInteger)  # the same, seen the first time
    moved_at: int | None = Field(default=None, sa_type=BigInteger)  # its provider's name stands for another since then
    quiet_from: int | None = Field(default=None, sa_type=BigInteger)  # a clock was set forward: no silence is older


class Leg(SQLModel, table=True):
    """One side of a transfer: one outside effect on one holder. An undo is a leg of its own."""

    __table_args__ = (
        one_of("state", LegState),
        one_of("side", Side),
        one_of("step", Step, optional=True),
        CheckConstraint("amount > 0", name="amount"),
        UniqueConstraint("holder", "reference"),
        # The few without a usable answer: else whoever counts them reads every leg there ever was.
        Index(
            "ix_leg_unknown",
            "transfer_id",
            sqlite_where=text("unknown_since IS NOT NULL"),
            postgresql_where=text("unknown_since IS NOT NULL"),
        ),
    )
    transfer_id: str = Field(foreign_key="transfer.id", primary_key=True)
    ordinal: int = Field(primary_key=True)
    holder: str  # `wallet` or the provider's name
    side: str
    undoes: int | None = None
    state: str
    step: str | None = None
    reference: str | None = None
    provider_reference: str | None = None
    unknown_since: int | None = Field(default=None, sa_type=BigInteger)
    amount: int = Field(sa_type=BigInteger)


class Attempt(SQLModel, table=True):
    """One money request, committed before it may leave; nothing of it is on the wire after `wire_until`."""

    __table_args__ = (
        one_of("step", Step),
        ForeignKeyConstraint(["transfer_id", "ordinal"], ["leg.transfer_id", "leg.ordinal"]),
    )
    transfer_id: str = Field(primary_key=True)
    ordinal: int = Field(primary_key=True)
    attempt: int = Field(primary_key=True)
    step: str
    sent_at: int = Field(sa_type=BigInteger)
    wire_until: int = Field(sa_type=BigInteger)
    lease_owner: str
    lease_epoch: int = Field(sa_type=BigInteger)


class EvidenceRow(SQLModel, table=True):
    """One answer about one leg, exactly as translated; the raw message by its digest. `sent` and `received` are the
    messages themselves, for people: of callbacks they are in the inbox, and of what was concluded there are none."""

    __tablename__ = "evidence"
    __table_args__ = (
        one_of("source", Source),
        one_of("answer", Answer),
        one_of("step", Step, optional=True),
        ForeignKeyConstraint(["transfer_id", "ordinal"], ["leg.transfer_id", "leg.ordinal"]),
        Index(None, "transfer_id"),
        Index(None, "provider", "source", "at"),
        Index(None, "inbox_id", unique=True),  # one message is evidence once
        # By what a provider calls it, people look for a transfer.
        Index(
            None,
            "provider_reference",
            sqlite_where=text("provider_reference IS NOT NULL"),
            postgresql_where=text("provider_reference IS NOT NULL"),
        ),
    )
    id: int | None = Field(default=None, sa_column=Column(RowId, primary_key=True, autoincrement=True))
    transfer_id: str
    ordinal: int
    provider: str | None = None
    source: str
    step: str | None = None
    attempt: int
    answer: str
    code: str
    detail: str
    amount: int | None = Field(default=None, sa_type=BigInteger)
    currency: str | None = None
    player: str | None = None
    side: str | None = None
    reference: str | None = None
    provider_reference: str | None = None
    provider_time: str | None = None
    balance: int | None = Field(default=None, sa_type=BigInteger)
    attempt_sensitive: bool = False
    digest: str
    at: int = Field(sa_type=BigInteger)
    worker: str
    lease_epoch: int = Field(sa_type=BigInteger)
    sequence: int | None = Field(default=None, sa_type=BigInteger)
    requested: int | None = Field(default=None, sa_type=BigInteger)
    watermark: int | None = Field(default=None, sa_type=RowId)
    inbox_id: int | None = Field(default=None, foreign_key="inbox.id", sa_type=RowId)
    sent: str | None = None
    received: str | None = None


class History(SQLModel, table=True):
    """One move of a transfer, a leg or a case: from, to, why, on which evidence, by whom."""

    __table_args__ = (Index(None, "transfer_id"),)
    id: int | None = Field(default=None, sa_column=Column(RowId, primary_key=True, autoincrement=True))
    transfer_id: str = Field(foreign_key="transfer.id")
    version: int = Field(sa_type=BigInteger)
    subject: str  # `transfer`, `leg 2`, `case`
    trigger: str
    source: str | None = None
    target: str
    reason: str
    evidence_id: int | None = Field(default=None, foreign_key="evidence.id", sa_type=RowId)
    actor: str
    lease_epoch: int = Field(sa_type=BigInteger)
    at: int = Field(sa_type=BigInteger)


class Posting(SQLModel, table=True):
    """One ledger row: `amount` leaves the account `debit` and reaches the account `credit`."""

    __table_args__ = (
        CheckConstraint("amount > 0", name="amount"),
        CheckConstraint("debit <> credit", name="sides"),
        CheckConstraint("(transfer_id IS NULL) <> (cash_movement_id IS NULL)", name="cause"),
        # A second worker that posts the same move again breaks here.
        UniqueConstraint("transfer_id", "version", "debit", "credit"),
        UniqueConstraint("cash_movement_id"),
        Index(None, "operator_id", "player_id", "currency"),
        Index(None, "operator_id", "currency", "debit"),
        Index(None, "operator_id", "currency", "credit"),
    )
    id: int | None = Field(default=None, sa_column=Column(RowId, primary_key=True, autoincrement=True))
    operator_id: int = Field(foreign_key="operator.id", sa_type=RowId)
    player_id: str
    transfer_id: str | None = Field(default=None, foreign_key="transfer.id")
    cash_movement_id: str | None = Field(default=None, foreign_key="cash_movement.id")
    version: int = Field(sa_type=BigInteger)
    debit: str
    credit: str
    amount: int = Field(sa_type=BigInteger)
    currency: str
    debit_version: int | None = Field(default=None, sa_type=BigInteger)
    credit_version: int | None = Field(default=None, sa_type=BigInteger)
    at: int = Field(sa_type=BigInteger)


class Case(SQLModel, table=True):
    """The file in which people resolve one orphan."""

    __tablename__ = "orphan_case"
    __table_args__ = (
        one_of("state", CaseState),
        UniqueConstraint("transfer_id"),
        Index(None, "opened_at"),
        Index(None, "closed_at"),
    )
    id: str = Field(primary_key=True)
    transfer_id: str = Field(foreign_key="transfer.id")
    state: str
    reason: str
    opened_at: int = Field(sa_type=BigInteger)
    closed_at: int | None = Field(default=None, sa_type=BigInteger)
    version: int = Field(sa_type=BigInteger)


class DecisionRow(SQLModel, table=True):
    """What two people decided about one orphan, and what they had seen of it when they did."""

    __tablename__ = "decision"
    __table_args__ = (
        CheckConstraint("kind IN ('confirm', 'reverse', 'split', 'write_off', 'claw_back')", name="kind"),
        CheckConstraint("maker <> checker", name="four_eyes"),
        CheckConstraint("arrived >= 0 AND returned >= 0", name="parts"),
        UniqueConstraint("transfer_id", "watermark"),
    )
    id: str = Field(primary_key=True)
    transfer_id: str = Field(foreign_key="transfer.id")
    kind: str
    arrived: int = Field(sa_type=BigInteger)
    returned: int = Field(sa_type=BigInteger)
    maker: str
    checker: str
    reason: str
    watermark: int = Field(sa_type=RowId)  # the last evidence that they had seen; 0 if there was none
    decided_at: int = Field(sa_type=BigInteger)
