"""What the schema demands of rows, asked of the rows themselves: what they name is there, and their conditions hold.
Whoever owns the database can write while neither is in force (SQLite's shell, PostgreSQL's `session_replication_role`,
a constraint that is dropped and put back), and a row of nobody is in no part that is looked at by its owner's key.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import CheckConstraint, Table

from bridge.models import metadata


def _declared() -> Iterator[tuple[Table, Sequence[str], Table, Sequence[str]]]:
    """Each foreign key: whose, of which columns, to which columns of whom."""
    for table in metadata.sorted_tables:
        for constraint in sorted(table.foreign_key_constraints, key=lambda each: tuple(each.column_keys)):
            theirs = [element.column.name for element in constraint.elements]
            yield table, constraint.column_keys, constraint.referred_table, theirs
    owner = ("operator_id", "player_id")  # of a posting it is no key of the schema, for each would cost a look more
    yield metadata.tables["posting"], owner, metadata.tables["player"], owner


def _query(table: Table, ours: Sequence[str], other: Table, theirs: Sequence[str]) -> str:
    """The rows that refer to none: a key with an empty column refers to nothing."""
    told = ", ".join(f"r.{name}" for name in (["id", *ours] if "id" in table.columns else ours))
    named = " AND ".join(f"r.{name} IS NOT NULL" for name in ours)
    same = " AND ".join(f"o.{there} = r.{here}" for here, there in zip(ours, theirs, strict=True))
    return f"""
        SELECT {told} FROM {table.name} r
        WHERE {named} AND NOT EXISTS (SELECT 1 FROM {other.name} o WHERE {same}) LIMIT 1000"""


def _demands(table: Table) -> list[str]:
    """The table's conditions, in SQL that both databases read."""
    checks = (each for each in table.constraints if isinstance(each, CheckConstraint))
    return sorted(str(check.sqltext) for check in checks)


def _failing(table: Table, demands: Sequence[str]) -> str:
    """The rows that fail one of them; a condition about what is empty is not failed."""
    told = ", ".join(column.name for column in table.primary_key)
    return f"SELECT {told} FROM {table.name} WHERE {' OR '.join(f'NOT ({each})' for each in demands)} LIMIT 1000"


RELATIONS = {
    f"The {other.name} that {table.name} names by {' and '.join(ours)} is there.": _query(table, ours, other, theirs)
    for table, ours, other, theirs in _declared()
}
"""The rule, and the query that must return no row."""

DEMANDS = {
    f"Each row of {table.name} is as its conditions say.": _failing(table, demands)
    for table in metadata.sorted_tables
    if (demands := _demands(table))
}
"""The same of the conditions."""
