"""What travels: the requests that workers have in hand, and the callbacks that a provider writes."""

from __future__ import annotations

import json
from typing import Any, NamedTuple


class Request(NamedTuple):
    """A request that a worker has in hand, committed and not yet answered; instants in microseconds."""

    step: str
    """`transfer`, `prepare`, `complete`, `void`, or `look_up`."""
    attempt: int
    ordinal: int
    reference: str
    provider_reference: str | None
    side: str
    amount: int
    not_after: int
    deadline: int

    @property
    def moves_money(self) -> bool:
        return self.step != "look_up"

    @property
    def closes(self) -> int:
        """The instant from which on its bytes may not leave any more."""
        return min(self.not_after, self.deadline)


class Letter(NamedTuple):
    """A callback as its provider writes it: always the same bytes under the same id."""

    kind: str
    sequence: int
    body: bytes

    @property
    def id(self) -> str:
        return f"evt_{self.kind}_{self.sequence}"


def letter(kind: str, sequence: int, told: dict[str, Any]) -> Letter:
    """A callback of the generic contract."""
    return Letter(kind, sequence, json.dumps({"type": f"transfer.{kind}", "data": told}).encode())
