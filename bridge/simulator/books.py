"""The provider's own books: what its players own, what is reserved, and every transfer's one life.

The ledger file is the truth and is written first; the state in memory is what replaying the file gives.
Only `completed` and `result` change what a player owns. A DEBIT's reservation is derived: prepared and
not yet final.
"""

from __future__ import annotations

import heapq
import threading
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from bridge.simulator.journal import Journal, UnreadableLedger
from bridge.simulator.messages import Currencies, unix_instant, unix_text

CREDIT, DEBIT = "CREDIT", "DEBIT"
PENDING, COMPLETED, CANCELLED = "PENDING", "COMPLETED", "CANCELLED"
REMEMBERED_CHANGES = 256  # per account, for stale answers: far more than change within any staleness shown


class Refused(Exception):
    """The books refuse; `code` is the protocol's error code (protocols.md §1.1), the text its message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Terms:
    """What a prepare asks for; the amount in minor units."""

    type: str
    reference: str
    player: str
    currency: str
    amount: int


@dataclass(frozen=True)
class Transfer:
    """One transfer, pending or final; times in microseconds since 1970."""

    id: str
    terms: Terms
    initiated: int
    status: str = PENDING
    finalized: int | None = None


@dataclass
class Account:
    """One player's money in one currency, in minor units, and how `available` came to be."""

    owned: int = 0
    reserved: int = 0
    history: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=REMEMBERED_CHANGES))

    @property
    def available(self) -> int:
        """What the player can stake or withdraw; the balance that the protocol tells."""
        return self.owned - self.reserved

    def as_of(self, instant: int | None) -> tuple[int, int] | None:
        """(time of the last change, available) as of then, or now for None; None before the first change."""
        for changed, available in reversed(self.history):
            if instant is None or changed <= instant:
                return changed, available
        return None


class Books:
    """The ledger file and what it says. Each method is one step under one lock; fsync comes first."""

    def __init__(self, journal: Journal, currencies: Currencies, expiry: int, clock: Callable[[], int]) -> None:
        """`expiry` in microseconds; `clock` tells microseconds since 1970. Raises UnreadableLedger."""
        self.currencies, self.expiry, self.clock = currencies, expiry, clock
        self.lock = threading.RLock()
        self.when_cancelled: Callable[[Transfer, str], None] = lambda _transfer, _by: None
        self._journal = journal
        self._seq = 0
        self._transfers: dict[str, Transfer] = {}
        self._ids: dict[str, str] = {}
        self._last_of_player: dict[str, str] = {}
        self._accounts: dict[tuple[str, str], Account] = {}
        self._deadlines: list[tuple[int, str]] = []
        self._postponed: dict[str, int] = {}
        self._replay()

    # --- what the file says ------------------------------------------------------------------------

    def _replay(self) -> None:
        for entry in self._journal.lines():
            try:
                if entry["seq"] != self._seq + 1:
                    raise ValueError("a gap in the sequence")
                self._apply(entry, unix_instant(entry["at"]))
            except (KeyError, TypeError, ValueError, ArithmeticError) as error:
                place = f"{self._journal.path}, entry {self._seq + 1}"
                raise UnreadableLedger(f"{place}, cannot be understood: {error}.") from error
            self._seq = entry["seq"]

    def _write(self, kind: str, content: dict[str, Any], now: int) -> None:
        """Durable first, then true: the file is fsynced before memory changes or anyone is answered."""
        entry = {"seq": self._seq + 1, "at": unix_text(now), "kind": kind, **content}
        self._journal.append(entry)
        self._seq += 1
        self._apply(entry, now)

    def _apply(self, entry: dict[str, Any], at: int) -> None:
        kind = entry["kind"]
        amount = self.currencies.minor(Decimal(entry["amount"]), entry["currency"])
        account = self._account(entry["player"], entry["currency"])
        if kind == "prepared":
            names = (entry["type"], entry["reference"], entry["player"], entry["currency"])
            self._begin(Transfer(entry["id"], Terms(*names, amount), at), account)
        elif kind == "result":
            account.owned += amount
        elif kind in ("completed", "cancelled"):
            self._end(entry["id"], COMPLETED if kind == "completed" else CANCELLED, at, account)
        else:
            raise ValueError(f"the kind {kind!r}")
        if "balance" in entry and entry["balance"] != self.currencies.text(account.owned, entry["currency"]):
            raise ValueError("the balance does not follow from the entries before it")
        account.history.append((at, account.available))

    def _begin(self, transfer: Transfer, account: Account) -> None:
        terms = transfer.terms
        self._transfers[transfer.id] = transfer
        self._ids[terms.reference] = transfer.id
        self._last_of_player[terms.player] = transfer.id
        heapq.heappush(self._deadlines, (transfer.initiated + self.expiry, transfer.id))
        if terms.type == DEBIT:
            account.reserved += terms.amount

    def _end(self, transfer_id: str, status: str, at: int, account: Account) -> None:
        transfer = self._transfers[transfer_id]
        if transfer.status != PENDING:
            raise ValueError("a final state cannot change")
        terms = transfer.terms
        if terms.type == DEBIT:
            account.reserved -= terms.amount
        if status == COMPLETED:
            account.owned += terms.amount if terms.type == CREDIT else -terms.amount
        self._transfers[transfer_id] = replace(transfer, status=status, finalized=at)

    def _account(self, player: str, currency: str) -> Account:
        if currency not in self.currencies:
            raise ValueError(f"the currency {currency!r} is not kept")
        return self._accounts.setdefault((player, currency), Account())

    # --- what may happen ---------------------------------------------------------------------------

    def prepare(self, terms: Terms, *, overlook_reservations: bool = False) -> Transfer:
        """Open a transfer, or return the one that this reference already opened. Raises Refused.

        `overlook_reservations` is the broken check-then-update of case 30: only what is owned is looked at.
        """
        with self.lock:
            self.settle_due()
            earlier = self.by_reference(terms.reference)
            if earlier is not None:
                return _replayed(earlier, terms)
            account = self._accounts.get((terms.player, terms.currency), Account())
            free = account.owned if overlook_reservations else account.available
            if terms.type == DEBIT and free < terms.amount:
                raise Refused("INSUFFICIENT_FUNDS", "The player does not have that much.")
            transfer_id = str(uuid.uuid4())
            self._write("prepared", self._content(transfer_id, terms), self.clock())
            return self._transfers[transfer_id]

    def finish(self, transfer_id: str, status: str) -> Transfer:
        """Complete or cancel; the same again gives the same. Raises Refused."""
        with self.lock:
            self.settle_due()
            transfer = self._transfers.get(transfer_id)
            if transfer is None:
                raise Refused("TRANSFER_NOT_FOUND", "There is no such transfer.")
            if transfer.status == PENDING:
                return self._finish(transfer, status, "request", self.clock())
            if transfer.status != status:
                raise Refused("STATUS_CONFLICT", f"The transfer is {transfer.status}.")
            return transfer

    def _finish(self, transfer: Transfer, status: str, by: str, now: int) -> Transfer:
        terms = transfer.terms
        content = self._content(transfer.id, terms)
        if status == COMPLETED:
            owned = self._account(terms.player, terms.currency).owned
            owned += terms.amount if terms.type == CREDIT else -terms.amount
            self._write("completed", content | {"balance": self.currencies.text(owned, terms.currency)}, now)
        else:
            self._write("cancelled", content | {"by": by}, now)
            self.when_cancelled(transfer, by)
        self._postponed.pop(transfer.id, None)
        return self._transfers[transfer.id]

    def postpone(self, transfer_id: str, seconds: float) -> bool:
        """Complete this pending transfer later; until then it does not expire. False if it is not pending."""
        with self.lock:
            self.settle_due()
            transfer = self._transfers.get(transfer_id)
            if transfer is None or transfer.status != PENDING:
                return False
            self._postponed.setdefault(transfer_id, self.clock() + int(seconds * 1_000_000))
            return True

    def play(self, player: str, currency: str, amount: int) -> int:
        """Book a win (positive) or loss; returns what is then owned. Raises Refused below zero available."""
        with self.lock:
            self.settle_due()
            account = self._accounts.get((player, currency), Account())
            if account.available + amount < 0:
                raise Refused("INSUFFICIENT_FUNDS", "The player cannot lose more than is available.")
            texts = [self.currencies.text(units, currency) for units in (amount, account.owned + amount)]
            content = {"player": player, "currency": currency, "amount": texts[0], "balance": texts[1]}
            self._write("result", content, self.clock())
            return self._accounts[(player, currency)].owned

    def settle_due(self) -> None:
        """Do what time has decided: postponed completes first, then the expiry of what nobody finished."""
        with self.lock:
            now = self.clock()
            for transfer_id, due in list(self._postponed.items()):
                if due <= now:
                    self._finish(self._transfers[transfer_id], COMPLETED, "request", now)
            while self._deadlines and self._deadlines[0][0] <= now:
                transfer = self._transfers[heapq.heappop(self._deadlines)[1]]
                if transfer.status == PENDING and transfer.id not in self._postponed:
                    self._finish(transfer, CANCELLED, "expiry", now)

    def _content(self, transfer_id: str, terms: Terms) -> dict[str, Any]:
        amount = self.currencies.text(terms.amount, terms.currency)
        names = {"reference": terms.reference, "type": terms.type, "player": terms.player}
        return {"id": transfer_id, **names, "currency": terms.currency, "amount": amount}

    # --- what can be read --------------------------------------------------------------------------

    def by_id(self, transfer_id: str) -> Transfer | None:
        """The transfer with the provider's id, as it stands now."""
        with self.lock:
            self.settle_due()
            return self._transfers.get(transfer_id)

    def by_reference(self, reference: str) -> Transfer | None:
        """The transfer with the operator's reference; the protocol itself has no such look-up."""
        with self.lock:
            self.settle_due()
            return self._transfers.get(self._ids.get(reference, ""))

    def last_of_player(self, player: str) -> Transfer | None:
        """The player's newest transfer."""
        with self.lock:
            return self._transfers.get(self._last_of_player.get(player, ""))

    def older_of_player(self, player: str, transfer_id: str) -> Transfer | None:
        """Another transfer of the same player, begun before; the newest of these."""
        with self.lock:
            known = self._transfers[transfer_id]
            for older in reversed(self._transfers.values()):
                if older.terms.player == player and older.id != known.id and older.initiated <= known.initiated:
                    return older
            return None

    def another_player(self, player: str) -> str:
        """Some player who is not this one; an invented one where nobody else is known."""
        with self.lock:
            return next((name for name, _ in self._accounts if name != player), f"{player[:30]}-x")

    def players_last(self) -> list[Transfer]:
        """The newest transfer of every player."""
        with self.lock:
            return [self._transfers[transfer_id] for transfer_id in self._last_of_player.values()]

    def deadline(self, transfer: Transfer) -> int:
        """The instant at which the transfer, left alone, is cancelled."""
        return transfer.initiated + self.expiry

    def accounts(self, player: str | None = None) -> list[tuple[str, str, Account]]:
        """(player, currency, a copy of the account), sorted; all of them, or one player's."""
        with self.lock:
            self.settle_due()
            names = sorted(key for key in self._accounts if player is None or key[0] == player)
            return [(*key, replace(self._accounts[key], history=self._accounts[key].history.copy())) for key in names]


def _replayed(earlier: Transfer, terms: Terms) -> Transfer:
    """The protocol's idempotency: the same answer while pending, a conflict for ever after."""
    if earlier.status != PENDING:
        raise Refused("STATUS_CONFLICT", "This referenceId belongs to a transfer that is final.")
    if earlier.terms != terms:
        raise Refused("VALIDATION_ERROR", "This referenceId was used with different content.")
    return earlier
