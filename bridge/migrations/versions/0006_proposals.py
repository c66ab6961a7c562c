"""Four eyes: proposals and verdicts. Nothing that is there is changed."""

from __future__ import annotations

from importlib import import_module

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """New tables, then their guards."""
    for create in (_proposal, _verdict):
        create()
    guard = import_module("bridge.migrations.versions.0002_append_only")
    guard.refuse_change("verdict", ("proposal_id, person_id",))


def _proposal() -> None:
    op.create_table(
        "proposal",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("operator_id", ROW_ID, nullable=False),
        sa.Column("transfer_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("arrived", sa.BigInteger(), nullable=False),
        sa.Column("returned", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("maker_id", sa.String(), nullable=False),
        sa.Column("needs", sa.Integer(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("seen", sa.String(), nullable=False),
        sa.Column("postings", sa.String(), nullable=False),
        sa.Column("batch", sa.String(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_why", sa.String(), nullable=True),
        sa.Column("decision_id", sa.String(), nullable=True),
        sa.CheckConstraint("(needs = 0) = (kind = 'ask_again')", name=op.f("ck_proposal_eyes")),
        sa.CheckConstraint("(state = 'open') = (ended_at IS NULL)", name=op.f("ck_proposal_ended")),
        sa.CheckConstraint(
            "kind IN ('confirm', 'reverse', 'split', 'write_off', 'claw_back', 'ask_again')",
            name=op.f("ck_proposal_kind"),
        ),
        sa.CheckConstraint(
            "state IN ('open', 'carried_out', 'rejected', 'withdrawn', 'stale', 'expired')",
            name=op.f("ck_proposal_state"),
        ),
        sa.CheckConstraint("arrived >= 0 AND returned >= 0", name=op.f("ck_proposal_parts")),
        sa.CheckConstraint("needs BETWEEN 0 AND 2", name=op.f("ck_proposal_needs")),
        sa.ForeignKeyConstraint(["decision_id"], ["decision.id"], name=op.f("fk_proposal_decision_id")),
        sa.ForeignKeyConstraint(["maker_id"], ["person.id"], name=op.f("fk_proposal_maker_id")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_proposal_operator_id")),
        sa.ForeignKeyConstraint(["transfer_id"], ["transfer.id"], name=op.f("fk_proposal_transfer_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_proposal")),
        sa.UniqueConstraint("id", "maker_id", name=op.f("uq_proposal_id_maker_id")),
    )
    op.create_index(
        op.f("ix_proposal_operator_id_state_created_at"),
        "proposal",
        ["operator_id", "state", "created_at"],
        unique=False,
    )
    op.create_index(op.f("ix_proposal_transfer_id"), "proposal", ["transfer_id"], unique=False)
    op.create_index(
        "uq_proposal_open",
        "proposal",
        ["transfer_id"],
        unique=True,
        sqlite_where=sa.text("state = 'open'"),
        postgresql_where=sa.text("state = 'open'"),
    )


def _verdict() -> None:
    op.create_table(
        "verdict",
        sa.Column("proposal_id", sa.String(), nullable=False),
        sa.Column("person_id", sa.String(), nullable=False),
        sa.Column("maker_id", sa.String(), nullable=False),
        sa.Column("approves", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("person_id <> maker_id", name=op.f("ck_verdict_four_eyes")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_verdict_person_id")),
        sa.ForeignKeyConstraint(
            ["proposal_id", "maker_id"],
            ["proposal.id", "proposal.maker_id"],
            name=op.f("fk_verdict_proposal_id_maker_id"),
        ),
        sa.PrimaryKeyConstraint("proposal_id", "person_id", name=op.f("pk_verdict")),
    )
