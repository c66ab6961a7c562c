"""The bounds of one exchange: when its bytes may leave, when it must be over, how much may come.

They hold whatever the libraries in between do: a connection of `bridge.outbound` asks for leave before it writes, and
everything that it reads comes through here.
"""

from __future__ import annotations

import http.client
import io
import re
import socket
from contextvars import ContextVar
from dataclasses import dataclass
from email.parser import Parser
from types import FunctionType
from typing import Any, cast

from bridge.ports import Window
from bridge.runtime import Clock, Dial

BODY_LIMIT = 256 * 1024
"""Bytes of the largest body that is accepted, as received; it is never decompressed, so also after it."""

HEAD_LIMIT = 64 * 1024
"""Bytes beside the body: status line, headers, chunk sizes, trailers."""


class Broken(Exception):
    """The exchange ended without a whole answer."""

    def __init__(self, failure: str, cause: BaseException | None = None) -> None:
        self.failure = failure
        self.name = type(cause or self).__name__
        super().__init__(failure)


@dataclass
class Call:
    """The limits of the exchange under way in this thread, how it reaches a host, and whether its bytes have left."""

    window: Window
    clock: Clock
    dial: Dial
    sent: bool = False

    def remaining(self) -> float:
        """Seconds before the deadline."""
        left = self.window.deadline - self.clock.monotonic()
        if left <= 0:
            raise Broken("deadline")
        return left

    def pass_gate(self) -> None:
        """Let the bytes out, or refuse because it is too late for them."""
        self.remaining()
        if self.clock.monotonic() >= self.window.not_after:
            raise Broken("not_after")
        self.sent = True


CALL: ContextVar[Call] = ContextVar("call")
"""How the limits reach a pooled connection, through two libraries that know nothing of them."""


class BoundedReads(io.RawIOBase):
    """A socket's bytes, each read bounded by what is left of the deadline and of the size limit.

    A library's read timeout starts anew with every byte, so a server that drips outlives it.
    """

    def __init__(self, wire: socket.socket) -> None:
        self._wire = wire
        self._bytes = wire.makefile("rb", buffering=0)
        self._left = BODY_LIMIT + HEAD_LIMIT

    def readable(self) -> bool:
        """It is read."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Bytes as they come; raises Broken where the bounds are reached, or the wire breaks."""
        if self._left <= 0:
            raise Broken("too_large")
        self._wire.settimeout(CALL.get().remaining())
        try:
            count = self._bytes.readinto(buffer)
        except TimeoutError as late:
            raise Broken("deadline", late) from late
        except OSError as trouble:
            raise Broken("reset", trouble) from trouble
        self._left -= count or 0
        return count

    def close(self) -> None:
        """Let go of the socket."""
        self._bytes.close()
        super().close()


def _headers(answer: io.BufferedReader) -> http.client.HTTPMessage:
    """The headers of an answer. In their usual form they need no parser of mail; whatever is unusual is read by that
    parser, as it always was."""
    lines = http.client._read_headers(answer)  # type: ignore[attr-defined]  # noqa: SLF001 - with its limits
    message = http.client.HTTPMessage()
    for line in lines[:-1]:
        usual = _USUAL.fullmatch(line)
        if usual is None:
            return Parser(_class=http.client.HTTPMessage).parsestr(b"".join(lines).decode("iso-8859-1"))
        message[usual[1].decode()] = usual[2].decode()
    return message


_USUAL = re.compile(rb"([0-9A-Za-z-]+):[ \t]*([!-~][ -~\t]*)\r\n")


def _begin_by(begin: FunctionType) -> FunctionType:
    """The library's own way to begin an answer, in which `parse_headers` is ours. Its code alone is taken over: a
    version of it in which there is more to it than code ends here, when it is imported, and not at an answer."""
    assert begin.__defaults__ is None
    assert begin.__kwdefaults__ is None
    assert begin.__closure__ is None
    assert "parse_headers" in begin.__code__.co_names
    return FunctionType(begin.__code__, {**vars(http.client), "parse_headers": _headers})


class BoundedAnswer(http.client.HTTPResponse):
    """An answer whose status line, headers and body are all read under the call's limits."""

    begin = _begin_by(cast("FunctionType", http.client.HTTPResponse.begin))

    def __init__(self, sock: socket.socket, debuglevel: int = 0, method: str | None = None) -> None:
        super().__init__(sock, debuglevel, method)
        self.fp.close()
        self.fp = io.BufferedReader(BoundedReads(sock))
