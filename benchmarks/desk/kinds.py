"""What stands in the tables: transfers of several kinds, each really made once by the bridge before the product's own
simulator or the benchmarks' clean provider; what went wrong there is the simulator's lie, not a row that we wrote.

The longest story is of an orphan that was looked up for days: a provider that says "pending" for ever.
"""

from __future__ import annotations

import json
import random
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from sqlalchemy import text

from benchmarks import patterns
from benchmarks.filling import AMOUNT, TOLD, Share
from bridge import db
from bridge.app import create_app
from bridge.runtime import Runtime
from bridge.transfers import resolve

CLEAN, LIAR = "stub", "simulator"
"""The two providers: the benchmarks' own, at which the bridge also takes transfers meanwhile, and the simulator."""

EUR, USD = "EUR", "USD"
ASKED, OTHER = (f"{units // 100}.{units % 100:02}" for units in (AMOUNT, TOLD))
PLAYS_WITH = "9000000.00"
"""What the pattern's player has at the simulator, so that money can be taken out of it."""

PATIENCE_SECONDS = 2.0
HURRY: Mapping[str, Any] = {
    "patience_seconds": PATIENCE_SECONDS, "transfer_seconds": 0.5, "lookup_seconds": 2.0, "absent_after_seconds": 0.2,
    "lane_policy": "allow", "breaker_least": 10_000,
}  # fmt: skip
"""Of the account at the simulator while patterns are made: an orphan by silence needs no quarter of an hour."""

POLLS: Mapping[str, Any] = {"poll_seconds": (PATIENCE_SECONDS, *(0.02,) * 3000, 3600.0)}
"""Of the engine meanwhile: what was looked up for days is looked up as often within seconds."""


@dataclass(frozen=True)
class Kind:
    """One kind of transfer. `case` and `params`: the lie that the simulator tells of it, if any; `looks`: how often its
    provider was asked about it, until it is as old as the pattern is to be; `weight`: its share among its likes."""

    name: str
    provider: str
    direction: str
    currency: str
    state: str
    weight: int
    case: int | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    looks: int = 0


ANOTHER_AMOUNT, PENDING, REFUSED = 19, 25, 35
_MISMATCH: dict[str, Any] = {"case": ANOTHER_AMOUNT, "params": {"amount": OTHER}}
_SILENT: dict[str, Any] = {"case": PENDING, "params": {"variant": "ever"}}

PLAIN = (
    Kind("in", CLEAN, "in", EUR, "confirmed", 55),
    Kind("out", CLEAN, "out", EUR, "confirmed", 25),
    Kind("dollars", LIAR, "in", USD, "confirmed", 12),
    Kind("refused", LIAR, "in", EUR, "reversed", 8, REFUSED),
)
ORPHANS = (
    Kind("mismatch-in", LIAR, "in", EUR, "orphaned", 35, **_MISMATCH),
    Kind("mismatch-out", LIAR, "out", EUR, "orphaned", 20, **_MISMATCH),
    Kind("mismatch-dollars", LIAR, "in", USD, "orphaned", 15, **_MISMATCH),
    Kind("silent-in", LIAR, "in", EUR, "orphaned", 25, looks=20, **_SILENT),
    Kind("silent-out", LIAR, "out", EUR, "orphaned", 5, looks=150, **_SILENT),
)


@dataclass
class Workshop:
    """Where patterns are made: a bridge of this process with one operator's key to its API, the simulator's control."""

    runtime: Runtime
    key: str
    control: str

    def __post_init__(self) -> None:
        """The API."""
        self._client = create_app(self.runtime).test_client()

    def begin(self) -> None:
        """The pattern's player has money where it is taken out, and every account: the first transfer opens it."""
        for currency in (EUR, USD):
            self._tell("play", {"player": patterns.PLAYER, "currency": currency, "amount": PLAYS_WITH})
        for provider, currency in ((CLEAN, EUR), (LIAR, EUR), (LIAR, USD)):
            self._ask(Kind("opens", provider, "in", currency, "confirmed", 0), f"opens-{provider}-{currency}")

    def pattern(self, connection: psycopg.Connection[Any], kind: Kind) -> patterns.Pattern:
        """Make a transfer, and another one that shows that nothing of it is left out: its pattern."""
        key, before = f"{patterns.KEY}-{kind.name}", patterns.counts(connection)
        made = [self._ask(kind, each) for each in (key, f"{key}-twin")]
        if kind.looks:
            time.sleep(PATIENCE_SECONDS)
        for transfer_id in made:
            self._grow_old(transfer_id, kind)
        found = patterns.find(connection, key)
        patterns.check(found, before, patterns.counts(connection), len(made))
        return found

    def _ask(self, kind: Kind, key: str) -> str:
        """One transfer as it was answered: its id."""
        if kind.case is not None:
            self._tell("faults", {"case": kind.case, "player": patterns.PLAYER, "params": dict(kind.params)})
        body = {"player_id": patterns.PLAYER, "provider": kind.provider, "direction": kind.direction, "amount": ASKED,
                "currency": kind.currency}  # fmt: skip
        # It is sent, and not yet asked about when the wait is over.
        headers = {"Authorization": f"Bearer {self.key}", "Idempotency-Key": key, "Prefer": "wait=1"}
        told = self._client.post("/v1/transfers", json=body, headers=headers).get_json()
        assert "id" in told, told
        return str(told["id"])

    def _grow_old(self, transfer_id: str, kind: Kind) -> None:
        """It is in its state, and was looked up so often."""
        while (story := self._story(transfer_id)) != (kind.state, kind.looks):
            assert story[1] < kind.looks, f"{kind.name} ended as {story}"
            for claim in resolve.claim_due(self.runtime, 1, transfer_id):
                resolve.resolve(self.runtime, claim, ask_until=self.runtime.clock.monotonic())

    def _story(self, transfer_id: str) -> tuple[str, int]:
        """Its state, and how often it was looked up."""
        query = """SELECT state, (SELECT count(*) FROM evidence AS e WHERE e.transfer_id = t.id AND source = 'lookup')
            FROM transfer AS t WHERE id = :id"""
        with db.reading(self.runtime.engine) as connection:
            state, looks = connection.execute(text(query), {"id": transfer_id}).one()
        return str(state), int(looks)

    def _tell(self, path: str, content: Mapping[str, Any]) -> None:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.control}/{path}", json.dumps(content).encode(), headers, method="POST")  # noqa: S310 - our own child
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - as above
            answer.read()


def amounts() -> list[int]:
    """A thousand amounts from 1.00 to 5,000.00, most of them small; the same in every run."""
    chance = random.Random(5)
    return [round(10 ** chance.uniform(2, 5.7)) for _ in range(1000)]


def shares(made: Sequence[tuple[Kind, patterns.Pattern]], copies: int) -> list[Share]:
    """So many copies of kinds that are alike, by their weights."""
    total, spread = sum(kind.weight for kind, _ in made), amounts()
    of_each = [copies * kind.weight // total for kind, _ in made]
    of_each[0] += copies - sum(of_each)
    return [Share(pattern, number, spread) for (_, pattern), number in zip(made, of_each, strict=True)]
