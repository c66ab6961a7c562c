"""What must hold before a process touches money: the schema is this version's, and every currency that is
in the books has the decimals with which its amounts were written."""

from __future__ import annotations

from sqlalchemy import Table, select

from bridge import db, models
from bridge.money import UnknownCurrency
from bridge.runtime import Runtime

_denomination: Table = models.metadata.tables["denomination"]


class Redenominated(db.NotMigrated):
    """The configuration gives a currency other decimals than its stored amounts have."""


def require(runtime: Runtime) -> None:
    """Raise db.NotMigrated or Redenominated, with one sentence, unless the database fits code and configuration."""
    db.require_migrated(runtime.engine)
    with db.reading(runtime.engine) as connection:
        stored = connection.execute(select(_denomination.c.currency, _denomination.c.exponent)).all()
    for currency, exponent in stored:
        try:
            configured = runtime.currencies.exponent(currency)
        except UnknownCurrency:
            raise Redenominated(
                f"{currency} is in the books with {exponent} decimals and is not configured: set currencies.{currency}."
            ) from None
        if configured != exponent:
            raise Redenominated(
                f"{currency} is in the books with {exponent} decimals and is configured with {configured}: "
                f"set currencies.{currency} = {exponent}."
            )
