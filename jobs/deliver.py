"""Deliver: what is due is sent to operators' endpoints, by a small crew of threads.

A delivery is taken only when a thread is free for it, so its lease is not spent in a queue. No operator has more than a
part of the threads: who answers slowly delays himself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from threading import Event, Lock

from bridge import deliveries, endpoints, lineage, log
from bridge.deliveries import Lease
from bridge.ports import SECOND
from bridge.runtime import Runtime

LOOK_AGAIN_SECONDS = 0.2
SHARES = 4
"""One operator has at most so large a part of the threads, and at least one: a quarter."""

TICK_SECONDS = 30
"""A run that still finds something after this long ends, and leaves the rest to the next tick."""

ON_SQLITE = 4
"""Threads at most, where each outcome takes the one write lock that money needs too."""

_log = log.get("jobs")


def run_once(runtime: Runtime, now: int, limit: int, stop: Event) -> dict[str, int]:
    """Send what is due, up to `limit` taken at one look, until nothing is or TICK_SECONDS are over: a server that hangs
    keeps its own thread, and the others go on. Counts: taken, delivered, failed."""
    hands = runtime.config.events.deliver_threads
    if runtime.engine.dialect.name == "sqlite":
        hands = min(hands, ON_SQLITE)
    counts = {"taken": 0, "delivered": 0, "failed": 0}
    flying = _Flying()
    with runtime.crew(hands) as crew:
        while True:
            free = min(hands - crew.busy, limit)
            ends = stop.is_set() or runtime.clock.now() >= now + TICK_SECONDS * SECOND
            if free > 0 and not ends and endpoints.can_sign(runtime):
                lineage.check(runtime)  # an endpoint that is disabled is an event: a restore is told before it
                for lease in _taken(runtime, flying, free, max(1, hands // SHARES)):
                    counts["taken"] += 1
                    crew.begin(partial(_deliver, runtime, lease, flying))
            if not crew.busy:
                return counts
            for arrived in crew.ended(LOOK_AGAIN_SECONDS):
                counts["delivered" if arrived else "failed"] += 1


class _Flying:
    """How many deliveries are on their way, by operator."""

    def __init__(self) -> None:
        self._lock, self._of = Lock(), Counter[int]()

    def __getitem__(self, operator_id: int) -> int:
        return self._of[operator_id]

    def add(self, operator_id: int, number: int) -> None:
        """So many more, or fewer."""
        with self._lock:
            self._of[operator_id] += number


def _taken(runtime: Runtime, flying: _Flying, free: int, share: int) -> Iterator[Lease]:
    """Those first who have the least on their way: whoever has much, and answers slowly, waits for himself."""
    for to in sorted(deliveries.ready(runtime), key=lambda each: flying[each.operator_id]):
        most = min(free, share - flying[to.operator_id])
        try:
            leases = deliveries.take(runtime, to, most) if most > 0 else []
        except Exception:  # noqa: BLE001 - an endpoint that cannot be taken delays no other
            _log.exception("endpoint left", endpoint=to.endpoint_id)
            continue
        flying.add(to.operator_id, len(leases))
        free -= len(leases)
        yield from leases


def _deliver(runtime: Runtime, lease: Lease, flying: _Flying) -> bool:
    """Where not even its failure can be noted, as in an outage of the database, its lease runs out."""
    try:
        return deliveries.deliver(runtime, lease)
    except Exception:  # noqa: BLE001 - one bad row must not end the crew
        _log.exception("delivery set aside", delivery=lease.delivery_id)
    finally:
        flying.add(lease.to.operator_id, -1)
    try:
        deliveries.set_aside(runtime, lease)
    except Exception:  # noqa: BLE001 - as above
        _log.exception("delivery left to its lease", delivery=lease.delivery_id)
    return False
