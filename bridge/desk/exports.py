"""Files that people take away: who took what is written down before the first line of it leaves."""

from __future__ import annotations

from bridge import db
from bridge.desk import accesses, sittings
from bridge.desk.sittings import Sitting
from bridge.models.desk import Outcome
from bridge.runtime import Runtime


def begin(runtime: Runtime, sitting: Sitting, file: str, asked: str) -> None:
    """Note that a person takes `file`, of what `asked` for. Raises Unauthorized."""
    with db.writing(runtime.engine) as connection:
        person = sittings.still(connection, runtime, sitting)
        accesses.note(
            connection, runtime, kind="export", outcome=Outcome.DONE, person=person, subject=file,
            reason=asked or None, address=sitting.address,
        )  # fmt: skip
