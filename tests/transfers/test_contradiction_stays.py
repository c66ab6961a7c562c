"""What contradicts a reversal is before people until they decide. That what the reversal rested on is doubted later,
for a clock was set forward, a standby took over, or the provider's name was given away, settles nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bridge import lineage
from bridge.desk import switches
from bridge.transfers.advance import advance, effect_of
from tests.harness import PROVIDER, Bench, Hands
from tests.transfers.moving import repointed, work
from tests.transfers.scripted_one import LOST, NEGATIVE, SILENT, ScriptedOne
from tests.transfers.test_contradictions import BOTH_WAYS, books, open_case, reverse, state_of
from tests.transfers.test_set_forward import STEP, tick

ENOUGH = 1200
"""Seconds in which everything is asked that is ever asked, and patience ends."""

STANDS = {"in": {"house": -1000, "game": 1000}, "out": {"custody": 1000, "game": -1000}}
"""Where the amount is while a late success is before people: the wallet has it, or nobody."""


def taken_over(made: Bench, one: ScriptedOne, hands: Hands) -> Bench:
    """A standby has taken over, or a backup was restored that had all of it."""
    del one
    lineage.restored(made.runtime, "a standby took over", "ops")
    hands.turn(5)
    return made


def set_forward(made: Bench, one: ScriptedOne, hands: Hands) -> Bench:
    """Both clocks were set forward, and that was noticed."""
    del one
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
