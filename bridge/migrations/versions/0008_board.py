"""The board of the jobs, and the processes that run them. Nothing that is there is changed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """New tables."""
    for create in (_job_line, _beat):
        create()


def _job_line() -> None:
    op.create_table(
        "job_line",
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("why", sa.String(), nullable=False),
        sa.Column("every", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("worker", sa.String(), nullable=True),
        sa.Column("counts", sa.String(), nullable=True),
        sa.Column("next_at", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("error_at", sa.BigInteger(), nullable=True),
        sa.Column("failing_since", sa.BigInteger(), nullable=True),
        sa.Column("failing_by", sa.String(), nullable=True),
        sa.Column("wanted_at", sa.BigInteger(), nullable=True),
        sa.Column("wanted_by", sa.String(), nullable=True),
        sa.Column("paused_at", sa.BigInteger(), nullable=True),
        sa.Column("paused_until", sa.BigInteger(), nullable=True),
        sa.Column("paused_by", sa.String(), nullable=True),
        sa.Column("pause_reason", sa.String(), nullable=False),
        sa.CheckConstraint("(failing_since IS NULL) = (failing_by IS NULL)", name=op.f("ck_job_line_failing")),
        sa.CheckConstraint("(wanted_at IS NULL) = (wanted_by IS NULL)", name=op.f("ck_job_line_wanted")),
        sa.CheckConstraint(
            "(paused_until IS NULL) = (paused_by IS NULL) AND (paused_until IS NULL) = (paused_at IS NULL)",
            name=op.f("ck_job_line_paused"),
        ),
        sa.CheckConstraint(
            "paused_until IS NULL OR paused_until - paused_at <= 28800000000", name=op.f("ck_job_line_pause_ends")
        ),
        sa.PrimaryKeyConstraint("job", name=op.f("pk_job_line")),
    )


def _beat() -> None:
    op.create_table(
        "beat",
        sa.Column("worker", sa.String(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("at_work", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("worker", name=op.f("pk_beat")),
    )
