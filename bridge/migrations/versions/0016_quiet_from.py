"""A transfer remembers that a clock was set forward under it: from when on silence is counted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One empty column more."""
    op.add_column("transfer", sa.Column("quiet_from", sa.BigInteger(), nullable=True))
