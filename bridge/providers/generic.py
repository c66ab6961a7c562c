"""The generic profile: our own contract, docs/provider-contract.md, a one-phase protocol, as a page of facts.

One address is asked six kinds of signed JSON. A transfer is told whole, by its answers and by callbacks: what lacks a
member, holds a malformed one, or comes under another status than HTTP 200 says nothing, and is UNKNOWN.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from http import HTTPStatus
from itertools import pairwise
from typing import Any, TypeVar

from bridge import ports
from bridge.config import GenericSection
from bridge.errors import Unavailable
from bridge.evidence import Answer, Reply, Step
from bridge.money import AmountRefused, Currencies, UnknownCurrency
from bridge.outbound import Exchange, Outbound
from bridge.ports import SECOND, Balance, BalancePage, Effect, Malformed, Side, Window
from bridge.providers.reading import LONGEST_TEXT, Unreadable, document, unknown, with_messages
from bridge.runtime import Clock
from bridge.webhooks import sign

Told = TypeVar("Told", bound=Reply | Balance | BalancePage)

REQUESTS = {Step.TRANSFER: "create", Step.VOID: "cancel"}
DIRECTIONS = {Side.CREDIT: "in", Side.DEBIT: "out"}  # as the player's balance there sees it: CREDIT comes into the game
STATUSES = {
    "pending": Answer.IN_PROGRESS,
    "confirmed": Answer.APPLIED,
    "refused": Answer.NOT_APPLIED,
    "cancelled": Answer.CANCELLED,
}
CALLBACKS = {"transfer.confirmed": "confirmed", "transfer.cancelled": "cancelled"}
OUR_WORDS = frozenset({"kicked", "balance"})
"""Codes by which the engine knows an answered kick and an answered balance read: no provider's error may bear them."""
ID_REUSED = "id_reused"
INSUFFICIENT, IN_GAME = frozenset({"insufficient_funds"}), frozenset({"player_in_game"})

SHAPES = {
    "id": r"[A-Za-z0-9_-]{1,64}",
    "player": r"[A-Za-z0-9_.-]{1,34}",
    "direction": "|".join(DIRECTIONS.values()),
    "currency": r"[A-Z][A-Z0-9]{2,9}",
    "provider_id": r"[ -~]{1,128}",
    "status": "|".join(STATUSES),
    "code": r"[a-z0-9_]{1,64}",
    "time": r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)"
    r"(\.[0-9]{1,9})?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])",
}
"""What the contract says that each text looks like."""

_SHAPED = {name: re.compile(shape).fullmatch for name, shape in SHAPES.items()}

RETENTION_SECONDS = 90 * 86_400
PAGE_SIZE = 500
LARGEST = 10**18  # of a number, and of minor units: a 64-bit column holds it


def descriptor(settings: GenericSection, currencies: Currencies) -> ports.Descriptor:
    """What the contract promises, with the times that the operator has set; raises UnknownCurrency."""
    return ports.Descriptor(
        protocol="generic",
        evidence_tag="our own contract, docs/provider-contract.md",
        phases=1,
        same_id=ports.SameId.REPLAY,
        dedupe_window=None,
        lookup_key=ports.LookupKey.OWN,
        lookup_retention=RETENTION_SECONDS,
        absence=ports.Absence(settings.absent_after_seconds, settings.absent_times, settings.absent_apart_seconds),
        fail_final_after=settings.final_after_seconds,
        fail_final_times=settings.final_times,
        cancel=ports.Cancel.YES,
        expiry=None,
        expiry_margin=0,
        complete_reserve=0,
        reference=ports.Reference(alphabet="[A-Za-z0-9_-]", longest=64),
        longest_player_id=34,
        places=currencies.exponents,
        money_deadline=settings.transfer_seconds,
        complete_deadline=settings.transfer_seconds,
        lookup_deadline=settings.lookup_seconds,
        partial=settings.partial,
        pushes=True,
        insufficient=INSUFFICIENT,
        in_game=IN_GAME,
        settle_delay=settings.settle_seconds,
    )


class Generic:
    """One account at one provider that follows the contract; safe to share between threads."""

    def __init__(
        self, name: str, settings: GenericSection, outbound: Outbound, currencies: Currencies, clock: Clock
    ) -> None:
        self.name = name
        self.descriptor = descriptor(settings, currencies)
        self._settings, self._outbound, self._currencies, self._clock = settings, outbound, currencies, clock
        self._path = "/" if settings.base_url.endswith("/") else ""

    def refuses(self, amount: int, currency: str) -> str | None:
        """Why `amount` minor units cannot be told exactly, or None; every whole number of them can."""
        if currency not in self.descriptor.places:
            return f"{currency} is not a known currency"
        return None if amount > 0 else "must be greater than zero"

    def money(self, step: Step, effect: Effect, window: Window) -> Reply:
        """Send one transfer or one cancel, once; NOT_SENT where provably no byte of it left."""
        if step is Step.TRANSFER and (reason := self.refuses(effect.amount, effect.currency)) is not None:
            return Reply(Answer.NOT_SENT, code="AMOUNT_REFUSED", detail=reason)
        request = REQUESTS[step]
        content = {
            "id": effect.reference,
            "player": effect.player,
            "direction": DIRECTIONS[effect.side],
            "amount": self._currencies.format(effect.amount, effect.currency),
            "currency": effect.currency,
        }
        name = f"{request}_{effect.reference}"
        exchange = self._call(self._outbound.send, f"transfer.{request}", content, window, name)
        if isinstance(exchange, Reply):
            return replace(exchange, answer=Answer.NOT_SENT)
        if not exchange.sent:
            return Reply(Answer.NOT_SENT, code=exchange.failure, digest=exchange.digest)
        told = self._read(exchange, lambda body: self._transfer(body, effect))
        if exchange.status == HTTPStatus.CONFLICT and told.code == ID_REUSED:
            return replace(told, answer=Answer.IN_PROGRESS)  # whatever it has under this id, it knows it
        return told

    def look_up(self, effect: Effect, window: Window) -> Reply:
        """Ask by our own id; tells what the body says, for the engine to compare."""

        def told(body: Mapping[str, Any]) -> Reply:
            if body.get("status") != "not_found":
                return self._transfer(body, effect)
            if _text(body, "id") != effect.reference:
                raise Malformed("id", "is not the one that was asked about")
            return Reply(Answer.NOT_FOUND, code="not_found", reference=effect.reference)

        exchange = self._call(self._outbound.read, "transfer.look_up", {"id": effect.reference}, window)
        return exchange if isinstance(exchange, Reply) else self._read(exchange, told)

    def balance(self, player: str, currency: str, window: Window) -> Balance | Reply:
        """Read one player's balance, in minor units of `currency`; another player's or currency's is no answer."""

        def told(body: Mapping[str, Any]) -> Balance:
            _same(body, "player", player)
            return self._balance(body, currency)

        exchange = self._call(self._outbound.read, "player.balance", {"player": player, "currency": currency}, window)
        return exchange if isinstance(exchange, Reply) else self._read(exchange, told)

    def kick(self, player: str, window: Window) -> Reply:
        """End the player's game; the code is `kicked` only where the provider says that nobody plays now."""

        def told(body: Mapping[str, Any]) -> Reply:
            _same(body, "player", player)
            if body.get("in_game") is not False:
                raise Malformed("in_game", "is not false")
            return Reply(Answer.UNKNOWN, code="kicked", player=player)

        exchange = self._call(self._outbound.read, "player.kick", {"player": player}, window)
        return exchange if isinstance(exchange, Reply) else self._read(exchange, told)

    def heard(self, kind: str, content: Mapping[str, Any], digest: str) -> Reply | Balance | None:
        """Translate a signed callback; raises Malformed with the member that is wrong, and Unavailable where its
        currency is counted otherwise here than in the books."""
        if kind == "balance.reported":
            return self._balance(content, _text(content, "currency"))
        if kind not in CALLBACKS:
            return None
        _same(content, "status", CALLBACKS[kind])
        told = self._transfer(content, None)
        if told.balance is None:
            raise Malformed("balance", "is missing")
        return replace(told, digest=digest)

    def answers(self, window: Window) -> bool:
        """Whether it answers a signed question with JSON and HTTP 200, whatever is in it."""
        content = {"currency": self._settings.currencies[0], "limit": 1}
        exchange = self._call(self._outbound.read, "balances.list", content, window)
        return isinstance(exchange, Exchange) and exchange.status == HTTPStatus.OK and exchange.body[:1] == b"{"

    def balances(self, currency: str, window: Window, after: str | None = None) -> BalancePage | Reply:
        """Read one page of all balances, by player; a list that does not go on where it should is no answer."""

        def told(body: Mapping[str, Any]) -> BalancePage:
            rows = body.get("balances")
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                raise Malformed("balances", "is not a list of objects")
            found = tuple(self._balance(row, currency) for row in rows)
            players = [*([] if after is None else [after]), *(each.player for each in found)]
            if any(one >= other for one, other in pairwise(players)):
                raise Malformed("balances", "is not in the order of players, or begins too early")
            if "next" not in body:
                raise Malformed("next", "is missing")
            if body["next"] is not None and (not found or body["next"] != found[-1].player):
                raise Malformed("next", "is not the last player of the page")
            return BalancePage(found, body["next"])

        content = {"currency": currency, "limit": PAGE_SIZE} | ({} if after is None else {"after": after})
        exchange = self._call(self._outbound.read, "balances.list", content, window)
        return exchange if isinstance(exchange, Reply) else self._read(exchange, told)

    # --- the wire -----------------------------------------------------------------------------------------

    def _call(
        self, send: Callable[..., Exchange], kind: str, content: Mapping[str, Any], window: Window, name: str = ""
    ) -> Exchange | Reply:
        """Sign and send one message; a Reply says why there was no signature, and then nothing was sent.

        `name` is the `webhook-id` of what is the same message when it is sent again; a question is new each time.
        """
        body, now = json.dumps({"type": kind, "data": content}), self._clock.now()
        digest = hashlib.sha256(body.encode()).hexdigest()
        name = name or f"{kind.replace('.', '_')}_{now}_{digest[:12]}"
        try:
            signature = sign(self._settings.signing_secret(), name, now // SECOND, body.encode())
        except (OSError, ValueError):
            return Reply(Answer.UNKNOWN, code="NO_SECRET", detail="the secret cannot be read, or is none")
        headers = {
            "Accept": "application/json",
            "webhook-id": name,
            "webhook-timestamp": str(now // SECOND),
            "webhook-signature": signature,
        }
        return send("POST", self._path, window=window, headers=headers, json=body)

    @staticmethod
    def _read(exchange: Exchange, told: Callable[[Mapping[str, Any]], Told]) -> Told | Reply:
        """What `told` makes of a whole answer, with both messages; UNKNOWN where it is none, or not as it should be."""
        try:
            found = told(_content(exchange))
        except Unreadable as nothing:
            return unknown(exchange, nothing)
        except (Malformed, Unavailable) as wrong:
            return unknown(exchange, Unreadable("MALFORMED", str(wrong)))
        return with_messages(found, exchange) if isinstance(found, Reply) else found

    # --- members ------------------------------------------------------------------------------------------

    def _transfer(self, body: Mapping[str, Any], effect: Effect | None) -> Reply:
        """What a transfer's members tell, each as it should be; raises Malformed.

        `effect` is what was asked for, and None in a callback, which was not asked for. Whether the rest equals
        the intent is for the engine to see.
        """
        status, currency = _text(body, "status"), _text(body, "currency")
        amount, code = self._amount(body, "amount", currency), status
        if amount <= 0:
            raise Malformed("amount", "is not greater than zero")
        requested = self._requested(body, amount, currency, effect) if self.descriptor.partial else None
        if STATUSES[status] is Answer.NOT_APPLIED:
            code = _text(body, "code")
        elif "code" in body:
            raise Malformed("code", "is told, and nothing was refused")
        direction = _text(body, "direction")
        return Reply(
            STATUSES[status],
            code=code,
            amount=amount,
            currency=currency,
            player=_text(body, "player"),
            side=next(side.value for side, name in DIRECTIONS.items() if name == direction),
            reference=_text(body, "id"),
            provider_reference=_text(body, "provider_id"),
            provider_time=_text(body, "time"),
            balance=self._amount(body, "balance", currency, owned=True) if "balance" in body else None,
            attempt_sensitive=code in INSUFFICIENT,
            sequence=_count(body, "sequence"),
            requested=requested,
        )

    def _requested(self, body: Mapping[str, Any], amount: int, currency: str, effect: Effect | None) -> int | None:
        """A part of the whole says so by `requested` (contract §5); without it, a smaller amount is a mistake."""
        asked = effect.amount if effect is not None and effect.currency == currency else None
        if "requested" in body:
            requested = self._amount(body, "requested", currency)
            if body["status"] != "confirmed" or requested <= amount or asked not in (None, requested):
                raise Malformed("requested", "is not the whole of a confirmed part")
            return requested
        if body["status"] == "confirmed" and asked is not None and amount < asked:
            raise Malformed("requested", "is missing")
        return None

    def _balance(self, body: Mapping[str, Any], currency: str) -> Balance:
        _same(body, "currency", currency)
        amount = self._amount(body, "amount", currency, owned=True)
        return Balance(_text(body, "player"), currency, amount, _text(body, "time"))

    def _amount(self, body: Mapping[str, Any], name: str, currency: str, *, owned: bool = False) -> int:
        """A decimal text with exactly the currency's decimals, in minor units; only what is owned may be negative."""
        value = _present(body, name)
        try:
            minor = self._currencies.parse_exact(str(value).removeprefix("-"), currency)
            minor = -minor if str(value).startswith("-") else minor
        except UnknownCurrency as wrong:
            if isinstance(wrong, Unavailable):
                raise  # it is known, and nobody's fault who told of it
            raise Malformed("currency", "is not known") from wrong
        except AmountRefused as wrong:
            raise Malformed(name, "is not an exact amount of its currency") from wrong
        if (minor < 0 and not owned) or abs(minor) >= LARGEST or self._currencies.format(minor, currency) != value:
            raise Malformed(name, "is not an exact amount of its currency")
        return minor


def _content(exchange: Exchange) -> dict[str, Any]:
    """The object in a whole answer with HTTP 200; raises Unreadable with the code of what it is instead."""
    if exchange.failure:
        raise Unreadable(exchange.failure)
    if exchange.status == HTTPStatus.OK:
        return document(exchange)
    unnamed = Unreadable(f"HTTP_{exchange.status}")
    try:
        body = document(exchange)
    except Unreadable:
        raise unnamed from None
    code, message = body.get("code"), body.get("message")
    if not isinstance(code, str) or not _SHAPED["code"](code) or code in OUR_WORDS:
        raise unnamed
    said = message[:LONGEST_TEXT] if isinstance(message, str) else ""
    raise Unreadable(code, said if said.isprintable() else "")


def _present(body: Mapping[str, Any], name: str) -> Any:
    if name not in body:
        raise Malformed(name, "is missing")
    return body[name]


def _text(body: Mapping[str, Any], name: str) -> str:
    """The member `name`, a text of the shape that the contract gives it."""
    value = _present(body, name)
    if not isinstance(value, str) or not _SHAPED[name](value):
        raise Malformed(name, "is malformed")
    return value


def _same(body: Mapping[str, Any], name: str, meant: str) -> None:
    if _text(body, name) != meant:
        raise Malformed(name, "is another one than was meant")


def _count(body: Mapping[str, Any], name: str) -> int:
    """The member `name`, a whole JSON number from 1 on, as any strict parser hands it over."""
    value = _present(body, name)
    if isinstance(value, Decimal) and value.is_finite() and value.as_tuple().exponent == 0 and value < LARGEST:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < LARGEST:
        raise Malformed(name, "is not a whole number from 1 on")
    return value
