"""What the pages of the desk read quickly: the moves of each hour, new indexes, and an old one that holds more."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

UNRESOLVED = sa.text("state IN ('pending', 'orphaned')")

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Indexes of what people look for, and one new table."""
    op.drop_index("ix_transfer_unresolved", "transfer")
    op.create_index(
        "ix_transfer_unresolved",
        "transfer",
        ["provider", "currency", "direction", "operator_id", "state", "reason_code", "player_id", "created_at",
         "settled_at", "orphan_at", "amount", "id"],
        unique=False, sqlite_where=UNRESOLVED, postgresql_where=UNRESOLVED,
    )  # fmt: skip
    lost = sa.text("unknown_since IS NOT NULL")
    op.create_index(
        "ix_leg_unknown", "leg", ["transfer_id"], unique=False, sqlite_where=lost, postgresql_where=lost
    )
    _where_there_is_one("evidence", "provider_reference")
    _where_there_is_one("access_note", "subject")
    for column in ("opened_at", "closed_at"):
        op.create_index(op.f(f"ix_orphan_case_{column}"), "orphan_case", [column], unique=False)
    op.create_table(
        "hour_tally",
        sa.Column("operator_id", ROW_ID, nullable=False),
        sa.Column("hour", sa.BigInteger(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("bucket", sa.Integer(), nullable=False),
        sa.Column("moves", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_hour_tally_operator_id")),
        sa.PrimaryKeyConstraint(
            "operator_id", "hour", "provider", "state", "bucket", name=op.f("pk_hour_tally")
        ),
    )


def _where_there_is_one(table: str, column: str) -> None:
    there = sa.text(f"{column} IS NOT NULL")
    op.create_index(
        op.f(f"ix_{table}_{column}"), table, [column], unique=False, sqlite_where=there, postgresql_where=there
    )
