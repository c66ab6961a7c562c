"""What was final when a backup was made, or when its provider's name was given to another one, and moves again.

No restore and no acceptance marks such rows, for there may be millions. What became of one since it settled may be
anything, and be forgotten: so it is judged with the marks that it would have, and gets them when it moves.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from bridge import identity, lineage
from bridge.transfers.core import contract
from bridge.transfers.core.facts import AHEAD, UNNOTICED, Transfer, replace

MARKS = ("rewound_at", "first_rewound_at", "moved_at")


def marked(connection: Connection, seen: Transfer, now: int) -> Transfer:
    """The transfer as it has to be judged: with the marks of what came since it settled, and did not mark it."""
    if seen.settled_at is None or seen.state in contract.UNRESOLVED:
        return seen
    # Settled at an instant to come, it was so by a clock that was ahead: when it was, nobody knows.
    settled = seen.settled_at if seen.settled_at <= now + AHEAD else 0
    found = seen
    restored = lineage.restored_at(connection, now)
    if restored is not None and restored >= settled and restored > (seen.rewound_at or 0):
        known = max(settled, seen.rewound_at or 0) + UNNOTICED + 1
        found = replace(found, rewound_at=restored, first_rewound_at=_first(seen, min(restored, known)))
    accepted = identity.accepted_at(connection).get(seen.provider)
    if accepted is None or accepted < settled or accepted <= (seen.moved_at or 0):
        return found
    moved = max(accepted, (found.first_rewound_at or 0) + 1, *_all_that_was_asked(seen))
    if found.rewound_at is None:
        return replace(found, rewound_at=moved, first_rewound_at=moved, moved_at=moved)
    return replace(found, moved_at=moved)


def marks(seen: Transfer) -> dict[str, Any]:
    """Those of such a transfer, for its row."""
    return {name: getattr(seen, name) for name in MARKS}


def _first(seen: Transfer, instant: int) -> int:
    return instant if seen.first_rewound_at is None else min(seen.first_rewound_at, instant)


def _all_that_was_asked(seen: Transfer) -> list[int]:
    """When requests were sent and people decided: all that was asked of the one before, whatever a clock said."""
    sent = [attempt.sent_at for leg in seen.legs for attempt in leg.attempts]
    return [*sent, *(piece.at for piece in seen.decisions)]
