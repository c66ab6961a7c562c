"""Where the money is, in one sentence: typed out for each place in which design §7 lets an amount stand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bridge.errors import NotFound
from bridge.transfers.cancel import cancel
from bridge.views import transfer
from tests.deciding import decide
from tests.harness import Bench, Hands
from tests.transfers.scripted_one import DROPPED, HALF, LOST, REFUSES, SILENT, ScriptedOne
from tests.transfers.test_decide import decision, orphan

WALLET, GAME, CAME_FROM = "ann's wallet", "ann's balance at sim", "where it came from"
SENTENCES = {
    ("in", "custody"): f"10.00 EUR has left {WALLET}, is not proved to be at sim, and is kept in custody.",
    (
        "out",
        "custody",
    ): f"10.00 EUR is taken off {GAME} in our books, has not reached {WALLET}, and is kept in custody: "
    "whether sim has given it is not proved.",
    ("in", "house"): f"10.00 EUR is back in {WALLET} and sim has it, or may have it, too: the house bears 10.00 EUR "
    "until people decide.",
    (
        "out",
        "house",
    ): f"10.00 EUR was given to {WALLET} and sim has it still, or may have it: the house bears 10.00 EUR "
    "until people decide.",
    ("in", "both"): f"Of 10.00 EUR: 5.00 EUR is back in {WALLET} and sim has it, or may have it, too: the house bears "
    f"5.00 EUR until people decide; 5.00 EUR has left {WALLET}, is not proved to be at sim, and is kept in custody.",
    ("out", "both"): f"Of 10.00 EUR: 5.00 EUR was given to {WALLET} and sim has it still, or may have it: the house "
    f"bears 5.00 EUR until people decide; 5.00 EUR is taken off {GAME} in our books, has not reached {WALLET}, and is "
    "kept in custody: whether sim has given it is not proved.",
}
"""Direction, place → the sentence."""


def where(lone: Bench, transfer_id: str) -> str:
    """The sentence."""
    return transfer.page(lone.runtime, lone.operator, transfer_id).where


@pytest.mark.parametrize(("direction", "place"), SENTENCES)
def test_an_orphan_in_each_place(lone: Bench, one: ScriptedOne, hands: Hands, direction: str, place: str) -> None:
    """Each of the six places has its sentence, and the books beside it sum to zero and say the same."""
    transfer_id = orphan(lone, one, hands, direction, place)
    page = transfer.page(lone.runtime, lone.operator, transfer_id)
    assert page.where == SENTENCES[direction, place]
    held = {each.account: each.units for each in page.books}
    assert sum(held.values()) == 0
    assert held.get("custody:sim", 0) == {"custody": 1000, "house": 0, "both": 500}[place]
    assert held.get("house:sim", 0) == {"custody": 0, "house": -1000, "both": -500}[place]
    assert page.case is not None
    assert page.case.state == "open"


def test_on_its_way(lone: Bench, one: ScriptedOne) -> None:
    """In: it left the wallet and is in transit. Out: nothing is proved to have left the game."""
    one.script, one.asked = [DROPPED, DROPPED], [SILENT] * 4
    inward, outward = lone.run("in"), lone.run("out")
    assert where(lone, inward) == (
        f"10.00 EUR has left {WALLET} and is in transit; that it reached {GAME} is not proved yet."
    )
    assert where(lone, outward) == f"10.00 EUR is in {GAME}: that it left is not proved yet."
    one.script, one.asked = [DROPPED], [SILENT] * 4
    cancel(lone.runtime, lone.operator, inward)
    assert where(lone, inward).endswith("; its cancellation has been asked for.")


def test_ended(lone: Bench, one: ScriptedOne) -> None:
    """Confirmed both ways; refused before it arrived; a part of it."""
    assert where(lone, lone.run("in")) == f"10.00 EUR has left {WALLET} and is in {GAME}."
    assert where(lone, lone.run("out")) == f"10.00 EUR has left {GAME} and is in {WALLET}."
    one.script = [REFUSES, REFUSES]
    assert where(lone, lone.run("in")) == f"10.00 EUR is in {WALLET} again; nothing of it is in {GAME}."
    assert where(lone, lone.run("out")) == f"10.00 EUR is in {GAME} and never left it; nothing of it is in {WALLET}."
    one.descriptor, one.script = replace(one.descriptor, partial=True), [HALF]
    assert where(lone, lone.run("in")) == (
        f"Of 10.00 EUR: 5.00 EUR has left {WALLET} and is in {GAME}; 5.00 EUR is in {WALLET}, where it came from."
    )


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("write_off", f"10.00 EUR is in {WALLET} and in {GAME} both: the house has borne the loss of 10.00 EUR."),
        ("split", f"Of 10.00 EUR: 6.00 EUR has left {WALLET} and is in {GAME}; 4.00 EUR is in {WALLET}, {CAME_FROM}."),
        ("reverse", f"10.00 EUR is in {WALLET} again; nothing of it is in {GAME}."),
    ],
)  # fmt: skip
def test_decided(lone: Bench, one: ScriptedOne, hands: Hands, kind: str, sentence: str) -> None:
    """What people decided about an orphan that both sides had."""
    transfer_id = orphan(lone, one, hands, "in", "house")
    decide(lone.runtime, lone.operator, transfer_id, decision(lone, transfer_id, kind))
    assert where(lone, transfer_id) == sentence


def test_being_clawed_back(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """While it is being taken out of the game, the sentence says so and the advice is to wait; then it is over."""
    transfer_id = orphan(lone, one, hands, "in", "house")
    one.script, one.asked = [LOST], [SILENT] * 2
    decide(lone.runtime, lone.operator, transfer_id, decision(lone, transfer_id, "claw_back"))
    under_way = SENTENCES["in", "house"].removesuffix(".")
    order = "; an order to take 10.00 EUR out of the game again is under way."
    for _ in range(2):
        page = transfer.page(lone.runtime, lone.operator, transfer_id)
        assert page.where == under_way + order
        assert page.advice.step.startswith("Wait: sim is told to take it out of the game")
        hands.turn(1)
        lone.resolve_due()
    for _ in range(5):
        hands.turn(30)
        lone.resolve_due()
    assert where(lone, transfer_id) == f"10.00 EUR is in {WALLET} again; nothing of it is in {GAME}."


def test_nobody_elses(lone: Bench) -> None:
    """Another operator's transfer, one that there is not, and one that no database could hold: not found."""
    transfer_id = lone.run("in")
    for operator, name in ((lone.operator + 1, transfer_id), (lone.operator, "tr_nothing"), (lone.operator, "tr\x00")):
        with pytest.raises(NotFound):
            transfer.page(lone.runtime, operator, name)
