"""What was said on the wire stands beside each answer, for people: the request, and what was received."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Two columns more; answers of before have none."""
    for name in ("sent", "received"):
        op.add_column("evidence", sa.Column(name, sa.String(), nullable=True))
