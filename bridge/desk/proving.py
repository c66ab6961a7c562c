"""Showing again, in the middle of a sitting, that it is still its person who sits there: before money is decided about.

What goes wrong counts on the sitting, which ends with the third time; it locks nobody, for a stranger at an unattended
browser must not be able to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, RowMapping, Table, select, update

from bridge import db, models
from bridge.desk import accesses, codes, passkeys, rows, sittings
from bridge.desk.sittings import Sitting
from bridge.errors import Invalid, Unauthorized
from bridge.models.desk import Outcome
from bridge.runtime import Runtime

_sitting: Table = models.metadata.tables["sitting"]

TRIES = 3
"""Wrong proofs that end a sitting."""

WRONG_CODE = "is wrong, or was used already: wait for the next one"


def by_code(runtime: Runtime, sitting: Sitting, code: str) -> None:
    """Prove by a one-time code. Raises Invalid naming `code`, which counts unless it is empty; Unauthorized when that
    was the last try."""
    if not code.strip():
        raise Invalid(fields={"code": "is empty"})
    wanted = Invalid(fields={"code": WRONG_CODE})
    shown(runtime, sitting, lambda connection, row: codes.use(connection, runtime, row, code), wanted, "code")


def by_passkey(runtime: Runtime, sitting: Sitting, place: passkeys.Place, credential: Any) -> None:
    """Prove by one of the person's own passkeys. Raises Invalid, which counts; Unauthorized when that was the last."""
    try:
        passkey = passkeys.shown(runtime, place, passkeys.PROVE, credential, sitting.person.id)
    except Invalid as wrong:
        shown(runtime, sitting, lambda _connection, _row: False, wrong, "passkey")
        raise
    shown(runtime, sitting, lambda connection, _row: passkeys.count(connection, runtime, passkey),
          passkeys.not_taken(), "passkey")  # fmt: skip


def shown(
    runtime: Runtime,
    sitting: Sitting,
    proves: Callable[[Connection, RowMapping], bool],
    wrong: Invalid,
    what: str,
    *,
    renews: bool = True,
) -> None:
    """Count one proof, right or wrong, by what `proves` says of the person's row in the transaction that counts it.
    Raises `wrong`, or Unauthorized when it was the last try; `what` names the proof for the note. `renews`: a right one
    is good for `desk.prove_minutes`, and the wrong ones before it are forgotten; what is less than that, as a password
    alone, forgets none: whoever knows it would guess codes for ever."""
    now = runtime.clock.now()
    with db.writing(runtime.engine) as connection:
        person = sittings.still(connection, runtime, sitting)
        is_right = proves(connection, rows.one(connection, person.operator_id, person.id))
        mine = _sitting.c.digest == sitting.digest
        before = int(connection.execute(select(_sitting.c.failures).where(mine)).scalar_one())
        failures = before + (not is_right)
        if is_right and renews:
            failures = 0
            connection.execute(update(_sitting).where(mine).values(proved_at=now))
        connection.execute(update(_sitting).where(mine).values(failures=failures))
        if failures >= TRIES:
            sittings.end(connection, sitting.digest, now)
        accesses.note(
            connection, runtime, kind="prove", outcome=Outcome.DONE if is_right else Outcome.REFUSED, person=person,
            subject=what, reason="the sitting has ended" if failures >= TRIES else None, address=sitting.address,
        )  # fmt: skip
    if failures >= TRIES:
        raise Unauthorized("That was the third wrong proof: come in again.")
    if not is_right:
        raise wrong
