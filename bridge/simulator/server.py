"""The HTTP door: reads requests, hands them on, and puts on the socket exactly what it is told to."""

from __future__ import annotations

import select
import socket
import socketserver
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from http.client import responses
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qsl, urlsplit

from bridge.simulator.messages import Delivery, Request

LARGEST_BODY = 65_536
IDLE_SECONDS = 300  # a kept-alive connection without a request is closed after this
GLANCE = 0.05  # seconds between two looks whether a client that gets no answer has gone
NO_LINGER = struct.pack("ii", 1, 0)  # close with a reset instead of in good order


@dataclass
class Gate:
    """Counts the requests in hand, so that a stop lets them finish and lets no new one begin."""

    stopping: threading.Event = field(default_factory=threading.Event)
    _in_hand: int = 0
    _turn: threading.Condition = field(default_factory=threading.Condition)

    def enter(self) -> bool:
        """Begin a request; False when it is too late."""
        with self._turn:
            if not self.stopping.is_set():
                self._in_hand += 1
            return not self.stopping.is_set()

    def leave(self) -> None:
        """The request is answered (or dropped)."""
        with self._turn:
            self._in_hand -= 1
            self._turn.notify_all()

    def close(self, seconds: float) -> None:
        """Let nothing new in, cut every pause short, wait at most so many seconds for what is in hand."""
        with self._turn:
            self.stopping.set()
            self._turn.wait_for(lambda: self._in_hand == 0, seconds)

    def pause(self, seconds: float) -> bool:
        """Wait, but not into a stop; True when a stop has cut it short."""
        return self.stopping.wait(seconds)


class Door(socketserver.ThreadingTCPServer):
    """One listener on loopback, one thread a connection."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 512

    def __init__(
        self,
        address: tuple[str, int],
        gate: Gate,
        answer: Callable[[Request], Delivery],
        at_accept: Callable[[], Delivery | None] = lambda: None,
    ) -> None:
        """`at_accept` may drop a connection before it is read. Raises OSError when the port is taken."""
        self.gate, self.answer, self.at_accept = gate, answer, at_accept
        super().__init__(address, _Connection)

    @property
    def url(self) -> str:
        """Where clients find it."""
        host, port = self.server_address[:2]
        return f"http://{host if isinstance(host, str) else host.decode()}:{port}"

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        """Close without the polite FIN first: it would arrive before the reset that a lie asked for."""
        self.close_request(request)


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = IDLE_SECONDS
    server: Door

    def handle(self) -> None:
        """Serve requests until the connection ends, by either side's wish."""
        try:
            if dropped := self.server.at_accept():
                self._send(dropped)
                return
            self.close_connection = False
            while not self.close_connection:
                self._one_request()
        except OSError:
            self.close_connection = True  # the client has gone: what was done stays done, nobody is told

    def _one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(LARGEST_BODY + 1)
        if not self.raw_requestline or len(self.raw_requestline) > LARGEST_BODY or not self.server.gate.enter():
            self.close_connection = True
            return
        try:
            if self.parse_request():
                self._send(self.server.answer(self._read()))
        finally:
            self.server.gate.leave()

    def _read(self) -> Request:
        url = urlsplit(self.path)
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        headers = {name.lower(): value for name, value in self.headers.items()}
        length = headers.get("content-length", "0")
        if "transfer-encoding" in headers or not (length.isascii() and length.isdigit()):
            fault = "The body needs a Content-Length."
        elif int(length[:9]) > LARGEST_BODY:
            fault = f"The body is larger than {LARGEST_BODY} bytes."
        else:
            body = self.rfile.read(int(length))
            if len(body) < int(length):
                raise ConnectionError("the client went before its body was whole")
            return Request(self.command, url.path, query, headers, body)
        self.close_connection = True  # the unread body would be taken for the next request
        return Request(self.command, url.path, query, headers, b"", fault)

    def _send(self, delivery: Delivery) -> None:
        if delivery.cut == "hang":
            self._wait_for_the_client_to_go(delivery.delay)
        else:
            self.server.gate.pause(delivery.delay)
        if delivery.cut:
            self.close_connection = True
        if delivery.cut in ("", "half"):
            self._write(delivery)
        if delivery.cut in ("reset", "half"):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)

    def _write(self, delivery: Delivery) -> None:
        head = self._head(delivery)
        if delivery.cut == "half":
            self.connection.sendall(head + delivery.body[: len(delivery.body) // 2])
            self.server.gate.pause(GLANCE)  # a reset overtakes bytes that the client has not read yet
        elif delivery.drip:
            slow_head = head if delivery.part in ("headers", "both") else b""
            self.connection.sendall(head[len(slow_head) :])
            self._drip(slow_head, delivery.drip)
            self._drip(delivery.body, delivery.drip if delivery.part in ("body", "both") else 0)
        else:
            self.connection.sendall(head + delivery.body)

    def _head(self, delivery: Delivery) -> bytes:
        lines = [f"HTTP/1.1 {delivery.status} {responses.get(delivery.status, 'Unknown')}"]
        headers = {"Date": formatdate(usegmt=True), **delivery.headers}
        if delivery.status != HTTPStatus.NO_CONTENT:
            headers["Content-Length"] = str(len(delivery.body))
        if self.close_connection:
            headers["Connection"] = "close"
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def _drip(self, content: bytes, seconds: float) -> None:
        if not seconds:
            self.connection.sendall(content)
            return
        for place in range(len(content)):
            self.connection.sendall(content[place : place + 1])
            self.server.gate.pause(seconds)

    def _wait_for_the_client_to_go(self, seconds: float) -> None:
        left = seconds
        while left > 0 and not self.server.gate.stopping.is_set():
            readable, _, _ = select.select([self.connection], [], [], GLANCE)
            if readable and not self.connection.recv(1, socket.MSG_PEEK):
                return
            if readable:
                self.server.gate.pause(GLANCE)  # more bytes, not the end: do not spin on them
            left -= GLANCE

    def log_message(self, *_: object) -> None:
        """Say nothing: the wire diary is the log."""
