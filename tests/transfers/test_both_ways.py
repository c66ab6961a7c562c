"""One history, two ways: with strokes, and with every stroke refused, so that the long way writes it all. Whatever
happened, all rows of all tables are the same, and so is every answer that a client got."""

from __future__ import annotations

import random
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select, update

from bridge import db, gates, keys
from bridge.app import create_app
from bridge.errors import Refusal
from bridge.models import metadata
from bridge.runtime import Ids
from bridge.transfers import cancel as wishing
from bridge.transfers import ending, resolve, strokes
from bridge.transfers.advance import Fact, Outcome, advance
from bridge.transfers.core.decisions import Kind
from bridge.transfers.drive import drive, perform
from tests import deciding
from tests.harness import OPERATOR, Bench, Hands, bench
from tests.transfers import scripted_one as words
from tests.transfers.conftest import ONE_TIMES
from tests.transfers.scripted_one import ScriptedOne

SEEDS = {"sqlite": 40, "postgresql": 24}
STEPS = 30
PLAYERS = ("ann", "bob", "eve")
MONEY = (*[words.OK] * 8, words.LOST, words.DROPPED, words.REFUSED_DOOR, words.LATE, words.GARBAGE, words.SLOW,
         words.REFUSES, words.REFUSES, words.PENDING, words.PENDING_LOST, words.PENDING_REFUSED, words.HALF,
         *words.WRONG)  # fmt: skip
ASKED = (words.OK, words.OK, words.SILENT, words.ABSENT, words.STALE, words.NEGATIVE)
AMOUNTS = ("0.01", "7.00", "250.00", "900.00", "max")


class Numbered(Ids):
    """Ids in the order in which they are made, the same in every telling."""

    def __init__(self) -> None:
        self.made = self.secrets = 0

    def new(self, prefix: str) -> str:
        self.made += 1
        return f"{prefix}_{self.made:032x}"

    def secret(self) -> str:
        self.secrets += 1
        return f"secret{self.secrets}"


@dataclass
class Tale:
    """One history as it is told: drawn from a seed alone, whatever the bridge answers."""

    draw: random.Random
    desk: Bench
    one: ScriptedOne
    hands: Hands
    secret: str
    client: Any
    sent: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    paused: list[Outcome] = field(default_factory=list)
    late: list[tuple[Outcome, Fact]] = field(default_factory=list)
    heard: list[Any] = field(default_factory=list)

    def step(self) -> None:
        """One thing happens; what is said of it is kept, to be compared."""
        happens = self.draw.choice(
            [self.post, self.post, self.post, self.post_and_meanwhile, self.post_and_meanwhile, self.again, self.die,
             self.pause, self.wake_up, self.come_late, self.call_back, self.wish, self.look, self.people, self.recall,
             self.pass_time, self.close_gate, self.asks_lie]
        )  # fmt: skip
        try:
            said = happens()
        except Refusal as refusal:
            said = (type(refusal).__name__, refusal.code, refusal.fields)
        self.heard.append((happens.__name__, said))

    # --- clients --------------------------------------------------------------------------------------------

    def wanted(self) -> dict[str, str]:
        direction = self.draw.choice(["in", "in", "out"])
        amount = self.draw.choice(AMOUNTS)
        wanted = {"player_id": self.draw.choice(PLAYERS), "provider": "sim", "direction": direction, "amount": amount}
        return {**wanted, "currency": self.draw.choice(["EUR"] * 9 + ["USD"])}

    def post(self) -> Any:
        self.sent.append((f"key-{len(self.sent)}", self.wanted()))
        self.one.script = [self.draw.choice(MONEY) for _ in range(3)]
        return self.ask(*self.sent[-1])

    def ask(self, key: str, body: dict[str, str]) -> Any:
        prefer = self.draw.choice(["", "", "wait=0", "wait=2", "respond-async"])
        headers = {"Authorization": f"Bearer {self.secret}", "Idempotency-Key": key, "Prefer": prefer}
        answer = self.client.post("/v1/transfers", json=body, headers=headers)
        told = ("Location", "Idempotent-Replayed", "Preference-Applied", "Retry-After")
        return answer.status_code, answer.get_data(as_text=True), [answer.headers.get(name) for name in told]

    def post_and_meanwhile(self) -> Any:
        """While the request is on the wire, something happens to the very transfer."""
        meanwhile = self.draw.choice([self.wish, self.call_back, self.rewind, self.fail, self.claim, self.revoke])

        def once(operation: str) -> None:
            self.one.during = lambda _operation: None
            try:
                self.heard.append((f"{meanwhile.__name__} during {operation}", meanwhile(newest=True)))
            except Refusal as refusal:
                self.heard.append((meanwhile.__name__, refusal.code))

        self.one.during = once
        try:
            return self.post()
        finally:
            self.one.during = lambda _operation: None

    def again(self) -> Any:
        if not self.sent:
            return None
        key, body = self.draw.choice(self.sent)
        return self.ask(key, {**body, "amount": "3.00"} if self.draw.random() < 0.2 else body)

    def wish(self, *, newest: bool = False) -> Any:
        found = self.some(newest=newest)
        if found is None:
            return None
        return wishing.cancel(self.desk.runtime, self.desk.operator, found).state.value

    def recall(self) -> Any:
        headers = {"Authorization": f"Bearer {self.secret}", "Idempotency-Key": f"recall-{len(self.heard)}"}
        answer = self.client.post(f"/v1/players/{self.draw.choice(PLAYERS)}/recall", headers=headers)
        return answer.status_code, answer.get_data(as_text=True)

    def revoke(self, *, newest: bool = False) -> Any:  # noqa: ARG002 - as its sisters
        """The key is revoked, and another one made."""
        key_id = self.desk.rows("SELECT id FROM api_key WHERE revoked_at IS NULL")[0]["id"]
        keys.revoke(self.desk.runtime, key_id)
        gone, (_, self.secret) = self.secret, keys.create(self.desk.runtime, OPERATOR, ["transfers"], "next")
        headers = {"Authorization": f"Bearer {gone}", "Idempotency-Key": f"revoked-{len(self.heard)}"}
        return self.client.post("/v1/transfers", json=self.wanted(), headers=headers).status_code

    # --- workers --------------------------------------------------------------------------------------------

    def begun(self) -> Outcome | None:
        wanted = self.wanted()
        self.one.script = [self.draw.choice(MONEY)]
        begun = self.desk.begin(wanted["direction"], wanted["amount"], player=wanted["player_id"])
        return begun.outcome

    def die(self) -> Any:
        """A worker dies after its commit, before or after the call."""
        outcome = self.begun()
        if outcome is not None and outcome.order is not None and self.draw.random() < 0.5:
            perform(self.desk.runtime, outcome.order)
        return outcome is not None

    def pause(self) -> Any:
        outcome = self.begun()
        if outcome is None or outcome.order is None:
            return None
        if self.draw.random() < 0.5:
            self.late.append((outcome, perform(self.desk.runtime, outcome.order)))
        else:
            self.paused.append(outcome)
        return outcome.transfer.id

    def wake_up(self) -> Any:
        """A paused worker goes on, soon or when the lease is long another's."""
        if not self.paused:
            return None
        outcome = self.paused.pop(self.draw.randrange(len(self.paused)))
        return drive(self.desk.runtime, outcome, ask_until=self.hands.monotonic()).transfer.state.value

    def come_late(self) -> Any:
        """A worker has its answer for a while before it can say so."""
        if not self.late:
            return None
        outcome, fact = self.late.pop(self.draw.randrange(len(self.late)))
        assert outcome.order is not None
        ended = ending.end(self.desk.runtime, outcome, fact)
        ended = ended or advance(self.desk.runtime, outcome.transfer.id, outcome.order.claim, fact)
        return ended.transfer.state.value

    def look(self) -> int:
        """The resolver; in the order of ids, for PostgreSQL hands out what is due in any."""
        claims = sorted(resolve.claim_due(self.desk.runtime, 50), key=lambda claim: claim.transfer_id)
        for claim in claims:
            resolve.resolve(self.desk.runtime, claim)
        return len(claims)

    def claim(self, *, newest: bool = False) -> Any:  # noqa: ARG002 - as its sisters
        """So long a pause that another worker takes the transfer up."""
        self.hands.turn(12)
        return self.look()

    # --- the provider, people, the machine ------------------------------------------------------------------

    def call_back(self, *, newest: bool = False) -> Any:
        self.one.settle_time()
        ended = sorted(r for r, record in self.one.records.items() if record.status in ("confirmed", "cancelled"))
        if not ended:
            return None
        reference = ended[-1] if newest else self.draw.choice(ended)
        fact = self.one.take_back(reference) if self.draw.random() < 0.3 else self.one.callback(reference)
        (leg,) = self.desk.rows("SELECT transfer_id, ordinal FROM leg WHERE reference = :r", r=reference)
        told = replace(fact, at=self.hands.now(), ordinal=leg["ordinal"])
        return advance(self.desk.runtime, leg["transfer_id"], None, told).transfer.state.value

    def asks_lie(self) -> None:
        self.one.asked = [self.draw.choice(ASKED) for _ in range(4)]

    def people(self) -> Any:
        orphans = self.desk.rows("SELECT id, version FROM transfer WHERE state = 'orphaned' ORDER BY id")
        if not orphans:
            return None
        row, kind = self.draw.choice(orphans), self.draw.choice([Kind.CONFIRM, Kind.REVERSE, Kind.WRITE_OFF])
        made = deciding.Decision(kind, "ann", "bob", "because", row["version"])
        return deciding.decide(self.desk.runtime, self.desk.operator, row["id"], made).state.value

    def close_gate(self) -> Any:
        if self.desk.rows("SELECT provider FROM switch"):
            gates.resume(self.desk.runtime, "sim", "ann")
        elif self.draw.random() < 0.3:
            gates.pause(self.desk.runtime, "sim", "maintenance", "ann")

    def rewind(self, *, newest: bool = False) -> Any:
        """As `lineage` marks what is unfinished when it notices a restored backup: nothing but the mark changes."""
        return self.change("rewound_at", self.hands.now(), newest=newest)

    def fail(self, *, newest: bool = False) -> Any:
        return self.change("failures", 1, newest=newest)

    def change(self, column: str, value: int, *, newest: bool) -> Any:
        found = self.some(newest=newest)
        table = metadata.tables["transfer"]
        with db.writing(self.desk.runtime.engine) as connection:
            here = update(table).where(table.c.id == found, table.c.state == "pending")
            return connection.execute(here.values({column: value})).rowcount

    def pass_time(self) -> None:
        self.hands.turn(self.draw.choice([0.5, 3, 12, 70, 1000]))

    def some(self, *, newest: bool) -> str | None:
        found = [row["id"] for row in self.desk.rows("SELECT id FROM transfer ORDER BY id")]
        return None if not found else found[-1] if newest else self.draw.choice(found)


@contextmanager
def told(url: str, seed: int, settings: dict[str, Any]) -> Iterator[Tale]:
    """A history of this seed, told on a fresh database."""
    hands = Hands()
    one = ScriptedOne(hands)
    with bench(url, clock=hands, provider=one, **{**ONE_TIMES, **settings}) as desk:
        if desk.runtime.engine.dialect.name == "sqlite":
            # The disk is not under test here.
            event.listen(
                desk.runtime.engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF")
            )
            desk.runtime.engine.dispose()
        desk.runtime = replace(desk.runtime, ids=Numbered(), worker="worker")
        _, secret = keys.create(desk.runtime, OPERATOR, ["transfers"], "tale")
        for player in PLAYERS[1:]:
            desk.player(player, "1000.00")
        client = create_app(desk.runtime).test_client()
        tale = Tale(random.Random(seed), desk, one, hands, secret, client)
        for _ in range(STEPS):
            tale.step()
        yield tale


def all_rows(desk: Bench) -> dict[str, list[dict[str, Any]]]:
    """Every table. Ids count what was made, and numbers of rows count rows: a stroke that was undone has used some up,
    so both are told by their rank. Which database it is, the lineage knows; these are two."""
    with db.reading(desk.runtime.engine) as connection:
        tables = {
            table.name: [dict(row) for row in connection.execute(select(table).order_by(*key)).mappings()]
            for table in metadata.sorted_tables
            if (key := list(table.primary_key.columns))
        }
    for row in tables["lineage"]:
        del row["fingerprint"]
    ids = sorted({found for rows in tables.values() for row in rows for found in _ids(row)})
    names = {found: f"#{rank}" for rank, found in enumerate(ids)}
    ranks = {
        name: {row["id"]: rank for rank, row in enumerate(tables[name], 1)}
        for name in ("evidence", "history", "posting", "inbox")
    }
    return {name: [_ranked(name, row, names, ranks) for row in rows] for name, rows in tables.items()}


_AN_ID = re.compile(r"0{20}[0-9a-f]{12}|01[0-9a-f]{30}")
"""One of ours, or of those few that were made before the history began."""


def _ids(row: dict[str, Any]) -> set[str]:
    return {found for value in row.values() if isinstance(value, str) for found in _AN_ID.findall(value)}


def _ranked(table: str, row: dict[str, Any], names: dict[str, str], ranks: dict[str, Any]) -> dict[str, Any]:
    told = {
        name: _AN_ID.sub(lambda match: names[match[0]], value) if isinstance(value, str) else value
        for name, value in row.items()
    }
    if table in ranks:
        told["id"] = ranks[table][row["id"]]
    for column, of in (("evidence_id", "evidence"), ("inbox_id", "inbox")):
        if told.get(column) is not None:
            told[column] = ranks[of][told[column]]
    if told.get("watermark"):
        told["watermark"] = ranks["evidence"][told["watermark"]]
    return told


def said_alike(heard: list[Any]) -> str:
    """What was answered, ids told by the order in which they first appear."""
    seen: dict[str, str] = {}
    return _AN_ID.sub(lambda match: seen.setdefault(match[0], f"#{len(seen)}"), repr(heard))


@pytest.fixture
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Any]:
    """A migrated database of a kind, as often as it is asked for; gone with its block."""

    @contextmanager
    def one(kind: str) -> Iterator[str]:
        name = f"bridge_test_{uuid.uuid4().hex}"
        if kind == "sqlite":
            file = tmp_path / f"{name}.db"
            shutil.copyfile(request.getfixturevalue("migrated_sqlite_file"), file)
            yield f"sqlite:///{file}"
            return
        postgres = request.getfixturevalue("postgres")
        yield postgres.create_database(name, request.getfixturevalue("migrated_postgres_template"))
        postgres.drop_database(name)

    return one


SETTINGS = [{}, {"lane_policy": "block"}, {"lane_policy": "opposite", "exposure_caps": {"EUR": "400.00"}},
            {"partial": True, "lane_policy": "block"}]  # fmt: skip


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", SEEDS)
def test_both_ways_write_the_same_rows(
    kind: str, fresh: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """I-14 I-20 I-21 I-22 I-23 I-30 C-05 C-28 C-40 C-48 Whatever happens, a stroke writes what the long way would have
    written, or nothing; and many a transfer begins and ends by strokes."""
    struck = {"begin": 0, "end": 0}
    for seed in range(SEEDS[kind]):
        with ExitStack() as stack:
            settings = SETTINGS[seed % len(SETTINGS)]
            with monkeypatch.context() as counted:
                for name in struck:
                    counted.setattr(strokes, name, _counting(getattr(strokes, name), struck, name))
                short = stack.enter_context(told(stack.enter_context(fresh(kind)), seed, settings))
            with monkeypatch.context() as refused:
                for name in struck:
                    refused.setattr(strokes, name, lambda *_given: None)
                long = stack.enter_context(told(stack.enter_context(fresh(kind)), seed, settings))
            assert said_alike(short.heard) == said_alike(long.heard), f"seed {seed}"
            ours, theirs = all_rows(short.desk), all_rows(long.desk)
            for name in theirs:
                assert ours[name] == theirs[name], f"seed {seed}, table {name}"
            short.desk.audit()
    assert min(struck.values()) > SEEDS[kind], struck


def _counting(stroke: Callable[..., Any], struck: dict[str, int], name: str) -> Callable[..., Any]:
    def struck_once(*given: Any) -> Any:
        committed = stroke(*given)
        struck[name] += committed is not None
        return committed

    return struck_once
