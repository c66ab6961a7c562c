"""`python -m benchmarks.shares`: where the CPU time of one transfer goes, part by part, on PostgreSQL.

The real application is called in this process, one transfer after another, at a provider that answers at once: without
a WSGI server, without a client, without the jobs, and with nobody beside it. So its figures are no part of those of
docs/benchmarks.md. What a transfer costs is measured first, five times; which part has how much of it is then taken
from a profile, which makes small calls look a little dearer than they are.
"""

from __future__ import annotations

import cProfile
import json
import pstats
import time
from collections import Counter
from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import count
from statistics import median
from typing import Any

from benchmarks import meter
from benchmarks.contestants import BRIDGE, POSTGRESQL
from benchmarks.contestants.base import PLAYERS
from benchmarks.contestants.bridge import CURRENCY, PROVIDER, Bridge
from benchmarks.field import opened
from bridge.app import create_app

WARM, MEASURED, ROUNDS = 500, 1000, 5

PARTS = {
    "SQLAlchemy and the driver": ("/sqlalchemy/", "/psycopg", "/bridge/stroke", "/bridge/db.py"),
    "web framework and validation": ("/flask", "/werkzeug/", "/pydantic", "/bridge/api/", "/click/"),
    "HTTP client and signing": ("/requests/", "/urllib3/", "/tenacity/", "/http/", "/email/", "/bridge/outbound.py",
                                "/bridge/bounds.py", "/bridge/providers/", "/bridge/webhooks.py", "/hmac.py", "/ssl.py",
                                "/socket.py"),
    "state, evidence and ledger": ("/bridge/", "/statemachines/", "/transitions/"),
    "logs": ("/structlog/", "/logging/"),
}  # fmt: skip
"""The first part of which a file's path has a piece has its time; what none has is the standard library's."""

REST = "standard library"


def main() -> None:
    """Measure, then print."""
    with opened(POSTGRESQL, []) as field:
        bridge = Bridge(BRIDGE, field.ground, field.folder / BRIDGE)
        bridge.prepare()
        runtime = bridge.runtime()
        app: Any = create_app(runtime)
        ask = _asking(app, bridge, count())
        _times(ask, WARM)
        costs = [_cost(ask, field.ground.roots) for _ in range(ROUNDS)]
        profile = cProfile.Profile(time.process_time)  # CPU: not what passes while PostgreSQL or the provider works
        profile.runcall(_times, ask, MEASURED)
        runtime.engine.dispose()
    _print(costs, shares(pstats.Stats(profile)))


def _asking(app: Any, bridge: Bridge, numbers: Iterator[int]) -> Callable[[], None]:
    """A request as a WSGI server hands it over; no test client, whose own work would count."""
    secret = bridge.headers()["Authorization"]

    def ask() -> None:
        number = next(numbers)
        body = json.dumps({
            "player_id": f"p{number % PLAYERS}", "provider": PROVIDER, "direction": "in", "amount": "1.00",
            "currency": CURRENCY,
        }).encode()  # fmt: skip
        environ = {
            "REQUEST_METHOD": "POST", "SCRIPT_NAME": "", "PATH_INFO": "/v1/transfers", "QUERY_STRING": "",
            "SERVER_NAME": "bridge", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(body)), "HTTP_AUTHORIZATION": secret,
            "HTTP_IDEMPOTENCY_KEY": f"share-{number}", "wsgi.version": (1, 0), "wsgi.url_scheme": "http",
            "wsgi.input": BytesIO(body), "wsgi.errors": BytesIO(), "wsgi.multithread": True,
            "wsgi.multiprocess": False, "wsgi.run_once": False,
        }  # fmt: skip
        told: list[str] = []
        answer = b"".join(app(environ, lambda status, _headers: told.append(status)))
        if told != ["201 CREATED"] or b'"confirmed"' not in answer:
            raise RuntimeError(f"{told}: {answer!r}")

    return ask


def _cost(ask: Callable[[], None], database: tuple[int, ...]) -> tuple[float, float]:
    """CPU milliseconds of a transfer: in this process, and in PostgreSQL."""
    before, began = meter.cpu_seconds(database), time.process_time()
    _times(ask, MEASURED)
    own, theirs = time.process_time() - began, meter.cpu_seconds(database) - before
    return own / MEASURED * 1000, theirs / MEASURED * 1000


def _times(ask: Callable[[], None], number: int) -> None:
    for _ in range(number):
        ask()


def shares(stats: Any) -> Counter[str]:
    """Seconds of each part; what the interpreter's own functions took counts for whoever called them."""
    found: Counter[str] = Counter()
    for (file, _, _), (_, _, own, _, callers) in stats.stats.items():
        if file != "~":
            found[part_of(file)] += own
            continue
        for (caller, _, _), (_, _, theirs, _) in callers.items():
            found[part_of(caller)] += theirs
    return found


def part_of(file: str) -> str:
    """Whose time a file's is."""
    return next((part for part, pieces in PARTS.items() if any(piece in file for piece in pieces)), REST)


def _print(costs: list[tuple[float, float]], found: Counter[str]) -> None:
    for place, where in enumerate(("in the application", "in PostgreSQL")):
        each = sorted(cost[place] for cost in costs)
        print(f"CPU per transfer {where}: {median(each):.2f} ms ({each[0]:.2f} to {each[-1]:.2f})")
    for part, seconds in found.most_common():
        print(f"  {part:30} {seconds / found.total():4.0%}")


if __name__ == "__main__":
    main()
