"""A whole table in parts that one statement can look at, found once: what is begun meanwhile is left to the next look,
or on a busy bridge there would be no end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import text

from bridge import db
from bridge.runtime import Runtime


def parts(
    runtime: Runtime, table: str, key: str, size: int, given: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """The `first` and the `last` key of each part, in the order of the database, up to `size` rows in each.

    `table` may end with a condition, whose values are `given`. Both ends are keys that are there: a key that somebody
    planted has no smaller or greater one that Python could name.
    """
    query = f"""
        SELECT MIN({key}) AS first, MAX({key}) AS last FROM (
            SELECT {key}, (ROW_NUMBER() OVER (ORDER BY {key}) - 1) / :size AS part FROM {table}) AS numbered
        GROUP BY part ORDER BY part"""
    with db.reading(runtime.engine) as connection:
        return [dict(row) for row in connection.execute(text(query), {**(given or {}), "size": size}).mappings()]
