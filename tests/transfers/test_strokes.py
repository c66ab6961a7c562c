"""A stroke that finds one thing otherwise than it was taken to be writes nothing at all: each condition by itself, and,
on PostgreSQL, with the other transaction really under way."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, text

from bridge import cashier, db, gates, keys, ledger, players, stroke
from bridge.errors import LaneUnresolved, Unavailable
from bridge.evidence import Answer
from bridge.idempotency import TRANSFER, Key
from bridge.keys import Caller
from bridge.models import metadata
from bridge.ports import SECOND
from bridge.runtime import Ids
from bridge.transfers import cancel as wishing
from bridge.transfers import resolve, strokes
from bridge.transfers.advance import Fact, Outcome, advance
from bridge.transfers.begin import Begun, begin, begin_plainly
from bridge.transfers.drive import drive, perform
from bridge.transfers.ending import Closing, end
from bridge.transfers.rows import load
from tests.harness import OPERATOR, PLAYER, PROVIDER, Bench, Hands, bench, together
from tests.transfers.conftest import BLOCKED, ONE_TIMES
from tests.transfers.scripted_one import HALF, LOST, PENDING, REFUSED_DOOR, REFUSES, ScriptedOne


@pytest.fixture
def lane(migrated_url: str, hands: Hands, one: ScriptedOne) -> Iterator[Bench]:
    """A bridge that lets nothing in beside what is not proved."""
    with bench(migrated_url, clock=hands, provider=one, **BLOCKED) as made:
        yield made


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Strokes that wait for a lock as long as it takes, for what they do after a wait to be seen."""
    with monkeypatch.context() as patched:
        patched.setattr(stroke, "LONGEST_WAIT", "20s")
        strokes._begin.cache_clear(), strokes._end.cache_clear()
        yield
    strokes._begin.cache_clear(), strokes._end.cache_clear()


def everything(desk: Bench) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table."""
    with db.reading(desk.runtime.engine) as connection:
        return {
            table.name: [dict(row) for row in connection.execute(select(table).order_by(*table.c)).mappings()]
            for table in metadata.sorted_tables
        }


def plainly(desk: Bench, key: str = "one", direction: str = "in", caller: Caller | None = None) -> Begun | None:
    """Begin in one stroke, or not at all."""
    return begin_plainly(desk.runtime, Key(desk.operator, TRANSFER, key), desk.wish(direction), caller)


def execute(desk: Bench, statement: str, **values: Any) -> None:
    """One statement that changes one row."""
    with db.writing(desk.runtime.engine) as connection:
        assert connection.execute(text(statement), values).rowcount == 1


def write(desk: Bench, table: str, **row: Any) -> None:
    """One more row."""
    with db.writing(desk.runtime.engine) as connection:
        connection.execute(insert(metadata.tables[table]).values(**row))


# --- begin --------------------------------------------------------------------------------------------------


def the_wallet_is_short(desk: Bench) -> None:
    """It holds less than the amount."""
    desk.cash("withdrawal", PLAYER, "995.00")


def the_switch_is_closed(desk: Bench) -> None:
    """People have closed the provider."""
    gates.pause(desk.runtime, PROVIDER, "maintenance", "ann")


def the_breaker_is_open(desk: Bench) -> None:
    """The provider answers too little."""
    write(desk, "breaker", provider=PROVIDER, open=True, counted_from=0, probe_at=0, version=1)


def the_lane_is_not_clear(desk: Bench) -> None:
    """Another transfer of the player is not proved."""
    assert desk.begin("in", "1.00", plainly=False).outcome is not None


def the_key_was_used(desk: Bench) -> None:
    """For another body, by somebody else, a moment ago."""
    now = desk.runtime.clock.now()
    row = {"operator_id": desk.operator, "operation": TRANSFER, "key": "one", "body": "{}", "created_at": now}
    write(desk, "idempotency_key", **row, answered=False)


def the_operator_is_another(desk: Bench) -> None:
    """The provider is not this operator's."""
    execute(desk, "UPDATE operator SET name = 'other'")


def there_is_no_such_wallet(desk: Bench) -> None:
    """None in this currency."""
    execute(desk, "UPDATE account SET currency = 'USD' WHERE account = :name", name=f"wallet:{PLAYER}")


def there_is_a_wallet_in_another_currency(desk: Bench) -> None:
    """From which a begin of the same lane would not wait for one from this."""
    players.register(desk.runtime, desk.operator, PLAYER, ["EUR", "USD"])


CONDITIONS = {
    the_wallet_is_short: ("in",),
    there_is_a_wallet_in_another_currency: ("in",),
    the_switch_is_closed: ("in",),
    the_lane_is_not_clear: ("in",),
    the_breaker_is_open: ("in", "out"),
    the_key_was_used: ("in", "out"),
    the_operator_is_another: ("in", "out"),
    there_is_no_such_wallet: ("in", "out"),
}


@pytest.mark.parametrize("direction", ["in", "out"])
def test_a_plain_transfer_begins_in_one_stroke(lane: Bench, direction: str) -> None:
    """I-14 What comes back is what a reading of the rows would give."""
    begun = plainly(lane, direction=direction)
    assert begun is not None
    assert begun.transfer_id is not None
    assert begun.outcome is not None
    seen, known = lane.get(begun.transfer_id), begun.outcome.transfer
    assert known.legs == seen.legs
    assert (known.state, known.version, known.lease_epoch) == (seen.state, seen.version, seen.lease_epoch)
    lane.audit()


@pytest.mark.parametrize(
    ("condition", "direction"), [(condition, way) for condition, ways in CONDITIONS.items() for way in ways]
)
def test_a_begin_that_loses_writes_nothing(lane: Bench, condition: Callable[[Bench], None], direction: str) -> None:
    """I-05 I-20 Design §6: insert first, and everything else only from what was inserted."""
    condition(lane)
    before = everything(lane)
    assert plainly(lane, direction=direction) is None
    assert everything(lane) == before


def test_a_transfer_that_was_spoken_of_is_not_begun_in_one_stroke(lane: Bench) -> None:
    """C-61 What a provider told of a reference before it was begun is acted on first."""

    class Told(Ids):
        def new(self, prefix: str) -> str:
            return f"{prefix}_{7:032x}"

    object.__setattr__(lane.runtime, "ids", Told())
    about = {"provider": PROVIDER, "reference": f"{7:032x}2"}
    moments = {"sent_at": 1, "received_at": 1}
    write(lane, "inbox", id=1, message_id="m", kind="k", body="{}", digest="", peer="", **about, **moments)
    write(lane, "inbox_task", inbox_id=1, state="parked", wake_at=1, failures=0, reason="", **about)
    before = everything(lane)
    assert plainly(lane) is None
    assert everything(lane) == before
    execute(lane, "UPDATE inbox_task SET state = 'done', wake_at = NULL")
    assert plainly(lane) is not None


def test_a_revoked_key_begins_nothing(lane: Bench) -> None:
    """I-42's rule for keys: revoked is revoked from its commit on, also for who was let in a moment ago."""
    key_id, secret = keys.create(lane.runtime, OPERATOR, ["transfers", "read"], "ann")
    caller = keys.caller(lane.runtime, secret)
    assert caller is not None
    assert plainly(lane, "one", "out", caller) is not None
    other = Caller(caller.operator_id, caller.operator, caller.key_id, frozenset({keys.Scope.ADMIN}), caller.digest)
    before = everything(lane)
    assert plainly(lane, "two", "out", other) is None, "with other scopes than it has now"
    keys.revoke(lane.runtime, key_id)
    before["api_key"] = everything(lane)["api_key"]
    assert plainly(lane, "two", "out", caller) is None
    assert everything(lane) == before


def test_what_cannot_be_stored_as_text_is_not_cut_off(lane: Bench) -> None:
    """A NUL, which libpq would take for the end of the text, and PostgreSQL does not store: nothing of it is written by
    a stroke. SQLite stores it as it is."""
    before = everything(lane)
    begun = plainly(lane, "one\0two")
    if lane.runtime.engine.dialect.name == "postgresql":
        assert begun is None
        assert everything(lane) == before
    else:
        assert begun is not None
        assert everything(lane)["idempotency_key"][-1]["key"] == "one\0two"


def test_two_begins_of_one_lane_at_one_instant(lanes: Bench) -> None:
    """C-34 Of eight begins on a clear lane one is begun, however close they come; the others write nothing."""
    for turn in range(12):
        player = lanes.player(f"p{turn}")
        wish = lanes.wish("in", "1.00", player)

        def one(number: int, wish: Any = wish, turn: int = turn) -> Begun | None:
            return begin_plainly(lanes.runtime, Key(lanes.operator, TRANSFER, f"{turn}-{number}"), wish)

        results = together(8, one)
        assert not any(isinstance(result, Exception) for result in results), results
        assert sum(result is not None for result in results) == 1
        assert len(lanes.rows("SELECT id FROM transfer WHERE player_id = :p", p=player)) == 1
        assert len(lanes.rows("SELECT key FROM idempotency_key WHERE key LIKE :p", p=f"{turn}-%")) == 1
    lanes.audit()


def test_one_key_at_one_instant(lanes: Bench) -> None:
    """I-20 I-24 Eight strokes with one key take it once."""
    for turn in range(12):
        player = lanes.player(f"p{turn}")
        wish = lanes.wish("out", "1.00", player)
        key = Key(lanes.operator, TRANSFER, f"key {turn}")
        results = together(8, lambda _number, key=key, wish=wish: begin_plainly(lanes.runtime, key, wish))
        assert sum(isinstance(result, Begun) for result in results) == 1, results
        assert len(lanes.rows("SELECT id FROM transfer WHERE player_id = :p", p=player)) == 1
    lanes.audit()


@pytest.mark.parametrize(("policy", "direction"), [("block", "out"), ("opposite", "out"), ("allow", "in")])
def test_a_wallet_in_another_currency_matters_to_no_other_transfer(
    migrated_url: str, hands: Hands, one: ScriptedOne, policy: str, direction: str
) -> None:
    """Where transfers in may run beside each other, and for every transfer out, there is no lane to be kept."""
    with bench(migrated_url, clock=hands, provider=one, **{**ONE_TIMES, "lane_policy": policy}) as desk:
        there_is_a_wallet_in_another_currency(desk)
        assert plainly(desk, direction=direction) is not None


@contextmanager
def under_way(desk: Bench, statement: str, **values: Any) -> Iterator[Any]:
    """Another transaction that has executed a statement and has not ended."""
    other = desk.runtime.engine.connect()
    try:
        assert other.execute(text(statement), values).rowcount == 1
        yield other
    finally:
        other.close()


def waits(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """`work` in a thread that has to wait for somebody."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()
    thread.join(0.3)
    assert thread.is_alive(), results
    return thread, results


OTHERS = {
    "another posting": "UPDATE account SET balance = balance - 1, version = version + 1 "
    "WHERE account = 'wallet:ann' AND currency = 'EUR'",
    "the money taken": "UPDATE account SET balance = 0, version = version + 1 WHERE account = 'wallet:ann'",
    "the same key": "INSERT INTO idempotency_key (operator_id, operation, key, body, answered, created_at) "
    "SELECT id, 'transfer', 'one', '{}', FALSE, 1 FROM operator",
}


def soon(work: Callable[[], Any]) -> Any:
    """What `work` comes to, which must not wait for somebody."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(work()), daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive(), "it waits"
    return results[0]


@pytest.mark.parametrize("other", OTHERS)
def test_a_begin_waits_for_nobody_long(lanes: Bench, other: str) -> None:
    """C-34 I-57 I-42's rule for keys: after a wait a stroke would go by the gates, the lane and the API key as it saw
    them before. It gives up instead, and the long way reads them after the wait."""
    key_id, secret = keys.create(lanes.runtime, OPERATOR, ["transfers"], "ann")
    caller = keys.caller(lanes.runtime, secret)
    with under_way(lanes, OTHERS[other]):
        before = everything(lanes)
        assert soon(lambda: plainly(lanes, caller=caller)) is None
        assert everything(lanes) == before
    keys.revoke(lanes.runtime, key_id)
    assert plainly(lanes, caller=caller) is None
    lanes.audit()


def _breaker_opens(desk: Bench) -> None:
    write(desk, "breaker", provider=PROVIDER, open=True, counted_from=0, probe_at=0, version=1)


MEANWHILE: dict[str, Callable[[Bench], object]] = {
    "switch closed": lambda desk: gates.pause(desk.runtime, PROVIDER, "maintenance", "ann"),
    "breaker open": _breaker_opens,
    "lane taken": lambda desk: desk.begin("out", "1.00"),
}


@pytest.mark.parametrize("stroke_first", [True, False], ids=["stroke", "long way"])
@pytest.mark.parametrize("happens", MEANWHILE)
def test_what_happens_while_a_begin_waits_counts(lanes: Bench, happens: str, *, stroke_first: bool) -> None:
    """C-34 I-57 A gate that is closed, or a lane that is taken, while a begin waits for its key or its wallet."""

    def work() -> Any:
        try:
            return begin(lanes.runtime, lanes.operator, "one", lanes.wish(), plainly=stroke_first)
        except (Unavailable, LaneUnresolved) as refused:
            return refused

    with under_way(lanes, OTHERS["another posting" if happens == "lane taken" else "the same key"]) as transaction:
        thread, results = waits(work)
        MEANWHILE[happens](lanes)
        transaction.rollback()
        thread.join(20)
    assert isinstance(results[0], LaneUnresolved if happens == "lane taken" else Unavailable)
    assert lanes.rows("SELECT id FROM transfer WHERE direction = 'in'") == []
    lanes.audit()


@pytest.mark.parametrize("stroke_first", [True, False], ids=["stroke", "long way"])
def test_two_begins_of_one_lane_in_two_currencies(lanes: Bench, *, stroke_first: bool) -> None:
    """C-34 A lane is a player at a provider, whatever the currency: two wallets make nobody wait."""
    there_is_a_wallet_in_another_currency(lanes)
    cashier.move(lanes.runtime, lanes.operator, "deposit", "dollars", cashier.CashWish(PLAYER, "100.00", "USD"))

    def work(currency: str) -> Any:
        wish = replace(lanes.wish("in", "1.00"), currency=currency)
        try:
            return begin(lanes.runtime, lanes.operator, currency, wish, plainly=stroke_first)
        except LaneUnresolved as refused:
            return refused

    with under_way(lanes, OTHERS["another posting"]) as transaction:
        first, begun = waits(lambda: work("EUR"))
        second, refused = waits(lambda: work("USD"))
        transaction.rollback()
        first.join(20), second.join(20)
    assert isinstance(begun[0], Begun)
    assert isinstance(refused[0], LaneUnresolved)
    lanes.audit()


@contextmanager
def no_line_to_be_had(desk: Bench) -> Iterator[None]:
    """All connections of the pool are in use; SQLite's lock is somebody else's."""
    engine = desk.runtime.engine
    with ExitStack() as held:
        if engine.dialect.name == "postgresql":
            for _ in range(desk.runtime.config.database.pool_size):
                held.enter_context(engine.connect())
        else:
            other = sqlite3.connect(str(engine.url.database), isolation_level=None, check_same_thread=False)
            held.enter_context(closing(other))
            other.execute("BEGIN IMMEDIATE")
        yield


@pytest.mark.parametrize("stroke_first", [True, False], ids=["stroke", "long way"])
def test_a_begin_that_waited_for_its_line_has_all_its_time(lane: Bench, hands: Hands, *, stroke_first: bool) -> None:
    """The request's window and the lease begin after the wait: one that was shut by then would have the
    transfer reversed as never sent, though nothing was wrong."""
    with no_line_to_be_had(lane):
        thread, results = waits(lambda: lane.begin(plainly=stroke_first))
        hands.turn(6)
    thread.join(20)
    outcome = results[0].outcome
    slack = lane.runtime.config.engine.lease_slack_seconds
    assert outcome.order.window.not_after == min(hands.mono + slack, outcome.order.window.deadline) > hands.mono
    assert outcome.transfer.created_at == hands.wall
    assert lane.row(outcome.transfer.id)["wake_at"] > hands.wall
    assert drive(lane.runtime, outcome).transfer.state.value == "confirmed"
    lane.audit()


@pytest.mark.parametrize("other", ["the same key", "another posting"])
def test_a_begin_that_waited_holds_its_lease_as_long(lanes: Bench, hands: Hands, other: str) -> None:
    """I-30 On the long way the window and the lease begin at one instant, after every wait: else the request outlived
    the lease, or could not leave any more, and the provider was called unreachable for it."""
    with under_way(lanes, OTHERS[other]) as transaction:
        thread, results = waits(lambda: lanes.begin(key="one", plainly=False))
        hands.turn(60)
        transaction.rollback()
        thread.join(20)
    outcome, window = results[0].outcome, results[0].outcome.order.window
    left = (lanes.row(outcome.transfer.id)["wake_at"] - hands.wall) / SECOND
    assert left > window.deadline - hands.mono >= window.not_after - hands.mono > 0


def test_an_end_that_waited_for_its_line_is_decided_afterwards(lane: Bench, hands: Hands) -> None:
    """What is written as of an instant was decided at that instant."""
    outcome, fact = answered(lane)
    with no_line_to_be_had(lane):
        thread, results = waits(lambda: end(lane.runtime, outcome, fact))
        hands.turn(6)
    thread.join(20)
    assert results[0].transfer.state.value == "confirmed"
    assert lane.row(outcome.transfer.id)["settled_at"] == hands.wall
    lane.audit()


@pytest.mark.parametrize("way", ["stroke", "long way", "withdrawal"])
def test_no_wallet_was_below_zero_as_of_any_instant(
    tmp_path: Path, migrated_sqlite_file: Path, hands: Hands, one: ScriptedOne, way: str
) -> None:
    """I-05 On SQLite, where one writes at a time: whoever waited while money came in takes it out after that."""
    shutil.copyfile(migrated_sqlite_file, tmp_path / "bridge.db")
    with bench(f"sqlite:///{tmp_path / 'bridge.db'}", clock=hands, provider=one, **ONE_TIMES) as desk:
        players.register(desk.runtime, desk.operator, "poor", ["EUR"])

        def take() -> Any:
            if way == "withdrawal":
                return desk.cash("withdrawal", "poor", "5.00")
            return desk.begin("in", "5.00", player="poor", plainly=way == "stroke")

        with db.writing(desk.runtime.engine) as connection:
            thread, results = waits(take)
            hands.turn(1)
            came = hands.now()
            row = {"player_id": "poor", "kind": "deposit", "amount": 500, "currency": "EUR", "idempotency_key": "k"}
            movement = insert(metadata.tables["cash_movement"])
            connection.execute(movement.values(id="cm", operator_id=desk.operator, created_at=came, **row))
            cause = ledger.Cause(desk.operator, "poor", "EUR", 1, came, cash_movement_id="cm")
            ledger.post(connection, cause, ledger.CASHIER, ledger.wallet("poor"), 500)
        thread.join(20)
        assert results
        assert players.funds(desk.runtime, desk.operator, "poor", came - 1)[0].wallet == 0
        assert players.funds(desk.runtime, desk.operator, "poor")[0].wallet == 0
        desk.audit()


@pytest.mark.parametrize("commits", [True, False], ids=["commits", "rolls back"])
@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.usefixtures("patient")
def test_a_begin_waits_for_another_and_sees_what_became_of_it(lanes: Bench, other: str, *, commits: bool) -> None:
    """C-28 C-34 Under READ COMMITTED a statement that waited goes on with the newest row: it must not pass then by what
    it had seen elsewhere before."""
    before = everything(lanes)
    with under_way(lanes, OTHERS[other]) as transaction:
        thread, results = waits(lambda: plainly(lanes))
        transaction.commit() if commits else transaction.rollback()
        thread.join(20)
    if not commits:
        assert isinstance(results[0], Begun)
        lanes.audit()
        return
    assert results == [None]
    left = everything(lanes)
    assert {name for name in left if left[name] != before[name]} <= {"account", "idempotency_key"}
    assert len(left["idempotency_key"]) == len(before["idempotency_key"]) + (other == "the same key")


# --- the end ------------------------------------------------------------------------------------------------


def answered(desk: Bench, direction: str = "in") -> tuple[Outcome, Fact]:
    """A transfer whose request is committed and answered, and nothing of the answer is written."""
    outcome = desk.begin(direction, "10.00").outcome
    assert outcome is not None
    assert outcome.order is not None
    return outcome, perform(desk.runtime, outcome.order)


def id_of(outcome: Outcome) -> dict[str, Any]:
    """The value of `:id`."""
    return {"id": outcome.transfer.id}


def _claimed(desk: Bench, outcome: Outcome) -> None:
    desk.runtime.clock.sleep(60)
    assert outcome.transfer.id in {claim.transfer_id for claim in resolve.claim_due(desk.runtime, 50)}


def _called_back(desk: Bench, outcome: Outcome) -> None:
    one: Any = desk.runtime.providers[PROVIDER]
    told = one.callback(outcome.transfer.outside.reference)
    fact = Fact(told.reply, told.source, desk.runtime.clock.now(), ordinal=outcome.transfer.outside.ordinal)
    advance(desk.runtime, outcome.transfer.id, None, fact)


CHANGES: dict[str, Callable[[Bench, Outcome], Any]] = {
    "cancel wished": lambda desk, outcome: wishing.cancel(desk.runtime, desk.operator, outcome.transfer.id),
    "claimed by another": _claimed,
    "told by callback": _called_back,
    "marked as restored": lambda desk, outcome: execute(
        desk, "UPDATE transfer SET rewound_at = 1 WHERE id = :id", **id_of(outcome)
    ),
    "failed": lambda desk, outcome: execute(desk, "UPDATE transfer SET failures = 1 WHERE id = :id", **id_of(outcome)),
    "ended": lambda desk, outcome: drive(desk.runtime, outcome),
}


@pytest.mark.parametrize("direction", ["in", "out"])
@pytest.mark.parametrize("change", CHANGES)
def test_an_end_that_loses_writes_nothing_and_drops_nothing(lone: Bench, change: str, direction: str) -> None:
    """I-10 I-30 C-05 Each thing that another worker can have changed meanwhile: the stroke writes nothing, and then the
    answer is stored all the same."""
    outcome, fact = answered(lone, direction)
    CHANGES[change](lone, outcome)
    before = everything(lone)
    closing = Closing(Key(lone.operator, TRANSFER, "key-1"), 201, lambda story: str(story.row["state"]))
    assert end(lone.runtime, outcome, fact, closing) is None
    assert everything(lone) == before
    calls = len(lone.rows("SELECT id FROM evidence WHERE source = 'call'"))
    assert outcome.order is not None
    after = advance(lone.runtime, outcome.transfer.id, outcome.order.claim, fact)
    assert len(lone.rows("SELECT id FROM evidence WHERE source = 'call'")) == calls + 1
    assert after.transfer.state.value == "confirmed"
    lone.audit()


@pytest.mark.parametrize("commits", [True, False], ids=["commits", "rolls back"])
@pytest.mark.usefixtures("patient")
def test_an_end_waits_for_another_and_sees_what_became_of_it(lanes: Bench, *, commits: bool) -> None:
    """C-28 The row is held by somebody who moves it: what waited finds another version, and writes nothing."""
    outcome, fact = answered(lanes)
    before = everything(lanes)
    with under_way(lanes, "UPDATE transfer SET version = version + 1 WHERE id = :id", **id_of(outcome)) as transaction:
        thread, results = waits(lambda: end(lanes.runtime, outcome, fact))
        transaction.commit() if commits else transaction.rollback()
        thread.join(20)
    if not commits:
        assert results[0].transfer.state.value == "confirmed"
        lanes.audit()
        return
    assert results == [None]
    left = everything(lanes)
    assert {name for name in left if left[name] != before[name]} == {"transfer"}


HELD = {
    "the transfer": "UPDATE transfer SET version = version + 1",
    "its wallet": OTHERS["another posting"],
    "its key": "UPDATE idempotency_key SET answered = TRUE WHERE operation = 'transfer'",
}


@pytest.mark.parametrize("held", HELD)
def test_an_end_waits_for_nobody_long(lanes: Bench, held: str) -> None:
    """C-28 I-30 The long way, which reads everything after its waits, stores what was said."""
    outcome, fact = answered(lanes, "out")
    closing = Closing(Key(lanes.operator, TRANSFER, f"key-{lanes.made}"), 201, lambda _story: "told")
    with under_way(lanes, HELD[held]):
        before = everything(lanes)
        assert soon(lambda: end(lanes.runtime, outcome, fact, closing)) is None
        assert everything(lanes) == before
    assert end(lanes.runtime, outcome, fact, closing) is not None
    lanes.audit()


def test_an_answer_that_was_given_before_is_the_one_that_counts(lone: Bench) -> None:
    """I-21 Where the key keeps another answer already, the transfer ends, and nobody is told that ours was kept."""
    outcome, fact = answered(lone)
    key = f"key-{lone.made}"
    execute(lone, "UPDATE idempotency_key SET status = 201, response = 'first', answered = TRUE WHERE key = :k", k=key)
    ended = end(lone.runtime, outcome, fact, Closing(Key(lone.operator, TRANSFER, key), 201, lambda _story: "second"))
    assert ended is not None
    assert (ended.transfer.state.value, ended.answer) == ("confirmed", "")
    (kept,) = lone.rows("SELECT response FROM idempotency_key WHERE key = :key", key=key)
    assert kept["response"] == "first"


def test_one_answer_brought_by_eight_is_one_end(lanes: Bench) -> None:
    """I-10 C-28 Eight who know the same answer: one end, one posting, one answer kept."""
    for turn in range(12):
        player = lanes.player(f"p{turn}")
        outcome = lanes.begin("in", "1.00", player=player).outcome
        assert outcome is not None
        assert outcome.order is not None
        fact = perform(lanes.runtime, outcome.order)
        results = together(8, lambda _number, outcome=outcome, fact=fact: end(lanes.runtime, outcome, fact))
        assert sum(isinstance(result, Outcome) for result in results) == 1, results
    lanes.audit()


@pytest.mark.parametrize("word", [LOST, PENDING, REFUSED_DOOR, HALF, "wrong_amount"])
def test_an_end_that_is_not_plain_is_not_written_in_one_stroke(
    lone: Bench, one: ScriptedOne, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What proves nothing, in part, or something else goes the long way from the start."""
    one.script = [word]
    outcome, fact = answered(lone)
    monkeypatch.setattr(stroke.Stroke, "strike", lambda *_given: pytest.fail("struck"))
    assert (end(lone.runtime, outcome, fact) is None) or word == REFUSED_DOOR


def test_a_prepared_half_takes_no_line(still: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prepare never ends a transfer: no connection, and on SQLite no write lock, is taken to find that out."""
    outcome, fact = answered(still)
    assert fact.reply.answer is Answer.RESERVED
    monkeypatch.setattr(stroke, "line", lambda _engine: pytest.fail("a line was taken"))
    assert end(still.runtime, outcome, fact) is None


def test_an_answer_that_cannot_be_rendered_is_stored_first(lone: Bench) -> None:
    """I-14 C-05 Whatever is wrong with our own words for it: what the provider said is evidence, and it ends."""
    outcome, fact = answered(lone)

    def broken(_story: Any) -> str:
        raise RuntimeError("no words")

    before = everything(lone)
    closing = Closing(Key(lone.operator, TRANSFER, f"key-{lone.made}"), 201, broken)
    assert end(lone.runtime, outcome, fact, closing) is None
    assert everything(lone) == before
    after = drive(lone.runtime, outcome, closing=closing)
    assert (after.transfer.state.value, after.answer) == ("confirmed", "")
    (said,) = lone.rows("SELECT answer FROM evidence WHERE source = 'call'")
    assert said["answer"] == "applied"
    lone.audit()


@pytest.mark.parametrize("direction", ["in", "out"])
@pytest.mark.parametrize("word", ["ok", REFUSES])
def test_an_end_in_one_stroke_is_what_its_rows_say(lone: Bench, one: ScriptedOne, direction: str, word: str) -> None:
    """I-14 I-21 What comes back is what a reading of the rows would give, and the answer stands with its key."""
    one.script = [word]
    outcome, fact = answered(lone, direction)
    key = f"key-{lone.made}"
    closing = Closing(
        Key(lone.operator, TRANSFER, key), 201, lambda story: f"{story.row['state']} {len(story.legs)}"
    )
    ended = end(lone.runtime, outcome, fact, closing)
    assert ended is not None
    with db.reading(lone.runtime.engine) as connection:
        seen = load(connection, ended.transfer.id)
    assert seen is not None
    assert (ended.transfer.legs, ended.transfer.state, ended.transfer.version) == (seen.legs, seen.state, seen.version)
    assert ended.answer == f"{seen.state.value} {len(seen.legs)}"
    (kept,) = lone.rows("SELECT status, response, answered FROM idempotency_key WHERE key = :key", key=key)
    assert (kept["status"], kept["response"], bool(kept["answered"])) == (201, ended.answer, True)
    lone.audit()
