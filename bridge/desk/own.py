"""What people change about themselves: their password, their recovery codes."""

from __future__ import annotations

from bridge import db
from bridge.desk import accesses, codes, entering, passwords, proving, rows, sittings
from bridge.desk.sittings import Sitting
from bridge.errors import Invalid
from bridge.models.desk import Outcome
from bridge.runtime import Runtime


def change_password(runtime: Runtime, sitting: Sitting, *, old: str, new: str) -> str:
    """Choose another password; every sitting of this person ends, and the secret of a new one is returned, which lasts
    no longer than this one would have, and proves no longer. Raises Invalid naming `old` (which counts as a wrong
    proof) or `password`; Unauthorized."""
    person = sitting.person
    entering.require_filled(old=old, password=new)
    good = passwords.require_good(new, person.login, person.name)
    with db.reading(runtime.engine) as connection:
        kept = rows.by_id(connection, person.id)["password_hash"]
    fits = passwords.fits(old[: entering.LONGEST_PASSWORD], kept)
    wrong = Invalid(fields={"old": "is wrong"})
    proving.shown(runtime, sitting, lambda _connection, row: fits and row["password_hash"] == kept, wrong, "password",
                  renews=False)  # fmt: skip
    hashed = passwords.hashed(runtime, good)
    now = runtime.clock.now()
    with db.writing(runtime.engine) as connection:
        still = sittings.still(connection, runtime, sitting)
        epoch = still.epoch + 1
        rows.change(connection, still.id, now, password_hash=hashed, epoch=epoch)
        accesses.note(connection, runtime, kind="password", outcome=Outcome.DONE, person=still, subject=still.id,
                      address=sitting.address)  # fmt: skip
        return sittings.begin(connection, runtime, still.id, epoch, sitting.address, instead_of=sitting.digest)


def renew_recovery_codes(runtime: Runtime, sitting: Sitting) -> tuple[str, ...]:
    """Ten new recovery codes, shown this once; those before are worth nothing. Raises Unauthorized."""
    with db.writing(runtime.engine) as connection:
        person = sittings.still(connection, runtime, sitting)
        accesses.note(connection, runtime, kind="recovery codes", outcome=Outcome.DONE, person=person,
                      subject=person.id, address=sitting.address)  # fmt: skip
        return tuple(codes.new_recovery_codes(connection, runtime, person.id))


def recovery_left(runtime: Runtime, person_id: str) -> int:
    """How many recovery codes a person has left."""
    with db.reading(runtime.engine) as connection:
        return codes.recovery_left(connection, person_id)
