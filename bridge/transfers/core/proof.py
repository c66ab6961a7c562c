"""What is proof, and what all the evidence about one leg at a provider says together.

This is decided here and nowhere else (design §5, protocols.md §5). A timeout, a 5xx, garbage, a failed
look-up, "not found" too early or too late, "insufficient" on a second attempt: none of these is in the
lists below, so none of them moves anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from bridge.evidence import Answer, Evidence, Reply, Source, Step
from bridge.ports import SECOND, Descriptor, SameId
from bridge.transfers.core.facts import Leg, Transfer, replace
from statemachines import LegState, TransferState

TWO_PHASES = 2


class Verdict(StrEnum):
    """What all the evidence about a leg at a provider says together."""

    OPEN = "open"
    APPLIED = "applied"
    REFUSED = "refused"
    CONTRADICTED = "contradicted"  # proofs of both
    MISMATCHED = "mismatched"  # a proof about this reference with another amount, currency, player or side


@dataclass(frozen=True)
class Finding:
    """A verdict, and the piece of evidence that decided it (the newest of its kind).

    `arrived`: of an applied leg only so much (minor units), None for all of it; `written_off`: so much of it
    is borne by the house. `taken_back`: applied first and cancelled afterwards, by the provider's own count.
    """

    verdict: Verdict
    proof: Evidence | None = None
    arrived: int | None = None
    written_off: int | None = None
    taken_back: bool = False

    @property
    def is_open(self) -> bool:
        """Whether nothing says what became of it: nothing is proved, or it is both worked on and not found there."""
        at_work = self.proof is not None and self.proof.reply.answer is Answer.IN_PROGRESS
        return self.verdict is Verdict.OPEN or at_work


def judge(transfer: Transfer, leg: Leg, descriptor: Descriptor, pieces: tuple[Evidence, ...] | None = None) -> Finding:
    """What is proved about a leg by the set of its evidence (or of `pieces` of it), in whatever order it came."""
    told = _Told(transfer, leg, descriptor, leg.evidence if pieces is None else pieces)
    applied, refused = told.effects(), told.refusals()
    refused += told.later_cancels(applied)
    every = told.of_every_execution()
    mismatched = [piece for piece in told.pieces if told.is_mismatch(piece.reply)]
    if mismatched:
        return Finding(Verdict.MISMATCHED, _newest(mismatched))
    if len({piece.reply.amount for piece in applied}) > 1 or told.is_executed_twice(applied):
        return Finding(Verdict.CONTRADICTED, _newest(applied))
    if applied and refused:
        if every is told and told.is_all(refused) and _cancelled_after(applied, refused):
            return Finding(Verdict.REFUSED, _newest(refused), taken_back=True)
        return Finding(Verdict.CONTRADICTED, _newest([*applied, *refused]))
    if applied:
        proof = _newest(applied)
        return Finding(Verdict.APPLIED, proof, arrived=None if proof.reply.amount == leg.amount else proof.reply.amount)
    refused = refused if every is told else every.refusals()
    at_work = told.words_of_work()
    if refused and at_work and all(piece.reply.answer is Answer.NOT_FOUND for piece in refused):
        return Finding(Verdict.CONTRADICTED, _newest(at_work))
    if refused and (told.is_all(refused) or not any(told.may_be_clawed_back(piece) for piece in refused)):
        return Finding(Verdict.REFUSED, _newest(refused))
    return Finding(Verdict.OPEN)


def executions(
    transfer: Transfer, leg: Leg, descriptor: Descriptor, pieces: tuple[Evidence, ...]
) -> tuple[Evidence, ...]:
    """The pieces that tell of this leg's effect, whole, or in part where the provider may do that."""
    return tuple(_Told(transfer, leg, descriptor, pieces).effects())


def counted(
    transfer: Transfer, leg: Leg, descriptor: Descriptor, pieces: tuple[Evidence, ...]
) -> tuple[Evidence, ...]:
    """The pieces by whose count others are older: of this leg's effect, and of its cancel, told exactly as intended,
    also where it is left to people what they mean.

    A count is of the changes of one transfer. What is told of another's says nothing of this one's; nor does what only
    fills the time (at work, unknown), nor a refusal, which speaks of its own attempt and never follows an effect; nor a
    cancel that was looked up once, which may be a slip.
    """
    told = _Told(transfer, leg, descriptor, pieces)
    applied, against = told.effects(), told.of_every_execution()
    cancels = [
        piece
        for piece in (*against.refusals(), *against.later_cancels(applied))
        if piece.reply.answer is Answer.CANCELLED and tells_all(transfer, leg, descriptor, piece.reply)
    ]
    return (*applied, *cancels)


def tells_all(transfer: Transfer, leg: Leg, descriptor: Descriptor, reply: Reply) -> bool:
    """Whether a reply is about this leg and tells everything, exactly as it was intended."""
    return _Told(transfer, leg, descriptor, ()).is_about(reply) and _equals_intent(transfer, leg, reply)


def tells_against(transfer: Transfer, leg: Leg, descriptor: Descriptor, piece: Evidence) -> bool:
    """Whether a piece says that this leg's effect is not there: told exactly as intended, or in answer to a request of
    its own, which need not repeat what was asked."""
    told, reply = _Told(transfer, leg, descriptor, ()), piece.reply
    if reply.answer not in (Answer.CANCELLED, Answer.NOT_APPLIED) or not told.is_about(reply):
        return False
    return told.fits_intent(reply) if piece.source is Source.CALL else _equals_intent(transfer, leg, reply)


def reservation(transfer: Transfer) -> Evidence | None:
    """The answer by which the provider prepared exactly what was intended, if there is one.

    A prepared half with another amount moves nothing and is never completed: it dies by itself.
    """
    leg = transfer.driven
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


def _says_reference_is_final(piece: Evidence) -> bool:
    return piece.source is Source.CALL and piece.step is Step.PREPARE and piece.reply.answer is Answer.CANCELLED


def _cancelled_after(applied: list[Evidence], refused: list[Evidence]) -> bool:
    """Whether the provider counts every refusal as a cancel later than everything that it said was applied, under the
    same id of its own: each has a count for itself, and the cancel of another execution undoes nothing of this one."""
    if len({piece.reply.provider_reference for piece in (*applied, *refused)} - {None}) > 1:
        return False
    executed, undone = ([piece.reply.sequence for piece in pieces] for pieces in (applied, refused))
    if None in executed or None in undone or any(e.reply.answer is not Answer.CANCELLED for e in refused):
        return False
    return min(n for n in undone if n is not None) > max(n for n in executed if n is not None)


@dataclass(frozen=True)
class _Told:
    """Pieces of evidence about one leg, and what may be believed of them."""

    transfer: Transfer
    leg: Leg
    descriptor: Descriptor
    pieces: tuple[Evidence, ...]

    def of_every_execution(self) -> _Told:
        """What may be said against an execution wherever there was one: where there may be another, only what was told
        while all was known that had been sent."""
        transfer = self.transfer
        if not transfer.may_have_another_execution(self.descriptor):
            return self
        return replace(self, pieces=tuple(piece for piece in self.pieces if transfer.knew_all(piece.at)))

    def is_all(self, refused: list[Evidence]) -> bool:
        """Whether what was executed and is said to be undone is all that there was. Behind a restored backup people may
        have answered it by a claw-back, and the wallet is not taken from a second time: so it is only where the backup
        had reversed it, and knew of a refusal."""
        transfer = self.transfer
        moved = transfer.state is TransferState.REVERSED and any(transfer.knew_all(piece.at) for piece in refused)
        return moved or not transfer.is_rewound

    def may_be_clawed_back(self, piece: Evidence) -> bool:
        """Whether a cancel may follow an execution that a restored backup has forgotten, which people may have answered
        by a claw-back. None was before the provider's first word, nor between that it was at work and its next; and of
        a provider with two phases what is final stays so (protocols.md §1.1)."""
        if piece.reply.answer is not Answer.CANCELLED or not self._one_phase or self.leg.undoes is not None:
            return False
        reply, at_work = piece.reply, (word.reply for word in self.words_of_work())
        before = {0, *(word.sequence for word in at_work if word.provider_reference == reply.provider_reference)}
        return reply.sequence is None or reply.sequence - 1 not in before

    def effects(self) -> list[Evidence]:
        """The proofs that the effect is there, whole, or in part where the provider may do that."""
        return [
            piece
            for piece in self.pieces
            if piece.reply.answer is Answer.APPLIED
            and self.is_about(piece.reply)
            and (_equals_intent(self.transfer, self.leg, piece.reply) or self._is_partial(piece.reply))
        ]

    def refusals(self) -> list[Evidence]:
        """The proofs that the effect is not there and will not be."""
        proofs = [e for e in self.pieces if e.source is Source.CONTRACT and e.reply.answer is Answer.NOT_APPLIED]
        proofs += [e for e in self.pieces if self._says_it_is_off(e) or self._is_inferred_cancel(e)]
        proofs += self._refused_on_every_attempt()
        proofs += self._repeated_negative_lookups()
        proofs += self._proved_absence()
        return proofs

    def later_cancels(self, applied: list[Evidence]) -> list[Evidence]:
        """Look-ups that tell a cancel which the provider counts after an execution that it told. Each alone says
        enough: what is doubted in a first refusal, that the execution is still to come, has been there before. Where
        another execution was told without a count, or with a later one, the two contradict each other."""
        counts = [piece.reply.sequence for piece in applied if piece.reply.sequence is not None]
        if not counts:
            return []
        return [
            piece
            for piece in self._lookups(0)
            if piece.reply.answer is Answer.CANCELLED
            and (piece.reply.sequence or 0) > min(counts)
            and self.is_about(piece.reply)
            and _equals_intent(self.transfer, self.leg, piece.reply)
        ]

    def words_of_work(self) -> list[Evidence]:
        """Where the provider said that it is working on our reference. Then it knows it, and an absence by the rule
        excludes that: the two are put before people, whichever was heard first, for a reversal may rest on the one."""
        return [e for e in self.pieces if e.reply.answer is Answer.IN_PROGRESS and self.is_about(e.reply)]

    def is_executed_twice(self, applied: list[Evidence]) -> bool:
        """Whether one reference was told as executed under two ids of the provider's own."""
        return len({piece.reply.provider_reference for piece in applied} - {None}) > 1

    def is_mismatch(self, reply: Reply) -> bool:
        """A verdict about our reference whose amount, currency, player or side is told and is another."""
        if reply.answer not in (Answer.APPLIED, Answer.CANCELLED) or not self.is_about(reply):
            return False
        told = (reply.amount, reply.currency, reply.player, reply.side)
        meant = (self.leg.amount, self.transfer.currency, self.transfer.player, self.leg.side.value)
        if reply.reference is None or self._is_partial(reply):
            return False
        return any(t is not None and t != m for t, m in zip(told, meant, strict=True))

    def _is_partial(self, reply: Reply) -> bool:
        if not self.descriptor.partial or reply.answer is not Answer.APPLIED or reply.amount is None:
            return False
        told = (reply.reference, reply.currency, reply.player, reply.side)
        meant = (self.leg.reference, self.transfer.currency, self.transfer.player, self.leg.side.value)
        return told == meant and 0 < reply.amount < self.leg.amount == reply.requested

    def _says_it_is_off(self, piece: Evidence) -> bool:
        """The provider's own statement, to us or by callback, that it took the transfer back or never will do it.

        A refusal of a later attempt is not among them: it speaks of its own attempt alone.
        """
        if not self.is_about(piece.reply) or not _equals_intent(self.transfer, self.leg, piece.reply):
            return False
        cancelled = piece.reply.answer is Answer.CANCELLED
        if piece.source is Source.CALLBACK:
            return cancelled
        if piece.source is not Source.CALL:
            return False
        if piece.step is Step.VOID:
            return cancelled or (self._one_phase and piece.reply.answer is Answer.NOT_APPLIED)
        return cancelled and piece.step is Step.TRANSFER

    def _is_inferred_cancel(self, piece: Evidence) -> bool:
        """protocols.md §1.1, inference (a): a repeated prepare that finds its reference final can only find it
        cancelled, when nobody ever sent the complete that needs the provider's id. What came of the first prepare
        must be known: told later that it never left, or found the reference final too, it would be a collision. That
        nobody sent the complete is not known where a restored backup has forgotten what was sent."""
        if not _says_reference_is_final(piece) or self.leg.effective(Step.COMPLETE) or collided(self.leg):
            return False
        if not self.transfer.knew_all(piece.at):
            return False
        first = next((a for a in self.leg.attempts if a.number == _first_prepare(self.leg)), None)
        return first is not None and piece.attempt > first.number and self.leg.answer_to(first) is not None

    def _refused_on_every_attempt(self) -> list[Evidence]:
        """A refusal proves only that its own attempt did nothing; so each attempt must be accounted for, and
        an attempt-sensitive code ("insufficient") counts only when nothing had left before it. It need not repeat
        what was asked, but what it tells must be that: another's refusal says nothing."""
        refusals: list[Evidence] = []
        for attempt in self.leg.attempts:
            answer = self.leg.answer_to(attempt)
            if answer is None or answer.reply.answer not in (Answer.NOT_SENT, Answer.NOT_APPLIED):
                return []
            if answer.reply.answer is Answer.NOT_APPLIED:
                if not self.fits_intent(answer.reply):
                    return []
                replays = self.descriptor.same_id is SameId.REPLAY and self.descriptor.never_twice
                replayed = replays and not answer.reply.attempt_sensitive and not self.transfer.moved_in_doubt
                forgotten = not self.transfer.knew_all(answer.at) and not replayed
                if forgotten or (answer.reply.attempt_sensitive and refusals):
                    return []  # of a database that was rewound, nobody knows what was sent before
                refusals.append(answer)
        return [piece for piece in refusals if piece in self.pieces]

    def _repeated_negative_lookups(self) -> list[Evidence]:
        """Some providers say FAIL first and execute or roll back later: only repeated ones count, and old ones. Their
        age is counted from the last instant at which a request may have left, for it may have been held up here."""
        if not self.leg.attempts:
            return []
        for asked in self._old_lookups(self.descriptor.fail_final_after):
            negative = [
                piece
                for piece in asked
                if piece.reply.answer in (Answer.CANCELLED, Answer.NOT_APPLIED)
                and self.is_about(piece.reply)
                and _equals_intent(self.transfer, self.leg, piece.reply)
            ]
            if len(negative) >= self.descriptor.fail_final_times:
                return negative
        return []

    def _proved_absence(self) -> list[Evidence]:
        """The answer "not found" proves absence only by the rule, and only while the provider still remembers; one that
        has taken another's place never knew."""
        rule = self.descriptor.absence
        if rule is None or not self.leg.attempts or self.transfer.is_elsewhere(self.leg):
            return []
        retention = self.descriptor.lookup_retention
        ends = None if retention is None else self._first_sent_at() + int(retention * SECOND)
        for asked in self._old_lookups(rule.after):
            spaced: list[Evidence] = []
            for piece in sorted(asked, key=lambda each: each.at):
                if piece.reply.answer is not Answer.NOT_FOUND or (ends is not None and piece.at > ends):
                    continue
                if not spaced or piece.at - spaced[-1].at >= int(rule.apart * SECOND):
                    spaced.append(piece)
            if len(spaced) >= rule.times:
                return spaced
        return []

    def _old_lookups(self, seconds: float) -> Iterator[list[Evidence]]:
        """Look-ups from so long on after a request may have left: those of before any restore where they were believed,
        for what they proved they prove; and those since the last, for nobody knows what was sent before."""
        transfer, quiet, wait = self.transfer, self._all_quiet_since(), int(seconds * SECOND)
        if transfer.rewound_at is None or self._was_believed:
            yield [piece for piece in self._lookups(quiet + wait) if transfer.knew_all(piece.at)]
        if transfer.rewound_at is not None:
            yield list(self._lookups(max(transfer.rewound_at, quiet) + wait))

    def _first_sent_at(self) -> int:
        """When it was sent first; behind a restored backup that may have been as early as there was a transfer."""
        known = self.leg.attempts[0].sent_at
        return known if self.transfer.rewound_at is None else min(known, self.transfer.created_at)

    def _all_quiet_since(self) -> int:
        """The last instant at which a request that is known of may have left, by a clock that has told every second
        since; what was believed before, by the clock of then."""
        told_right = 0 if self._was_believed else (self.transfer.quiet_from or 0)
        ended = (self.leg.quiet_since(attempt) for attempt in self.leg.attempts)
        return max(told_right, *ended)

    @property
    def _was_believed(self) -> bool:
        """Whether it is proved, and moved the leg, that nothing was moved there, and nobody has said otherwise."""
        return self.leg.state is LegState.REFUSED and not self.effects()

    def fits_intent(self, reply: Reply) -> bool:
        """Whether nothing is told that is otherwise than was intended."""
        told = (reply.reference, reply.amount, reply.currency, reply.player, reply.side)
        leg, transfer = self.leg, self.transfer
        meant = (leg.reference, leg.amount, transfer.currency, transfer.player, leg.side.value)
        return all(t is None or t == m for t, m in zip(told, meant, strict=True))

    def _lookups(self, since: int) -> tuple[Evidence, ...]:
        return tuple(e for e in self.pieces if e.source is Source.LOOKUP and e.at >= since)

    def is_about(self, reply: Reply) -> bool:
        """Whether an answer is about this leg at all: one about another reference or id is ignored (C-16)."""
        if reply.reference is not None and reply.reference != self.leg.reference:
            return False
        known, told = self.leg.provider_reference, reply.provider_reference
        return self._one_phase or told is None or known is None or told == known

    @property
    def _one_phase(self) -> bool:
        return self.descriptor.phases != TWO_PHASES


def _equals_intent(transfer: Transfer, leg: Leg, reply: Reply) -> bool:
    """Whether everything is told and is exactly what was intended; what is not told proves nothing."""
    told = (reply.reference, reply.amount, reply.currency, reply.player, reply.side)
    return told == (leg.reference, leg.amount, transfer.currency, transfer.player, leg.side.value)


def _newest(pieces: list[Evidence]) -> Evidence:
    """By when it was observed, so that the order of arrival does not matter."""
    return max(pieces, key=lambda piece: (piece.at, piece.id))
