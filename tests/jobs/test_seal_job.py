"""The seal job: one table that fails keeps nothing else from being done."""

from __future__ import annotations

from threading import Event

import pytest

from bridge import checks, db
from bridge.audit import sealing
from bridge.ports import SECOND
from jobs import seal
from tests.harness import Hands, bench
from tests.postgres import others_end


def test_how_sealing_stands_is_kept_though_a_table_fails(migrated_url, monkeypatch):
    """I-32 C-19 All others are sealed: what is told is which one is late, and not that nobody seals."""
    hands, sealed = Hands(), sealing.seal
    with bench(migrated_url, clock=hands) as made:
        made.run("in")

        def run() -> None:
            others_end(made.runtime.engine)
            seal.run_once(made.runtime, hands.now(), 10**6, Event())

        def but_postings(runtime, source, scope):
            if source.name == "posting":
                raise OSError("whatever it is")
            return sealed(runtime, source, scope)

        for _ in range(2):  # what is there is looked at, and sealed after a while
            run()
            hands.turn(120)
        made.run("in")
        monkeypatch.setattr(sealing, "seal", but_postings)
        for seconds in (120, 3600, 120):
            hands.turn(seconds)
            with pytest.raises(seal.TablesFailed):
                run()
        with db.reading(made.runtime.engine) as connection:
            stood = checks.standing(connection)
            concerns = dict(checks.concerns(connection, made.runtime))
    assert stood is not None
    assert hands.now() - stood["seen_at"] < checks.STANDING_SECONDS * SECOND
    assert list(concerns) == ["sealing"]
    assert concerns["sealing"].startswith("nothing of posting was sealed for")
