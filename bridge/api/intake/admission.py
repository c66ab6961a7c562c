"""The strict way in: the models in a view's signature declare the document, and are read here, by us.

flask-openapi would parse leniently (a wrong content type or broken JSON becomes an empty body) and would
compute the JSON schema of header and query models on every request; `__delay_validate_request__` tells it
to leave both alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any, get_type_hints

from flask import Flask, Response, current_app, request
from pydantic import BaseModel, ValidationError

from bridge.api.intake import auth, strict_json
from bridge.api.intake.wishes import Body, NoQuery
from bridge.errors import (
    BadRequest,
    Invalid,
    KeyMissing,
    Refusal,
    TooLarge,
    Unauthorized,
    UnsupportedMedia,
)
from bridge.keys import Caller, Scope
from bridge.runtime import Runtime
from bridge.watch import WATCH, Watch

RUNTIME = "bridge.runtime"
"""Where the application keeps its runtime, among Flask's extensions."""

LARGEST_BODY = 65_536
READ_AT_MOST = LARGEST_BODY + 1
"""Werkzeug cuts a chunked body off at its limit and says nothing: one byte more shows that there was more."""


DOOR = "bridge.door"
"""Where the application keeps its door, among Flask's extensions."""


@dataclass(frozen=True)
class Call:
    """One admitted request: the runtime of this process, and whose money it is about.

    Where `admit` is there, the caller's key is remembered and not looked up yet: the view either has it confirmed with
    its own work, or calls :meth:`confirm`, before it does or answers anything.
    """

    runtime: Runtime
    caller: Caller
    admit: Callable[[], Caller] | None = None

    def confirm(self) -> None:
        """Look a remembered key up. Raises Unauthorized, Forbidden; also where it has become somebody else's, or lets
        do something else: what is done is done for the caller who was found."""
        if self.admit is None:
            return
        found = self.admit()
        if (found.operator_id, found.scopes) != (self.caller.operator_id, self.caller.scopes):
            raise Unauthorized

    @property
    def operator_id(self) -> int:
        """Everything that a view reads or moves belongs to this operator."""
        return self.caller.operator_id


def runtime_of_app() -> Runtime:
    """The runtime that the application was made with."""
    found: Runtime = current_app.extensions[RUNTIME]
    return found


def admits(
    scope: Scope, *, confirms: bool = False, timely: bool = False
) -> Callable[[Callable[..., Response]], Callable[..., Response]]:
    """A view that only keys with `scope` may call, and that is given its parts read and checked.

    `confirms`: the view has a remembered key confirmed itself (`Call.confirm`). A stranger's body is not read even so,
    and what is wrong with the rest of a request is only told to a key that stands. No view is called in a process that
    was left running when the database was migrated. `timely`: the view moves money, or has a provider asked about it,
    and is not called while this process's clock is off: what is due, what is over, and what was silent for long enough
    is judged by it.
    """

    def around(view: Callable[..., Response]) -> Callable[..., Response]:
        models = {"query": NoQuery, **get_type_hints(view)}
        readers = [(part, models[part], read) for part, read in _READERS.items() if part in models]
        wanted = get_type_hints(view).keys()

        @wraps(view)
        def entrance(**segments: str) -> Response:
            runtime, door = runtime_of_app(), _door_of_app()
            authorization = request.headers.get("Authorization", "")
            admit = partial(door.admit, runtime, authorization, scope)
            remembered = door.remembers(authorization, scope) if confirms else None
            call = Call(runtime, admit()) if remembered is None else Call(runtime, remembered, admit)
            try:
                parts = {part: read(model, segments) for part, model, read in readers}
                require_fit(runtime, timely=timely)
            except Refusal:
                call.confirm()
                raise
            return view(call, **{part: value for part, value in parts.items() if part in wanted})

        entrance.__dict__["__delay_validate_request__"] = True
        return entrance

    return around


def _door_of_app() -> auth.Door:
    found: auth.Door = current_app.extensions[DOOR]
    return found


def furnish(app: Flask, runtime: Runtime) -> None:
    """Give an application what one process has, and nothing that it remembers from another."""
    app.extensions |= {RUNTIME: runtime, DOOR: auth.Door(), WATCH: Watch()}


def require_fit(runtime: Runtime, *, timely: bool) -> None:
    """Raise Unavailable while this process may not work, or, where it matters, not by its clock."""
    watch: Watch = current_app.extensions[WATCH]
    watch.require(runtime, timely=timely)


def takes(view: Callable[..., Response]) -> Callable[..., Response]:
    """A view that needs no key and finds out by itself who is calling; it is given the runtime and its parts."""
    models = get_type_hints(view)
    readers = [(part, models[part], read) for part, read in _READERS.items() if part in models]

    @wraps(view)
    def entrance(**segments: str) -> Response:
        return view(runtime_of_app(), **{part: read(model, segments) for part, model, read in readers})

    entrance.__dict__["__delay_validate_request__"] = True
    return entrance


def raw_json() -> bytes:
    """The body as it came. Raises TooLarge, and UnsupportedMedia where it is not called JSON in UTF-8."""
    raw = _raw()
    _require_json()
    return raw


def _raw() -> bytes:
    raw = request.get_data(cache=False)
    if len(raw) > LARGEST_BODY:
        raise TooLarge
    return raw


def _path(model: type[BaseModel], segments: dict[str, str]) -> BaseModel:
    return _checked(model, segments, "is not a part of this path")


def _query(model: type[BaseModel], _segments: dict[str, str]) -> BaseModel:
    twice = {name: "stands twice" for name, values in request.args.lists() if len(values) > 1}
    if twice:
        raise Invalid(fields=_told(twice))
    return _checked(model, request.args.to_dict(), "is not a parameter of this request", strings=True)


def _header(model: type[BaseModel], _segments: dict[str, str]) -> BaseModel:
    aliases = [field.alias for field in model.model_fields.values() if field.alias is not None]
    sent = {name: request.headers[name] for name in aliases if name in request.headers}
    try:
        return model.model_validate(sent)
    except ValidationError:
        raise KeyMissing(fields={"Idempotency-Key": "is required, as 1 to 255 visible ASCII characters"}) from None


def _body(model: type[Body], _segments: dict[str, str]) -> BaseModel:
    raw = _raw()
    if model.may_be_empty and not raw:
        return model()
    _require_json()
    if not raw:
        raise BadRequest("The body is empty.", code="json_broken")
    return _checked(model, strict_json.read_object(raw), "is not a field of this request")


_READERS: dict[str, Callable[[Any, dict[str, str]], BaseModel]] = {
    "path": _path,
    "query": _query,
    "header": _header,
    "body": _body,
}


def _require_json() -> None:
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    plain = request.headers.get("Content-Encoding", "identity").lower() == "identity"
    if not (request.mimetype == "application/json" and charset == "utf-8" and plain):
        raise UnsupportedMedia


def _checked(model: type[BaseModel], sent: dict[str, Any], unknown: str, *, strings: bool = False) -> BaseModel:
    """The model of what was sent; raises Invalid naming every field, never repeating a value."""
    try:
        return model.model_validate_strings(sent) if strings else model.model_validate(sent)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
    fields = {str(one["loc"][0]): _sentence(model, str(one["loc"][0]), one["type"], unknown) for one in found}
    raise Invalid(fields=_told(fields))


def _sentence(model: type[BaseModel], name: str, kind: str, unknown: str) -> str:
    if kind == "extra_forbidden":
        return unknown
    description = model.model_fields[name].description
    return f"is required: {description}" if kind == "missing" else f"must be {description}"


def _told(fields: dict[str, str]) -> dict[str, str]:
    return {name[: strict_json.LONGEST_NAME_TOLD]: why for name, why in fields.items()}
