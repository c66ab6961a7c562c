"""The document and its page: OpenAPI at /openapi.json, an offline page at /docs, the problems at /docs/problems.

Everything comes from this server: the page's script and style are files of an installed package.
"""

from __future__ import annotations

import html
from importlib.resources import files
from typing import Any

import orjson
from flask import Blueprint, Response, current_app
from werkzeug.exceptions import NotFound

from bridge.api.answers import replies, trouble

room = Blueprint("docs", __name__)

_SWAGGER = files("flask_openapi_swagger") / "templates" / "swagger"
ASSETS = {
    "swagger-ui.css": ("css", "text/css"),
    "swagger-ui-bundle.js": ("js", "text/javascript"),
}

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Transfer-wallet bridge: API</title>
<link rel="icon" href="data:,"><link rel="stylesheet" href="/docs/swagger-ui.css"></head>
<body><div id="page"></div>
<script src="/docs/swagger-ui-bundle.js"></script><script src="/docs/page.js"></script></body></html>
"""
SCRIPT = """SwaggerUIBundle({url: "/openapi.json", dom_id: "#page", deepLinking: true, validatorUrl: null});
"""


@room.get("/openapi.json")
def document() -> Response:
    """The OpenAPI document."""
    app: Any = current_app
    return replies.reply(orjson.dumps(app.api_doc).decode())


@room.get("/docs")
def page() -> Response:
    """The document as a page."""
    return Response(PAGE, content_type="text/html; charset=utf-8")


@room.get("/docs/page.js")
def script() -> Response:
    """What draws the page."""
    return Response(SCRIPT, content_type="text/javascript; charset=utf-8")


@room.get("/docs/<asset>")
def asset(asset: str) -> Response:
    """A file of the page."""
    if asset not in ASSETS:
        raise NotFound
    folder, mimetype = ASSETS[asset]
    content = (_SWAGGER / folder / asset).read_bytes()
    return Response(content, content_type=f"{mimetype}; charset=utf-8", headers={"Cache-Control": "max-age=3600"})


@room.get("/docs/problems")
def problems() -> Response:
    """Every problem that a client may meet: the address that a problem's `type` names."""
    rows = "".join(
        f'<tr id="{one.code}"><td>{one.code}</td><td>{one.status}</td><td>{one.retry.value}</td>'
        f"<td>{html.escape(one.meaning)}</td></tr>"
        for one in trouble.catalogue()
    )
    head = "<tr><th>code</th><th>status</th><th>retry</th><th>meaning</th></tr>"
    start = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Problems</title>'
    text = f"{start}<table>{head}{rows}</table></html>"
    return Response(text, content_type="text/html; charset=utf-8")
