"""The life of one case: the file in which people resolve an orphan.

Maker proposes, another person approves; a proposal goes stale when the transfer changes; evidence may
close a case by itself, because a proved transfer needs nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from statemachines.engine import Edge, StateMachine


class CaseState(StrEnum):
    """Who has to act on an orphan."""

    OPEN = "open"  # a person has to look
    PROPOSED = "proposed"  # a maker has proposed an end; another person has to approve
    CLOSED = "closed"  # decided by two people, or proved by evidence


@dataclass(frozen=True)
class CaseFacts:
    """What has happened to a case."""

    has_proposal: bool = False
    second_person: bool = False  # the approver is another human than the maker
    rejected: bool = False  # another person said no
    transfer_changed: bool = False  # new facts since the proposal was made
    proved: bool = False  # the transfer left `orphaned` by evidence
    contradicted: bool = False  # a closed transfer was orphaned again


def a_maker_proposes(facts: CaseFacts) -> bool:
    return facts.has_proposal


def another_person_approves(facts: CaseFacts) -> bool:
    return facts.has_proposal and facts.second_person and not (facts.rejected or facts.transfer_changed)


def proposal_is_rejected_or_stale(facts: CaseFacts) -> bool:
    return facts.has_proposal and (facts.rejected or facts.transfer_changed)


def evidence_settles_it(facts: CaseFacts) -> bool:
    return facts.proved


def transfer_is_orphaned_again(facts: CaseFacts) -> bool:
    return facts.contradicted


S = CaseState
EDGES = (
    #    trigger    from        to          only when
    Edge("propose", S.OPEN,     S.PROPOSED, a_maker_proposes),
    Edge("return",  S.PROPOSED, S.OPEN,     proposal_is_rejected_or_stale),
    Edge("approve", S.PROPOSED, S.CLOSED,   another_person_approves),
    Edge("settle",  S.OPEN,     S.CLOSED,   evidence_settles_it),
    Edge("settle",  S.PROPOSED, S.CLOSED,   evidence_settles_it),
    Edge("reopen",  S.CLOSED,   S.OPEN,     transfer_is_orphaned_again),
)  # fmt: skip

case_machine = StateMachine("case", CaseState, EDGES)
