"""The members of a request's `data`, read as strictly as the contract writes them (§1, §2)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from bridge.simulator.books import CREDIT, DEBIT, Refused, Terms
from bridge.simulator.messages import Currencies

PLAYER = re.compile(r"[A-Za-z0-9_.-]{1,34}")
ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
LARGEST_PAGE = 500
MOST_DIGITS = 18
TYPES = {"in": CREDIT, "out": DEBIT}
DIRECTIONS = {CREDIT: "in", DEBIT: "out"}

Members = Mapping[str, Any]


def invalid(name: str, rule: str) -> Refused:
    """The refusal that names a member."""
    return Refused("invalid_member", f"data.{name} {rule}")


def text(data: Members, name: str, pattern: re.Pattern[str]) -> str:
    """A string that the pattern describes; raises Refused."""
    value = data.get(name)
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise invalid(name, f"must be a string of {pattern.pattern}")
    return value


def currency(data: Members, kept: Currencies) -> str:
    """A currency that is kept here; raises Refused."""
    value = data.get("currency")
    if not isinstance(value, str) or value not in kept:
        raise invalid("currency", "must be one that is kept here")
    return value


def amount(data: Members, code: str, kept: Currencies) -> int:
    """An amount above zero with exactly the currency's decimals, in minor units; raises Refused."""
    value, places = data.get("amount"), kept.exponents[code]
    pattern = r"(0|[1-9][0-9]*)" + (rf"\.[0-9]{{{places}}}" if places else "")
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise invalid("amount", f"must be a string with {places} decimals")
    digits = value.replace(".", "")
    if len(digits) > MOST_DIGITS or not int(digits):
        raise invalid("amount", f"must be above zero, with at most {MOST_DIGITS} digits")
    return int(digits)


def terms(data: Members, kept: Currencies) -> Terms:
    """What a create or a cancel is about; raises Refused."""
    direction = data.get("direction")
    if direction not in ("in", "out"):
        raise invalid("direction", "must be in or out")
    reference, player, code = text(data, "id", ID), text(data, "player", PLAYER), currency(data, kept)
    return Terms(TYPES[direction], reference, player, code, amount(data, code, kept))


def whole(data: Members, name: str, least: int, most: int | None = None) -> int:
    """A whole JSON number; raises Refused."""
    value = data.get(name)
    if not isinstance(value, Decimal) or value.as_tuple().exponent != 0 or value.is_signed():
        raise invalid(name, "must be a whole number")
    if value < least or (most is not None and value > most):
        raise invalid(name, f"must be from {least}" + ("" if most is None else f" to {most}"))
    return int(value)
