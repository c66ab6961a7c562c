"""Patterns: all rows that one really made transfer has left, in whatever table, to be copied by `filling`.

Before a pattern is copied it is checked to be whole: transfers made in the same way must add as many rows to every
table as the pattern has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from sqlalchemy import BigInteger, Integer, String, Table

from bridge import models

PLAYER, KEY = "pattern-player", "pattern-key"
"""Words that occur in no row but those of patterns; a pattern may have a key of its own."""

NOT_OF_A_TRANSFER = (
    "account", "player", "job_run", "job_line", "beat", "lineage", "cash_movement", "denomination", "operator",
    "api_key", "seal", "seal_mark", "alert", "alert_notice", "alert_turn", "alerted_orphan", "cap_hit", "outbox",
    "tally", "hour_tally", "event", "event_head", "event_origin", "webhook_endpoint", "delivery", "delivery_try",
)  # fmt: skip
"""Tables in which a transfer leaves no row of its own: balances, masters, upkeep, alerts; and its events, whose numbers
are the operator's: those of the copies begin behind them."""


class PatternIncomplete(Exception):
    """A really made transfer leaves rows that the pattern does not have: a copy would be no transfer."""


@dataclass(frozen=True)
class Pattern:
    """All rows of one transfer, by table, in the order in which they were written."""

    key: str
    transfer_id: str
    created_at: int
    rows: Mapping[str, list[dict[str, Any]]]

    @property
    def hex(self) -> str:
        """Its id without the prefix: references begin with it too."""
        return self.transfer_id.partition("_")[2]

    @property
    def amount(self) -> int:
        """What was asked for, in minor units."""
        return int(self.rows["transfer"][0]["amount"])

    def counts(self) -> dict[str, int]:
        """Rows a table."""
        return {name: len(rows) for name, rows in self.rows.items()}

    def versions(self) -> dict[tuple[str, str], list[int]]:
        """The versions that it has given to its player's accounts, in order, by account and currency."""
        found: dict[tuple[str, str], list[int]] = {}
        for row in self.rows["posting"]:
            for side in ("debit", "credit"):
                if row[f"{side}_version"] is not None:
                    found.setdefault((row[side], row["currency"]), []).append(row[f"{side}_version"])
        return {account: sorted(versions) for account, versions in found.items()}


def counts(connection: psycopg.Connection[Any]) -> dict[str, int]:
    """Rows of every table that transfers write to."""
    return {table.name: one(connection, f"SELECT count(*) FROM {table.name}") for table in _tables()}  # noqa: S608 - ours


def find(connection: psycopg.Connection[Any], key: str = KEY) -> Pattern:
    """The transfer that was made under `key`."""
    query = "SELECT id, created_at FROM transfer WHERE idempotency_key = %s"
    found = connection.execute(query, (key,)).fetchone()
    assert found is not None
    transfer_id, created_at = found
    rows = {table.name: _rows(connection, table, transfer_id) for table in _tables()}
    return Pattern(key, transfer_id, created_at, {name: of_table for name, of_table in rows.items() if of_table})


def check(pattern: Pattern, before: Mapping[str, int], after: Mapping[str, int], transfers: int) -> None:
    """Raise PatternIncomplete unless so many transfers have added exactly as many rows as the pattern says."""
    added = {name: after[name] - before[name] for name in after if after[name] != before[name]}
    expected = {name: number * transfers for name, number in pattern.counts().items()}
    if added != expected:
        raise PatternIncomplete(f"{transfers} transfers added {added}, the pattern says {expected}")


def numbered(name: str) -> str | None:
    """The column by which a table numbers its rows itself."""
    columns = list(models.metadata.tables[name].primary_key.columns)
    alone = columns[0] if len(columns) == 1 else None
    return alone.name if alone is not None and isinstance(alone.type, BigInteger | Integer) else None


def one(connection: psycopg.Connection[Any], query: str) -> int:
    """The one number that a query returns."""
    found = connection.execute(query.encode()).fetchone()
    assert found is not None
    return int(found[0])


def _tables() -> Iterator[Table]:
    return (table for table in models.metadata.sorted_tables if table.name not in NOT_OF_A_TRANSFER)


def _rows(connection: psycopg.Connection[Any], table: Table, transfer_id: str) -> list[dict[str, Any]]:
    """The rows in which any text is the transfer's id."""
    types = {column.name: getattr(column.type, "impl_instance", column.type) for column in table.columns}
    texts = [name for name, of_column in types.items() if isinstance(of_column, String)]
    if not texts:
        return []
    names, order = [column.name for column in table.columns], ", ".join(c.name for c in table.primary_key.columns)
    where = " OR ".join(f'"{name}" = %(id)s' for name in texts)
    listed = ", ".join(f'"{name}"' for name in names)
    query = f'SELECT {listed} FROM "{table.name}" WHERE {where} ORDER BY {order}'  # noqa: S608 - names of our own
    found = connection.execute(query.encode(), {"id": transfer_id}).fetchall()
    return [dict(zip(names, row, strict=True)) for row in found]
