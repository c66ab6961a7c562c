"""The life of one case: the file in which people resolve an orphan.

Maker proposes, another person approves; a proposal goes stale when the transfer changes; evidence may
close a case by itself, because a proved transfer needs nobody. What people ordered to be taken back at the
provider ends nothing yet: its case is open until that is proved.
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
    lapsed: bool = False  # taken back by who made it, or not approved in time
    transfer_changed: bool = False  # new facts since the proposal was made
    proved: bool = False  # the transfer left `orphaned` by evidence
    contradicted: bool = False  # a closed transfer was orphaned again


def a_maker_proposes(facts: CaseFacts) -> bool:
    return facts.has_proposal


def another_person_approves(facts: CaseFacts) -> bool:
    return facts.has_proposal and facts.second_person and not _has_no_effect(facts)


def proposal_is_rejected_lapsed_or_stale(facts: CaseFacts) -> bool:
    return facts.has_proposal and _has_no_effect(facts)


def evidence_settles_it(facts: CaseFacts) -> bool:
    return facts.proved


def transfer_is_orphaned_again(facts: CaseFacts) -> bool:
    return facts.contradicted


def _has_no_effect(facts: CaseFacts) -> bool:
    return facts.rejected or facts.lapsed or facts.transfer_changed


S = CaseState
EDGES = (
    #    trigger    from        to          only when
    Edge("propose", S.OPEN,     S.PROPOSED, a_maker_proposes),
    Edge("return",  S.PROPOSED, S.OPEN,     proposal_is_rejected_lapsed_or_stale),
    Edge("order",   S.PROPOSED, S.OPEN,     another_person_approves),  # a request that is proved, or not, later
    Edge("approve", S.PROPOSED, S.CLOSED,   another_person_approves),
    Edge("settle",  S.OPEN,     S.CLOSED,   evidence_settles_it),
    Edge("settle",  S.PROPOSED, S.CLOSED,   evidence_settles_it),
    Edge("reopen",  S.CLOSED,   S.OPEN,     transfer_is_orphaned_again),
)  # fmt: skip

case_machine = StateMachine("case", CaseState, EDGES)
