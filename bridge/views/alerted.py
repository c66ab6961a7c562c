"""What is wrong now: the alerts that are open, as the first page tells them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, Table, or_, select, text

from bridge import models
from bridge.alerts.conditions import Kind
from bridge.views import redaction

_alert: Table = models.metadata.tables["alert"]

AT_MOST = 50

_OF_ALL = {
    Kind.SILENT: "No process runs the jobs.",
    Kind.CHECK: "A check of the books or of the audit fails, or is late.",
    Kind.JOB: "A job fails.",
    Kind.HANGS: "A job hangs.",
    Kind.SET_BACK: "The database is a restored backup or a copy.",
}
"""What people of other operators than the steward are told of what all share: not of whom, and not where."""


@dataclass(frozen=True)
class Alert:
    """One thing that is wrong, in a sentence, since when (microseconds)."""

    sentence: str
    since: int


def open_ones(connection: Connection, operator_id: int, *, whole: bool) -> list[Alert]:
    """The alerts about an operator and about what all share, the newest first. `whole`: as they were told; else of what
    all share only what kind it is, each once."""
    mine = or_(_alert.c.operator_id == operator_id, _alert.c.operator_id.is_(None))
    query = select(_alert).where(text("alert.ended_at IS NULL"), mine).order_by(_alert.c.began_at.desc(), _alert.c.id)
    found: dict[str, Alert] = {}
    for row in connection.execute(query.limit(AT_MOST)).mappings():
        told = whole or row["operator_id"] is not None
        sentence = redaction.text(row["sentence"]) if told else _OF_ALL.get(row["kind"], "Something is wrong.")
        found[sentence] = Alert(sentence, row["began_at"])
    return list(found.values())
