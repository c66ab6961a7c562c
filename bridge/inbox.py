"""The inbox: what providers tell us unasked, authenticated and stored before anything is done about it (design §8).

A message is answered when its row is committed, and its id is taken for ever. What it says is acted on afterwards
(`bridge/transfers/hear.py`). Nothing here asks whether the transfer that it names exists, so no answer can tell.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from sqlalchemy import Connection, Row, RowMapping, Table, bindparam, insert, select, update

from bridge import db, denominations, log, models, webhooks
from bridge.config import GenericSection
from bridge.errors import AddressNotAllowed, Invalid, MessageIdReused, Unavailable, Unsigned
from bridge.evidence import Reply
from bridge.ports import SECOND, Balance, Malformed
from bridge.runtime import Runtime

_inbox: Table = models.metadata.tables["inbox"]
_task: Table = models.metadata.tables["inbox_task"]
_event: Table = models.metadata.tables["security_event"]

_log = log.get("inbox")

LEASE_SECONDS = 30
"""A message that was taken to be acted on is given to another worker after this, unless it was dealt with."""

SHORTEST_PARK_SECONDS, LONGEST_PARK_SECONDS = 1, 3600
"""A message whose transfer is not there is looked at again when it is twice as old, between these."""

LONGEST_BACKOFF_SECONDS = 3600
"""An error of our own is tried again after two, four, eight seconds, and at last each hour, for ever."""

SAYS_NOTHING = "a kind that says nothing to us"
NO_TRANSFER = "no transfer with this reference"
ANOTHER = "its provider is configured as another one than it was"

_KIND = re.compile(r"[ -~]{1,64}")
_AGAIN_SECONDS = 5  # the contract's first pause of a sender


class State(StrEnum):
    """What became of a message."""

    WAITING = "waiting"
    PARKED = "parked"
    DONE = "done"
    PASSED_OVER = "passed_over"


OPEN = (State.WAITING, State.PARKED)
"""The states of a message that somebody still has to look at."""

_NAMED = select(_inbox.c.id, _inbox.c.digest).where(
    _inbox.c.provider == bindparam("provider"), _inbox.c.message_id == bindparam("message")
)
_DUE = (
    select(_task.c.inbox_id)
    .where(_task.c.wake_at <= bindparam("now"))
    # What waits for a transfer that may never come stands behind whatever can be acted on now.
    .order_by(_task.c.state == State.PARKED.value, _task.c.wake_at, _task.c.inbox_id)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
    .cte("due")  # evaluated once, locks no more rows
)
_TAKE = update(_task).where(_task.c.inbox_id.in_(select(_DUE.c.inbox_id))).returning(_task.c.inbox_id)
_PARKED = (
    select(_task.c.inbox_id)
    .where(_task.c.provider == bindparam("provider"), _task.c.reference == bindparam("reference"))
    .where(_task.c.state.in_(OPEN))
    .order_by(_task.c.inbox_id)
)


@dataclass(frozen=True)
class Message:
    """A callback as it came: three headers, empty where there is none, and the bytes of the body."""

    id: str
    timestamp: str
    signatures: str
    body: bytes


@dataclass(frozen=True)
class Kept:
    """A stored message that is still to be acted on; `received_at` in microseconds."""

    id: int
    provider: str
    kind: str
    reference: str | None
    body: str
    digest: str
    received_at: int


# --- what comes in ----------------------------------------------------------------------------------------


def receive(runtime: Runtime, provider: str, message: Message, peer: str) -> None:
    """Store an authentic message, once for ever; when this returns, it is committed.

    `peer` is the address that it came from. Raises AddressNotAllowed, also for a provider that there is not; Unsigned;
    MessageIdReused, which leaves a security event; Invalid naming the member that is wrong; Unavailable where our own
    secrets cannot be read, or its currency is counted otherwise here. Nothing of the message is stored then.
    """
    settings, address = admit(runtime, provider, peer)
    now = runtime.clock.now()
    _authenticate(settings, provider, address, message, now)
    digest = hashlib.sha256(message.body).hexdigest()
    with db.reading(runtime.engine) as connection:
        known = _named(connection, provider, message.id)
    if known is None:
        row, task = _rows(runtime, provider, address, message, digest, now)
        known = _store(runtime, row, task)
    if known.digest != digest:
        _report_reuse(runtime, provider, address, message, digest, now)
        raise MessageIdReused


def admit(runtime: Runtime, provider: str, peer: str) -> tuple[GenericSection, str]:
    """The settings of a provider that may call back from there, and the address; no network means from nowhere."""
    settings, address = runtime.config.providers.get(provider), _address(peer)
    if address is not None and isinstance(settings, GenericSection) and _is_within(address, settings):
        return settings, str(address)
    _log.warning("callback refused", provider=provider[:64], peer=peer[:64], why="address")
    raise AddressNotAllowed


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """An IPv4 caller looks like `::ffff:203.0.113.7` on a socket for both kinds."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _is_within(address: IPv4Address | IPv6Address, settings: GenericSection) -> bool:
    return any(address in network for network in settings.callback_networks)


def _authenticate(settings: GenericSection, provider: str, peer: str, message: Message, now: int) -> None:
    """Raise Unsigned, in the same words whatever is wrong: the reason is for our log alone."""
    try:
        secrets = settings.accepted_secrets()
        webhooks.verify(secrets, message.id, message.timestamp, message.signatures, message.body, now // SECOND)
    except webhooks.BadSignature as wrong:
        _log.warning("callback refused", provider=provider, peer=peer, why=str(wrong))
        raise Unsigned from None
    except (OSError, ValueError) as ours:
        _log.error("callback secrets cannot be used", provider=provider, error=type(ours).__name__)
        raise Unavailable(after_seconds=_AGAIN_SECONDS) from None


def _heard(
    runtime: Runtime, provider: str, kind: str, content: Mapping[str, Any], digest: str
) -> Reply | Balance | None:
    """What it tells. Raises Invalid; Unavailable where its currency has other decimals here than in the books, into
    which another process may have brought it just now: refused for good, its sender's only word would be lost."""
    adapter = runtime.providers[provider]
    try:
        return adapter.heard(kind, content, digest)
    except Malformed:
        with db.reading(runtime.engine) as connection:
            denominations.look(connection, runtime)
    try:
        return adapter.heard(kind, content, digest)
    except Malformed as wrong:
        raise Invalid(fields={f"data.{wrong.field}": wrong.why}) from None


def _rows(
    runtime: Runtime, provider: str, peer: str, message: Message, digest: str, now: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The rows of a new message and of what is to be done about it; raises Invalid."""
    body, kind, content = _envelope(message.body)
    told = _heard(runtime, provider, kind, content, digest)
    about = {"provider": provider, "reference": told.reference if isinstance(told, Reply) else None}
    row = {
        **about,
        "message_id": message.id,
        "kind": kind,
        "body": body,
        "digest": digest,
        "peer": peer,
        "sent_at": int(message.timestamp) * SECOND,
        "received_at": now,
    }
    if told is None:
        return row, {**about, "state": State.PASSED_OVER.value, "reason": SAYS_NOTHING, "handled_at": now}
    return row, {**about, "state": State.WAITING.value, "wake_at": now}


def _store(runtime: Runtime, row: Mapping[str, Any], task: Mapping[str, Any]) -> Row[Any, Any]:
    """The message that now holds this id: this one, or another that was faster."""
    name = row["provider"], row["message_id"]
    with db.writing(runtime.engine) as connection:
        # Looked for first: SQLite's guard of what is append-only refuses even an insert that would do nothing.
        known = _named(connection, *name)
        if known is not None:
            return known
        new = db.insert_if_absent(connection, _inbox, row)
        known = _named(connection, *name)
        assert known is not None
        if new:
            connection.execute(insert(_task).values(inbox_id=known.id, **task))
    return known


def _named(connection: Connection, provider: str, message_id: str) -> Row[Any, Any] | None:
    """(id, digest) of the message that a provider sent under this id."""
    return connection.execute(_NAMED, {"provider": provider, "message": message_id}).first()


def _report_reuse(runtime: Runtime, provider: str, peer: str, message: Message, digest: str, now: int) -> None:
    row = {"kind": MessageIdReused.code, "provider": provider, "peer": peer, "detail": message.id}
    with db.writing(runtime.engine) as connection:
        same = select(_event.c.id).where(*(_event.c[name] == value for name, value in row.items()))
        if connection.execute(same.where(_event.c.digest == digest).limit(1)).first() is not None:
            return  # the same letter, sent again: told once is told
        connection.execute(insert(_event).values(**row, digest=digest, at=now))
    _log.error("message id reused", provider=provider, peer=peer, message=message.id, digest=digest)


# --- what it says -----------------------------------------------------------------------------------------


def translated(runtime: Runtime, kept: Kept) -> Reply | Balance | None:
    """What a stored message says, by the provider's adapter as it is configured now.

    Raises Invalid or Malformed where today's adapter reads it otherwise, and KeyError where there is none any more
    that is called back.
    """
    _, kind, content = _envelope(kept.body.encode())
    adapter = runtime.providers[kept.provider]
    if not adapter.descriptor.pushes:
        raise KeyError(kept.provider)  # it has been given another protocol, perhaps for a moment
    return adapter.heard(kind, content, kept.digest)


def _envelope(raw: bytes) -> tuple[str, str, Mapping[str, Any]]:
    """(text, type, data) of a body, read strictly: UTF-8, each name once, no NaN. Raises Invalid naming the member."""
    try:
        text = raw.decode()
        envelope = _STRICT.decode(text)
    except (ValueError, RecursionError):
        envelope = None
    if not isinstance(envelope, dict):
        raise Invalid(fields={"body": "is not one JSON object in UTF-8 in which each name stands once"})
    kind, content = envelope.get("type"), envelope.get("data")
    if not isinstance(kind, str) or not _KIND.fullmatch(kind):
        raise Invalid(fields={"type": "must be a text of 1 to 64 printable ASCII characters"})
    if not isinstance(content, dict):
        raise Invalid(fields={"data": "must be an object"})
    return text, kind, content


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(members := dict(pairs)) != len(pairs):
        raise ValueError("a name twice")
    return members


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no number")


_STRICT = json.JSONDecoder(object_pairs_hook=_members, parse_float=Decimal, parse_constant=_no_number)


# --- what is to be done about it --------------------------------------------------------------------------


def due(runtime: Runtime, limit: int) -> list[int]:
    """Take up to `limit` messages that are due, longest due first; nobody else is given them while the lease lasts."""
    now, lease = runtime.clock.now(), runtime.in_seconds(LEASE_SECONDS)
    with db.writing(runtime.engine) as connection:
        return sorted(connection.execute(_TAKE, {"now": now, "most": limit, "wake_at": lease}).scalars())


def load(connection: Connection, inbox_id: int, *, to_close: bool = False) -> Kept | None:
    """A message that is still to be acted on, None if it has been; `to_close` keeps others away until the end of the
    transaction."""
    names = ("id", "provider", "kind", "reference", "body", "digest", "received_at")
    query = select(*(_inbox.c[name] for name in names)).join(_task, _task.c.inbox_id == _inbox.c.id)
    query = query.where(_inbox.c.id == inbox_id, _task.c.state.in_(OPEN))
    row = connection.execute(query.with_for_update(of=_task) if to_close else query).first()
    return None if row is None else Kept(*row)


def settle(connection: Connection, inbox_id: int, transfer_id: str, now: int) -> bool:
    """Mark a message as evidence of a transfer, in the caller's transaction; false if it was acted on already."""
    return _close(connection, inbox_id, State.DONE, now, transfer_id=transfer_id, reason="")


def finish(connection: Connection, inbox_id: int, reason: str, now: int) -> bool:
    """Mark a message that is about no transfer as acted on; false if it was already."""
    return _close(connection, inbox_id, State.DONE, now, reason=reason)


def pass_over(connection: Connection, inbox_id: int, reason: str, now: int) -> bool:
    """Mark a message as one about which nothing is to be done, and why; false if it was acted on already."""
    return _close(connection, inbox_id, State.PASSED_OVER, now, reason=reason)


def park(connection: Connection, kept: Kept, reason: str, now: int) -> None:
    """Keep a message until its transfer appears; it is looked at again with growing pauses, for ever."""
    age = now - kept.received_at
    pause = min(max(age, SHORTEST_PARK_SECONDS * SECOND), LONGEST_PARK_SECONDS * SECOND)
    _change(connection, kept.id, {"state": State.PARKED.value, "reason": reason, "wake_at": now + pause})


def set_aside(connection: Connection, inbox_id: int, reason: str, now: int) -> None:
    """An error of our own: the message stays due, later each time, and is never dropped (C-66)."""
    failures = _change(connection, inbox_id, {"failures": _task.c.failures + 1, "reason": reason})
    pause = min(2 ** min(failures, 12), LONGEST_BACKOFF_SECONDS)
    _change(connection, inbox_id, {"wake_at": now + pause * SECOND})


def parked_for(connection: Connection, provider: str, reference: str) -> list[int]:
    """What a provider has told about a reference and nobody has acted on yet, in the order in which it came."""
    return list(connection.execute(_PARKED, {"provider": provider, "reference": reference}).scalars())


def _close(connection: Connection, inbox_id: int, state: State, now: int, **values: Any) -> bool:
    ended = {"state": state.value, "wake_at": None, "handled_at": now, **values}
    return connection.execute(update(_task).where(*_is_open(inbox_id)).values(**ended)).rowcount == 1


def _change(connection: Connection, inbox_id: int, values: Mapping[str, Any]) -> int:
    """Change a task that is open; how often it has failed."""
    statement = update(_task).where(*_is_open(inbox_id)).values(**values)
    return int(connection.execute(statement.returning(_task.c.failures)).scalar() or 0)


def _is_open(inbox_id: int) -> tuple[Any, ...]:
    return _task.c.inbox_id == inbox_id, _task.c.state.in_(OPEN)


# --- to be shown ------------------------------------------------------------------------------------------


def page(runtime: Runtime, filters: Mapping[str, str], limit: int) -> Sequence[RowMapping]:
    """Messages and what became of them, newest first; `filters` by `state` and `provider`."""
    shown = (_inbox.c.id, _inbox.c.provider, _inbox.c.message_id, _inbox.c.kind, _inbox.c.reference)
    query = select(*shown, _inbox.c.received_at, *(_task.c[name] for name in _OF_TASK))
    query = query.join(_task, _task.c.inbox_id == _inbox.c.id).order_by(_inbox.c.id.desc()).limit(limit)
    for name, value in filters.items():
        query = query.where(_task.c[name] == value)
    with db.reading(runtime.engine) as connection:
        return connection.execute(query).mappings().all()


_OF_TASK = ("state", "reason", "transfer_id", "failures", "wake_at")


def events(runtime: Runtime, limit: int) -> Sequence[RowMapping]:
    """What no honest partner does, newest first."""
    with db.reading(runtime.engine) as connection:
        return connection.execute(select(_event).order_by(_event.c.id.desc()).limit(limit)).mappings().all()
