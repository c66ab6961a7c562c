"""Fills a bridge's PostgreSQL tables with the transfers of years, by SQL.

A transfer is really made, through the API; every row that it has left is the pattern of a copy (`patterns`): its id,
its key, its player and its times are replaced wherever they occur, numbers of rows and of versions go on. Copies of
several patterns are mixed as if they had come one after the other, and may each have an amount of their own.
`bridge verify` holds for what is filled (tests/benchmarks/test_filling.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from sqlalchemy import Column, Table
from sqlalchemy.dialects import postgresql

from benchmarks.patterns import PLAYER, Pattern, numbered, one
from bridge import models, tallies

BATCH = 100_000
SPAN_SECONDS = 30 * 86_400  # the copies are spread over the month before the newest pattern
AN_INSTANT = 10**15  # microseconds since 1970 are larger, and nothing else is
LOOKED_AT_SECONDS = 3600  # what is open is looked at once in so long, when it is old
FILLED = "filled-"
"""The keys of copies begin so."""

AMOUNT, TOLD = 700_109, 700_102
"""Minor units that occur in a pattern only as its amount, and as another one that its provider told: where copies have
amounts of their own, these are replaced, in numbers and in texts (7001.09, 7001.02)."""

Progress = Callable[[int], None]
Account = tuple[str, str]
"""As a pattern names it, and its currency."""


@dataclass(frozen=True)
class Share:
    """So many copies of a pattern; `amounts` in minor units, drawn from with equal chances, each larger than
    `AMOUNT - TOLD`. Without them all copies have the pattern's own; with them, that must be AMOUNT."""

    pattern: Pattern
    copies: int
    amounts: Sequence[int] = ()

    def __post_init__(self) -> None:
        assert not self.amounts or (self.pattern.amount == AMOUNT and min(self.amounts) > AMOUNT - TOLD)

    @property
    def versions(self) -> dict[Account, list[int]]:
        """As the pattern's."""
        return self.pattern.versions()


def fill(connection: psycopg.Connection[Any], shares: Sequence[Share], players: int, tell: Progress) -> None:
    """Add all copies for players `p0` …, mixed; `tell` hears how many there are. The connection is a superuser's:
    triggers and foreign keys rest meanwhile, for what they would refuse is not written."""
    connection.execute("SET session_replication_role = replica")
    connection.execute("SET synchronous_commit = off")  # of the filling; the servers keep theirs
    connection.execute("SET work_mem = '256MB'")
    copies = sum(share.copies for share in shares)
    for statement in _numbers(connection, shares, players, copies):
        connection.execute(statement.encode())
    inserts = [_insert(shares, name) for name in _tables(shares)]
    for first in range(0, copies, BATCH):
        last = min(copies, first + BATCH)
        for insert in inserts:
            connection.execute(insert.format(first=first, last=last).encode())
        tell(last)
    for statement in (*_balances(shares), _hours(), _wakes(), *_sequences(shares)):
        connection.execute(statement.encode())
    connection.execute("DROP TABLE bench_number")
    connection.execute("UPDATE event_origin SET history_id = (SELECT MAX(id) FROM history)")
    connection.execute("RESET work_mem")
    connection.execute("SET session_replication_role = DEFAULT")
    for statement in ("VACUUM ANALYZE", "CHECKPOINT"):
        connection.execute(statement.encode())
    connection.execute("SET synchronous_commit = DEFAULT")


def _tables(shares: Sequence[Share]) -> list[str]:
    """All that any pattern has rows in, in the order in which they are written."""
    return [table.name for table in models.metadata.sorted_tables if any(table.name in s.pattern.rows for s in shares)]


def _accounts(shares: Sequence[Share]) -> list[Account]:
    """The players' accounts that any pattern has moved."""
    return sorted({account for share in shares for account in share.versions})


# --- the copies, before they have rows ----------------------------------------------------------------------


def _numbers(
    connection: psycopg.Connection[Any], shares: Sequence[Share], players: int, copies: int
) -> Iterator[str]:
    """The copies in their order: number, share, id (version 7, as old as its time), player, amount; `row_…`: the number
    of the first row in each table; `had_…`: the postings that each account had before."""
    step = SPAN_SECONDS * 1_000_000 // max(1, copies)
    began = max(share.pattern.created_at for share in shares) - step * (copies + 1)
    places = " UNION ALL ".join(
        f"SELECT {number} AS share, (i + 0.5) / {share.copies} AS place FROM generate_series(1, {share.copies}) AS i"
        for number, share in enumerate(shares)
    )
    operator = shares[0].pattern.rows["transfer"][0]["operator_id"]
    accounts = list(enumerate(_accounts(shares)))
    joined = " ".join(
        f"LEFT JOIN account AS a{place} ON a{place}.operator_id = {operator} AND a{place}.currency = '{currency}' "
        f"AND a{place}.account = {_player_in(account)}"
        for place, (account, currency) in accounts
    )
    rows = [
        f"{_highest(connection, name) + 1} + "
        f"{_before([len(s.pattern.rows.get(name, ())) for s in shares])} AS row_{name}"
        for name in _tables(shares)
        if numbered(name) is not None
    ]
    had = [
        f"coalesce(a{place}.version, 0) + "
        f"{_before([len(s.versions.get(account, ())) for s in shares], 'PARTITION BY n.player')} AS had_{place}"
        for place, account in accounts
    ]
    columns = ", ".join(("n.*", *rows, *had))
    yield f"""
        CREATE TEMPORARY TABLE bench_number AS
        WITH placed AS (SELECT row_number() OVER (ORDER BY place, share) - 1 AS g, share FROM ({places}) AS every),
        dated AS (SELECT g, share, {began} + g * {step}::bigint AS at, md5(g::text) AS mess FROM placed),
        n AS (SELECT g, share, at, 'p' || {_drawn(20)} % {players} AS player, '{FILLED}' || g AS key,
                     lpad(to_hex(at / 1000), 12, '0') || '7' || substr(mess, 1, 3) || '8' || substr(mess, 4, 15) AS hex,
                     {_amounts(shares)} AS amount
              FROM dated)
        SELECT {columns} FROM n {joined} ORDER BY n.g"""
    yield "CREATE UNIQUE INDEX ON bench_number (share, g)"
    yield "ANALYZE bench_number"


def _drawn(place: int) -> str:
    """A number by chance, from a place of the copy's own digits; the same in every run."""
    return f"('x' || substr(mess, {place}, 6))::bit(24)::int"


def _amounts(shares: Sequence[Share]) -> str:
    cases = " ".join(
        f"WHEN {number} THEN (ARRAY[{', '.join(map(str, share.amounts))}])[1 + {_drawn(26)} % {len(share.amounts)}]"
        for number, share in enumerate(shares)
        if share.amounts
    )
    return f"(CASE share {cases} END)::bigint" if cases else "NULL::bigint"


def _before(of_each: Sequence[int], partition: str = "") -> str:
    """The sum, over all copies before this one, of a number that each share has."""
    cases = " ".join(f"WHEN {share} THEN {number}" for share, number in enumerate(of_each))
    mine = f"CASE n.share {cases} END"
    return f"sum({mine}) OVER ({partition} ORDER BY n.g) - {mine}"


# --- their rows ---------------------------------------------------------------------------------------------


def _insert(shares: Sequence[Share], name: str) -> str:
    """All rows of a batch in one table, in the order of the copies; the batch is still to be named."""
    table = models.metadata.tables[name]
    copied = " UNION ALL ".join(
        f"SELECT n.g, {place} AS place, {_row(_Copy(share, shares), table, place, row)} FROM bench_number AS n "
        f"WHERE n.share = {number} AND n.g >= {{first}} AND n.g < {{last}}"
        for number, share in enumerate(shares)
        for place, row in enumerate(share.pattern.rows.get(name, ()))
    )
    columns = ", ".join(f'"{column.name}"' for column in table.columns)
    return f'INSERT INTO "{name}" ({columns}) SELECT {columns} FROM ({copied}) AS copied ORDER BY g, place'


def _row(copy: _Copy, table: Table, place: int, row: Mapping[str, Any]) -> str:
    values = (
        f"CAST({copy.value(column, place, row)} AS {column.type.compile(postgresql.dialect())}) "  # type: ignore[no-untyped-call]  # SQLAlchemy's
        f'AS "{column.name}"'
        for column in table.columns
    )
    return ", ".join(values).replace("{", "{{").replace("}", "}}")


@dataclass(frozen=True)
class _Copy:
    """Says as SQL what stands in a copy where the pattern has a value."""

    share: Share
    shares: Sequence[Share]

    def value(self, column: Column[Any], place: int, row: Mapping[str, Any]) -> str:
        """One column of one row."""
        value, table = row[column.name], str(column.table.name)
        if value is None:
            return "NULL"
        if isinstance(value, bool):
            return str(value).lower()
        if numbered(table) == column.name:
            return f"n.row_{table} + {place}"
        rows = self.share.pattern.rows
        pointed = next((k.column for k in column.foreign_keys if k.column.table.name in rows), None)
        if pointed is not None and numbered(pointed.table.name) == pointed.name:
            others = [other[pointed.name] for other in rows[pointed.table.name]]
            return f"n.row_{pointed.table.name} + {others.index(value)}"
        if column.name in ("debit_version", "credit_version"):
            return self._version((row[column.name.removesuffix("_version")], row["currency"]), value)
        if isinstance(value, int):
            return self.number(value)
        if column.name == "id" and column.primary_key and value != self.share.pattern.transfer_id:
            return _id(value, f"{table} {place}")
        return self.text(str(value))

    def number(self, value: int) -> str:
        """An instant as far from the copy's beginning as from the pattern's; the amounts; any other as it is."""
        if value > AN_INSTANT:
            return f"n.at + {value - self.share.pattern.created_at}"
        if self.share.amounts and value in (AMOUNT, TOLD):
            return f"n.amount - {AMOUNT - value}"
        return str(value)

    def text(self, value: str) -> str:
        """A text with the copy's id, key, player, amounts and provider's reference in place of the pattern's."""
        pattern = self.share.pattern
        words = [(pattern.hex, "n.hex"), (pattern.key, "n.key"), (PLAYER, "n.player")]
        if self.share.amounts:
            words += [(_decimal(each), f"({_decimal_of(f'n.amount - {AMOUNT - each}')})") for each in (AMOUNT, TOLD)]
        told = {row["provider_reference"] for name in ("leg", "evidence") for row in pattern.rows[name]} - {None}
        if value in told:
            return f"{self._replaced(value, words)} || '-' || n.g"
        words += [(f'"{each}"', f"""'"{each}-' || n.g || '"'""") for each in told]
        return self._replaced(value, words)

    def _replaced(self, value: str, words: Sequence[tuple[str, str]]) -> str:
        parts = [_quoted(value)]
        for word, column in words:
            parts = [piece for part in parts for piece in _split(part, word, column)]
        return " || ".join(part for part in parts if part != "''") or "''"

    def _version(self, account: Account, value: int) -> str:
        """A player's account counts its postings: on from those that it had."""
        place = _accounts(self.shares).index(account)
        return f"n.had_{place} + {1 + self.share.versions[account].index(value)}"


def _id(value: str, row: str) -> str:
    """An id of the same kind for a row that is not the transfer's own, as old as the copy's."""
    kind = value.partition("_")[0]
    return f"'{kind}_' || substr(n.hex, 1, 13) || substr(md5({_quoted(row)} || n.hex), 14)"


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _split(part: str, word: str, column: str) -> list[str]:
    if not part.startswith("'") or part.startswith("""'"'"""):
        return [part]
    pieces = part[1:-1].split(word)
    return [each for piece in pieces for each in (column, f"'{piece}'")][1:]


def _decimal(units: int) -> str:
    return f"{units // 100}.{units % 100:02}"


def _decimal_of(units: str) -> str:
    return f"to_char(({units}) / 100.0, 'FM9999999990.00')"


def _player_in(account: str) -> str:
    return " || ".join(part for part in _split(_quoted(account), PLAYER, "n.player") if part != "''")


# --- what they have done to the rest ------------------------------------------------------------------------


def _balances(shares: Sequence[Share]) -> Iterator[str]:
    """What the copies have done to the players' accounts; a game's account comes with the first transfer."""
    operator = shares[0].pattern.rows["transfer"][0]["operator_id"]
    for account, currency in _accounts(shares):
        units = " ".join(f"WHEN {n} THEN {_moved(share, (account, currency))}" for n, share in enumerate(shares))
        times = " ".join(f"WHEN {n} THEN {len(s.versions.get((account, currency), ()))}" for n, s in enumerate(shares))
        moved = f"""
            WITH moved AS (
                SELECT {_player_in(account)} AS account, n.player, sum(CASE share {units} END)::bigint AS units,
                    sum(CASE share {times} END)::bigint AS times
                FROM bench_number AS n GROUP BY n.player)"""
        yield f"""{moved}
            UPDATE account AS a SET balance = a.balance + moved.units, version = a.version + moved.times FROM moved
            WHERE a.operator_id = {operator} AND a.account = moved.account AND a.currency = '{currency}'"""
        yield f"""{moved}
            INSERT INTO account (operator_id, account, currency, player_id, balance, version)
            SELECT {operator}, account, '{currency}', player, units, times FROM moved WHERE times > 0
                AND NOT EXISTS (SELECT 1 FROM account AS a WHERE a.operator_id = {operator}
                    AND a.account = moved.account AND a.currency = '{currency}')"""


def _moved(share: Share, account: Account) -> str:
    """The sum of what one copy moves to an account."""
    copy, parts = _Copy(share, (share,)), ["0"]
    for row in share.pattern.rows["posting"]:
        for side, sign in (("credit", "+"), ("debit", "-")):
            if (row[side], row["currency"]) == account:
                parts.append(f"{sign} ({copy.number(row['amount'])})")
    return " ".join(parts)


def _hours() -> str:
    """How many of their moves came in each hour, and after how long: what `tallies` counts when a move is numbered."""
    bounds = ", ".join(str(int(seconds * 1_000_000)) for seconds in tallies.BOUNDS_SECONDS)
    return f"""
        INSERT INTO hour_tally (operator_id, hour, provider, state, bucket, moves)
        SELECT t.operator_id, h.at / {tallies.HOUR} * {tallies.HOUR}, t.provider, h.target,
            width_bucket(greatest(0, h.at - t.created_at) - 1, ARRAY[{bounds}]::bigint[]), count(*)
        FROM transfer AS t JOIN history AS h ON h.transfer_id = t.id
        WHERE h.subject = 'transfer' AND h.source <> h.target AND t.idempotency_key LIKE '{FILLED}%'
        GROUP BY 1, 2, 3, 4, 5
        ON CONFLICT (operator_id, hour, provider, state, bucket)
        DO UPDATE SET moves = hour_tally.moves + excluded.moves"""


def _wakes() -> str:
    """What is open is looked at again within the time between two looks at what is old: not all of it at once."""
    return f"""
        UPDATE transfer SET wake_at = (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
            + ('x' || substr(md5(id), 1, 7))::bit(28)::bigint * 1000 % {LOOKED_AT_SECONDS * 1_000_000}
        WHERE wake_at IS NOT NULL AND idempotency_key LIKE '{FILLED}%'"""


def _sequences(shares: Sequence[Share]) -> Iterator[str]:
    for name in _tables(shares):
        column = numbered(name)
        if column is not None:
            yield f"SELECT setval(pg_get_serial_sequence('{name}', '{column}'), (SELECT max({column}) FROM \"{name}\"))"


def _highest(connection: psycopg.Connection[Any], name: str) -> int:
    return one(connection, f"SELECT coalesce(max({numbered(name)}), 0) FROM {name}")
