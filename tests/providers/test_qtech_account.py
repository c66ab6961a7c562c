"""QTech's token, balances and promises, against a scripted server; the contract of transfers is beside it."""

from __future__ import annotations

import threading
import time

import pytest

from bridge.config import QTechSection
from bridge.evidence import Answer, Reply
from bridge.outbound import Outbound
from bridge.ports import Balance, BalancePage, Cancel, LookupKey, Reference, SameId
from bridge.providers import build
from bridge.providers.qtech import QTech
from tests.providers import Answer as Wire
from tests.providers import ScriptedServer, hang_up, http, silence
from tests.providers.account import (
    COMPLETED,
    CURRENCIES,
    EFFECT,
    GOOD,
    HTML,
    OPERATIONS,
    PENDING,
    SETTINGS,
    TOKEN,
    call,
    error,
    said,
    window,
)

# --- the token -------------------------------------------------------------------------------------------


def test_a_transfer_is_two_money_requests_and_one_token(server, qtech, clock):
    """I-25, C-03: a clean transfer is a prepare and a complete; the next one uses the same token."""
    for _ in range(2):
        server.answers += [http(201, PENDING), http(200, COMPLETED)]
        assert call(qtech, clock, "prepare").answer is Answer.RESERVED
        assert call(qtech, clock, "complete").answer is Answer.APPLIED
    assert [(request.method, request.path) for request in server.received] == [
        ("POST", "/v1/auth/token"),
        ("POST", "/v1/fund-transfers"),
        ("PUT", "/v1/fund-transfers/q-77/status"),
        ("POST", "/v1/fund-transfers"),
        ("PUT", "/v1/fund-transfers/q-77/status"),
    ]


LOGIN_FAILS: list[tuple[str, Wire, str]] = [
    ("wrong password", error(401, "LOGIN_FAILED"), "TOKEN_LOGIN_FAILED"),
    ("blocked", error(403, "USER_BLOCKED"), "TOKEN_USER_BLOCKED"),
    ("invalid", error(422, "VALIDATION_ERROR"), "TOKEN_VALIDATION_ERROR"),
    ("insufficient", error(422, "INSUFFICIENT_FUNDS"), "TOKEN_INSUFFICIENT_FUNDS"),
    ("error", error(500, "UNKNOWN_ERROR"), "TOKEN_UNKNOWN_ERROR"),
    ("not available", error(503, "QT_NOT_AVAILABLE"), "TOKEN_QT_NOT_AVAILABLE"),
    ("page", http(200, HTML, "text/html"), "TOKEN_MALFORMED"),
    ("redirect", http(302, "", "", "Location: /"), "TOKEN_HTTP_302"),
    ("closed", hang_up, "TOKEN_reset"),
    ("no token", http(200, '{"expires_in": 21600000}'), "TOKEN_MALFORMED"),
    ("no life", http(200, '{"access_token": "t-1"}'), "TOKEN_MALFORMED"),
    ("life as text", http(200, '{"access_token": "t-1", "expires_in": "21600000"}'), "TOKEN_MALFORMED"),
    ("no time to live", http(200, '{"access_token": "t-1", "expires_in": 0}'), "TOKEN_MALFORMED"),
    ("token empty", http(200, '{"access_token": "", "expires_in": 21600000}'), "TOKEN_MALFORMED"),
    ("token a number", http(200, '{"access_token": 1, "expires_in": 21600000}'), "TOKEN_MALFORMED"),
    ("token two lines", http(200, '{"access_token": "t\\r\\nX: y", "expires_in": 21600000}'), "TOKEN_MALFORMED"),
]


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(("wire", "code"), [row[1:] for row in LOGIN_FAILS], ids=[row[0] for row in LOGIN_FAILS])
def test_without_a_token_nothing_is_sent(server, qtech, clock, operation, wire, code):
    """C-12: whatever befell the token, no money byte has left; its refusal never reads as the transfer's."""
    server.routes["/v1/auth/token"] = wire
    reply = call(qtech, clock, operation)
    assert said(reply) == (Answer.UNKNOWN if operation == "look_up" else Answer.NOT_SENT, False, code)
    assert [request.path for request in server.received] == ["/v1/auth/token"]
    assert "acme-password" not in repr(reply)
    assert (reply.sent, reply.received) == (None, None), "a login's messages are a password and a token"


def test_a_silent_login_ends_with_the_window(server, qtech, clock):
    """C-06: the token is fetched inside the window of the call that needs it."""
    server.routes["/v1/auth/token"] = silence
    began = time.monotonic()
    assert said(call(qtech, clock, "prepare", seconds=0.4)) == (Answer.NOT_SENT, False, "TOKEN_deadline")
    assert time.monotonic() - began < 2.0


def test_an_unreadable_password_file_sends_nothing(server, clock):
    """C-12: a secret that cannot be read is trouble before the first byte."""
    values = {**SETTINGS, "password": None, "password_file": "/nonexistent/password"}
    settings = QTechSection(base_url=server.url, **values)
    lost = QTech("acme", settings, Outbound(server.url, clock=clock), CURRENCIES, clock)
    assert said(call(lost, clock, "prepare")) == (Answer.NOT_SENT, False, "TOKEN_NO_PASSWORD")
    assert server.received == []


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_401_ends_the_token_and_sends_nothing_again(server, qtech, clock, operation):
    """C-14, §6.1-8: INVALID_TOKEN is no evidence; there is no hidden second try; the next call logs in anew."""
    server.answers = [error(401, "INVALID_TOKEN"), http(*GOOD[operation])]
    assert said(call(qtech, clock, operation)) == (Answer.UNKNOWN, False, "INVALID_TOKEN")
    assert len(server.received) == 2
    server.routes["/v1/auth/token"] = http(200, '{"access_token": "t-2", "expires_in": 21600000}')
    assert call(qtech, clock, operation).answer is not Answer.UNKNOWN
    assert [request.headers.get("authorization") for request in server.received] == [
        None,
        "Bearer t-1",
        None,
        "Bearer t-2",
    ]


def test_the_token_lives_from_use_to_use(server, qtech, clock):
    """§1.1: `expires_in` is an idle time in milliseconds that each use resets; a token near its end is not used."""
    server.routes["/v1/auth/token"] = http(200, '{"access_token": "t-1", "expires_in": 60000}')
    server.answers = [http(200, COMPLETED)] * 4
    for seconds, logins in ((0, 1), (50, 1), (50, 1), (56, 2)):
        clock.ahead += seconds
        call(qtech, clock, "look_up")
        assert len(server.requests("/v1/auth/token")) == logins


def test_a_failing_use_resets_nothing(server, qtech, clock):
    """§1.1: a call that was perhaps never seen did not prolong the token's life."""
    server.routes["/v1/auth/token"] = http(200, '{"access_token": "t-1", "expires_in": 60000}')
    server.answers = [http(200, COMPLETED), hang_up, http(503), http(200, COMPLETED)]
    for seconds, logins in ((0, 1), (30, 1), (20, 1), (10, 2)):
        clock.ahead += seconds
        call(qtech, clock, "look_up")
        assert len(server.requests("/v1/auth/token")) == logins


def test_many_threads_log_in_once(server, qtech, clock):
    """§1.1: the manual asks to reuse the token; threads that need it at once wait for one log-in."""
    server.routes["/v1/fund-transfers/q-77"] = http(200, COMPLETED)
    replies: list[Reply] = []
    threads = [threading.Thread(target=lambda: replies.append(call(qtech, clock, "look_up"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [reply.answer for reply in replies] == [Answer.APPLIED] * 8
    assert len(server.requests("/v1/auth/token")) == 1


def test_waiting_for_anothers_login_ends_with_the_window(server, qtech, clock):
    """C-06: a thread behind a hanging log-in waits no longer than its own window, and sends nothing."""
    server.routes["/v1/auth/token"] = silence
    first = threading.Thread(target=lambda: call(qtech, clock, "prepare", seconds=3))
    first.start()
    while not server.received:
        time.sleep(0.01)
    began = time.monotonic()
    assert said(call(qtech, clock, "prepare", seconds=0.3)) == (Answer.NOT_SENT, False, "TOKEN_WAIT")
    assert time.monotonic() - began < 2.0
    first.join()
    assert len(server.received) == 1


# --- balances --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("currency", "body", "amount"),
    [
        ("EUR", '{"amount": 25.10, "currency": "EUR"}', 2510),
        ("EUR", '{"amount": 0, "currency": "EUR"}', 0),
        ("EUR", '{"amount": -1.5, "currency": "EUR"}', -150),
        ("JPY", '{"amount": 500.00, "currency": "JPY"}', 500),
        ("BTC", '{"amount": 1E-8, "currency": "BTC"}', 1),
    ],
)
def test_a_balance(server, qtech, clock, currency, body, amount):
    """I-08: a balance is read exactly, in minor units."""
    server.answers = [http(200, body)]
    assert qtech.balance("p/1", currency, window(clock)) == Balance("p/1", currency, amount)
    assert server.received[-1].target == "/v1/wallet/ext/p%2F1"


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (http(200, '{"amount": 25.10, "currency": "USD"}'), "MALFORMED"),
        (http(200, '{"amount": 25.101, "currency": "EUR"}'), "MALFORMED"),
        (http(200, '{"amount": "25.10", "currency": "EUR"}'), "MALFORMED"),
        (http(200, '{"amount": 25.10}'), "MALFORMED"),
        (http(200, '{"currency": "EUR"}'), "MALFORMED"),
        (http(200, '{"amount": 99999999999999999.99, "currency": "EUR"}'), "MALFORMED"),
        (http(200, HTML, "text/html"), "MALFORMED"),
        (error(401, "INVALID_TOKEN"), "INVALID_TOKEN"),
        (error(404, "PLAYER_NOT_FOUND"), "PLAYER_NOT_FOUND"),
        (error(500, "UNKNOWN_ERROR"), "UNKNOWN_ERROR"),
        (http(503), "HTTP_503"),
        (hang_up, "reset"),
    ],
)
def test_no_balance(server, qtech, clock, wire, code):
    """C-14: what is not a balance is said to be none, with the reason."""
    server.answers = [wire]
    reply = qtech.balance("p-1", "EUR", window(clock))
    assert isinstance(reply, Reply)
    assert said(reply) == (Answer.UNKNOWN, False, code)


ROW = '{"playerId": "p-1", "amount": 25.10, "currency": "EUR", "lastUpdatedDateTime": "2026-06-01T18:00:00"}'
PAGE = f'{{"items": [{ROW}]}}'


@pytest.mark.parametrize(
    ("wire", "answers"),
    [
        (http(200, PAGE), True),
        (http(200, PAGE.replace("25.10", "0.123")), True),
        (http(200, '{"items": []}'), True),
        (http(200, HTML, "text/html"), False),
        (http(503), False),
        (hang_up, False),
    ],
)
def test_a_probe_asks_only_whether_it_answers(server, qtech, clock, wire, answers):
    """C-14: a player with a fraction of a cent does not keep the breaker open; a maintenance page does."""
    server.answers = [wire]
    assert qtech.answers(window(clock)) is answers
    assert server.received[-1].query == {"size": ["1"]}


def test_balances_page_by_page(server, qtech, clock):
    """§1.1: the next page is asked of our own address; of the link only the cursor counts (C-69's rule)."""
    with ScriptedServer() as stranger:
        href = f"{stranger.url}/v1/wallet/ext?size=500&cursor=p%2B1%26x&currency=EUR"
        server.answers = [
            http(200, f'{{"items": [{ROW}], "links": [{{"rel": "next", "href": "{href}"}}]}}'),
            http(200, '{"items": [], "links": []}'),
        ]
        first = qtech.balances("EUR", window(clock))
        assert first == BalancePage((Balance("p-1", "EUR", 2510, "2026-06-01T18:00:00"),), "p+1&x")
        assert isinstance(first, BalancePage)
        assert qtech.balances("EUR", window(clock), first.cursor) == BalancePage((), None)
        assert stranger.connections == 0
    _, one, two = server.received
    assert (one.path, one.query) == ("/v1/wallet/ext", {"currency": ["EUR"], "size": ["500"]})
    assert (two.path, two.query) == ("/v1/wallet/ext", {"currency": ["EUR"], "size": ["500"], "cursor": ["p+1&x"]})


@pytest.mark.parametrize(
    "body",
    [
        "{}",
        '{"items": null}',
        '{"items": {}}',
        '{"items": [1]}',
        PAGE.replace("25.10", "25.101"),
        PAGE.replace("EUR", "USD"),
        PAGE.replace("playerId", "player"),
        PAGE.replace("lastUpdatedDateTime", "updated"),
        f'{{"items": [{ROW}, {{}}]}}',
        '{"items": [], "links": 1}',
        '{"items": [], "links": ["x"]}',
        '{"items": [], "links": [{"href": 1}]}',
        '{"items": [], "links": [{"href": "http://[/?x=1"}]}',
        '{"items": [], "links": [{"href": "/v1/wallet/ext?size=1"}]}',
        '{"items": [], "links": [{"href": "/v1/wallet/ext?cursor=p-1"}]}',
    ],
)
def test_a_page_is_whole_or_none(server, qtech, clock, body):
    """C-14: half a list would hide a balance, and a page that leads to itself would never end."""
    server.answers = [http(200, body)]
    reply = qtech.balances("EUR", window(clock), "p-1")
    assert isinstance(reply, Reply)
    assert said(reply) == (Answer.UNKNOWN, False, "MALFORMED")


# --- what it promises ------------------------------------------------------------------------------------


def test_the_descriptor_is_the_page_of_facts(qtech):
    """§1.1, §3.3: the promises from which the engine derives its timeout contract, typed out."""
    facts = qtech.descriptor
    assert (facts.protocol, facts.phases, facts.same_id, facts.dedupe_window) == ("qtech", 2, SameId.UNTIL_FINAL, None)
    assert (facts.lookup_key, facts.lookup_retention, facts.absence) == (LookupKey.PROVIDER, None, None)
    assert (facts.fail_final_after, facts.fail_final_times, facts.cancel) == (12, 2, Cancel.YES)
    assert (facts.expiry, facts.expiry_margin, facts.complete_reserve) == (10, 2, 3)
    assert (facts.reference, facts.longest_player_id) == (Reference("[A-Za-z0-9_-]", 34), 34)
    wanted = {"EUR": 2, "JPY": 0, "KWD": 2, "CLF": 2, "BTC": 8, "ETH": 8}
    assert wanted.items() <= facts.places.items()
    assert facts.places["USD"] == 2, "what was taken out of the configuration has still to come home"
    assert (facts.money_deadline, facts.complete_deadline, facts.lookup_deadline) == (4, 4, 5)
    assert facts.evidence_tag.startswith("O*: protocol-compatible, built from public documentation; not certified")


def test_built_from_its_configuration(server, clock):
    """Design §8: base address and credentials are configuration; a path in the address comes first."""
    server.routes["/base/v1/auth/token"] = TOKEN
    server.answers = [http(200, COMPLETED)]
    settings = QTechSection(base_url=f"{server.url}/base", **SETTINGS)
    provider = build("acme", settings, CURRENCIES, clock)
    assert provider.name == "acme"
    assert provider.look_up(EFFECT, window(clock)).answer is Answer.APPLIED
    assert server.received[-1].path == "/base/v1/fund-transfers/q-77"
