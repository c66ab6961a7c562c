"""The timeout contract: descriptor + leg → the next step. Functions of values: no row, no clock, no session.

After an unknown answer the engine may *retry* (same id, only where the provider replays), *look up*,
*complete again*, *void*, or *hold*. What silence itself proves is said by :func:`conclude` alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import assert_never

from bridge.evidence import Answer, Evidence, Reply, Step
from bridge.ports import SECOND, Cancel, Descriptor, LookupKey, SameId
from bridge.transfers.core.facts import Leg, Transfer
from bridge.transfers.core.fold import Finding, Verdict, collided, reservation
from statemachines import LegState, TransferState

PREPARES_AT_MOST = 2  # one retry can still be completed inside the expiry; a third could not
TWO_PHASES = 2
UNRESOLVED = (TransferState.PENDING, TransferState.ORPHANED)
COMPLETES_AT_MOST = 3  # each is idempotent at the provider; more would only be noise before the expiry


@dataclass(frozen=True)
class Send:
    """Commit a money request as sent and put it on the wire; `before` bounds when its bytes may leave."""

    step: Step
    before: int | None = None


@dataclass(frozen=True)
class Ask:
    """Look the effect up."""


@dataclass(frozen=True)
class Rest:
    """Nothing to do before `until`."""

    until: int


@dataclass(frozen=True)
class Done:
    """Nothing to do any more, unless somebody brings new evidence."""


NextStep = Send | Ask | Rest | Done


@dataclass(frozen=True)
class Schedule:
    """The operator's times, in seconds: waits between look-ups, and the watch after a reversal."""

    polls: tuple[float, ...]
    aftercare: tuple[float, ...]


def conclude(transfer: Transfer, descriptor: Descriptor, now: int) -> Reply | None:
    """What the contract itself proves: that the outside leg can have had no effect. Only the holder of the
    lease may store it, for it fences every other worker out of sending."""
    leg = transfer.outside
    if leg.state is LegState.PLANNED:
        if transfer.cancel_requested_at is not None or now >= transfer.orphan_at:
            return _proved("never_sent", "no request was ever sent")
        return None
    if leg.state not in (LegState.SENT, LegState.RESERVED) or leg.may_be_on_the_wire(now):
        return None
    if not any(leg.effective(step) for step in Step):
        return _proved("never_left", "no byte of any request left: " + _last_detail(leg))
    if _never_completed(leg, descriptor) and now >= _dies_at(leg, descriptor):
        return _proved("never_completed", "prepared at most, never completed, and past the provider's own expiry")
    return None


def next_step(
    transfer: Transfer, descriptor: Descriptor, schedule: Schedule, finding: Finding, now: int, queued_until: int
) -> NextStep:
    """What to do about the outside leg now. `queued_until`: before it, nothing new may be sent (breaker)."""
    leg = transfer.outside
    if transfer.state in (TransferState.CONFIRMED, TransferState.REVERSED):
        return _aftercare(transfer, leg, descriptor, schedule, finding, now)
    if finding.verdict is not Verdict.OPEN:
        return _watch(leg, descriptor, schedule, now)
    step = _drive(transfer, leg, descriptor, schedule, now, queued_until)
    if transfer.state is not TransferState.PENDING or not isinstance(step, Rest):
        return step
    if now < transfer.orphan_at:
        return Rest(min(step.until, transfer.orphan_at))
    # Before patience is declared spent, the provider is asked once more: an outage of ours, or a clock
    # that jumped, must not make an orphan of what one look-up can prove.
    return step if leg.may_be_on_the_wire(now) else Ask()


def sooner(step: NextStep, leg: Leg, descriptor: Descriptor, now: int) -> NextStep:
    """The same step for somebody who wants to know now: a question that is not due yet is asked, at most
    once a second, unless the answer to a money request is still awaited."""
    fresh = any(now - SECOND < piece.at for piece in leg.lookups())
    waiting = isinstance(step, Rest) and not leg.may_be_on_the_wire(now)
    return Ask() if waiting and not fresh and _askable(leg, descriptor) else step


def patience_spent(transfer: Transfer, descriptor: Descriptor, now: int) -> bool:
    """Whether the time for proof has passed and a last question, where one can be asked, brought none."""
    leg = transfer.outside
    if now < transfer.orphan_at or leg.may_be_on_the_wire(now):
        return False
    return not _askable(leg, descriptor) or bool(leg.lookups(transfer.orphan_at))


def needs_aftercare(leg: Leg, descriptor: Descriptor, finding: Finding) -> bool:
    """A transfer reversed without the provider's own refusal is watched, where it can be asked about."""
    if finding.proof is None or finding.verdict is not Verdict.REFUSED or not _askable(leg, descriptor):
        return False
    return finding.proof.reply.answer is Answer.CANCELLED or finding.proof.reply.code == "never_completed"


def explain(transfer: Transfer) -> str:
    """In words for a person: what was sent, and what was answered, so that the doubt can be judged."""
    leg = transfer.outside
    sent = ", ".join(f"{a.step.value} ({_told(leg.answer_to(a))})" for a in leg.attempts) or "nothing"
    asked = leg.lookups()
    story = f"sent: {sent}; looked up {len(asked)} times"
    if asked:
        story += f", last answer {_told(asked[-1])}"
    odd = next((e for e in leg.evidence if e.reply.amount not in (None, transfer.amount)), None)
    if odd is not None:
        story += f"; an answer told {odd.reply.amount} minor units where {transfer.amount} were meant"
    return story


def describe(descriptor: Descriptor) -> dict[str, str]:
    """The contract in words, situation → what the engine does: printed by `bridge providers`."""
    return {
        "prepare unanswered": "retry the same id while it can still be completed, then hold until it has died"
        if descriptor.same_id is SameId.REPLAY
        else "hold until it has died",
        "complete unanswered": "look up; complete again while time is left; never conclude from silence",
        "not found": "proves nothing"
        if descriptor.absence is None
        else f"proves absence after {descriptor.absence.after:g} s, seen {descriptor.absence.times} times",
        "cancel wished": "void at the provider" if descriptor.cancel is Cancel.YES else "hold",
    }


# --- one leg ------------------------------------------------------------------------------------------


def _drive(
    transfer: Transfer, leg: Leg, descriptor: Descriptor, schedule: Schedule, now: int, queued_until: int
) -> NextStep:
    if leg.may_be_on_the_wire(now):
        return Rest(max(a.wire_until for a in leg.attempts if leg.answer_to(a) is None))
    match leg.state:
        case LegState.PLANNED:
            return Rest(queued_until) if now < queued_until else Send(Step.PREPARE)
        case LegState.RESERVED:
            return _finish(transfer, leg, descriptor, now) or _hold(leg, descriptor, schedule, now)
        case LegState.SENT if leg.effective(Step.COMPLETE):
            return _after_complete(transfer, leg, descriptor, schedule, now)
        case LegState.SENT:
            return _before_complete(transfer, leg, descriptor, schedule, now)
        case LegState.APPLIED | LegState.REFUSED:
            return _watch(leg, descriptor, schedule, now)
        case _ as unreachable:
            assert_never(unreachable)


def _before_complete(transfer: Transfer, leg: Leg, descriptor: Descriptor, schedule: Schedule, now: int) -> NextStep:
    """Only a prepare, or completes that provably never left: nothing has moved, and time is running out."""
    if leg.step is not Step.PREPARE and reservation(transfer) is not None:
        again = _finish(transfer, leg, descriptor, now) if leg.step is Step.COMPLETE else None
        return again or _hold(leg, descriptor, schedule, now)
    before = _complete_before(leg, descriptor)
    answered_otherwise = any(
        e.reply.answer in (Answer.RESERVED, Answer.CANCELLED, Answer.NOT_APPLIED) for e in leg.evidence
    )
    if (
        descriptor.same_id is SameId.REPLAY
        and transfer.cancel_requested_at is None
        and not answered_otherwise
        and len(leg.attempts) < PREPARES_AT_MOST
        and _still_recognised(leg, descriptor, now)
        and now < before
    ):
        return Send(Step.PREPARE, before)
    return _hold(leg, descriptor, schedule, now)


def _hold(leg: Leg, descriptor: Descriptor, schedule: Schedule, now: int) -> Rest:
    """Wait until what was prepared has died; past that, only people or new evidence can help."""
    dies = _dies_at(leg, descriptor)
    return Rest(dies if now < dies else now + _longest_wait(schedule))


def _after_complete(transfer: Transfer, leg: Leg, descriptor: Descriptor, schedule: Schedule, now: int) -> NextStep:
    """A complete may have moved the money: only a look-up can tell; while it says "pending", finish it."""
    last = leg.evidence[-1] if leg.evidence else None
    if last is not None and last.reply.answer is Answer.IN_PROGRESS:
        again = _finish(transfer, leg, descriptor, now)
        if again is not None:
            return again
    return _poll(leg, descriptor, schedule, now)


def _finish(transfer: Transfer, leg: Leg, descriptor: Descriptor, now: int) -> Send | None:
    """Complete what is prepared, or void it if that was wished, while enough of the expiry is left."""
    before = _complete_before(leg, descriptor)
    if now >= before:
        return None
    if transfer.cancel_requested_at is not None:
        return Send(Step.VOID, before) if descriptor.cancel is Cancel.YES and not leg.effective(Step.VOID) else None
    completes = sum(1 for attempt in leg.attempts if attempt.step is Step.COMPLETE)
    return Send(Step.COMPLETE, before) if completes < COMPLETES_AT_MOST else None


def _poll(leg: Leg, descriptor: Descriptor, schedule: Schedule, now: int) -> NextStep:
    if not _askable(leg, descriptor):
        return Rest(now + _longest_wait(schedule))
    since = leg.quiet_since(leg.attempts[-1]) if leg.attempts else 0
    asked = leg.lookups(since)
    marks = (since + int(mark * SECOND) for mark in accumulate(schedule.polls))
    # By the time since the request, not by the number of questions: who asks in between delays nothing.
    later = (mark for mark in marks if not asked or mark > asked[-1].at)
    due = next(later, asked[-1].at + _longest_wait(schedule) if asked else now)
    return Ask() if due <= now else Rest(due)


def _watch(leg: Leg, descriptor: Descriptor, schedule: Schedule, now: int) -> NextStep:
    """A contradiction or a mismatch is for people; a slow question now and then keeps their file fresh."""
    asked = leg.lookups()
    since = asked[-1].at if asked else max((leg.quiet_since(attempt) for attempt in leg.attempts), default=now)
    due = since + _longest_wait(schedule)
    if due > now:
        return Rest(due)
    return Ask() if _askable(leg, descriptor) else Rest(now + _longest_wait(schedule))


def _aftercare(
    transfer: Transfer, leg: Leg, descriptor: Descriptor, schedule: Schedule, finding: Finding, now: int
) -> NextStep:
    """Some providers execute after they said no: a reversal that rests on our inference is asked about later.

    Only a question that was answered counts; one answer serves every mark that has passed by then.
    """
    settled = transfer.settled_at
    if transfer.state is not TransferState.REVERSED or settled is None or not needs_aftercare(leg, descriptor, finding):
        return Done()
    asked = leg.lookups(settled + 1)
    told = [piece.at - settled for piece in asked if piece.reply.answer is not Answer.UNKNOWN]
    marks = [int(mark * SECOND) for mark in schedule.aftercare if int(mark * SECOND) > max(told, default=0)]
    if not marks:
        return Done()
    unanswered = sum(1 for piece in asked if piece.reply.answer is Answer.UNKNOWN)
    again = asked[-1].at + int(schedule.polls[min(unanswered, len(schedule.polls) - 1)] * SECOND) if asked else 0
    due = max(settled + marks[0], again)
    return Ask() if due <= now else Rest(due)


def _never_completed(leg: Leg, descriptor: Descriptor) -> bool:
    """Two-phase: no complete was ever committed as sent, or each one provably never left. A reference that
    was final at our very first prepare is somebody else's story, or ours from before a restored backup."""
    return descriptor.phases == TWO_PHASES and not leg.effective(Step.COMPLETE) and not collided(leg)


def _still_recognised(leg: Leg, descriptor: Descriptor, now: int) -> bool:
    """Whether the provider still knows a repeated id for one; past that it might execute it again (§0.9)."""
    window = descriptor.dedupe_window
    return window is None or now < leg.attempts[0].sent_at + int(window * SECOND)


def _complete_before(leg: Leg, descriptor: Descriptor) -> int:
    """The last instant for the bytes of a complete, counted from the first prepare: never too long."""
    assert descriptor.expiry is not None
    return leg.attempts[0].sent_at + int((descriptor.expiry - descriptor.complete_reserve) * SECOND)


def _dies_at(leg: Leg, descriptor: Descriptor) -> int:
    """When what was prepared has certainly been cancelled by the provider itself, margin included."""
    assert descriptor.expiry is not None
    quiet = max(leg.quiet_since(attempt) for attempt in leg.attempts)
    return quiet + int((descriptor.expiry + descriptor.expiry_margin) * SECOND)


def _askable(leg: Leg, descriptor: Descriptor) -> bool:
    match descriptor.lookup_key:
        case LookupKey.OWN:
            return bool(leg.attempts)
        case LookupKey.PROVIDER:
            return leg.provider_reference is not None
        case LookupKey.NONE:
            return False
        case _ as unreachable:
            assert_never(unreachable)


def _longest_wait(schedule: Schedule) -> int:
    return int(schedule.polls[-1] * SECOND)


def _proved(code: str, detail: str) -> Reply:
    return Reply(Answer.NOT_APPLIED, code=code, detail=detail)


def _last_detail(leg: Leg) -> str:
    return _told(leg.evidence[-1] if leg.evidence else None)


def _told(piece: Evidence | None) -> str:
    if piece is None:
        return "no answer"
    return f"{piece.reply.answer.value} {piece.reply.code}".strip()
