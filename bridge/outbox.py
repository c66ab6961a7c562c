"""The outbox: what operators are to be told, written in the commit of what happened, and so never of what did not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Table, insert

from bridge import models

_outbox: Table = models.metadata.tables["outbox"]

COLUMNS = (
    "operator_id", "transfer_id", "version", "state", "amount", "arrived", "reason_code", "reason_detail", "at",
)  # fmt: skip
"""What is kept of a move. All else that an event tells of its transfer never changes."""

_INSERT = insert(_outbox)


def put(connection: Connection, moved: Mapping[str, Any]) -> None:
    """Keep a move, COLUMNS of it, in the caller's transaction; it becomes an event afterwards (`bridge/events.py`)."""
    connection.execute(_INSERT, {name: moved[name] for name in COLUMNS})
