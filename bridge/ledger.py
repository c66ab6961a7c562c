"""The ledger: double entry, append only, integers in minor units. A posting takes `amount` from the
account `debit` and brings it to the account `credit`; a balance is what came minus what went.

What a transfer posts is *target position − posted so far* (design §7): the path does not matter, and
late evidence simply selects another row of POSITIONS. Only player accounts have a cached balance;
`transit`, `custody`, `house`, `cashier` are sums over postings, never a row that all transfers update.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Table, bindparam, func, insert, select, update

from bridge import models
from bridge.db import insert_if_absent
from bridge.ports import Direction
from bridge.positions import POSITIONS, Position

_account: Table = models.metadata.tables["account"]
_posting: Table = models.metadata.tables["posting"]

Parts = Sequence[tuple[int, Position]]
"""How much of an amount (minor units) stands in which row of POSITIONS."""

TRANSIT = "transit"
CASHIER = "cashier"


# Built once: on the hot path, building a statement costs more than running it.
_INSERT_POSTING = insert(_posting)
_POSTED = select(_posting.c.debit, _posting.c.credit, _posting.c.amount).where(
    _posting.c.transfer_id == bindparam("transfer")
)
_CHANGE = (
    update(_account)
    .where(
        _account.c.operator_id == bindparam("of_operator"),
        _account.c.account == bindparam("of_account"),
        _account.c.currency == bindparam("of_currency"),
    )
    .values(balance=_account.c.balance + bindparam("delta"), version=_account.c.version + 1)
    .returning(_account.c.version)
)
_CHANGE_ABOVE_FLOOR = _CHANGE.where(_account.c.balance + bindparam("delta") >= 0)


class FloorReached(Exception):
    """The player's wallet does not hold the amount."""


@dataclass(frozen=True)
class Cause:
    """Why and for whom something is posted; every posting carries it. `at` in microseconds."""

    operator_id: int
    player_id: str
    currency: str
    version: int
    at: int
    transfer_id: str | None = None
    cash_movement_id: str | None = None


def wallet(player_id: str) -> str:
    """The operator's own wallet of a player; never below zero."""
    return f"wallet:{player_id}"


def game(provider: str, player_id: str) -> str:
    """What a player holds at a provider, by transfers and posted results."""
    return f"game:{provider}:{player_id}"


def custody(provider: str) -> str:
    """Value of orphaned transfers whose place is not proved."""
    return f"custody:{provider}"


def house(provider: str) -> str:
    """What the house bears because both sides have it, and write-offs."""
    return f"house:{provider}"


def accounts_of(direction: Direction, provider: str, player_id: str) -> tuple[str, str, str, str, str]:
    """The five accounts of a transfer in the column order of POSITIONS."""
    here, there = wallet(player_id), game(provider, player_id)
    source, destination = (here, there) if direction is Direction.IN else (there, here)
    return source, TRANSIT, custody(provider), destination, house(provider)


def take_position(
    connection: Connection, cause: Cause, accounts: tuple[str, ...], parts: Parts
) -> None:
    """Post what brings the transfer from what it has posted so far to where its parts (amount in minor units,
    row of POSITIONS) belong; nothing if they are there.

    Raises FloorReached when that would take a wallet below zero; the transaction must then be given up.
    """
    assert cause.transfer_id is not None
    for debit, credit, part in pairs(_missing(_sums(accounts, parts), posted_by(connection, cause.transfer_id))):
        post(connection, cause, debit, credit, part)


def between(accounts: tuple[str, ...], before: Parts, after: Parts) -> list[tuple[str, str, int]]:
    """(debit, credit, amount) rows that bring a transfer from where its parts stood to where they belong."""
    return pairs(_missing(_sums(accounts, after), _sums(accounts, before)))


def _sums(accounts: tuple[str, ...], parts: Parts) -> dict[str, int]:
    """Account by account, what a transfer has posted whose parts stand there."""
    sums = dict.fromkeys(accounts, 0)
    for amount, position in parts:
        for account, sign in zip(accounts, POSITIONS[position], strict=True):
            sums[account] += sign * amount
    return sums


def _missing(target: Mapping[str, int], posted: Mapping[str, int]) -> dict[str, int]:
    return {account: target.get(account, 0) - posted.get(account, 0) for account in {*target, *posted}}


def posted_by(connection: Connection, transfer_id: str) -> dict[str, int]:
    """What a transfer has posted so far, account by account, in minor units."""
    rows = connection.execute(_POSTED, {"transfer": transfer_id})
    sums: dict[str, int] = {}
    for debit, credit, amount in rows:
        sums[debit] = sums.get(debit, 0) - amount
        sums[credit] = sums.get(credit, 0) + amount
    return sums


def post(connection: Connection, cause: Cause, debit: str, credit: str, amount: int) -> None:
    """Write one posting and the cached balances of the player accounts it touches.

    Accounts are locked in the order of their names, so that two transfers never wait for each other
    crosswise. Raises FloorReached.
    """
    versions: dict[str, int | None] = {}
    for account, delta in sorted(((debit, -amount), (credit, amount))):
        versions[account] = _touch(connection, cause, account, delta) if is_players(account) else None
    row = {
        "operator_id": cause.operator_id,
        "player_id": cause.player_id,
        "transfer_id": cause.transfer_id,
        "cash_movement_id": cause.cash_movement_id,
        "version": cause.version,
        "debit": debit,
        "credit": credit,
        "amount": amount,
        "currency": cause.currency,
        "debit_version": versions[debit],
        "credit_version": versions[credit],
        "at": cause.at,
    }
    connection.execute(_INSERT_POSTING, row)


def balance(connection: Connection, operator_id: int, account: str, currency: str, as_of: int | None = None) -> int:
    """The sum of an account's own postings, in minor units, up to the instant `as_of` if one is given."""
    total = 0
    for side, sign in ((_posting.c.credit, 1), (_posting.c.debit, -1)):
        query = select(func.coalesce(func.sum(_posting.c.amount), 0)).where(
            _posting.c.operator_id == operator_id, side == account, _posting.c.currency == currency
        )
        if as_of is not None:
            query = query.where(_posting.c.at <= as_of)
        total += sign * int(connection.execute(query).scalar_one())
    return total


def balance_behind(connection: Connection, operator_id: int, account: str, currency: str, version: int) -> int:
    """What a player's account held, in minor units, when its `version` postings had been made: by their own order,
    which no clock can tell otherwise."""
    total = 0
    sides = ((_posting.c.credit, _posting.c.credit_version, 1), (_posting.c.debit, _posting.c.debit_version, -1))
    for side, numbered, sign in sides:
        query = select(func.coalesce(func.sum(_posting.c.amount), 0)).where(
            _posting.c.operator_id == operator_id, side == account, _posting.c.currency == currency
        )
        total += sign * int(connection.execute(query.where(numbered <= version)).scalar_one())
    return total


def cached_balance(connection: Connection, operator_id: int, account: str, currency: str) -> int:
    """The balance of a player's account as kept beside the postings, in minor units; 0 if there is none."""
    query = select(_account.c.balance).where(
        _account.c.operator_id == operator_id, _account.c.account == account, _account.c.currency == currency
    )
    return int(connection.execute(query).scalar() or 0)


def lock_wallet(connection: Connection, operator_id: int, provider: str, player_id: str, currency: str) -> int:
    """What a player's wallet holds, in minor units, and nobody changes it before this transaction ends.

    The player's account at the provider is locked with it, in the order of names as by `post`.
    """
    both = (game(provider, player_id), wallet(player_id))
    query = select(_account.c.account, _account.c.balance).where(
        _account.c.operator_id == operator_id, _account.c.account.in_(both), _account.c.currency == currency
    )
    rows = connection.execute(query.order_by(_account.c.account).with_for_update())
    return sum(int(balance) for account, balance in rows if account == wallet(player_id))


def games_of(connection: Connection, operator_id: int, player_id: str) -> dict[tuple[str, str], int]:
    """(provider, currency) → what a player has there by our books, in minor units; wherever money ever moved."""
    query = select(_account.c.account, _account.c.currency, _account.c.balance).where(
        _account.c.operator_id == operator_id, _account.c.player_id == player_id, _account.c.account.startswith("game:")
    )
    rows = connection.execute(query.order_by(_account.c.account, _account.c.currency))
    return {(account.split(":")[1], currency): int(balance) for account, currency, balance in rows}


def held_at_games(connection: Connection) -> dict[tuple[str, str], int]:
    """(provider, currency) → what players have there by our books, in minor units, those left out who have less than
    nothing there; of everybody, row by row."""
    query = select(_account.c.account, _account.c.currency, _account.c.balance).where(
        _account.c.account.startswith("game:"), _account.c.balance > 0
    )
    held: dict[tuple[str, str], int] = {}
    for account, currency, balance in connection.execute(query):
        place = (account.split(":")[1], currency)
        held[place] = held.get(place, 0) + int(balance)
    return held


def player_sums(
    connection: Connection, operator_id: int, player_id: str, as_of: int | None
) -> dict[tuple[str, str], int]:
    """(account, currency) → sum of the postings that carry this player, up to `as_of` microseconds."""
    query = select(_posting.c.debit, _posting.c.credit, _posting.c.currency, func.sum(_posting.c.amount)).where(
        _posting.c.operator_id == operator_id, _posting.c.player_id == player_id
    )
    if as_of is not None:
        query = query.where(_posting.c.at <= as_of)
    sums: dict[tuple[str, str], int] = {}
    grouped = query.group_by(_posting.c.debit, _posting.c.credit, _posting.c.currency)
    for debit, credit, currency, amount in connection.execute(grouped):
        sums[debit, currency] = sums.get((debit, currency), 0) - int(amount)
        sums[credit, currency] = sums.get((credit, currency), 0) + int(amount)
    return sums


def open_account(connection: Connection, operator_id: int, account: str, currency: str, player_id: str) -> bool:
    """Create a player's account with a balance of zero; false if it was there."""
    row = {"operator_id": operator_id, "account": account, "currency": currency, "player_id": player_id}
    return insert_if_absent(connection, _account, {**row, "balance": 0, "version": 0})


def _touch(connection: Connection, cause: Cause, account: str, delta: int) -> int:
    """Change a cached balance and count its version; the row is created when it is the first posting."""
    which = {"of_operator": cause.operator_id, "of_account": account, "of_currency": cause.currency, "delta": delta}
    if is_wallet(account) and delta < 0:
        version = connection.execute(_CHANGE_ABOVE_FLOOR, which).scalar()
        if version is None:
            raise FloorReached(account)
        return int(version)
    version = connection.execute(_CHANGE, which).scalar()
    if version is None:
        open_account(connection, cause.operator_id, account, cause.currency, cause.player_id)
        version = connection.execute(_CHANGE, which).scalar_one()
    return int(version)


def is_wallet(account: str) -> bool:
    """Whether an account is a player's wallet: it has a floor."""
    return account.startswith("wallet:")


def is_players(account: str) -> bool:
    """Whether an account is a player's: its balance is kept beside the postings."""
    return account.startswith(("wallet:", "game:"))


def pairs(missing: Mapping[str, int]) -> list[tuple[str, str, int]]:
    """(debit, credit, amount) rows that make up `missing`, whose values sum to zero."""
    left = {account: value for account, value in sorted(missing.items()) if value}
    assert sum(left.values()) == 0, "a position does not sum to zero"
    pairs: list[tuple[str, str, int]] = []
    while left:
        debit = next(account for account, value in left.items() if value < 0)
        credit = next(account for account, value in left.items() if value > 0)
        part = min(-left[debit], left[credit])
        pairs.append((debit, credit, part))
        left[debit] += part
        left[credit] -= part
        left = {account: value for account, value in left.items() if value}
    return pairs
