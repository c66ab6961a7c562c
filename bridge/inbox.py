"""The inbox: what providers tell us unasked, stored before it is acted on."""

from __future__ import annotations

from sqlalchemy import Connection, Table, update

from bridge import models

_task: Table = models.metadata.tables["inbox_task"]


def settle(connection: Connection, inbox_id: int, transfer_id: str, now: int) -> bool:
    """Mark a message as acted on, in the caller's transaction; false if it was already."""
    done = {"state": "done", "transfer_id": transfer_id, "wake_at": None, "handled_at": now}
    open_ = _task.c.state.in_(("waiting", "parked"))
    return connection.execute(update(_task).where(_task.c.inbox_id == inbox_id, open_).values(**done)).rowcount == 1
