"""SIGKILL at every point of one transfer: the points are counted in a dry run, then each is a run of its own.

Four campaigns. *Restart*: web victims die at each point, then web and jobs are started again. *Takeover*: the
same while a live web and jobs stand beside them, with an expiry that lets them finish what was begun.
*Jobs*: the resolver dies at each point of its own work, on a transfer that was left in some :class:`Scene`.
*Cancels*: web victims die at each point of a cancel, of a transfer that its provider has not decided.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from signal import SIGKILL

from tests.chaos.client import ConnectionDied, Door, Reply
from tests.chaos.station import Point, Station, Victim, Wish

Say = Callable[[str], None]

DEATH_SECONDS = 30.0
SIDE_BY_SIDE = 4
TRIES = 6
RESPITE_SECONDS = 0.5  # more before each further try: what starved the last one may be over
DRY_RUNS = 2
UNDECIDED_SECONDS = 3600


class PointNotReached(Exception):
    """A victim did not die where it should have: the point was not tested."""


@dataclass(frozen=True)
class Scene:
    """What the jobs process finds: `leave` brings a fresh transfer to where it has to be taken up.

    `orphaned`: so that its client may only ask when it has ended, for to be orphaned is a final answer too.
    """

    name: str
    leave: Callable[[Station, Door, Wish], None]
    orphaned: bool = False


@dataclass(frozen=True)
class Kill:
    """One victim's end: which transfer it was at, and where."""

    wish: Wish
    point: Point
    where: str = "the web"


@dataclass
class Tally:
    """What a campaign found."""

    points: int = 0
    wrong: list[str] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)
    told: dict[Kill, str] = field(default_factory=dict)  # the state at which each killed transfer ended

    def add(self, other: Tally) -> None:
        """Take over what another campaign found."""
        self.points += other.points
        self.wrong += other.wrong
        self.ends += other.ends
        self.told |= other.told


def count_web_points(station: Station, direction: str) -> list[Point]:
    """The points of one transfer, by a dry run through a web process that nobody kills. On a busy machine a run
    may time out and take a longer way, so there are a few and the shortest counts. Raises PointNotReached."""
    runs: list[list[Point]] = []
    reason = PointNotReached()
    for _ in range(TRIES):
        try:
            runs.append(dry_run(station, direction))
        except PointNotReached as missed:
            reason = missed
        if len(runs) == DRY_RUNS:
            break
    if not runs:
        raise reason
    return min(runs, key=len)


def dry_run(station: Station, direction: str) -> list[Point]:
    """The points of one transfer that was confirmed. Raises PointNotReached when it was not."""
    victim = station.victim("web")
    try:
        door = station.victims.door(victim, station.secret)
        reply = station.post(door, station.wish(direction))
        if (reply.status, reply.state) != (201, "confirmed"):
            raise PointNotReached(f"the dry run was not confirmed but {reply}")
        return victim.points
    finally:
        station.victims.end(victim)


def kill_web(station: Station, wish: Wish, point: Point) -> Kill:
    """A fresh web process, one transfer, SIGKILL at the point; the client sees the connection die."""
    with station.victims.turns:
        return _kill_web(station, wish, point)


def _kill_web(station: Station, wish: Wish, point: Point) -> Kill:
    strike_web(station, point, lambda door: station.post(door, wish))
    return Kill(wish, point)


def strike_web(station: Station, point: Point, ask: Callable[[Door], Reply]) -> None:
    """A fresh web process, one request, SIGKILL at the point. Raises PointNotReached."""
    victim = station.victim("web", point)
    try:
        try:
            reply = ask(station.victims.door(victim, station.secret))
        except ConnectionDied:
            require_struck(station, victim, point)
            return
        raise PointNotReached(f"never came {point}: {reply}")
    finally:
        station.victims.end(victim)


def require_struck(station: Station, victim: Victim, point: Point) -> None:
    """Raise PointNotReached unless SIGKILL met the victim at exactly this point."""
    status = station.victims.wait(victim, DEATH_SECONDS)
    if status != -SIGKILL or victim.points[-1:] != [point]:
        log = (victim.folder / "log").read_text(encoding="utf-8", errors="replace")[-800:]
        raise PointNotReached(f"{point}: ended with {status} after {', '.join(map(str, victim.points))}\n{log}")


def restart(station: Station, directions: Sequence[str], say: Say) -> Tally:
    """Every web kill point, then web and jobs started again, every key repeated, everything judged."""
    tally = Tally()
    kills = _kill_all_web(station, directions, say, tally)
    with station.web() as web, station.jobs():
        door = Door(web.address, station.secret)
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            list(pool.map(lambda kill: come_back(station, door, kill, tally, say), kills))
    tally.wrong += station.wrong()
    return tally


def takeover(station: Station, directions: Sequence[str], say: Say) -> Tally:
    """The same beside a living web and jobs: the client repeats at once, another worker takes over."""
    tally = Tally()
    with station.web() as web, station.jobs():
        door = Door(web.address, station.secret)
        _kill_all_web(station, directions, say, tally, lambda kill: come_back(station, door, kill, tally, say))
    tally.wrong += station.wrong()
    return tally


def _kill_all_web(
    station: Station, directions: Sequence[str], say: Say, tally: Tally, after: Callable[[Kill], None] | None = None
) -> list[Kill]:
    plan = []
    for direction in directions:
        points = count_web_points(station, direction)
        say(f"{station.name} {direction}: {len(points)} points of a web process")
        plan += [(direction, point) for point in points]
    tally.points += len(plan)

    def one(planned: tuple[str, Point]) -> Kill | None:
        direction, point = planned
        kill = again(lambda: kill_web(station, station.wish(direction), point), station, tally)
        if kill is not None and after is not None:
            after(kill)
        return kill

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        return [kill for kill in pool.map(one, plan) if kill is not None]


def again(kill: Callable[[], Kill], station: Station, tally: Tally) -> Kill | None:
    """The kill; a victim on a busy machine may time out and take another way past its point, so a few are tried.
    What became of their transfers is judged like all others."""
    for tries in range(TRIES):
        time.sleep(tries * RESPITE_SECONDS)
        try:
            return kill()
        except PointNotReached as missed:
            reason = missed
    tally.wrong.append(f"{station.name}: {reason}")
    return None


def come_back(station: Station, door: Door, kill: Kill, tally: Tally, say: Say) -> None:
    """The client repeats its key until the end is answered; every answer is about one and the same transfer."""
    first = station.post(door, kill.wish)
    if first.transfer_id is None or not _acceptable(first):
        tally.wrong.append(f"{station.name} {kill}: the repetition was answered {first}")
        return
    state = station.final(door, first.transfer_id)
    again = station.post(door, kill.wish)
    tally.ends[state] += 1
    tally.told[kill] = state
    if (again.status, again.transfer_id, again.state) != (201, first.transfer_id, state):
        tally.wrong.append(f"{station.name} {kill}: {first}, then {again}, at the end {state}")
    say(f"{station.name} {kill.wish.direction}: {kill.where} killed {kill.point} → {state}")


def _acceptable(reply: Reply) -> bool:
    """What a repetition may hear: the transfer, final or pending, or that another request is at it."""
    return reply.status in (201, 202) or (reply.status, reply.body.get("code")) == (409, "in_flight")


# --- the resolver as the victim -----------------------------------------------------------------------


def jobs(
    station: Station,
    direction: str,
    scenes: Sequence[Scene],
    say: Say,
    choose: Callable[[Point], bool] = lambda _point: True,
) -> Tally:
    """The points of the resolver's work in each scene, all or those chosen; after each death a normal jobs
    process is started."""
    tally = Tally()
    with station.web() as web:
        door = Door(web.address, station.secret)

        def leave(scene: Scene) -> Wish:
            wish = station.wish(direction)
            scene.leave(station, door, wish)
            return wish

        for scene in scenes:
            points = [each for each in _count_jobs_points(station, door, leave(scene)) if choose(each)]
            say(f"{station.name} {scene.name}: {len(points)} points of a jobs process")
            tally.points += len(points)
            for point in points:
                one = partial(_kill_jobs, station, leave, scene, point)
                kill = again(one, station, tally)
                if kill is not None:
                    with station.jobs():
                        if scene.orphaned:
                            station.final(door, station.id_of(kill.wish))
                        come_back(station, door, kill, tally, say)
    tally.wrong += station.wrong()
    return tally


def _count_jobs_points(station: Station, door: Door, wish: Wish) -> list[Point]:
    victim = station.victim("jobs")
    try:
        state = station.final(door, station.id_of(wish))
        if state not in ("confirmed", "reversed"):
            raise PointNotReached(f"the dry run ended {state}")
        return victim.points
    finally:
        station.victims.end(victim)


def _kill_jobs(station: Station, leave: Callable[[Scene], Wish], scene: Scene, point: Point) -> Kill:
    wish = leave(scene)
    victim = station.victim("jobs", point)
    try:
        require_struck(station, victim, point)
        return Kill(wish, point, f"jobs in {scene.name}")
    finally:
        station.victims.end(victim)


# --- a cancel as the request that dies ----------------------------------------------------------------


def cancels(station: Station, directions: Sequence[str], say: Say) -> Tally:
    """Every point of a web process that was asked to cancel what its provider has not decided; then the same cancel
    again at a living one: the transfer is reversed, and nothing has moved."""
    tally = Tally()
    with station.web() as web:
        door = Door(web.address, station.secret)

        def undecided(direction: str) -> tuple[Wish, str]:
            wish = station.wish(direction)
            leave_undecided(station, door, wish)
            return wish, f"/v1/transfers/{station.id_of(wish)}/cancel"

        for direction in directions:
            points = _count_cancel_points(station, *undecided(direction))
            say(f"{station.name} {direction}: {len(points)} points of a cancel")
            tally.points += len(points)
            for point in points:
                kill = again(partial(_kill_cancel, station, undecided, direction, point), station, tally)
                if kill is not None:
                    _cancel_again(station, door, kill, tally)
                    come_back(station, door, kill, tally, say)
    tally.wrong += station.wrong()
    return tally


def leave_undecided(station: Station, door: Door, wish: Wish) -> None:
    """Received at the provider of our own contract, and not decided there."""
    undecided = {"variant": "success", "delay": UNDECIDED_SECONDS}
    station.simulators[wish.provider].order("/faults", case=25, on="create", player=wish.player, params=undecided)
    reply = station.post(door, wish, Prefer="wait=1")
    if reply.status != 202:
        raise PointNotReached(f"what was not decided was answered {reply}")


def cancel(door: Door, wish: Wish, path: str) -> Reply:
    """Ask for the cancel, or again for it: under a key of its own."""
    return door.ask("POST", path, Idempotency_Key=f"cancel-{wish.key}")


def _count_cancel_points(station: Station, wish: Wish, path: str) -> list[Point]:
    victim = station.victim("web")
    try:
        reply = cancel(station.victims.door(victim, station.secret), wish, path)
        if (reply.status, reply.state) != (200, "reversed"):
            raise PointNotReached(f"the dry run was not reversed but {reply}")
        return victim.points
    finally:
        station.victims.end(victim)


def _kill_cancel(station: Station, undecided: Callable[[str], tuple[Wish, str]], direction: str, point: Point) -> Kill:
    wish, path = undecided(direction)
    strike_web(station, point, lambda door: cancel(door, wish, path))
    return Kill(wish, point, "a cancel")


def _cancel_again(station: Station, door: Door, kill: Kill, tally: Tally) -> None:
    """Until it is answered for good: a lease of the dead one may be in the way for a while."""
    path, end = f"/v1/transfers/{station.id_of(kill.wish)}/cancel", time.monotonic() + DEATH_SECONDS
    while (reply := cancel(door, kill.wish, path)).status == 202 and time.monotonic() < end:
        time.sleep(0.2)
    if (reply.status, reply.state) != (200, "reversed"):
        tally.wrong.append(f"{station.name} {kill}: the cancel was answered {reply} in the end")
