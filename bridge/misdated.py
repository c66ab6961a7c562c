"""What was planned by a clock that was ahead, together with the database's, and was set back: leases, and waits.

Each row says itself when it is looked at again. An instant further away than any lease or wait of ours reaches was set
by such a clock, and for so long nobody would look. It is due instead. That is safe for what somebody has in hand all
the same: an epoch is asked of whoever writes, and what may leave is bounded by a clock that nobody sets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import Table, and_, exists, select, update

from bridge import clocks, db, deliveries, inbox, log, models
from bridge.alerts import sending
from bridge.clocks import APART_AT_MOST
from bridge.ports import SECOND
from bridge.runtime import Runtime
from bridge.transfers.resolve import LONGEST_BACKOFF_SECONDS
from statemachines import TransferState

_transfer, _attempt, _task, _delivery, _endpoint, _notice = (
    models.metadata.tables[name]
    for name in ("transfer", "attempt", "inbox_task", "delivery", "webhook_endpoint", "alert_notice")
)

OTHERS = 2
"""So many times as long as ours the leases of a process with another configuration may be."""

HELD_UP_AT_MOST = 2 * APART_AT_MOST
"""Microseconds between the look at the clock and what is written by it: whoever was held up for longer would take a
lease that was begun meanwhile for one that reaches too far. So much further than that they all may reach."""

_log = log.get("misdated")


def bring_near(runtime: Runtime) -> dict[str, int]:
    """Make due what waits too far ahead; of how many rows, by table. Usually of none, and nothing is written. Where it
    was held up, the next tick does the rest."""
    now = runtime.clock.now()
    brought: dict[str, int] = {}
    for table, column, too_far in _waits(runtime, now):
        with db.reading(runtime.engine) as connection:
            if connection.execute(select(table.c[column]).where(too_far).limit(1)).first() is None:
                continue
        with db.writing(runtime.engine) as connection:
            changed = connection.execute(update(table).where(too_far).values({column: now})).rowcount
            if clocks.of_database(connection) - now > HELD_UP_AT_MOST:
                connection.rollback()
                _log.warning("held up: what waits too far ahead is brought near at the next tick", table=table.name)
                break
        name = str(table.name)
        brought[name] = brought.get(name, 0) + changed
    if brought:
        _log.warning("was to wait for a time that no right clock has set", **brought)
    return brought


def _waits(runtime: Runtime, now: int) -> Iterator[tuple[Table, str, Any]]:
    """Every column by which something waits, and which of its rows wait too far ahead of `now` (microseconds)."""

    def beyond(column: Any, seconds: float) -> Any:
        return column > now + int(seconds * SECOND) + APART_AT_MOST + HELD_UP_AT_MOST

    yield from ((_transfer, "wake_at", too_far) for too_far in _transfers(runtime, now, beyond))
    never_failed = and_(_task.c.state == inbox.State.WAITING.value, _task.c.failures == 0)
    yield _task, "wake_at", and_(never_failed, beyond(_task.c.wake_at, OTHERS * inbox.LEASE_SECONDS))
    yield _task, "wake_at", beyond(_task.c.wake_at, max(inbox.LONGEST_PARK_SECONDS, inbox.LONGEST_BACKOFF_SECONDS))
    settings = runtime.config.events
    lease = settings.answer_seconds + deliveries.LEASE_SLACK_SECONDS
    again = max(*settings.retry_seconds, deliveries.LONGEST_RETRY_AFTER_SECONDS) * (1 + deliveries.JITTER)
    # By its endpoint: so those that wait are kept in order.
    sent_to = _delivery.c.endpoint_id.in_(select(_endpoint.c.id))
    yield _delivery, "wake_at", and_(sent_to, _delivery.c.tries == 0, beyond(_delivery.c.wake_at, OTHERS * lease))
    yield _delivery, "wake_at", and_(sent_to, beyond(_delivery.c.wake_at, again))
    yield _endpoint, "quiet_until", beyond(_endpoint.c.quiet_until, again)
    yield _notice, "wake_at", beyond(_notice.c.wake_at, max(sending.WAITS_SECONDS))


def _transfers(runtime: Runtime, now: int, beyond: Callable[[Any, float], Any]) -> Iterator[Any]:
    """Leases; and waits of what is open. What was sent at an instant to come waits until then: silence about it proves
    something only when it is old enough by its own count."""
    yield and_(_transfer.c.lease_owner.is_not(None), beyond(_transfer.c.wake_at, OTHERS * runtime.longest_lease))
    is_open = _transfer.c.state.in_((TransferState.PENDING.value, TransferState.ORPHANED.value))
    sent = exists().where(_attempt.c.transfer_id == _transfer.c.id, _attempt.c.sent_at > now + APART_AT_MOST)
    yield and_(is_open, beyond(_transfer.c.wake_at, _longest_wait(runtime)), ~sent)


def _longest_wait(runtime: Runtime) -> float:
    """Seconds: no open transfer is planned to be looked at later than that."""
    waits = [*runtime.config.engine.poll_seconds, LONGEST_BACKOFF_SECONDS]
    waits += [2 * policy.breaker_probe_seconds for policy in runtime.config.providers.values()]
    for descriptor in (provider.descriptor for provider in runtime.providers.values()):
        waits += [(descriptor.expiry or 0) + descriptor.expiry_margin, descriptor.settle_delay]
    return max(waits) + runtime.longest_lease
