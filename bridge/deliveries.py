"""Deliveries: each event to each endpoint until it is taken there, over days; at least once, and signed.

Due deliveries are taken under a lease, so that several processes share the work. One that fails comes again after
waits that grow. While an endpoint fails, one delivery at a time is tried there, and the others wait without using up
their tries; where none has arrived for days, it is disabled, and its operator is told so in its events.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection, RowMapping, Table, and_, func, insert, or_, select, update

from bridge import addresses, db, endpoints, log, models, traces, webhooks
from bridge.outbound import Exchange, Outbound
from bridge.ports import SECOND, Window
from bridge.runtime import Runtime
from bridge.sections import EventsSection, Network

_event: Table = models.metadata.tables["event"]
_endpoint: Table = models.metadata.tables["webhook_endpoint"]
_delivery: Table = models.metadata.tables["delivery"]
_try: Table = models.metadata.tables["delivery_try"]

WAITING, DELIVERED, GIVEN_UP = "waiting", "delivered", "given_up"

LEASE_SLACK_SECONDS = 15
"""Added to the deadline of a delivery: the life of a lease. One that outlives it may be sent twice."""

JITTER = 0.2
QUIET_SECONDS, LONGEST_QUIET_SECONDS = 5, 300
"""An endpoint that fails is left alone for so long, twice as long each time, up to the longest."""

LONGEST_RETRY_AFTER_SECONDS = 86_400
DOORS, KEPT = 64, 2
"""Servers to which connections are kept, and how many to each: sockets that others need too."""

_SECONDS = re.compile(r"[0-9]{1,9}")
_log = log.get("deliveries")


@dataclass(frozen=True)
class Ready:
    """An endpoint for which something is due, and that is not to be left alone."""

    endpoint_id: str
    operator_id: int
    failing: bool


@dataclass(frozen=True)
class Lease:
    """One delivery in hand."""

    delivery_id: int
    epoch: int
    to: Ready


# --- what is due --------------------------------------------------------------------------------------


def ready(runtime: Runtime) -> list[Ready]:
    """Endpoints for which something is due, whoever has waited longest first."""
    now = runtime.clock.now()
    first = _first_due()
    query = (
        select(_endpoint.c.id, _endpoint.c.operator_id, _endpoint.c.failures)
        .where(_endpoint.c.state == endpoints.ENABLED, _may_be_asked(now), first <= now)
        .order_by(first, _endpoint.c.id)
    )
    with db.reading(runtime.engine) as connection:
        return [Ready(row.id, row.operator_id, row.failures > 0) for row in connection.execute(query)]


def take(runtime: Runtime, to: Ready, most: int) -> list[Lease]:
    """Take what is due for an endpoint, longest due first: `most`, or one where it is failing."""
    now = runtime.clock.now()
    until = runtime.in_seconds(runtime.config.events.answer_seconds + LEASE_SLACK_SECONDS)
    with db.writing(runtime.engine) as connection:
        if to.failing:
            # The endpoint first, then its delivery, as everybody who holds both.
            alone = update(_endpoint).where(_endpoint.c.id == to.endpoint_id, _may_be_asked(now))
            if not connection.execute(alone.values(quiet_until=until)).rowcount:
                return []
        chosen = (
            select(_delivery.c.id)
            .where(_delivery.c.endpoint_id == to.endpoint_id, _delivery.c.wake_at <= now)
            .order_by(_delivery.c.wake_at, _delivery.c.id)
            .limit(1 if to.failing else most)
            .with_for_update(skip_locked=True)
            .cte("due")  # evaluated once, locks no more rows
        )
        taken = update(_delivery).where(_delivery.c.id.in_(select(chosen.c.id)))
        taken = taken.values(wake_at=until, epoch=_delivery.c.epoch + 1)
        rows = connection.execute(taken.returning(_delivery.c.id, _delivery.c.epoch)).all()
    return [Lease(row.id, row.epoch, to) for row in sorted(rows)]


def _first_due() -> Any:
    mine = (_delivery.c.endpoint_id == _endpoint.c.id, _delivery.c.wake_at.is_not(None))
    return select(func.min(_delivery.c.wake_at)).where(*mine).scalar_subquery()


def _may_be_asked(now: int) -> Any:
    return or_(_endpoint.c.quiet_until.is_(None), _endpoint.c.quiet_until <= now)


# --- one delivery -------------------------------------------------------------------------------------


def deliver(runtime: Runtime, lease: Lease) -> bool:
    """Send one event to one endpoint, once, and note what came of it; whether it was taken there."""
    with db.reading(runtime.engine) as connection:
        found = _in_hand(connection, lease)
    if found is None:
        return False
    about, event = found["transfer_id"], found["event_id"]
    with log.within(about), traces.span("delivery", transfer=about, endpoint=lease.to.endpoint_id, event=event):
        return _tried(runtime, lease, found)


def _tried(runtime: Runtime, lease: Lease, found: RowMapping) -> bool:
    began = runtime.clock.monotonic()
    sent_at = runtime.clock.now()
    exchange = _sent(runtime, found, sent_at, began)
    traces.tell(status=exchange.status or 0, failure=exchange.failure)
    milliseconds = round((runtime.clock.monotonic() - began) * 1000)
    dead = _noted(runtime, lease, exchange, sent_at, milliseconds)
    if dead:
        endpoints.give_up(runtime, lease.to.operator_id, lease.to.endpoint_id, dead)
    return _is_taken(exchange)


def set_aside(runtime: Runtime, lease: Lease) -> None:
    """Something of ours failed, and not the endpoint: the delivery comes again, and it has used up a try."""
    with db.writing(runtime.engine) as connection:
        query = select(_delivery.c.sequence, _delivery.c.tries).where(*_held(lease)).with_for_update(key_share=True)
        seen = connection.execute(query).mappings().first()
        if seen is not None:
            _again(connection, runtime, lease, seen, 0)


def _in_hand(connection: Connection, lease: Lease) -> RowMapping | None:
    query = (
        select(_endpoint, _event.c.id.label("event_id"), _event.c.body, _event.c.transfer_id)
        .join(_delivery, _delivery.c.endpoint_id == _endpoint.c.id)
        .join(_event, and_(_event.c.operator_id == _delivery.c.operator_id, _event.c.sequence == _delivery.c.sequence))
        .where(*_held(lease))
    )
    return connection.execute(query).mappings().first()


def _sent(runtime: Runtime, found: RowMapping, sent_at: int, began: float) -> Exchange:
    parts, body = urlsplit(found["url"]), found["body"].encode()
    seconds = sent_at // SECOND
    signatures = " ".join(
        webhooks.sign(secret, found["event_id"], seconds, body) for secret in endpoints.signing(runtime, found, sent_at)
    )
    headers = {"webhook-id": found["event_id"], "webhook-timestamp": str(seconds), "webhook-signature": signatures}
    clock: Any = runtime.clock  # a part of the cache's key
    door = _door(parts.scheme, parts.netloc, clock, runtime.config.events.allowed_networks)
    deadline = began + runtime.config.events.answer_seconds
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    window = Window(deadline, deadline)
    return door.send("POST", path, window=window, headers=headers, json=found["body"], told=found["id"])


@lru_cache(maxsize=DOORS)
def _door(scheme: str, place: str, clock: Any, networks: tuple[Network, ...]) -> Outbound:
    """Without TLS only to what is named in the configuration."""
    dial = addresses.guarded(networks, public=scheme == "https")
    return Outbound(f"{scheme}://{place}", clock=clock, dial=dial, pool=KEPT)


def _is_taken(exchange: Exchange) -> bool:
    return exchange.status is not None and HTTPStatus.OK <= exchange.status < HTTPStatus.MULTIPLE_CHOICES


def _noted(runtime: Runtime, lease: Lease, exchange: Exchange, sent_at: int, milliseconds: int) -> str:
    """Keep the outcome; why the endpoint is dead, or nothing. It counts for the endpoint also when the delivery is in
    other hands by now, or nobody wants it any more: one that outlasts every lease would never be failing else."""
    row = {"delivery_id": lease.delivery_id, "at": sent_at, "status": exchange.status, "failure": exchange.failure,
           "milliseconds": milliseconds}  # fmt: skip
    with db.writing(runtime.engine) as connection:
        held = select(_endpoint).where(_endpoint.c.id == lease.to.endpoint_id).with_for_update(key_share=True)
        endpoint = connection.execute(held).mappings().one()
        mine = select(_delivery.c.sequence, _delivery.c.tries).where(*_held(lease)).with_for_update(key_share=True)
        seen = connection.execute(mine).mappings().first()
        connection.execute(insert(_try).values(**row))
        if _is_taken(exchange):
            if endpoint["failures"] or endpoint["quiet_until"] is not None:
                _change(connection, endpoint, endpoints.WELL)
            if seen is not None:
                _end(connection, lease, DELIVERED, runtime.clock.now())
            return ""
        failing = _failing(runtime.config.events, endpoint, exchange, runtime.clock.now())
        _change(connection, endpoint, failing)
        if seen is not None:
            _again(connection, runtime, lease, seen, _told_to_wait(exchange))
    return _dead(runtime, exchange, failing["failing_since"])


def _failing(settings: EventsSection, endpoint: RowMapping, exchange: Exchange, now: int) -> dict[str, int]:
    """An endpoint's columns after another failure. What failed so long ago that every wait has ended since was another
    story: there was nothing to send meanwhile."""
    longest = int(max(settings.retry_seconds) * (1 + JITTER) + LONGEST_RETRY_AFTER_SECONDS) * SECOND
    goes_on = endpoint["failed_at"] is not None and now - endpoint["failed_at"] <= longest
    # Those that were in flight when the first one failed are the same failure.
    at_once = goes_on and endpoint["failures"] == 1 and now < (endpoint["quiet_until"] or 0)
    failures = endpoint["failures"] + (not at_once)
    quiet = min(QUIET_SECONDS * 2 ** min(failures - 1, 10), LONGEST_QUIET_SECONDS)
    return {
        "failures": failures,
        "failing_since": endpoint["failing_since"] if goes_on else now,
        "failed_at": now,
        "quiet_until": now + max(quiet, _told_to_wait(exchange)) * SECOND,
    }


def _dead(runtime: Runtime, exchange: Exchange, failing_since: int) -> str:
    """Why nothing more is to be sent there; nothing while it may still come back."""
    if exchange.status == HTTPStatus.GONE:
        return "it answered 410 Gone"
    patience = runtime.config.events.disable_after_seconds
    if runtime.clock.now() - failing_since >= patience * SECOND:
        return f"nothing has arrived there for {round(patience / 86_400, 1):g} days"
    return ""


def _again(connection: Connection, runtime: Runtime, lease: Lease, seen: RowMapping, told: int) -> None:
    """A delivery comes again, not before `told` seconds; after its last wait it is given up."""
    waits, tries, now = runtime.config.events.retry_seconds, seen["tries"] + 1, runtime.clock.now()
    if tries > len(waits):
        _end(connection, lease, GIVEN_UP, now)
        where = {"endpoint": lease.to.endpoint_id, "operator": lease.to.operator_id, "sequence": seen["sequence"]}
        _log.warning("delivery given up", tries=tries, **where)
        return
    wait = max(_spread(waits[tries - 1], lease.delivery_id, tries), told)
    again = {"tries": tries, "wake_at": now + int(wait * SECOND)}
    connection.execute(update(_delivery).where(*_held(lease)).values(**again))


def _told_to_wait(exchange: Exchange) -> int:
    """Seconds that the endpoint asked for; a date is not read."""
    told = exchange.headers.get("retry-after", "").strip()
    return min(int(told), LONGEST_RETRY_AFTER_SECONDS) if _SECONDS.fullmatch(told) else 0


def _spread(seconds: float, delivery_id: int, tries: int) -> float:
    """A wait, a fifth more or less: by the delivery's own number, so that a crowd does not come back as one."""
    drawn = int.from_bytes(hashlib.sha256(f"{delivery_id} {tries}".encode()).digest()[:4], "big") / 2**32
    return seconds * (1 + JITTER * (2 * drawn - 1))


def _change(connection: Connection, endpoint: RowMapping, columns: Any) -> None:
    connection.execute(update(_endpoint).where(_endpoint.c.id == endpoint["id"]).values(**columns))


def _end(connection: Connection, lease: Lease, state: str, now: int) -> None:
    ended = {"state": state, "wake_at": None, "ended_at": now, "tries": _delivery.c.tries + 1}
    connection.execute(update(_delivery).where(*_held(lease)).values(**ended))


def _held(lease: Lease) -> Sequence[Any]:
    return _delivery.c.id == lease.delivery_id, _delivery.c.epoch == lease.epoch, _delivery.c.state == WAITING
