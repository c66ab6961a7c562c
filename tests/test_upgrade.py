"""An upgrade in the middle of life: a database of the previous version, with transfers open in every state, is
migrated, and today's engine brings each of them to its end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from alembic import op
from sqlalchemy import MetaData, select, text

from bridge import db, readiness
from bridge.app import compose
from bridge.audit.inspection import inspect
from bridge.evidence import Step
from bridge.ports import Effect, Side, Window
from bridge.runtime import Runtime
from bridge.verify import verify
from jobs import aftercare, resolve, seal
from tests import previous
from tests.harness import EUR, Bench, Simulator, configured, simulator
from tests.postgres import others_end
from tests.previous import SECOND, STORIES, Story

AGE_SECONDS = 100
"""How long ago the previous version was stopped: longer than a prepared transfer lives, shorter than patience."""

CALM = {"patience_seconds": 900, "prepare_seconds": 4, "complete_seconds": 4, "lookup_seconds": 5, "expiry_seconds": 10}
Rows = dict[str, list[dict[str, Any]]]

EXECUTED = (
    previous.CONFIRMED, previous.COMPLETED_UNHEARD, previous.UNHEARD_OUT, previous.ORPHANED, previous.REVERSED_IN,
)  # fmt: skip
"""What the provider has really done; the last of them late, after it had said that it was cancelled."""


def arranged(runtime: Runtime, there: Simulator) -> dict[str, str]:
    """Let the provider know of the transfers what it would know; its id by our reference."""
    there.play(previous.PLAYER, "50.00")
    theirs = {}
    for story in (*EXECUTED, previous.REVERSED_OUT):
        end = runtime.clock.monotonic() + 5
        window = Window(not_after=end, deadline=end)
        side = Side.CREDIT if story.direction == "in" else Side.DEBIT
        effect = Effect(story.reference, None, side, previous.PLAYER, story.amount, EUR)
        adapter = runtime.providers[previous.PROVIDER]
        known = adapter.money(Step.PREPARE, effect, window).provider_reference
        assert known is not None
        last = Step.COMPLETE if story in EXECUTED else Step.VOID
        adapter.money(last, Effect(story.reference, known, side, previous.PLAYER, story.amount, EUR), window)
        theirs[story.reference] = known
    return theirs


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Simulator]:
    """The provider."""
    with simulator(tmp_path, "--expiry", "10") as started:
        yield started


@pytest.fixture
def old(database_url: str, there: Simulator) -> Iterator[Bench]:
    """A bridge of today's on a database that the previous version left and nobody has migrated."""
    runtime = compose(configured(database_url, there.address, **CALM))
    previous.write(database_url, arranged(runtime, there), time.time_ns() // 1000 - AGE_SECONDS * SECOND)
    try:
        yield Bench(runtime, 1, made=100)
    finally:
        runtime.engine.dispose()


def everything(made: Bench) -> Rows:
    """All rows of all tables, whatever the schema is."""
    tables = MetaData()
    tables.reflect(made.runtime.engine)
    with db.reading(made.runtime.engine) as connection:
        return {
            name: [dict(row) for row in connection.execute(select(table).order_by(*table.primary_key)).mappings()]
            for name, table in sorted(tables.tables.items())
            if name != "alembic_version"
        }


def changed(before: Rows, after: Rows) -> list[str]:
    """Rows that are not as they were, in the columns that there were."""
    found = []
    for name, rows in before.items():
        now = [{column: row[column] for column in rows[0]} for row in after[name]] if rows else []
        found += [f"{name}: {row}" for row in rows if row not in now]
    return found


def states(made: Bench) -> dict[str, str]:
    """The state of each transfer by its id."""
    return {row["id"]: row["state"] for row in made.rows("SELECT id, state FROM transfer")}


def drive(made: Bench) -> None:
    """The jobs, until nothing is pending."""
    end = time.monotonic() + 30
    for job in (resolve, aftercare):
        job.run_once(made.runtime, made.runtime.clock.now(), 100, Event())
    while "pending" in states(made).values():
        assert time.monotonic() < end, states(made)
        resolve.run_once(made.runtime, made.runtime.clock.now(), 100, Event())
        time.sleep(0.1)


def test_what_was_there_is_sealed(old: Bench) -> None:
    """I-56: rows of the previous version are sealed as they were found, each of its requests too, and inspected."""
    db.migrate(old.runtime.config.database.url)
    audit = old.runtime.config.audit.model_copy(update={"delay_seconds": 0})
    runtime = replace(old.runtime, config=old.runtime.config.model_copy(update={"audit": audit}))

    for _ in range(2):
        others_end(runtime.engine)
        seal.run_once(runtime, runtime.clock.now(), 10_000, Event())

    report = inspect(runtime)
    assert (report.findings, report.unsealed) == ([], 0)
    sealed = old.rows("SELECT source, SUM(entries) AS n FROM seal WHERE chain = -1 GROUP BY source")
    told = {row["source"]: int(row["n"]) for row in sealed}
    assert (told["transfer"], told["attempt"], told["evidence"], told["posting"]) == (8, 13, 25, 9)


def test_migrating_changes_no_row_that_was_there(old: Bench) -> None:
    """I-07, I-03: every row of every table is as the previous version wrote it; each leg says the amount that it
    always moved; today's rules find nothing wrong with any of it."""
    before = everything(old)
    assert {name: len(before[name]) for name in ("transfer", "leg", "attempt", "evidence", "posting")} == {
        "transfer": 8, "leg": 17, "attempt": 13, "evidence": 25, "posting": 9,
    }  # fmt: skip

    db.migrate(old.runtime.config.database.url)

    assert changed(before, everything(old)) == []
    amounts = "SELECT l.amount AS leg, t.amount AS whole FROM leg l JOIN transfer t ON t.id = l.transfer_id"
    assert all(row["leg"] == row["whole"] for row in old.rows(amounts))
    new = old.rows("SELECT sweep, dust, arrived, written_off, rewound_at, first_rewound_at, quiet_from FROM transfer")
    assert {value for row in new for value in row.values()} == {None}
    assert verify(old.runtime) == []
    old.audit()


def test_the_only_restore_that_is_known_is_the_first(old: Bench) -> None:
    """C-58: what a restore had marked before it was asked which was the first has that one; the others have none."""
    previous.migrate_to(old.runtime.engine, "0012")
    with db.writing(old.runtime.engine) as connection:
        marked = text("UPDATE transfer SET rewound_at = 5 WHERE id = :id")
        connection.execute(marked, {"id": previous.QUEUED_OUT.id})

    db.migrate(old.runtime.config.database.url)

    marks = {row["id"]: row["first_rewound_at"] for row in old.rows("SELECT id, first_rewound_at FROM transfer")}
    assert {each: at for each, at in marks.items() if at is not None} == {previous.QUEUED_OUT.id: 5}


@pytest.mark.parametrize("seen_at", ["first", "last"])
def test_the_last_restore_is_the_last_look_at_a_new_database(old: Bench, seen_at: str) -> None:
    """C-58: what was final by then is told from what has ended since; looked at first there was nothing before."""
    previous.migrate_to(old.runtime.engine, "0016")
    whole = old.rows("SELECT MIN(at) - 1 AS first, MAX(at) AS last, MAX(id) AS newest FROM history")[0]
    with db.writing(old.runtime.engine) as connection:
        connection.execute(text("DELETE FROM lineage"))
        row = text("INSERT INTO lineage (id, fingerprint, seen_at) VALUES (1, '{}', :at)")
        connection.execute(row, {"at": whole[seen_at]})

    db.migrate(old.runtime.config.database.url)

    behind = 0 if seen_at == "first" else whole["newest"]
    assert old.rows("SELECT restored_at, restored_behind FROM lineage") == [
        {"restored_at": whole[seen_at], "restored_behind": behind}
    ]


def test_what_was_open_is_brought_to_its_end(old: Bench, there: Simulator) -> None:
    """C-01, C-02, C-07, I-17: the real resolver asks the real provider: what had arrived is confirmed, what had not
    is given back, an orphan is settled by late evidence, a reversal that was executed after all is noticed."""
    db.migrate(old.runtime.config.database.url)
    before = everything(old)
    readiness.require(old.runtime)

    drive(old)

    assert states(old) == {
        previous.CONFIRMED.id: "confirmed",
        previous.COMPLETED_UNHEARD.id: "confirmed",
        previous.PREPARED_UNHEARD.id: "reversed",
        previous.QUEUED_OUT.id: "confirmed",
        previous.UNHEARD_OUT.id: "confirmed",
        previous.ORPHANED.id: "confirmed",
        previous.REVERSED_OUT.id: "reversed",
        previous.REVERSED_IN.id: "orphaned",
    }
    assert [there.effects(story.reference) for story in STORIES] == [1, 1, 0, 1, 1, 1, 0, 1]
    assert (old.wallet(), old.game(), there.owns(previous.PLAYER)) == (10_000, 800, 800)
    assert old.account("house:sim") == -800, "it was given back and arrived all the same: the house bears it"
    cases = {row["transfer_id"]: row["state"] for row in old.rows("SELECT transfer_id, state FROM orphan_case")}
    assert cases == {previous.ORPHANED.id: "closed", previous.REVERSED_IN.id: "open"}
    kept = {name: before[name] for name in ("posting", "evidence", "attempt", "history", "cash_movement")}
    assert changed(kept, everything(old)) == []
    assert old.rows("SELECT * FROM switch") == [], "an upgrade is no restore"
    assert verify(old.runtime) == []
    old.audit()


def test_a_migration_that_fails_leaves_everything_as_it_was(old: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """C-57: a disk that is full in the middle of a migration, at its last index: not a column, not a row is changed;
    the next try succeeds."""
    before, create = everything(old), op.create_index

    def full(name: str, *arguments: Any, **options: Any) -> Any:
        if "inbox_id" in name:
            raise OSError("no space left on device")
        return create(name, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(op, "create_index", full)
        with pytest.raises(OSError, match="no space left"):
            db.migrate(old.runtime.config.database.url)
    assert everything(old) == before

    db.migrate(old.runtime.config.database.url)
    assert changed(before, everything(old)) == []
    assert verify(old.runtime) == []


@pytest.mark.parametrize("story", STORIES, ids=lambda story: f"{story.state} {story.direction}")
def test_an_old_key_still_stands_for_its_transfer(old: Bench, story: Story) -> None:
    """I-20, I-21: a client that repeats a request of before the upgrade gets the transfer of before the upgrade."""
    db.migrate(old.runtime.config.database.url)
    amount = f"{story.amount // 100}.00"

    begun = old.begin(story.direction, amount, key=f"key-{story.number}")

    assert (begun.transfer_id, begun.outcome) == (story.id, None)
    assert len(states(old)) == len(STORIES)


def test_new_life_goes_on_behind_the_old_rows(old: Bench, there: Simulator) -> None:
    """I-06, I-20: new transfers in and out get ids and versions behind those that there were."""
    db.migrate(old.runtime.config.database.url)
    drive(old)

    assert old.row(old.run("in", "10.00", ask=5))["state"] == "confirmed"
    assert old.row(old.run("out", "3.00", ask=5))["state"] == "confirmed"
    assert (old.wallet(), there.owns(previous.PLAYER)) == (9_300, 1_500)
    assert verify(old.runtime) == []
    old.audit()


def test_before_the_migration_nothing_starts(old: Bench) -> None:
    """C-57: a process of today's on the old schema says what to do, in one sentence, and changes nothing."""
    before = everything(old)
    with pytest.raises(db.NotMigrated) as refused:
        readiness.require(old.runtime)
    assert str(refused.value).startswith("The database has schema 0002, this version needs 0")
    assert str(refused.value).endswith(": run `python -m bridge migrate`.")
    assert everything(old) == before
