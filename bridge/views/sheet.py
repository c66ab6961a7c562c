"""The queue as a file for a spreadsheet (RFC 4180): numbers are numbers, and no text of a provider's or a player's can
become a formula there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bridge.money import UnknownCurrency
from bridge.ports import SECOND
from bridge.runtime import Runtime
from bridge.views.amounts import instant
from bridge.views.orphans import Unproved, Wanted, every

CONTENT_TYPE = "text/csv; charset=utf-8; header=present"

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\x00", "＝", "＋", "－", "＠")
"""With any of these first, behind blanks too, a spreadsheet may read a text as a formula."""

BLANK = r"[\s\ufeff\u200b]"
"""What is not seen in front of a text."""

_FIRST = re.compile(rf"{BLANK}*[{re.escape(''.join(FORMULA))}]")
_INSIDE = re.compile(rf"([;,\t\r\n]['\"]?{BLANK}*)(?=[=+\-@＝＋－＠])")
"""Where a spreadsheet that splits at another sign than the comma, as most of Europe's do, begins a cell of its own."""

HEAD = (
    "transfer", "state", "player", "provider", "direction", "amount", "currency", "reason", "detail", "begun",
    "since", "age_seconds", "reference", "provider_reference", "proposal", "proposed_by",
)  # fmt: skip


@dataclass(frozen=True)
class Number:
    """What stands in a cell as a number, already written."""

    text: str


def lines(runtime: Runtime, operator_id: int, wanted: Wanted) -> Iterator[str]:
    """The file line by line, each with its end; as many rows as there are, read piece by piece."""
    now = runtime.clock.now()
    yield line(HEAD)
    for each in every(runtime, operator_id, wanted):
        yield line(_cells(runtime, each, now))


def line(cells: Iterable[str | Number]) -> str:
    """One line of the file, with its end."""
    return ",".join(cell.text if isinstance(cell, Number) else quoted(cell) for cell in cells) + "\r\n"


def quoted(text: str) -> str:
    """A text as a cell: in quotes, and marked as text wherever it could be taken for a formula."""
    marked = _INSIDE.sub(r"\1'", text)
    text = f"'{marked}" if _FIRST.match(text) else marked
    return '"' + text.replace('"', '""') + '"'


def _cells(runtime: Runtime, each: Unproved, now: int) -> Iterator[str | Number]:
    yield from (each.id, each.state, each.player, each.provider, each.direction)
    try:
        yield Number(runtime.currencies.format(each.amount, each.currency))
    except UnknownCurrency:
        yield f"{each.amount} minor units"
    yield from (each.currency, each.reason, each.detail)
    yield from (f"{instant(at):%Y-%m-%dT%H:%M:%SZ}" for at in (each.begun_at, each.since))
    yield Number(str(max(0, now - each.since) // SECOND))
    yield from (each.reference or "", each.provider_reference or "")
    yield each.proposal.kind if each.proposal else ""
    yield each.proposal.maker if each.proposal else ""
