"""What must hold before a process touches money: the schema is this version's, and every currency that is
in the books has the decimals with which its amounts were written."""

from __future__ import annotations

from bridge import clocks, db, denominations, lineage
from bridge.runtime import Runtime

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
        written = denominations.written(connection, runtime)
    for currency, exponent in written.items():
        configured = runtime.currencies.exponents.get(currency)
        if configured is None:
            raise Redenominated(
                f"{currency} is in the books with {exponent} decimals and is not configured: set currencies.{currency}."
            )
        if configured != exponent:
            raise Redenominated(
                f"{currency} is in the books with {exponent} decimals and is configured with {configured}: "
                f"set currencies.{currency} = {exponent}."
            )
    clocks.has_stepped(runtime, runtime.moment())  # the first look, with which the next ones are compared
    lineage.check(runtime)
