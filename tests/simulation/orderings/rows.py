"""The rows of one transfer as values: read after a call, brought into a normal form, laid down before another.

The normal form leaves out, by a constant in its place, only what the bridge writes and never reads again to decide:

- **history**: it is judged when it is written, and no code of a transfer reads it;
- **versions** of transfer, case and account: they are compared within one transaction with what that transaction has
  just read, so only a change counts, and every call begins with the same number; postings keep theirs apart by the
  order in which they were made;
- **lease epochs**: compared for equality with a worker's own; the row's is EPOCH in every state, so is that of a
  worker who holds the lease, and a worker whose lease is gone has LAPSED, which no later epoch can ever be again;
- **numbers** of evidence rows: only their order is read, and it is kept; names of workers: whether there is an owner is
  read, not which;
- **instants that are never compared**: when something was created, posted, opened, closed, handled; `settled_at` unless
  the transfer is reversed (aftercare counts from it); `orphan_at` unless it is pending (an end of patience that was
  declared, or overtaken, is not asked again); `unknown_since` and `cancel_requested_at` are asked for by whether they
  are there; `reason_detail` and balances told are words for people.

The instants that count stay in the rows as they are; which of them make two states different is said in `sameness.py`.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from tests.simulation.orderings.stand import BEGINS

VERSION, EPOCH, LAPSED = 100, 1000, 1
FORGOTTEN = BEGINS - 1
"""Stands where an instant counts in other states, and not in this one."""

Row = tuple[Any, ...]
Rows = tuple[tuple[Row, ...], ...]
"""The rows of each table of TABLES, in that order."""

TABLES = (
    "transfer", "leg", "attempt", "inbox", "inbox_task", "evidence", "posting", "account", "orphan_case",
    "idempotency_key",
)  # fmt: skip
"""Every table that a transfer's code reads or writes, parents before children."""

_ORDER = {
    "transfer": "id", "leg": "transfer_id, ordinal", "attempt": "transfer_id, ordinal, attempt", "inbox": "id",
    "inbox_task": "inbox_id", "evidence": "id", "posting": "id", "account": "account", "orphan_case": "id",
    "idempotency_key": "key",
}  # fmt: skip
_WHERE = {"posting": "transfer_id IS NOT NULL", "idempotency_key": "operation = 'transfer'"}
TRANSFER, LEG, ATTEMPT, INBOX, TASK, EVIDENCE, POSTING, ACCOUNT, CASE, KEY = range(len(TABLES))


class Shelf:
    """Reads rows from a database, lays them down again, and knows their columns by name."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.columns = [
            tuple(row[1] for row in connection.execute(f"PRAGMA table_info({table})").fetchall()) for table in TABLES
        ]
        self.at = [{name: place for place, name in enumerate(columns)} for columns in self.columns]
        self._selects = [
            f"SELECT * FROM {table} WHERE {_WHERE.get(table, 'TRUE')} ORDER BY {_ORDER[table]}" for table in TABLES
        ]
        self._inserts = [
            f"INSERT INTO {table} VALUES ({', '.join('?' * len(columns))})"
            for table, columns in zip(TABLES, self.columns, strict=True)
        ]
        self._wallet = "UPDATE account SET balance = ?, version = ? WHERE account = ?"
        self._shared: dict[Row, Row] = {}
        self._named: list[dict[Row, dict[str, Any]]] = [{} for _ in TABLES]
        self.empty = self.read()

    def read(self) -> Rows:
        """All rows as they stand."""
        run = self._connection.execute
        return tuple(tuple(run(select).fetchall()) for select in self._selects)

    def lay(self, rows: Rows) -> None:
        """Bring the database to these rows."""
        self._connection.execute("ROLLBACK TO beginning")
        if rows is self.empty:
            return
        for place, (insert, content) in enumerate(zip(self._inserts, rows, strict=True)):
            if place == ACCOUNT:
                self._lay_accounts(content)
            elif content:
                self._connection.executemany(insert, content)

    def _lay_accounts(self, content: tuple[Row, ...]) -> None:
        at, known = self.at[ACCOUNT], {row[self.at[ACCOUNT]["account"]] for row in self.empty[ACCOUNT]}
        for row in content:
            if row[at["account"]] in known:
                self._connection.execute(self._wallet, (row[at["balance"]], row[at["version"]], row[at["account"]]))
            else:
                self._connection.execute(self._inserts[ACCOUNT], row)

    def history(self) -> list[tuple[str, str, str | None, str]]:
        """(subject, trigger, source, target) of the moves made since the rows were laid down: none is laid down."""
        query = 'SELECT subject, "trigger", source, target FROM history ORDER BY id'
        return self._connection.execute(query).fetchall()

    def shared(self, row: Row) -> Row:
        """An equal tuple that is the same each time: few differ, and they stand in many states."""
        return self._shared.setdefault(row, row)

    def named(self, table: int, row: Row) -> dict[str, Any]:
        """A row by the names of its columns: the same dictionary each time, not to be changed."""
        known = self._named[table].get(row)
        if known is None:
            known = self._named[table][row] = dict(zip(self.columns[table], row, strict=True))
        return known


class NormalForm:
    """Brings rows into the form that the head of this file describes."""

    def __init__(self, shelf: Shelf) -> None:
        self._at, self._shelf = shelf.at, shelf
        constants = {
            TRANSFER: {"version": VERSION, "lease_epoch": EPOCH, "created_at": BEGINS, "updated_at": BEGINS,
                       "reason_detail": None},
            ATTEMPT: {"lease_owner": "w", "lease_epoch": 0},
            EVIDENCE: {"worker": "w", "lease_epoch": 0, "digest": "", "provider_time": None, "balance": None,
                       "sent": None, "received": None},
            POSTING: {"at": BEGINS, "debit_version": None, "credit_version": None},
            ACCOUNT: {"version": 0},
            CASE: {"opened_at": BEGINS, "version": 1},
            KEY: {"created_at": BEGINS},
            INBOX: {"sent_at": BEGINS},
        }  # fmt: skip
        whether = {
            TRANSFER: {"lease_owner": "w", "cancel_requested_at": BEGINS}, LEG: {"unknown_since": BEGINS},
            CASE: {"closed_at": BEGINS}, TASK: {"wake_at": BEGINS, "handled_at": BEGINS},
        }  # fmt: skip
        self._constants = [self._placed(table, constants.get(table, {})) for table in range(len(TABLES))]
        self._whether = [self._placed(table, whether.get(table, {})) for table in range(len(TABLES))]
        kept = {TRANSFER: ("wake_at", "settled_at", "orphan_at"), ATTEMPT: ("sent_at", "wire_until"),
                EVIDENCE: ("at",), INBOX: ("received_at",)}  # fmt: skip
        self._kept = {table: tuple(self._at[table][name] for name in names) for table, names in kept.items()}

    def _placed(self, table: int, values: dict[str, Any]) -> list[tuple[int, Any]]:
        return [(self._at[table][name], value) for name, value in values.items()]

    def of(self, rows: Rows) -> tuple[Rows, Rows]:
        """Rows just read in the normal form, and the same with the instants that count taken out."""
        tables = [
            [self._row(table, row, number) for number, row in enumerate(content, 1)]
            for table, content in enumerate(rows)
        ]
        self._forget_instants(tables)
        normal = self._shared(tables)
        for table, places in self._kept.items():
            for row in tables[table]:
                for place in places:
                    row[place] = row[place] if row[place] in (None, FORGOTTEN) else True
        return normal, self._shared(tables)

    def _shared(self, tables: list[list[list[Any]]]) -> Rows:
        return tuple(tuple(self._shelf.shared(tuple(row)) for row in content) for content in tables)

    def _row(self, table: int, row: Row, number: int) -> list[Any]:
        changed = list(row)
        for place, value in self._constants[table]:
            changed[place] = value
        for place, value in self._whether[table]:
            if changed[place] is not None:
                changed[place] = value
        if table == EVIDENCE:
            changed[self._at[table]["id"]] = number
        elif table == POSTING:
            changed[self._at[table]["id"]], changed[self._at[table]["version"]] = 100 + number, number
        return changed

    def _forget_instants(self, tables: list[list[list[Any]]]) -> None:
        at = self._at[TRANSFER]
        for transfer in tables[TRANSFER]:
            if transfer[at["state"]] != "reversed" and transfer[at["settled_at"]] is not None:
                transfer[at["settled_at"]] = FORGOTTEN
            if transfer[at["state"]] != "pending":
                transfer[at["orphan_at"]] = FORGOTTEN
        done = {row[self._at[TASK]["inbox_id"]] for row in tables[TASK] if row[self._at[TASK]["wake_at"]] is None}
        for message in tables[INBOX]:
            if message[self._at[INBOX]["id"]] in done:
                message[self._at[INBOX]["received_at"]] = FORGOTTEN
