"""The triggers that keep what is written for ever, and what is frozen, as it is: which of them are in force."""

from __future__ import annotations

from sqlalchemy import Connection, text

from bridge import models

IN_FORCE = {
    "sqlite": """
        SELECT name FROM sqlite_master WHERE type = 'trigger' AND sql LIKE '%BEFORE%RAISE(ABORT%'
            AND name IN (tbl_name || '_no_update', tbl_name || '_no_delete', tbl_name || '_no_replace',
                tbl_name || '_frozen')""",
    "postgresql": """
        SELECT t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
        WHERE pg_table_is_visible(c.oid) AND t.tgenabled IN ('O', 'A') AND (
            (t.tgname = c.relname || '_no_change' AND (t.tgtype & 58) = 58)
            OR (t.tgname = c.relname || '_frozen' AND (t.tgtype & 31) = 31)
            OR (t.tgname = c.relname || '_no_truncate' AND (t.tgtype & 34) = 34))""",
}
"""58: before UPDATE, DELETE and TRUNCATE; 31: of each row, before INSERT, UPDATE and DELETE; 34: before TRUNCATE."""

OF_APPEND_ONLY = {"sqlite": ("_no_update", "_no_delete", "_no_replace"), "postgresql": ("_no_change",)}
OF_FROZEN = {"sqlite": ("_frozen", "_no_delete", "_no_replace"), "postgresql": ("_frozen", "_no_truncate")}


def missing(connection: Connection) -> list[str]:
    """The names of those that are not there, or not in force."""
    dialect = connection.dialect.name
    present = set(connection.execute(text(IN_FORCE[dialect])).scalars())
    wanted = [table + ending for table in models.APPEND_ONLY for ending in OF_APPEND_ONLY[dialect]]
    wanted += [table + ending for table in models.FROZEN for ending in OF_FROZEN[dialect]]
    return [name for name in wanted if name not in present]
