"""What a row refers to is there: the foreign keys, asked of the rows themselves. Whoever owns the database can write
while they are not in force (SQLite's shell, PostgreSQL's `session_replication_role`), and a row of nobody is in no part
that is looked at by its owner's key.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Table

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


RELATIONS = {
    f"The {other.name} that {table.name} names by {' and '.join(ours)} is there.": _query(table, ours, other, theirs)
    for table, ours, other, theirs in _declared()
}
"""The rule, and the query that must return no row."""
