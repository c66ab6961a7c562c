"""QTech's contract, typed out by hand from protocols.md §1.1, §5, §6: operation × answer → what it says.

The server behind it is a script of bytes: it knows nothing of the adapter, and nothing of the simulator.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import asdict, replace

import pytest

from bridge.evidence import CUT, LONGEST_MESSAGE, Answer, Step
from bridge.ports import Side, Window
from bridge.views import redaction
from tests.providers import Answer as Wire
from tests.providers import ScriptedServer, hang_up, http, raw, reset, silence
from tests.providers.account import (
    CANCELLED,
    COMPLETED,
    EFFECT,
    GOOD,
    HTML,
    OPERATIONS,
    PENDING,
    TOLD,
    account,
    call,
    error,
    said,
    told_nothing,
)

# --- operation × answer: the tables -------------------------------------------------------------------

SUCCESS: list[tuple[str, Wire, Answer, str, str]] = [
    ("prepare", http(201, PENDING), Answer.RESERVED, "PENDING", "2026-06-01T18:00:00"),
    ("complete", http(200, COMPLETED), Answer.APPLIED, "COMPLETED", "2026-06-01T18:00:03"),
    ("void", http(200, CANCELLED), Answer.CANCELLED, "CANCELLED", "2026-06-01T18:00:03"),
    ("look_up", http(200, PENDING), Answer.IN_PROGRESS, "PENDING", "2026-06-01T18:00:00"),
    ("look_up", http(200, COMPLETED), Answer.APPLIED, "COMPLETED", "2026-06-01T18:00:03"),
    ("look_up", http(200, CANCELLED), Answer.CANCELLED, "CANCELLED", "2026-06-01T18:00:03"),
]

REFUSED: dict[str, list[tuple[Wire, Answer, bool, str]]] = {
    "prepare": [
        (error(400, "INVALID_FORMAT"), Answer.NOT_APPLIED, False, "INVALID_FORMAT"),
        (error(422, "VALIDATION_ERROR"), Answer.NOT_APPLIED, False, "VALIDATION_ERROR"),
        (error(422, "INSUFFICIENT_FUNDS"), Answer.NOT_APPLIED, True, "INSUFFICIENT_FUNDS"),
        (error(409, "STATUS_CONFLICT"), Answer.CANCELLED, True, "STATUS_CONFLICT"),
        (error(401, "INVALID_TOKEN"), Answer.UNKNOWN, False, "INVALID_TOKEN"),
        (error(403, "USER_BLOCKED"), Answer.UNKNOWN, False, "USER_BLOCKED"),
        (error(404, "TRANSFER_NOT_FOUND"), Answer.UNKNOWN, False, "TRANSFER_NOT_FOUND"),
        (error(429, "TOO_MANY_REQUESTS"), Answer.UNKNOWN, False, "TOO_MANY_REQUESTS"),
        (error(500, "UNKNOWN_ERROR"), Answer.UNKNOWN, False, "UNKNOWN_ERROR"),
        (error(503, "QT_NOT_AVAILABLE"), Answer.UNKNOWN, False, "QT_NOT_AVAILABLE"),
        # the code under another status, another code under the status, or no proper body: nothing
        (error(400, "VALIDATION_ERROR"), Answer.UNKNOWN, False, "VALIDATION_ERROR"),
        (error(500, "INVALID_FORMAT"), Answer.UNKNOWN, False, "INVALID_FORMAT"),
        (error(422, "STATUS_CONFLICT"), Answer.UNKNOWN, False, "STATUS_CONFLICT"),
        (error(409, "INSUFFICIENT_FUNDS"), Answer.UNKNOWN, False, "INSUFFICIENT_FUNDS"),
        (error(422, "SOMETHING_NEW"), Answer.UNKNOWN, False, "SOMETHING_NEW"),
        (error(201, "VALIDATION_ERROR"), Answer.UNKNOWN, False, "MALFORMED"),
        (http(400, HTML, "text/html"), Answer.UNKNOWN, False, "HTTP_400"),
        (http(422, ""), Answer.UNKNOWN, False, "HTTP_422"),
        (http(422, '{"code": 422}'), Answer.UNKNOWN, False, "HTTP_422"),
        (http(422, '{"error": "VALIDATION_ERROR"}'), Answer.UNKNOWN, False, "HTTP_422"),
        (http(422, '["VALIDATION_ERROR"]'), Answer.UNKNOWN, False, "HTTP_422"),
        (http(422, '{"code": "VALIDATION_ERROR"}', "text/html"), Answer.UNKNOWN, False, "HTTP_422"),
        (http(422, '{"code": "VALIDATION_ERROR"'), Answer.UNKNOWN, False, "HTTP_422"),
        (http(422, '{"code": "X_Y", "code": "VALIDATION_ERROR"}'), Answer.UNKNOWN, False, "HTTP_422"),
        (http(409, HTML, "text/html"), Answer.UNKNOWN, False, "HTTP_409"),
        # a well-formed body under the wrong status
        (http(200, PENDING), Answer.UNKNOWN, False, "HTTP_200"),
        (http(202, PENDING), Answer.UNKNOWN, False, "HTTP_202"),
        (http(201, COMPLETED), Answer.UNKNOWN, False, "MALFORMED"),
        (http(201, CANCELLED), Answer.UNKNOWN, False, "MALFORMED"),
    ],
    "complete": [
        (error(409, "STATUS_CONFLICT"), Answer.UNKNOWN, False, "STATUS_CONFLICT"),
        (error(404, "TRANSFER_NOT_FOUND"), Answer.UNKNOWN, False, "TRANSFER_NOT_FOUND"),
        (error(400, "INVALID_FORMAT"), Answer.UNKNOWN, False, "INVALID_FORMAT"),
        (error(422, "VALIDATION_ERROR"), Answer.UNKNOWN, False, "VALIDATION_ERROR"),
        (error(422, "INSUFFICIENT_FUNDS"), Answer.UNKNOWN, False, "INSUFFICIENT_FUNDS"),
        (error(401, "INVALID_TOKEN"), Answer.UNKNOWN, False, "INVALID_TOKEN"),
        (error(403, "USER_BLOCKED"), Answer.UNKNOWN, False, "USER_BLOCKED"),
        (error(500, "UNKNOWN_ERROR"), Answer.UNKNOWN, False, "UNKNOWN_ERROR"),
        (error(503, "QT_NOT_AVAILABLE"), Answer.UNKNOWN, False, "QT_NOT_AVAILABLE"),
        (http(201, COMPLETED), Answer.UNKNOWN, False, "HTTP_201"),
        (http(409, COMPLETED), Answer.UNKNOWN, False, "HTTP_409"),
        (http(500, COMPLETED), Answer.UNKNOWN, False, "HTTP_500"),
        (http(200, PENDING), Answer.UNKNOWN, False, "MALFORMED"),
        (http(200, CANCELLED), Answer.UNKNOWN, False, "MALFORMED"),
        (http(200, '{"status": "COMPLETED"}'), Answer.UNKNOWN, False, "MALFORMED"),
    ],
    "void": [
        (error(409, "STATUS_CONFLICT"), Answer.UNKNOWN, False, "STATUS_CONFLICT"),
        (error(404, "TRANSFER_NOT_FOUND"), Answer.UNKNOWN, False, "TRANSFER_NOT_FOUND"),
        (error(422, "VALIDATION_ERROR"), Answer.UNKNOWN, False, "VALIDATION_ERROR"),
        (error(401, "INVALID_TOKEN"), Answer.UNKNOWN, False, "INVALID_TOKEN"),
        (error(403, "USER_BLOCKED"), Answer.UNKNOWN, False, "USER_BLOCKED"),
        (error(500, "UNKNOWN_ERROR"), Answer.UNKNOWN, False, "UNKNOWN_ERROR"),
        (error(503, "QT_NOT_AVAILABLE"), Answer.UNKNOWN, False, "QT_NOT_AVAILABLE"),
        (http(201, CANCELLED), Answer.UNKNOWN, False, "HTTP_201"),
        (http(200, PENDING), Answer.UNKNOWN, False, "MALFORMED"),
        (http(200, COMPLETED), Answer.UNKNOWN, False, "MALFORMED"),
    ],
    "look_up": [
        (error(404, "TRANSFER_NOT_FOUND"), Answer.NOT_FOUND, False, "TRANSFER_NOT_FOUND"),
        (error(404, "SOMETHING_NEW"), Answer.UNKNOWN, False, "SOMETHING_NEW"),
        (http(404, HTML, "text/html"), Answer.UNKNOWN, False, "HTTP_404"),
        (http(404, ""), Answer.UNKNOWN, False, "HTTP_404"),
        (error(410, "TRANSFER_NOT_FOUND"), Answer.UNKNOWN, False, "TRANSFER_NOT_FOUND"),
        (error(200, "TRANSFER_NOT_FOUND"), Answer.UNKNOWN, False, "MALFORMED"),
        (error(200, "UNKNOWN_ERROR"), Answer.UNKNOWN, False, "MALFORMED"),
        (error(401, "INVALID_TOKEN"), Answer.UNKNOWN, False, "INVALID_TOKEN"),
        (error(403, "USER_BLOCKED"), Answer.UNKNOWN, False, "USER_BLOCKED"),
        (error(409, "STATUS_CONFLICT"), Answer.UNKNOWN, False, "STATUS_CONFLICT"),
        (error(422, "VALIDATION_ERROR"), Answer.UNKNOWN, False, "VALIDATION_ERROR"),
        (error(500, "UNKNOWN_ERROR"), Answer.UNKNOWN, False, "UNKNOWN_ERROR"),
        (error(503, "QT_NOT_AVAILABLE"), Answer.UNKNOWN, False, "QT_NOT_AVAILABLE"),
        (http(201, COMPLETED), Answer.UNKNOWN, False, "HTTP_201"),
        (http(500, CANCELLED), Answer.UNKNOWN, False, "HTTP_500"),
    ],
}

ANYWHERE: list[tuple[str, Wire, str]] = [
    ("204", http(204), "HTTP_204"),
    ("302", http(302, "", "", "Location: /v1/fund-transfers/q-77"), "HTTP_302"),
    ("307", http(307, "", "", "Location: /v1/fund-transfers/q-77"), "HTTP_307"),
    ("401 without a body", http(401), "HTTP_401"),
    ("403 without a body", http(403), "HTTP_403"),
    ("403 page", http(403, HTML, "text/html"), "HTTP_403"),
    ("429", http(429, "", "", "Retry-After: 1"), "HTTP_429"),
    ("500 page", http(500, HTML, "text/html"), "HTTP_500"),
    ("502 page", http(502, HTML, "text/html"), "HTTP_502"),
    ("503 page", http(503, HTML, "text/html"), "HTTP_503"),
    ("504 page", http(504, HTML, "text/html"), "HTTP_504"),
    ("521 page", http(521, HTML, "text/html"), "HTTP_521"),
    ("connection closed", hang_up, "reset"),
    ("connection reset", reset, "reset"),
    ("not HTTP", raw(b"SSH-2.0-Server\r\n", keep=False), "garbled"),
    ("half a body", raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", keep=False), "reset"),
]


# What is done to a good answer's body; each must leave nothing that could be believed.
GARBAGE: dict[str, Callable[[str], bytes | str]] = {
    "empty": lambda _: "",
    "blank": lambda _: "  \r\n",
    "HTML": lambda _: HTML,
    "cut in the middle": lambda body: body[: len(body) // 2],
    "without its last brace": lambda body: body[:-1],
    "followed by something": lambda body: body + "{}",
    "in a list": lambda body: f"[{body}]",
    "in an envelope": lambda body: f'{{"data": {body}}}',
    "a string": json.dumps,
    "null": lambda _: "null",
    "zero": lambda _: "0",
    "zero as text": lambda _: '"0"',
    "with a BOM": lambda body: b"\xef\xbb\xbf" + body.encode(),
    "in UTF-16": lambda body: body.encode("utf-16"),
    "not UTF-8": lambda body: body.encode().replace(b"p-1", b"p-\xe9"),
    "a name twice": lambda body: body.replace('"amount"', '"amount": 25.00, "amount"'),
    "a name twice deep inside": lambda body: body.replace("{", '{"x": {"a": 1, "a": 2}, ', 1),
    "NaN beside": lambda body: body.replace("{", '{"x": NaN, ', 1),
    "Infinity beside": lambda body: body.replace("{", '{"x": -Infinity, ', 1),
    "very deep": lambda body: body.replace("{", f'{{"x": {"[" * 50_000}{"]" * 50_000}, ', 1),
    "single quotes": lambda body: body.replace('"', "'"),
    "a raw line feed in a text": lambda body: body.replace("q-77", "q-\n77"),
    "amount as text": lambda body: body.replace("25.00", '"25.00"'),
    "amount zero": lambda body: body.replace("25.00", "0"),
    "amount zero as text": lambda body: body.replace("25.00", '"0"'),
    "amount minus zero": lambda body: body.replace("25.00", "-0.00"),
    "amount negative": lambda body: body.replace("25.00", "-25.00"),
    "amount 99.999999": lambda body: body.replace("25.00", "99.999999"),
    "amount 25.001": lambda body: body.replace("25.00", "25.001"),
    "amount a float's 25.000000000000004": lambda body: body.replace("25.00", "25.000000000000004"),
    "amount beyond any arithmetic": lambda body: body.replace("25.00", "25." + "0" * 40 + "1"),
    "amount rounding up beyond 28 digits": lambda body: body.replace("25.00", "24." + "9" * 40),
    "amount huge": lambda body: body.replace("25.00", "1e30"),
    "amount with a huge exponent": lambda body: body.replace("25.00", "1e999999999999999999999"),
    "amount with a tiny exponent": lambda body: body.replace("25.00", "1e-999999999999"),
    "amount +25": lambda body: body.replace("25.00", "+25.00"),
    "amount 025": lambda body: body.replace("25.00", "025.00"),
    "amount NaN": lambda body: body.replace("25.00", "NaN"),
    "amount true": lambda body: body.replace("25.00", "true"),
    "amount null": lambda body: body.replace("25.00", "null"),
    "amount a list": lambda body: body.replace("25.00", "[25.00]"),
    "unknown currency": lambda body: body.replace('"EUR"', '"QQQ"'),
    "currency a number": lambda body: body.replace('"EUR"', "978"),
    "unknown type": lambda body: body.replace('"CREDIT"', '"TRANSFER"'),
    "type in lower case": lambda body: body.replace('"CREDIT"', '"credit"'),
    "id a number": lambda body: body.replace('"q-77"', "77"),
    "id empty": lambda body: body.replace("q-77", ""),
    "id endless": lambda body: body.replace("q-77", "q" * 5000),
    "id with a NUL": lambda body: body.replace("q-77", "q\\u0000"),
    "id half a character": lambda body: body.replace("q-77", "\\ud800"),
    "player null": lambda body: body.replace('"p-1"', "null"),
    "reference a number": lambda body: body.replace('"tr_1-1"', "11"),
    "unknown status": lambda body: re.sub(r'"status": "\w+"', '"status": "DONE"', body),
    "status in lower case": lambda body: re.sub(r'"status": "\w+"', lambda found: found[0].lower(), body),
    "status a number": lambda body: re.sub(r'"status": "\w+"', '"status": 1', body),
    "status null": lambda body: re.sub(r'"status": "\w+"', '"status": null', body),
}

MUST_TELL = {
    "prepare": ["id", "type", "referenceId", "playerId", "amount", "currency", "initiated", "status"],
    "complete": ["id", "type", "referenceId", "playerId", "amount", "currency", "initiated", "finalized", "status"],
    "void": ["id", "type", "referenceId", "playerId", "amount", "currency", "initiated", "finalized", "status"],
    "look_up": ["id", "type", "referenceId", "playerId", "amount", "currency", "initiated", "status"],
}


@pytest.mark.parametrize(("operation", "wire", "expected"), [(row[0], row[1], row[2:]) for row in SUCCESS])
def test_a_success_tells_everything(server, qtech, clock, operation, wire, expected):
    """I-12: an answer becomes evidence with every field that the engine compares with the intent."""
    answer, code, moment = expected
    server.answers = [wire]
    reply = call(qtech, clock, operation)
    assert reply == replace(TOLD, answer=answer, code=code, provider_time=moment, digest=reply.digest)
    assert re.fullmatch("[0-9a-f]{64}", reply.digest)


@pytest.mark.parametrize(
    ("operation", "wire", "expected"),
    [(operation, row[0], row[1:]) for operation, rows in REFUSED.items() for row in rows],
)
def test_a_refusal_says_what_its_row_says(server, qtech, clock, operation, wire, expected):
    """I-12, C-13: only a listed code under its own status, in a proper body, decides; all else is UNKNOWN."""
    server.answers = [wire]
    reply = call(qtech, clock, operation)
    assert said(reply) == expected
    assert told_nothing(reply)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(("wire", "code"), [row[1:] for row in ANYWHERE], ids=[row[0] for row in ANYWHERE])
def test_trouble_says_nothing(server, qtech, clock, operation, wire, code):
    """I-12, C-12, C-14: a page, a redirect, a limit or a broken connection is no evidence, and one request."""
    server.answers = [wire, http(*GOOD[operation])]
    reply = call(qtech, clock, operation)
    assert said(reply) == (Answer.UNKNOWN, False, code)
    assert told_nothing(reply)
    assert len(server.received) == 2  # the token's and this one


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("spoil", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_says_nothing(server, qtech, clock, operation, spoil):
    """I-12, C-06: a success whose body is not exactly what the protocol says is UNKNOWN, kept by its digest."""
    status, body = GOOD[operation]
    server.answers = [http(status, spoil(body))]
    reply = call(qtech, clock, operation)
    assert said(reply) == (Answer.UNKNOWN, False, "MALFORMED")
    assert told_nothing(reply)
    assert re.fullmatch("[0-9a-f]{64}", reply.digest)


@pytest.mark.parametrize(("operation", "name"), [(o, name) for o in OPERATIONS for name in MUST_TELL[o]])
def test_a_body_that_lacks_a_field_says_nothing(server, qtech, clock, operation, name):
    """I-12: what is not echoed cannot be compared, so it proves nothing."""
    status, body = GOOD[operation]
    members = json.loads(body)
    del members[name]
    server.answers = [http(status, json.dumps(members))]
    reply = call(qtech, clock, operation)
    assert said(reply) == (Answer.UNKNOWN, False, "MALFORMED")
    assert reply.detail == name


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    ("content_type", "extra", "accepted"),
    [
        ("application/json", [], True),
        ("application/json;charset=UTF-8", [], True),
        ("Application/JSON ; charset=utf-8", [], True),
        ("application/json", ["Content-Encoding: identity"], True),
        ("application/json", ["Content-Encoding: gzip"], False),
        ("text/html", [], False),
        ("text/plain", [], False),
        ("application/xml", [], False),
        ("", [], False),
    ],
)
def test_only_json_that_says_so_is_read(server, qtech, clock, operation, content_type, extra, accepted):
    """I-12, C-06: a body under another content type was not made by the protocol."""
    status, body = GOOD[operation]
    server.answers = [http(status, body, content_type, *extra)]
    believed = {
        "prepare": Answer.RESERVED,
        "complete": Answer.APPLIED,
        "void": Answer.CANCELLED,
        "look_up": Answer.APPLIED,
    }[operation]
    assert call(qtech, clock, operation).answer is (believed if accepted else Answer.UNKNOWN)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("25.00", "2500.00", {"amount": 250000}),
        ("25.00", "25", {"amount": 2500}),
        ("25.00", "2.5e1", {"amount": 2500}),
        ("25.00", "0.01", {"amount": 1}),
        ('"EUR"', '"JPY"', {"currency": "JPY"}),
        ("p-1", "p-2", {"player": "p-2"}),
        ("tr_1-1", "tr_9-1", {"reference": "tr_9-1"}),
        ("q-77", "q-78", {"provider_reference": "q-78"}),
        ("CREDIT", "DEBIT", {"side": "debit"}),
    ],
)
def test_what_differs_is_told_as_it_was_told(server, qtech, clock, operation, old, new, told):
    """C-09, C-16: the adapter reports the answer's own words; that they differ is for the engine to see."""
    status, body = GOOD[operation]
    server.answers = [http(status, body.replace(old, new))]
    reply = call(qtech, clock, operation)
    assert reply.answer is not Answer.UNKNOWN
    assert asdict(reply).items() >= told.items()


def test_a_look_up_needs_no_final_time(server, qtech, clock):
    """I-12: when a transfer became final is a hint; what became of it is what was asked."""
    final = COMPLETED.replace(', "finalized": "2026-06-01T18:00:03"', ', "finalized": null')
    server.answers = [http(200, final)]
    reply = call(qtech, clock, "look_up")
    assert (reply.answer, reply.provider_time) == (Answer.APPLIED, "2026-06-01T18:00:00")


def test_unknown_members_do_no_harm(server, qtech, clock):
    """§6.6-63: a provider may add members without telling."""
    server.answers = [http(201, PENDING.replace("{", '{"new": {"list": [1, 2.5, null]}, ', 1))]
    assert call(qtech, clock, "prepare").answer is Answer.RESERVED


# --- nothing on the wire ---------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", OPERATIONS)
def test_nothing_listening(clock, operation):
    """C-12: money that could not even log in is NOT_SENT; a look-up that could not is no information."""
    with ScriptedServer(listening=False) as nobody:
        reply = call(account(nobody.url, clock), clock, operation)
    expected = Answer.UNKNOWN if operation == "look_up" else Answer.NOT_SENT
    assert said(reply) == (expected, False, "TOKEN_connect")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_gone_since_the_token(server, qtech, clock, operation):
    """C-12: with a token in hand, a refused connection still proves that no byte left."""
    server.answers = [http(*GOOD[operation], keep=False)]
    call(qtech, clock, operation)
    server.close()
    reply = call(qtech, clock, operation)
    expected = Answer.UNKNOWN if operation == "look_up" else Answer.NOT_SENT
    assert said(reply) == (expected, False, "connect")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_silent_provider(server, qtech, clock, operation):
    """C-01, C-06: after the deadline the answer is UNKNOWN, because the request had left."""
    server.answers = [silence]
    began = time.monotonic()
    reply = call(qtech, clock, operation, seconds=0.4)
    assert said(reply) == (Answer.UNKNOWN, False, "deadline")
    assert time.monotonic() - began < 2.0


def test_too_late_for_money(server, qtech, clock):
    """C-40: past the not-after nothing leaves, token or no token."""
    now = clock.monotonic()
    for _ in range(2):
        reply = qtech.money(Step.COMPLETE, EFFECT, Window(not_after=now - 1, deadline=now + 5))
        assert reply.answer is Answer.NOT_SENT
        server.answers = [http(200, COMPLETED)]
        call(qtech, clock, "look_up")  # now there is a token
    assert [request.method for request in server.received if request.method == "PUT"] == []


@pytest.mark.parametrize("operation", ["complete", "void", "look_up"])
def test_without_the_providers_id_nothing_is_asked(server, qtech, clock, operation):
    """C-17: there is no look-up by our reference; without the provider's id no request makes sense."""
    reply = call(qtech, clock, operation, replace(EFFECT, provider_reference=None))
    assert reply.answer is (Answer.UNKNOWN if operation == "look_up" else Answer.NOT_SENT)
    assert server.received == []


# --- the requests ----------------------------------------------------------------------------------------


def test_the_four_requests(server, qtech, clock):
    """§1.1: method, path and body of every call, as documented."""
    server.answers = [http(201, PENDING), http(200, COMPLETED), http(200, CANCELLED), http(200, COMPLETED)]
    strange = replace(EFFECT, provider_reference="../q/77?x#y")
    for operation in OPERATIONS:
        call(qtech, clock, operation, EFFECT if operation in ("prepare", "complete") else strange)
    login, *calls = server.received
    assert (login.method, login.path, login.body) == ("POST", "/v1/auth/token", b"")
    assert login.query == {
        "grant_type": ["password"],
        "response_type": ["token"],
        "username": ["acme-user"],
        "password": ["acme-password"],
    }
    assert "authorization" not in login.headers
    assert [(request.method, request.target) for request in calls] == [
        ("POST", "/v1/fund-transfers"),
        ("PUT", "/v1/fund-transfers/q-77/status"),
        ("PUT", "/v1/fund-transfers/..%2Fq%2F77%3Fx%23y/status"),
        ("GET", "/v1/fund-transfers/..%2Fq%2F77%3Fx%23y"),
    ]
    assert {request.headers["authorization"] for request in calls} == {"Bearer t-1"}
    assert [json.loads(request.body or b"null") for request in calls] == [
        {"type": "CREDIT", "referenceId": "tr_1-1", "playerId": "p-1", "amount": 25.0, "currency": "EUR"},
        {"status": "COMPLETED"},
        {"status": "CANCELLED"},
        None,
    ]


@pytest.mark.parametrize(
    ("minor", "currency", "digits"),
    [
        (30, "EUR", "0.30"),  # 0.1 + 0.2
        (29, "EUR", "0.29"),
        (1, "EUR", "0.01"),
        (115, "EUR", "1.15"),
        (2500, "EUR", "25.00"),
        (10**15, "EUR", "10000000000000.00"),
        (900719925474099301, "EUR", "9007199254740993.01"),
        (500, "JPY", "500"),
        (1, "JPY", "1"),
        (1230, "KWD", "1.23"),
        (1000, "KWD", "1.00"),
        (12300, "CLF", "1.23"),
        (12345678, "BTC", "0.12345678"),
        (100000001, "BTC", "1.00000001"),
        (1234567890, "ETH", "1.23456789"),
        (10000000, "ETH", "0.01000000"),
    ],
)
def test_money_goes_out_with_exact_digits(server, qtech, clock, minor, currency, digits):
    """I-08: the digits of the amount on the wire are those of the integer, no float in between."""
    server.answers = [http(500)]
    call(qtech, clock, "prepare", replace(EFFECT, amount=minor, currency=currency))
    body = json.loads(server.received[-1].body, parse_float=str, parse_int=str)
    assert (body["amount"], body["currency"]) == (digits, currency)


def test_a_debit_says_debit(server, qtech, clock):
    """§1.1: CREDIT brings money into the game, DEBIT takes it out."""
    server.answers = [http(201, PENDING.replace("CREDIT", "DEBIT"))]
    reply = call(qtech, clock, "prepare", replace(EFFECT, side=Side.DEBIT))
    assert json.loads(server.received[-1].body)["type"] == "DEBIT"
    assert (reply.answer, reply.side) == (Answer.RESERVED, "debit")


@pytest.mark.parametrize(
    ("minor", "currency", "reason"),
    [
        (1234, "KWD", "has more than the 2 decimals of KWD that this provider carries"),
        (12345, "CLF", "has more than the 2 decimals of CLF that this provider carries"),
        (1234567891, "ETH", "has more than the 8 decimals of ETH that this provider carries"),
        (999999, "BTC", "must be at least 0.01"),
        (9999990, "ETH", "must be at least 0.01"),
        (0, "EUR", "must be at least 0.01"),
        (-100, "EUR", "must be at least 0.01"),
        (100, "QQQ", "QQQ is not a known currency"),
    ],
)
def test_what_the_wire_cannot_carry_is_refused_before_it(server, qtech, clock, minor, currency, reason):
    """I-08: no rounding: an amount that the wire cannot carry exactly is refused, and never sent."""
    assert qtech.refuses(minor, currency) == reason
    reply = call(qtech, clock, "prepare", replace(EFFECT, amount=minor, currency=currency))
    assert (*said(reply), reply.detail) == (Answer.NOT_SENT, False, "AMOUNT_REFUSED", reason)
    assert server.received == []


@pytest.mark.parametrize(("minor", "currency"), [(1, "EUR"), (1, "JPY"), (1230, "KWD"), (1000000, "BTC")])
def test_what_the_wire_carries_is_not_refused(qtech, minor, currency):
    """I-08: exact amounts pass."""
    assert qtech.refuses(minor, currency) is None


# --- what is kept for people --------------------------------------------------------------------------


def test_both_messages_are_kept(server, qtech, clock):
    """Design §1: an orphan comes before people with all the evidence: what was sent, and what was answered."""
    server.routes["/v1/fund-transfers/q-77/status"] = http(200, COMPLETED)
    reply = call(qtech, clock, "complete")
    assert reply.sent == 'PUT /v1/fund-transfers/q-77/status\n{"status": "COMPLETED"}'
    assert reply.received == f"HTTP/1.1 200 Said\n{COMPLETED}"


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ("\0" * 2_000, "\\x00" * 2_000),
        ("x" * (LONGEST_MESSAGE - 19), "x" * (LONGEST_MESSAGE - 19)),
        ("x" * (LONGEST_MESSAGE - 18), "x" * (LONGEST_MESSAGE - 19) + CUT),
        ("\0" * LONGEST_MESSAGE, ("\\x00" * LONGEST_MESSAGE)[: LONGEST_MESSAGE - 19] + CUT),
    ],
)
def test_what_is_cut_can_be_told_from_what_is_whole(server, qtech, clock, body, kept):
    """A message that was cut is as long as one can be, whatever of it had to be escaped; no whole one is as long."""
    server.routes["/v1/fund-transfers"] = http(502, body, "text/html")
    received = call(qtech, clock, "prepare").received
    assert received == f"HTTP/1.1 502 Said\n{kept}"
    assert (len(received) == LONGEST_MESSAGE) == kept.endswith(CUT)
    assert ("only the beginning is kept" in redaction.exchanged(received)) == kept.endswith(CUT)


def test_of_an_answer_that_says_nothing_the_message_is_kept(server, qtech, clock):
    """It is what people have to judge; of a long one the beginning, and what no database stores is escaped."""
    server.routes["/v1/fund-transfers"] = http(502, HTML, "text/html")
    assert call(qtech, clock, "prepare").received == f"HTTP/1.1 502 Said\n{HTML}"
    server.routes["/v1/fund-transfers"] = http(201, "\0" + "x" * 20_000)
    received = call(qtech, clock, "prepare").received
    assert received is not None
    assert received.startswith("HTTP/1.1 201 Said\n\\x00xxx")
    assert len(received) == LONGEST_MESSAGE
    server.routes["/v1/fund-transfers"] = reset
    lost = call(qtech, clock, "prepare")
    assert (str(lost.sent)[:25], lost.received) == ("POST /v1/fund-transfers\n{", None)
