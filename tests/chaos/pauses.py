"""SIGSTOP: a web process stopped right before a money request leaves, past its lease and past the not-after.

Meanwhile another worker resolves the transfer: with the quick provider it has expired and is reversed, with the
slow one the other worker sends what the stopped one did not; at the provider of our own contract it sends it, or,
where the client wishes it cancelled meanwhile, a cancel. Then SIGCONT: the gate is shut, nothing leaves, and
what the late worker has to tell is stored and moves nothing.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from signal import SIGCONT, SIGSTOP

from tests.chaos.books import FINAL, Effect, Record, before_expiry, wire
from tests.chaos.client import Door, Reply
from tests.chaos.kills import TRIES, PointNotReached, Tally, cancel
from tests.chaos.settings import SIGNED
from tests.chaos.station import Point, Station, Victim, Wish

Say = Callable[[str], None]

PAUSE_SECONDS = 45.0
SIDE_BY_SIDE = 5  # more would starve each other before they are stopped
LABELS = {
    "prepare": "POST /v1/fund-transfers",
    "complete": "PUT /v1/fund-transfers/{id}/status",
    "create": "transfer.create",
}
"""Operation, as the simulator calls it → the request that stands in a point's label."""

BEFORE, PAST_THE_GATE = "before", "gate open for"


@dataclass(frozen=True)
class Pause:
    """One case: whose transfer, before which request its worker is stopped, and whether its client then wishes it
    cancelled."""

    wish: Wish
    step: str
    past_the_gate: bool
    cancelled: bool = False

    @property
    def label(self) -> str:
        """Of the point at which the worker is stopped."""
        return f"{PAST_THE_GATE if self.past_the_gate else BEFORE} {LABELS[self.step]}"

    def __str__(self) -> str:
        """For people."""
        then = ", then cancelled" if self.cancelled else ""
        return f"{self.wish.direction} at {self.wish.provider}, stopped {self.label}{then}"


@dataclass(frozen=True)
class Seen:
    """What can be seen of one transfer at an instant."""

    record: Record
    effects: tuple[Effect, ...]
    requests: dict[str, int]
    late: tuple[tuple[str, str], ...]  # (answer, code) of the evidence that the stopped worker stored
    expired: int  # prepares that came in time and were then let go: on a busy machine the other worker is late too


def run(station: Station, directions: Sequence[str], say: Say) -> Tally:
    """Every direction × provider × request × place of the stop, all at once, beside a live web and jobs."""
    tally = Tally()
    with station.web() as web, station.jobs():
        door = Door(web.address, station.secret)
        pauses = [
            Pause(station.wish(direction, provider), step, past_the_gate, cancelled)
            for direction in directions for provider in station.simulators
            for past_the_gate in (False, True) for step, cancelled in _cases(provider)
        ]  # fmt: skip
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            cases = [(pause, pool.submit(_one, station, door, pause)) for pause in pauses]
            for pause, case in cases:
                _count(station, pause, case, tally, say)
    tally.wrong += station.wrong()
    return tally


def _cases(provider: str) -> Sequence[tuple[str, bool]]:
    """(request before which the worker is stopped, whether a cancel is wished meanwhile)."""
    return [("create", False), ("create", True)] if provider == SIGNED else [("prepare", False), ("complete", False)]


def _count(station: Station, pause: Pause, case: Future[tuple[str, list[str]]], tally: Tally, say: Say) -> None:
    tally.points += 1
    state, wrong = case.result()
    tally.ends[state] += 1
    tally.wrong += [f"{station.name} {pause}: {sentence}" for sentence in wrong]
    rule = "sent late, moved nothing" if pause.past_the_gate else "no second send"
    say(f"{station.name} {pause} → {state}, {wrong[0] if wrong else rule}")


def _one(station: Station, door: Door, pause: Pause) -> tuple[str, list[str]]:
    """The case; where a victim on a busy machine took another way past its point, once more with a new one."""
    for _ in range(TRIES):
        try:
            return _stop(station, door, pause)
        except PointNotReached as missed:
            reason = str(missed)
            pause = replace(pause, wish=station.wish(pause.wish.direction, pause.wish.provider))
    return "not reached", [reason]


def _stop(station: Station, door: Door, pause: Pause) -> tuple[str, list[str]]:
    victim = station.victim("web", Point(pause.label), SIGSTOP)
    try:
        with ThreadPoolExecutor(1) as client:
            stopped = station.victims.door(victim, station.secret)
            asked = client.submit(station.post, stopped, pause.wish)
            try:
                _wait_until_stopped(victim, asked)
                if pause.cancelled:
                    cancel(door, pause.wish, f"/v1/transfers/{station.id_of(pause.wish)}/cancel")
                before = _resolved_meanwhile(station, door, pause.wish, victim)
            finally:
                os.kill(victim.pid, SIGCONT)
            reply = asked.result()
        after = _late_evidence(station, pause.wish, victim)
        return after.record.state, _wrong(pause, before, after, reply)
    finally:
        station.victims.end(victim)


def _wait_until_stopped(victim: Victim, asked: Future[Reply]) -> None:
    while not victim.paused:
        if asked.done():
            raise PointNotReached(f"the victim was not stopped; its points: {[str(point) for point in victim.points]}")
        time.sleep(0.02)


def _resolved_meanwhile(station: Station, door: Door, wish: Wish, victim: Victim) -> Seen:
    """What is to be seen once another worker has brought the transfer of the stopped one to its end."""
    station.final(door, station.id_of(wish))
    return _look(station, wish, victim)


def _late_evidence(station: Station, wish: Wish, victim: Victim) -> Seen:
    """What is to be seen once the late worker has told what it has to tell."""
    end = time.monotonic() + PAUSE_SECONDS
    while not (seen := _look(station, wish, victim)).late and time.monotonic() < end:
        time.sleep(0.05)
    return seen


def _look(station: Station, wish: Wish, victim: Victim) -> Seen:
    record = next(record for record in station.ours().records if record.key == wish.key)
    simulator = station.simulators[wish.provider]
    told = (
        "SELECT answer, code FROM evidence WHERE transfer_id = :id AND source = 'call' AND worker LIKE :worker"
        " AND at >= (SELECT settled_at FROM transfer WHERE id = :id) ORDER BY id"
    )
    late = station.rows(told, id=record.id, worker=f"%/{victim.pid}/%")
    mine = tuple(effect for effect in simulator.effects() if effect.player == wish.player)
    requests = dict(wire(simulator.ledger, record.reference))
    told_late = tuple((str(answer), str(code)) for answer, code in late)
    expired = before_expiry(simulator.ledger, record.reference, "prepare")
    return Seen(record, mine, requests, told_late, expired)


def _wrong(pause: Pause, before: Seen, after: Seen, reply: Reply) -> list[str]:
    """Sentences; none when the rule held."""
    wrong = []
    if before.record.state not in FINAL:
        wrong.append(f"meanwhile nobody ended it: {before.record.state}")
    if before.late or not after.late:
        wrong.append(f"late evidence before {before.late}, after {after.late}")
    if after.record != before.record or after.effects != before.effects:
        wrong.append(f"the late worker moved it: {before} became {after}")
    if (reply.status, reply.transfer_id, reply.state) != (201, after.record.id, after.record.state):
        wrong.append(f"the stopped request was answered {reply}")
    if not pause.past_the_gate and {answer for answer, _ in after.late} != {"not_sent"}:
        wrong.append(f"the late evidence is {after.late}")
    # Past the gate the bytes were let out in time, and the stop holds them back: that one request leaves late.
    late = {pause.step: 1} if pause.past_the_gate else {}
    if Counter(after.requests) != Counter(before.requests) + Counter(late):
        wrong.append(f"requests on the wire: {before.requests} became {after.requests}")
    expired = before.expired if pause.step == "prepare" else 0
    if before.requests.get(pause.step, 0) > (1 if before.record.state == "confirmed" else min(expired, 1)):
        wrong.append(f"the other worker sent {before.requests}")
    return wrong
