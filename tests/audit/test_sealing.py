"""Sealing: beside writers, beside other sealers, over crashes, behind transactions that come late, and never twice."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from threading import Event
from typing import Any

import psycopg
import pytest
from sqlalchemy import event, text
from sqlalchemy.engine.default import DefaultDialect

from bridge import checks, db, models
from bridge.api.health import found_wrong
from bridge.audit import mirror, sealing, standing
from bridge.audit.sealed import BY_NAME, CHANGES, COLUMNS, SOURCES
from bridge.ports import SECOND
from jobs import seal
from tests.audit.ground import DELAY, TABLES, Ground, ground, story
from tests.harness import together
from tests.postgres import others_end


@pytest.fixture
def made(migrated_url: str) -> Iterator[Ground]:
    """Two operators; nothing is written or sealed yet."""
    with ground(migrated_url) as made:
        yield made


def listed(made: Ground) -> dict[str, list[Any]]:
    """By table: the keys that all seals list, in their order."""
    found: dict[str, list[Any]] = {}
    for row in made.rows("SELECT source, content FROM seal WHERE chain >= 0 ORDER BY run, chain"):
        found.setdefault(row["source"], []).extend(tuple(each[:-1]) for each in json.loads(row["content"]))
    return found


def once_each(made: Ground) -> None:
    """Every row of every sealed table is listed by one seal, once nobody else's transaction is waited for."""
    for _ in range(20):
        if not made.inspect().unsealed:
            break
        made.seal()
    seals = listed(made)
    for source in SOURCES:
        keys = [tuple(row.values()) for row in made.rows(f'SELECT {", ".join(source.key)} FROM "{source.name}"')]
        assert sorted(seals.get(source.name, [])) == sorted(keys), source.name


def test_every_append_only_table_is_sealed_and_every_column_decided():
    """R17 A table or column that comes has to be meant: sealed, or named as one that changes."""
    assert set(COLUMNS) == {*models.APPEND_ONLY, "transfer", "proposal"} - {"seal"}
    assert [source.name for source in SOURCES] == list(COLUMNS)
    for table, columns in COLUMNS.items():
        changing = CHANGES.get(table, ())
        assert len(set(columns) | set(changing)) == len(columns) + len(changing)
        assert set(columns) | set(changing) == {column.name for column in TABLES[table].columns}, table
        assert set(BY_NAME[table].key) == {column.name for column in TABLES[table].primary_key}, table


def test_a_row_is_sealed_behind_the_delay(made: Ground):
    """C-37 Nothing is sealed before the delay, everything after it, and nothing is written where nothing is new."""
    made.write(4)
    stop = Event()
    assert seal.run_once(made.runtime, made.clock.now(), 10**6, stop)["sealed"] == 0
    made.clock.turn(29)
    assert seal.run_once(made.runtime, made.clock.now(), 10**6, stop)["sealed"] == 0
    made.clock.turn(1)
    others_end(made.runtime.engine)
    counts = seal.run_once(made.runtime, made.clock.now(), 10**6, stop)

    assert counts == {"sealed": made.sound().entries, "late": 0}
    once_each(made)
    marks = f"SELECT * FROM seal_mark WHERE source <> '{checks.STANDING}' ORDER BY source"
    before = made.rows(marks), made.one("SELECT COUNT(*) FROM seal")
    made.clock.turn(60)
    assert made.seal()["sealed"] == 0
    assert (made.rows(marks), made.one("SELECT COUNT(*) FROM seal")) == before


def test_a_backlog_is_worked_off_in_pieces(made: Ground, monkeypatch: pytest.MonkeyPatch):
    """C-37 What was there before the upgrade: in runs of a few rows, with a limit for each tick, in no more memory."""
    made.write(30)
    monkeypatch.setattr(seal.sealing, "BATCH", 7)
    monkeypatch.setattr(sealing.seal, "__defaults__", (7,))
    made.seal()
    assert made.one("SELECT MAX(entries) FROM seal") == 7
    once_each(made)
    made.write(30)
    seal.run_once(made.runtime, made.clock.now(), 10**6, Event())
    made.clock.turn(30)
    others_end(made.runtime.engine)
    counts = [seal.run_once(made.runtime, made.clock.now(), 50, Event())["sealed"] for _ in range(20)]
    assert max(counts) < 50 + 7
    assert sum(counts) == 30 * 18
    made.sound()
    once_each(made)


def test_sealers_at_once_make_one_chain(made: Ground):
    """C-38 I-56 Eight processes at the same instant: no chain forks, nothing is sealed twice, nothing is left out."""
    made.write(20)
    seal.run_once(made.runtime, made.clock.now(), 10**6, Event())
    made.clock.turn(30)
    others_end(made.runtime.engine)
    others = [made.another() for _ in range(8)]

    counts = together(8, lambda number: seal.run_once(others[number], made.clock.now(), 10**6, Event()))

    assert sum(count["sealed"] for count in counts) == made.sound().entries
    once_each(made)
    for other in others:
        other.engine.dispose()


def test_writers_and_sealers_side_by_side(migrated_url: str):
    """C-37 I-56 Eight write while two seal without any delay, and one inspects: nothing late, nothing twice."""
    with ground(migrated_url, delay_seconds=0) as made:
        done = Event()

        def work(number: int) -> int:
            runtime = made.another()
            try:
                if number < 8:
                    for _ in range(12):
                        with db.writing(runtime.engine) as connection:
                            one = next(made.stories)
                            story(connection, made.operators[number % 2], one, made.clock.now())
                    return 0
                findings = 0
                while not done.is_set():
                    if number < 10:
                        seal.run_once(runtime, made.clock.now(), 10**6, Event())
                    else:
                        findings += made.inspect().count
                return findings
            finally:
                runtime.engine.dispose()

        threads = [threading.Thread(target=lambda: results.append(together(8, work)))]
        results: list[Any] = []
        beside = threading.Thread(target=lambda: results.append(together(3, lambda number: work(number + 8))))
        beside.start()
        threads[0].start()
        threads[0].join(100)
        done.set()
        beside.join(30)

        assert sorted(map(str, results)) == sorted(map(str, [[0] * 8, [0] * 3])), results
        made.seal()
        made.seal()
        assert made.one("SELECT COUNT(*) FROM seal WHERE late") == 0
        made.sound()
        once_each(made)


class Died(BaseException):
    """The process is gone: nothing catches it."""


@contextmanager
def dying(made: Ground, point: int, kind: str) -> Iterator[Callable[[], bool]]:
    """At the nth statement, or before or after the nth commit, the process dies; whether it did."""
    left, engine = [point], made.runtime.engine
    committed = DefaultDialect.do_commit

    def strike() -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Died

    def statement(*_: Any) -> None:
        strike()

    def commit(dialect: Any, connection: Any) -> None:
        if kind == "before":
            strike()
        committed(dialect, connection)
        if kind == "after":
            strike()

    if kind == "statement":
        event.listen(engine, "before_cursor_execute", statement)
    else:
        DefaultDialect.do_commit = commit  # type: ignore[method-assign]
    try:
        yield lambda: left[0] <= 0
    finally:
        DefaultDialect.do_commit = committed  # type: ignore[method-assign]
        if kind == "statement":
            event.remove(engine, "before_cursor_execute", statement)


@pytest.mark.parametrize("kind", ["statement", "before", "after"])
def test_a_process_that_dies_anywhere_leaves_whole_seals(made: Ground, kind: str):
    """C-02 I-56 Dead at each statement and commit of sealing, also with its commit done and unheard: what it left is
    whole, and the next process goes on."""
    point, died = 0, True
    while died:
        point += 1 if point < 30 else 11
        made.write(1)
        seal.run_once(made.runtime, made.clock.now(), 10**6, Event())
        made.clock.turn(30)
        others_end(made.runtime.engine)
        with dying(made, point, kind) as has_died:
            with suppress(Died):
                seal.run_once(made.runtime, made.clock.now(), 10**6, Event())
            died = has_died()
        made.runtime.engine.dispose()
        made.seal()
    assert point > 30
    assert made.one("SELECT COUNT(*) FROM seal WHERE late") == 0
    made.sound()
    once_each(made)


def test_a_low_number_that_is_committed_late_is_waited_for(made: Ground):
    """C-37 On PostgreSQL a slow transaction has a number below those that others have committed: sealing stays behind
    it, however long it takes, and takes it in its place."""
    engine = made.runtime.engine
    if engine.dialect.name == "sqlite":  # which lets nobody write beside another: there are no such numbers
        with (
            db.writing(engine),
            closing(sqlite3.connect(engine.url.database or "", timeout=0.05)) as other,
            pytest.raises(sqlite3.OperationalError, match="locked"),
        ):
            other.execute("INSERT INTO security_event VALUES (1, '', '', '', '', '', 1)")
        return
    noted = "INSERT INTO security_event (kind, provider, peer, detail, digest, at) VALUES ('{0}', '', '', '', '', 1)"
    with psycopg.connect(engine.url.set(drivername="postgresql").render_as_string(hide_password=False)) as slow:
        slow.execute(noted.format("slow").encode())
        made.write(3)
        made.owner(*(noted.format(f"quick {number}") for number in range(3)))
        for _ in range(4):
            made.clock.turn(600)
            assert made.seal()["late"] == 0
        assert "security_event" not in listed(made)
        slow.commit()
    made.seal()
    made.seal()

    assert made.one("SELECT COUNT(*) FROM seal WHERE late") == 0
    assert min(listed(made)["security_event"]) == (made.one("SELECT id FROM security_event WHERE kind = 'slow'"),)
    made.sound()
    once_each(made)


def test_what_comes_too_late_is_sealed_by_a_run_that_says_so(made: Ground):
    """C-37 A row that appears among those that were sealed: named at once, sealed ten minutes later as a late one,
    named from then on, and protected."""
    made.sealed(6)
    with db.writing(made.runtime.engine) as connection:
        connection.execute(text("INSERT INTO security_event VALUES (-5, 'late', '', '', '', '', 1)"))
    assert made.found() == [("inserted", "security_event", "id -5", 0)]
    made.clock.turn(sealing.AGAIN_SECONDS)

    assert made.seal()["late"] == 1
    assert made.seal()["late"] == 0
    assert made.found() == [("late", "security_event", "id -5", 0)]
    made.owner("UPDATE security_event SET kind = 'x' WHERE id = -5")
    assert {kind for kind, *_ in made.found()} == {"late", "edited"}
    made.owner("DELETE FROM security_event WHERE id = -5")
    assert {kind for kind, *_ in made.found()} == {"late", "deleted"}


def test_two_look_again_at_once(made: Ground):
    """C-38 What is late is sealed once, whoever looks."""
    made.sealed(6)
    with db.writing(made.runtime.engine) as connection:
        connection.execute(text("INSERT INTO security_event VALUES (-5, 'late', '', '', '', '', 1)"))
    made.clock.turn(sealing.AGAIN_SECONDS)
    others = [made.another() for _ in range(4)]
    source = BY_NAME["security_event"]

    late = together(4, lambda number: sealing.look_again(others[number], source, 0))

    assert sum(late) == 1, late
    assert made.one("SELECT COUNT(*) FROM seal WHERE late AND chain = -1") == 1
    for other in others:
        other.engine.dispose()


def unsigned(made: Ground, number: int) -> None:
    """A row of one table, with a number of its own."""
    with db.writing(made.runtime.engine) as connection:
        row = (number, "unsigned", "", "", "", "", made.clock.now())
        connection.execute(TABLES["security_event"].insert().values(row))


def test_a_second_look_whatever_clocks_the_runs_are_from(made: Ground):
    """C-37 Two processes, a second apart: what a run of the one ahead has missed is not passed over by a look at the
    run behind it."""
    source = BY_NAME["security_event"]
    for number in (10, 20):
        unsigned(made, number)
        made.seal()
    first, second = (row["run"] for row in made.rows("SELECT run FROM seal WHERE chain = -1 ORDER BY run"))
    made.owner(f"UPDATE seal SET at = at + {DELAY + 1} * 1000000 WHERE run = {first}")
    unsigned(made, 5)
    made.clock.turn(sealing.AGAIN_SECONDS)

    assert sealing.look_again(made.runtime, source, 0) == 0
    made.clock.turn(1)
    assert sealing.look_again(made.runtime, source, 0) == 1
    assert made.one("SELECT again FROM seal_mark WHERE source = 'security_event'") == second


def test_more_came_too_late_than_one_look_reads(made: Ground, monkeypatch: pytest.MonkeyPatch):
    """C-37 The look goes on where it ended: nothing is passed over."""
    monkeypatch.setattr(sealing, "BATCH", 3)
    source = BY_NAME["security_event"]
    unsigned(made, 10)
    unsigned(made, 30)
    made.seal()
    for number in range(11, 21):
        unsigned(made, number)
    made.clock.turn(sealing.AGAIN_SECONDS)

    counts = [sealing.look_again(made.runtime, source, 0) for _ in range(5)]

    assert counts == [4, 4, 2, 0, 0]
    assert {kind for kind, *_ in made.found()} == {"late"}


def test_what_a_wrong_clock_has_dated_later_waits_for_its_day(made: Ground):
    """I-34 C-37 A proposal of tomorrow is not sealed today: what is written until then would never be."""
    made.sealed(2)
    with db.writing(made.runtime.engine) as connection:
        story(connection, made.operators[0], 900, made.clock.now() + 86_400 * SECOND)
    for _ in range(3):
        made.write(1)
        made.seal()
        made.clock.turn(sealing.AGAIN_SECONDS)
    assert made.seal()["late"] == 0
    assert made.sound().unsealed == 2  # the proposal and the verdict
    made.clock.turn(86_400)
    made.seal()
    made.seal()

    made.sound()
    once_each(made)


def concerns(made: Ground) -> dict[str, str]:
    """What people are told of the audit, beside findings."""
    with db.reading(made.runtime.engine) as connection:
        return dict(checks.concerns(connection, made.runtime))


def test_a_pause_of_sealing_keeps_no_request_away(made: Ground):
    """I-33 Nothing is sealed for an hour: people are told, and money moves on."""
    made.sealed(2)
    made.clock.turn(60)
    made.write(2)
    made.clock.turn(3600)

    assert "nothing has been sealed" in concerns(made)["seal"]
    assert not [each for each in found_wrong(made.runtime) if each.check == "audit"]
    for _ in range(2):
        made.seal()
        made.clock.turn(60)
    assert concerns(made) == {}


def rename(made: Ground, was: str, to: str) -> None:
    """The table under another name: whoever asks for it is told that there is none."""
    with db.writing(made.runtime.engine) as connection:
        connection.execute(text(f"ALTER TABLE {was} RENAME TO {to}"))


def test_one_table_that_fails_keeps_no_other_from_being_sealed(made: Ground):
    """I-32 A table that cannot be read: the others are sealed, the job fails, and after a while it is told which."""
    made.sealed(4)
    made.write(4)
    rename(made, "inbox", "was_inbox")

    with pytest.raises(seal.TablesFailed):
        seal.run_once(made.runtime, made.clock.now(), 10**6, Event())
    made.clock.turn(DELAY)
    others_end(made.runtime.engine)
    with pytest.raises(seal.TablesFailed, match="'sealed': 68"):
        seal.run_once(made.runtime, made.clock.now(), 10**6, Event())

    rename(made, "was_inbox", "inbox")
    assert concerns(made) == {}
    made.clock.turn(3600)
    standing.keep(made.runtime)
    assert "nothing of inbox was sealed for" in concerns(made)["sealing"]
    with db.reading(made.runtime.engine) as connection:
        assert standing.trouble(connection, made.runtime) == ""
    made.seal()
    made.clock.turn(60)
    made.seal()
    assert concerns(made) == {}
    made.sound()


def test_a_clock_that_was_set_and_another_server(made: Ground):
    """I-34 A mark from a later day, or of transactions of another server, holds nothing up: it is made again."""
    made.write(4)
    seal.run_once(made.runtime, made.clock.now(), 10**6, Event())
    made.owner("UPDATE seal_mark SET seen_at = seen_at + :year, horizon = 4000000000", year=365 * 86_400 * SECOND)

    made.seal()
    made.clock.turn(30)
    made.seal()

    once_each(made)
    made.sound()


def test_the_hot_path_waits_for_nothing(made: Ground):
    """I-33 While somebody adds seals, and holds the turn, rows are written to every sealed table."""
    if made.runtime.engine.dialect.name == "postgresql":
        with made.runtime.engine.begin() as held:
            sealing.chain.take_turn(held)
            held.execute(text("SELECT * FROM seal"))
            made.write(4)
    assert not mirror.has_begun(made.runtime)
    made.write(4)
    made.seal()
    made.sound()
