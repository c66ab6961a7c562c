"""What must hold before a process touches money: the schema is this version's, and every currency that is
in the books has the decimals with which its amounts were written."""

from __future__ import annotations

from sqlalchemy import Table, select

from bridge import clocks, db, lineage, models
from bridge.money import UnknownCurrency
from bridge.runtime import Runtime

_denomination: Table = models.metadata.tables["denomination"]

_IS_REPLICA = "SELECT pg_is_in_recovery()"


class Replica(db.NotMigrated):
    """The address leads to a standby."""


class Redenominated(db.NotMigrated):
    """The configuration gives a currency other decimals than its stored amounts have."""


def require(runtime: Runtime) -> None:
    """Raise NotMigrated, Replica or Redenominated, with one sentence, unless database, code and configuration fit.

    A database that turns out to be restored is no reason not to start: it is closed for transfers in.
    """
    db.require_migrated(runtime.engine)
    with db.reading(runtime.engine) as connection:
        if connection.dialect.name == "postgresql" and connection.exec_driver_sql(_IS_REPLICA).scalar_one():
            raise Replica("The database is a replica: money decisions read and write the primary.")
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
    clocks.has_stepped(runtime, runtime.moment())  # the first look, with which the next ones are compared
    lineage.check(runtime)
