"""Cases: the file that people open for an orphan: opened with it, settled by proof, or closed by what two
people decide."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, Table, select, update

from bridge import db, models
from bridge.runtime import Ids
from statemachines import CaseFacts, CaseState, case_machine

_case: Table = models.metadata.tables["orphan_case"]


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


def settle(connection: Connection, transfer_id: str, now: int) -> CaseMove | None:
    """Close a transfer's case because evidence proved its end; None if there is none to close."""
    if state_of(connection, transfer_id) in (None, CaseState.CLOSED):
        return None
    return _move(connection, transfer_id, "settle", CaseFacts(proved=True), {"closed_at": now})


def decide(connection: Connection, transfer_id: str, now: int) -> list[CaseMove]:
    """Close a transfer's case by what one person proposed and another approved."""
    proposed = _move(connection, transfer_id, "propose", CaseFacts(has_proposal=True), {})
    facts = CaseFacts(has_proposal=True, second_person=True)
    return [proposed, _move(connection, transfer_id, "approve", facts, {"closed_at": now})]


def _move(
    connection: Connection, transfer_id: str, trigger: str, facts: CaseFacts, values: dict[str, object]
) -> CaseMove:
    before = state_of(connection, transfer_id)
    assert before is not None
    after = case_machine.after(before, trigger, facts)
    statement = update(_case).where(_case.c.transfer_id == transfer_id, _case.c.state == before.value)
    connection.execute(statement.values(state=after.value, version=_case.c.version + 1, **values))
    return CaseMove(trigger, before.value, after.value)
