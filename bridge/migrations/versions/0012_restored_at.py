"""A switch remembers that a restore has closed it, also where people had closed it before or do so afterwards."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One column more; what a restore alone has closed has it, of others nothing is known."""
    op.add_column("switch", sa.Column("restored_at", sa.BigInteger(), nullable=True))
    op.execute("UPDATE switch SET restored_at = closed_at WHERE cause = 'restored'")
