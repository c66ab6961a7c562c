"""What operators are answered about events: endpoints, the sequence, and how deliveries went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from bridge.api.answers.views import Instant, instant

EndpointState = Literal["enabled", "disabled"]
DeliveryState = Literal["waiting", "delivered", "given_up", "dropped"]


@dataclass(frozen=True)
class EndpointView:
    """An address to which events are sent; `failing_since` is set while deliveries to it fail."""

    id: str
    url: str
    label: str
    state: EndpointState
    reason: str
    failing_since: Instant | None
    created_at: Instant


@dataclass(frozen=True)
class EndpointSecret:
    """An endpoint with the secret that signs what is sent there from now on: it is shown now and never again."""

    endpoint: EndpointView
    secret: str


@dataclass(frozen=True)
class EndpointList:
    """All endpoints of the operator, oldest first."""

    endpoints: list[EndpointView]


@dataclass(frozen=True)
class EventView:
    """One event, exactly as it is sent; `sequence` counts the operator's events from 1 without a gap."""

    id: str
    sequence: int
    type: str
    timestamp: Instant
    data: dict[str, Any]


@dataclass(frozen=True)
class EventPage:
    """Events in their order; `after` continues behind the last one, null at the end."""

    events: list[EventView]
    after: int | None


@dataclass(frozen=True)
class TryView:
    """One request: its HTTP status, or why there was no answer."""

    at: Instant
    status: int | None
    failure: str
    milliseconds: int


@dataclass(frozen=True)
class DeliveryView:
    """One event on its way to one endpoint; `next_at` while it is waiting."""

    sequence: int
    event_id: str
    type: str
    state: DeliveryState
    next_at: Instant | None
    ended_at: Instant | None
    tries: list[TryView]


@dataclass(frozen=True)
class DeliveryPage:
    """Deliveries, newest event first; `before` continues behind the last one, null at the end."""

    deliveries: list[DeliveryView]
    before: int | None


@dataclass(frozen=True)
class Resent:
    """How many deliveries were asked for."""

    deliveries: int


@dataclass(frozen=True)
class Deleted:
    """An endpoint that is no more, and how many deliveries to it were dropped."""

    id: str
    dropped: int


_SHOWN = dict.fromkeys(("dns", "not_allowed", "connect"), "unreachable")
"""One word for what would tell an operator which inner names and addresses there are."""


def endpoint(row: Mapping[Any, Any]) -> EndpointView:
    """An endpoint by its row."""
    since = row["failing_since"]
    return EndpointView(
        id=row["id"],
        url=row["url"],
        label=row["label"],
        state=row["state"],
        reason=row["reason"],
        failing_since=None if since is None else instant(since),
        created_at=instant(row["created_at"]),
    )


def event(row: Mapping[Any, Any]) -> EventView:
    """An event by its row."""
    return EventView(**orjson.loads(row["body"]))


def delivery(row: Mapping[str, Any]) -> DeliveryView:
    """A delivery by its row, its event and its tries."""
    tries = [
        TryView(instant(each["at"]), each["status"], _SHOWN.get(each["failure"], each["failure"]), each["milliseconds"])
        for each in row["log"]
    ]
    return DeliveryView(
        sequence=row["sequence"],
        event_id=row["event_id"],
        type=row["kind"],
        state=row["state"],
        next_at=None if row["wake_at"] is None else instant(row["wake_at"]),
        ended_at=None if row["ended_at"] is None else instant(row["ended_at"]),
        tries=tries,
    )
