"""The honest provider: every request, promise and refusal of docs/provider-contract.md, judged by the ledger file."""

from __future__ import annotations

import json
import re
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from tests.simulator.generic.conftest import CALLBACKS, NEXT, REQUESTS, signature, terms

ROOT = Path(__file__).resolve().parents[3]


def test_the_test_signs_as_the_golden_vectors_do():
    """C-65: what signs these tests gives every signature of the contract's golden vectors, so it may judge others."""
    page = (ROOT / "docs" / "provider-contract.md").read_text()
    vectors = re.findall(
        r"```http\nPOST .+\n.+\nwebhook-id: (.+)\nwebhook-timestamp: (.+)\nwebhook-signature: (.+)\n\n(.+)\n```", page
    )
    assert len(vectors) == 10
    for message_id, timestamp, signatures, body in vectors:
        secrets = (REQUESTS,) if not message_id.startswith("evt_") else (CALLBACKS, NEXT)
        known = [signature(secret, message_id, timestamp, body.encode()) for secret in secrets]
        assert set(signatures.split(" ")) <= set(known), message_id


def test_a_deposit_and_a_withdrawal(honest):
    """I-20: both directions are confirmed once, with all members; the ledger file tells the same in lines."""
    came = honest.create("a1")
    assert {name: came[name] for name in terms("a1", "in", "25.00")} == terms("a1", "in", "25.00")
    assert (came["status"], came["sequence"], came["balance"]) == ("confirmed", 1, "25.00")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", came["time"])
    assert set(came) == {*terms("", "", ""), "provider_id", "status", "sequence", "time", "balance"}
    went = honest.create("a2", "out", "7.50")
    assert (went["status"], went["balance"], honest.balance()) == ("confirmed", "17.50", "17.50")
    first, second = honest.lines()
    expected = {"kind": "completed", "id": came["provider_id"], "reference": "a1", "type": "CREDIT", "player": "ann"}
    assert expected.items() <= first.items()
    assert (first["amount"], first["balance"]) == ("25.00", "25.00")
    assert (second["kind"], second["type"], second["amount"]) == ("completed", "DEBIT", "7.50")


@pytest.mark.parametrize(
    ("currency", "amount"),
    [("JPY", "25"), ("KWD", "0.005"), ("BTC", "0.00000001"), ("EUR", "9999999999999999.99")],
)
def test_amounts_have_the_decimals_of_their_currency(honest, currency, amount):
    """C-72: none, two, three and eight decimals, and the largest amount of all, without a cent lost."""
    assert honest.create("a", amount=amount, currency=currency)["balance"] == amount
    assert honest.balance(currency=currency) == amount


WRONG = [
    ("amount", "25.0"), ("amount", "25"), ("amount", "025.00"), ("amount", "+25.00"), ("amount", "-25.00"),
    ("amount", "2.5e1"), ("amount", " 25.00"), ("amount", "0.00"), ("amount", 25), ("amount", 25.5), ("amount", None),
    ("amount", "99999999999999999.99"), ("amount", "25,00"), ("amount", "٢٥.00"),
    ("currency", "QQQ"), ("currency", None), ("direction", "IN"), ("direction", None), ("player", ""),
    ("player", "a" * 35), ("player", "a b"), ("player", "ä"), ("id", ""), ("id", "a" * 65), ("id", "a.b"), ("id", 7),
]  # fmt: skip


def test_a_member_that_is_wrong_is_named(honest):
    """C-13: a missing or malformed member is an error that names it, and nothing is executed."""
    for name, value in WRONG:
        status, answer = honest.ask("create", **{**terms("r", "in", "25.00"), name: value})
        assert status == 422, (name, value, answer)
        assert f"data.{name} " in answer["message"]
    for name in terms("r", "in", "25.00"):
        left_out = {each: value for each, value in terms("r", "in", "25.00").items() if each != name}
        assert f"data.{name} " in honest.ask("create", **left_out)[1]["message"]
    assert honest.ask("create", **terms("r", "in", "25.00"), note="unknown members are passed over")[0] == 200
    assert [line["kind"] for line in honest.lines()] == ["completed"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"type": "transfer.create"}',
        b'{"type": "transfer.steal", "data": {}}',
        b'{"type": ["transfer.create"], "data": {}}',
        b'{"type": "player.kick", "data": {"player": "ann", "player": "bob"}}',
        b'{"type": "transfers.feed", "data": {"after": NaN, "limit": 5}}',
    ],
)
def test_a_message_that_means_nothing_is_an_error(honest, body):
    """C-13: broken JSON, a name that stands twice, an unknown type: 400 with a code, and it goes on answering."""
    status, content, _ = honest.post(body)
    assert (status, json.loads(content)["code"]) == (400, "unreadable")
    assert honest.balance() == "0.00"


def test_other_addresses_and_methods_are_not_there(honest):
    """C-16: there is one address and one method."""
    assert honest.post(b"{}", method="PUT")[0] == 405
    assert honest.post(b"{}", content_type="text/plain")[0] == 400
    honest.path = "/elsewhere"
    assert honest.post(b"{}")[0] == 404


UNSIGNED = [
    {"webhook_signature": "v1,AAAA"},
    {"webhook_signature": ""},
    {"webhook_id": "with.dot"},
    {"webhook_id": "a" * 129},
    {"webhook_timestamp": "soon"},
    {"webhook_timestamp": "0"},
    {"webhook_timestamp": "9999999999"},
]


def test_what_is_not_signed_is_refused_before_it_is_read(honest):
    """C-65: wrong secret, wrong id, wrong time, other bytes: 401, nothing executed, nothing read of it."""
    body = json.dumps({"type": "transfer.create", "data": terms("r", "in", "25.00")}).encode()
    attempts = [honest.post(body, **headers) for headers in UNSIGNED]
    attempts += [honest.post(body, webhook_timestamp=str(int(time.time()) + far)) for far in (-302, 310)]
    attempts.append(honest.post(body, secret=CALLBACKS))
    now = str(int(time.time()))
    good = signature(REQUESTS, "m", now, body)
    for changes in ({"webhook_id": "n"}, {"webhook_timestamp": str(int(now) - 1)}):
        headers = {"webhook_id": "m", "webhook_timestamp": now, "webhook_signature": good} | changes
        attempts.append(honest.post(body, **headers))
    attempts.append(honest.post(body.replace(b" ", b""), webhook_id="m", webhook_timestamp=now, webhook_signature=good))
    attempts.append(
        honest.post(body, webhook_id="m", webhook_timestamp=now, webhook_signature=good.replace("v1", "v2"))
    )
    for status, content, _ in attempts:
        assert (status, json.loads(content)["code"]) == (401, "bad_signature")
    assert honest.lines() == []
    assert {(line["operation"], line["reference"]) for line in honest.lines(".wire")} == {("unsigned", "")}
    headers = {"webhook_id": "m", "webhook_timestamp": now, "webhook_signature": f"v1,AAAA v2,x {good}"}
    assert honest.post(body, **headers)[0] == 200


def test_two_secrets_while_one_is_exchanged(start):
    """C-65: any signature that fits any secret is accepted."""
    simulator = start("--secret", NEXT)
    body = json.dumps({"type": "player.kick", "data": {"player": "ann"}}).encode()
    assert [simulator.post(body, secret=secret)[0] for secret in (REQUESTS, NEXT, CALLBACKS)] == [200, 200, 401]


def test_one_id_is_one_transfer_for_ever(honest):
    """C-10, cases 21 and 22: the same again replays the original answer; other data are 409; money moves once."""
    first = honest.create("r")
    honest.create("other")
    assert honest.create("r") == first
    for changes in (
        {"amount": "25.01"},
        {"direction": "out"},
        {"player": "bob"},
        {"currency": "KWD", "amount": "25.000"},
    ):
        status, answer = honest.ask("create", **{**terms("r", "in", "25.00"), **changes})
        assert (status, answer["code"]) == (409, "id_reused")
        assert honest.ask("cancel", **{**terms("r", "in", "25.00"), **changes})[0] == 409
    assert honest.kinds("r") == ["completed"]
    assert honest.shown(observed=True) == [(21, "create")] + [(22, "create")] * 4
    refused = honest.create("out", "out", "75.01")
    assert (refused["status"], refused["code"], refused["balance"]) == ("refused", "insufficient_funds", "50.00")
    honest.create("more", amount="100.00")
    assert honest.create("out", "out", "75.01") == refused


def test_the_original_answer_outlives_a_take_back(honest):
    """I-20: after a take-back a look-up says cancelled with the next sequence, a repetition the original answer."""
    first = honest.create("r")
    assert honest.act("take_back", "r")["status"] == "cancelled"
    assert honest.create("r") == first
    assert honest.ask("lookup", id="r")[1]["sequence"] == 2
    assert honest.kinds("r") == ["completed", "taken_back"]
    assert (honest.balance(), honest.moved("r")) == ("0.00", "0.00")


def together(*acts):
    """What several calls answer that begin at the same instant."""
    gate, answers = threading.Barrier(len(acts)), []

    def run(act):
        gate.wait()
        answers.append(act())

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_the_same_id_from_many_threads_is_one_transfer(honest):
    """C-50: twenty creates of one id at the same instant: one effect, one answer."""
    answers = together(*[lambda: honest.create("r")] * 20)
    assert honest.kinds("r") == ["completed"]
    assert len({json.dumps(answer) for answer in answers}) == 1
    assert len(answers) == 20


def test_a_cancel_before_the_create_is_remembered(honest):
    """C-56: a cancel of an unknown id says cancelled; the create that comes later is answered so, never executed."""
    told = honest.cancel("r")
    assert (told["status"], told["sequence"], told["amount"]) == ("cancelled", 1, "25.00")
    assert honest.create("r") == told == honest.cancel("r")
    assert honest.ask("create", **terms("r", "in", "26.00"))[0] == 409
    assert (honest.status("r"), honest.balance(), honest.kinds("r")) == ("cancelled", "0.00", ["cancelled"])


def test_a_cancel_never_undoes_what_is_decided(honest):
    """C-29: too late, it tells the transfer as it stands: confirmed or refused."""
    confirmed = honest.create("a")
    refused = honest.create("b", "out", "99.00")
    assert (honest.cancel("a"), honest.cancel("b", "out", "99.00")) == (confirmed, refused)
    assert (honest.kinds("a"), honest.balance()) == (["completed"], "25.00")


def test_create_and_cancel_at_the_same_instant_end_once(honest):
    """C-29: whichever comes first decides, and both tell the same from then on."""
    for number in range(20):
        reference = f"r{number}"
        calls = (partial(honest.create, reference), partial(honest.cancel, reference))
        said = {answer["status"] for answer in together(*calls)}
        assert len(said) == len(honest.kinds(reference)) == 1


def test_a_look_up_sees_what_an_answer_has_told(start):
    """C-15: not_found before, the transfer after, and not_found again past the retention that is asked for."""
    simulator = start("--retention", "0.6")
    assert simulator.ask("lookup", id="r") == (200, {"id": "r", "status": "not_found"})
    told = simulator.create("r")
    assert simulator.ask("lookup", id="r")[1] == told
    time.sleep(0.7)
    assert simulator.status("r") == "not_found"
    assert simulator.create("r") == told


def test_a_player_in_a_game_keeps_the_money_there(honest):
    """C-11, case 33: out is refused in a game and, after a kick, until it has settled; in is not, unless asked."""
    honest.create("fund", amount="100.00")
    game = {"player": "ann", "in_game": True, "settle": 0.6}
    assert honest.control("POST", "/game", game) == (200, {"player": "ann", "in_game": True})
    assert (honest.create("o1", "out")["code"], honest.create("i1")["status"]) == ("player_in_game", "confirmed")
    assert honest.ask("kick", player="ann") == (200, {"player": "ann", "in_game": False})
    assert honest.create("o2", "out")["code"] == "player_in_game"
    time.sleep(0.7)
    assert (honest.create("o3", "out")["status"], honest.create("o1", "out")["status"]) == ("confirmed", "refused")
    honest.control("POST", "/game", game | {"refuse": "both"})
    assert [honest.create(f"x{way}", way)["code"] for way in ("in", "out")] == ["player_in_game"] * 2
    honest.control("POST", "/game", {"player": "ann", "in_game": False})
    assert honest.create("o4", "out")["status"] == "confirmed"
    assert honest.kinds("o1") == ["refused"]


def test_34_a_kick_of_somebody_who_does_not_play(honest):
    """C-11, case 34: a kick is answered the same for everybody."""
    assert honest.ask("kick", player="nobody") == (200, {"player": "nobody", "in_game": False})
    assert honest.shown(observed=True) == [(34, "kick")]


def test_the_list_of_balances_by_pages(honest):
    """C-73: in ascending order by ASCII, each once, next only where a page follows; nobody who has none."""
    for player in ("bob", "Zoe", "ann", "_x"):
        honest.create(f"r{player}", player=player)
    honest.create("yen", currency="JPY", amount="7", player="carl")
    status, first = honest.ask("balances", currency="EUR", limit=3)
    assert (status, [row["player"] for row in first["balances"]], first["next"]) == (200, ["Zoe", "_x", "ann"], "ann")
    _, last = honest.ask("balances", currency="EUR", limit=3, after="ann")
    assert ([row["player"] for row in last["balances"]], last["next"]) == (["bob"], None)
    assert set(last["balances"][0]) == {"player", "currency", "amount", "time"}
    assert honest.ask("balances", currency="EUR", limit=4)[1]["next"] is None
    assert honest.ask("balances", currency="KWD", limit=1)[1] == {"balances": [], "next": None}
    for wrong in ({"limit": 0}, {"limit": 501}, {"limit": "5"}, {"limit": 5.0}, {"limit": 5, "after": None}):
        assert honest.ask("balances", currency="EUR", **wrong)[0] == 422, wrong


def test_the_feed_lists_each_change_once(honest):
    """C-73: every change of status with a position of its own, the oldest first, and by pages the same."""
    honest.create("a")
    honest.create("b", "out", "99.00")
    honest.cancel("c")
    honest.act("take_back", "a")
    rows = [(1, "a", "confirmed", 1), (2, "b", "refused", 1), (3, "c", "cancelled", 1), (4, "a", "cancelled", 2)]
    assert honest.feed() == rows
    _, page = honest.ask("feed", after=1, limit=2)
    assert ([entry["position"] for entry in page["entries"]], page["next"]) == ([2, 3], 3)
    assert [honest.ask("feed", after=after, limit=2)[1]["next"] for after in (2, 3)] == [None, None]
    assert honest.ask("feed", after=4, limit=2)[1] == {"entries": [], "next": None}
    assert honest.ask("feed", after=-1, limit=2)[0] == 422
