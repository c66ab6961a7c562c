"""Evidence → facts → state and position. Functions of values: no row, no clock, no session.

What counts as proof is decided here and nowhere else (design §5, protocols.md §5). A timeout, a 5xx,
garbage, a failed look-up, "not found" too early or too late, "insufficient" on a second attempt: none
of these is in the lists below, so none of them moves anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bridge.evidence import Answer, Evidence, Reply, Source, Step
from bridge.ports import SECOND, Descriptor, Direction
from bridge.positions import Position
from bridge.transfers.core.facts import Leg, Transfer
from statemachines import LegState, TransferFacts, TransferState


class Verdict(StrEnum):
    """What all the evidence about the outside leg says together."""

    OPEN = "open"
    APPLIED = "applied"
    REFUSED = "refused"
    CONTRADICTED = "contradicted"  # proofs of both
    MISMATCHED = "mismatched"  # a proof about this reference with another amount, currency or player


@dataclass(frozen=True)
class Finding:
    """A verdict, and the piece of evidence that decided it (the newest of its kind)."""

    verdict: Verdict
    proof: Evidence | None = None


def find(transfer: Transfer, descriptor: Descriptor) -> Finding:
    """What is proved about the outside leg by the set of its evidence, in whatever order it came."""
    leg = transfer.outside
    applied = [e for e in leg.evidence if _is_proof_of_effect(transfer, leg, e)]
    refused = _proofs_of_refusal(transfer, leg, descriptor)
    mismatched = [e for e in leg.evidence if _is_mismatch(transfer, leg, e.reply)]
    if mismatched:
        return Finding(Verdict.MISMATCHED, _newest(mismatched))
    if applied and refused:
        return Finding(Verdict.CONTRADICTED, _newest([*applied, *refused]))
    if applied:
        return Finding(Verdict.APPLIED, _newest(applied))
    if refused:
        return Finding(Verdict.REFUSED, _newest(refused))
    return Finding(Verdict.OPEN)


def reservation(transfer: Transfer) -> Evidence | None:
    """The answer by which the provider prepared exactly what was intended, if there is one.

    A prepared half with another amount moves nothing and is never completed: it dies by itself.
    """
    leg = transfer.outside
    for piece in reversed(leg.evidence):
        reply = piece.reply
        if reply.answer is Answer.RESERVED and reply.reference == leg.reference and reply.provider_reference:
            return piece if _equals_intent(transfer, leg, reply) else None
    return None


def collided(leg: Leg) -> bool:
    """Whether the very first prepare that left was told that its reference is already final: somebody else's,
    or ours from before a restored backup. Then nothing may be concluded from silence (C-10)."""
    return any(_says_reference_is_final(e) and e.attempt == _first_prepare(leg) for e in leg.evidence)


def _first_prepare(leg: Leg) -> int:
    """The number of the first attempt of which a byte may have left; 0 if there is none."""
    left = leg.effective(Step.PREPARE)
    return left[0].number if left else 0


def facts_of(transfer: Transfer, finding: Finding, *, patience_spent: bool) -> TransferFacts:
    """The facts on which the transfer's machine decides."""
    verdict = finding.verdict
    return TransferFacts(
        arrival_proved=verdict is Verdict.APPLIED,
        return_proved=verdict is Verdict.REFUSED,
        contradiction=verdict in (Verdict.CONTRADICTED, Verdict.MISMATCHED) or _turned(transfer, verdict),
        patience_spent=patience_spent,
    )


def trigger_for(state: TransferState, facts: TransferFacts) -> str | None:
    """Which edge of the transfer's machine the facts call for, or None when it is where it belongs."""
    if facts.contradiction:
        return None if state is TransferState.ORPHANED else "orphan"
    if facts.arrival_proved:
        return None if state is TransferState.CONFIRMED else "confirm"
    if facts.return_proved:
        return None if state is TransferState.REVERSED else "reverse"
    return "orphan" if facts.patience_spent and state is TransferState.PENDING else None


def position(transfer: Transfer) -> Position:
    """The row of design §7 that a transfer's state and facts select."""
    if transfer.state is TransferState.CONFIRMED:
        return Position.ARRIVED
    if transfer.state is TransferState.REVERSED:
        return Position.NOTHING
    if transfer.state is TransferState.PENDING:
        return Position.TRANSIT if _source(transfer).state is LegState.APPLIED else Position.NOTHING
    return Position.HOUSE if _wallet_has_it(transfer) else Position.CUSTODY


def _wallet_has_it(transfer: Transfer) -> bool:
    """Whether the wallet was given the amount before the doubt arose: back (in), or as the destination (out).

    Becoming orphaned never touches a wallet: the player may have spent it, and taking back is for people.
    """
    if transfer.direction is Direction.IN:
        return transfer.given_back
    return transfer.inside.state is LegState.APPLIED


def _source(transfer: Transfer) -> Leg:
    return transfer.inside if transfer.direction is Direction.IN else transfer.outside


def _turned(transfer: Transfer, verdict: Verdict) -> bool:
    """A final state whose proof has turned into its opposite."""
    return (transfer.state, verdict) in (
        (TransferState.CONFIRMED, Verdict.REFUSED),
        (TransferState.REVERSED, Verdict.APPLIED),
    )


# --- what is proof ------------------------------------------------------------------------------------


def _is_proof_of_effect(transfer: Transfer, leg: Leg, piece: Evidence) -> bool:
    reply = piece.reply
    return reply.answer is Answer.APPLIED and _concerns(leg, reply) and _equals_intent(transfer, leg, reply)


def _proofs_of_refusal(transfer: Transfer, leg: Leg, descriptor: Descriptor) -> list[Evidence]:
    proofs = [e for e in leg.evidence if e.source is Source.CONTRACT and e.reply.answer is Answer.NOT_APPLIED]
    proofs += [e for e in leg.evidence if _is_void(transfer, leg, e) or _is_inferred_cancel(leg, e)]
    proofs += _refused_on_every_attempt(leg)
    proofs += _repeated_negative_lookups(transfer, leg, descriptor)
    proofs += _proved_absence(leg, descriptor)
    return proofs


def _refused_on_every_attempt(leg: Leg) -> list[Evidence]:
    """A refusal proves only that its own attempt did nothing; so each attempt must be accounted for, and
    an attempt-sensitive code ("insufficient") counts only when nothing had left before it."""
    answers = [leg.answer_to(attempt) for attempt in leg.attempts]
    refusals: list[Evidence] = []
    for answer in answers:
        if answer is None or answer.reply.answer not in (Answer.NOT_SENT, Answer.NOT_APPLIED):
            return []
        if answer.reply.answer is Answer.NOT_APPLIED:
            if answer.reply.attempt_sensitive and refusals:
                return []
            refusals.append(answer)
    return refusals


def _is_void(transfer: Transfer, leg: Leg, piece: Evidence) -> bool:
    """The provider's own answer that it took the transfer back."""
    return (
        piece.source is Source.CALL
        and piece.step is Step.VOID
        and piece.reply.answer is Answer.CANCELLED
        and _concerns(leg, piece.reply)
        and _equals_intent(transfer, leg, piece.reply)
    )


def _is_inferred_cancel(leg: Leg, piece: Evidence) -> bool:
    """protocols.md §1.1, inference (a): a repeated prepare that finds its reference final can only find it
    cancelled, when nobody ever sent the complete that needs the provider's id."""
    repeated = _says_reference_is_final(piece) and piece.attempt > _first_prepare(leg)
    return repeated and not leg.effective(Step.COMPLETE) and not collided(leg)


def _says_reference_is_final(piece: Evidence) -> bool:
    return piece.source is Source.CALL and piece.step is Step.PREPARE and piece.reply.answer is Answer.CANCELLED


def _repeated_negative_lookups(transfer: Transfer, leg: Leg, descriptor: Descriptor) -> list[Evidence]:
    """Some providers say FAIL first and execute or roll back later: only old and repeated ones count."""
    if not leg.attempts:
        return []
    settled = leg.attempts[-1].sent_at + int(descriptor.fail_final_after * SECOND)
    negative = [
        e
        for e in leg.lookups(settled)
        if e.reply.answer in (Answer.CANCELLED, Answer.NOT_APPLIED)
        and _concerns(leg, e.reply)
        and _equals_intent(transfer, leg, e.reply)
    ]
    return negative if len(negative) >= descriptor.fail_final_times else []


def _proved_absence(leg: Leg, descriptor: Descriptor) -> list[Evidence]:
    """The answer "not found" proves absence only by the rule, and only while the provider still remembers."""
    rule = descriptor.absence
    if rule is None or not leg.attempts:
        return []
    begins = max(leg.quiet_since(a) for a in leg.attempts) + int(rule.after * SECOND)
    ends = (
        None
        if descriptor.lookup_retention is None
        else leg.attempts[0].sent_at + int(descriptor.lookup_retention * SECOND)
    )
    spaced: list[Evidence] = []
    for piece in leg.lookups(begins):
        if piece.reply.answer is not Answer.NOT_FOUND or (ends is not None and piece.at > ends):
            continue
        if not spaced or piece.at - spaced[-1].at >= int(rule.apart * SECOND):
            spaced.append(piece)
    return spaced if len(spaced) >= rule.times else []


def _is_mismatch(transfer: Transfer, leg: Leg, reply: Reply) -> bool:
    """A verdict about our reference whose amount, currency, player or side is told and is another."""
    if reply.answer not in (Answer.APPLIED, Answer.CANCELLED) or not _concerns(leg, reply):
        return False
    told = (reply.amount, reply.currency, reply.player, reply.side)
    meant = (transfer.amount, transfer.currency, transfer.player, leg.side.value)
    return reply.reference is not None and any(t is not None and t != m for t, m in zip(told, meant, strict=True))


def _concerns(leg: Leg, reply: Reply) -> bool:
    """Whether an answer is about this leg at all: one about another reference or id is ignored (C-16)."""
    if reply.reference is not None and reply.reference != leg.reference:
        return False
    known, told = leg.provider_reference, reply.provider_reference
    return told is None or known is None or told == known


def _equals_intent(transfer: Transfer, leg: Leg, reply: Reply) -> bool:
    """Whether everything is told and is exactly what was intended; what is not told proves nothing."""
    told = (reply.reference, reply.amount, reply.currency, reply.player, reply.side)
    return told == (leg.reference, transfer.amount, transfer.currency, transfer.player, leg.side.value)


def _newest(pieces: list[Evidence]) -> Evidence:
    """By when it was observed, so that the order of arrival does not matter."""
    return max(pieces, key=lambda piece: (piece.at, piece.id))
