"""Whoever owns the database makes seals, marks or places of something that cannot be read: that is a finding, and what
else was changed is found all the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest

from bridge import db
from bridge.audit import inspection, memory, mirror, sealing, standing
from jobs import inspect as job
from jobs import mirror as mirror_job
from tests.audit.ground import Ground, ground

POSTING = "UPDATE posting SET amount = 9 WHERE id = 3"
RUN, LIST = "chain = -1 AND source = 'posting'", "chain = 1 AND source = 'posting'"
BROKEN = {
    "a run's list is no JSON": (f"UPDATE seal SET content = 'x' WHERE {RUN}", "id 3"),
    "a run's list is another one": (f"UPDATE seal SET content = '[5]' WHERE {RUN}", "id 3"),
    "a run's list is a word": (f"UPDATE seal SET content = '\"x\"' WHERE {RUN}", "id 3"),
    "a run's end is no JSON": (f"UPDATE seal SET upto = 'x' WHERE {RUN}", "id 3"),
    "a run's end is no place": (f"UPDATE seal SET upto = '[\"z\"]' WHERE {RUN}", "id 3"),
    "a run's end is beyond all numbers": (f"UPDATE seal SET upto = '[{10**30}]' WHERE {RUN}", "id 3"),
    "a run's begin is no JSON": (f"UPDATE seal SET after = 'x' WHERE {RUN}", "id 3"),
    "an operator's list is no JSON": (f"UPDATE seal SET content = 'x' WHERE {LIST}", "id 3 to id 12"),
    "an operator's list is another one": (f"UPDATE seal SET content = '[[{{}}, 1]]' WHERE {LIST}", "id 3 to id 12"),
    "an operator's list is empty": (f"UPDATE seal SET content = '[]' WHERE {LIST}", "id 3 to id 12"),
    "a mirror's mark is no JSON": ("UPDATE seal_mark SET seen = 'x' WHERE source LIKE 'mirror/%'", "id 3"),
    "a mirror's mark is another one": ("UPDATE seal_mark SET seen = '[1, 2, 3]' WHERE source LIKE 'mirror/%'", "id 3"),
    "a table's mark is no JSON": ("UPDATE seal_mark SET seen = 'x', looked = 'x' WHERE source = 'posting'", "id 3"),
}  # fmt: skip


@pytest.fixture
def made(migrated_url: str, tmp_path: Path) -> Iterator[Ground]:
    """Two operators, six stories, all sealed and mirrored."""
    with ground(migrated_url, tmp_path) as made:
        made.sealed(6)
        yield made


@pytest.mark.parametrize(("statement", "which"), BROKEN.values(), ids=BROKEN.keys())
def test_what_cannot_be_read_hides_nothing(made: Ground, statement: str, which: str):
    """I-56 R17 The seal is named, the posting too, `/readyz` is red, and sealing goes on."""
    made.owner(POSTING, statement)

    found = made.found()
    assert ("edited", "posting", which, 1) in found
    if "UPDATE seal SET" in statement:
        assert {(kind, where) for kind, where, *_ in found} >= {("seal", "seal")}
    assert not {kind for kind, *_ in found} & {"deleted", "inserted"}
    assert job.run_once(made.runtime, made.clock.now(), 10, Event())["findings"] == len(found)
    with db.reading(made.runtime.engine) as connection:
        assert standing.trouble(connection, made.runtime)
    made.write(2)
    assert made.seal()["sealed"] > 0
    assert ("edited", "posting", which, 1) in made.found()


def test_a_run_that_nothing_tells_of_is_named(made: Ground):
    """R17 Its own place cannot be read, nor that of any of its seals: nothing is compared there, and the rest is."""
    made.sealed(2)
    first = "run = (SELECT MIN(number) FROM seal WHERE chain = -1 AND source = 'posting')"
    made.owner("UPDATE posting SET amount = 9 WHERE id = 14", f"UPDATE seal SET upto = 'x' WHERE {first}")

    found = made.inspect().findings
    assert any("does not say where it looked" in each.sentence for each in found)
    assert ("edited", "posting", "id 14") in {(each.kind.value, each.where, each.which) for each in found}


def test_a_mark_of_a_mirror_that_cannot_be_read_keeps_nobody_from_going_on(made: Ground):
    """R17 What the database knew of it is not known any more; the mirror itself is as it was."""
    made.owner("UPDATE seal_mark SET seen = 'x' WHERE source LIKE 'mirror/%'")
    with db.reading(made.runtime.engine) as connection:
        (known,) = memory.remembered(connection).values()
    assert (known.number, known.hash) == (0, "")

    made.sealed(1)
    assert mirror_job.run_once(made.runtime, 0, 1, Event())["refused"] == 0
    assert mirror.accept(made.runtime, "looked at it", "me").number > 1
    made.sound()


def test_words_where_sqlite_should_hold_times_are_found(made: Ground):
    """R17 SQLite was made to hold a word for a time or a count: the row or the seal is named, the jobs go on."""
    if made.runtime.engine.dialect.name != "sqlite":
        return
    made.owner(POSTING, "UPDATE proposal SET created_at = 'soon' WHERE id = 'pr_00003'",
               "UPDATE seal SET at = 'x', entries = 'x' WHERE chain = -1 AND source = 'posting'")  # fmt: skip
    found = made.found()
    assert {("edited", "posting", "id 3", 1), ("deleted", "proposal", "id pr_00003", 2)} <= set(found)
    assert {("seal", "seal")} <= {(kind, where) for kind, where, *_ in found}
    made.clock.turn(120)
    standing.keep(made.runtime)
    made.write(1)
    for source in (each for each in sealing_sources() if each != "posting"):
        assert made.one("SELECT COUNT(*) FROM seal WHERE source = :source", source=source) > 0


def sealing_sources() -> list[str]:
    """The tables that are sealed."""
    return [source.name for source in inspection.SOURCES]


def test_more_rows_than_can_be_named_are_not_told_as_gone(made: Ground, monkeypatch: pytest.MonkeyPatch):
    """R17 Rows that were not read, for there were too many, are no deleted ones."""
    made.sealed(4)
    monkeypatch.setattr(inspection, "SPARE", 5)
    copy = ("INSERT INTO posting SELECT -{0}, operator_id, player_id, transfer_id, NULL, 100 + {0}, debit, credit, 5, "
            "currency, NULL, NULL, at FROM posting WHERE id = 1")  # fmt: skip
    made.owner(*(copy.format(number) for number in range(1, 21)))

    found = made.inspect().findings
    assert {each.kind.value for each in found} == {"inserted"}
    assert any("there are over 5 rows" in each.sentence for each in found)


def test_a_row_put_among_sealed_ones_is_never_made_a_late_one(made: Ground):
    """R17 Whoever sets back which runs were looked at twice has nothing of theirs sealed afterwards."""
    made.clock.turn(sealing.AGAIN_SECONDS)
    made.seal()
    made.clock.turn(sealing.AGAIN_AT_MOST)
    made.owner("INSERT INTO posting SELECT -5, operator_id, player_id, transfer_id, NULL, 77, debit, credit, amount, "
               "currency, NULL, NULL, at FROM posting WHERE id = 1",
               "UPDATE seal_mark SET again = 0 WHERE source = 'posting'")  # fmt: skip

    assert made.seal()["late"] == 0
    assert [(kind, which) for kind, _, which, _ in made.found()] == [("inserted", "id -5")]
    mirror.accept(made.runtime, "a slow transaction", "me")
    assert [kind for kind, *_ in made.found()] == ["inserted"]
