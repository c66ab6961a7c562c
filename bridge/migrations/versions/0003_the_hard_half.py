"""Callbacks, decisions of people, sweeps, switches, and the marks by which a restored backup is known.

Evidence and attempts, the largest tables, stay as they are: columns are added at the end, and CHECK constraints are
changed where the schema is kept. What grows with the data: each leg is given its amount, and two indexes are built.
"""

from __future__ import annotations

from importlib import import_module

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
STEPS_BEFORE = "'prepare', 'complete', 'void'"
STEPS = "'transfer', 'prepare', 'complete', 'void'"
SOURCES_BEFORE = "'call', 'lookup', 'wallet', 'contract'"
SOURCES = "'call', 'lookup', 'callback', 'wallet', 'contract', 'person', 'aside'"
UNRESOLVED = sa.text("state IN ('pending', 'orphaned')")
STILL_OPEN = sa.text("closed_at IS NULL")

UNIQUE_KEYS = {
    "decision": ("id", "transfer_id, watermark"),
    "inbox": ("id", "provider, message_id"),
    "security_event": ("id",),
}


def upgrade() -> None:
    """New tables first, then what is added to old ones, then the guards."""
    for create in (_inbox, _inbox_task, _security_event, _balance_break, _switch, _decision):
        create()
    for name, columns in (("exposure", ("provider", "currency")),):
        op.create_table(
            name,
            *(sa.Column(column, sa.String(), nullable=False) for column in columns),
            sa.PrimaryKeyConstraint(*columns, name=op.f(f"pk_{name}")),
        )
    _lineage()
    _extend_transfer()
    _extend_leg()
    _extend_evidence()
    _change_check("attempt", "step", f"step IN ({STEPS_BEFORE})", f"step IN ({STEPS})")
    guard = import_module("bridge.migrations.versions.0002_append_only")
    for table, keys in UNIQUE_KEYS.items():
        guard.refuse_change(table, keys)


def _inbox() -> None:
    op.create_table(
        "inbox",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("message_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("reference", sa.String(), nullable=True),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("peer", sa.String(), nullable=False),
        sa.Column("sent_at", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inbox")),
        sa.UniqueConstraint("provider", "message_id", name=op.f("uq_inbox_provider_message_id")),
    )


def _inbox_task() -> None:
    op.create_table(
        "inbox_task",
        sa.Column("inbox_id", ROW_ID, autoincrement=False, nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("reference", sa.String(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("transfer_id", sa.String(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("wake_at", sa.BigInteger(), nullable=True),
        sa.Column("handled_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("(wake_at IS NULL) = (state IN ('done', 'passed_over'))", name=op.f("ck_inbox_task_awake")),
        sa.CheckConstraint("state IN ('waiting', 'parked', 'done', 'passed_over')", name=op.f("ck_inbox_task_state")),
        sa.ForeignKeyConstraint(["inbox_id"], ["inbox.id"], name=op.f("fk_inbox_task_inbox_id")),
        sa.ForeignKeyConstraint(["transfer_id"], ["transfer.id"], name=op.f("fk_inbox_task_transfer_id")),
        sa.PrimaryKeyConstraint("inbox_id", name=op.f("pk_inbox_task")),
    )
    op.create_index(op.f("ix_inbox_task_provider_reference"), "inbox_task", ["provider", "reference"], unique=False)
    op.create_index(op.f("ix_inbox_task_wake_at"), "inbox_task", ["wake_at"], unique=False)


def _security_event() -> None:
    op.create_table(
        "security_event",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("kind", "provider", "peer", "detail", "digest")),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_security_event")),
    )


def _balance_break() -> None:
    op.create_table(
        "balance_break",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("operator_id", ROW_ID, nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("player_id", sa.String(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("ours", sa.BigInteger(), nullable=False),
        sa.Column("theirs", sa.BigInteger(), nullable=False),
        sa.Column("told_by", sa.String(), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_balance_break_operator_id")),
        sa.ForeignKeyConstraint(
            ["operator_id", "player_id"],
            ["player.operator_id", "player.player_id"],
            name=op.f("fk_balance_break_operator_id_player_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_balance_break")),
    )
    op.create_index(
        "ix_balance_break_open",
        "balance_break",
        ["provider", "player_id", "currency"],
        unique=True,
        sqlite_where=STILL_OPEN,
        postgresql_where=STILL_OPEN,
    )


def _switch() -> None:
    op.create_table(
        "switch",
        *(
            sa.Column(name, sa.String(), nullable=False)
            for name in ("provider", "direction", "cause", "reason", "actor")
        ),
        sa.Column("closed_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("direction = 'in'", name=op.f("ck_switch_money_may_come_home")),
        sa.CheckConstraint("cause IN ('paused', 'restored')", name=op.f("ck_switch_cause")),
        sa.PrimaryKeyConstraint("provider", "direction", name=op.f("pk_switch")),
    )


def _decision() -> None:
    op.create_table(
        "decision",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("transfer_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("arrived", sa.BigInteger(), nullable=False),
        sa.Column("returned", sa.BigInteger(), nullable=False),
        sa.Column("maker", sa.String(), nullable=False),
        sa.Column("checker", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("watermark", ROW_ID, nullable=False),
        sa.Column("decided_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("arrived >= 0 AND returned >= 0", name=op.f("ck_decision_parts")),
        sa.CheckConstraint(
            "kind IN ('confirm', 'reverse', 'split', 'write_off', 'claw_back')", name=op.f("ck_decision_kind")
        ),
        sa.CheckConstraint("maker <> checker", name=op.f("ck_decision_four_eyes")),
        sa.ForeignKeyConstraint(["transfer_id"], ["transfer.id"], name=op.f("fk_decision_transfer_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decision")),
        sa.UniqueConstraint("transfer_id", "watermark", name=op.f("uq_decision_transfer_id_watermark")),
    )


def _lineage() -> None:
    op.create_table(
        "lineage",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_lineage_single")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lineage")),
    )


def _extend_transfer() -> None:
    op.add_column("transfer", sa.Column("sweep", sa.Boolean(), nullable=True))
    for name in ("dust", "arrived", "written_off", "rewound_at"):
        op.add_column("transfer", sa.Column(name, sa.BigInteger(), nullable=True))
    _add_check("transfer", "arrived", "arrived IS NULL OR (arrived >= 0 AND arrived <= amount)")
    _add_check("transfer", "written_off", "written_off IS NULL OR (written_off > 0 AND written_off <= amount)")
    op.create_index(
        "ix_transfer_unresolved",
        "transfer",
        ["provider", "currency", "direction"],
        unique=False,
        sqlite_where=UNRESOLVED,
        postgresql_where=UNRESOLVED,
    )


def _extend_leg() -> None:
    """Until now each leg moved the whole of its transfer."""
    op.add_column("leg", sa.Column("amount", sa.BigInteger(), nullable=True))
    op.execute("UPDATE leg SET amount = (SELECT amount FROM transfer WHERE transfer.id = leg.transfer_id)")
    if _on_sqlite():
        _rewrite("leg", "amount BIGINT", "amount BIGINT NOT NULL")
    else:
        op.alter_column("leg", "amount", nullable=False)
    _add_check("leg", "amount", "amount > 0")
    _change_check("leg", "step", f"step IS NULL OR step IN ({STEPS_BEFORE})", f"step IS NULL OR step IN ({STEPS})")


def _extend_evidence() -> None:
    op.add_column("evidence", sa.Column("sequence", sa.BigInteger(), nullable=True))
    op.add_column("evidence", sa.Column("requested", sa.BigInteger(), nullable=True))
    op.add_column("evidence", sa.Column("watermark", ROW_ID, nullable=True))
    op.add_column("evidence", sa.Column("inbox_id", ROW_ID, nullable=True))
    if _on_sqlite():
        _append("evidence", "CONSTRAINT fk_evidence_inbox_id FOREIGN KEY(inbox_id) REFERENCES inbox (id)")
    else:
        op.create_foreign_key(op.f("fk_evidence_inbox_id"), "evidence", "inbox", ["inbox_id"], ["id"])
    op.create_index(op.f("ix_evidence_inbox_id"), "evidence", ["inbox_id"], unique=True)
    _change_check("evidence", "source", f"source IN ({SOURCES_BEFORE})", f"source IN ({SOURCES})")
    before, now = f"step IS NULL OR step IN ({STEPS_BEFORE})", f"step IS NULL OR step IN ({STEPS})"
    _change_check("evidence", "step", before, now)


# --- constraints of tables that are there -------------------------------------------------------------


def _on_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


def _add_check(table: str, name: str, condition: str) -> None:
    if _on_sqlite():
        _append(table, f"CONSTRAINT ck_{table}_{name} CHECK ({condition})")
    else:
        op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, condition)


def _change_check(table: str, name: str, before: str, now: str) -> None:
    if _on_sqlite():
        _rewrite(table, f"CHECK ({before})", f"CHECK ({now})")
        return
    op.drop_constraint(op.f(f"ck_{table}_{name}"), table, type_="check")
    op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, now)


def _append(table: str, constraint: str) -> None:
    """Put a constraint behind the last one of a table of SQLite."""
    definition = _definition(table)
    _define(table, f"{definition.rstrip()[:-1].rstrip()}, \n\t{constraint}\n)")


def _rewrite(table: str, before: str, now: str) -> None:
    definition = _definition(table)
    assert definition.count(before) == 1, (table, before)
    _define(table, definition.replace(before, now))


def _definition(table: str) -> str:
    query = sa.text("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = :name")
    return str(op.get_bind().execute(query, {"name": table}).scalar_one())


def _define(table: str, definition: str) -> None:
    """SQLite's documented way to change a constraint without writing the table anew: its text in the schema,
    and then the schema's version, by which every connection reads it again."""
    bind = op.get_bind()
    version = bind.exec_driver_sql("PRAGMA schema_version").scalar_one()
    bind.exec_driver_sql("PRAGMA writable_schema=ON")
    change = sa.text("UPDATE sqlite_master SET sql = :sql WHERE type = 'table' AND name = :name")
    bind.execute(change, {"sql": definition, "name": table})
    bind.exec_driver_sql(f"PRAGMA schema_version={int(version) + 1}")
    bind.exec_driver_sql("PRAGMA writable_schema=OFF")
