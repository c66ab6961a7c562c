"""Answers that are lost, late or undecided, ids that come again: the wire, and what the ledger file says."""

from __future__ import annotations

import time

import pytest

from tests.simulator.generic.conftest import LOST, terms


@pytest.mark.parametrize("how", ["reset", "close", "half", "hang"])
def test_13_executed_and_answer_lost(honest, how):
    """C-01, case 13: the answer is lost in every way a socket knows; the money moved exactly once."""
    honest.script(13, params={"how": how, "delay": 0.3})
    honest.loses("r")
    assert (honest.status("r"), honest.create("r")["status"]) == ("confirmed", "confirmed")
    assert honest.kinds("r") == ["completed"]
    assert honest.shown() == [(13, "create")]


def test_13_waits_for_an_answer_that_is_a_success(honest):
    """C-01, case 13: a refusal is not lost in its place; the script waits for the next confirmation."""
    honest.script(13)
    assert honest.create("r", "out")["code"] == "insufficient_funds"
    honest.loses("s")
    assert honest.kinds("s") == ["completed"]


@pytest.mark.parametrize("how", ["reset", "close", "hang"])
def test_14_never_executed(honest, how):
    """C-01, case 14: no answer and no effect; the same id sent again is executed."""
    honest.script(14, params={"how": how, "delay": 0.2})
    honest.loses("r")
    assert (honest.status("r"), honest.lines()) == ("not_found", [])
    assert honest.create("r")["status"] == "confirmed"
    assert honest.kinds("r") == ["completed"]


@pytest.mark.parametrize(("direction", "left"), [("in", "125.00"), ("out", "75.00")])
def test_15_late_commit(honest, direction, left):
    """C-15, case 15: lost, not found for everyone who asks, and then executed after all."""
    honest.create("fund", amount="100.00")
    honest.script(15, params={"delay": 0.6, "body": "missing"})
    honest.loses("r", direction)
    assert [honest.status("r") for _ in range(3)] == ["not_found"] * 3
    assert (honest.feed(after=1), honest.balance()) == ([], "100.00")
    honest.until("r", "completed")
    assert (honest.status("r"), honest.balance(), honest.kinds("r")) == ("confirmed", left, ["completed"])


def test_15_late_commit_of_what_is_pending(honest):
    """C-15, case 15: lost, pending for everyone who asks, executed later under the next sequence."""
    honest.script(15, params={"delay": 0.5, "body": "pending"})
    honest.loses("r")
    assert honest.status("r") == "pending"
    honest.until("r", "completed")
    assert honest.ask("lookup", id="r")[1]["sequence"] == 2
    assert honest.kinds("r") == ["pending", "completed"]


def test_15_late_commit_and_another_transfer_is_told_of(honest):
    """C-15, C-16, cases 15 and 20: until it is executed, look-ups tell the transfer that has changed most often."""
    honest.script(15, params={"delay": 0.6, "body": "another"})
    honest.loses("first")
    assert honest.status("first") == "not_found"  # there is no other one
    honest.until("first", "completed")
    honest.act("take_back", "first")
    honest.create("between")
    honest.script(15, params={"delay": 0.6, "body": "another"})
    honest.loses("r")
    told = honest.ask("lookup", id="r")[1]
    assert (told["id"], told["status"], told["sequence"]) == ("first", "cancelled", 2)
    honest.until("r", "completed")
    time.sleep(0.2)
    told = honest.ask("lookup", id="r")[1]
    assert (told["id"], told["status"], told["sequence"]) == ("r", "confirmed", 1)


def test_15_the_same_id_again_is_not_a_second_effect(honest):
    """I-20, case 15: sent again while the first is still to come: executed at once, and once."""
    honest.script(15, params={"delay": 0.4, "body": "missing"})
    honest.loses("r")
    assert honest.create("r")["status"] == "confirmed"
    time.sleep(0.6)
    assert honest.kinds("r") == ["completed"]


@pytest.mark.parametrize(("commit", "moved"), [(False, "0.00"), (True, "25.00")])
def test_15_a_cancel_comes_first(honest, commit, moved):
    """C-07, case 15: cancelled before the late commit: never executed, or (commit) executed off the record."""
    honest.script(15, params={"delay": 0.4, "body": "missing", "commit": commit})
    honest.loses("r")
    assert honest.cancel("r")["status"] == "cancelled"
    time.sleep(0.7)
    assert (honest.status("r"), honest.moved("r"), honest.balance()) == ("cancelled", moved, moved)
    assert honest.kinds("r") == ["cancelled"] + ["completed"] * commit


def test_21_executed_twice(honest):
    """C-54, case 21: the same id again is executed again; the ledger file shows two effects under one id."""
    first = honest.create("r")
    honest.script(21, params={"variant": "twice"})
    assert honest.create("r") == first
    assert (honest.kinds("r"), honest.moved("r"), honest.balance()) == (["completed"] * 2, "50.00", "50.00")
    assert [row[1:] for row in honest.feed()] == [("r", "confirmed", 1)]
    assert honest.create("r") == first
    assert honest.shown() == [(21, "create")]


@pytest.mark.parametrize(
    ("variant", "status", "code"),
    [("duplicate", 409, "duplicate"), ("busy", 409, "in_progress"), ("created", 201, None)],
)
def test_21_a_duplicate_in_other_words(honest, variant, status, code):
    """C-10, cases 21 and 24: the same id again is an error that means done, one that means nothing, or 201."""
    honest.create("r")
    honest.script(21, params={"variant": variant})
    answered, answer = honest.ask("create", **terms("r", "in", "25.00"))
    assert (answered, answer.get("code")) == (status, code)
    assert honest.kinds("r") == ["completed"]


def test_21_by_rate_the_first_answer_is_lost(start):
    """C-54, case 21: by rate: lost, not found until it is sent again, and then one of the variants."""
    simulator = start("--rate", "1", "--cases", "21")
    simulator.control("POST", "/rate", {"rate": 1, "cases": "21", "params": {"21": {"variant": "twice"}}})
    simulator.loses("r")
    assert simulator.status("r") == "not_found"
    assert simulator.create("r")["status"] == "confirmed"
    assert (simulator.status("r"), simulator.kinds("r")) == ("confirmed", ["completed"] * 2)
    assert simulator.shown() == [(21, "create"), (21, "lookup"), (21, "create")]


@pytest.mark.parametrize(("variant", "amount", "moved"), [("first", "25.00", "25.00"), ("executed", "30.00", "55.00")])
def test_22_the_same_id_with_another_amount(honest, variant, amount, moved):
    """C-10, case 22: not 409: the first transfer is answered in silence, or both are executed."""
    honest.create("r")
    honest.script(22, params={"variant": variant})
    assert honest.create("r", amount="30.00")["amount"] == amount
    assert honest.moved("r") == moved
    assert honest.shown() == [(22, "create")]


def test_23_the_withdrawal_again_is_short(honest):
    """C-54, case 23: the first attempt drained the player, and the second is refused for the balance."""
    honest.create("fund")
    honest.script(23, params={"lose": True})
    honest.loses("r", "out")
    assert honest.status("r") == "not_found"
    again = honest.create("r", "out")
    assert (again["status"], again["code"]) == ("refused", "insufficient_funds")
    assert (honest.status("r"), honest.kinds("r"), honest.balance()) == ("confirmed", ["completed"], "0.00")


ENDS = [("success", "confirmed", "completed", "25.00"), ("fail", "cancelled", "cancelled", "0.00")]


@pytest.mark.parametrize(("variant", "status", "kind", "left"), ENDS)
def test_25_pending_and_then_decided(honest, variant, status, kind, left):
    """C-63, case 25: pending to the create, to its repetition and to look-ups; then its end, under sequence 2."""
    honest.script(25, params={"variant": variant, "delay": 0.5})
    told = honest.create("r")
    assert (told["status"], told["sequence"], "balance" in told) == ("pending", 1, False)
    assert honest.create("r") == told
    assert honest.status("r") == "pending"
    honest.until("r", kind)
    ended = honest.create("r")
    assert (ended["status"], ended["sequence"], honest.balance()) == (status, 2, left)
    assert honest.kinds("r") == ["pending", kind]


def test_25_pending_for_ever(hasty):
    """C-18, case 25: pending beyond any time, after a cancel and after a restart too, until the provider acts."""
    hasty.script(25, params={"variant": "ever"})
    hasty.create("r")
    time.sleep(1.3)
    assert (hasty.status("r"), hasty.cancel("r")["status"]) == ("pending", "pending")
    hasty.stop()
    hasty.start()
    time.sleep(0.3)
    assert hasty.status("r") == "pending"
    assert hasty.act("cancel", "r")["status"] == "cancelled"
    assert hasty.kinds("r") == ["pending", "cancelled"]


def test_25_a_cancel_ends_what_is_pending(honest):
    """C-29, case 25: cancelled while pending, it is never executed."""
    honest.script(25, params={"variant": "success", "delay": 0.4})
    honest.create("r")
    assert honest.cancel("r")["status"] == "cancelled"
    time.sleep(0.6)
    assert (honest.kinds("r"), honest.balance()) == (["pending", "cancelled"], "0.00")


MISLED = [
    ("missing", {"variant": "late", "body": "missing"}, 200, "not_found"),
    ("pending", {"variant": "late", "body": "pending"}, 200, "pending"),
    ("rate", {"variant": "rate"}, 429, "too_many_requests"),
    ("maintenance", {"variant": "maintenance"}, 503, "maintenance"),
]


def test_26_the_look_up_misleads_and_then_tells(honest):
    """C-15, case 26: look-ups say not_found, pending, 429 or 503 for a while, and then the truth."""
    for reference, params, _, _ in MISLED:
        honest.script(26, params={**params, "delay": 0.6})
        honest.loses(reference)
    for reference, _, status, said in MISLED:
        for _ in range(2):
            answered, answer = honest.ask("lookup", id=reference)
            assert (answered, answer.get("status") or answer["code"]) == (status, said)
    time.sleep(0.7)
    for reference, _, _, _ in MISLED:
        assert honest.status(reference) == "confirmed"
        assert honest.moved(reference) == "25.00"
    assert honest.shown() == [(26, "create")] * 4 + [(26, "lookup")] * 8


def test_26_the_look_up_forgets_for_ever(honest):
    """C-15, case 26: not found for ever, while the feed and the ledger file know it."""
    honest.script(26, params={"variant": "retention", "lose": False})
    assert honest.create("r")["status"] == "confirmed"
    assert honest.status("r") == "not_found"
    assert honest.feed() == [(1, "r", "confirmed", 1)]


def test_26b_the_money_moved_and_nobody_wrote_it_down(honest):
    """C-07, case 26b: no look-up and no feed will ever know; only the balance does, also after a restart."""
    honest.script(26, params={"variant": "unrecorded"})
    honest.loses("r")
    honest.stop()
    honest.start()
    assert (honest.status("r"), honest.feed()) == ("not_found", [])
    assert (honest.balance(), honest.kinds("r"), honest.moved("r")) == ("25.00", ["completed"], "25.00")


@pytest.mark.parametrize(("direction", "during", "after"), [("in", "125.00", "100.00"), ("out", "75.00", "100.00")])
def test_27_refused_first_and_taken_back_later(honest, direction, during, after):
    """C-07, case 27: refused in every answer while the balance shows the money moved; then it comes back."""
    honest.create("fund", amount="100.00")
    honest.script(27, params={"delay": 0.7, "lose": False})
    told = honest.create("r", direction)
    assert (told["status"], told["code"]) == ("refused", "internal_timeout")
    assert (honest.status("r"), honest.balance()) == ("refused", during)
    honest.until("r", "taken_back")
    assert (honest.status("r"), honest.balance(), honest.moved("r")) == ("refused", after, "0.00")
    assert honest.feed(after=1) == [(2, "r", "refused", 1)]


def test_27_the_money_never_comes_back(honest):
    """C-07, case 27: only look-ups say refused, and the reversal is lost."""
    honest.script(27, params={"never": True, "lose": True})
    honest.loses("r")
    assert (honest.status("r"), honest.moved("r"), honest.balance()) == ("refused", "25.00", "25.00")


def test_28_confirmed_first_and_the_wallet_later(honest):
    """C-08, case 28: confirmed in every answer, the balance unmoved; it moves later, under the same sequence."""
    honest.script(28, params={"delay": 0.6})
    assert (honest.create("r")["status"], honest.status("r"), honest.balance()) == ("confirmed", "confirmed", "0.00")
    assert honest.kinds("r") == ["recorded"]
    honest.until("r", "completed")
    assert (honest.balance(), honest.feed()) == ("25.00", [(1, "r", "confirmed", 1)])


def test_28_confirmed_and_never_true(honest):
    """C-08, case 28: confirmed for ever, and nothing in the wallet; taking it back takes nothing."""
    honest.script(28, params={"never": True})
    honest.create("r")
    time.sleep(0.3)
    assert (honest.status("r"), honest.balance(), honest.moved("r")) == ("confirmed", "0.00", "0.00")
    honest.act("take_back", "r")
    assert (honest.balance(), honest.kinds("r")) == ("0.00", ["recorded", "cancelled"])


def test_39_the_right_signature_is_refused(honest):
    """C-14, case 39: 401 for every message for a while, or only once; nothing is executed."""
    honest.script(39, params={"delay": 0.5})
    assert honest.ask("create", **terms("r", "in", "25.00"))[1]["code"] == "bad_signature"
    assert honest.ask("lookup", id="r")[0] == 401
    time.sleep(0.6)
    honest.script(39, params={"variant": "alive"}, on="lookup")
    assert [honest.ask("lookup", id="r")[0] for _ in range(2)] == [401, 200]
    assert honest.lines() == []


def test_40_not_on_the_list(honest):
    """C-12, case 40: a 403, a socket that drops, a redirect; nothing is executed."""
    honest.script(40, params={"variant": "body"})
    assert honest.ask("create", **terms("r", "in", "25.00")) == (
        403,
        {"code": "not_allowed", "message": "this address is not allowed"},
    )
    honest.script(40, params={"variant": "drop"})
    honest.loses("r")
    honest.script(40, params={"variant": "redirect"})
    status, _, headers = honest.post(b'{"type": "transfer.create", "data": {}}')
    assert (status, headers["location"]) == (307, "/wallet")
    honest.script(14, on="accept", params={"how": "reset"})
    with pytest.raises(LOST):
        honest.status("r")
    assert honest.lines() == []
