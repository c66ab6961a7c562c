"""The doctor refuses what is not durable, and says what is missing."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine, event, text

from bridge import db
from bridge.doctor import durability
from tests.cli.conftest import written
from tests.harness import simulator
from tests.postgres import PostgresServer


def marks(said: str) -> dict[str, str]:
    """Subject → mark, from the doctor's table."""
    return {line.split()[1]: line.split()[0] for line in said.splitlines()[1:]}


def test_a_sound_sqlite_bridge_passes(folder, tmp_path):
    """C-57: WAL, synchronous FULL, triggers, clock, a provider that answers: exit code 0."""
    with simulator(tmp_path) as provider:
        folder.configure(written("sqlite:///bridge.db", provider.address))
        missing = folder.run("doctor")
        folder.did("migrate")

        said = folder.did("doctor")

    assert missing.returncode == 1
    assert "there is no file bridge.db: run `python -m bridge migrate` first" in missing.stdout
    assert not (folder.path / "bridge.db-journal").exists()
    sound = ["database", "journal_mode", "synchronous", "clock", "schema", "triggers", "lineage", "lease", "sim"]
    assert marks(said) == {**dict.fromkeys(sound, "ok"), "desk": "note"}


def test_what_is_missing_is_said(folder):
    """Issue, point 10: a provider that does not answer, a trigger that is gone, a slack that is too short."""
    folder.configure(written("sqlite:///bridge.db", "http://127.0.0.1:9", lease_slack_seconds=0.2))
    folder.did("migrate")
    with create_engine(f"sqlite:///{folder.path / 'bridge.db'}").begin() as connection:
        connection.execute(text("DROP TRIGGER evidence_no_delete"))

    ended = folder.run("doctor")

    assert ended.returncode == 1
    found = marks(ended.stdout)
    assert (found["triggers"], found["lease"], found["sim"]) == ("bad", "note", "bad")
    assert "missing evidence_no_delete" in ended.stdout
    assert "http://127.0.0.1:9 does not answer" in ended.stdout


def test_an_empty_database_is_named(folder, database_url):
    """Issue, point 10: what is not migrated is said, not guessed around."""
    if database_url.startswith("sqlite"):
        db.connect(db.DatabaseSection(url=database_url)).connect().close()
    folder.configure(f'[database]\nurl = "{database_url}"\n')

    ended = folder.run("doctor")

    assert ended.returncode == 1
    assert "The database is empty: run `python -m bridge migrate` first." in ended.stdout
    assert marks(ended.stdout)["providers"] == "bad"


@pytest.mark.parametrize(
    ("pragmas", "wrong"),
    [
        (["journal_mode=WAL", "synchronous=FULL"], []),
        (["journal_mode=WAL", "synchronous=EXTRA"], []),
        (["journal_mode=WAL", "synchronous=NORMAL"], ["synchronous"]),
        (["journal_mode=WAL", "synchronous=OFF"], ["synchronous"]),
        (["journal_mode=DELETE", "synchronous=FULL"], ["journal_mode"]),
        (["journal_mode=MEMORY", "synchronous=OFF"], ["journal_mode", "synchronous"]),
    ],
)
def test_sqlite_that_may_forget_is_refused(tmp_path, pragmas, wrong):
    """C-57: only write-ahead log and FULL (or EXTRA) keep what was answered."""
    engine = create_engine(f"sqlite:///{tmp_path / 'some.db'}")

    @event.listens_for(engine, "connect")
    def _set(connection, _record):
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")

    with engine.connect() as connection:
        found = durability(connection)

    assert [remark.subject for remark in found if remark.mark == "bad"] == wrong


def test_postgresql_that_may_forget_is_refused(folder):
    """C-57: a durable server passes; the same with synchronous_commit off for this database does not."""
    with PostgresServer(durable=True) as server:
        url = server.create_database("bridge_doctor")
        folder.configure(f'[database]\nurl = "{url}"\n')
        folder.did("migrate")
        sound = marks(folder.run("doctor").stdout)
        with server.connect() as connection:
            connection.execute("ALTER DATABASE bridge_doctor SET synchronous_commit = off")
        ended = folder.run("doctor")

    durable = ("fsync", "full_page_writes", "synchronous_commit", "primary", "clock", "triggers")
    assert [sound[subject] for subject in durable] == ["ok"] * 6
    assert ended.returncode == 1
    assert marks(ended.stdout)["synchronous_commit"] == "bad"


def test_a_server_without_fsync_is_refused(folder, postgres):
    """C-57: the test run's own server is fast because it may forget: the doctor sees it."""
    url = postgres.create_database("bridge_doctor_fsync")
    try:
        folder.configure(f'[database]\nurl = "{url}"\n')
        ended = folder.run("doctor")
    finally:
        postgres.drop_database("bridge_doctor_fsync")

    assert ended.returncode == 1
    found = marks(ended.stdout)
    assert (found["fsync"], found["full_page_writes"], found["primary"]) == ("bad", "bad", "ok")


def test_what_is_left_at_what_was_taken_out_is_named(site):
    """Money by our books, and a transfer that has not ended, where nothing is configured to bring either home."""
    folder, made, _ = site
    made.run("in", "5.00", ask=5)
    made.begin("in", "1.00", queued=True)
    assert "not configured there" not in folder.run("doctor").stdout

    said = folder.run("doctor", BRIDGE_PROVIDERS__SIM__CURRENCIES='["USD"]').stdout

    assert "5.00 EUR is there by our books, and EUR is not configured there" in said
    assert "transfers that have not ended: 1 (in, pending) of EUR, which is not configured there" in said
