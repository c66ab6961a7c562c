"""What a jobs process finds to do: how a transfer is brought to where the resolver has to take it up."""

from __future__ import annotations

import time
from threading import Event

from bridge.transfers import resolve
from bridge.transfers.core.decisions import Kind
from jobs import inbox
from tests.chaos.books import Record
from tests.chaos.client import Door
from tests.chaos.kills import PointNotReached, Scene, cancel, kill_web, leave_undecided, strike_web
from tests.chaos.letters import late_packet, tell
from tests.chaos.station import Point, Station, Wish
from tests.deciding import Decision, decide

AFTER_EXPIRY = 2.0  # seconds: the lease under which the prepare left, the margin, and some more


def _queued(station: Station, door: Door, wish: Wish) -> None:
    reply = station.post(door, wish, Prefer="respond-async")
    if reply.status != 202:
        raise PointNotReached(f"respond-async was answered {reply}")


def _died_prepared(station: Station, _door: Door, wish: Wish) -> None:
    kill_web(station, wish, Point("bytes of POST /v1/fund-transfers away"))
    time.sleep(station.simulators[wish.provider].expiry + AFTER_EXPIRY)


def _died_at(label: str) -> Scene:
    return Scene(label, lambda station, _door, wish: _died(station, wish, label))


def _died(station: Station, wish: Wish, label: str) -> None:
    kill_web(station, wish, Point(label))


def _cancel_wished(station: Station, door: Door, wish: Wish) -> None:
    """The wish is stored, and whoever stored it died before the provider was told."""
    leave_undecided(station, door, wish)
    path = f"/v1/transfers/{station.id_of(wish)}/cancel"
    strike_web(station, Point("after the commit of transfer"), lambda victim: cancel(victim, wish, path))


def _to_be_taken_back(station: Station, door: Door, wish: Wish) -> None:
    """The wallet has it and the game has it too, and two people have decided to take it out of the game.

    In: the provider said that it was cancelled, and executed it when it came. Out: the provider took back what it
    had confirmed, and said so under the count of the confirmation.
    """
    _queued(station, door, wish)
    record = _record(station, wish)
    simulator = station.simulators[wish.provider]
    if wish.direction == "in":
        tell(door, record, "cancelled", 1)
        _hear(station, record, "reversed")
        late_packet(simulator, record)
        tell(door, record, "confirmed", 1)
    else:
        for claim in resolve.claim_due(station.runtime, 1, record.id):
            resolve.resolve(station.runtime, claim)
        simulator.order("/act", act="take_back", id=record.reference)
        tell(door, record, "cancelled", 1)
    _hear(station, record, "orphaned")
    ((version,),) = station.rows("SELECT version FROM transfer WHERE id = :id", id=record.id)
    decision = Decision(Kind.CLAW_BACK, "mia", "carl", "the game has it too", version)
    decide(station.runtime, station.operator, record.id, decision)


def _hear(station: Station, record: Record, state: str) -> None:
    """Act on what was told, as the job does."""
    inbox.run_once(station.runtime, station.runtime.clock.now(), 10, Event())
    found = station.rows("SELECT state FROM transfer WHERE id = :id", id=record.id)
    if found != [(state,)]:
        raise PointNotReached(f"{record.id} is {found} after what was told, not {state}")


def _record(station: Station, wish: Wish) -> Record:
    return next(record for record in station.ours().records if record.key == wish.key)


QUEUED = Scene("queued", _queued)
PREPARED = Scene("died after the prepare", _died_prepared)
COMPLETED = _died_at("bytes of PUT /v1/fund-transfers/{id}/status away")
OF_QTECH = (QUEUED, PREPARED, COMPLETED)

NOT_SENT = _died_at("before transfer.create")
UNANSWERED = _died_at("bytes of transfer.create away")
TO_BE_CANCELLED = Scene("to be cancelled", _cancel_wished)
TO_BE_TAKEN_BACK = Scene("to be taken back", _to_be_taken_back, orphaned=True)
OF_THE_CONTRACT = (QUEUED, NOT_SENT, UNANSWERED, TO_BE_CANCELLED, TO_BE_TAKEN_BACK)
