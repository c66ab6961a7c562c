"""The operator's cancel through the API: a wish that is stored, acted on at once where nobody drives."""

from __future__ import annotations

from typing import Any


def cancel(house: Any, transfer_id: str, key: str, body: Any = None) -> Any:
    """Ann's cancel under a key."""
    return house.ann.post(f"/v1/transfers/{transfer_id}/cancel", body, key=key)


def test_what_was_never_sent_is_reversed_at_once(house):
    """Design §6: cancel of a planned transfer → 200 reversed without a call, and the wallet has its money again."""
    queued = house.transfer("k-1", Prefer="respond-async").json
    answer = cancel(house, queued["id"], "c-1")
    assert (answer.status_code, answer.json["state"], answer.json["cancel_requested"]) == (200, "reversed", True)
    assert answer.json["reason"]["code"] == "cancelled"
    assert "cancel" not in answer.json["links"]
    assert house.provider.wire(house.player, "prepare", "complete", "cancel") == []
    assert house.funds("wallet") == "1000.00"
    house.audit()


def test_the_same_cancel_again_gets_the_same_bytes(house):
    """I-21: the key of a cancel keeps its final answer; nothing is stored twice."""
    queued = house.transfer("k-1", Prefer="respond-async").json
    first = cancel(house, queued["id"], "c-1")
    before = house.contents()
    again = cancel(house, queued["id"], "c-1", {})
    assert (again.status_code, again.data, again.headers["Idempotent-Replayed"]) == (200, first.data, "true")
    assert house.contents() == before


def test_a_cancel_after_the_end_is_refused(house):
    """Design §6: final → 409 `already_final`, which stays with its key; another key after a cancel is told the same."""
    confirmed = house.transfer("k-1").json
    late = cancel(house, confirmed["id"], "c-1")
    assert (late.status_code, late.json["code"], late.json["transfer_id"]) == (409, "already_final", confirmed["id"])
    assert cancel(house, confirmed["id"], "c-1").data == late.data
    queued = house.transfer("k-2", Prefer="respond-async").json
    assert cancel(house, queued["id"], "c-2").status_code == 200
    assert cancel(house, queued["id"], "c-3").json["code"] == "already_final"
    assert house.funds("wallet") == "975.00"


def test_a_cancel_of_what_was_sent_is_a_wish(build_house):
    """C-29: the complete left and its answer is lost → 202 cancel_requested; proof decides, and it was executed."""
    house = build_house()
    house.provider.script(13, player=house.player)
    house.provider.script(36, player=house.player, on="lookup", times=60)
    sent = house.transfer("k-1", Prefer="wait=1").json
    assert sent["state"] == "pending"
    wished = cancel(house, sent["id"], "c-1")
    assert (wished.status_code, wished.json["state"], wished.json["cancel_requested"]) == (202, "pending", True)
    assert cancel(house, sent["id"], "c-1").status_code == 202
    house.provider.control("DELETE", "/faults")
    house.resolve_until(sent["id"], "confirmed")
    ended = cancel(house, sent["id"], "c-1")
    assert (ended.status_code, ended.json["code"]) == (409, "already_final")
    assert house.effects(sent) == 1
    house.audit()


def test_a_lost_answer_to_a_cancel_is_found_again(house):
    """C-48: the wish was acted on and the process died before it answered: the same key is told 200, not 409."""
    queued = house.transfer("k-1", Prefer="respond-async").json
    first = cancel(house, queued["id"], "c-1")
    house.write("UPDATE idempotency_key SET status = NULL, response = NULL, answered = :no WHERE key = 'c-1'", no=False)
    again = cancel(house, queued["id"], "c-1")
    assert (again.status_code, again.data) == (200, first.data)


def test_one_cancel_key_is_for_one_transfer(house):
    """I-22: a cancel's key names its transfer; another transfer under it → 422 and no wish."""
    one, two = (house.transfer(f"k-{n}", Prefer="respond-async").json["id"] for n in (1, 2))
    assert cancel(house, one, "c-1").status_code == 200
    refused = cancel(house, two, "c-1")
    assert (refused.status_code, refused.json["code"]) == (422, "idempotency_key_reused")
    assert [error["field"] for error in refused.json["errors"]] == ["transfer_id"]
    assert house.ann.get(f"/v1/transfers/{two}").json["cancel_requested"] is False


def test_a_cancel_of_nothing_stores_nothing(house):
    """C-56: an unknown id → 404 and not even the key is kept; an accepted id is never 404, however soon."""
    before = house.contents()
    assert cancel(house, f"tr_{'0' * 32}", "c-1").status_code == 404
    assert house.contents() == before
    queued = house.transfer("k-1", Prefer="respond-async").json
    assert cancel(house, queued["id"], "c-1").status_code == 200


def test_a_cancel_carries_no_body(house):
    """Issue 2: the body is empty or {}; anything else is refused by name and wishes nothing."""
    queued = house.transfer("k-1", Prefer="respond-async").json
    before = house.contents()
    refused = cancel(house, queued["id"], "c-1", {"amount": "1.00"})
    assert (refused.status_code, refused.json["errors"][0]["field"]) == (422, "amount")
    assert cancel(house, queued["id"], "c-1", b"[]").status_code == 400
    assert house.contents() == before
