"""The port of a protocol: what the rest of the simulator asks of it, whatever it speaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from bridge.simulator.books import Books
from bridge.simulator.messages import Answer, Request

Trouble = Literal["internal", "unavailable", "maintenance", "unauthorised", "not_allowed", "too_many"]


@dataclass(frozen=True)
class Call:
    """A request with its meaning: the operation and whom it is about ("" where it names nobody).

    `reference` is the operator's name of the transfer, `transfer_id` the provider's; `type` is CREDIT or
    DEBIT. `fault` says why `content` could not be read.
    """

    operation: str
    request: Request
    reference: str = ""
    transfer_id: str = ""
    player: str = ""
    type: str = ""
    content: Any = None
    fault: str = ""

    @property
    def names(self) -> tuple[str, str, str]:
        """(reference, id, player), as the diaries write them."""
        return self.reference, self.transfer_id, self.player

    @property
    def subject(self) -> str:
        """The name by which attempts of this operation are counted."""
        return self.reference or self.transfer_id or self.player


class Provider(Protocol):
    """A provider that tells the truth. `recognise` names what a request is about without doing it, so that
    a lie can be chosen first; `perform` does it.
    """

    @property
    def books(self) -> Books[Any]:
        """What is true."""

    def recognise(self, request: Request) -> Call:
        """What is asked, of whom; nothing is done yet."""

    def unauthorised(self, call: Call) -> Answer | None:
        """The refusal that comes before everything else, or None."""

    def perform(self, call: Call) -> Answer:
        """Do what an authorised call asks and say what is true."""

    def trouble(self, call: Call, what: Trouble) -> Answer:
        """How the protocol words a trouble that says nothing about money."""

    def succeeded(self, call: Call, answer: Answer) -> bool:
        """Whether this true answer tells that the call did what it was for."""

    def names(self, call: Call) -> tuple[str, str, str]:
        """(reference, id, player) of a call, with the provider's id once there is one."""

    def about(self, call: Call, fated: Callable[[str, str], int | None]) -> tuple[str, str]:
        """The (reference, type) by which the rate decides; `fated` tells the case of another transfer, if any."""

    def observed(self, call: Call) -> tuple[int, ...]:
        """The protocol's own cases that performing this call is about to show."""

    def told(self, reference: str) -> dict[str, Any] | None:
        """The truth about a transfer, for the control port."""
