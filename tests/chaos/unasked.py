"""SIGKILL while a callback is received, and while it is acted on; before and after our own request was answered.

The provider of our own contract sends its letters by itself, and again until they are taken. *Received*: it tells
a web process that dies at each point of taking it, and after that a living one. *Acted on*: a jobs process dies at
each point of acting on a letter that was taken. At the end every letter that was ever answered 200 is in the inbox
once, done, and evidence once (I-40, I-41).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from threading import Event

from jobs import inbox
from tests.chaos.books import unheard
from tests.chaos.client import Door, Reply
from tests.chaos.kills import DEATH_SECONDS, Kill, PointNotReached, Tally, again, come_back, require_struck
from tests.chaos.settings import SIGNED, Contract
from tests.chaos.station import NEVER, Point, Station, Victim, Wish

Say = Callable[[str], None]

CONTRACT = Contract(money=15)
SLOW_SECONDS = 8.0  # the answer to a request comes so much later than the callback about it
LEASE_SECONDS = 45.0  # longer than the one under which a dead process has taken a message
PATH = f"/v1/providers/{SIGNED}/callbacks"


class Order(StrEnum):
    """When we are told, as seen from the answer to our own request."""

    BEFORE = "before our own request is answered"
    AFTER = "after our own request was answered"


class Campaign:
    """One station's letters, one case after the other: the provider knows a single address at a time."""

    def __init__(self, station: Station, door: Door, clients: ThreadPoolExecutor, say: Say) -> None:
        self.station, self.door, self.say, self.tally = station, door, say, Tally()
        self.kills: list[Kill] = []
        self._clients, self._provider = clients, station.simulators[SIGNED]
        self._asked: list[Future[Reply]] = []

    def cases(self, direction: str, order: Order) -> None:
        """Every point of receiving a letter in this order, then every point of acting on one."""
        for where, count, kill in (
            ("receives", self._points_of_receiving, self._kill_receiving),
            ("acts", self._points_of_acting, self._kill_acting),
        ):
            points = count(direction, order)
            self.say(f"{self.station.name} {direction}: {len(points)} points of one who {where} {order}")
            self.tally.points += len(points)
            for point in points:
                found = again(partial(kill, direction, order, point), self.station, self.tally)
                if found is not None:
                    self.kills.append(found)
                    self.say(f"{self.station.name} {direction}: who {where} {order} killed {point}")

    def settle(self) -> None:
        """Wait for the clients whose answers were slow."""
        for asked in self._asked:
            asked.result()

    # --- one transfer, and the letter about it ------------------------------------------------------------

    def _told_to(self, address: str | None) -> None:
        self._provider.order("/callbacks", url=None if address is None else f"http://{address}{PATH}")

    @contextmanager
    def _letter(self, direction: str, order: Order, address: str) -> Iterator[Wish]:
        """A transfer that is executed, and the letter about it on its way to an address."""
        self._told_to(None)
        wish = self.station.wish(direction)
        if order is Order.BEFORE:
            self._told_to(address)
            self._provider.order("/faults", case=16, on="create", player=wish.player, params={"delay": SLOW_SECONDS})
            self._asked.append(self._clients.submit(self.station.post, self.door, wish))
        else:
            reply = self.station.post(self.door, wish)
            if reply.state != "confirmed":
                raise PointNotReached(f"the transfer to be told of was answered {reply}")
            self._told_to(address)
        yield wish

    def _wait(self, done: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + DEATH_SECONDS
        while not done():
            if time.monotonic() > end:
                raise PointNotReached(f"it never came to be {what}")
            time.sleep(0.02)

    def _taken(self, wish: Wish) -> bool:
        """Whether the letter about a transfer was answered 200."""
        references = {record.reference for record in self.station.ours().records if record.key == wish.key}
        return any(line["reference"] in references and line["status"] == 200 for line in self._letters())

    def _letters(self) -> Sequence[dict[str, object]]:
        return self._provider.diary("callbacks")

    def _acted(self, wish: Wish) -> bool:
        query = "SELECT k.state FROM inbox_task k JOIN leg l ON l.reference = k.reference WHERE l.transfer_id = :id"
        return self.station.rows(query, id=self.station.id_of(wish)) == [("done",)]

    # --- receiving ----------------------------------------------------------------------------------------

    def _points_of_receiving(self, direction: str, order: Order) -> list[Point]:
        with self._victim("web") as victim:
            address = self.station.victims.door(victim, self.station.secret).address
            with self._letter(direction, order, address) as wish:
                self._wait(lambda: self._taken(wish), "taken")
                self._told_to(self.door.address)
            return victim.points

    def _kill_receiving(self, direction: str, order: Order, point: Point) -> Kill:
        with self._victim("web", point) as victim:
            address = self.station.victims.door(victim, self.station.secret).address
            with self._letter(direction, order, address) as wish:
                try:
                    require_struck(self.station, victim, point)
                finally:
                    self._told_to(self.door.address)
                self._wait(lambda: self._taken(wish), "taken")
                return Kill(wish, point, f"who received {order}")

    # --- acting -------------------------------------------------------------------------------------------

    def _drain(self) -> None:
        """Act on whatever letters of other cases are due, so that a victim finds its own one alone."""
        inbox.run_once(self.station.runtime, self.station.runtime.clock.now(), 1000, Event())

    def _points_of_acting(self, direction: str, order: Order) -> list[Point]:
        self._drain()
        with self._letter(direction, order, self.door.address) as wish:
            self._wait(lambda: self._taken(wish), "taken")
            with self._victim("jobs") as victim:
                self._wait(lambda: self._acted(wish), "acted on")
                points = [point for point in victim.points if "inbox_task" in point.label]
            query = "SELECT source FROM evidence WHERE transfer_id = :id AND source <> 'wallet' ORDER BY id"
            first = self.station.rows(query, id=self.station.id_of(wish))[0]
            if first != (("callback",) if order is Order.BEFORE else ("call",)):
                raise PointNotReached(f"the first to be stored was {first}, {order}")
            return points

    def _kill_acting(self, direction: str, order: Order, point: Point) -> Kill:
        self._drain()
        with self._letter(direction, order, self.door.address) as wish:
            self._wait(lambda: self._taken(wish), "taken")
            with self._victim("jobs", point) as victim:
                require_struck(self.station, victim, point)
            return Kill(wish, point, f"who acted {order}")

    @contextmanager
    def _victim(self, kind: str, point: Point = NEVER) -> Iterator[Victim]:
        victim = self.station.victim(kind, point)
        try:
            yield victim
        finally:
            self.station.victims.end(victim)


def run(station: Station, directions: Sequence[str], say: Say) -> Tally:
    """Every direction × order × point; then a jobs process is started, every key repeated, everything judged."""
    with station.web() as web, ThreadPoolExecutor(len(directions) * 16) as clients:
        door = Door(web.address, station.secret)
        campaign = Campaign(station, door, clients, say)
        for direction in directions:
            for order in Order:
                campaign.cases(direction, order)
        campaign.settle()
        with station.jobs():
            for kill in campaign.kills:
                come_back(station, door, kill, campaign.tally, say)
            wrong = _unheard(station)
    campaign.tally.wrong += [*wrong, *station.wrong()]
    return campaign.tally


def _unheard(station: Station) -> list[str]:
    """What is wrong with the letters once the last lease of a dead process has passed."""
    end = time.monotonic() + LEASE_SECONDS
    while (wrong := unheard(station.simulators[SIGNED].diary("callbacks"), station.heard())) and time.monotonic() < end:
        time.sleep(0.5)
    return wrong
