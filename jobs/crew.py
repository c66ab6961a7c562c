"""A small crew of threads that takes due transfers, as many as it has hands, and drives each as far as it goes.

A transfer is claimed only when a thread is free for it, so its lease is not spent in a queue; a slow
provider keeps one thread, never the crew.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from threading import Event

from bridge import log, watch
from bridge.ports import SECOND
from bridge.runtime import Runtime
from bridge.transfers.advance import Claim
from bridge.transfers.resolve import claim_due, resolve_or_set_aside
from statemachines import TransferState

_log = log.get("jobs")

TICK_SECONDS = 30
"""A run that still finds something due after this long ends, and leaves the rest to the next tick."""

LOOK_AGAIN_SECONDS = 0.2
"""While some threads wait for a provider, the others look this often for what has become due."""


def work(runtime: Runtime, states: Collection[TransferState], now: int, limit: int, stop: Event) -> dict[str, int]:
    """Claim and drive due transfers in `states` until none is due, `limit` were taken, the tick's time is
    used up or `stop` is set; what is in hand is always finished. Counts: claimed, driven, set_aside.
    """
    hands = runtime.config.engine.resolve_threads
    ends = now + TICK_SECONDS * SECOND
    counts = {"claimed": 0, "driven": 0, "set_aside": 0}
    with runtime.crew(hands) as crew:
        while True:
            wanted = min(hands - crew.busy, limit - counts["claimed"])
            ends_here = stop.is_set() or runtime.clock.now() >= ends or watch.hindrance(runtime) is not None
            if wanted > 0 and not ends_here:
                claims = claim_due(runtime, wanted, states=states)
                counts["claimed"] += len(claims)
                for claim in claims:
                    crew.begin(partial(_drive, runtime, claim))
            if not crew.busy:
                return counts
            for driven in crew.ended(LOOK_AGAIN_SECONDS):
                counts["driven" if driven else "set_aside"] += 1


def _drive(runtime: Runtime, claim: Claim) -> bool:
    """Where not even setting it aside works, as in an outage of the database, its lease runs out by itself."""
    try:
        return resolve_or_set_aside(runtime, claim)
    except Exception:  # noqa: BLE001 - one bad row must not end the crew
        _log.exception("transfer left to its lease", transfer=claim.transfer_id)
        return False
