"""The cashier: money entering and leaving the casino through the embedded wallet."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from sqlalchemy import Connection, Table, bindparam, insert, select

from bridge import db, denominations, idempotency, ledger, lineage, models, players, withdrawals
from bridge.errors import Declined, Invalid, insufficient_funds
from bridge.idempotency import Key, Stored
from bridge.money import MAX_WALLET, AmountRefused, UnknownCurrency
from bridge.runtime import Runtime

_movement: Table = models.metadata.tables["cash_movement"]

_posting: Table = models.metadata.tables["posting"]
_MADE = (
    select(_movement, _posting.c.credit_version, _posting.c.debit_version)
    .join(_posting, _posting.c.cash_movement_id == _movement.c.id)
    .where(_movement.c.id == bindparam("movement"))
)

DEPOSIT = "deposit"
WITHDRAWAL = "withdrawal"

TOO_MUCH = Declined(
    "The wallet would hold more than can be counted safely.",
    code="wallet_full",
    fields={"amount": "would take the wallet above its largest balance"},
)


class CeilingReached(Exception):
    """A deposit would take the wallet above the largest balance that is counted exactly everywhere."""


class SetBack(Exception):
    """The database was set back, and nobody had noticed before a withdrawal looked."""


@dataclass(frozen=True)
class CashWish:
    """What the client asked for, in its own words; the amount is a decimal string."""

    player_id: str
    amount: str
    currency: str


@dataclass(frozen=True)
class Cash:
    """A cash movement that was made; amount and the wallet's balance after it in minor units."""

    id: str
    kind: str
    player_id: str
    amount: int
    currency: str
    balance: int
    created_at: int


def move(runtime: Runtime, operator_id: int, kind: str, key_text: str, wish: CashWish) -> tuple[Key, Cash | Stored]:
    """Book a deposit or a withdrawal once; a repetition gets what the key stands for already.

    Raises Invalid (nothing is stored) and KeyReused; Unavailable (the same key may try again) for a withdrawal while
    those are closed since a restore, and where amounts mean something else here than in the books. A wallet that does
    not hold the amount is a refusal that stays with the key.
    """
    key = Key(operator_id, kind, key_text)
    try:
        return key, _book(runtime, key, kind, wish)
    except ledger.FloorReached:
        return key, idempotency.pin(runtime.engine, key, asdict(wish), insufficient_funds(), runtime.clock.now())
    except CeilingReached:
        return key, idempotency.pin(runtime.engine, key, asdict(wish), TOO_MUCH, runtime.clock.now())
    except SetBack:
        lineage.check(runtime)
        raise withdrawals.refusal() from None


def _book(runtime: Runtime, key: Key, kind: str, wish: CashWish) -> Cash | Stored:
    with db.writing(runtime.engine) as connection:
        now, movement_id = runtime.clock.now(), runtime.ids.new("cm")
        stored = idempotency.take(connection, key, asdict(wish), movement_id, now)
        if stored is not None:
            return stored
        if kind == WITHDRAWAL:
            _admit(connection, runtime)
        denominations.require(connection, runtime, wish.currency)
        amount = _amount(runtime, wish)
        wrong = players.missing(connection, key.operator_id, wish.player_id, wish.currency)
        if wrong:
            raise Invalid(fields=wrong)
        connection.execute(
            insert(_movement).values(
                id=movement_id,
                operator_id=key.operator_id,
                player_id=wish.player_id,
                kind=kind,
                amount=amount,
                currency=wish.currency,
                idempotency_key=key.text,
                created_at=now,
            )
        )
        cause = ledger.Cause(key.operator_id, wish.player_id, wish.currency, 1, now, cash_movement_id=movement_id)
        account = ledger.wallet(wish.player_id)
        debit, credit = (ledger.CASHIER, account) if kind == DEPOSIT else (account, ledger.CASHIER)
        ledger.post(connection, cause, debit, credit, amount)
        balance = ledger.cached_balance(connection, key.operator_id, account, wish.currency)
        if kind == DEPOSIT and balance > MAX_WALLET:
            raise CeilingReached
        return Cash(movement_id, kind, wish.player_id, amount, wish.currency, balance, now)


def _admit(connection: Connection, runtime: Runtime) -> None:
    """Let a withdrawal out of the house, after a look whether a restore should have closed them."""
    if not lineage.is_as_it_was(connection, runtime):
        raise SetBack
    withdrawals.require_open(connection)


def made(connection: Connection, movement_id: str) -> Cash:
    """A movement that was booked before, with what the wallet held behind it."""
    row = connection.execute(_MADE, {"movement": movement_id}).mappings().one()
    account, version = ledger.wallet(row["player_id"]), row["credit_version"] or row["debit_version"]
    balance = ledger.balance_behind(connection, row["operator_id"], account, row["currency"], version)
    names = ("id", "kind", "player_id", "amount", "currency", "created_at")
    return Cash(balance=balance, **{name: row[name] for name in names})


def _amount(runtime: Runtime, wish: CashWish) -> int:
    try:
        return runtime.currencies.parse(wish.amount, wish.currency)
    except UnknownCurrency as unknown:
        raise Invalid(fields={"currency": str(unknown)}) from None
    except AmountRefused as refused:
        raise Invalid(fields={"amount": str(refused)}) from None
