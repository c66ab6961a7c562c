"""What is told after people have decided: what they rested it on may turn, also that of a claw-back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import text

from bridge import db
from bridge.errors import Invalid
from bridge.evidence import Answer, Source
from bridge.transfers import resolve
from bridge.transfers.advance import Fact, advance
from bridge.transfers.cancel import cancel
from bridge.transfers.core.decisions import Kind
from bridge.transfers.core.facts import Leg
from bridge.transfers.drive import drive
from bridge.verify import verify
from jobs.aftercare import STATES
from statemachines import LegState
from tests.deciding import decide
from tests.harness import PLAYER, Bench, Hands
from tests.transfers.scripted_one import (
    ABSENT,
    BELATED,
    DROPPED,
    HALF,
    LOST,
    OK,
    ONE_PHASE,
    REFUSES,
    SILENT,
    STALE,
    ScriptedOne,
)
from tests.transfers.test_decide import CUSTODY, HOUSE, decision, orphan
from tests.transfers.test_sweep import has, loses, sweep

PARTIAL = replace(ONE_PHASE, partial=True)
HOUR = 3600


def wait(lone: Bench, hands: Hands, hours: int = 48) -> None:
    """The resolver and the aftercare at their work for so long."""
    for _ in range(hours):
        hands.turn(HOUR)
        lone.resolve_due()
        for claim in resolve.claim_due(lone.runtime, 50, states=STATES):
            resolve.resolve(lone.runtime, claim)


def state(lone: Bench, transfer_id: str) -> str:
    """The transfer's state now."""
    return str(lone.row(transfer_id)["state"])


def told(lone: Bench, one: ScriptedOne, transfer_id: str, leg: Leg, fact: Fact) -> None:
    """The provider's callback about a leg."""
    advance(lone.runtime, transfer_id, None, replace(fact, ordinal=leg.ordinal))
    assert one.records[str(leg.reference)]


def executed_late(lone: Bench, one: ScriptedOne, hands: Hands) -> str:
    """A transfer in that was reversed by proved absence, and then executed after all: both sides have it."""
    one.script = [BELATED, DROPPED, DROPPED]
    transfer_id = lone.run("in")
    while state(lone, transfer_id) == "pending":
        hands.turn(30)
        lone.resolve_due()
    assert state(lone, transfer_id) == "reversed"
    hands.turn(700)
    one.settle_time()
    leg = lone.get(transfer_id).outside
    told(lone, one, transfer_id, leg, one.callback(str(leg.reference)))
    assert (state(lone, transfer_id), lone.account(HOUSE), one.net(PLAYER)) == ("orphaned", -1000, 1000)
    return transfer_id


def order(lone: Bench, transfer_id: str) -> None:
    """Two people have it taken out of the game."""
    decide(lone.runtime, lone.operator, transfer_id, decision(lone, transfer_id, "claw_back"))


def carry_out(lone: Bench, hands: Hands, transfer_id: str) -> Leg:
    """Until the newest take-back is told as done or refused."""
    for _ in range(200):
        if lone.get(transfer_id).take_backs[-1].state in (LegState.APPLIED, LegState.REFUSED):
            break
        hands.turn(10)
        lone.resolve_due()
    return lone.get(transfer_id).take_backs[-1]


def test_ground_of_a_claw_back_gives_way_before_it_is_sent(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-02 C-08 The provider takes it back by itself while our take-back is still to be sent: nothing is sent, for
    it would be taken twice, and people decide anew."""
    transfer_id = executed_late(lone, one, hands)
    order(lone, transfer_id)
    leg = lone.get(transfer_id).outside
    told(lone, one, transfer_id, leg, one.take_back(str(leg.reference)))
    wait(lone, hands, 3)
    (back,) = lone.get(transfer_id).take_backs
    assert (back.state, back.attempts, one.net(PLAYER)) == (LegState.REFUSED, (), 0)
    assert state(lone, transfer_id) == "orphaned"
    decide(lone.runtime, lone.operator, transfer_id, decision(lone, transfer_id, "reverse"))
    assert (state(lone, transfer_id), lone.game(), lone.account(HOUSE)) == ("reversed", 0, 0)
    lone.audit()


def test_ground_of_a_claw_back_gives_way_while_it_is_unanswered(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-02 C-08 The take-back has left and its answer was lost: it is asked about, and not sent again."""
    transfer_id = executed_late(lone, one, hands)
    order(lone, transfer_id)
    one.script, one.asked = [DROPPED], [SILENT]
    hands.turn(1)
    lone.resolve_due()
    leg = lone.get(transfer_id).outside
    told(lone, one, transfer_id, leg, one.take_back(str(leg.reference)))
    one.asked = [ABSENT] * 20
    back = carry_out(lone, hands, transfer_id)
    assert (back.state, len(back.attempts), one.net(PLAYER)) == (LegState.REFUSED, 1, 0)
    assert state(lone, transfer_id) == "orphaned"
    lone.audit()


def test_taken_back_twice_is_loud(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-02 C-08 Our take-back was carried out, and then the provider took the original back as well."""
    transfer_id = executed_late(lone, one, hands)
    order(lone, transfer_id)
    carry_out(lone, hands, transfer_id)
    assert state(lone, transfer_id) == "reversed"
    leg = lone.get(transfer_id).outside
    told(lone, one, transfer_id, leg, one.take_back(str(leg.reference)))
    wait(lone, hands)
    assert one.net(PLAYER) == -1000
    assert (state(lone, transfer_id), lone.row(transfer_id)["reason_code"]) == ("orphaned", "contradiction")
    lone.audit()


def test_take_back_that_is_undone_is_loud(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-02 C-08 The provider cancels our take-back after it was confirmed: the game has the amount again."""
    transfer_id = executed_late(lone, one, hands)
    order(lone, transfer_id)
    back = carry_out(lone, hands, transfer_id)
    assert state(lone, transfer_id) == "reversed"
    told(lone, one, transfer_id, back, one.take_back(str(back.reference)))
    assert (state(lone, transfer_id), lone.game(), lone.account(HOUSE)) == ("orphaned", 1000, -1000)
    assert one.net(PLAYER) == 1000
    order(lone, transfer_id)  # again, under a reference of its own
    carry_out(lone, hands, transfer_id)
    assert (state(lone, transfer_id), lone.game(), one.net(PLAYER)) == ("reversed", 0, 0)
    lone.audit()


@pytest.mark.parametrize("kind", ["write_off", "reverse", "confirm"])
def test_late_take_back_can_be_decided_about(lone: Bench, one: ScriptedOne, hands: Hands, kind: str) -> None:
    """C-07 A take-back that was refused by absence and executed after all: whatever people decide then is done, but for
    another claw-back, which would take twice."""
    transfer_id = executed_late(lone, one, hands)
    order(lone, transfer_id)
    one.script = [BELATED, DROPPED, DROPPED]
    back = carry_out(lone, hands, transfer_id)
    assert back.state is LegState.REFUSED
    hands.turn(700)
    one.settle_time()
    told(lone, one, transfer_id, back, one.callback(str(back.reference)))
    with pytest.raises(Invalid) as refused:
        order(lone, transfer_id)
    assert "would take twice" in refused.value.fields["kind"]
    decide(lone.runtime, lone.operator, transfer_id, decision(lone, transfer_id, kind))
    wait(lone, hands, 3)
    assert state(lone, transfer_id) == ("confirmed" if kind in ("write_off", "confirm") else "reversed")
    lone.audit()


def test_take_back_that_came_to_nothing_is_watched(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """C-07 Refused by absence, then written off: the aftercare asks about the take-back, and finds it executed."""
    transfer_id = executed_late(lone, one, hands)
    order(lone, transfer_id)
    one.script = [BELATED, DROPPED, DROPPED]
    assert carry_out(lone, hands, transfer_id).state is LegState.REFUSED
    decide(lone.runtime, lone.operator, transfer_id, decision(lone, transfer_id, "write_off"))
    assert state(lone, transfer_id) == "confirmed"
    asked = one.count("look_up")
    hands.turn(700)
    one.settle_time()
    wait(lone, hands)
    assert (state(lone, transfer_id), one.net(PLAYER)) == ("orphaned", 0)
    assert 0 < one.count("look_up") - asked < 100


def test_take_back_in_part_can_be_decided_about(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """C-16 Half of what was ordered was taken out: that is for people, and what they decide is done."""
    transfer_id = executed_late(lone, one, hands)
    one.descriptor = PARTIAL
    order(lone, transfer_id)
    one.script = [HALF]
    carry_out(lone, hands, transfer_id)
    assert (state(lone, transfer_id), one.net(PLAYER)) == ("orphaned", 500)
    decide(lone.runtime, lone.operator, transfer_id, decision(lone, transfer_id, "split", arrived=500, returned=500))
    assert (state(lone, transfer_id), lone.game(), lone.wallet()) == ("confirmed", 500, 100_000 - 500)
    lone.audit()


def test_only_what_came_is_taken_back(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-02 C-07 Refused first, then told as executed in part: a claw-back takes that part, and nothing else that the
    player has there."""
    one.descriptor, one.script = PARTIAL, [REFUSES]
    transfer_id = lone.run("in")
    leg = lone.get(transfer_id).outside
    record = one.records[str(leg.reference)]
    record.status, record.code, record.moved = "confirmed", "", 500
    told(lone, one, transfer_id, leg, one.callback(str(leg.reference)))
    assert (state(lone, transfer_id), one.net(PLAYER)) == ("orphaned", 500)
    order(lone, transfer_id)
    back = carry_out(lone, hands, transfer_id)
    assert (back.amount, one.net(PLAYER)) == (500, 0)
    assert (state(lone, transfer_id), lone.game(), lone.account(HOUSE)) == ("reversed", 0, 0)
    lone.audit()
    assert not_of_callbacks(lone) == []


def not_of_callbacks(lone: Bench) -> list[str]:
    """What verify finds, but that the callbacks of this file are told without an inbox."""
    found = [each for each in verify(lone.runtime) if not all(row.get("inbox_id", 0) is None for row in each.rows)]
    return [f"{each.invariant} {each.sentence}" for each in found]


def test_claw_back_that_ended_without_being_done_is_named(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-12 `verify` sees a transfer that ended by a take-back which is not applied."""
    transfer_id = executed_late(lone, one, hands)
    order(lone, transfer_id)
    carry_out(lone, hands, transfer_id)
    assert not_of_callbacks(lone) == []
    with db.writing(lone.runtime.engine) as connection:
        connection.execute(text("UPDATE leg SET state = 'refused' WHERE undoes IS NOT NULL AND holder <> 'wallet'"))
    assert [each for each in not_of_callbacks(lone) if "taken out of a game" in each] != []


def test_written_off_out_and_the_game_has_it_not(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """C-07 "Both have it" was written off; the provider then says that it did leave the game: orphaned again."""
    transfer_id = orphan(lone, one, hands, "out", "house")
    decide(lone.runtime, lone.operator, transfer_id, decision(lone, transfer_id, "write_off"))
    leg = lone.get(transfer_id).outside
    fact = one.callback(str(leg.reference))
    assert fact.reply.answer is Answer.APPLIED
    told(lone, one, transfer_id, leg, fact)
    assert state(lone, transfer_id) == "orphaned"
    lone.audit()


def test_written_off_out_and_the_game_has_it(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """C-07 "Both have it" was written off; the provider goes on saying that the game has it: nothing changes."""
    transfer_id = orphan(lone, one, hands, "out", "house")
    decide(lone.runtime, lone.operator, transfer_id, decision(lone, transfer_id, "write_off"))
    leg = lone.get(transfer_id).outside
    one.take_back(str(leg.reference))
    reply = one.callback(str(leg.reference)).reply
    for _ in range(3):
        hands.turn(100)
        advance(lone.runtime, transfer_id, None, Fact(reply, Source.LOOKUP, hands.now(), ordinal=leg.ordinal))
    assert state(lone, transfer_id) == "confirmed"
    lone.audit()


@pytest.mark.parametrize("direction", ["in", "out"])
def test_later_count_after_a_decision_is_news(lone: Bench, one: ScriptedOne, hands: Hands, direction: str) -> None:
    """C-62 Cancelled (1), confirmed (2), people confirm; cancelled (3) says what was said before, and is later."""
    begun = lone.begin(direction)
    assert begun.outcome is not None
    leg = begun.outcome.transfer.outside
    one.script, one.asked = [LOST], [SILENT] * 50
    drive(lone.runtime, begun.outcome, ask_until=0)
    confirmed = one.callback(str(leg.reference))
    for answer, sequence in ((Answer.CANCELLED, 1), (Answer.APPLIED, 2)):
        reply = replace(confirmed.reply, answer=answer, sequence=sequence)
        told(lone, one, begun.outcome.transfer.id, leg, replace(confirmed, reply=reply))
    transfer_id = begun.outcome.transfer.id
    decide(lone.runtime, lone.operator, transfer_id, decision(lone, transfer_id, "confirm"))
    assert state(lone, transfer_id) == "confirmed"
    one.records[str(leg.reference)].sequence = 2
    fact = one.take_back(str(leg.reference))
    assert fact.reply.sequence == 3
    told(lone, one, transfer_id, leg, fact)
    assert state(lone, transfer_id) == "orphaned"
    lone.audit()


def test_slow_questions_make_nobodys_decision_stale(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-11 While people think, the bridge goes on asking; as long as it hears what it has heard, they may decide."""
    transfer_id = orphan(lone, one, hands, "in", "custody")
    seen = decision(lone, transfer_id, Kind.REVERSE.value)
    asked = one.count("look_up")
    for _ in range(3):
        hands.turn(301)
        lone.resolve_due()
    assert one.count("look_up") > asked
    decide(lone.runtime, lone.operator, transfer_id, seen)
    assert (state(lone, transfer_id), lone.account(CUSTODY)) == ("reversed", 0)
    lone.audit()


def test_split_that_the_provider_agrees_with(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """C-16 People split 6.00 / 4.00, and the provider says exactly that: nothing changes."""
    one.descriptor = PARTIAL
    transfer_id = orphan(lone, one, hands, "in", "custody")
    decide(lone.runtime, lone.operator, transfer_id, decision(lone, transfer_id, "split"))
    leg = lone.get(transfer_id).outside
    one.records[str(leg.reference)].moved = 600
    told(lone, one, transfer_id, leg, one.callback(str(leg.reference)))
    assert state(lone, transfer_id) == "confirmed"
    one.records[str(leg.reference)].moved = 500
    told(lone, one, transfer_id, leg, one.callback(str(leg.reference)))
    assert state(lone, transfer_id) == "orphaned"
    lone.audit()


@pytest.mark.parametrize("second", ["confirmed", "not tried"])
def test_first_try_that_happened_too_is_decided_whole(lone: Bench, one: ScriptedOne, hands: Hands, second: str) -> None:
    """I-02 C-07 The first try of a sweep, 25.00, was refused and executed after all; a second one took 20.00, or none
    did: what people decide covers every cent that left the game."""
    has(one, 2500)
    one.during = loses(one, "transfer")
    if second == "not tried":
        one.aside = [OK, *[SILENT] * 50]
    transfer_id = sweep(lone)
    first = lone.get(transfer_id).tries[0]
    record = one.records[str(first.reference)]
    has(one, 5000)
    record.status, record.sequence, record.code, record.moved = "confirmed", 3, "", 2500
    told(lone, one, transfer_id, first, one.callback(str(first.reference)))
    whole = 4500 if second == "confirmed" else 2500
    assert (state(lone, transfer_id), lone.row(transfer_id)["amount"]) == ("orphaned", whole)
    assert lone.account(CUSTODY) == 2500
    decide(lone.runtime, lone.operator, transfer_id, decision(lone, transfer_id, "confirm"))
    assert lone.wallet() == 100_000 + whole
    assert lone.game() == -whole
    assert sum(record.moved for record in one.records.values()) == whole
    lone.audit()


def at_work_and_absent(lone: Bench, one: ScriptedOne, hands: Hands) -> str:
    """An orphan of which the provider says that it is working on it, and afterwards that it does not know it."""
    one.script, one.asked = [DROPPED] * 3, [STALE]
    transfer_id = lone.run("out")
    for _ in range(40):
        hands.turn(10)
        lone.resolve_due()
    assert (state(lone, transfer_id), lone.row(transfer_id)["reason_code"]) == ("orphaned", "contradiction")
    return transfer_id


def test_cancel_of_what_is_worked_on_and_not_found(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """C-29 The operator's wish is carried out at the provider, and its answer is the end: nobody has to decide."""
    transfer_id = at_work_and_absent(lone, one, hands)
    cancel(lone.runtime, lone.operator, transfer_id)
    for _ in range(10):
        hands.turn(60)
        lone.resolve_due()
    assert [attempt.step.value for attempt in lone.get(transfer_id).outside.attempts][-1] == "void"
    assert (state(lone, transfer_id), lone.row(transfer_id)["reason_code"]) == ("reversed", "cancelled")
    assert lone.rows("SELECT state FROM orphan_case") == [{"state": "closed"}]
    assert lone.game() == 0
    lone.audit()


def test_absence_after_a_word_of_work_calls_nobody_back(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-16 People reversed it, having heard nothing; who works on it and does not find it tells of no execution."""
    one.script, one.asked = [DROPPED] * 6, [SILENT] * 200
    transfer_id = lone.run("in")
    for _ in range(60):
        hands.turn(30)
        lone.resolve_due()
    assert state(lone, transfer_id) == "orphaned"
    decide(lone.runtime, lone.operator, transfer_id, decision(lone, transfer_id, "reverse"))
    one.asked = [STALE]
    for _ in range(60):
        hands.turn(2000)
        for claim in resolve.claim_due(lone.runtime, 50, states=STATES):
            resolve.resolve(lone.runtime, claim)
    words = [piece.reply.answer for piece in lone.get(transfer_id).outside.lookups()]
    assert Answer.IN_PROGRESS in words
    assert words.count(Answer.NOT_FOUND) > 1
    assert state(lone, transfer_id) == "reversed"
    lone.audit()
