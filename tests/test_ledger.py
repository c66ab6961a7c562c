"""The ledger on both databases: where each row of design §7 puts the money, the floor, and what the database
refuses."""

from __future__ import annotations

import itertools
import random
import sqlite3
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import DatabaseError, IntegrityError

from bridge import db, ledger, models
from bridge.evidence import Answer, Reply, Source, Step
from bridge.ledger import Cause, FloorReached
from bridge.ports import Direction
from bridge.positions import Position
from bridge.transfers.advance import Fact, advance
from tests.harness import EUR, PLAYER, PROVIDER, Bench, Hands, bench, together

WALLET, GAME, CUSTODY, HOUSE, TRANSIT = "wallet:ann", "game:sim:ann", "custody:sim", "house:sim", "transit"

# Where 7.00 stands, typed out by hand from the table of design §7: direction, position → account → cents.
STANDS: dict[tuple[str, str], dict[str, int]] = {
    ("in", "nothing"): {},
    ("in", "transit"): {WALLET: -700, TRANSIT: +700},
    ("in", "arrived"): {WALLET: -700, GAME: +700},
    ("in", "custody"): {WALLET: -700, CUSTODY: +700},
    ("in", "house"): {GAME: +700, HOUSE: -700},
    ("in", "written_off"): {GAME: +700, HOUSE: -700},
    ("out", "nothing"): {},
    ("out", "transit"): {GAME: -700, TRANSIT: +700},
    ("out", "arrived"): {GAME: -700, WALLET: +700},
    ("out", "custody"): {GAME: -700, CUSTODY: +700},
    ("out", "house"): {WALLET: +700, HOUSE: -700},
    ("out", "written_off"): {WALLET: +700, HOUSE: -700},
}

GROWS = ("posting", "evidence", "attempt", "history", "cash_movement")


@pytest.fixture
def desk(migrated_url: str) -> Any:
    """A bridge on a clock that stands still."""
    with bench(migrated_url, clock=Hands()) as made:
        yield made


def a_transfer(desk: Bench, number: int, direction: str, state: str = "pending") -> str:
    """A bare transfer row, for its postings to refer to."""
    row = {
        "id": f"tr_{number}", "operator_id": desk.operator, "player_id": PLAYER, "provider": PROVIDER,
        "direction": direction, "amount": 700, "currency": EUR, "state": state, "version": 1,
        "idempotency_key": f"bare-{number}", "created_at": 1, "updated_at": 1, "orphan_at": 1, "wake_at": 1,
        "lease_epoch": 1, "failures": 0,
    }  # fmt: skip
    with db.writing(desk.runtime.engine) as connection:
        connection.execute(insert(models.metadata.tables["transfer"]).values(**row))
    return str(row["id"])


def take(desk: Bench, transfer_id: str, direction: str, version: int, position: str) -> None:
    """Bring a transfer to a position, in a transaction of its own."""
    with db.writing(desk.runtime.engine) as connection:
        cause = Cause(desk.operator, PLAYER, EUR, version, version, transfer_id=transfer_id)
        accounts = ledger.accounts_of(Direction(direction), PROVIDER, PLAYER)
        ledger.take_position(connection, cause, accounts, [(700, Position(position))])


def posted(desk: Bench, transfer_id: str, version: int | None = None) -> dict[str, int]:
    """The sums of a transfer's postings by our own addition, zeros left out."""
    sums: dict[str, int] = {}
    rows = desk.rows("SELECT * FROM posting WHERE transfer_id = :id", id=transfer_id)
    for row in rows:
        if version is None or row["version"] == version:
            sums[row["debit"]] = sums.get(row["debit"], 0) - row["amount"]
            sums[row["credit"]] = sums.get(row["credit"], 0) + row["amount"]
    return {account: value for account, value in sums.items() if value}


@pytest.mark.parametrize("direction", ["in", "out"])
def test_moving_between_any_two_rows_posts_exactly_the_difference(desk: Bench, direction: str) -> None:
    """I-03 I-01 Between any two of the five rows exactly target minus posted is posted, nothing else, in both
    directions."""
    names = [position.value for position in Position]
    assert {place for _, place in STANDS} == set(names)
    for number, (first, second) in enumerate(itertools.product(names, repeat=2)):
        transfer_id = a_transfer(desk, number, direction)
        take(desk, transfer_id, direction, 1, first)
        before = STANDS[direction, first]
        assert posted(desk, transfer_id) == before
        take(desk, transfer_id, direction, 2, second)
        after = STANDS[direction, second]
        difference = {a: after.get(a, 0) - before.get(a, 0) for a in {*before, *after}}
        assert posted(desk, transfer_id) == after, (first, second)
        assert posted(desk, transfer_id, 2) == {a: v for a, v in difference.items() if v}, (first, second)
        gross = desk.rows(
            "SELECT COALESCE(SUM(amount), 0) AS n FROM posting WHERE transfer_id = :i AND version = 2", i=transfer_id
        )
        assert gross[0]["n"] == sum(v for v in difference.values() if v > 0), "money went to and fro"
        with db.reading(desk.runtime.engine) as connection:
            assert {a: v for a, v in ledger.posted_by(connection, transfer_id).items() if v} == after
    books_agree(desk)


@pytest.mark.parametrize("direction", ["in", "out"])
def test_path_does_not_matter(desk: Bench, direction: str) -> None:
    """I-03 I-15 After any path through the rows a transfer has posted what its last row says."""
    for number in range(8):
        transfer_id = a_transfer(desk, number, direction)
        path = random.Random(number).choices([position.value for position in Position], k=9)
        for version, position in enumerate(path, 1):
            take(desk, transfer_id, direction, version, position)
        assert posted(desk, transfer_id) == STANDS[direction, path[-1]]
    books_agree(desk)


def books_agree(desk: Bench) -> None:
    """I-01, I-05 and I-06 of the audit; the bare transfers of this file have no legs to be judged by."""
    from tests.harness import _accounts_wrong

    postings = list(desk.rows("SELECT * FROM posting ORDER BY id"))
    assert _accounts_wrong(postings, list(desk.rows("SELECT * FROM account"))) == []


def test_wallet_never_goes_below_zero(desk: Bench) -> None:
    """I-05 A debit above the wallet's balance raises, and leaves no posting, no balance and no version behind."""
    desk.player("bob", "6.99")
    before = desk.rows("SELECT * FROM account WHERE player_id = 'bob'")
    cause = Cause(desk.operator, "bob", EUR, 1, 1, transfer_id=a_transfer(desk, 1, "in"))
    with pytest.raises(FloorReached), db.writing(desk.runtime.engine) as connection:
        ledger.post(connection, cause, "wallet:bob", TRANSIT, 700)
    assert desk.rows("SELECT * FROM account WHERE player_id = 'bob'") == before
    assert posted(desk, "tr_1") == {}
    with db.writing(desk.runtime.engine) as connection:
        ledger.post(connection, cause, "wallet:bob", TRANSIT, 699)
    assert desk.wallet("bob") == 0
    books_agree(desk)


@pytest.mark.parametrize("currency", ["EUR", "USD"])
def test_floor_of_an_account_that_does_not_exist_yet(desk: Bench, currency: str) -> None:
    """I-05 C-34 A wallet without a row holds nothing: a first debit is refused and makes no row."""
    with db.writing(desk.runtime.engine) as connection:
        connection.execute(text("INSERT INTO player VALUES (:o, 'new', 1)"), {"o": desk.operator})
    cause = Cause(desk.operator, "new", currency, 1, 1, transfer_id=a_transfer(desk, 1, "in"))
    with pytest.raises(FloorReached), db.writing(desk.runtime.engine) as connection:
        ledger.post(connection, cause, "wallet:new", TRANSIT, 1)
    assert desk.rows("SELECT * FROM account WHERE player_id = 'new'") == []


def test_eight_threads_spend_one_balance_once(desk: Bench) -> None:
    """I-05 C-34 Of eight debits at one instant exactly as many succeed as the balance holds."""
    desk.player("bob", "21.00")
    for number in range(8):
        a_transfer(desk, number, "in")

    def spend(number: int) -> None:
        cause = Cause(desk.operator, "bob", EUR, 1, 1, transfer_id=f"tr_{number}")
        with db.writing(desk.runtime.engine) as connection:
            ledger.post(connection, cause, "wallet:bob", TRANSIT, 700)

    results = together(8, spend)
    assert sum(result is None for result in results) == 3, results
    assert all(isinstance(result, FloorReached) for result in results if result is not None)
    assert desk.wallet("bob") == 0
    books_agree(desk)


def test_eight_threads_make_one_account(desk: Bench) -> None:
    """I-06 C-34 First postings of one account at one instant make one row whose versions have no gap."""
    for number in range(8):
        a_transfer(desk, number, "out")

    def credit(number: int) -> None:
        cause = Cause(desk.operator, PLAYER, EUR, 1, 1, transfer_id=f"tr_{number}")
        with db.writing(desk.runtime.engine) as connection:
            ledger.post(connection, cause, TRANSIT, GAME, 100)

    assert together(8, credit) == [None] * 8
    assert desk.rows("SELECT balance, version FROM account WHERE account = :a", a=GAME) == [
        {"balance": 800, "version": 8}
    ]
    books_agree(desk)


def test_crosswise_transfers_do_not_wait_for_each_other(desk: Bench) -> None:
    """C-33 I-01 Transfers in and out of one player at one instant end, whatever rows they go through."""
    for number in range(8):
        a_transfer(desk, number, "in" if number % 2 else "out")

    def travel(number: int) -> None:
        direction = "in" if number % 2 else "out"
        for version, place in enumerate(("transit", "custody", "arrived", "house", "custody"), 1):
            take(desk, f"tr_{number}", direction, version, place)

    assert together(8, travel) == [None] * 8
    for number in range(8):
        assert posted(desk, f"tr_{number}") == STANDS["in" if number % 2 else "out", "custody"]
    books_agree(desk)


def test_game_may_go_below_zero(desk: Bench) -> None:
    """I-05 The floor binds the wallet alone: a player who won takes out more than went in."""
    a_transfer(desk, 1, "out")
    take(desk, "tr_1", "out", 1, "arrived")
    assert desk.game() == -700
    books_agree(desk)


def test_currencies_never_mix(desk: Bench) -> None:
    """I-09 I-01 The same account in two currencies is two balances, and each currency sums to zero by itself."""
    transfer_id = a_transfer(desk, 1, "in")
    with db.writing(desk.runtime.engine) as connection:
        for currency, cents in (("USD", 300), ("JPY", 50)):
            cause = Cause(desk.operator, PLAYER, currency, 1, 1, transfer_id=transfer_id)
            ledger.post(connection, cause, "cashier" if currency == "USD" else "custody:sim", WALLET, cents)
        cached = {c: ledger.cached_balance(connection, desk.operator, WALLET, c) for c in ("EUR", "USD", "JPY", "KWD")}
        summed = {c: ledger.balance(connection, desk.operator, WALLET, c) for c in ("EUR", "USD", "JPY", "KWD")}
    assert cached == summed == {"EUR": 100_000, "USD": 300, "JPY": 50, "KWD": 0}
    with pytest.raises(FloorReached), db.writing(desk.runtime.engine) as connection:
        ledger.post(
            connection, Cause(desk.operator, PLAYER, "USD", 2, 1, transfer_id=transfer_id), WALLET, TRANSIT, 301
        )
    books_agree(desk)


def test_operators_never_mix(desk: Bench) -> None:
    """I-05 I-06 The same player id at another operator is another wallet."""
    from bridge import keys, players

    other = keys.add_operator(desk.runtime, "other")
    players.register(desk.runtime, other, PLAYER, [EUR])
    transfer_id = a_transfer(desk, 1, "in")
    with pytest.raises(FloorReached), db.writing(desk.runtime.engine) as connection:
        ledger.post(connection, Cause(other, PLAYER, EUR, 1, 1, transfer_id=transfer_id), WALLET, TRANSIT, 1)
    assert desk.wallet() == 100_000


def test_balance_as_of_an_instant(desk: Bench) -> None:
    """I-06 A balance as of an instant is the fold of the postings up to it, the instant included."""
    transfer_id = a_transfer(desk, 1, "in")
    with db.writing(desk.runtime.engine) as connection:
        for version, at in enumerate((2 * 10**15, 2 * 10**15 + 5), 1):
            cause = Cause(desk.operator, PLAYER, EUR, version, at, transfer_id=transfer_id)
            ledger.post(connection, cause, TRANSIT, GAME, 100)
        found = [ledger.balance(connection, desk.operator, GAME, EUR, 2 * 10**15 + at) for at in (-1, 0, 4, 5)]
        sums = ledger.player_sums(connection, desk.operator, PLAYER, 2 * 10**15)
    assert found == [0, 100, 100, 200]
    assert sums[GAME, EUR] == 100
    assert sums[WALLET, EUR] == 100_000


# --- what the database itself refuses -------------------------------------------------------------------


@pytest.fixture
def lived(desk: Bench) -> Bench:
    """Books with a row in every table: a transfer with evidence, orphaned, and an answered key."""
    begun = desk.begin("in", "7.00")
    assert begun.outcome is not None
    transfer, order = begun.outcome.transfer, begun.outcome.order
    assert order is not None
    unknown = Fact(Reply(Answer.UNKNOWN, code="DEADLINE"), Source.CALL, desk.runtime.clock.now(), Step.PREPARE, 1)
    advance(desk.runtime, transfer.id, order.claim, unknown)
    from bridge import cases, keys

    keys.create(desk.runtime, "op", ["read"], "key")
    with db.writing(desk.runtime.engine) as connection:
        cases.open_for(connection, desk.runtime.ids, transfer.id, "unproved", 1)
    return desk


@pytest.mark.parametrize("table", GROWS)
@pytest.mark.parametrize("verb", ["update", "delete", "truncate", "replace"])
def test_what_is_written_stays(lived: Bench, table: str, verb: str) -> None:
    """I-07 No UPDATE, DELETE, TRUNCATE or REPLACE of postings, evidence, attempts, history or cash succeeds,
    for no role."""
    before = lived.rows(f"SELECT * FROM {table}")
    assert before
    sqlite = lived.runtime.engine.dialect.name == "sqlite"
    columns = [column.name for column in models.metadata.tables[table].columns]
    changed = {
        "attempt": "wire_until",
        "history": "at",
        "evidence": "at",
        "posting": "amount",
        "cash_movement": "amount",
    }[table]
    values = ", ".join(f"{name} + 1" if name == changed else name for name in columns)
    statement = {
        "update": f"UPDATE {table} SET {changed} = {changed} + 1",
        "delete": f"DELETE FROM {table}",
        "truncate": f"DELETE FROM {table} WHERE 1 = 1" if sqlite else f"TRUNCATE {table} CASCADE",
        # SQLite's REPLACE deletes the old row without firing its delete trigger; elsewhere it is an upsert.
        "replace": f"INSERT OR REPLACE INTO {table} ({', '.join(columns)}) SELECT {values} FROM {table}"
        if sqlite
        else f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM {table} WHERE true "
        f"ON CONFLICT ({', '.join(c.name for c in models.metadata.tables[table].primary_key.columns)}) "
        f"DO UPDATE SET {changed} = excluded.{changed}",
    }[verb]
    with pytest.raises(DatabaseError, match="append only"), db.writing(lived.runtime.engine) as connection:
        connection.execute(text(statement))
    assert lived.rows(f"SELECT * FROM {table}") == before


@pytest.mark.parametrize("key", [("transfer_id", "version", "debit", "credit"), ("cash_movement_id",)])
def test_replacing_by_another_unique_key_is_refused(lived: Bench, key: tuple[str, ...]) -> None:
    """I-07 Nor does a new row take the place of an old one that holds the same unique key, from a foreign
    connection either."""
    if lived.runtime.engine.dialect.name != "sqlite":
        with pytest.raises(DatabaseError), db.writing(lived.runtime.engine) as connection:
            connection.execute(text("MERGE INTO posting p USING posting q ON p.id = q.id WHEN MATCHED THEN DELETE"))
        return
    before = lived.rows("SELECT * FROM posting ORDER BY id")
    columns = [c.name for c in models.metadata.tables["posting"].columns if c.name != "id"]
    values = ", ".join("amount + 1" if name == "amount" else name for name in columns)
    statement = (
        f"INSERT OR REPLACE INTO posting ({', '.join(columns)}) SELECT {values} FROM posting WHERE {key[0]} IS NOT NULL"
    )
    foreign = sqlite3.connect(str(lived.runtime.engine.url.database))
    with closing(foreign), pytest.raises(sqlite3.DatabaseError, match="append only"):
        foreign.execute(statement)
    assert lived.rows("SELECT * FROM posting ORDER BY id") == before


def test_truncating_what_postings_refer_to_is_refused(lived: Bench) -> None:
    """I-07 Nor do the rows go with their parent: deleting or truncating transfers leaves every posting in place."""
    before = lived.rows("SELECT * FROM posting")
    sqlite = lived.runtime.engine.dialect.name == "sqlite"
    statement = "DELETE FROM transfer" if sqlite else "TRUNCATE transfer CASCADE"
    with pytest.raises(DatabaseError), db.writing(lived.runtime.engine) as connection:
        connection.execute(text(statement))
    assert lived.rows("SELECT * FROM posting") == before


# table, what is changed in a good row, typed out: each must be refused.
BAD_ROWS: list[tuple[str, dict[str, Any]]] = [
    ("operator", {"id": 77}),
    ("api_key", {"id": "key_other"}),
    ("api_key", {"id": "key_other", "digest": "x", "operator_id": 99}),
    ("player", {}),
    ("player", {"operator_id": 99}),
    ("account", {}),
    ("account", {"account": "wallet:zed", "balance": -1}),
    ("account", {"account": "wallet:zed", "player_id": "zed"}),
    ("account", {"account": "game:sim:zed", "balance": 2**62 + 1}),
    ("account", {"account": "game:sim:zed", "balance": -(2**62) - 1}),
    ("denomination", {}),
    ("transfer", {"idempotency_key": "other"}),
    ("transfer", {"id": "tr_x"}),
    ("transfer", {"id": "tr_x", "idempotency_key": "x", "amount": 0}),
    ("transfer", {"id": "tr_x", "idempotency_key": "x", "amount": -1}),
    ("transfer", {"id": "tr_x", "idempotency_key": "x", "state": "lost"}),
    ("transfer", {"id": "tr_x", "idempotency_key": "x", "direction": "sideways"}),
    ("transfer", {"id": "tr_x", "idempotency_key": "x", "wake_at": None}),
    ("transfer", {"id": "tr_x", "idempotency_key": "x", "state": "orphaned", "wake_at": None}),
    ("transfer", {"id": "tr_x", "idempotency_key": "x", "player_id": "zed"}),
    ("transfer", {"id": "tr_x", "idempotency_key": "x", "operator_id": 99}),
    ("leg", {}),
    ("leg", {"ordinal": 9, "transfer_id": "tr_none"}),
    ("leg", {"ordinal": 9, "state": "gone"}),
    ("leg", {"ordinal": 9, "side": "both"}),
    ("leg", {"ordinal": 9, "step": "void?"}),
    ("attempt", {}),
    ("attempt", {"attempt": 9, "step": "guess"}),
    ("attempt", {"attempt": 9, "ordinal": 9}),
    ("evidence", {"id": None, "answer": "maybe"}),
    ("evidence", {"id": None, "source": "rumour"}),
    ("evidence", {"id": None, "step": "guess"}),
    ("evidence", {"id": None, "ordinal": 9}),
    ("history", {"id": None, "transfer_id": "tr_none"}),
    ("history", {"id": None, "evidence_id": 999}),
    ("cash_movement", {"idempotency_key": "x"}),
    ("cash_movement", {"id": "cm_x"}),
    ("cash_movement", {"id": "cm_x", "idempotency_key": "x", "amount": 0}),
    ("cash_movement", {"id": "cm_x", "idempotency_key": "x", "amount": -5}),
    ("cash_movement", {"id": "cm_x", "idempotency_key": "x", "kind": "gift"}),
    ("cash_movement", {"id": "cm_x", "idempotency_key": "x", "player_id": "zed"}),
    ("posting", {"id": None}),
    ("posting", {"id": None, "version": 9, "amount": 0}),
    ("posting", {"id": None, "version": 9, "amount": -1}),
    ("posting", {"id": None, "version": 9, "debit": "transit", "credit": "transit"}),
    ("posting", {"id": None, "version": 9, "transfer_id": None}),
    ("posting", {"id": None, "version": 9, "transfer_id": "tr_none"}),
    ("orphan_case", {"id": "ca_x"}),
    ("orphan_case", {"id": "ca_x", "transfer_id": "tr_none"}),
    ("orphan_case", {"id": "ca_x", "state": "forgotten"}),
    ("idempotency_key", {}),
    ("idempotency_key", {"key": "x", "operator_id": 99}),
]


def test_bad_rows_are_refused(lived: Bench) -> None:
    """I-05 I-09 I-17 I-20 Every CHECK, UNIQUE and FOREIGN KEY of the schema refuses the row it is there for."""
    accepted = []
    for table, changes in BAD_ROWS:
        columns = models.metadata.tables[table]
        with db.reading(lived.runtime.engine) as connection:
            query = select(columns).order_by(*columns.primary_key.columns)
            if table == "posting":
                query = query.where(columns.c.transfer_id.is_not(None))
            good = dict(connection.execute(query).mappings().first() or {})
        assert good, table
        row = {name: value for name, value in {**good, **changes}.items() if not (name == "id" and value is None)}
        try:
            with db.writing(lived.runtime.engine) as connection:
                connection.execute(insert(columns).values(**row))
            accepted.append((table, changes))
        except IntegrityError:
            continue
    assert accepted == []


def test_a_cause_is_a_transfer_or_a_cash_movement_never_both(lived: Bench) -> None:
    """I-03 A posting that names two causes is refused, and a second posting of one cash movement too."""
    (cash,) = lived.rows("SELECT * FROM posting WHERE cash_movement_id IS NOT NULL")
    (moved,) = lived.rows("SELECT * FROM transfer")
    table = models.metadata.tables["posting"]
    for changes in ({"transfer_id": moved["id"]}, {"version": 2}):
        row = {**cash, **changes}
        row.pop("id")
        with pytest.raises(IntegrityError), db.writing(lived.runtime.engine) as connection:
            connection.execute(insert(table).values(**row))


def test_floor_is_in_the_database_too(lived: Bench) -> None:
    """I-05 Below the code, an UPDATE that would take a wallet below zero is refused."""
    with pytest.raises(IntegrityError), db.writing(lived.runtime.engine) as connection:
        connection.execute(text("UPDATE account SET balance = -1 WHERE account = 'wallet:ann'"))
    assert lived.wallet() == 100_000 - 700


def test_sixty_four_bits_hold_the_largest_sums(desk: Bench) -> None:
    """I-08 A thousand movements of the largest amount fit a balance, exactly, on both databases."""
    largest = 10**15
    transfer_id = a_transfer(desk, 1, "out")
    with db.writing(desk.runtime.engine) as connection:
        for version in range(1, 1001):
            cause = Cause(desk.operator, PLAYER, EUR, version, 1, transfer_id=transfer_id)
            ledger.post(connection, cause, TRANSIT, GAME, largest)
    assert desk.game() == 1000 * largest
    with db.reading(desk.runtime.engine) as connection:
        assert ledger.cached_balance(connection, desk.operator, GAME, EUR) == 1000 * largest
