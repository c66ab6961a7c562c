"""What is written for ever: UPDATE, DELETE and TRUNCATE fail for every role (I-07)."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# SQLite's INSERT OR REPLACE deletes without asking the trigger for DELETE, so what would be replaced is named.
UNIQUE_KEYS = {
    "posting": ("id", "transfer_id, version, debit, credit", "cash_movement_id"),
    "evidence": ("id",),
    "attempt": ("transfer_id, ordinal, attempt",),
    "history": ("id",),
    "cash_movement": ("id", "operator_id, kind, idempotency_key"),
}


def upgrade() -> None:
    """Guard each table by triggers."""
    for table, keys in UNIQUE_KEYS.items():
        refuse_change(table, keys)


def refuse_change(table: str, keys: tuple[str, ...]) -> None:
    """Guard one table; `keys` are its unique keys."""
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("update", "delete"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb} BEFORE {verb.upper()} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append only'); END"
            )
        there = " OR ".join(f"EXISTS (SELECT 1 FROM {table} WHERE {_same(key)})" for key in keys)
        op.execute(
            f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} WHEN {there} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is append only'); END"
        )
        return
    op.execute(
        f"CREATE FUNCTION {table}_refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{table} is append only'; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_refuse_change()"
    )


def _same(key: str) -> str:
    return " AND ".join(f"{column} = NEW.{column}" for column in key.split(", "))
