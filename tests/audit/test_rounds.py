"""Rounds: one inspection a slot, what is kept of it, and what becomes of one that does not come to its end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from bridge import checks, db
from bridge.api.health import found_wrong
from bridge.audit import mirror, rounds
from jobs import inspect as job
from jobs import mirror as mirror_job
from tests.audit.ground import Ground, ground

DAY = 86_400


@pytest.fixture
def made(migrated_url: str, tmp_path: Path) -> Iterator[Ground]:
    """Six stories, sealed and mirrored."""
    with ground(migrated_url, tmp_path) as made:
        made.sealed(6)
        yield made


def inspected(made: Ground, *, again: bool = False) -> dict[str, int]:
    """The job's next tick, or what a person wants now."""
    made.clock.turn(1)
    work = job.run_again if again else job.run_once
    return work(made.runtime, made.clock.now(), 10, Event())


def wrong(made: Ground) -> str:
    """What `/readyz` says of the audit."""
    return next((each.detail for each in found_wrong(made.runtime) if each.check == "audit"), "")


def concerns(made: Ground) -> dict[str, str]:
    """What people are told of it, beside."""
    with db.reading(made.runtime.engine) as connection:
        return dict(checks.concerns(connection, made.runtime))


def test_what_was_put_back_is_green_at_once(made: Ground):
    """R17 A finding that was mended does not keep every request away for a day: a person has it inspected again."""
    before = made.one("SELECT amount FROM posting WHERE id = 1")
    made.owner("UPDATE posting SET amount = 1234 WHERE id = 1")
    assert inspected(made)["findings"] == 1
    assert wrong(made) == "the last inspection failed: 1 finding (1 edited)"
    made.owner("UPDATE posting SET amount = :before WHERE id = 1", before=before)
    assert inspected(made)["claimed"] == 0

    assert inspected(made, again=True) == {"claimed": 1, "findings": 0, "entries": made.sound().entries}

    assert wrong(made) == ""
    assert "before that: failed" in made.one("SELECT outcome FROM job_run WHERE job = 'inspect'")


def test_an_error_is_no_finding(made: Ground, monkeypatch: pytest.MonkeyPatch):
    """C-19 The database went away meanwhile: the job fails, `/readyz` says nothing, and the next tick inspects."""

    def away(*_: Any) -> None:
        raise ConnectionError("gone")

    with monkeypatch.context() as patched:
        patched.setattr(job, "inspect", away)
        with pytest.raises(ConnectionError):
            inspected(made)
    assert wrong(made) == ""
    assert inspected(made)["claimed"] == 1
    made.owner("UPDATE posting SET amount = 1234 WHERE id = 1")
    assert inspected(made, again=True)["findings"] == 1
    with monkeypatch.context() as patched:
        patched.setattr(job, "inspect", away)
        with pytest.raises(ConnectionError):
            inspected(made, again=True)
    assert "1 edited" in wrong(made)
    assert inspected(made, again=True)["claimed"] == 1


def test_what_breaks_an_inspection_off_is_an_outcome(made: Ground, monkeypatch: pytest.MonkeyPatch):
    """R17 Whatever else than an absent database ended it: nobody may take that for sound."""

    def broken(*_: Any) -> None:
        raise KeyError("content")

    with monkeypatch.context() as patched:
        patched.setattr(job, "inspect", broken)
        with pytest.raises(KeyError):
            inspected(made)
    assert wrong(made) == "the last inspection failed: KeyError, see the log"
    assert inspected(made, again=True)["claimed"] == 1
    assert wrong(made) == ""


def test_one_that_was_broken_off_is_not_the_newest(made: Ground, monkeypatch: pytest.MonkeyPatch):
    """R17 An `ok` of two hours ago is of two hours ago, also where somebody has tried again and failed."""
    inspected(made)
    began = ended(made)
    made.clock.turn(7200)

    def away(*_: Any) -> None:
        raise ConnectionError("gone")

    with monkeypatch.context() as patched:
        patched.setattr(job, "inspect", away)
        with pytest.raises(ConnectionError):
            inspected(made, again=True)
    assert ended(made) == began
    assert inspected(made, again=True)["claimed"] == 1
    assert ended(made) != began


def ended(made: Ground) -> checks.Ended | None:
    """The newest inspection that has ended."""
    with db.reading(made.runtime.engine) as connection:
        return checks.last(connection, made.runtime, checks.INSPECT)


def test_a_process_that_died_at_it_leaves_its_slot(made: Ground):
    """C-02 Killed in the middle: after an hour without a word of it another process inspects, in the same slot."""
    assert rounds.take(made.runtime, made.clock.now()) is not None
    other = made.another()
    assert rounds.take(other, made.clock.now(), again=True) is None
    made.clock.turn(rounds.LOST_SECONDS)
    slot = rounds.take(other, made.clock.now())

    assert slot is not None
    assert not rounds.end(made.runtime, slot, "ok")  # the first one lived after all: it is not its slot any more
    assert rounds.end(other, slot, "ok")
    other.engine.dispose()


def test_a_row_of_a_later_slot_says_nothing(made: Ground):
    """R17 Whoever owns the database writes that tomorrow, and for ever, all was well."""
    for name in ("inspect", "verify"):
        made.owner(
            "INSERT INTO job_run (job, slot, worker, started_at, finished_at, outcome) "
            f"VALUES ('{name}', 999999999, 'w', 0, 1, 'ok')"
        )
    made.owner("UPDATE posting SET amount = 1234 WHERE id = 1")
    now, seconds = made.clock.now(), int(made.runtime.config.engine.verify_every_seconds * 10**6)
    made.owner(
        "INSERT INTO job_run (job, slot, worker, started_at, finished_at, outcome) "
        f"VALUES ('verify', {now // seconds}, 'w', 0, 1, 'failed: I-03 (1 row)')"
    )

    assert inspected(made)["findings"] == 1
    assert wrong(made) == "the last inspection failed: 1 finding (1 edited)"
    assert {"verify", "audit"} <= {each.check for each in found_wrong(made.runtime)}


def test_an_inspection_that_never_ends_is_told(made: Ground):
    """R17 Two intervals without one that has ended."""
    inspected(made)
    for _ in range(2 * DAY // 480):
        with db.writing(made.runtime.engine) as connection:
            checks.note(connection, made.runtime)
        made.clock.turn(480)
    for late in (None, checks.Overdue("no inspection has ended for 48 hours", early=False)):
        with db.reading(made.runtime.engine) as connection:
            assert checks.overdue(connection, made.runtime, checks.INSPECT) == late
        made.clock.turn(60)
    assert wrong(made) == ""


def test_only_who_reads_the_mirror_inspects(made: Ground, tmp_path: Path):
    """R17 A process without the mirror cannot see what was cut off, nor what was accepted: it leaves the slot."""
    file = made.runtime.config.audit.mirror_file
    assert file is not None
    kept = file.rename(tmp_path / "away")
    assert inspected(made)["claimed"] == 0
    kept.rename(file)
    assert inspected(made)["claimed"] == 1


def test_a_mirror_that_is_gone_is_told(made: Ground):
    """R17 The file was removed: not a word in it is wrong, and people are told; begun again, it is over."""
    file = made.runtime.config.audit.mirror_file
    assert file is not None
    file.unlink()
    assert mirror_job.run_once(made.runtime, 0, 1, Event()) == {"mirrored": 0, "refused": 1}

    (told,) = (sentence for about, sentence in concerns(made).items() if about.startswith(checks.REFUSED))
    assert "has not begun" in told
    mirror.begin(made.runtime, "somebody")
    assert concerns(made) == {}


def test_another_mirror_ends_the_refusal_of_the_one_before(made: Ground):
    """R17 As docs/audit.md has it: the cut file is moved away, and another one begun; nothing stays red."""
    made.sealed(2)
    file = made.runtime.config.audit.mirror_file
    assert file is not None
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:-1]))
    mirror_job.run_once(made.runtime, 0, 1, Event())
    assert "it was cut" in wrong(made)
    file.rename(file.with_suffix(".old"))

    mirror.begin(made.runtime, "somebody")

    made.sealed(2)
    assert wrong(made) == ""
    assert concerns(made) == {}
    made.sound()


def test_heads_that_are_not_mirrored_are_told(made: Ground):
    """R17 Sealing goes on, the mirror does not: it is told before the next inspection."""
    for _ in range(20):
        made.write(1)
        made.seal()
        made.clock.turn(60)
    assert "have not been mirrored" in concerns(made)["sealing"]
    mirror.go_on(made.runtime)
    made.clock.turn(60)
    made.seal()
    assert concerns(made) == {}
