"""Where an operator wants its events sent: addresses, and the secrets by which it knows that they come from here.

No secret is stored. Each is derived from the configuration's by the endpoint's id and a number, so that a copy of the
database signs nothing; exchanging one means taking another number.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection, RowMapping, Table, insert, select, update

from bridge import addresses, db, events, log, models, webhooks
from bridge.errors import Conflict, Invalid, NotFound, Unavailable
from bridge.ports import SECOND
from bridge.runtime import Runtime

_endpoint: Table = models.metadata.tables["webhook_endpoint"]
_delivery: Table = models.metadata.tables["delivery"]

ENABLED, DISABLED, DELETED = "enabled", "disabled", "deleted"
MOST = 10
"""Endpoints that an operator may have: each gets every event."""

LONGEST_URL = 2048

WELL = {"failures": 0, "failing_since": None, "failed_at": None, "quiet_until": None}
"""Columns of an endpoint at which events arrive."""

_VISIBLE = re.compile(r"[!-~]+")
_log = log.get("endpoints")


def register(runtime: Runtime, operator_id: int, url: str, label: str) -> tuple[RowMapping, str]:
    """(the new endpoint, its secret): from its next event on, the operator's events are sent there.

    Raises Invalid naming what is wrong with the address, Conflict where there are MOST already, Unavailable where the
    configuration has no `events.secret`.
    """
    wrong = wrong_with(runtime, url)
    if wrong:
        raise Invalid(fields={"url": wrong})
    endpoint_id, now = runtime.ids.new("we"), runtime.clock.now()
    secret = derived(runtime, endpoint_id, now)
    row = {"id": endpoint_id, "operator_id": operator_id, "url": url, "label": label, "state": ENABLED, "reason": "",
           "secret_number": now, "failures": 0, "created_at": now, "changed_at": now}  # fmt: skip
    with db.writing(runtime.engine) as connection:
        events.hold(connection, operator_id)  # two at once are counted one after the other
        if len(_all(connection, operator_id)) >= MOST:
            raise Conflict(f"There are {MOST} endpoints already: delete one first.")
        connection.execute(insert(_endpoint).values(**row))
        made = one(connection, operator_id, endpoint_id)
    _log.info("endpoint registered", endpoint=endpoint_id, operator=operator_id)
    return made, secret


def wrong_with(runtime: Runtime, url: str) -> str:
    """Why events cannot be sent to this address, as the end of a sentence; empty if nothing is wrong with it.

    Where its name leads is judged each time that something is sent there (`bridge/addresses.py`).
    """
    if len(url) > LONGEST_URL or not _VISIBLE.fullmatch(url):
        return f"must be 1 to {LONGEST_URL} visible ASCII characters"
    try:
        parts, host = urlsplit(url), urlsplit(url).hostname or ""
        port = parts.port
    except ValueError:
        return "is no address"
    if parts.scheme not in ("http", "https") or not host or port == 0:
        return "must be an address that begins with https://"
    if parts.username is not None or parts.password is not None or parts.fragment:
        return "must hold neither credentials nor a fragment"
    allowed, address = runtime.config.events.allowed_networks, addresses.literal(host)
    plain = parts.scheme == "http"
    if plain and (not allowed or (address is not None and not addresses.is_allowed(address, allowed, public=False))):
        return "must be an address that begins with https://"
    if address is not None and not addresses.is_allowed(address, allowed):
        return "must be a public address"
    return ""


def can_sign(runtime: Runtime) -> bool:
    """Whether there is something to derive secrets from; a file that cannot be read is logged."""
    return _master(runtime) is not None


def _master(runtime: Runtime) -> str | None:
    try:
        return runtime.config.events.master()
    except (OSError, ValueError) as ours:
        _log.error("events.secret cannot be read", error=type(ours).__name__)
        return None


def derived(runtime: Runtime, endpoint_id: str, number: int) -> str:
    """The secret of an endpoint that has this number; raises Unavailable where there is nothing to derive it from."""
    master = _master(runtime)
    if master is None:
        raise Unavailable("This bridge has no `events.secret`.", code="events_not_configured", after_seconds=60)
    digest = hmac.digest(master.encode(), f"webhook-endpoint {endpoint_id} {number}".encode(), "sha256")
    return webhooks.PREFIX + base64.b64encode(digest).decode()


def signing(runtime: Runtime, row: RowMapping, now: int) -> list[str]:
    """The secrets under which something is sent to an endpoint now, the present one first."""
    numbers = [row["secret_number"]]
    if row["overlap_until"] is not None and now < row["overlap_until"]:
        numbers.append(row["previous_number"])
    return [derived(runtime, row["id"], number) for number in numbers]


def rotate(runtime: Runtime, operator_id: int, endpoint_id: str) -> tuple[RowMapping, str]:
    """(the endpoint, its new secret): the one before it signs too for `events.overlap_seconds`.

    Raises NotFound; Conflict while the last exchange lasts, for a third secret would end the first one too early.
    """
    now = runtime.clock.now()
    with db.writing(runtime.engine) as connection:
        before = one(connection, operator_id, endpoint_id, to_change=True)
        if before["overlap_until"] is not None and now < before["overlap_until"]:
            left = (before["overlap_until"] - now) // SECOND + 1
            raise Conflict("Its secret is being exchanged.", code="secret_exchanged_lately", after_seconds=left)
        number = max(now, before["secret_number"] + 1)  # by time: never one from before a backup was restored
        secret = derived(runtime, endpoint_id, number)
        until = now + int(runtime.config.events.overlap_seconds * SECOND)
        exchanged = {"secret_number": number, "previous_number": before["secret_number"], "overlap_until": until}
        _change(connection, endpoint_id, now, **exchanged)
        return one(connection, operator_id, endpoint_id), secret


def enable(runtime: Runtime, operator_id: int, endpoint_id: str) -> RowMapping:
    """Send there again, from the next event on; what was dropped meanwhile may be asked for. Raises NotFound."""
    now = runtime.clock.now()
    with db.writing(runtime.engine) as connection:
        one(connection, operator_id, endpoint_id, to_change=True)
        _change(connection, endpoint_id, now, state=ENABLED, reason="", **WELL)
        return one(connection, operator_id, endpoint_id)


def delete(runtime: Runtime, operator_id: int, endpoint_id: str) -> int:
    """Forget an endpoint, but for what was sent to it; how many deliveries were dropped. Raises NotFound."""
    with db.writing(runtime.engine) as connection:
        events.hold(connection, operator_id)
        one(connection, operator_id, endpoint_id, to_change=True)
        return _stop(connection, endpoint_id, DELETED, "deleted", runtime.clock.now())


def give_up(runtime: Runtime, operator_id: int, endpoint_id: str, reason: str) -> None:
    """Disable an endpoint that is dead, unless something has arrived there meanwhile; an event says so."""
    now = runtime.clock.now()
    with db.writing(runtime.engine) as connection:
        events.hold(connection, operator_id)
        row = one(connection, operator_id, endpoint_id, to_change=True)
        if row["state"] != ENABLED or not row["failures"]:
            return
        _stop(connection, endpoint_id, DISABLED, reason, now)
        data = {"endpoint_id": endpoint_id, "label": row["label"], "reason": reason}
        events.emit(connection, runtime, operator_id, events.Draft(events.ENDPOINT_DISABLED, data, now))
    _log.warning("endpoint disabled", endpoint=endpoint_id, operator=operator_id, reason=reason)


def _stop(connection: Connection, endpoint_id: str, state: str, reason: str, now: int) -> int:
    """Drop what waits for it; how many deliveries that were. The caller holds the sequence: no event that is numbered
    beside this would be on its way to an endpoint that is not enabled."""
    _change(connection, endpoint_id, now, state=state, reason=reason)
    waiting = (_delivery.c.endpoint_id == endpoint_id, _delivery.c.state == "waiting")
    dropped = {"state": "dropped", "wake_at": None, "ended_at": now, "epoch": _delivery.c.epoch + 1}
    return connection.execute(update(_delivery).where(*waiting).values(**dropped)).rowcount


def listed(runtime: Runtime, operator_id: int) -> Sequence[RowMapping]:
    """An operator's endpoints, oldest first."""
    with db.reading(runtime.engine) as connection:
        return _all(connection, operator_id)


def one(connection: Connection, operator_id: int, endpoint_id: str, *, to_change: bool = False) -> RowMapping:
    """One endpoint; raises NotFound. `to_change` keeps others from changing it until the transaction ends."""
    query = select(_endpoint).where(
        _endpoint.c.operator_id == operator_id, _endpoint.c.id == endpoint_id, _endpoint.c.state != DELETED
    )
    row = connection.execute(query.with_for_update(key_share=True) if to_change else query).mappings().first()
    if row is None:
        raise NotFound("There is no such endpoint.")
    return row


def _all(connection: Connection, operator_id: int) -> Sequence[RowMapping]:
    mine = select(_endpoint).where(_endpoint.c.operator_id == operator_id, _endpoint.c.state != DELETED)
    return connection.execute(mine.order_by(_endpoint.c.id)).mappings().all()


def _change(connection: Connection, endpoint_id: str, now: int, **values: Any) -> None:
    connection.execute(update(_endpoint).where(_endpoint.c.id == endpoint_id).values(changed_at=now, **values))
