"""Events to operators: the outbox, the numbered events, endpoints and deliveries.

Nothing that is there is changed. What moved before this is no event: an operator's first event is the first move
after it.
"""

from __future__ import annotations

from importlib import import_module

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
STATES = "'pending', 'confirmed', 'reversed', 'orphaned'"

UNIQUE_KEYS = {
    "event": ("operator_id, sequence", "id", "transfer_id, version"),
    "delivery_try": ("id",),
}


def upgrade() -> None:
    """New tables, then their guards."""
    for create in (_outbox, _tally, _event_origin, _event_head, _event, _webhook_endpoint, _delivery, _delivery_try):
        create()
    guard = import_module("bridge.migrations.versions.0002_append_only")
    for table, keys in UNIQUE_KEYS.items():
        guard.refuse_change(table, keys)


def _outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("operator_id", ROW_ID, nullable=False),
        sa.Column("transfer_id", sa.String(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("arrived", sa.BigInteger(), nullable=True),
        sa.Column("reason_code", sa.String(), nullable=True),
        sa.Column("reason_detail", sa.String(), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(f"state IN ({STATES})", name=op.f("ck_outbox_state")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_outbox_operator_id")),
        sa.ForeignKeyConstraint(["transfer_id"], ["transfer.id"], name=op.f("fk_outbox_transfer_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("transfer_id", "version", name=op.f("uq_outbox_transfer_id_version")),
    )
    op.create_index(op.f("ix_outbox_operator_id_id"), "outbox", ["operator_id", "id"], unique=False)


def _tally() -> None:
    names = ("provider", "currency", "direction", "state")
    op.create_table(
        "tally",
        sa.Column("operator_id", ROW_ID, autoincrement=False, nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in names),
        sa.Column("bucket", sa.Integer(), autoincrement=False, nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("moves", "giga_units", "units", "millis")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_tally_operator_id")),
        sa.PrimaryKeyConstraint("operator_id", *names, "bucket", name=op.f("pk_tally")),
    )


def _event_origin() -> None:
    op.create_table(
        "event_origin",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("history_id", ROW_ID, nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_event_origin_single")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event_origin")),
    )
    op.execute("INSERT INTO event_origin (id, history_id) SELECT 1, COALESCE(MAX(id), 0) FROM history")


def _event_head() -> None:
    op.create_table(
        "event_head",
        sa.Column("operator_id", ROW_ID, autoincrement=False, nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_event_head_operator_id")),
        sa.PrimaryKeyConstraint("operator_id", name=op.f("pk_event_head")),
    )


def _event() -> None:
    op.create_table(
        "event",
        sa.Column("operator_id", ROW_ID, nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("transfer_id", sa.String(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=True),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("occurred_at", sa.BigInteger(), nullable=False),
        sa.Column("numbered_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("sequence > 0", name=op.f("ck_event_sequence")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_event_operator_id")),
        sa.ForeignKeyConstraint(["transfer_id"], ["transfer.id"], name=op.f("fk_event_transfer_id")),
        sa.PrimaryKeyConstraint("operator_id", "sequence", name=op.f("pk_event")),
        sa.UniqueConstraint("id", name=op.f("uq_event_id")),
        sa.UniqueConstraint("transfer_id", "version", name=op.f("uq_event_transfer_id_version")),
    )


def _webhook_endpoint() -> None:
    op.create_table(
        "webhook_endpoint",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("operator_id", ROW_ID, nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("url", "label", "state", "reason")),
        sa.Column("secret_number", sa.BigInteger(), nullable=False),
        sa.Column("previous_number", sa.BigInteger(), nullable=True),
        sa.Column("overlap_until", sa.BigInteger(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failing_since", sa.BigInteger(), nullable=True),
        sa.Column("failed_at", sa.BigInteger(), nullable=True),
        sa.Column("quiet_until", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("state IN ('enabled', 'disabled', 'deleted')", name=op.f("ck_webhook_endpoint_state")),
        sa.CheckConstraint("secret_number > 0", name=op.f("ck_webhook_endpoint_secret_number")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_webhook_endpoint_operator_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_endpoint")),
    )
    op.create_index(op.f("ix_webhook_endpoint_operator_id"), "webhook_endpoint", ["operator_id"], unique=False)


def _delivery() -> None:
    op.create_table(
        "delivery",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("endpoint_id", sa.String(), nullable=False),
        sa.Column("operator_id", ROW_ID, nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("wake_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("(wake_at IS NULL) = (state <> 'waiting')", name=op.f("ck_delivery_awake")),
        sa.CheckConstraint(
            "state IN ('waiting', 'delivered', 'given_up', 'dropped')", name=op.f("ck_delivery_state")
        ),
        sa.ForeignKeyConstraint(["endpoint_id"], ["webhook_endpoint.id"], name=op.f("fk_delivery_endpoint_id")),
        sa.ForeignKeyConstraint(
            ["operator_id", "sequence"],
            ["event.operator_id", "event.sequence"],
            name=op.f("fk_delivery_operator_id_sequence"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery")),
        sa.UniqueConstraint("endpoint_id", "sequence", name=op.f("uq_delivery_endpoint_id_sequence")),
    )
    awake = sa.text("wake_at IS NOT NULL")
    op.create_index(
        op.f("ix_delivery_endpoint_id_wake_at"), "delivery", ["endpoint_id", "wake_at"], unique=False,
        postgresql_where=awake, sqlite_where=awake,
    )  # fmt: skip


def _delivery_try() -> None:
    op.create_table(
        "delivery_try",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("delivery_id", ROW_ID, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("failure", sa.String(), nullable=False),
        sa.Column("milliseconds", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["delivery_id"], ["delivery.id"], name=op.f("fk_delivery_try_delivery_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery_try")),
    )
    op.create_index(op.f("ix_delivery_try_delivery_id"), "delivery_try", ["delivery_id"], unique=False)
