"""The aftercare job: takes the reversed that are due, and nothing else."""

from __future__ import annotations

import time
from threading import Event

import pytest

from bridge.ports import SECOND
from jobs import aftercare, resolve
from tests.harness import PLAYER, Hands, bench, simulator

TIMES = {"expiry_seconds": 2, "prepare_seconds": 1, "complete_seconds": 1, "engine_lease_slack_seconds": 5}


@pytest.fixture
def watched(migrated_url, tmp_path):
    """A transfer that was reversed because the provider said, when asked, that it had cancelled it."""
    clock = Hands()
    with (
        simulator(tmp_path, "--expiry", "2") as provider,
        bench(migrated_url, provider.address, clock=clock, **TIMES) as made,
    ):
        provider.script(14, on="complete", times=9, params={"how": "close"})
        transfer = made.run("in", "5.00")
        end = time.monotonic() + 10
        while not any(line["kind"] == "cancelled" for line in provider.lines()):
            assert time.monotonic() < end
            time.sleep(0.05)
        for _ in range(12):
            clock.turn(1)
            resolve.run_once(made.runtime, clock.now(), 10, Event())
        assert made.row(transfer)["state"] == "reversed"
        made.transfer, made.provider = transfer, provider
        yield made


def lookups(made):
    """Look-ups that have reached the provider so far."""
    return len(made.provider.wire(PLAYER, "lookup"))


def test_a_reversal_is_asked_about_until_its_last_look_up(watched):
    """C-07, I-17: 1 min, 10 min, 1 h, 24 h after the end, each time one look-up, then it rests."""
    clock, settled = watched.runtime.clock, watched.row(watched.transfer)["settled_at"]
    for seconds in (60, 600, 3600, 86400):
        before = lookups(watched)
        clock.turn((settled - clock.now()) / SECOND + seconds - 1)
        assert aftercare.run_once(watched.runtime, clock.now(), 10, Event())["claimed"] == 0
        clock.turn(2)
        assert aftercare.run_once(watched.runtime, clock.now(), 10, Event())["driven"] == 1
        assert lookups(watched) == before + 1
    assert watched.row(watched.transfer)["wake_at"] is None
    assert watched.row(watched.transfer)["state"] == "reversed"


def test_the_two_jobs_leave_each_others_rows_alone(watched):
    """C-46: resolve takes what is open, aftercare what has ended; a due row of the other kind stays."""
    clock = watched.runtime.clock
    settled = watched.row(watched.transfer)["settled_at"]
    clock.turn((settled - clock.now()) / SECOND + 61)
    pending = watched.begin("in", "1.00", queued=True).transfer_id

    assert aftercare.run_once(watched.runtime, clock.now(), 10, Event())["claimed"] == 1
    assert watched.row(pending)["state"] == "pending"

    clock.turn((settled - clock.now()) / SECOND + 601)
    assert resolve.run_once(watched.runtime, clock.now(), 10, Event())["claimed"] == 1
    assert watched.row(pending)["state"] != "pending"
    assert aftercare.run_once(watched.runtime, clock.now(), 10, Event())["claimed"] == 1
