"""The timeout contract: descriptor + transfer → the next step. Functions of values: no row, no clock, no session.

After an unknown answer the engine may *retry* (same id, only where the provider replays), *look up*,
*complete again*, *void*, or *hold*; which of them is said per shape, in :mod:`one_phase` and :mod:`two_phase`.
What silence itself proves is said by :func:`conclude` alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from bridge.evidence import Answer, Evidence, Reply, Source, Step
from bridge.ports import SECOND, Cancel, Descriptor, SameId
from bridge.transfers.core import one_phase, sweep, two_phase
from bridge.transfers.core.facts import Leg, Transfer
from bridge.transfers.core.proof import TWO_PHASES, Finding, Verdict, judge
from bridge.transfers.core.steps import Ask, Done, NextStep, Rest, Schedule, Send, askable, poll
from statemachines import LegState, TransferState

UNRESOLVED = (TransferState.PENDING, TransferState.ORPHANED)


def first_step(descriptor: Descriptor) -> Step:
    """The request with which a leg begins."""
    return Step.PREPARE if descriptor.phases == TWO_PHASES else Step.TRANSFER


def is_withdrawn(transfer: Transfer, finding: Finding) -> bool:
    """Whether an order to take money out of the game has lost its ground: what the people rested it on was told to
    be otherwise. What has left of it is asked about; nothing more is sent."""
    contradicted = finding.verdict in (Verdict.CONTRADICTED, Verdict.MISMATCHED)
    return contradicted and transfer.state is TransferState.ORPHANED and transfer.driven.undoes is not None


def conclude(transfer: Transfer, descriptor: Descriptor, now: int, *, withdrawn: bool = False) -> Reply | None:
    """What the contract itself proves: that the outside leg can have had no effect. Only the holder of the
    lease may store it, for it fences every other worker out of sending."""
    leg = transfer.driven
    if transfer.rewound_at is not None or _has_forgotten(leg):
        return None  # a restored backup has forgotten what came after it: our silence says nothing
    if leg.state is LegState.PLANNED:
        given_up = withdrawn or _is_given_up(transfer, leg, now)
        return _proved("never_sent", "no request was ever sent") if given_up else None
    if leg.state not in (LegState.SENT, LegState.RESERVED) or leg.may_be_on_the_wire(now):
        return None
    if not any(leg.effective(step) for step in Step):
        return _proved("never_left", "no byte of any request left: " + _last_detail(leg))
    if two_phase.never_completed(leg, descriptor, now):
        return _proved("never_completed", "prepared at most, never completed, and past the provider's own expiry")
    return None


def next_step(
    transfer: Transfer, descriptor: Descriptor, schedule: Schedule, finding: Finding, now: int, queued_until: int
) -> NextStep:
    """What to do about the driven leg now. `queued_until`: before it, nothing new may be sent (breaker)."""
    leg = transfer.driven
    if transfer.state in (TransferState.CONFIRMED, TransferState.REVERSED):
        return _aftercare(transfer, descriptor, schedule, finding, now)
    if is_withdrawn(transfer, finding) and leg.state in (LegState.SENT, LegState.RESERVED):
        step = _drive(transfer, leg, descriptor, schedule, now, queued_until)
        return _watch(transfer, descriptor, schedule, now) if isinstance(step, Send) else step
    wished = finding.is_open and transfer.cancels(leg)
    if finding.verdict is not Verdict.OPEN and not wished:
        again = sweep.next_try(transfer, descriptor, schedule, finding, now)
        return again or _watch(transfer, descriptor, schedule, now)
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
    fresh = any(now - SECOND < piece.at for piece in leg.asked(now))
    waiting = isinstance(step, Rest) and not leg.may_be_on_the_wire(now)
    return Ask() if waiting and not fresh and askable(leg, descriptor) else step


def patience_spent(transfer: Transfer, descriptor: Descriptor, now: int) -> bool:
    """Whether the time for proof has passed and a last question, where one can be asked, brought none."""
    leg = transfer.driven
    if now < transfer.orphan_at or leg.may_be_on_the_wire(now):
        return False
    return not askable(leg, descriptor) or bool(leg.lookups(transfer.orphan_at))


def needs_aftercare(leg: Leg, descriptor: Descriptor, finding: Finding) -> bool:
    """A transfer reversed without the provider's own refusal is watched, where it can be asked about; so is one whose
    proof does not hold any more, for a backup was restored since, and a take-back that is still open while people have
    decided otherwise."""
    if finding.is_open:
        return askable(leg, descriptor)
    if finding.proof is None or finding.verdict is not Verdict.REFUSED or not askable(leg, descriptor):
        return False
    inferred = (
        finding.proof.reply.answer in (Answer.CANCELLED, Answer.NOT_FOUND) or finding.proof.source is Source.PERSON
    )
    return inferred or finding.proof.reply.code == "never_completed"


def explain(transfer: Transfer) -> str:
    """In words for a person: what was sent, and what was answered, so that the doubt can be judged."""
    leg = transfer.outside
    sent = ", ".join(f"{a.step.value} ({_told(leg.answer_to(a))})" for a in leg.attempts) or "nothing"
    asked = leg.lookups()
    story = f"sent: {sent}; looked up {len(asked)} times"
    if asked:
        story += f", last answer {_told(asked[-1])}"
    called_back = [_told(piece) for piece in leg.evidence if piece.source is Source.CALLBACK]
    if called_back:
        story += f"; called back: {', '.join(called_back)}"
    story += _otherwise(transfer, leg)
    for earlier in transfer.tries[:-1]:
        if any(piece.reply.answer is Answer.APPLIED for piece in earlier.evidence):
            story += f"; an earlier try of {earlier.amount} minor units was told as executed"
    return story


def _otherwise(transfer: Transfer, leg: Leg) -> str:
    """What was told first that is not as it was meant."""
    for piece in leg.evidence:
        reply = piece.reply
        if piece.source in (Source.ASIDE, Source.PERSON) or reply.answer is Answer.UNKNOWN:
            continue
        if reply.amount not in (None, leg.amount):
            return f"; told {reply.amount} minor units where {leg.amount} were meant"
        pairs = ((reply.currency, transfer.currency), (reply.player, transfer.player), (reply.side, leg.side.value))
        odd = next(((other, meant) for other, meant in pairs if other not in (None, meant)), None)
        if odd is not None:
            return f"; told {odd[0]} where {odd[1]} was meant"
    return ""


def describe(descriptor: Descriptor) -> dict[str, str]:
    """The contract in words, situation → what the engine does: printed by `bridge providers`."""
    absence = descriptor.absence
    told = {
        "not found": "proves nothing"
        if absence is None
        else f"proves absence {absence.after:g} s after the last request, seen {absence.times} times",
        "cancel wished": "void at the provider" if descriptor.cancel is Cancel.YES else "hold",
    }
    replays = descriptor.same_id is not SameId.UNSAFE
    if descriptor.phases != TWO_PHASES:
        again = "; send the same id again when it is not found" if replays else "; never send it again"
        return {"transfer unanswered": f"look up{again}; never conclude from silence", **told}
    return {
        "prepare unanswered": "retry the same id while it can still be completed, then hold until it has died"
        if replays
        else "hold until it has died",
        "complete unanswered": "look up; complete again while time is left; never conclude from silence",
        **told,
    }


def _has_forgotten(leg: Leg) -> bool:
    """Whether a request was answered of which the leg knows nothing: the database was set back while it was out, and
    nobody has noticed that yet."""
    known = {(attempt.number, attempt.step) for attempt in leg.attempts}
    return any(piece.source is Source.CALL and (piece.attempt, piece.step) not in known for piece in leg.evidence)


# --- one leg ------------------------------------------------------------------------------------------


def _drive(
    transfer: Transfer, leg: Leg, descriptor: Descriptor, schedule: Schedule, now: int, queued_until: int
) -> NextStep:
    if leg.may_be_on_the_wire(now):
        return Rest(leg.on_the_wire_until)
    two = descriptor.phases == TWO_PHASES
    match leg.state:
        # What was sent before is there, or is not: whoever does not know it for a repetition would do it again.
        case LegState.PLANNED if not transfer.bears_a_first_request(leg, descriptor):
            return _watch(transfer, descriptor, schedule, now)
        case LegState.PLANNED if _is_given_up(transfer, leg, now):
            return _watch(transfer, descriptor, schedule, now)
        case LegState.RESERVED | LegState.SENT if transfer.is_elsewhere(leg):
            return poll(leg, descriptor, schedule, now)
        case LegState.PLANNED:
            return Rest(queued_until) if now < queued_until else Send(first_step(descriptor))
        case LegState.RESERVED:
            return two_phase.after_reserving(transfer, leg, descriptor, schedule, now)
        case LegState.SENT:
            after_sending = two_phase.after_sending if two else one_phase.after_sending
            return after_sending(transfer, leg, descriptor, schedule, now)
        case LegState.APPLIED | LegState.REFUSED:
            return _watch(transfer, descriptor, schedule, now)
        case _ as unreachable:
            assert_never(unreachable)


def _is_given_up(transfer: Transfer, leg: Leg, now: int) -> bool:
    """Whether what was never sent is not to be sent any more. Usually that is its end at once; not in a restored
    backup, where "never sent" is only what we remember."""
    return transfer.cancels(leg) or (leg.undoes is None and now >= transfer.orphan_at)


def _watch(transfer: Transfer, descriptor: Descriptor, schedule: Schedule, now: int) -> NextStep:
    """A contradiction or a mismatch is for people; a slow question now and then keeps their file fresh, about every
    leg that decides."""
    steps = [_ask_slowly(transfer, leg, schedule, now) for leg in _deciding(transfer) if askable(leg, descriptor)]
    return _soonest(steps) or Rest(now + schedule.longest_wait)


def _ask_slowly(transfer: Transfer, leg: Leg, schedule: Schedule, now: int) -> Ask | Rest:
    asked = leg.asked(now)
    since = asked[-1].at if asked else max((leg.quiet_since(attempt) for attempt in leg.attempts), default=now)
    due = since + schedule.longest_wait
    return Rest(due) if due > now else _ask(transfer, leg)


def _aftercare(transfer: Transfer, descriptor: Descriptor, schedule: Schedule, finding: Finding, now: int) -> NextStep:
    """Some providers execute after they said no: what rests on our inference is asked about later, a reversal, and
    a take-back that came to nothing, whatever people decided then. What ended while a request may still be on the wire
    is looked at when none can be: a refusal told before that counts only then (rule 3), and may be told only once."""
    watched = [] if transfer.state is TransferState.CONFIRMED else [(transfer.outside, finding)]
    watched += [(leg, judge(transfer, leg, descriptor)) for leg in transfer.take_backs]
    steps = [
        _ask_at_the_marks(transfer, leg, schedule, now)
        for leg, found in watched
        if needs_aftercare(leg, descriptor, found)
    ]
    if transfer.may_be_on_the_wire(now):
        steps.append(Rest(transfer.on_the_wire_until))
    return _soonest(steps) or Done()


def _ask_at_the_marks(transfer: Transfer, leg: Leg, schedule: Schedule, now: int) -> Ask | Rest | None:
    """Only a question that was answered counts; one answer serves every mark that has passed by then."""
    settled = transfer.settled_at
    if settled is None:
        return None
    asked = leg.asked(now, settled + 1)
    told = [piece.at - settled for piece in asked if piece.reply.answer is not Answer.UNKNOWN]
    marks = [int(mark * SECOND) for mark in schedule.aftercare if int(mark * SECOND) > max(told, default=0)]
    if not marks:
        return None
    unanswered = sum(1 for piece in asked if piece.reply.answer is Answer.UNKNOWN)
    again = asked[-1].at + int(schedule.polls[min(unanswered, len(schedule.polls) - 1)] * SECOND) if asked else 0
    due = max(settled + marks[0], again)
    return Rest(due) if due > now else _ask(transfer, leg)


def _deciding(transfer: Transfer) -> tuple[Leg, ...]:
    return (*transfer.tries, *transfer.take_backs)


def _ask(transfer: Transfer, leg: Leg) -> Ask:
    return Ask() if leg is transfer.driven else Ask(leg.ordinal)


def _soonest(steps: Iterable[Ask | Rest | None]) -> Ask | Rest | None:
    """A question that is due, else the rest that ends first."""
    due = [step for step in steps if step is not None]
    return min(due, key=lambda step: step.until if isinstance(step, Rest) else 0, default=None)


def _proved(code: str, detail: str) -> Reply:
    return Reply(Answer.NOT_APPLIED, code=code, detail=detail)


def _last_detail(leg: Leg) -> str:
    return _told(leg.evidence[-1] if leg.evidence else None)


def _told(piece: Evidence | None) -> str:
    if piece is None:
        return "no answer"
    return f"{piece.reply.answer.value} {piece.reply.code}".strip()
