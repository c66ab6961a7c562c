"""QTech Transfer Wallet v1.51 (protocols.md §1.1), a two-phase protocol, as a page of facts.

Prepare holds a transfer as PENDING; complete or cancel ends it; else it cancels itself; a final state never
changes. A refusal without a code in its JSON body decides nothing; what these tables do not list is UNKNOWN.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from http import HTTPStatus
from threading import Lock
from typing import Any
from urllib.parse import quote, unquote_plus

from bridge import ports
from bridge.config import QTechSection
from bridge.evidence import Answer, Reply, Step
from bridge.money import ISO_4217_EXPONENTS, Currencies, UnknownCurrency
from bridge.outbound import Exchange, Outbound
from bridge.ports import Balance, BalancePage, Effect, Side, Window
from bridge.providers.reading import LONGEST_TEXT, Unreadable, document, text, unknown, with_messages
from bridge.runtime import Clock

LOGIN = "/v1/auth/token"
TRANSFERS = "/v1/fund-transfers"
BALANCES = "/v1/wallet/ext"

TYPES = {Side.CREDIT: "CREDIT", Side.DEBIT: "DEBIT"}  # as a leg sees it: CREDIT brings money into the game


@dataclass(frozen=True)
class Reading:
    """How answers are read: a success by its body's status (and whether it must tell when it was finalized),
    a refusal by HTTP status and code, with whether it is attempt-sensitive."""

    success: int
    statuses: Mapping[str, Answer]
    finalized: bool
    refusals: Mapping[tuple[int, str], tuple[Answer, bool]]


READINGS = {
    Step.PREPARE: Reading(
        201,
        {"PENDING": Answer.RESERVED},
        False,
        {
            (400, "INVALID_FORMAT"): (Answer.NOT_APPLIED, False),
            (422, "VALIDATION_ERROR"): (Answer.NOT_APPLIED, False),
            (422, "INSUFFICIENT_FUNDS"): (Answer.NOT_APPLIED, True),  # an earlier try may have reserved it
            # The reference is final. That proves a cancel only on a later attempt of a prepare that was never
            # completed (§1.1, inference a); on a first it is another's reference. The engine knows which.
            (409, "STATUS_CONFLICT"): (Answer.CANCELLED, True),
        },
    ),
    # A conflict or a 404 at the end says that something is wrong, not what became of the money: look up.
    Step.COMPLETE: Reading(200, {"COMPLETED": Answer.APPLIED}, True, {}),
    Step.VOID: Reading(200, {"CANCELLED": Answer.CANCELLED}, True, {}),
}
LOOK_UP = Reading(
    200,
    {"PENDING": Answer.IN_PROGRESS, "COMPLETED": Answer.APPLIED, "CANCELLED": Answer.CANCELLED},
    False,
    {(404, "TRANSFER_NOT_FOUND"): (Answer.NOT_FOUND, False)},
)

FIAT_PLACES, OTHER_PLACES = 2, 8
LEAST = Decimal("0.01")
ACCEPT = {"Accept": "application/json"}
PAGE_SIZE = "500"
IDLE_MARGIN = 5.0  # seconds before its idle end from which a token is not used any more
MOST_MINOR_UNITS = 10**18  # a 64-bit column holds it


def descriptor(settings: QTechSection, currencies: Currencies) -> ports.Descriptor:
    """What QTech promises, with the times that the operator has set; raises UnknownCurrency."""
    return ports.Descriptor(
        protocol="qtech",
        evidence_tag="O*: protocol-compatible, built from public documentation; not certified by the vendor; "
        "certification against a vendor sandbox is the operator's step",
        phases=2,
        same_id=ports.SameId.UNTIL_FINAL,  # then 409, unless something else is wrong with it by then
        dedupe_window=None,
        lookup_key=ports.LookupKey.PROVIDER,
        lookup_retention=None,
        absence=None,  # a 404 never proves anything
        fail_final_after=settings.expiry_seconds + settings.expiry_margin_seconds,
        fail_final_times=2,
        cancel=ports.Cancel.YES,
        expiry=settings.expiry_seconds,
        expiry_margin=settings.expiry_margin_seconds,
        complete_reserve=settings.complete_reserve_seconds,
        reference=ports.Reference(alphabet="[A-Za-z0-9_-]", longest=34),
        longest_player_id=34,
        places={
            code: min(exponent, FIAT_PLACES if code in ISO_4217_EXPONENTS else OTHER_PLACES)
            for code, exponent in currencies.exponents.items()
        },
        money_deadline=settings.prepare_seconds,
        complete_deadline=settings.complete_seconds,
        lookup_deadline=settings.lookup_seconds,
        insufficient=frozenset({"INSUFFICIENT_FUNDS"}),
    )


@dataclass
class Token:
    """An access token; usable for `idle` seconds after each use, now until `end` on the monotonic clock."""

    text: str
    idle: float
    end: float


class QTech:
    """One account at QTech. Keeps an access token and no transfer; safe to share between threads."""

    def __init__(
        self, name: str, settings: QTechSection, outbound: Outbound, currencies: Currencies, clock: Clock
    ) -> None:
        self.name = name
        self.descriptor = descriptor(settings, currencies)
        self._settings, self._outbound, self._currencies, self._clock = settings, outbound, currencies, clock
        self._token: Token | None = None
        self._login = Lock()

    def refuses(self, amount: int, currency: str) -> str | None:
        """Why `amount` minor units cannot go on this wire exactly, or None; to be asked before any hold."""
        places = self.descriptor.places.get(currency)
        if places is None:
            return f"{currency} is not a known currency"
        exponent = self._currencies.exponent(currency)
        if amount % 10 ** (exponent - places):
            return f"has more than the {places} decimals of {currency} that this provider carries"
        return f"must be at least {LEAST}" if Decimal(amount).scaleb(-exponent) < LEAST else None

    def money(self, step: Step, effect: Effect, window: Window) -> Reply:
        """Send one prepare, complete or void, once; NOT_SENT where only the way to it failed (no token)."""
        if step is Step.PREPARE:
            if (reason := self.refuses(effect.amount, effect.currency)) is not None:
                return Reply(Answer.NOT_SENT, code="AMOUNT_REFUSED", detail=reason)
            method, path, body = "POST", TRANSFERS, self._prepare_body(effect)
        elif effect.provider_reference is None:
            return Reply(Answer.NOT_SENT, code="NO_PROVIDER_REFERENCE")
        else:
            method, path = "PUT", f"{_of(TRANSFERS, effect.provider_reference)}/status"
            body = json.dumps({"status": next(iter(READINGS[step].statuses))})
        exchange = self._call(self._outbound.send, method, path, window, json=body)
        if isinstance(exchange, Reply):
            return replace(exchange, answer=Answer.NOT_SENT)
        if not exchange.sent:
            return Reply(Answer.NOT_SENT, code=exchange.failure, digest=exchange.digest)
        return self._translated(exchange, READINGS[step])

    def look_up(self, effect: Effect, window: Window) -> Reply:
        """Ask by the provider's id; tells what the body says, for the engine to compare."""
        if effect.provider_reference is None:
            return Reply(Answer.UNKNOWN, code="NO_PROVIDER_REFERENCE")
        path = _of(TRANSFERS, effect.provider_reference)
        exchange = self._call(self._outbound.read, "GET", path, window)
        return exchange if isinstance(exchange, Reply) else self._translated(exchange, LOOK_UP)

    def balance(self, player: str, currency: str, window: Window) -> Balance | Reply:
        """Read one player's balance, in minor units of `currency`; another currency's is no answer."""
        exchange = self._call(self._outbound.read, "GET", _of(BALANCES, player), window)
        if isinstance(exchange, Reply):
            return exchange
        try:
            body = _success(exchange, 200)
            if text(body, "currency") != currency:
                raise Unreadable("MALFORMED", "currency")
            return Balance(player, currency, self._minor(body, currency))
        except Unreadable as nothing:
            return unknown(exchange, nothing)

    def kick(self, player: str, window: Window) -> Reply:  # noqa: ARG002 - the manual knows no kick
        """Nothing: the protocol has no such call, and refuses nobody for being in a game."""
        return Reply(Answer.UNKNOWN, code="NO_KICK")

    def heard(self, kind: str, content: Mapping[str, Any], digest: str) -> None:
        """Nothing: it calls nobody back."""

    def answers(self, window: Window) -> bool:
        """Whether a token and one row of the balance list can be had, whatever is in it."""
        exchange = self._call(self._outbound.read, "GET", BALANCES, window, params={"size": "1"})
        return isinstance(exchange, Exchange) and exchange.status == HTTPStatus.OK and exchange.body[:1] == b"{"

    def balances(self, currency: str, window: Window, after: str | None = None) -> BalancePage | Reply:
        """Read one page of all balances; of the link to the next only the cursor is used, not its host."""
        asked = {"currency": currency, "size": PAGE_SIZE} | ({} if after is None else {"cursor": after})
        exchange = self._call(self._outbound.read, "GET", BALANCES, window, params=asked)
        if isinstance(exchange, Reply):
            return exchange
        try:
            body = _success(exchange, 200)
            rows, cursor = body.get("items"), _next_cursor(body)
            if not isinstance(rows, list) or (after is not None and cursor == after):
                raise Unreadable("MALFORMED", "no list, or a next page that is this page")
            return BalancePage(tuple(self._listed(row, currency) for row in rows), cursor)
        except Unreadable as nothing:
            return unknown(exchange, nothing)

    def _prepare_body(self, effect: Effect) -> str:
        """The prepare as JSON text. The amount's digits are made from integers and set in as they are, an
        exact JSON number; on its way through a float it would become the nearest binary fraction.
        """
        surplus = self._currencies.exponent(effect.currency) - self.descriptor.places[effect.currency]
        digits = self._currencies.format(effect.amount, effect.currency)
        exact = digits[: len(digits) - surplus]  # refuses() left only zeros to cut
        texts = {
            "type": TYPES[effect.side],
            "referenceId": effect.reference,
            "playerId": effect.player,
            "currency": effect.currency,
        }
        return f'{json.dumps(texts)[:-1]}, "amount": {exact}}}'

    def _translated(self, exchange: Exchange, reading: Reading) -> Reply:
        """The one thing that an answer about a transfer says: by its status, by its code, or nothing."""
        try:
            body = _success(exchange, reading.success)
            status = text(body, "status")
            if status not in reading.statuses:
                raise Unreadable("MALFORMED", "status")
            told = self._transfer(body, reading.finalized)
            return with_messages(replace(told, answer=reading.statuses[status], code=status), exchange)
        except Unreadable as nothing:
            refusal = reading.refusals.get((exchange.status or 0, nothing.code))
            answer, sensitive = refusal or (Answer.UNKNOWN, False)
            return replace(unknown(exchange, nothing), answer=answer, attempt_sensitive=sensitive)

    def _transfer(self, body: Mapping[str, Any], need_final: bool) -> Reply:
        """What a transfer's body tells; a body that lacks anything tells nothing."""
        currency, kind = text(body, "currency"), text(body, "type")
        side = next((side.value for side, name in TYPES.items() if name == kind), None)
        amount = self._minor(body, currency)
        if side is None or amount <= 0:
            raise Unreadable("MALFORMED", "type" if side is None else "amount")
        initiated, final = text(body, "initiated"), body.get("finalized") is not None or need_final
        return Reply(
            Answer.UNKNOWN,
            amount=amount,
            currency=currency,
            player=text(body, "playerId"),
            side=side,
            reference=text(body, "referenceId"),
            provider_reference=text(body, "id"),
            provider_time=text(body, "finalized") if final else initiated,
        )

    def _minor(self, body: Mapping[str, Any], currency: str) -> int:
        """The member `amount` in minor units: a JSON number, and a whole number of them."""
        number = body.get("amount")
        try:
            minor = self._currencies.exact(number, currency) if isinstance(number, Decimal) else None
        except UnknownCurrency as unknown:
            raise Unreadable("MALFORMED", "currency") from unknown
        if minor is None or abs(minor) > MOST_MINOR_UNITS:
            raise Unreadable("MALFORMED", "amount")
        return minor

    def _listed(self, row: Any, currency: str) -> Balance:
        player, as_of = text(row, "playerId"), text(row, "lastUpdatedDateTime")
        if row.get("currency", currency) != currency:
            raise Unreadable("MALFORMED", "currency")
        return Balance(player, currency, self._minor(row, currency), as_of)

    def _call(
        self, send: Callable[..., Exchange], method: str, path: str, window: Window, **parts: Any
    ) -> Exchange | Reply:
        """Make one call with a live token; a Reply says why there was none, and then no call was made.

        A use resets the token's idle time; a 401 ends it, and whether to call again is the engine's to say.
        """
        token = self._live_token() or self._new_token(window)
        if isinstance(token, Reply):
            return token
        began = self._clock.monotonic()
        headers = {**ACCEPT, "Authorization": f"Bearer {token.text}"}
        exchange = send(method, path, window=window, headers=headers, **parts)
        if exchange.status == HTTPStatus.UNAUTHORIZED and self._token is token:
            self._token = None
        elif exchange.status is not None and exchange.status < HTTPStatus.INTERNAL_SERVER_ERROR:
            token.end = max(token.end, began + token.idle)
        return exchange

    def _live_token(self) -> Token | None:
        token = self._token
        return token if token is not None and self._clock.monotonic() < token.end else None

    def _new_token(self, window: Window) -> Token | Reply:
        """Log in, one thread at a time, within the window of the call that needs it."""
        if not self._login.acquire(timeout=max(0.0, window.not_after - self._clock.monotonic())):
            return Reply(Answer.UNKNOWN, code="TOKEN_WAIT")
        try:
            return self._live_token() or self._logged_in(window)
        finally:
            self._login.release()

    def _logged_in(self, window: Window) -> Token | Reply:
        began = self._clock.monotonic()
        asked = {"grant_type": "password", "response_type": "token", "username": self._settings.username}
        try:
            asked["password"] = self._settings.secret()
        except (OSError, ValueError):
            return Reply(Answer.UNKNOWN, code="TOKEN_NO_PASSWORD")
        exchange = self._outbound.read("POST", LOGIN, window=window, headers=ACCEPT, params=asked)
        try:
            body = _success(exchange, 200)
            text, life = body.get("access_token"), body.get("expires_in")
            if not isinstance(text, str) or not re.fullmatch(r"[!-~]{1,4096}", text):
                raise Unreadable("MALFORMED", "access_token")
            if not isinstance(life, Decimal) or not 0 < life < Decimal(10) ** 12:
                raise Unreadable("MALFORMED", "expires_in")
        except Unreadable as nothing:
            # Neither message is kept: one has the password in it, the other one the token.
            return Reply(Answer.UNKNOWN, f"TOKEN_{nothing.code}", nothing.detail, digest=exchange.digest)
        seconds = float(life) / 1000
        idle = max(seconds - IDLE_MARGIN, seconds / 2)
        self._token = Token(text, idle, began + idle)
        return self._token


def _of(collection: str, name: str) -> str:
    return f"{collection}/{quote(name, safe='')}"


def _success(exchange: Exchange, status: int) -> dict[str, Any]:
    """The body of a whole answer with this HTTP status; raises Unreadable with the code of what it is."""
    if exchange.failure:
        raise Unreadable(exchange.failure)
    if exchange.status == status:
        return document(exchange)
    unnamed = Unreadable(f"HTTP_{exchange.status}")
    try:
        body = document(exchange)
    except Unreadable:
        raise unnamed from None
    code, message = body.get("code"), body.get("message")
    if not isinstance(code, str) or not re.fullmatch(r"[A-Z][A-Z_]{1,63}", code):
        raise unnamed
    said = message[:LONGEST_TEXT] if isinstance(message, str) else ""
    raise Unreadable(code, said if said.isprintable() else "")


def _next_cursor(body: Mapping[str, Any]) -> str | None:
    """The cursor in `links[0].href`; no link: this was the last page."""
    links = body.get("links") or []
    if links == []:
        return None
    cursor = re.search(r"[?&]cursor=([^&#]+)", text(links[0] if isinstance(links, list) else None, "href"))
    if cursor is None:
        raise Unreadable("MALFORMED", "links")
    return unquote_plus(cursor[1])
