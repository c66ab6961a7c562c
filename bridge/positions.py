"""The five rows of the ledger (design §7): where a transfer's amount stands is a function of its facts."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Position(StrEnum):
    """Where a transfer's amount stands in the books."""

    NOTHING = "nothing"  # pending with the source not proved moved, or reversed
    TRANSIT = "transit"  # pending, the source has moved
    ARRIVED = "arrived"  # confirmed
    CUSTODY = "custody"  # orphaned: place unproved, or moved and not arrived
    HOUSE = "house"  # orphaned: the wallet has it, and the game has or may have it too; the house bears one
    WRITTEN_OFF = "written_off"  # confirmed by people: both keep it, the loss stays on the house


#                     source transit custody destination house
POSITIONS: Mapping[Position, tuple[int, int, int, int, int]] = {
    Position.NOTHING: (0,      0,      0,      0,          0),
    Position.TRANSIT: (-1,     +1,     0,      0,          0),
    Position.ARRIVED: (-1,     0,      0,      +1,         0),
    Position.CUSTODY: (-1,     0,      +1,     0,          0),
    Position.HOUSE:   (0,      0,      0,      +1,         -1),
    Position.WRITTEN_OFF: (0,  0,      0,      +1,         -1),
}  # fmt: skip
