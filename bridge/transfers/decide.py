"""What two people decide about an orphan, carried out in one transaction: the decision is stored as proof, and the
transfer goes through the same door as with any other.

How a maker proposes and a checker approves is said above this, at the desk, which also shows beforehand what a
decision would come to; here the decision is final.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, insert

from bridge import cases, ledger, models
from bridge.errors import Invalid
from bridge.evidence import Answer, Reply, Source
from bridge.models.proposals import ProposalState
from bridge.ports import Descriptor, Direction
from bridge.runtime import Moment, Runtime
from bridge.transfers import advance
from bridge.transfers.advance import Fact, Outcome, within
from bridge.transfers.core import decisions, fold
from bridge.transfers.core.decisions import Kind
from bridge.transfers.core.draft import Move
from bridge.transfers.core.facts import Transfer, replace
from bridge.transfers.core.proof import Finding, Verdict
from bridge.transfers.write import record
from statemachines import TransferState

_decision: Table = models.metadata.tables["decision"]


@dataclass(frozen=True)
class Decision:
    """What is decided, by whom, and why.

    `arrived` and `returned` (minor units) are named for a split alone. Maker and checker are two people; two checkers
    are named together. `proposal`: what of the desk is carried out by it.
    """

    kind: Kind
    maker: str
    checker: str
    reason: str
    arrived: int = 0
    returned: int = 0
    proposal: str | None = None


@dataclass(frozen=True)
class Foreseen:
    """What a decision would come to: how the transfer would end, and the (debit, credit, minor units) that it would
    post; of a claw-back once the provider has proved it, and nothing before."""

    state: TransferState
    postings: tuple[tuple[str, str, int], ...]
    wallet_gives: int


def require_sense(runtime: Runtime, seen: Transfer, decision: Decision, now: int) -> None:
    """Raise Invalid, naming the field, for what cannot be decided about this transfer now."""
    require_provider(runtime, seen)
    descriptor = runtime.providers[seen.provider].descriptor
    senseless = decisions.refusal(seen, descriptor, decision.kind, decision.arrived, decision.returned, now)
    if senseless is not None:
        raise Invalid(fields=dict([senseless]))


def require_provider(runtime: Runtime, seen: Transfer) -> None:
    """Raise Invalid where nobody is left to ask, and nothing says what its provider can do."""
    if seen.provider not in runtime.providers:
        raise Invalid(fields={"provider": f"{seen.provider} is not configured any more: put its section back"})


def foresee(runtime: Runtime, seen: Transfer, decision: Decision, moment: Moment) -> Foreseen:
    """What a decision that makes sense would come to, by the code that would carry it out; on values, nothing is
    written. That the wallet holds what it would have to give (`wallet_gives`, minor units) is supposed."""
    fact = _fact(seen, decision, moment.now)
    assert fact.watermark is not None
    told = advance.informed(seen, advance.piece_of(seen, fact, fact.watermark + 1))
    after = advance.decide(_Supposed(), runtime, told, None, fact, advance.Asking.NO, moment).draft.transfer
    gives = 0
    if decision.kind is Kind.CLAW_BACK:
        end = TransferState.REVERSED if seen.direction is Direction.IN else TransferState.CONFIRMED
        after = replace(after, state=end, arrived=None, written_off=None)
    else:
        gives = max(0, -fold.wallet_owed(seen, _end(seen, decision, runtime.providers[seen.provider].descriptor)))
    accounts = ledger.accounts_of(seen.direction, seen.provider, seen.player)
    postings = ledger.between(accounts, fold.position(seen), fold.position(after))
    return Foreseen(after.state, tuple(postings), gives)


class _Supposed:
    """Answers of `advance.Questions` under which nothing stands in the way."""

    def queued_until(self, _seen: Transfer, _now: int) -> int:
        return 0

    def wallet_holds(self, seen: Transfer) -> int:
        return seen.amount


def _end(seen: Transfer, decision: Decision, descriptor: Descriptor) -> Finding:
    """How the transfer will stand."""
    match decision.kind:
        case Kind.REVERSE:
            return Finding(Verdict.REFUSED)
        case Kind.WRITE_OFF:
            return decisions.written_off(seen, descriptor)
        case Kind.SPLIT:
            return Finding(Verdict.APPLIED, arrived=decision.arrived)
        case _:
            return Finding(Verdict.APPLIED)


def carry_out(connection: Connection, runtime: Runtime, seen: Transfer, decision: Decision, now: int) -> Outcome:
    """Store a decision and move the transfer by it, in the caller's transaction, which holds the transfer as `seen` and
    the wallet, and has asked whether it makes sense and the wallet holds what it would have to give. Raises
    RuntimeError where the transfer does not end as decided."""
    fact = _fact(seen, decision, now)
    row: dict[str, Any] = {
        "id": runtime.ids.new("de"),
        "transfer_id": seen.id,
        "kind": decision.kind.value,
        "arrived": decision.arrived,
        "returned": decision.returned,
        "maker": decision.maker,
        "checker": decision.checker,
        "reason": decision.reason,
        "watermark": fact.watermark,
        "decided_at": now,
    }
    connection.execute(insert(_decision).values(**row))
    if decision.proposal is not None:
        state = ProposalState.CARRIED_OUT
        cases.end_proposal(connection, decision.proposal, state, f"approved by {decision.checker}", now, row["id"])
    _, outcome = within(connection, runtime, seen.id, None, fact)
    ended = outcome.transfer.state is not TransferState.ORPHANED
    if ended is (decision.kind is Kind.CLAW_BACK):
        raise RuntimeError(f"{seen.id} is {outcome.transfer.state.value} after {decision.kind.value}")
    if not ended:
        _note_order(connection, runtime, outcome.transfer, now)
    return outcome


def _note_order(connection: Connection, runtime: Runtime, transfer: Transfer, now: int) -> None:
    moved = cases.order(connection, transfer.id, now)
    if moved is not None:
        move = Move("case", moved.trigger, moved.source, moved.target, "to be taken back", transfer.decision)
        record(connection, runtime, transfer, [move], now)


def _fact(seen: Transfer, decision: Decision, now: int) -> Fact:
    watermark = max((piece.id for leg in seen.legs for piece in leg.evidence), default=0)
    return Fact(_told(seen, decision), Source.PERSON, now, ordinal=seen.outside.ordinal, watermark=watermark)


def _told(seen: Transfer, decision: Decision) -> Reply:
    """The decision as a reply about the leg: its kind is the code, its people and reason the detail."""
    answer = {Kind.REVERSE: Answer.NOT_APPLIED, Kind.CLAW_BACK: Answer.UNKNOWN}.get(decision.kind, Answer.APPLIED)
    return Reply(
        answer,
        code=decision.kind.value,
        detail=f"{decision.reason} (decided by {decision.maker}, {decision.checker})",
        amount=decision.arrived if decision.kind is Kind.SPLIT else seen.amount,
        currency=seen.currency,
        player=seen.player,
    )
