"""Links that let one person in once: to join, to choose password and code anew, to come in again after a lock.

A link is 256 random bits, kept as its digest, for `desk.invitation_hours`; a newer one for the same person makes it
worth nothing. What it leads to is done in the transaction that uses it up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, Table, insert, select, update

from bridge import db, keys, models
from bridge.desk import accesses, codes, doorkeeper, entering, keyring, passkeys, passwords, rows, sittings, tries
from bridge.desk.rows import Person
from bridge.errors import Conflict, Invalid, NotFound
from bridge.models.desk import InvitationKind, Outcome, PersonState
from bridge.runtime import Runtime

_invitation: Table = models.metadata.tables["invitation"]
_person = rows.person_table


class LinkSpent(NotFound):
    """This link has been used, has expired, or a newer one was made: ask for another."""

    code = "link_spent"


@dataclass(frozen=True)
class Invited:
    """Whom a link is for, and what for."""

    kind: InvitationKind
    digest: str
    person_id: str
    login: str
    name: str


@dataclass(frozen=True)
class Joined:
    """What somebody has who has used a link: where they sit now, and the recovery codes, shown this once."""

    token: str
    recovery: tuple[str, ...] = ()


def make(
    connection: Connection, runtime: Runtime, row: RowMapping, kind: InvitationKind, by: Person | None
) -> str:
    """A link's secret for the person of a row that the caller holds, withdrawing those before; the caller notes it.
    Raises Conflict. `by` None: the command line.

    Nothing is written here about who let them in: until it is used a link has made nobody into somebody else, and who
    made it would hide in whose hand they are.
    """
    if row["state"] == PersonState.DISABLED:
        raise Conflict("This person is disabled: enable them first.", code="person_disabled")
    if (kind == InvitationKind.JOIN) != (row["state"] == PersonState.INVITED):
        raise Conflict("An invited person joins; one who has joined is reset or unlocked.", code="wrong_link")
    token, now = runtime.ids.secret(), runtime.clock.now()
    if kind == InvitationKind.UNLOCK:
        if row["locked_at"] is None:
            raise Conflict("This person is not locked.", code="not_locked")
        rows.change(connection, row["id"], now, failures=tries.MOST)  # a new link has three tries again
    withdraw(connection, row["id"], now)
    made = {"digest": keys.digest(token), "person_id": row["id"], "kind": kind.value, "created_at": now,
            "made_by": None if by is None else by.id,
            "expires_at": now + int(runtime.config.desk.invitation_hours * sittings.HOUR)}  # fmt: skip
    connection.execute(insert(_invitation).values(**made))
    return token


def withdraw(connection: Connection, person_id: str, now: int) -> None:
    """Make every link of a person worth nothing."""
    open_ones = (_invitation.c.person_id == person_id, *_UNSPENT)
    connection.execute(update(_invitation).where(*open_ones).values(withdrawn_at=now))


_UNSPENT = (_invitation.c.used_at.is_(None), _invitation.c.withdrawn_at.is_(None))
_CHOOSING = (InvitationKind.JOIN.value, InvitationKind.RESET.value)


def is_open(connection: Connection, person_id: str, now: int) -> bool:
    """Whether an admin has made a link that is still good, by which whoever holds it becomes this person."""
    theirs = (_invitation.c.person_id == person_id, _invitation.c.kind.in_(_CHOOSING), *_UNSPENT)
    good = (_invitation.c.made_by.is_not(None), _invitation.c.expires_at > now)
    return connection.execute(select(_invitation.c.digest).where(*theirs, *good)).first() is not None


def open_kind(connection: Connection, person_id: str, now: int) -> InvitationKind | None:
    """What the link leads to that is still good for a person; None where none is. There is one at most."""
    good = (_invitation.c.person_id == person_id, *_UNSPENT, _invitation.c.expires_at > now)
    kind = connection.execute(select(_invitation.c.kind).where(*good)).scalar()
    return None if kind is None else InvitationKind(kind)


def look(runtime: Runtime, token: str) -> Invited:
    """Whom a link is for, without using it. Raises LinkSpent."""
    digest = keys.digest(token)
    query = select(_invitation.c.kind, _person).join(_person, _person.c.id == _invitation.c.person_id)
    good = (_invitation.c.digest == digest, *_UNSPENT, _invitation.c.expires_at > runtime.clock.now())
    with db.reading(runtime.engine) as connection:
        row = connection.execute(query.where(*good, _person.c.state != PersonState.DISABLED)).mappings().first()
    if row is None:
        raise LinkSpent
    return Invited(InvitationKind(row["kind"]), digest, row["id"], row["login"], row["name"])


def offer(runtime: Runtime, invited: Invited) -> tuple[str, str]:
    """(a new seed, the same sealed): shown for one try at enrolling; it counts for nothing until a code of it came."""
    seed = codes.new_seed(runtime)
    return seed, keyring.seal(runtime, keyring.OFFERS, invited.digest, seed)


def join(
    runtime: Runtime, invited: Invited, *, password: str, offered: str, code: str, address: str, instead_of: str = ""
) -> Joined:
    """Use a link to choose a password and enrol a seed that was offered; whatever proved this person before is worth
    nothing any more, and every sitting of theirs ends. Whoever vouched before has vouched for somebody else, and the
    admin who made the link may have used it: another one vouches. The sitting of the cookie `instead_of` ends too,
    whoever's it is. Raises LinkSpent, Invalid naming `password` or `code`."""
    if invited.kind == InvitationKind.UNLOCK:
        raise LinkSpent
    good = passwords.require_good(password, invited.login, invited.name)
    seed, step = _confirmed(runtime, invited, offered, code)
    kept = passwords.hashed(runtime, good)
    now = runtime.clock.now()
    with db.writing(runtime.engine) as connection:
        row = _held(connection, invited, now)
        _use(connection, invited, now)
        epoch = row["epoch"] + 1
        rows.change(
            connection, row["id"], now, state=PersonState.ACTIVE.value, password_hash=kept, last_step=step, epoch=epoch,
            seed=keyring.seal(runtime, keyring.SEEDS, row["id"], seed), **tries.UNLOCKED,
            **_unvouched_again(connection, invited),
        )  # fmt: skip
        passkeys.remove_all(connection, row["id"], now)
        sittings.end(connection, keys.digest(instead_of), now)
        recovery = codes.new_recovery_codes(connection, runtime, row["id"])
        kind: accesses.Kind = "join" if invited.kind == InvitationKind.JOIN else "reset"
        accesses.note(connection, runtime, kind=kind, outcome=Outcome.DONE, person=rows.person_of(row),
                      before=row["state"], after=PersonState.ACTIVE.value, address=address)  # fmt: skip
        token = sittings.begin(connection, runtime, row["id"], epoch, address)
    return Joined(token, tuple(recovery))


def _confirmed(runtime: Runtime, invited: Invited, offered: str, code: str) -> tuple[str, int]:
    """(the seed, the step of the code by which it was confirmed)."""
    try:
        seed = keyring.open_sealed(runtime, keyring.OFFERS, invited.digest, offered)
    except keyring.Unreadable:
        raise Invalid(fields={"code": "belongs to a page that is too old: scan the seed again"}) from None
    step = codes.step_of(seed, code, runtime.clock.now())
    if step is None:
        raise Invalid(fields={"code": "is wrong: put in the seed that is shown now, and wait for the next code"})
    return seed, step


def unlock(
    runtime: Runtime, invited: Invited, *, password: str, code: str, address: str, instead_of: str = ""
) -> Joined:
    """Use a link to come in again after a lock, by password and code as ever: a link alone proves nothing. The sitting
    of the cookie `instead_of` ends. Raises LinkSpent, also when nothing is locked any more; NotLetIn, after which the
    link has fewer tries left, of three."""
    entering.require_filled(password=password, code=code.strip())
    doorkeeper.knock(runtime, address)
    with db.reading(runtime.engine) as connection:
        kept = rows.by_id(connection, invited.person_id)["password_hash"]
    fits = passwords.fits(password[: entering.LONGEST_PASSWORD], kept)
    now = runtime.clock.now()
    with db.writing(runtime.engine) as connection:
        row = _held(connection, invited, now)
        if invited.kind != InvitationKind.UNLOCK or row["locked_at"] is None:
            raise LinkSpent
        is_it = fits and row["password_hash"] == kept
        token, used = entering.by_link(connection, runtime, row, fits=is_it, code=code, address=address,
                                       instead_of=instead_of)  # fmt: skip
        if used:
            _use(connection, invited, now)
    if token is None:
        raise entering.NotLetIn
    return Joined(token)


def _held(connection: Connection, invited: Invited, now: int) -> RowMapping:
    """The row of whom a good link is for, held. Everybody who uses a link holds that row first, so a link that is good
    here stays so until the transaction ends. Raises LinkSpent."""
    row = rows.held(connection, [invited.person_id]).get(invited.person_id)
    good = (_invitation.c.digest == invited.digest, *_UNSPENT, _invitation.c.expires_at > now)
    there = connection.execute(select(_invitation.c.digest).where(*good)).first() is not None
    if row is None or not there or row["state"] == PersonState.DISABLED:
        raise LinkSpent
    return row


def _unvouched_again(connection: Connection, invited: Invited) -> dict[str, Any]:
    """Columns of who has become a person by an admin's link: in that admin's hand, until another one has seen them.
    None for a link of the command line: it vouches for nobody, and what was said for them before still counts."""
    query = select(_invitation.c.made_by).where(_invitation.c.digest == invited.digest)
    maker = connection.execute(query).scalar_one()
    return {} if maker is None else rows.unvouched(maker)


def _use(connection: Connection, invited: Invited, now: int) -> None:
    """Use a link up. Raises LinkSpent where somebody has."""
    mine = (_invitation.c.digest == invited.digest, *_UNSPENT)
    if connection.execute(update(_invitation).where(*mine).values(used_at=now)).rowcount != 1:
        raise LinkSpent
