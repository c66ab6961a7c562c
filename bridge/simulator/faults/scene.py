"""One request that meets a fault: what a lie may ask and do, and how an answer is lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bridge.simulator.books import COMPLETED, Books, Transfer
from bridge.simulator.faults.cases import BY_NUMBER
from bridge.simulator.faults.choice import Choice, Strike, Window
from bridge.simulator.messages import MICROS, Answer, Delivery
from bridge.simulator.qtech import Call, Provider

DROPS = {13: ("reset", "close", "half", "hang"), 14: ("reset", "close", "hang")}  # all others: reset, close


@dataclass
class Scene:
    """One request that meets a fault. `pause` waits, and returns at once when the server is stopping."""

    call: Call
    strike: Strike
    provider: Provider
    choice: Choice
    pause: Callable[[float], bool]
    _truth: Answer | None = None

    @property
    def books(self) -> Books:
        """The provider's books."""
        return self.provider.books

    def truth(self) -> Answer:
        """Do what was asked, once, and say what is true."""
        if self._truth is None:
            self._truth = self.provider.perform(self.call)
        return self._truth

    def param(self, name: str, default: Any) -> Any:
        """What the script says, or the default."""
        return self.strike.params.get(name, default)

    def one_of(self, name: str, options: tuple[Any, ...]) -> Any:
        """What the script says, or one of the options by seed."""
        chosen = self.strike.chance.choice(options)
        return self.strike.params.get(name, chosen)

    def delay(self) -> float:
        """Seconds, from the script or the case table."""
        return float(self.param("delay", BY_NUMBER[self.strike.case].seconds(self.books.expiry / MICROS)))

    def transfer(self) -> Transfer | None:
        """The transfer that the call is about, as it stands."""
        return self.books.by_id(self.call.transfer_id)

    def completes(self) -> bool:
        """Whether the call, taken at its word, would complete a transfer."""
        return isinstance(self.call.content, dict) and self.call.content.get("status") == COMPLETED

    def told(self, answer: Answer) -> Delivery:
        """An answer in good order, slowed down where the script says so."""
        delivery = Delivery.of(answer)
        return delivery.but(drip=float(self.param("drip", 0)), part=self.param("part", "both"))

    def lost(self, answer: Answer | None = None) -> Delivery:
        """The connection ends without a (whole) answer."""
        how = self.one_of("how", DROPS.get(self.strike.case, ("reset", "close")))
        delivery = Delivery.of(answer) if answer else Delivery(0)
        return delivery.but(cut=how, delay=self.delay() if how == "hang" else 0.0)

    def go_on(self, on: tuple[str, ...], seconds: float, *, now: bool = True, **scope: str) -> None:
        """Let the fault strike again within a time; no new window when this strike already comes from one."""
        if self.strike.window is None:
            until = self.books.clock() + int(seconds * MICROS) if now else None
            self.choice.open_window(Window(self.strike.case, on, self.strike.params, seconds, until, **scope))
