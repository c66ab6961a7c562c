"""Particulars: what a note says of the thing that people acted on: which transfer, how much, and how it stood before
and after. A note is read where the rows that it is about are not at hand: it names them itself."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, Table, select

from bridge import models
from bridge.models.proposals import ProposalKind
from bridge.runtime import Runtime
from bridge.transfers.core.facts import Transfer
from bridge.views.amounts import written

_proposal: Table = models.metadata.tables["proposal"]
_transfer: Table = models.metadata.tables["transfer"]


def of_transfer(runtime: Runtime, transfer: Transfer) -> str:
    """A transfer as it stands, such as "orphaned, 25.00 EUR of tr_0192f3…"."""
    return _standing(runtime, transfer.state.value, transfer.amount, transfer.currency, transfer.id)


def of_proposal(
    runtime: Runtime, kind: ProposalKind, state: str, transfer: Transfer, balances: Mapping[str, int] | None = None
) -> str:
    """A proposal and its transfer as they stand, and the player's accounts (minor units), where those may change."""
    told = [f"{kind.value} {state}", of_transfer(runtime, transfer)]
    if balances:
        money = runtime.currencies, transfer.currency
        told.append(", ".join(f"{name} {written(money[0], units, money[1])}" for name, units in balances.items()))
    return "; ".join(told)


def found(connection: Connection, runtime: Runtime, operator_id: int, subject: str) -> str | None:
    """The same of a transfer or proposal that is named by its id and may be anything that somebody typed; None for
    what is not this operator's, and for what never was."""
    columns = (_transfer.c.state, _transfer.c.amount, _transfer.c.currency, _transfer.c.id)
    mine = _transfer.c.operator_id == operator_id
    row = connection.execute(select(*columns).where(mine, _transfer.c.id == subject)).first()
    if row is not None:
        return _standing(runtime, *row)
    together = _proposal.join(_transfer, _transfer.c.id == _proposal.c.transfer_id)
    query = select(_proposal.c.kind, _proposal.c.state, *columns).select_from(together)
    proposed = connection.execute(query.where(mine, _proposal.c.id == subject)).first()
    if proposed is None:
        return None
    kind, state, *standing = proposed
    return f"{kind} {state}; {_standing(runtime, *standing)}"


def _standing(runtime: Runtime, state: str, amount: int, currency: str, transfer_id: str) -> str:
    return f"{state}, {written(runtime.currencies, amount, currency)} of {transfer_id}"
