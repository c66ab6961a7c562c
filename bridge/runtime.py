"""The runtime: time, ids, threads, sockets, the database and the providers, handed in from the edge.

Nothing else in the bridge asks the clock, draws a number, starts a thread for its work or opens a socket, so the real
code runs under a test's clock, and under simulation.
"""

from __future__ import annotations

import os
import pwd
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, Self

from sqlalchemy import Engine
from uuid_utils.compat import uuid7

from bridge.config import Config, ProviderSection
from bridge.money import Currencies
from bridge.ports import SECOND, Provider


class Clock(Protocol):
    """Where instants come from."""

    def now(self) -> int:
        """Microseconds since 1970, UTC: for rows."""

    def monotonic(self) -> float:
        """Seconds on a clock that never jumps and that runs on while the process is paused: for sockets."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class SystemClock:
    """The machine's clocks. CLOCK_BOOTTIME also counts the time that a suspended machine slept, which
    CLOCK_MONOTONIC forgets; a worker must not send after a suspension that outlived its lease.
    """

    _boot = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

    def now(self) -> int:
        """As Clock.now."""
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        """As Clock.monotonic."""
        return time.clock_gettime(self._boot)

    def sleep(self, seconds: float) -> None:
        """As Clock.sleep."""
        time.sleep(seconds)


Dial = Callable[[str, int, Callable[[], float]], socket.socket]
"""Opens a connection: (host, port, what is left of the time in seconds, which raises when nothing is)."""


class NotToBeCalled(OSError):
    """A host has an address to which this connection may not lead."""


def dial(
    host: str, port: int, remaining: Callable[[], float], judge: Callable[[str, str], None] | None = None
) -> socket.socket:
    """A connection to the first address of a host that answers; raises OSError, of a name nobody knows gaierror.

    `judge` is told the host and each of its addresses before any is tried, and raises NotToBeCalled for one to which
    this may not lead. Only the name's look-up itself, which the system bounds, can outlast the time; nothing is sent
    after it.
    """
    refusal: OSError | None = None
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    if judge is not None:
        for *_, address in found:
            judge(host, str(address[0]))
    for family, kind, protocol, _, address in found:
        wire = socket.socket(family, kind, protocol)
        try:
            wire.settimeout(remaining())
            wire.connect(address)
            wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            wire.settimeout(remaining())
            return wire
        except OSError as trouble:
            wire.close()
            refusal = trouble
        except BaseException:
            wire.close()
            raise
    raise refusal or OSError(f"{host} has no address")


class Crew(Protocol):
    """So many hands that work side by side; left as a context, it waits for what is in hand."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *trouble: object) -> None: ...

    def begin(self, work: Callable[[], bool]) -> None:
        """Give a free hand something to do, which must not raise."""

    def ended(self, seconds: float) -> list[bool]:
        """What came of work that has ended since the last question, waiting at most so long for the first."""

    @property
    def busy(self) -> int:
        """How many hands have something to do."""


class Threads:
    """A crew of threads."""

    def __init__(self, hands: int) -> None:
        self._pool = ThreadPoolExecutor(hands, thread_name_prefix="crew")
        self._running: set[Future[bool]] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_trouble: object) -> None:
        self._pool.shutdown()

    def begin(self, work: Callable[[], bool]) -> None:
        """As Crew.begin."""
        self._running.add(self._pool.submit(work))

    def ended(self, seconds: float) -> list[bool]:
        """As Crew.ended."""
        done, self._running = wait(self._running, seconds, FIRST_COMPLETED)
        return [future.result() for future in done]

    @property
    def busy(self) -> int:
        """As Crew.busy."""
        return len(self._running)


class Ids:
    """Ids that sort by their creation and that nobody can guess the next one of."""

    def new(self, prefix: str) -> str:
        """For instance `tr_0192f3…`: a prefix that a person recognises, then a UUIDv7."""
        return f"{prefix}_{uuid7().hex}"

    def secret(self) -> str:
        """256 bits for an API key."""
        return secrets.token_urlsafe(32)

    def noise(self, count: int) -> bytes:
        """So many bytes that nobody can guess: a salt, a nonce, a seed."""
        return secrets.token_bytes(count)


def user_name() -> str:
    """Who has typed a command, as this machine says: by the account that the process runs under, which is no proof."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def worker_name() -> str:
    """This process, in lease columns and logs; the random part tells a restarted process from its dead twin. Workers
    that a server forks after it has loaded the application share one name."""
    return f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"


class Moment(NamedTuple):
    """An instant by both clocks: `now` in microseconds since 1970, `mono` in seconds that never jump."""

    now: int
    mono: float


@dataclass(frozen=True)
class Runtime:
    """What every service is given. `worker` names this process in leases; `crew` makes one of so many hands."""

    config: Config
    engine: Engine
    providers: Mapping[str, Provider]
    currencies: Currencies
    clock: Clock = field(default_factory=SystemClock)
    ids: Ids = field(default_factory=Ids)
    worker: str = field(default_factory=worker_name)
    crew: Callable[[int], Crew] = Threads

    def moment(self) -> Moment:
        """This instant. The clock that bounds what may leave is read first: a process that stands still between the two
        believes to have less time than its lease lasts, never more."""
        mono = self.clock.monotonic()
        return Moment(self.clock.now(), mono)

    def policy(self, provider: str) -> ProviderSection:
        """The operator's settings for a configured provider."""
        return self.config.providers[provider]

    def lease_seconds(self, longest_call: float) -> float:
        """The life of a lease under which a call of `longest_call` seconds may be made."""
        return longest_call + self.config.engine.lease_slack_seconds

    @property
    def longest_lease(self) -> float:
        """Seconds: no lease on a transfer is taken for longer, whatever is asked or sent under it."""
        descriptors = [provider.descriptor for provider in self.providers.values()]
        calls = (max(d.money_deadline, d.complete_deadline, d.lookup_deadline) for d in descriptors)
        return self.lease_seconds(max(calls, default=1.0))

    def in_seconds(self, seconds: float) -> int:
        """The instant that many seconds from now."""
        return self.clock.now() + int(seconds * SECOND)
