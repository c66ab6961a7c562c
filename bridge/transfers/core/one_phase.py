"""The timeout contract of a provider with one request: after an unknown answer, look up; repeat the same id only
where the provider replays it and has just said that it does not know it; void where that was wished."""

from __future__ import annotations

from bridge.evidence import Answer, Evidence, Source, Step
from bridge.ports import SECOND, Cancel, Descriptor, SameId
from bridge.transfers.core.facts import Leg, Transfer
from bridge.transfers.core.steps import NextStep, Rest, Schedule, Send, poll, still_recognised
from statemachines import TransferState

TRANSFERS_AT_MOST = 3  # a provider that has lost three requests is not going to be helped by a fourth
VOIDS_AT_MOST = 3


def after_sending(transfer: Transfer, leg: Leg, descriptor: Descriptor, schedule: Schedule, now: int) -> NextStep:
    """A request was sent, nothing of it is on the wire any more, and its outcome is not proved."""
    if transfer.cancels(leg) and descriptor.cancel is Cancel.YES:
        return _void(leg, descriptor, schedule, now)
    if _may_repeat(transfer, leg, descriptor, now):
        # The first repetition at once; a provider that loses that too may be down for a moment.
        pause = schedule.polls[min(len(leg.attempts), len(schedule.polls)) - 1]
        due = leg.quiet_since(leg.attempts[-1]) + int(pause * SECOND)
        if due > now:
            return Rest(due)
        return Send(Step.TRANSFER, transfer.orphan_at if transfer.state is TransferState.PENDING else None)
    return poll(leg, descriptor, schedule, now)


def _void(leg: Leg, descriptor: Descriptor, schedule: Schedule, now: int) -> NextStep:
    """A cancel is wished: the first void at once, another when the provider says that none reached it."""
    voids = [attempt for attempt in leg.attempts if attempt.step is Step.VOID]
    if not voids or (len(voids) < VOIDS_AT_MOST and _says(_newest_question(leg), Answer.NOT_FOUND, Answer.IN_PROGRESS)):
        return Send(Step.VOID)
    return poll(leg, descriptor, schedule, now)


def _may_repeat(transfer: Transfer, leg: Leg, descriptor: Descriptor, now: int) -> bool:
    """The provider has just said that it does not know the id, and would not execute it twice if it did.

    A transfer whose patience is spent, or that somebody wishes cancelled, is not begun again; what people ordered
    to be taken back is.
    """
    if transfer.cancels(leg):
        return False
    if leg.undoes is None and (transfer.state is not TransferState.PENDING or now >= transfer.orphan_at):
        return False
    return (
        descriptor.same_id is not SameId.UNSAFE
        and _says(_newest_question(leg), Answer.NOT_FOUND)
        and len(leg.attempts) < TRANSFERS_AT_MOST
        and still_recognised(transfer, leg, descriptor, now)
    )


def _newest_question(leg: Leg) -> Evidence | None:
    """The answer to a look-up, if it is the last that was told and came after the last request had ended.

    Last in the order in which it was stored: a clock that was set back makes nothing newer.
    """
    told = [piece for piece in leg.evidence if piece.source in (Source.CALL, Source.LOOKUP, Source.CALLBACK)]
    asked = leg.lookups(leg.quiet_since(leg.attempts[-1]))
    return told[-1] if asked and told[-1] is asked[-1] else None


def _says(piece: Evidence | None, *answers: Answer) -> bool:
    return piece is not None and piece.reply.answer in answers
