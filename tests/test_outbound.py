"""The outgoing door, against a scripted server: what leaves, how often, how late, how much may come back."""

from __future__ import annotations

import gzip
import hashlib
import http.client as http_client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from bridge import bounds, outbound
from bridge.outbound import BODY_LIMIT, Exchange, Outbound, wait_until_up
from bridge.ports import Window
from bridge.runtime import SystemClock, dial
from tests.providers import Answer, ScriptedServer, drip, hang_up, http, raw, reset, silence


class Stage(SystemClock):
    """The real clock, which a test can move on (a pause of the process) and watch being slept on."""

    def __init__(self) -> None:
        self.paused: Callable[[], float] = lambda: 0.0
        self.slept: list[float] = []
        self.on_sleep: Callable[[], None] = lambda: None

    def monotonic(self) -> float:
        return super().monotonic() + self.paused()

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.on_sleep()
        super().sleep(seconds)


@pytest.fixture
def clock() -> Stage:
    """A clock of this test's own."""
    return Stage()


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A server without a script yet."""
    with ScriptedServer() as scripted:
        yield scripted


def window(clock: Stage, seconds: float = 5.0, not_after: float | None = None) -> Window:
    """From now on, for some seconds."""
    now = clock.monotonic()
    return Window(not_after=now + (seconds if not_after is None else not_after), deadline=now + seconds)


def post(door: Outbound, clock: Stage, seconds: float = 5.0) -> Exchange:
    """A money request."""
    return door.send("POST", "/money", window=window(clock, seconds), headers={}, json='{"amount": 25.00}')


def timed(door: Outbound, clock: Stage, seconds: float) -> tuple[Exchange, float]:
    """A money request, and how many seconds it took."""
    began = time.monotonic()
    return post(door, clock, seconds), time.monotonic() - began


# --- what is told ---------------------------------------------------------------------------------


def test_an_answer_is_handed_on_as_bytes_with_its_digest(server, clock):
    """I-12: an answer is told as it came: status, body and the digest of both, nothing interpreted."""
    server.answers = [http(418, b'{"a": 1}', "application/json", "Retry-After: 7", "X-Secret: s")]
    exchange = post(Outbound(server.url, clock=clock), clock)
    assert exchange == Exchange(
        sent=True,
        status=418,
        headers={"content-type": "application/json", "retry-after": "7"},
        body=b'{"a": 1}',
        digest=hashlib.sha256(b'HTTP/1.1 418 Said\n{"a": 1}').hexdigest(),
        failure="",
        line="HTTP/1.1 418 Said\n",
        request='POST /money\n{"amount": 25.00}',
    )
    assert hashlib.sha256(exchange.answer.encode()).hexdigest() == exchange.digest


def test_what_was_sent_is_kept_without_what_proves_who_we_are(server, clock):
    """Of a request method, path and body are kept; its headers and parameters may be credentials, and so may the path
    of the base. A path that is a secret is kept as it is told in the log."""
    server.answers = [http(200)] * 3
    door = Outbound(server.url + "/base", clock=clock)
    secrets = {"headers": {"Authorization": "Bearer t0ken"}, "params": {"password": "s3cret"}}
    assert door.send("PUT", "/a", window=window(clock), json="{}", **secrets).request == "PUT /a\n{}"
    assert door.send("POST", "", window=window(clock), headers={}, json="{}").request == "POST /\n{}"
    assert door.send("POST", "/s3cret", window=window(clock), headers={}, told="(hook)").request == "POST (hook)\n"


def test_what_did_not_leave_is_not_kept_and_what_was_lost_is(server, clock):
    """Of a request whose answer was lost only itself is there; of one that never left, nothing."""
    server.answers = [hang_up]
    door = Outbound(server.url, clock=clock)
    lost = post(door, clock)
    assert (lost.request, lost.answer) == ('POST /money\n{"amount": 25.00}', "")
    late = post(door, clock, seconds=-1.0)
    assert (late.sent, late.request, late.answer) == (False, "", "")


def test_an_answer_that_is_no_text_is_escaped(server, clock):
    """Whatever came can be read, and stored."""
    server.answers = [http(200, b"\xff\x00ok", "application/json")]
    assert post(Outbound(server.url, clock=clock), clock).answer == "HTTP/1.1 200 Said\n\\xff\0ok"


def test_the_request_on_the_wire_is_the_one_that_was_given(server, clock):
    """I-25: byte-identical money fields: the body is the text given; compression is declined; the base's path
    comes first."""
    server.answers = [http(200)]
    door = Outbound(server.url + "/base/", clock=clock)
    door.send(
        "PUT",
        "/a/b%2Fc",
        window=window(clock),
        headers={"Authorization": "Bearer t"},
        json='{"n": 0.10}',
        params={"q": "ä b"},
    )
    [request] = server.received
    assert (request.method, request.target) == ("PUT", "/base/a/b%2Fc?q=%C3%A4+b")
    assert request.body == b'{"n": 0.10}'
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["authorization"] == "Bearer t"


def test_chunks_are_joined(server, clock):
    """I-12: the body as received does not depend on its framing."""
    server.answers = [raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n")]
    exchange = post(Outbound(server.url, clock=clock), clock)
    assert (exchange.body, exchange.failure) == (b"{}", "")


def test_the_log_tells_no_secret(server, clock, monkeypatch):
    """Design §8: one line per call, never a secret: no query, no header, no body."""
    server.answers = [http(200, b"TOPSECRET")]
    lines: list[dict[str, Any]] = []
    record = SimpleNamespace(info=lambda event, **said: lines.append({"event": event, **said}))
    monkeypatch.setattr(outbound, "_log", record)
    Outbound(server.url, clock=clock).send(
        "POST",
        "/login",
        window=window(clock),
        headers={"Authorization": "Bearer TOPSECRET"},
        json='"TOPSECRET"',
        params={"password": "TOPSECRET"},
    )
    [line] = lines
    assert "TOPSECRET" not in str(line)
    assert (line["method"], line["path"], line["status"], line["sent"]) == ("POST", "/login", 200, True)


def test_credentials_in_the_base_address_are_refused(clock):
    """Design §8: a base address is shown and logged, so nothing secret may stand in it."""
    with pytest.raises(ValueError, match="credentials"):
        Outbound("http://name:word@127.0.0.1", clock=clock)


# --- once, and only once --------------------------------------------------------------------------

ONE_REQUEST: list[tuple[str, Answer, int | None, str]] = [
    ("closed without an answer", hang_up, None, "reset"),
    ("reset after the bytes", reset, None, "reset"),
    ("half an answer", raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", keep=False), None, "reset"),
    ("half a chunk", raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{}", keep=False), None, "reset"),
    ("half a head", raw(b"HTTP/1.1 200 OK\r\nContent-", keep=False), 200, ""),
    ("not HTTP", raw(b"SSH-2.0-Server\r\n", keep=False), None, "garbled"),
    ("bad chunk size", raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", keep=False), None, "reset"),
    ("two lengths", raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\n{}", keep=False), None, "garbled"),
    ("301", http(301, b"", "", "Location: /other"), 301, ""),
    ("302", http(302, b"", "", "Location: /other"), 302, ""),
    ("307", http(307, b"", "", "Location: /other"), 307, ""),
    ("308", http(308, b"", "", "Location: /other"), 308, ""),
    ("401", http(401, b"", "", "WWW-Authenticate: Basic"), 401, ""),
    ("408", http(408, b""), 408, ""),
    ("413 with Retry-After", http(413, b"", "", "Retry-After: 0"), 413, ""),
    ("429 with Retry-After", http(429, b"", "", "Retry-After: 0"), 429, ""),
    ("500", http(500, b""), 500, ""),
    ("503 with Retry-After", http(503, b"", "", "Retry-After: 0"), 503, ""),
]


@pytest.mark.parametrize(
    ("answer", "status", "failure"), [row[1:] for row in ONE_REQUEST], ids=[r[0] for r in ONE_REQUEST]
)
def test_one_send_is_one_request(server, clock, answer, status, failure):
    """C-03: whatever the answer, nothing below us sends again: the server counts one request."""
    server.answers = [answer, *[http(200)] * 5]
    exchange = post(Outbound(server.url, clock=clock), clock)
    assert (exchange.sent, exchange.status, exchange.failure) == (True, status, failure)
    time.sleep(0.05)
    assert len(server.received) == 1


def test_a_connection_closed_between_requests_costs_nothing(server, clock):
    """C-03: a kept-alive connection that the server closed meanwhile is replaced before anything is sent."""
    server.answers = [http(200, keep=False), http(200)]
    door = Outbound(server.url, clock=clock)
    assert post(door, clock).status == 200
    time.sleep(0.1)
    assert post(door, clock).status == 200
    assert (len(server.received), server.connections) == (2, 2)


def test_a_kept_connection_that_dies_under_a_request_is_not_tried_again(server, clock):
    """C-03: the stale keep-alive race: the second request is on the wire once, and it counts as sent."""
    server.answers = [http(200), hang_up, http(200)]
    door = Outbound(server.url, clock=clock)
    assert post(door, clock).status == 200
    exchange = post(door, clock)
    assert (exchange.sent, exchange.failure) == (True, "reset")
    time.sleep(0.05)
    assert (len(server.received), server.connections) == (2, 1)


def test_an_interim_answer_cannot_become_the_answer_to_the_next_request(server, clock):
    """C-16: after a 1xx the connection is not used again: what follows on it belongs to the old request."""
    early = raw(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold")
    server.answers = [early, http(200, b"new")]
    door = Outbound(server.url, clock=clock)
    assert post(door, clock).status == 103
    assert post(door, clock).body == b"new"
    assert server.connections == 2


def test_a_surplus_answer_cannot_become_the_answer_to_the_next_request(server, clock):
    """C-16: a second answer to one request is never taken for the answer to the next."""
    server.answers = [
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\noneHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad")
    ]
    server.answers.append(http(200, b"two"))
    door = Outbound(server.url, clock=clock)
    assert [post(door, clock).body, post(door, clock).body] == [b"one", b"two"]


def test_no_proxy_and_no_cookie(server, clock, monkeypatch):
    """C-03: nothing of the environment or of earlier answers changes where or what is sent."""
    with ScriptedServer(http(200)) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        server.answers = [http(200, b"", "", "Set-Cookie: player=p-1"), http(200)]
        door = Outbound(server.url, clock=clock)
        post(door, clock)
        post(door, clock)
        assert (proxy.bytes, len(server.received)) == (0, 2)
        assert "cookie" not in server.received[1].headers
        assert list(door._session.cookies) == []


@pytest.mark.parametrize("location", ["/other", "http://[", "//x:y:z/", "\x80", ""])
def test_a_redirect_is_an_answer_like_any_other(server, clock, location):
    """C-03: where a redirect leads is not even looked at; its body is kept as the evidence it is."""
    server.answers = [http(307, b"moved", "", f"Location: {location}"), http(200)]
    exchange = post(Outbound(server.url, clock=clock), clock)
    assert (exchange.status, exchange.body, exchange.failure) == (307, b"moved", "")
    assert len(server.received) == 1


# --- the gate -------------------------------------------------------------------------------------


def test_paused_past_not_after_sends_nothing(server, clock):
    """C-40: a worker that was paused after connecting, past its not-after, writes no byte."""

    def connected_then_paused(*arguments: Any) -> socket.socket:
        wire = dial(*arguments)
        clock.paused = lambda: 10.0
        return wire

    exchange = Outbound(server.url, clock=clock, dial=connected_then_paused).send(
        "POST", "/money", window=window(clock, 60, not_after=5), headers={}, json="{}"
    )
    assert (exchange.sent, exchange.status, exchange.failure) == (False, None, "not_after")
    time.sleep(0.05)
    assert (server.connections, server.bytes, server.received) == (1, 0, [])


def test_paused_with_a_kept_connection_sends_nothing(server, clock):
    """C-40: the same on a connection that an earlier request left open; afterwards the door still works."""
    server.answers = [http(200), http(200)]
    door = Outbound(server.url, clock=clock)
    post(door, clock)
    before = server.bytes
    exchange = door.send("POST", "/money", window=window(clock, 60, not_after=0), headers={}, json="{}")
    assert (exchange.sent, exchange.failure) == (False, "not_after")
    time.sleep(0.05)
    assert (server.bytes, len(server.received)) == (before, 1)
    assert post(door, clock).status == 200


def test_past_the_deadline_sends_nothing(server, clock):
    """C-40, C-06: a call whose time is over before it began leaves no byte, whatever its not-after says."""
    now = clock.monotonic()
    late = Window(not_after=now + 60, deadline=now - 1)
    exchange = Outbound(server.url, clock=clock).send("POST", "/money", window=late, headers={}, json="{}")
    assert (exchange.sent, exchange.failure, server.bytes) == (False, "deadline", 0)


def test_headers_and_body_leave_in_one_piece(server, clock):
    """C-40: headers in time and a body after a pause would be a late request, so one write carries both."""
    server.answers = [http(200), http(200)]
    door = Outbound(server.url, clock=clock)
    for _ in range(2):  # on a fresh connection, and on a kept one
        post(door, clock)
    assert server.connections == 1
    for request in server.received:
        assert request.first.startswith(b"POST /money HTTP/1.1\r\n")
        assert request.first.endswith(b'\r\n\r\n{"amount": 25.00}')


# --- provably not sent ----------------------------------------------------------------------------


def test_nothing_listening_is_not_sent(clock):
    """C-12: a refused connection proves that no byte left; a reset after bytes proves nothing (above)."""
    with ScriptedServer(listening=False) as nobody:
        exchange = post(Outbound(nobody.url, clock=clock), clock)
    assert (exchange.sent, exchange.status, exchange.failure) == (False, None, "connect")
    assert exchange.digest == hashlib.sha256(b"ConnectionRefusedError").hexdigest()


def test_an_unknown_host_is_not_sent(clock):
    """C-12: a name that does not resolve proves that no byte left."""
    exchange = post(Outbound("http://nobody.invalid", clock=clock), clock)
    assert (exchange.sent, exchange.failure) == (False, "dns")


def test_a_failed_handshake_is_not_sent(server, clock):
    """C-12: without TLS no request left: the server saw a greeting, never the request."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        threading.Thread(target=lambda: door.accept()[0].sendall(b"HTTP/1.1 400 Not TLS\r\n\r\n"), daemon=True).start()
        exchange = post(Outbound(f"https://127.0.0.1:{door.getsockname()[1]}", clock=clock), clock)
    assert (exchange.sent, exchange.failure) == (False, "tls")


def test_a_silent_handshake_is_cut(clock):
    """C-06: the deadline also bounds the TLS handshake."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        exchange, took = timed(Outbound(f"https://127.0.0.1:{door.getsockname()[1]}", clock=clock), clock, 0.3)
    assert (exchange.sent, exchange.failure) == (False, "deadline")
    assert took < 2.0


@pytest.mark.parametrize("value", ["a\r\nX-Evil: b", "a\nb", "€"])
def test_a_malformed_header_is_not_sent(server, clock, value):
    """C-12: a request that cannot be written is not written in part."""
    exchange = Outbound(server.url, clock=clock).send("POST", "/m", window=window(clock), headers={"X": value})
    assert (exchange.sent, exchange.failure, server.bytes) == (False, "unsendable", 0)


# --- the deadline and the size --------------------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
SLOW: dict[str, Answer] = {
    "says nothing": silence,
    "drips the status line": drip(b"HTTP/1.1 2", b"0"),
    "drips a header": drip(HEAD + b"X-Slow: ", b"x"),
    "drips headers": drip(HEAD, b"X-Slow: x\r\n"),
    "drips interim answers": drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "drips the body": drip(HEAD + b"Content-Length: 1000\r\n\r\n", b"x"),
    "drips a body without end": drip(HEAD + b"Connection: close\r\n\r\n", b"x"),
    "drips chunks": drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "drips a chunk's size": drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
    "drips trailers": drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: x\r\n"),
}


@pytest.mark.parametrize("answer", SLOW.values(), ids=SLOW.keys())
def test_a_slow_answer_is_cut_at_the_deadline(server, clock, answer):
    """C-06: one deadline over everything: a server that drips gets no more time than one that is silent."""
    server.answers = [answer]
    exchange, took = timed(Outbound(server.url, clock=clock), clock, 0.4)
    assert (exchange.sent, exchange.status, exchange.failure, exchange.body) == (True, None, "deadline", b"")
    assert 0.35 < took < 2.0
    assert len(server.received) == 1


def test_a_full_queue_at_the_server_is_cut(clock):
    """C-06: the deadline bounds connecting, and nothing was sent."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for wire in waiting:  # fills the queue of connections that nobody accepts
            wire.setblocking(False)
            wire.connect_ex(door.getsockname())
        exchange, took = timed(Outbound(f"http://127.0.0.1:{door.getsockname()[1]}", clock=clock), clock, 0.4)
        for wire in waiting:
            wire.close()
    assert (exchange.sent, exchange.failure) == (False, "connect")
    assert took < 2.0


def test_a_cut_connection_is_not_used_again(server, clock):
    """C-05, C-16: the late rest of a cut answer cannot become the answer to the next request."""
    server.answers = [drip(HEAD + b"Content-Length: 1000\r\n\r\n", b"old"), http(200, b"new")]
    door = Outbound(server.url, clock=clock)
    assert post(door, clock, 0.2).failure == "deadline"
    assert post(door, clock).body == b"new"
    assert server.connections == 2


def test_the_limits_of_one_call_do_not_touch_another(server, clock):
    """C-06: calls side by side on one door each keep their own deadline."""
    server.routes = {"/slow": drip(HEAD + b"Content-Length: 1000\r\n\r\n", b"x"), "/quick": http(200, b"{}")}
    door = Outbound(server.url, clock=clock)
    cut: list[Exchange] = []

    def slow() -> None:
        cut.append(door.send("GET", "/slow", window=window(clock, 0.4), headers={}))

    threads = [threading.Thread(target=slow) for _ in range(4)]
    for thread in threads:
        thread.start()
    quick = [door.send("GET", "/quick", window=window(clock), headers={}) for _ in range(40)]
    for thread in threads:
        thread.join()
    assert [exchange.failure for exchange in cut] == ["deadline"] * 4
    assert [(exchange.failure, exchange.body) for exchange in quick] == [("", b"{}")] * 40


def test_the_largest_body_is_taken_and_one_byte_more_is_not(server, clock):
    """C-06: bounded in memory: 256 KiB of body, not a byte more."""
    server.answers = [http(200, b"x" * BODY_LIMIT), http(200, b"x" * (BODY_LIMIT + 1))]
    door = Outbound(server.url, clock=clock)
    taken, refused = post(door, clock), post(door, clock)
    assert (BODY_LIMIT, len(taken.body), taken.failure) == (262144, 262144, "")
    assert (refused.sent, refused.status, refused.failure, refused.body) == (True, None, "too_large", b"")


ENDLESS: dict[str, tuple[Answer, str]] = {
    "chunks": (
        drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1000\r\n" + b"x" * 4096 + b"\r\n", seconds=0),
        "too_large",
    ),
    "tiny chunks with long sizes": (
        drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1;" + b"x" * 4096 + b"\r\nx\r\n", seconds=0),
        "too_large",
    ),
    "a body to the end": (drip(HEAD + b"Connection: close\r\n\r\n", b"x" * 4096, seconds=0), "too_large"),
    "interim answers": (drip(b"", b"HTTP/1.1 100 Go\r\nX: " + b"x" * 4096 + b"\r\n\r\n", seconds=0), "too_large"),
    "one header": (drip(HEAD + b"X: ", b"x" * 4096, seconds=0), "garbled"),
    "headers": (drip(HEAD, b"X: x\r\n" * 100, seconds=0), "garbled"),
    "a redirect's body": (drip(b"HTTP/1.1 307 To\r\nLocation: /x\r\n\r\n", b"x" * 4096, seconds=0), "too_large"),
}


@pytest.mark.parametrize(("answer", "failure"), ENDLESS.values(), ids=ENDLESS.keys())
def test_an_endless_answer_is_cut_by_its_size(server, clock, answer, failure):
    """C-06: whatever never ends is cut long before the deadline, and the request counts as sent."""
    server.answers = [answer]
    exchange, took = timed(Outbound(server.url, clock=clock), clock, 20)
    assert (exchange.sent, exchange.status, exchange.failure) == (True, None, failure)
    assert took < 10


def test_a_gzip_bomb_stays_packed(server, clock):
    """C-06: a content encoding we did not ask for is not decoded: 50 MB of zeros stay 50 kB of garbage."""
    bomb = gzip.compress(bytes(50_000_000))
    server.answers = [http(200, bomb, "application/json", "Content-Encoding: gzip")]
    exchange = post(Outbound(server.url, clock=clock), clock)
    assert exchange.body == bomb
    assert exchange.headers["content-encoding"] == "gzip"
    assert len(bomb) < BODY_LIMIT


def test_a_library_that_begins_an_answer_otherwise_is_noticed() -> None:
    """What reads the head of an answer is the library's code with one name of it ours: other code is not taken over."""
    assert bounds._begin_by(http_client.HTTPResponse.begin).__code__ is http_client.HTTPResponse.begin.__code__

    def with_an_option(self, *, most=100):
        return http_client.parse_headers(self.fp, most)

    def with_a_default(self, most=100):
        return http_client.parse_headers(self.fp, most)

    def without_headers(self):
        return self.fp

    for other in (with_an_option, with_a_default, without_headers):
        with pytest.raises(AssertionError):
            bounds._begin_by(other)


# --- questions ------------------------------------------------------------------------------------


def ask(door: Outbound, clock: Stage, seconds: float = 5.0) -> Exchange:
    """A question."""
    return door.read("GET", "/question", window=window(clock, seconds), headers={})


def test_an_unsent_question_is_asked_once_more(clock):
    """C-03: a question of which no byte left may be asked again, once, and then is on the wire once."""
    with ScriptedServer(http(200, b"{}"), listening=False) as late:
        clock.on_sleep = late.listen
        exchange = ask(Outbound(late.url, clock=clock), clock)
        assert (exchange.sent, exchange.status, len(late.received), len(clock.slept)) == (True, 200, 1, 1)


def test_an_unsent_question_is_asked_at_most_twice(clock):
    """C-03: two tries, then its failure is the answer."""
    with ScriptedServer(listening=False) as nobody:
        exchange = ask(Outbound(nobody.url, clock=clock), clock)
    assert (exchange.sent, exchange.failure, len(clock.slept)) == (False, "connect", 1)


def test_an_unsent_question_is_not_repeated_past_its_window(clock):
    """C-40: no second try where it could not leave in time."""
    with ScriptedServer(listening=False) as nobody:
        exchange = ask(Outbound(nobody.url, clock=clock), clock, 0.04)
    assert (exchange.failure, clock.slept) == ("connect", [])


@pytest.mark.parametrize("answer", [hang_up, reset, http(503)], ids=["closed", "reset", "503"])
def test_a_sent_question_is_never_repeated(server, clock, answer):
    """C-03: once a byte has left, a question too is asked once."""
    server.answers = [answer, http(200)]
    exchange = ask(Outbound(server.url, clock=clock), clock)
    assert (exchange.sent, len(server.received), clock.slept) == (True, 1, [])


def test_money_is_never_repeated(clock):
    """I-25: a money request that provably did not leave is reported, not repeated."""
    with ScriptedServer(http(200), listening=False) as late:
        clock.on_sleep = late.listen
        assert post(Outbound(late.url, clock=clock), clock).failure == "connect"
        assert clock.slept == []


# --- start-up -------------------------------------------------------------------------------------


def test_waits_until_a_local_process_is_up(clock):
    """C-12: refused, then 503, then up: start-up waits for an answer that means it."""
    with ScriptedServer(http(503), http(404), listening=False) as starting:
        clock.on_sleep = lambda: starting.listen() if len(clock.slept) == 2 else None
        assert wait_until_up(starting.url + "/healthz", 5, clock)
        assert [request.target for request in starting.received] == ["/healthz", "/healthz"]
        assert len(clock.slept) == 3


def test_waits_no_longer_than_told(clock):
    """C-12: a process that never comes up costs the seconds given, not more."""
    with ScriptedServer(listening=False) as nobody:
        began = time.monotonic()
        assert not wait_until_up(nobody.url, 0.3, clock)
        assert 0.25 < time.monotonic() - began < 2.0
