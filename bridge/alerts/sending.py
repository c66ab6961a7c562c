"""Sending: each notice to its sink until it is taken there, for a day; at least once, and never under a transaction.

A notice is taken under a lease, so that several processes share the work and a death between its commit and its
sending is made good by the next. A sink that fails is left alone until the next tick.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from threading import Event
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import ColumnElement, RowMapping, Table, func, or_, select, true, update

from bridge import addresses, db, log, models, webhooks
from bridge.alerts import episodes, mail, wording
from bridge.alerts.mail import Came
from bridge.alerts.wording import Said
from bridge.models.alerts import NoticeState, Phase, Sink
from bridge.outbound import Outbound
from bridge.ports import SECOND, Window
from bridge.runtime import Runtime
from bridge.sections import Network

_notice: Table = models.metadata.tables["alert_notice"]

WAITS_SECONDS = (10, 30, 60, 300, 900, 1800, 3600)
"""Between the tries of a notice; the last one repeats."""

GIVEN_UP_SECONDS = 86_400
"""After so long nobody needs to be told any more: it stays to be seen as given up."""

LEASE_SLACK_SECONDS = 15
"""Added to the deadline of one message: the life of a lease. One that outlives it may be sent twice."""

_log = log.get("alerts")


@dataclass(frozen=True)
class Unsent:
    """So many notices to a sink wait; the oldest was made at `oldest` (microseconds)."""

    sink: str
    number: int
    oldest: int


def send_due(runtime: Runtime, limit: int, stop: Event) -> dict[str, int]:
    """Send what is due, up to `limit` to each sink. Counts: sent, to all who can get it; unsent."""
    counts = {"sent": 0, "unsent": 0}
    for sink in Sink:
        for _ in range(limit):
            notice = None if stop.is_set() else take(runtime, sink)
            if notice is None:
                break
            came = deliver(runtime, notice)
            counts["sent" if came.taken and not came.waits else "unsent"] += 1
            if not came.taken:
                break  # nobody waits for a sink that hangs but what is for it
    return counts


def take(runtime: Runtime, sink: Sink) -> RowMapping | None:
    """The notice to a sink that has been due for longest, under a lease, of those that this process can send; None
    where none is due."""
    now = runtime.clock.now()
    mine = [_notice.c.sink == sink.value, _notice.c.wake_at <= now, _is_ours(runtime, sink)]
    with db.reading(runtime.engine) as connection:
        if connection.execute(select(_notice.c.id).where(*mine).limit(1)).first() is None:
            return None
    until = runtime.in_seconds(runtime.config.alerts.answer_seconds + LEASE_SLACK_SECONDS)
    chosen = (
        select(_notice.c.id).where(*mine).order_by(_notice.c.wake_at, _notice.c.id).limit(1)
        .with_for_update(skip_locked=True).cte("due")
    )  # fmt: skip
    taken = update(_notice).where(_notice.c.id.in_(select(chosen.c.id)))
    with db.writing(runtime.engine) as connection:
        leased = taken.values(wake_at=until, epoch=_notice.c.epoch + 1).returning(*_notice.c)
        return connection.execute(leased).mappings().first()


def _is_ours(runtime: Runtime, sink: Sink) -> ColumnElement[bool]:
    """What this process has no way for is left to others, and so is a letter that has still to go to none of those whom
    it knows, until nobody has sent it for a day."""
    is_old = _notice.c.created_at <= runtime.clock.now() - GIVEN_UP_SECONDS * SECOND
    if sink not in episodes.sinks(runtime):
        return is_old
    if sink is not Sink.EMAIL:
        return true()
    noted = _notice.c.failure
    waits = (noted.contains(mail.is_for(each), autoescape=True) for each in runtime.config.alerts.email_to)
    return or_(~noted.contains(mail.REFUSED), *waits, is_old)


def deliver(runtime: Runtime, notice: RowMapping) -> Came:
    """Send one notice, once, and note what came of it."""
    try:
        came = _sent(runtime, Sink(notice["sink"]), notice["id"], notice["subject"], notice["body"], notice["failure"])
    except Exception as ours:  # noqa: BLE001 - whatever is wrong with one, it is noted, and comes again
        _log.exception("alert not sent", notice=notice["id"])
        came = Came(taken=False, failure=type(ours).__name__)
    _noted(runtime, notice, came)
    return came


def test(runtime: Runtime, sink: Sink) -> str:
    """Send a test to a sink, past all rows; why it was not taken, by all who should have it, or nothing."""
    number, now = runtime.ids.new("an"), runtime.clock.now()
    said = Said(number, "test", Phase.BEGUN, "", "This is a test: nothing is wrong.", now, now, {}, None)
    body = wording.as_json(said) if sink is Sink.WEBHOOK else wording.as_letter(said)
    return _sent(runtime, sink, number, wording.subject(said), body).failure


def unsent(connection: Any) -> list[Unsent]:
    """What waits to be sent, by sink."""
    waiting = _notice.c.wake_at.is_not(None)
    query = select(_notice.c.sink, func.count(), func.min(_notice.c.created_at)).where(waiting)
    return [Unsent(*row) for row in connection.execute(query.group_by(_notice.c.sink).order_by(_notice.c.sink))]


def _noted(runtime: Runtime, notice: RowMapping, came: Came) -> None:
    """A notice that some have waits as long as it has still to go to others; `failure` says to whom."""
    now = runtime.clock.now()
    failure = came.failure if came.taken else mail.beside(came.failure, notice["failure"])
    ended = {"wake_at": None, "ended_at": now}
    tries = notice["tries"] + 1
    if came.taken and not came.waits:
        values: dict[str, Any] = {"state": NoticeState.SENT.value, **ended}
    elif now - notice["created_at"] >= GIVEN_UP_SECONDS * SECOND:
        values = {"state": NoticeState.GIVEN_UP.value, **ended}
        _log.error("alert given up", notice=notice["id"], sink=notice["sink"], tries=tries, failure=failure)
    else:
        wait = WAITS_SECONDS[min(tries, len(WAITS_SECONDS)) - 1]
        values = {"wake_at": now + wait * SECOND}
        _log.warning("alert not sent yet", notice=notice["id"], sink=notice["sink"], tries=tries, failure=failure)
    mine = (_notice.c.id == notice["id"], _notice.c.epoch == notice["epoch"])
    with db.writing(runtime.engine) as connection:
        connection.execute(update(_notice).where(*mine).values(tries=tries, failure=failure, **values))


# --- the ways -----------------------------------------------------------------------------------------


def _sent(runtime: Runtime, sink: Sink, number: str, subject: str, body: str, noted: str = "") -> Came:
    if sink not in episodes.sinks(runtime):
        return Came(taken=False, failure="not configured any more")
    if sink is Sink.EMAIL:
        return mail.send(runtime, mail.Letter(number, subject, body), noted)
    failure = _posted(runtime, number, body)
    return Came(taken=not failure, failure=failure)


def _posted(runtime: Runtime, number: str, body: str) -> str:
    """As Standard Webhooks, under the same id whenever it is sent; why it was not taken, or nothing."""
    settings = runtime.config.alerts
    try:
        secret = settings.signing_secret()
    except (OSError, ValueError) as ours:
        return f"webhook_secret cannot be read: {type(ours).__name__}"
    parts, seconds = urlsplit(str(settings.webhook_url)), runtime.clock.now() // SECOND
    headers = {
        "webhook-id": number,
        "webhook-timestamp": str(seconds),
        "webhook-signature": webhooks.sign(secret, number, seconds, body.encode()),
    }
    end = runtime.clock.monotonic() + settings.answer_seconds
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    clock: Any = runtime.clock  # a part of the cache's key
    door = _door(parts.scheme, parts.netloc, clock, settings.allowed_networks)
    exchange = door.send("POST", path, window=Window(end, end), headers=headers, json=body, told="alerts")
    if exchange.status is None:
        return exchange.failure
    taken = HTTPStatus.OK <= exchange.status < HTTPStatus.MULTIPLE_CHOICES
    return "" if taken else f"it answered {exchange.status}"


@lru_cache(maxsize=4)
def _door(scheme: str, place: str, clock: Any, networks: tuple[Network, ...]) -> Outbound:
    """Without TLS only to what is named in the configuration, as for events."""
    dial = addresses.guarded(networks, public=scheme == "https")
    return Outbound(f"{scheme}://{place}", clock=clock, dial=dial, pool=1)
