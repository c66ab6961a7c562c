"""The mirror: signed heads outside of the database, over crashes, restores, new keys, and hands on the file itself."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from bridge import db
from bridge.audit import mirror, signing, standing
from bridge.errors import Conflict, Declined, Unavailable
from bridge.runtime import Runtime
from jobs import inspect as inspect_job
from jobs import mirror as mirror_job
from tests.audit.ground import Ground, ground
from tests.harness import together
from tests.restoring import Copies


@pytest.fixture
def made(migrated_url: str, tmp_path: Path) -> Iterator[Ground]:
    """Three lines: the beginning, and two with heads."""
    with ground(migrated_url, tmp_path) as made:
        made.sealed(4)
        made.sealed(4)
        yield made


def file_of(made: Ground) -> Path:
    """The mirror's file."""
    file = made.runtime.config.audit.mirror_file
    assert file is not None
    return file


def lines(made: Ground) -> list[dict[str, Any]]:
    """Its lines, as they say."""
    return [json.loads(line) for line in file_of(made).read_bytes().splitlines()]


def with_keys(made: Ground, **audit: Any) -> Runtime:
    """The same process with another configuration of the audit."""
    section = made.runtime.config.audit.model_copy(update=audit)
    return replace(made.runtime, config=made.runtime.config.model_copy(update={"audit": section}))


def trouble(made: Ground) -> str:
    """What `/readyz` would say of the audit."""
    with db.reading(made.runtime.engine) as connection:
        return standing.trouble(connection, made.runtime)


def test_a_line_is_added_where_heads_have_moved(made: Ground):
    """R17 One line for each move, with the heads of those who moved; none where nothing did; each by its own name."""
    assert [(line["number"], line["kind"]) for line in lines(made)] == [(1, "begin"), (2, "heads"), (3, "heads")]
    assert mirror.go_on(made.runtime) is False
    assert set(lines(made)[2]["heads"]) == {"-1", "0", "1", "2"}
    made.owner("DELETE FROM access_note WHERE id < 0")
    made.write(1)
    made.seal()
    assert mirror_job.run_once(made.runtime, 0, 1, Event()) == {"mirrored": 1, "refused": 0}
    assert set(lines(made)[3]["heads"]) == {"-1", "0", "2"}
    assert made.sound().mirrored


def test_nothing_is_done_without_key_or_file(migrated_url: str, tmp_path: Path):
    """R17 Sealing goes on; what is not protected then is said, by `audit status` and by the inspection."""
    with ground(migrated_url) as made:
        made.sealed(2)
        assert mirror_job.run_once(made.runtime, 0, 1, Event()) == {"mirrored": 0, "refused": 0}
        assert made.sound().remarks == ["no mirror is configured here: what was cut off or written anew cannot be seen"]
        for missing, given in (("key_file", {"mirror_file": tmp_path / "m"}), ("mirror_file", {})):
            with pytest.raises(Unavailable, match=missing if given else "audit.mirror_file"):
                mirror.begin(with_keys(made, **given), "somebody")


def test_it_begins_once_and_by_a_person(migrated_url: str, tmp_path: Path):
    """R17 A mirror that is not there is not made by a job: it might have been taken away."""
    with ground(migrated_url, tmp_path) as made:
        with pytest.raises(Conflict):
            mirror.begin(made.runtime, "somebody")
        made.sealed(2)
        file_of(made).unlink()
        with pytest.raises(Declined, match="not begun"):
            mirror.go_on(made.runtime)
        ((kind, where, _, _),) = made.found()
        assert (kind, where) == ("mirror", "mirror")


def test_keys_that_are_none(made: Ground, tmp_path: Path):
    """R17 A file that is missing, empty, or another kind of key is told in a sentence; a key is never written over."""
    for content in (None, b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"):
        file = tmp_path / "another.key"
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(Unavailable):
            signing.signer(with_keys(made, key_file=file).config)
    key = tmp_path / "audit.key"
    assert key.stat().st_mode & 0o777 == 0o600
    before = key.read_bytes()
    with pytest.raises(Conflict):
        signing.make(made.runtime.ids, key)
    assert key.read_bytes() == before


# --- crashes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [1, 2, 40, 200])
def test_a_line_that_a_crash_cut_off(made: Ground, cut: int):
    """C-02 R17 Only a part of the last line is on the disk: it is closed, named by its hash, and nothing whole is lost.
    Where its end alone is missing, it counts."""
    whole = file_of(made).read_bytes()
    made.write(2)
    made.seal()
    mirror.go_on(made.runtime)
    added = file_of(made).read_bytes()[len(whole) :]
    made.owner("UPDATE seal_mark SET seen = :seen WHERE source LIKE 'mirror/%'",
               seen=json.dumps([3, mirror.read_line(whole.splitlines()[-1]).hash]))  # fmt: skip - it died before that
    file_of(made).write_bytes(whole + added[:-cut])
    made.write(2)
    made.seal()
    made.sound()

    assert mirror.go_on(made.runtime) is True

    content = file_of(made).read_bytes()
    assert content.startswith(whole + added[:-cut] + b"\n")
    last = json.loads(content.splitlines()[-1])
    assert (last["number"], "torn" in last) == ((5, False) if cut == 1 else (4, True))
    made.sound()
    file_of(made).write_bytes(content + added[:30])
    file_of(made).write_bytes(file_of(made).read_bytes() + b"\n" + added[:30])  # and again, before it went on
    made.write(1)
    made.seal()
    assert mirror.go_on(made.runtime) is True
    assert len(json.loads(file_of(made).read_bytes().splitlines()[-1])["torn"]) == 2
    made.sound()


def test_a_disk_that_is_full(made: Ground, monkeypatch: pytest.MonkeyPatch):
    """C-02 A write that takes a part and then fails: what it left is a line that was cut off, nothing more."""
    made.write(1)
    made.seal()
    monkeypatch.setattr(os, "fsync", lambda _file: (_ for _ in ()).throw(OSError(28, "no space")))
    with pytest.raises(OSError, match="no space"):
        mirror.go_on(made.runtime)
    monkeypatch.undo()
    mirror.go_on(made.runtime)
    made.sound()


def test_many_mirror_at_once(made: Ground):
    """C-38 Eight processes on one file: one line, and the file is whole."""
    made.write(2)
    made.seal()
    others = [made.another() for _ in range(8)]

    wrote = together(8, lambda number: mirror.go_on(others[number]))

    assert sorted(wrote) == [False] * 7 + [True]
    assert [line["number"] for line in lines(made)] == [1, 2, 3, 4]
    made.sound()
    for other in others:
        other.engine.dispose()


# --- hands on the file ------------------------------------------------------------------------------------


def test_an_edited_line(made: Ground):
    """R17 Another time in a line: its signature is none any more, and the next line does not know it."""
    content = file_of(made).read_bytes().splitlines(keepends=True)
    told = json.loads(content[1])
    content[1] = json.dumps({**told, "at": told["at"] + 1}, separators=(",", ":")).encode() + b"\n"
    file_of(made).write_bytes(b"".join(content))

    assert {(kind, which) for kind, _, which, _ in made.found()} == {("mirror", "2")}


def test_a_line_that_is_garbage(made: Ground):
    """R17 What is no line in the middle is named by its place, and by the number that is missing."""
    content = file_of(made).read_bytes().splitlines(keepends=True)
    file_of(made).write_bytes(content[0] + b"{}\n" + content[2])

    assert {(kind, which) for kind, _, which, _ in made.found()} == {("mirror", "2"), ("mirror", "at 2 of the file")}


def test_a_missing_line(made: Ground):
    """R17 The number that is missing is told."""
    content = file_of(made).read_bytes().splitlines(keepends=True)
    file_of(made).write_bytes(content[0] + content[2])

    assert made.found() == [("mirror", "line", "2", -1)]


@pytest.mark.parametrize("left", [1, 2])
def test_a_mirror_that_was_cut(made: Ground, left: int):
    """R17 The database remembers how many lines there were: nothing is signed behind the cut."""
    content = file_of(made).read_bytes().splitlines(keepends=True)
    file_of(made).write_bytes(b"".join(content[:left]))

    assert made.found() == [("mirror", "line", f"{left + 1} to 3", -1)]
    made.write(1)
    made.seal()
    assert mirror_job.run_once(made.runtime, 0, 1, Event()) == {"mirrored": 0, "refused": 1}
    assert "it was cut" in trouble(made)
    assert len(lines(made)) == left


def test_a_mirror_that_was_cut_by_making_its_end_garbage(made: Ground):
    """R17 A line that was whole is not taken for one that a crash cut off."""
    content = file_of(made).read_bytes()
    file_of(made).write_bytes(content[:-20])
    made.write(1)
    made.seal()

    with pytest.raises(mirror.Refused, match="it was cut"):
        mirror.go_on(made.runtime)


def test_a_mirror_signed_with_another_key(made: Ground, tmp_path: Path):
    """R17 Every line made anew under a key of somebody's own: none is accepted, and nothing is signed behind."""
    own = signing.make(made.runtime.ids, tmp_path / "own.key")
    anew, previous = [], None
    for line in lines(made):
        content = {name: value for name, value in line.items() if name != "signature"} | {"key": own.name}
        content["previous"] = content["previous"] if previous is None else previous
        signed = {**content, "signature": own.sign(mirror.written(content))}
        anew.append(mirror.written(signed))
        previous = mirror.digest(anew[-1])
    file_of(made).write_bytes(b"\n".join(anew) + b"\n")

    found = made.found()
    assert {("mirror", "line", str(number), -1) for number in (1, 2, 3)} <= set(found)
    assert mirror_job.run_once(made.runtime, 0, 1, Event())["refused"] == 1


def test_keys_are_exchanged(made: Ground, tmp_path: Path):
    """R17 A new key signs on; the lines of the old one count as long as its public key is named."""
    old = signing.signer(made.runtime.config)
    assert old is not None
    new = signing.make(made.runtime.ids, tmp_path / "new.key")
    both = with_keys(made, key_file=tmp_path / "new.key", public_keys=(old.public,))
    made.write(2)
    made.seal()
    mirror.go_on(both)

    assert [line["key"] for line in lines(made)] == [old.name] * 3 + [new.name]
    assert not Ground(both, made.operators, itertools.count()).found()
    alone = Ground(with_keys(made, key_file=tmp_path / "new.key"), made.operators, itertools.count()).found()
    assert alone == [("mirror", "line", str(number), -1) for number in (1, 2, 3)]
    reader = with_keys(made, key_file=None, public_keys=(old.public, new.public))
    assert not Ground(reader, made.operators, itertools.count()).found()


# --- restores ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["sqlite cp", "postgresql dump"])
def test_a_restored_backup_is_refused_until_a_person_accepts_it(
    way: str, tmp_path: Path, request: pytest.FixtureRequest
):
    """I-56 R17 The mirror knows more than the database: said, refused, accepted with a reason, and gone on from."""
    url = request.getfixturevalue("sqlite_url" if way.startswith("sqlite") else "postgresql_url")
    copies = Copies(url, tmp_path, way)
    with ground(url, tmp_path) as made:
        made.sealed(4)
        made.runtime.engine.dispose()
        copies.back_up()
        made.sealed(4)
        made.runtime.engine.dispose()
        copies.restore()

        assert {kind for kind, *_ in made.found()} == {"truncated"}
        assert mirror_job.run_once(made.runtime, 0, 1, Event()) == {"mirrored": 0, "refused": 1}
        assert "cut off" in trouble(made)
        inspect_job.run_once(made.runtime, made.clock.now(), 10, Event())
        assert made.one("SELECT outcome FROM job_run WHERE job = 'inspect'").startswith("failed: 4 findings (4 trunc")
        line = mirror.accept(made.runtime, "restored after a fire", "ann")

        assert "cut off" in line.told["was"]
        assert lines(made)[-1]["reason"] == "restored after a fire"
        made.sealed(6)
        report = made.sound()
        assert any("ann has accepted in line" in remark for remark in report.remarks)
        made.clock.turn(86_400)
        inspect_job.run_once(made.runtime, made.clock.now(), 10, Event())
        assert trouble(made) == ""


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
    name = f"bridge_audit_{os.getpid()}"
    yield postgres.create_database(name, template)
    postgres.drop_database(name)


def test_what_came_late_is_accepted(made: Ground):
    """R17 A row that was sealed late is told of until a person has looked; accepting hides nothing that comes later."""
    made.owner("INSERT INTO security_event VALUES (-5, 'late', '', '', '', '', 1)")
    made.clock.turn(600)
    made.sealed(1)
    assert [kind for kind, *_ in made.found()] == ["late"]

    mirror.accept(made.runtime, "a machine that stood still", "ann")

    assert any("late; accepted" in remark for remark in made.sound().remarks)
    made.owner("UPDATE security_event SET kind = 'x' WHERE id = -5")
    assert made.found() == [("edited", "security_event", "id -5", 0)]


def test_a_mirror_that_is_late(made: Ground):
    """R17 Heads move and no line comes: a finding, after a while."""
    made.write(2)
    made.seal()
    made.clock.turn(600)
    made.sound()
    made.clock.turn(600)

    assert made.found() == [("mirror", "mirror", "", -1)]
