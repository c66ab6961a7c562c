"""Answers that are slow, garbled or wrong, and refusals by circumstance: the wire, and what the ledger file says."""

from __future__ import annotations

import json
import threading
import time

import pytest

from tests.simulator.generic.conftest import terms


def test_16_slow_success(hasty):
    """C-05, case 16: executed at once, answered just inside the limit."""
    hasty.script(16)
    before = time.monotonic()
    watcher = threading.Thread(target=hasty.until, args=("r", "completed", 0.6))
    watcher.start()
    assert hasty.create("r")["status"] == "confirmed"
    assert 0.9 < time.monotonic() - before < 2
    watcher.join()
    assert hasty.kinds("r") == ["completed"]


def body_of(simulator, reference, **params):
    """The raw answer of a create with a garbled body."""
    simulator.script(17, params=params)
    body = json.dumps({"type": "transfer.create", "data": terms(reference, "in", "25.00")}).encode()
    return simulator.post(body)


def test_17_bodies_that_are_not_what_was_promised(honest):
    """C-06, case 17: broken, foreign, empty, marked, with amounts of another type or gnawed; the money moved."""
    for body in ("truncated", "html", "empty", "bom", "zero", "zero_text", "strings", "float", "cdn521"):
        status, content, _ = body_of(honest, body, body=body)
        assert status == (521 if body == "cdn521" else 200)
        assert honest.kinds(body) == ["completed"]
        try:
            told = json.loads(content)
        except ValueError:
            told = {}
        assert (told.get("status"), told.get("amount")) != ("confirmed", "25.00") or content[:1] != b"{", body
    assert json.loads(body_of(honest, "text", body="strings")[1])["amount"] == 25.0
    assert json.loads(body_of(honest, "gnawed", body="float")[1])["amount"] == "24.999999"
    assert len(body_of(honest, "large", body="big", megabytes=3)[1]) > 3 << 20
    assert body_of(honest, "bomb", body="bomb", megabytes=2)[2]["content-encoding"] == "gzip"


@pytest.mark.parametrize("commit", [True, False])
def test_18_server_errors_say_nothing(honest, commit):
    """C-12, case 18: the same error with and without the effect; only the ledger file knows."""
    for status in (500, 502, 503, 504):
        honest.script(18, params={"status": status, "commit": commit})
        body = json.dumps({"type": "transfer.create", "data": terms(f"r{status}", "in", "25.00")}).encode()
        answered, content, _ = honest.post(body)
        assert (answered, content[:1]) == (status, b"<" if status in (502, 504) else b"{")
        assert honest.kinds(f"r{status}") == ["completed"] * commit
    assert honest.shown() == [(18, "create")] * 4


OTHER_AMOUNTS = [
    ({"variant": "thousandfold"}, "37550.00"),
    ({"variant": "thousandth"}, "0.03"),
    ({"variant": "whole"}, "37.00"),
    ({"variant": "tens"}, "30.00"),
    ({"amount": "1.00"}, "1.00"),
]


def test_19_confirmed_with_another_amount(honest):
    """C-09, case 19: a confirmation that names another amount in good form; the books hold what was asked."""
    for number, (params, told) in enumerate(OTHER_AMOUNTS):
        honest.script(19, params=params)
        answer = honest.create(f"r{number}", amount="37.55")
        assert (answer["amount"], answer["status"], "requested" in answer) == (told, "confirmed", False)
    assert {line["amount"] for line in honest.lines()} == {"37.55"}


def test_20_answered_for_another_player_or_with_an_older_transfer(honest):
    """C-09, C-16, case 20: a body about somebody else, and one about an older transfer of the same player."""
    honest.create("of_bob", player="bob")
    honest.create("older")
    honest.script(20, params={"variant": "player"})
    assert honest.create("r1")["player"] == "bob"
    honest.script(20, params={"variant": "older"}, reference="r2")
    assert honest.create("r2")["id"] == "r1"
    assert honest.kinds("r1") == honest.kinds("r2") == ["completed"]


def test_29_the_balance_and_the_list_are_stale(honest):
    """C-30, case 29: the balance of half a second ago; the books have moved on."""
    honest.create("first", amount="100.00")
    time.sleep(0.7)
    honest.create("second", amount="11.00")
    honest.script(29, params={"delay": 0.5}, on=["balance", "balances"], times=2)
    assert honest.balance() == "100.00"
    assert honest.ask("balances", currency="EUR", limit=5)[1]["balances"][0]["amount"] == "100.00"
    assert (honest.balance(), honest.owned()) == ("111.00", "111.00")
    assert honest.shown() == [(29, "balance"), (29, "balances")]


def test_30_two_withdrawals_both_pass(honest):
    """C-34, case 30: the second check sees the balance before the first withdrawal, and it goes below zero."""
    honest.create("fund", amount="100.00")
    time.sleep(0.4)
    honest.script(30, params={"delay": 0.3})
    assert [honest.create(name, "out", "70.00")["status"] for name in ("a", "b")] == ["confirmed"] * 2
    assert (honest.balance(), honest.lines()[-1]["balance"]) == ("-40.00", "-40.00")
    assert honest.create("c", "out", "1.00")["code"] == "insufficient_funds"
    assert honest.shown() == [(30, "create")]
    honest.play("5.00")
    assert honest.balance() == "-35.00"


def test_31_part_of_the_whole(honest):
    """C-09, case 31: less than requested moves and is told so; the ledger file has what moved."""
    honest.create("fund", amount="100.00")
    honest.script(31, params={"amount": "20.00"})
    told = honest.create("r", "out")
    assert (told["status"], told["amount"], told["requested"], told["balance"]) == (
        "confirmed",
        "20.00",
        "25.00",
        "80.00",
    )
    assert honest.create("r", "out") == told == honest.ask("lookup", id="r")[1]
    assert (honest.lines()[-1]["amount"], honest.lines()[-1]["requested"]) == ("20.00", "25.00")
    honest.script(31)
    assert honest.create("all", "out", "200.00")["amount"] == "80.00"
    honest.script(31)
    assert honest.create("in", amount="0.03")["amount"] == "0.01"
    honest.stop()
    honest.start()
    assert (honest.create("r", "out"), honest.balance()) == (told, "0.01")
    honest.act("take_back", "r")
    taken = honest.ask("lookup", id="r")[1]
    assert (taken["status"], taken["amount"], "requested" in taken) == ("cancelled", "25.00", False)
    assert (honest.balance(), honest.moved("r")) == ("20.01", "0.00")


def test_32_a_bet_settles_before_the_withdrawal(honest):
    """C-11, case 32: the balance just read is no longer there; the bet is in the file, the money did not move."""
    honest.create("fund", amount="100.00")
    assert honest.balance() == "100.00"
    honest.script(32)
    assert honest.create("out", "out", "100.00")["code"] == "insufficient_funds"
    bet = honest.lines()[-2]
    assert (bet["kind"], bet["amount"], bet["balance"]) == ("result", "-0.01", "99.99")
    assert honest.kinds("out") == ["refused"]


def test_33_a_game_that_ends_by_itself(honest):
    """C-11, case 33: out is refused while the player plays, in is not; then it is allowed."""
    honest.create("fund")
    honest.script(33, params={"delay": 0.6})
    assert [honest.create(name, "out", "1.00")["code"] for name in ("a", "b")] == ["player_in_game"] * 2
    assert honest.create("c")["status"] == "confirmed"
    time.sleep(0.7)
    assert honest.create("d", "out", "1.00")["status"] == "confirmed"


def test_33_a_kick_and_then_it_settles(honest):
    """C-11, case 33: a kick ends the game, refused until it has settled; variant both refuses in as well."""
    honest.create("fund")
    honest.script(33, params={"delay": 60, "settle": 0.5, "variant": "both"})
    assert honest.create("a")["code"] == "player_in_game"
    honest.ask("kick", player="ann")
    assert honest.create("b", "out", "1.00")["code"] == "player_in_game"
    time.sleep(0.6)
    assert honest.create("c", "out", "1.00")["status"] == "confirmed"


def test_35_the_agents_credit_is_exhausted(honest):
    """C-12, case 35: deposits are refused for good, withdrawals pass."""
    honest.create("fund")
    honest.script(35, times=2)
    assert [honest.create(name)["code"] for name in ("a", "b")] == ["agent_credit_exhausted"] * 2
    assert [honest.create("out", "out", "1.00")["status"], honest.create("a")["status"]] == ["confirmed", "refused"]
    assert honest.kinds("a") == ["refused"]


@pytest.mark.parametrize(("body", "begins"), [("json", b'{"code":"maintenance"'), ("html", b"<!doctype html>")])
def test_36_maintenance_for_a_while(honest, body, begins):
    """C-12, case 36: every operation is closed for a while, and nothing is executed."""
    honest.script(36, params={"body": body, "delay": 0.5})
    message = json.dumps({"type": "transfer.create", "data": terms("r", "in", "25.00")}).encode()
    for _ in range(2):
        status, content, _ = honest.post(message)
        assert (status, content[: len(begins)]) == (503, begins)
    time.sleep(0.6)
    assert (honest.status("r"), honest.lines()) == ("not_found", [])


def test_41_not_so_fast(honest):
    """C-12, case 41: 429, with the time to wait or without it; nothing is executed."""
    body = json.dumps({"type": "transfer.create", "data": terms("r", "in", "25.00")}).encode()
    for seconds in (0, 2):
        honest.script(41, params={"retry_after": seconds})
        status, _, headers = honest.post(body)
        assert (status, headers.get("retry-after")) == (429, "2" if seconds else None)
    assert honest.lines() == []


def test_42_a_player_never_seen(honest):
    """C-14, case 42: no transfer and an internal error for the unknown; a known player is served."""
    honest.create("fund")
    honest.script(42, on=["balance", "create"], params={"variant": "error"}, times=2)
    assert (honest.balance("ann"), honest.create("more")["status"]) == ("25.00", "confirmed")
    assert honest.ask("balance", player="nobody", currency="EUR")[0] == 500
    assert honest.create("r", player="stranger")["code"] == "unknown_player"
    assert honest.kinds("r") == ["refused"]


def positions(simulator, after=0):
    """The positions on the feed's next page."""
    return [row[0] for row in simulator.feed(after)]


def once(simulator, references):
    """Whether the ledger file has each of these moved whole, once, and nothing else: only the feed lies."""
    moved = [(line["kind"], line["reference"], line["amount"]) for line in simulator.lines()]
    return moved == [("completed", each, "25.00") for each in references]


def test_44_a_row_is_held_back_and_appears_below_later_ones(honest):
    """C-37, case 44: the reader is past it when it comes; for a while it is delivered to everybody."""
    for name in ("a", "b", "c"):
        honest.create(name)
    honest.script(44, reference="b", params={"variant": "late", "delay": 0.6}, times=9)
    assert positions(honest) == [1, 3]
    time.sleep(0.7)
    assert positions(honest, after=3) == [2]
    assert once(honest, "abc")


def test_44_rows_come_again_are_amended_or_behind(honest):
    """C-73, case 44: rows already read are delivered again, changed, or the whole feed is behind the time."""
    for name in ("a", "b", "c", "d"):
        honest.create(name)
    honest.script(44, params={"variant": "again"})
    assert positions(honest, after=4) == [2, 3, 4]
    honest.script(44, reference="b", params={"variant": "amended", "delay": 0})
    _, page = honest.ask("feed", after=0, limit=500)
    assert [entry["transfer"]["amount"] for entry in page["entries"]] == ["25.00", "25.01", "25.00", "25.00"]
    honest.script(44, params={"variant": "behind", "delay": 60})
    assert (positions(honest), positions(honest)) == ([], [1, 2, 3, 4])
    assert honest.shown() == [(44, "feed")] * 3
    assert once(honest, "abcd")


def test_44_by_rate_in_the_rows_that_are_fated(start):
    """C-73, case 44: by rate the feed is quirky as long as fated transfers stand in it."""
    simulator = start("--rate", "1", "--cases", "44")
    simulator.control("POST", "/rate", {"rate": 1, "cases": "44", "params": {"44": {"variant": "behind", "delay": 60}}})
    simulator.create("a")
    assert [positions(simulator) for _ in range(2)] == [[], []]
    simulator.control("POST", "/rate", {"rate": 0})
    assert positions(simulator) == [1]
    assert once(simulator, "a")
