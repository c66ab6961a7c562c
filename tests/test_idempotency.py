"""Keys: one key, one operation, one effect, for ever, whoever comes when."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from bridge import cashier, db, idempotency, keys, players
from bridge.errors import Invalid, KeyReused
from bridge.idempotency import Key, Stored
from bridge.transfers.begin import Begun, Wish, begin
from tests.harness import EUR, PLAYER, Bench, Hands, bench, together
from tests.transfers.conftest import REAL_TIMES
from tests.transfers.scripted import ScriptedProvider


@pytest.fixture
def desk(migrated_url: str) -> Iterator[Bench]:
    """A bridge before a provider that does as it is told."""
    hands = Hands()
    with bench(migrated_url, clock=hands, provider=ScriptedProvider(hands), **REAL_TIMES) as made:
        yield made


def test_fifty_at_one_instant_begin_one_transfer(desk: Bench) -> None:
    """I-20 I-24 C-50 The same key fifty times in parallel: one transfer, one debit; the others are told its id."""
    results = together(50, lambda _n: desk.begin("in", "10.00", key="same", queued=True))
    assert all(isinstance(result, Begun) for result in results), results
    (transfer,) = desk.rows("SELECT * FROM transfer")
    assert {result.transfer_id for result in results} == {transfer["id"]}
    assert sum(result.outcome is not None for result in results) == 1
    assert desk.wallet() == 99_000
    assert len(desk.rows("SELECT * FROM idempotency_key WHERE operation = 'transfer'")) == 1
    desk.audit()


def test_sixteen_share_one_balance(desk: Bench) -> None:
    """I-05 C-34 Sixteen transfers in at one instant from a wallet that holds five: five begin, eleven are
    refused for ever."""
    desk.player("bob", "54.99")
    results = together(16, lambda n: desk.begin("in", "10.00", player="bob", key=f"k{n}", queued=True))
    assert all(isinstance(result, Begun) for result in results), results
    assert sum(result.outcome is not None for result in results) == 5
    refused = [result for result in results if result.outcome is None]
    assert {result.stored.status for result in refused} == {422}
    assert desk.wallet("bob") == 499
    assert len(desk.rows("SELECT * FROM transfer")) == 5
    desk.audit()


def test_first_transfers_of_an_account_at_one_instant(desk: Bench) -> None:
    """I-05 I-06 C-34 Eight first withdrawals of a player whose game account does not exist yet: versions
    without a gap."""
    desk.player("new", "0.01")
    results = together(8, lambda n: desk.run("out", "1.00", player="new", key=f"k{n}"))
    assert all(isinstance(result, str) for result in results), results
    assert desk.game("new") == -800
    assert desk.wallet("new") == 801
    desk.audit()


def test_same_key_same_body_is_the_same_transfer(desk: Bench) -> None:
    """I-21 C-48 C-55 Again, after the end, after four months: the same transfer, no second effect."""
    first = desk.begin("in", "10.00", key="once")
    wallet = desk.wallet()
    for days in (0, 1.05, 120):
        desk.runtime.clock.sleep(days * 86_400)
        again = desk.begin("in", "10.00", key="once")
        assert again.transfer_id == first.transfer_id
        assert again.outcome is None
        desk.resolve_due()
    assert desk.wallet() in (wallet, wallet + 1000)
    assert len(desk.rows("SELECT * FROM transfer")) == 1
    desk.audit()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"amount": "10.01"}, ["amount"]), ({"amount": "10.0"}, ["amount"]), ({"direction": "out"}, ["direction"]),
        ({"player_id": "bob"}, ["player_id"]), ({"currency": "USD"}, ["currency"]), ({"provider": "other"},
         ["provider"]),
        ({"amount": "1.00", "direction": "out"}, ["amount", "direction"]),
    ],
)  # fmt: skip
def test_same_key_other_body_is_refused(desk: Bench, change: dict[str, str], named: list[str]) -> None:
    """I-22 C-51 Another body under a used key: 422 naming each field that differs, no effect."""
    desk.begin("in", "10.00", key="once", queued=True)
    wish = replace(desk.wish("in", "10.00"), **change)
    before = desk.rows("SELECT * FROM idempotency_key ORDER BY operation, key"), desk.wallet()
    with pytest.raises(KeyReused) as refused:
        begin(desk.runtime, desk.operator, "once", wish)
    assert sorted(refused.value.fields) == named
    assert (refused.value.status, refused.value.code) == (422, "idempotency_key_reused")
    assert (desk.rows("SELECT * FROM idempotency_key ORDER BY operation, key"), desk.wallet()) == before
    assert len(desk.rows("SELECT * FROM transfer")) == 1


def test_fingerprint_holds_the_clients_fields_alone(desk: Bench) -> None:
    """I-22 C-51 C-52 Nothing minted by us is in the fingerprint, and equal bodies under two keys are two transfers."""
    one, two = desk.begin("in", "10.00", key="a", queued=True), desk.begin("in", "10.00", key="b", queued=True)
    assert one.transfer_id != two.transfer_id
    (row,) = desk.rows("SELECT body FROM idempotency_key WHERE key = 'a'")
    assert set(json.loads(row["body"])) == {"player_id", "provider", "direction", "amount", "currency"}
    assert desk.wallet() == 98_000


def test_refusal_is_pinned_to_its_key(desk: Bench) -> None:
    """I-23 C-55 A refused key never moves money, even when the balance is later sufficient; the bytes stay the same."""
    desk.player("poor", "5.00")
    first = desk.begin("in", "10.00", player="poor", key="refused")
    assert first.transfer_id is None
    assert first.stored is not None
    assert json.loads(str(first.stored.response))["code"] == "insufficient_funds"
    desk.deposit("poor", "1000.00")
    for days in (0, 2, 130):
        desk.runtime.clock.sleep(days * 86_400)
        assert desk.begin("in", "10.00", player="poor", key="refused").stored == first.stored
    assert desk.wallet("poor") == 100_500
    assert desk.begin("in", "10.00", player="poor", key="another").outcome is not None
    with pytest.raises(KeyReused):
        desk.begin("in", "1.00", player="poor", key="refused")
    desk.audit()


def test_refusal_and_deposit_at_one_instant(desk: Bench) -> None:
    """I-20 I-23 C-50 Money that arrives while equal requests are refused: all of them are told one thing, for ever."""
    for number in range(6):
        player = desk.player(f"race{number}", "5.00")

        def act(n: int, player: str = player, number: int = number) -> Any:
            if n == 0:
                return desk.cash("deposit", player, "100.00")
            return desk.begin("in", "10.00", player=player, key=f"race-{number}", queued=True)

        results = together(6, act)[1:]
        assert all(isinstance(result, Begun) for result in results), results
        ids = {result.transfer_id for result in results}
        assert len(ids) == 1, "one answer for one key"
        moved = desk.rows("SELECT id FROM transfer WHERE player_id = :p", p=player)
        assert [row["id"] for row in moved] == [i for i in ids if i]
        assert desk.wallet(player) == 10_500 - 1000 * len(moved)
    desk.audit()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"amount": "0"}, "amount"), ({"amount": "-5"}, "amount"), ({"amount": "1.001"}, "amount"),
         ({"amount": "NaN"}, "amount"),
        ({"amount": "9" * 30}, "amount"), ({"amount": "\uff11"}, "amount"), ({"currency": "USD"}, "currency"),
         ({"currency": "XXX"}, "currency"),
        ({"provider": "nobody"}, "provider"), ({"player_id": "nobody"}, "player_id"), ({"player_id": "x" * 35},
         "player_id"),
        ({"direction": "sideways"}, "direction"),
    ],
)  # fmt: skip
def test_bad_input_stores_nothing_and_leaves_the_key_free(desk: Bench, change: dict[str, str], field: str) -> None:
    """I-08 I-09 I-26 What cannot be meant is refused naming its field before any hold; the key may be used again."""
    with pytest.raises(Invalid) as refused:
        begin(desk.runtime, desk.operator, "free", replace(desk.wish("in", "10.00"), **change))
    assert field in refused.value.fields
    assert desk.rows("SELECT * FROM idempotency_key WHERE key = 'free'") == []
    assert desk.rows("SELECT * FROM transfer") == []
    assert desk.wallet() == 100_000
    assert desk.begin("in", "10.00", key="free").outcome is not None


def test_one_key_in_two_operators_and_two_operations(desk: Bench) -> None:
    """I-20 C-53 A key belongs to one operator and one operation: the same text elsewhere is another key."""
    other = keys.add_operator(desk.runtime, "second")
    players.register(desk.runtime, other, PLAYER, [EUR])
    assert desk.begin("in", "10.00", key="shared", queued=True).outcome is not None
    for kind in ("deposit", "withdrawal"):
        made = cashier.move(desk.runtime, desk.operator, kind, "shared", cashier.CashWish(PLAYER, "1.00", EUR))[1]
        assert isinstance(made, cashier.Cash)
    made = cashier.move(desk.runtime, other, "deposit", "shared", cashier.CashWish(PLAYER, "3.00", EUR))[1]
    assert isinstance(made, cashier.Cash)
    assert made.balance == 300
    assert desk.wallet() == 99_000
    with pytest.raises(Invalid) as refused:
        begin(desk.runtime, other, "theirs", Wish(PLAYER, "sim", "in", "1.00", EUR))
    assert "provider" in refused.value.fields, "a provider is one operator's"
    desk.audit()


def test_cash_moves_once(desk: Bench) -> None:
    """I-20 I-21 I-23 C-34 Deposits and withdrawals: once a key, in parallel too; an empty wallet's refusal is
    pinned."""
    wish = cashier.CashWish(PLAYER, "7.00", EUR)

    def again(kind: str, key: str, what: cashier.CashWish = wish) -> Any:
        return cashier.move(desk.runtime, desk.operator, kind, key, what)[1]

    results = together(12, lambda _n: again("deposit", "d"))
    assert sum(isinstance(result, cashier.Cash) for result in results) == 1, results
    assert all(isinstance(result, cashier.Cash | Stored) for result in results)
    assert desk.wallet() == 100_700
    results = together(16, lambda n: again("withdrawal", f"w{n}", cashier.CashWish(PLAYER, "100.00", EUR)))
    assert sum(isinstance(result, cashier.Cash) for result in results) == 10
    assert desk.wallet() == 700
    pinned = again("withdrawal", "big", cashier.CashWish(PLAYER, "50.00", EUR))
    assert (pinned.status, pinned.subject_id) == (422, None)
    desk.deposit(PLAYER, "1000.00")
    assert again("withdrawal", "big", cashier.CashWish(PLAYER, "50.00", EUR)) == pinned
    with pytest.raises(KeyReused):
        again("deposit", "d", cashier.CashWish(PLAYER, "8.00", EUR))
    with pytest.raises(Invalid):
        again("deposit", "x", cashier.CashWish(PLAYER, "0", EUR))
    desk.audit()


def test_wallet_that_would_be_too_full_is_refused_for_ever(desk: Bench) -> None:
    """I-08 I-23 A deposit above what a wallet may hold moves nothing, and its refusal stays with the key."""
    for number in range(9):
        desk.deposit(PLAYER, "10000000000000.00")
        assert desk.wallet() == 100_000 + (number + 1) * 10**15
    wish = cashier.CashWish(PLAYER, "10000000000000.00", EUR)
    full = cashier.move(desk.runtime, desk.operator, "deposit", "full", wish)[1]
    assert isinstance(full, Stored)
    assert (full.status, json.loads(str(full.response))["code"]) == (422, "wallet_full")
    desk.cash("withdrawal", PLAYER, "10000000000000.00")
    assert cashier.move(desk.runtime, desk.operator, "deposit", "full", wish)[1] == full
    assert desk.wallet() == 100_000 + 8 * 10**15
    desk.audit()


def test_first_final_answer_stays(desk: Bench) -> None:
    """I-21 C-49 Who comes second with an answer gets the bytes of the first; an answer on the way is not final."""
    key = Key(desk.operator, "transfer", "k")
    with db.writing(desk.runtime.engine) as connection:
        assert idempotency.take(connection, key, {"a": "1"}, "tr_1", 1) is None
        seen = idempotency.take(connection, key, {"a": "1"}, "tr_2", 2)
        assert seen == Stored("tr_1", answered=False, status=None, response=None)
        idempotency.mark_answered(connection, key)
        assert idempotency.find(connection, key, {"a": "1"}) == Stored(
            "tr_1", answered=True, status=None, response=None
        )
        first = idempotency.remember(connection, key, 201, "first")
        assert idempotency.remember(connection, key, 500, "second") == first
        assert idempotency.find(connection, key, {"a": "1"}) == Stored(
            "tr_1", answered=True, status=201, response="first"
        )
        assert idempotency.find(connection, Key(desk.operator, "transfer", "none"), {}) is None


def test_crash_before_the_commit_leaves_the_key_free(desk: Bench, monkeypatch: Any) -> None:
    """I-14 I-20 C-48 Whatever goes wrong inside the transaction, key and effect are both there or both not."""
    from bridge.transfers import begin as module

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("in the middle")

    with monkeypatch.context() as patched:
        patched.setattr(module, "write", broken)
        with pytest.raises(RuntimeError):
            desk.begin("in", key="k", plainly=False)
    assert desk.rows("SELECT * FROM idempotency_key WHERE key = 'k'") == []
    assert desk.begin("in", key="k").outcome is not None
    desk.audit()
