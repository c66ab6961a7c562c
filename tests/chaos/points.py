"""Kill points, found from outside: every commit of a writing transaction and every outside call is counted.

Runs inside a victim and changes nothing of what it counts: listeners of SQLAlchemy around each real COMMIT, and
wraps around the four moments of a call: before it, past the gate (before its bytes), bytes away, answer read.
"""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.default import DefaultDialect

from bridge import outbound, stroke

WRITES = re.compile(r"\bINSERT INTO\s+\"?(\w+)|\bUPDATE\s+\"?(\w+)\"?\s+SET\b|\bDELETE FROM\s+\"?(\w+)")
UNSAID = frozenset({"account", "history", "leg"})  # always in company; a label names what tells commits apart
BESIDE_MONEY = frozenset({
    "job_run", "job_line", "beat", "lineage",  # the jobs' own diary, and what the first process of all remembers
    "alert", "alert_notice", "alert_turn", "alerted_orphan", "cap_hit",  # what people are told
})  # fmt: skip
AN_ID = re.compile(r"[0-9a-f-]{32,}")
A_TYPE = re.compile(r'^\{"type": "([a-z._]+)"')  # the contract of our own has one address: its messages name themselves

_CALL: ContextVar[str] = ContextVar("chaos_call", default="a call")
_COMMIT = threading.local()


class Count:
    """Notes the points in a file as this process reaches them, and strikes at the wanted one."""

    def __init__(self, label: str, occurrence: int, strike: signal.Signals, diary: Path) -> None:
        """Strikes at the nth occurrence of a label; 0: never. The diary gets one line a point, before that."""
        self._label, self._left, self._strike = label, occurrence, strike
        self._diary = os.open(diary, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._lock = threading.Lock()

    def reach(self, label: str) -> None:
        """One more point; at the wanted one the own process gets the signal, in the middle of its work."""
        with self._lock:
            os.write(self._diary, f"{label}\n".encode())
            self._left -= label == self._label
            if label == self._label and self._left == 0:
                # To this very thread: sent to the process, a SIGSTOP may be taken by another thread, and until
                # that one is scheduled this one would run on, past its point.
                signal.pthread_kill(threading.get_ident(), self._strike)


def instrument(reach: Callable[[str], None]) -> None:
    """Count the points of this process from now on, whatever engine or provider it makes."""
    _around_commits(reach)
    _around_strokes(reach)
    _around_calls(reach)


def _around_commits(reach: Callable[[str], None]) -> None:
    committed: Callable[[DefaultDialect, Any], None] = DefaultDialect.do_commit

    @event.listens_for(Engine, "begin")
    def _begun(connection: Connection) -> None:
        connection.info["chaos_tables"] = set()
        connection.info["chaos_changes"] = _changes(connection)

    @event.listens_for(Engine, "after_cursor_execute")
    def _executed(connection: Connection, _cursor: Any, statement: str, *_rest: Any) -> None:
        connection.info.setdefault("chaos_tables", set()).update(_written(statement))

    @event.listens_for(Engine, "commit")
    def _committing(connection: Connection) -> None:
        tables = connection.info.get("chaos_tables", set()) - BESIDE_MONEY
        if tables and _has_written(connection):
            _COMMIT.label = "commit of " + ", ".join(sorted(tables - UNSAID))
            reach("before the " + _COMMIT.label)

    def do_commit(dialect: DefaultDialect, connection: Any) -> None:
        committed(dialect, connection)
        label, _COMMIT.label = getattr(_COMMIT, "label", None), None
        if label is not None:
            reach("after the " + label)

    DefaultDialect.do_commit = do_commit  # type: ignore[method-assign]


def _around_strokes(reach: Callable[[str], None]) -> None:
    """A stroke goes past SQLAlchemy. On SQLite in a transaction whose commit is seen; on PostgreSQL it commits itself,
    and where it wrote nothing nothing was committed."""
    struck, one_by_one = stroke.at_once, stroke.Stroke._one_by_one

    def at_once(line: Any, name: bytes, query: bytes, values: Any) -> Any:
        label = "commit of " + ", ".join(sorted(_written(query.decode()) - UNSAID))
        reach(f"before the {label}")
        row = struck(line, name, query, values)
        if row is not None:
            reach(f"after the {label}")
        return row

    def told(self: stroke.Stroke, connection: Connection, values: Any) -> Any:
        connection.info.setdefault("chaos_tables", set()).update(_written(self.text))
        return one_by_one(self, connection, values)

    # For the rest of this process, which is here to be killed at these points.
    stroke.at_once, stroke.Stroke._one_by_one = at_once, told  # type: ignore[method-assign]


def _written(statement: str) -> set[str]:
    return {table for tables in WRITES.findall(statement) for table in tables if table}


def _changes(connection: Connection) -> int:
    raw = connection.connection.dbapi_connection
    return int(raw.total_changes) if connection.dialect.name == "sqlite" and raw is not None else 0


def _has_written(connection: Connection) -> bool:
    """Whether the open transaction changed a row: a claim that finds nothing due commits nothing."""
    if connection.dialect.name == "sqlite":
        return _changes(connection) > int(connection.info["chaos_changes"])
    raw: Any = connection.connection.dbapi_connection
    with raw.cursor() as cursor:
        row = cursor.execute("SELECT pg_current_xact_id_if_assigned() IS NOT NULL").fetchone()
    return bool(row[0])


def _around_calls(reach: Callable[[str], None]) -> None:
    sent, let_out, answered = outbound.Outbound.send, outbound._Call.pass_gate, outbound._Gate.getresponse

    def send(self: outbound.Outbound, method: str, path: str, **parts: Any) -> outbound.Exchange:
        typed = A_TYPE.match(parts.get("json") or "")
        label = typed[1] if typed else f"{method} {AN_ID.sub('{id}', path)}"
        _CALL.set(label)
        reach(f"before {label}")
        exchange = sent(self, method, path, **parts)
        reach(f"answer of {label} read")
        return exchange

    def pass_gate(self: outbound._Call) -> None:
        let_out(self)
        reach(f"gate open for {_CALL.get()}")

    def getresponse(self: outbound._Gate) -> Any:
        reach(f"bytes of {_CALL.get()} away")
        return answered(self)

    outbound.Outbound.send = send  # type: ignore[method-assign]
    outbound._Call.pass_gate = pass_gate  # type: ignore[method-assign]
    outbound._Gate.getresponse = getresponse  # type: ignore[method-assign]
