"""What a person asks the desk for, over and over, and how long each page took, while the bridge takes transfers."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

import psycopg

from benchmarks.arithmetic import percentile
from benchmarks.children import Child, python
from benchmarks.contestants.base import PLAYERS
from benchmarks.contestants.floor import plain
from benchmarks.desk.browser import Browser
from benchmarks.desk.ground import DeskBridge, Tell
from benchmarks.desk.kinds import LIAR
from benchmarks.wire.order import Order

OVERVIEW, ORPHANS, TRANSFER = "overview", "orphans", "transfer"
PAGES = (OVERVIEW, ORPHANS, TRANSFER)

RATE = 20.0
"""Transfers a second that the bridge takes meanwhile."""

CONNECTIONS = 8
LEAST = 200
"""Requests of each page that are counted at the least."""

WARM = 20
SECONDS, LOAD_WARM_SECONDS = 150.0, 3.0

DRAWN = 2000
"""Transfers among which the ones that are looked at are drawn: half of them orphans."""


class TooSlow(Exception):
    """A page could not be asked for often enough in the time that there was."""


@dataclass(frozen=True)
class Times:
    """Microseconds of every request of a page."""

    micros: Sequence[int]

    def millis(self, percent: float) -> float:
        """A percentile in milliseconds."""
        return percentile(self.micros, percent) / 1000


@dataclass(frozen=True)
class Measured:
    """By page; and of the transfers that were taken meanwhile, how many ended how, and how long those that were
    confirmed took."""

    pages: Mapping[str, Times]
    answers: Mapping[str, int]
    transfers: Times


def measure(bridge: DeskBridge, browser: Browser, tell: Tell) -> Measured:
    """Ask for the three pages in turn, always the next one at once."""
    pages = addresses(bridge.url)
    for number in range(WARM):
        tell(f"warming up: {number + 1} of {WARM}")
        for paths in pages.values():
            browser.page(next(paths))
    load = _begin(bridge)
    try:
        load.line()
        found: dict[str, list[int]] = {name: [] for name in PAGES}
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            for name, paths in pages.items():
                found[name].append(browser.page(next(paths)).micros)
            tell(f"asked for each page {len(found[PAGES[-1]])} times, beside {RATE:.0f} transfers a second")
        load.line()
        told = load.line()
    finally:
        load.kill()
    least = min(map(len, found.values()))
    if least < LEAST:
        raise TooSlow(f"each page could be asked for {least} times in {SECONDS:.0f} s; {LEAST} are wanted")
    return Measured({name: Times(micros) for name, micros in found.items()}, told["answers"], Times(told["micros"]))


def _begin(bridge: DeskBridge) -> Child:
    """Transfers that come at an even rate, in a process of their own."""
    load = Child("load", [python(peers=False), "-m", "benchmarks.wire.clients"], bridge.folder, pipes=True)
    load.start()
    assert load.process is not None
    assert load.process.stdin is not None
    order = Order(
        door=bridge.door, run="desk", first=1, connections=CONNECTIONS, warm_seconds=LOAD_WARM_SECONDS, seconds=SECONDS,
        players=PLAYERS, rate=RATE,
    )  # fmt: skip
    print(json.dumps(order.as_json()), file=load.process.stdin, flush=True)
    return load


# --- what is asked for ----------------------------------------------------------------------------------------


def addresses(url: str) -> dict[str, Iterator[str]]:
    """By page, what it is asked for by, over and over; `url`: of the database that is looked at."""
    return {OVERVIEW: _overview(), ORPHANS: _orphans(url), TRANSFER: _transfers(url)}


def _overview() -> Iterator[str]:
    while True:
        yield "/ops/overview"


def _orphans(url: str) -> Iterator[str]:
    """The whole list, by currency, provider, reason and age, further pages of it, and searches: in turn."""
    with psycopg.connect(plain(url)) as connection:
        rows = connection.execute(_SOME_ORPHANS, {"limit": DRAWN // 2}).fetchall()
    chance = random.Random(1)
    while True:
        transfer, reference, told = chance.choice(rows)
        player = f"p{chance.randrange(PLAYERS)}"
        for asked in (
            {}, {"currency": "EUR"}, {"page": chance.randrange(2, 100)}, {"provider": LIAR, "reason": "mismatch"},
            {"currency": "EUR", "page": chance.randrange(2, 50)}, {"player": player}, {"older": 7 * 86_400},
            {"word": player}, {"word": transfer}, {"word": reference}, {"word": told}, {"word": "no-such-thing"},
        ):  # fmt: skip
            yield f"/ops/orphans?{urlencode(asked)}"


def _transfers(url: str) -> Iterator[str]:
    """An orphan, then one that ended, then an orphan …"""
    with psycopg.connect(plain(url)) as connection:
        orphans = [row[0] for row in connection.execute(_SOME_ORPHANS, {"limit": DRAWN // 2}).fetchall()]
        others = [row[0] for row in connection.execute(_SOME_OTHERS, {"limit": DRAWN // 2}).fetchall()]
    chance = random.Random(2)
    while True:
        for among in (orphans, others):
            yield f"/ops/transfers/{chance.choice(among)}"


_SOME_ORPHANS = """
    SELECT t.id, min(l.reference), min(e.provider_reference)
    FROM (SELECT id FROM transfer WHERE state IN ('pending', 'orphaned') AND state = 'orphaned'
        ORDER BY md5(id) LIMIT %(limit)s) AS t
    JOIN leg AS l ON l.transfer_id = t.id AND l.holder <> 'wallet'
    JOIN evidence AS e ON e.transfer_id = t.id GROUP BY t.id"""
_SOME_OTHERS = """
    SELECT id FROM transfer WHERE state IN ('confirmed', 'reversed') ORDER BY md5(id) LIMIT %(limit)s"""
