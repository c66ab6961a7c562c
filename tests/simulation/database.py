"""The database in the world: the real SQLite file under the bridge's own engine, whose commits may come out otherwise.

A commit is well, fails before it is durable, is durable while its acknowledgement is lost, or is the last that its
process did, before or after. SQLite's one write lock is waited for in virtual time; a process that is killed gives it
back, one that stands still keeps it.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from bridge import db
from bridge.sections import DatabaseSection
from tests.simulation.world import TIMED_OUT, Killed, Node, Strand, World

BUSY_SECONDS = 30
LONG_PAUSE_SECONDS = (20, 70, 200, 600)


class Simulated(sqlite3.OperationalError):
    """A fault of the database that the story wanted: what follows from it is no error of the bridge."""


class Store:
    """One database file of one seed. `committed()` is called when a writing commit has become durable."""

    def __init__(self, world: World, path: Path, committed: Callable[[], None]) -> None:
        self.world, self.path, self.committed = world, path, committed
        self._writer: Connection | None = None
        self._waiting: deque[tuple[Strand, Connection]] = deque()

    def lock(self, connection: Connection) -> None:
        """Take the write lock, as BEGIN IMMEDIATE does."""
        if self._writer is None or self.world.current is None:
            self._writer = connection
            return
        self._waiting.append((self.world.current, connection))
        try:
            if self.world.park(BUSY_SECONDS) is TIMED_OUT and self._writer is not connection:
                raise Simulated("database is locked")
        finally:
            self._waiting = deque(each for each in self._waiting if each[1] is not connection)
        assert self._writer is connection

    def unlock(self, connection: Connection) -> None:
        """Give the write lock to whoever has waited longest."""
        if self._writer is not connection:
            return
        self._writer = None
        while self._waiting:
            strand, other = self._waiting.popleft()
            if not strand.ended and not strand.node.dead:
                self._writer = other
                self.world.wake(strand, None)
                return


class Connection(sqlite3.Connection):
    """A connection of one process; `store` and `node` are set by whoever opens it."""

    store: Store
    node: Node
    writes = False
    before = 0

    def cursor(self, factory: Any = None) -> sqlite3.Cursor:  # type: ignore[override]
        """A cursor at which statements can be overtaken, killed, or fail."""
        return super().cursor(factory or Cursor)

    def begin(self) -> None:
        """What a writing transaction waits for."""
        self.store.lock(self)
        self.writes, self.before = True, self.total_changes

    def commit(self) -> None:
        """Commit, or not, or be killed by it."""
        world = self.store.world
        if not self.writes or world.current is None:
            self._end(super().commit)
            return
        if self.node.dead:
            raise Killed
        changes = self.total_changes - self.before
        if changes and world.faulty:
            self._commit_or_not(world)
        else:
            self._end(super().commit)
            if changes:
                self.store.committed()
        world.passing()

    def _commit_or_not(self, world: World) -> None:
        strand = world.current
        assert strand is not None
        dice, rate, name = strand.dice, world.swarm.rate, strand.name
        if self.node.mortal and dice.strikes("crash_before_commit", rate("crash_before_commit")):
            world.struck("crash_before_commit", name)
            world.crash(self.node)
        if dice.strikes("commit_failed", rate("commit_failed")):
            world.struck("commit_failed", name)
            self.rollback()
            raise Simulated("disk I/O error")
        self._end(super().commit)
        self.store.committed()
        if dice.strikes("commit_unknown", rate("commit_unknown")):
            world.struck("commit_unknown", name)
            raise Simulated("the acknowledgement of a commit was lost")
        if self.node.mortal and dice.strikes("crash_after_commit", rate("crash_after_commit")):
            world.struck("crash_after_commit", name)
            world.crash(self.node)
        if self.node.mortal and dice.strikes("pause_after_commit", rate("pause_after_commit")):
            world.pause(self.node, dice.choice(LONG_PAUSE_SECONDS), "pause_after_commit")
            world.sleep(0)

    def rollback(self) -> None:
        """Nothing of the transaction was."""
        self._end(super().rollback)

    def close(self) -> None:
        """The transaction that was open is no more; closing alone would leave it to unfinished statements."""
        with contextlib.suppress(sqlite3.ProgrammingError):
            super().rollback()
        self._end(super().close)

    def _end(self, act: Callable[[], None]) -> None:
        act()
        self.writes = False
        self.store.unlock(self)


class Cursor(sqlite3.Cursor):
    """Each statement is a yield point."""

    connection: Connection

    def execute(self, statement: str, values: Any = ()) -> sqlite3.Cursor:  # type: ignore[override] # the forms that the driver uses
        """Run a statement, once the others have had their chance."""
        connection = self.connection
        world = connection.store.world
        if world.current is not None:
            world.passing()
            if statement == "BEGIN IMMEDIATE":
                connection.begin()
            elif "julianday('now')" in statement:  # the database's machine has the world's clock
                return super().execute(f"SELECT {world.now}")
            else:
                self._fail(world)
        return super().execute(statement, values)

    def executemany(self, statement: str, values: Any) -> sqlite3.Cursor:  # type: ignore[override] # as above
        """The same with many rows."""
        world = self.connection.store.world
        if world.current is not None:
            world.passing()
            self._fail(world)
        return super().executemany(statement, values)

    @staticmethod
    def _fail(world: World) -> None:
        assert world.current is not None
        if world.faulty and world.current.dice.strikes("statement_failed", world.swarm.rate("statement_failed")):
            world.struck("statement_failed", world.current.name)
            raise Simulated("interrupted")


class Slot:
    """The engine of one process. It outlives seeds, so that statements are compiled once; its connections do not."""

    def __init__(self, path: Path) -> None:
        self.store: Store | None = None
        self.node: Node | None = None
        self._open: list[Connection] = []
        self.engine: Engine = db.connect(DatabaseSection(url=f"sqlite:///{path}"))
        self._path = path
        event.listen(self.engine, "do_connect", self._connect)

    def _connect(self, *_ignored: Any) -> Connection:
        connection = sqlite3.connect(
            self._path, timeout=0, isolation_level=None, check_same_thread=False, factory=Connection
        )
        assert self.store is not None
        assert self.node is not None
        connection.store, connection.node = self.store, self.node
        self._open.append(connection)
        return connection

    def begin(self, store: Store, node: Node) -> None:
        """Serve another process, which has just been started."""
        self.hang_up()
        self.store, self.node = store, node

    def hang_up(self) -> None:
        """The process has gone: whatever was not committed is rolled back."""
        for connection in self._open:
            connection.close()
        self._open.clear()
        self.engine.dispose()
