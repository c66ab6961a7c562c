"""One request that meets a fault: what a lie may ask and do, and how an answer is lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from bridge.simulator.faults.cases import Case
from bridge.simulator.faults.choice import Choice, Strike, Window
from bridge.simulator.messages import MICROS, Answer, Delivery
from bridge.simulator.provider import Call, Provider, Trouble

DROPS = {13: ("reset", "close", "half", "hang"), 14: ("reset", "close", "hang")}  # all others: reset, close

P = TypeVar("P", bound=Provider)


@dataclass
class Scene(Generic[P]):
    """One request that meets a fault. `pause` waits, and returns at once when the server is stopping."""

    call: Call
    strike: Strike
    provider: P
    choice: Choice
    pause: Callable[[float], bool]
    _truth: Answer | None = None

    @property
    def case(self) -> Case:
        """The row of the table."""
        return self.choice.table.by_number[self.strike.case]

    def truth(self) -> Answer:
        """Do what was asked, once, and say what is true."""
        if self._truth is None:
            self._truth = self.provider.perform(self.call)
        return self._truth

    def success(self) -> Answer | None:
        """The truth, where it tells that what was asked is done; else None."""
        answer = self.truth()
        return answer if self.provider.succeeded(self.call, answer) else None

    def param(self, name: str, default: Any) -> Any:
        """What the script says, or the default."""
        return self.strike.params.get(name, default)

    def one_of(self, name: str, options: tuple[Any, ...]) -> Any:
        """What the script says, or one of the options by seed."""
        chosen = self.strike.chance.choice(options)
        return self.strike.params.get(name, chosen)

    def delay(self) -> float:
        """Seconds, from the script or the case table."""
        return float(self.param("delay", self.case.seconds(self.provider.books.expiry / MICROS)))

    def told(self, answer: Answer) -> Delivery:
        """An answer in good order, slowed down where the script says so."""
        delivery = Delivery.of(answer)
        return delivery.but(drip=float(self.param("drip", 0)), part=self.param("part", "both"))

    def trouble(self, what: Trouble) -> Delivery:
        """A trouble, worded as the protocol words it."""
        return self.told(self.provider.trouble(self.call, what))

    def lost(self, answer: Answer | None = None) -> Delivery:
        """The connection ends without a (whole) answer."""
        how = self.one_of("how", DROPS.get(self.strike.case, ("reset", "close")))
        delivery = Delivery.of(answer) if answer else Delivery(0)
        return delivery.but(cut=how, delay=self.delay() if how == "hang" else 0.0)

    def go_on(self, on: tuple[str, ...], seconds: float, *, now: bool = True, **scope: str) -> None:
        """Let the fault strike again within a time; no new window when this strike already comes from one."""
        if self.strike.window is None:
            until = self.provider.books.clock() + int(seconds * MICROS) if now else None
            self.choice.open_window(Window(self.strike.case, on, self.strike.params, seconds, until, **scope))

    def go_on_everywhere(self, seconds: float) -> None:
        """Let the fault strike every operation within a time: of this transfer by rate, else of whom the script
        names.
        """
        script, every = self.strike.script, self.choice.table.operations
        if script is None:
            self.go_on(every, seconds, reference=self.call.reference)
        else:
            on = every if "any" in script.on or script.on == self.case.on else script.on
            self.go_on(on, seconds, reference=script.reference, player=script.player)
