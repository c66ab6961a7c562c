"""What was told must not be forgotten by whoever concludes: the provider's later count, its "pending", its ids, and
what was sent before a backup was restored."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bridge import lineage
from bridge.evidence import Answer, Reply, Step
from bridge.money import MAX_MINOR_UNITS
from bridge.ports import Effect, Side, Window
from bridge.transfers.advance import advance
from bridge.transfers.cancel import cancel
from tests.harness import PLAYER, Bench, Hands
from tests.transfers.scripted_one import ABSENT, LOST, OK, PENDING, SILENT, ScriptedOne
from tests.transfers.test_after_decisions import state, told, wait
from tests.transfers.test_sweep import has, sweep

DAY = 86_400


def fits(lone: Bench, one: ScriptedOne) -> None:
    """The books say of the game what the provider's own truth says."""
    assert lone.game() == one.net(PLAYER)
    lone.audit()


@pytest.mark.parametrize("direction", ["in", "out"])
def test_one_later_cancel_outweighs_an_older_confirmation(
    lone: Bench, one: ScriptedOne, hands: Hands, direction: str
) -> None:
    """C-62 A look-up says "cancelled", the provider's second word; then the callback with its first one arrives."""
    one.script, one.asked = [LOST], [SILENT]
    transfer_id = lone.run(direction)
    leg = lone.get(transfer_id).outside
    delayed = one.callback(str(leg.reference))
    one.take_back(str(leg.reference))
    while lone.get(transfer_id).outside.evidence[-1].reply.answer is Answer.UNKNOWN:
        hands.turn(1)
        lone.resolve_due()
    assert lone.get(transfer_id).outside.evidence[-1].reply.answer is Answer.CANCELLED
    assert state(lone, transfer_id) == "pending"
    told(lone, one, transfer_id, leg, replace(delayed, at=hands.now()))
    assert state(lone, transfer_id) == "reversed"
    fits(lone, one)


@pytest.mark.parametrize("direction", ["in", "out"])
def test_question_on_its_way_while_the_callback_confirms(
    lone: Bench, one: ScriptedOne, hands: Hands, direction: str
) -> None:
    """C-61 C-62 The answer of a look-up, "cancelled", the second word, is stored after the callback has confirmed."""
    one.script = [LOST]
    transfer_id = lone.run(direction, ask=0.0)
    leg = lone.get(transfer_id).outside
    delayed = one.callback(str(leg.reference))
    one.take_back(str(leg.reference))

    def meanwhile(operation: str) -> None:
        if operation == "look_up":
            one.during = lambda _operation: None
            told(lone, one, transfer_id, leg, replace(delayed, at=hands.now()))

    one.during = meanwhile
    hands.turn(3)
    lone.resolve_due()
    assert state(lone, transfer_id) == "reversed"
    fits(lone, one)


@pytest.mark.parametrize("direction", ["in", "out"])
def test_not_found_proves_nothing_of_what_is_known(lone: Bench, one: ScriptedOne, hands: Hands, direction: str) -> None:
    """I-10 C-15 Who has answered "pending" has it; "not found" afterwards, however often, is no absence."""
    one.script, one.asked = [PENDING], [ABSENT] * 2000
    transfer_id = lone.run(direction)
    wait(lone, hands, 3)
    assert one.net(PLAYER) != 0
    assert state(lone, transfer_id) == "orphaned"
    lone.audit()


def test_one_reference_under_two_ids_is_executed_twice(lone: Bench, one: ScriptedOne) -> None:
    """C-16 Fault 21: told as executed under two ids of the provider's own: that is for people."""
    transfer_id = lone.run("in")
    leg = lone.get(transfer_id).outside
    told(lone, one, transfer_id, leg, one.callback(str(leg.reference), provider_reference="W-2"))
    assert (state(lone, transfer_id), lone.row(transfer_id)["reason_code"]) == ("orphaned", "contradiction")
    assert "called back: applied" in lone.row(transfer_id)["reason_detail"]
    lone.audit()


def test_reason_names_what_was_told_otherwise(lone: Bench, one: ScriptedOne) -> None:
    """C-09 A person reads in one sentence what does not match."""
    one.script = ["wrong_player"]
    row = lone.row(lone.run("in"))
    assert (row["state"], row["reason_code"]) == ("orphaned", "mismatch")
    assert "told mallory where ann was meant" in row["reason_detail"]


def test_sweep_is_bounded_like_any_transfer(lone: Bench, one: ScriptedOne) -> None:
    """I-54 A balance beyond the largest amount: the largest is moved, and the rest is told as left behind."""
    has(one, 5 * 10**17)
    transfer_id = sweep(lone)
    row = lone.row(transfer_id)
    assert (row["state"], row["amount"], row["dust"]) == ("confirmed", MAX_MINOR_UNITS, 5 * 10**17 - MAX_MINOR_UNITS)


def forget(lone: Bench, one: ScriptedOne, direction: str) -> str:
    """A transfer that a restored backup knows as planned, and that was executed in what the backup has forgotten."""
    has(one, 1000)
    begun = lone.begin(direction, queued=True)
    assert begun.transfer_id is not None
    side = Side.CREDIT if direction == "in" else Side.DEBIT
    one._create(Effect(str(lone.get(begun.transfer_id).outside.reference), None, side, PLAYER, 1000, "EUR"), OK)
    lineage.restored(lone.runtime, "a backup of the night", "mia")
    return begun.transfer_id


def test_insufficient_is_no_proof_after_a_restore(
    lone: Bench, one: ScriptedOne, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C-57 C-58 C-11 What we take for the first request may be the second: "insufficient" says nothing of the first."""
    transfer_id = forget(lone, one, "out")

    def insufficient(step: Step, effect: Effect, window: Window) -> Reply:
        del window
        one._arrive(step.value, effect)
        return Reply(
            Answer.NOT_APPLIED, code="insufficient_funds", attempt_sensitive=True, reference=effect.reference,
            amount=effect.amount, currency=effect.currency, player=effect.player, side=effect.side.value,
        )  # fmt: skip

    monkeypatch.setattr(one, "money", insufficient)
    hands.turn(1)
    lone.resolve_due()
    assert state(lone, transfer_id) == "confirmed"  # the look-up that followed told of the first
    fits(lone, one)


@pytest.mark.parametrize("direction", ["in", "out"])
@pytest.mark.parametrize("why", ["cancelled", "late"])
def test_forgotten_is_not_begun_again(lone: Bench, one: ScriptedOne, hands: Hands, direction: str, why: str) -> None:
    """C-58 C-40 Planned in a restored backup, then wished cancelled, or found long after its time: nothing is sent,
    nothing is concluded from our own silence; it goes to people, and what the provider tells is believed."""
    transfer_id = forget(lone, one, direction)
    if why == "cancelled":
        cancel(lone.runtime, lone.operator, transfer_id)
    hands.turn(200 * DAY)
    lone.resolve_due()
    wait(lone, hands, 2)
    assert one.count("transfer") == 0
    assert state(lone, transfer_id) == "orphaned"
    leg = lone.get(transfer_id).outside
    advance(lone.runtime, transfer_id, None, replace(one.callback(str(leg.reference)), ordinal=leg.ordinal))
    assert state(lone, transfer_id) == "confirmed"
    fits(lone, one)
