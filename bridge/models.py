"""The tables. Instants are microseconds UTC, amounts minor units; states are text checked against the
machines. What must never change (postings, evidence, attempts, history, cash) is guarded by triggers.

`wake_at` is schedule and lease in one: the instant at which somebody else may take the row.
"""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    UniqueConstraint,
)
from sqlmodel import Field, SQLModel

from bridge.evidence import Answer, Source, Step
from bridge.ports import Direction, Side
from statemachines import CaseState, LegState, TransferState

metadata: MetaData = SQLModel.metadata
metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

APPEND_ONLY = ("posting", "evidence", "attempt", "history", "cash_movement")
"""Tables in which a row, once written, stays as it is: UPDATE and DELETE are refused by triggers."""

RowId = BigInteger().with_variant(Integer, "sqlite")


def one_of(column: str, words: type[StrEnum], *, optional: bool = False) -> CheckConstraint:
    """A CHECK that `column` holds a word of the enum, so that no typing error becomes a state."""
    listed = ", ".join(f"'{word.value}'" for word in words)
    condition = f"{column} IN ({listed})"
    return CheckConstraint(f"{column} IS NULL OR {condition}" if optional else condition, name=column)


class Operator(SQLModel, table=True):
    """A tenant: every other row names one."""

    id: int | None = Field(default=None, sa_column=Column(RowId, primary_key=True, autoincrement=True))
    name: str = Field(unique=True)
    created_at: int = Field(sa_type=BigInteger)


class ApiKey(SQLModel, table=True):
    """A bearer key, kept as the SHA-256 of its 256 random bits; shown once, when it is made."""

    __tablename__ = "api_key"
    id: str = Field(primary_key=True)
    operator_id: int = Field(foreign_key="operator.id", sa_type=RowId)
    label: str
    digest: str = Field(unique=True)
    scopes: str
    created_at: int = Field(sa_type=BigInteger)
    revoked_at: int | None = Field(default=None, sa_type=BigInteger)


class Player(SQLModel, table=True):
    """A player of an operator, under the operator's own opaque id."""

    operator_id: int = Field(foreign_key="operator.id", primary_key=True, sa_type=RowId)
    player_id: str = Field(primary_key=True)
    created_at: int = Field(sa_type=BigInteger)


class Account(SQLModel, table=True):
    """The cached balance of a player's account; `version` counts its postings without a gap (I-06).

    `wallet:` accounts have a floor of zero; `game:` accounts may go below until results are posted.
    """

    __table_args__ = (
        CheckConstraint("balance >= 0 OR account NOT LIKE 'wallet:%'", name="floor"),
        # Beyond it SQLite would turn the integer into a float without a word (I-08).
        CheckConstraint(f"balance BETWEEN {-(2**62)} AND {2**62}", name="integer"),
        ForeignKeyConstraint(["operator_id", "player_id"], ["player.operator_id", "player.player_id"]),
        Index(None, "operator_id", "player_id"),
    )
    operator_id: int = Field(primary_key=True, sa_type=RowId)
    account: str = Field(primary_key=True)
    currency: str = Field(primary_key=True)
    player_id: str
    balance: int = Field(default=0, sa_type=BigInteger)
    version: int = Field(default=0, sa_type=BigInteger)


class Transfer(SQLModel, table=True):
    """One movement of one amount for one player between the operator's wallet and a provider."""

    __table_args__ = (
        CheckConstraint("amount > 0", name="amount"),
        one_of("state", TransferState),
        one_of("direction", Direction),
        # I-17 below the code: what is open always has a time at which somebody looks at it.
        CheckConstraint("wake_at IS NOT NULL OR state IN ('confirmed', 'reversed')", name="awake"),
        UniqueConstraint("operator_id", "idempotency_key"),
        ForeignKeyConstraint(["operator_id", "player_id"], ["player.operator_id", "player.player_id"]),
        Index(None, "wake_at"),
        Index(None, "operator_id", "player_id", "provider", "state"),
        Index(None, "operator_id", "id"),
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


class Leg(SQLModel, table=True):
    """One side of a transfer: one outside effect on one holder. An undo is a leg of its own."""

    __table_args__ = (
        one_of("state", LegState),
        one_of("side", Side),
        one_of("step", Step, optional=True),
        UniqueConstraint("holder", "reference"),
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
    """One answer about one leg, exactly as translated; the raw message by its digest."""

    __tablename__ = "evidence"
    __table_args__ = (
        one_of("source", Source),
        one_of("answer", Answer),
        one_of("step", Step, optional=True),
        ForeignKeyConstraint(["transfer_id", "ordinal"], ["leg.transfer_id", "leg.ordinal"]),
        Index(None, "transfer_id"),
        Index(None, "provider", "source", "at"),
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


class CashMovement(SQLModel, table=True):
    """Money entering or leaving the casino through the cashier (embedded wallet only)."""

    __tablename__ = "cash_movement"
    __table_args__ = (
        CheckConstraint("amount > 0", name="amount"),
        CheckConstraint("kind IN ('deposit', 'withdrawal')", name="kind"),
        UniqueConstraint("operator_id", "kind", "idempotency_key"),
        ForeignKeyConstraint(["operator_id", "player_id"], ["player.operator_id", "player.player_id"]),
    )
    id: str = Field(primary_key=True)
    operator_id: int = Field(foreign_key="operator.id", sa_type=RowId)
    player_id: str
    kind: str
    amount: int = Field(sa_type=BigInteger)
    currency: str
    idempotency_key: str
    created_at: int = Field(sa_type=BigInteger)


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
    __table_args__ = (one_of("state", CaseState), UniqueConstraint("transfer_id"))
    id: str = Field(primary_key=True)
    transfer_id: str = Field(foreign_key="transfer.id")
    state: str
    reason: str
    opened_at: int = Field(sa_type=BigInteger)
    closed_at: int | None = Field(default=None, sa_type=BigInteger)
    version: int = Field(sa_type=BigInteger)


class IdempotencyKey(SQLModel, table=True):
    """A key, the body it was first used with, and the answer that it will get for ever."""

    __tablename__ = "idempotency_key"
    operator_id: int = Field(foreign_key="operator.id", primary_key=True, sa_type=RowId)
    operation: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    body: str  # the client's own fields, canonical JSON: the fingerprint that can name what differs
    subject_id: str | None = None
    answered: bool = False  # an answer left once; until then a repetition is told that it is in flight
    status: int | None = None
    response: str | None = None
    created_at: int = Field(sa_type=BigInteger)


class Denomination(SQLModel, table=True):
    """The decimals of a currency, written when its first wallet was opened: what every stored integer means."""

    currency: str = Field(primary_key=True)
    exponent: int


class Breaker(SQLModel, table=True):
    """A provider whose answers became too often unknown; no row means closed."""

    provider: str = Field(primary_key=True)
    open: bool
    counted_from: int = Field(sa_type=BigInteger)
    probe_at: int = Field(sa_type=BigInteger)
    version: int = Field(sa_type=BigInteger)


class JobRun(SQLModel, table=True):
    """One firing of a job: the unique (job, slot) lets exactly one process have it."""

    __tablename__ = "job_run"
    job: str = Field(primary_key=True)
    slot: int = Field(primary_key=True, sa_type=BigInteger)
    worker: str
    started_at: int = Field(sa_type=BigInteger)
    finished_at: int | None = Field(default=None, sa_type=BigInteger)
    outcome: str | None = None
