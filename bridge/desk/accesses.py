"""Every access to the desk, made or refused, and everything that is changed there about people: written for ever, in
the transaction that made it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

from sqlalchemy import Connection, RowMapping, Table, insert, select

from bridge import models, reasons
from bridge.models.desk import Outcome
from bridge.runtime import Runtime

if TYPE_CHECKING:
    from bridge.desk.rows import Person

_note: Table = models.metadata.tables["access_note"]

COMMAND_LINE = "command line"
"""The address of whoever sits at the machine itself."""

LONGEST = reasons.MOST
"""Characters that are kept of what came from outside; so a reason stands whole."""

ROOM = 3 * LONGEST
"""Characters that are kept of what was there before, and after: two reasons whole, and who gave them."""

Kind = Literal[
    "accept provider", "access", "approve", "disable", "enable", "end others", "enter", "export", "invite", "join",
    "leave", "link", "lock", "open withdrawals", "passkey", "password", "pause job", "pause provider", "propose",
    "prove", "recovery codes", "reject", "reset", "resume job", "resume provider", "review", "role", "run job",
    "say restored", "unlock", "vouch", "withdraw",
]  # fmt: skip
"""What a note can be of; `access` is a page, or something on it, that was refused."""

KINDS: tuple[str, ...] = get_args(Kind)


def note(
    connection: Connection,
    runtime: Runtime,
    *,
    kind: Kind,
    outcome: Outcome,
    person: Person | None = None,
    login: str | None = None,
    operator_id: int | None = None,
    subject: str | None = None,
    reason: str | None = None,
    before: str | None = None,
    after: str | None = None,
    address: str,
) -> None:
    """Write one access down, in the caller's transaction. `person`: who did it, None for the command line and for
    nobody that is known; `login`: as it was typed, where nobody is known by it, and the machine's user at the command
    line; `subject`: whom or what it was about; `before`, `after`: what was changed."""
    told = {"login": login, "subject": subject, "reason": reason, "address": address}
    changed = {"before": before, "after": after}
    row = {
        "at": runtime.clock.now(),
        "operator_id": operator_id if person is None else person.operator_id,
        "person_id": None if person is None else person.id,
        "kind": kind,
        "outcome": outcome.value,
        **{name: value and value[:LONGEST] for name, value in told.items()},
        **{name: value and value[:ROOM] for name, value in changed.items()},
    }
    connection.execute(insert(_note).values(**row))


def readable(told: str) -> str:
    """What came from outside as it may stand in a note: as long as one keeps, and each sign one that can be seen."""
    return "".join(sign if sign.isprintable() else "?" for sign in told[:LONGEST])


def about(connection: Connection, operator_id: int, person_id: str, limit: int) -> Sequence[RowMapping]:
    """The last things that a person of this operator did or had done to them, newest first."""
    of_operator = select(_note).where(_note.c.operator_id == operator_id).limit(limit)
    # One by one: each in the order of an index, of which a query for both would make no use.
    queries = (
        of_operator.where(_note.c.person_id == person_id).order_by(_note.c.at.desc(), _note.c.id.desc()),
        of_operator.where(_note.c.subject == person_id).order_by(_note.c.id.desc()),
    )
    found = {row["id"]: row for query in queries for row in connection.execute(query).mappings()}
    return sorted(found.values(), key=lambda row: (row["at"], row["id"]), reverse=True)[:limit]
