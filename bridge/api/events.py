"""Routes of events: where they are sent, what they were, and how it went."""

from __future__ import annotations

from flask import Response
from flask_openapi.blueprint import APIBlueprint

from bridge import endpoints, events, replays
from bridge.api.answers import document, replies, told
from bridge.api.intake.admission import Call, admits
from bridge.api.intake.wishes import (
    DeliveryQuery,
    EmptyBody,
    EndpointBody,
    EndpointPath,
    EventPath,
    EventQuery,
    ReplayBody,
)
from bridge.keys import Scope

room = APIBlueprint("events", __name__, url_prefix="/v1", abp_tags=[document.EVENTS], abp_security=document.BEARER)

CREATED = 201
_CHANGING = (*document.WRITING, 404)
_CONFLICTING = (*_CHANGING, 409)


@room.post("/webhook-endpoints", responses=document.answers({201: told.EndpointSecret}, (*document.WRITING, 409)))
@admits(Scope.ADMIN)
def register_endpoint(call: Call, body: EndpointBody) -> Response:
    """Send the operator's events to an address from now on; its secret is shown this once."""
    row, secret = endpoints.register(call.runtime, call.operator_id, body.url, body.label)
    return replies.show(told.EndpointSecret(told.endpoint(row), secret), CREATED)


@room.get("/webhook-endpoints", responses=document.answers({200: told.EndpointList}, document.READING))
@admits(Scope.ADMIN)
def list_endpoints(call: Call) -> Response:
    """All endpoints of the operator, with their addresses, which may hold secrets of its own."""
    rows = endpoints.listed(call.runtime, call.operator_id)
    return replies.show(told.EndpointList([told.endpoint(row) for row in rows]))


@room.delete("/webhook-endpoints/<endpoint_id>", responses=document.answers({200: told.Deleted}, document.READING_ONE))
@admits(Scope.ADMIN)
def delete_endpoint(call: Call, path: EndpointPath) -> Response:
    """Send nothing there any more; what waits for it is dropped."""
    dropped = endpoints.delete(call.runtime, call.operator_id, path.endpoint_id)
    return replies.show(told.Deleted(path.endpoint_id, dropped))


@room.post(
    "/webhook-endpoints/<endpoint_id>/rotate-secret",
    request_body=document.OPTIONAL_OBJECT,
    responses=document.answers({200: told.EndpointSecret}, _CONFLICTING),
)
@admits(Scope.ADMIN)
def rotate_secret(call: Call, path: EndpointPath, body: EmptyBody) -> Response:  # noqa: ARG001 - says that it is empty
    """Exchange an endpoint's secret: for a day both sign, then the new one alone."""
    row, secret = endpoints.rotate(call.runtime, call.operator_id, path.endpoint_id)
    return replies.show(told.EndpointSecret(told.endpoint(row), secret))


@room.post(
    "/webhook-endpoints/<endpoint_id>/enable",
    request_body=document.OPTIONAL_OBJECT,
    responses=document.answers({200: told.EndpointView}, _CHANGING),
)
@admits(Scope.ADMIN)
def enable_endpoint(call: Call, path: EndpointPath, body: EmptyBody) -> Response:  # noqa: ARG001 - says that it is empty
    """Send events there again, from the next one on; a replay brings those between."""
    return replies.show(told.endpoint(endpoints.enable(call.runtime, call.operator_id, path.endpoint_id)))


@room.post(
    "/webhook-endpoints/<endpoint_id>/replay", responses=document.answers({200: told.Resent}, _CONFLICTING)
)
@admits(Scope.ADMIN)
def replay_events(call: Call, path: EndpointPath, body: ReplayBody) -> Response:
    """Send a range of events to an endpoint again, whether or not they arrived."""
    count = replays.replay(call.runtime, call.operator_id, path.endpoint_id, body.first, body.last)
    return replies.show(told.Resent(count))


@room.get(
    "/webhook-endpoints/<endpoint_id>/deliveries",
    responses=document.answers({200: told.DeliveryPage}, document.READING_ONE),
)
@admits(Scope.READ)
def page_deliveries(call: Call, path: EndpointPath, query: DeliveryQuery) -> Response:
    """What was sent to an endpoint and what came of each try, newest event first."""
    rows = replays.page(
        call.runtime, call.operator_id, path.endpoint_id, query.state, query.before, query.limit
    )
    more = rows[-1]["sequence"] if len(rows) == query.limit else None
    return replies.show(told.DeliveryPage([told.delivery(row) for row in rows], more))


@room.get("/events", responses=document.answers({200: told.EventPage}, (*document.READING, 409)))
@admits(Scope.READ)
def page_events(call: Call, query: EventQuery) -> Response:
    """The operator's events in their order: whoever missed some reads them here."""
    rows = events.page(call.runtime, call.operator_id, query.after, query.limit, query.after_id)
    more = rows[-1]["sequence"] if len(rows) == query.limit else None
    return replies.show(told.EventPage([told.event(row) for row in rows], more))


@room.post(
    "/events/<event_id>/replay",
    request_body=document.OPTIONAL_OBJECT,
    responses=document.answers({200: told.Resent}, _CHANGING),
)
@admits(Scope.ADMIN)
def replay_event(call: Call, path: EventPath, body: EmptyBody) -> Response:  # noqa: ARG001 - says that it is empty
    """Send one event to every enabled endpoint again."""
    return replies.show(told.Resent(replays.resend(call.runtime, call.operator_id, path.event_id)))
