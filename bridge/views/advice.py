"""What people may best do about a transfer next, in words, and the evidence that this rests on."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from bridge.evidence import Answer, Evidence, Source
from bridge.money import Currencies
from bridge.ports import SECOND, Descriptor, Direction
from bridge.transfers.core import contract, decisions, fold
from bridge.transfers.core.decisions import Kind, Place
from bridge.transfers.core.facts import Leg, Transfer
from bridge.transfers.core.proof import Finding, Verdict
from bridge.transfers.core.reasons import WALLET_SPENT
from bridge.views import told, words
from bridge.views.amounts import clock_time, duration, written
from statemachines import LegState, TransferState


@dataclass(frozen=True)
class Advice:
    """`step`: what to do, in a sentence or two; `because`: what it rests on; `evidence`: numbers of those pieces."""

    step: str
    because: tuple[str, ...]
    evidence: tuple[int, ...] = ()


@dataclass(frozen=True)
class Around:
    """What the advice rests on beside the evidence, as of the instant `now` (microseconds). `wake_at`: when the bridge
    looks at it again by itself; `proposed`: who proposed what is not decided yet; `deciders`: who decided last."""

    now: int
    wake_at: int | None = None
    proposed: str | None = None
    deciders: str | None = None


REFUSALS = (Answer.NOT_APPLIED, Answer.CANCELLED, Answer.NOT_FOUND)

SOURCES = {
    Source.CALL: "the answer to a request",
    Source.LOOKUP: "the answer to a look-up",
    Source.CALLBACK: "the callback",
    Source.CONTRACT: "the rule of the contract",
}
"""Where a proof comes from, before "of" and its instant."""

_BORNE = {
    Kind.CLAW_BACK: "If it is to come out of the game: propose to claw it back.",
    Kind.WRITE_OFF: "If neither can be had back: propose to write it off.",
}
_IN = {
    Kind.CONFIRM: "If it is in the game, propose to confirm.",
    Kind.REVERSE: "If it never reached the game, and that is final, propose to reverse.",
    Kind.SPLIT: "If only a part of it moved, propose to split.",
}
_OUT = {
    Kind.CONFIRM: "If it is out of the game, propose to confirm.",
    Kind.REVERSE: "If it is still in the game, and that is final, propose to reverse.",
    Kind.SPLIT: "If only a part of it moved, propose to split.",
}
_KEPT = {Kind.WRITE_OFF: "If the game has all of it, and the wallet is to keep its part, propose to write it off."}

ANSWERS: dict[tuple[Direction, Place], dict[Kind, str]] = {
    (Direction.IN, Place.CUSTODY): _IN,
    (Direction.IN, Place.BOTH): _IN | _KEPT,
    (Direction.IN, Place.HOUSE): {
        Kind.CONFIRM: "If the game has it and the wallet's second one is to go back: propose to confirm.",
        Kind.REVERSE: "If it has been taken out there already: propose to reverse.",
        Kind.SPLIT: "If the game has only a part of it: propose to split.",
        **_BORNE,
    },
    (Direction.OUT, Place.CUSTODY): _OUT,
    (Direction.OUT, Place.BOTH): _OUT | _KEPT,
    (Direction.OUT, Place.HOUSE): {
        Kind.CONFIRM: "If it did leave the game: propose to confirm.",
        Kind.REVERSE: "If it is still in the game, and the wallet is to give it back: propose to reverse.",
        Kind.SPLIT: "If only a part of it left the game: propose to split.",
        **_BORNE,
    },
}
"""Direction and place → decision → the answer of the provider that it fits."""

LATE = 60 * SECOND
"""What is due for so long is not being looked at: it is every second, while anybody does."""


def advice(transfer: Transfer, descriptor: Descriptor | None, currencies: Currencies, around: Around) -> Advice:
    """The next step about a transfer. `descriptor`: its provider's, None where that is not configured any more."""
    if around.proposed is not None:
        return Advice(f"{around.proposed} made a proposal: another person looks at it and approves or rejects it.", ())
    if descriptor is None:
        step = f"{transfer.provider} is not configured any more: put its section back, so that it can be asked."
        return Advice(step, ())
    finding = fold.find(transfer, descriptor)
    match transfer.state:
        case TransferState.CONFIRMED | TransferState.REVERSED:
            return _of_an_end(transfer, finding, around)
        case TransferState.PENDING:
            return Advice(_waiting(transfer, around), tuple(_all_facts(transfer, currencies)))
        case TransferState.ORPHANED:
            return _of_an_orphan(transfer, finding, descriptor, currencies, around)


def _of_an_end(transfer: Transfer, finding: Finding, around: Around) -> Advice:
    """A decision of people is called one for ever: it is no proof."""
    proof = finding.proof
    because = [*_decided(transfer, around)]
    if proof is not None and proof.source is Source.PERSON:
        return Advice(
            "Nothing is to be done: people have decided where the money is.", tuple(because), _numbers(finding)
        )  # fmt: skip
    because += [] if proof is None else [f"Proved by: {_piece(proof)}."]
    return Advice("Nothing is to be done: where the money is has been proved.", tuple(because), _numbers(finding))


def _decided(transfer: Transfer, around: Around) -> Iterator[str]:
    if transfer.decision is not None:
        by = f"{around.deciders}, " if around.deciders else ""
        yield f"People decided: {by}{words.DEEDS.get(transfer.decision.reply.code, transfer.decision.reply.code)}."


def _waiting(transfer: Transfer, around: Around) -> str:
    """No instant that is past is promised: where nobody looks, that is what is said."""
    wake_at, now = around.wake_at, around.now
    late = 0 if wake_at is None else now - wake_at
    if wake_at is not None and late >= LATE:
        again = (
            f"The bridge was to look at it again at {clock_time(wake_at)} and has not, for {duration(late)}: see under "
            "Jobs whether they run."
        )
    elif wake_at is None or late >= 0:
        again = "Nothing yet: the bridge is about to look at it again by itself."
    else:
        again = f"Nothing yet: the bridge looks at it again by itself at {clock_time(wake_at)}."
    if now < transfer.orphan_at:
        return f"{again} What is not proved by {clock_time(transfer.orphan_at)} is put before people."
    return f"{again} Its patience ended {clock_time(transfer.orphan_at)}: unproved, it is put before people then."


def _of_an_orphan(
    transfer: Transfer, finding: Finding, descriptor: Descriptor, currencies: Currencies, around: Around
) -> Advice:
    because = (*_decided(transfer, around), *_given(transfer, currencies), *_all_facts(transfer, currencies))
    if decisions.is_being_taken(transfer, descriptor, around.now):
        step = f"Wait: {transfer.provider} is told to take it out of the game, and is asked until that is proved."
        if contract.is_withdrawn(transfer, finding):
            step = (
                f"Wait: what the decision rests on was told otherwise since. {transfer.provider} is asked whether it "
                "took it out of the game all the same; then decide anew."
            )
    elif transfer.may_be_on_the_wire(around.now):
        step = "Wait: a request about it is on its way, and nothing can be decided before its end."
    else:
        permitted = decisions.permitted(transfer, descriptor, around.now)
        step = " ".join((*_questions(transfer, finding, currencies), *_answers(transfer, permitted)))
    return Advice(step, because, _numbers(finding))


def _questions(transfer: Transfer, finding: Finding, currencies: Currencies) -> Iterator[str]:
    """What is to be found out, or had, before people decide."""
    leg, driven, provider = transfer.outside, transfer.driven, transfer.provider
    if _is_spent(transfer):
        end = "confirm" if transfer.direction is Direction.IN else "reverse"
        yield f"The wallet does not hold what it would have to give back: have it paid in, and propose to {end}."
        return
    if _was_refused(driven):
        yield f"Taking it out of the game was refused{_why_refused(transfer, driven, currencies)}."
        return
    if driven.undoes is not None and driven.state is not LegState.APPLIED:
        said = "it was told to" if driven.attempts else "it may have been told to, though nothing of that is known here"
        yield (
            f"Ask {provider} whether it took it out of the game under {_named(driven)}, first sent "
            f"{_first_sent(driven)}: {said}, and nothing proves what came of that."
        )
        if not contract.is_withdrawn(transfer, finding):
            return
    match finding.verdict:
        case Verdict.MISMATCHED:
            yield (
                f"Ask {provider} what it really did under {_named(leg)}: it told something else than was asked for. "
                "Decide only when amount, currency and player are certain."
            )
        case Verdict.CONTRADICTED | Verdict.APPLIED:  # one of the two may be doubted since it was told
            yield f"Ask {provider} which of its statements about {_named(leg)} holds: both cannot be true."
        case _:
            yield (
                f"Ask {provider} what became of {_named(leg)}, {written(currencies, leg.amount, transfer.currency)}, "
                f"first sent {_first_sent(leg)}."
            )


def _is_spent(transfer: Transfer) -> bool:
    """Whether all is proved, and the wallet is to give what it does not hold. Where people have ordered the amount to
    be taken out of the game instead, what became of that comes first: both would take twice."""
    return transfer.reason_code == WALLET_SPENT and not transfer.ordered


def _named(leg: Leg) -> str:
    """By our reference, and by the provider's where it has told one."""
    theirs = f" (their {leg.provider_reference})" if leg.provider_reference else ""
    return f"reference {leg.reference}{theirs}"


def _was_refused(leg: Leg) -> bool:
    """Whether it is what people had ordered to be taken back, and the provider would not."""
    return leg.undoes is not None and leg.state is LegState.REFUSED


def _why_refused(transfer: Transfer, leg: Leg, currencies: Currencies) -> str:
    """What the provider's last refusal of it says, behind the words that it was refused."""
    refusals = [piece for piece in leg.evidence if piece.reply.answer in REFUSALS]
    return f": {told.in_full(transfer, leg, refusals[-1], currencies)}" if refusals else ""


def _answers(transfer: Transfer, permitted: Collection[Kind]) -> Iterator[str]:
    """Which decision fits which answer of the provider, of those that may be made now."""
    again = {Kind.CLAW_BACK: "Only if what kept it from being taken is gone: propose to claw it back again."}
    answers = ANSWERS[transfer.direction, decisions.place(transfer)] | (again if _was_refused(transfer.driven) else {})
    of_use = {Kind.CLAW_BACK, Kind.WRITE_OFF} if _is_spent(transfer) else set(Kind)
    yield from (answer for kind, answer in answers.items() if kind in of_use.intersection(permitted))


def _all_facts(transfer: Transfer, currencies: Currencies) -> Iterator[str]:
    """What has been sent and told, so that the advice can be judged; of what people ordered to be taken back last."""
    if transfer.moved_at is not None:
        yield "Another provider has this name since: what was sent to the one before is known there, if anywhere."
        if transfer.moved_in_doubt:
            yield "It is not certain that all that was sent to the one before is known here."
    elif transfer.rewound_at is not None:
        yield "The database was restored from a backup: what was sent after it was made is not known here."
    if transfer.is_rewound and transfer.sweep:
        yield "All that was there was asked for: a try after those may be forgotten, of another amount."
    yield from _facts(transfer, transfer.outside, currencies)
    for leg in transfer.ordered:
        if not leg.attempts:
            yield "Taking it back: no request has been sent to the provider."
        yield from (f"Taking it back: {fact[:1].lower()}{fact[1:]}" for fact in _told_about(transfer, leg, currencies))


def _facts(transfer: Transfer, leg: Leg, currencies: Currencies) -> Iterator[str]:
    if not leg.attempts:
        yield "No request about it has been sent to the provider."
    yield from _told_about(transfer, leg, currencies)


def _told_about(transfer: Transfer, leg: Leg, currencies: Currencies) -> Iterator[str]:
    for attempt in leg.attempts[-3:]:
        answer = leg.answer_to(attempt)
        said = "no answer has come" if answer is None else told.in_full(transfer, leg, answer, currencies)
        yield f"Request {attempt.number} ({attempt.step.value}), sent {clock_time(attempt.sent_at)}: {said}."
    asked = leg.lookups()
    if asked:
        times = f"{len(asked)} time{'' if len(asked) == 1 else 's'}"
        last = told.in_full(transfer, leg, asked[-1], currencies)
        yield f"Asked {times}, last {clock_time(asked[-1].at)}: {last}."
    for piece in [piece for piece in leg.evidence if piece.source is Source.CALLBACK][-2:]:
        said = told.in_full(transfer, leg, piece, currencies)
        yield f"The provider called back {clock_time(piece.at)}: {said}."


def _given(transfer: Transfer, currencies: Currencies) -> Iterator[str]:
    if transfer.given > 0:
        again = " again" if transfer.direction is Direction.IN else ""
        yield f"The wallet has {written(currencies, transfer.given, transfer.currency)} of it{again}."


def _piece(piece: Evidence) -> str:
    return f"{SOURCES.get(piece.source, piece.source.value)} of {clock_time(piece.at)}, {told.said(piece)}"


def _first_sent(leg: Leg) -> str:
    return clock_time(leg.attempts[0].sent_at) if leg.attempts else "never"


def _numbers(finding: Finding) -> tuple[int, ...]:
    return () if finding.proof is None or not finding.proof.id else (finding.proof.id,)
