"""QTech's own cases that no request shows: what happens when time cancels a transfer."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.simulator.books import DEBIT
from bridge.simulator.journal import FaultDiary, WireDiary
from bridge.simulator.qtech.books import Transfer


@dataclass(frozen=True)
class Sight:
    """Counts cases 7 and 10 when they are seen."""

    faults: FaultDiary
    wire: WireDiary

    def cancelled(self, transfer: Transfer, by: str) -> None:
        """A reservation is given back (7); nobody ever came to complete it (10)."""
        terms = transfer.terms
        names = (terms.reference, transfer.id, terms.player)
        if terms.type == DEBIT:
            self.faults.saw(7, by, *names)
        if by == "expiry" and not self.wire.attempts("complete", terms.reference):
            self.faults.saw(10, by, *names)
