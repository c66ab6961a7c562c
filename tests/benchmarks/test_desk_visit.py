"""Somebody comes in by a password and a one-time code, and every address that is measured leads to its page."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from itertools import islice

import psycopg
import pytest
from werkzeug.serving import make_server

from benchmarks import filling
from benchmarks.contestants.floor import plain
from benchmarks.desk import kinds, visit
from benchmarks.desk.browser import Browser, NotShown
from benchmarks.desk.people import come_in
from bridge.app import create_app
from bridge.runtime import Runtime

AS_MANY = 24
"""Twice as many as there are kinds of questions for orphans."""


@dataclass(frozen=True)
class Served:
    """What `come_in` needs of a bridge: a port, its runtime, its operator."""

    port: int
    made: Runtime
    operator: int

    def runtime(self) -> Runtime:
        return self.made

    def operator_id(self, _runtime: Runtime) -> int:
        return self.operator


@pytest.fixture
def served(workshop):
    """A few transfers and orphans in the tables, and the API on a port of this machine."""
    workshop.made.begin()
    with psycopg.connect(plain(workshop.url), autocommit=True) as connection:
        patterned = [(kind, workshop.made.pattern(connection, kind)) for kind in (kinds.PLAIN[0], kinds.ORPHANS[0])]
        shares = [share for each in patterned for share in kinds.shares([each], 60)]
        filling.fill(connection, shares, workshop.players, lambda _: None)
    server = make_server("127.0.0.1", 0, create_app(workshop.runtime), threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield Served(server.server_port, workshop.runtime, workshop.operator)
    server.shutdown()
    thread.join()
    server.server_close()


def test_all_that_is_measured_is_a_page(served, workshop):
    """Each answers 200 to who has come in, and tells what was asked for; to nobody else any does."""
    paths = {name: list(islice(found, AS_MANY)) for name, found in visit.addresses(workshop.url).items()}
    with come_in(served, lambda _: None) as browser:
        answers = {name: [browser.page(path) for path in of_page] for name, of_page in paths.items()}
    assert all(answer.micros > 0 for of_page in answers.values() for answer in of_page)
    assert all(path.rpartition("/")[2] in answer.text for path, answer in zip(
        paths[visit.TRANSFER], answers[visit.TRANSFER], strict=True))  # fmt: skip
    everything = answers[visit.ORPHANS][0].text
    assert everything.count("/ops/transfers/tr_") >= 50
    assert len(set(paths[visit.ORPHANS])) > AS_MANY // 2
    assert len({answer.text.count("/ops/transfers/tr_") for answer in answers[visit.ORPHANS]}) > 1
    nobody = Browser(served.port)
    for of_page in paths.values():
        with pytest.raises(NotShown, match="303"):
            nobody.page(of_page[0])
    nobody.close()
