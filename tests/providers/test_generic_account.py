"""What is asked and heard beside transfers in the generic profile: balances, kicks, callbacks, signs of life."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from bridge.evidence import Answer, Reply
from bridge.ports import Balance, BalancePage, Malformed
from bridge.providers.generic import Generic
from tests.providers import ScriptedServer, hang_up, http
from tests.providers.account import HTML, error, told_nothing
from tests.providers.generic_account import CANCELLED, CONFIRMED, PENDING, REFUSED, TOLD, account, window

TIME = "2026-06-01T18:00:00Z"


@pytest.fixture
def generic(server: ScriptedServer) -> Generic:
    """The adapter, speaking to the scripted server."""
    return account(server.url)


def owned(player: str = "p.1", amount: str = "25.00", currency: str = "EUR") -> dict[str, Any]:
    """One balance as the contract words it."""
    return {"player": player, "currency": currency, "amount": amount, "time": TIME}


def asked(server: ScriptedServer) -> dict[str, Any]:
    """The one message that reached the server."""
    (request,) = server.received
    message: dict[str, Any] = json.loads(request.body)
    return message


# --- a balance -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("currency", "text", "minor"),
    [
        ("EUR", "25.00", 2500),
        ("EUR", "0.00", 0),
        ("EUR", "-3.50", -350),
        ("EUR", "-0.01", -1),
        ("JPY", "25", 25),
        ("KWD", "25.000", 25000),
        ("BTC", "0.00000001", 1),
        ("EUR", "9999999999999999.99", 999999999999999999),
    ],
)
def test_a_balance_is_told_exactly(server, generic, currency, text, minor):
    """I-08: a balance is read in minor units of its currency, a negative one as well."""
    server.answers = [http(200, json.dumps(owned(amount=text, currency=currency)))]
    assert generic.balance("p.1", currency, window()) == Balance("p.1", currency, minor, TIME)
    assert asked(server) == {"type": "player.balance", "data": {"player": "p.1", "currency": currency}}


INEXACT = "amount is not an exact amount of its currency"
ANOTHER = "is another one than was meant"


@pytest.mark.parametrize(
    ("wire", "code", "detail"),
    [
        (http(200, json.dumps(owned("p.2"))), "MALFORMED", f"player {ANOTHER}"),
        (http(200, json.dumps(owned(currency="JPY", amount="25"))), "MALFORMED", f"currency {ANOTHER}"),
        (http(200, json.dumps(owned(amount="25.0"))), "MALFORMED", INEXACT),
        (http(200, json.dumps(owned(amount="10000000000000000.00"))), "MALFORMED", INEXACT),
        (http(200, json.dumps({**owned(), "amount": 25})), "MALFORMED", INEXACT),
        (http(200, json.dumps({**owned(), "time": None})), "MALFORMED", "time is malformed"),
        (http(200, '{"player": "p.1", "currency": "EUR", "amount": "25.00"}'), "MALFORMED", "time is missing"),
        (http(200, "{}"), "MALFORMED", "player is missing"),
        (http(200, "[]"), "MALFORMED", "not an object"),
        (error(404, "unknown_player"), "unknown_player", "as it is"),
        (error(404, "balance"), "HTTP_404", ""),
        (http(503, HTML, "text/html"), "HTTP_503", ""),
        (hang_up, "reset", ""),
    ],
)
def test_what_is_no_balance_says_why(server, generic, wire, code, detail):
    """I-12: another player's or currency's balance, or half of one, is none, and nothing is asked twice."""
    server.answers = [wire, http(200, json.dumps(owned()))]
    reply = generic.balance("p.1", "EUR", window())
    assert isinstance(reply, Reply)
    assert (reply.answer, reply.code, reply.detail) == (Answer.UNKNOWN, code, detail)
    assert told_nothing(reply)
    assert len(server.received) == 1


# --- a kick ----------------------------------------------------------------------------------------------


def test_a_kick_is_done_when_nobody_plays(server, generic):
    """C-11: only the provider's own word that the player is not in a game ends the waiting for it."""
    server.answers = [http(200, '{"player": "p.1", "in_game": false}')]
    reply = generic.kick("p.1", window())
    assert (reply.answer, reply.code, reply.amount) == (Answer.UNKNOWN, "kicked", None)
    assert asked(server) == {"type": "player.kick", "data": {"player": "p.1"}}


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (http(200, '{"player": "p.1", "in_game": true}'), "MALFORMED"),
        (http(200, '{"player": "p.1", "in_game": 0}'), "MALFORMED"),
        (http(200, '{"player": "p.1", "in_game": "false"}'), "MALFORMED"),
        (http(200, '{"player": "p.1", "in_game": null}'), "MALFORMED"),
        (http(200, '{"player": "p.1"}'), "MALFORMED"),
        (http(200, '{"player": "p.2", "in_game": false}'), "MALFORMED"),
        (http(200, '{"in_game": false}'), "MALFORMED"),
        (http(202, '{"player": "p.1", "in_game": false}'), "HTTP_202"),
        (error(409, "kicked"), "HTTP_409"),
        (error(503, "maintenance"), "maintenance"),
        (hang_up, "reset"),
    ],
)
def test_a_kick_that_is_not_confirmed_is_none(server, generic, wire, code):
    """C-11: anything else says nothing about who plays; a provider's code never passes for the answer to a kick."""
    server.answers = [wire]
    reply = generic.kick("p.1", window())
    assert (reply.answer, reply.code) == (Answer.UNKNOWN, code)


# --- all balances ----------------------------------------------------------------------------------------


def page(*players: str, following: Any = None) -> str:
    """A page of the list."""
    return json.dumps({"balances": [owned(player) for player in players], "next": following})


def test_a_list_is_read_page_by_page(server, generic):
    """C-58: the cursor is the last player of a page; the last page has none, and no page says more than it holds."""
    server.answers = [http(200, page("A", "b", following="b")), http(200, page("c")), http(200, page())]
    first = generic.balances("EUR", window())
    second = generic.balances("EUR", window(), "b")
    assert first == BalancePage((Balance("A", "EUR", 2500, TIME), Balance("b", "EUR", 2500, TIME)), "b")
    assert second == BalancePage((Balance("c", "EUR", 2500, TIME),), None)
    assert generic.balances("EUR", window(), "c") == BalancePage((), None)
    assert [json.loads(request.body)["data"] for request in server.received] == [
        {"currency": "EUR", "limit": 500},
        {"currency": "EUR", "limit": 500, "after": "b"},
        {"currency": "EUR", "limit": 500, "after": "c"},
    ]


LISTS = "balances is not a list of objects"
ORDER = "balances is not in the order of players, or begins too early"
NEXT = "next is not the last player of the page"


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (page("c", "c", following="c"), ORDER),
        (page("d", "c", following="c"), ORDER),
        (page("b", "c", following="c"), ORDER),
        (page("a", following="a"), ORDER),
        (page("c", "d", following="c"), NEXT),
        (page("c", "d", following="e"), NEXT),
        (page("c", following=""), NEXT),
        (page("c", following=7), NEXT),
        (page(following="b"), NEXT),
        ('{"balances": []}', "next is missing"),
        ('{"balances": null, "next": null}', LISTS),
        ('{"balances": {}, "next": null}', LISTS),
        ('{"balances": ["c"], "next": null}', LISTS),
        ('{"next": null}', LISTS),
        ('{"balances": [{}], "next": null}', "currency is missing"),
        (page("c").replace('"EUR"', '"USD"'), f"currency {ANOTHER}"),
        (page("c").replace('"25.00"', "25.00"), INEXACT),
    ],
)
def test_a_list_that_leads_astray_is_none(server, generic, body, detail):
    """C-73: a page out of order, a page that comes again or one that leaves somebody out ends the reading; so no list
    is endless, and nobody who is missing by mistake is taken for somebody without money."""
    server.answers = [http(200, body)]
    reply = generic.balances("EUR", window(), "b")
    assert isinstance(reply, Reply)
    assert (reply.answer, reply.code, reply.detail) == (Answer.UNKNOWN, "MALFORMED", detail)


# --- signs of life ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wire", "alive"),
    [
        (http(200, page()), True),
        (http(200, "{}"), True),
        (http(200, HTML, "text/html"), False),
        (http(200, ""), False),
        (error(401, "bad_signature"), False),
        (error(503, "maintenance"), False),
        (hang_up, False),
    ],
)
def test_a_probe_wants_any_answer(server, generic, wire, alive):
    """C-14: an open breaker is closed by any answer of the contract's own, and by no page of somebody before it."""
    server.answers = [wire]
    assert generic.answers(window()) is alive
    assert asked(server) == {"type": "balances.list", "data": {"currency": "EUR", "limit": 1}}


def test_a_probe_without_a_secret_or_a_server_fails(server, tmp_path):
    """C-14: what cannot be asked does not answer."""
    assert not account(server.url, request_secret=None, request_secret_file=tmp_path / "gone").answers(window())
    server.close()
    assert not account(server.url).answers(window())


# --- callbacks -------------------------------------------------------------------------------------------


def heard(kind: str, body: str | Mapping[str, Any], **settings: Any) -> Reply | Balance | None:
    """A callback's content, read without any server."""
    content = json.loads(body) if isinstance(body, str) else body
    return account("http://127.0.0.1:9", **settings).heard(kind, content, "digest")


@pytest.mark.parametrize(
    ("kind", "body", "answer", "code"),
    [
        ("transfer.confirmed", CONFIRMED, Answer.APPLIED, "confirmed"),
        ("transfer.cancelled", CANCELLED, Answer.CANCELLED, "cancelled"),
    ],
)
@pytest.mark.parametrize("count", [2, Decimal(2)])
def test_a_callback_tells_what_an_answer_tells(kind, body, answer, code, count):
    """C-61: the transfer that is reported is read as the transfer that is answered, under the message's own digest."""
    told = heard(kind, {**json.loads(body), "sequence": count})
    assert told == replace(TOLD, answer=answer, code=code, sequence=2, balance=-350, digest="digest")


def test_a_reported_balance_is_a_balance():
    """C-61: `balance.reported` is a balance, and never evidence about a transfer."""
    assert heard("balance.reported", owned(amount="-3.50")) == Balance("p.1", "EUR", -350, TIME)


@pytest.mark.parametrize("kind", ["transfer.refused", "transfer.pending", "round.settled", "", "TRANSFER.CONFIRMED"])
@pytest.mark.parametrize("content", [{}, json.loads(CONFIRMED), {"status": 7}])
def test_other_kinds_say_nothing(kind, content):
    """C-63: a kind that the contract does not know is passed over, whatever is in it."""
    assert heard(kind, content) is None


def without(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Leave a member out."""
    return lambda content: {key: value for key, value in content.items() if key != name}


def changed(**members: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Put other members in."""
    return lambda content: {**content, **members}


MALFORMED = {
    "confirmed": [
        *((without(name), name, "is missing") for name in json.loads(CONFIRMED)),
        *((changed(**{name: None}), name, "") for name in json.loads(CONFIRMED)),
        (changed(status="cancelled"), "status", ANOTHER),
        (changed(status="pending"), "status", ANOTHER),
        (changed(status="refused", code="no"), "status", ANOTHER),
        (changed(status="not_found"), "status", "is malformed"),
        (changed(code="limit_reached"), "code", "is told, and nothing was refused"),
        (changed(amount=25.0), "amount", INEXACT.removeprefix("amount ")),
        (changed(amount="0.00"), "amount", "is not greater than zero"),
        (changed(amount="-25.00"), "amount", INEXACT.removeprefix("amount ")),
        (changed(amount=["25.00"]), "amount", INEXACT.removeprefix("amount ")),
        (changed(currency="QQQ"), "currency", "is not known"),
        (changed(direction="credit"), "direction", "is malformed"),
        (changed(sequence=2.0), "sequence", "is not a whole number from 1 on"),
        (changed(sequence=True), "sequence", "is not a whole number from 1 on"),
        (changed(sequence=Decimal("2.0")), "sequence", "is not a whole number from 1 on"),
        (changed(sequence=Decimal("NaN")), "sequence", "is not a whole number from 1 on"),
        (changed(sequence=10**18), "sequence", "is not a whole number from 1 on"),
        (changed(balance="-3.5"), "balance", "is not an exact amount of its currency"),
        (changed(id={"id": 1}), "id", "is malformed"),
    ],
    "reported": [
        *((without(name), name, "is missing") for name in owned()),
        (changed(amount="25"), "amount", INEXACT.removeprefix("amount ")),
        (changed(amount=None), "amount", INEXACT.removeprefix("amount ")),
        (changed(player="p/1"), "player", "is malformed"),
        (changed(currency="QQQ"), "currency", "is not known"),
    ],
}


@pytest.mark.parametrize("row", MALFORMED["confirmed"])
def test_a_callback_that_is_wrong_names_its_member(row):
    """C-63, C-65: whatever is missing, malformed or does not fit its kind is refused by the name of the member."""
    spoil, name, why = row
    with pytest.raises(Malformed) as raised:
        heard("transfer.confirmed", spoil(json.loads(CONFIRMED)))
    assert raised.value.field == name
    assert why in raised.value.why


@pytest.mark.parametrize("row", MALFORMED["reported"])
def test_a_reported_balance_that_is_wrong_names_its_member(row):
    """C-65: as with transfers."""
    spoil, name, why = row
    with pytest.raises(Malformed) as raised:
        heard("balance.reported", spoil(owned()))
    assert (raised.value.field, raised.value.why) == (name, why)


@pytest.mark.parametrize(("kind", "status"), [("transfer.confirmed", PENDING), ("transfer.cancelled", REFUSED)])
def test_a_status_fits_its_kind(kind, status):
    """C-63: a report of one status under the name of another is none."""
    with pytest.raises(Malformed) as raised:
        heard(kind, status)
    assert raised.value.field == "status"


def test_a_part_is_reported_where_it_is_agreed_on():
    """C-09: the smaller amount is told, beside a whole that is larger; a cancel of a part is malformed."""
    part = {**json.loads(CONFIRMED), "amount": "20.00", "requested": "25.00"}
    told = heard("transfer.confirmed", part, partial=True)
    assert isinstance(told, Reply)
    assert (told.answer, told.amount) == (Answer.APPLIED, 2000)
    for kind, wrong in [
        ("transfer.confirmed", {**part, "requested": "20.00"}),
        ("transfer.confirmed", {**part, "requested": None}),
        ("transfer.cancelled", {**part, "status": "cancelled"}),
    ]:
        with pytest.raises(Malformed) as raised:
            heard(kind, wrong, partial=True)
        assert raised.value.field == "requested"
