"""Where truth, lie and diaries meet: one request in, one delivery out, all of it noted before it leaves."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.simulator.books import CANCELLED, COMPLETED, DEBIT, Transfer
from bridge.simulator.faults.cases import ACCEPT, STALE_LIST
from bridge.simulator.faults.choice import Choice
from bridge.simulator.faults.lies import LIES
from bridge.simulator.faults.scene import Scene
from bridge.simulator.journal import FaultDiary, WireDiary
from bridge.simulator.messages import Answer, Delivery, Request
from bridge.simulator.qtech import Call, Provider
from bridge.simulator.server import Gate


@dataclass
class Stage:
    """The provider as the wire sees it."""

    provider: Provider
    choice: Choice
    faults: FaultDiary
    wire: WireDiary
    gate: Gate

    def __post_init__(self) -> None:
        self.provider.books.when_cancelled = self._saw_cancelled

    def answer(self, request: Request) -> Delivery:
        """Recognise, choose a fault, do, note, deliver."""
        call = self.provider.recognise(request)
        attempt = self.wire.attempt(call.operation, call.subject)
        refusal = self.provider.unauthorised(call)
        if refusal is not None:
            return self._noted(call, attempt, Delivery.of(refusal))
        strike = self.choice.take(call, attempt, self._about(call))
        if strike is None:
            return self._noted(call, attempt, Delivery.of(self._truth(call)))
        scene = Scene(call, strike, self.provider, self.choice, self.gate.pause)
        delivery = LIES[strike.case](scene)
        if delivery is None:
            self.choice.give_back(strike)
            return self._noted(call, attempt, Delivery.of(scene.truth()))
        self.faults.shown(strike.case, call.operation, *self._names(call))
        return self._noted(call, attempt, delivery)

    def _truth(self, call: Call) -> Answer:
        before = self.provider.books.by_id(call.transfer_id)
        answer = self.provider.perform(call)
        self._saw_protocol(call, before)
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

    def _about(self, call: Call) -> tuple[str, str]:
        """The (reference, type) by which the rate decides: the transfer's own, or the player's newest."""
        if call.operation == "balances":
            return self._stale_row() or ("", "")
        if call.operation != "balance":
            return call.reference, call.type
        last = self.provider.books.last_of_player(call.player)
        return (last.terms.reference, last.terms.type) if last else (f"player {call.player}", "")

    def _stale_row(self) -> tuple[str, str] | None:
        """The newest transfer of some player that is fated to stand in a stale balance list."""
        for last in self.provider.books.players_last():
            plan = self.choice.planned(last.terms.reference, last.terms.type)
            if plan is not None and plan.case == STALE_LIST:
                return last.terms.reference, last.terms.type
        return None

    def _names(self, call: Call) -> tuple[str, str, str]:
        """The call's names, with the provider's id once there is one; a balance names the newest transfer."""
        books = self.provider.books
        if call.operation == "balance":
            last = books.last_of_player(call.player)
            return (last.terms.reference, last.id, call.player) if last else call.names
        known = books.by_reference(call.reference)
        return (call.reference, known.id, call.player) if known else call.names

    def _noted(self, call: Call, attempt: int, delivery: Delivery) -> Delivery:
        names = call.names if call.operation == "balance" else self._names(call)
        self.wire.write(call.operation, names, attempt, "dropped" if delivery.cut else delivery.status)
        return delivery

    # --- the protocol's own cases, counted when they are seen --------------------------------------

    def _saw_protocol(self, call: Call, before: Transfer | None) -> None:
        books, names = self.provider.books, self._names(call)
        if call.operation in ("complete", "cancel") and before is not None:
            if before.status == COMPLETED:
                self.faults.saw(6, call.operation, *names)
            late = books.clock() >= books.deadline(before)
            if call.operation == "complete" and before.status == CANCELLED and late:
                self.faults.saw(4, call.operation, *names)
        if call.operation == "balance" and any(account.reserved for _, _, account in books.accounts(call.player)):
            self.faults.saw(7, call.operation, *names)

    def _saw_cancelled(self, transfer: Transfer, by: str) -> None:
        terms = transfer.terms
        names = (terms.reference, transfer.id, terms.player)
        if terms.type == DEBIT:
            self.faults.saw(7, by, *names)
        if by == "expiry" and not self.wire.attempts("complete", terms.reference):
            self.faults.saw(10, by, *names)
