"""What was seen before people decided, and what the provider says after it: only its own count of the same transfer
makes a word an old one. Whatever else was told, under whatever count, silences nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bridge.evidence import Answer, Reply, Source
from bridge.transfers.advance import Fact, advance
from tests.harness import PLAYER, Bench, Hands
from tests.transfers.scripted_one import ScriptedOne
from tests.transfers.test_after_decisions import not_of_callbacks, state, told
from tests.transfers.test_decide import CUSTODY, orphan
from tests.transfers.test_hindsight import settle

HIGH = 9
OTHER = {"debit": "credit", "credit": "debit"}
SAYS_NOTHING_OF_IT: dict[str, dict[str, Any]] = {
    "another transfer's cancel": {"reference": "older", "answer": Answer.CANCELLED},
    "another transfer's execution": {"reference": "older", "answer": Answer.APPLIED},
    "another transfer's execution, by its very id": {"reference": "older", "answer": Answer.APPLIED, "sequence": 1},
    "another player's cancel": {"player": "mallory", "answer": Answer.CANCELLED},
    "another player's execution": {"player": "mallory", "answer": Answer.APPLIED},
    "another amount": {"amount": 999, "answer": Answer.APPLIED},
    "another amount, cancelled": {"amount": 999, "answer": Answer.CANCELLED},
    "another currency": {"currency": "USD", "answer": Answer.CANCELLED},
    "the other side": {"side": "other", "answer": Answer.CANCELLED},
    "nobody's": {"player": None, "reference": None, "answer": Answer.CANCELLED},
    "another execution": {"provider_reference": "W-another", "answer": Answer.CANCELLED},
    "at work": {"answer": Answer.IN_PROGRESS},
    "unknown": {"answer": Answer.UNKNOWN},
    "its own cancel, looked up once": {"answer": Answer.CANCELLED},
    "refused to another attempt": {"answer": Answer.NOT_APPLIED, "attempt_sensitive": True},
}
"""What may be told of a transfer before people decide, with a higher count than the provider's own word has."""


def hear(lone: Bench, transfer_id: str, reply: Reply) -> None:
    """One answer to a slow question about the transfer."""
    leg = lone.get(transfer_id).outside
    advance(lone.runtime, transfer_id, None, Fact(reply, Source.LOOKUP, lone.runtime.clock.now(), ordinal=leg.ordinal))


def false_word(true: Reply, what: str) -> Reply:
    """What is told before people decide."""
    changes = {"sequence": HIGH, **SAYS_NOTHING_OF_IT[what]}
    if changes.get("side") == "other":
        changes["side"] = OTHER[str(true.side)]
    return replace(true, **changes)


def asked_again(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """The bridge goes on asking for a day, and the provider tells what is so."""
    one.asked = []
    for _ in range(40):
        hands.turn(3000)
        lone.resolve_due()


@pytest.mark.parametrize("what", SAYS_NOTHING_OF_IT)
@pytest.mark.parametrize("direction", ["in", "out"])
def test_execution_is_heard_whatever_else_was_told(
    lone: Bench, one: ScriptedOne, hands: Hands, direction: str, what: str
) -> None:
    """I-02 C-07 C-16 People see no money there and reverse; the provider says "done" at every look-up: that is a new
    fact, and for people."""
    transfer_id = orphan(lone, one, hands, direction, "custody")
    record = one.records[str(lone.get(transfer_id).outside.reference)]
    true = one.callback(str(lone.get(transfer_id).outside.reference)).reply
    hear(lone, transfer_id, false_word(true, what))
    settle(lone, transfer_id, "reverse")
    assert (state(lone, transfer_id), record.sequence) == ("reversed", 1)
    asked_again(lone, one, hands)
    assert (state(lone, transfer_id), lone.row(transfer_id)["reason_code"]) == ("orphaned", "contradiction")
    assert abs(one.net(PLAYER)) == 1000
    assert not_of_callbacks(lone) == []
    lone.audit()


@pytest.mark.parametrize("what", SAYS_NOTHING_OF_IT)
@pytest.mark.parametrize("direction", ["in", "out"])
def test_cancel_is_heard_whatever_else_was_told(
    lone: Bench, one: ScriptedOne, hands: Hands, direction: str, what: str
) -> None:
    """I-02 C-08 C-16 People see the money there and confirm; the provider takes it back and says so."""
    transfer_id = orphan(lone, one, hands, direction, "custody")
    reference = str(lone.get(transfer_id).outside.reference)
    hear(lone, transfer_id, false_word(one.callback(reference).reply, what))
    settle(lone, transfer_id, "confirm")
    assert state(lone, transfer_id) == "confirmed"
    fact = one.take_back(reference)
    assert fact.reply.sequence == 2
    told(lone, one, transfer_id, lone.get(transfer_id).outside, fact)
    assert (state(lone, transfer_id), one.net(PLAYER)) == ("orphaned", 0)
    lone.audit()


def test_cancel_looked_up_once_makes_no_word_old(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-02 C-16 One look-up is no proof of a cancel, so its count silences nobody: the provider's callback, that it is
    done, is heard under whatever count."""
    transfer_id = orphan(lone, one, hands, "in", "custody")
    leg = lone.get(transfer_id).outside
    word = one.callback(str(leg.reference))
    hear(lone, transfer_id, replace(word.reply, answer=Answer.CANCELLED, sequence=HIGH))
    settle(lone, transfer_id, "reverse")
    told(lone, one, transfer_id, leg, word)
    assert (state(lone, transfer_id), word.reply.sequence) == ("orphaned", 1)
    lone.audit()


def contradicted(lone: Bench, one: ScriptedOne, hands: Hands) -> tuple[str, Fact]:
    """A transfer whose cancel, counted as the third word, and whose execution under another id were both told and
    believed, and which people have reversed; and the cancelled execution's second word, which was not heard yet."""
    transfer_id = orphan(lone, one, hands, "in", "custody")
    leg = lone.get(transfer_id).outside
    word = one.callback(str(leg.reference))
    second = replace(word, reply=replace(word.reply, provider_reference="W-another", sequence=2))
    third = replace(second, reply=replace(second.reply, answer=Answer.CANCELLED, sequence=3))
    told(lone, one, transfer_id, leg, third)
    told(lone, one, transfer_id, leg, word)
    assert state(lone, transfer_id) == "orphaned"
    settle(lone, transfer_id, "reverse")
    return transfer_id, second


def test_older_word_after_a_decision_is_none(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """C-62 People decided with the provider's third word before them; its second, that comes now, says nothing new."""
    transfer_id, second = contradicted(lone, one, hands)
    leg = lone.get(transfer_id).outside
    told(lone, one, transfer_id, leg, second)
    assert (state(lone, transfer_id), lone.account(CUSTODY)) == ("reversed", 0)
    told(lone, one, transfer_id, leg, replace(second, reply=replace(second.reply, sequence=4)))
    assert state(lone, transfer_id) == "orphaned"
    lone.audit()


def test_what_is_looked_up_after_a_decision_is_never_old(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """C-62 A callback may have been on its way for days; what the provider answers when it is asked now is so now."""
    transfer_id, second = contradicted(lone, one, hands)
    hear(lone, transfer_id, second.reply)
    assert state(lone, transfer_id) == "orphaned"
    lone.audit()


@pytest.mark.parametrize("count", [2, 4])
def test_part_that_was_told_makes_older_words_old(lone: Bench, one: ScriptedOne, hands: Hands, count: int) -> None:
    """C-62 C-16 What moved in part is what moved, where that is agreed on: people who saw it counted as the third word
    need not look again for the second, and have to for the fourth."""
    transfer_id = orphan(lone, one, hands, "in", "both")
    leg = lone.get(transfer_id).outside
    part = one.callback(str(leg.reference))
    assert (part.reply.amount, part.reply.requested) == (500, 1000)
    hear(lone, transfer_id, replace(part.reply, sequence=3))
    settle(lone, transfer_id, "reverse")
    told(lone, one, transfer_id, leg, replace(part, reply=replace(part.reply, sequence=count)))
    assert state(lone, transfer_id) == ("reversed" if count < 3 else "orphaned")
    lone.audit()
