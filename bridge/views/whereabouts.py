"""Where a transfer's money is now, in one sentence: the rows of design §7 that its state and facts select, in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bridge.money import Currencies
from bridge.ports import Direction
from bridge.positions import Position
from bridge.transfers.core import fold
from bridge.transfers.core.facts import Transfer
from bridge.views.amounts import written
from statemachines import LegState, TransferState

Told = Callable[[int], str]


def sentence(transfer: Transfer, currencies: Currencies) -> str:
    """Where all of its amount is, in words for somebody who sees this transfer for the first time."""

    def told(units: int) -> str:
        return written(currencies, units, transfer.currency)

    parts = fold.position(transfer)
    clauses = [_clause(transfer, amount, row, told) for amount, row in parts]
    if len(clauses) > 1:
        clauses.insert(0, f"Of {told(transfer.amount)}:")
    whole = clauses[0] if len(clauses) == 1 else f"{clauses[0]} {'; '.join(clauses[1:])}"
    return "; ".join((whole, *_under_way(transfer, told))) + "."


def _clause(transfer: Transfer, units: int, row: Position, told: Told) -> str:
    inward, player, provider = transfer.direction is Direction.IN, transfer.player, transfer.provider
    wallet, game = f"{player}'s wallet", f"{player}'s balance at {provider}"
    source, destination = (wallet, game) if inward else (game, wallet)
    amount = told(units)
    match row:
        case Position.NOTHING:
            return f"{amount} {_at_the_source(transfer, source, destination)}"
        case Position.TRANSIT:
            return f"{amount} has left {source} and is in transit; that it reached {destination} is not proved yet"
        case Position.ARRIVED:
            return f"{amount} has left {source} and is in {destination}"
        case Position.CUSTODY if inward:
            return f"{amount} has left {wallet}, is not proved to be at {provider}, and is kept in custody"
        case Position.CUSTODY:
            return (
                f"{amount} is taken off {game} in our books, has not reached {wallet}, and is kept in custody: "
                f"whether {provider} has given it is not proved"
            )
        case Position.HOUSE:
            has = "is back in" if inward else "was given to"
            still = "has it, or may have it, too" if inward else "has it still, or may have it"
            return f"{amount} {has} {wallet} and {provider} {still}: the house bears {amount} until people decide"
        case Position.WRITTEN_OFF:
            return f"{amount} is in {wallet} and in {game} both: the house has borne the loss of {amount}"


def _at_the_source(transfer: Transfer, source: str, destination: str) -> str:
    if transfer.state is TransferState.PENDING:
        yet = "it has not been taken out of it" if transfer.direction is Direction.IN else "that it left is not proved"
        return f"is in {source}: {yet} yet"
    if transfer.state is TransferState.CONFIRMED:
        return f"is in {source}, where it came from"
    moved = any(leg.undoes is not None and leg.state is LegState.APPLIED for leg in transfer.legs)
    return f"is in {source} {'again' if moved else 'and never left it'}; nothing of it is in {destination}"


def _under_way(transfer: Transfer, told: Told) -> Iterator[str]:
    """What is being done about it that will move it again."""
    for leg in transfer.take_backs:
        if leg.state in (LegState.PLANNED, LegState.SENT, LegState.RESERVED):
            yield f"an order to take {told(leg.amount)} out of the game again is under way"
    open_ = transfer.state in (TransferState.PENDING, TransferState.ORPHANED)
    if open_ and transfer.cancel_requested_at is not None:
        yield "its cancellation has been asked for"
