"""Who moves money: operators, their keys, players and what they own, and the answers kept for them."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKeyConstraint, Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from bridge.models.base import RowId


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


class Denomination(SQLModel, table=True):
    """The decimals of a currency, written when its first wallet was opened: what every stored integer means."""

    currency: str = Field(primary_key=True)
    exponent: int


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


class WithdrawalSwitch(SQLModel, table=True):
    """Nothing is withdrawn since a restore of the database; the row (one) goes when a person opens them."""

    __tablename__ = "withdrawal_switch"
    __table_args__ = (CheckConstraint("id = 1", name="single"),)
    id: int = Field(primary_key=True)
    reason: str
    actor: str
    closed_at: int = Field(sa_type=BigInteger)
