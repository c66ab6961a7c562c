"""Resolve: drives what is pending or orphaned and due, then probes the providers whose breaker is open.

0. Before anything is concluded, it is asked whether this is still the database that it was.
1. What waits for an instant that only a clock which was ahead can have set is due.
2. Due transfers are claimed, oldest first, one for each free thread, and driven until they rest.
3. Each provider with an open breaker whose probe is due, and that no other process has just probed, is
   asked for a row of its balance list; an answer closes the breaker. Money is never used to probe.
"""

from __future__ import annotations

from threading import Event

from bridge import breaker, db, identity, lineage, log, misdated
from bridge.ports import Window
from bridge.runtime import Runtime
from jobs.crew import work
from statemachines import TransferState

STATES = (TransferState.PENDING, TransferState.ORPHANED)

_log = log.get("jobs")


def run_once(runtime: Runtime, now: int, limit: int, stop: Event) -> dict[str, int]:
    """One tick at `now` (microseconds) for at most `limit` transfers; sets `stop` free what it has in hand.

    Counts: claimed, driven, set_aside, probed, closed.
    """
    lineage.watch(runtime)
    misdated.bring_near(runtime)
    counts = work(runtime, STATES, now, limit, stop)
    probed = [_probe_alone(runtime, name, now) for name in runtime.providers]
    tried = [answered for answered in probed if answered is not None]
    return {**counts, "probed": len(tried), "closed": sum(tried)}


def _probe_alone(runtime: Runtime, provider: str, now: int) -> bool | None:
    """One provider's trouble, or ours with it, keeps no other from being probed."""
    try:
        return _probe(runtime, provider, now)
    except Exception:  # noqa: BLE001 - the next tick probes again
        _log.exception("probe failed", provider=provider)
        return None


def _probe(runtime: Runtime, provider: str, now: int) -> bool | None:
    """Whether the provider answered again; None where there was nothing to probe, or another process does."""
    with db.reading(runtime.engine) as connection:
        is_open = breaker.open_until(connection, provider, now) > 0
        is_open = is_open and provider not in identity.others(connection, runtime)
    if not is_open:
        return None
    if not breaker.claim_probe(runtime.engine, provider, runtime.policy(provider), now):
        return None
    adapter = runtime.providers[provider]
    end = runtime.clock.monotonic() + adapter.descriptor.lookup_deadline
    if not adapter.answers(Window(not_after=end, deadline=end)):
        _log.warning("breaker stays open", provider=provider)
        return False
    breaker.close(runtime.engine, provider, runtime.clock.now())
    _log.info("breaker closed", provider=provider)
    return True
