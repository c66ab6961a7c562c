"""A database with a row in every table that is sealed, for as many stories and operators as a test wants; the jobs that
seal and mirror; and the hand of whoever owns the database."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any

from sqlalchemy import Connection, create_engine, insert, select, text

from bridge import db, keys, models
from bridge.app import compose
from bridge.audit import mirror, sealing, signing
from bridge.audit.findings import Kind, Report
from bridge.audit.inspection import inspect
from bridge.audit.sealed import SOURCES
from bridge.config import Config
from bridge.ports import SECOND
from bridge.runtime import Runtime
from bridge.sections import AuditSection
from jobs import seal
from tests.harness import Hands, configured, in_its_time
from tests.postgres import others_end

DELAY = 30
TABLES = models.metadata.tables
OPERATORS = ("op", "other")


@dataclass
class Ground:
    """One process on one database, on a clock that the test turns."""

    runtime: Runtime
    operators: list[int]
    stories: Iterator[int]

    @property
    def clock(self) -> Any:
        return self.runtime.clock

    # --- what is written -------------------------------------------------------------------------------

    def write(self, stories: int = 1) -> None:
        """So many stories, in turn of one operator and the other, each a transaction that leaves a row everywhere."""
        for _ in range(stories):
            number = next(self.stories)
            self.clock.turn(1)
            with db.writing(self.runtime.engine) as connection:
                story(connection, self.operators[number % len(self.operators)], number, self.clock.now())

    def seal(self, runtime: Runtime | None = None) -> dict[str, int]:
        """See what is there, wait, and seal it."""
        runtime, stop = runtime or self.runtime, Event()
        first = seal.run_once(runtime, self.clock.now(), 10**9, stop)
        self.clock.turn(DELAY)
        others_end(self.runtime.engine)
        second = seal.run_once(runtime, self.clock.now(), 10**9, stop)
        return {name: first[name] + second[name] for name in second}

    def sealed(self, stories: int = 6) -> None:
        """Stories that are sealed, and mirrored where there is a mirror."""
        self.write(stories)
        self.seal()
        if mirror.has_begun(self.runtime):
            mirror.go_on(self.runtime)

    # --- what is found ---------------------------------------------------------------------------------

    def inspect(self) -> Report:
        return inspect(self.runtime)

    def found(self) -> list[tuple[str, str, str, int]]:
        """(kind, where, which, operator) of everything that is found."""
        return [(each.kind.value, each.where, each.which, each.chain) for each in self.inspect().findings]

    def sound(self) -> Report:
        """The report of an inspection that finds nothing."""
        report = self.inspect()
        assert not report.count, "\n".join(map(str, report.findings))
        return report

    def rows(self, query: str, **values: Any) -> list[dict[str, Any]]:
        with db.reading(self.runtime.engine) as connection:
            return [dict(row) for row in connection.execute(text(query), values).mappings()]

    def one(self, query: str, **values: Any) -> Any:
        """The only value."""
        (row,) = self.rows(query, **values)
        (value,) = row.values()
        return value

    def another(self) -> Runtime:
        """A second process on the same database."""
        return _runtime(self.runtime.config, self.clock)

    # --- whoever owns the database ---------------------------------------------------------------------

    def owner(self, *statements: str, **values: Any) -> None:
        """Statements as the owner of the database would run them: no trigger and no foreign key in the way."""
        with owned(self.runtime) as connection:
            for statement in statements:
                for part in (each.strip() for each in statement.split(";")):
                    if part:
                        connection.execute(text(part), {k: v for k, v in values.items() if f":{k}" in part})


@contextmanager
def owned(runtime: Runtime) -> Iterator[Connection]:
    """A connection on which everything is allowed; triggers are there again afterwards, as nobody would notice."""
    engine = runtime.engine
    if engine.dialect.name == "postgresql":
        with engine.begin() as connection:
            connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
            yield connection
        return
    file = create_engine(engine.url.set(drivername="sqlite"))  # where nobody asks for foreign keys
    with file.connect() as connection:
        connection.exec_driver_sql("PRAGMA ignore_check_constraints = ON")
        triggers = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")).all()
        for name, _ in triggers:
            connection.exec_driver_sql(f"DROP TRIGGER {name}")
        yield connection
        for _, sql in triggers:
            connection.exec_driver_sql(sql)
        connection.commit()
    file.dispose()


@contextmanager
def ground(url: str, folder: Path | None = None, **audit: Any) -> Iterator[Ground]:
    """A process on the migrated database at `url`; with a `folder`, a key and a mirror in it that has begun."""
    section = AuditSection(**{"delay_seconds": DELAY, **(_means(folder) if folder else {}), **audit})
    runtime = _runtime(configured(url).model_copy(update={"audit": section}), Hands())
    operators = [keys.add_operator(runtime, name) for name in OPERATORS]
    made = Ground(runtime, operators, itertools.count(1))
    with db.writing(runtime.engine) as connection:
        for operator in operators:
            _people(connection, operator)
    if folder is not None:
        signing.make(runtime.ids, folder / "audit.key")
        mirror.begin(runtime, "somebody")
    try:
        yield made
    finally:
        runtime.engine.dispose()


def _means(folder: Path) -> dict[str, Any]:
    return {"key_file": folder / "audit.key", "mirror_file": folder / "audit.mirror"}


def _runtime(config: Config, clock: Any) -> Runtime:
    runtime = compose(config, clock)
    return in_its_time(runtime, lambda: clock.right)


def _people(connection: Connection, operator: int) -> None:
    at = 1_800_000_000 * SECOND
    _insert(connection, "player", operator_id=operator, player_id="ann", created_at=at)
    _insert(connection, "event_head", operator_id=operator, sequence=0)
    _insert(connection, "webhook_endpoint", id=f"we_{operator}", operator_id=operator, url="https://x.example/",
            label="", state="enabled", reason="", secret_number=1, failures=0, created_at=at, changed_at=at)
    for name in ("maker", "checker"):
        _insert(connection, "person", id=f"{name}_{operator}", operator_id=operator, login=f"{name}{operator}",
                name=name, role="approver", state="invited", failures=0, epoch=0, created_at=at, changed_at=at)


def story(connection: Connection, operator: int, number: int, at: int) -> None:
    """One transfer that was orphaned, told of, proposed about and decided; and a deposit. Rows as the bridge writes
    them, one or more in every table that is sealed."""
    transfer, cash, proposal = f"tr_{number:05}", f"cm_{number:05}", f"pr_{number:05}"
    leg = {"transfer_id": transfer, "amount": 100, "state": "applied"}
    move = {"transfer_id": transfer, "reason": "", "actor": "worker", "lease_epoch": 1, "at": at}
    said = {"transfer_id": transfer, "ordinal": 2, "attempt": 1, "code": "", "detail": "", "at": at, "worker": "w",
            "lease_epoch": 1, "attempt_sensitive": False, "digest": "d"}  # fmt: skip
    _insert(connection, "transfer", id=transfer, operator_id=operator, player_id="ann", provider="sim", direction="in",
            amount=100, currency="EUR", state="confirmed", version=2, idempotency_key=f"key-{number}", created_at=at,
            updated_at=at, orphan_at=at, lease_epoch=1, failures=0)  # fmt: skip
    _insert(connection, "leg", ordinal=1, holder="wallet", side="debit", **leg)
    _insert(connection, "leg", ordinal=2, holder="sim", side="credit", reference=f"{transfer}2", **leg)
    _insert(connection, "history", **move, version=1, subject="transfer", trigger="begin", target="pending")
    sent = {**move, "version": 1, "trigger": "send", "source": "planned", "target": "sent"}
    _insert(connection, "history", **{**sent, "subject": "leg 2", "reason": "transfer, attempt 1"})
    _insert(connection, "attempt", transfer_id=transfer, ordinal=2, attempt=1, step="transfer", sent_at=at,
            wire_until=at, lease_owner="worker", lease_epoch=1)  # fmt: skip
    known = _insert(connection, "evidence", **said, source="call", answer="unknown", amount=100, currency="EUR")
    _insert(connection, "decision", id=f"de_{number:05}", transfer_id=transfer, kind="confirm", arrived=0, returned=0,
            maker="m", checker="c", reason="proved in writing", watermark=known, decided_at=at)  # fmt: skip
    person = _insert(connection, "evidence", **said, source="person", answer="applied", watermark=known)
    _insert(connection, "history", **move, version=2, subject="transfer", trigger="confirm", source="pending",
            target="confirmed", evidence_id=person)  # fmt: skip
    posted = {"operator_id": operator, "player_id": "ann", "currency": "EUR", "amount": 100, "at": at}
    _insert(connection, "posting", **posted, transfer_id=transfer, version=2, debit="wallet:ann",
            credit="game:sim:ann", debit_version=number, credit_version=number)  # fmt: skip
    _insert(connection, "cash_movement", id=cash, operator_id=operator, player_id="ann", kind="deposit", amount=100,
            currency="EUR", idempotency_key=f"cash-{number}", created_at=at)  # fmt: skip
    _insert(connection, "posting", **posted, cash_movement_id=cash, version=0, debit="cashier", credit="wallet:ann")
    _told(connection, operator, transfer, number, at)
    _insert(connection, "proposal", id=proposal, operator_id=operator, transfer_id=transfer, kind="confirm", arrived=0,
            returned=0, reason="as they say", maker_id=f"maker_{operator}", needs=1, version=1, seen="s",
            postings="[]", created_at=at, expires_at=at, state="open")  # fmt: skip
    _insert(connection, "verdict", proposal_id=proposal, person_id=f"checker_{operator}",
            maker_id=f"maker_{operator}", approves=True, reason="seen", at=at)  # fmt: skip
    table = TABLES["proposal"]
    ended = {"state": "carried_out", "ended_at": at, "decision_id": f"de_{number:05}"}
    connection.execute(table.update().where(table.c.id == proposal).values(**ended))
    _insert(connection, "access_note", at=at, operator_id=operator if number % 3 else None, kind="login",
            outcome="done", address="127.0.0.1")  # fmt: skip


def _told(connection: Connection, operator: int, transfer: str, number: int, at: int) -> None:
    """What was told by the provider, and to the operator."""
    _insert(connection, "inbox", provider="sim", message_id=f"m-{number}", kind="transfer.confirmed", body="{}",
            digest="d", peer="p", sent_at=at, received_at=at)  # fmt: skip
    _insert(connection, "security_event", kind="unsigned", provider="sim", peer="p", detail="", digest="d", at=at)
    head = TABLES["event_head"]
    mine = head.c.operator_id == operator
    connection.execute(head.update().where(mine).values(sequence=head.c.sequence + 1))
    sequence = connection.execute(select(head.c.sequence).where(mine)).scalar_one()
    _insert(connection, "event", operator_id=operator, sequence=sequence, id=f"ev_{number}", kind="transfer.confirmed",
            transfer_id=transfer, version=2, body="{}", occurred_at=at, numbered_at=at)  # fmt: skip
    delivery = _insert(connection, "delivery", endpoint_id=f"we_{operator}", operator_id=operator, sequence=sequence,
                       state="delivered", tries=1, epoch=0, created_at=at)  # fmt: skip
    _insert(connection, "delivery_try", delivery_id=delivery, at=at, status=200, failure="", milliseconds=1)


def _insert(connection: Connection, table: str, **values: Any) -> Any:
    """One row; its first key."""
    return connection.execute(insert(TABLES[table]).values(**values)).inserted_primary_key[0]


def newest(made: Ground, table: str) -> str:
    """The key of the last row of a table, in words that stand in a finding."""
    source = next(each for each in SOURCES if each.name == table)
    order = ", ".join(f"{name} DESC" for name in source.key)
    row = made.rows(f'SELECT {", ".join(source.key)} FROM "{table}" ORDER BY {order} LIMIT 1')[0]
    return ", ".join(f"{name} {value}" for name, value in row.items())


__all__ = ["DELAY", "Ground", "Kind", "ground", "newest", "owned", "replace", "sealing"]
