"""What is told after a decision where there may have been another execution: no word alone is enough for a machine to
move money by then, and one is enough to call people back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bridge import lineage
from bridge.desk import switches
from bridge.evidence import Answer, Reply, Source, Step
from bridge.ports import SameId
from bridge.transfers.advance import Fact, advance
from tests.deciding import decide
from tests.harness import EUR, PLAYER, PROVIDER, Bench, Hands
from tests.transfers.moving import repointed
from tests.transfers.scripted_one import LOST, ONE_PHASE, SILENT, ScriptedOne
from tests.transfers.test_after_decisions import carry_out, executed_late, order, state, wait
from tests.transfers.test_decide import decision

WHY = "they moved house"
DOUBTS = ("none", "done again", "another address")


def orphaned(old: Bench, one: ScriptedOne, hands: Hands, direction: str) -> str:
    """Executed, and nothing was heard of it until patience was spent."""
    one.script, one.asked = [LOST], [SILENT] * 60
    transfer_id = old.run(direction)
    for _ in range(12):
        hands.turn(120)
        old.resolve_due()
    assert state(old, transfer_id) == "orphaned"
    return transfer_id


def restored(old: Bench, one: ScriptedOne, hands: Hands, doubt: str) -> Bench:
    """A backup was restored: the same provider would execute twice, or has another address since."""
    if doubt == "none":
        return old
    same = {"done again": SameId.UNSAFE, "known for one": SameId.UNTIL_FINAL}
    one.descriptor = replace(ONE_PHASE, same_id=same.get(doubt, SameId.REPLAY))
    lineage.restored(old.runtime, "a restore", "ops")
    hands.turn(100)
    if doubt in same:
        return old
    made = repointed(old, one)
    switches.accept(made.runtime, PROVIDER, WHY, "ops")
    hands.turn(100)
    return made


@pytest.mark.parametrize("word", [Source.CALLBACK, Source.CALL])
@pytest.mark.parametrize("direction", ["in", "out"])
@pytest.mark.parametrize("doubt", DOUBTS)
def test_taken_back_after_it_was_confirmed_is_loud(
    old: Bench, one: ScriptedOne, hands: Hands, direction: str, doubt: str, word: Source
) -> None:
    """I-14 C-58: people have confirmed it, and then its provider takes it back: by callback, or in the late answer to a
    request, it is not passed over in silence."""
    transfer_id = orphaned(old, one, hands, direction)
    made = restored(old, one, hands, doubt)
    decide(made.runtime, made.operator, transfer_id, decision(made, transfer_id, "confirm"))
    assert state(made, transfer_id) == "confirmed"
    hands.turn(100)

    fact: Fact = one.take_back(str(made.get(transfer_id).outside.reference))
    by_call: dict[str, Any] = {"step": Step.TRANSFER, "attempt": 1} if word is Source.CALL else {}
    advance(made.runtime, transfer_id, None, replace(fact, source=word, **by_call))

    assert (state(made, transfer_id), one.net(PLAYER)) == ("orphaned", 0)
    made.audit()


@pytest.mark.parametrize("echo", [False, True], ids=["code alone", "whole"])
@pytest.mark.parametrize("doubt", [*DOUBTS, "known for one"])
def test_refused_after_it_was_confirmed_is_loud(
    old: Bench, one: ScriptedOne, hands: Hands, doubt: str, *, echo: bool
) -> None:
    """I-14 C-58: a worker stood still with the answer in its hand: that its request was refused, and a refusal need not
    repeat what was asked."""
    one.asked = [SILENT] * 60
    begun = old.begin("in")
    assert begun.outcome.order is not None
    transfer_id, claim = str(begun.transfer_id), begun.outcome.order.claim
    for _ in range(14):
        hands.turn(120)
        old.resolve_due()
    assert state(old, transfer_id) == "orphaned"
    made = restored(old, one, hands, doubt)
    decide(made.runtime, made.operator, transfer_id, decision(made, transfer_id, "confirm"))
    hands.turn(100)

    reply = Reply(Answer.NOT_APPLIED, code="limit_reached")
    if echo:
        leg = made.get(transfer_id).outside
        whole = {"amount": 1000, "currency": EUR, "player": PLAYER, "side": leg.side.value}
        reply = replace(reply, reference=leg.reference, **whole)
    advance(made.runtime, transfer_id, claim, Fact(reply, Source.CALL, hands.now(), Step.TRANSFER, 1))

    assert (state(made, transfer_id), one.net(PLAYER)) == ("orphaned", 0)
    made.audit()


@pytest.mark.parametrize("doubt", DOUBTS)
def test_taken_back_twice_is_loud(old: Bench, one: ScriptedOne, hands: Hands, doubt: str) -> None:
    """I-14 C-58: people have had it taken out of the game, and then the provider takes back what it had executed."""
    transfer_id = executed_late(old, one, hands)
    order(old, transfer_id)
    one.script, one.asked = [LOST], [SILENT] * 3
    hands.turn(1)
    old.resolve_due()
    made = restored(old, one, hands, doubt)
    carry_out(made, hands, transfer_id)
    assert (state(made, transfer_id), one.net(PLAYER)) == ("reversed", 0)

    leg = made.get(transfer_id).outside
    advance(made.runtime, transfer_id, None, replace(one.take_back(str(leg.reference)), ordinal=leg.ordinal))
    wait(made, hands, 4)

    assert (state(made, transfer_id), one.net(PLAYER)) == ("orphaned", -1000)


def test_a_word_that_says_the_same_calls_nobody_back(old: Bench, one: ScriptedOne, hands: Hands) -> None:
    """People have confirmed what its provider confirms."""
    transfer_id = orphaned(old, one, hands, "in")
    made = restored(old, one, hands, "done again")
    decide(made.runtime, made.operator, transfer_id, decision(made, transfer_id, "confirm"))
    advance(made.runtime, transfer_id, None, one.callback(str(made.get(transfer_id).outside.reference)))
    assert state(made, transfer_id) == "confirmed"
    assert made.get(transfer_id).outside.evidence[-1].reply.answer is Answer.APPLIED
    made.audit()
