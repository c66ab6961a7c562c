"""What the provider tells the bridge unasked: one letter for each end of a transfer, told truly or as case 53."""

from __future__ import annotations

import json
import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from bridge.simulator.faults.cases import CALLBACK
from bridge.simulator.faults.choice import Choice, Strike
from bridge.simulator.generic.books import CANCELLED, CONFIRMED, Status, Transfer
from bridge.simulator.generic.lies.wrong import wrong_amount
from bridge.simulator.generic.outbox import Letter, Outbox
from bridge.simulator.generic.protocol import Generic
from bridge.simulator.journal import CallbackDiary, FaultDiary
from bridge.simulator.messages import Request
from bridge.simulator.provider import Call

TOLD = {CONFIRMED: "transfer.confirmed", CANCELLED: "transfer.cancelled"}
OPPOSITE = {CONFIRMED: CANCELLED, CANCELLED: CONFIRMED}
OF_A_CONFIRMATION = ("order", "another")
REPORTED = "balance.reported"
DUPLICATE_SECONDS = 0.1
ROUNDS = 10  # of a storm
OLD_SECONDS = 3600
NO_REQUEST = Request("", "", {}, {}, b"")


def body(kind: str, data: Any) -> bytes:
    """A message with spaces, so that writing it anew changes it."""
    return json.dumps({"type": kind, "data": data}).encode()


def anew(content: bytes) -> bytes:
    """The same JSON in other bytes: without spaces, in another order."""
    return json.dumps(json.loads(content), separators=(",", ":"), sort_keys=True).encode()


@dataclass
class Caller:
    """Makes letters of changes. It is called by the books, under their lock, and only fills the outbox."""

    provider: Generic
    choice: Choice
    outbox: Outbox
    faults: FaultDiary
    diary: CallbackDiary
    _posted: set[str] = field(default_factory=set)
    _held: dict[str, Letter] = field(default_factory=dict)

    def call_to(self, url: str | None) -> None:
        """Send callbacks there from now on, and first what was never taken; None: send none."""
        with self.provider.books.lock:
            if url is None:
                self.outbox.drop()
                self._posted.clear()
                self._held.clear()
                return
            self.outbox.url = url
            for _, transfer in self.provider.books.changes():
                self.changed(transfer)

    def changed(self, transfer: Transfer) -> None:
        """A transfer has a new status; only two of them are told."""
        if self.outbox.url is None or transfer.now.name not in TOLD:
            return
        letter = self.letter(transfer, transfer.now)
        if letter.id in self._posted or self.diary.settled(letter.id):
            return
        self._posted.add(letter.id)
        held = self._held.pop(transfer.terms.reference, None)
        if held is not None:
            self.outbox.put(replace(letter, then=held))
        elif not self._lied(transfer, letter):
            self.outbox.put(letter)

    def _lied(self, transfer: Transfer, letter: Letter) -> bool:
        """Tell it as case 53 wants it told, if that is what the script or the rate holds."""
        strike = self._struck(transfer)
        if strike is None:
            return False
        variant = strike.params.get("variant") or strike.chance.choice(tuple(LIES))
        if variant in OF_A_CONFIRMATION and transfer.now.name != CONFIRMED:
            self.choice.give_back(strike)
            return False
        terms = transfer.terms
        self.faults.shown(strike.case, CALLBACK, terms.reference, transfer.id, terms.player)
        delay = float(strike.params.get("delay", self.choice.table.by_number[strike.case].delay))
        LIES[variant](self, transfer, letter, strike, delay)
        return True

    def letter(self, transfer: Transfer, ended: Status, **changes: Any) -> Letter:
        """The letter about one status, with some members as they are not."""
        data = self.provider.shown(transfer, ended)
        if "balance" not in data:
            terms = transfer.terms
            available = self.provider.books.available(terms.player, terms.currency)
            data["balance"] = self.provider.books.currencies.text(available, terms.currency)
        data |= changes
        kind = TOLD[data["status"]]
        return Letter(f"evt_{transfer.id}_{ended.sequence}", kind, data["id"], body(kind, data))

    def report(self, player: str, currency: str) -> None:
        """Tell a balance."""
        data = self.provider.balance_of(player, currency, None)
        self.outbox.put(Letter(f"evt_{uuid.uuid4().hex}", REPORTED, "", body(REPORTED, data)))

    def _struck(self, transfer: Transfer) -> Strike | None:
        """By rate the first letter of a transfer only."""
        terms = transfer.terms
        call = Call(CALLBACK, NO_REQUEST, terms.reference, transfer.id, terms.player, terms.type)
        attempt = sum(status.name in TOLD for status in transfer.history)
        return self.choice.take(call, attempt, (terms.reference, terms.type))

    def hold(self, reference: str, letter: Letter) -> None:
        """Keep a letter back until the transfer's next one has gone out."""
        self._held[reference] = letter


Lie = Callable[[Caller, Transfer, Letter, Strike, float], None]


def _twice_over(caller: Caller, _transfer: Transfer, letter: Letter, _strike: Strike, _delay: float) -> None:
    caller.outbox.put(letter)
    caller.outbox.put(letter, DUPLICATE_SECONDS)


def _out_of_order(caller: Caller, transfer: Transfer, letter: Letter, _strike: Strike, delay: float) -> None:
    """Truly taken back a little later; the end is told first, and then the confirmation."""
    reference, books = transfer.terms.reference, caller.provider.books

    def take_back() -> None:
        known = books.by_reference(reference)
        if known is not None and known.now.name == CONFIRMED:
            books.take_back(reference)

    caller.hold(reference, letter)
    books.later(reference, delay, take_back)


def _delayed(caller: Caller, _transfer: Transfer, letter: Letter, _strike: Strike, delay: float) -> None:
    caller.outbox.put(letter, delay)


def _other_amount(caller: Caller, transfer: Transfer, _letter: Letter, strike: Strike, _delay: float) -> None:
    amount = strike.params.get("amount") or wrong_amount(caller.provider, transfer.terms, None, strike.chance)
    caller.outbox.put(caller.letter(transfer, transfer.now, amount=amount))


def _unknown(caller: Caller, transfer: Transfer, letter: Letter, strike: Strike, _delay: float) -> None:
    stranger = caller.letter(transfer, transfer.now, id=f"{strike.chance.getrandbits(128):032x}")
    caller.outbox.put(replace(stranger, id=f"{letter.id}_x"))
    caller.outbox.put(letter)


def _opposite(caller: Caller, transfer: Transfer, _letter: Letter, _strike: Strike, delay: float) -> None:
    """The same sequence with the other end: one of the two cannot be true."""
    caller.outbox.put(caller.letter(transfer, transfer.now, status=OPPOSITE[transfer.now.name]), delay)


def _cancel_of_another(caller: Caller, transfer: Transfer, letter: Letter, _strike: Strike, delay: float) -> None:
    """The truth, and then the cancel of an execution under another id of its own, of which nothing was told before: it
    has a count for itself, and undoes nothing of this one."""
    named, later = f"{transfer.id}-2", transfer.now.sequence + 1
    other = caller.letter(transfer, transfer.now, status=CANCELLED, provider_id=named, sequence=later)
    caller.outbox.put(letter)
    caller.outbox.put(replace(other, id=f"{letter.id}_x"), delay)


def _spoilt(spoil: Callable[[Letter], Letter]) -> Lie:
    """A letter that nobody may believe goes out once, and then the right one."""

    def lie(caller: Caller, _transfer: Transfer, letter: Letter, _strike: Strike, _delay: float) -> None:
        caller.outbox.put(replace(spoil(letter), insist=False, then=letter))

    return lie


def _changed(**changes: Any) -> Lie:
    """The right letter, sent in another way."""

    def lie(caller: Caller, _transfer: Transfer, letter: Letter, _strike: Strike, _delay: float) -> None:
        caller.outbox.put(replace(letter, **changes))

    return lie


LIES: dict[str, Lie] = {
    "duplicate": _twice_over,
    "order": _out_of_order,
    "delayed": _delayed,
    "forged": _spoilt(lambda letter: replace(letter, keys=(secrets.token_bytes(32),))),
    "amount": _other_amount,
    "old": _spoilt(lambda letter: replace(letter, age=OLD_SECONDS)),
    "unknown": _unknown,
    "opposite": _opposite,
    "another": _cancel_of_another,
    "twice": _changed(copies=2),
    "storm": _changed(rounds=ROUNDS),
    "anew": _spoilt(lambda letter: replace(letter, body=anew(letter.body), signed=letter.body)),
}
