"""A server that follows a script, byte by byte: it knows sockets and HTTP's framing, and no protocol of ours.

It keeps everything that reached it, so a test counts at the only place that matters: the other end.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Self
from urllib.parse import parse_qs, urlsplit

Answer = Callable[[socket.socket], bool]
"""Writes an answer; true if the connection may carry another request."""


@dataclass(frozen=True)
class Received:
    """One request as it came: `first` is what the first read returned."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    first: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query)


def raw(message: bytes, *, keep: bool = True) -> Answer:
    """These bytes, then the next request, or the end of the connection."""

    def answer(wire: socket.socket) -> bool:
        wire.sendall(message)
        return keep

    return answer


def http(
    status: int, body: bytes | str = b"", content_type: str = "application/json", *extra: str, keep: bool = True
) -> Answer:
    """A well-formed answer with a length."""
    content = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(content)}"]
    lines += [f"Content-Type: {content_type}"] if content_type else []
    return raw("\r\n".join([*lines, *extra, "", ""]).encode() + content, keep=keep)


def drip(start: bytes, piece: bytes, *, seconds: float = 0.05) -> Answer:
    """`start` at once, then `piece` again and again, for ever."""

    def answer(wire: socket.socket) -> bool:
        wire.sendall(start)
        while True:
            time.sleep(seconds)
            wire.sendall(piece)

    return answer


def hang_up(_: socket.socket) -> bool:
    """Read the request, close without an answer."""
    return False


def reset(wire: socket.socket) -> bool:
    """Read the request, answer with a TCP reset."""
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def silence(wire: socket.socket) -> bool:
    """Read the request and say nothing until the other side gives up."""
    wire.recv(1)
    return False


class ScriptedServer:
    """Listens on loopback and gives `answers` in their order, then closes; `routes` answer a path always."""

    def __init__(self, *answers: Answer, listening: bool = True) -> None:
        self.answers = list(answers)
        self.routes: dict[str, Answer] = {}
        self.received: list[Received] = []
        self.connections = 0
        self.bytes = 0
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._door = socket.socket()
        self._door.bind(("127.0.0.1", 0))
        self.port = self._door.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        if listening:
            self.listen()

    def listen(self) -> None:
        self._door.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening and cut every connection."""
        self._cut(self._door)
        for wire in self._open:
            self._cut(wire)

    def requests(self, path: str) -> list[Received]:
        return [request for request in self.received if request.path == path]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @staticmethod
    def _cut(wire: socket.socket) -> None:
        with suppress(OSError):
            wire.shutdown(socket.SHUT_RDWR)
        wire.close()

    def _accept(self) -> None:
        while True:
            try:
                wire, _ = self._door.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._open.append(wire)
            threading.Thread(target=self._serve, args=(wire,), daemon=True).start()

    def _serve(self, wire: socket.socket) -> None:
        try:
            while (request := self._read(wire)) is not None:
                with self._lock:
                    self.received.append(request)
                    answer = self.routes.get(request.path)
                    if answer is None:
                        answer = self.answers.pop(0) if self.answers else hang_up
                if not answer(wire):
                    break
        except OSError:
            pass
        wire.close()

    def _read(self, wire: socket.socket) -> Received | None:
        got = first = self._more(wire)
        while b"\r\n\r\n" not in got:
            if not (more := self._more(wire)):
                return None
            got += more
        head, _, body = got.partition(b"\r\n\r\n")
        line, *rest = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in rest)}
        while len(body) < int(headers.get("content-length", "0")):
            if not (more := self._more(wire)):
                return None
            body += more
        method, target, _ = line.split(" ")
        return Received(method, target, headers, body, first)

    def _more(self, wire: socket.socket) -> bytes:
        got = wire.recv(65536)
        with self._lock:
            self.bytes += len(got)
        return got
