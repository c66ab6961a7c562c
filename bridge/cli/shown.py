"""How the command line shows rows, amounts and instants; and how its commands open the bridge."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from bridge.runtime import Runtime

WIDE = 1000
"""Columns where nobody looks at a screen: a row stays one line, for `grep` and `awk`."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def opened(*, migrated: bool = True) -> Runtime:
    """The configured bridge. Raises doctor.CannotStart with one sentence."""
    from bridge import doctor

    return doctor.bridge(doctor.configuration(), migrated=migrated)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under a head, in columns."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(*head, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        grid.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    console = Console() if sys.stdout.isatty() else Console(width=WIDE)
    with console.capture() as captured:
        console.print(grid)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def instant(at: int | None) -> str:
    """Microseconds since 1970 in RFC 3339, UTC; nothing for None."""
    if at is None:
        return ""
    return (EPOCH + timedelta(microseconds=at)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def printable(text: str) -> str:
    """A text that came from outside, as a terminal may show it: what moves its cursor or colours it is escaped."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def counted(number: int, one: str) -> str:
    """A number with its noun: "1 finding", "3 findings"."""
    return f"{number} {one}{'' if number == 1 else 's'}"


def operator_id(runtime: Runtime, name: str) -> int:
    """The id of the operator with this name. Raises errors.NotFound."""
    from bridge import keys
    from bridge.errors import NotFound

    for row in keys.operators(runtime):
        if row["name"] == name:
            return int(row["id"])
    raise NotFound(f"There is no operator {name!r}.")
