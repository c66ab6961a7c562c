"""Of a sweep whose earlier try was executed after all, both tries' sum is before people. What the provider takes back
then leaves one of them, and nobody but people says what the wallet gets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from bridge import lineage
from bridge.transfers.core.facts import Leg
from bridge.verify import verify
from tests.audit.ground import owned
from tests.harness import PLAYER, Bench, Hands
from tests.transfers.moving import work
from tests.transfers.scripted_one import LOST, OK, SILENT, ScriptedOne
from tests.transfers.test_after_decisions import carry_out, order, told
from tests.transfers.test_contradiction_stays import (
    ENOUGH,
    Weather,
    moved_house,
    set_forward,
    taken_over,
    taken_over_and_moved,
)
from tests.transfers.test_contradictions import check, open_case, state_of
from tests.transfers.test_hindsight import settle
from tests.transfers.test_set_forward import tick
from tests.transfers.test_sweep import START, has, loses, sweep


def calm(made: Bench, _one: ScriptedOne, _hands: Hands) -> Bench:
    """Nothing happens."""
    return made


def executed_after_all(made: Bench, one: ScriptedOne, transfer_id: str, leg: Leg) -> None:
    """The provider carries out what it had refused, says so, and takes it back."""
    has(one, 10_000)
    record = one.records[str(leg.reference)]
    record.status, record.sequence, record.code, record.moved = "confirmed", 2, "", leg.amount
    told(made, one, transfer_id, leg, one.callback(str(leg.reference)))
    assert made.get(transfer_id).amount == sum(each.amount for each in made.get(transfer_id).tries)
    told(made, one, transfer_id, leg, one.take_back(str(leg.reference)))


def gained(made: Bench) -> int:
    """What the wallet got (cents)."""
    return made.wallet() - START


def two_tries(made: Bench, one: ScriptedOne, hands: Hands) -> str:
    """25.00 is refused for funds, as two look-ups say; then 20.00 is executed, and nothing is heard of that."""
    has(one, 2500)
    loses_once = loses(one, "transfer")
    one.during, one.script = loses_once, [LOST, LOST]
    transfer_id = sweep(made)

    def falls_silent(operation: str) -> None:
        loses_once(operation)
        if operation == "transfer":
            one.asked = [SILENT] * 9999

    for _ in range(60):
        if len(made.get(transfer_id).tries) == 2 and made.get(transfer_id).outside.attempts:
            break
        one.during = falls_silent if one.count("transfer") else loses_once
        hands.turn(1)
        tick(made)
    one.during = lambda _operation: None
    return transfer_id


@pytest.mark.parametrize("weather", [calm, set_forward, moved_house, taken_over, taken_over_and_moved])
@pytest.mark.parametrize("heard", ["before", "afterwards"])
@pytest.mark.parametrize("patience", ["spent", "not spent"])
def test_a_doubt_makes_no_payment_of_it(
    old: Bench, one: ScriptedOne, hands: Hands, weather: Weather, heard: str, patience: str
) -> None:
    """I-02 I-16 C-58: unproved or not when the first try is told as executed, and taken back: the sum is paid to
    nobody, whatever is doubted before or after the second is heard of."""
    lineage.check(old.runtime)
    tick(old)
    transfer_id = two_tries(old, one, hands)
    if patience == "spent":
        work(old, hands, ENOUGH)
        assert state_of(old, transfer_id) == ("orphaned", "unproved")
    first, second = old.get(transfer_id).tries
    executed_after_all(old, one, transfer_id, first)
    made = old
    if heard == "before":
        told(made, one, transfer_id, second, one.callback(str(second.reference)))
    made = weather(made, one, hands)
    one.asked = []
    if heard == "afterwards":
        told(made, one, transfer_id, second, one.callback(str(second.reference)))
    work(made, hands, 3000)

    assert one.net(PLAYER) == -second.amount
    assert (state_of(made, transfer_id)[0], gained(made)) == ("orphaned", 0)
    assert open_case(made, transfer_id)
    check(made)
    settle(made, transfer_id, "split", arrived=second.amount, returned=first.amount)
    assert (state_of(made, transfer_id)[0], gained(made)) == ("confirmed", -one.net(PLAYER))
    check(made)


def decided(made: Bench, one: ScriptedOne, hands: Hands) -> str:
    """People have confirmed the second try, of which nothing was heard."""
    one.script, one.asked = [OK, LOST], [SILENT] * 99
    transfer_id = sweep(made)
    work(made, hands, ENOUGH)
    settle(made, transfer_id, "confirm")
    return transfer_id


def clawed_back(made: Bench, one: ScriptedOne, hands: Hands) -> str:
    """The second try was confirmed, cancelled by the provider, and taken out of the game once more by people."""
    one.script = [OK, OK]
    transfer_id = sweep(made)
    second = made.get(transfer_id).outside
    said = one.take_back(str(second.reference))
    told(made, one, transfer_id, second, replace(said, reply=replace(said.reply, sequence=None)))
    has(one, 10_000)
    order(made, transfer_id)
    carry_out(made, hands, transfer_id)
    return transfer_id


@pytest.mark.parametrize("people", [decided, clawed_back])
def test_an_older_decision_pays_no_sum(
    lone: Bench, one: ScriptedOne, hands: Hands, people: Callable[[Bench, ScriptedOne, Hands], str]
) -> None:
    """I-02 I-16 I-54: people decided about the second try alone."""
    has(one, 2500)
    one.during = loses(one, "transfer")
    transfer_id = people(lone, one, hands)
    one.during = lambda _operation: None
    first, second = lone.get(transfer_id).tries
    assert (state_of(lone, transfer_id)[0], gained(lone)) == ("confirmed", second.amount)
    executed_after_all(lone, one, transfer_id, first)
    work(lone, hands, ENOUGH)

    assert (state_of(lone, transfer_id)[0], gained(lone)) == ("orphaned", second.amount)
    assert gained(lone) == -one.net(PLAYER)
    assert open_case(lone, transfer_id)
    check(lone)


def test_what_was_paid_beside_a_decision_is_found(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-54: the owner of the database makes people have decided about less than was confirmed."""
    has(one, 2500)
    one.during = loses(one, "transfer")
    transfer_id = decided(lone, one, hands)
    check(lone)
    with owned(lone.runtime) as connection:
        connection.exec_driver_sql("UPDATE evidence SET amount = amount - 1 WHERE source = 'person'")

    (finding,) = (each for each in verify(lone.runtime) if each.invariant == "I-54")
    assert [row["transfer_id"] for row in finding.rows] == [transfer_id]


def test_a_refusal_that_is_only_doubted_settles_by_itself(old: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-11 C-58: nobody said anything against it: once it is looked up again, the sweep is confirmed."""
    has(one, 2500)
    one.during, one.script, one.asked = loses(one, "transfer"), [OK, LOST], [SILENT] * 3
    transfer_id = sweep(old)
    one.during = lambda _operation: None
    lineage.restored(old.runtime, "a standby took over", "ops")
    work(old, hands, 3000)

    assert state_of(old, transfer_id)[0] == "confirmed"
    assert gained(old) == -one.net(PLAYER) > 0
    check(old)


def test_a_confirmed_sweep_is_confirmed_again(old: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-11 C-58: its callback comes once more behind a standby that took over."""
    lineage.check(old.runtime)
    tick(old)
    has(one, 2500)
    one.during = loses(one, "transfer")
    transfer_id = sweep(old)
    one.during = lambda _operation: None
    second = old.get(transfer_id).outside
    assert state_of(old, transfer_id)[0] == "confirmed"
    hands.turn(5)
    lineage.restored(old.runtime, "a standby took over", "ops")
    told(old, one, transfer_id, second, one.callback(str(second.reference)))
    work(old, hands, 3000)

    assert (state_of(old, transfer_id)[0], gained(old)) == ("confirmed", -one.net(PLAYER))
    check(old)
