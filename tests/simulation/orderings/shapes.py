"""What is searched: each protocol in each direction. The one-phase provider, which can do more, is searched four
times: one search of all its events together would be too wide."""

from __future__ import annotations

from typing import NamedTuple


class Shape(NamedTuple):
    """A protocol, a direction, and the families of events that may happen beside those that always may.

    Always: answered, lost, never arrived, delayed, twice, look-ups, the pause between commit and wire, crash, patience,
    the resolver, and the client's same request again. Families: `pauses` (a worker stands still with its answer),
    `slow` (only with the answer to a money request), `callbacks` (confirm, cancel and take-back), `stored` (a callback
    is stored and acted on later), `claims` (a worker stands still right after its claim), `unreachable` (no byte left),
    `wills` (the provider accepts first, or refuses), `wishes` (the client's cancel).
    """

    protocol: str
    direction: str
    families: frozenset[str]
    what: str = ""
    until: float = 1.0
    """After so much of the time for all, the turn of the next one has come, where two processes share the work."""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.protocol, self.direction, self.what)))


CALLED_BACK = frozenset({"callbacks", "stored", "claims", "pauses", "unreachable"})
WISHED = frozenset({"wishes"})
WEIGHED = frozenset({"wills", "pauses"})
ACCEPTED = frozenset({"wills", "callbacks", "slow"})
"""The plainest provider that answers first and decides later: what it decides comes by a callback, or by a look-up."""

TWO_PHASES = frozenset({"wishes", "wills", "claims", "pauses", "unreachable"})

SHAPES = tuple(
    Shape(protocol, direction, families, what, until)
    for protocol, families, what, until in (
        ("generic", CALLED_BACK, "", 0.38),
        ("qtech", TWO_PHASES, "", 0.52),
        ("generic", WISHED, "wished", 0.63),
        ("generic", WEIGHED, "weighed", 0.74),
        ("generic", ACCEPTED, "accepted", 1.00),
    )
    for direction in ("in", "out")
)
"""In and out beside each other, so that two processes share the work evenly."""


def named(name: str) -> Shape:
    """The shape of this name; raises KeyError."""
    return {str(shape): shape for shape in SHAPES}[name]
