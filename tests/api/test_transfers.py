"""Transfers through the API: what is answered, what a key stands for, and that money moved once or not at all."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from bridge.app import create_app
from bridge.transfers.begin import Wish, begin
from bridge.transfers.drive import drive
from tests.harness import OPERATOR, PROVIDER, together

FIELDS = {
    "id", "state", "direction", "player_id", "provider", "requested", "amount", "arrived", "dust", "currency",
    "reason", "provider_reference",
    "created_at", "updated_at", "orphan_at", "cancel_requested", "legs", "links",
}  # fmt: skip
INSTANT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"


def operator_id(house: Any) -> int:
    """The id of Ann's operator."""
    return int(house.rows("SELECT id FROM operator WHERE name = :name", name=OPERATOR)[0]["id"])


def test_a_transfer_in_is_confirmed_within_the_request(house):
    """Design §8: 201 with the final transfer, its address in Location, and the money at the provider once."""
    answer = house.transfer("k-1", "in", "25.00")
    body = answer.json
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/v1/transfers/{body['id']}"
    assert answer.content_type == "application/json"
    assert "Idempotent-Replayed" not in answer.headers
    assert set(body) == FIELDS
    assert (body["state"], body["amount"], body["reason"]) == ("confirmed", "25.00", None)
    assert body["cancel_requested"] is False
    assert [(leg["holder"], leg["side"], leg["state"]) for leg in body["legs"]] == [
        ("wallet", "debit", "applied"),
        (PROVIDER, "credit", "applied"),
    ]
    assert body["legs"][1]["attempts"] == 2
    assert body["links"] == {"self": answer.headers["Location"], "history": answer.headers["Location"] + "/history"}
    assert house.ann.get(answer.headers["Location"]).json == body
    assert house.effects(body) == 1
    assert house.provider.owns(house.player) == 2500
    assert (house.funds("wallet"), house.funds("total")) == ("975.00", "1000.00")
    assert house.all_funds()["funds"][0]["at_providers"] == {PROVIDER: "25.00"}
    house.audit()


def test_a_transfer_out_brings_money_home(house):
    """Design §3.2: out debits the provider first and credits the wallet last; 201 confirmed."""
    house.transfer("k-in", "in", "25.00")
    answer = house.transfer("k-out", "out", "10.00")
    assert (answer.status_code, answer.json["state"]) == (201, "confirmed")
    assert [leg["holder"] for leg in answer.json["legs"]] == [PROVIDER, "wallet"]
    assert (house.funds("wallet"), house.provider.owns(house.player)) == ("985.00", 1500)
    house.audit()


def test_instants_are_rfc_3339_in_utc(house):
    """Design §8: every instant has microseconds and a Z, and the order of time is the order of the text."""
    body = house.transfer("k-1").json
    for name in ("created_at", "updated_at", "orphan_at"):
        assert re.fullmatch(INSTANT, body[name]), body[name]
    assert body["created_at"] <= body["updated_at"] < body["orphan_at"]


def test_a_refusal_of_the_provider_is_a_reversed_transfer(house):
    """Design §8: refused by the provider → 201 reversed with a reason, and the money is back in the wallet."""
    house.provider.script(35, player=house.player)
    answer = house.transfer("k-1")
    assert (answer.status_code, answer.json["state"]) == (201, "reversed")
    assert answer.json["reason"]["code"] == "provider_refused"
    assert (house.funds("wallet"), house.effects(answer.json)) == ("1000.00", 0)
    again = house.transfer("k-1")
    assert (again.data, again.headers["Idempotent-Replayed"]) == (answer.data, "true")
    house.audit()


def test_the_same_key_gives_the_same_bytes(house):
    """I-20, I-21: a repetition after the end gets the first answer byte by byte, and moves nothing."""
    first = house.transfer("k-1")
    before = house.contents()
    for _ in range(3):
        again = house.transfer("k-1")
        assert (again.status_code, again.data) == (first.status_code, first.data)
        assert again.headers["Idempotent-Replayed"] == "true"
        assert again.headers["Location"] == first.headers["Location"]
    assert house.contents() == before
    assert house.effects(first.json) == 1


def test_the_same_key_in_parallel_moves_money_once(house):
    """I-20, I-24, C-50: eight requests with one key at one instant make one transfer and one effect."""
    clients = [house.call_as(house.ann.secret) for _ in range(8)]
    answers = together(8, lambda n: clients[n].post("/v1/transfers", house.wish(), key="k-1", Prefer="wait=6"))
    assert {answer.status_code for answer in answers} == {201}, [answer.data for answer in answers]
    assert len({answer.data for answer in answers}) == 1
    assert house.effects(answers[0].json) == 1
    assert len(house.rows("SELECT id FROM transfer")) == 1
    house.audit()


def test_two_keys_are_two_transfers(house):
    """C-52: the same body under two keys is two honest transfers."""
    first, second = house.transfer("k-1"), house.transfer("k-2")
    assert first.json["id"] != second.json["id"]
    assert house.provider.owns(house.player) == 5000


@pytest.mark.parametrize(
    ("field", "other"),
    [("player_id", "somebody"), ("provider", "other"), ("direction", "out"), ("amount", "25.0"), ("currency", "JPY")],
)
def test_another_body_under_the_key_is_refused_by_name(house, field, other):
    """I-22: the same key with another body → 422 that names the fields, no effect, and the transfer's id."""
    first = house.transfer("k-1")
    before = house.contents()
    answer = house.ann.post("/v1/transfers", house.wish(**{field: other}), key="k-1")
    assert (answer.status_code, answer.json["code"], answer.json["retry"]) == (422, "idempotency_key_reused", "new_key")
    assert [error["field"] for error in answer.json["errors"]] == [field]
    assert answer.json["transfer_id"] == first.json["id"]
    assert house.contents() == before


def test_a_refusal_for_lack_of_money_stays_with_its_key(house):
    """I-23: a key answered with insufficient funds never moves money, even when the balance is later sufficient."""
    first = house.transfer("k-1", "in", "1000.01")
    assert (first.status_code, first.content_type) == (422, "application/problem+json")
    assert (first.json["code"], first.json["errors"][0]["field"]) == ("insufficient_funds", "amount")
    assert "Idempotent-Replayed" not in first.headers
    assert house.cash("deposits", "5000.00", "more").status_code == 201
    again = house.transfer("k-1", "in", "1000.01")
    assert (again.status_code, again.data) == (422, first.data)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert house.rows("SELECT id FROM transfer") == []
    assert house.provider.owns(house.player) == 0
    assert house.transfer("k-2", "in", "1000.01").json["state"] == "confirmed"


def test_an_invalid_request_leaves_its_key_free(house):
    """Design §8: what was refused as invalid stored nothing, so the corrected request may use the same key."""
    assert house.transfer("k-1", "in", "25.001").status_code == 422
    assert house.transfer("k-1", "in", "25.00").status_code == 201


def test_one_key_in_two_operations_and_two_tenants(house):
    """C-53: a key belongs to one operator and one operation; elsewhere it is another key."""
    assert house.cash("deposits", "1.00", "same").status_code == 201
    assert house.cash("withdrawals", "1.00", "same").status_code == 201
    assert house.transfer("same").status_code == 201
    house.charlie.ask("PUT", f"/v1/players/{house.player}", {"currencies": ["EUR"]})
    three = {"amount": "3.00", "currency": "EUR"}
    theirs = house.charlie.post(f"/v1/players/{house.player}/deposits", three, key="same")
    assert (theirs.status_code, theirs.json["balance"]) == (201, "3.00")
    assert house.funds("total") == "1000.00"


def test_respond_async_answers_at_once_and_the_resolver_does_the_rest(house):
    """Design §6: `respond-async` → 202 before anything is sent; later the key gives the end, and keeps its bytes."""
    answer = house.transfer("k-1", Prefer="respond-async")
    assert (answer.status_code, answer.json["state"]) == (202, "pending")
    assert answer.headers["Preference-Applied"] == "respond-async"
    assert answer.headers["Location"] == f"/v1/transfers/{answer.json['id']}"
    assert answer.json["links"]["cancel"] == f"/v1/transfers/{answer.json['id']}/cancel"
    assert (answer.json["legs"][1]["attempts"], house.provider.wire(house.player, "prepare")) == (0, [])
    repeated = house.transfer("k-1")
    assert (repeated.status_code, repeated.headers["Idempotent-Replayed"]) == (202, "true")
    house.resolve_until(answer.json["id"], "confirmed")
    ended = house.transfer("k-1")
    assert (ended.status_code, ended.json["state"]) == (201, "confirmed")
    assert house.transfer("k-1").data == ended.data
    assert house.effects(ended.json) == 1


def test_the_wait_budget_ends_the_wait_and_not_the_transfer(house):
    """Design §6: an answer that does not come within `Prefer: wait=N` is a 202, and the transfer goes on."""
    house.provider.script(13, player=house.player)
    house.provider.script(36, player=house.player, on="lookup", times=40)
    began = time.monotonic()
    answer = house.transfer("k-1", Prefer="wait=1")
    assert answer.status_code == 202, answer.data
    assert time.monotonic() - began < 3
    assert answer.headers["Preference-Applied"] == "wait=1"
    house.provider.control("DELETE", "/faults")
    house.resolve_until(answer.json["id"], "confirmed")
    assert house.effects(answer.json) == 1
    house.audit()


def test_waiting_longer_than_the_bridge_allows_is_granted_in_part(build_house):
    """RFC 7240: Preference-Applied tells the wait that was granted, not the one that was asked for."""
    house = build_house(wait_seconds=2)
    answer = house.transfer("k-1", Prefer="wait=600")
    assert (answer.status_code, answer.headers["Preference-Applied"]) == (201, "wait=2")


@pytest.mark.parametrize("prefer", ["wait", "wait=-1", "wait=soon", "return=minimal", "wait=٣", ",,;", '"'])
def test_a_preference_that_is_not_understood_is_passed_over(house, prefer):
    """RFC 7240, section 2: an unknown preference is ignored; the request is done as if it were not there."""
    answer = house.transfer("k-1", Prefer=prefer)
    assert answer.status_code == 201
    assert "Preference-Applied" not in answer.headers


def drive_in_background(house: Any, key: str) -> tuple[threading.Thread, list[Any]]:
    """Send a transfer from a thread; returns once its complete is committed as sent."""
    caller, answers = house.call_as(house.ann.secret), []
    thread = threading.Thread(target=lambda: answers.append(caller.post("/v1/transfers", house.wish(), key=key)))
    thread.start()
    end = time.monotonic() + 5
    while not house.rows("SELECT 1 FROM attempt WHERE step = 'complete'"):
        assert time.monotonic() < end
        time.sleep(0.01)
    return thread, answers


def test_a_key_that_is_being_driven_is_in_flight(build_house):
    """I-24: while the first request is on the wire, a second with its key gets 409 with Retry-After and the id."""
    house = build_house(complete_seconds=2)
    house.provider.script(13, player=house.player, params={"how": "hang"})
    thread, answers = drive_in_background(house, "k-1")
    busy = house.transfer("k-1")
    assert (busy.status_code, busy.json["code"], busy.json["retry"]) == (409, "in_flight", "after")
    assert int(busy.headers["Retry-After"]) >= 1
    assert busy.json["transfer_id"] == house.rows("SELECT id FROM transfer")[0]["id"]
    thread.join(20)
    assert answers[0].status_code in (201, 202)
    house.resolve_until(busy.json["transfer_id"], "confirmed")
    ended = house.transfer("k-1")
    assert (ended.status_code, house.effects(ended.json)) == (201, 1)


def test_a_repetition_may_attach_by_prefer(build_house):
    """I-24: with `Prefer: wait=N` the repetition waits with the first request and gets the same transfer."""
    house = build_house(complete_seconds=2)
    house.provider.script(13, player=house.player, params={"how": "hang"})
    thread, answers = drive_in_background(house, "k-1")
    ended = threading.Event()
    worker = threading.Thread(target=lambda: [house.resolve() for _ in iter(lambda: ended.wait(0.05), True)])
    worker.start()
    attached = house.transfer("k-1", Prefer="wait=6")
    thread.join(20)
    ended.set()
    worker.join(30)
    assert (attached.status_code, attached.json["state"]) == (201, "confirmed")
    assert attached.headers["Idempotent-Replayed"] == "true"
    assert (answers[0].status_code, answers[0].data) == (201, attached.data)
    assert house.effects(attached.json) == 1


def test_a_crash_between_the_effect_and_its_answer(house):
    """C-48: a process died after the money moved and before it answered: the key leads to the real transfer."""
    body = house.wish()
    begun = begin(house.runtime, operator_id(house), "k-1", Wish(**body))
    assert begun.outcome is not None
    drive(house.runtime, begun.outcome)
    answer = house.transfer("k-1")
    assert (answer.status_code, answer.json["id"], answer.json["state"]) == (201, begun.transfer_id, "confirmed")
    assert house.transfer("k-1").data == answer.data
    assert house.effects(answer.json) == 1


class Breaking:
    """A provider's adapter in whose place a bug of ours raises; everything else goes to the real one."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def money(self, *_arguments: Any) -> Any:
        raise ZeroDivisionError("secret-of-the-inside")


def test_an_error_of_ours_is_never_stored_for_the_key(house):
    """C-49: an unexpected error → 500 that says "same key", tells nothing of the inside, and is not remembered."""
    sick = create_app(replace(house.runtime, providers={PROVIDER: Breaking(house.runtime.providers[PROVIDER])}))
    headers = {"Authorization": f"Bearer {house.ann.secret}", "Idempotency-Key": "k-1"}
    broken = sick.test_client().post("/v1/transfers", json=house.wish(), headers=headers)
    assert (broken.status_code, broken.json["code"], broken.json["retry"]) == (500, "internal", "same_key")
    assert b"secret-of-the-inside" not in broken.data
    assert b"Traceback" not in broken.data
    kept = house.rows("SELECT status, response, answered FROM idempotency_key WHERE operation = 'transfer'")
    assert [(row["status"], row["response"], bool(row["answered"])) for row in kept] == [(None, None, False)]
    transfer_id = house.rows("SELECT id FROM transfer")[0]["id"]
    house.resolve_until(transfer_id, "confirmed", "reversed")
    answer = house.transfer("k-1")
    assert (answer.status_code, answer.json["id"]) == (201, transfer_id)
    assert house.transfer("k-1").data == answer.data
    house.audit()


def test_an_orphan_is_a_final_answer_and_the_transfer_goes_on(build_house):
    """I-21, I-54: 201 orphaned stays the key's answer; what became of the transfer is told by its own address."""
    house = build_house()
    house.provider.script(13, player=house.player)
    house.provider.script(36, player=house.player, on="lookup", times=40)
    first = house.transfer("k-1", Prefer="wait=1")
    house.write("UPDATE transfer SET orphan_at = created_at")  # its patience is spent
    house.resolve_until(first.json["id"], "orphaned")
    orphaned = house.transfer("k-1")
    assert (orphaned.status_code, orphaned.json["state"]) == (201, "orphaned")
    assert orphaned.json["reason"]["code"] == "unproved"
    house.provider.control("DELETE", "/faults")
    house.resolve_until(first.json["id"], "confirmed")
    assert house.transfer("k-1").data == orphaned.data
    assert house.ann.get(orphaned.headers["Location"]).json["state"] == "confirmed"
    house.audit()


def test_refresh_asks_the_provider_now(house):
    """Design §6: `?refresh=true` runs the resolver on this transfer, and no worker is needed."""
    queued = house.transfer("k-1", Prefer="respond-async").json
    path = f"/v1/transfers/{queued['id']}"
    assert house.ann.get(path).json["state"] == "pending"
    refreshed = house.ann.get(f"{path}?refresh=true")
    assert (refreshed.status_code, refreshed.json["state"]) == (200, "confirmed")


def test_a_second_transfer_waits_for_an_unresolved_first(build_house):
    """C-54: a new key beside an unresolved transfer in → 409 that names the other transfer, no silent double."""
    house = build_house(lane_policy="block")
    house.provider.script(13, player=house.player)
    house.provider.script(36, player=house.player, on="lookup", times=40)
    first = house.transfer("k-1", Prefer="wait=1")
    assert first.status_code == 202
    second = house.transfer("k-2")
    assert (second.status_code, second.json["code"], second.json["retry"]) == (409, "lane_unresolved", "after")
    assert (second.json["transfer_id"], second.headers["Retry-After"]) == (first.json["id"], "1")
    house.provider.control("DELETE", "/faults")
    house.resolve_until(first.json["id"], "confirmed", "reversed")
    assert house.transfer("k-2").status_code == 201


def test_the_whole_story_is_told(house):
    """C-23: moves, requests and evidence of one transfer stand on one time axis, and say nothing of the machinery."""
    transfer_id = house.transfer("k-1").json["id"]
    story = house.ann.get(f"/v1/transfers/{transfer_id}/history").json
    assert story["transfer_id"] == transfer_id
    assert [entry["at"] for entry in story["entries"]] == sorted(entry["at"] for entry in story["entries"])
    requests = [entry["step"] for entry in story["entries"] if entry["kind"] == "request"]
    assert requests == ["prepare", "complete"]
    moves = [entry for entry in story["entries"] if entry["kind"] == "move" and entry["subject"] == "transfer"]
    assert [move["target"] for move in moves] == ["pending", "confirmed"]
    assert {entry["amount"] for entry in story["entries"] if entry["kind"] == "evidence"} == {"25.00"}
    assert not any({"worker", "lease_epoch", "actor", "lease_owner"} & set(entry) for entry in story["entries"])


def test_transfers_are_paged_newest_first(house):
    """Design §8: cursor paging gives every transfer once, newest first, and filters by state and direction's player."""
    made = [house.transfer(f"k-{n}", "in", "1.00").json["id"] for n in range(5)]
    seen, cursor = [], ""
    while True:
        page = house.ann.get(f"/v1/transfers?limit=2{cursor}").json
        seen += [transfer["id"] for transfer in page["transfers"]]
        if page["cursor"] is None:
            break
        cursor = f"&cursor={page['cursor']}"
    assert seen == made[::-1]
    assert len(house.ann.get("/v1/transfers?state=confirmed").json["transfers"]) == 5
    assert house.ann.get("/v1/transfers?state=pending").json == {"transfers": [], "cursor": None}
    assert len(house.ann.get(f"/v1/transfers?player_id={house.player}&provider={PROVIDER}").json["transfers"]) == 5
    assert house.ann.get("/v1/transfers?player_id=nobody").json["transfers"] == []
