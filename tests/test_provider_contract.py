"""The golden vectors of docs/provider-contract.md §6, read from the page: what a provider builds by is what the bridge
really signs, sends, reads and refuses."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bridge.evidence import Answer, Reply, Step
from bridge.ports import Balance, BalancePage, Effect, Side
from bridge.providers.generic import Generic
from bridge.webhooks import BadSignature, sign, verify
from tests.providers import Answer as Wire
from tests.providers import ScriptedServer, raw
from tests.providers.generic_account import account, window

PAGE = (Path(__file__).parents[1] / "docs" / "provider-contract.md").read_text(encoding="utf-8")
NOW = 1_790_000_000
REQUEST_SECRET, CALLBACK_SECRET, NEXT_SECRET = re.findall(r"`(whsec_[^`…]+)`", PAGE)
SEVEN = (
    "transfer.create transfer.look_up transfer.cancel player.balance player.kick balances.list transfers.feed".split()
)
CALLBACKS = ["transfer.confirmed", "transfer.cancelled", "balance.reported"]


@dataclass(frozen=True)
class Message:
    """One block of the page: first line, headers, and the bytes of the body."""

    first: str
    headers: dict[str, str]
    body: bytes

    @property
    def content(self) -> Any:
        return json.loads(self.body)["data"]

    @property
    def signed(self) -> tuple[str, str, str]:
        return tuple(self.headers[f"webhook-{name}"] for name in ("id", "timestamp", "signature"))  # type: ignore[return-value]

    def on_the_wire(self) -> Wire:
        """An answer as a server sends it, with the length that the page leaves out."""
        head = [self.first, *(f"{name}: {value}" for name, value in self.headers.items())]
        return raw("\r\n".join([*head, f"Content-Length: {len(self.body)}", "", ""]).encode() + self.body)


def messages(heading: str) -> list[Message]:
    """The blocks under a heading of the page, in their order."""
    part = PAGE.split(f"\n### {heading}\n")[1].split("\n### ")[0]
    found = []
    for block in re.findall(r"```http\n(.*?)\n```", part, re.DOTALL):
        head, _, body = block.partition("\n\n")
        first, *rest = head.split("\n")
        found.append(Message(first, dict(line.split(": ", 1) for line in rest), body.encode()))
    return found


IN = messages("transfer.create")[0].content
EFFECT = Effect(IN["id"], None, Side.CREDIT, "ann", 2500, "EUR")
OUT = Effect(messages("Refusals")[0].body.decode().split('"')[3], None, Side.DEBIT, "ann", 2500, "EUR")


def reply(answer: Answer, **told: Any) -> Reply:
    """What the page's transfer says, with a status and what differs."""
    usual: dict[str, Any] = {
        "amount": 2500, "currency": "EUR", "player": "ann", "side": "credit", "reference": EFFECT.reference,
        "provider_reference": "W-48151623", "provider_time": "2026-09-21T14:13:20.250Z", "sequence": 1,
    }  # fmt: skip
    return Reply(answer, **{**usual, **told})


ASK: dict[str, Callable[[Generic], Any]] = {
    "transfer.create": lambda adapter: adapter.money(Step.TRANSFER, EFFECT, window()),
    "transfer.look_up": lambda adapter: adapter.look_up(EFFECT, window()),
    "transfer.cancel": lambda adapter: adapter.money(Step.VOID, EFFECT, window()),
    "player.balance": lambda adapter: adapter.balance("ann", "EUR", window()),
    "player.kick": lambda adapter: adapter.kick("ann", window()),
    "balances.list": lambda adapter: adapter.balances("EUR", window(), "ann"),
}
SAID: dict[str, Any] = {
    "transfer.create": reply(Answer.APPLIED, code="confirmed", balance=2500),
    "transfer.look_up": reply(Answer.IN_PROGRESS, code="pending"),
    "transfer.cancel": reply(Answer.CANCELLED, code="cancelled", balance=0, sequence=2),
    "player.balance": Balance("ann", "EUR", -350, "2026-09-21T16:13:20+02:00"),
    "player.kick": Reply(Answer.UNKNOWN, code="kicked", player="ann"),
    "balances.list": BalancePage(
        (Balance("bob", "EUR", 2500, "2026-09-21T14:13:20Z"), Balance("carl", "EUR", 0, "2026-09-21T14:13:20Z")), None
    ),
}
REFUSALS: list[tuple[Callable[[Generic], Any], Reply]] = [
    (lambda adapter: adapter.money(Step.TRANSFER, OUT, window()),
     reply(Answer.NOT_APPLIED, code="insufficient_funds", side="debit", reference=OUT.reference, balance=700,
           attempt_sensitive=True)),
    (lambda adapter: adapter.money(Step.TRANSFER, OUT, window()),
     reply(Answer.NOT_APPLIED, code="player_in_game", side="debit", reference=OUT.reference)),
    (ASK["transfer.create"], reply(Answer.NOT_APPLIED, code="limit_reached", balance=0)),
    (ASK["transfer.create"], reply(Answer.CANCELLED, code="cancelled")),
    (ASK["transfer.create"],
     Reply(Answer.IN_PROGRESS, code="id_reused", detail="this id was used with another amount")),
    (ASK["transfer.look_up"], Reply(Answer.NOT_FOUND, code="not_found", reference=EFFECT.reference)),
    (ASK["transfer.cancel"], reply(Answer.APPLIED, code="confirmed", balance=2500)),
    (ASK["transfer.create"], Reply(Answer.UNKNOWN, code="bad_signature", detail="no signature fits")),
    (ASK["transfer.create"], Reply(Answer.UNKNOWN, code="maintenance")),
]  # fmt: skip


def by_hand(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    """The signature of the page's text, with code of the test's own."""
    shared = base64.b64decode(secret.removeprefix("whsec_"))
    code = hmac.new(shared, b".".join([message_id.encode(), timestamp.encode(), body]), hashlib.sha256)
    return "v1," + base64.b64encode(code.digest()).decode()


def answered(message: Message, ask: Callable[[Generic], Any], **settings: Any) -> tuple[Any, ScriptedServer]:
    """What the adapter makes of an answer of the page, and the server that gave it over a real socket."""
    with ScriptedServer(message.on_the_wire()) as server:
        told = ask(account(f"{server.url}/wallet", **settings))
    assert len(server.received) == 1
    return told, server


def plain(told: Any) -> Any:
    """What was told, without the digest of its bytes."""
    if isinstance(told, Reply):
        assert re.fullmatch("[0-9a-f]{64}", told.digest)
        return Reply(**{**vars(told), "digest": ""})
    return told


@pytest.mark.parametrize("kind", SEVEN)
def test_each_request_of_the_page_is_signed_as_it_says(kind):
    """C-65: the page's signatures are HMAC-SHA256 of its own bytes under its own secret, by two codes."""
    request, _ = messages(kind)
    message_id, stamp, signature = request.signed
    assert json.loads(request.body)["type"] == kind
    assert signature == by_hand(REQUEST_SECRET, message_id, stamp, request.body)
    assert signature == sign(REQUEST_SECRET, message_id, NOW, request.body)
    verify((NEXT_SECRET, REQUEST_SECRET), message_id, stamp, signature, request.body, NOW)


@pytest.mark.parametrize("kind", ASK)
def test_the_adapter_sends_the_bytes_of_the_page(kind):
    """I-25: method, path, headers and every byte of the body are those of the page, over a real socket."""
    request, answer = messages(kind)
    _, server = answered(answer, ASK[kind])
    (seen,) = server.received
    assert f"{seen.method} {seen.target} HTTP/1.1" == request.first
    assert seen.body == request.body
    assert request.headers.items() <= {name: seen.headers[name.lower()] for name in request.headers}.items()


@pytest.mark.parametrize("kind", ASK)
def test_the_adapter_reads_the_answers_of_the_page(kind):
    """I-12: each answer of the page says what the page means."""
    told, _ = answered(messages(kind)[1], ASK[kind])
    assert plain(told) == SAID[kind]


@pytest.mark.parametrize("number", range(len(REFUSALS)))
def test_the_adapter_reads_the_refusals_of_the_page(number):
    """I-12, I-13: each refusal of the page says what the page means, and no more."""
    blocks = messages("Refusals")
    assert len(blocks) == len(REFUSALS)
    ask, expected = REFUSALS[number]
    told, _ = answered(blocks[number], ask)
    assert plain(told) == expected


def test_a_part_of_the_page_is_read_where_it_is_agreed_on():
    """C-09: with `partial` the smaller amount is told; without, it is told as well, and differs from the intent."""
    (part,) = messages("Part of the whole")
    for agreed in (True, False):
        told, _ = answered(part, ASK["transfer.create"], partial=agreed)
        whole = 2500 if agreed else None
        assert plain(told) == reply(Answer.APPLIED, code="confirmed", amount=2000, balance=2000, requested=whole)


# --- callbacks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CALLBACKS)
def test_each_callback_of_the_page_is_signed_as_it_says(kind):
    """C-65: during an exchange of secrets, with both held, every callback of the page is accepted."""
    request, *answers = messages(kind)
    message_id, stamp, signatures = request.signed
    known = {by_hand(secret, message_id, stamp, request.body) for secret in (CALLBACK_SECRET, NEXT_SECRET)}
    assert set(signatures.split(" ")) <= known
    verify((CALLBACK_SECRET, NEXT_SECRET), message_id, stamp, signatures, request.body, NOW)
    assert all(json.loads(answer.body) == {"received": True} for answer in answers)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("transfer.confirmed", reply(Answer.APPLIED, code="confirmed", balance=2500, sequence=2, digest="d")),
        ("transfer.cancelled", reply(Answer.CANCELLED, code="cancelled", balance=0, sequence=3, digest="d")),
        ("balance.reported", Balance("ann", "EUR", 2500, "2026-09-21T14:13:20Z")),
    ],
)
def test_each_callback_of_the_page_is_understood(kind, expected):
    """C-61: the content of each callback says what the page means; no server is asked."""
    request = messages(kind)[0]
    assert json.loads(request.body)["type"] == kind
    assert account("http://127.0.0.1:9").heard(kind, request.content, "d") == expected


REFUSED_ROWS = re.findall(
    r"^\| (.+?) \| `(.+?)` \| `(.+?)` \| `(.+?)` \|$", PAGE.split("### Callbacks that are refused")[1], re.MULTILINE
)[1:]  # the first one names the columns


@pytest.mark.parametrize("row", REFUSED_ROWS, ids=lambda row: row[0])
def test_each_callback_that_the_page_refuses_is_refused(row):
    """I-42, C-65: the body of the page's callback under the headers of each row is not accepted."""
    assert len(REFUSED_ROWS) == 7
    _, message_id, stamp, signature = row
    body = messages("transfer.confirmed")[0].body
    with pytest.raises(BadSignature):
        verify((CALLBACK_SECRET,), message_id, stamp, signature, body, NOW)


def test_rightly_signed_rows_are_refused_for_their_time_alone():
    """C-65: the rows that say so would be accepted at their own time, so it is the time that refuses them."""
    body = messages("transfer.confirmed")[0].body
    rows = [row for row in REFUSED_ROWS if row[0].startswith("rightly signed")]
    assert len(rows) == 2
    for _, message_id, stamp, signature in rows:
        verify((CALLBACK_SECRET,), message_id, stamp, signature, body, int(stamp))
