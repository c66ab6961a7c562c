"""Four eyes: proposals and verdicts. Nothing that is there is changed."""

from __future__ import annotations

from importlib import import_module

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

FROZEN = (
    "id", "operator_id", "transfer_id", "kind", "arrived", "returned", "reason", "maker_id", "needs", "version", "seen",
    "postings", "batch", "created_at", "expires_at",
)  # fmt: skip
"""What a proposal says stays as it was proposed; only how it ended is written, once."""

# Money is proposed first, and carried out only when enough others have approved.
BEGINS_ENDED = "NEW.state <> 'open' AND NEW.kind <> 'ask_again'"
TOO_FEW = """NEW.state = 'carried_out'
    AND (SELECT COUNT(*) FROM verdict WHERE proposal_id = OLD.id AND approves) < OLD.needs"""

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """New tables, then their guards."""
    for create in (_proposal, _proposal_indexes, _verdict):
        create()
    guard = import_module("bridge.migrations.versions.0002_append_only")
    guard.refuse_change("verdict", ("proposal_id, person_id",))
    _freeze_proposals()


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
            "(decision_id IS NOT NULL) = (state = 'carried_out' AND kind <> 'ask_again')",
            name=op.f("ck_proposal_effect"),
        ),
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
        sa.UniqueConstraint("decision_id", name=op.f("uq_proposal_decision_id")),
        sa.UniqueConstraint("id", "maker_id", name=op.f("uq_proposal_id_maker_id")),
    )


def _proposal_indexes() -> None:
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


def _freeze_proposals() -> None:
    if op.get_bind().dialect.name == "sqlite":
        _freeze_on_sqlite()
        return
    old, new = (", ".join(f"{row}.{column}" for column in FROZEN) for row in ("OLD", "NEW"))
    op.execute(f"""
        CREATE FUNCTION proposal_stay_frozen() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF TG_OP IN ('DELETE', 'TRUNCATE') THEN RAISE EXCEPTION 'proposal is frozen'; END IF;
            IF TG_OP = 'INSERT' THEN
                IF {BEGINS_ENDED} THEN RAISE EXCEPTION 'proposal has to begin open'; END IF;
                RETURN NEW;
            END IF;
            IF OLD.state <> 'open' OR ROW({new}) IS DISTINCT FROM ROW({old}) THEN
                RAISE EXCEPTION 'proposal is frozen'; END IF;
            IF {TOO_FEW} THEN RAISE EXCEPTION 'proposal lacks verdicts'; END IF;
            RETURN NEW;
        END $$""")
    op.execute(
        "CREATE TRIGGER proposal_frozen BEFORE INSERT OR UPDATE OR DELETE ON proposal "
        "FOR EACH ROW EXECUTE FUNCTION proposal_stay_frozen()"
    )
    op.execute(
        "CREATE TRIGGER proposal_no_truncate BEFORE TRUNCATE ON proposal "
        "FOR EACH STATEMENT EXECUTE FUNCTION proposal_stay_frozen()"
    )


def _freeze_on_sqlite() -> None:
    changed = " OR ".join(f"NEW.{column} IS NOT OLD.{column}" for column in FROZEN)
    there = " OR ".join(
        f"EXISTS (SELECT 1 FROM proposal WHERE {same})"
        for same in ("id = NEW.id", "decision_id = NEW.decision_id",
                     "transfer_id = NEW.transfer_id AND state = 'open' AND NEW.state = 'open'")
    )  # fmt: skip
    for name, verb, when in (
        ("frozen", "UPDATE", f"WHEN OLD.state <> 'open' OR {changed} OR ({TOO_FEW}) "),
        ("no_delete", "DELETE", ""),
        ("no_replace", "INSERT", f"WHEN {there} OR ({BEGINS_ENDED}) "),
    ):
        op.execute(
            f"CREATE TRIGGER proposal_{name} BEFORE {verb} ON proposal {when}"
            "BEGIN SELECT RAISE(ABORT, 'proposal is frozen'); END"
        )
