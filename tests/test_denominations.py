"""Two processes with different decimals of one currency: the second moves nothing in it, wherever it comes upon it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from threading import Event
from typing import Any

import pytest
from sqlalchemy import event, insert, text

from bridge import breaks, cashier, db, denominations, events, keys, lineage, models, players, watch
from bridge.alerts import conditions, wording
from bridge.app import compose, create_app
from bridge.cashier import CashWish
from bridge.errors import Unavailable
from bridge.evidence import Answer, Reply, Source
from bridge.runtime import Runtime
from bridge.transfers import resolve
from bridge.transfers.advance import Fact, advance
from bridge.transfers.begin import MAX, Wish, begin
from bridge.transfers.drive import drive
from bridge.views import doors, orphans, sheet
from bridge.views.orphans import Stage, Wanted
from jobs.schedule import SCHEDULE
from jobs.shift import run
from tests.harness import OPERATOR, PROVIDER, Bench, Simulator, bench, simulator, together

USDT, BOB = "USDT", "bob"


@pytest.fixture
def six(migrated_url: str, simulated: Simulator) -> Iterator[Bench]:
    """A process that writes USDT with 6 decimals; nobody has any yet."""
    with bench(migrated_url, simulated.address) as made:
        old = process(made.runtime, 6)
        yield Bench(old, made.operator)
        old.engine.dispose()


@pytest.fixture
def eight(six: Bench) -> Iterator[Runtime]:
    """A process on the same database and before the same provider that is configured with 8."""
    other = process(six.runtime, 8)
    yield other
    other.engine.dispose()


@pytest.fixture
def simulated(tmp_path: Any) -> Iterator[Simulator]:
    """The real provider, with books of its own."""
    with simulator(tmp_path, "--currencies", "EUR:2,USDT:6") as started:
        yield started


def process(runtime: Runtime, decimals: int | None, **sections: Any) -> Runtime:
    """Another process, that is configured with so many decimals, or not with that currency, and with other sections."""
    here = {} if decimals is None else {USDT: decimals}
    provider = sections.pop("providers", runtime.config.providers)[PROVIDER]
    provider = provider.model_copy(update={"currencies": ("EUR", *here)})
    changes = {"currencies": here, "providers": {PROVIDER: provider}, **sections}
    return compose(runtime.config.model_copy(update=changes), runtime.clock)


def refused(work: Any, *asked: Any, **named: Any) -> None:
    """It is refused for its decimals, and for nothing else."""
    with pytest.raises(Unavailable) as met:
        work(*asked, **named)
    assert met.value.code == "currency_redenominated"


def funded(six: Bench) -> None:
    """Bob has 1.00 USDT in the wallet, written with 6 decimals."""
    players.register(six.runtime, six.operator, BOB, [USDT])
    wish = CashWish(BOB, "1.00", USDT)
    cashier.move(six.runtime, six.operator, "deposit", "d-1", wish)
    assert six.rows("SELECT amount FROM cash_movement WHERE currency = 'USDT'") == [{"amount": 1_000_000}]


def moved_in(six: Bench) -> str:
    """Half of it at the provider."""
    begun = begin(six.runtime, six.operator, "t-1", Wish(BOB, PROVIDER, "in", "0.50", USDT))
    assert begun.outcome is not None
    assert begun.transfer_id is not None
    drive(six.runtime, begun.outcome)
    assert six.row(begun.transfer_id)["state"] == "confirmed"
    return begun.transfer_id


def test_the_first_wallet_says_with_how_many_decimals(six: Bench, eight: Runtime) -> None:
    """I-08: who registers a wallet with others is refused, and nothing of it stays; other currencies go on."""
    players.register(six.runtime, six.operator, BOB, [USDT])
    refused(players.register, eight, six.operator, "eve", ["EUR", USDT])
    assert six.rows("SELECT * FROM player WHERE player_id = 'eve'") == []
    assert players.register(eight, six.operator, "eve", ["EUR"]) == (["EUR"], True)
    assert six.rows("SELECT exponent FROM denomination WHERE currency = 'USDT'") == [{"exponent": 6}]


def test_of_two_that_bring_a_currency_at_once_one_is_refused(six: Bench, eight: Runtime) -> None:
    """I-08: whoever commits first has said it; the other one sees that."""
    came = together(2, lambda n: players.register((six.runtime, eight)[n], six.operator, f"p-{n}", [USDT]))
    failed = [each for each in came if isinstance(each, Unavailable)]
    assert len(failed) == 1, came
    assert len(six.rows("SELECT * FROM account WHERE currency = 'USDT'")) == 1


@pytest.mark.parametrize("kind", ["deposit", "withdrawal"])
def test_no_cash_is_booked_as_another_amount(six: Bench, eight: Runtime, kind: str) -> None:
    """I-08: a "1.00" that would be booked as 100.000000; the key stood for nothing, and the other books it right."""
    funded(six)
    wish = CashWish(BOB, "1.00", USDT)
    refused(cashier.move, eight, six.operator, kind, "k-1", wish)
    made = cashier.move(six.runtime, six.operator, kind, "k-1", wish)[1]
    assert isinstance(made, cashier.Cash)
    assert made.balance == (2_000_000 if kind == "deposit" else 0)


@pytest.mark.parametrize(("direction", "amount"), [("in", "0.25"), ("out", "0.25"), ("out", MAX)])
def test_no_transfer_is_begun(six: Bench, eight: Runtime, simulated: Simulator, direction: str, amount: str) -> None:
    """I-08: neither plainly nor after all, and by the provider's own books nothing has moved."""
    funded(six)
    moved_in(six)
    before = simulated.owns(BOB)
    for _ in range(2):  # also when the process has seen by then what the books say
        refused(begin, eight, six.operator, "t-2", Wish(BOB, PROVIDER, direction, amount, USDT))
    assert simulated.owns(BOB) == before
    assert len(six.rows("SELECT * FROM transfer")) == 1


def queued(six: Bench) -> str:
    """A quarter of it on its way to the provider, and nobody has sent it yet."""
    begun = begin(six.runtime, six.operator, "t-2", Wish(BOB, PROVIDER, "in", "0.25", USDT), queued=True)
    return str(begun.transfer_id)


def test_nothing_is_driven_on(six: Bench, eight: Runtime, simulated: Simulator) -> None:
    """I-08: jobs with other decimals would send another amount: they claim nothing, and who is right drives it."""
    funded(six)
    queued = begin(six.runtime, six.operator, "t-1", Wish(BOB, PROVIDER, "in", "0.50", USDT), queued=True).transfer_id
    assert queued is not None
    refused(resolve.claim_due, eight, 10)
    assert resolve.claim_due(eight, 10) == []  # known by now, it keeps no other from being claimed
    refused(resolve.refresh, eight, queued, 0.0)
    row = six.row(queued)
    assert (row["state"], row["lease_epoch"], row["lease_owner"], row["failures"]) == ("pending", 1, None, 0)
    six.resolve_until_still()
    assert six.row(queued)["state"] == "confirmed"
    assert simulated.owns(BOB) == 50


def test_nothing_is_judged_and_nothing_told(six: Bench, eight: Runtime) -> None:
    """I-08: neither a callback's amount, nor a balance that a provider tells, nor an event for the operator."""
    funded(six)
    transfer_id = moved_in(six)
    reply = Reply(Answer.APPLIED, code="CONFIRMED", amount=50_000_000, currency=USDT)
    refused(advance, eight, transfer_id, None, Fact(reply, Source.CALLBACK, six.runtime.clock.now(), ordinal=2))
    with db.writing(eight.engine) as connection:
        refused(breaks.compare, connection, eight, six.operator, PROVIDER, BOB, USDT, 1, breaks.SWEEP, 1)
    refused(events.number, eight, six.operator, 10)
    assert six.rows("SELECT * FROM event") == []
    assert events.number(six.runtime, six.operator, 10) > 0


@pytest.mark.parametrize("decimals", [8, None], ids=["other decimals", "not configured"])
def test_no_amount_is_told_and_other_currencies_go_on(six: Bench, decimals: int | None) -> None:
    """I-08: what a player has would be told as another amount. The API refuses to, the desk tells what the books hold,
    and jobs leave transfers in that currency to who is right; whatever else is due is driven."""
    other = process(six.runtime, decimals)
    funded(six)
    transfer_id = moved_in(six)
    mine, theirs = six.begin("in", queued=True).transfer_id, queued(six)
    held = {"Authorization": f"Bearer {keys.create(six.runtime, OPERATOR, ['transfers', 'read'], 'mine')[1]}"}
    for asked in (f"/v1/players/{BOB}/funds", f"/v1/transfers/{transfer_id}"):
        answer = create_app(other).test_client().get(asked, headers=held)
        assert (answer.status_code, answer.json and answer.json["code"]) == (503, "currency_redenominated"), asked
        assert create_app(six.runtime).test_client().get(asked, headers=held).status_code == 200
    assert other.currencies.spelled(500_000, USDT) == "500000 minor units of USDT"

    counts = run(other, next(job for job in SCHEDULE if job.name == "resolve"), Event())

    assert counts is not None
    assert counts["driven"] == 1
    assert [six.row(str(each))["state"] for each in (mine, theirs)] == ["confirmed", "pending"]
    other.engine.dispose()


@pytest.mark.parametrize("decimals", [8, None], ids=["other decimals", "not configured"])
def test_whoever_counts_otherwise_compares_nothing(six: Bench, simulated: Simulator, decimals: int | None) -> None:
    """I-08 C-58: behind a restore it would find all as it should be but for that currency, and open the provider; it
    leaves the turn to who knows it."""
    other = process(six.runtime, decimals)
    funded(six)
    players.register(six.runtime, six.operator, "eve", [USDT])
    simulated.control("POST", "/play", {"player": "eve", "currency": USDT, "amount": "7.00"})
    lineage.restored(six.runtime, "a restore", "ops")
    sweep = next(job for job in SCHEDULE if job.name == "sweep")
    assert run(other, sweep, Event()) == {"swept": 0, "compared": 0, "differing": 0, "opened": 0}
    counts = run(six.runtime, sweep, Event())
    assert counts is not None
    assert (counts["swept"], counts["opened"]) == (1, 0)
    assert counts["differing"] > 0
    other.engine.dispose()


def test_the_desk_and_alerts_go_on(six: Bench) -> None:
    """I-08: what they tell of all currencies they tell of the others, and of this one in minor units."""
    section = six.runtime.config.providers[PROVIDER].model_copy(update={"exposure_caps": {USDT: "100"}})
    rates = six.runtime.config.desk.model_copy(update={"reference_rates": {"EUR": "1", USDT: "0.9"}})
    other = process(six.runtime, 8, providers={PROVIDER: section}, desk=rates)
    funded(six)
    six.begin("in", queued=True)
    queued(six)
    assert watch.hindrance(other) is None
    with db.writing(other.engine) as connection:
        hit = {"provider": PROVIDER, "currency": USDT, "hit_at": other.clock.now()}
        connection.execute(insert(models.metadata.tables["cap_hit"]).values(**hit))

    wanted = Wanted(stage=Stage.PENDING)
    assert len(orphans.queue(other, six.operator, wanted, 1, None).transfers) == 2
    assert len(list(sheet.lines(other, six.operator, wanted))) > 2
    with db.reading(other.engine) as connection:
        (door,) = doors.doors(connection, other, [PROVIDER], [])
        found = conditions.find(connection, other, (conditions.Kind.CAP_HIT,))
    assert [used.cap for used in door.exposure] == [None, None]
    assert (found.unread, len(found.conditions)) == (frozenset(), 1)
    sentence, more = wording.of_orphans(2, {"EUR": 100, USDT: 250_000}, other.currencies, (), new=True)
    assert "250000 minor units of USDT" in sentence
    assert more["value"] == {"EUR": "1.00"}
    other.engine.dispose()


def test_an_answer_in_that_currency_is_unreadable_and_kept(
    six: Bench, eight: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I-12: a provider tells of another currency than it was asked about, one that counts otherwise here: what it
    answered is stored as an answer that says nothing, as everywhere else."""
    funded(six)
    assert watch.hindrance(eight) is None
    outbound = eight.providers[PROVIDER]._outbound  # type: ignore[attr-defined] # the real wire, told otherwise behind it
    send = outbound.send

    def told(*asked: Any, **named: Any) -> Any:
        answer = send(*asked, **named)
        return replace(answer, body=answer.body.replace(b'"EUR"', b'"USDT"'))

    monkeypatch.setattr(outbound, "send", told)
    begun = Bench(eight, six.operator, made=900).begin("in", "1.00")
    assert begun.outcome is not None
    drive(eight, begun.outcome)
    assert six.rows("SELECT answer FROM evidence WHERE source = 'call'")[0]["answer"] == "unknown"


def test_a_currency_that_leaves_the_books_is_opened_again_by_who_is_right(six: Bench, eight: Runtime) -> None:
    """C-58: a restored backup knows no wallet of it. Who was told to be wrong opens none meanwhile."""
    players.register(six.runtime, six.operator, "eve", [USDT])
    assert watch.hindrance(six.runtime) is None
    assert watch.hindrance(eight) is None
    with db.writing(six.runtime.engine) as connection:
        for table in ("account", "denomination"):
            connection.execute(text(f"DELETE FROM {table} WHERE currency = '{USDT}'"))
    assert watch.hindrance(eight) is None
    refused(players.register, eight, six.operator, BOB, [USDT])
    assert players.register(six.runtime, six.operator, BOB, [USDT]) == ([USDT], True)
    assert (six.runtime.currencies.distrusted, eight.currencies.distrusted) == (frozenset(), {USDT})


def test_a_currency_of_the_books_is_no_unknown_one(six: Bench) -> None:
    """A process that is not configured with it says the same of it wherever it is asked, and not that it is none."""
    funded(six)
    other = process(six.runtime, None)
    assert watch.hindrance(other) is None
    refused(players.register, other, six.operator, "eve", [USDT])
    refused(cashier.move, other, six.operator, "deposit", "d-9", CashWish(BOB, "1.00", USDT))
    other.engine.dispose()


def test_who_was_first_with_wrong_decimals_stops_that_currency_alone(six: Bench, eight: Runtime) -> None:
    """I-08: the first wallet is opened by a process that counts otherwise than all others."""
    players.register(eight, six.operator, "eve", [USDT])
    assert watch.hindrance(six.runtime) is None
    refused(players.register, six.runtime, six.operator, BOB, [USDT])
    assert six.row(six.run("in"))["state"] == "confirmed"


def test_a_currency_without_a_wallet_says_nothing(six: Bench, eight: Runtime) -> None:
    """What nobody has yet is not remembered as anything: its first wallet may come from another process."""
    with db.reading(eight.engine) as connection:
        denominations.require(connection, eight, USDT)
    assert not denominations.is_known(eight, USDT)
    funded(six)
    with db.reading(eight.engine) as connection:
        refused(denominations.require, connection, eight, USDT)


def test_the_books_are_asked_once(six: Bench) -> None:
    """The plain path of a transfer pays nothing for it: what the books say never changes."""
    funded(six)
    asked: list[str] = []
    event.listen(six.runtime.engine, "before_cursor_execute",
                 lambda _connection, _cursor, told, *_rest: "denomination" in told and asked.append(told))  # fmt: skip
    moved_in(six)
    assert asked == []
    fresh = process(six.runtime, 6)
    event.listen(fresh.engine, "before_cursor_execute",
                 lambda _connection, _cursor, told, *_rest: "denomination" in told and asked.append(told))  # fmt: skip
    for turn in range(3):
        begun = begin(fresh, six.operator, f"f-{turn}", Wish(BOB, PROVIDER, "in", "0.01", USDT))
        assert begun.outcome is not None
    assert len(asked) == 1
    fresh.engine.dispose()
