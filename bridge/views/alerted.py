"""What is wrong now: the alerts that are open, as the first page tells them, the most serious first."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, Table, case, func, or_, select, text

from bridge import models
from bridge.alerts.conditions import Kind
from bridge.views import redaction

_alert: Table = models.metadata.tables["alert"]

MOST_SERIOUS_FIRST = (
    Kind.SILENT,  # nothing is resolved
    Kind.SET_BACK,  # what is kept may be older than what was done
    Kind.MOVED,  # nothing of it is resolved
    Kind.ORPHANS,
    Kind.PENDING,
    Kind.CHECK,
    Kind.BREAKER,
    Kind.CAP_HIT,
    Kind.HANGS,
    Kind.JOB,
    Kind.ENDPOINT,
    Kind.LOCKED,
)
"""In this order they are told, whatever began last. All of them: of each kind there are as many as there are providers,
jobs, endpoints; of logins as many as somebody cares to lock, and these are one line."""

_TOGETHER = "{} logins at the desk are locked after three wrong tries; whose stands in the audit log there."

_OF_ALL = {
    Kind.SILENT: "No process runs the jobs.",
    Kind.CHECK: "A check of the books or of the audit fails, or is late.",
    Kind.JOB: "A job fails.",
    Kind.HANGS: "A job hangs.",
    Kind.SET_BACK: "The database is a restored backup or a copy.",
    Kind.MOVED: "A provider is configured as another one than it was.",
}
"""What people of other operators than the steward are told of what all share: not of whom, and not where."""


@dataclass(frozen=True)
class Alert:
    """One thing that is wrong, in a sentence, since when (microseconds)."""

    sentence: str
    since: int


def open_ones(connection: Connection, operator_id: int, *, whole: bool) -> list[Alert]:
    """The alerts about an operator and about what all share, the most serious first, then the newest. `whole`: as they
    were told; else of what all share only what kind it is, each once."""
    owner, kind, sentence, began = (_alert.c[name] for name in ("operator_id", "kind", "sentence", "began_at"))
    alike = kind == Kind.LOCKED.value if whole else or_(kind == Kind.LOCKED.value, owner.is_(None))
    first, since = func.min(sentence).label("sentence"), func.min(began).label("since")
    query = (
        select(kind, owner, first, since, func.count().label("alerts"))
        .where(text("alert.ended_at IS NULL"), or_(owner == operator_id, owner.is_(None)))
        .group_by(kind, owner, case((alike, ""), else_=sentence))
        .order_by(since.desc(), first)
    )
    found = connection.execute(query).mappings().all()
    return [Alert(_said(row, whole=whole), row["since"]) for row in sorted(found, key=_seriousness)]


def _seriousness(row: RowMapping) -> int:
    """Its place among all kinds; of those that are none of ours any more the last."""
    places = {kind.value: place for place, kind in enumerate(MOST_SERIOUS_FIRST)}
    return places.get(row["kind"], len(places))


def _said(row: RowMapping, *, whole: bool) -> str:
    if not whole and row["operator_id"] is None:
        return _OF_ALL.get(row["kind"], "Something is wrong.")
    if row["kind"] == Kind.LOCKED and row["alerts"] > 1:
        return _TOGETHER.format(row["alerts"])
    return redaction.text(row["sentence"])
