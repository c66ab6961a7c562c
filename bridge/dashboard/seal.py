"""The headers that every answer of the desk carries."""

from __future__ import annotations

from flask import Response, request

from bridge.dashboard import origin
from bridge.runtime import Runtime

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
NEVER_ASKED = (
    "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), microphone=(), "
    "midi=(), payment=(), usb=(), publickey-credentials-get=(self), publickey-credentials-create=(self)"
)
YEAR_SECONDS = 31_536_000
FILES_SECONDS = 3600

_READING, _FOUND = ("GET", "HEAD"), (200, 206, 304)

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": NEVER_ASKED,
}


def close(response: Response, runtime: Runtime) -> Response:
    """Nothing is loaded from elsewhere, framed, sniffed, or kept: only files, which are the same for everybody, are."""
    response.headers.update(HEADERS)
    is_file = request.endpoint in FILES and request.method in _READING and response.status_code in _FOUND
    response.headers["Cache-Control"] = f"max-age={FILES_SECONDS}" if is_file else "no-store"
    if is_file:
        response.headers.pop("Set-Cookie", None)
    if origin.is_encrypted(runtime):
        response.headers["Strict-Transport-Security"] = f"max-age={YEAR_SECONDS}"
    return response


FILES = ("bootstrap.static", "desk.static")
"""Endpoints that serve files of the desk's own: script, style, pictures."""
