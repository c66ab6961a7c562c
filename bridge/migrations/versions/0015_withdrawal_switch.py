"""A restore of the database closes withdrawals, until a person opens them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One table more, and it is empty: what was restored before this version has paid out long since."""
    op.create_table(
        "withdrawal_switch",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_withdrawal_switch_single")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_withdrawal_switch")),
    )
