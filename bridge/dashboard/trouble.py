"""What a person sees when something cannot be: a page in plain words, with a number by which the log has the rest."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Response, current_app, g, make_response, redirect, render_template, request, url_for
from werkzeug.exceptions import HTTPException

from bridge import log
from bridge.dashboard import cookies, entrance
from bridge.desk import accesses, sittings
from bridge.errors import BadRequest, Forbidden, NotFound, Refusal, TooLarge, Unauthorized, Unavailable

_log = log.get("desk")

_TITLES = {
    400: "This cannot be read",
    401: "Come in first",
    403: "This is not for you",
    404: "There is no such page",
    405: "This is not how it is asked",
    409: "It has changed meanwhile",
    413: "This is too much",
    422: "Something is not right yet",
    429: "Too many tries",
    500: "Something broke on our side",
    503: "Not now",
}

_WHAT_TO_DO = {
    "clock_off": "Nothing was done. Go back and do it again in ten seconds: most likely another process answers then. "
    "If this page comes again, tell whoever runs the bridge: the runbook says what to do, under “A clock is off”.",
    "schema_changed": "Nothing was done. The bridge is being upgraded: go back and do it again in a minute. If this "
    "page comes again, tell whoever runs the bridge that a process of the old version was left running.",
    "currency_redenominated": "Nothing was done, and nothing of it can be shown. Tell whoever runs the bridge: the "
    "runbook says what to do, under “A process rests, and its clock is right”.",
}
"""What a person can do about a refusal, by its code, where the refusal itself does not say it."""

_OURS = 500
_NOT_ALLOWED = 405

# By name: the database's package has its home below the edge.
_DATABASE_TROUBLE = {
    f"sqlalchemy.exc.{name}" for name in ("OperationalError", "InterfaceError", "InternalError", "TimeoutError")
}


class PlainHttp(Refusal):
    """TLS is needed: the desk is shown over https:// only, and to this machine itself at http://localhost."""

    status, code = 403, "tls_needed"


class Internal(Refusal):
    """It was written down; what was not confirmed to you, look up before you do it again."""

    status, code = 500, "internal"


class MethodNotAllowed(Refusal):
    """This address is not asked in that way."""

    status, code = 405, "method_not_allowed"


def answer(error: Exception) -> Response:
    """The page for anything that was raised; whoever has no sitting is shown the gate instead."""
    refusal = _refusal(error)
    number = entrance.runtime_of_app().ids.new("err")
    route = "unknown" if request.url_rule is None else request.url_rule.rule
    if refusal.status >= _OURS:
        cause = error if isinstance(refusal, Internal) else None
        _log.error("page failed", number=number, route=route, error=type(error).__name__, exc_info=cause)
    _note(refusal)
    if isinstance(refusal, Unauthorized) and entrance.PART not in request.headers:
        return _to_the_gate()
    response = _page(refusal, number)
    if refusal.after_seconds is not None:
        response.headers["Retry-After"] = str(refusal.after_seconds)
    if isinstance(error, HTTPException) and error.code == _NOT_ALLOWED:
        response.headers["Allow"] = dict(error.get_headers()).get("Allow", "")
    return response


def _page(refusal: Refusal, number: str) -> Response:
    """Over plain http not even a style can be had: that page is one file."""
    is_plain = isinstance(refusal, PlainHttp)
    title = "TLS is needed" if is_plain else _TITLES.get(refusal.status, "This cannot be done")
    told = {"title": title, "detail": refusal.detail, "fields": sorted(refusal.fields.items()), "number": number,
            "what_to_do": _WHAT_TO_DO.get(refusal.code, "")}  # fmt: skip
    template = "desk/plain_http.html" if is_plain else "desk/trouble.html"
    return make_response(render_template(template, **told), refusal.status)


def _to_the_gate() -> Response:
    wanted = entrance.local(request.full_path) if request.method == "GET" else _page_before()
    response = make_response(redirect(url_for("gate.show", next=wanted), 303))
    if cookies.SITTING in request.cookies:
        cookies.drop(response, cookies.SITTING)
    return response


def _page_before() -> str:
    """The page from which a form was sent: what the form asks for cannot be looked at. There it is seen what became of
    it."""
    try:
        told = urlsplit(request.referrer or "")
        current_app.url_map.bind(request.host).match(told.path, method="GET")
    except (ValueError, HTTPException):
        return entrance.local(None)
    return entrance.local(f"{told.path}?{told.query}")


def _note(refusal: Refusal) -> None:
    """Write down what somebody who sits here was refused for want of a right: the address that they asked for, for it
    says which transfer, proposal or person they tried. What is wrong with the writing makes the refusal none the less
    one."""
    if not isinstance(refusal, Forbidden | NotFound) or "visit" not in g:
        return
    visit: entrance.Visit = g.visit
    try:
        tried = accesses.readable(f"{request.method} {request.path}")
        sittings.refuse(visit.runtime, visit.sitting, tried, f"{refusal.status} {refusal.code}")
    except Exception:  # noqa: BLE001 - whatever it is: they are refused
        _log.exception("refusal not noted", person=visit.person.id)


def _refusal(error: Exception) -> Refusal:
    if isinstance(error, Refusal):
        return error
    if isinstance(error, HTTPException):
        return _of_http(error)
    if any(f"{kind.__module__}.{kind.__name__}" in _DATABASE_TROUBLE for kind in type(error).__mro__):
        return Unavailable("The database does not answer at present.", code="database_unavailable", after_seconds=5)
    return Internal()


def _of_http(error: HTTPException) -> Refusal:
    match error.code:
        case 404:
            return NotFound("There is no such page.")
        case 405:
            return MethodNotAllowed()
        case 413:
            return TooLarge("What was sent is larger than 65536 bytes.")
    return Internal() if (error.code or _OURS) >= _OURS else BadRequest()
