"""What was spoken between the bridge and its providers, as the network heard it: every request about a transfer that
left, every answer that was read to its last byte, every callback under a right signature that reached a process.

It is read by protocols.md §1.1 and our own contract (`docs/provider-contract.md`), with none of the adapters' code.
"""

from __future__ import annotations

import base64
import hmac
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from http import HTTPStatus
from http.client import responses
from typing import Any, Protocol

from bridge.simulator.messages import Delivery, Request
from tests.simulation.ledgers import minor
from tests.simulation.settings import CALLBACK_SECRETS

CANCEL = "cancel"
MONEY = ("create", CANCEL, "prepare", "complete", "void")
LOOK_UP, CALLBACK = "look_up", "callback"
DONE, REFUSED, CANCELLED, PENDING, NOT_FOUND = "done", "refused", "cancelled", "pending", "not_found"
STATUSES = {
    "confirmed": DONE, "refused": REFUSED, "cancelled": CANCELLED, "pending": PENDING, "not_found": NOT_FOUND,
    "COMPLETED": DONE, "CANCELLED": CANCELLED, "PENDING": PENDING,
}  # fmt: skip
SIDES = {"in": "credit", "out": "debit", "CREDIT": "credit", "DEBIT": "debit"}


@dataclass
class Asked:
    """A request about a transfer that has left, whole, at an instant (microseconds): which, under which name, as the
    how-manieth request for money under it; `sure`: by a process whose clock was right. `error`: the code of its
    answer, where that was an error."""

    operation: str
    name: str
    left: int
    nth: int
    sure: bool
    error: str = ""


class Counted(Protocol):
    """What a provider says of one execution, with its own count of that execution's changes, where it has one."""

    @property
    def provider_id(self) -> str | None:
        """Its own id of the execution."""

    @property
    def sequence(self) -> int | None:
        """The count."""


def is_counted_after(word: Counted, other: Counted) -> bool:
    """Whether a provider says one word later than another, by its own count (contract §2). Each id of its own has a
    count for itself: of two executions nothing is later."""
    if word.provider_id != other.provider_id or word.sequence is None or other.sequence is None:
        return False
    return word.sequence > other.sequence


@dataclass(frozen=True)
class Word:
    """What a provider said of a transfer, asked or unasked: `asked` says when. `what`: player, currency, side at the
    provider and amount in minor units, as told; `requested`: how much it was asked for, where less than that was done.
    `digest`: SHA-256 of what was received, by which whoever was told can be known to have heard it."""

    about: str
    said: str
    what: tuple[str, str, str, int] | None
    by: str
    asked: Asked | None
    digest: str
    requested: int | None = None
    code: str = ""
    sequence: int | None = None
    provider_id: str | None = None


class Spoken:
    """All that was said. A provider's transfer has a name of ours, and at a provider of two phases one of its own."""

    def __init__(self) -> None:
        self._asked: dict[tuple[str, str], list[Asked]] = defaultdict(list)
        self._words: dict[tuple[str, str], list[Word]] = defaultdict(list)

    def left(self, provider: str, request: Request, now: int, *, sure: bool) -> Asked | None:
        """A request has left; None if it is about no transfer."""
        operation, name = asks(request)
        if not name:
            return None
        before = self._asked[provider, name]
        nth = 1 + sum(each.operation in MONEY for each in before)
        asked = Asked(operation, name, now, nth, sure)
        before.append(asked)
        return asked

    def answered(self, provider: str, asked: Asked, delivery: Delivery) -> None:
        """The answer to a request was read to its last byte."""
        told, digest = _content(delivery), sha256(f"{first_line(delivery)}\n".encode() + delivery.body).hexdigest()
        if delivery.status >= HTTPStatus.BAD_REQUEST:
            asked.error = str((told or {}).get("code", ""))
        elif (word := _word(told, asked.operation, asked, digest)) is not None:
            self._words[provider, asked.name].append(word)

    def called_back(self, provider: str, headers: Mapping[str, str], body: bytes) -> None:
        """A callback of a provider has reached a process that is up. One that the provider did not sign says nothing.
        Whether it was answered is of no account: it may have been stored before the process was killed."""
        message = _object(body) if _is_signed(headers, body) else None
        data = None if message is None else message.get("data")
        word = _word(data, CALLBACK, None, sha256(body).hexdigest()) if isinstance(data, dict) else None
        if word is not None and str(message and message["type"]).startswith("transfer."):
            self._words[provider, word.about].append(word)

    def words(self, provider: str, names: Iterable[str]) -> list[Word]:
        """All that was said under these names."""
        return [word for name in names for word in self._words.get((provider, name), ())]

    def requests(self, provider: str, names: Iterable[str]) -> list[Asked]:
        """All that was asked under these names."""
        return [asked for name in names for asked in self._asked.get((provider, name), ())]


def asks(request: Request) -> tuple[str, str]:
    """What a request of either protocol asks about a transfer, and under which name; empty where it is about none."""
    if request.path.startswith("/v1/fund-transfers"):
        match request.method:
            case "GET":
                return LOOK_UP, request.path.split("/")[-1]
            case "PUT":
                voids = json.loads(request.body).get("status") == "CANCELLED"
                return "void" if voids else "complete", request.path.split("/")[-2]
        return "prepare", str(json.loads(request.body).get("referenceId", ""))
    body = json.loads(request.body) if request.method == "POST" and request.body else {}
    kind, _, operation = str(body.get("type", "")).partition(".")
    return (operation, str(body["data"]["id"])) if kind == "transfer" else ("", "")


def first_line(delivery: Delivery) -> str:
    """The first line of an answer."""
    return f"HTTP/1.1 {delivery.status} {responses.get(delivery.status, 'Unknown')}"


def _word(told: dict[str, Any] | None, by: str, asked: Asked | None, digest: str) -> Word | None:
    """A transfer as either protocol tells it; None for anything else, and for what is told of another one."""
    told = {} if told is None else told
    said = STATUSES.get(str(told.get("status")))
    if said is None or (asked is not None and asked.name not in (told.get("id"), told.get("referenceId"))):
        return None
    about = str(told.get("referenceId", told.get("id")))
    if said == NOT_FOUND:
        return Word(about, said, None, by, asked, digest)
    try:
        currency = str(told["currency"])
        side = SIDES[str(told.get("direction", told.get("type")))]
        what = str(told.get("player", told.get("playerId"))), currency, side, minor(str(told["amount"]), currency)
        requested = minor(str(told["requested"]), currency) if "requested" in told else None
    except (KeyError, ArithmeticError, AssertionError):
        return None
    own = told.get("provider_id", told.get("id") if "referenceId" in told else None)
    return Word(about, said, what, by, asked, digest, requested, str(told.get("code", "")), told.get("sequence"), own)


def _content(delivery: Delivery) -> dict[str, Any] | None:
    is_json = delivery.headers.get("Content-Type", "").startswith("application/json")
    return _object(delivery.body) if is_json and delivery.cut == "" else None


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body, parse_float=Decimal)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _is_signed(headers: Mapping[str, str], body: bytes) -> bool:
    """As Standard Webhooks have it, under any secret of the provider."""
    signed = f"{headers.get('webhook-id', '')}.{headers.get('webhook-timestamp', '')}.".encode() + body
    given = headers.get("webhook-signature", "").split(" ")
    keys = (base64.b64decode(secret.removeprefix("whsec_")) for secret in CALLBACK_SECRETS)
    right = ("v1," + base64.b64encode(hmac.new(key, signed, sha256).digest()).decode() for key in keys)
    return any(each in given for each in right)
