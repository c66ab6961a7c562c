"""A process of the bridge in the world: the real application and the real jobs over a runtime of virtual things.

Whatever a process keeps in memory is made anew when it starts again; only rows survive.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Self

from bridge import clocks, identity, lineage, readiness
from bridge.api.intake import admission
from bridge.app import create_app
from bridge.config import Config
from bridge.money import Currencies
from bridge.providers import build
from bridge.runtime import Runtime
from jobs.__main__ import run as run_job
from jobs.schedule import SCHEDULE
from tests.simulation.chance import Stream
from tests.simulation.database import Slot, Store
from tests.simulation.wire import Network
from tests.simulation.world import SECOND, Killed, Node, Strand, World

RESTART_SECONDS = (0.1, 1, 4, 30, 300)
JOBS = {job.name: job for job in SCHEDULE}


class Clock:
    """A process's clocks: the wall may be off or be set, the other one never jumps."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def now(self) -> int:
        """As bridge.runtime.Clock."""
        return self._node.now()

    def monotonic(self) -> float:
        """As bridge.runtime.Clock."""
        return self._node.world.now / SECOND

    def sleep(self, seconds: float) -> None:
        """As bridge.runtime.Clock."""
        self._node.world.sleep(seconds)
        self._node.world.passing()


class Ids:
    """Ids that sort by the time of their making, drawn from the story's own chance."""

    def __init__(self, node: Node, dice: Stream) -> None:
        self._node, self._dice = node, dice

    def new(self, prefix: str) -> str:
        """As bridge.runtime.Ids; the shape of a UUIDv7."""
        return f"{prefix}_{self._node.now() // 1000:012x}7{self._dice.getrandbits(76):019x}"

    def secret(self) -> str:
        """As bridge.runtime.Ids."""
        return f"{self._dice.getrandbits(256):064x}"

    def noise(self, count: int) -> bytes:
        """As bridge.runtime.Ids."""
        return self._dice.randbytes(count)


class Hands:
    """A crew of strands, as `bridge.runtime.Crew`."""

    def __init__(self, node: Node, name: str) -> None:
        self._node, self._name, self._begun = node, name, 0
        self._running: dict[Strand, None] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *trouble: object) -> None:
        while self._running and not self._node.dead and trouble[0] is None:
            self.ended(3600)

    def begin(self, work: Callable[[], bool]) -> None:
        """As Crew.begin."""
        self._begun += 1
        self._running[self._node.world.spawn(self._node, f"{self._name}.{self._begun}", work)] = None

    def ended(self, seconds: float) -> list[bool]:
        """As Crew.ended."""
        world = self._node.world
        if not any(strand.ended for strand in self._running):
            me = world.current
            assert me is not None
            for strand in self._running:
                strand.watch(me)
            world.park(seconds, joins=True)
        done = [strand for strand in self._running if strand.ended]
        for strand in done:
            del self._running[strand]
        for strand in done:
            if strand.failure is not None:
                raise strand.failure
        return [bool(strand.result) for strand in done]

    @property
    def busy(self) -> int:
        """As Crew.busy."""
        return len(self._running)


class Lock:
    """One strand at a time, where the bridge has a lock between threads."""

    def __init__(self, world: World) -> None:
        self._world, self._holder = world, None

    def acquire(self, timeout: float = -1) -> bool:
        """As threading.Lock."""
        world = self._world
        end = world.now + int(timeout * SECOND)
        while self._holder is not None:
            if timeout >= 0 and world.now >= end:
                return False
            world.sleep(0.01)
        self._holder = world.current
        return True

    def release(self) -> None:
        """As threading.Lock."""
        self._holder = None


class Unstopped:
    """A stop that never comes, as threading.Event; waiting for it passes virtual time."""

    def __init__(self, world: World) -> None:
        self._world = world

    def is_set(self) -> bool:
        """As threading.Event."""
        return False

    def wait(self, seconds: float) -> bool:
        """As threading.Event."""
        self._world.sleep(seconds)
        self._world.passing()
        return False


@dataclass(frozen=True)
class Response:
    """What the application answered."""

    status: int
    body: bytes
    headers: dict[str, str]


class Bridge(Node):
    """One process: `web` answers requests, `jobs` runs what is due; both are what `slot` was made for."""

    def __init__(self, world: World, name: str, config: Config, parts: tuple[Slot, Store, Network, Any]) -> None:
        super().__init__(world, name)
        self.config, self.starts, self.requests = config, 0, 0
        self._slot, self._store, self._network, self._app = parts
        self.runtime: Runtime
        self.start()

    def start(self) -> None:
        """Come up, with nothing in memory."""
        self.starts += 1
        self.dead, self.frozen_until = False, 0
        self.strands.clear()
        self._slot.begin(self._store, self)
        clock, dice = Clock(self), self.world.chance.stream(f"{self.name} ids {self.starts}")
        currencies = Currencies(self.config.currencies)
        providers = {
            name: build(name, settings, currencies, clock, self._network.dial)
            for name, settings in self.config.providers.items()
        }
        for adapter in providers.values():
            if hasattr(adapter, "_login"):
                adapter._login = Lock(self.world)
        crews = iter(range(1_000_000))
        self.runtime = Runtime(
            config=self.config,
            engine=self._slot.engine,
            providers=providers,
            currencies=currencies,
            clock=clock,
            ids=Ids(self, dice),  # type: ignore[arg-type]
            worker=f"{self.name}/{self.starts}",
            crew=lambda _hands: Hands(self, f"{self.name} crew {self.starts}.{next(crews)}"),
        )
        if self._app is not None:
            admission.furnish(self._app, self.runtime)
        lineage._memories.pop(self.runtime.engine, None)
        clocks._least_ahead.pop(self.runtime.engine, None)
        self.world.spawn(self, f"{self.name} comes up {self.starts}", self._come_up)

    def _come_up(self) -> None:
        """As the doctor has it before a process may work; where that fails, it is started again."""
        try:
            readiness.require(self.runtime)
            identity.keep(self.runtime)
        except Killed:
            raise
        except Exception:  # noqa: BLE001 - the supervisor's business
            self.world.crash(self)

    def died(self) -> None:
        """The supervisor starts it again after a while."""
        self._slot.hang_up()
        dice = self.world.chance.stream(f"{self.name} comes back {self.starts}")
        self.world.after(dice.choice(RESTART_SECONDS), self.start)

    # --- what it does ---------------------------------------------------------------------------------

    def request(
        self, method: str, target: str, headers: dict[str, str], body: bytes, peer: str = "192.0.2.1"
    ) -> Response:
        """One request through the real application, in a strand of this process."""
        path, _, query = target.partition("?")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "SERVER_NAME": "bridge",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": peer,
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": BytesIO(body),
            "wsgi.errors": BytesIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }
        for name, value in headers.items():
            key = name.upper().replace("-", "_")
            environ["CONTENT_TYPE" if key == "CONTENT_TYPE" else f"HTTP_{key}"] = value
        told: list[Any] = []
        answer = self._app(environ, lambda status, pairs, *_more: told.extend((status, pairs)))
        content = b"".join(answer)
        with contextlib.suppress(AttributeError):
            answer.close()
        return Response(int(told[0].split(" ")[0]), content, dict(told[1]))

    def serve(self, *request: Any, seconds: float | None = None) -> Response | None:
        """Have it answer a request; None where it was killed over it, or took longer than the caller waits."""
        self.requests += 1
        strand = self.world.spawn(self, f"{self.name} request {self.requests}", lambda: self.request(*request))
        if not self.world.join(strand, seconds):
            return None
        if strand.failure is not None:
            raise strand.failure
        if strand.result is None:
            return None
        answer: Response = strand.result
        return answer

    def tick(self, job: str) -> None:
        """One firing of a job, as the scheduler fires it; a job that is still running is not begun again."""
        name = f"{self.name} {job}"
        if self.dead or any(strand.name.startswith(f"{name} ") for strand in self.strands):
            return
        self.requests += 1
        stop: Any = Unstopped(self.world)
        self.world.spawn(self, f"{name} {self.requests}", lambda: run_job(self.runtime, JOBS[job], stop))


def application(runtime: Runtime) -> Any:
    """An application for a web process; which runtime answers is said when the process starts."""
    return create_app(runtime)
