"""What people may best do about a transfer next, in words, and the evidence that this rests on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bridge.evidence import Answer, Evidence, Source
from bridge.money import Currencies
from bridge.ports import Descriptor, Direction
from bridge.transfers.core import contract, decisions, fold
from bridge.transfers.core.decisions import Place
from bridge.transfers.core.facts import Leg, Transfer
from bridge.transfers.core.proof import Finding, Verdict
from bridge.transfers.core.reasons import WALLET_SPENT
from bridge.views import redaction
from bridge.views.amounts import clock_time, written
from statemachines import LegState, TransferState

SAID = {
    Answer.APPLIED: "executed",
    Answer.RESERVED: "prepared, nothing moved yet",
    Answer.NOT_APPLIED: "refused",
    Answer.CANCELLED: "cancelled",
    Answer.IN_PROGRESS: "still working on it",
    Answer.NOT_FOUND: "not found",
    Answer.NOT_SENT: "nothing was sent",
    Answer.UNKNOWN: "no usable answer",
}
"""What an answer says, in words for people."""


@dataclass(frozen=True)
class Advice:
    """`step`: what to do, in a sentence or two; `because`: what it rests on; `evidence`: numbers of those pieces."""

    step: str
    because: tuple[str, ...]
    evidence: tuple[int, ...] = ()


def advice(
    transfer: Transfer, descriptor: Descriptor | None, currencies: Currencies, wake_at: int | None, proposed: str | None
) -> Advice:
    """The next step about a transfer. `descriptor`: its provider's, None where that is not configured any more;
    `wake_at`: when the bridge looks at it again by itself; `proposed`: who proposed what is not decided yet."""
    if proposed is not None:
        return Advice(f"{proposed} made a proposal: another person looks at it and approves or rejects it.", ())
    if descriptor is None:
        step = f"{transfer.provider} is not configured any more: put its section back, so that it can be asked."
        return Advice(step, ())
    finding = fold.find(transfer, descriptor)
    match transfer.state:
        case TransferState.CONFIRMED | TransferState.REVERSED:
            return _of_an_end(finding)
        case TransferState.PENDING:
            return _of_waiting(transfer, wake_at)
        case TransferState.ORPHANED:
            return _of_an_orphan(transfer, finding, descriptor, currencies)


def _of_an_end(finding: Finding) -> Advice:
    proof = finding.proof
    because = () if proof is None else (f"Proved by: {_piece(proof)}.",)
    return Advice("Nothing is to be done: where the money is has been proved.", because, _numbers(finding))


def _of_waiting(transfer: Transfer, wake_at: int | None) -> Advice:
    again = "soon" if wake_at is None else f"at {clock_time(wake_at)}"
    step = (
        f"Nothing yet: the bridge looks at it again by itself {again}. What is not proved by "
        f"{clock_time(transfer.orphan_at)} is put before people."
    )
    return Advice(step, tuple(_facts(transfer, transfer.outside)))


def _of_an_orphan(transfer: Transfer, finding: Finding, descriptor: Descriptor, currencies: Currencies) -> Advice:
    leg = transfer.driven
    because = (*_facts(transfer, transfer.outside), *_given(transfer, currencies))
    if leg.undoes is not None and leg.state not in (LegState.APPLIED, LegState.REFUSED):
        step = f"Wait: {transfer.provider} is told to take it out of the game, and is asked until that is proved."
        if contract.is_withdrawn(transfer, finding):
            step = "What the decision rests on was told otherwise since: look at it again, and decide anew."
        return Advice(step, because, _numbers(finding))
    return Advice(" ".join(_steps(transfer, finding, descriptor, currencies)), because, _numbers(finding))


def _steps(transfer: Transfer, finding: Finding, descriptor: Descriptor, currencies: Currencies) -> Iterator[str]:
    leg, provider = transfer.outside, transfer.provider
    if transfer.reason_code == WALLET_SPENT:
        yield "The wallet does not hold what it would have to give back: have it paid in, or write it off."
        return
    named = f"reference {leg.reference}"
    if leg.provider_reference:
        named += f" (their {leg.provider_reference})"
    match finding.verdict:
        case Verdict.MISMATCHED:
            yield (
                f"Ask {provider} what it really did under {named}: it told something else than was asked for. "
                "Decide only when amount, currency and player are certain."
            )
        case Verdict.CONTRADICTED:
            yield f"Ask {provider} which of its statements about {named} holds: both cannot be true."
        case _:
            yield (
                f"Ask {provider} what became of {named}, {written(currencies, leg.amount, transfer.currency)}, "
                f"first sent {_first_sent(leg)}."
            )
    yield from _answers(transfer, descriptor)


def _answers(transfer: Transfer, descriptor: Descriptor) -> Iterator[str]:
    """Which decision fits which answer of the provider."""
    inward, place = transfer.direction is Direction.IN, decisions.place(transfer)
    done, not_done = ("in the game", "never reached the game") if inward else ("out of the game", "still in the game")
    if place is Place.HOUSE and inward:
        yield "If the game has it and the wallet's second one is to go back: propose to confirm."
        if decisions.left_to_take(transfer, descriptor) > 0:
            yield "If it is to come out of the game: propose to claw it back."
        yield "If it has been taken out there already: propose to reverse. If neither can be had back: write it off."
        return
    if place is Place.HOUSE:
        yield f"If it did leave the game: propose to confirm. If it is {not_done}: propose to reverse, to claw it back,"
        yield "or to write it off."
        return
    yield f"If it is {done}, propose to confirm. If it {'' if inward else 'is '}{not_done}, and that is final, propose"
    yield "to reverse. If only a part of it moved, propose to split."


def _facts(transfer: Transfer, leg: Leg) -> Iterator[str]:
    """What has been sent and told, so that the advice can be judged."""
    for attempt in leg.attempts[-3:]:
        answer = leg.answer_to(attempt)
        told = "no answer has come" if answer is None else _said(answer)
        yield f"Request {attempt.number} ({attempt.step.value}), sent {clock_time(attempt.sent_at)}: {told}."
    if not leg.attempts:
        yield "No request about it has been sent to the provider."
    asked = leg.lookups()
    if asked:
        times = f"{len(asked)} time{'' if len(asked) == 1 else 's'}"
        yield f"Asked {times}, last {clock_time(asked[-1].at)}: {_said(asked[-1])}."
    for piece in [piece for piece in leg.evidence if piece.source is Source.CALLBACK][-2:]:
        yield f"The provider called back {clock_time(piece.at)}: {_said(piece)}."
    if transfer.rewound_at is not None:
        yield "The database was restored from a backup: what was sent after it was made is not known here."


def _given(transfer: Transfer, currencies: Currencies) -> Iterator[str]:
    if transfer.given > 0:
        again = " again" if transfer.direction is Direction.IN else ""
        yield f"The wallet has {written(currencies, transfer.given, transfer.currency)} of it{again}."


def _said(piece: Evidence) -> str:
    code = redaction.text(piece.reply.code or "")
    return SAID[piece.reply.answer] + (f" ({code})" if code else "")


def _piece(piece: Evidence) -> str:
    return f"{piece.source.value} of {clock_time(piece.at)}, {_said(piece)}"


def _first_sent(leg: Leg) -> str:
    return clock_time(leg.attempts[0].sent_at) if leg.attempts else "never"


def _numbers(finding: Finding) -> tuple[int, ...]:
    return () if finding.proof is None or not finding.proof.id else (finding.proof.id,)
