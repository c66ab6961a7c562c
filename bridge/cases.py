"""Cases: the file that people open for an orphan: opened with it, settled by proof, or closed by what two
people decide. What is proposed about an orphan lies in its file: it ends with the case, or gives it back."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, Table, select, update

from bridge import db, models
from bridge.models.proposals import ProposalState
from bridge.runtime import Ids
from statemachines import CaseFacts, CaseState, case_machine

_case: Table = models.metadata.tables["orphan_case"]
_proposal: Table = models.metadata.tables["proposal"]

APPROVED = CaseFacts(has_proposal=True, second_person=True)


@dataclass(frozen=True)
class CaseMove:
    """What happened to a case, for the history."""

    trigger: str
    source: str | None
    target: str


def state_of(connection: Connection, transfer_id: str) -> CaseState | None:
    """The state of a transfer's case, None if it never had one."""
    state = connection.execute(select(_case.c.state).where(_case.c.transfer_id == transfer_id)).scalar()
    return None if state is None else CaseState(state)


def open_for(connection: Connection, ids: Ids, transfer_id: str, reason: str, now: int) -> CaseMove | None:
    """Open a case for a transfer, or open its closed one again; None if it is open already."""
    row = {"id": ids.new("ca"), "transfer_id": transfer_id, "state": CaseState.OPEN.value, "reason": reason}
    if db.insert_if_absent(connection, _case, {**row, "opened_at": now, "version": 1}):
        return CaseMove("open", None, CaseState.OPEN.value)
    if state_of(connection, transfer_id) is not CaseState.CLOSED:
        return None
    return _move(connection, transfer_id, "reopen", CaseFacts(contradicted=True), {"reason": reason, "closed_at": None})


def propose(connection: Connection, transfer_id: str) -> CaseMove:
    """A maker has proposed an end; raises MoveRefused unless the case is open."""
    return _move(connection, transfer_id, "propose", CaseFacts(has_proposal=True), {})


def give_back(connection: Connection, transfer_id: str, ended: ProposalState) -> CaseMove:
    """What was proposed has ended without effect: rejected, withdrawn, expired or stale; people have to look again."""
    facts = CaseFacts(
        has_proposal=True,
        rejected=ended is ProposalState.REJECTED,
        lapsed=ended in (ProposalState.WITHDRAWN, ProposalState.EXPIRED),
        transfer_changed=ended is ProposalState.STALE,
    )
    return _move(connection, transfer_id, "return", facts, {})


def settle(connection: Connection, transfer_id: str, now: int) -> CaseMove | None:
    """Close a transfer's case because evidence proved its end, and with it what is proposed about it; None if there is
    none to close."""
    state = state_of(connection, transfer_id)
    if state in (None, CaseState.CLOSED):
        return None
    if state is CaseState.PROPOSED:
        _overtake(connection, transfer_id, "proved by evidence", now)
    return _move(connection, transfer_id, "settle", CaseFacts(proved=True), {"closed_at": now})


def decide(connection: Connection, transfer_id: str, now: int) -> list[CaseMove]:
    """Close a transfer's case by what one person proposed and another approved. Another proposal that was open is
    stale by that."""
    if state_of(connection, transfer_id) is CaseState.PROPOSED:
        if _overtake(connection, transfer_id, "decided otherwise", now):
            return [_move(connection, transfer_id, "settle", CaseFacts(proved=True), {"closed_at": now})]
        moves = []
    else:
        moves = [propose(connection, transfer_id)]
    return [*moves, _move(connection, transfer_id, "approve", APPROVED, {"closed_at": now})]


def order(connection: Connection, transfer_id: str, now: int) -> CaseMove | None:
    """People have ordered what is proved, or not, later: the case stays open until then; None if it was open."""
    if state_of(connection, transfer_id) is not CaseState.PROPOSED:
        return None
    if _overtake(connection, transfer_id, "decided otherwise", now):
        return give_back(connection, transfer_id, ProposalState.STALE)
    return _move(connection, transfer_id, "order", APPROVED, {})


def end_proposal(
    connection: Connection, proposal_id: str, state: ProposalState, why: str, now: int, decision_id: str | None = None
) -> None:
    """Write how an open proposal ended, once. Whoever calls holds its transfer, and has seen it open."""
    ended = {"state": state.value, "ended_why": why, "ended_at": now, "decision_id": decision_id}
    which = (_proposal.c.id == proposal_id, _proposal.c.state == ProposalState.OPEN.value)
    if connection.execute(update(_proposal).where(*which).values(**ended)).rowcount != 1:
        raise RuntimeError(f"{proposal_id} is not open any more")


def _overtake(connection: Connection, transfer_id: str, why: str, now: int) -> bool:
    """End what is proposed about a transfer without effect; false if nothing is open."""
    ended = {"state": ProposalState.STALE.value, "ended_why": why, "ended_at": now}
    which = (_proposal.c.transfer_id == transfer_id, _proposal.c.state == ProposalState.OPEN.value)
    return connection.execute(update(_proposal).where(*which).values(**ended)).rowcount > 0


def _move(
    connection: Connection, transfer_id: str, trigger: str, facts: CaseFacts, values: dict[str, object]
) -> CaseMove:
    before = state_of(connection, transfer_id)
    assert before is not None
    after = case_machine.after(before, trigger, facts)
    statement = update(_case).where(_case.c.transfer_id == transfer_id, _case.c.state == before.value)
    connection.execute(statement.values(state=after.value, version=_case.c.version + 1, **values))
    return CaseMove(trigger, before.value, after.value)
