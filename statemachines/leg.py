"""The life of one leg: one outside effect on one holder. *Unknown* is not a state but a column
(`unknown_since`), for a crash after `sent` and a timeout after `sent` obey the same rules.

A refused leg is never sent again: a new try is a new leg with a new reference.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from statemachines.engine import Edge, StateMachine


class LegState(StrEnum):
    """How far one outside effect is known to have come."""

    PLANNED = "planned"  # intended; no request was ever committed as sent
    SENT = "sent"  # a money request may have left; its effect is not proved
    RESERVED = "reserved"  # prepared at a two-phase provider; moves nothing
    APPLIED = "applied"  # the effect is there, by proof
    REFUSED = "refused"  # the effect is not there, by proof, or was never sent and is fenced


@dataclass(frozen=True)
class LegFacts:
    """What the evidence says about a leg; decided in `bridge.transfers.core.proof` and `.contract`."""

    intent_committed: bool = False  # the reference and amounts are in this same transaction
    prepared: bool = False  # the provider answered that it holds a prepared half
    resend_allowed: bool = False  # the timeout contract says: same id, once more
    applied_proved: bool = False
    refused_proved: bool = False  # includes: never sent, and every lease that could send is fenced


def intent_is_committed(facts: LegFacts) -> bool:
    return facts.intent_committed


def prepared_half_is_answered(facts: LegFacts) -> bool:
    return facts.prepared


def contract_says_retry(facts: LegFacts) -> bool:
    return facts.resend_allowed and facts.intent_committed


def effect_is_proved(facts: LegFacts) -> bool:
    return facts.applied_proved and not facts.refused_proved


def absence_is_proved(facts: LegFacts) -> bool:
    return facts.refused_proved and not facts.applied_proved


S = LegState
EDGES = (
    #    trigger    from        to          only when
    Edge("send",    S.PLANNED,  S.SENT,     intent_is_committed),
    Edge("reserve", S.SENT,     S.RESERVED, prepared_half_is_answered),
    Edge("send",    S.RESERVED, S.SENT,     intent_is_committed),
    Edge("resend",  S.SENT,     S.SENT,     contract_says_retry),
    Edge("apply",   S.SENT,     S.APPLIED,  effect_is_proved),
    Edge("apply",   S.RESERVED, S.APPLIED,  effect_is_proved),
    Edge("refuse",  S.PLANNED,  S.REFUSED,  absence_is_proved),
    Edge("refuse",  S.SENT,     S.REFUSED,  absence_is_proved),
    Edge("refuse",  S.RESERVED, S.REFUSED,  absence_is_proved),
    Edge("apply",   S.REFUSED,  S.APPLIED,  effect_is_proved),
    Edge("refuse",  S.APPLIED,  S.REFUSED,  absence_is_proved),
)  # fmt: skip

leg_machine = StateMachine("leg", LegState, EDGES)
