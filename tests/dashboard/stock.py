"""What stands on the desk in tests of its pages: orphans of each shape before a provider that lies on request."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from bridge import board, cashier, db, players
from bridge.desk import proposals, sight, sittings
from bridge.desk.proposals import Wish
from bridge.evidence import Answer
from bridge.models.proposals import ProposalKind
from bridge.transfers import resolve
from bridge.transfers.advance import advance
from bridge.transfers.begin import Wish as Begin
from bridge.transfers.begin import begin
from bridge.transfers.drive import drive
from bridge.transfers.rows import load
from tests.desk.stand import Desk
from tests.transfers.scripted_one import HALF, LOST, ONE_PHASE, REFUSES, ScriptedOne, nothing

PLAYER, WHY = "pat", "the provider's staff say so"
SHAPES = [(direction, place) for direction in ("in", "out") for place in ("custody", "house", "both")]


class Silent(ScriptedOne):
    """Says nothing about what it is asked, unless a test has it speak."""

    speaks = False

    def look_up(self, effect: Any, window: Any) -> Any:
        if self.speaks:
            return super().look_up(effect, window)
        self._arrive("look_up", effect)
        return nothing()


@dataclass
class Stock:
    """A desk, its provider, and how many transfers it has begun."""

    desk: Desk
    one: Silent
    begun: int = 0

    def run(self, direction: str = "in", amount: str = "10.00", player: str = PLAYER) -> str:
        """A transfer, begun and driven as the API does."""
        self.begun += 1
        runtime = self.desk.runtime
        wish = Begin(player, "sim", direction, amount, "EUR")
        made = begin(runtime, self.desk.operator, f"key-{self.begun}", wish)
        assert made.outcome is not None
        assert made.transfer_id is not None
        drive(runtime, made.outcome)
        return made.transfer_id

    def orphan(self, direction: str = "in", place: str = "custody", amount: str = "10.00") -> str:
        """An orphan as it comes about: no answer at all, or told otherwise after the wallet had been given it."""
        if place == "custody":
            self.one.script = [LOST]
        elif place == "both":
            self.one.descriptor, self.one.script = replace(ONE_PHASE, partial=True), [HALF]
        elif direction == "in":
            self.one.script = [REFUSES]
        transfer_id = self.run(direction, amount)
        if place != "custody":
            word = "applied" if (direction, place) == ("in", "house") else "cancelled"
            self.tell(transfer_id, answer=Answer(word), sequence=None, amount=1000, requested=None)
        for _ in range(12):
            if self.state(transfer_id) == "orphaned":
                return transfer_id
            self.desk.hands.turn(3)
            for claim in resolve.claim_due(self.desk.runtime, 50):
                resolve.resolve(self.desk.runtime, claim)
        raise AssertionError(self.state(transfer_id))

    def tell(self, transfer_id: str, **lie: Any) -> None:
        """A callback about it, with `lie` in it."""
        told = self.one.callback(self.reference(transfer_id))
        advance(self.desk.runtime, transfer_id, None, replace(told, reply=replace(told.reply, **lie)))

    def reference(self, transfer_id: str) -> str:
        """What the provider was given as its reference."""
        with db.reading(self.desk.runtime.engine) as connection:
            found = load(connection, transfer_id)
        assert found is not None
        return str(found.outside.reference)

    def state(self, transfer_id: str) -> str:
        """The state that it is in."""
        return str(self.desk.rows("SELECT state FROM transfer WHERE id = :id", id=transfer_id)[0]["state"])

    def propose(self, transfer_id: str, kind: str = "confirm", who: str = "operator", reason: str = WHY) -> str:
        """Somebody proposes it, as they are shown it; the proposal's id."""
        runtime = self.desk.runtime
        sitting = sittings.find(runtime, str(self.desk.sitting(who).cookie), "127.0.0.1", moved=True)
        assert sitting is not None
        seen = sight.preview(runtime, sitting.person, transfer_id, ProposalKind(kind)).seen
        return proposals.propose(runtime, sitting, Wish(transfer_id, ProposalKind(kind), reason, seen)).id


def stock(desk: Desk) -> Stock:
    """A player with money, and a provider that says nothing, behind this desk."""
    one = Silent(desk.hands)
    desk.runtime.providers["sim"] = one  # type: ignore[index] # as it was composed, it can be exchanged
    players.register(desk.runtime, desk.operator, PLAYER, ["EUR"])
    wish = cashier.CashWish(PLAYER, "1000.00", "EUR")
    cashier.move(desk.runtime, desk.operator, "deposit", "purse", wish)
    plan = [board.Planned("verify", 300, "what must hold is asked"), board.Planned("resolve", 1, "money moves on")]
    board.enrol(desk.runtime, plan)
    board.beat(desk.runtime, desk.hands.now(), {"resolve": desk.hands.now()})
    return Stock(desk, one)
