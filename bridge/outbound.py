"""The one door through which HTTP leaves, and the only home of requests, urllib3 and tenacity.

What a common client gets wrong with money is settled here: no hidden retry, no redirect followed, no
proxy from the environment, no cookie kept, one deadline over the whole exchange, a limit on what is
received, and a *not-after* that is checked immediately before the first byte is written.
An answer is handed on as bytes; nothing is parsed here.
"""

from __future__ import annotations

import hashlib
import http.client
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, cast
from urllib.parse import urlsplit

from requests import ConnectionError as ConnectionLost
from requests import Request, RequestException, Session
from requests.adapters import HTTPAdapter
from requests.utils import check_header_validity
from tenacity import RetryCallState, Retrying, retry_if_result, stop_after_attempt, wait_fixed
from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPResponse, HTTPSConnectionPool, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, ProtocolError
from urllib3.util.retry import Retry

from bridge import log, traces
from bridge.bounds import BODY_LIMIT
from bridge.bounds import CALL as _CALL
from bridge.bounds import BoundedAnswer as _BoundedAnswer
from bridge.bounds import Broken as _Broken
from bridge.bounds import Call as _Call
from bridge.ports import Window
from bridge.runtime import Clock, Dial, NotToBeCalled, dial

PIECE = 16 * 1024
KEPT_HEADERS = ("content-type", "content-encoding", "retry-after", "date")
EVERY_HEADER = {"User-Agent": "transfer-wallet-bridge", "Accept-Encoding": "identity"}
ADDRESSES_KEPT = 64
PAUSE_SECONDS = 0.05
"""Between the two tries of a question; a restarting server's port is closed for about that long."""

_log = log.get("outbound")


@dataclass(frozen=True)
class Exchange:
    """One request and what came of it; `sent` is False only if provably no byte of it left.

    `failure` is empty if a whole answer came, else one of: `not_after`, `deadline`, `dns`, `not_allowed` (its address),
    `connect`, `tls`, `unsendable` (the request itself is malformed), `reset` (the connection ended too early),
    `garbled` (not HTTP), `too_large`. `digest` is the SHA-256, in hex, of `HTTP/1.1 200 OK` + LF + body as
    received, or of the exception's class name where there is no whole answer. `request` is what may have left: method,
    path without parameters, LF, body; never a header, for those carry what proves who we are, nor the base's own path.
    """

    sent: bool
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    digest: str = ""
    failure: str = ""
    line: str = ""
    request: str = ""

    @property
    def answer(self) -> str:
        """What `digest` is over, as text; what is no UTF-8 is escaped. Empty if no whole answer came."""
        return "" if self.failure else self.line + self.body.decode("utf-8", "backslashreplace")


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
        except NotToBeCalled as refused:
            raise _Broken("not_allowed", refused) from refused
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


@dataclass(frozen=True)
class _Address:
    """Where a request goes: what stays the same of all requests with this method, path and parameters."""

    pool: HTTPConnectionPool
    method: str
    target: str
    fields: Mapping[str, str]


class Outbound:
    """Where one provider is reached from one process; safe to share between threads.

    `base_url` may carry a path but no credentials; `dial` opens the connections, of which `pool` are kept alive.
    """

    def __init__(self, base_url: str, *, clock: Clock, dial: Dial = dial, pool: int = 32) -> None:
        parts = urlsplit(base_url)
        if parts.username is not None or parts.password is not None:
            raise ValueError("credentials do not belong into base_url")
        self._base, self._host, self._clock, self._dial = base_url.rstrip("/"), parts.netloc, clock, dial
        self._addressed = lru_cache(maxsize=ADDRESSES_KEPT)(self._address)
        self._adapter = adapter = HTTPAdapter(pool_connections=1, pool_maxsize=pool, max_retries=Retry(total=False))
        adapter.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
        # Its adapter is used without its `send`, which would look after cookies, proxies and redirects.
        self._session = Session()
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
        told: str | None = None,
    ) -> Exchange:
        """Put one request on the wire, once, and wait for its answer; never raises for a network's trouble.

        `path` is appended to the base, its parts already quoted; `json` is the body's text, already written,
        so that no digit of it can change. Nothing leaves at or after `window.not_after`; everything is over
        by `window.deadline` (both monotonic seconds). A 1xx or 3xx answer is returned as it is. `told` stands in the
        log, and in what is kept, in the place of a path that is a secret.
        """
        call, began = _Call(window, self._clock, self._dial), self._clock.monotonic()
        token = _CALL.set(call)
        try:
            address = self._addressed(method, path, *(params or {}).items())
            exchange = self._exchange(call, address, {**headers, **traces.carried()}, json)
        except _Broken as broken:
            exchange = _unanswered(call, broken.failure, broken.name)
        except (RequestException, HTTPError, http.client.HTTPException, OSError, ValueError) as trouble:
            exchange = _unanswered(call, _failure(call, trouble), type(trouble).__name__)
        finally:
            _CALL.reset(token)
        if exchange.sent:
            exchange = replace(exchange, request=f"{method} {told or path or '/'}\n{json or ''}")
        _log.info(
            "exchange",
            host=self._host,
            method=method,
            path=path if told is None else told,
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

    def _address(self, method: str, path: str, *params: tuple[str, str]) -> _Address:
        """What requests makes of method, address and parameters, and the pool that leads there: worked out once."""
        prepared = Request(method, self._base + path, headers=EVERY_HEADER, params=dict(params)).prepare()
        pool = cast("HTTPConnectionPool", self._adapter.get_connection_with_tls_context(prepared, verify=True))
        # requests has no types for it.
        self._adapter.cert_verify(pool, prepared.url, verify=True, cert=None)  # type: ignore[no-untyped-call]
        return _Address(pool, str(prepared.method), prepared.path_url, dict(prepared.headers))

    def _exchange(self, call: _Call, address: _Address, headers: Mapping[str, str], json: str | None) -> Exchange:
        """Send and receive; raises where there is no whole answer."""
        content = None if json is None else json.encode()
        answer = address.pool.urlopen(
            address.method,
            address.target,
            content,
            _fields(address, headers, content),
            self._adapter.max_retries,
            redirect=False,
            assert_same_host=False,
            timeout=Timeout(call.remaining()),
            preload_content=False,
            decode_content=False,
        )
        try:
            # What follows a 1xx is the answer to this request: unread, its connection must not be used again.
            body = b"" if answer.status < http.HTTPStatus.OK else _body(answer)
        finally:
            answer.close()  # a connection whose answer was read to its end is back in the pool by then
            answer.release_conn()
        line = f"{answer.version_string} {answer.status} {answer.reason}\n"
        return Exchange(
            sent=True,
            status=answer.status,
            headers={name: answer.headers[name] for name in KEPT_HEADERS if name in answer.headers},
            body=body,
            digest=hashlib.sha256(line.encode("latin-1", "replace") + body).hexdigest(),
            line=line,
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


def _fields(address: _Address, headers: Mapping[str, str], content: bytes | None) -> dict[str, str]:
    """The headers of one request; raises InvalidHeader (of requests) for what is none."""
    for each in headers.items():
        check_header_validity(each)
    fields = {**address.fields, **headers}
    if content is not None:
        fields |= {"Content-Type": "application/json", "Content-Length": str(len(content))}
    return fields


def _body(raw: BaseHTTPResponse) -> bytes:
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
