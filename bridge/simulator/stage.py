"""Where truth, lie and diaries meet: one request in, one delivery out, all of it noted before it leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bridge.simulator.faults.cases import ACCEPT
from bridge.simulator.faults.choice import Choice
from bridge.simulator.faults.scene import Scene
from bridge.simulator.journal import FaultDiary, WireDiary
from bridge.simulator.messages import Answer, Delivery, Request
from bridge.simulator.provider import Call, Provider
from bridge.simulator.server import Gate

Lies = Mapping[int, Callable[[Any], Delivery | None]]


@dataclass
class Stage:
    """The provider as the wire sees it."""

    provider: Provider
    lies: Lies
    choice: Choice
    faults: FaultDiary
    wire: WireDiary
    gate: Gate

    def answer(self, request: Request) -> Delivery:
        """Recognise, choose a fault, do, note, deliver."""
        call = self.provider.recognise(request)
        attempt = self.wire.attempt(call.operation, call.subject)
        refusal = self.provider.unauthorised(call)
        if refusal is not None:
            return self._noted(call, attempt, Delivery.of(refusal))
        strike = self.choice.take(call, attempt, self.provider.about(call, self.choice.fated))
        if strike is None:
            return self._noted(call, attempt, Delivery.of(self._truth(call)))
        scene = Scene(call, strike, self.provider, self.choice, self.gate.pause)
        delivery = self.lies[strike.case](scene)
        if delivery is None:
            self.choice.give_back(strike)
            return self._noted(call, attempt, Delivery.of(scene.truth()))
        self.faults.shown(strike.case, call.operation, *self.provider.names(call))
        return self._noted(call, attempt, delivery)

    def _truth(self, call: Call) -> Answer:
        observed = self.provider.observed(call)
        answer = self.provider.perform(call)
        for case in observed:
            self.faults.saw(case, call.operation, *self.provider.names(call))
        return answer

    def at_accept(self) -> Delivery | None:
        """A connection that is dropped before its first byte is read, when a script says so."""
        strike = self.choice.at_accept()
        if strike is None:
            return None
        self.faults.shown(strike.case, ACCEPT, "", "", "")
        self.wire.write(ACCEPT, ("", "", ""), self.wire.attempt(ACCEPT, ""), "dropped")
        how = strike.params.get("how", "reset")
        return Delivery(0, cut=how if how != "half" else "reset", delay=float(strike.params.get("delay", 0)))

    def _noted(self, call: Call, attempt: int, delivery: Delivery) -> Delivery:
        names = call.names if call.operation == "balance" else self.provider.names(call)
        self.wire.write(call.operation, names, attempt, "dropped" if delivery.cut else delivery.status)
        return delivery
