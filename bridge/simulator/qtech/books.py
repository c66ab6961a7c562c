"""QTech's books: prepared, then completed or cancelled, by request or because nobody came in time.

Only `completed` and `result` change what a player owns. A DEBIT's reservation is derived: prepared and
not yet final.
"""

from __future__ import annotations

import heapq
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace

from bridge.simulator.books import CREDIT, DEBIT, Account, Books, Line, Refused, Terms
from bridge.simulator.journal import Journal
from bridge.simulator.messages import MICROS, Currencies

PENDING, COMPLETED, CANCELLED = "PENDING", "COMPLETED", "CANCELLED"


@dataclass(frozen=True)
class Transfer:
    """One transfer, pending or final; times in microseconds since 1970."""

    id: str
    terms: Terms
    initiated: int
    status: str = PENDING
    finalized: int | None = None


class QTechBooks(Books[Transfer]):
    """Transfers by the provider's id."""

    def __init__(self, journal: Journal, currencies: Currencies, expiry: int, clock: Callable[[], int]) -> None:
        """As the books of every protocol. Raises UnreadableLedger."""
        super().__init__(journal, currencies, expiry, clock)
        self.when_cancelled: Callable[[Transfer, str], None] = lambda _transfer, _by: None
        self._ids: dict[str, str] = {}
        self._deadlines: list[tuple[int, str]] = []
        self._postponed: dict[str, int] = {}
        self.replay()

    # --- what the file says ------------------------------------------------------------------------

    def _follow(self, line: Line) -> None:
        kind, transfer_id = line.entry["kind"], line.entry["id"]
        if kind == "prepared":
            self._begin(transfer_id, line)
        elif kind in ("completed", "cancelled"):
            self._end(transfer_id, COMPLETED if kind == "completed" else CANCELLED, line)
        else:
            super()._follow(line)

    def _begin(self, transfer_id: str, line: Line) -> None:
        transfer = Transfer(transfer_id, line.terms, line.at)
        self._keep(transfer_id, transfer)
        self._ids[transfer.terms.reference] = transfer_id
        heapq.heappush(self._deadlines, (self.deadline(transfer), transfer_id))
        if transfer.terms.type == DEBIT:
            line.account.reserved += line.amount

    def _end(self, transfer_id: str, status: str, line: Line) -> None:
        transfer = self._transfers[transfer_id]
        if transfer.status != PENDING:
            raise ValueError("a final state cannot change")
        terms = transfer.terms
        if terms.type == DEBIT:
            line.account.reserved -= terms.amount
        if status == COMPLETED:
            line.account.owned += terms.amount if terms.type == CREDIT else -terms.amount
        self._keep(transfer_id, replace(transfer, status=status, finalized=line.at))

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
            self._postponed.setdefault(transfer_id, self.clock() + int(seconds * MICROS))
            return True

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

    def deadline(self, transfer: Transfer) -> int:
        """The instant at which the transfer, left alone, is cancelled."""
        return transfer.initiated + self.expiry


def _replayed(earlier: Transfer, terms: Terms) -> Transfer:
    """The protocol's idempotency: the same answer while pending, a conflict for ever after."""
    if earlier.status != PENDING:
        raise Refused("STATUS_CONFLICT", "This referenceId belongs to a transfer that is final.")
    if earlier.terms != terms:
        raise Refused("VALIDATION_ERROR", "This referenceId was used with different content.")
    return earlier
