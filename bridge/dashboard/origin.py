"""Where a request to the desk comes from: over TLS or not, from which address, from a page of ours or of others."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import request

from bridge import addresses, forwarded
from bridge.desk import passkeys
from bridge.runtime import Runtime

LOCAL_NAME = "localhost"
UNKNOWN = "unknown"

_WRITTEN_BY_PROXIES = ("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Real-Ip", "Forwarded", "Via")
_OUR_PAGES = ("same-origin", "none")  # none: a person typed the address


def is_safe(runtime: Runtime) -> bool:
    """Whether what is sent back and forth can be read by nobody else: TLS, or a browser on this machine."""
    return is_encrypted(runtime) or _is_local(runtime)


def is_encrypted(runtime: Runtime) -> bool:
    """Whether the browser speaks TLS, with us or with a proxy of ours."""
    return _scheme(runtime) == "https"


def _scheme(runtime: Runtime) -> str:
    hops = runtime.config.web.proxy_hops
    if hops == 0:
        return request.scheme
    return forwarded.told(request.headers.get("X-Forwarded-Proto", ""), hops).lower()


def _is_local(runtime: Runtime) -> bool:
    """http://localhost, asked for by this machine. A proxy here that nobody told us of asks under that name too, for
    whoever is behind it: what it writes gives it away."""
    if runtime.config.web.proxy_hops == 0 and any(name in request.headers for name in _WRITTEN_BY_PROXIES):
        return False
    peer = addresses.literal(address(runtime))
    return _host_name() == LOCAL_NAME and peer is not None and peer.is_loopback


def _host_name() -> str:
    try:
        return urlsplit(f"//{request.host}").hostname or ""
    except ValueError:
        return ""


def address(runtime: Runtime) -> str:
    """From where somebody calls, for notes and for the doorkeeper."""
    told = request.headers.get("X-Forwarded-For", "")
    return forwarded.caller(runtime.config.web.proxy_hops, request.remote_addr, told) or UNKNOWN


def own(runtime: Runtime) -> str:
    """Where this browser finds the desk: scheme, name and port."""
    told = runtime.config.desk.address
    if told is not None and not _is_local(runtime):
        return told
    return f"{'https' if is_encrypted(runtime) else 'http'}://{request.host}"


def place(runtime: Runtime) -> passkeys.Place:
    """The same, for passkeys: they are bound to the host's name."""
    found = own(runtime)
    return passkeys.Place(urlsplit(found).hostname or "", found)


def for_links(runtime: Runtime) -> str:
    """What a link for somebody else begins with."""
    return runtime.config.desk.address or own(runtime)


def is_ours(runtime: Runtime) -> bool:
    """Whether a form was sent by a page of ours, as far as the browser says anything about it."""
    if request.headers.get("Sec-Fetch-Site", _OUR_PAGES[0]) not in _OUR_PAGES:
        return False
    return request.headers.get("Origin", own(runtime)) == own(runtime)
