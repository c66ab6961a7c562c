"""The provider of docs/provider-contract.md, written from that page alone, and nothing but the truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from bridge.simulator.books import DEBIT, Account, Refused, Terms
from bridge.simulator.generic import members, signature
from bridge.simulator.generic.books import CONFIRMED, PENDING, GenericBooks, Status, Transfer
from bridge.simulator.generic.games import Games
from bridge.simulator.messages import MICROS, Answer, Request, Unreadable, decode, unix_text
from bridge.simulator.provider import Call, Trouble

PATH = "/wallet"
MEDIA = "application/json"
OPERATIONS = {
    "transfer.create": "create",
    "transfer.look_up": "lookup",
    "transfer.cancel": "cancel",
    "player.balance": "balance",
    "player.kick": "kick",
    "balances.list": "balances",
    "transfers.feed": "feed",
}
QUIRKY_FEED = 44  # the one case that strikes rows of a feed, not a request
UNSIGNED, UNREAD = "unsigned", "unread"
TROUBLES: dict[Trouble, tuple[int, str, str]] = {
    "internal": (500, "internal", "an internal error"),
    "unavailable": (503, "unavailable", "not available"),
    "maintenance": (503, "maintenance", "closed for maintenance"),
    "unauthorised": (401, "bad_signature", "no signature fits"),
    "not_allowed": (403, "not_allowed", "this address is not allowed"),
    "too_many": (429, "too_many_requests", "too many requests"),
}
STATUS_OF_CODE = {"id_reused": HTTPStatus.CONFLICT, "invalid_member": HTTPStatus.UNPROCESSABLE_ENTITY}


def answered(content: Any, status: int = 200) -> Answer:
    """A JSON answer of this protocol."""
    return Answer(status, content, MEDIA)


def failure(status: int, code: str, message: str) -> Answer:
    """An answer that says nothing about money."""
    return answered({"code": code, "message": message}, status)


def rfc3339(instant: int) -> str:
    """Microseconds since 1970 as the contract writes times."""
    return datetime.fromtimestamp(instant // MICROS, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{instant % MICROS:06d}Z"


class Generic:
    """The protocol over the books."""

    def __init__(self, books: GenericBooks, games: Games, keys: Sequence[bytes], retention: float | None) -> None:
        """`keys`: any may sign a request; `retention` in seconds: how long after its end a
        transfer can be looked up, None for ever.
        """
        self.books, self.games, self._keys, self.retention = books, games, keys, retention
        self._operations: dict[str, Callable[[Call], Answer]] = {
            "create": self._create,
            "lookup": self._look_up,
            "cancel": self._cancel,
            "balance": self._balance,
            "kick": self._kick,
            "balances": self._balances,
            "feed": self._feed,
        }

    # --- recognise ---------------------------------------------------------------------------------

    def recognise(self, request: Request) -> Call:
        """What is asked, of whom. Of a message that is not signed as it should be, nothing is read."""
        if request.path != PATH or request.method != "POST" or request.fault:
            return Call(UNREAD, request, fault=request.fault)
        if not signature.fits(self._keys, request.headers, request.body, self.books.clock() // MICROS):
            return Call(UNSIGNED, request)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != MEDIA:
            return Call(UNREAD, request, fault=f"the content type must be {MEDIA}")
        try:
            content = decode(request.body)
        except Unreadable as error:
            return Call(UNREAD, request, fault=f"the body is not JSON: {error}")
        kind, data = (content.get(name) for name in ("type", "data")) if isinstance(content, dict) else (None, None)
        operation = OPERATIONS.get(kind) if isinstance(kind, str) else None
        if operation is None or not isinstance(data, dict):
            return Call(UNREAD, request, fault="the body must have a type that is known here, and an object as data")
        reference, player, direction = (_text(data, name) for name in ("id", "player", "direction"))
        type_ = members.TYPES.get(direction, "")
        known = self.books.by_reference(reference)
        if known:
            player, type_ = player or known.terms.player, type_ or known.terms.type
        return Call(operation, request, reference, known.id if known else "", player, type_, data)

    def names(self, call: Call) -> tuple[str, str, str]:
        """(reference, id, player), with the provider's id once there is one."""
        known = self.books.by_reference(call.reference)
        return (call.reference, known.id, call.player) if known else call.names

    def about(self, call: Call, fated: Callable[[str, str], int | None]) -> tuple[str, str]:
        """The transfer by which the rate decides: the call's own, or the player's newest; for the feed one that is
        fated to stand in it quirkily.
        """
        if call.operation == "feed":
            terms = [transfer.terms for _, transfer in self.books.changes()]
            rows = ((each.reference, each.type) for each in terms)
            return next((row for row in rows if fated(*row) == QUIRKY_FEED), ("", ""))
        if call.reference or not call.player:
            return call.reference, call.type
        last = self.books.last_of_player(call.player)
        return (last.terms.reference, last.terms.type) if last else (f"player {call.player}", "")

    def observed(self, call: Call) -> tuple[int, ...]:
        """21, 22: a create again, alike or not; 34: a kick of somebody who does not play."""
        if call.operation == "kick":
            return () if self.games.plays(call.player) else (34,)
        known = self.books.by_reference(call.reference)
        if call.operation != "create" or known is None:
            return ()
        return (21,) if self.terms(call) == known.terms else (22,)

    # --- perform -----------------------------------------------------------------------------------

    def unauthorised(self, call: Call) -> Answer | None:
        """The refusal of what is not a message of the contract at all, or None."""
        if call.operation == UNSIGNED:
            return failure(401, "bad_signature", "no signature fits")
        if call.operation != UNREAD:
            return None
        if call.request.path != PATH:
            return failure(404, "not_found", f"there is nothing at {call.request.path}")
        if call.request.method != "POST":
            return failure(405, "wrong_method", f"{call.request.method} is not possible here")
        return failure(400, "unreadable", call.fault)

    def trouble(self, _call: Call, what: Trouble) -> Answer:
        """A trouble in the words of the contract."""
        return failure(*TROUBLES[what])

    def succeeded(self, call: Call, answer: Answer) -> bool:
        """For a create only a confirmation is what it was for."""
        if answer.status != HTTPStatus.OK:
            return False
        return call.operation != "create" or answer.content["status"] == CONFIRMED

    def perform(self, call: Call) -> Answer:
        """Do what a signed message asks and say what is true."""
        try:
            return self._operations[call.operation](call)
        except Refused as refusal:
            return failure(STATUS_OF_CODE[refusal.code], refusal.code, str(refusal))

    def terms(self, call: Call) -> Terms | None:
        """What a create or a cancel is about; None where a member is wrong."""
        try:
            return members.terms(call.content, self.books.currencies)
        except Refused:
            return None

    def _create(self, call: Call) -> Answer:
        terms = members.terms(call.content, self.books.currencies)
        with self.books.lock:
            known = self.books.by_reference(terms.reference)
            if known is not None:
                _same(known, terms)
            transfer = known or self._decided(terms)
            return answered(self.shown(transfer, transfer.original))

    def _decided(self, terms: Terms) -> Transfer:
        if self.games.refuses(terms.player, terms.type):
            return self.books.refuse(terms, "player_in_game")
        if terms.type == DEBIT and self.books.available(terms.player, terms.currency) < terms.amount:
            return self.books.refuse(terms, "insufficient_funds")
        return self.books.execute(terms)

    def _look_up(self, call: Call) -> Answer:
        reference = members.text(call.content, "id", members.ID)
        known = self.books.by_reference(reference)
        if known is None or self._forgotten(known):
            return answered({"id": reference, "status": "not_found"})
        return answered(self.shown(known, known.now))

    def _forgotten(self, transfer: Transfer) -> bool:
        if self.retention is None or transfer.now.name == PENDING:
            return False
        return self.books.clock() - transfer.now.at > int(self.retention * MICROS)

    def _cancel(self, call: Call) -> Answer:
        terms = members.terms(call.content, self.books.currencies)
        with self.books.lock:
            known = self.books.by_reference(terms.reference)
            if known is not None:
                _same(known, terms)
            transfer = self.books.cancel(terms, by="request")
            return answered(self.shown(transfer, transfer.now))

    def _kick(self, call: Call) -> Answer:
        player = members.text(call.content, "player", members.PLAYER)
        self.games.kick(player)
        return answered({"player": player, "in_game": False})

    def _balance(self, call: Call) -> Answer:
        return self.balance(call, None)

    def balance(self, call: Call, instant: int | None) -> Answer:
        """Answer with the balance as of an instant (None: now)."""
        player = members.text(call.content, "player", members.PLAYER)
        code = members.currency(call.content, self.books.currencies)
        return answered(self.balance_of(player, code, instant))

    def balance_of(self, player: str, code: str, instant: int | None) -> dict[str, Any]:
        """A balance as the contract shows it; zero for one never seen."""
        account = next((each for _, kept, each in self.books.accounts(player) if kept == code), Account())
        return self._row(player, code, account, instant)

    def _balances(self, call: Call) -> Answer:
        return self.balances(call, None)

    def balances(self, call: Call, instant: int | None) -> Answer:
        """One page of everybody's balances as of an instant (None: now)."""
        code = members.currency(call.content, self.books.currencies)
        limit = members.whole(call.content, "limit", 1, members.LARGEST_PAGE)
        after = members.text(call.content, "after", members.PLAYER) if "after" in call.content else ""
        rows = [(player, each) for player, kept, each in self.books.accounts() if kept == code and player > after]
        page = [self._row(player, code, account, instant) for player, account in rows[:limit]]
        return answered({"balances": page, "next": page[-1]["player"] if len(rows) > limit else None})

    def _row(self, player: str, code: str, account: Account, instant: int | None) -> dict[str, Any]:
        available = (account.as_of(instant) or (0, 0))[1]
        time = self.books.clock() if instant is None else instant
        amount = self.books.currencies.text(available, code)
        return {"player": player, "currency": code, "amount": amount, "time": rfc3339(time)}

    def _feed(self, call: Call) -> Answer:
        after, limit = self.asked_of_feed(call)
        return self.feed(self.books.changes(after), limit)

    @staticmethod
    def asked_of_feed(call: Call) -> tuple[int, int]:
        """(after, limit); raises Refused."""
        after = members.whole(call.content, "after", 0)
        return after, members.whole(call.content, "limit", 1, members.LARGEST_PAGE)

    def feed(self, rows: Sequence[tuple[int, Transfer]], limit: int) -> Answer:
        """One page of these changes."""
        page = rows[:limit]
        entries = [{"position": at, "transfer": self.shown(each, each.now)} for at, each in page]
        return answered({"entries": entries, "next": page[-1][0] if len(rows) > limit else None})

    # --- tell --------------------------------------------------------------------------------------

    def shown(self, transfer: Transfer, status: Status) -> dict[str, Any]:
        """A transfer with one of its statuses, as the contract shows it."""
        terms, texts = transfer.terms, self.books.currencies.text
        told: dict[str, Any] = {
            "id": terms.reference,
            "player": terms.player,
            "direction": members.DIRECTIONS[terms.type],
            "amount": texts(status.amount, terms.currency),
        }
        if status.amount != terms.amount:
            told["requested"] = texts(terms.amount, terms.currency)
        told |= {"currency": terms.currency, "provider_id": transfer.id, "status": status.name}
        told |= {"code": status.code} if status.code else {}
        told |= {"sequence": status.sequence, "time": rfc3339(status.at)}
        return told if status.balance is None else told | {"balance": texts(status.balance, terms.currency)}

    def told(self, reference: str) -> dict[str, Any] | None:
        """A transfer as the control port shows it."""
        transfer = self.books.by_reference(reference)
        if transfer is None:
            return None
        terms, now = transfer.terms, transfer.now
        return {
            "id": transfer.id,
            "reference": terms.reference,
            "type": terms.type,
            "player": terms.player,
            "currency": terms.currency,
            "amount": self.books.currencies.text(terms.amount, terms.currency),
            "status": now.name,
            "sequence": now.sequence,
            "code": now.code,
            "at": unix_text(now.at),
        }


def _same(known: Transfer, terms: Terms) -> None:
    """Promise 1: an id means one transfer for ever."""
    if known.terms != terms:
        raise Refused("id_reused", "this id was used for another transfer")


def _text(data: Any, name: str) -> str:
    """A string member of a message that is not validated yet; "" where there is none."""
    value = data.get(name)
    return value if isinstance(value, str) else ""
