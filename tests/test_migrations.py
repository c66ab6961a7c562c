"""Migrating an empty database gives exactly the models, on both databases, and a bridge starts on nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, create_engine, inspect, text
from sqlalchemy.exc import DatabaseError

from bridge import db, models, players, readiness
from bridge.money import Currencies
from bridge.sections import DatabaseSection
from tests.harness import bench

TABLES = {
    "access_note", "account", "alert", "alert_notice", "alert_turn", "alerted_orphan", "api_key", "attempt",
    "balance_break", "beat", "breaker", "cap_hit", "cash_movement", "challenge", "decision", "delivery",
    "delivery_try", "denomination", "doorkeeper", "event", "event_head", "event_origin", "evidence", "exposure",
    "history", "hour_tally", "idempotency_key", "inbox", "inbox_task", "invitation", "job_line", "job_run", "leg",
    "lineage", "operator", "orphan_case", "outbox", "passkey", "person", "player", "posting", "proposal",
    "provider_identity",
    "recovery_code", "seal", "seal_mark", "security_event", "sitting", "switch", "tally", "transfer", "verdict",
    "webhook_endpoint", "withdrawal_switch",
}  # fmt: skip
"""Typed out: a table that comes or goes has to be meant."""


HEAD = db.schema_version()


@contextmanager
def opened(url: str) -> Iterator[Engine]:
    """The engine that the bridge itself would use."""
    engine = db.connect(DatabaseSection(url=url))
    try:
        yield engine
    finally:
        engine.dispose()


def described(engine: Engine) -> dict[str, Any]:
    """Everything that the database itself says about its tables, as plain values that compare."""
    seen = inspect(engine)
    found: dict[str, Any] = {}
    for table in sorted(seen.get_table_names()):
        if table == "alembic_version":
            continue
        found[table] = {
            "columns": {
                column["name"]: (
                    str(column["type"]),
                    column["nullable"],
                    column["default"],
                    column.get("autoincrement") if engine.dialect.name == "postgresql" else None,
                    str(column.get("computed")),
                    str(column.get("identity")),
                )
                for column in seen.get_columns(table)
            },
            "order": [column["name"] for column in seen.get_columns(table)],
            "primary key": plain(seen.get_pk_constraint(table)),
            "foreign keys": by_text(seen.get_foreign_keys(table)),
            "unique": by_text(seen.get_unique_constraints(table)),
            "checks": by_text(seen.get_check_constraints(table)),
            "indexes": by_text(seen.get_indexes(table)),
        }
    return found


def plain(value: Any) -> Any:
    """Dictionaries and lists all the way down, in one order, without what is empty."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in sorted(value.items()) if item not in (None, {}, [])}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else str(value)


def by_text(items: Any) -> list[str]:
    """Constraints or indexes as sorted text, whatever order the database told them in."""
    return sorted(str(plain(dict(item))) for item in items)


def sequences(engine: Engine) -> set[str]:
    """The sequences of a PostgreSQL database."""
    return set(inspect(engine).get_sequence_names()) if engine.dialect.name == "postgresql" else set()


def triggers(engine: Engine) -> dict[str, set[str]]:
    """Table → events that a trigger stands before."""
    sqlite = "SELECT tbl_name, sql FROM sqlite_master WHERE type = 'trigger'"
    postgres = (
        "SELECT relname, pg_get_triggerdef(t.oid) FROM pg_trigger t "
        "JOIN pg_class c ON c.oid = tgrelid WHERE NOT tgisinternal"
    )
    found: dict[str, set[str]] = {}
    with db.reading(engine) as connection:
        rows = connection.execute(text(sqlite if engine.dialect.name == "sqlite" else postgres)).all()
    for table, definition in rows:
        before = definition.upper().split("BEFORE", 1)[1].split(" ON ", 1)[0]
        found.setdefault(table, set()).update(
            word for word in ("UPDATE", "DELETE", "TRUNCATE", "INSERT") if word in before
        )
    return found


@pytest.fixture
def from_models(database_url: str) -> Iterator[Engine]:
    """A database made from the models, without any migration."""
    with opened(database_url) as engine:
        models.metadata.create_all(engine)
        yield engine


def test_migrating_gives_exactly_the_models(
    from_models: Engine, migrated_url: str, request: pytest.FixtureRequest
) -> None:
    """I-05 I-20 Columns, types, nullability, defaults, keys, UNIQUE, CHECK, FOREIGN KEY and indexes are those
    of the models."""
    with opened(migrated_url) as migrated:
        if migrated.dialect.name != from_models.dialect.name:
            # The two fixtures run in every combination; comparing across databases says only which tables there are.
            assert set(described(migrated)) == set(described(from_models)) == TABLES
            return
        assert set(described(migrated)) == TABLES
        for table, expected in described(from_models).items():
            assert described(migrated)[table] == expected, table
        assert sequences(migrated) == sequences(from_models)


def test_alembic_sees_no_difference(migrated_url: str) -> None:
    """I-05 Nor does alembic's own comparison of models and database find anything to do."""
    with opened(migrated_url) as engine, engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, models.metadata) == []


def test_reflected_constraints_are_really_there(migrated_url: str) -> None:
    """I-05 I-17 The comparison is not one of two empty things: the constraints that money rests on are found
    by name."""
    with opened(migrated_url) as engine:
        seen = inspect(engine)
        checks = {check["name"] for table in TABLES for check in seen.get_check_constraints(table)}
        unique = {constraint["name"] for table in TABLES for constraint in seen.get_unique_constraints(table)}
        foreign = sum(len(seen.get_foreign_keys(table)) for table in TABLES)
        indexes = {index["name"] for table in TABLES for index in seen.get_indexes(table)}
    assert {
        "ck_account_floor", "ck_posting_amount", "ck_posting_sides", "ck_posting_cause", "ck_transfer_amount",
        "ck_transfer_state", "ck_transfer_awake", "ck_transfer_direction", "ck_leg_state", "ck_evidence_answer",
        "ck_evidence_source", "ck_cash_movement_amount", "ck_orphan_case_state",
    } <= checks  # fmt: skip
    assert {
        "uq_transfer_operator_id_idempotency_key", "uq_leg_holder_reference", "uq_posting_cash_movement_id",
        "uq_posting_transfer_id_version_debit_credit", "uq_orphan_case_transfer_id", "uq_api_key_digest",
    } <= unique  # fmt: skip
    assert foreign >= 15
    assert "ix_transfer_wake_at" in indexes


def test_triggers_guard_what_is_append_only(migrated_url: str) -> None:
    """I-07 Each append-only table has a trigger before UPDATE and DELETE, and before TRUNCATE or REPLACE; no
    other has but for the proposals, which are frozen."""
    with opened(migrated_url) as engine:
        # SQLite knows no TRUNCATE, and its INSERT OR REPLACE asks no trigger for DELETE.
        events = {"UPDATE", "DELETE", "TRUNCATE" if engine.dialect.name == "postgresql" else "INSERT"}
        guarded = {table: found for table, found in triggers(engine).items() if found}
    kept = (
        "access_note attempt cash_movement decision delivery_try event evidence history inbox posting "
        "seal security_event verdict"
    ).split()
    # Of a proposal only its end is written, and what moves money begins without one.
    frozen = {"proposal": {"UPDATE", "DELETE", "INSERT"} | events}
    assert guarded == {**dict.fromkeys(kept, events), **frozen}
    assert (set(models.APPEND_ONLY), set(models.FROZEN)) == (set(guarded) - set(frozen), set(frozen))


def test_migrating_twice_is_migrating_once(database_url: str) -> None:
    """I-07 A second migration changes nothing, not the schema, not the triggers, not a row."""
    db.migrate(database_url)
    with opened(database_url) as engine:
        with db.writing(engine) as connection:
            connection.execute(text("INSERT INTO operator (name, created_at) VALUES ('kept', 1)"))
        before = described(engine), triggers(engine)
        db.migrate(database_url)
        assert (described(engine), triggers(engine)) == before
        with db.reading(engine) as connection:
            assert connection.execute(text("SELECT name FROM operator")).scalars().all() == ["kept"]
            assert connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all() == [HEAD]
        db.require_migrated(engine)


def test_empty_database_is_refused_in_one_sentence(database_url: str) -> None:
    """I-40 C-57 A bridge on an empty database says what to do, and makes nothing."""
    with opened(database_url) as engine:
        with pytest.raises(db.NotMigrated) as refused:
            db.require_migrated(engine)
        assert str(refused.value) == "The database is empty: run `python -m bridge migrate` first."
        assert inspect(engine).get_table_names() == []


MIGRATE, ANOTHER = "run `python -m bridge migrate`", "start the version that it was migrated for"


@pytest.mark.parametrize(("found", "help_"), [("0011", MIGRATE), ("9999_from_the_future", ANOTHER), (None, MIGRATE)])
def test_foreign_version_is_refused_in_one_sentence(migrated_url: str, found: str | None, help_: str) -> None:
    """I-40 C-57 A bridge on another version's schema names both versions and what to do; to migrate is no help against
    a schema that is newer, and is refused in the same words."""
    with opened(migrated_url) as engine:
        with db.writing(engine) as connection:
            connection.execute(text("DELETE FROM alembic_version"))
            if found is not None:
                connection.execute(text("INSERT INTO alembic_version VALUES (:v)"), {"v": found})
        with pytest.raises(db.NotMigrated) as refused:
            db.require_migrated(engine)
    assert str(refused.value) == f"The database has schema {found}, this version needs {HEAD}: {help_}."
    if help_ == ANOTHER:
        with pytest.raises(db.NotMigrated, match=ANOTHER):
            db.migrate(migrated_url)


def test_sqlite_connections_are_durable_and_strict(migrated_url: str) -> None:
    """C-35 C-57 Each connection writes ahead, syncs in full, checks foreign keys, and takes the write lock at BEGIN."""
    with opened(migrated_url) as engine, engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            pragmas = {
                name: connection.execute(text(f"PRAGMA {name}")).scalar()
                for name in ("journal_mode", "synchronous", "foreign_keys")
            }
            assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
            impatient = create_engine(engine.url, connect_args={"timeout": 0.05, "isolation_level": None})
            with pytest.raises(DatabaseError, match="locked"), impatient.connect() as other:
                other.exec_driver_sql("BEGIN IMMEDIATE")
            impatient.dispose()
        else:
            settings = {
                name: connection.execute(text(f"SHOW {name}")).scalar()
                for name in ("synchronous_commit", "transaction_isolation")
            }
            assert settings == {"synchronous_commit": "on", "transaction_isolation": "read committed"}


def test_currency_with_other_decimals_is_refused(migrated_url: str) -> None:
    """I-08 Amounts written with 8 decimals are not read with 6: a bridge does not start on a redenominated currency."""
    with bench(migrated_url) as desk:
        declared = replace(desk.runtime, currencies=Currencies({"BTC": 8}))
        players.register(declared, desk.operator, "ann", ["BTC"])
        readiness.require(declared)
        for others, sentence in (({"BTC": 6}, "configured with 6"), ({}, "is not configured")):
            with pytest.raises(readiness.Redenominated, match=sentence) as refused:
                readiness.require(replace(desk.runtime, currencies=Currencies(others)))
            assert "BTC is in the books with 8 decimals" in str(refused.value)
