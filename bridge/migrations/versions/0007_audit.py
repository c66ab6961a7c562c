"""The audit: seals and how far they have come. Nothing that is there is changed; the jobs seal what is there."""

from __future__ import annotations

from importlib import import_module

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """New tables, their guard, and two indexes by which people's few rows are found in their order."""
    _seal()
    _seal_mark()
    op.create_index(op.f("ix_proposal_created_at"), "proposal", ["created_at"], unique=False)
    op.create_index(op.f("ix_verdict_at"), "verdict", ["at"], unique=False)
    guard = import_module("bridge.migrations.versions.0002_append_only")
    guard.refuse_change("seal", ("chain, number",))


def _seal() -> None:
    op.create_table(
        "seal",
        sa.Column("chain", ROW_ID, autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("run", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("scope", ROW_ID, nullable=False),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.Column("after", sa.String(), nullable=False),
        sa.Column("upto", sa.String(), nullable=False),
        sa.Column("entries", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("content", "digest", "previous", "hash")),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("format", sa.Integer(), nullable=False),
        sa.CheckConstraint("entries > 0", name=op.f("ck_seal_entries")),
        sa.CheckConstraint("number > 0", name=op.f("ck_seal_number")),
        sa.PrimaryKeyConstraint("chain", "number", name=op.f("pk_seal")),
    )
    op.create_index(
        op.f("ix_seal_chain_source_scope_number"), "seal", ["chain", "source", "scope", "number"], unique=False
    )
    op.create_index(op.f("ix_seal_run"), "seal", ["run"], unique=False)


def _seal_mark() -> None:
    op.create_table(
        "seal_mark",
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("scope", ROW_ID, autoincrement=False, nullable=False),
        sa.Column("seen", sa.String(), nullable=True),
        sa.Column("seen_at", sa.BigInteger(), nullable=True),
        sa.Column("horizon", sa.BigInteger(), nullable=True),
        sa.Column("looked", sa.String(), nullable=True),
        sa.Column("again", sa.BigInteger(), nullable=False),
        sa.Column("note", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("source", "scope", name=op.f("pk_seal_mark")),
    )
