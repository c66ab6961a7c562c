"""A transfer remembers the first restore that it went through beside the last."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One column more; of what was marked more than once, the last restore is all that is known."""
    op.add_column("transfer", sa.Column("first_rewound_at", sa.BigInteger(), nullable=True))
    op.execute("UPDATE transfer SET first_rewound_at = rewound_at WHERE rewound_at IS NOT NULL")
