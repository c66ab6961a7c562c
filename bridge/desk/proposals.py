"""Proposals: what one person proposes about one transfer, frozen as it was shown; and how one ends without effect.

Rows are locked in one order everywhere: the transfer, its proposal, people by their ids, the player's accounts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, Table, select

from bridge import cases, db, identity, lineage, log, models, reasons
from bridge.desk import accesses, particulars, sittings
from bridge.desk.rows import PROPOSERS
from bridge.desk.sight import Sight, Wanted, look, owned
from bridge.desk.sittings import Sitting
from bridge.errors import Conflict, Declined, Forbidden, NotFound, Refusal, Stale, Unavailable
from bridge.models.desk import Outcome, Role
from bridge.models.proposals import ProposalKind, ProposalState
from bridge.ports import SECOND
from bridge.runtime import Runtime
from bridge.transfers import resolve, rows
from bridge.transfers.advance import Asking, Claim
from bridge.transfers.core.draft import Move
from bridge.transfers.core.facts import Transfer
from bridge.transfers.write import record

table: Table = models.metadata.tables["proposal"]
_person: Table = models.metadata.tables["person"]

_log = log.get("desk")

HOUR = 3600 * SECOND
ASKED_APART_SECONDS = 1
"""The resolver asks about one transfer at most once in this time, whoever wants to know."""


@dataclass(frozen=True)
class Wish:
    """What somebody proposes, why, and the digest of what was shown. `arrived` and `returned` (minor units) are named
    for a split alone; `batch`: proposed together with others."""

    transfer_id: str
    kind: ProposalKind
    reason: str
    seen: str
    arrived: int = 0
    returned: int = 0
    batch: str | None = None

    @property
    def wanted(self) -> Wanted:
        """What is to be done."""
        return Wanted(self.kind, self.arrived, self.returned)


@dataclass(frozen=True)
class Proposal:
    """A proposal as it is kept; instants in microseconds, amounts in minor units."""

    id: str
    operator_id: int
    transfer_id: str
    kind: ProposalKind
    arrived: int
    returned: int
    reason: str
    maker_id: str
    needs: int
    version: int
    seen: str
    postings: str
    batch: str | None
    created_at: int
    expires_at: int
    state: ProposalState
    ended_at: int | None
    ended_why: str | None
    decision_id: str | None

    @property
    def wanted(self) -> Wanted:
        """What is to be done."""
        return Wanted(self.kind, self.arrived, self.returned)


def read(row: RowMapping) -> Proposal:
    """A row of the table as a value."""
    told = {name: row[name] for name in Proposal.__dataclass_fields__}
    return Proposal(**{**told, "kind": ProposalKind(row["kind"]), "state": ProposalState(row["state"])})


def find(connection: Connection, proposal_id: str, operator_id: int | None, *, to_end: bool = False) -> Proposal:
    """A proposal of that operator's, of whichever for None; `to_end` locks it, whose transfer is locked by then.
    Raises NotFound."""
    query = select(table).where(table.c.id == accesses.readable(proposal_id))
    row = connection.execute(query.with_for_update(key_share=True) if to_end else query).mappings().first()
    if row is None or operator_id not in (None, row["operator_id"]):
        raise NotFound("There is no such proposal.")
    return read(row)


# --- proposing ----------------------------------------------------------------------------------------


def propose(runtime: Runtime, sitting: Sitting, wish: Wish) -> Proposal:
    """Store what somebody proposes about an orphan, and leave its case to others; or, to ask again, ask the provider at
    once, which needs nobody else.

    Raises Unauthorized, NotFound; Invalid, naming the field; Stale when what was shown has changed; Conflict
    when something is proposed already; Declined (`wallet_spent`) when the wallet does not hold what would be taken
    from it; Unavailable (`asked_lately`).
    """
    with refusals_noted(runtime, sitting, "propose", wish.reason, wish.transfer_id):
        reason = reasons.stated(wish.reason)
        with db.writing(runtime.engine) as connection:
            made, claim = _propose(connection, runtime, sitting, wish, reason)
    _log.info("proposed", transfer=made.transfer_id, proposal=made.id, kind=made.kind.value, person=made.maker_id)
    if claim is not None:
        lineage.check(runtime)  # as behind every claim (bridge/transfers/resolve.py)
        # The first question is on its way by then; what it brings is not waited for beyond it.
        until = runtime.clock.monotonic()
        resolve.resolve_or_set_aside(runtime, claim, ask_until=until, asking=Asking.NOW)
    return made


def _propose(
    connection: Connection, runtime: Runtime, sitting: Sitting, wish: Wish, reason: str
) -> tuple[Proposal, Claim | None]:
    transfer = rows.load(connection, accesses.readable(wish.transfer_id), to_move=True)
    maker = sittings.still(connection, runtime, sitting, *PROPOSERS)
    transfer = owned(transfer, maker)
    asks = wish.kind is ProposalKind.ASK_AGAIN
    if not asks:
        _refuse_second(connection, transfer.id)
    sight = look(connection, runtime, transfer, wish.wanted, holding=not asks)
    now, claim = runtime.clock.now(), None
    if asks:
        claim = _claim_to_ask(connection, runtime, transfer, now)
    elif wish.seen != sight.seen:
        raise Stale(transfer_id=transfer.id)
    if not sight.covered:
        raise Declined("The wallet does not hold what would be taken from it.", code="wallet_spent")
    made = _written(connection, runtime, wish, sight, reason, maker.id, now)
    if not asks:
        note_move(connection, runtime, transfer, cases.propose(connection, transfer.id), maker.login, reason, now)
    accesses.note(
        connection, runtime, kind="propose", outcome=Outcome.DONE, person=maker, subject=transfer.id, reason=reason,
        before=particulars.of_transfer(runtime, transfer), after=f"{made.kind.value} {made.state.value}, {made.id}",
        address=sitting.address,
    )  # fmt: skip
    return made, claim


def _written(
    connection: Connection, runtime: Runtime, wish: Wish, sight: Sight, reason: str, maker_id: str, now: int
) -> Proposal:
    asks = wish.kind is ProposalKind.ASK_AGAIN
    row = {
        "id": runtime.ids.new("pr"),
        "operator_id": sight.transfer.operator_id,
        "transfer_id": sight.transfer.id,
        "kind": wish.kind.value,
        "arrived": wish.arrived,
        "returned": wish.returned,
        "reason": reason,
        "maker_id": maker_id,
        "needs": sight.checkers,
        "version": sight.transfer.version,
        "seen": sight.seen,
        "postings": sight.frozen(),
        "batch": wish.batch,
        "created_at": now,
        "expires_at": now + int(runtime.config.desk.expiry_hours * HOUR),
        "state": (ProposalState.CARRIED_OUT if asks else ProposalState.OPEN).value,
        "ended_at": now if asks else None,
        "ended_why": "asked" if asks else None,
        "decision_id": None,
    }
    if not db.insert_if_absent(connection, table, row):
        raise Conflict("Something is proposed about this transfer already.", code="already_proposed")
    return find(connection, str(row["id"]), None)


def _refuse_second(connection: Connection, transfer_id: str) -> None:
    query = select(table.c.id, table.c.kind, _person.c.login).join(_person, _person.c.id == table.c.maker_id)
    mine = (table.c.transfer_id == transfer_id, table.c.state == ProposalState.OPEN.value)
    first = connection.execute(query.where(*mine)).first()
    if first is not None:
        raise Conflict(
            f"{first.login} has proposed {first.kind} already ({first.id}): it has to end before another is made.",
            code="already_proposed",
            transfer_id=transfer_id,
        )


def _claim_to_ask(connection: Connection, runtime: Runtime, transfer: Transfer, now: int) -> Claim:
    """The lease under which the provider is asked, unless somebody is at it or has just been, or it is another one."""
    identity.require(connection, runtime, transfer.provider)
    asked = (table.c.transfer_id == transfer.id, table.c.kind == ProposalKind.ASK_AGAIN.value)
    query = select(table.c.created_at).where(*asked).order_by(table.c.created_at.desc()).limit(1)
    lately = [piece.at for piece in transfer.driven.lookups()] + list(connection.execute(query).scalars())
    hurried = transfer.may_be_on_the_wire(now) or any(now - ASKED_APART_SECONDS * SECOND < at for at in lately)
    claim = None if hurried else resolve.claim_within(connection, runtime, transfer.id)
    if claim is None:
        raise Unavailable("It is asked at this moment.", code="asked_lately", after_seconds=ASKED_APART_SECONDS)
    return claim


# --- ending without effect ------------------------------------------------------------------------------


def reject(runtime: Runtime, sitting: Sitting, proposal_id: str, reason: str) -> Proposal:
    """Say no to what another person proposed: it ends, and its case is open again. Raises Unauthorized, Forbidden
    for one's own, NotFound, Conflict when it has ended."""
    return _turn_down(runtime, sitting, proposal_id, reason, ProposalState.REJECTED)


def withdraw(runtime: Runtime, sitting: Sitting, proposal_id: str, reason: str) -> Proposal:
    """Take back what one proposed; an admin takes back anybody's. Raises as :func:`reject`."""
    return _turn_down(runtime, sitting, proposal_id, reason, ProposalState.WITHDRAWN)


def _turn_down(runtime: Runtime, sitting: Sitting, proposal_id: str, told: str, state: ProposalState) -> Proposal:
    kind: accesses.Kind = "reject" if state is ProposalState.REJECTED else "withdraw"
    with refusals_noted(runtime, sitting, kind, told, proposal_id):
        reason = reasons.stated(told)
        with db.writing(runtime.engine) as connection:
            held = hold(connection, proposal_id, sitting.person.operator_id)
            proposal = held.proposal
            roles = (Role.APPROVER,) if state is ProposalState.REJECTED else (*PROPOSERS, Role.ADMIN)
            person = sittings.still(connection, runtime, sitting, *roles)
            own = proposal.maker_id == person.id
            if state is ProposalState.REJECTED and own:
                raise Forbidden("One's own proposal is withdrawn, not rejected.", code="own_proposal")
            if state is ProposalState.WITHDRAWN and not own and person.role is not Role.ADMIN:
                raise Forbidden("Only who made it, or an admin, withdraws a proposal.", code="not_yours")
            require_open(proposal)
            now = runtime.clock.now()
            if state is ProposalState.REJECTED:
                say(connection, proposal, person.id, approves=False, reason=reason, now=now)
            end(connection, runtime, held, state, reason, person.login, now)
            before, after = (
                particulars.of_proposal(runtime, proposal.kind, each.value, held.transfer)
                for each in (proposal.state, state)
            )
            accesses.note(
                connection, runtime, kind=kind, outcome=Outcome.DONE, person=person, subject=proposal.id, reason=reason,
                before=before, after=after, address=sitting.address,
            )  # fmt: skip
            return find(connection, proposal.id, None)


@dataclass(frozen=True)
class Held:
    """A transfer and what is proposed about it: locked in that order, and nobody changes either."""

    transfer: Transfer
    proposal: Proposal


def hold(connection: Connection, proposal_id: str, operator_id: int | None) -> Held:
    """Lock a proposal behind its transfer. Raises NotFound."""
    transfer_id = find(connection, proposal_id, operator_id).transfer_id  # which never changes
    transfer = rows.load(connection, transfer_id, to_move=True)
    assert transfer is not None
    return Held(transfer, find(connection, proposal_id, operator_id, to_end=True))


def require_open(proposal: Proposal) -> None:
    """Raise Conflict, saying how it ended, unless it is open."""
    if proposal.state is not ProposalState.OPEN:
        why = f" ({proposal.ended_why})" if proposal.ended_why else ""
        state = proposal.state.value.replace("_", " ")
        raise Conflict(f"It is {state}{why}.", code="proposal_ended", transfer_id=proposal.transfer_id)


def say(connection: Connection, proposal: Proposal, person_id: str, *, approves: bool, reason: str, now: int) -> bool:
    """Store what another person says to a proposal, for ever; false if that person has said so before. That it is no
    word of the maker's the database sees to as well."""
    row = {
        "proposal_id": proposal.id, "person_id": person_id, "maker_id": proposal.maker_id, "approves": approves,
        "reason": reason, "at": now,
    }  # fmt: skip
    return db.insert_if_absent(connection, models.metadata.tables["verdict"], row)


def end(
    connection: Connection, runtime: Runtime, held: Held, state: ProposalState, why: str, actor: str, now: int
) -> None:
    """End an open proposal without effect; its case is open again."""
    cases.end_proposal(connection, held.proposal.id, state, why, now)
    moved = cases.give_back(connection, held.transfer.id, state)
    note_move(connection, runtime, held.transfer, moved, actor, f"{state.value}: {why}", now)


def note_move(
    connection: Connection,
    runtime: Runtime,
    transfer: Transfer,
    moved: cases.CaseMove,
    actor: str,
    reason: str,
    now: int,
) -> None:
    """Write a move of the case into the transfer's history."""
    move = Move("case", moved.trigger, moved.source, moved.target, reason)
    record(connection, runtime, transfer, [move], now, actor=actor)


# --- expiry -------------------------------------------------------------------------------------------


def lapsed(runtime: Runtime, now: int, limit: int) -> list[str]:
    """Ids of open proposals whose time is over at `now` (microseconds), the oldest first."""
    due = (table.c.state == ProposalState.OPEN.value, table.c.expires_at <= now)
    query = select(table.c.id).where(*due).order_by(table.c.expires_at, table.c.id).limit(limit)
    with db.reading(runtime.engine) as connection:
        return list(connection.execute(query).scalars())


def expire(runtime: Runtime, proposal_id: str) -> bool:
    """End a proposal whose time is over; false if it had ended, or has time left by this clock."""
    with db.writing(runtime.engine) as connection:
        held, now = hold(connection, proposal_id, None), runtime.clock.now()
        if held.proposal.state is not ProposalState.OPEN or now < held.proposal.expires_at:
            return False
        end(connection, runtime, held, ProposalState.EXPIRED, "not approved in time", runtime.worker, now)
    _log.info("proposal expired", transfer=held.transfer.id, proposal=proposal_id)
    return True


# --- what every act shares ----------------------------------------------------------------------------


@contextmanager
def refusals_noted(
    runtime: Runtime, sitting: Sitting, kind: accesses.Kind, reason: str, *subjects: str
) -> Iterator[None]:
    """Note what was tried about each subject and refused, and how that stands, in a transaction of its own: that of the
    try is given up by then."""
    try:
        yield
    except Refusal as refusal:
        with db.writing(runtime.engine) as connection:
            for subject in map(accesses.readable, subjects):
                accesses.note(
                    connection, runtime, kind=kind, outcome=Outcome.REFUSED, person=sitting.person, subject=subject,
                    reason=accesses.readable(reason.strip()),
                    before=particulars.found(connection, runtime, sitting.person.operator_id, subject),
                    after=f"{refusal.code}: {refusal.why}", address=sitting.address,
                )  # fmt: skip
        raise
