"""A provider as an object: the state machine of protocols.md §1.1 with a truth of its own, and lies on request.

Its time is the monotonic one of the test's clock, so a wall clock that jumps does not touch it. What it did is
in `records`; what it said is another matter.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from bridge.evidence import Answer, Reply, Step
from bridge.ports import Balance, BalancePage, Effect, Side, Window
from tests.harness import Hands
from tests.transfers.values import TWO_PHASE

EXPIRY = 10.0
GRANTED = 1_000_000
"""Every player has won this much there before the first transfer, in cents."""

OK = "ok"
LOST = "lost"  # executed, the answer never comes
DROPPED = "dropped"  # never executed, no answer
REFUSED_DOOR = "not_sent"  # provably no byte left
LATE = "late"  # no answer; executed five seconds later, if it can be by then
GARBAGE = "garbage"  # executed, answered with something unreadable
SLOW = "slow"  # executed, answered after three seconds
SILENT = "silent"  # (look-up) no answer
ABSENT = "absent"  # (look-up) "not found", whatever is true
STALE = "stale"  # (look-up) "pending", whatever is true
WRONG_AMOUNT = "wrong_amount"  # true status, another amount
MONEY_FAULTS = (OK, LOST, DROPPED, REFUSED_DOOR, LATE, GARBAGE, SLOW)
LOOKUP_FAULTS = (OK, SILENT, ABSENT, STALE, SLOW)


@dataclass
class Record:
    """One transfer as it really is there."""

    id: str
    effect: Effect
    prepared: float
    state: str = "PENDING"


class ScriptedProvider:
    """Implements `ports.Provider`. `script` is used up word by word; then everything is as it should be."""

    def __init__(self, clock: Hands) -> None:
        self.name, self.descriptor, self.clock = "sim", TWO_PHASE, clock
        self.script: list[str] = []
        self.records: dict[str, Record] = {}
        self.requests: list[tuple[str, str]] = []
        self.calls: list[str] = []
        self.later: list[tuple[float, Step, Effect]] = []
        self.during: Callable[[str], None] = lambda _operation: None
        self.broken = False

    # --- the port -----------------------------------------------------------------------------------------

    def refuses(self, amount: int, currency: str) -> str | None:  # noqa: ARG002 - the port's signature
        return None

    def money(self, step: Step, effect: Effect, window: Window) -> Reply:
        fault = self._fault()
        if self.clock.monotonic() >= min(window.not_after, window.deadline) or fault == REFUSED_DOOR:
            self.calls.append(f"{step.value}:not_sent")
            return Reply(Answer.NOT_SENT, code="not_after")
        self._arrive(step.value, effect)
        if fault == DROPPED or self.broken:
            return self._nothing()
        if fault == LATE:
            self.later.append((self.clock.monotonic() + 5, step, effect))
            return self._nothing()
        reply = self._prepare(effect) if step is Step.PREPARE else self._end(step, effect)
        if fault == SLOW:
            self.clock.turn(3)
        if fault == WRONG_AMOUNT and reply.amount is not None:
            return replace(reply, amount=reply.amount + 1)
        return self._nothing() if fault in (LOST, GARBAGE) else reply

    def look_up(self, effect: Effect, window: Window) -> Reply:  # noqa: ARG002 - the port's signature
        fault = self._fault()
        self._arrive("look_up", effect)
        if fault == SILENT or self.broken or effect.provider_reference is None:
            return self._nothing()
        if fault == ABSENT:
            return Reply(Answer.NOT_FOUND, code="TRANSFER_NOT_FOUND")
        if fault == SLOW:
            self.clock.turn(3)
        self.settle_time()
        record = self.records.get(effect.provider_reference)
        if record is None:
            return Reply(Answer.NOT_FOUND, code="TRANSFER_NOT_FOUND")
        status = {"PENDING": Answer.IN_PROGRESS, "COMPLETED": Answer.APPLIED, "CANCELLED": Answer.CANCELLED}[
            record.state
        ]
        reply = self._told(record, Answer.IN_PROGRESS if fault == STALE else status)
        return replace(reply, amount=(reply.amount or 0) + 1) if fault == WRONG_AMOUNT else reply

    def balance(self, player: str, currency: str, window: Window) -> Balance | Reply:  # noqa: ARG002
        self.calls.append("balance")
        return self._nothing() if self.broken else Balance(player, currency, self.owned(player))

    def kick(self, player: str, window: Window) -> Reply:  # noqa: ARG002
        self.calls.append("kick")
        return Reply(Answer.UNKNOWN, code="kicked")

    def heard(self, kind: str, content: Any, digest: str) -> None:  # noqa: ARG002
        return None

    def answers(self, window: Window) -> bool:  # noqa: ARG002
        self.calls.append("answers")
        return not self.broken

    def balances(self, currency: str, window: Window, after: str | None = None) -> BalancePage | Reply:  # noqa: ARG002
        return BalancePage((), None)

    # --- the truth ----------------------------------------------------------------------------------------

    def settle_time(self) -> None:
        """Let everything happen there that was due by now: late executions first, then expiries."""
        now = self.clock.monotonic()
        due, self.later = [x for x in self.later if x[0] <= now], [x for x in self.later if x[0] > now]
        for when, step, effect in due:
            self._expire(when)
            if step is Step.PREPARE:
                self._prepare(effect, when)
            else:
                self._end(step, effect)
        self._expire(now)

    def net(self, player: str) -> int:
        """What the transfers have brought to a player there, in cents."""
        self.settle_time()
        done = [r.effect for r in self.records.values() if r.state == "COMPLETED" and r.effect.player == player]
        return sum(e.amount if e.side is Side.CREDIT else -e.amount for e in done)

    def owned(self, player: str) -> int:
        return GRANTED + self.net(player)

    def done(self, reference: str | None) -> bool:
        """Whether a reference moved money there."""
        self.settle_time()
        return any(r.state == "COMPLETED" and r.effect.reference == reference for r in self.records.values())

    def count(self, operation: str) -> int:
        return sum(1 for name, _ in self.requests if name == operation)

    def _fault(self) -> str:
        return self.script.pop(0) if self.script else OK

    def _arrive(self, operation: str, effect: Effect) -> None:
        self.settle_time()
        self.requests.append((operation, effect.reference))
        self.calls.append(operation)
        self.during(operation)

    def _expire(self, now: float) -> None:
        for record in self.records.values():
            if record.state == "PENDING" and now >= record.prepared + EXPIRY:
                record.state = "CANCELLED"

    def _prepare(self, effect: Effect, now: float | None = None) -> Reply:
        record = next((r for r in self.records.values() if r.effect.reference == effect.reference), None)
        if record is not None and record.state != "PENDING":
            return Reply(Answer.CANCELLED, code="STATUS_CONFLICT", attempt_sensitive=True)
        if record is None:
            if effect.side is Side.DEBIT and self._available(effect.player) < effect.amount:
                return Reply(Answer.NOT_APPLIED, code="INSUFFICIENT_FUNDS", attempt_sensitive=True)
            record = Record(f"Q{len(self.records) + 1}", effect, self.clock.monotonic() if now is None else now)
            self.records[record.id] = record
        return self._told(record, Answer.RESERVED)

    def _end(self, step: Step, effect: Effect) -> Reply:
        wanted, answer = ("COMPLETED", Answer.APPLIED) if step is Step.COMPLETE else ("CANCELLED", Answer.CANCELLED)
        record = self.records.get(effect.provider_reference or "")
        if record is None:
            return Reply(Answer.UNKNOWN, code="TRANSFER_NOT_FOUND")
        if record.state == "PENDING":
            record.state = wanted
        if record.state != wanted:
            return Reply(Answer.UNKNOWN, code="STATUS_CONFLICT")
        return self._told(record, answer)

    def _available(self, player: str) -> int:
        held: defaultdict[str, int] = defaultdict(int)
        for record in self.records.values():
            if record.state == "PENDING" and record.effect.side is Side.DEBIT:
                held[record.effect.player] += record.effect.amount
        return self.owned(player) - held[player]

    def _told(self, record: Record, answer: Answer) -> Reply:
        effect = record.effect
        return Reply(
            answer, code=record.state, amount=effect.amount, currency=effect.currency, player=effect.player,
            side=effect.side.value, reference=effect.reference, provider_reference=record.id,
        )  # fmt: skip

    def _nothing(self) -> Any:
        return Reply(Answer.UNKNOWN, code="DEADLINE")
