"""Evidence → facts → state and position of a transfer. Functions of values: no row, no clock, no session.

What is proved about one leg is said by :mod:`proof`, what people decided by :mod:`decisions`; here it becomes
the state of the transfer, what its wallet must have got, and where its amount stands in the books.
"""

from __future__ import annotations

from bridge.ports import Descriptor, Direction
from bridge.positions import Position
from bridge.transfers.core import hindsight
from bridge.transfers.core.decisions import Kind
from bridge.transfers.core.facts import CONTRADICTION, Leg, Transfer
from bridge.transfers.core.proof import Finding, Verdict, judge
from statemachines import LegState, TransferFacts, TransferState

Parts = tuple[tuple[int, Position], ...]
"""How much of an amount (minor units) stands in which row of the ledger table; together the whole."""


def find(transfer: Transfer, descriptor: Descriptor) -> Finding:
    """What is proved about a transfer by the set of its evidence, in whatever order it came."""
    decision = transfer.decision
    if decision is not None:
        return hindsight.decided(transfer, decision, descriptor)
    *earlier, newest = transfer.tries
    for leg in earlier:
        found = judge(transfer, leg, descriptor)
        if found.verdict is not Verdict.REFUSED:
            # A second try was made because the first was refused, finally.
            return found if found.verdict is Verdict.MISMATCHED else Finding(Verdict.CONTRADICTED, found.proof)
    found = judge(transfer, newest, descriptor)
    if found.verdict is Verdict.REFUSED and transfer.sweep and transfer.rewound_at is not None:
        return Finding(Verdict.OPEN)  # a refusal leads to another try, perhaps in what a restored backup has forgotten
    return found


def facts_of(transfer: Transfer, finding: Finding, *, patience_spent: bool) -> TransferFacts:
    """The facts on which the transfer's machine decides."""
    verdict = finding.verdict
    return TransferFacts(
        arrival_proved=verdict is Verdict.APPLIED,
        return_proved=verdict is Verdict.REFUSED,
        contradiction=verdict in (Verdict.CONTRADICTED, Verdict.MISMATCHED)
        or _turned(transfer, verdict)
        or _is_before_people(transfer, verdict),
        patience_spent=patience_spent,
    )


def trigger_for(state: TransferState, facts: TransferFacts) -> str | None:
    """Which edge of the transfer's machine the facts call for, or None when it is where it belongs."""
    if facts.contradiction:
        return None if state is TransferState.ORPHANED else "orphan"
    if facts.arrival_proved:
        return None if state is TransferState.CONFIRMED else "confirm"
    if facts.return_proved:
        return None if state is TransferState.REVERSED else "reverse"
    return "orphan" if facts.patience_spent and state is TransferState.PENDING else None


def wallet_owed(transfer: Transfer, finding: Finding) -> int:
    """What the player's wallet has still to be given (+), or to give back (−), to end as the finding says."""
    if finding.verdict is Verdict.REFUSED:
        return -transfer.wallet_net
    arrived = transfer.amount if finding.arrived is None else finding.arrived
    if transfer.direction is Direction.OUT:
        return arrived - transfer.wallet_net
    return -(arrived - (finding.written_off or 0)) - transfer.wallet_net


def position(transfer: Transfer) -> Parts:
    """The rows of design §7 that a transfer's state and facts select, each with its part of the amount."""
    whole = transfer.amount
    match transfer.state:
        case TransferState.REVERSED:
            return _parts((whole, Position.NOTHING))
        case TransferState.PENDING:
            moved = _source(transfer).state is LegState.APPLIED
            return _parts((whole, Position.TRANSIT if moved else Position.NOTHING))
        case TransferState.CONFIRMED:
            arrived, lost = whole if transfer.arrived is None else transfer.arrived, transfer.written_off or 0
            return _parts(
                (arrived - lost, Position.ARRIVED), (lost, Position.WRITTEN_OFF), (whole - arrived, Position.NOTHING)
            )
        case _:
            # Becoming orphaned never touches a wallet: the player may have spent it, and taking is for people.
            return _parts((transfer.given, Position.HOUSE), (whole - transfer.given, Position.CUSTODY))


def _parts(*parts: tuple[int, Position]) -> Parts:
    return tuple((amount, row) for amount, row in parts if amount)


def _source(transfer: Transfer) -> Leg:
    return transfer.inside if transfer.direction is Direction.IN else transfer.outside


def _turned(transfer: Transfer, verdict: Verdict) -> bool:
    """A final state whose proof has turned into its opposite."""
    return (transfer.state, verdict) in (
        (TransferState.CONFIRMED, Verdict.REFUSED),
        (TransferState.REVERSED, Verdict.APPLIED),
    )


def _is_before_people(transfer: Transfer, verdict: Verdict) -> bool:
    """Whether an orphan that is proved to have arrived is for people all the same.

    What contradicted it may only be doubted since then, for a backup was restored, a clock set forward or the
    provider's name given away: nobody has said that it was not so. And where an earlier try had been told as executed
    too, the amount is more than what arrived, and than what an older decision was about: people say what is due.
    """
    if transfer.state is not TransferState.ORPHANED or verdict is not Verdict.APPLIED:
        return False
    decision = transfer.decision
    if decision is None:
        return transfer.reason_code == CONTRADICTION or transfer.amount != transfer.outside.amount
    return decision.reply.code != Kind.SPLIT and decision.reply.amount != transfer.amount
