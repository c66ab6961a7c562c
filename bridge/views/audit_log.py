"""The audit log as people read it: who did or tried what, from where, what it changed; newest first, and as a file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, Table, and_, func, or_, select

from bridge import db, models
from bridge.money import plain
from bridge.ports import SECOND
from bridge.runtime import Runtime
from bridge.views import sheet
from bridge.views.amounts import instant

_note: Table = models.metadata.tables["access_note"]
_person: Table = models.metadata.tables["person"]
_proposal: Table = models.metadata.tables["proposal"]

PAGE = 100
PIECE = 10 * PAGE
"""Notes that are read at a time for a file."""

DAYS = 30
"""So far back is looked where nobody says from when: what is rare is not looked for in years of notes."""

REVIEW, LOG = "review", "audit log"
"""Kind and subject of the note that the log was reviewed."""

APART_SECONDS = 600
"""An entry with a higher number is at most so much older than one with a lower: clocks differ, transactions last."""

MOST_COUNTED = 1000
"""More entries than that since the last review are "more than"."""

_NAMED = re.compile(r"\b(tr|pr)_[0-9A-Za-z]+\b")
_UP_TO = re.compile(r"up to entry ([0-9]{1,19})\b")

HEAD = (
    "entry", "at", "person_id", "login", "name", "kind", "outcome", "about", "transfer", "proposal", "reason",
    "before", "after", "address",
)  # fmt: skip


@dataclass(frozen=True)
class Wanted:
    """Which notes are wanted; None asks for nothing. Instants in microseconds; `subject`: a transfer, with all that
    was proposed about it, a person by login, or what a note says itself; `before`: notes behind this place."""

    person: str | None = None
    kind: str | None = None
    outcome: str | None = None
    subject: str | None = None
    since: int | None = None
    until: int | None = None
    before: tuple[int, int] | None = None


@dataclass(frozen=True)
class Note:
    """One access, made or refused. `person`: the name of who it was; `login`: theirs, or as it was typed where nobody
    has it, or the user of the machine who typed a command. `transfer`, `proposal`: which it is about, if any."""

    id: int
    at: int
    person_id: str | None
    person: str | None
    login: str | None
    kind: str
    outcome: str
    subject: str | None
    reason: str | None
    before: str | None
    after: str | None
    address: str
    transfer: str | None
    proposal: str | None


@dataclass(frozen=True)
class Review:
    """That somebody has reviewed the log up to an entry, and what they found."""

    at: int
    person: str
    up_to: int
    found: str


@dataclass(frozen=True)
class Page:
    """Notes of the time from `since` to `until`; `further` continues behind the last one, None at the end. `review`:
    the last one; `behind`: so many entries came in after what it saw."""

    since: int
    until: int
    notes: tuple[Note, ...]
    further: tuple[int, int] | None
    people: Mapping[str, str]
    review: Review | None
    behind: int


@dataclass(frozen=True)
class Unreviewed:
    """The oldest entries that nobody has reviewed, oldest first, as of an instant. `review`: the last one; `behind`: so
    many entries came in after what it saw, these among them."""

    at: int
    notes: tuple[Note, ...]
    people: Mapping[str, str]
    review: Review | None
    behind: int


def page(runtime: Runtime, operator_id: int, wanted: Wanted) -> Page:
    """The newest notes that are wanted. `people`: id → name of everybody of the operator, to choose from."""
    wanted = _bounded(runtime, wanted)
    assert wanted.since is not None
    assert wanted.until is not None
    with db.reading(runtime.engine) as connection:
        notes = _read(connection, operator_id, wanted, PAGE + 1)
        people = _people(connection, operator_id)
        review = last_review(connection, operator_id)
        newer = behind(connection, operator_id, reviewed_to(review))
    shown = tuple(notes[:PAGE])
    further = (shown[-1].at, shown[-1].id) if len(notes) > PAGE else None
    return Page(wanted.since, wanted.until, shown, further, people, review, newer)


def unreviewed(runtime: Runtime, operator_id: int) -> Unreviewed:
    """What is to be reviewed next, at most a page of it: by the numbers of entries, as a review goes by them."""
    now = runtime.clock.now()
    with db.reading(runtime.engine) as connection:
        review = last_review(connection, operator_id)
        newer = _newer(connection, operator_id, reviewed_to(review))
        notes = _selected(connection, operator_id, newer, (_note.c.id,), PAGE)
        people = _people(connection, operator_id)
        return Unreviewed(now, tuple(notes), people, review, behind(connection, operator_id, reviewed_to(review)))


def lines(runtime: Runtime, operator_id: int, wanted: Wanted) -> Iterator[str]:
    """All that is wanted as a file for a spreadsheet, line by line; read piece by piece, so that whoever takes them
    slowly keeps no transaction open."""
    wanted = _bounded(runtime, wanted)
    yield sheet.line(HEAD)
    while True:
        with db.reading(runtime.engine) as connection:
            notes = _read(connection, operator_id, wanted, PIECE)
        for note in notes:
            yield sheet.line(_cells(note))
        if len(notes) < PIECE:
            return
        wanted = replace(wanted, before=(notes[-1].at, notes[-1].id))


def _cells(note: Note) -> Iterator[str | sheet.Number]:
    yield sheet.Number(str(note.id))
    yield f"{instant(note.at):%Y-%m-%dT%H:%M:%S.%fZ}"
    told = (
        note.person_id, note.login, note.person, note.kind, note.outcome, note.subject, note.transfer, note.proposal,
        note.reason, plain(note.before or ""), plain(note.after or ""), note.address,
    )  # fmt: skip
    yield from (each or "" for each in told)


# --- reviews ------------------------------------------------------------------------------------------


def last_review(connection: Connection, operator_id: int) -> Review | None:
    """The last time that somebody said that they had reviewed this operator's log."""
    mine = (_note.c.operator_id == operator_id, _note.c.subject == LOG, _note.c.kind == REVIEW)
    query = select(_note, _person.c.name.label("name")).join(_person, _person.c.id == _note.c.person_id)
    row = connection.execute(query.where(*mine).order_by(_note.c.id.desc()).limit(1)).mappings().first()
    found = None if row is None else _UP_TO.search(row["after"] or "")
    if row is None or found is None:
        return None
    return Review(row["at"], row["name"], int(found[1]), row["reason"] or "")


def reviewed_to(review: Review | None) -> int:
    """The last entry that a review saw; 0 before the first one."""
    return 0 if review is None else review.up_to


def entry_at(connection: Connection, operator_id: int, number: int) -> int | None:
    """When this entry of the operator's log was written; None where it has none of that number."""
    mine = (_note.c.operator_id == operator_id, _note.c.id == number)
    at: int | None = connection.execute(select(_note.c.at).where(*mine)).scalar()
    return at


def between(connection: Connection, operator_id: int, number: int, up_to: int) -> int:
    """How many entries of the operator have a number behind the one and up to the other."""
    numbered = (*_newer(connection, operator_id, number), _note.c.id <= up_to)
    return int(connection.execute(select(func.count()).select_from(_note).where(*numbered)).scalar_one())


def behind(connection: Connection, operator_id: int, number: int) -> int:
    """How many entries came in behind this one, but no more than MOST_COUNTED and one."""
    newer = select(_note.c.id).where(*_newer(connection, operator_id, number)).limit(MOST_COUNTED + 1)
    return int(connection.execute(select(func.count()).select_from(newer.subquery())).scalar_one())


def _newer(connection: Connection, operator_id: int, number: int) -> tuple[ColumnElement[bool], ...]:
    """Of the operator, behind an entry; by time too, which has the index: years are not read for the newest."""
    at = entry_at(connection, operator_id, number)
    since = 0 if at is None else at - APART_SECONDS * SECOND
    return _note.c.operator_id == operator_id, _note.c.at >= since, _note.c.id > number


# --- reading ------------------------------------------------------------------------------------------


def _bounded(runtime: Runtime, wanted: Wanted) -> Wanted:
    until = runtime.clock.now() if wanted.until is None else wanted.until
    since = max(0, until - DAYS * 86_400 * SECOND) if wanted.since is None else wanted.since
    return replace(wanted, since=since, until=until)


def _read(connection: Connection, operator_id: int, wanted: Wanted, limit: int) -> list[Note]:
    conditions = (_note.c.operator_id == operator_id, *_conditions(connection, operator_id, wanted))
    return _selected(connection, operator_id, conditions, (_note.c.at.desc(), _note.c.id.desc()), limit)


def _selected(
    connection: Connection, operator_id: int, conditions: Sequence[Any], order: Sequence[ColumnElement[Any]], limit: int
) -> list[Note]:
    query = (
        select(_note, _person.c.name.label("name"), _person.c.login.label("known_login"))
        .join(_person, _person.c.id == _note.c.person_id, isouter=True)
        .where(*conditions)
        .order_by(*order)
        .limit(limit)
    )
    rows = connection.execute(query).mappings().all()
    named = [_named(row) for row in rows]
    transfers = _transfers_of(connection, operator_id, {each["pr"] for each in named if "pr" in each})
    return [_noted(row, names, transfers) for row, names in zip(rows, named, strict=True)]


def _noted(row: RowMapping, names: Mapping[str, str], transfers: Mapping[str, str]) -> Note:
    proposal = names.get("pr")
    return Note(
        row["id"], row["at"], row["person_id"], row["name"], row["known_login"] or row["login"], row["kind"],
        row["outcome"], row["subject"], row["reason"], row["before"], row["after"], row["address"],
        transfers.get(proposal or "", names.get("tr")), proposal,
    )  # fmt: skip


def _named(row: RowMapping) -> dict[str, str]:
    """The first transfer and the first proposal that a note names, by the beginning of their ids."""
    found: dict[str, str] = {}
    for told in (row["subject"], row["after"], row["before"]):
        for match in _NAMED.finditer(told or ""):
            found.setdefault(match[1], match[0])
    return found


def _transfers_of(connection: Connection, operator_id: int, proposals: set[str]) -> Mapping[str, str]:
    query = select(_proposal.c.id, _proposal.c.transfer_id).where(_proposal.c.operator_id == operator_id)
    return dict(connection.execute(query.where(_proposal.c.id.in_(sorted(proposals)))).all())


def _conditions(connection: Connection, operator_id: int, wanted: Wanted) -> list[Any]:
    conditions: list[Any] = [_note.c.at >= wanted.since, _note.c.at <= wanted.until]
    for column, value in (("person_id", wanted.person), ("kind", wanted.kind), ("outcome", wanted.outcome)):
        if value is not None:
            conditions.append(_note.c[column] == value)
    if wanted.subject is not None:
        conditions.append(_about(connection, operator_id, wanted.subject))
    if wanted.before is not None:
        at, number = wanted.before
        conditions.append(or_(_note.c.at < at, and_(_note.c.at == at, _note.c.id < number)))
    return conditions


def _about(connection: Connection, operator_id: int, word: str) -> Any:
    """Notes about what has this id, login or name, about the proposals of such a transfer, and of pages of it that
    were refused."""
    proposals = select(_proposal.c.id).where(_proposal.c.operator_id == operator_id, _proposal.c.transfer_id == word)
    person = select(_person.c.id).where(_person.c.operator_id == operator_id, _person.c.login == word.lower())
    queries: tuple[Select[Any], ...] = (proposals, person)
    ids = [word, *(found for query in queries for found in connection.execute(query).scalars())]
    paths = (_note.c.subject.contains(f"/{each}", autoescape=True) for each in ids)
    return or_(_note.c.subject.in_(ids), and_(_note.c.kind == "access", or_(*paths)))


def _people(connection: Connection, operator_id: int) -> dict[str, str]:
    query = select(_person.c.id, _person.c.name).where(_person.c.operator_id == operator_id)
    return {row.id: row.name for row in connection.execute(query.order_by(_person.c.name, _person.c.id))}
