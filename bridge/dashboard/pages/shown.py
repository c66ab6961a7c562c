"""How amounts, times and words stand on pages."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from bridge.money import Currencies, UnknownCurrency
from bridge.ports import SECOND
from bridge.views import amounts, words

NARROW = "\u202f"
"""Between thousands: no comma, which means something else elsewhere, and no end of a line."""

HARD = "\u00a0"
"""A blank at which no line ends."""

_SHORT = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_A_MINUTE = 60
_A_TENTH = 0.1


def filters(currencies: Currencies) -> Mapping[str, Callable[..., Any]]:
    """The filters that templates have for them."""

    def money(units: int, currency: str) -> str:
        """An amount with its currency, thousands apart."""
        try:
            told = currencies.format(abs(units), currency)
        except UnknownCurrency:
            return amounts.written(currencies, units, currency)
        whole, point, rest = told.partition(".")
        grouped = f"{int(whole):,}".replace(",", NARROW)
        return f"{'−' if units < 0 else ''}{grouped}{point}{rest} {currency}"

    return {
        "money": money,
        "age": age,
        "seconds": seconds,
        "counted": counted,
        "why": words.why,
        "spoken": spoken,
    }


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
    return f"{number:,}".replace(",", NARROW) + f" {one if number == 1 else many or one + 's'}"


def spoken(word: str) -> str:
    """A code as words: "claw_back" is "claw back"."""
    return word.replace("_", " ")
