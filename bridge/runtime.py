"""The runtime: time, ids, the database and the providers, handed in from the edge.

Nothing else in the bridge asks the clock or draws a number, so the real code runs under a test's clock.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

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


class Ids:
    """Ids that sort by their creation and that nobody can guess the next one of."""

    def new(self, prefix: str) -> str:
        """For instance `tr_0192f3…`: a prefix that a person recognises, then a UUIDv7."""
        return f"{prefix}_{uuid7().hex}"

    def secret(self) -> str:
        """256 bits for an API key."""
        return secrets.token_urlsafe(32)


def worker_name() -> str:
    """This process, in lease columns and logs; the random part tells a restarted process from its dead twin."""
    return f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"


@dataclass(frozen=True)
class Runtime:
    """What every service is given. `worker` names this process in leases."""

    config: Config
    engine: Engine
    providers: Mapping[str, Provider]
    currencies: Currencies
    clock: Clock = field(default_factory=SystemClock)
    ids: Ids = field(default_factory=Ids)
    worker: str = field(default_factory=worker_name)

    def policy(self, provider: str) -> ProviderSection:
        """The operator's settings for a configured provider."""
        return self.config.providers[provider]

    def lease_seconds(self, longest_call: float) -> float:
        """The life of a lease under which a call of `longest_call` seconds may be made."""
        return longest_call + self.config.engine.lease_slack_seconds

    def in_seconds(self, seconds: float) -> int:
        """The instant that many seconds from now."""
        return self.clock.now() + int(seconds * SECOND)
