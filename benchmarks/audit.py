"""`python -m benchmarks.audit`: how fast rows are sealed and inspected, on SQLite and on PostgreSQL, each on disk.

A database is filled with transfers as the bridge writes them (fourteen rows each in sealed tables); then all of it is
sealed as a backlog after an upgrade is, by the job itself, and inspected twice. One process, one thread; beside the
rate by the clock stands that by its own processor time, which others on the machine do not change. What is printed
stands in docs/audit.md.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

from sqlalchemy import Engine, insert, text

from benchmarks import machine
from bridge import db, keys, models
from bridge.app import compose
from bridge.audit.inspection import inspect
from bridge.config import Config
from bridge.runtime import Runtime
from bridge.sections import AuditSection, DatabaseSection
from jobs import seal
from tests.postgres import PostgresServer

BATCH = 1000
"""Transfers that are written at once."""

PLAYERS = 1000
A_MONTH_AGO = 30 * 86_400 * 1_000_000


def main() -> int:
    """Measure both; the exit code is 1 where an inspection finds something."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.audit", description="sealing and inspecting")
    parser.add_argument("--transfers", type=int, default=20_000, help="fourteen rows each")
    transfers = parser.parse_args().transfers
    folder = Path(tempfile.mkdtemp(prefix="bridge-audit-", dir=Path.cwd()))
    try:
        print(", ".join(f"{name} {value}" for name, value in machine.described().items()))
        print(f"load average {os.getloadavg()[0]:.1f}")
        outcomes = [_measured("sqlite", f"sqlite:///{folder / 'bridge.db'}", transfers)]
        with PostgresServer(durable=True) as server:
            outcomes.append(_measured("postgresql", server.create_database("audit"), transfers))
    finally:
        shutil.rmtree(folder)
    return 0 if all(outcomes) else 1


def _measured(name: str, url: str, transfers: int) -> bool:
    """Fill, seal, inspect and tell; whether nothing was found."""
    db.migrate(url)
    audit = AuditSection(delay_seconds=0)
    runtime = compose(Config(database=DatabaseSection(url=url), audit=audit))
    try:
        _fill(runtime, transfers)
        sealed, *times = _timed(lambda: _sealed(runtime))
        size = _size(runtime.engine) / sealed
        print(f"{name}: {_told(sealed, 'sealed', *times)}; {size:.0f} bytes a row", flush=True)
        for _ in range(2):
            report, *times = _timed(lambda: inspect(runtime))
            assert report.entries == sealed
            print(f"{name}: {_told(sealed, 'inspected', *times)}; {report.count} findings", flush=True)
        return not int(report.count)
    finally:
        runtime.engine.dispose()


def _timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """(what came of it, seconds by the clock, seconds of this process's processor time)."""
    begun, busy = time.monotonic(), time.process_time()
    return work(), time.monotonic() - begun, time.process_time() - busy


def _told(rows: int, what: str, seconds: float, busy: float) -> str:
    by_clock, by_work = rows / seconds, rows / busy
    return f"{rows:,} rows {what} in {seconds:.1f} s: {by_clock:,.0f} a second, {by_work:,.0f} of its processor time"


def _sealed(runtime: Runtime) -> int:
    """The job, until it finds nothing any more."""
    total, quiet = 0, 0
    while quiet < 2:
        counts = seal.run_once(runtime, runtime.clock.now(), 10**9, Event())
        total += counts["sealed"]
        quiet = 0 if counts["sealed"] else quiet + 1
    return total


def _size(engine: Engine) -> int:
    """Bytes of the table of seals with its indexes."""
    query = {
        "postgresql": "SELECT pg_total_relation_size('seal')",
        "sqlite": "SELECT SUM(LENGTH(content)) + 400 * COUNT(*) FROM seal",  # about: SQLite tells of no single table
    }[engine.dialect.name]
    with db.reading(engine) as connection:
        return int(connection.execute(text(query)).scalar_one())


# --- filling --------------------------------------------------------------------------------------------


def _fill(runtime: Runtime, transfers: int) -> None:
    operator = keys.add_operator(runtime, "op")
    began = runtime.clock.now() - A_MONTH_AGO
    with db.writing(runtime.engine) as connection:
        people = [{"operator_id": operator, "player_id": f"p{n}", "created_at": began} for n in range(PLAYERS)]
        connection.execute(insert(models.metadata.tables["player"]), people)
        head = {"operator_id": operator, "sequence": transfers}
        connection.execute(insert(models.metadata.tables["event_head"]), [head])
    order = ("transfer", "leg", "attempt", "evidence", "history", "posting", "event")
    for first in range(0, transfers, BATCH):
        rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for number in range(first, min(transfers, first + BATCH)):
            for table, row in _transfer(operator, number, began + number * 1000):
                rows[table].append(row)
        with db.writing(runtime.engine) as connection:
            for table in order:
                connection.execute(insert(models.metadata.tables[table]), rows[table])
    with runtime.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("ANALYZE")


def _transfer(operator: int, number: int, at: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of one transfer in, through a provider of two phases."""
    name, player = f"tr_{at:012x}7{number:019x}", f"p{number % PLAYERS}"
    worker = "host-01/12345/0123abcd"
    yield "transfer", {
        "id": name, "operator_id": operator, "player_id": player, "provider": "acme", "direction": "in",
        "amount": 2500, "currency": "EUR", "state": "confirmed", "version": 3, "idempotency_key": f"key-{number}",
        "created_at": at, "updated_at": at, "settled_at": at, "orphan_at": at, "lease_epoch": 1, "failures": 0,
    }  # fmt: skip
    for ordinal, holder, side in ((1, "wallet", "debit"), (2, "acme", "credit")):
        yield "leg", {"transfer_id": name, "ordinal": ordinal, "holder": holder, "side": side, "state": "applied",
                      "reference": f"{name[3:]}{ordinal}", "amount": 2500}  # fmt: skip
    moves = (
        (1, "transfer", "begin", None, "pending", "in"), (1, "leg 1", "send", "planned", "sent", ""),
        (1, "leg 1", "apply", "sent", "applied", ""), (1, "leg 2", "send", "planned", "sent", "prepare, attempt 1"),
        (2, "leg 2", "send", "reserved", "sent", "complete, attempt 2"),
        (3, "transfer", "confirm", "pending", "confirmed", ""),
    )  # fmt: skip
    for version, subject, trigger, source, target, reason in moves:
        yield "history", {"transfer_id": name, "version": version, "subject": subject, "trigger": trigger,
                          "source": source, "target": target, "reason": reason, "actor": worker, "lease_epoch": 1,
                          "at": at}  # fmt: skip
    for attempt, step, answer in ((1, "prepare", "reserved"), (2, "complete", "applied")):
        yield "attempt", {"transfer_id": name, "ordinal": 2, "attempt": attempt, "step": step, "sent_at": at,
                          "wire_until": at, "lease_owner": worker, "lease_epoch": 1}  # fmt: skip
        yield "evidence", {
            "transfer_id": name, "ordinal": 2, "provider": "acme", "source": "call", "step": step, "attempt": attempt,
            "answer": answer, "code": "200", "detail": "", "amount": 2500, "currency": "EUR", "player": player,
            "side": "credit", "reference": f"{name[3:]}2", "provider_reference": f"ref-{number}", "at": at,
            "attempt_sensitive": False, "digest": f"{number:064x}", "worker": worker, "lease_epoch": 1,
        }  # fmt: skip
    sides = (("wallet:" + player, "transit", number // PLAYERS * 2 + 1, None),
             ("transit", f"game:acme:{player}", None, number // PLAYERS + 1))  # fmt: skip
    for version, (debit, credit, debit_version, credit_version) in zip((1, 3), sides, strict=True):
        yield "posting", {"operator_id": operator, "player_id": player, "transfer_id": name, "version": version,
                          "debit": debit, "credit": credit, "amount": 2500, "currency": "EUR",
                          "debit_version": debit_version, "credit_version": credit_version, "at": at}  # fmt: skip
    yield "event", {"operator_id": operator, "sequence": number + 1, "id": f"evt_{number:032x}",
                    "kind": "transfer.confirmed", "transfer_id": name, "version": 3, "occurred_at": at,
                    "numbered_at": at, "body": '{"id": "evt", "data": {"amount": "25.00"}}' * 8}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
