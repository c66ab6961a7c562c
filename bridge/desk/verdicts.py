"""Verdicts: another person approves what was proposed, and with the last one that is needed it is carried out, all in
one transaction: rights and facts are read again there, and what has become stale moves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, Table, select

from bridge import lineage, log, models, reasons
from bridge.db import writing
from bridge.desk import accesses, particulars, sittings, thresholds
from bridge.desk.proposals import Held, Proposal, end, find, hold, refusals_noted, require_open, say
from bridge.desk.rows import PROPOSERS, Person, is_vouched
from bridge.desk.sight import Posting, Sight, Touched, look
from bridge.desk.sittings import Sitting
from bridge.errors import Conflict, Forbidden, Invalid, Stale
from bridge.models.desk import Outcome, PersonState, Role
from bridge.models.proposals import ProposalState
from bridge.runtime import Runtime
from bridge.transfers.advance import tell
from bridge.transfers.core.decisions import Kind
from bridge.transfers.core.facts import Transfer
from bridge.transfers.decide import Decision, carry_out
from statemachines import TransferState

_verdict: Table = models.metadata.tables["verdict"]
_person: Table = models.metadata.tables["person"]
_posting: Table = models.metadata.tables["posting"]

_log = log.get("desk")


@dataclass(frozen=True)
class Approval:
    """What came of an approval. `missing`: so many others have still to approve; 0: it is carried out. `again`: this
    person had approved it before, and nothing has happened now. `ended`: it ended without effect, and why."""

    proposal: Proposal
    missing: int = 0
    again: bool = False
    ended: str = ""
    moved: tuple[TransferState, Transfer] | None = None


def approve(runtime: Runtime, sitting: Sitting, proposal_id: str, seen: str, reason: str) -> Approval:
    """Approve what another person proposed, as it was shown (`seen`, its digest).

    Raises Unauthorized, NotFound, Invalid; Forbidden for one's own; Stale where what was shown is not what was
    proposed, and where something new has come in, a backup was restored or its time is over: it has ended then;
    Conflict when it had ended before. Nothing is moved in any of these cases.
    """
    with refusals_noted(runtime, sitting, "approve", reason, proposal_id):
        told = reasons.stated(reason)
        lineage.check(runtime)  # a backup in which it is still open may have forgotten that it was carried out
        with writing(runtime.engine) as connection:
            approval = _approve(connection, runtime, sitting, proposal_id, seen, told)
    proposal = approval.proposal
    if approval.ended:
        raise Stale(f"Nothing was moved: {approval.ended}.", transfer_id=proposal.transfer_id)
    if approval.moved is not None:
        before, transfer = approval.moved
        _log.info("carried out", transfer=transfer.id, proposal=proposal.id, decision=proposal.decision_id)
        tell(before, transfer)
    return approval


@dataclass(frozen=True)
class _Act:
    """One approval under way: in which transaction, by whom, about what, when."""

    connection: Connection
    runtime: Runtime
    sitting: Sitting
    person: Person
    held: Held
    now: int

    def note(self, reason: str, moved: Transfer | None = None, touched: Iterable[Touched] = ()) -> Proposal:
        """Note it, and the proposal as it is by now. `moved`: the transfer behind what was carried out; `touched`: the
        player's accounts before and after that."""
        was, now = self.held, find(self.connection, self.held.proposal.id, None)
        accounts = list(touched)
        before, after = (
            particulars.of_proposal(self.runtime, each.kind, each.state.value, transfer, balances)
            for each, transfer, balances in (
                (was.proposal, was.transfer, {each.account: each.before for each in accounts}),
                (now, moved or was.transfer, {each.account: each.after for each in accounts}),
            )
        )
        self._write(Outcome.DONE, reason, before, after)
        return now

    def note_in_vain(self, reason: str, ended: Ended) -> Proposal:
        """Note what was said to a proposal that could not be carried out any more, and beside it how that ended."""
        proposal, transfer = self.held.proposal, self.held.transfer
        before = particulars.of_proposal(self.runtime, proposal.kind, proposal.state.value, transfer)
        self._write(Outcome.REFUSED, reason, before, f"{ended.state.value}: {ended.why}")
        return find(self.connection, proposal.id, None)

    def _write(self, outcome: Outcome, reason: str, before: str, after: str) -> None:
        accesses.note(
            self.connection, self.runtime, kind="approve", outcome=outcome, person=self.person,
            subject=self.held.proposal.id, reason=reason, before=before, after=after, address=self.sitting.address,
        )  # fmt: skip


def _approve(
    connection: Connection, runtime: Runtime, sitting: Sitting, proposal_id: str, seen: str, reason: str
) -> Approval:
    held = hold(connection, proposal_id, sitting.person.operator_id)
    transfer, proposal = held.transfer, held.proposal
    verdicts = _approving(connection, proposal.id)
    standing = _standing(connection, {proposal.maker_id, sitting.person.id, *verdicts})
    person = sittings.still(connection, runtime, sitting, Role.APPROVER)
    if person.id == proposal.maker_id:
        raise Forbidden("Nobody approves what he has proposed himself.", code="own_proposal")
    if not may_check(standing[person.id], proposal):
        raise Forbidden(sittings.refusal(person, (Role.APPROVER,)), code="role_missing")
    again = person.id in verdicts
    if again and proposal.state is ProposalState.CARRIED_OUT:
        return Approval(proposal, again=True)
    require_open(proposal)
    act = _Act(connection, runtime, sitting, person, held, runtime.clock.now())
    sight = _as_proposed(act, standing[proposal.maker_id])
    if isinstance(sight, Ended):
        end(connection, runtime, held, sight.state, sight.why, person.login, act.now)
        return Approval(act.note_in_vain(reason, sight), ended=sight.why)
    if seen != proposal.seen:
        raise Stale("What you were shown is not what was proposed: look again.", transfer_id=transfer.id)
    if not again:
        if not say(connection, proposal, person.id, approves=True, reason=reason, now=act.now):
            raise Conflict("You have said something else to it before.", code="said_otherwise")
        verdicts.append(person.id)
    counted = [standing[each] for each in verdicts if may_check(standing[each], proposal)]
    missing = max(proposal.needs, thresholds.checkers(runtime, transfer.currency, transfer.amount)) - len(counted)
    if missing > 0:
        return Approval(proposal if again else act.note(reason), missing=missing, again=again)
    outcome = _carry_out(act, sight, standing[proposal.maker_id], counted)
    touched = () if sight.upon_proof else sight.touched  # an order moves nothing yet
    return Approval(act.note(reason, outcome, touched), moved=(transfer.state, outcome))


# --- is it still what was proposed? -------------------------------------------------------------------


@dataclass(frozen=True)
class Ended:
    """How a proposal ends that cannot be carried out any more."""

    state: ProposalState
    why: str


def _as_proposed(act: _Act, maker: RowMapping) -> Sight | Ended:
    """What is seen now, if it is what was proposed, by somebody who may still propose."""
    transfer, proposal = act.held.transfer, act.held.proposal
    if act.now >= proposal.expires_at:
        return Ended(ProposalState.EXPIRED, "not approved in time")
    if maker["state"] != PersonState.ACTIVE or maker["role"] not in PROPOSERS:
        return Ended(ProposalState.STALE, f"{maker['login']}, who proposed it, may not do so any more")
    try:
        sight = look(act.connection, act.runtime, transfer, proposal.wanted, holding=True)
    except Invalid as senseless:
        return Ended(ProposalState.STALE, senseless.why)
    if sight.seen == proposal.seen:
        return sight
    changed = sight.changed_since(proposal.postings)
    if changed == ["wallet"]:
        return Ended(ProposalState.STALE, "the wallet does not hold what would be taken from it any more")
    return Ended(ProposalState.STALE, f"changed since it was proposed: {', '.join(changed)}")


# --- whose word counts --------------------------------------------------------------------------------


def _approving(connection: Connection, proposal_id: str) -> list[str]:
    """Who has approved so far, in the order in which they did."""
    query = select(_verdict.c.person_id).where(_verdict.c.proposal_id == proposal_id, _verdict.c.approves)
    return list(connection.execute(query.order_by(_verdict.c.at, _verdict.c.person_id)).scalars())


def _standing(connection: Connection, people: Iterable[str]) -> Mapping[str, RowMapping]:
    """People as they are now, held until the transaction ends, in the order of their ids."""
    query = select(_person).where(_person.c.id.in_(sorted(people))).order_by(_person.c.id)
    return {row["id"]: row for row in connection.execute(query.with_for_update(key_share=True)).mappings()}


def may_check(row: RowMapping, proposal: Proposal) -> bool:
    """Whether a person's word counts at this moment: an approver of that operator, not the maker, and made by the
    command line or by an admin with another's word for it. A lock keeps out whoever comes in, and a stranger can set
    one: it takes nothing from the word of who sits there."""
    return (
        row["state"] == PersonState.ACTIVE
        and row["role"] == Role.APPROVER
        and row["operator_id"] == proposal.operator_id
        and row["id"] != proposal.maker_id
        and is_vouched(row)
    )


# --- carrying out -------------------------------------------------------------------------------------


def _carry_out(act: _Act, sight: Sight, maker: RowMapping, checkers: list[RowMapping]) -> Transfer:
    proposal = act.held.proposal
    decision = Decision(
        kind=Kind(proposal.kind.value),
        maker=maker["login"],
        checker=", ".join(row["login"] for row in checkers),
        reason=proposal.reason,
        arrived=proposal.arrived,
        returned=proposal.returned,
        proposal=proposal.id,
    )
    outcome = carry_out(act.connection, act.runtime, sight.transfer, decision, act.now)
    _require_as_shown(act.connection, sight)
    return outcome.transfer


def _require_as_shown(connection: Connection, sight: Sight) -> None:
    """What was posted is what was shown, to the unit; else all of it is given up."""
    which = (_posting.c.transfer_id == sight.transfer.id, _posting.c.version > sight.transfer.version)
    rows = connection.execute(select(_posting.c.debit, _posting.c.credit, _posting.c.amount).where(*which))
    posted = sorted((debit, credit, int(amount)) for debit, credit, amount in rows)
    shown: list[Posting] = [] if sight.upon_proof else list(sight.postings)
    if posted != sorted((each.debit, each.credit, each.amount) for each in shown):
        raise RuntimeError(f"{sight.transfer.id} posted {posted}, and people were shown {shown}")
