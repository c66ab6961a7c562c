"""A database remembers its last restore, and a provider's name its last acceptance, by the newest row of history then:
what was final before it is told from what has ended since, whatever a clock said."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_NEWEST = "(SELECT COALESCE(MAX(id), 0) FROM history WHERE at <= "


def upgrade() -> None:
    """Three columns more, filled by the instants that were kept: of a database that was never restored by that of the
    first look, so that only what had ended before anybody looked (schema 0002) counts as of before a restore."""
    op.add_column("lineage", sa.Column("restored_at", sa.BigInteger(), nullable=True))
    op.add_column("lineage", sa.Column("restored_behind", sa.BigInteger(), nullable=True))
    op.add_column("provider_identity", sa.Column("accepted_behind", sa.BigInteger(), nullable=True))
    op.execute(f"UPDATE lineage SET restored_at = seen_at, restored_behind = {_NEWEST} seen_at)")
    op.execute(
        f"UPDATE provider_identity SET accepted_behind = {_NEWEST} accepted_at) WHERE accepted_at IS NOT NULL"
    )
