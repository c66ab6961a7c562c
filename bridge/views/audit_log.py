"""The audit log as people read it: who did or tried what, from where, and what it changed; newest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, and_, or_, select

from bridge import db, models
from bridge.ports import SECOND
from bridge.runtime import Runtime

_note: Table = models.metadata.tables["access_note"]
_person: Table = models.metadata.tables["person"]

PAGE = 100
DAYS = 30
"""So far back is looked where nobody says from when: what is rare is not looked for in years of notes."""

DONE, REFUSED = "done", "refused"


@dataclass(frozen=True)
class Wanted:
    """Which notes are wanted; None asks for nothing. Instants in microseconds; `before`: notes behind this place."""

    person: str | None = None
    kind: str | None = None
    outcome: str | None = None
    subject: str | None = None
    since: int | None = None
    until: int | None = None
    before: tuple[int, int] | None = None


@dataclass(frozen=True)
class Note:
    """One access, made or refused. `person`: the name of who it was; `login`: as it was typed where nobody has it."""

    id: int
    at: int
    person: str | None
    login: str | None
    kind: str
    outcome: str
    subject: str | None
    reason: str | None
    before: str | None
    after: str | None
    address: str


@dataclass(frozen=True)
class Page:
    """Notes of the time from `since` to `until`; `further` continues behind the last one, None at the end."""

    since: int
    until: int
    notes: tuple[Note, ...]
    further: tuple[int, int] | None
    people: tuple[tuple[str, str], ...]


def page(runtime: Runtime, operator_id: int, wanted: Wanted) -> Page:
    """The newest notes that are wanted. `people`: (id, name) of everybody of the operator, to choose from."""
    now = runtime.clock.now()
    until = now if wanted.until is None else wanted.until
    since = max(0, until - DAYS * 86_400 * SECOND) if wanted.since is None else wanted.since
    query = (
        select(_note, _person.c.name.label("name"))
        .join(_person, _person.c.id == _note.c.person_id, isouter=True)
        .where(_note.c.operator_id == operator_id, _note.c.at >= since, _note.c.at <= until, *_conditions(wanted))
        .order_by(_note.c.at.desc(), _note.c.id.desc())
        .limit(PAGE + 1)
    )
    with db.reading(runtime.engine) as connection:
        rows = connection.execute(query).mappings().all()
        people = _people(connection, operator_id)
    notes = tuple(
        Note(
            row["id"], row["at"], row["name"], row["login"], row["kind"], row["outcome"], row["subject"],
            row["reason"], row["before"], row["after"], row["address"],
        )
        for row in rows[:PAGE]
    )  # fmt: skip
    further = (notes[-1].at, notes[-1].id) if len(rows) > PAGE else None
    return Page(since, until, notes, further, tuple(people))


def _conditions(wanted: Wanted) -> list[Any]:
    conditions: list[Any] = []
    for column, value in (
        ("person_id", wanted.person), ("kind", wanted.kind), ("outcome", wanted.outcome), ("subject", wanted.subject),
    ):  # fmt: skip
        if value is not None:
            conditions.append(_note.c[column] == value.replace("\x00", ""))
    if wanted.before is not None:
        at, number = wanted.before
        conditions.append(or_(_note.c.at < at, and_(_note.c.at == at, _note.c.id < number)))
    return conditions


def _people(connection: Connection, operator_id: int) -> Sequence[tuple[str, str]]:
    query = select(_person.c.id, _person.c.name).where(_person.c.operator_id == operator_id)
    return [(row.id, row.name) for row in connection.execute(query.order_by(_person.c.name, _person.c.id))]
