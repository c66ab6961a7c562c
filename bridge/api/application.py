"""The web application: its rooms, its one error answer, and the headers that every answer carries."""

from __future__ import annotations

from flask import Response, request
from flask_openapi.openapi import OpenAPI

from bridge.api import callbacks, docs, events, figures, health, players, tracing, transfers
from bridge.api.answers import document, trouble
from bridge.api.intake import admission
from bridge.runtime import Runtime

_NOTHING = "default-src 'none'; frame-ancestors 'none'"
_OWN_FILES = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'"
"""The docs page draws its style attributes and icons itself; nothing is loaded from elsewhere."""


def build(runtime: Runtime) -> OpenAPI:
    """The application of one process; it opens nothing."""
    app = OpenAPI(
        "bridge.api",
        info=document.INFO,
        security_schemes=document.SCHEMES,
        doc_ui=False,
        static_folder=None,
        # The status at which flask-openapi would document its own errors; every route declares it.
        validation_error_status=500,
    )
    app.openapi_version = document.VERSION
    app.config["MAX_CONTENT_LENGTH"] = admission.READ_AT_MOST
    app.url_map.merge_slashes = False
    admission.furnish(app, runtime)
    app.register_error_handler(Exception, trouble.answer)
    app.before_request(tracing.begun)
    app.before_request(figures.begun)
    app.after_request(figures.ended)
    app.after_request(tracing.answered)
    app.after_request(_sealed)
    app.teardown_request(tracing.ended)
    app.register_api(players.room)
    app.register_api(transfers.room)
    app.register_api(callbacks.room)
    app.register_api(events.room)
    app.register_api(health.room)
    app.register_api(figures.room)
    app.register_blueprint(docs.room)
    app.components_schemas.update(document.components())
    return app


def _sealed(response: Response) -> Response:
    """Nothing is sniffed, framed or, under /v1, kept by a cache. What the desk has sealed stays as it is."""
    on_page = request.path == "/docs" or request.path.startswith("/docs/")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "no-referrer")
    response.headers.setdefault("Content-Security-Policy", _OWN_FILES if on_page else _NOTHING)
    if request.path.startswith("/v1/"):
        response.headers["Cache-Control"] = "no-store"
    return response
