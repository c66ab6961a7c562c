"""Alerts, and what people are told of them. Nothing that is there is changed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """New tables."""
    for create in (_alert, _alert_notice, _alerted_orphan, _cap_hit, _alert_turn):
        create()


def _alert() -> None:
    op.create_table(
        "alert",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("about", sa.String(), nullable=False),
        sa.Column("operator_id", ROW_ID, nullable=True),
        sa.Column("sentence", sa.String(), nullable=False),
        sa.Column("over", sa.String(), nullable=False),
        sa.Column("began_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("told_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("ended_at IS NULL OR ended_at >= began_at", name=op.f("ck_alert_ended")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_alert_operator_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert")),
    )
    lasts = sa.text("ended_at IS NULL")
    op.create_index(
        "uq_alert_open", "alert", ["kind", "about"], unique=True, sqlite_where=lasts, postgresql_where=lasts
    )
    op.create_index(op.f("ix_alert_began_at"), "alert", ["began_at"], unique=False)


def _alert_notice() -> None:
    op.create_table(
        "alert_notice",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("alert_id", sa.String(), nullable=False),
        sa.Column("phase", sa.String(), nullable=False),
        sa.Column("sink", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("wake_at", sa.BigInteger(), nullable=True),
        sa.Column("failure", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("phase IN ('begun', 'more', 'again', 'over')", name=op.f("ck_alert_notice_phase")),
        sa.CheckConstraint("sink IN ('webhook', 'email')", name=op.f("ck_alert_notice_sink")),
        sa.CheckConstraint("state IN ('waiting', 'sent', 'given_up')", name=op.f("ck_alert_notice_state")),
        sa.CheckConstraint("(wake_at IS NULL) = (state <> 'waiting')", name=op.f("ck_alert_notice_awake")),
        sa.ForeignKeyConstraint(["alert_id"], ["alert.id"], name=op.f("fk_alert_notice_alert_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_notice")),
    )
    op.create_index(op.f("ix_alert_notice_alert_id"), "alert_notice", ["alert_id"], unique=False)
    awake = sa.text("wake_at IS NOT NULL")
    op.create_index(
        op.f("ix_alert_notice_wake_at"), "alert_notice", ["wake_at"], unique=False,
        sqlite_where=awake, postgresql_where=awake,
    )  # fmt: skip


def _alerted_orphan() -> None:
    op.create_table(
        "alerted_orphan",
        sa.Column("transfer_id", sa.String(), nullable=False),
        sa.Column("alert_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["alert_id"], ["alert.id"], name=op.f("fk_alerted_orphan_alert_id")),
        sa.ForeignKeyConstraint(["transfer_id"], ["transfer.id"], name=op.f("fk_alerted_orphan_transfer_id")),
        sa.PrimaryKeyConstraint("transfer_id", name=op.f("pk_alerted_orphan")),
    )


def _cap_hit() -> None:
    op.create_table(
        "cap_hit",
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("hit_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("provider", "currency", name=op.f("pk_cap_hit")),
    )


def _alert_turn() -> None:
    op.create_table(
        "alert_turn",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=True),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("lineage_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_alert_turn")),
    )
