"""The timeout contract of a provider with prepare and complete: what to do about a leg that is not proved.

A prepare moves nothing and dies by itself; a complete may have moved the money, and only a look-up can tell.
"""

from __future__ import annotations

from bridge.evidence import Answer, Step
from bridge.ports import SECOND, Cancel, Descriptor, SameId
from bridge.transfers.core.facts import Leg, Transfer
from bridge.transfers.core.proof import TWO_PHASES, collided, reservation
from bridge.transfers.core.steps import NextStep, Rest, Schedule, Send, poll, still_recognised

PREPARES_AT_MOST = 2  # one retry can still be completed inside the expiry; a third could not
COMPLETES_AT_MOST = 3  # each is idempotent at the provider; more would only be noise before the expiry


def after_sending(transfer: Transfer, leg: Leg, descriptor: Descriptor, schedule: Schedule, now: int) -> NextStep:
    """A request was sent, nothing of it is on the wire any more, and its outcome is not proved."""
    if leg.effective(Step.COMPLETE):
        return _after_complete(transfer, leg, descriptor, schedule, now)
    return _before_complete(transfer, leg, descriptor, schedule, now)


def after_reserving(transfer: Transfer, leg: Leg, descriptor: Descriptor, schedule: Schedule, now: int) -> NextStep:
    """The provider holds the prepared half: finish it, or let it die."""
    return _finish(transfer, leg, descriptor, now) or _hold(leg, descriptor, schedule, now)


def never_completed(leg: Leg, descriptor: Descriptor, now: int) -> bool:
    """Whether no complete was ever committed as sent (or each one provably never left), and what was prepared
    has died. A reference that was final at our very first prepare is somebody else's story, or ours from
    before a restored backup; a request that does all at once was sent in another protocol, and may have moved it."""
    if descriptor.phases != TWO_PHASES or leg.effective(Step.COMPLETE) or collided(leg):
        return False
    return not leg.effective(Step.TRANSFER) and now >= _dies_at(leg, descriptor)


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
        descriptor.same_id is not SameId.UNSAFE
        and not transfer.cancels(leg)
        and not answered_otherwise
        and len(leg.attempts) < PREPARES_AT_MOST
        and still_recognised(transfer, leg, descriptor, now)
        and now < before
    ):
        return Send(Step.PREPARE, before)
    return _hold(leg, descriptor, schedule, now)


def _hold(leg: Leg, descriptor: Descriptor, schedule: Schedule, now: int) -> Rest:
    """Wait until what was prepared has died; past that, only people or new evidence can help."""
    dies = _dies_at(leg, descriptor)
    return Rest(dies if now < dies else now + schedule.longest_wait)


def _after_complete(transfer: Transfer, leg: Leg, descriptor: Descriptor, schedule: Schedule, now: int) -> NextStep:
    """A complete may have moved the money: only a look-up can tell; while it says "pending", finish it."""
    last = leg.evidence[-1] if leg.evidence else None
    if last is not None and last.reply.answer is Answer.IN_PROGRESS:
        again = _finish(transfer, leg, descriptor, now)
        if again is not None:
            return again
    return poll(leg, descriptor, schedule, now)


def _finish(transfer: Transfer, leg: Leg, descriptor: Descriptor, now: int) -> Send | None:
    """Complete what is prepared, or void it if that was wished, while enough of the expiry is left."""
    before = _complete_before(leg, descriptor)
    if now >= before:
        return None
    if transfer.cancels(leg):
        return Send(Step.VOID, before) if descriptor.cancel is Cancel.YES and not leg.effective(Step.VOID) else None
    completes = sum(1 for attempt in leg.attempts if attempt.step is Step.COMPLETE)
    return Send(Step.COMPLETE, before) if completes < COMPLETES_AT_MOST else None


def _complete_before(leg: Leg, descriptor: Descriptor) -> int:
    """The last instant for the bytes of a complete, counted from the first prepare: never too long."""
    assert descriptor.expiry is not None
    return leg.attempts[0].sent_at + int((descriptor.expiry - descriptor.complete_reserve) * SECOND)


def _dies_at(leg: Leg, descriptor: Descriptor) -> int:
    """When what was prepared has certainly been cancelled by the provider itself, margin included."""
    assert descriptor.expiry is not None
    quiet = max(leg.quiet_since(attempt) for attempt in leg.attempts)
    return quiet + int((descriptor.expiry + descriptor.expiry_margin) * SECOND)
