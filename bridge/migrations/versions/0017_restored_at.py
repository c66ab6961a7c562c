"""A database remembers when it was last seen to be a restored backup, beside when it was first looked at as it is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One column more; where a transfer is marked, the last look at a new database was at a restored one."""
    op.add_column("lineage", sa.Column("restored_at", sa.BigInteger(), nullable=True))
    op.execute(
        "UPDATE lineage SET restored_at = seen_at WHERE EXISTS (SELECT 1 FROM transfer WHERE rewound_at IS NOT NULL)"
    )
