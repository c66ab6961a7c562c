"""The one door through which HTTP leaves, and the only home of requests, urllib3 and tenacity.

What a common client gets wrong with money is settled here: no hidden retry, no redirect followed, no
proxy from the environment, no cookie kept, one deadline over the whole exchange, a limit on what is
received, and a *not-after* that is checked immediately before the first byte is written.
An answer is handed on as bytes; nothing is parsed here.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import socket
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

from requests import ConnectionError as ConnectionLost
from requests import PreparedRequest, Request, RequestException, Response, Session
from requests.adapters import HTTPAdapter
from tenacity import RetryCallState, Retrying, retry_if_result, stop_after_attempt, wait_fixed
from urllib3 import HTTPConnectionPool, HTTPResponse, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, ProtocolError
from urllib3.util.retry import Retry

from bridge import log
from bridge.ports import Window
from bridge.runtime import Clock, Dial, dial

BODY_LIMIT = 256 * 1024
"""Bytes of the largest body that is accepted, as received; it is never decompressed, so also after it."""

HEAD_LIMIT = 64 * 1024
"""Bytes beside the body: status line, headers, chunk sizes, trailers."""

PIECE = 16 * 1024
KEPT_HEADERS = ("content-type", "content-encoding", "retry-after", "date")
PAUSE_SECONDS = 0.05
"""Between the two tries of a question; a restarting server's port is closed for about that long."""

_log = log.get("outbound")


@dataclass(frozen=True)
class Exchange:
    """One request and what came of it; `sent` is False only if provably no byte of it left.

    `failure` is empty if a whole answer came, else one of: `not_after`, `deadline`, `dns`, `connect`,
    `tls`, `unsendable` (the request itself is malformed), `reset` (the connection ended too early),
    `garbled` (not HTTP), `too_large`. `digest` is the SHA-256, in hex, of `HTTP/1.1 200 OK` + LF + body as
    received, or of the exception's class name where there is no whole answer.
    """

    sent: bool
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    digest: str = ""
    failure: str = ""


class _Broken(Exception):
    """The exchange ended without a whole answer."""

    def __init__(self, failure: str, cause: BaseException | None = None) -> None:
        self.failure = failure
        self.name = type(cause or self).__name__
        super().__init__(failure)


@dataclass
class _Call:
    """The limits of the exchange under way in this thread, how it reaches a host, and whether its bytes have left."""

    window: Window
    clock: Clock
    dial: Dial
    sent: bool = False

    def remaining(self) -> float:
        """Seconds before the deadline."""
        left = self.window.deadline - self.clock.monotonic()
        if left <= 0:
            raise _Broken("deadline")
        return left

    def pass_gate(self) -> None:
        """Let the bytes out, or refuse because it is too late for them."""
        self.remaining()
        if self.clock.monotonic() >= self.window.not_after:
            raise _Broken("not_after")
        self.sent = True


_CALL: ContextVar[_Call] = ContextVar("call")
"""How the limits reach a pooled connection, through two libraries that know nothing of them."""


class _BoundedReads(io.RawIOBase):
    """A socket's bytes, each read bounded by what is left of the deadline and of the size limit.

    A library's read timeout starts anew with every byte, so a server that drips outlives it.
    """

    def __init__(self, wire: socket.socket) -> None:
        self._wire = wire
        self._bytes = wire.makefile("rb", buffering=0)
        self._left = BODY_LIMIT + HEAD_LIMIT

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._left <= 0:
            raise _Broken("too_large")
        self._wire.settimeout(_CALL.get().remaining())
        try:
            count = self._bytes.readinto(buffer)
        except TimeoutError as late:
            raise _Broken("deadline", late) from late
        except OSError as trouble:
            raise _Broken("reset", trouble) from trouble
        self._left -= count or 0
        return count

    def close(self) -> None:
        self._bytes.close()
        super().close()


class _BoundedAnswer(http.client.HTTPResponse):
    """An answer whose status line, headers and body are all read under the call's limits."""

    def __init__(self, sock: socket.socket, debuglevel: int = 0, method: str | None = None) -> None:
        super().__init__(sock, debuglevel, method)
        self.fp.close()
        self.fp = io.BufferedReader(_BoundedReads(sock))


class _Gate(HTTPConnection):
    """A connection that holds a request back until it is whole, then lets it through the gate at once.

    Held back, because headers sent in time and a body sent after a long pause would be a late request.
    """

    response_class = _BoundedAnswer
    _held: bytearray

    def _new_conn(self) -> socket.socket:
        """Connected by the runtime's way to a host, which bounds itself by the deadline."""
        call = _CALL.get()
        try:
            return call.dial(self._dns_host, self.port or 0, call.remaining)
        except (socket.gaierror, UnicodeError) as trouble:
            raise _Broken("dns", trouble) from trouble
        except OSError as trouble:
            raise _Broken("connect", trouble) from trouble

    def request(self, *args: Any, **options: Any) -> None:
        self._held = bytearray()
        super().request(*args, **options)
        if self.sock is None:
            self.connect()
        call = _CALL.get()
        self.sock.settimeout(call.remaining())
        call.pass_gate()
        try:
            self.sock.sendall(self._held)
        except TimeoutError as late:
            raise _Broken("deadline", late) from late
        except OSError as trouble:
            raise _Broken("reset", trouble) from trouble

    def send(self, data: Any) -> None:
        self._held += data

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        try:
            return super().getresponse()
        except OSError as trouble:
            raise _Broken("reset", trouble) from trouble
        except http.client.HTTPException as trouble:
            raise _Broken("garbled", trouble) from trouble


class _TlsGate(_Gate, HTTPSConnection):
    """The same under TLS; the handshake is bounded by the timeout that the socket carries."""

    def connect(self) -> None:
        try:
            super().connect()
        except TimeoutError as late:
            raise _Broken("deadline", late) from late
        except (OSError, ValueError, HTTPError) as trouble:
            raise _Broken("tls", trouble) from trouble


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Gate


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsGate


class _NoRedirects(Session):
    """A session that sees no redirect: even when told not to follow one, requests reads its body and works
    out where it leads.
    """

    def get_redirect_target(self, resp: Response) -> str | None:  # noqa: ARG002 - the signature is requests' own
        return None


class Outbound:
    """Where one provider is reached from one process; safe to share between threads.

    `base_url` may carry a path but no credentials; `dial` opens the connections, of which `pool` are kept alive.
    """

    def __init__(self, base_url: str, *, clock: Clock, dial: Dial = dial, pool: int = 32) -> None:
        parts = urlsplit(base_url)
        if parts.username is not None or parts.password is not None:
            raise ValueError("credentials do not belong into base_url")
        self._base, self._host, self._clock, self._dial = base_url.rstrip("/"), parts.netloc, clock, dial
        adapter = HTTPAdapter(pool_connections=1, pool_maxsize=pool, max_retries=Retry(total=False))
        adapter.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
        self._session = _NoRedirects()
        self._session.trust_env = False
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def send(
        self,
        method: str,
        path: str,
        *,
        window: Window,
        headers: Mapping[str, str],
        json: str | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Exchange:
        """Put one request on the wire, once, and wait for its answer; never raises for a network's trouble.

        `path` is appended to the base, its parts already quoted; `json` is the body's text, already written,
        so that no digit of it can change. Nothing leaves at or after `window.not_after`; everything is over
        by `window.deadline` (both monotonic seconds). A 1xx or 3xx answer is returned as it is.
        """
        call, began = _Call(window, self._clock, self._dial), self._clock.monotonic()
        token = _CALL.set(call)
        try:
            exchange = self._exchange(call, _prepared(method, self._base + path, headers, json, params))
        except _Broken as broken:
            exchange = _unanswered(call, broken.failure, broken.name)
        except (RequestException, HTTPError, http.client.HTTPException, OSError, ValueError) as trouble:
            exchange = _unanswered(call, _failure(call, trouble), type(trouble).__name__)
        finally:
            _CALL.reset(token)
        _log.info(
            "exchange",
            host=self._host,
            method=method,
            path=path,
            sent=exchange.sent,
            status=exchange.status,
            failure=exchange.failure,
            milliseconds=round((self._clock.monotonic() - began) * 1000, 1),
        )
        return exchange

    def read(
        self,
        method: str,
        path: str,
        *,
        window: Window,
        headers: Mapping[str, str],
        json: str | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Exchange:
        """Like :meth:`send`, for questions (look-ups, balances, tokens) and never for money: a question of
        which provably no byte left is asked once more, if the window still allows it.
        """

        def ask_again(exchange: Exchange) -> bool:
            closes = min(window.not_after, window.deadline)
            return not exchange.sent and self._clock.monotonic() + PAUSE_SECONDS < closes

        twice = _repeating(ask_again, stop_after_attempt(2), self._clock)
        return twice(self.send, method, path, window=window, headers=headers, json=json, params=params)

    def close(self) -> None:
        """Close the idle connections."""
        self._session.close()

    def _exchange(self, call: _Call, request: PreparedRequest) -> Exchange:
        """Send and receive; raises where there is no whole answer."""
        answer = self._session.send(request, stream=True, allow_redirects=False, timeout=call.remaining())
        try:
            # What follows a 1xx is the answer to this request: unread, its connection must not be used again.
            body = b"" if answer.status_code < http.HTTPStatus.OK else _body(answer.raw)
        finally:
            answer.close()
        line = f"{answer.raw.version_string} {answer.status_code} {answer.reason}\n"
        return Exchange(
            sent=True,
            status=answer.status_code,
            headers={name: answer.headers[name] for name in KEPT_HEADERS if name in answer.headers},
            body=body,
            digest=hashlib.sha256(line.encode("latin-1", "replace") + body).hexdigest(),
        )


def wait_until_up(url: str, seconds: float, clock: Clock) -> bool:
    """Whether a local process answered at `url`, with anything below 500, within `seconds` of start-up."""
    end = clock.monotonic() + seconds
    door = Outbound(url, clock=clock, pool=1)

    def knock() -> bool:
        exchange = door.send("GET", "", window=Window(not_after=end, deadline=end), headers={})
        return exchange.status is not None and exchange.status < http.HTTPStatus.INTERNAL_SERVER_ERROR

    try:
        return _repeating(lambda up: not up, lambda _: clock.monotonic() >= end, clock)(knock)
    finally:
        door.close()


def _prepared(
    method: str, url: str, headers: Mapping[str, str], json: str | None, params: Mapping[str, str] | None
) -> PreparedRequest:
    """The request in bytes, with the headers that every request carries."""
    fields = {"User-Agent": "transfer-wallet-bridge", "Accept-Encoding": "identity", **headers}
    if json is not None:
        fields["Content-Type"] = "application/json"
    body = None if json is None else json.encode()
    return Request(method, url, headers=fields, data=body, params=dict(params or {})).prepare()


def _body(raw: HTTPResponse) -> bytes:
    """The whole body as received, chunks joined, nothing decompressed."""
    pieces: list[bytes] = []
    size = 0
    while piece := raw.read1(PIECE, decode_content=False):
        size += len(piece)
        if size > BODY_LIMIT:
            raise _Broken("too_large")
        pieces.append(piece)
    return b"".join(pieces)


def _failure(call: _Call, trouble: Exception) -> str:
    """The word for an exception that the connection did not name itself."""
    if not call.sent:
        return "unsendable"
    return "reset" if isinstance(trouble, ProtocolError | ConnectionLost) else "garbled"


def _unanswered(call: _Call, failure: str, exception: str) -> Exchange:
    digest = hashlib.sha256(exception.encode()).hexdigest()
    return Exchange(sent=call.sent, failure=failure, digest=digest)


def _repeating(again: Callable[..., bool], stop: Callable[[RetryCallState], bool], clock: Clock) -> Retrying:
    """Repeats a call while `again(result)`, until `stop`; then its last result is what counts."""
    return Retrying(
        retry=retry_if_result(again),
        stop=stop,
        wait=wait_fixed(PAUSE_SECONDS),
        sleep=clock.sleep,
        retry_error_callback=lambda state: state.outcome and state.outcome.result(),
    )
