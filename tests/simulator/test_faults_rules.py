"""Look-ups and balances that mislead, refusals by circumstance: the wire, and what the ledger file says."""

from __future__ import annotations

import http.client
import json
import socket
import time
from decimal import Decimal

import pytest

LOST = (ConnectionError, http.client.HTTPException, TimeoutError)


MISLED = [
    # reference, params, status, what is said
    ("missing", {"variant": "late", "body": "missing"}, 404, "TRANSFER_NOT_FOUND"),
    ("pending", {"variant": "late", "body": "pending"}, 200, "PENDING"),
    ("rate", {"variant": "rate"}, 429, "TOO_MANY_REQUESTS"),
]


def test_26_the_look_up_misleads_and_then_tells(honest):
    """C-15, case 26: lost complete; look-ups say missing, PENDING or 429 for a while, then the truth."""
    ids = {}
    for reference, params, _, _ in MISLED:
        honest.script(26, params={**params, "delay": 0.6})
        ids[reference] = honest.prepared(reference)
        with pytest.raises(LOST):
            honest.finish(ids[reference])
    time.sleep(0.7)
    for reference, _, status, said in MISLED:
        for _ in range(2):
            answered, answer = honest.look_up(ids[reference])
            assert (answered, answer.get("code") or answer["status"]) == (status, said)
    time.sleep(0.7)
    for reference, transfer_id in ids.items():
        assert honest.look_up(transfer_id)[1]["status"] == "COMPLETED"
        assert honest.kinds(reference) == ["prepared", "completed"]
    assert honest.shown() == [(26, "complete")] * 3 + [(26, "lookup")] * 6


def test_26_the_look_up_forgets_for_ever(honest):
    """C-15, case 26: not found for ever although the money moved; other transfers are found."""
    other = honest.funded("other")
    honest.script(26, params={"variant": "retention", "delay": 0.1, "lose": False})
    transfer_id = honest.prepared("r")
    assert honest.finish(transfer_id)[0] == 200
    for _ in range(3):
        assert honest.look_up(transfer_id)[0] == 404
        time.sleep(0.2)
    assert honest.look_up(other)[0] == 200
    assert honest.kinds("r") == ["prepared", "completed"]


def test_28_success_is_told_first(hasty):
    """C-08, case 28: COMPLETED on the wire while the wallet has not moved; it moves later."""
    hasty.script(28, params={"delay": 1.4})
    transfer_id = hasty.prepared("r")
    assert hasty.finish(transfer_id)[1]["status"] == "COMPLETED"
    assert hasty.look_up(transfer_id)[1]["status"] == "COMPLETED"
    assert hasty.finish(transfer_id, "CANCELLED")[0] == 409
    assert hasty.balance() == 0
    assert hasty.kinds("r") == ["prepared"]
    hasty.until("r", "completed")
    assert hasty.balance() == Decimal("25.00")
    assert hasty.kinds("r") == ["prepared", "completed"]


def test_28_success_is_told_and_never_true(hasty):
    """C-08, case 28: COMPLETED on the wire for ever; the ledger file says it expired."""
    hasty.script(28, params={"never": True})
    transfer_id = hasty.prepared("r")
    assert hasty.finish(transfer_id)[1]["status"] == "COMPLETED"
    hasty.until("r", "cancelled")
    assert hasty.look_up(transfer_id)[1]["status"] == "COMPLETED"
    assert hasty.balance() == 0


def test_29_the_balance_is_stale(honest):
    """C-30, case 29: the balance of a second ago; the books have moved on."""
    honest.funded("first")
    time.sleep(1.1)
    honest.funded("second", "11.00")
    honest.script(29, params={"delay": 1}, times=2)
    assert honest.balance() == Decimal("100.00")
    assert honest.owned() == "111.00"
    assert honest.shown() == [(29, "balance")]


def test_30_two_debits_both_pass(honest):
    """C-34, case 30: the second check overlooks the first reservation, and the balance goes below zero."""
    honest.funded()
    honest.script(30)
    first, second = honest.prepared("a", "DEBIT", "70.00"), honest.prepared("b", "DEBIT", "70.00")
    assert honest.finish(first)[0] == 200
    assert honest.finish(second)[0] == 200
    assert honest.balance() == Decimal("-40.00")
    assert honest.lines()[-1]["balance"] == "-40.00"
    assert honest.shown() == [(30, "prepare")]


def test_32_a_bet_lands_before_the_withdrawal(honest):
    """C-11, case 32: the balance just read is no longer there; the bet is in the file, the debit is not."""
    honest.funded()
    assert honest.balance() == Decimal("100.00")
    honest.script(32)
    status, answer = honest.prepare("out", "DEBIT", "100.00")
    assert (status, answer["code"]) == (422, "INSUFFICIENT_FUNDS")
    last = honest.lines()[-1]
    assert (last["kind"], last["amount"], last["balance"]) == ("result", "-0.01", "99.99")
    assert honest.kinds("out") == []


def test_33_no_withdrawal_in_game(honest):
    """C-11, case 33: withdrawals of this player are refused until the game has settled; nothing else is."""
    honest.funded()
    honest.funded("bob", player="bob")
    honest.script(33, player="ann", params={"delay": 0.6})
    for reference in ("out1", "out2"):
        assert honest.prepare(reference, "DEBIT")[1]["code"] == "VALIDATION_ERROR"
    assert honest.prepare("in", "CREDIT")[0] == 201
    assert honest.prepare("bob out", "DEBIT", player="bob")[0] == 201
    time.sleep(0.7)
    assert honest.prepare("out3", "DEBIT")[0] == 201
    assert honest.shown() == [(33, "prepare")] * 2
    assert honest.kinds("out1") == []


def test_35_the_agents_credit_is_exhausted(honest):
    """C-12, case 35: credits are refused and nothing is booked; debits still pass."""
    honest.funded()
    honest.script(35, times=2)
    for reference in ("a", "b"):
        assert honest.prepare(reference)[1]["code"] == "VALIDATION_ERROR"
    assert honest.prepare("out", "DEBIT")[0] == 201
    assert honest.prepare("a")[0] == 201
    assert honest.shown() == [(35, "prepare")] * 2


@pytest.mark.parametrize(
    ("params", "begins"),
    [({"body": "json"}, b'{"code":"QT_NOT_AVAILABLE"'), ({"body": "html"}, b"<!doctype html>")],
)
def test_36_maintenance_for_a_while(honest, params, begins):
    """C-12, case 36: every operation is closed for a while, and nothing is executed."""
    transfer_id = honest.prepared("r")
    honest.script(36, params={**params, "delay": 0.5})
    status, content, _ = honest.send("PUT", f"/v1/fund-transfers/{transfer_id}/status", '{"status": "COMPLETED"}')
    assert (status, content[: len(begins)]) == (503, begins)
    assert honest.send("GET", f"/v1/fund-transfers/{transfer_id}")[0] == 503
    assert honest.send("GET", "/v1/wallet/ext")[0] == 503
    assert honest.kinds("r") == ["prepared"]
    time.sleep(0.6)
    assert honest.finish(transfer_id)[0] == 200


def test_40_not_on_the_list(honest):
    """C-12, case 40: a 403, or a socket that simply drops; nothing is executed."""
    honest.script(40, params={"variant": "body"})
    assert honest.prepare("r")[0] == 403
    honest.script(40, params={"variant": "drop"})
    with pytest.raises(LOST):
        honest.prepare("r")
    honest.script(40, on="token", params={"variant": "body"})
    query = "grant_type=password&response_type=token&username=demo&password=demo"
    assert honest.call("POST", f"/v1/auth/token?{query}")[1]["code"] == "USER_BLOCKED"
    assert honest.lines() == []


@pytest.mark.parametrize("status", [307, 308])
def test_40_a_redirect_that_must_not_be_followed(honest, status):
    """C-03, case 40: a redirect that invites to send the money request again; nothing is executed."""
    honest.script(40, on="complete", params={"variant": "redirect", "status": status})
    transfer_id = honest.prepared("r")
    path = f"/v1/fund-transfers/{transfer_id}/status"
    answered, content, headers = honest.send("PUT", path, '{"status": "COMPLETED"}')
    assert (answered, content, headers["location"]) == (status, b"", path)
    assert honest.kinds("r") == ["prepared"]


@pytest.mark.parametrize("seconds", [0, 7])
def test_41_too_many_requests(honest, seconds):
    """C-14, case 41: 429 with and without Retry-After; the request was not executed."""
    honest.script(41, params={"retry_after": seconds})
    names = json.dumps({"type": "CREDIT", "referenceId": "r", "playerId": "ann", "currency": "EUR", "amount": 1})
    status, _, headers = honest.send("POST", "/v1/fund-transfers", names)
    assert (status, headers.get("retry-after")) == (429, str(seconds) if seconds else None)
    assert honest.lines() == []


def test_42_the_balance_of_a_player_never_seen(honest):
    """C-14, case 42: an internal error or zero for the unknown; a known player is answered."""
    honest.funded()
    honest.script(42, params={"variant": "error"})
    assert honest.balance("ann") == Decimal("100.00")
    status, answer = honest.call("GET", "/v1/wallet/ext/nobody")
    assert (status, answer["code"]) == (500, "UNKNOWN_ERROR")
    honest.script(42, params={"variant": "zero"})
    assert honest.balance("nobody") == 0
    assert honest.shown() == [(42, "balance")] * 2


def test_a_client_that_leaves_does_not_disturb(honest):
    """C-05: the answer to a client that has gone is dropped; what was done stays, others are served."""
    honest.script(16, params={"delay": 0.3})
    transfer_id = honest.prepared("r")
    host, port = honest.address.split(":")
    with socket.create_connection((host, int(port))) as raw:
        text = '{"status": "COMPLETED"}'
        head = f"PUT /v1/fund-transfers/{transfer_id}/status HTTP/1.1\r\nHost: x\r\n"
        head += f"Authorization: Bearer {honest.token}\r\nContent-Length: {len(text)}\r\n\r\n"
        raw.sendall((head + text).encode())
        honest.until("r", "completed")
    time.sleep(0.4)
    assert honest.look_up(transfer_id)[1]["status"] == "COMPLETED"
    assert honest.stop() == 0
    assert honest.errors == ""
