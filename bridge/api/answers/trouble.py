"""The one place where whatever goes wrong becomes a problem document (RFC 9457), and nothing more than that.

Bodies never carry a trace, a value that was sent, or a word about the inside; the log has the trace.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from flask import Response, request
from werkzeug.exceptions import HTTPException

from bridge import log, problems
from bridge.api.answers import replies
from bridge.errors import (
    BadRequest,
    Conflict,
    Declined,
    NotFound,
    Refusal,
    Retry,
    TooLarge,
    Unauthorized,
    Unavailable,
    Unsigned,
    UnsupportedMedia,
)

_log = log.get("api")

_NOT_ALLOWED, _OURS = 405, 500

# By name: the database's package has its home below the edge.
_DATABASE_TROUBLE = {
    f"sqlalchemy.exc.{name}" for name in ("OperationalError", "InterfaceError", "InternalError", "TimeoutError")
}


class MethodNotAllowed(Refusal):
    """This address does not take that method."""

    status, code = 405, "method_not_allowed"


class Internal(Refusal):
    """Something broke on our side; what became of the money is told by the same key."""

    status, code, retry = 500, "internal", Retry.SAME_KEY


class DatabaseUnavailable(Unavailable):
    """The database did not answer; what was stored, if anything, is told by the same key."""

    code, retry = "database_unavailable", Retry.SAME_KEY


_DESK = ("bridge.dashboard.", "bridge.desk.")
"""Refusals that no client of the API meets: they are pages."""


@dataclass(frozen=True)
class Listed:
    """One code that a client may meet."""

    code: str
    status: int
    retry: Retry
    meaning: str


_NARROWER = (
    (BadRequest, "json_broken", "The body is not one JSON object in UTF-8."),
    (BadRequest, "json_too_deep", "The body is nested too deeply."),
    (BadRequest, "json_duplicate_name", "A name stands twice in one object."),
    (
        Declined,
        "wallet_full",
        "The deposit would take the wallet above what is counted exactly; this answer stays with its key.",
    ),
    (Declined, "insufficient_funds", "The wallet does not hold the amount; this answer stays with its key."),
    (Declined, "nothing_to_move", "A sweep found nothing that can be moved; this answer stays with its key."),
    (Declined, "wallet_spent", "The wallet does not hold what a decision would take from it."),
    (Conflict, "sequence_set_back", "There is no event of that number: a backup was restored."),
    (Conflict, "secret_exchanged_lately", "The endpoint's secret is still being exchanged."),
    (Unavailable, "events_not_configured", "This bridge has no `events.secret`: it sends no events."),
    (Unavailable, "balance_unknown", "The provider does not say what the player has there: a sweep did not begin."),
    (Unavailable, "provider_paused", "People have closed this provider for transfers in."),
    (
        Unavailable,
        "provider_restored",
        "A restored database, or another provider under its name: closed for transfers in until balances agree.",
    ),
    (Unavailable, "provider_moved", "Configured as another provider than it was: nothing is begun at it, in or out."),
    (Unavailable, "database_restored", "A restored database: withdrawals wait until a person has compared and opens."),
    (Unavailable, "clock_off", "The clock of this process is off: nothing was moved or stored."),
    (Unavailable, "schema_changed", "The database was migrated under this process: nothing was moved or stored."),
    (Unavailable, "exposure_cap", "As much value as allowed is unresolved at this provider: no more is sent in."),
    (Unavailable, "provider_unavailable", "The provider answers too little at present: no money is sent in."),
)
"""Codes that are raised under a wider refusal."""


def catalogue() -> list[Listed]:
    """Every code that a client may meet, by status."""
    wide = [Listed(kind.code, kind.status, kind.retry, _first_line(kind)) for kind in _family(Refusal)]
    narrow = [Listed(code, kind.status, kind.retry, meaning) for kind, code, meaning in _NARROWER]
    return sorted((*wide, *narrow), key=lambda one: one.status)


def _family(top: type[Refusal]) -> Iterator[type[Refusal]]:
    for kind in top.__subclasses__():
        if not kind.__module__.startswith(_DESK):
            yield kind
        yield from _family(kind)


def _first_line(kind: type[Refusal]) -> str:
    return (kind.__doc__ or "").split("\n")[0]


def answer(error: Exception) -> Response:
    """The problem document of anything that was raised."""
    refusal = _refusal(error)
    response = replies.reply(problems.render(refusal), refusal.status)
    if refusal.after_seconds is not None:
        response.headers["Retry-After"] = str(refusal.after_seconds)
    if isinstance(refusal, Unauthorized | Unsigned):
        scheme = "Bearer" if isinstance(refusal, Unauthorized) else "Standard-Webhooks"
        response.headers["WWW-Authenticate"] = f'{scheme} realm="bridge"'
    if isinstance(error, HTTPException) and error.code == _NOT_ALLOWED:
        response.headers["Allow"] = dict(error.get_headers()).get("Allow", "")
    return response


def _refusal(error: Exception) -> Refusal:
    if isinstance(error, Refusal):
        return error
    if isinstance(error, HTTPException):
        return _of_http(error)
    if any(f"{kind.__module__}.{kind.__name__}" in _DATABASE_TROUBLE for kind in type(error).__mro__):
        _log.error("database unavailable", path=request.path, error=type(error).__name__, exc_info=error)
        return DatabaseUnavailable(after_seconds=1)
    _log.error("request failed", path=request.path, error=type(error).__name__, exc_info=error)
    return Internal()


def _of_http(error: HTTPException) -> Refusal:
    match error.code:
        case 404:
            return NotFound("There is no such address.")
        case 405:
            return MethodNotAllowed()
        case 413:
            return TooLarge()
        case 415:
            return UnsupportedMedia()
    return Internal() if (error.code or _OURS) >= _OURS else BadRequest()
