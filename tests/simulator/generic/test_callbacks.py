"""What the provider tells unasked: honest callbacks, case 53, spontaneous acts, and crafted messages."""

from __future__ import annotations

import json
import signal
import time
from itertools import pairwise

import pytest

from tests.simulator.generic.conftest import CALLBACKS, NEXT, REQUESTS, terms


def test_each_end_of_a_transfer_is_told_once(calling, receiver):
    """C-61: confirmed and cancelled are told with all members, signed over the bytes; refused and pending are not."""
    told = calling.create("a")
    calling.create("b", "out", "99.00")
    calling.cancel("c")
    calling.script(25, params={"variant": "success", "delay": 0.2})
    calling.create("d")
    heard = {each.data["id"]: each for each in receiver.still(3)}
    assert {name: each.type for name, each in heard.items()} == {
        "a": "transfer.confirmed",
        "c": "transfer.cancelled",
        "d": "transfer.confirmed",
    }
    assert heard["a"].data == told
    assert [heard[name].data["sequence"] for name in "acd"] == [1, 1, 2]
    assert all(each.good and "balance" in each.data for each in heard.values())
    assert len({each.id for each in heard.values()}) == 3


def test_the_diary_of_callbacks(calling, receiver):
    """I-25: each attempt is noted with its id, type, reference, number and HTTP status."""
    receiver.statuses += [500, 0]
    calling.create("r")
    receiver.still(3)
    lines = calling.lines(".callbacks")
    assert [(line["type"], line["reference"], line["attempt"], line["status"]) for line in lines] == [
        ("transfer.confirmed", "r", 1, 500),
        ("transfer.confirmed", "r", 2, "no answer"),
        ("transfer.confirmed", "r", 3, 200),
    ]
    assert {line["id"] for line in lines} == {receiver.heard[0].id}


def test_it_sends_again_with_growing_pauses(calling, receiver):
    """C-67, case 53: as long as the answer is 5xx: the same id and body, signed anew, ever more slowly."""
    receiver.statuses += [503] * 4
    calling.create("r")
    heard = receiver.still(5, 1.8)
    assert len({(each.id, each.body) for each in heard}) == 1
    assert all(each.good for each in heard)
    pauses = [after.at - before.at for before, after in pairwise(heard)]
    assert all(pause >= least for pause, least in zip(pauses, (0.09, 0.19, 0.39, 0.79), strict=True)), pauses


def test_a_callback_never_holds_up_an_answer(start, receiver):
    """C-67: a receiver that hangs or is not there delays nobody but itself."""
    simulator = start("--callbacks", "http://127.0.0.1:9/nowhere")
    before = time.monotonic()
    for number in range(20):
        simulator.create(f"r{number}")
    assert time.monotonic() - before < 3
    assert simulator.control("POST", "/callbacks", {"url": receiver.url})[0] == 200
    assert {each.data["id"] for each in receiver.wait(20)} == {f"r{number}" for number in range(20)}


def test_callbacks_are_off_until_somebody_wants_them(honest, receiver):
    """C-61: nothing is sent without an address; with one, what was never told is told, and null ends it."""
    honest.create("early")
    assert honest.control("POST", "/callback", {"reference": "early"})[0] == 409
    assert honest.control("POST", "/callbacks", {"url": receiver.url})[0] == 200
    assert receiver.still(1, 0.2)[0].data["id"] == "early"
    honest.control("POST", "/callbacks", {"url": receiver.url})
    honest.control("POST", "/callbacks", {"url": None})
    honest.create("late")
    receiver.still(1, 0.4)
    honest.control("POST", "/callbacks", {"url": receiver.url})
    assert receiver.still(2, 0.3)[1].data["id"] == "late"


def test_what_was_not_taken_is_sent_after_a_restart(start, receiver):
    """C-59, C-61: SIGKILL between the change and its callback: it is sent when the provider is back, what was taken
    is not.
    """
    simulator = start("--callbacks", receiver.url, "--callback-pause", "30")
    simulator.create("taken")
    receiver.wait(1)
    receiver.statuses += [500]
    simulator.create("lost")
    receiver.wait(2)
    time.sleep(0.2)
    simulator.stop(signal.SIGKILL)
    simulator.start()
    heard = receiver.still(3)
    assert [each.data["id"] for each in heard] == ["taken", "lost", "lost"]
    assert heard[1].id == heard[2].id


def test_two_secrets_while_one_is_exchanged(start, receiver):
    """C-65: each callback carries a signature of both."""
    start("--callback-secret", NEXT, "--callbacks", receiver.url).create("r")
    heard = receiver.wait(1)[0]
    assert len(heard.signatures) == 2
    assert heard.signed_with(CALLBACKS)
    assert heard.signed_with(NEXT)
    assert not heard.signed_with(REQUESTS)


def told(simulator, receiver, variant, count, *, quiet=0.6, kinds=("completed",), **params):
    """What is heard of one deposit whose callback meets case 53; the ledger file has it once, and nothing else."""
    simulator.script(53, params={"variant": variant, **params})
    assert simulator.create("r")["status"] == "confirmed"
    heard = receiver.still(count, quiet)
    assert simulator.shown() == [(53, "callback")]
    moved = [(line["kind"], line["reference"], line["player"], line["amount"]) for line in simulator.lines()]
    assert moved == [(kind, "r", "ann", "25.00") for kind in kinds]
    return heard


def test_53_duplicate(calling, receiver):
    """C-64, case 53: the same message twice, though the first was taken."""
    first, second = told(calling, receiver, "duplicate", 2)
    assert (first.id, first.body, first.answered) == (second.id, second.body, 200)


def test_53_out_of_order(calling, receiver):
    """C-62, case 53: taken back indeed; cancelled (sequence 2) is told first, confirmed (sequence 1) after it."""
    heard = told(calling, receiver, "order", 2, delay=0.3, kinds=("completed", "taken_back"))
    assert [each.said for each in heard] == [("r", "cancelled", 2), ("r", "confirmed", 1)]
    assert (calling.kinds("r"), calling.moved("r")) == (["completed", "taken_back"], "0.00")


def test_53_delayed(calling, receiver):
    """C-61, case 53: it comes long after the answer."""
    before = time.monotonic()
    assert told(calling, receiver, "delayed", 1, delay=0.7)[0].at - before > 0.65


@pytest.mark.parametrize("variant", ["forged", "anew", "old"])
def test_53_what_nobody_may_believe(calling, receiver, variant):
    """C-65, case 53: forged, signed over other bytes, or an hour old: refused with 401, and then the right one."""
    wrong, right = told(calling, receiver, variant, 2)
    assert (wrong.answered, right.answered, wrong.id) == (401, 200, right.id)
    assert wrong.content == right.content
    assert (wrong.body == right.body) is (variant != "anew")
    assert wrong.signed_with(CALLBACKS) is (variant == "old")
    assert (time.time() - wrong.timestamp > 3000) is (variant == "old")


def test_53_another_amount(calling, receiver):
    """C-09, case 53: rightly signed, and the amount is not what moved."""
    heard = told(calling, receiver, "amount", 1, amount="24.99")[0]
    assert (heard.good, heard.data["amount"], calling.moved("r")) == (True, "24.99", "25.00")


def test_53_an_unknown_transfer(calling, receiver):
    """C-68, case 53: rightly signed, about a transfer that nobody asked for; and then the right one."""
    heard = sorted(told(calling, receiver, "unknown", 2), key=lambda each: len(each.id))
    assert [each.good for each in heard] == [True, True]
    assert (heard[0].data["id"], heard[0].id == heard[1].id) == ("r", False)
    assert heard[1].data["id"] != "r"


def test_53_the_opposite_verdict(calling, receiver):
    """C-62, case 53: an answer and a look-up said confirmed; a callback says cancelled under the same sequence."""
    heard = told(calling, receiver, "opposite", 1, delay=0.3)[0]
    assert (heard.said, heard.good) == (("r", "cancelled", 1), True)
    assert (calling.status("r"), calling.moved("r")) == ("confirmed", "25.00")


def test_53_the_cancel_of_another_execution(calling, receiver):
    """Case 53: the truth, and then a cancel under the same id and another one of the provider's own; nothing moved."""
    first, other = told(calling, receiver, "another", 2, delay=0.3)
    assert [each.said for each in (first, other)] == [("r", "confirmed", 1), ("r", "cancelled", 2)]
    assert (first.data["provider_id"], first.id) != (other.data["provider_id"], other.id)
    assert (calling.status("r"), calling.moved("r")) == ("confirmed", "25.00")


def test_53_twice_at_the_same_instant(calling, receiver):
    """C-28, case 53: one message from two threads at once."""
    first, second = told(calling, receiver, "twice", 2)
    assert (first.id, first.body) == (second.id, second.body)
    assert second.at - first.at < 0.3


def test_53_a_storm(calling, receiver):
    """C-67, case 53: ten times without a pause, whatever is answered."""
    receiver.statuses += [500] * 3
    heard = told(calling, receiver, "storm", 10)
    assert len({each.id for each in heard}) == 1
    assert heard[-1].at - heard[0].at < 2


def test_53_by_rate(start, receiver):
    """I-31, case 53: by rate and seed the first callback of a transfer meets it, alike in every run."""
    simulator = start("--callbacks", receiver.url, "--rate", "1", "--cases", "53")
    for number in range(12):
        simulator.create(f"r{number}", player=f"p{number}")
    assert simulator.shown() == [(53, "callback")] * 12
    first = [line["reference"] for line in simulator.lines(".faults")]
    assert first == [f"r{number}" for number in range(12)]
    once = (["completed"], ["completed", "taken_back"])  # the latter where it is told out of order
    assert all(simulator.kinds(name) in once for name in first)


def test_acts_that_nobody_asked_for(calling, receiver):
    """C-08, C-55: taken back, cancelled before it came, confirmed unasked: in the books first, then told."""
    calling.create("a")
    assert calling.act("take_back", "a")["status"] == "cancelled"
    unknown = {"player": "ann", "direction": "in", "amount": "5.00", "currency": "EUR"}
    calling.act("cancel", "b", **unknown)
    calling.act("confirm", "c", **unknown)
    calling.script(25, params={"variant": "ever"})
    calling.create("d")
    calling.act("confirm", "d")
    said = {each.said for each in receiver.still(5)}
    ends = {("a", "confirmed", 1), ("a", "cancelled", 2), ("b", "cancelled", 1), ("c", "confirmed", 1)}
    assert said == ends | {("d", "confirmed", 2)}
    assert [calling.kinds(name) for name in "abcd"] == [
        ["completed", "taken_back"],
        ["cancelled"],
        ["completed"],
        ["pending", "completed"],
    ]
    assert calling.create("b", amount="5.00")["status"] == "cancelled"
    assert calling.balance() == "30.00"


def test_a_balance_is_reported(calling, receiver):
    """C-70: a balance told unasked has the contract's members and no transfer."""
    calling.play("7.00")
    assert calling.control("POST", "/act", {"act": "report", "player": "ann", "currency": "EUR"})[0] == 200
    heard = receiver.wait(1)[0]
    assert (heard.type, heard.good, set(heard.data)) == (
        "balance.reported",
        True,
        {"player", "currency", "amount", "time"},
    )
    assert heard.data["amount"] == "7.00"


def test_acts_that_cannot_be(honest):
    """C-55: what is decided is not decided again, and a misspelt act is refused with a sentence."""
    honest.create("a")
    conflicts = [("cancel", "a", 409), ("confirm", "a", 409), ("take_back", "none", 409), ("cancel", "none", 409)]
    for act, reference, status in [*conflicts, ("burn", "a", 400)]:
        answered, answer = honest.control("POST", "/act", {"act": act, "id": reference})
        assert (answered, list(answer)) == (status, ["error"]), act
    for path, body in (
        ("/act", {"act": "cancel", "id": "x", "player": "ann", "direction": "up", "amount": "1.00", "currency": "EUR"}),
        ("/act", {"act": "cancel", "id": "x", "reason": "none"}),
        ("/act", {"act": "report", "player": "ann", "currency": "QQQ"}),
        ("/game", {"player": "ann"}),
        ("/game", {"player": "a b", "in_game": True}),
        ("/game", {"player": "ann", "in_game": True, "settle": -1}),
        ("/callbacks", {"url": "ftp://nowhere"}),
        ("/callbacks", {"url": "http://nowhere:port/"}),
        ("/faults", {"case": 53, "on": "create"}),
        ("/faults", {"case": 26, "params": {"variant": "dead"}}),
        ("/faults", {"case": 3}),
        ("/faults", {"case": 34}),
    ):
        assert honest.control("POST", path, body)[0] == 400, (path, body)
    assert honest.kinds("a") == ["completed"]


CRAFTED = [
    # what is asked for, the receiver's answer, what is heard of it
    ({}, 200, ("r", "confirmed", 1)),
    ({"changes": {"amount": "1.00"}}, 200, ("r", "confirmed", 1)),
    ({"changes": {"id": "stranger", "status": "cancelled", "sequence": 9}}, 200, ("stranger", "cancelled", 9)),
    ({"secret": "wrong"}, 401, ("r", "confirmed", 1)),
    ({"secret": "requests"}, 401, ("r", "confirmed", 1)),
    ({"secret": NEXT}, 401, ("r", "confirmed", 1)),
    ({"age": 301}, 401, ("r", "confirmed", 1)),
    ({"age": -305}, 401, ("r", "confirmed", 1)),
    ({"anew": True}, 401, ("r", "confirmed", 1)),
    ({"signed_id": "another"}, 401, ("r", "confirmed", 1)),
    ({"version": "v2"}, 401, ("r", "confirmed", 1)),
]


def test_crafted_callbacks(calling, receiver):
    """C-64, C-65, C-68: any message, told at once what it was answered; only what is rightly signed is taken."""
    calling.create("r")
    receiver.wait(1)
    for wanted, status, said in CRAFTED:
        assert calling.craft(reference="r", **wanted) == [status], wanted
        assert receiver.heard[-1].said == said
    assert [(line["kind"], line["reference"], line["amount"]) for line in calling.lines()] == [
        ("completed", "r", "25.00")
    ]
    assert receiver.heard[2].data["amount"] == "1.00"
    assert calling.craft(type="transfer.made_up", data={"id": "x"}, id="mine", copies=3) == [200] * 3
    assert {each.id for each in receiver.heard[-3:]} == {"mine"}
    raw = json.dumps({"type": "balance.reported", "data": terms("x", "in", "1.00")}, indent=2)
    assert calling.craft(raw=raw, rounds=2) == [200, 200]
    assert receiver.heard[-1].body == raw.encode()
    receiver.statuses += [500]
    assert calling.control("POST", "/callback", {"reference": "r", "insist": True, "id": "queued"})[0] == 202
    receiver.wait(1 + len(CRAFTED) + 3 + 2 + 2)
    for wrong in ({"reference": "none"}, {"reference": "r", "sequence": 7}, {"copies": 0}, {"colour": "red"}):
        assert calling.control("POST", "/callback", wrong)[0] in {400, 409}, wrong
