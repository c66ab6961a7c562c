"""What is told while people decide, and after it: by a question on its way, by another leg, under another id, in part,
or by a backup that has forgotten."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import text

from bridge import db, lineage
from bridge.errors import Declined, Invalid
from bridge.evidence import Answer, Reply, Source, Step
from bridge.ports import SECOND, Effect, Window
from bridge.transfers.advance import Fact, advance
from bridge.transfers.core.facts import UNNOTICED
from tests.deciding import decide
from tests.harness import PLAYER, Bench, Hands
from tests.transfers.scripted_one import BELATED, DROPPED, HALF, LOST, OK, REFUSES, SILENT, ScriptedOne
from tests.transfers.test_after_decisions import (
    PARTIAL,
    carry_out,
    executed_late,
    not_of_callbacks,
    order,
    state,
    told,
    wait,
)
from tests.transfers.test_decide import CUSTODY, HOUSE, decision, orphan
from tests.transfers.test_sweep import has, loses, sweep

DAY = 86_400


def settle(lone: Bench, transfer_id: str, kind: str, **parts: int) -> None:
    """Two people decide."""
    decide(lone.runtime, lone.operator, transfer_id, decision(lone, transfer_id, kind, **parts))


def until_asked(lone: Bench, one: ScriptedOne, hands: Hands, meanwhile: object) -> None:
    """Let the slow question about an orphan leave, and something happen while it is on its way."""
    happened: list[str] = []

    def during(operation: str) -> None:
        if operation == "look_up" and not happened:
            happened.append(operation)
            assert callable(meanwhile)
            meanwhile()

    one.during = during
    for _ in range(50):
        if happened:
            break
        hands.turn(100)
        lone.resolve_due()
    assert happened


def test_claw_back_ordered_while_a_question_is_on_its_way(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-02 C-08 The provider takes the original back, two people order the claw-back, and then the answer to a question
    that had left before tells of the cancel: one word of a later count is enough, and nothing is taken twice."""
    transfer_id = executed_late(lone, one, hands)
    reference = str(lone.get(transfer_id).outside.reference)

    def meanwhile() -> None:
        one.take_back(reference)
        order(lone, transfer_id)

    until_asked(lone, one, hands, meanwhile)
    wait(lone, hands, 3)
    assert (state(lone, transfer_id), one.net(PLAYER)) == ("orphaned", 0)
    assert lone.get(transfer_id).take_backs[0].attempts == ()
    lone.audit()


@pytest.mark.parametrize("direction", ["in", "out"])
def test_confirmed_while_a_question_is_on_its_way(lone: Bench, one: ScriptedOne, hands: Hands, direction: str) -> None:
    """I-02 C-08 C-62 People confirm what the provider has just cancelled; the answer of a question says so."""
    one.script, one.asked = [LOST], [SILENT] * 60
    transfer_id = lone.run(direction)
    leg = lone.get(transfer_id).outside
    first = one.callback(str(leg.reference))
    told(lone, one, transfer_id, leg, replace(first, reply=replace(first.reply, answer=Answer.CANCELLED, sequence=1)))
    one.records[str(leg.reference)].sequence = 2
    told(lone, one, transfer_id, leg, one.callback(str(leg.reference)))
    assert state(lone, transfer_id) == "orphaned"
    one.asked = []

    def meanwhile() -> None:
        settle(lone, transfer_id, "confirm")
        one.take_back(str(leg.reference))

    until_asked(lone, one, hands, meanwhile)
    wait(lone, hands, 3)
    assert (state(lone, transfer_id), one.net(PLAYER)) == ("orphaned", 0)
    lone.audit()


def test_second_claw_back_takes_what_is_left(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-02 C-16 5.00 of 10.00 were taken out; the next order takes the other 5.00, and one more has nothing to take."""
    transfer_id = executed_late(lone, one, hands)
    one.descriptor = PARTIAL
    order(lone, transfer_id)
    one.script = [HALF]
    assert carry_out(lone, hands, transfer_id).amount == 1000
    order(lone, transfer_id)
    assert carry_out(lone, hands, transfer_id).amount == 500
    assert (state(lone, transfer_id), one.net(PLAYER), lone.game(), lone.account(HOUSE)) == ("reversed", 0, 0, 0)
    assert not_of_callbacks(lone) == []
    leg = lone.get(transfer_id).outside
    told(lone, one, transfer_id, leg, one.take_back(str(leg.reference)))
    with pytest.raises(Invalid) as refused:
        order(lone, transfer_id)
    assert "would take twice" in refused.value.fields["kind"]
    lone.audit()


def test_withdrawn_in_a_restored_backup_it_can_be_decided_about(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """C-58 A claw-back that a backup knows as planned has lost its ground: nobody can prove that it was never sent, and
    people decide all the same."""
    transfer_id = executed_late(lone, one, hands)
    order(lone, transfer_id)
    lineage.restored(lone.runtime, "a backup of the night", "mia")
    leg = lone.get(transfer_id).outside
    told(lone, one, transfer_id, leg, one.take_back(str(leg.reference)))
    wait(lone, hands, 3)
    settle(lone, transfer_id, "reverse")
    assert (state(lone, transfer_id), lone.game(), one.net(PLAYER)) == ("reversed", 0, 0)
    lone.audit()


def test_claw_back_that_is_never_proved_ends_for_people(
    lone: Bench, one: ScriptedOne, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C-54 The provider knows our take-back and never says what came of it: within its time nothing else is decided,
    after it people decide; and the bridge goes on asking."""
    transfer_id = executed_late(lone, one, hands)
    order(lone, transfer_id)

    def used(step: Step, effect: Effect, window: Window) -> Reply:
        del window
        one._arrive(step.value, effect)
        return Reply(Answer.IN_PROGRESS, code="id_reused")

    monkeypatch.setattr(one, "money", used)
    hands.turn(1)
    lone.resolve_due()
    with pytest.raises(Invalid):
        settle(lone, transfer_id, "write_off")
    wait(lone, hands, 3)
    settle(lone, transfer_id, "write_off")
    assert state(lone, transfer_id) == "confirmed"
    asked = one.count("look_up")
    wait(lone, hands, 30)
    assert one.count("look_up") > asked
    lone.audit()


def test_first_try_confirmed_and_then_the_second_was_executed_too(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-02 C-07 Both tries were refused; the first is told as executed and confirmed; then the second is told too."""
    has(one, 2500)
    one.during, one.script = loses(one, "transfer"), [OK, REFUSES]
    transfer_id = sweep(lone)
    assert state(lone, transfer_id) == "reversed"
    one.during = lambda _operation: None
    has(one, 10_000)
    for leg, state_after, amount in zip(
        lone.get(transfer_id).tries, ("confirmed", "orphaned"), (2500, 4500), strict=True
    ):
        record = one.records[str(leg.reference)]
        record.status, record.sequence, record.code, record.moved = "confirmed", 3, "", leg.amount
        told(lone, one, transfer_id, leg, one.callback(str(leg.reference)))
        assert (state(lone, transfer_id), lone.row(transfer_id)["amount"]) == ("orphaned", amount)
        assert not_of_callbacks(lone) == []
        if state_after == "confirmed":
            settle(lone, transfer_id, "confirm")
            assert (state(lone, transfer_id), lone.game()) == ("confirmed", -2500)
    settle(lone, transfer_id, "confirm")
    assert (lone.wallet(), lone.game(), lone.account(CUSTODY)) == (100_000 + 4500, -4500, 0)
    lone.audit()


def test_another_id_after_a_decision_is_another_execution(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """C-16 C-64 W-1 was on file when people confirmed; W-2 says that the same reference was executed twice. A look-up
    that says W-2 makes another version, so that nobody decides without having seen it."""
    transfer_id = orphan(lone, one, hands, "in", "custody")
    leg = lone.get(transfer_id).outside
    first = one.callback(str(leg.reference))
    told(
        lone, one, transfer_id, leg, replace(first, reply=replace(first.reply, answer=Answer.CANCELLED, sequence=None))
    )
    told(lone, one, transfer_id, leg, first)
    version = lone.row(transfer_id)["version"]
    for name, later in (("W-1", 1), ("W-1", 1), ("W-2", 2)):
        reply = replace(first.reply, provider_reference=name)
        advance(lone.runtime, transfer_id, None, Fact(reply, Source.LOOKUP, hands.now(), ordinal=leg.ordinal))
        assert lone.row(transfer_id)["version"] == version + later
    lone.deposit(PLAYER, "100.00")
    settle(lone, transfer_id, "confirm")
    assert state(lone, transfer_id) == "confirmed"
    told(lone, one, transfer_id, leg, one.callback(str(leg.reference), provider_reference="W-3"))
    assert state(lone, transfer_id) == "orphaned"
    lone.audit()


def came_in_part(lone: Bench, one: ScriptedOne, hands: Hands) -> str:
    """Reversed by proved absence; 5.00 of 10.00 came after all."""
    one.descriptor, one.script = PARTIAL, [BELATED, DROPPED, DROPPED]
    transfer_id = lone.run("in")
    while state(lone, transfer_id) == "pending":
        hands.turn(30)
        lone.resolve_due()
    hands.turn(700)
    one.settle_time()
    leg = lone.get(transfer_id).outside
    one.records[str(leg.reference)].moved = 500
    told(lone, one, transfer_id, leg, one.callback(str(leg.reference)))
    assert (state(lone, transfer_id), one.net(PLAYER)) == ("orphaned", 500)
    return transfer_id


def test_part_that_came_late_and_was_spent_is_written_off(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-02 C-07 The wallet has spent it, the claw-back is refused: the house bears the 5.00 that came, and no more."""
    transfer_id = came_in_part(lone, one, hands)
    lone.cash("withdrawal", PLAYER, "1000.00")
    with pytest.raises(Declined):
        settle(lone, transfer_id, "split", arrived=500, returned=500)
    order(lone, transfer_id)
    one.script = [REFUSES]
    carry_out(lone, hands, transfer_id)
    settle(lone, transfer_id, "write_off")
    assert (state(lone, transfer_id), lone.game(), lone.account(HOUSE)) == ("confirmed", 500, -500)
    assert one.net(PLAYER) == 500
    assert not_of_callbacks(lone) == []
    lone.audit()


def test_same_part_from_another_source_agrees_with_its_claw_back(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """C-16 The callback said 5.00, a look-up says 5.00: the order to take 5.00 keeps its ground."""
    transfer_id = came_in_part(lone, one, hands)
    leg = lone.get(transfer_id).outside
    order(lone, transfer_id)
    reply = one.callback(str(leg.reference)).reply
    advance(lone.runtime, transfer_id, None, Fact(reply, Source.LOOKUP, hands.now(), ordinal=leg.ordinal))
    assert carry_out(lone, hands, transfer_id).amount == 500
    assert (state(lone, transfer_id), one.net(PLAYER), lone.game()) == ("reversed", 0, 0)
    lone.audit()


def test_claw_back_of_a_sweep_leaves_what_did_leave_the_game(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-02 25.00 and 20.00 were confirmed by people; the provider takes the 25.00 back, and the wallet has spent them:
    25.00 are taken out of the game, not 45.00."""
    has(one, 2500)
    one.during = loses(one, "transfer")
    transfer_id = sweep(lone)
    one.during = lambda _operation: None
    first = lone.get(transfer_id).tries[0]
    has(one, 10_000)
    record = one.records[str(first.reference)]
    record.status, record.sequence, record.code, record.moved = "confirmed", 3, "", 2500
    told(lone, one, transfer_id, first, one.callback(str(first.reference)))
    settle(lone, transfer_id, "confirm")
    told(lone, one, transfer_id, first, one.take_back(str(first.reference)))
    assert (state(lone, transfer_id), lone.account(HOUSE)) == ("orphaned", -4500)
    lone.cash("withdrawal", PLAYER, "1045.00")
    order(lone, transfer_id)
    assert carry_out(lone, hands, transfer_id).amount == 2500
    assert (state(lone, transfer_id), lone.game(), lone.account(HOUSE)) == ("confirmed", -4500, 0)
    assert sum(each.moved for each in one.records.values() if each.status == "confirmed") == 4500
    lone.audit()


def test_refusal_that_the_backup_holds_still_counts(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """C-58 A sweep in its second try when the backup was taken: the first try's refusal is in it, and is proof."""
    has(one, 2500)
    one.during, one.script, one.asked = loses(one, "transfer"), [OK, LOST], [SILENT]
    transfer_id = sweep(lone)
    one.during = lambda _operation: None
    hands.turn(UNNOTICED / SECOND + 1)
    lineage.restored(lone.runtime, "a backup of the night", "mia")
    for _ in range(20):
        hands.turn(10)
        lone.resolve_due()
    assert (state(lone, transfer_id), lone.game()) == ("confirmed", -2000)
    lone.audit()


def test_counted_amount_is_where_its_history_ends(lone: Bench, one: ScriptedOne) -> None:
    """I-10 `verify` sees an amount that is another than the one that was counted."""
    has(one, 2500)
    one.during = loses(one, "transfer")
    transfer_id = sweep(lone)
    first = lone.get(transfer_id).tries[0]
    record = one.records[str(first.reference)]
    record.status, record.sequence, record.code, record.moved = "confirmed", 3, "", 2500
    told(lone, one, transfer_id, first, one.callback(str(first.reference)))
    assert (lone.row(transfer_id)["amount"], not_of_callbacks(lone)) == (4500, [])
    with db.writing(lone.runtime.engine) as connection:
        connection.execute(text("UPDATE transfer SET amount = amount + 1"))
    assert [each for each in not_of_callbacks(lone) if each.startswith("I-10")] != []
