"""The life of one transfer, as the world sees it. Read EDGES: seven rows, the whole machine.

A transfer is never edited into a state: it is moved, by one row, by facts. *Orphaned* means that a
person watches, not that work stopped.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from statemachines.engine import Edge, StateMachine


class TransferState(StrEnum):
    """The four states that an operator, a provider and an auditor are told."""

    PENDING = "pending"  # intended and perhaps sent; nobody has proved the end yet
    CONFIRMED = "confirmed"  # the destination holds the amount, by proof
    REVERSED = "reversed"  # the source still has, or again has, the amount, by proof
    ORPHANED = "orphaned"  # not provable by machine: value in custody, or borne by the house; a case is open


@dataclass(frozen=True)
class TransferFacts:
    """What is proved about a transfer's two sides; each fact is decided in `bridge.transfers.core.fold`."""

    arrival_proved: bool = False  # the destination leg is applied, by matching proof
    return_proved: bool = False  # the source never moved, or has the amount back, by proof
    contradiction: bool = False  # proofs exclude each other, do not match the intent, or turned round
    patience_spent: bool = False  # the time for proof has passed


def arrival_is_proved(facts: TransferFacts) -> bool:
    return facts.arrival_proved and not (facts.return_proved or facts.contradiction)


def return_is_proved(facts: TransferFacts) -> bool:
    return facts.return_proved and not (facts.arrival_proved or facts.contradiction)


def proof_is_out_of_reach(facts: TransferFacts) -> bool:
    unproved = facts.patience_spent and not (facts.arrival_proved or facts.return_proved)
    return unproved or facts.contradiction


def its_proof_is_contradicted(facts: TransferFacts) -> bool:
    """Taken back or disproved after it arrived; arrived after it was reversed; or not what was intended."""
    return facts.contradiction


S = TransferState
EDGES = (
    #    trigger    from         to           only when
    Edge("confirm", S.PENDING,   S.CONFIRMED, arrival_is_proved),
    Edge("reverse", S.PENDING,   S.REVERSED,  return_is_proved),
    Edge("orphan",  S.PENDING,   S.ORPHANED,  proof_is_out_of_reach),
    Edge("confirm", S.ORPHANED,  S.CONFIRMED, arrival_is_proved),
    Edge("reverse", S.ORPHANED,  S.REVERSED,  return_is_proved),
    Edge("orphan",  S.CONFIRMED, S.ORPHANED,  its_proof_is_contradicted),
    Edge("orphan",  S.REVERSED,  S.ORPHANED,  its_proof_is_contradicted),
)  # fmt: skip

transfer_machine = StateMachine("transfer", TransferState, EDGES)
