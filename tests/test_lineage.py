"""A database that was set back is noticed, whichever way it came back; it starts closed for transfers in."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from bridge import db, gates, lineage, readiness
from bridge.app import compose
from bridge.errors import Unavailable
from bridge.sections import DatabaseSection
from tests.harness import PLAYER, PROVIDER, Bench, Hands, bench, simulator, together
from tests.postgres import PostgresServer
from tests.restoring import WAYS, Copies, promoted_standby, set_disk_back, take_disk
from tests.transfers.conftest import REAL_TIMES
from tests.transfers.scripted import DROPPED, OK, WRONG_AMOUNT, ScriptedProvider

KEYS = itertools.count(1000, 1000)
"""Where the idempotency keys of each process begin."""


@pytest.fixture(params=WAYS)
def copies(request: pytest.FixtureRequest, tmp_path: Path) -> Copies:
    """A migrated database and a way to restore it."""
    engine = request.param.split()[0]
    url = request.getfixturevalue(f"{engine}_url")
    folder = tmp_path / "backups"
    folder.mkdir()
    return Copies(url, folder, request.param)


@pytest.fixture
def sqlite_url(migrated_sqlite_file: Path, tmp_path: Path) -> str:
    """A migrated file."""
    file = tmp_path / "bridge.db"
    file.write_bytes(migrated_sqlite_file.read_bytes())
    return f"sqlite:///{file}"


@pytest.fixture
def postgresql_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A migrated database of the run's server."""
    postgres, template = (request.getfixturevalue(name) for name in ("postgres", "migrated_postgres_template"))
    name = f"bridge_lineage_{uuid.uuid4().hex}"
    yield postgres.create_database(name, template)
    postgres.drop_database(name)


@contextmanager
def process(made: Bench) -> Iterator[Bench]:
    """Another process on the database, that starts as every process does."""
    runtime = replace(compose(made.runtime.config, made.runtime.clock), providers=made.runtime.providers)
    try:
        readiness.require(runtime)
        yield Bench(runtime, made.operator, next(KEYS))
    finally:
        runtime.engine.dispose()


def tick(made: Bench) -> None:
    """What the jobs do first at each tick."""
    lineage.watch(made.runtime)


def cause(made: Bench) -> list[str]:
    """Why the provider is closed, if it is."""
    with db.reading(made.runtime.engine) as connection:
        return [each.cause for each in gates.closed(connection)]


def reason(made: Bench) -> str:
    """The sentence kept with the switch."""
    with db.reading(made.runtime.engine) as connection:
        return gates.closed(connection)[0].reason


def scripted(url: str, provider: ScriptedProvider | None = None, **settings: Any) -> Any:
    """A bridge before a provider that does as it is told, on a clock that stands still."""
    hands = provider.clock if provider is not None else Hands()
    return bench(url, clock=hands, provider=provider or ScriptedProvider(hands), **{**REAL_TIMES, **settings})


# --- the whole story ----------------------------------------------------------------------------------


def test_a_restored_backup_starts_closed_and_reverses_nothing_that_arrived(copies: Copies, tmp_path: Path) -> None:
    """C-58: the provider has money of a transfer that the backup does not know, and of one that it knows as never
    sent. The bridge starts closed for in; out works; the one that it knows is driven and never reversed by silence."""
    with simulator(tmp_path) as provider, bench(copies.url, provider.address) as made:
        with process(made) as before:
            known = before.run("in", "20.00", ask=5)
            waiting = before.begin("in", "10.00", queued=True).transfer_id
            assert waiting is not None
            before.runtime.engine.dispose()
            made.runtime.engine.dispose()
            copies.back_up()
            before.resolve_until_still()
            forgotten = before.run("in", "7.00", ask=5)
            assert {before.row(each)["state"] for each in (known, waiting, forgotten)} == {"confirmed"}
            tick(before)
        assert provider.owns(PLAYER) == 3700
        made.runtime.engine.dispose()
        copies.restore()

        with process(made) as after:
            assert cause(after) == ["restored"]
            with pytest.raises(Unavailable) as met:
                after.begin("in", "1.00")
            assert met.value.code == "provider_restored"
            assert after.rows("SELECT 1 FROM transfer WHERE id = :id", id=forgotten) == []
            assert after.row(waiting)["rewound_at"] is not None
            assert after.row(known)["rewound_at"] is None

            home = after.run("out", "5.00", ask=5)
            after.resolve_until_still(20)
            assert after.row(home)["state"] == "confirmed"
            assert after.row(waiting)["state"] in ("orphaned", "confirmed")
            reference = next(leg.reference for leg in after.get(waiting).legs if leg.reference is not None)
            assert provider.effects(reference) == 1
            after.audit()
        assert provider.owns(PLAYER) == 3200


def test_each_way_back_is_noticed_at_the_start(copies: Copies) -> None:
    """C-58: a start on a restored database closes it, says why, and marks what was open; a second start does no
    more, also after a person has opened it."""
    with scripted(copies.url) as made:
        with process(made) as before:
            before.run("in", "1.00")
            tick(before)
        made.runtime.engine.dispose()
        copies.back_up()
        with process(made) as before:
            assert cause(before) == []
            before.run("in", "1.00")
            tick(before)
        made.runtime.engine.dispose()
        copies.restore()

        with process(made) as first:
            assert cause(first) == ["restored"]
            said = {"sqlite cp": "history 1", "sqlite mv": "another file", "postgresql dump": "another database",
                    "postgresql clean": "another table"}  # fmt: skip
            assert said[copies.way] in reason(first)
            gates.resume(first.runtime, PROVIDER, "ops")
            tick(first)
        for _ in range(2):
            with process(made) as again:
                tick(again)
                assert cause(again) == []
                again.run("in", "1.00")


@pytest.mark.parametrize("copies", ["sqlite cp", "sqlite mv", "postgresql clean"], indirect=True)
def test_a_running_process_notices_at_its_next_tick(copies: Copies) -> None:
    """C-58: a process that was there all the time, and whose mark outside is lost, remembers by itself; it lets go
    of a file that was replaced under it."""
    with scripted(copies.url) as made, process(made) as running:
        made.runtime.engine.dispose()
        running.run("in", "1.00")
        running.runtime.engine.dispose()
        copies.back_up()
        running.run("in", "1.00")
        tick(running)
        if copies.way.startswith("sqlite"):
            mark = lineage.mark_file(running.runtime)
            assert mark is not None
            mark.unlink()
        if copies.way != "sqlite mv":
            running.runtime.engine.dispose()
        copies.restore()

        tick(running)

        assert len(running.rows("SELECT 1 FROM transfer")) == 1, "it looks at what is there now, not at the old file"
        assert cause(running) == ["restored"]
        with process(made) as another:
            assert cause(another) == ["restored"], "it was written where everybody looks"
            assert len(another.rows("SELECT 1 FROM transfer")) == 1


# --- what is no restore -------------------------------------------------------------------------------


def test_a_life_without_restores_closes_nothing(migrated_url: str, capfd: pytest.CaptureFixture[str]) -> None:
    """C-58: processes that start, work, look and end beside each other never see a restore in what is none."""
    with scripted(migrated_url) as made:
        players = [made.player(f"p{number}") for number in range(8)]

        def live(number: int) -> None:
            for turn in range(3):
                with process(made) as one:
                    for each in range(3):
                        one.begin("in", "0.10", player=players[number], key=f"{number}-{turn}-{each}", queued=True)
                        tick(one)
                        readiness.require(one.runtime)

        assert [each for each in together(8, live) if each is not None] == []
        assert cause(made) == []
        assert len(made.rows("SELECT * FROM lineage")) == 1
        assert made.rows("SELECT 1 FROM transfer WHERE rewound_at IS NOT NULL") == []
    assert "database restored" not in capfd.readouterr().err


def test_a_server_that_was_killed_is_the_same_and_keeps_what_was_answered(tmp_path: Path) -> None:
    """C-57: what was answered before the server is killed is there when it comes back, and a recovery after a crash
    is no restore: the same timeline, the same ids."""
    with PostgresServer() as server:
        url = server.create_database("bridge_killed")
        db.migrate(url)
        with marked(url, tmp_path / "mark") as made:
            with process(made) as before:
                answered = [before.run("in", "1.00") for _ in range(3)]
                tick(before)
                server.kill9()
            made.runtime.engine.dispose()
            server.start()

            with process(made) as after:
                tick(after)
                assert [after.row(each)["state"] for each in answered] == ["confirmed"] * 3
                assert cause(after) == []


# --- who notices, and what follows --------------------------------------------------------------------


def test_one_of_many_deals_with_it(copies: Copies, capfd: pytest.CaptureFixture[str]) -> None:
    """C-58: eight processes start on a restored database at the same instant, and others were running: it is closed
    once, and nobody who remembers the time before closes it again when people have opened it."""
    with scripted(copies.url) as made, process(made) as running:
        made.runtime.engine.dispose()
        running.run("in", "1.00")
        running.runtime.engine.dispose()
        copies.back_up()
        running.run("in", "1.00")
        tick(running)
        running.runtime.engine.dispose()
        copies.restore()
        capfd.readouterr()

        def start(_number: int) -> None:
            with process(made):
                pass

        assert [each for each in together(8, start) if each is not None] == []
        assert capfd.readouterr().err.count('"database restored"') == 1
        gates.resume(made.runtime, PROVIDER, "ops")
        for _ in range(2):
            tick(running)
        with process(made) as late:
            tick(late)
        assert cause(made) == []


def estranged(made: Bench) -> None:
    """Let the database remember another fingerprint than it has."""
    with db.writing(made.runtime.engine) as connection:
        seen = connection.execute(text("SELECT fingerprint FROM lineage")).scalar_one()
        other = json.dumps(dict.fromkeys(json.loads(seen), "another"))
        connection.execute(text("UPDATE lineage SET fingerprint = :other"), {"other": other})


def test_who_is_slower_leaves_it_to_who_was_faster(migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """C-58, I-30: between our look and our transaction another process deals with the same restore, and a person
    opens the provider again: we do not close it a second time."""
    with scripted(migrated_url) as made:
        with process(made):
            pass
        estranged(made)

        def faster(runtime: Any, sight: lineage.Sight, why: str) -> int | None:
            with db.writing(runtime.engine) as connection:
                lineage._close_and_mark(connection, runtime, "by the other one", "another")
            gates.resume(runtime, PROVIDER, "ops")
            return slower(runtime, sight, why)

        slower = lineage._set_back
        monkeypatch.setattr(lineage, "_set_back", faster)

        assert not lineage.check(made.runtime)
        assert cause(made) == []
        monkeypatch.undo()
        tick(made)
        assert cause(made) == []


def test_what_was_not_final_is_marked(migrated_url: str) -> None:
    """C-58: pending and orphaned transfers and reversals that are still watched are marked, in both directions; what
    had ended by proof is not."""
    provider = ScriptedProvider(Hands())
    with scripted(migrated_url, provider, lane_policy="allow") as made:
        confirmed = made.run("in", "1.00")
        provider.script = [OK, WRONG_AMOUNT]
        orphaned = made.run("in", "1.00")
        provider.script = [OK, DROPPED]
        reversed_ = made.run("in", "1.00", ask=-1)
        provider.clock.turn(30)
        while made.row(reversed_)["state"] == "pending":
            provider.clock.turn(5)
            made.resolve_due()
        pending = [made.begin(direction, "1.00", queued=True).transfer_id for direction in ("in", "out")]
        states = {row["id"]: (row["state"], row["wake_at"] is None) for row in made.rows("SELECT * FROM transfer")}
        assert states[confirmed] == ("confirmed", True)
        assert states[orphaned] == ("orphaned", False)
        assert states[reversed_] == ("reversed", False)

        assert {states[each] for each in pending} == {("pending", False)}
        now = made.runtime.clock.now()
        open_ = len([1 for _, asleep in states.values() if not asleep])
        assert lineage.restored(made.runtime, "a person says so", "ops").marked == open_

        marked = {row["id"]: row["rewound_at"] for row in made.rows("SELECT id, rewound_at FROM transfer")}
        assert {each for each, at in marked.items() if at == now} == {each for each in states if not states[each][1]}
        assert marked[confirmed] is None
        assert cause(made) == ["restored"]
        tick(made)
        gates.resume(made.runtime, PROVIDER, "ops")
        tick(made)
        assert cause(made) == [], "what a person has said is not noticed again"


def test_closing_and_marking_is_one_transaction(migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """C-58, I-14: a process that dies while it deals with a restore leaves it to be noticed again, whole."""
    with scripted(migrated_url) as made:
        with process(made) as before:
            before.begin("in", "1.00", queued=True)
        estranged(made)
        look, looks = lineage._look, []

        def dies(connection: Any) -> lineage.Sight:
            looks.append(1)
            if len(looks) > 1:
                raise KeyboardInterrupt
            return look(connection)

        with monkeypatch.context() as patched:
            patched.setattr(lineage, "_look", dies)
            with pytest.raises(KeyboardInterrupt), process(made):
                pass
        assert cause(made) == []
        assert made.rows("SELECT 1 FROM transfer WHERE rewound_at IS NOT NULL") == []
        with process(made):
            pass
        assert cause(made) == ["restored"]
        assert len(made.rows("SELECT 1 FROM transfer WHERE rewound_at IS NOT NULL")) == 1


# --- the mark -----------------------------------------------------------------------------------------


@contextmanager
def marked(url: str, file: Path) -> Iterator[Bench]:
    """A bridge whose mark is kept in `file`."""
    with scripted(url) as made:
        config = made.runtime.config.model_copy(update={"database": DatabaseSection(url=url, mark_file=file)})
        made.runtime = replace(made.runtime, config=config)
        yield made


def test_the_mark_follows_the_database_and_is_written_when_it_moves(migrated_url: str, tmp_path: Path) -> None:
    """C-58: it holds the highest ids of what only grows, and is left alone while nothing happens."""
    file = tmp_path / "elsewhere.mark"
    with marked(migrated_url, file) as made:
        for _ in range(2):
            tick(made)
        made.run("in", "1.00")
        tick(made)
        written = file.stat().st_mtime_ns, file.stat().st_ino
        highest = json.loads(file.read_text())["highest"]
        for name in ("evidence", "posting", "history"):
            assert highest[name] == made.rows(f"SELECT MAX(id) AS last FROM {name}")[0]["last"] > 0
        tick(made)
        assert (file.stat().st_mtime_ns, file.stat().st_ino) == written
        assert [each.name for each in tmp_path.glob("elsewhere*")] == ["elsewhere.mark"]


def test_a_mark_that_cannot_be_read_or_written_stops_nothing(
    migrated_url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """C-58: what is not a mark is told and written anew; a folder that is not there is told, and work goes on."""
    file = tmp_path / "some.mark"
    broken = ("", "{", "[]", "null", '{"remembered_at": 1}', '{"remembered_at": 1, "highest": [2]}')
    with marked(migrated_url, file) as made:
        tick(made)
        for content in broken:
            file.write_text(content)
            tick(made)
            assert "highest" in json.loads(file.read_text()), content
        assert capfd.readouterr().err.count('"mark not readable"') == 2 * len(broken)
    config = made.runtime.config.model_copy(update={"database": DatabaseSection(url=migrated_url, mark_file="/no/x")})
    made.runtime = replace(made.runtime, config=config)
    made.run("in", "1.00")
    tick(made)
    assert '"mark not written"' in capfd.readouterr().err
    assert cause(made) == []
    made.runtime.engine.dispose()


def test_a_mark_that_is_written_during_a_look_is_no_loss(
    migrated_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C-58: what another process sees and writes between our look at the database and our look at the mark is newer
    than what we saw, and not lost."""
    file = tmp_path / "elsewhere.mark"
    with marked(migrated_url, file) as made:
        for _ in range(2):
            tick(made)
        look = lineage._look

        def overtaken(connection: Any) -> lineage.Sight:
            sight = look(connection)
            newer = {name: last + 5 for name, last in sight.highest.items()}
            file.write_text(json.dumps({"remembered_at": sight.mark.remembered_at, "highest": newer}))
            return sight

        monkeypatch.setattr(lineage, "_look", overtaken)
        assert not lineage.check(made.runtime)
        assert lineage.check(made.runtime), "a mark that was there before the look does count"


def test_an_older_backup_without_any_memory_is_noticed_by_the_mark(copies: Copies, tmp_path: Path) -> None:
    """C-58: a backup from before the database had a fingerprint knows nothing of itself; the mark knows."""
    file = tmp_path / "elsewhere.mark"
    copies.back_up()
    with marked(copies.url, file) as made:
        tick(made)
        tick(made)
        made.runtime.engine.dispose()
        copies.restore()
        assert file.exists()

        with process(made) as after:
            assert cause(after) == ["restored"]


# --- PostgreSQL from outside --------------------------------------------------------------------------


def test_a_disk_that_was_set_back_is_noticed_by_the_mark(tmp_path: Path) -> None:
    """C-58: a snapshot of the disk is the same database in every respect but one: it has forgotten."""
    with PostgresServer() as server:
        url = server.create_database("bridge_disk")
        db.migrate(url)
        with marked(url, tmp_path / "mark") as made:
            with process(made) as before:
                before.run("in", "1.00")
                tick(before)
            made.runtime.engine.dispose()
            take_disk(server, tmp_path / "disk")
            with process(made) as before:
                before.run("in", "1.00")
                tick(before)
                assert cause(before) == []
            made.runtime.engine.dispose()
            set_disk_back(server, tmp_path / "disk")

            with process(made) as after:
                assert cause(after) == ["restored"]
                assert "was there and is not any more" in reason(after)


def test_a_standby_that_takes_over_closes_transfers_in(tmp_path: Path) -> None:
    """C-58: only a synchronous standby has everything that was answered, and nobody can tell from inside which it
    was; so a new timeline closes, at once, before any checkpoint."""
    with PostgresServer() as primary:
        url = primary.create_database("bridge_failover")
        db.migrate(url)
        with scripted(url) as made, process(made) as before:
            before.run("in", "1.00")
        with promoted_standby(primary) as standby, scripted_on(standby.url("bridge_failover"), made) as after:
            readiness.require(after.runtime)
            assert cause(after) == ["restored"]
            assert "another timeline" in reason(after)
            assert after.row(after.run("out", "1.00"))["state"] == "confirmed"


@contextmanager
def scripted_on(url: str, made: Bench) -> Iterator[Bench]:
    """The same bridge with another address of its database."""
    config = made.runtime.config.model_copy(update={"database": DatabaseSection(url=url)})
    runtime = replace(compose(config, made.runtime.clock), providers=made.runtime.providers)
    try:
        yield Bench(runtime, made.operator, next(KEYS))
    finally:
        runtime.engine.dispose()


def test_a_role_that_may_not_ask_about_the_server_still_sees_its_database(postgresql_url: str, postgres: Any) -> None:
    """C-58: where the server keeps its identity to itself, that part is left out, and is no difference when it can
    be asked later."""
    name, role = make_url(postgresql_url).database, "bridge_plain"
    with postgres.connect(name) as connection:
        connection.execute(f"DROP ROLE IF EXISTS {role}")
        connection.execute(f"CREATE ROLE {role} LOGIN")
        connection.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
        connection.execute(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}")
        connection.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
    plain = make_url(postgresql_url).set(username=role).render_as_string()
    with scripted(plain) as made:
        lineage.check(made.runtime)
        seen = json.loads(made.rows("SELECT fingerprint FROM lineage")[0]["fingerprint"])
        assert sorted(seen) == ["database", "table", "timeline"]
        with scripted_on(postgresql_url, made) as superuser:
            assert not lineage.check(superuser.runtime)
        seen = json.loads(made.rows("SELECT fingerprint FROM lineage")[0]["fingerprint"])
        assert sorted(seen) == ["cluster", "database", "table", "timeline"]
        assert not lineage.check(made.runtime)
    with postgres.connect(name) as connection:
        connection.execute(f"DROP OWNED BY {role}")
        connection.execute(f"DROP ROLE {role}")
