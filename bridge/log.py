"""One JSON line per call, answer and move, with the transfer's id and never a secret, on standard error."""

from __future__ import annotations

import contextlib
import io
import sys
from typing import Any, TextIO, cast

import orjson
import structlog


def configure() -> None:
    """Set up the process's log once, at its start."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
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


def _one_line(event: Any, **_options: Any) -> str:
    """Control characters leave as JSON escapes, so a hostile message stays one line."""
    return orjson.dumps(event, default=str).decode()
