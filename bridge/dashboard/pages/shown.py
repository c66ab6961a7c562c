"""How amounts, times and words stand on pages."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from bridge.money import THOUSANDS, Currencies
from bridge.ports import SECOND
from bridge.views import amounts, words

HARD = "\u00a0"
"""A blank at which no line ends."""

_SHORT = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_A_MINUTE = 60
_A_TENTH = 0.1


def filters(currencies: Currencies) -> Mapping[str, Callable[..., Any]]:
    """The filters that templates have for them."""
    return {
        "money": partial(amounts.written, currencies),
        "utc": utc,
        "instant": instant,
        "age": age,
        "seconds": seconds,
        "counted": counted,
        "why": words.why,
        "spoken": spoken,
    }


def utc(at: int | None, *, exact: bool = False) -> str:
    """An instant as it stands on every page, in UTC; nothing for None."""
    return "" if at is None else amounts.clock_time(at, exact=exact)


def instant(at: int | None) -> str:
    """An instant for a browser, not for people: what fields and `datetime` hold, UTC; nothing for None."""
    return "" if at is None else f"{amounts.instant(at):%Y-%m-%d %H:%M:%S}"


def age(since: int | None, now: int) -> str:
    """How long ago an instant was, in two units at most, such as "3 d 4 h"."""
    return "" if since is None else _length(max(0, now - since) // SECOND)


def _length(total: int) -> str:
    told: list[str] = []
    left = total
    for size, unit in _SHORT:
        count, left = divmod(left, size)
        if count or told:
            told.append(f"{count}{HARD}{unit}" if count else "")
    return HARD.join(each for each in told[:2] if each) or f"0{HARD}s"


def seconds(length: float | None) -> str:
    """A time that was measured in buckets, so not more exact than it is known."""
    if length is None:
        return "–"
    if math.isinf(length):
        return "more than a day"
    if length < _A_TENTH:
        return f"{length:.2f} s"
    return f"{length:.1f} s" if length < _A_MINUTE else _length(round(length))


def counted(number: int, one: str, many: str = "") -> str:
    """A number with its noun: "1 orphan", "3 orphans"."""
    return f"{number:,}".replace(",", THOUSANDS) + f" {one if number == 1 else many or one + 's'}"


def spoken(word: str) -> str:
    """A code as words: "claw_back" is "claw back"."""
    return word.replace("_", " ")
