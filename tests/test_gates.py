"""The gates before transfers in: a cap that no crowd gets past, a switch that lets money come home."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event, text

from bridge import db, doctor, gates
from bridge.app import compose
from bridge.errors import Invalid, NotFound, Refusal, Unavailable
from bridge.money import AmountRefused
from bridge.transfers.begin import Begun
from tests.harness import EUR, PROVIDER, Bench, Hands, bench, configured, together
from tests.transfers.conftest import REAL_TIMES
from tests.transfers.scripted import DROPPED, OK, WRONG_AMOUNT, ScriptedProvider

WORKERS = 12
CAPPED = {**REAL_TIMES, "exposure_caps": {EUR: "50.00"}, "lane_policy": "allow"}


@pytest.fixture
def hands() -> Hands:
    """The clock."""
    return Hands()


@pytest.fixture
def provider(hands: Hands) -> ScriptedProvider:
    """A provider that does as it is told."""
    return ScriptedProvider(hands)


@pytest.fixture
def desk(migrated_url: str, hands: Hands, provider: ScriptedProvider) -> Iterator[Bench]:
    """A bridge that lets 50.00 be unresolved at its provider."""
    with bench(migrated_url, clock=hands, provider=provider, **CAPPED) as made:
        yield made


def refused(desk: Bench, *wish: str, **options: Any) -> Refusal:
    """The refusal that a Begin meets."""
    with pytest.raises(Refusal) as met:
        desk.begin(*wish, queued=True, **options)
    return met.value


def exposure(desk: Bench) -> int:
    """Unresolved value in, in cents, by a sum of this test's own."""
    held = "SELECT COALESCE(SUM(amount), 0) AS held FROM transfer WHERE state IN ('pending', 'orphaned')"
    return int(desk.rows(f"{held} AND direction = 'in'")[0]["held"])


# --- the cap ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [False, True], ids=["the first ever", "after others"])
def test_a_crowd_gets_exactly_the_room_that_there_is(desk: Bench, known: bool) -> None:
    """I-57, C-34: twelve Begins at one instant, room for five: five begin and seven are refused, also when nobody
    has ever been there and there is no row yet that could be locked."""
    players = [desk.player(f"p{number}") for number in range(WORKERS)]
    if known:
        desk.run("in", "1.00")

    met = together(WORKERS, lambda n: desk.begin("in", "10.00", player=players[n], key=f"crowd-{n}", queued=True))

    begun = [each for each in met if isinstance(each, Begun)]
    turned_away = [each.code for each in met if isinstance(each, Unavailable)]
    assert (len(begun), turned_away) == (5, ["exposure_cap"] * 7), met
    assert exposure(desk) == 5000
    assert len(desk.rows("SELECT 1 FROM idempotency_key WHERE key LIKE 'crowd-%'")) == 5
    desk.audit()


def test_the_cap_holds_at_every_commit(desk: Bench) -> None:
    """I-57: ten workers begin amounts of every size while two resolve what was begun: whatever another connection
    sees, at any instant, is at most the cap; and at the end all of the room is there again."""
    players = [desk.player(f"p{number}", "1000.00") for number in range(10)]
    seen, codes, over = [], set(), threading.Event()

    def watch() -> None:
        while not over.is_set():
            seen.append(exposure(desk))

    def work(number: int) -> int:
        if number >= len(players):
            return sum(desk.resolve_due(3) for _ in range(40))
        begun = 0
        for turn in range(12):
            amount = f"{1 + (number * 7 + turn * 5) % 19}.{turn:02}"
            try:
                desk.begin("in", amount, player=players[number], key=f"busy-{number}-{turn}", queued=True)
                begun += 1
            except Unavailable as gone:
                codes.add(gone.code)
        return begun

    watcher = threading.Thread(target=watch)
    watcher.start()
    done = together(len(players) + 2, work)
    over.set()
    watcher.join()

    assert [each for each in done if isinstance(each, Exception)] == []
    assert 4000 < max(seen) <= 5000
    assert codes == {"exposure_cap"}
    while desk.resolve_due():
        pass
    assert exposure(desk) == 0
    desk.begin("in", "50.00", player=players[0], key="all-of-the-room", queued=True)
    assert exposure(desk) == 5000
    desk.audit()


def test_what_does_not_fit_is_refused_and_keeps_its_key(desk: Bench, provider: ScriptedProvider) -> None:
    """I-57, I-26: the refusal names the cap and what is used, stores nothing and moves nothing; when room is there
    again, the same key begins."""
    provider.script = [DROPPED, DROPPED]
    desk.run("in", "45.00", ask=-1)
    wallet = desk.wallet()

    met = refused(desk, "in", "5.01", key="kept")

    assert (met.status, met.code, met.retry.value) == (503, "exposure_cap", "after")
    assert "50.00 EUR" in met.detail
    assert "45.00" in met.detail
    assert 1 <= (met.after_seconds or 0) <= gates.CAP_WAIT_AT_MOST
    assert desk.rows("SELECT * FROM idempotency_key WHERE key = 'kept'") == []
    assert desk.wallet() == wallet
    desk.begin("in", "5.00", queued=True)
    assert exposure(desk) == 5000

    while exposure(desk):
        desk.runtime.clock.sleep(5)
        desk.resolve_due()
    assert desk.begin("in", "5.01", key="kept", queued=True).transfer_id is not None


def test_an_amount_above_the_whole_cap_is_told_so(desk: Bench) -> None:
    """I-57: no waiting would bring it under the cap, so it is not told to wait: 422 on its amount."""
    met = refused(desk, "in", "50.01")

    assert isinstance(met, Invalid)
    assert met.fields == {"amount": "exceeds 50.00, all that may be unresolved at sim at once"}
    assert desk.begin("in", "50.00", queued=True).transfer_id is not None


def test_orphans_count_and_transfers_out_do_not(desk: Bench, provider: ScriptedProvider) -> None:
    """I-57: value whose place is not proved is unresolved, pending or orphaned; what comes home is never counted."""
    provider.script = [OK, WRONG_AMOUNT]
    orphan = desk.run("in", "30.00")
    assert desk.row(orphan)["state"] == "orphaned"
    desk.begin("out", "45.00", queued=True)

    assert refused(desk, "in", "20.01").code == "exposure_cap"
    assert desk.begin("in", "20.00", queued=True).transfer_id is not None


def test_full_exposure_stops_neither_out_nor_what_is_under_way(desk: Bench, provider: ScriptedProvider) -> None:
    """I-57: at the cap, transfers out begin and end, and what fills the cap is driven to its own end."""
    filling = desk.begin("in", "50.00", queued=True).transfer_id
    assert filling is not None
    assert refused(desk, "in", "0.01").code == "exposure_cap"

    out = desk.run("out", "70.00")
    assert desk.row(out)["state"] == "confirmed"
    desk.resolve_due()
    assert desk.row(filling)["state"] == "confirmed"
    assert provider.net("ann") == 5000 - 7000
    assert desk.row(desk.run("in", "0.01"))["state"] == "confirmed"
    desk.audit()


def test_a_cap_is_of_its_own_provider_and_currency(migrated_url: str, hands: Hands) -> None:
    """I-57: without a cap on a currency there is no bound and no lock; the cap of another changes nothing."""
    settings = {**CAPPED, "currencies": (EUR, "SEK"), "exposure_caps": {"SEK": "1.00"}}
    with bench(migrated_url, clock=hands, provider=ScriptedProvider(hands), **settings) as made:
        made.begin("in", "900.00", queued=True)

        assert made.rows("SELECT * FROM exposure") == []


def test_the_sum_reads_only_the_index_of_what_is_unresolved(desk: Bench) -> None:
    """I-57: the sum under the lock costs what is unresolved, not what ever was: it is found by its own index."""
    statement = gates._UNRESOLVED_IN.text
    query = f"SELECT SUM(amount) FROM transfer WHERE provider = 'sim' AND currency = 'EUR' AND {statement}"
    with db.writing(desk.runtime.engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL enable_seqscan = off"))
            plan = connection.execute(text(f"EXPLAIN {query}")).all()
        else:
            plan = connection.execute(text(f"EXPLAIN QUERY PLAN {query}")).all()

    assert "ix_transfer_unresolved" in str(plan)


@pytest.mark.parametrize(
    ("cap", "why"),
    [
        ("50.001", "has more than the 2 decimals of EUR"),
        ("0.00", "must be greater than zero"),
        ("5e3", 'must be a plain decimal number in a string, such as "25.00"'),
        ("5,000.00", 'must be a plain decimal number in a string, such as "25.00"'),
    ],
)
def test_a_cap_that_is_no_exact_amount_prevents_the_start(cap: str, why: str) -> None:
    """I-57, I-08: it is refused by the name of its key, in one sentence, before a database is asked."""
    config = configured("sqlite:////nowhere/bridge.db", exposure_caps={EUR: cap})
    with pytest.raises(AmountRefused):
        compose(config)
    with pytest.raises(doctor.CannotStart) as met:
        doctor.bridge(config)
    assert str(met.value) == f"The configuration cannot be used: providers.sim.exposure_caps.EUR {why}."


# --- the switch ---------------------------------------------------------------------------------------


def test_a_closed_switch_refuses_in_and_lets_money_home(desk: Bench, provider: ScriptedProvider) -> None:
    """Design §3, rule 10: in is refused with nothing stored and the key unused; out, and what is under way, end;
    opened again, the same key begins."""
    under_way = desk.begin("in", "5.00", queued=True).transfer_id
    assert under_way is not None
    gates.pause(desk.runtime, PROVIDER, "their certificate expires tonight", "ops")

    met = refused(desk, "in", "1.00", key="kept")
    assert (met.status, met.code, met.retry.value) == (503, "provider_paused", "after")
    assert met.after_seconds == gates.CLOSED_WAIT_SECONDS
    assert "certificate" not in met.detail, "what people write there is not for clients"
    assert desk.rows("SELECT * FROM idempotency_key WHERE key = 'kept'") == []
    assert desk.row(desk.run("out", "7.00"))["state"] == "confirmed"
    desk.resolve_due()
    assert desk.row(under_way)["state"] == "confirmed"

    assert gates.resume(desk.runtime, PROVIDER, "ops").reason == "their certificate expires tonight"
    assert desk.row(desk.run("in", "1.00", key="kept"))["state"] == "confirmed"
    assert provider.net("ann") == 500 - 700 + 100


def test_once_closed_no_later_begin_of_a_crowd_gets_in(desk: Bench) -> None:
    """Design §3, rule 10: eight workers begin as fast as they can while the switch is closed: each that is refused
    stays refused, and none that came after the commit of the switch got in."""
    players = [desk.player(f"p{number}", "1000.00") for number in range(9)]
    closed_at: list[int] = []
    begun: list[tuple[int, int]] = []
    codes: set[str] = set()
    count = iter(range(10**9))

    def work(number: int) -> None:
        if number == 0:
            while len(begun) < 20:
                time.sleep(0.01)
            gates.pause(desk.runtime, PROVIDER, "stop", "ops")
            closed_at.append(next(count))
            return
        for turn in range(100_000):
            started = next(count)
            try:
                desk.begin("in", "0.01", player=players[number], key=f"crowd-{number}-{turn}", queued=True)
            except Unavailable as gone:
                codes.add(gone.code)
                return
            begun.append((number, started))

    assert [each for each in together(9, work) if each is not None] == []

    assert codes == {"provider_paused"}
    assert max(started for _, started in begun) < closed_at[0]
    assert len(desk.rows("SELECT 1 FROM transfer")) == len(begun)


def test_a_restored_provider_says_so_and_who_pauses_it_keeps_it(desk: Bench) -> None:
    """Design §3, rule 10: the cause decides the code; a person's pause outlives the cause restored, whichever came
    first, so that no machine opens what a person has closed."""
    runtime = desk.runtime
    with db.writing(runtime.engine) as connection:
        gates.close_restored(connection, [PROVIDER], "set back", "worker", runtime.clock.now())
    assert refused(desk, "in").code == "provider_restored"
    with db.reading(runtime.engine) as connection:
        (seen,) = gates.closed(connection)
    gates.pause(runtime, PROVIDER, "no more", "ops")
    assert refused(desk, "in").code == "provider_paused"
    with db.writing(runtime.engine) as connection:
        assert not gates.found_right(connection, seen)
        gates.close_restored(connection, [PROVIDER], "set back again", "worker", runtime.clock.now())
    with db.reading(runtime.engine) as connection:
        (kept,) = gates.closed(connection, PROVIDER)
    assert (kept.cause, kept.actor) == ("paused", "worker")
    assert kept.reason == "set back again (closed before: no more (closed before: set back))"


@pytest.mark.parametrize("migrated_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("restored", [False, True], ids=["paused", "restored"])
def test_closing_is_not_lost_against_an_opening(desk: Bench, restored: bool) -> None:
    """Design §3, rule 10; C-58: somebody opens a provider between the two statements of whoever closes it: it is closed
    afterwards. (On SQLite nobody gets between them.)"""
    runtime, opened = desk.runtime, []
    gates.pause(runtime, PROVIDER, "before", "ann")

    def open_it(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        if "FOR UPDATE" in statement and not opened:
            opened.append(statement)
            gates.resume(runtime, PROVIDER, "bob")

    event.listen(runtime.engine, "before_cursor_execute", open_it)
    if restored:
        with db.writing(runtime.engine) as connection:
            gates.close_restored(connection, [PROVIDER], "set back", "worker", runtime.clock.now())
    else:
        gates.pause(runtime, PROVIDER, "no more", "mia")

    assert len(opened) == 1
    assert refused(desk, "in").code == ("provider_restored" if restored else "provider_paused")


def test_only_the_switch_that_was_swept_is_opened(desk: Bench, hands: Hands) -> None:
    """C-58: a sweep that began before a second restore does not open what the second one closed."""
    runtime = desk.runtime
    for reason in ("first", "second"):
        with db.writing(runtime.engine) as connection:
            gates.close_restored(connection, [PROVIDER], reason, "worker", runtime.clock.now())
            (seen,) = gates.closed(connection)
        if reason == "first":
            first = seen
            hands.turn(1)
    with db.writing(runtime.engine) as connection:
        assert not gates.found_right(connection, first)
        assert gates.found_right(connection, seen)
        assert gates.closed(connection) == []


def test_pausing_and_resuming_what_is_not_there_is_told(desk: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    """Design §8: names that mean nothing are told; each change of a switch leaves a line in the log, with its actor."""
    with pytest.raises(NotFound, match="There is no provider 'none' in the configuration"):
        gates.pause(desk.runtime, "none", "why", "ops")
    with pytest.raises(NotFound, match="Transfers into 'sim' are not closed"):
        gates.resume(desk.runtime, PROVIDER, "ops")
    capfd.readouterr()
    gates.pause(desk.runtime, PROVIDER, "why", "ann of operations")
    gates.resume(desk.runtime, PROVIDER, "bob of operations")

    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [(line["event"], line["actor"], line["reason"]) for line in lines] == [
        ("provider paused", "ann of operations", "why"),
        ("provider resumed", "bob of operations", "why"),
    ]


@pytest.mark.parametrize("reason", ["", "  x ", "no\u202eitaerc", "bell\x07 rang", "x" * 501])
def test_a_switch_is_closed_for_a_reason(desk: Bench, reason: str) -> None:
    """Whoever finds it closed at night reads why: the command line needs a reason as the desk does; it is kept without
    the blanks around it."""
    with pytest.raises(Invalid) as refused:
        gates.pause(desk.runtime, PROVIDER, reason, "ops")
    assert set(refused.value.fields) == {"reason"}
    assert desk.rows("SELECT * FROM switch") == []
    gates.pause(desk.runtime, PROVIDER, " their certificate\nexpires ", "ops")
    assert [each["reason"] for each in desk.rows("SELECT reason FROM switch")] == ["their certificate\nexpires"]


def test_the_database_refuses_a_switch_against_money_that_comes_home(desk: Bench) -> None:
    """Design §3, rules 10 and 11: not even a statement typed by hand closes a provider for transfers out."""
    row = {"p": PROVIDER, "d": "out", "c": "paused", "r": "x", "a": "x", "t": 1}
    with pytest.raises(db.TROUBLE), db.writing(desk.runtime.engine) as connection:
        connection.execute(text("INSERT INTO switch VALUES (:p, :d, :c, :r, :a, :t)"), row)
