"""`python -m benchmarks.shares`: where the CPU time of one transfer goes, part by part, on PostgreSQL.

The real application is called in this process, one transfer after another, at a provider that answers at once. What a
transfer costs is measured first; which part has how much of it is then taken from a profile, which makes small calls
look a little dearer than they are. Without the WSGI server, the client and the jobs, so the sum is below that of
docs/benchmarks.md.
"""

from __future__ import annotations

import cProfile
import pstats
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from benchmarks import meter
from benchmarks.contestants import BRIDGE, POSTGRESQL
from benchmarks.contestants.base import PLAYERS
from benchmarks.contestants.bridge import CURRENCY, PROVIDER, Bridge
from benchmarks.field import opened
from bridge.app import create_app

WARM, MEASURED = 500, 3000

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
        number = iter(range(10**9))
        ask = _asking(app, bridge, number)
        _times(ask, WARM)
        database = meter.cpu_seconds(field.ground.roots)
        began = time.process_time()
        _times(ask, MEASURED)
        own = (time.process_time() - began) / MEASURED * 1000
        database = (meter.cpu_seconds(field.ground.roots) - database) / MEASURED * 1000
        profile = cProfile.Profile(time.process_time)  # CPU: not what passes while PostgreSQL or the provider works
        profile.runcall(_times, ask, MEASURED)
        runtime.engine.dispose()
    _print(own, database, shares(pstats.Stats(profile)))


def _asking(app: Any, bridge: Bridge, numbers: Any) -> Callable[[], None]:
    client = app.test_client()
    headers = bridge.headers()

    def ask() -> None:
        number = next(numbers)
        body = {
            "player_id": f"p{number % PLAYERS}", "provider": PROVIDER, "direction": "in", "amount": "1.00",
            "currency": CURRENCY,
        }  # fmt: skip
        answer = client.post("/v1/transfers", json=body, headers={**headers, "Idempotency-Key": f"share-{number}"})
        if answer.status_code != 201 or answer.get_json()["state"] != "confirmed":
            raise RuntimeError(f"{answer.status_code}: {answer.get_data(as_text=True)}")

    return ask


def _times(ask: Callable[[], None], count: int) -> None:
    for _ in range(count):
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


def _print(own: float, database: float, found: Counter[str]) -> None:
    print(f"CPU per transfer: {own:.2f} ms in the application, {database:.2f} ms in PostgreSQL")
    total = found.total()
    for part, seconds in found.most_common():
        print(f"  {part:30} {seconds / total:4.0%}  {own * seconds / total:.2f} ms")


if __name__ == "__main__":
    main()
