"""Answers that are lost or late, dead tokens, stale lists: the wire, and what the ledger file says."""

from __future__ import annotations

import http.client
import threading
import time
from decimal import Decimal

import pytest

LOST = (ConnectionError, http.client.HTTPException, TimeoutError)


def test_1_prepare_executed_and_answer_lost(hasty):
    """C-17, case 1: the answer is lost, the transfer exists, dies by itself; its reference then conflicts."""
    hasty.script(1)
    with pytest.raises(LOST):
        hasty.prepare("r")
    assert hasty.kinds("r") == ["prepared"]
    hasty.until("r", "cancelled")
    assert hasty.prepare("r")[1]["code"] == "STATUS_CONFLICT"
    assert hasty.shown() == [(1, "prepare")]
    line = hasty.lines(".faults")[0]
    assert (line["reference"], line["player"]) == ("r", "ann")
    assert line["id"] == hasty.lines()[0]["id"]


def test_2_prepare_lost_before_it_arrives(honest):
    """C-17, case 2: the provider never saw it; the same reference opens a new PENDING transfer."""
    honest.script(2)
    with pytest.raises(LOST):
        honest.prepare("r")
    assert honest.lines() == []
    assert honest.prepare("r")[1]["status"] == "PENDING"
    assert [line["answered"] for line in honest.lines(".wire")[1:]] == ["dropped", 201]


@pytest.mark.parametrize("how", ["reset", "close", "half", "hang"])
@pytest.mark.parametrize("case", [3, 13])
def test_3_and_13_complete_executed_and_answer_lost(honest, case, how):
    """C-01, cases 3 and 13: the answer is lost in every way a socket knows; the money moved exactly once."""
    honest.script(case, params={"how": how, "delay": 0.3})
    transfer_id = honest.prepared("r")
    with pytest.raises(LOST):
        honest.finish(transfer_id)
    assert honest.look_up(transfer_id)[1]["status"] == "COMPLETED"
    assert honest.finish(transfer_id)[0] == 200
    assert honest.kinds("r") == ["prepared", "completed"]
    assert honest.shown() == [(case, "complete")]


def test_4_complete_held_past_the_expiry(hasty):
    """C-26, case 4: a complete that arrives too late is a conflict and moves nothing."""
    hasty.script(4, params={"delay": 0.2})
    status, answer = hasty.finish(hasty.prepared("r"))
    assert (status, answer["code"]) == (409, "STATUS_CONFLICT")
    assert hasty.kinds("r") == ["prepared", "cancelled"]
    assert hasty.shown() == [(4, "complete")]


def test_5_complete_at_the_instant_of_the_expiry(hasty):
    """C-29, case 5: complete and expiry at one instant leave one final state, and the answer tells it."""
    hasty.script(5, times=12)
    ids = {f"r{number}": hasty.prepared(f"r{number}") for number in range(12)}
    answers = {}

    def complete(reference: str) -> None:
        answers[reference] = hasty.finish(ids[reference])[0]

    threads = [threading.Thread(target=complete, args=(reference,)) for reference in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for reference, status in answers.items():
        final = {200: "completed", 409: "cancelled"}[status]
        assert hasty.kinds(reference) == ["prepared", final]
    assert hasty.shown() == [(5, "complete")] * 12


@pytest.mark.parametrize("case", [8, 39])
def test_8_and_39_the_token_dies(honest, case):
    """C-14, cases 8 and 39: 401 between prepare and complete; after a new login the complete succeeds."""
    honest.script(case, on="complete")
    transfer_id = honest.prepared("r")
    for _ in range(2):
        status, answer = honest.finish(transfer_id)
        assert (status, answer["code"]) == (401, "INVALID_TOKEN")
    assert honest.kinds("r") == ["prepared"]
    honest.log_in()
    assert honest.finish(transfer_id)[0] == 200
    assert honest.shown() == [(case, "complete")]


def test_39_one_request_is_refused_though_the_token_lives(honest):
    """C-14, case 39: refused once, and the same token is good again."""
    honest.script(39, on="lookup", params={"variant": "alive"})
    transfer_id = honest.prepared("r")
    assert honest.look_up(transfer_id)[0] == 401
    assert honest.look_up(transfer_id)[0] == 200


def test_9_not_available_on_every_complete(start):
    """C-12, case 9: 503 on each complete until the transfer dies; nothing was executed."""
    simulator = start("--seed", "1", "--expiry", "1", "--rate", "1", "--cases", "9")
    transfer_id = simulator.prepared("r")
    for _ in range(3):
        status, answer = simulator.finish(transfer_id)
        assert (status, answer["code"]) == (503, "QT_NOT_AVAILABLE")
    simulator.until("r", "cancelled")
    assert simulator.kinds("r") == ["prepared", "cancelled"]
    assert simulator.shown() == [(9, "complete")] * 3


def test_12_the_balance_list_is_older_than_the_transfer(honest):
    """C-15, case 12: the row shows the amount and the time before the transfer; the ledger is ahead of it."""
    honest.funded("first")
    time.sleep(2.1)
    honest.funded("second", "11.00")
    honest.script(12, params={"delay": 1})
    status, stale = honest.call("GET", "/v1/wallet/ext?currency=EUR")
    assert status == 200
    _, true = honest.call("GET", "/v1/wallet/ext?currency=EUR")
    assert (stale["items"][0]["amount"], true["items"][0]["amount"]) == (Decimal("100.00"), Decimal("111.00"))
    assert stale["items"][0]["lastUpdatedDateTime"] < true["items"][0]["lastUpdatedDateTime"]
    assert honest.shown() == [(12, "balances")]


def test_12_a_script_may_name_whose_row_is_old(honest):
    """C-15, case 12: the names in its script are those of rows; the others tell the truth."""
    for player in ("ann", "bob"):
        honest.funded(f"of {player}", player=player)
    honest.script(12, player="bob", params={"delay": 60})
    _, stale = honest.call("GET", "/v1/wallet/ext?currency=EUR")
    assert [row["playerId"] for row in stale["items"]] == ["ann"]
    assert honest.shown() == [(12, "balances")]


def test_12_by_rate_the_list_lies_about_fated_players(start):
    """C-15, case 12: by rate, the rows of players whose newest transfer is fated so are old."""
    simulator = start("--seed", "1", "--rate", "1", "--cases", "12")
    simulator.funded("r")
    assert simulator.call("GET", "/v1/wallet/ext")[1]["items"] == []
    simulator.control("POST", "/rate", {"rate": 0})
    assert simulator.call("GET", "/v1/wallet/ext")[1]["items"][0]["amount"] == Decimal("100.00")


def test_14_complete_never_executed(hasty):
    """C-01, case 14: no answer, in three ways, and nothing happened; it dies by itself."""
    ways = ("reset", "close", "hang")
    for how in ways:
        hasty.script(14, params={"how": how, "delay": 0.2})
        with pytest.raises(LOST):
            hasty.finish(hasty.prepared(how))
    for how in ways:
        hasty.until(how, "cancelled")
        assert hasty.kinds(how) == ["prepared", "cancelled"]
    assert hasty.shown() == [(14, "complete")] * 3


def test_14_dropped_before_anything_is_read(honest):
    """C-03, case 14: the connection is reset before its first byte is read; the wire diary counts it."""
    honest.script(14, on="accept", params={"how": "reset"})
    with pytest.raises(LOST):
        honest.prepare("r")
    assert honest.lines() == []
    assert honest.shown() == [(14, "accept")]
    assert {name: honest.lines(".wire")[-1][name] for name in ("operation", "reference", "attempt", "answered")} == {
        "operation": "accept",
        "reference": "",
        "attempt": 1,
        "answered": "dropped",
    }


def test_15_late_commit(hasty):
    """C-15, case 15: lost, PENDING beyond its expiry for everyone who asks, and then executed after all."""
    hasty.funded()
    ids = {}
    for reference, type_, amount in (("in", "CREDIT", "25.00"), ("out", "DEBIT", "60.00")):
        hasty.script(15, reference=reference, params={"delay": 1.6})
        ids[reference] = hasty.prepared(reference, type_, amount)
        with pytest.raises(LOST):
            hasty.finish(ids[reference])
    time.sleep(1.2)
    assert {hasty.look_up(transfer_id)[1]["status"] for transfer_id in ids.values()} == {"PENDING"}
    for reference, transfer_id in ids.items():
        hasty.until(reference, "completed")
        assert hasty.look_up(transfer_id)[1]["status"] == "COMPLETED"
        assert hasty.kinds(reference) == ["prepared", "completed"]
    assert hasty.owned() == "65.00"


def test_15_a_second_complete_is_not_a_second_effect(honest):
    """I-20, case 15: completing again while the first is still to come moves the money once."""
    honest.script(15, params={"delay": 0.5})
    transfer_id = honest.prepared("r")
    with pytest.raises(LOST):
        honest.finish(transfer_id)
    assert honest.finish(transfer_id)[0] == 200
    time.sleep(0.8)
    assert honest.kinds("r") == ["prepared", "completed"]
    assert honest.owned() == "25.00"
