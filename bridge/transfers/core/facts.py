"""A transfer as a value: what the pure core reads. Instants in microseconds, amounts in minor units."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.evidence import Answer, Evidence, Source, Step
from bridge.ports import WALLET, Direction, Side
from statemachines import LegState, TransferState


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
        return any(self.answer_to(attempt) is None and now < attempt.wire_until for attempt in self.attempts)

    def effective(self, step: Step) -> tuple[Attempt, ...]:
        """The attempts of a step of which at least one byte may have left."""
        return tuple(a for a in self.attempts if a.step is step and not self._never_left(a))

    def quiet_since(self, attempt: Attempt) -> int:
        """When an attempt ended for us: its answer, or the end of the lease that could have sent it."""
        answer = self.answer_to(attempt)
        return attempt.wire_until if answer is None else answer.at

    def lookups(self, since: int = 0) -> tuple[Evidence, ...]:
        """The answers to look-ups since an instant."""
        return tuple(e for e in self.evidence if e.source is Source.LOOKUP and e.at >= since)

    def _never_left(self, attempt: Attempt) -> bool:
        answer = self.answer_to(attempt)
        return answer is not None and answer.reply.answer is Answer.NOT_SENT


@dataclass(frozen=True)
class Transfer:
    """One movement of `amount` for one player between the wallet and a provider, with its legs."""

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

    @property
    def outside(self) -> Leg:
        """The leg at the provider: the one whose effect has to be proved."""
        return next(leg for leg in self.legs if leg.holder != WALLET and leg.undoes is None)

    @property
    def inside(self) -> Leg:
        """The leg at the operator's wallet."""
        return next(leg for leg in self.legs if leg.holder == WALLET and leg.undoes is None)

    @property
    def given_back(self) -> bool:
        """Whether an undo of the inside leg was applied."""
        return any(leg.undoes == self.inside.ordinal and leg.state is LegState.APPLIED for leg in self.legs)
