"""A clock that is set forward, the database's with it, makes no silence older: what was counted by it counts anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from threading import Event

import pytest

from bridge import clocks, watch
from bridge.transfers.advance import advance
from bridge.transfers.resolve import refresh as resolve_now
from jobs import resolve
from tests.harness import PLAYER, Bench, Hands
from tests.transfers import scripted_one
from tests.transfers.scripted_one import DROPPED, LATE, LOST, NEGATIVE, SILENT, ScriptedOne

STEP = 285
PROVIDER_TAKES = 50.0
"""Seconds: within those (60) after which an absence counts, by contract."""


def tick(lone: Bench) -> None:
    """What a process of jobs does each second: it looks whether it may work, and resolves."""
    if watch.hindrance(lone.runtime) is None:
        resolve.run_once(lone.runtime, lone.runtime.clock.now(), 100, Event())


def only_resolve(lone: Bench) -> None:
    """What one does that is in the middle of a run: it looks again only before the next."""
    lone.resolve_due()


@pytest.fixture
def queued_there(lone: Bench, one: ScriptedOne, monkeypatch: pytest.MonkeyPatch) -> str:
    """A transfer whose first request its provider holds back, as it may, and whose repetitions were lost."""
    monkeypatch.setattr(scripted_one, "LATE_SECONDS", PROVIDER_TAKES)
    one.script = [LATE, DROPPED, DROPPED]
    tick(lone)
    return lone.run("in")


@pytest.mark.parametrize("tells", [tick, only_resolve])
def test_a_step_forward_makes_no_silence_older(
    lone: Bench, one: ScriptedOne, hands: Hands, queued_there: str, tells: Callable[[Bench], None]
) -> None:
    """I-13 I-34 The wallet is not given back what the provider executes within its time."""
    for _ in range(10):
        hands.turn(1)
        tick(lone)
    assert len([call for call in one.calls if call.startswith("transfer")]) == 3
    hands.set_both(STEP)
    for _ in range(60):
        hands.turn(1)
        tells(lone)
    assert lone.row(queued_there)["state"] == "pending"
    hands.turn(400)
    tells(lone)
    assert lone.row(queued_there)["state"] == "confirmed"
    assert one.net(PLAYER) == 1000
    lone.audit()


def test_a_callback_that_comes_twice_orphans_nothing(
    lone: Bench, one: ScriptedOne, hands: Hands, queued_there: str
) -> None:
    """I-16 I-34 C-15: what was too young a silence to reverse it is no proof against it once it is confirmed."""
    for _ in range(10):
        hands.turn(1)
        tick(lone)
    hands.set_both(STEP)
    for _ in range(50):
        hands.turn(1)
        tick(lone)
    one.settle_time()
    told = one.callback(str(lone.get(queued_there).outside.reference))
    for at in (hands.now(), hands.now() + 1):
        advance(lone.runtime, queued_there, None, replace(told, at=at))
        assert (lone.row(queued_there)["state"], one.net(PLAYER)) == ("confirmed", 1000)


def test_an_absence_is_proved_all_the_same(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-13 I-34 Only later: by seconds that have passed since."""
    one.script = [DROPPED] * 9
    transfer_id = lone.run("in")
    tick(lone)
    hands.turn(10)
    tick(lone)
    hands.set_both(STEP)
    began = hands.monotonic()
    while lone.row(transfer_id)["state"] == "pending":
        hands.turn(1)
        tick(lone)
    assert lone.row(transfer_id)["state"] == "reversed"
    assert hands.monotonic() - began > 60 + 20
    lone.audit()


@pytest.mark.parametrize("seconds", [1.9, -3600, 0])
def test_what_is_no_step_forward_is_not_noted(lone: Bench, one: ScriptedOne, hands: Hands, seconds: float) -> None:
    """I-34 Silence that was seemingly younger is no danger, and clocks that agree are a little apart."""
    one.script, one.asked = [LOST], [SILENT] * 99
    transfer_id = lone.run("in")
    tick(lone)
    hands.set_both(seconds)
    tick(lone)
    assert lone.row(transfer_id)["quiet_from"] is None


def test_small_steps_add_up(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-34 Four of a second and a half are one of six."""
    one.script, one.asked = [LOST], [SILENT] * 99
    transfer_id = lone.run("in")
    for _ in range(4):
        hands.set_both(1.5)
        hands.turn(1)
        tick(lone)
    assert lone.row(transfer_id)["quiet_from"] > hands.now()


def test_set_back_and_forward_again_is_a_step_forward(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-34 What was sent in between is not as old as it seems."""
    one.script, one.asked = [LOST], [SILENT] * 99
    transfer_id = lone.run("in")
    hands.set_both(-600)
    tick(lone)
    hands.set_both(600)
    tick(lone)
    assert lone.row(transfer_id)["quiet_from"] > hands.now()


def test_a_clock_that_is_off_from_the_databases_marks_nothing(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-34 It alone was set: its process rests, and what others count is right. It concludes nothing either."""
    one.script = [DROPPED] * 9
    transfer_id = lone.run("in")
    tick(lone)
    hands.set_wall(STEP)
    for _ in range(10):
        hands.turn(20)
        tick(lone)
        only_resolve(lone)
    row = lone.row(transfer_id)
    assert (row["state"], row["quiet_from"]) == ("pending", None)
    hands.set_wall(-STEP)
    assert not clocks.has_stepped(lone.runtime, lone.runtime.moment())


def test_a_mark_is_never_set_back(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-34 By a clock that has been set back since, a later step is noted for an earlier instant."""
    one.script, one.asked = [LOST], [SILENT] * 99
    transfer_id = lone.run("in")
    tick(lone)
    hands.set_both(STEP)
    tick(lone)
    first = lone.row(transfer_id)["quiet_from"]
    hands.set_both(-STEP)
    tick(lone)
    hands.set_both(10)
    tick(lone)
    assert lone.row(transfer_id)["quiet_from"] == first


def test_a_refusal_that_is_looked_up_counts_anew(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-13 I-34 Some say "refused" first and execute later: the seconds between are counted as those of silence."""
    one.script, one.asked = [LOST], [NEGATIVE] * 99
    transfer_id = lone.run("in")
    tick(lone)
    hands.set_both(STEP)
    for _ in range(8):
        hands.turn(1)
        tick(lone)
        resolve_now(lone.runtime, transfer_id, 0)
    assert lone.row(transfer_id)["state"] == "pending"
    assert one.count("look_up") > 4
    one.asked = []
    hands.turn(60)
    tick(lone)
    assert lone.row(transfer_id)["state"] == "confirmed"
    lone.audit()


def test_what_was_concluded_before_stays(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-34 What is watched after its reversal was counted by a clock that was right: no mark takes it back."""
    one.script, one.asked = [DROPPED] * 9, []
    transfer_id = lone.run("in")
    while lone.row(transfer_id)["state"] == "pending":
        hands.turn(5)
        tick(lone)
    history = lone.rows("SELECT * FROM history WHERE transfer_id = :id", id=transfer_id)
    hands.set_both(STEP)
    for _ in range(20):
        hands.turn(10)
        tick(lone)
    assert lone.row(transfer_id)["state"] == "reversed"
    assert lone.rows("SELECT * FROM history WHERE transfer_id = :id", id=transfer_id) == history
    lone.audit()
