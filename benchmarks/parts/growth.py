"""Two bridges side by side on one server, alike but for how many transfers their tables hold."""

from __future__ import annotations

import json
import shutil
import time
import urllib.request
from dataclasses import replace
from typing import Any

import psycopg

from benchmarks import filling, patterns
from benchmarks.children import DidNotStart
from benchmarks.contestants import DAY
from benchmarks.contestants.base import PLAYERS
from benchmarks.contestants.bridge import CURRENCY, OPERATOR, PROVIDER, PURSE, Bridge
from benchmarks.contestants.floor import plain
from benchmarks.field import GROWN, Field
from benchmarks.parts.rates import HALF, Tell, latency, throughput
from benchmarks.plan import Part, Scale
from bridge import cashier, keys, players

VERIFY_SECONDS = 3600.0
REAL = 20
"""Transfers that are really made, to see whether the pattern is whole."""

BYTES_EACH, BYTES_SPARE = 7_000, 12 << 30
"""A transfer with its rows and indexes takes about 5.5 kB; the write-ahead log and others need room too."""


def growth(field: Field, part: Part, scale: Scale, tell: Tell) -> dict[str, Any]:
    """Throughput, cost and latency of both, both at the same arrival rate. A disk that cannot hold so many transfers
    gets as many as it can; `sizes` says how many."""
    room = (shutil.disk_usage(field.folder).free - BYTES_SPARE) // BYTES_EACH
    sizes = {name: max(1, min(number, room)) for name, number in zip(GROWN, scale.growth, strict=True)}
    filled = {}
    for name, transfers in sizes.items():
        bridge = Bridge(name, field.ground, field.folder / name, verify_seconds=DAY)
        field.enter(bridge)
        filled[name] = _grown(bridge, transfers, tell)
        field.running[name] = bridge
    verified = {name: _verified(field.running[name], tell) for name in sizes}
    found = throughput(field, part, replace(scale, rounds=scale.growth_rounds), tell)
    rate = max(2.0, min(each["per_second"] for of_one in found["rounds"].values() for each in of_one))
    times = latency(field, part, scale, tell, dict.fromkeys(sizes, rate))["rounds"][HALF]
    return {**found, "latency": times, "sizes": sizes, "filled": filled, "verify_seconds": verified}


def _grown(bridge: Bridge, transfers: int, tell: Tell) -> dict[str, Any]:
    """Make a pattern, check it, fill, and start the bridge on it; how large the database is, and its rows a table."""
    bridge.prepare()
    _enrol(bridge)
    bridge.start()
    try:
        with psycopg.connect(plain(bridge.url), autocommit=True) as connection:
            _move(bridge, patterns.KEY)  # the first one of a player opens an account
            before = patterns.counts(connection)
            for number in range(REAL):
                _move(bridge, f"real-{number}")
            after = patterns.counts(connection)
            pattern = patterns.find(connection)
            patterns.check(pattern, before, after, REAL)
            bridge.stop()
            begun = time.monotonic()
            filling.fill(
                connection, [filling.Share(pattern, transfers)], PLAYERS,
                lambda done: tell(f"filling {bridge.name}: {done:,} of {transfers:,} transfers"),
            )  # fmt: skip
            (size,) = connection.execute("SELECT pg_database_size(current_database())").fetchone() or (0,)
            rows = patterns.counts(connection)
            connection.execute("DELETE FROM job_run WHERE job = 'verify'")  # it is to run again, on the filled tables
    finally:
        bridge.stop()
    bridge.start()
    return {"seconds": time.monotonic() - begun, "bytes": size, "rows": rows, "pattern": pattern.counts()}


def _enrol(bridge: Bridge) -> None:
    """The pattern's player, with money."""
    runtime = bridge.runtime()
    operator = next(int(row["id"]) for row in keys.operators(runtime) if row["name"] == OPERATOR)
    players.register(runtime, operator, patterns.PLAYER, [CURRENCY])
    cashier.move(runtime, operator, cashier.DEPOSIT, "purse", cashier.CashWish(patterns.PLAYER, PURSE, CURRENCY))
    runtime.engine.dispose()


def _move(bridge: Bridge, key: str) -> None:
    door = bridge.door
    content = {"player_id": patterns.PLAYER, "provider": PROVIDER, "direction": "in", "amount": "1.00",
               "currency": CURRENCY}  # fmt: skip
    headers = {**door.headers, "Idempotency-Key": key, "Content-Type": "application/json"}
    url = f"http://{door.host}:{door.port}{door.path}"
    request = urllib.request.Request(url, json.dumps(content).encode(), headers, method="POST")
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - our own child
        told = json.loads(answer.read())
    if told["state"] != "confirmed":
        raise DidNotStart([url], f"the pattern's transfer ended as {told}")


def _verified(bridge: Any, tell: Tell) -> float | None:
    """Seconds that the job needed which asks every invariant of the database; it runs once, at the start of the jobs,
    and must be over before anything is measured. None when it was not over in an hour."""
    query = "SELECT finished_at - started_at FROM job_run WHERE job = 'verify' ORDER BY slot DESC LIMIT 1"
    end = time.monotonic() + VERIFY_SECONDS
    tell(f"waiting for the invariants of {bridge.name} to be verified")
    while time.monotonic() < end:
        with psycopg.connect(plain(bridge.url)) as connection:
            found = connection.execute(query.encode()).fetchone()
        if found is not None and found[0] is not None:
            return round(float(found[0]) / 1e6, 2)
        time.sleep(1)
    return None
