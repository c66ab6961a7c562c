"""One JSON line per call, answer and move, with the transfer's id and never a secret, on standard error.

Every line about a transfer carries its `trace_id`, which is its own id in hexadecimal: the same in the API, in the
jobs, under a callback and under a delivery, in every process, for its whole life.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Iterator, MutableMapping
from contextvars import ContextVar
from typing import Any, TextIO, cast

import orjson
import structlog

_ABOUT: ContextVar[str | None] = ContextVar("bridge_transfer", default=None)
_OF_A_TRANSFER = re.compile(r"tr_([0-9a-f]{32})")


def configure() -> None:
    """Set up the process's log once, at its start."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _with_its_trace,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_one_line),
        ],
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", _Unfailing())),
        cache_logger_on_first_use=True,
    )


class _Unfailing(io.TextIOBase):
    """Standard error, except that a full disk or a dead collector behind it stops no money: a line that
    cannot be written is lost, an answer that was received is not."""

    def write(self, line: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            return sys.stderr.write(line)
        return len(line)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()


def get(room: str) -> Any:
    """The log of one room of the bridge."""
    return structlog.get_logger(room=room)


def trace_of(transfer_id: str | None) -> str | None:
    """The trace id of a transfer: the 128 bits of its own id in 32 hexadecimal digits; None for what is no such id."""
    found = _OF_A_TRANSFER.fullmatch(transfer_id or "")
    return None if found is None else found[1]


def about(transfer_id: str | None) -> None:
    """From here on this thread's lines are about a transfer; None: about none. A request's thread says so at its start,
    for it has served others."""
    _ABOUT.set(transfer_id)


def present() -> str | None:
    """The transfer that this thread's lines are about."""
    return _ABOUT.get()


@contextlib.contextmanager
def within(transfer_id: str | None) -> Iterator[None]:
    """What is logged inside is about a transfer; afterwards it is as before."""
    token = _ABOUT.set(transfer_id)
    try:
        yield
    finally:
        _ABOUT.reset(token)


def _with_its_trace(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The line's own transfer, or the one that this thread is at."""
    transfer = line.get("transfer")
    trace = trace_of(transfer if isinstance(transfer, str) else _ABOUT.get())
    if trace is not None:
        line["trace_id"] = trace
    return line


def _one_line(event: Any, **_options: Any) -> str:
    """Control characters leave as JSON escapes, so a hostile message stays one line."""
    return orjson.dumps(event, default=str).decode()
