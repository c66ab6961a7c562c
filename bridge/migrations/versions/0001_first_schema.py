"""The first schema: tenants, players, transfers with legs, attempts, evidence and history, the ledger."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create every table, those first that others point at."""
    tables = (
        _breaker, _job_run, _denomination, _operator, _api_key, _idempotency_key, _player, _account,
        _cash_movement, _transfer, _leg, _orphan_case, _posting, _attempt, _evidence, _history,
    )  # fmt: skip
    for create in tables:
        create()


def _breaker() -> None:
    op.create_table(
        "breaker",
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("open", sa.Boolean(), nullable=False),
        sa.Column("counted_from", sa.BigInteger(), nullable=False),
        sa.Column("probe_at", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("provider", name=op.f("pk_breaker")),
    )


def _job_run() -> None:
    op.create_table(
        "job_run",
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("slot", sa.BigInteger(), nullable=False),
        sa.Column("worker", sa.String(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.Column("outcome", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("job", "slot", name=op.f("pk_job_run")),
    )


def _denomination() -> None:
    op.create_table(
        "denomination",
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("exponent", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("currency", name=op.f("pk_denomination")),
    )


def _operator() -> None:
    op.create_table(
        "operator",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operator")),
        sa.UniqueConstraint("name", name=op.f("uq_operator_name")),
    )


def _api_key() -> None:
    op.create_table(
        "api_key",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("operator_id", ROW_ID, nullable=False),
        sa.Column("label", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("scopes", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_api_key_operator_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
        sa.UniqueConstraint("digest", name=op.f("uq_api_key_digest")),
    )


def _idempotency_key() -> None:
    op.create_table(
        "idempotency_key",
        sa.Column("operator_id", ROW_ID, nullable=False),
        sa.Column("operation", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("subject_id", sa.String(), nullable=True),
        sa.Column("answered", sa.Boolean(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("response", sa.String(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_idempotency_key_operator_id")),
        sa.PrimaryKeyConstraint("operator_id", "operation", "key", name=op.f("pk_idempotency_key")),
    )


def _player() -> None:
    op.create_table(
        "player",
        sa.Column("operator_id", ROW_ID, nullable=False),
        sa.Column("player_id", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_player_operator_id")),
        sa.PrimaryKeyConstraint("operator_id", "player_id", name=op.f("pk_player")),
    )


def _account() -> None:
    op.create_table(
        "account",
        sa.Column("operator_id", ROW_ID, nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("player_id", sa.String(), nullable=False),
        sa.Column("balance", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("balance >= 0 OR account NOT LIKE 'wallet:%'", name=op.f("ck_account_floor")),
        sa.CheckConstraint(
            "balance BETWEEN -4611686018427387904 AND 4611686018427387904", name=op.f("ck_account_integer")
        ),
        sa.ForeignKeyConstraint(
            ["operator_id", "player_id"],
            ["player.operator_id", "player.player_id"],
            name=op.f("fk_account_operator_id_player_id"),
        ),
        sa.PrimaryKeyConstraint("operator_id", "account", "currency", name=op.f("pk_account")),
    )
    op.create_index(op.f("ix_account_operator_id_player_id"), "account", ["operator_id", "player_id"], unique=False)


def _cash_movement() -> None:
    op.create_table(
        "cash_movement",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("operator_id", ROW_ID, nullable=False),
        sa.Column("player_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("idempotency_key", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("kind IN ('deposit', 'withdrawal')", name=op.f("ck_cash_movement_kind")),
        sa.CheckConstraint("amount > 0", name=op.f("ck_cash_movement_amount")),
        sa.ForeignKeyConstraint(
            ["operator_id", "player_id"],
            ["player.operator_id", "player.player_id"],
            name=op.f("fk_cash_movement_operator_id_player_id"),
        ),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_cash_movement_operator_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cash_movement")),
        sa.UniqueConstraint(
            "operator_id",
            "kind",
            "idempotency_key",
            name=op.f("uq_cash_movement_operator_id_kind_idempotency_key"),
        ),
    )


def _transfer() -> None:
    op.create_table(
        "transfer",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("operator_id", ROW_ID, nullable=False),
        sa.Column("player_id", sa.String(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("direction", sa.String(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("reason_code", sa.String(), nullable=True),
        sa.Column("reason_detail", sa.String(), nullable=True),
        sa.Column("idempotency_key", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("settled_at", sa.BigInteger(), nullable=True),
        sa.Column("orphan_at", sa.BigInteger(), nullable=False),
        sa.Column("cancel_requested_at", sa.BigInteger(), nullable=True),
        sa.Column("wake_at", sa.BigInteger(), nullable=True),
        sa.Column("lease_owner", sa.String(), nullable=True),
        sa.Column("lease_epoch", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.CheckConstraint("direction IN ('in', 'out')", name=op.f("ck_transfer_direction")),
        sa.CheckConstraint("state IN ('pending', 'confirmed', 'reversed', 'orphaned')", name=op.f("ck_transfer_state")),
        sa.CheckConstraint("wake_at IS NOT NULL OR state IN ('confirmed', 'reversed')", name=op.f("ck_transfer_awake")),
        sa.CheckConstraint("amount > 0", name=op.f("ck_transfer_amount")),
        sa.ForeignKeyConstraint(
            ["operator_id", "player_id"],
            ["player.operator_id", "player.player_id"],
            name=op.f("fk_transfer_operator_id_player_id"),
        ),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_transfer_operator_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transfer")),
        sa.UniqueConstraint("operator_id", "idempotency_key", name=op.f("uq_transfer_operator_id_idempotency_key")),
    )
    op.create_index(op.f("ix_transfer_operator_id_id"), "transfer", ["operator_id", "id"], unique=False)
    op.create_index(
        op.f("ix_transfer_operator_id_player_id_provider_state"),
        "transfer",
        ["operator_id", "player_id", "provider", "state"],
        unique=False,
    )
    op.create_index(op.f("ix_transfer_wake_at"), "transfer", ["wake_at"], unique=False)


def _leg() -> None:
    op.create_table(
        "leg",
        sa.Column("transfer_id", sa.String(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("holder", sa.String(), nullable=False),
        sa.Column("side", sa.String(), nullable=False),
        sa.Column("undoes", sa.Integer(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("step", sa.String(), nullable=True),
        sa.Column("reference", sa.String(), nullable=True),
        sa.Column("provider_reference", sa.String(), nullable=True),
        sa.Column("unknown_since", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("side IN ('debit', 'credit')", name=op.f("ck_leg_side")),
        sa.CheckConstraint("state IN ('planned', 'sent', 'reserved', 'applied', 'refused')", name=op.f("ck_leg_state")),
        sa.CheckConstraint("step IS NULL OR step IN ('prepare', 'complete', 'void')", name=op.f("ck_leg_step")),
        sa.ForeignKeyConstraint(["transfer_id"], ["transfer.id"], name=op.f("fk_leg_transfer_id")),
        sa.PrimaryKeyConstraint("transfer_id", "ordinal", name=op.f("pk_leg")),
        sa.UniqueConstraint("holder", "reference", name=op.f("uq_leg_holder_reference")),
    )


def _orphan_case() -> None:
    op.create_table(
        "orphan_case",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("transfer_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("state IN ('open', 'proposed', 'closed')", name=op.f("ck_orphan_case_state")),
        sa.ForeignKeyConstraint(["transfer_id"], ["transfer.id"], name=op.f("fk_orphan_case_transfer_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_orphan_case")),
        sa.UniqueConstraint("transfer_id", name=op.f("uq_orphan_case_transfer_id")),
    )


def _posting() -> None:
    op.create_table(
        "posting",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("operator_id", ROW_ID, nullable=False),
        sa.Column("player_id", sa.String(), nullable=False),
        sa.Column("transfer_id", sa.String(), nullable=True),
        sa.Column("cash_movement_id", sa.String(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("debit", sa.String(), nullable=False),
        sa.Column("credit", sa.String(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("debit_version", sa.BigInteger(), nullable=True),
        sa.Column("credit_version", sa.BigInteger(), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("(transfer_id IS NULL) <> (cash_movement_id IS NULL)", name=op.f("ck_posting_cause")),
        sa.CheckConstraint("amount > 0", name=op.f("ck_posting_amount")),
        sa.CheckConstraint("debit <> credit", name=op.f("ck_posting_sides")),
        sa.ForeignKeyConstraint(["cash_movement_id"], ["cash_movement.id"], name=op.f("fk_posting_cash_movement_id")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_posting_operator_id")),
        sa.ForeignKeyConstraint(["transfer_id"], ["transfer.id"], name=op.f("fk_posting_transfer_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_posting")),
        sa.UniqueConstraint("cash_movement_id", name=op.f("uq_posting_cash_movement_id")),
        sa.UniqueConstraint(
            "transfer_id",
            "version",
            "debit",
            "credit",
            name=op.f("uq_posting_transfer_id_version_debit_credit"),
        ),
    )
    op.create_index(
        op.f("ix_posting_operator_id_currency_credit"),
        "posting",
        ["operator_id", "currency", "credit"],
        unique=False,
    )
    op.create_index(
        op.f("ix_posting_operator_id_currency_debit"),
        "posting",
        ["operator_id", "currency", "debit"],
        unique=False,
    )
    op.create_index(
        op.f("ix_posting_operator_id_player_id_currency"),
        "posting",
        ["operator_id", "player_id", "currency"],
        unique=False,
    )


def _attempt() -> None:
    op.create_table(
        "attempt",
        sa.Column("transfer_id", sa.String(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("step", sa.String(), nullable=False),
        sa.Column("sent_at", sa.BigInteger(), nullable=False),
        sa.Column("wire_until", sa.BigInteger(), nullable=False),
        sa.Column("lease_owner", sa.String(), nullable=False),
        sa.Column("lease_epoch", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("step IN ('prepare', 'complete', 'void')", name=op.f("ck_attempt_step")),
        sa.ForeignKeyConstraint(
            ["transfer_id", "ordinal"],
            ["leg.transfer_id", "leg.ordinal"],
            name=op.f("fk_attempt_transfer_id_ordinal"),
        ),
        sa.PrimaryKeyConstraint("transfer_id", "ordinal", "attempt", name=op.f("pk_attempt")),
    )


def _evidence() -> None:
    op.create_table(
        "evidence",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("transfer_id", sa.String(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("provider", sa.String(), nullable=True),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("step", sa.String(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("answer", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("detail", sa.String(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.String(), nullable=True),
        sa.Column("player", sa.String(), nullable=True),
        sa.Column("side", sa.String(), nullable=True),
        sa.Column("reference", sa.String(), nullable=True),
        sa.Column("provider_reference", sa.String(), nullable=True),
        sa.Column("provider_time", sa.String(), nullable=True),
        sa.Column("balance", sa.BigInteger(), nullable=True),
        sa.Column("attempt_sensitive", sa.Boolean(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("worker", sa.String(), nullable=False),
        sa.Column("lease_epoch", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "answer IN ('applied', 'reserved', 'not_applied', 'cancelled', "
            "'in_progress', 'not_found', 'not_sent', 'unknown')",
            name=op.f("ck_evidence_answer"),
        ),
        sa.CheckConstraint("source IN ('call', 'lookup', 'wallet', 'contract')", name=op.f("ck_evidence_source")),
        sa.CheckConstraint("step IS NULL OR step IN ('prepare', 'complete', 'void')", name=op.f("ck_evidence_step")),
        sa.ForeignKeyConstraint(
            ["transfer_id", "ordinal"],
            ["leg.transfer_id", "leg.ordinal"],
            name=op.f("fk_evidence_transfer_id_ordinal"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evidence")),
    )
    op.create_index(op.f("ix_evidence_provider_source_at"), "evidence", ["provider", "source", "at"], unique=False)
    op.create_index(op.f("ix_evidence_transfer_id"), "evidence", ["transfer_id"], unique=False)


def _history() -> None:
    op.create_table(
        "history",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("transfer_id", sa.String(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("trigger", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=True),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("evidence_id", ROW_ID, nullable=True),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("lease_epoch", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["evidence_id"], ["evidence.id"], name=op.f("fk_history_evidence_id")),
        sa.ForeignKeyConstraint(["transfer_id"], ["transfer.id"], name=op.f("fk_history_transfer_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_history")),
    )
    op.create_index(op.f("ix_history_transfer_id"), "history", ["transfer_id"], unique=False)
