"""The generic profile, typed out by hand from docs/provider-contract.md: operation × answer → what it says.

The server behind it is a script of bytes: it knows nothing of the adapter, and nothing of the simulator.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from ipaddress import ip_network

import pytest
from pydantic import ValidationError

from bridge.config import GenericSection
from bridge.evidence import Answer, Step
from bridge.ports import SECOND, Absence, Cancel, LookupKey, SameId, Side, Window
from bridge.providers import build
from bridge.providers.generic import Generic, descriptor
from bridge.runtime import SystemClock
from tests.providers import Answer as Wire
from tests.providers import ScriptedServer, hang_up, http, raw, reset, silence
from tests.providers.account import HTML, error, said, told_nothing
from tests.providers.generic_account import (
    CANCELLED,
    CONFIRMED,
    CURRENCIES,
    EFFECT,
    GOOD,
    NOT_FOUND,
    OPERATIONS,
    PENDING,
    PLAYING,
    REFUSED,
    SECRET,
    SETTINGS,
    SHORT,
    TOLD,
    At,
    account,
    call,
)


@pytest.fixture
def generic(server: ScriptedServer) -> Generic:
    """The adapter, speaking to the scripted server."""
    return account(server.url)


# --- operation × answer: the tables -------------------------------------------------------------------

SAYS: list[tuple[str, Answer, str, bool, int, int | None]] = [
    (PENDING, Answer.IN_PROGRESS, "pending", False, 1, None),
    (CONFIRMED, Answer.APPLIED, "confirmed", False, 2, -350),
    (CANCELLED, Answer.CANCELLED, "cancelled", False, 2, -350),
    (REFUSED, Answer.NOT_APPLIED, "limit_reached", False, 2, -350),
    (SHORT, Answer.NOT_APPLIED, "insufficient_funds", True, 2, -350),
    (PLAYING, Answer.NOT_APPLIED, "player_in_game", False, 2, -350),
]

NOTHING: list[tuple[str, Wire, str]] = [
    ("refusal under 400", http(400, REFUSED), "limit_reached"),
    ("id reused under 422", error(422, "id_reused"), "id_reused"),
    ("bad signature", error(401, "bad_signature"), "bad_signature"),
    ("insufficient under 422", error(422, "insufficient_funds"), "insufficient_funds"),
    ("not found under 404", error(404, "not_found"), "not_found"),
    ("maintenance", error(503, "maintenance"), "maintenance"),
    ("code in capitals", error(503, "MAINTENANCE"), "HTTP_503"),
    ("code empty", error(503, ""), "HTTP_503"),
    ("code endless", error(503, "a" * 65), "HTTP_503"),
    ("code a number", http(500, '{"code": 5}'), "HTTP_500"),
    ("code in a page", http(500, '{"code": "down"}', "text/html"), "HTTP_500"),
    ("code twice", http(500, '{"code": "down", "code": "down"}'), "HTTP_500"),
    ("code in a list", http(500, '["down"]'), "HTTP_500"),
    ("only a code under 200", error(200, "insufficient_funds"), "MALFORMED"),
    ("confirmed under 201", http(201, CONFIRMED), "HTTP_201"),
    ("confirmed under 202", http(202, CONFIRMED), "HTTP_202"),
    ("confirmed under 500", http(500, CONFIRMED), "HTTP_500"),
    ("204", http(204), "HTTP_204"),
    ("302", http(302, "", "", "Location: /elsewhere"), "HTTP_302"),
    ("307", http(307, "", "", "Location: /elsewhere"), "HTTP_307"),
    ("401 without a body", http(401), "HTTP_401"),
    ("403 page", http(403, HTML, "text/html"), "HTTP_403"),
    ("404 page", http(404, HTML, "text/html"), "HTTP_404"),
    ("429", http(429, "", "", "Retry-After: 1"), "HTTP_429"),
    ("502 page", http(502, HTML, "text/html"), "HTTP_502"),
    ("connection closed", hang_up, "reset"),
    ("connection reset", reset, "reset"),
    ("not HTTP", raw(b"SSH-2.0-Server\r\n", keep=False), "garbled"),
    ("half a body", raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", keep=False), "reset"),
]


def member(name: str, value: str) -> Callable[[str], str]:
    """Write another JSON value for a member, in a body that has it."""
    return lambda body: re.sub(rf'"{name}": ("[^"]*"|-?[0-9]+)', lambda _: f'"{name}": {value}', body)


MALFORMED: dict[str, Callable[[str], bytes | str]] = {
    "empty": lambda _: "",
    "HTML": lambda _: HTML,
    "cut in the middle": lambda body: body[: len(body) // 2],
    "followed by something": lambda body: body + "{}",
    "in a list": lambda body: f"[{body}]",
    "in an envelope": lambda body: f'{{"type": "transfer", "data": {body}}}',
    "a string": json.dumps,
    "null": lambda _: "null",
    "with a BOM": lambda body: b"\xef\xbb\xbf" + body.encode(),
    "in UTF-16": lambda body: body.encode("utf-16"),
    "not UTF-8": lambda body: body.encode().replace(b"W 77", b"W \xe9"),
    "a name twice": lambda body: body.replace('"amount"', '"amount": "25.00", "amount"'),
    "NaN beside": lambda body: body.replace("{", '{"x": NaN, ', 1),
    "very deep": lambda body: body.replace("{", f'{{"x": {"[" * 50_000}{"]" * 50_000}, ', 1),
    **{
        f"{name} {value}": member(name, value)
        for name, values in {
            "id": ["null", "7", '""', '"a b"', '"a.b"', '"a\\n"', '"' + "i" * 65 + '"'],
            "player": ["null", "7", '""', '"p/1"', '"\\u00fc"', '"' + "p" * 35 + '"'],
            "direction": ["null", '"IN"', '"credit"', '""', "1"],
            "amount": [
                "25.00", "2500", "null", '""', '"25"', '"25.0"', '"25.000"', '"0.00"', '"-25.00"', '"+25.00"',
                '"025.00"', '"00.25"', '" 25.00"', '"25.00\\n"', '"25,00"', '"2.5e1"', '"25.00 EUR"', '".25"', '"25."',
                '"NaN"', '"Infinity"', '"10000000000000000.00"', '"' + "9" * 400 + '.00"', '"\\u0662\\u0665.00"',
            ],
            "currency": ["null", '"QQQ"', '"eur"', '"EU"', '""', "978"],
            "provider_id": [
                "null", "77", '""', '"W\\n77"', '"W\\u0000"', '"\\ud800"', '"\\u00fc"', '"' + "W" * 129 + '"',
            ],
            "status": ["null", "1", '""', '"CONFIRMED"', '"done"', '"confirmed "'],
            "sequence": ["null", '"1"', "0", "-1", "1.0", "1e1", "1.5", "true", "1000000000000000000", "NaN"],
            "time": [
                "null", "1790000000", '""', '"now"', '"2026-06-01"', '"2026-06-01T18:00:00"', '"2026-06-01 18:00:00Z"',
                '"2026-13-01T18:00:00Z"', '"2026-06-32T18:00:00Z"', '"2026-06-01T24:00:00Z"', '"2026-06-01T18:00Z"',
                '"2026-06-01T18:00:00+2"', '"2026-06-01T18:00:00.Z"', '"2026-06-01T18:00:00.1234567890Z"',
            ],
        }.items()
        for value in values
    },
    "balance null": member("balance", "null"),
    "balance a number": member("balance", "-3.50"),
    "balance with too few decimals": member("balance", '"-3.5"'),
    "balance minus nothing": member("balance", '"-0.00"'),
    "balance two signs": member("balance", '"--3.50"'),
    "balance plus": member("balance", '"+3.50"'),
    "a code where nothing was refused": lambda body: body.replace("{", '{"code": "insufficient_funds", ', 1),
    "a code that is null": lambda body: body.replace("{", '{"code": null, ', 1),
    "no answer to this": lambda _: '{"player": "p.1", "in_game": false}',
}  # fmt: skip

MUST_TELL = ["id", "player", "direction", "amount", "currency", "provider_id", "status", "sequence", "time"]


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("row", SAYS, ids=[row[2] for row in SAYS])
def test_a_transfer_tells_everything(server, generic, operation, row):
    """I-12: whatever was asked, the transfer that is answered becomes evidence with every member that is compared."""
    body, answer, code, sensitive, sequence, balance = row
    server.answers = [http(200, body)]
    reply = call(generic, operation)
    assert reply == replace(
        TOLD, answer=answer, code=code, attempt_sensitive=sensitive, sequence=sequence, balance=balance,
        digest=reply.digest,
    )  # fmt: skip
    assert re.fullmatch("[0-9a-f]{64}", reply.digest)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(("wire", "code"), [row[1:] for row in NOTHING], ids=[row[0] for row in NOTHING])
def test_what_is_not_a_whole_answer_says_nothing(server, generic, operation, wire, code):
    """I-12, C-12, C-13, C-14: another status, whatever its body says, or a broken connection is no evidence."""
    server.answers = [wire, http(200, GOOD[operation])]
    reply = call(generic, operation)
    assert said(reply) == (Answer.UNKNOWN, False, code)
    assert told_nothing(reply)
    assert reply.sequence is None
    assert len(server.received) == 1


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("spoil", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_answer_says_nothing(server, generic, operation, spoil):
    """I-12, C-06: a body that is not exactly what the contract says is UNKNOWN, kept by its digest."""
    spoilt = spoil(GOOD[operation])
    assert spoilt != GOOD[operation]
    server.answers = [http(200, spoilt)]
    reply = call(generic, operation)
    assert said(reply) == (Answer.UNKNOWN, False, "MALFORMED")
    assert told_nothing(reply)
    assert re.fullmatch("[0-9a-f]{64}", reply.digest)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("name", MUST_TELL)
def test_an_answer_that_lacks_a_member_says_nothing_and_names_it(server, generic, operation, name):
    """I-12: what is not told cannot be compared, so it proves nothing; the log says which member it was."""
    members = json.loads(GOOD[operation])
    del members[name]
    server.answers = [http(200, json.dumps(members))]
    reply = call(generic, operation)
    assert (*said(reply), reply.detail) == (Answer.UNKNOWN, False, "MALFORMED", f"{name} is missing")


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("code", ["", '"code": "LIMIT", ', '"code": "", ', '"code": 7, ', '"code": "a-b", '])
def test_a_refusal_without_a_proper_code_says_nothing(server, generic, operation, code):
    """I-13: whether a refusal depends on the attempt is known by its code alone, so a refusal without one is none."""
    server.answers = [http(200, REFUSED.replace('"code": "limit_reached", ', code))]
    assert said(call(generic, operation)) == (Answer.UNKNOWN, False, "MALFORMED")


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    ("content_type", "extra", "accepted"),
    [
        ("application/json", [], True),
        ("Application/JSON ; charset=utf-8", [], True),
        ("application/json", ["Content-Encoding: gzip"], False),
        ("text/html", [], False),
        ("", [], False),
    ],
)
def test_only_json_that_says_so_is_read(server, generic, operation, content_type, extra, accepted):
    """I-12, C-06: a body under another content type was not made by the contract."""
    server.answers = [http(200, GOOD[operation], content_type, *extra)]
    assert (call(generic, operation).answer is not Answer.UNKNOWN) is accepted


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"25.00"', '"2500.00"', {"amount": 250000}),
        ('"25.00"', '"0.01"', {"amount": 1}),
        ('"EUR"', '"BTC"', None),
        ("p.1", "p.2", {"player": "p.2"}),
        ("0192-2", "0192-3", {"reference": "0192-3"}),
        ("W 77", "W 78", {"provider_reference": "W 78"}),
        ('"in"', '"out"', {"side": "debit"}),
        ('"sequence": 2', '"sequence": 999999999999999999', {"sequence": 999999999999999999}),
        ("-3.50", "0.00", {"balance": 0}),
        ("18:00:00Z", "18:00:60.123456789-03:30", {"provider_time": "2026-06-01T18:00:60.123456789-03:30"}),
    ],
)
def test_what_differs_is_told_as_it_was_told(server, generic, operation, old, new, told):
    """C-09, C-16, C-24: the adapter reports the answer's own words; that they differ is for the engine to see. An
    amount whose decimals are not those of its currency is none."""
    server.answers = [http(200, GOOD[operation].replace(old, new))]
    reply = call(generic, operation)
    if told is None:
        assert said(reply) == (Answer.UNKNOWN, False, "MALFORMED")
    else:
        assert reply.answer is not Answer.UNKNOWN
        assert asdict(reply).items() >= told.items()


def test_unknown_members_do_no_harm(server, generic):
    """§1: a provider may add members without telling; `requested` is one of them where parts are not agreed on."""
    server.answers = [http(200, CONFIRMED.replace("{", '{"new": {"list": [1, null]}, "requested": 7, ', 1))]
    assert call(generic, "transfer").answer is Answer.APPLIED


# --- not found -------------------------------------------------------------------------------------------


def test_not_found_is_told_to_a_look_up(server, generic):
    """C-15: "not found" is its own answer, which proves nothing by itself."""
    server.answers = [http(200, NOT_FOUND)]
    reply = call(generic, "look_up")
    assert said(reply) == (Answer.NOT_FOUND, False, "not_found")
    assert (reply.reference, reply.amount, reply.sequence) == ("0192-2", None, None)
    assert re.fullmatch("[0-9a-f]{64}", reply.digest)


@pytest.mark.parametrize(
    ("operation", "status", "body"),
    [
        ("look_up", 404, NOT_FOUND),
        ("look_up", 404, '{"code": "not_found"}'),
        ("look_up", 200, NOT_FOUND.replace("0192-2", "0192-3")),
        ("look_up", 200, '{"status": "not_found"}'),
        ("look_up", 200, NOT_FOUND.replace('"0192-2"', "null")),
        ("look_up", 200, NOT_FOUND.replace("not_found", "NOT_FOUND")),
        ("look_up", 200, '{"code": "not_found"}'),
        ("transfer", 200, NOT_FOUND),
        ("void", 200, NOT_FOUND),
    ],
)
def test_anything_like_not_found_is_not_it(server, generic, operation, status, body):
    """C-13, C-15: only HTTP 200 with that status and our id, to a look-up, says that a transfer is not there."""
    server.answers = [http(status, body)]
    assert call(generic, operation).answer is Answer.UNKNOWN


# --- a part of the whole ---------------------------------------------------------------------------------

PART = CONFIRMED.replace('"amount": "25.00"', '"amount": "20.00", "requested": "25.00"')
NOT_THE_WHOLE = "requested is not the whole of a confirmed part"


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (PART, (Answer.APPLIED, 2000)),
        (CONFIRMED, (Answer.APPLIED, 2500)),
        (PART.replace('"requested": "25.00", ', ""), "requested is missing"),
        (PART.replace('"requested": "25.00"', '"requested": "30.00"'), NOT_THE_WHOLE),
        (PART.replace("20.00", "25.00"), NOT_THE_WHOLE),
        (PART.replace("20.00", "26.00"), NOT_THE_WHOLE),
        (PART.replace("confirmed", "cancelled"), NOT_THE_WHOLE),
        (PART.replace('"requested": "25.00"', '"requested": null'), "requested is not an exact amount of its currency"),
        (PART.replace("20.00", "0.00"), "amount is not greater than zero"),
        (CONFIRMED.replace('"25.00"', '"30.00"'), (Answer.APPLIED, 3000)),
    ],
)  # fmt: skip
def test_a_part_is_told_where_it_is_agreed_on_and_says_so(server, operation, body, expected):
    """C-09: a smaller amount counts as a part only when the whole stands beside it; a larger one is told as it is."""
    generic = account(server.url, partial=True)
    server.answers = [http(200, body)]
    reply = call(generic, operation)
    if isinstance(expected, str):
        assert (reply.answer, reply.code, reply.detail) == (Answer.UNKNOWN, "MALFORMED", expected)
    else:
        assert (reply.answer, reply.amount) == expected


# --- nothing on the wire ---------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", OPERATIONS)
def test_nothing_listening(operation):
    """C-12: a refused connection proves that no byte of the money left; of a look-up it is no information."""
    with ScriptedServer(listening=False) as nobody:
        reply = call(account(nobody.url), operation)
    expected = Answer.UNKNOWN if operation == "look_up" else Answer.NOT_SENT
    assert said(reply) == (expected, False, "connect")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_silent_provider(server, generic, operation):
    """C-01, C-06: after the deadline the answer is UNKNOWN, because the request had left; nothing is sent again."""
    server.answers = [silence]
    began = time.monotonic()
    reply = call(generic, operation, seconds=0.4)
    assert said(reply) == (Answer.UNKNOWN, False, "deadline")
    assert time.monotonic() - began < 2.0
    assert len(server.received) == 1


@pytest.mark.parametrize("step", [Step.TRANSFER, Step.VOID])
def test_too_late_for_money(server, generic, step):
    """C-40: past the not-after nothing leaves."""
    now = SystemClock().monotonic()
    reply = generic.money(step, EFFECT, Window(not_after=now - 1, deadline=now + 5))
    assert (*said(reply), server.received) == (Answer.NOT_SENT, False, "not_after", [])


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("content", [None, "", "whsec_", "whsec_short", "password", "whsec_\xff"])
def test_without_a_secret_nothing_is_sent(server, tmp_path, operation, content):
    """C-12: a secret file that is gone or holds no secret means NOT_SENT for money, and is never quoted."""
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content.encode("latin-1"))
    generic = account(server.url, request_secret=None, request_secret_file=file)
    reply = call(generic, operation)
    expected = Answer.UNKNOWN if operation == "look_up" else Answer.NOT_SENT
    assert (*said(reply), server.received) == (expected, False, "NO_SECRET", [])
    assert reply.detail == "the secret cannot be read, or is none"


def test_a_secret_is_read_anew_for_each_message(server, tmp_path):
    """C-65: a secret file that is exchanged takes effect without a restart."""
    file = tmp_path / "secret"
    generic = account(server.url, request_secret=None, request_secret_file=file)
    server.answers = [http(200, CONFIRMED)] * 3
    for secret in (SETTINGS["request_secret"], "whsec_" + "A" * 40, SETTINGS["request_secret"] + "\n"):
        file.write_text(secret)
        call(generic, "transfer")
    one, other, again = (request.headers["webhook-signature"] for request in server.received)
    assert one == again != other


# --- the requests ----------------------------------------------------------------------------------------


def test_a_money_request_is_the_same_message_when_it_is_sent_again(server, generic):
    """I-25: a repetition has the same webhook-id and byte for byte the same body, whenever it is sent; only the
    timestamp and with it the signature are new."""
    server.answers = [http(200, PENDING)] * 4
    for wall in (1_790_000_000, 1_790_000_777):
        generic = account(server.url, clock=(clock := At()))
        clock.wall = wall * SECOND + 999_999
        for step in (Step.TRANSFER, Step.VOID):
            generic.money(step, EFFECT, Window(clock.monotonic() + 5, clock.monotonic() + 5))
    first, cancel, second, _ = server.received
    assert first.body == second.body
    assert [r.headers["webhook-id"] for r in server.received] == ["create_0192-2", "cancel_0192-2"] * 2
    assert [r.headers["webhook-timestamp"] for r in server.received] == ["1790000000"] * 2 + ["1790000777"] * 2
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]
    content = {"id": "0192-2", "player": "p.1", "direction": "in", "amount": "25.00", "currency": "EUR"}
    assert json.loads(first.body) == {"type": "transfer.create", "data": content}
    assert json.loads(cancel.body) == {"type": "transfer.cancel", "data": content}


def test_each_question_is_a_message_of_its_own(server):
    """§1: a question that is asked again later, or about somebody else, has another webhook-id."""
    generic = account(server.url, clock=(clock := At()))
    window = Window(clock.monotonic() + 5, clock.monotonic() + 5)
    for _ in range(2):
        generic.look_up(EFFECT, window)
        for player in ("p.1", "p-1"):
            generic.balance(player, "EUR", window)
            generic.kick(player, window)
        generic.balances("EUR", window)
        clock.wall += 1
    names = [request.headers["webhook-id"] for request in server.received]
    assert len(set(names)) == len(names) == 12
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,128}", name) for name in names)


@pytest.mark.parametrize(
    ("path", "target"),
    [("", "/"), ("/", "/"), ("/wallet", "/wallet"), ("/wallet/", "/wallet/"), ("/a/b.php", "/a/b.php")],
)
def test_the_one_address_is_used_as_it_was_named(server, path, target):
    """§2: everything is a POST to the address as the provider names it, its last slash included."""
    generic = account(server.url + path)
    for operation in OPERATIONS:
        call(generic, operation)
    assert {(request.method, request.target) for request in server.received} == {("POST", target)}
    assert {request.headers["content-type"] for request in server.received} == {"application/json"}


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [
        (30, "EUR", "0.30"),
        (1, "EUR", "0.01"),
        (2500, "EUR", "25.00"),
        (10**15, "EUR", "10000000000000.00"),
        (500, "JPY", "500"),
        (1, "KWD", "0.001"),
        (25000, "KWD", "25.000"),
        (12345, "CLF", "1.2345"),
        (12345678, "BTC", "0.12345678"),
    ],
)
def test_money_goes_out_with_exactly_the_decimals_of_its_currency(server, generic, minor, currency, text):
    """I-08: the amount is a text with the digits of the integer; the same text is read back as the same integer."""
    body = CONFIRMED.replace('"25.00"', f'"{text}"').replace("EUR", currency).replace(', "balance": "-3.50"', "")
    server.answers = [http(200, body)]
    assert generic.refuses(minor, currency) is None
    reply = call(generic, "transfer", replace(EFFECT, amount=minor, currency=currency))
    assert json.loads(server.received[0].body)["data"]["amount"] == text
    assert (reply.answer, reply.amount, reply.currency) == (Answer.APPLIED, minor, currency)


def test_a_debit_goes_out(server, generic):
    """§1: `out` takes money out of the game, which is a debit as the game's holder sees it."""
    server.answers = [http(200, CONFIRMED.replace('"in"', '"out"'))]
    reply = call(generic, "transfer", replace(EFFECT, side=Side.DEBIT))
    assert json.loads(server.received[0].body)["data"]["direction"] == "out"
    assert (reply.answer, reply.side) == (Answer.APPLIED, "debit")


@pytest.mark.parametrize(
    ("minor", "currency", "reason"),
    [
        (0, "EUR", "must be greater than zero"),
        (-1, "EUR", "must be greater than zero"),
        (100, "QQQ", "QQQ is not a known currency"),
    ],
)
def test_what_cannot_be_told_is_refused_before_the_wire(server, generic, minor, currency, reason):
    """I-08: an amount that the contract cannot carry is refused, and never sent."""
    assert generic.refuses(minor, currency) == reason
    reply = call(generic, "transfer", replace(EFFECT, amount=minor, currency=currency))
    assert (*said(reply), reply.detail) == (Answer.NOT_SENT, False, "AMOUNT_REFUSED", reason)
    assert server.received == []


@pytest.mark.parametrize(("operation", "answer"), [
    ("transfer", Answer.IN_PROGRESS), ("void", Answer.IN_PROGRESS), ("look_up", Answer.UNKNOWN),
])  # fmt: skip
def test_an_id_that_is_used_for_something_else_is_known(server, generic, operation, answer):
    """I-10, C-10, §2 promise 1: 409 `id_reused` says that the provider has this id; it is never absent after that."""
    server.answers = [error(409, "id_reused")]
    reply = call(generic, operation)
    assert (reply.answer, reply.code, reply.amount, reply.sequence) == (answer, "id_reused", None, None)


# --- what it promises ------------------------------------------------------------------------------------


def test_absence_is_not_concluded_before_a_provider_has_had_its_time():
    """I-10, §2 promise 4: what was received may be executed for 60 s; less is refused but for a simulator beside us."""
    section = {"base_url": "https://games.example/transfers", **SETTINGS}
    with pytest.raises(ValidationError, match="absent_after_seconds must be at least 60"):
        GenericSection(**section, absent_after_seconds=59.9)
    assert GenericSection(**section, absent_after_seconds=60).absent_after_seconds == 60
    near = {**section, "base_url": "http://127.0.0.1:9/"}
    assert GenericSection(**near, absent_after_seconds=1).absent_after_seconds == 1


def test_patience_ends_within_a_day():
    """I-17: longer than that nobody leaves what is not proved to itself; `verify` counts on it."""
    section = {"base_url": "https://games.example/transfers", **SETTINGS}
    with pytest.raises(ValidationError, match="patience_seconds must be at most 86400, a day"):
        GenericSection(**section, patience_seconds=86_400.5)
    assert GenericSection(**section, patience_seconds=86_400).patience_seconds == 86_400


def test_one_secret_for_both_ways_is_refused():
    """§1: requests and callbacks have two different secrets; who knew one could forge the other."""
    both = {**SETTINGS, "callback_secrets": (SETTINGS["request_secret"],)}
    with pytest.raises(ValueError, match="the contract wants two"):
        GenericSection(base_url="http://127.0.0.1:9", **both).read_secrets()


def test_a_network_of_mapped_addresses_is_the_network_that_it_means():
    """I-42: an IPv4 caller is compared as one, however the network is written."""
    section = GenericSection(base_url="http://127.0.0.1:9", **SETTINGS, callback_networks=("::ffff:203.0.113.0/120",))
    assert section.callback_networks == (ip_network("203.0.113.0/24"),)


def test_the_descriptor_is_the_contract_with_the_operators_times():
    """Design §5: the facts by which the engine drives it, each from the contract or from the configuration."""
    times = {"absent_after_seconds": 130, "absent_times": 3, "absent_apart_seconds": 30, "final_after_seconds": 11}
    times |= {"final_times": 4, "transfer_seconds": 9, "lookup_seconds": 6, "settle_seconds": 7}
    section = GenericSection(base_url="http://127.0.0.1:9", **SETTINGS, **times, partial=True)
    promised = descriptor(section, CURRENCIES)
    assert (promised.phases, promised.same_id, promised.dedupe_window) == (1, SameId.REPLAY, None)
    assert (promised.lookup_key, promised.lookup_retention) == (LookupKey.OWN, 90 * 24 * 3600)
    assert promised.absence == Absence(130, 3, 30)
    assert (promised.fail_final_after, promised.fail_final_times, promised.cancel) == (11, 4, Cancel.YES)
    assert (promised.money_deadline, promised.complete_deadline, promised.lookup_deadline) == (9, 9, 6)
    assert (promised.expiry, promised.settle_delay, promised.partial, promised.pushes) == (None, 7, True, True)
    assert (promised.insufficient, promised.in_game) == ({"insufficient_funds"}, {"player_in_game"})
    wanted = {"EUR": 2, "JPY": 0, "KWD": 3, "CLF": 4, "BTC": 8}
    assert wanted.items() <= promised.places.items()
    assert promised.places["USD"] == 2, "what was taken out of the configuration has still to come home"
    assert (promised.reference.longest, promised.longest_player_id) == (64, 34)
    assert isinstance(build("acme", section, CURRENCIES, At()), Generic)


# --- what is kept for people --------------------------------------------------------------------------


@pytest.mark.parametrize("operation", OPERATIONS)
def test_both_messages_are_kept(server, generic, operation):
    """Design §1: what we sent and what was answered come before people as they were, whatever was understood of it."""
    for body in (GOOD[operation], NOT_FOUND, "[]"):
        server.answers = [http(200, body)]
        server.received.clear()
        reply = call(generic, operation)
        (request,) = server.received
        assert reply.sent == f"POST /\n{request.body.decode()}"
        assert reply.received == f"HTTP/1.1 200 Said\n{body}"
        assert hashlib.sha256(reply.received.encode()).hexdigest() == reply.digest
        assert SECRET not in str(reply.sent)
