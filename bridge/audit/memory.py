"""What the database remembers of its mirrors: their last lines, so that one that was cut is noticed, and what they were
refused for. It may be changed by whoever owns the database: a mirror proves something about it, never the other way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, select, update

from bridge import checks, db, models
from bridge.audit import chain, marks, signing
from bridge.audit.canon import Unreadable, digest, listed, written
from bridge.ports import SECOND
from bridge.runtime import Runtime

_mark: Table = models.metadata.tables["seal_mark"]

PREFIX = "mirror/"
"""Before the id of a mirror, in the table of marks."""

FORGOTTEN_SECONDS = 7 * 86_400
"""A mirror without a new line for so long is not kept any more: nobody waits for whoever could read it."""


@dataclass(frozen=True)
class Line:
    """One whole line, as it was read."""

    raw: bytes
    told: Mapping[str, Any]

    @property
    def number(self) -> int:
        """From 1, without a gap."""
        return int(self.told["number"])

    @property
    def hash(self) -> str:
        """What the next line names."""
        return digest(self.raw)

    @property
    def heads(self) -> dict[int, chain.Head]:
        """The heads that it tells, by chain."""
        return {int(name): (int(number), str(hashed)) for name, (number, hashed) in self.told["heads"].items()}

    @property
    def runs(self) -> chain.Head:
        """The head of the chain of runs."""
        return self.heads[chain.RUNS]

    def is_signed(self, keys: Mapping[str, str]) -> bool:
        """Whether one of these keys has signed it."""
        rest = {name: value for name, value in self.told.items() if name != "signature"}
        public = keys.get(str(self.told.get("key")))
        return public is not None and signing.is_signed(public, str(self.told.get("signature")), written(rest))


@dataclass(frozen=True)
class Remembered:
    """What the database knows of a mirror: the number and hash of its last line, when that was written (microseconds)
    and up to which run it goes; why it was refused, where it is, and whether another one was begun in its place."""

    number: int = 0
    hash: str = ""
    at: int = 0
    run: int = 0
    refused: str | None = None
    place: str | None = None
    ended: bool = False


UNKNOWN = Remembered()


def counts(known: Remembered, runtime: Runtime) -> bool:
    """Whether a mirror is still kept, as far as anybody can tell."""
    return not known.ended and runtime.clock.now() - known.at < FORGOTTEN_SECONDS * SECOND


def place_of_this(runtime: Runtime) -> str:
    """The machine and the file: several machines may have mirrors of the same name."""
    return f"{runtime.worker.partition('/')[0]}:{runtime.config.audit.mirror_file}"


def end(runtime: Runtime, replaced: Iterable[str]) -> None:
    """Others have begun in the place of these mirrors; and no refusal is remembered any more."""
    with db.writing(runtime.engine) as connection:
        mirrors = _mark.c.source.startswith(PREFIX, autoescape=True)
        connection.execute(update(_mark).where(mirrors).values(note=None))
        for name in replaced:
            connection.execute(update(_mark).where(_mark.c.source == PREFIX + name).values(horizon=runtime.clock.now()))


def note(runtime: Runtime, line: Line, why: str | None) -> None:
    """Remember the last line, so that a mirror that was cut is noticed, and why it was refused."""
    source, seen = PREFIX + str(line.told["mirror"]), written([line.number, line.hash]).decode()
    values = {"seen": seen, "note": why, "again": line.runs[0], "looked": place_of_this(runtime)}
    with db.reading(runtime.engine) as connection:
        known = connection.execute(select(_mark).where(_mark.c.source == source)).mappings().first()
    if known is not None and all(known[name] == value for name, value in values.items()):
        return
    with db.writing(runtime.engine) as connection:
        db.insert_if_absent(connection, _mark, {"source": source, "scope": 0, "again": 0})
        values["seen_at"] = line.told["at"]
        connection.execute(update(_mark).where(_mark.c.source == source).values(**values))


def keep_refusal(runtime: Runtime, why: str | None) -> None:
    """Remember that, and why, this process cannot go on; or that it can again."""
    source, now = checks.REFUSED + place_of_this(runtime), runtime.clock.now()
    with db.reading(runtime.engine) as connection:
        known = connection.execute(select(_mark.c.note, _mark.c.seen_at).where(_mark.c.source == source)).first()
    if why is None and (known is None or known.note is None):
        return
    with db.writing(runtime.engine) as connection:
        db.insert_if_absent(connection, _mark, {"source": source, "scope": 0, "again": 0})
        connection.execute(update(_mark).where(_mark.c.source == source).values(note=why, seen_at=now))


def remembered(connection: Connection) -> dict[str, Remembered]:
    """Mirrors that the database knows."""
    known = select(_mark).where(_mark.c.source.startswith(PREFIX, autoescape=True)).order_by(_mark.c.source)
    return {
        row.source.removeprefix(PREFIX): _remembered(row)
        for row in connection.execute(known)
    }


def _remembered(row: Any) -> Remembered:
    """What cannot be read is not known."""
    number, hashed = UNKNOWN.number, UNKNOWN.hash
    with suppress(Unreadable, TypeError, ValueError):
        first, second = listed(row.seen) or (number, hashed)
        number, hashed = int(first), str(second)
    at, run = marks.number(row.seen_at), marks.number(row.again)
    return Remembered(number, hashed, at, run, row.note, row.looked, row.horizon is not None)
