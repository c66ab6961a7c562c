"""What each request does for log and traces: which transfer its lines are about, and a span where traces are on."""

from __future__ import annotations

from flask import Response, g, request

from bridge import log, traces
from bridge.api.figures import METHODS, UNKNOWN_METHOD, UNKNOWN_ROUTE


def begun() -> None:
    """A request has arrived: its lines are about the transfer that its address names, or about none yet."""
    log.about((request.view_args or {}).get("transfer_id"))
    route = UNKNOWN_ROUTE if request.url_rule is None else request.url_rule.rule
    method = request.method if request.method in METHODS else UNKNOWN_METHOD
    told = {"http.request.method": method, "http.route": route}
    g.span = traces.request(f"{method} {route}", request.headers.get("traceparent", ""), **told)
    if g.span is not None and (transfer := log.present()) is not None:
        traces.link(transfer)


def answered(response: Response) -> Response:
    """Keep what it came to."""
    g.status = response.status_code
    return response


def ended(_error: BaseException | None) -> None:
    """The request is over, whatever came of it."""
    span = g.pop("span", None)
    if span is not None:
        span.end(**{"http.response.status_code": g.get("status", 0)})
    log.about(None)
