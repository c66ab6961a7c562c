"""The books of the contract: each transfer with its statuses, and the money, which need not agree with them.

A line's kind says both what moved and which status it brought: `pending`, `refused`, `cancelled` move
nothing, `completed` moves and confirms, `taken_back` moves back and cancels. A provider whose records
and wallet part ways writes `recorded` (confirmed, nothing moved), or a `completed` or `taken_back` with
`"unrecorded": true` (moved, no status): the money is always told by the kind alone.
"""

from __future__ import annotations

import heapq
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from bridge.simulator.books import CREDIT, Books, Line, Refused, Terms
from bridge.simulator.journal import Journal
from bridge.simulator.messages import MICROS, Currencies

PENDING, CONFIRMED, REFUSED, CANCELLED = "pending", "confirmed", "refused", "cancelled"
STATUS_OF = {
    "pending": PENDING,
    "completed": CONFIRMED,
    "recorded": CONFIRMED,
    "refused": REFUSED,
    "cancelled": CANCELLED,
    "taken_back": CANCELLED,
}
MOVES = {"completed": 1, "taken_back": -1}
NEXT: dict[str, tuple[str, ...]] = {  # contract §2, promise 2
    "": (PENDING, CONFIRMED, REFUSED, CANCELLED),
    PENDING: (CONFIRMED, REFUSED, CANCELLED),
    CONFIRMED: (CANCELLED,),
    REFUSED: (),
    CANCELLED: (),
}


@dataclass(frozen=True)
class Status:
    """One status of a transfer. `amount` is what moved, or would have, in minor units; `at` in microseconds."""

    name: str
    sequence: int
    at: int
    amount: int
    code: str = ""
    balance: int | None = None


@dataclass(frozen=True)
class Transfer:
    """One transfer with all its statuses, the oldest first."""

    id: str
    terms: Terms
    history: tuple[Status, ...]
    for_ever: bool = False  # a pending that nobody will ever decide

    @property
    def now(self) -> Status:
        """The status it has."""
        return self.history[-1]

    @property
    def original(self) -> Status:
        """The first that was not pending: the answer to every repetition (promise 1)."""
        return next((status for status in self.history if status.name != PENDING), self.now)


@dataclass(frozen=True)
class Plan:
    """Something that will happen to a transfer at an instant, unless the process dies first."""

    due: int
    reference: str
    act: Callable[[], object]


class GenericBooks(Books[Transfer]):
    """Transfers by the operator's id."""

    def __init__(self, journal: Journal, currencies: Currencies, expiry: int, clock: Callable[[], int]) -> None:
        """As the books of every protocol: what is pending for longer than `expiry` is cancelled (promise 4).
        Raises UnreadableLedger.
        """
        super().__init__(journal, currencies, expiry, clock)
        self.when_changed: Callable[[Transfer], None] = lambda _transfer: None
        self._changes: list[Transfer] = []  # as they were at each change of status: the feed
        self._moved: Counter[str] = Counter()  # by reference, in minor units; what was taken back is taken off
        self._deadlines: list[tuple[int, str]] = []
        self._plans: list[Plan] = []
        self.replay()

    # --- what the file says ------------------------------------------------------------------------

    def _follow(self, line: Line) -> None:
        kind, terms = line.entry["kind"], line.terms
        if kind not in STATUS_OF:
            super()._follow(line)
        moved = MOVES.get(kind, 0) * line.amount
        line.account.owned += moved if terms.type == CREDIT else -moved
        self._moved[terms.reference] += moved
        if not line.entry.get("unrecorded"):
            self._change(line, terms)

    def _change(self, line: Line, terms: Terms) -> None:
        entry, known = line.entry, self._transfers.get(line.entry["reference"])
        if "requested" in entry:
            terms = replace(terms, amount=self.currencies.minor(Decimal(entry["requested"]), terms.currency))
        name, history = STATUS_OF[entry["kind"]], known.history if known else ()
        if name not in NEXT[history[-1].name if history else ""]:
            raise ValueError("a final state cannot change")
        if known and (known.id, known.terms) != (entry["id"], terms):
            raise ValueError("the transfer is not the one it was")
        if entry["sequence"] != len(history) + 1:
            raise ValueError("a gap in the transfer's sequence")
        amount = line.amount if name == CONFIRMED else terms.amount
        balance = line.account.owned if "balance" in entry else None
        status = Status(name, entry["sequence"], line.at, amount, entry.get("code", ""), balance)
        transfer = Transfer(entry["id"], terms, (*history, status), entry.get("for_ever", False))
        self._keep(terms.reference, transfer)
        self._changes.append(transfer)
        if name == PENDING:
            heapq.heappush(self._deadlines, (line.at + self.expiry, terms.reference))

    def _put(self, kind: str, terms: Terms, *, moved: int | None = None, **more: Any) -> None:
        """Write one line about a transfer; `moved` where it is not all that was requested."""
        known = self._transfers.get(terms.reference)
        amount = terms.amount if moved is None else moved
        content = self._content(known.id if known else f"W-{uuid.uuid4().hex[:16]}", replace(terms, amount=amount))
        if amount != terms.amount:
            content["requested"] = self.currencies.text(terms.amount, terms.currency)
        if not more.get("unrecorded"):
            content["sequence"] = len(known.history) + 1 if known else 1
        if kind != "pending":
            effect = MOVES.get(kind, 0) * amount
            owned = self._account(terms.player, terms.currency).owned + (effect if terms.type == CREDIT else -effect)
            content["balance"] = self.currencies.text(owned, terms.currency)
        self._write(kind, content | more, self.clock())

    def _bring(self, kind: str, terms: Terms, **more: Any) -> Transfer:
        """Change a transfer's status, and say so; the same under the lock of whoever calls."""
        with self.lock:
            self._put(kind, terms, **more)
            transfer = self._transfers[terms.reference]
            self.when_changed(transfer)
            return transfer

    # --- what may happen to a status; none of these asks whether it is wise ------------------------

    def execute(self, terms: Terms, *, moved: int | None = None) -> Transfer:
        """Move the money (or part of it) and confirm."""
        return self._bring("completed", terms, moved=moved)

    def refuse(self, terms: Terms, code: str) -> Transfer:
        """Final, nothing moved."""
        return self._bring("refused", terms, code=code)

    def pend(self, terms: Terms, *, for_ever: bool = False) -> Transfer:
        """Received and not decided; cancelled after the expiry unless something is planned, or for ever."""
        return self._bring("pending", terms, **({"for_ever": True} if for_ever else {}))

    def record(self, terms: Terms) -> Transfer:
        """Confirmed on record; the wallet has not moved."""
        return self._bring("recorded", terms)

    def cancel(self, terms: Terms, by: str) -> Transfer:
        """The transfer after a cancel: an unknown one is remembered as cancelled, a decided one stays (promise 3), and
        so does one that is pending for ever, unless the provider itself ends it.
        """
        with self.lock:
            known = self.by_reference(terms.reference)
            if known and (known.now.name != PENDING or (known.for_ever and by == "request")):
                return known
            return self._bring("cancelled", terms, by=by)

    def take_back(self, reference: str) -> Transfer:
        """Undo a confirmed transfer, as far as it has moved; raises Refused where there is none."""
        with self.lock:
            known = self.by_reference(reference)
            if known is None or known.now.name != CONFIRMED:
                raise Refused("not_confirmed", "Only a confirmed transfer can be taken back.")
            if not self._moved[reference]:
                return self._bring("cancelled", known.terms, by="provider")
            return self._bring("taken_back", known.terms, moved=known.now.amount)

    # --- what may happen to the money without a status ---------------------------------------------

    def move(self, terms: Terms) -> None:
        """The wallet moves, and nobody writes it down."""
        with self.lock:
            self._put("completed", terms, unrecorded=True)

    def move_back(self, terms: Terms) -> None:
        """The wallet moves back, and nobody writes it down."""
        with self.lock:
            self._put("taken_back", terms, unrecorded=True)

    # --- time --------------------------------------------------------------------------------------

    def later(self, reference: str, seconds: float, act: Callable[[], object]) -> None:
        """Plan something for a transfer; forgotten when the process dies."""
        with self.lock:
            self._plans.append(Plan(self.clock() + int(seconds * MICROS), reference, act))

    def settle_due(self) -> None:
        """Do what was planned, then cancel what has been pending for too long and has no plan."""
        with self.lock:
            now = self.clock()
            due = [plan for plan in self._plans if plan.due <= now]
            self._plans = [plan for plan in self._plans if plan.due > now]
            for plan in due:
                plan.act()
            while self._deadlines and self._deadlines[0][0] <= now:
                transfer = self._transfers[heapq.heappop(self._deadlines)[1]]
                planned = any(plan.reference == transfer.terms.reference for plan in self._plans)
                if transfer.now.name == PENDING and not transfer.for_ever and not planned:
                    self._bring("cancelled", transfer.terms, by="deadline")

    # --- what can be read --------------------------------------------------------------------------

    def changed_most(self) -> Transfer | None:
        """The transfer with the most changes of status, if there is any; the newest of these."""
        with self.lock:
            return max(reversed(self._transfers.values()), key=lambda each: each.now.sequence, default=None)

    def changes(self, after: int = 0) -> list[tuple[int, Transfer]]:
        """(position, transfer as it was then) of every change of status after a position, the oldest first."""
        with self.lock:
            self.settle_due()
            return list(enumerate(self._changes[after:], after + 1))
