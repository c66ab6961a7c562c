"""What two people decide about an orphan, carried out in one transaction: the decision is stored as proof, and the
transfer goes through the same door as with any other.

The screen on which a maker proposes and a checker approves stands above this; here the decision is final.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, Table, insert

from bridge import db, ledger, models
from bridge.errors import Declined, Invalid, NotFound, Stale
from bridge.evidence import Answer, Reply, Source
from bridge.ports import Descriptor
from bridge.runtime import Runtime
from bridge.transfers import rows
from bridge.transfers.advance import Fact, Outcome, tell, within
from bridge.transfers.core import decisions, fold
from bridge.transfers.core.decisions import Kind
from bridge.transfers.core.facts import Transfer
from bridge.transfers.core.proof import Finding, Verdict
from statemachines import TransferState

_decision: Table = models.metadata.tables["decision"]


@dataclass(frozen=True)
class Decision:
    """What is decided, by whom, why, and about which version of the transfer.

    `arrived` and `returned` (minor units) are named for a split alone. Maker and checker are two people.
    """

    kind: Kind
    maker: str
    checker: str
    reason: str
    version: int
    arrived: int = 0
    returned: int = 0


def decide(runtime: Runtime, operator_id: int, transfer_id: str, decision: Decision) -> Transfer:
    """Carry out a decision; the transfer as it stands after it.

    A claw-back leaves it orphaned until the provider has proved it. Raises NotFound; Stale when the transfer
    changed since they looked; Invalid, naming the field, for what makes no sense here; Declined
    (`wallet_spent`) when the wallet does not hold what would be taken from it. Nothing is stored then.
    """
    wrong = _wrong(decision)
    if wrong:
        raise Invalid(fields=wrong)
    with db.writing(runtime.engine) as connection:
        seen = rows.load(connection, transfer_id, to_move=True)
        if seen is None or seen.operator_id != operator_id:
            raise NotFound("There is no such transfer.")
        if seen.version != decision.version:
            raise Stale(transfer_id=transfer_id)
        now, descriptor = runtime.clock.now(), runtime.providers[seen.provider].descriptor
        senseless = decisions.refusal(seen, descriptor, decision.kind, decision.arrived, decision.returned, now)
        if senseless is not None:
            raise Invalid(fields=dict([senseless]))
        _require_funds(connection, seen, decision, descriptor)
        outcome = _carry_out(connection, runtime, seen, decision, now)
    tell(seen.state, outcome.transfer)
    return outcome.transfer


def _wrong(decision: Decision) -> dict[str, str]:
    wrong = {
        field: "is missing" for field in ("maker", "checker", "reason") if not str(getattr(decision, field)).strip()
    }
    if decision.maker.strip().casefold() == decision.checker.strip().casefold():
        wrong["checker"] = "must be another person than the maker"
    if decision.kind is not Kind.SPLIT and (decision.arrived or decision.returned):
        wrong["arrived"] = "and returned are named for a split only"
    return wrong


def _require_funds(connection: Connection, seen: Transfer, decision: Decision, descriptor: Descriptor) -> None:
    """What is taken back from a wallet must be there: whoever decides is told so before anything is stored."""
    if decision.kind is Kind.CLAW_BACK:
        return
    owed = fold.wallet_owed(seen, _end(seen, decision, descriptor))
    if owed >= 0:
        return
    held = ledger.lock_wallet(connection, seen.operator_id, seen.provider, seen.player, seen.currency)
    if held < -owed:
        raise Declined("The wallet does not hold what would be taken from it.", code="wallet_spent")


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


def _carry_out(connection: Connection, runtime: Runtime, seen: Transfer, decision: Decision, now: int) -> Outcome:
    watermark = max((piece.id for leg in seen.legs for piece in leg.evidence), default=0)
    row = {
        "id": runtime.ids.new("de"),
        "transfer_id": seen.id,
        "kind": decision.kind.value,
        "arrived": decision.arrived,
        "returned": decision.returned,
        "maker": decision.maker,
        "checker": decision.checker,
        "reason": decision.reason,
        "watermark": watermark,
        "decided_at": now,
    }
    connection.execute(insert(_decision).values(**row))
    fact = Fact(_told(seen, decision), Source.PERSON, now, ordinal=seen.outside.ordinal, watermark=watermark)
    _, outcome = within(connection, runtime, seen.id, None, fact)
    ended = outcome.transfer.state is not TransferState.ORPHANED
    if ended is (decision.kind is Kind.CLAW_BACK):
        raise RuntimeError(f"{seen.id} is {outcome.transfer.state.value} after {decision.kind.value}")
    return outcome


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
