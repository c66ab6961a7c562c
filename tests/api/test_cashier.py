"""Players, their money, and the cashier through the API."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from bridge import cashier
from bridge.cashier import CashWish
from bridge.runtime import SystemClock
from tests.harness import OPERATOR, PROVIDER, together


def test_a_player_is_made_once_and_keeps_every_wallet(house):
    """Design §8: PUT is idempotent: 201 when new, 200 again; it adds currencies and removes none."""
    made = house.ann.ask("PUT", "/v1/players/new", {"currencies": ["EUR"]})
    assert (made.status_code, made.json) == (201, {"player_id": "new", "currencies": ["EUR"]})
    more = house.ann.ask("PUT", "/v1/players/new", {"currencies": ["KWD", "JPY"]})
    assert (more.status_code, more.json["currencies"]) == (200, ["EUR", "JPY", "KWD"])
    again = house.ann.ask("PUT", "/v1/players/new", {"currencies": ["EUR"]})
    assert (again.status_code, again.json["currencies"]) == (200, ["EUR", "JPY", "KWD"])


def test_a_deposit_is_booked_once(house):
    """I-20, I-21: the same key gives the same bytes, and the wallet has the amount once."""
    first = house.cash("deposits", "12.34", "d-1")
    assert first.status_code == 201
    assert set(first.json) == {"id", "kind", "player_id", "amount", "currency", "balance", "created_at"}
    assert (first.json["kind"], first.json["amount"], first.json["balance"]) == ("deposit", "12.34", "1012.34")
    again = house.cash("deposits", "12.34", "d-1")
    assert (again.status_code, again.data, again.headers["Idempotent-Replayed"]) == (201, first.data, "true")
    assert house.funds("wallet") == "1012.34"
    house.audit()


def test_a_deposit_in_parallel_is_booked_once(house):
    """I-20: eight deposits with one key at one instant are one deposit, answered with the same bytes."""
    clients = [house.call_as(house.ann.secret) for _ in range(8)]
    path, body = f"/v1/players/{house.player}/deposits", {"amount": "1.00", "currency": "EUR"}
    answers = together(8, lambda n: clients[n].post(path, body, key="d-1"))
    assert {(answer.status_code, answer.data) for answer in answers} == {(201, answers[0].data)}
    assert house.funds("wallet") == "1001.00"


def test_withdrawals_never_pass_the_floor(house):
    """I-05: eight withdrawals of 200.00 at one instant from 1000.00: five leave, three are refused, zero is left."""
    clients = [house.call_as(house.ann.secret) for _ in range(8)]
    path, body = f"/v1/players/{house.player}/withdrawals", {"amount": "200.00", "currency": "EUR"}
    answers = together(8, lambda n: clients[n].post(path, body, key=f"w-{n}"))
    assert sorted(answer.status_code for answer in answers) == [201] * 5 + [422] * 3
    assert house.funds("wallet") == "0.00"
    house.audit()


def test_a_refused_withdrawal_stays_refused(house):
    """I-23: insufficient funds stays with the key, byte for byte, after a deposit that would suffice."""
    first = house.cash("withdrawals", "1000.01", "w-1")
    assert (first.status_code, first.json["code"], first.json["retry"]) == (422, "insufficient_funds", "new_key")
    assert "Idempotent-Replayed" not in first.headers
    assert house.cash("deposits", "500.00", "d-1").status_code == 201
    again = house.cash("withdrawals", "1000.01", "w-1")
    assert (again.status_code, again.data, again.headers["Idempotent-Replayed"]) == (422, first.data, "true")
    assert house.funds("wallet") == "1500.00"


def test_another_body_is_refused_by_name(house):
    """I-22: another amount, currency or player under a cashier key → 422 naming it; nothing is booked."""
    house.cash("deposits", "5.00", "d-1")
    house.ann.ask("PUT", "/v1/players/other", {"currencies": ["EUR"]})
    before = house.contents()
    body = {"amount": "5.00", "currency": "EUR"}
    for path, changed, name in (
        (house.player, {"amount": "5.0"}, "amount"),
        (house.player, {"currency": "KWD"}, "currency"),
        ("other", {}, "player_id"),
    ):
        answer = house.ann.post(f"/v1/players/{path}/deposits", body | changed, key="d-1")
        assert (answer.status_code, answer.json["code"]) == (422, "idempotency_key_reused")
        assert [error["field"] for error in answer.json["errors"]] == [name]
    assert house.contents() == before


def test_a_crash_before_the_answer_is_read_back(house):
    """C-48: the movement was committed and the process died: the key is told the real movement and its balance."""
    operator = house.rows("SELECT id FROM operator WHERE name = :name", name=OPERATOR)[0]["id"]
    _key, made = cashier.move(house.runtime, operator, "deposit", "d-1", CashWish(house.player, "7.00", "EUR"))
    assert isinstance(made, cashier.Cash)
    house.cash("deposits", "100.00", "d-2")
    answer = house.cash("deposits", "7.00", "d-1")
    assert (answer.status_code, answer.json["id"]) == (201, made.id)
    assert (answer.json["balance"], answer.headers["Idempotent-Replayed"]) == ("1007.00", "true")
    assert house.cash("deposits", "7.00", "d-1").data == answer.data
    assert house.funds("wallet") == "1107.00"


def test_the_balance_behind_a_movement_is_no_matter_of_clocks(house):
    """C-48 I-34: the process that booked it was ahead by a second and a half: what came later counts later."""
    ahead = replace(house.runtime, clock=Ahead())
    operator = house.rows("SELECT id FROM operator WHERE name = :name", name=OPERATOR)[0]["id"]
    cashier.move(ahead, operator, "deposit", "d-1", CashWish(house.player, "7.00", "EUR"))
    assert house.cash("withdrawals", "500.00", "w-1").json["balance"] == "507.00"
    assert house.cash("deposits", "7.00", "d-1").json["balance"] == "1007.00"
    cashier.move(ahead, operator, "withdrawal", "w-2", CashWish(house.player, "7.00", "EUR"))
    house.cash("deposits", "100.00", "d-2")
    assert house.cash("withdrawals", "7.00", "w-2").json["balance"] == "500.00"


class Ahead(SystemClock):
    """The clock of another process, as far ahead as is allowed."""

    def now(self) -> int:
        return super().now() + 1_500_000


def test_funds_are_everything_wherever_it_is(house):
    """Design §7: wallet + in transit + at each provider + in custody is what the player has, in every currency."""
    house.transfer("k-1", "in", "40.00")
    house.transfer("k-2", "in", "10.00", Prefer="respond-async")
    funds = house.all_funds()
    assert set(funds) == {"player_id", "as_of", "funds"}
    assert [one["currency"] for one in funds["funds"]] == ["EUR", "JPY", "KWD"]
    assert funds["funds"][0] == {
        "currency": "EUR",
        "wallet": "950.00",
        "in_transit": "10.00",
        "at_providers": {PROVIDER: "40.00"},
        "in_custody": {},
        "total": "1000.00",
    }
    assert (funds["funds"][1]["wallet"], funds["funds"][2]["total"]) == ("0", "0.000")


def test_funds_as_of_an_instant(house):
    """Design §7: a player's money as of any instant, whatever happened since."""
    time.sleep(0.002)
    between = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    time.sleep(0.002)
    house.transfer("k-1", "in", "40.00")

    def as_of(instant: str) -> Any:
        answer = house.ann.get(f"/v1/players/{house.player}/funds?as_of={instant}")
        assert answer.status_code == 200, answer.data
        return answer.json["funds"][0]

    assert (as_of(between)["wallet"], as_of(between)["at_providers"]) == ("1000.00", {})
    assert as_of("2020-02-29T23:30:00%2B01:00")["total"] == "0.00"
    assert house.all_funds()["funds"][0]["at_providers"] == {PROVIDER: "40.00"}
