"""What an address asks for, read from its query: each field right, left out, or refused by name."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TypeVar
from urllib.parse import urlencode

from flask import request

from bridge.errors import Invalid
from bridge.views import amounts

Choice = TypeVar("Choice", bound=StrEnum)

LONGEST = 200
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def word(name: str) -> str | None:
    """A text without blanks around it, None where there is none; without what no database can look for. Raises
    Invalid."""
    told = request.args.get(name, "").replace("\x00", "").strip()
    if len(told) > LONGEST:
        raise Invalid(fields={name: f"has more than {LONGEST} characters"})
    return told or None


def number(name: str, least: int, most: int) -> int | None:
    """A whole number between `least` and `most`, None where there is none. Raises Invalid."""
    told = word(name)
    if told is None:
        return None
    if not told.isascii() or not told.isdecimal() or not least <= int(told) <= most:
        raise Invalid(fields={name: f"must be a whole number from {least} to {most}"})
    return int(told)


def choice(name: str, kind: type[Choice], otherwise: Choice) -> Choice:
    """One of the words of `kind`, `otherwise` where there is none. Raises Invalid."""
    told = word(name)
    if told is None:
        return otherwise
    if told not in list(kind):
        raise Invalid(fields={name: f"must be one of {', '.join(kind)}"})
    return kind(told)


def one_of(name: str, words: Collection[str]) -> str | None:
    """One of some words, None where there is none. Raises Invalid."""
    told = word(name)
    if told is not None and told not in words:
        raise Invalid(fields={name: f"must be one of {', '.join(words)}"})
    return told


def flag(name: str) -> bool | None:
    """Whether `yes` or `no` is asked for, None for neither. Raises Invalid."""
    told = word(name)
    if told not in (None, "yes", "no"):
        raise Invalid(fields={name: "must be yes or no"})
    return None if told is None else told == "yes"


def instant(name: str) -> int | None:
    """An instant in UTC, as a browser's field for date and time writes it, in microseconds; None where there is none.
    Raises Invalid."""
    told = word(name)
    if told is None:
        return None
    try:
        at = datetime.fromisoformat(told)
    except ValueError:
        raise Invalid(fields={name: 'must be a date and a time in UTC, such as "2026-11-29T19:30"'}) from None
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    micros = (at - _EPOCH) // timedelta(microseconds=1)
    if micros < 0:
        raise Invalid(fields={name: "is before 1970"})
    if micros > amounts.LAST:
        raise Invalid(fields={name: "is beyond the year 9999"})
    return micros


def again(**changes: object) -> str:
    """The query of this address with some fields changed, or left out where they are None."""
    fields = {name: value for name, value in request.args.items() if value}
    fields |= {name: str(value) for name, value in changes.items() if value is not None}
    return urlencode([(name, value) for name, value in fields.items() if changes.get(name, value) is not None])
