"""The people of an operator: invited, given a role, vouched for, disabled; by an admin, or by the command line.

What an admin does is asked again in the transaction that does it (`sittings.still`). Rows are held in one order: two
who act on each other at once wait in turn, and the second may not be an admin any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, select

from bridge import db, reasons
from bridge.desk import accesses, invitations, rows, sittings
from bridge.desk.rows import Person
from bridge.desk.sittings import Sitting
from bridge.errors import Conflict, Forbidden, Invalid, NotFound, Stale
from bridge.models.desk import InvitationKind, Outcome, PersonState, Role
from bridge.runtime import Runtime, user_name

_person = rows.person_table
LONGEST_NAME = 80


@dataclass(frozen=True)
class Actor:
    """Who changes something about people, and why: an admin in a sitting, or (`sitting` None) the command line, where
    `user` is whose account it was typed under."""

    sitting: Sitting | None
    address: str
    reason: str
    user: str | None = None

    def confirmed(self, connection: Connection, runtime: Runtime) -> Person | None:
        """The admin, read again and held in this transaction. Raises Unauthorized, Forbidden."""
        return None if self.sitting is None else sittings.still(connection, runtime, self.sitting, Role.ADMIN)


def by_admin(sitting: Sitting, reason: str) -> Actor:
    """An admin at the desk, who says why. Raises Invalid naming the reason."""
    return Actor(sitting, sitting.address, reasons.stated(reason))


def by_command(reason: str) -> Actor:
    """Whoever may run commands on the machine, and says why: nobody has to vouch for whom they add, or have vouched
    for. Raises Invalid naming the reason."""
    return Actor(None, accesses.COMMAND_LINE, reasons.stated(reason), user_name())


def add(runtime: Runtime, actor: Actor, operator_id: int, *, login: str, name: str, role: str) -> tuple[str, str]:
    """(a new person's id, the secret of the link by which they join). Raises Invalid, Conflict for a login that is
    taken, whoever has it."""
    asked, called, given = _login(login), _name(name), _role(role)
    person_id, now = runtime.ids.new("person"), runtime.clock.now()
    with db.writing(runtime.engine) as connection:
        by = actor.confirmed(connection, runtime)
        if by is not None and by.operator_id != operator_id:
            raise NotFound("There is no such operator.")
        row = {"id": person_id, "operator_id": operator_id, "login": asked, "name": called, "role": given.value,
               "state": PersonState.INVITED.value, "failures": 0, "epoch": 0, "created_at": now, "changed_at": now,
               **rows.unvouched(None if by is None else by.id)}  # fmt: skip
        if not db.insert_if_absent(connection, _person, row):
            raise Conflict("This login is taken.", fields={"login": "is taken"})
        made = rows.one(connection, operator_id, person_id)
        standing = _standing(f"{asked} {given}", vouched=rows.is_vouched(made))
        _note(connection, runtime, actor, made, by, kind="invite", before=None, after=standing)
        return person_id, _link(connection, runtime, actor, made, by, InvitationKind.JOIN)


def link(runtime: Runtime, actor: Actor, operator_id: int, person_id: str, kind: InvitationKind) -> str:
    """The secret of a new link for a person; those before are worth nothing. Raises NotFound, Conflict, also where they
    would choose everything anew whom another admin has let in and nobody vouched for; Forbidden to an admin for
    themselves."""
    with db.writing(runtime.engine) as connection:
        row, by = _about(connection, runtime, actor, operator_id, person_id)
        if kind != InvitationKind.UNLOCK:
            _require_another(row, by)
            _require_in_no_others_hand(connection, row, by, "makes the link")
        return _link(connection, runtime, actor, row, by, kind)


def _link(
    connection: Connection, runtime: Runtime, actor: Actor, row: RowMapping, by: Person | None, kind: InvitationKind
) -> str:
    """A link's secret, and the note of it: which one was good before, and which is now."""
    before = invitations.open_kind(connection, row["id"], runtime.clock.now())
    token = invitations.make(connection, runtime, row, kind, by)
    told = None if before is None else before.value
    _note(connection, runtime, actor, row, by, kind="link", before=told, after=kind.value)
    return token


def give_role(runtime: Runtime, actor: Actor, operator_id: int, person_id: str, role: str) -> None:
    """Give a person another role: their sittings end, and somebody has to vouch for them anew; a link by which they
    have not joined yet is worth nothing any more. A role of the command line vouches for nobody: whom an admin has in
    hand stays there, and whoever vouched for them saw another role. Raises NotFound, Invalid; Forbidden to an admin for
    themselves; Conflict for whom another admin has let in and nobody vouched for."""
    given, now = _role(role), runtime.clock.now()
    with db.writing(runtime.engine) as connection:
        row, by = _about(connection, runtime, actor, operator_id, person_id)
        if row["role"] == given:
            return
        _require_another(row, by)
        _require_in_no_others_hand(connection, row, by, "gives the role")
        made = rows.unvouched(row["made_by"] if by is None else by.id)
        rows.change(connection, person_id, now, role=given.value, epoch=row["epoch"] + 1, **made)
        if row["state"] == PersonState.INVITED:
            invitations.withdraw(connection, person_id, now)
        before = _standing(row["role"], vouched=rows.is_vouched(row))
        after = _standing(given.value, vouched=rows.is_vouched({**row, **made}))
        _note(connection, runtime, actor, row, by, kind="role", before=before, after=after)


def mark(row: RowMapping) -> str:
    """What a page shows of somebody to vouch for, in short: a form that vouches brings it back. What their role is, and
    by whose hand they have which factors; not what a stranger's try at the gate changes."""
    return f"{row['role']} {row['epoch']} {row['made_by'] or ''}".rstrip()


def vouch(runtime: Runtime, actor: Actor, operator_id: int, person_id: str, seen: str) -> None:
    """Stand for a person whom another admin has made, let in anew or given a role, as they were shown (`seen`, their
    mark): from now on they may what their role says. Raises NotFound, Conflict where nobody needs it and while a link
    is open by which somebody else could become them, Stale where they are not what was shown any more, Forbidden to the
    one who made them and to themselves."""
    now = runtime.clock.now()
    with db.writing(runtime.engine) as connection:
        row, by = _about(connection, runtime, actor, operator_id, person_id)
        if rows.is_vouched(row):
            raise Conflict("This person needs no voucher.", code="vouched")
        if row["state"] != PersonState.ACTIVE:
            raise Conflict("They have not joined yet: vouch for whom you have seen.", code="not_joined")
        if invitations.is_open(connection, person_id, now):
            raise Conflict("A link of theirs is open: vouch for who has used it.", code="link_open")
        if mark(row) != seen:
            raise Stale("Their role or their factors have changed meanwhile: look at them again.")
        if by is None:
            values = rows.unvouched(None)
        elif by.id in (row["made_by"], person_id):
            raise Forbidden("Somebody else has to vouch for them: four eyes.", code="four_eyes")
        else:
            values = {"vouched_by": by.id, "vouched_at": now}
        rows.change(connection, person_id, now, **values)
        before, after = (_standing(row["role"], vouched=whether) for whether in (False, True))
        _note(connection, runtime, actor, row, by, kind="vouch", before=before, after=after)


def disable(runtime: Runtime, actor: Actor, operator_id: int, person_id: str) -> None:
    """Let a person in no more: every sitting and every link of theirs ends. Raises NotFound; Forbidden
    to an admin for themselves."""
    now = runtime.clock.now()
    with db.writing(runtime.engine) as connection:
        row, by = _about(connection, runtime, actor, operator_id, person_id)
        if row["state"] == PersonState.DISABLED:
            return
        _require_another(row, by)
        rows.change(connection, person_id, now, state=PersonState.DISABLED.value, epoch=row["epoch"] + 1)
        invitations.withdraw(connection, person_id, now)
        _note(connection, runtime, actor, row, by, kind="disable", before=row["state"], after="disabled")


def enable(runtime: Runtime, actor: Actor, operator_id: int, person_id: str) -> None:
    """Let a person in again, by what proved them before; who never joined is invited anew. Whom an admin lets in again,
    another one vouches for anew; whoever nobody had vouched for stays in the hand that they were in. Raises
    NotFound."""
    now = runtime.clock.now()
    with db.writing(runtime.engine) as connection:
        row, by = _about(connection, runtime, actor, operator_id, person_id)
        if row["state"] != PersonState.DISABLED:
            return
        state = PersonState.INVITED if row["password_hash"] is None else PersonState.ACTIVE
        again = {} if by is None or not rows.is_vouched(row) else rows.unvouched(by.id)
        rows.change(connection, person_id, now, state=state.value, epoch=row["epoch"] + 1, **again)
        before = _standing(row["state"], vouched=rows.is_vouched(row))
        after = _standing(state.value, vouched=rows.is_vouched({**row, **again}))
        _note(connection, runtime, actor, row, by, kind="enable", before=before, after=after)


def listed(runtime: Runtime, operator_id: int) -> Sequence[RowMapping]:
    """An operator's people, by login."""
    with db.reading(runtime.engine) as connection:
        mine = select(_person).where(_person.c.operator_id == operator_id).order_by(_person.c.login)
        return connection.execute(mine).mappings().all()


def _about(
    connection: Connection, runtime: Runtime, actor: Actor, operator_id: int, person_id: str
) -> tuple[RowMapping, Person | None]:
    """(the row of whom it is about, who does it), both held. Raises NotFound for another operator's person, and what
    `Actor.confirmed` raises."""
    acting = [] if actor.sitting is None else [actor.sitting.person.id]
    rows.held(connection, {person_id, *acting})
    by = actor.confirmed(connection, runtime)
    if by is not None and by.operator_id != operator_id:
        raise NotFound("There is no such person.")
    return rows.one(connection, operator_id, person_id), by


def _require_another(row: RowMapping, by: Person | None) -> None:
    """Raise Forbidden where an admin acts on themselves. So whoever acts is an admin before and after it, and no
    operator loses its last one at the desk; the command line may take even that one, for it can make another."""
    if by is not None and by.id == row["id"]:
        raise Forbidden("Another admin has to do that.", code="not_oneself")


def _require_in_no_others_hand(connection: Connection, row: RowMapping, by: Person | None, does: str) -> None:
    """Raise Conflict where another admin let them in and nobody has vouched for them: what this one does would hide who
    held their link, and that one could vouch for themselves. Who has not joined is nobody's yet. The way past it is
    whoever let them in, while they are an admin, and never a voucher: an admin who is asked for a link would vouch for
    whom they have not seen."""
    joined = row["state"] != PersonState.INVITED
    if by is not None and joined and not rows.is_vouched(row) and row["made_by"] != by.id:
        maker = rows.by_id(connection, row["made_by"])
        login, is_here = maker["login"], maker["state"] == PersonState.ACTIVE
        can = is_here and rows.person_of(maker).role == Role.ADMIN
        who = f"{login} {does}, or the command line" if can else f"only the command line {does}"
        raise Conflict(
            f"{login} let them in, and nobody has vouched for them: {who}. Vouch for nobody whom you have not seen.",
            code="unvouched",
        )


def _note(
    connection: Connection,
    runtime: Runtime,
    actor: Actor,
    row: RowMapping,
    by: Person | None,
    *,
    kind: accesses.Kind,
    before: str | None,
    after: str,
) -> None:
    accesses.note(connection, runtime, kind=kind, outcome=Outcome.DONE, person=by, operator_id=row["operator_id"],
                  login=actor.user, subject=row["id"], reason=actor.reason, before=before, after=after,
                  address=actor.address)  # fmt: skip


def _standing(what: str, *, vouched: bool) -> str:
    """What somebody is, with what it counts for: a voucher comes and goes with roles and states."""
    return f"{what}, {'vouched for' if vouched else 'not vouched for'}"


def _login(login: str) -> str:
    told = login.strip().lower()
    if not rows.LOGIN.fullmatch(told):
        raise Invalid(fields={"login": "must be 3 to 64 of a-z, 0-9 and . _ @ + -, beginning with a letter or digit"})
    return told


def _name(name: str) -> str:
    told = " ".join(name.split())
    if not told or len(told) > LONGEST_NAME or not told.isprintable():
        raise Invalid(fields={"name": f"must have 1 to {LONGEST_NAME} characters"})
    return told


def _role(role: str) -> Role:
    try:
        return Role(role)
    except ValueError:
        raise Invalid(fields={"role": f"must be one of {', '.join(Role)}"}) from None


def found(runtime: Runtime, login: str) -> RowMapping:
    """The row of whoever has a login, of whatever operator. Raises NotFound."""
    with db.reading(runtime.engine) as connection:
        row = rows.by_login(connection, _login(login))
    if row is None:
        raise NotFound(f"There is nobody with the login {login!r}.")
    return row
