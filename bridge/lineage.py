"""Lineage: how a restored backup, or another copy of the database, is noticed.

Two things are remembered. Inside, a row holds the database's fingerprint: what can be seen of it from outside its
rows, so that a copy has another one. Outside, a small file (and each process) holds its *mark*: the highest ids that
its growing tables ever had, so that the same disk set back to an earlier day is noticed too.

Whoever notices closes every provider for transfers in, and withdrawals, and marks what was not final: of such a
transfer nothing is concluded from our own silence, for the database has forgotten what it sent.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, Row, Table, case, func, or_, select, update
from sqlalchemy.exc import DBAPIError, NotSupportedError, ProgrammingError

from bridge import db, events, gates, identity, log, models, withdrawals
from bridge.runtime import Runtime
from statemachines import TransferState

_lineage: Table = models.metadata.tables["lineage"]
_transfer: Table = models.metadata.tables["transfer"]
# Nothing happens to a transfer without a row in one of these, and no row ever leaves them.
_GROWING = tuple(models.metadata.tables[name] for name in ("evidence", "posting", "history", "inbox"))
_HIGHEST = select(
    *(select(func.coalesce(func.max(table.c.id), 0)).scalar_subquery().label(table.name) for table in _GROWING)
)

_log = log.get("lineage")

ONLY_ROW = 1

# Table and database: dropped and made again by every way of restoring a dump. Cluster: another server, or one that
# was set up anew. Timeline: begins when a backup is rolled forward to an earlier instant, and when a standby takes
# over; asked of the log that is being written, for the control file tells the old one until the next checkpoint.
_POSTGRESQL = {
    "database": "SELECT oid FROM pg_database WHERE datname = current_database()",
    "table": "SELECT to_regclass('transfer')::oid",
    "cluster": "SELECT system_identifier FROM pg_control_system()",
    "timeline": "SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)",
}

Fingerprint = Mapping[str, str]
"""What is seen of a database from outside its rows, by name; what this role may not ask is left out."""


@dataclass(frozen=True)
class Mark:
    """How far a database had come: the highest id of each growing table, and when its fingerprint was remembered
    (microseconds). It says nothing of a database whose fingerprint was remembered later than that."""

    remembered_at: int
    highest: Mapping[str, int]


@dataclass(frozen=True)
class Sight:
    """One look at the database: what it is, how far it has come, and what it remembers of itself."""

    fingerprint: Fingerprint
    highest: Mapping[str, int]
    remembered: Row[Any, Any] | None

    @property
    def mark(self) -> Mark:
        """What is to be kept of this look."""
        return Mark(0 if self.remembered is None else self.remembered.seen_at, self.highest)


@dataclass(frozen=True)
class Done:
    """What followed from a restore: the providers that were closed, and how many transfers were not final."""

    closed: list[str]
    marked: int


NOT_FINAL = or_(
    _transfer.c.state.in_((TransferState.PENDING.value, TransferState.ORPHANED.value)), _transfer.c.wake_at.is_not(None)
)
"""Of transfers: open, or watched."""


def marks(now: int, since: int | None = None) -> dict[str, Any]:
    """What such a transfer is given of whose requests something is not known any more, since now or since then: nothing
    is concluded from our own silence."""
    began = now if since is None else since
    noted = _transfer.c.first_rewound_at
    return {"rewound_at": now, "first_rewound_at": case((or_(noted.is_(None), noted > began), began), else_=noted)}


@dataclass(frozen=True)
class Restore:
    """The last restore that was dealt with: when (microseconds), and the newest row of history then."""

    at: int
    behind: int


def last_restore(connection: Connection, now: int, *, held: bool) -> Restore | None:
    """The last restore; None: there was none.

    `held`: nobody deals with one until the caller's transaction ends, and what that has written counts then. Where
    somebody does so at this moment, or accepts a provider, it may be a restore `now`, of all that is there: he is not
    waited for, since he may wait for the caller.
    """
    asked = select(_lineage.c.restored_at, _lineage.c.restored_behind)
    row = connection.execute(asked.with_for_update(read=True, skip_locked=True) if held else asked).first()
    if row is None and held and connection.execute(asked).first() is not None:
        return Restore(now, sys.maxsize)
    if row is None or row.restored_at is None:
        return None
    return Restore(row.restored_at, sys.maxsize if row.restored_behind is None else row.restored_behind)


@dataclass(frozen=True)
class _File:
    """The file of SQLite as the file system knows it."""

    path: Path
    device: int
    inode: int

    @classmethod
    def at(cls, path: Path) -> _File:
        """What is there now. Raises FileNotFoundError."""
        found = path.stat()
        return cls(path, found.st_dev, found.st_ino)


@dataclass
class _Memory:
    """What this process knows of the database behind one engine."""

    mark: Mark | None = None
    file: _File | None = None


_memories: WeakKeyDictionary[Engine, _Memory] = WeakKeyDictionary()
_turn = threading.Lock()
_ROW = select(_lineage.c.fingerprint, _lineage.c.seen_at).where(_lineage.c.id == ONLY_ROW)


def watch(runtime: Runtime) -> None:
    """What the jobs do at each tick: notice a restore, then write the mark outside of the database if it has moved.

    A disk that refuses the mark is logged and stops nothing.
    """
    check(runtime)
    mark, file = _memories[runtime.engine].mark, mark_file(runtime)
    if mark is None or file is None:
        return
    before = _read_mark(file)
    mark = _further(mark, before)
    if mark != before:
        try:
            _write_durably(file, json.dumps(asdict(mark)))
        except OSError as trouble:
            _log.error("mark not written", file=str(file), error=str(trouble))


def check(runtime: Runtime) -> bool:
    """Notice whether this is still the database that it was; true when this call found a restore and dealt with it.

    The first look at a database remembers it. Called at the start of every process, and at each tick of the jobs.
    Raises FileNotFoundError when the file of SQLite has gone.
    """
    with _turn:
        memory = _memories.setdefault(runtime.engine, _Memory())
        _let_go_of_a_replaced_file(runtime.engine, memory)
        with db.reading(runtime.engine) as connection:
            memory.file = _sqlite_file(connection)
            # The marks first: what another process writes after our look would seem to be lost.
            before = _marks_before(runtime)
            sight = _look(connection)
        why = _what_changed(sight, before)
        memory.mark = None if why or sight.remembered is None else _further(sight.mark, memory.mark)
        if not why:
            _remember(runtime, sight)
            return False
        done = _set_back(runtime, sight, why)
    if done is not None:
        _log.error("database restored", why=why, closed=done.closed, transfers=done.marked)
    return done is not None


def is_as_it_was(connection: Connection, runtime: Runtime) -> bool:
    """Whether the database of a transaction was not set back unnoticed; nothing is dealt with (:func:`check` does, with
    no transaction open). Asked before anything that a restore closes: what others have noticed stands in its rows.
    Raises FileNotFoundError when the file of SQLite has gone."""
    before = _marks_before(runtime)
    return not _what_changed(_look(connection), before)


def restored(
    runtime: Runtime,
    reason: str,
    actor: str,
    since: int | None = None,
    note: Callable[[Connection, Done], None] = lambda *_told: None,
) -> Done:
    """A person says that a backup was restored: close and mark as if it had been noticed; what was told `since` then
    (microseconds) was told to a database that had forgotten. `note` writes down who did it, in the same transaction."""
    with _turn:
        _memories.pop(runtime.engine, None)
        with db.writing(runtime.engine) as connection:
            stand_alone(connection)
            done = _close_and_mark(connection, runtime, reason, actor, since)
            note(connection, done)
    _log.error("database restored", why=reason, actor=actor, closed=done.closed, transfers=done.marked)
    return done


def stand_alone(connection: Connection) -> None:
    """Wait for whoever deals with a restore, and have the next one wait for this transaction: first of all in it, as
    whoever notices a restore by himself does."""
    connection.execute(_ROW.with_for_update())


def mark_file(runtime: Runtime) -> Path | None:
    """Where the mark is kept: as configured, else beside the file of SQLite; None where there is no such place, or
    nobody has looked at the database yet."""
    if runtime.config.database.mark_file is not None:
        return runtime.config.database.mark_file
    memory = _memories.get(runtime.engine)
    file = None if memory is None else memory.file
    return None if file is None else file.path.with_name(file.path.name + ".mark")


# --- looking ------------------------------------------------------------------------------------------


def _look(connection: Connection) -> Sight:
    highest = connection.execute(_HIGHEST).mappings().one()
    return Sight(_fingerprint(connection), dict(highest), connection.execute(_ROW).first())


def _fingerprint(connection: Connection) -> Fingerprint:
    if connection.dialect.name == "postgresql":
        return _asked(connection, tuple(_POSTGRESQL))
    file = _sqlite_file(connection)
    return {} if file is None else {"device": str(file.device), "file": str(file.inode)}


def _asked(connection: Connection, names: Sequence[str]) -> dict[str, str]:
    """The answers by name, in one question; where the role may not ask one of them, each alone."""
    try:
        with connection.begin_nested():
            row = connection.exec_driver_sql("SELECT " + ", ".join(f"({_POSTGRESQL[name]})" for name in names)).one()
    except (ProgrammingError, NotSupportedError):
        if len(names) == 1:
            return {}
        return {name: told for each in names for name, told in _asked(connection, [each]).items()}
    return {name: str(told) for name, told in zip(names, row, strict=True)}


def _sqlite_file(connection: Connection) -> _File | None:
    """The file behind a connection, in SQLite's own words; None for PostgreSQL, and for a database in memory."""
    if connection.dialect.name != "sqlite":
        return None
    main = next(row for row in connection.exec_driver_sql("PRAGMA database_list") if row.name == "main")
    return _File.at(Path(main.file)) if main.file else None


def _let_go_of_a_replaced_file(engine: Engine, memory: _Memory) -> None:
    """Connections that are kept would go on with the old file of SQLite when another was moved into its place."""
    if memory.file is not None and _File.at(memory.file.path) != memory.file:
        engine.dispose()


def _what_changed(sight: Sight, marks: Sequence[Mark]) -> str:
    """Why this is not the database that it was, in a sentence; nothing if it is."""
    if sight.remembered is not None:
        before = json.loads(sight.remembered.fingerprint)
        other = [name for name, told in sight.fingerprint.items() if before.get(name, told) != told]
        if other:
            return f"the database is a copy or a restored backup: another {', another '.join(other)} than before"
    remembered_at = sight.mark.remembered_at
    for mark in marks:
        if remembered_at < mark.remembered_at:
            return "the database was set back to a time before it was last looked at as a new one"
        lost = [f"{name} {last}" for name, last in mark.highest.items() if sight.highest.get(name, 0) < last]
        if lost and remembered_at == mark.remembered_at:
            return f"the database was set back: {', '.join(lost)} was there and is not any more"
    return ""


# --- remembering --------------------------------------------------------------------------------------


def _remember(runtime: Runtime, sight: Sight) -> None:
    """Keep the fingerprint of a database that is new to us, or what can be seen of a known one by now."""
    row = {"fingerprint": _told(sight.fingerprint)}
    if sight.remembered is None:
        with db.writing(runtime.engine) as connection:
            db.insert_if_absent(connection, _lineage, {"id": ONLY_ROW, **row, "seen_at": runtime.clock.now()})
    elif not sight.fingerprint.keys() <= json.loads(sight.remembered.fingerprint).keys():
        with db.writing(runtime.engine) as connection:
            connection.execute(update(_lineage).values(**row))


def _set_back(runtime: Runtime, sight: Sight, why: str) -> Done | None:
    """Deal with a restore that this process noticed; None when another one has dealt with it meanwhile."""
    with db.writing(runtime.engine) as connection:
        if connection.execute(_ROW.with_for_update()).first() != sight.remembered:
            return None
        return _close_and_mark(connection, runtime, why, runtime.worker)


def _close_and_mark(connection: Connection, runtime: Runtime, why: str, actor: str, since: int | None = None) -> Done:
    """Everything that follows from a restore, in one transaction. Whoever notices it may be configured with some
    providers only, and is the only one who does: all are closed that there ever were."""
    now = runtime.clock.now()
    closed = sorted({*runtime.config.providers, *identity.names(connection)})
    gates.close_restored(connection, closed, why, actor, now)
    withdrawals.close_restored(connection, why, actor, now)
    marked = connection.execute(update(_transfer).where(NOT_FINAL).values(marks(now, since))).rowcount
    _tell(connection, runtime, why)
    sight = _look(connection)
    row = {"id": ONLY_ROW, "fingerprint": _told(sight.fingerprint), "seen_at": max(now, sight.mark.remembered_at + 1)}
    row |= {"restored_at": now, "restored_behind": sight.highest["history"]}
    if not db.insert_if_absent(connection, _lineage, row):
        connection.execute(update(_lineage).values(**row))
    return Done(closed, marked)


def _tell(connection: Connection, runtime: Runtime, why: str) -> None:
    """Tell operators; what is wrong with that leaves no provider open."""
    try:
        with connection.begin_nested():
            events.tell_of_a_restore(connection, runtime, why)
    except DBAPIError:
        _log.exception("operators not told of a restore")


def _told(fingerprint: Fingerprint) -> str:
    return json.dumps(dict(fingerprint), sort_keys=True)


# --- the mark -----------------------------------------------------------------------------------------


def _marks_before(runtime: Runtime) -> list[Mark]:
    """How far the database had come when it was looked at before, by the file outside of it and by this process."""
    memory = _memories.get(runtime.engine)
    known = (_read_mark(mark_file(runtime)), None if memory is None else memory.mark)
    return [mark for mark in known if mark is not None]


def _further(mark: Mark, other: Mark | None) -> Mark:
    """The mark of the database that was remembered later; of the same one, the highest ids of both."""
    if other is None or mark.remembered_at > other.remembered_at:
        return mark
    if mark.remembered_at < other.remembered_at:
        return other
    names = {*mark.highest, *other.highest}
    return Mark(mark.remembered_at, {n: max(mark.highest.get(n, 0), other.highest.get(n, 0)) for n in sorted(names)})


def _read_mark(file: Path | None) -> Mark | None:
    """The mark that was written last; None where there is none, or none that can be read."""
    if file is None or not file.exists():
        return None
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        return Mark(int(kept["remembered_at"]), {str(name): int(last) for name, last in kept["highest"].items()})
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as trouble:
        _log.error("mark not readable", file=str(file), error=str(trouble))
        return None


def _write_durably(file: Path, content: str) -> None:
    """The whole content or the one before, whatever the machine does meanwhile."""
    part = file.with_name(f"{file.name}.{os.getpid()}")
    with part.open("w", encoding="utf-8") as written:
        written.write(content)
        written.flush()
        os.fsync(written.fileno())
    part.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
