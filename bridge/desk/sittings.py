"""Sittings: one person at one browser, from coming in to leaving. Found by the digest of the cookie's 256 bits.

A sitting ends by itself after `desk.idle_minutes` without anything that a person did, or `desk.absolute_hours` in all;
at once when its person leaves, is disabled, or has role or password changed (`epoch`). Nothing outlives it on the
server, whatever a browser keeps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, RowMapping, Table, insert, select, update

from bridge import db, keys, models
from bridge.desk import accesses, rows
from bridge.desk.rows import Person, person_of
from bridge.errors import Forbidden, Unauthorized
from bridge.models.desk import Outcome, PersonState, Role
from bridge.ports import SECOND
from bridge.runtime import Runtime

_sitting: Table = models.metadata.tables["sitting"]
_operator: Table = models.metadata.tables["operator"]
_person = rows.person_table

MINUTE, HOUR = 60 * SECOND, 3600 * SECOND
TOUCH_SECONDS = 10
"""A sitting is written as seen at most so often: looking at pages is no storm of writes."""


@dataclass(frozen=True)
class Sitting:
    """Where somebody sits: the digest of the cookie, who, when both factors were last shown (microseconds)."""

    digest: str
    person: Person
    proved_at: int
    address: str


def begin(
    connection: Connection, runtime: Runtime, person_id: str, epoch: int, address: str, *, instead_of: str | None = None
) -> str:
    """Seat a person who has just shown both factors; the cookie's secret, which is always a new one. `instead_of`: the
    digest of the sitting that goes on in it: it began when that one did, both factors were shown then, and what was
    wrong in it since stays wrong.

    The caller holds the person's row and has checked its state."""
    token, now = runtime.ids.secret(), runtime.clock.now()
    row = {"digest": keys.digest(token), "person_id": person_id, "epoch": epoch, "address": address, "failures": 0,
           "began_at": now, "seen_at": now, "proved_at": now}  # fmt: skip
    if instead_of is not None:
        kept = (_sitting.c.began_at, _sitting.c.proved_at, _sitting.c.failures)
        row |= dict(connection.execute(select(*kept).where(_sitting.c.digest == instead_of)).mappings().one())
    connection.execute(insert(_sitting).values(**row))
    return token


def find(runtime: Runtime, token: str, address: str, *, moved: bool) -> Sitting | None:
    """Whose sitting this cookie is, None if it is nobody's any more. `moved`: a person did something; what a page asks
    by itself keeps nobody awake. `address`: from where it is used now."""
    digest, now = keys.digest(token), runtime.clock.now()
    with db.reading(runtime.engine) as connection:
        row = _found(connection, runtime, digest)
    if row is None:
        return None
    if moved and now - row["seen_at"] > TOUCH_SECONDS * SECOND:
        with db.writing(runtime.engine) as connection:
            still_less = (_sitting.c.digest == digest, _sitting.c.seen_at < now)
            connection.execute(update(_sitting).where(*still_less).values(seen_at=now))
    return Sitting(digest, person_of(row), row["proved_at"], address)


def _found(connection: Connection, runtime: Runtime, digest: str, *, to_change: bool = False) -> RowMapping | None:
    """The row of a sitting that stands, with its person's; `to_change` holds the person's until the transaction ends.

    Locked first, read afterwards: what is read is what stands as long as the lock is held."""
    query = select(_person, *_TIMES).join(_sitting, _sitting.c.person_id == _person.c.id)
    if to_change:
        person_id = connection.execute(select(_sitting.c.person_id).where(_sitting.c.digest == digest)).scalar()
        if person_id is None or not rows.held(connection, [person_id]):
            return None
    return connection.execute(query.where(_sitting.c.digest == digest, *_standing(runtime))).mappings().first()


_TIMES = (_sitting.c.proved_at, _sitting.c.seen_at, _sitting.c.began_at)


def _standing(runtime: Runtime) -> tuple[ColumnElement[bool], ...]:
    now, desk = runtime.clock.now(), runtime.config.desk
    return (
        _sitting.c.ended_at.is_(None),
        _sitting.c.epoch == _person.c.epoch,
        _person.c.state == PersonState.ACTIVE,
        _sitting.c.seen_at > now - int(desk.idle_minutes * MINUTE),
        _sitting.c.began_at > now - int(desk.absolute_hours * HOUR),
    )


def still(connection: Connection, runtime: Runtime, sitting: Sitting, *roles: Role) -> Person:
    """Who sits there, read again and held in the caller's transaction: what they do is done by somebody who may.

    Raises Unauthorized when the sitting has ended, Forbidden when its person has none of `roles` (any, if none is
    named). An approver, or admin, for whom nobody vouched counts for less: rows.UNVOUCHED."""
    row = _found(connection, runtime, sitting.digest, to_change=True)
    if row is None:
        raise Unauthorized("Your sitting has ended: come in again.")
    person = person_of(row)
    if roles and person.role not in roles:
        raise Forbidden(refusal(person, roles), code="role_missing")
    return person


def refusal(person: Person, roles: Sequence[Role]) -> str:
    """Why a person may not do what needs one of `roles`, as a sentence."""
    if person.granted in roles and not person.vouched:
        return "Nobody has vouched for you yet: ask another admin than the one who invited you."
    return f"This needs the role {' or '.join(roles)}; yours is {person.role}."


def is_proved(runtime: Runtime, sitting: Sitting) -> bool:
    """Whether a code or passkey was shown lately enough for a money action."""
    return runtime.clock.now() - sitting.proved_at <= int(runtime.config.desk.prove_minutes * MINUTE)


def leave(runtime: Runtime, sitting: Sitting) -> None:
    """End a sitting, by its person."""
    with db.writing(runtime.engine) as connection:
        if end(connection, sitting.digest, runtime.clock.now()):
            accesses.note(connection, runtime, kind="leave", outcome=Outcome.DONE, person=sitting.person,
                          address=sitting.address)  # fmt: skip


def end(connection: Connection, digest: str, now: int) -> bool:
    """End one sitting; whether it stood."""
    mine = (_sitting.c.digest == digest, _sitting.c.ended_at.is_(None))
    return connection.execute(update(_sitting).where(*mine).values(ended_at=now)).rowcount == 1


def listed(runtime: Runtime, person_id: str) -> Sequence[RowMapping]:
    """Where a person sits at present, newest first."""
    query = select(_sitting).join(_person, _sitting.c.person_id == _person.c.id)
    mine = query.where(_person.c.id == person_id, *_standing(runtime)).order_by(_sitting.c.began_at.desc())
    with db.reading(runtime.engine) as connection:
        return connection.execute(mine).mappings().all()


def end_others(runtime: Runtime, sitting: Sitting) -> int:
    """End every other sitting of the same person; how many stood."""
    now = runtime.clock.now()
    with db.writing(runtime.engine) as connection:
        person = still(connection, runtime, sitting)
        others = (_sitting.c.person_id == person.id, _sitting.c.digest != sitting.digest, _sitting.c.ended_at.is_(None))
        ended = connection.execute(update(_sitting).where(*others).values(ended_at=now)).rowcount
        accesses.note(connection, runtime, kind="end others", outcome=Outcome.DONE, person=person,
                      after=f"{ended} ended", address=sitting.address)  # fmt: skip
    return ended


def operator_name(runtime: Runtime, operator_id: int) -> str:
    """The name of an operator."""
    with db.reading(runtime.engine) as connection:
        return str(connection.execute(select(_operator.c.name).where(_operator.c.id == operator_id)).scalar_one())


def refuse(runtime: Runtime, sitting: Sitting, subject: str, reason: str) -> None:
    """Write down that somebody was refused what they asked for."""
    with db.writing(runtime.engine) as connection:
        accesses.note(connection, runtime, kind="access", outcome=Outcome.REFUSED, person=sitting.person,
                      subject=subject, reason=reason, address=sitting.address)  # fmt: skip
