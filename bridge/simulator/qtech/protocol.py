"""QTech's transfer wallet v1.51 as protocols.md §1.1 states it, and nothing but the truth.

Tokens, prepare, complete, cancel, look-up by the provider's id, balance, balance list. `recognise` names
what a request is about without doing it, so that a lie can be chosen first; `perform` does it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from urllib.parse import quote, unquote

from bridge.simulator.books import CREDIT, DEBIT, Account, Refused, Terms
from bridge.simulator.messages import MICROS, Answer, Request, Unreadable, china_time, decode, unix_text
from bridge.simulator.provider import Call, Trouble
from bridge.simulator.qtech.books import CANCELLED, COMPLETED, PENDING, QTechBooks, Transfer
from bridge.simulator.qtech.errors import TROUBLES, failure
from bridge.simulator.qtech.tokens import Tokens

LONGEST_ID = 34
LARGEST_MAGNITUDE = 15  # digits before the point: what 64 bits hold at two places
SMALLEST_AMOUNT = Decimal("0.01")
PAGE, LARGEST_PAGE = 100, 500
FIELDS = {"type": str, "referenceId": str, "playerId": str, "amount": Decimal, "currency": str}

# (method, path pattern, operation); the two halves of …/status are told apart by the body
ROUTES = (
    ("GET", re.compile(r"/v1/auth/token"), "token"),
    ("POST", re.compile(r"/v1/auth/token"), "token"),
    ("DELETE", re.compile(r"/v1/auth/token"), "revoke"),
    ("POST", re.compile(r"/v1/fund-transfers"), "prepare"),
    ("GET", re.compile(r"/v1/fund-transfers/(?P<id>[^/]+)"), "lookup"),
    ("PUT", re.compile(r"/v1/fund-transfers/(?P<id>[^/]+)/status"), "complete"),
    ("GET", re.compile(r"/v1/wallet/ext"), "balances"),
    ("GET", re.compile(r"/v1/wallet/ext/(?P<player>[^/]+)"), "balance"),
)
UNKNOWN_PATH, WRONG_METHOD = "unknown", "method"
STALE_LIST = 12  # the one case that strikes rows of a list, not a request


class QTech:
    """The protocol over the books."""

    def __init__(self, books: QTechBooks, tokens: Tokens, retention: float | None) -> None:
        """`retention` in seconds: how long after its end a transfer can be looked up; None for ever."""
        self.books, self.tokens, self.retention = books, tokens, retention
        self._operations: dict[str, Callable[[Call], Answer]] = {
            "token": self._token,
            "revoke": self._revoke,
            "prepare": self._prepare,
            "complete": self._finish,
            "cancel": self._finish,
            "lookup": self._look_up,
            "balance": self._balance,
            "balances": self._balances,
            UNKNOWN_PATH: self._no_such_path,
            WRONG_METHOD: self._no_such_method,
        }

    # --- recognise ---------------------------------------------------------------------------------

    def recognise(self, request: Request) -> Call:
        """What is asked, of whom; nothing is done yet."""
        found = [(method, match, name) for method, path, name in ROUTES if (match := path.fullmatch(request.path))]
        if not found:
            return Call(UNKNOWN_PATH, request)
        for method, match, operation in found:
            if method == request.method:
                names = {key: unquote(value) for key, value in match.groupdict().items()}
                return self._about(operation, request, names)
        return Call(WRONG_METHOD, request)

    def _about(self, operation: str, request: Request, names: dict[str, str]) -> Call:
        content, fault = None, request.fault
        if operation in ("prepare", "complete") and not fault:
            try:
                content = decode(request.body)
                if not isinstance(content, dict):
                    content, fault = None, "The body is not a JSON object."
            except Unreadable as error:
                fault = f"The body is not JSON: {error}."
        if operation == "prepare":
            reference, player, kind = (_text(content, name) for name in ("referenceId", "playerId", "type"))
            earlier = self.books.by_reference(reference)
            return Call(operation, request, reference, earlier.id if earlier else "", player, kind, content, fault)
        if operation == "complete" and _text(content, "status") == CANCELLED:
            operation = "cancel"
        if transfer := self.books.by_id(names.get("id", "")):
            terms = transfer.terms
            return Call(operation, request, terms.reference, transfer.id, terms.player, terms.type, content, fault)
        return Call(operation, request, "", names.get("id", ""), names.get("player", ""), content=content, fault=fault)

    def names(self, call: Call) -> tuple[str, str, str]:
        """(reference, id, player), with the provider's id once there is one; a balance names the newest transfer."""
        if call.operation == "balance":
            last = self.books.last_of_player(call.player)
            return (last.terms.reference, last.id, call.player) if last else call.names
        known = self.books.by_reference(call.reference)
        return (call.reference, known.id, call.player) if known else call.names

    def about(self, call: Call, fated: Callable[[str, str], int | None]) -> tuple[str, str]:
        """The transfer by which the rate decides: the call's own, or the player's newest; for the balance list
        the newest transfer of some player who is fated to stand stale in it.
        """
        if call.operation == "balances":
            lasts = [(last.terms.reference, last.terms.type) for last in self.books.players_last()]
            return next((last for last in lasts if fated(*last) == STALE_LIST), ("", ""))
        if call.operation != "balance":
            return call.reference, call.type
        last = self.books.last_of_player(call.player)
        return (last.terms.reference, last.terms.type) if last else (f"player {call.player}", "")

    def observed(self, call: Call) -> tuple[int, ...]:
        """4: a complete that comes after the expiry; 6: anything after COMPLETED; 7: a balance beside a
        reservation; 21, 22: a prepare again, alike or not.
        """
        if call.operation == "balance":
            return (7,) if any(account.reserved for _, _, account in self.books.accounts(call.player)) else ()
        before = self.books.by_id(call.transfer_id)
        if before is None:
            return ()
        if call.operation == "prepare":
            return (21,) if self._asks_the_same(call, before) else (22,)
        if call.operation in ("complete", "cancel") and before.status == COMPLETED:
            return (6,)
        late = self.books.clock() >= self.books.deadline(before)
        return (4,) if call.operation == "complete" and before.status == CANCELLED and late else ()

    def _asks_the_same(self, call: Call, before: Transfer) -> bool:
        try:
            return self.terms(call) == before.terms
        except Refused:
            return False

    # --- perform -----------------------------------------------------------------------------------

    def unauthorised(self, call: Call) -> Answer | None:
        """The 401 that comes before everything else, or None."""
        if call.operation == "token" or self.tokens.use(call.request):
            return None
        return failure("INVALID_TOKEN", "The access token is missing, wrong or expired.")

    def trouble(self, call: Call, what: Trouble) -> Answer:
        """A trouble in the protocol's envelope; who asks for a token from elsewhere is a blocked user."""
        code, message = TROUBLES[what]
        return failure("USER_BLOCKED" if (call.operation, what) == ("token", "not_allowed") else code, message)

    def succeeded(self, _call: Call, answer: Answer) -> bool:
        """The status tells: an error is an error."""
        return answer.done

    def perform(self, call: Call, *, overlook_reservations: bool = False) -> Answer:
        """Do what an authorised call asks and say what is true."""
        try:
            if overlook_reservations:
                return self._prepare(call, overlook_reservations=True)
            return self._operations[call.operation](call)
        except Refused as refusal:
            return failure(refusal.code, str(refusal))

    def _prepare(self, call: Call, *, overlook_reservations: bool = False) -> Answer:
        terms = self.terms(call)
        transfer = self.books.prepare(terms, overlook_reservations=overlook_reservations)
        return Answer(201, self.shown(transfer))

    def terms(self, call: Call) -> Terms:
        """The validated content of a prepare; raises Refused: a wrong JSON type is a format, a wrong value a
        validation error.
        """
        if call.fault:
            raise Refused("INVALID_FORMAT", call.fault)
        content: dict[str, Any] = call.content
        for name, kind in FIELDS.items():
            if name not in content:
                raise Refused("VALIDATION_ERROR", f"{name} is required.")
            if not isinstance(content[name], kind):
                wanted = "a string" if kind is str else "a number"
                raise Refused("INVALID_FORMAT", f"{name} must be {wanted}.")
        if content["type"] not in (CREDIT, DEBIT):
            raise Refused("VALIDATION_ERROR", "type must be CREDIT or DEBIT.")
        for name in ("referenceId", "playerId"):
            if not (1 <= len(content[name]) <= LONGEST_ID and content[name].isprintable()):
                raise Refused("VALIDATION_ERROR", f"{name} must have 1 to {LONGEST_ID} printable characters.")
        amount = self._amount(content["amount"], content["currency"])
        return Terms(call.type, call.reference, call.player, content["currency"], amount)

    def _amount(self, amount: Decimal, currency: str) -> int:
        currencies = self.books.currencies
        if currency not in currencies:
            raise Refused("VALIDATION_ERROR", "The currency is not kept here.")
        if amount < SMALLEST_AMOUNT:
            raise Refused("VALIDATION_ERROR", f"amount must be at least {SMALLEST_AMOUNT}.")
        if amount.adjusted() >= LARGEST_MAGNITUDE:
            raise Refused("VALIDATION_ERROR", "amount is out of range.")
        try:
            return currencies.minor(amount, currency, currencies.places(currency))
        except ValueError as error:
            raise Refused("VALIDATION_ERROR", f"amount: {error}.") from error

    def _finish(self, call: Call) -> Answer:
        if call.fault:
            raise Refused("INVALID_FORMAT", call.fault)
        status = call.content.get("status")
        if status is not None and not isinstance(status, str):
            raise Refused("INVALID_FORMAT", "status must be a string.")
        if status not in (COMPLETED, CANCELLED):
            raise Refused("VALIDATION_ERROR", "status must be COMPLETED or CANCELLED.")
        return Answer(200, self.shown(self.books.finish(call.transfer_id, status)))

    def _look_up(self, call: Call) -> Answer:
        transfer = self.books.by_id(call.transfer_id)
        if transfer is None or self._forgotten(transfer):
            raise Refused("TRANSFER_NOT_FOUND", "There is no such transfer.")
        return Answer(200, self.shown(transfer))

    def _forgotten(self, transfer: Transfer) -> bool:
        if self.retention is None or transfer.finalized is None:
            return False
        return self.books.clock() - transfer.finalized > int(self.retention * MICROS)

    def _balance(self, call: Call) -> Answer:
        return self.balance(call.player, call.request.query.get("currency"), None)

    def balance(self, player: str, currency: str | None, instant: int | None) -> Answer:
        """The available balance as of an instant (None: now). An unknown player has zero, and is no error."""
        if currency is not None and currency not in self.books.currencies:
            return failure("VALIDATION_ERROR", "The currency is not kept here.")
        wanted = currency or self._own_currency(player)
        available = 0
        for _, kept, account in self.books.accounts(player):
            if kept == wanted:
                available = (account.as_of(instant) or (0, 0))[1]
        return Answer(200, {"amount": self.books.currencies.number(available, wanted), "currency": wanted})

    def _own_currency(self, player: str) -> str:
        """The currency of the player's newest transfer, for a request that names none."""
        last = self.books.last_of_player(player)
        if last is not None:
            return last.terms.currency
        return next((kept for _, kept, _ in self.books.accounts(player)), self.books.currencies.first)

    def _balances(self, call: Call) -> Answer:
        return self.balances(call)

    def balances(self, call: Call, as_of: Callable[[str], int | None] | None = None) -> Answer:
        """One page of the balance list, in the order of playerId; `as_of` tells how old a player's row is."""
        query = call.request.query
        size, currency = query.get("size", str(PAGE)), query.get("currency")
        if not (size.isascii() and size.isdigit() and 1 <= int(size[:9]) <= LARGEST_PAGE):
            raise Refused("VALIDATION_ERROR", f"size must be 1 to {LARGEST_PAGE}.")
        if currency is not None and currency not in self.books.currencies:
            raise Refused("VALIDATION_ERROR", "The currency is not kept here.")
        if query.get("orderBy", "playerId") != "playerId":
            raise Refused("VALIDATION_ERROR", "orderBy must be playerId.")
        rows = [
            (player, kept, account)
            for player, kept, account in self.books.accounts()
            if currency in (None, kept) and player > query.get("cursor", "")
        ]
        page = rows[: int(size)]
        while len(page) < len(rows) and rows[len(page)][0] == page[-1][0]:
            page.append(rows[len(page)])  # a cursor is a player: a page never ends between one player's currencies
        told = [self._row(*row, as_of(row[0]) if as_of else None) for row in page]
        items = [row for row in told if row is not None]
        more = len(page) < len(rows)
        return Answer(200, {"items": items, "links": [self._next(query, page[-1][0])] if more else []})

    def _row(self, player: str, currency: str, account: Account, instant: int | None) -> dict[str, Any] | None:
        known = account.as_of(instant)
        if known is None:
            return None
        amount = self.books.currencies.number(known[1], currency)
        return {
            "playerId": player,
            "amount": amount,
            "currency": currency,
            "lastUpdatedDateTime": china_time(known[0]),
        }

    @staticmethod
    def _next(query: Any, last: str) -> dict[str, str]:
        kept = {name: query[name] for name in ("currency", "size", "orderBy") if name in query}
        text = "&".join(f"{name}={quote(value, safe='')}" for name, value in (kept | {"cursor": last}).items())
        return {"rel": "next", "href": f"/v1/wallet/ext?{text}"}

    def told(self, reference: str) -> dict[str, Any] | None:
        """A transfer as the control port shows it."""
        transfer = self.books.by_reference(reference)
        if transfer is None:
            return None
        terms, finalized = transfer.terms, transfer.finalized
        return {
            "id": transfer.id,
            "reference": terms.reference,
            "type": terms.type,
            "player": terms.player,
            "currency": terms.currency,
            "amount": self.books.currencies.text(terms.amount, terms.currency),
            "status": transfer.status,
            "initiated": unix_text(transfer.initiated),
            "finalized": None if finalized is None else unix_text(finalized),
        }

    def shown(self, transfer: Transfer) -> dict[str, Any]:
        """A transfer as the protocol shows it: times in UTC+8 without a zone (case 11)."""
        terms = transfer.terms
        content = {
            "id": transfer.id,
            "type": terms.type,
            "referenceId": terms.reference,
            "playerId": terms.player,
            "amount": self.books.currencies.number(terms.amount, terms.currency),
            "currency": terms.currency,
            "initiated": china_time(transfer.initiated),
        }
        if transfer.status != PENDING and transfer.finalized is not None:
            content["finalized"] = china_time(transfer.finalized)
        return content | {"status": transfer.status}

    def _token(self, call: Call) -> Answer:
        return self.tokens.issue(dict(call.request.query))

    def _revoke(self, call: Call) -> Answer:
        self.tokens.forget(call.request)
        return Answer(204)

    def _no_such_path(self, call: Call) -> Answer:
        raise Refused("NOT_FOUND", f"There is nothing at {call.request.path}.")

    def _no_such_method(self, call: Call) -> Answer:
        raise Refused("METHOD_NOT_ALLOWED", f"{call.request.method} is not possible here.")


def _text(content: Any, name: str) -> str:
    """A string field of a body that is not validated yet; "" where there is none."""
    value = content.get(name) if isinstance(content, dict) else None
    return value if isinstance(value, str) else ""
