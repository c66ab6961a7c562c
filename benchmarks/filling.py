"""Fills a bridge's PostgreSQL tables with the transfers of years, by SQL.

One transfer is really made, through the API. Then every row that it has left, in whatever table, is the pattern of a
copy: its id, its key, its player and its times are replaced wherever they occur, numbers of rows and of versions go
on. Before that it is checked that the pattern is whole: really made transfers add as many rows to every table as the
pattern has. `bridge verify` holds for what is filled (tests/benchmarks/test_filling.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from sqlalchemy import BigInteger, Column, Integer, String, Table

from bridge import models

PLAYER, KEY = "pattern-player", "pattern-key"
"""Words that occur in no row but those of the pattern."""

BATCH = 100_000
SPAN_SECONDS = 30 * 86_400  # the copies are spread over the month before the pattern
AN_INSTANT = 10**15  # microseconds since 1970 are larger, and nothing else is
NOT_OF_A_TRANSFER = (
    "account", "player", "job_run", "lineage", "seal", "seal_mark", "cash_movement", "denomination", "operator",
    "api_key", "outbox", "tally", "event", "event_head", "event_origin", "webhook_endpoint", "delivery", "delivery_try",
)  # fmt: skip
"""Tables in which a transfer leaves no row of its own: balances, masters, upkeep; and its events, whose numbers are the
operator's: those of the copies begin behind them."""

Progress = Callable[[int], None]


class PatternIncomplete(Exception):
    """A really made transfer leaves rows that the pattern does not have: a copy would be no transfer."""


@dataclass(frozen=True)
class Pattern:
    """All rows of one transfer, by table, in the order in which they were written."""

    transfer_id: str
    created_at: int
    rows: Mapping[str, list[dict[str, Any]]]

    @property
    def hex(self) -> str:
        """Its id without the prefix: references begin with it too."""
        return self.transfer_id.partition("_")[2]

    def counts(self) -> dict[str, int]:
        """Rows a table."""
        return {name: len(rows) for name, rows in self.rows.items()}


def counts(connection: psycopg.Connection[Any]) -> dict[str, int]:
    """Rows of every table that transfers write to."""
    return {table.name: _one(connection, f"SELECT count(*) FROM {table.name}") for table in _tables()}  # noqa: S608


def find_pattern(connection: psycopg.Connection[Any]) -> Pattern:
    """The transfer that was made under KEY."""
    query = "SELECT id, created_at FROM transfer WHERE idempotency_key = %s"
    found = connection.execute(query, (KEY,)).fetchone()
    assert found is not None
    transfer_id, created_at = found
    rows = {table.name: _rows(connection, table, transfer_id) for table in _tables()}
    return Pattern(transfer_id, created_at, {name: of_table for name, of_table in rows.items() if of_table})


def check(pattern: Pattern, before: Mapping[str, int], after: Mapping[str, int], transfers: int) -> None:
    """Raise PatternIncomplete unless so many transfers have added exactly as many rows as the pattern says."""
    added = {name: after[name] - before[name] for name in after if after[name] != before[name]}
    expected = {name: number * transfers for name, number in pattern.counts().items()}
    if added != expected:
        raise PatternIncomplete(f"{transfers} transfers added {added}, the pattern says {expected}")


def fill(connection: psycopg.Connection[Any], pattern: Pattern, players: int, transfers: int, tell: Progress) -> None:
    """Add `transfers` copies for players `p0` … in turn; `tell` hears how many there are. The connection is a
    superuser's: triggers and foreign keys rest meanwhile, for what they would refuse is not written."""
    connection.execute("SET session_replication_role = replica")
    connection.execute("SET synchronous_commit = off")  # of the filling; the servers keep theirs
    bases = {name: _highest(connection, name) for name in pattern.rows if _numbered(name) is not None}
    inserts = [
        _insert(pattern, name, place, row, bases)
        for name, rows in pattern.rows.items()
        for place, row in enumerate(rows)
    ]
    for first in range(0, transfers, BATCH):
        last = min(transfers, first + BATCH)
        connection.execute(_numbers(pattern, players, transfers, first, last).encode())
        for insert in inserts:
            connection.execute(insert.encode())
        tell(last)
    connection.execute("DROP TABLE IF EXISTS bench_number")
    for statement in (*_balances(pattern, players, transfers), *_sequences(bases)):
        connection.execute(statement.encode())
    connection.execute("UPDATE event_origin SET history_id = (SELECT MAX(id) FROM history)")
    connection.execute("SET session_replication_role = DEFAULT")
    for statement in ("VACUUM ANALYZE", "CHECKPOINT"):
        connection.execute(statement.encode())
    connection.execute("SET synchronous_commit = DEFAULT")


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


def _numbers(pattern: Pattern, players: int, transfers: int, first: int, last: int) -> str:
    """The copies of a batch: number, id (version 7, as old as its time), player, how many the player had before."""
    step = SPAN_SECONDS * 1_000_000 // max(1, transfers)
    began = pattern.created_at - step * (transfers + 1)
    return f"""
        DROP TABLE IF EXISTS bench_number;
        CREATE TEMPORARY TABLE bench_number AS
        SELECT g, at, 'p' || g % {players} AS player, g / {players} AS earlier, 'filled-' || g AS key,
               lpad(to_hex(at / 1000), 12, '0') || '7' || substr(mess, 1, 3) || '8' || substr(mess, 4, 15) AS hex
        FROM (SELECT g, {began} + g * {step}::bigint AS at, md5(g::text) AS mess
              FROM generate_series({first}, {last - 1}) AS g) AS numbered"""  # noqa: S608 - numbers of our own


def _insert(pattern: Pattern, name: str, place: int, row: Mapping[str, Any], bases: Mapping[str, int]) -> str:
    table = models.metadata.tables[name]
    columns = ", ".join(f'"{column}"' for column in row)
    values = ", ".join(_value(pattern, table.columns[column], place, row, bases) for column in row)
    return f'INSERT INTO "{name}" ({columns}) SELECT {values} FROM bench_number AS n'  # noqa: S608 - as above


def _value(
    pattern: Pattern, column: Column[Any], place: int, row: Mapping[str, Any], bases: Mapping[str, int]
) -> str:
    """One column of a copy as SQL."""
    value, table = row[column.name], str(column.table.name)
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).lower()
    if _numbered(table) == column.name:
        return _number(pattern, table, place, bases)
    pointed = next((key.column for key in column.foreign_keys if key.column.table.name in bases), None)
    if pointed is not None:
        others = [other[pointed.name] for other in pattern.rows[pointed.table.name]]
        return _number(pattern, pointed.table.name, others.index(value), bases)
    if column.name in ("debit_version", "credit_version"):
        return _version(pattern, row[column.name.removesuffix("_version")], value)
    if isinstance(value, int):
        return f"n.at + {value - pattern.created_at}" if value > AN_INSTANT else str(value)
    return _text(pattern, str(value))


def _number(pattern: Pattern, table: str, place: int, bases: Mapping[str, int]) -> str:
    return f"{bases[table] + 1 + place} + n.g * {len(pattern.rows[table])}"


def _version(pattern: Pattern, account: str, value: int) -> str:
    """A player's account counts its postings: on from those of the purse, so many a transfer."""
    versions = _versions(pattern)[account]
    return f"{_purse(account) + 1 + versions.index(value)} + n.earlier * {len(versions)}"


def _versions(pattern: Pattern) -> dict[str, list[int]]:
    """The versions that the pattern's transfer has given to its player's accounts, in order."""
    found: dict[str, list[int]] = {}
    for row in pattern.rows["posting"]:
        for side in ("debit", "credit"):
            if row[f"{side}_version"] is not None:
                found.setdefault(row[side], []).append(row[f"{side}_version"])
    return {account: sorted(versions) for account, versions in found.items()}


def _purse(account: str) -> int:
    """Postings before the first transfer: the deposit, in a wallet."""
    return 1 if account.startswith("wallet:") else 0


def _text(pattern: Pattern, value: str) -> str:
    """A text with the copy's id, key and player in place of the pattern's."""
    parts = ["'" + value.replace("'", "''") + "'"]
    for word, column in ((pattern.hex, "n.hex"), (KEY, "n.key"), (PLAYER, "n.player")):
        parts = [piece for part in parts for piece in _split(part, word, column)]
    return " || ".join(part for part in parts if part != "''") or "''"


def _split(part: str, word: str, column: str) -> list[str]:
    if not part.startswith("'"):
        return [part]
    pieces = part[1:-1].split(word)
    return [each for piece in pieces for each in (column, f"'{piece}'")][1:]


def _balances(pattern: Pattern, players: int, transfers: int) -> Iterator[str]:
    """What the copies have done to the players' accounts."""
    each = f"""(SELECT 'p' || p AS player, {transfers} / {players} + (p < {transfers} % {players})::int AS times
                FROM generate_series(0, {players} - 1) AS p) AS filled"""  # noqa: S608 - numbers of our own
    for account, versions in _versions(pattern).items():
        moved = sum(
            row["amount"] * ((row["credit"] == account) - (row["debit"] == account)) for row in pattern.rows["posting"]
        )
        name, version = _text(pattern, account).replace("n.player", "filled.player"), f"{len(versions)} * times"
        first = pattern.rows["posting"][0]
        if account.startswith("wallet:"):  # opened with the player; a game's account comes with the first transfer
            yield (
                f"UPDATE account SET balance = balance + {moved} * times, "  # noqa: S608 - as above
                f"version = version + {version} FROM {each} "
                f"WHERE account = {name} AND currency = '{first['currency']}'"
            )
        else:
            yield (
                "INSERT INTO account (operator_id, account, currency, player_id, balance, version) "  # noqa: S608 - as above
                f"SELECT {first['operator_id']}, {name}, '{first['currency']}', filled.player, {moved} * times, "
                f"{version} FROM {each} WHERE times > 0"
            )


def _sequences(bases: Mapping[str, int]) -> Iterator[str]:
    for name in bases:
        yield f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), (SELECT max(id) FROM \"{name}\"))"  # noqa: S608


def _numbered(name: str) -> str | None:
    """The column by which a table numbers its rows itself."""
    columns = list(models.metadata.tables[name].primary_key.columns)
    alone = columns[0] if len(columns) == 1 else None
    return alone.name if alone is not None and isinstance(alone.type, BigInteger | Integer) else None


def _highest(connection: psycopg.Connection[Any], name: str) -> int:
    return _one(connection, f"SELECT coalesce(max(id), 0) FROM {name}")  # noqa: S608 - as above


def _one(connection: psycopg.Connection[Any], query: str) -> int:
    found = connection.execute(query.encode()).fetchone()
    assert found is not None
    return int(found[0])
