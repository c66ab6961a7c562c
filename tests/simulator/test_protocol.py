"""The protocol as protocols.md §1.1 states it, request by request, typed out by hand."""

from __future__ import annotations

import re
import threading
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

GOOD = {"type": '"CREDIT"', "referenceId": '"r"', "playerId": '"ann"', "amount": "25.00", "currency": '"EUR"'}
PREPARE = "/v1/fund-transfers"


def body(**changes: str) -> str:
    """A prepare's body as JSON text, field by field, so that a test decides every character."""
    fields = {name: text for name, text in (GOOD | changes).items() if text}
    return "{" + ", ".join(f'"{name}": {text}' for name, text in fields.items()) + "}"


REFUSED = [
    # body, status, code
    ("", 400, "INVALID_FORMAT"),
    ("{", 400, "INVALID_FORMAT"),
    ("[]", 400, "INVALID_FORMAT"),
    ("[" * 20_000, 400, "INVALID_FORMAT"),
    (body(amount='"25.00"'), 400, "INVALID_FORMAT"),
    (body(amount="true"), 400, "INVALID_FORMAT"),
    (body(amount="NaN"), 400, "INVALID_FORMAT"),
    (body(amount="Infinity"), 400, "INVALID_FORMAT"),
    (body(referenceId="7"), 400, "INVALID_FORMAT"),
    (body(playerId="null"), 400, "INVALID_FORMAT"),
    (body()[:-1] + ', "amount": 26}', 400, "INVALID_FORMAT"),
    (body(type=""), 422, "VALIDATION_ERROR"),
    (body(amount=""), 422, "VALIDATION_ERROR"),
    (body(currency=""), 422, "VALIDATION_ERROR"),
    (body(type='"credit"'), 422, "VALIDATION_ERROR"),
    (body(referenceId='""'), 422, "VALIDATION_ERROR"),
    (body(referenceId=f'"{"r" * 35}"'), 422, "VALIDATION_ERROR"),
    (body(playerId=f'"{"p" * 35}"'), 422, "VALIDATION_ERROR"),
    (body(playerId='"\\ud800"'), 422, "VALIDATION_ERROR"),
    (body(amount="0"), 422, "VALIDATION_ERROR"),
    (body(amount="-25"), 422, "VALIDATION_ERROR"),
    (body(amount="0.001"), 422, "VALIDATION_ERROR"),
    (body(amount="25.001"), 422, "VALIDATION_ERROR"),
    (body(amount="1e15"), 422, "VALIDATION_ERROR"),
    (body(amount="1e999999999"), 422, "VALIDATION_ERROR"),
    (body(amount="25.5", currency='"JPY"'), 422, "VALIDATION_ERROR"),
    (body(amount="1.234", currency='"KWD"'), 422, "VALIDATION_ERROR"),
    (body(amount="1.123456789", currency='"BTC"'), 422, "VALIDATION_ERROR"),
    (body(currency='"USD"'), 422, "VALIDATION_ERROR"),
    (body(type='"DEBIT"'), 422, "INSUFFICIENT_FUNDS"),
]


def test_a_refused_prepare_names_its_code_and_leaves_no_trace(honest):
    """I-08: what cannot be taken exactly is refused by the protocol's own code, and nothing is booked."""
    for text, status, code in REFUSED:
        answered, answer = honest.call("POST", PREPARE, text)
        assert (answered, answer["code"]) == (status, code), text[:80]
        assert set(answer) == {"code", "message", "details"}
        assert answer["message"]
    assert honest.lines() == []


def test_a_body_too_large_or_without_length_is_refused(honest):
    """I-08: a body that is not taken whole is refused by its code, and nothing is booked."""
    status, answer = honest.call("POST", PREPARE, body(referenceId='"' + "r" * 70_000 + '"'))
    assert (status, answer["code"]) == (400, "INVALID_FORMAT")
    assert honest.lines() == []


EXACT = [
    # as sent, currency, as told, as kept
    ("25", "EUR", "25.00", "25.00"),
    ("0.1", "EUR", "0.10", "0.10"),
    ("2.5e1", "EUR", "25.00", "25.00"),
    ("0.010", "EUR", "0.01", "0.01"),
    ("999999999999999.99", "EUR", "999999999999999.99", "999999999999999.99"),
    ("500", "JPY", "500", "500"),
    ("1.25", "KWD", "1.250", "1.250"),
    ("1.00000001", "BTC", "1.00000001", "1.00000001"),
]


def test_an_amount_is_taken_and_told_with_exact_digits(honest):
    """I-08: an amount is a JSON number whose digits are the currency's, never those of a binary float."""
    for number, (amount, currency, told, kept) in enumerate(EXACT):
        text = body(referenceId=f'"r{number}"', amount=amount, currency=f'"{currency}"')
        status, content, _ = honest.send("POST", PREPARE, text)
        assert status == 201
        assert re.search(rb'"amount":([^,]+),', content).group(1).decode() == told
        assert honest.lines()[-1]["amount"] == kept


def test_a_credit_counts_only_when_completed(honest):
    """I-02: a prepared credit is nothing yet; completing adds it once."""
    transfer_id = honest.prepared("r1")
    assert honest.balance() == Decimal("0.00")
    status, answer = honest.finish(transfer_id)
    assert (status, answer["status"]) == (200, "COMPLETED")
    assert list(answer) == [
        "id", "type", "referenceId", "playerId", "amount", "currency", "initiated", "finalized", "status",
    ]  # fmt: skip
    assert honest.balance() == Decimal("25.00")
    assert [(line["seq"], line["kind"]) for line in honest.lines()] == [(1, "prepared"), (2, "completed")]
    assert honest.lines()[1]["balance"] == "25.00"


def test_a_debit_reserves_at_prepare_and_cancel_gives_it_back(honest):
    """I-05, case 7: a reservation lowers the balance, a cancel restores it, and nothing was owned less."""
    honest.funded()
    transfer_id = honest.prepared("out", "DEBIT", "60.00")
    assert honest.balance() == Decimal("40.00")
    assert honest.prepare("out2", "DEBIT", "60.00")[1]["code"] == "INSUFFICIENT_FUNDS"
    _, answer = honest.control("GET", "/players/ann")
    assert answer["balances"]["EUR"] == {"owned": "100.00", "reserved": "60.00", "available": "40.00"}
    assert honest.finish(transfer_id, "CANCELLED")[1]["status"] == "CANCELLED"
    assert honest.balance() == Decimal("100.00")
    assert honest.lines()[-1] | {"at": "", "id": ""} == {
        "seq": 4, "at": "", "kind": "cancelled", "id": "", "reference": "out", "type": "DEBIT",
        "player": "ann", "currency": "EUR", "amount": "60.00", "by": "request",
    }  # fmt: skip
    assert (7, "balance") in honest.shown(observed=True)
    assert (7, "request") in honest.shown(observed=True)


def test_a_completed_debit_takes_the_money(honest):
    """I-02: a completed debit lowers what is owned, once."""
    honest.funded()
    transfer_id = honest.prepared("out", "DEBIT", "60.00")
    assert honest.finish(transfer_id)[0] == 200
    assert honest.finish(transfer_id)[0] == 200
    assert honest.balance() == Decimal("40.00")
    assert honest.kinds("out") == ["prepared", "completed"]


def test_a_replay_gives_the_original_answer(honest):
    """I-21, cases 6 and 21: the same request again gives the same bytes and no second effect."""
    first = honest.prepare("r1")
    assert honest.prepare("r1") == first
    done = honest.finish(first[1]["id"])
    assert honest.finish(first[1]["id"]) == done
    assert honest.kinds("r1") == ["prepared", "completed"]
    assert honest.shown(observed=True) == [(21, "prepare"), (6, "complete")]


CHANGED = [
    {"amount": "25.01"},
    {"playerId": '"bob"'},
    {"currency": '"KWD"'},
    {"type": '"DEBIT"'},
]


def test_another_content_under_a_pending_reference_is_refused(honest):
    """I-22, case 22: the same reference with other content is a validation error (our reading; the text is silent)."""
    honest.funded("fund")
    honest.prepared("r")
    for change in CHANGED:
        status, answer = honest.call("POST", PREPARE, body(**change))
        assert (status, answer["code"]) == (422, "VALIDATION_ERROR"), change
    assert honest.shown(observed=True) == [(22, "prepare")] * len(CHANGED)


def test_a_final_reference_conflicts_for_ever(honest):
    """I-20: the reference of a final transfer is answered with a conflict, whatever it carries."""
    honest.finish(honest.prepared("done"))
    honest.finish(honest.prepared("undone"), "CANCELLED")
    for reference in ("done", "undone"):
        for amount in ("25.00", "26.00"):
            status, answer = honest.prepare(reference, amount=amount)
            assert (status, answer["code"]) == (409, "STATUS_CONFLICT")


FINAL = [
    # from, asked, status
    ("COMPLETED", "COMPLETED", 200),
    ("COMPLETED", "CANCELLED", 409),
    ("CANCELLED", "CANCELLED", 200),
    ("CANCELLED", "COMPLETED", 409),
]


def test_a_final_state_never_changes(honest):
    """I-10: completing the cancelled and cancelling the completed are conflicts; the same again is not."""
    for number, (state, asked, status) in enumerate(FINAL):
        transfer_id = honest.prepared(f"r{number}")
        honest.finish(transfer_id, state)
        answered, answer = honest.finish(transfer_id, asked)
        assert answered == status
        assert answer.get("code") == ("STATUS_CONFLICT" if status == 409 else None)
        assert honest.look_up(transfer_id)[1]["status"] == state


def test_an_unknown_id_is_not_found(honest):
    """C-16: no answer about another transfer; a garbage id is 404 on every path that takes one."""
    for method, path, text in (
        ("GET", f"{PREPARE}/nonsense", None),
        ("PUT", f"{PREPARE}/nonsense/status", '{"status": "COMPLETED"}'),
        ("PUT", f"{PREPARE}/nonsense/status", '{"status": "CANCELLED"}'),
    ):
        status, answer = honest.call(method, path, text)
        assert (status, answer["code"]) == (404, "TRANSFER_NOT_FOUND")


def test_a_status_that_is_none_is_refused(honest):
    """I-10: only COMPLETED and CANCELLED are asked for; anything else changes nothing."""
    transfer_id = honest.prepared("r")
    for text, status, code in (
        ('{"status": "PENDING"}', 422, "VALIDATION_ERROR"),
        ("{}", 422, "VALIDATION_ERROR"),
        ('{"status": 1}', 400, "INVALID_FORMAT"),
        ("COMPLETED", 400, "INVALID_FORMAT"),
    ):
        answered, answer = honest.call("PUT", f"{PREPARE}/{transfer_id}/status", text)
        assert (answered, answer["code"]) == (status, code), text
    assert honest.kinds("r") == ["prepared"]


def test_pending_dies_at_its_expiry_and_never_comes_back(hasty):
    """C-26, cases 4, 7, 10: expiry cancels, gives the reservation back, and a late complete is a conflict."""
    hasty.funded()
    transfer_id = hasty.prepared("late", "DEBIT", "60.00")
    hasty.until("late", "cancelled")
    entry = hasty.lines()[-1]
    prepared = hasty.lines()[-2]
    assert entry["by"] == "expiry"
    assert 1 <= Decimal(entry["at"]) - Decimal(prepared["at"]) < Decimal("1.4")
    assert hasty.balance() == Decimal("100.00")
    assert {(10, "expiry"), (7, "expiry")} <= set(hasty.shown(observed=True))
    status, answer = hasty.finish(transfer_id)
    assert (status, answer["code"]) == (409, "STATUS_CONFLICT")
    assert hasty.look_up(transfer_id)[1]["status"] == "CANCELLED"
    assert (4, "complete") in hasty.shown(observed=True)
    assert hasty.kinds("late") == ["prepared", "cancelled"]


def test_the_expiry_is_ten_seconds_unless_said_otherwise(honest):
    """C-26: still PENDING well after the one second that other tests use; the default is the protocol's."""
    transfer_id = honest.prepared("r")
    time.sleep(1.5)
    assert honest.look_up(transfer_id)[1]["status"] == "PENDING"


def test_times_are_china_standard_time_without_a_zone(honest):
    """I-34, case 11: a reader that takes them for UTC is eight hours wrong."""
    before = datetime.now(UTC)
    status, answer = honest.finish(honest.prepared("r"))
    assert status == 200
    for name in ("initiated", "finalized"):
        told = datetime.strptime(answer[name], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC) - timedelta(hours=8)
        assert abs(told - before) < timedelta(seconds=5)


def test_the_same_prepare_in_parallel_is_one_transfer(honest):
    """I-20: forty prepares of one reference at once open one transfer, and all are told its id."""
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(honest.prepare("r"))) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {status for status, _ in answers} == {201}
    assert len({answer["id"] for _, answer in answers}) == 1
    assert honest.kinds("r") == ["prepared"]
    assert sorted(line["attempt"] for line in honest.lines(".wire") if line["operation"] == "prepare") == list(
        range(1, 41)
    )


def test_every_request_is_in_the_wire_diary(honest):
    """I-25: what reached the server can be counted, by operation, transfer and attempt."""
    transfer_id = honest.prepared("r")
    honest.finish(transfer_id)
    honest.finish(transfer_id)
    honest.look_up(transfer_id)
    honest.finish(transfer_id, "CANCELLED")
    honest.balance()
    told = [(line["operation"], line["reference"], line["attempt"], line["answered"]) for line in honest.lines(".wire")]
    assert told == [
        ("token", "", 1, 200),
        ("prepare", "r", 1, 201),
        ("complete", "r", 1, 200),
        ("complete", "r", 2, 200),
        ("lookup", "r", 1, 200),
        ("cancel", "r", 1, 409),
        ("balance", "", 1, 200),
    ]
    assert {line["id"] for line in honest.lines(".wire")[1:6]} == {transfer_id}


def test_the_balance_list_is_paged_by_player(honest):
    """I-51: following the links gives every player once, in order; a page is never larger than asked."""
    for number in range(7):
        honest.funded(f"f{number}", f"{number + 1}.00", player=f"p/{number}")
    honest.funded("other", "5", player="p/3", currency="JPY")
    path, seen, pages = "/v1/wallet/ext?currency=EUR&size=3", [], 0
    while path:
        status, answer = honest.call("GET", path)
        assert status == 200
        assert len(answer["items"]) <= 3
        seen += [(row["playerId"], str(row["amount"]), row["currency"]) for row in answer["items"]]
        assert all(
            re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", row["lastUpdatedDateTime"]) for row in answer["items"]
        )
        path = answer["links"][0]["href"] if answer["links"] else ""
        pages += 1
    assert pages == 3
    assert seen == [(f"p/{number}", f"{number + 1}.00", "EUR") for number in range(7)]
    _, everything = honest.call("GET", "/v1/wallet/ext?size=4")
    rows = [(row["playerId"], row["currency"]) for row in everything["items"]]
    assert rows == [("p/0", "EUR"), ("p/1", "EUR"), ("p/2", "EUR"), ("p/3", "EUR"), ("p/3", "JPY")]


def test_a_wrong_page_is_refused(honest):
    """I-52: a list that cannot be given as asked is an error, not a shorter list."""
    for query in ("size=0", "size=501", "size=x", "size=-1", "currency=USD", "orderBy=amount"):
        status, answer = honest.call("GET", f"/v1/wallet/ext?{query}")
        assert (status, answer["code"]) == (422, "VALIDATION_ERROR"), query
    assert honest.call("GET", "/v1/wallet/ext?size=500&orderBy=playerId") == (200, {"items": [], "links": []})


def test_an_unknown_player_has_zero(honest):
    """Case 42: the balance of a player never seen is a success with zero, as the manual shows it."""
    assert honest.call("GET", "/v1/wallet/ext/nobody") == (
        200,
        {"amount": Decimal("0.00"), "currency": "EUR"},
    )
    assert honest.call("GET", "/v1/wallet/ext/nobody?currency=JPY")[1] == {"amount": 0, "currency": "JPY"}
