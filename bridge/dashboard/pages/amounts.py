"""Amounts that people type, for a second look at what they are about to decide."""

from __future__ import annotations

from collections.abc import Iterable

from bridge.errors import Invalid
from bridge.money import AmountRefused, Currencies

_BLANKS = dict.fromkeys(map(ord, " \u00a0\u202f\u2009"))
"""What may stand between thousands, as it is shown."""


def typed(currencies: Currencies, name: str, told: str, currency: str) -> int:
    """An amount in minor units; its currency may stand behind it. Raises Invalid, naming the field."""
    plain = told.translate(_BLANKS).removesuffix(currency)
    if not plain:
        raise Invalid(fields={name: "is missing"})
    try:
        return currencies.parse_exact(plain, currency)
    except AmountRefused as wrong:
        raise Invalid(fields={name: str(wrong)}) from None


def require_same(currencies: Currencies, name: str, told: str, units: int, currency: str) -> None:
    """Raise Invalid, naming the field, unless what was typed is exactly this amount (minor units)."""
    if typed(currencies, name, told, currency) != units:
        raise Invalid(fields={name: "is not the amount that is at stake: look again"})


def require_sums(currencies: Currencies, told: Iterable[tuple[str, str, int]]) -> None:
    """Raise Invalid unless each (currency, what was typed, minor units) is the same; fields are `sum_EUR` and so on."""
    wrong: dict[str, str] = {}
    for currency, text, units in told:
        try:
            require_same(currencies, f"sum_{currency}", text, units, currency)
        except Invalid as refusal:
            wrong |= refusal.fields
    if wrong:
        raise Invalid(fields=wrong)
