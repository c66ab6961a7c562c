"""The OpenAPI document's standing parts: components, security, and the answers that many routes share."""

from __future__ import annotations

from functools import cache
from typing import Any

from flask_openapi.models.info import Info
from flask_openapi.models.request_body import RequestBody
from flask_openapi.models.schema import Schema
from flask_openapi.models.security_scheme import SecurityScheme
from flask_openapi.models.tag import Tag
from pydantic import TypeAdapter

from bridge import __version__
from bridge.api.answers import history, told, views
from bridge.api.answers.replies import JSON, PROBLEM_JSON

VERSION = "3.1.0"

INFO = Info(
    title="Transfer-wallet bridge",
    version=__version__,
    description="Moves a player's money between the operator's wallet and game providers, and never loses a cent.",
)
BEARER = [{"bearer": list[str]()}]
SIGNED = [{"signature": list[str]()}]
SCHEMES: dict[str, SecurityScheme | dict[str, Any]] = {
    "bearer": SecurityScheme(type="http", scheme="bearer", description="A key made by `python -m bridge keys create`."),
    "signature": SecurityScheme(
        type="apiKey",
        name="webhook-signature",
        security_scheme_in="header",
        description="Standard Webhooks, with the callback secret of the provider: docs/provider-contract.md.",
    ),
}

PLAYERS, TRANSFERS, HEALTH = Tag(name="players"), Tag(name="transfers"), Tag(name="health")
CALLBACKS, EVENTS = Tag(name="callbacks"), Tag(name="events")

_WHY = {
    400: "The request cannot be read, or money was to move without an Idempotency-Key.",
    401: "No key, or not a key of this bridge; a callback: no signature fits.",
    403: "The key lacks the scope; a callback: it comes from an address that is not allowed.",
    404: "There is no such thing for this operator.",
    409: "The request does not fit the present state; `code` says why.",
    413: "The body is larger than 65536 bytes.",
    415: "The body is not application/json.",
    422: "A field does not hold what it must, or the request was understood and is refused.",
    500: "Something broke on our side; repeat with the same key.",
    503: "Not now; repeat with the same key.",
}

_SHOWN = (
    views.PlayerView,
    views.PlayerFunds,
    views.CashView,
    views.TransferPage,
    views.RecallView,
    views.Received,
    history.Story,
    views.Health,
    views.Readiness,
    told.EndpointSecret,
    told.EndpointList,
    told.EventPage,
    told.DeliveryPage,
    told.Resent,
    told.Deleted,
)

OPTIONAL_OBJECT = RequestBody.model_validate(
    {"content": {"application/json": {"schema": {"type": "object", "additionalProperties": False}}}, "required": False}
)

SIGNED_MESSAGE = RequestBody.model_validate(
    {
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["type", "data"],
                    "properties": {"type": {"type": "string", "pattern": "^[ -~]{1,64}$"}, "data": {"type": "object"}},
                }
            }
        },
        "required": True,
    }
)

READING = (401, 403, 422, 500, 503)
READING_ONE = (*READING, 404)
WRITING = (*READING, 400, 413, 415)
MONEY = (*WRITING, 409)
CALLED_BACK = (401, 403, 409, 413, 415, 422, 500, 503)

_HEADERS = {
    "Location": "The address of the transfer.",
    "Idempotent-Replayed": "`true` when the key was known already: nothing moved now.",
    "Preference-Applied": "What of `Prefer` was granted.",
    "Retry-After": "Seconds to wait before the same request is sent again.",
    "WWW-Authenticate": "Bearer; for callbacks Standard-Webhooks.",
}
_PROBLEM_HEADERS: dict[int, tuple[str, ...]] = {
    401: ("WWW-Authenticate",),
    409: ("Retry-After", "Idempotent-Replayed"),
    422: ("Idempotent-Replayed",),
    503: ("Retry-After",),
}


def answers(views_by_status: dict[int, type], problems: tuple[int, ...], *headers: str) -> dict[str | int, Any]:
    """The responses of one route: its own, with `headers`, and the problems it shares with others."""
    declared: dict[str | int, Any] = {status: problem(status) for status in sorted(problems)}
    declared.update({status: success(view, *headers) for status, view in views_by_status.items()})
    return declared


def success(view: type, *headers: str) -> dict[str, Any]:
    """A response that shows a view."""
    about = (view.__doc__ or "").split("\n")[0]
    return {"description": about, "headers": _headers(headers), "content": {JSON: {"schema": _reference(view)}}}


@cache
def components() -> dict[str, Schema]:
    """Every view's schema, by its name; a field that is not named there is not answered. The same for every
    application of a process."""
    found: dict[str, Any] = {}
    for view in _SHOWN:
        found |= _schemas(view, "serialization")
    found |= _schemas(views.Problem, "validation")  # its last two fields are there only when they say something
    for schema in found.values():
        if "properties" in schema:
            schema["additionalProperties"] = False
    return {name: Schema.model_validate(schema) for name, schema in found.items()}


def _schemas(view: type, mode: Any) -> dict[str, Any]:
    schema = TypeAdapter(view).json_schema(ref_template="#/components/schemas/{model}", mode=mode)
    return {**schema.pop("$defs", {}), view.__name__: schema}


def problem(status: int) -> dict[str, Any]:
    """A response that is a problem document."""
    return {
        "description": _WHY[status],
        "headers": _headers(_PROBLEM_HEADERS.get(status, ())),
        "content": {PROBLEM_JSON: {"schema": _reference(views.Problem)}},
    }


def _reference(view: type) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{view.__name__}"}


def _headers(names: tuple[str, ...]) -> dict[str, Any] | None:
    return {name: {"description": _HEADERS[name], "schema": {"type": "string"}} for name in names} or None
