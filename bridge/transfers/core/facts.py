"""A transfer as a value: what the pure core reads. Instants in microseconds, amounts in minor units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from bridge.evidence import Answer, Evidence, Source, Step
from bridge.ports import SECOND, WALLET, Descriptor, Direction, Side
from statemachines import LegState, TransferState

ORDER = "claw_back"
"""The code of a decision that orders a take-back."""

AHEAD = 5 * SECOND
"""Two clocks that are right are never so far (microseconds) apart: each is within two seconds of the database's."""

NEVER = 2**62
"""An instant (microseconds) that does not come."""

CONTRADICTION = "contradiction"
"""Why a transfer is before people: two things told about it exclude each other, or one excludes how it had ended."""

UNNOTICED = 60 * SECOND
"""How long (microseconds) before it was seen a restore may have happened, clocks that are apart included. Answers are
stored as ever meanwhile: after a failover a tick of the jobs may hang for half a minute on a socket that is dead."""

Fact = TypeVar("Fact")


def replace(value: Fact, **fields: Any) -> Fact:
    """A frozen value with some of its fields changed: as dataclasses.replace, but without giving every field to the
    constructor again, which takes several times as long."""
    changed = object.__new__(type(value))
    known = changed.__dict__
    known.update(value.__dict__)
    size = len(known)
    known.update(fields)
    if len(known) != size:
        raise TypeError(f"{type(value).__name__} has no such field: {', '.join(fields.keys() - value.__dict__.keys())}")
    return changed


@dataclass(frozen=True)
class Attempt:
    """One money request that was committed as sent; nothing of it is on the wire after `wire_until`."""

    number: int
    step: Step
    sent_at: int
    wire_until: int


@dataclass(frozen=True)
class Leg:
    """One side of a transfer, with every attempt and every piece of evidence, oldest first."""

    ordinal: int
    holder: str
    side: Side
    state: LegState
    amount: int
    step: Step | None = None
    undoes: int | None = None
    reference: str | None = None
    provider_reference: str | None = None
    unknown_since: int | None = None
    attempts: tuple[Attempt, ...] = ()
    evidence: tuple[Evidence, ...] = ()

    def answer_to(self, attempt: Attempt) -> Evidence | None:
        """The direct answer to a money request, if one was stored."""
        for piece in self.evidence:
            if piece.source is Source.CALL and piece.attempt == attempt.number:
                return piece
        return None

    def may_be_on_the_wire(self, now: int) -> bool:
        """Whether bytes of a money request of this leg could still be travelling from us."""
        return now < self.on_the_wire_until

    @property
    def on_the_wire_until(self) -> int:
        """The end of the last lease under which a request without an answer could have left; 0 if there is none."""
        return max((each.wire_until for each in self.attempts if self.answer_to(each) is None), default=0)

    def effective(self, step: Step) -> tuple[Attempt, ...]:
        """The attempts of a step of which at least one byte may have left."""
        return tuple(a for a in self.attempts if a.step is step and not self._never_left(a))

    def quiet_since(self, attempt: Attempt) -> int:
        """When an attempt ended for us: its answer, or the end of the lease that could have sent it, whichever came
        first. An answer that a paused worker brings later makes nothing later: no byte left after its lease."""
        answer = self.answer_to(attempt)
        return attempt.wire_until if answer is None else min(answer.at, attempt.wire_until)

    def lookups(self, since: int = 0) -> tuple[Evidence, ...]:
        """The answers to look-ups since an instant."""
        return tuple(e for e in self.evidence if e.source is Source.LOOKUP and e.at >= since)

    def asked(self, now: int, since: int = 0) -> tuple[Evidence, ...]:
        """The look-ups since an instant by which the next one is planned. One from a time that is to come is none of
        them: the clock by which it was asked was ahead, and would keep everybody else from asking until then."""
        return tuple(piece for piece in self.lookups(since) if piece.at <= now + AHEAD)

    def asides(self, code: str, since: int) -> tuple[Evidence, ...]:
        """Kicks (`kicked`) or balances read (`balance`) since an instant."""
        return tuple(e for e in self.evidence if e.source is Source.ASIDE and e.reply.code == code and e.at >= since)

    def _never_left(self, attempt: Attempt) -> bool:
        answer = self.answer_to(attempt)
        return answer is not None and answer.reply.answer is Answer.NOT_SENT


@dataclass(frozen=True)
class Transfer:
    """One movement of `amount` for one player between the wallet and a provider, with its legs.

    `arrived` and `written_off` are set where a transfer ended in part: of the whole so much arrived, and so
    much of that is borne by the house. `sweep`: the amount asked for was "all that is there". `rewound_at`: when it was
    last seen that a restored backup had forgotten what came after it; `first_rewound_at`: when that was seen first.
    `quiet_from`: a clock was set forward, and nothing that is open is silent for longer than since then.
    `moved_at`: since then its provider's name stands for another one, which need not know what was sent before.
    """

    id: str
    operator_id: int
    player: str
    provider: str
    direction: Direction
    amount: int
    currency: str
    state: TransferState
    version: int
    created_at: int
    orphan_at: int
    lease_epoch: int
    legs: tuple[Leg, ...]
    settled_at: int | None = None
    cancel_requested_at: int | None = None
    reason_code: str | None = None
    failures: int = 0
    lease_owner: str | None = None
    sweep: bool = False
    dust: int | None = None
    arrived: int | None = None
    written_off: int | None = None
    rewound_at: int | None = None
    first_rewound_at: int | None = None
    quiet_from: int | None = None
    moved_at: int | None = None

    @property
    def tries(self) -> tuple[Leg, ...]:
        """The legs at the provider that carry the transfer out, oldest first; a sweep may need a second."""
        return tuple(leg for leg in self.legs if leg.holder != WALLET and leg.undoes is None)

    @property
    def outside(self) -> Leg:
        """The leg at the provider whose effect has to be proved: the newest try."""
        return next(leg for leg in reversed(self.legs) if leg.holder != WALLET and leg.undoes is None)

    @property
    def inside(self) -> Leg:
        """The leg at the operator's wallet."""
        return next(leg for leg in self.legs if leg.holder == WALLET and leg.undoes is None)

    @property
    def take_backs(self) -> tuple[Leg, ...]:
        """The legs that take the amount out of the game again, each by a decision of people, oldest first."""
        return tuple(leg for leg in self.legs if leg.holder != WALLET and leg.undoes is not None)

    @property
    def ordered(self) -> tuple[Leg, ...]:
        """Of the take-backs those that people have ordered: each decision has led to one, in their order."""
        legs = self.take_backs
        return legs and legs[: sum(piece.reply.code == ORDER for piece in self.decisions)]

    @property
    def unordered(self) -> tuple[Leg, ...]:
        """The take-backs beyond those: no code of ours has written them, and nothing is sent for them."""
        return self.take_backs[len(self.ordered) :]

    @property
    def driven(self) -> Leg:
        """The leg on which work goes on: what people decided to take back, else the newest try."""
        return (self.ordered or (self.outside,))[-1]

    @property
    def decisions(self) -> tuple[Evidence, ...]:
        """What people have decided, oldest first."""
        made = (piece for leg in self.tries for piece in leg.evidence if piece.source is Source.PERSON)
        return tuple(sorted(made, key=lambda piece: piece.watermark or 0))

    @property
    def decision(self) -> Evidence | None:
        """The newest decision of people, if there is one."""
        return self.decisions[-1] if self.decisions else None

    @property
    def wallet_net(self) -> int:
        """What this transfer has done to the player's wallet so far, in minor units: applied wallet legs."""
        applied = (leg for leg in self.legs if leg.holder == WALLET and leg.state is LegState.APPLIED)
        return sum(leg.amount if leg.side is Side.CREDIT else -leg.amount for leg in applied)

    @property
    def given(self) -> int:
        """What the wallet was given of the amount: back (in), or as the destination (out); minor units."""
        return self.wallet_net + (self.amount if self.direction is Direction.IN else 0)

    def knew_all(self, at: int) -> bool:
        """Whether, when something was told at that instant, all was known that had been sent before. What a first
        restore has made the database forget stays forgotten, however often it is restored again."""
        first = self.first_rewound_at or self.rewound_at
        return first is None or at < first - UNNOTICED

    def is_elsewhere(self, leg: Leg) -> bool:
        """Whether something of a leg may have been sent to the one that had this provider's name before; in doubt that
        is so also of what was never sent as far as we remember."""
        if self.moved_at is None:
            return False
        return self.moved_in_doubt or any(attempt.sent_at <= self.moved_at for attempt in leg.attempts)

    @property
    def moved_in_doubt(self) -> bool:
        """Whether its provider's name was given to another one, and not only that: a backup was restored before or
        since, a clock was ahead, or the name was given away twice. That alone leaves one instant in all its marks."""
        return self.moved_at is not None and not self.moved_at == self.first_rewound_at == self.rewound_at

    @property
    def is_rewound(self) -> bool:
        """Whether a restored backup may have forgotten something of it: not where its provider's name was given to
        another one, and only that."""
        return self.moved_in_doubt or (self.rewound_at is not None and self.moved_at is None)

    def may_have_another_execution(self, descriptor: Descriptor) -> bool:
        """Whether a reference may have been executed beside what is known of it: where another has the provider's name
        as well, or where one may be executed twice and a backup was restored."""
        return self.moved_in_doubt or (self.is_rewound and not descriptor.never_twice)

    def bears_a_first_request(self, leg: Leg, descriptor: Descriptor) -> bool:
        """Whether the first request of a leg does no harm, should something have been sent before and be forgotten.

        Whoever gets a reference again knows it for a repetition, however late, where it cannot have another execution.
        Of take-backs that is not enough: a forgotten one may have had another reference, its number being another.
        """
        return self.bears_a_take_back if leg.undoes is not None else not self.may_have_another_execution(descriptor)

    @property
    def bears_a_take_back(self) -> bool:
        """Whether all is known that was taken out of the game by a request."""
        return not self.is_rewound

    def cancels(self, leg: Leg) -> bool:
        """Whether somebody wishes this leg cancelled; what people ordered to be taken back is carried out."""
        return self.cancel_requested_at is not None and leg.undoes is None

    def leg(self, ordinal: int) -> Leg:
        """The leg with this number."""
        return next(leg for leg in self.legs if leg.ordinal == ordinal)

    def may_be_on_the_wire(self, now: int) -> bool:
        """Whether bytes of any money request could still be travelling from us."""
        return now < self.on_the_wire_until

    @property
    def on_the_wire_until(self) -> int:
        """As of a leg: of all of them."""
        return max((leg.on_the_wire_until for leg in self.legs), default=0)
