"""What was final when a backup was made, or when its provider's name was given to another one, and moves again.

No restore and no acceptance marks such rows, for there may be millions. What became of one since may be anything, and
be forgotten: so it is judged with the marks that it would have, and gets them when it moves. Whether it was final
before is told by its history, for a clock that was ahead says nothing.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, select

from bridge import identity, lineage, models
from bridge.transfers.core import contract
from bridge.transfers.core.facts import AHEAD, UNNOTICED, Transfer, replace

MARKS = ("rewound_at", "first_rewound_at", "moved_at")

_history = models.metadata.tables["history"]


def marked(connection: Connection, seen: Transfer, now: int, *, held: bool) -> Transfer:
    """The transfer as it has to be judged: with the marks of what came since it became final, and did not mark it.
    `held`: nobody notices another restore until the caller's transaction ends."""
    if seen.state in contract.UNRESOLVED:
        return seen
    restored = lineage.last_restore(connection, now, held=held)
    accepted = identity.last_acceptance(connection, seen.provider)
    if restored is None and accepted is None:
        return seen
    newest = select(func.max(_history.c.id)).where(_history.c.transfer_id == seen.id)
    since = connection.execute(newest).scalar_one() or 0
    found = seen
    if restored is not None and since <= restored.behind and restored.at != seen.rewound_at:
        found = _restored(seen, restored.at)
    if accepted is not None and since <= accepted[1] and accepted[0] != seen.moved_at:
        found = _moved(found, accepted[0])
    return found


def marks(seen: Transfer) -> dict[str, Any]:
    """Those of such a transfer, for its row."""
    return {name: getattr(seen, name) for name in MARKS}


def _restored(seen: Transfer, at: int) -> Transfer:
    """All is known that was told until it was marked last or became final."""
    last = max(seen.settled_at or 0, seen.rewound_at or 0)
    first = min(at, last + UNNOTICED + AHEAD, seen.first_rewound_at or seen.rewound_at or at)
    return replace(seen, rewound_at=max(at, seen.rewound_at or 0), first_rewound_at=first)


def _moved(seen: Transfer, at: int) -> Transfer:
    """As an acceptance marks it: behind all that was sent and decided before, whatever a clock said."""
    sent = (attempt.sent_at for leg in seen.legs for attempt in leg.attempts)
    decided = (piece.at for piece in seen.decisions)
    moved = max(at, (seen.first_rewound_at or 0) + 1, *sent, *decided)
    if seen.rewound_at is None:
        return replace(seen, rewound_at=at, first_rewound_at=at, moved_at=moved)
    return replace(seen, moved_at=moved)
