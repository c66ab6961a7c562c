"""A one-phase provider as an object: the promises of docs/provider-contract.md kept by a truth of its own, and lies on
request.

Its time is the monotonic one of the test's clock. What it did is in `records` and `executed`; what it says about it
is another matter: `script` is used up word by word by money requests, `asked` by look-ups, `aside` by kicks and
balance reads; then everything is as it should be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from bridge.evidence import Answer, Reply, Source, Step
from bridge.ports import (
    Absence,
    Balance,
    BalancePage,
    Cancel,
    Descriptor,
    Effect,
    LookupKey,
    Reference,
    SameId,
    Side,
    Window,
)
from bridge.transfers.advance import Fact
from tests.harness import Hands

# docs/provider-contract.md as a page of facts, with the operator's times of `ONE_TIMES` in conftest.py.
ONE_PHASE = Descriptor(
    protocol="one", evidence_tag="test", phases=1, same_id=SameId.REPLAY, dedupe_window=None,
    lookup_key=LookupKey.OWN, lookup_retention=90 * 86_400, absence=Absence(after=60, times=2, apart=20),
    fail_final_after=10, fail_final_times=2, cancel=Cancel.YES, expiry=None, expiry_margin=0, complete_reserve=0,
    reference=Reference("[A-Za-z0-9_-]", 64), longest_player_id=34, places={"EUR": 2}, money_deadline=4,
    complete_deadline=4, lookup_deadline=5, pushes=True, insufficient=frozenset({"insufficient_funds"}),
    in_game=frozenset({"player_in_game"}), settle_delay=10,
)  # fmt: skip

GRANTED = 1_000_000
"""Every player has won this much there before the first transfer, in cents."""

OK = "ok"
LOST = "lost"  # executed, the answer never comes
DROPPED = "dropped"  # never received
REFUSED_DOOR = "not_sent"  # provably no byte left
LATE = "late"  # no answer; executed five seconds later
BELATED = "belated"  # no answer; executed ten minutes later, long after "not found" was told
GARBAGE = "garbage"  # executed, answered with something unreadable
SLOW = "slow"  # executed, answered after three seconds
REFUSES = "refuses"  # refused for a reason of its own
PENDING = "pending"  # accepted; executed five seconds later
PENDING_REFUSED = "pending_refused"  # accepted; refused five seconds later
PENDING_LOST = "pending_lost"  # as pending, and the answer never comes
HALF = "half"  # half of it is executed, and says so
UNDECIDED = "undecided"  # (cancel) taken note of, and not decided
MONEY_FAULTS = (OK, LOST, DROPPED, REFUSED_DOOR, LATE, GARBAGE, SLOW, REFUSES, PENDING, PENDING_REFUSED, PENDING_LOST)

SILENT = "silent"  # (question) no answer
ABSENT = "absent"  # (look-up) "not found", whatever is true
STALE = "stale"  # (look-up) "pending", whatever is true
NEGATIVE = "negative"  # (look-up) "refused", whatever is true
LOOKUP_FAULTS = (OK, SILENT, ABSENT, STALE, SLOW, NEGATIVE)

WRONG: dict[str, dict[str, Any]] = {
    "wrong_amount": {"amount": 999_999},
    "wrong_player": {"player": "mallory"},
    "wrong_currency": {"currency": "USD"},
    "wrong_side": {},  # the other one, whichever was meant
}
"""Answers and look-ups that tell the true status, and something else than was asked for."""

TAKES = 0.01
"""Seconds that every exchange takes at least."""

LATE_SECONDS, BELATED_SECONDS = 5.0, 600.0
ANSWERS = {
    "pending": Answer.IN_PROGRESS, "confirmed": Answer.APPLIED, "refused": Answer.NOT_APPLIED,
    "cancelled": Answer.CANCELLED,
}  # fmt: skip


@dataclass
class Record:
    """One transfer as it really is there; a tombstone has never been executed and never will be."""

    effect: Effect
    provider_id: str
    status: str = ""
    sequence: int = 0
    code: str = ""
    moved: int = 0
    original: Reply | None = None
    decides: tuple[float, str] | None = None


@dataclass
class ScriptedOne:
    """Implements `ports.Provider`."""

    clock: Hands
    descriptor: Descriptor = ONE_PHASE
    name: str = "sim"
    kicks: bool = True
    executes_again: bool = False
    script: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    aside: list[str] = field(default_factory=list)
    records: dict[str, Record] = field(default_factory=dict)
    executed: Counter[str] = field(default_factory=Counter)
    requests: list[tuple[str, str]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    later: list[tuple[float, Effect]] = field(default_factory=list)
    won: Counter[str] = field(default_factory=Counter)
    playing: set[str] = field(default_factory=set)
    broken: bool = False
    during: Callable[[str], None] = lambda _operation: None

    # --- the port -----------------------------------------------------------------------------------------

    def refuses(self, amount: int, currency: str) -> str | None:  # noqa: ARG002 - the port's signature
        return None if amount > 0 else "must be greater than zero"

    def money(self, step: Step, effect: Effect, window: Window) -> Reply:
        fault = self.script.pop(0) if self.script else OK
        if self.clock.monotonic() >= min(window.not_after, window.deadline) or fault == REFUSED_DOOR:
            self.calls.append(f"{step.value}:not_sent")
            return Reply(Answer.NOT_SENT, code="not_after")
        self._arrive(step.value, effect)
        if fault == DROPPED or self.broken:
            return nothing()
        if fault in (LATE, BELATED):
            wait = LATE_SECONDS if fault == LATE else BELATED_SECONDS
            self.later.append((self.clock.monotonic() + wait, effect))
            return nothing()
        reply = self._create(effect, fault) if step is Step.TRANSFER else self._cancel(effect, fault)
        if fault == SLOW:
            self.clock.turn(3)
        return nothing() if fault in (LOST, GARBAGE, PENDING_LOST) else lied(reply, fault)

    def look_up(self, effect: Effect, window: Window) -> Reply:  # noqa: ARG002 - the port's signature
        fault = self.asked.pop(0) if self.asked else OK
        self._arrive("look_up", effect)
        if fault == SILENT or self.broken:
            return nothing()
        if fault == SLOW:
            self.clock.turn(3)
            self.settle_time()
        record = self.records.get(effect.reference)
        if fault in (STALE, NEGATIVE):
            answer, code = ("pending", "") if fault == STALE else ("refused", "limit_reached")
            return self._told(Record(effect, "W-0", answer, 1, code))
        if fault == ABSENT or record is None:
            return Reply(Answer.NOT_FOUND, code="not_found", reference=effect.reference)
        return lied(self._told(record), fault)

    def balance(self, player: str, currency: str, window: Window) -> Balance | Reply:  # noqa: ARG002
        fault = self.aside.pop(0) if self.aside else OK
        self._say("balance")
        if fault == SILENT or self.broken:
            return replace(nothing(), digest="5" * 64, received='HTTP/1.1 200 OK\n{"name": "Ann Smith"}')
        return Balance(player, currency, self.owned(player))

    def kick(self, player: str, window: Window) -> Reply:  # noqa: ARG002
        fault = self.aside.pop(0) if self.aside else OK
        self._say("kick")
        if not self.kicks or self.broken or fault == SILENT:
            return nothing("NO_KICK" if not self.kicks else "DEADLINE")
        self.playing.discard(player)
        return Reply(Answer.UNKNOWN, code="kicked", player=player)

    def heard(self, kind: str, content: Any, digest: str) -> None:  # noqa: ARG002
        return None

    def answers(self, window: Window) -> bool:  # noqa: ARG002
        self.calls.append("answers")
        return not self.broken

    def balances(self, currency: str, window: Window, after: str | None = None) -> BalancePage | Reply:  # noqa: ARG002
        return BalancePage((), None)

    # --- what it does by itself -----------------------------------------------------------------------------

    def take_back(self, reference: str) -> Fact:
        """Take back what was confirmed (or cancel what is pending, or not yet known); the callback that says so."""
        record = self.records[reference]
        if record.status == "confirmed":
            record.moved = 0
        self._become(record, "cancelled")
        return self.callback(reference)

    def callback(self, reference: str, **lie: Any) -> Fact:
        """A signed statement about a transfer as it stands, or with `lie` in it."""
        record = self.records[reference]
        told = replace(self._told(record), balance=self.owned(record.effect.player))
        return Fact(replace(told, **lie), Source.CALLBACK, self.clock.now())

    def bury(self, effect: Effect) -> Fact:
        """Decide before the request comes that it will never be executed: a tombstone, and its callback."""
        record = self.records[effect.reference] = Record(effect, f"W-{len(self.records) + 1}")
        self._become(record, "cancelled")
        return self.callback(effect.reference)

    # --- the truth ----------------------------------------------------------------------------------------

    def settle_time(self) -> None:
        """Let everything happen there that was due by now."""
        now = self.clock.monotonic()
        due, self.later = [x for x in self.later if x[0] <= now], [x for x in self.later if x[0] > now]
        for _, effect in due:
            self._create(effect, OK)
        for record in self.records.values():
            if record.status == "pending" and record.decides is not None and record.decides[0] <= now:
                self._decide(record, refused=record.decides[1])

    def net(self, player: str) -> int:
        """What the transfers have brought to a player there, in cents."""
        self.settle_time()
        return self._net(player)

    def owned(self, player: str) -> int:
        """What a player has there, won and lost included, in cents."""
        self.settle_time()
        return self._owned(player)

    def moved(self, reference: str | None) -> int:
        """How much a reference has moved there and is not taken back, in cents."""
        self.settle_time()
        record = self.records.get(reference or "")
        return 0 if record is None else record.moved

    def done(self, reference: str | None) -> bool:
        """Whether a reference has moved money there that is not taken back."""
        return self.moved(reference) > 0

    def count(self, operation: str) -> int:
        return sum(1 for name, _ in self.requests if name == operation)

    def sent(self, reference: str | None) -> int:
        """How often a transfer of this reference reached the provider."""
        return self.requests.count(("transfer", reference or ""))

    def _net(self, player: str) -> int:
        mine = [record for record in self.records.values() if record.effect.player == player]
        return sum(r.moved if r.effect.side is Side.CREDIT else -r.moved for r in mine)

    def _owned(self, player: str) -> int:
        return GRANTED + self.won[player] + self._net(player)

    def _arrive(self, operation: str, effect: Effect) -> None:
        self.settle_time()
        self.requests.append((operation, effect.reference))
        self._say(operation)

    def _say(self, operation: str) -> None:
        self.clock.turn(TAKES)
        self.calls.append(operation)
        self.during(operation)

    def _create(self, effect: Effect, fault: str) -> Reply:
        known = self.records.get(effect.reference)
        if known is not None and (not self.executes_again or known.status == "cancelled"):
            if same_data(known.effect, effect):
                return known.original or self._told(known)
            return nothing("id_reused")
        record = self.records[effect.reference] = Record(effect, f"W-{len(self.records) + 1}")
        if fault in (PENDING, PENDING_LOST, PENDING_REFUSED):
            self._become(record, "pending")
            code = "limit_reached" if fault == PENDING_REFUSED else ""
            record.decides = (self.clock.monotonic() + LATE_SECONDS, code)
            return self._told(record)
        self._decide(record, refused="limit_reached" if fault == REFUSES else "", half=fault == HALF)
        return self._told(record)

    def _decide(self, record: Record, *, refused: str, half: bool = False) -> None:
        """Execute what was accepted, or refuse it for what the player has, does, or as scripted."""
        effect = record.effect
        if effect.side is Side.DEBIT and not refused:
            poor = self._owned(effect.player) < effect.amount
            refused = "player_in_game" if effect.player in self.playing else "insufficient_funds" if poor else ""
        record.code = refused
        if not refused:
            record.moved = effect.amount // 2 if half else effect.amount
            self.executed[effect.reference] += 1
        self._become(record, "refused" if refused else "confirmed")

    def _cancel(self, effect: Effect, fault: str) -> Reply:
        if effect.reference not in self.records:
            self.records[effect.reference] = Record(effect, f"W-{len(self.records) + 1}", "cancelled", 1)
        record = self.records[effect.reference]
        if record.status == "pending" and fault != UNDECIDED:
            self._become(record, "cancelled")
        return self._told(record)

    def _become(self, record: Record, status: str) -> None:
        record.status, record.sequence = status, record.sequence + 1
        if record.original is None and status != "pending":
            record.original = self._told(record)

    def _told(self, record: Record) -> Reply:
        effect = record.effect
        said = f'{{"id": "{effect.reference}", "status": "{record.status}"}}'
        return Reply(
            ANSWERS[record.status], code=record.code or record.status, amount=record.moved or effect.amount,
            currency=effect.currency, player=effect.player, side=effect.side.value, reference=effect.reference,
            provider_reference=record.provider_id, sequence=record.sequence,
            attempt_sensitive=record.code == "insufficient_funds",
            requested=effect.amount if 0 < record.moved < effect.amount and record.status == "confirmed" else None,
            sent=f"POST /\n{said}", received=f"HTTP/1.1 200 OK\n{said}",
        )  # fmt: skip


def same_data(known: Effect, effect: Effect) -> bool:
    """Whether a repeated id is repeated with everything as it was."""
    return replace(known, provider_reference=None) == replace(effect, provider_reference=None)


def nothing(code: str = "DEADLINE") -> Reply:
    """No answer, or none that says anything."""
    return Reply(Answer.UNKNOWN, code=code, sent="POST /\n{}")


def lied(reply: Reply, fault: str) -> Reply:
    """The reply with one member as it should not be."""
    if fault == "wrong_side":
        return replace(reply, side=(Side.DEBIT if reply.side == Side.CREDIT else Side.CREDIT).value)
    return replace(reply, **WRONG.get(fault, {}))


def statuses(provider: ScriptedOne, references: Iterable[str | None]) -> list[str]:
    """How the provider itself sees these references; "nothing" for one that it does not know."""
    provider.settle_time()
    return [provider.records[r].status if r in provider.records else "nothing" for r in references]
