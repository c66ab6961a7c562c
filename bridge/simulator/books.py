"""A provider's books, whatever it speaks: the ledger file, and what it says that each player owns.

The file is the truth and is written first; the state in memory is what replaying the file gives. Each
protocol's books add the life of its transfers.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Generic, Protocol, TypeVar

from bridge.simulator.journal import Journal, UnreadableLedger
from bridge.simulator.messages import Currencies, unix_instant, unix_text

CREDIT, DEBIT = "CREDIT", "DEBIT"  # as the player's account at the provider sees it
REMEMBERED_CHANGES = 256  # per account, for stale answers: far more than change within any staleness shown


class Refused(Exception):
    """The books refuse; `code` is the protocol's own error code, the text its message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Terms:
    """What a transfer is to do; the amount in minor units."""

    type: str
    reference: str
    player: str
    currency: str
    amount: int


class Recorded(Protocol):
    """A transfer of any protocol."""

    @property
    def id(self) -> str:
        """The provider's own name of it."""

    @property
    def terms(self) -> Terms:
        """What was asked for."""


T = TypeVar("T", bound=Recorded)


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


@dataclass(frozen=True)
class Line:
    """One line of the ledger file, its amount in minor units, its time in microseconds, and whose account it names."""

    entry: dict[str, Any]
    amount: int
    at: int
    account: Account

    @property
    def terms(self) -> Terms:
        """The transfer that the line is about."""
        entry = self.entry
        return Terms(entry["type"], entry["reference"], entry["player"], entry["currency"], self.amount)


class Books(Generic[T]):
    """The ledger file and what it says. Each method is one step under one lock; fsync comes first."""

    def __init__(self, journal: Journal, currencies: Currencies, expiry: int, clock: Callable[[], int]) -> None:
        """`expiry`, in microseconds, is the time in which the protocol lets a transfer stay pending; `clock`
        tells microseconds since 1970.
        """
        self.currencies, self.expiry, self.clock = currencies, expiry, clock
        self.lock = threading.RLock()
        self._journal = journal
        self._seq = 0
        self._transfers: dict[str, T] = {}  # the oldest first
        self._last_of_player: dict[str, T] = {}
        self._accounts: dict[tuple[str, str], Account] = {}

    # --- what the file says ------------------------------------------------------------------------

    def replay(self) -> None:
        """Read the file into memory, before anything else; raises UnreadableLedger."""
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
        amount = self.currencies.minor(Decimal(entry["amount"]), entry["currency"])
        account = self._account(entry["player"], entry["currency"])
        if entry["kind"] == "result":
            account.owned += amount
        else:
            self._follow(Line(entry, amount, at, account))
        if "balance" in entry and entry["balance"] != self.currencies.text(account.owned, entry["currency"]):
            raise ValueError("the balance does not follow from the entries before it")
        account.history.append((at, account.available))

    def _follow(self, line: Line) -> None:
        """What a line of the protocol's own kinds changes; raises ValueError for one that cannot be."""
        raise ValueError(f"the kind {line.entry['kind']!r}")

    def _keep(self, key: str, transfer: T) -> None:
        """Remember a transfer that a line has begun or changed."""
        player = transfer.terms.player
        if key not in self._transfers or self._last_of_player[player].id == transfer.id:
            self._last_of_player[player] = transfer
        self._transfers[key] = transfer

    def _account(self, player: str, currency: str) -> Account:
        if currency not in self.currencies:
            raise ValueError(f"the currency {currency!r} is not kept")
        return self._accounts.setdefault((player, currency), Account())

    def _content(self, transfer_id: str, terms: Terms) -> dict[str, Any]:
        """How a transfer stands in a line."""
        amount = self.currencies.text(terms.amount, terms.currency)
        names = {"reference": terms.reference, "type": terms.type, "player": terms.player}
        return {"id": transfer_id, **names, "currency": terms.currency, "amount": amount}

    # --- what may happen ---------------------------------------------------------------------------

    def play(self, player: str, currency: str, amount: int) -> int:
        """Book a win (positive) or loss; returns what is then owned. Raises Refused below zero available."""
        with self.lock:
            self.settle_due()
            account = self._accounts.get((player, currency), Account())
            if amount < 0 and account.available + amount < 0:
                raise Refused("INSUFFICIENT_FUNDS", "The player cannot lose more than is available.")
            texts = [self.currencies.text(units, currency) for units in (amount, account.owned + amount)]
            content = {"player": player, "currency": currency, "amount": texts[0], "balance": texts[1]}
            self._write("result", content, self.clock())
            return self._accounts[(player, currency)].owned

    def settle_due(self) -> None:
        """Do what time has decided; the protocol's own books know what that is."""

    # --- what can be read --------------------------------------------------------------------------

    def by_reference(self, reference: str) -> T | None:
        """The transfer with the operator's reference, as it stands now; here the references are the keys."""
        with self.lock:
            self.settle_due()
            return self._transfers.get(reference)

    def last_of_player(self, player: str) -> T | None:
        """The player's newest transfer."""
        with self.lock:
            return self._last_of_player.get(player)

    def players_last(self) -> list[T]:
        """The newest transfer of every player."""
        with self.lock:
            return list(self._last_of_player.values())

    def older_of_player(self, player: str, transfer_id: str) -> T | None:
        """A transfer of the same player that was begun before the one with this id; the newest of these."""
        with self.lock:
            older = None
            for transfer in self._transfers.values():
                if transfer.id == transfer_id:
                    return older
                if transfer.terms.player == player:
                    older = transfer
            return None

    def another_player(self, player: str) -> str:
        """Some player who is not this one; an invented one where nobody else is known."""
        with self.lock:
            return next((name for name, _ in self._accounts if name != player), f"{player[:30]}-x")

    def available(self, player: str, currency: str) -> int:
        """What the player can withdraw, in minor units; zero for one never seen."""
        with self.lock:
            self.settle_due()
            return self._accounts.get((player, currency), Account()).available

    def accounts(self, player: str | None = None) -> list[tuple[str, str, Account]]:
        """(player, currency, a copy of the account), sorted; all of them, or one player's."""
        with self.lock:
            self.settle_due()
            names = sorted(key for key in self._accounts if player is None or key[0] == player)
            return [(*key, replace(self._accounts[key], history=self._accounts[key].history.copy())) for key in names]
