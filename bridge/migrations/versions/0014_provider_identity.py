"""A provider's name stands for one provider, and a transfer remembers that it stands for another since."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One table, which the first process fills with what it is configured with, and one empty column."""
    op.create_table(
        "provider_identity",
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("identity", sa.String(), nullable=False),
        sa.Column("kept_at", sa.BigInteger(), nullable=False),
        sa.Column("accepted_at", sa.BigInteger(), nullable=True),
        sa.Column("accepted_by", sa.String(), nullable=True),
        sa.Column("reason", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("provider", name=op.f("pk_provider_identity")),
    )
    op.add_column("transfer", sa.Column("moved_at", sa.BigInteger(), nullable=True))
