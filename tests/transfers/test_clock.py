"""The machine's clock as the bridge sees it: steady while somebody sets it, and never backwards."""

from __future__ import annotations

import pytest

from bridge import runtime
from bridge.runtime import SystemClock

SECOND = 1_000_000
DAY = 86_400 * SECOND


class Machine:
    """A wall clock and a steady one, in microseconds, that a test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall, self.steady = 1_800_000_000 * SECOND, 5_000 * SECOND
        monkeypatch.setattr(runtime.time, "time_ns", lambda: self.wall * 1000)
        monkeypatch.setattr(runtime.time, "clock_gettime_ns", lambda _clock: self.steady * 1000)

    def turn(self, seconds: float) -> None:
        self.wall += round(seconds * SECOND)
        self.steady += round(seconds * SECOND)


def test_undisturbed_it_is_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """I-34 While nobody sets the clock, now() is the wall clock, to the microsecond."""
    machine = Machine(monkeypatch)
    clock = SystemClock()
    for seconds in (0, 0.000001, 0.3, 7, 3600, 86_400 * 30):
        machine.turn(seconds)
        assert clock.now() == machine.wall


@pytest.mark.parametrize("jump", [DAY, -DAY, 3600 * SECOND, -1 * SECOND, 30 * DAY])
def test_a_set_clock_is_followed_slowly(monkeypatch: pytest.MonkeyPatch, jump: int) -> None:
    """I-34 C-31 Whoever sets the clock ends no lease: now() goes forward by 0.9 to 1.1 of the time that
    passes, until it is right."""
    machine = Machine(monkeypatch)
    clock = SystemClock()
    told = clock.now()
    machine.wall += jump
    assert clock.now() == told, "no time has passed"
    for seconds in (0.5, 1, 10, 60):
        machine.turn(seconds)
        passed = clock.now() - told
        told += passed
        assert 0.9 * seconds * SECOND - 1 <= passed <= 1.1 * seconds * SECOND + 1
    for _ in range(400):
        machine.turn(86_400)
        clock.now()
    assert clock.now() == machine.wall, "in the end it is the wall clock again"


def test_now_never_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """I-34 However often the clock is set forth and back, now() only goes forward."""
    machine = Machine(monkeypatch)
    clock = SystemClock()
    told = [clock.now()]
    for number in range(200):
        machine.wall += (DAY, -DAY, -3 * SECOND, 5)[number % 4]
        machine.turn((0, 0.001, 2, 40)[number % 4])
        told.append(clock.now())
    assert told == sorted(told)
