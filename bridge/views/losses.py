"""What the house has lost for good: written off by two people, and not come back since."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, Table, func, select

from bridge import models
from bridge.tallies import GIGA

_transfer: Table = models.metadata.tables["transfer"]
_decision: Table = models.metadata.tables["decision"]


@dataclass(frozen=True)
class Loss:
    """So much (minor units) of so many transfers of one provider and currency."""

    provider: str
    currency: str
    transfers: int
    units: int


def taken(connection: Connection, operator_id: int) -> list[Loss]:
    """The losses of an operator by provider and currency. What is an orphan again is not among them: the house bears
    it until people decide anew."""
    # From the decisions, of which there are few: no index leads to what a transfer has lost.
    decided = select(_decision.c.transfer_id).where(_decision.c.kind == "write_off").distinct().subquery()
    kind = (_transfer.c.provider, _transfer.c.currency)
    parts = (func.sum(_transfer.c.written_off // GIGA), func.sum(_transfer.c.written_off % GIGA))
    query = (
        select(*kind, func.count(), *parts)
        .join(decided, decided.c.transfer_id == _transfer.c.id)
        .where(_transfer.c.operator_id == operator_id, _transfer.c.state == "confirmed", _transfer.c.written_off > 0)
        .group_by(*kind)
        .order_by(*kind)
    )
    return [
        Loss(provider, currency, count, int(giga) * GIGA + int(units))
        for provider, currency, count, giga, units in connection.execute(query)
    ]
