"""What a load generator is told to do, and what it tells afterwards: values that travel as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

CONFIRMED, REFUSED, BROKEN = "confirmed", "refused", "broken"
"""What a client was told of one transfer: its good end, something else, or nothing because the connection died."""


@dataclass(frozen=True)
class Door:
    """Where a contestant is asked: host and port, the path of `POST`, and headers that every request needs."""

    host: str
    port: int
    path: str
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Order:
    """One run of load.

    `rate`: arrivals a second, whether or not earlier ones were answered; None: each connection asks again as soon as
    it was answered. `first`: the number of the first transfer; the nth key is `run-n`. `numbered`: the amount of the
    nth transfer is n cents, so that the provider's books tell which one it was whatever id it came under.
    """

    door: Door
    run: str
    first: int
    connections: int
    warm_seconds: float
    seconds: float
    players: int
    rate: float | None = None
    numbered: bool = False

    def as_json(self) -> dict[str, Any]:
        """For the generator's standard input."""
        return asdict(self)

    @classmethod
    def read(cls, values: dict[str, Any]) -> Order:
        """As `as_json` wrote it."""
        return cls(**{**values, "door": Door(**values["door"])})
