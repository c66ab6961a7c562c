"""Players and their money: who has which wallets, and where everything of theirs is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Table, bindparam, select

from bridge import db, denominations, ledger, models
from bridge.errors import Invalid, NotFound
from bridge.runtime import Runtime

_player: Table = models.metadata.tables["player"]
_account: Table = models.metadata.tables["account"]
_operator: Table = models.metadata.tables["operator"]

_WALLETS = select(_account.c.currency).where(
    _account.c.operator_id == bindparam("operator"), _account.c.account == bindparam("account")
)
# Not against the keys that refer to it: whoever only posts for the player, or deposits, passes.
_HELD = (
    select(_player.c.player_id)
    .where(_player.c.operator_id == bindparam("operator"), _player.c.player_id == bindparam("player"))
    .with_for_update(key_share=True)
)
_NAME = select(_operator.c.name).where(_operator.c.id == bindparam("operator"))


@dataclass(frozen=True)
class Funds:
    """Where a player's money of one currency is, in minor units."""

    currency: str
    wallet: int
    in_transit: int
    at_providers: dict[str, int]
    in_custody: dict[str, int]

    @property
    def total(self) -> int:
        """All of it; what an orphan may have left on both sides counts on both, the house bears one."""
        return self.wallet + self.in_transit + sum(self.at_providers.values()) + sum(self.in_custody.values())


def register(runtime: Runtime, operator_id: int, player_id: str, currencies: Sequence[str]) -> tuple[list[str], bool]:
    """Make a player with a wallet in each currency; again adds what is missing and removes nothing.

    Returns all the player's currencies, and whether the player is new. Raises Invalid, and Unavailable where amounts of
    a currency mean something else here than in the books.
    """
    for currency in currencies:
        if currency not in runtime.currencies.exponents.keys() | runtime.currencies.distrusted:
            raise Invalid(fields={"currencies": f"{currency!r} is not a known currency"})
    with db.writing(runtime.engine) as connection:
        row = {"operator_id": operator_id, "player_id": player_id, "created_at": runtime.clock.now()}
        new = db.insert_if_absent(connection, _player, row)
        for currency in currencies:
            denominations.open_in(connection, runtime, currency)
            ledger.open_account(connection, operator_id, ledger.wallet(player_id), currency, player_id)
        return wallets_of(connection, operator_id, player_id), new


def missing(connection: Connection, operator_id: int, player_id: str, currency: str) -> dict[str, str]:
    """What is wrong with (player, currency), field → why; empty when there is such a wallet."""
    held = wallets_of(connection, operator_id, player_id)
    if not held:
        return {"player_id": "is not a player of this operator"}
    return {} if currency in held else {"currency": "is not one of the player's wallets"}


def hold(connection: Connection, operator_id: int, player_id: str) -> None:
    """Have everybody else who holds this player wait until the transaction ends (SQLite's writer is alone anyway).

    Called after a key was taken and a cap locked, and before any account is: nobody else locks a player, and whoever
    has locked an account takes no key, cap or player any more, so nobody waits crosswise.
    """
    connection.execute(_HELD, {"operator": operator_id, "player": player_id})


def operator_name(connection: Connection, operator_id: int) -> str | None:
    """The name under which an operator was added."""
    name: str | None = connection.execute(_NAME, {"operator": operator_id}).scalar()
    return name


def funds(runtime: Runtime, operator_id: int, player_id: str, as_of: int | None = None) -> list[Funds]:
    """A player's money, wherever it is, now or as of an instant (microseconds). Raises NotFound."""
    with db.reading(runtime.engine) as connection:
        currencies = wallets_of(connection, operator_id, player_id)
        if not currencies:
            raise NotFound("There is no such player.")
        sums = ledger.player_sums(connection, operator_id, player_id, as_of)
    return [
        Funds(
            currency,
            wallet=sums.get((ledger.wallet(player_id), currency), 0),
            in_transit=sums.get((ledger.TRANSIT, currency), 0),
            at_providers=_by_provider(sums, "game:", currency),
            in_custody=_by_provider(sums, "custody:", currency),
        )
        for currency in currencies
    ]


def _by_provider(sums: dict[tuple[str, str], int], prefix: str, currency: str) -> dict[str, int]:
    return {
        account.split(":")[1]: value
        for (account, code), value in sorted(sums.items())
        if code == currency and account.startswith(prefix)
    }


def wallets_of(connection: Connection, operator_id: int, player_id: str) -> list[str]:
    """The currencies in which a player has a wallet; none for somebody who is no player of the operator."""
    which = {"operator": operator_id, "account": ledger.wallet(player_id)}
    return sorted(connection.execute(_WALLETS, which).scalars())
