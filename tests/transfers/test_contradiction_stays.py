"""What contradicts a reversal is before people until they decide. That what the reversal rested on is doubted later,
for a clock was set forward, a standby took over, or the provider's name was given away, settles nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bridge import lineage
from bridge.desk import switches
from bridge.transfers.advance import advance, effect_of
from tests.harness import PROVIDER, Bench, Hands
from tests.transfers import scripted_one
from tests.transfers.moving import repointed, work
from tests.transfers.scripted_one import ABSENT, DROPPED, LATE, LOST, NEGATIVE, SILENT, ScriptedOne
from tests.transfers.test_contradictions import BOTH_WAYS, books, open_case, reverse, state_of
from tests.transfers.test_set_forward import PROVIDER_TAKES, STEP, tick

ENOUGH = 1200
"""Seconds in which everything is asked that is ever asked, and patience ends."""

STANDS = {"in": {"house": -1000, "game": 1000}, "out": {"custody": 1000, "game": -1000}}
"""Where the amount is while a late success is before people: the wallet has it, or nobody."""


def taken_over(made: Bench, _one: ScriptedOne, hands: Hands) -> Bench:
    """A standby has taken over, or a backup was restored that had all of it."""
    lineage.restored(made.runtime, "a standby took over", "ops")
    hands.turn(5)
    return made


def set_forward(made: Bench, _one: ScriptedOne, hands: Hands) -> Bench:
    """Both clocks were set forward, and that was noticed."""
    hands.set_both(STEP)
    tick(made)
    return made


def moved_house(made: Bench, one: ScriptedOne, hands: Hands) -> Bench:
    """The provider has another address, and a person said that this is so."""
    made = repointed(made, one)
    switches.accept(made.runtime, PROVIDER, "they moved house", "ops")
    hands.turn(5)
    return made


def taken_over_and_moved(made: Bench, one: ScriptedOne, hands: Hands) -> Bench:
    """Both: it is not known which came first."""
    return moved_house(taken_over(made, one, hands), one, hands)


Weather = Callable[[Bench, ScriptedOne, Hands], Bench]
WEATHERS = pytest.mark.parametrize("weather", [taken_over, set_forward, moved_house, taken_over_and_moved])


def refused_by_look_ups(made: Bench, one: ScriptedOne, hands: Hands, direction: str) -> str:
    """A transfer that was executed, and reversed because two look-ups said that it was refused."""
    one.script, one.asked = [LOST], [SILENT] * 4 + [NEGATIVE] * 9
    transfer_id = made.run(direction)
    work(made, hands, 600)
    return transfer_id


def reversed_so(made: Bench, one: ScriptedOne, hands: Hands, direction: str, how: str) -> str:
    """A transfer that was reversed in that way, and is executed all the same, as nobody has heard yet."""
    if how == "looked up":
        transfer_id = refused_by_look_ups(made, one, hands, direction)
    else:
        transfer_id = reverse(made, one, hands, direction, how)
        effect = effect_of(made.get(transfer_id))
        one.records.pop(effect.reference, None)
        one.later = [(0.0, effect)]
        one.settle_time()
    assert state_of(made, transfer_id)[0] == "reversed"
    return transfer_id


@WEATHERS
@BOTH_WAYS
@pytest.mark.parametrize("heard", ["before", "afterwards"])
@pytest.mark.parametrize("how", ["absent", "voided", "refused", "looked up"])
def test_a_late_success_stays_before_people(
    old: Bench, one: ScriptedOne, hands: Hands, direction: str, how: str, heard: str, weather: Weather
) -> None:
    """I-02 I-16 C-07 C-58: heard before the weather or behind it, nobody but people moves that money."""
    lineage.check(old.runtime)
    tick(old)
    transfer_id = reversed_so(old, one, hands, direction, how)
    told = str(old.get(transfer_id).outside.reference)
    made = old
    if heard == "afterwards":
        made = weather(old, one, hands)
    advance(made.runtime, transfer_id, None, one.callback(told))
    assert state_of(made, transfer_id) == ("orphaned", "contradiction")
    if heard == "before":
        made = weather(old, one, hands)

    if how == "looked up":
        one.asked = [NEGATIVE] * 99
    work(made, hands, ENOUGH)
    advance(made.runtime, transfer_id, None, one.callback(told))
    work(made, hands, ENOUGH)

    assert (state_of(made, transfer_id), books(made)) == (("orphaned", "contradiction"), STANDS[direction])
    assert open_case(made, transfer_id)
    assert one.done(told)
    made.audit()


def reversed_at_once(made: Bench, one: ScriptedOne, hands: Hands, direction: str, answer: str) -> str:
    """A transfer that was reversed just now, behind a restore, by what was looked up; it is executed all the same."""
    one.script, one.asked = ([LOST], [SILENT] * 4 + [NEGATIVE] * 99) if answer == "refused" else ([DROPPED] * 9, [])
    transfer_id = made.run(direction)
    lineage.restored(made.runtime, "a standby took over", "ops")
    while state_of(made, transfer_id)[0] == "pending":
        hands.turn(10)
        made.resolve_due()
    assert state_of(made, transfer_id)[0] == "reversed"
    one.script, one.asked = [], []
    effect = effect_of(made.get(transfer_id))
    if effect.reference not in one.records:
        one.later = [(0.0, effect)]
        one.settle_time()
    return transfer_id


@WEATHERS
@BOTH_WAYS
@pytest.mark.parametrize("answer", ["not found", "refused"])
@pytest.mark.parametrize("later", [0, 600])
def test_it_stays_however_often_that_happens(
    old: Bench, one: ScriptedOne, hands: Hands, direction: str, answer: str, later: int, weather: Weather
) -> None:
    """I-02 I-16 C-07 C-58: reversed behind one restore, and doubted by the next: seconds after it, or minutes."""
    lineage.check(old.runtime)
    tick(old)
    transfer_id = reversed_at_once(old, one, hands, direction, answer)
    hands.turn(later)
    advance(old.runtime, transfer_id, None, one.callback(str(old.get(transfer_id).outside.reference)))
    made = weather(old, one, hands)
    one.asked = [NEGATIVE] * 99 if answer == "refused" else []

    work(made, hands, ENOUGH)

    assert (state_of(made, transfer_id), books(made)) == (("orphaned", "contradiction"), STANDS[direction])
    assert one.done(made.get(transfer_id).outside.reference)
    made.audit()


@BOTH_WAYS
def test_a_person_who_says_that_it_was_restored_before_pays_out_nothing(
    old: Bench, one: ScriptedOne, hands: Hands, direction: str
) -> None:
    """I-02 I-16 C-58: what the reversal rested on came after the backup, as it is told now."""
    lineage.check(old.runtime)
    began = hands.now()
    transfer_id = reversed_so(old, one, hands, direction, "absent")
    advance(old.runtime, transfer_id, None, one.callback(str(old.get(transfer_id).outside.reference)))
    lineage.restored(old.runtime, "an old backup", "ops", since=began)

    work(old, hands, ENOUGH)

    assert (state_of(old, transfer_id), books(old)) == (("orphaned", "contradiction"), STANDS[direction])
    assert one.done(old.get(transfer_id).outside.reference)
    old.audit()


@BOTH_WAYS
@pytest.mark.parametrize("weather", [set_forward, moved_house])
def test_silence_in_doubt_is_nothing_against_a_word_taken_back(
    old: Bench, one: ScriptedOne, hands: Hands, monkeypatch: pytest.MonkeyPatch, direction: str, weather: Weather
) -> None:
    """I-16 C-15 C-58: "not found", too young or told by another address, then executed, then taken back by the
    provider's own count: that is the end of it, told once or twice."""
    monkeypatch.setattr(scripted_one, "LATE_SECONDS", PROVIDER_TAKES)
    lineage.check(old.runtime)
    tick(old)
    one.script = [LATE, DROPPED, DROPPED]
    transfer_id = old.run(direction)
    for _ in range(10):
        hands.turn(1)
        tick(old)
    made = weather(old, one, hands)
    one.asked = [ABSENT] * 4
    work(made, hands, 40, step=2)
    one.asked = []
    hands.turn(60)
    one.settle_time()
    reference = str(made.get(transfer_id).outside.reference)
    advance(made.runtime, transfer_id, None, one.callback(reference))
    assert state_of(made, transfer_id)[0] == "confirmed"
    for told in (one.take_back(reference), one.callback(reference)):
        advance(made.runtime, transfer_id, None, told)
        work(made, hands, ENOUGH)
        assert (state_of(made, transfer_id)[0], books(made), one.done(reference)) == ("reversed", {}, False)
    made.audit()
