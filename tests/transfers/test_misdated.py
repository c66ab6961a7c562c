"""A clock that was ahead, the database's with it, and is put right: what it planned is not waited for."""

from __future__ import annotations

from dataclasses import replace
from threading import Event
from types import SimpleNamespace

import pytest

from bridge import misdated
from bridge.ports import SECOND
from bridge.transfers.resolve import claim_due, refresh
from jobs import resolve
from tests.harness import Bench, Hands
from tests.transfers.scripted_one import ABSENT, DROPPED, LOST, SILENT, ScriptedOne

HOUR, DAY = 3600, 86_400


def tick(lone: Bench) -> dict[str, int]:
    """One run of the job."""
    return resolve.run_once(lone.runtime, lone.runtime.clock.now(), 100, Event())


def test_a_lease_by_a_clock_that_was_ahead_holds_nobody_up(lone: Bench, hands: Hands) -> None:
    """I-17 I-31 Its process died: the transfer is driven at the next tick, not in an hour."""
    transfer = str(lone.begin("in", queued=True).transfer_id)
    hands.set_both(HOUR)
    assert len(claim_due(lone.runtime, 1)) == 1
    hands.set_both(-HOUR)
    assert lone.row(transfer)["wake_at"] > hands.now() + HOUR * SECOND
    assert tick(lone)["driven"] == 1
    assert lone.row(transfer)["state"] == "confirmed"
    lone.audit()


@pytest.mark.parametrize("how", ["tick", "refresh"])
def test_a_question_by_a_clock_that_was_ahead_is_not_the_last(
    lone: Bench, one: ScriptedOne, hands: Hands, how: str
) -> None:
    """I-17 I-31 The next one is planned by those that were asked at a right time, and who wants to know now, may."""
    one.script, one.asked = [LOST], [SILENT]
    transfer = lone.run("in")
    hands.set_both(DAY)
    tick(lone)
    assert one.calls[-1] == "look_up"
    hands.set_both(-DAY)
    if how == "tick":
        hands.turn(10)
        tick(lone)
    else:
        misdated.bring_near(lone.runtime)
        refresh(lone.runtime, transfer, hands.monotonic())
    assert lone.row(transfer)["state"] == "confirmed"
    lone.audit()


def test_what_was_sent_by_a_clock_that_was_ahead_waits_for_that_time(
    lone: Bench, one: ScriptedOne, hands: Hands
) -> None:
    """I-13 I-34 Silence about it is not old enough before; and nobody drives it again and again until then."""
    one.script, one.asked = [DROPPED] * 3, [SILENT] + [ABSENT] * 99
    hands.set_both(DAY)
    transfer = lone.run("in")
    hands.set_both(-DAY)
    for _ in range(20):
        hands.turn(60)
        tick(lone)
    row = lone.row(transfer)
    assert row["state"] == "pending"
    assert row["lease_epoch"] < 5
    for _ in range(100):
        hands.turn(DAY / 50)
        tick(lone)
    assert lone.row(transfer)["state"] in ("reversed", "orphaned")
    lone.audit()


@pytest.mark.parametrize("seconds", [3.9, 1000])
def test_who_was_held_up_after_its_look_at_the_clock_takes_nobodys_lease(
    lone: Bench, hands: Hands, seconds: float
) -> None:
    """I-17 By the instant at which it looked, a lease that was begun meanwhile reaches too far, also one of a process
    with other settings. It is right, and the request under it may be on the wire. Found by seed 176361831804."""
    transfer = str(lone.begin("in", queued=True).transfer_id)
    looked = hands.now()
    hands.turn(seconds)
    slack = lone.runtime.longest_lease + lone.runtime.config.engine.lease_slack_seconds
    engine = lone.runtime.config.engine.model_copy(update={"lease_slack_seconds": slack})
    patient = replace(lone.runtime, config=lone.runtime.config.model_copy(update={"engine": engine}))
    assert patient.longest_lease == misdated.OTHERS * lone.runtime.longest_lease
    assert len(claim_due(patient, 1)) == 1
    leased = lone.row(transfer)
    held_up = replace(lone.runtime, clock=SimpleNamespace(now=lambda: looked))
    assert misdated.bring_near(held_up) == {}
    assert lone.row(transfer) == leased


def test_by_a_right_clock_nothing_is_brought_near(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """Neither a lease nor a wait of any length that there is: a row that is not its time stays where it is."""
    one.script, one.asked = [LOST], [SILENT] * 999
    transfer = lone.run("in")
    for _ in range(200):
        before = lone.row(transfer)["wake_at"]
        assert misdated.bring_near(lone.runtime) == {}
        assert lone.row(transfer)["wake_at"] == before
        claim_due(lone.runtime, 1)
        assert misdated.bring_near(lone.runtime) == {}
        hands.turn(60)
        tick(lone)
    assert lone.row(transfer)["state"] == "orphaned"
