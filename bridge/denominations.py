"""Denominations: with how many decimals the amounts of a currency are written in the books, for ever, from its first
wallet on.

A process that is configured with others, or not at all, would take each amount for another one, by a power of ten. It
does not start; one that was up before the first wallet of that currency neither moves nor judges nor tells any amount
of it, and goes on with the others. What the books say is asked once per process and currency, for it never changes, and
looked for again every few seconds (`bridge/watch.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, Table, bindparam, select

from bridge import db, log, models
from bridge.errors import Unavailable
from bridge.money import UnknownCurrency
from bridge.runtime import Runtime

_denomination: Table = models.metadata.tables["denomination"]
_ALL = select(_denomination.c.currency, _denomination.c.exponent)
_ONE = select(_denomination.c.exponent).where(_denomination.c.currency == bindparam("currency"))

WAIT_SECONDS = 60
"""When a client may ask again: a person has to change the configuration."""


class CountedOtherwise(Unavailable, UnknownCurrency):
    """This process counts a currency with other decimals than the books have."""

    code = "currency_redenominated"

    def __init__(self, currency: str) -> None:
        super().__init__(
            f"{currency} is in the books with other decimals than this process is configured with.",
            after_seconds=WAIT_SECONDS,
        )


_log = log.get("denominations")

_seen: WeakKeyDictionary[Engine, dict[str, int]] = WeakKeyDictionary()


def written(connection: Connection, runtime: Runtime) -> Mapping[str, int]:
    """Every currency of the books with its decimals."""
    found = {currency: int(exponent) for currency, exponent in connection.execute(_ALL)}
    _seen[runtime.engine] = dict(found)
    return found


def look(connection: Connection, runtime: Runtime) -> None:
    """Distrust every currency of the books whose amounts would mean something else here; logged when it is seen. One
    that a restored backup does not know is distrusted until the next start: whoever was told to be wrong does not open
    its next first wallet."""
    for currency, exponent in written(connection, runtime).items():
        _fits(runtime, currency, exponent)


def open_in(connection: Connection, runtime: Runtime, currency: str) -> None:
    """Write down with which decimals a currency comes into the books, for its first wallet; with others than there are
    already raises Unavailable, and UnknownCurrency where it has none here. On PostgreSQL it waits for whoever brings
    the same currency at the same instant."""
    row = {"currency": currency, "exponent": runtime.currencies.exponent(currency)}
    if not db.insert_if_absent(connection, _denomination, row):
        _compare(runtime, currency, connection.execute(_ONE, {"currency": currency}).scalar_one())


def require(connection: Connection, runtime: Runtime, currency: str) -> None:
    """Raise Unavailable unless amounts of a currency mean here what they mean in the books, as soon as one of its
    wallets has been committed."""
    seen = _of(runtime)
    if currency not in seen:
        found = connection.execute(_ONE, {"currency": currency}).scalar()
        if found is None:
            return
        seen[currency] = int(found)
    _compare(runtime, currency, seen[currency])


def is_known(runtime: Runtime, currency: str) -> bool:
    """Whether this process has seen in the books that amounts of a currency mean what it takes them for."""
    seen = _of(runtime).get(currency)
    return seen is not None and seen == runtime.currencies.exponents.get(currency)


def _of(runtime: Runtime) -> dict[str, int]:
    return _seen.setdefault(runtime.engine, {})


def _compare(runtime: Runtime, currency: str, exponent: int) -> None:
    if not _fits(runtime, currency, exponent):
        raise CountedOtherwise(currency)


def _fits(runtime: Runtime, currency: str, exponent: int) -> bool:
    here = runtime.currencies.exponents.get(currency)
    if here == exponent:
        runtime.currencies.trust(currency)
        return True
    if currency not in runtime.currencies.distrusted:
        runtime.currencies.distrust(currency, partial(CountedOtherwise, currency))
        _log.error("currency distrusted", currency=currency, decimals=here, in_the_books=exponent)
    return False
