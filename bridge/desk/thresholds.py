"""How many others have to approve: one, or two above a threshold of the currency."""

from __future__ import annotations

from bridge.config import Config
from bridge.money import AmountRefused, Currencies
from bridge.runtime import Runtime


def checkers(runtime: Runtime, currency: str, amount: int) -> int:
    """So many others have to approve what is decided about `amount` minor units."""
    told = runtime.config.desk.two_checkers_above.get(currency)
    return 2 if told is not None and amount > runtime.currencies.parse_exact(told, currency) else 1


def check(config: Config, currencies: Currencies) -> None:
    """Raise AmountRefused, naming the key, unless each threshold is an exact amount of its currency; "0" is one."""
    for currency, told in config.desk.two_checkers_above.items():
        try:
            currencies.parse_exact(told, currency)
        except AmountRefused as wrong:
            raise AmountRefused(f"desk.two_checkers_above.{currency} {wrong}") from None
