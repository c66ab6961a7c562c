"""verify sees every row, whatever its key and whoever it says it is of, and ends on a bridge that is never still."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from bridge import verify as checks
from bridge.models import metadata
from bridge.runtime import Runtime
from bridge.verify import Check, verify
from tests.audit.ground import owned
from tests.harness import EUR, PLAYER, Bench, bench
from tests.test_verify import found, one_of_each, without_check

PARTS_AT_MOST = 50


@pytest.fixture
def filled(migrated_url: str, tmp_path: Path) -> Iterator[Bench]:
    """A bridge with one transfer of each end."""
    with one_of_each(migrated_url, tmp_path) as made:
        yield made


def plant(made: Bench, table: str, **values: Any) -> None:
    """Insert by the hand of whoever owns the database, with no foreign key in force: a copy of the table's first row,
    so far as there is one, with other values."""
    rows = metadata.tables[table]
    with owned(made.runtime) as connection:
        first = connection.execute(select(rows).limit(1)).mappings().first() or {}
        copied = {name: value for name, value in first.items() if name != "id"}
        connection.execute(insert(rows).values({**copied, **values}))


def begin(made: Bench, number: int) -> None:
    """A transfer more."""
    made.begin("in", "0.01", queued=True)


def register(made: Bench, number: int) -> None:
    """A player more."""
    made.player(f"p{number:06d}")


@pytest.mark.parametrize("more", [begin, register])
def test_it_ends_while_more_is_begun(
    migrated_url: str, monkeypatch: pytest.MonkeyPatch, more: Callable[[Bench, int], None]
) -> None:
    """I-56: beside each part there is one row more, and far behind them all one that a clock ahead has named."""
    with bench(migrated_url) as made:
        made.player("zzzz")
        made.begin("in", "0.02", queued=True)
        ask, scopes = checks._ask, []

        def busy(runtime: Runtime, check: Check, scope: Any, asked: Any) -> None:
            ask(runtime, check, scope, asked)
            if not scopes or scopes[-1] != scope:
                scopes.append(scope)
                more(made, len(scopes))
            assert len(scopes) < PARTS_AT_MOST

        monkeypatch.setattr(checks, "BATCH", 1)
        monkeypatch.setattr(checks, "_ask", busy)
        plant(made, "transfer", id="zz", idempotency_key="planted")

        assert {row["transfer_id"] for finding in verify(made.runtime) for row in finding.rows} == {"zz"}


@pytest.mark.parametrize("key", ["", "TR_X", "zz"])
def test_a_transfer_of_any_key_is_asked_about(filled: Bench, key: str) -> None:
    """I-03 I-56: confirmed, and nothing else."""
    plant(filled, "transfer", id=key, idempotency_key="planted", state="confirmed", wake_at=None)
    assert "I-03" in found(filled)


@pytest.mark.parametrize("name", ["", "zz"])
@pytest.mark.parametrize("known", [True, False], ids=["known", "of nobody"])
def test_money_of_a_player_of_any_name_is_asked_about(filled: Bench, name: str, known: bool) -> None:
    """I-06 I-56: 50.00 out of nothing, from a game, so that the sums are right."""
    if known:
        plant(filled, "player", player_id=name)
    for account, balance in ((f"wallet:{name}", 5000), (f"game:sim:{name}", -5000)):
        plant(filled, "account", account=account, player_id=name, balance=balance, version=0, currency=EUR)
    assert set(found(filled)) == ({"I-06"} if known else {"I-56"})


@pytest.mark.parametrize("number", [-1, 0, 7777])
def test_a_message_of_any_number_is_asked_about(filled: Bench, number: int) -> None:
    """I-31 I-56: nobody was given it to act on."""
    rows = metadata.tables["inbox"]
    values = {c.name: 1 if c.type.python_type is int else "x" for c in rows.columns if not c.nullable}
    plant(filled, "inbox", **{**values, "id": number})
    assert "I-31" in found(filled)


@pytest.mark.parametrize("transfer_id", ["", "tr_0", "zz"])
def test_a_posting_of_no_transfer_is_seen(filled: Bench, transfer_id: str) -> None:
    """I-56: the house pays custody, and no transfer says why."""
    told = {"transfer_id": transfer_id, "cash_movement_id": None, "debit": "house:sim", "credit": "custody:sim"}
    plant(filled, "posting", **told, amount=777, debit_version=None, credit_version=None)
    assert "I-56" in found(filled)


@pytest.mark.parametrize("causes", ["none", "two"])
def test_a_posting_of_no_cause_or_two_is_seen(filled: Bench, causes: str) -> None:
    """I-56: the house pays custody, and nothing says why, or two things do."""
    cash, transfer_id = None, None
    if causes == "two":
        cash, transfer_id = "planted", filled.rows("SELECT id FROM transfer")[0]["id"]
        plant(filled, "cash_movement", id=cash, idempotency_key="planted")
    told = {"transfer_id": transfer_id, "cash_movement_id": cash, "debit": "house:sim", "credit": "custody:sim"}
    with without_check(filled, "posting", "ck_posting_cause"):
        plant(filled, "posting", **told, amount=777, debit_version=None, credit_version=None)
    assert "Each row of posting is as its conditions say." in found(filled)["I-56"]


def test_a_deposit_in_anothers_books_is_seen(filled: Bench) -> None:
    """I-03 I-56: a player of the same name has it, and all sums are right."""
    theirs = {"operator_id": 9999, "player_id": PLAYER}
    plant(filled, "operator", id=9999, name="another")
    plant(filled, "player", **theirs)
    plant(filled, "account", **theirs, account=f"wallet:{PLAYER}", currency=EUR, balance=700, version=1)
    said = {"kind": "deposit", "amount": 700, "currency": EUR}
    plant(filled, "cash_movement", id="planted", player_id=PLAYER, idempotency_key="planted", **said)
    posted = {"transfer_id": None, "cash_movement_id": "planted", "debit": "cashier", "credit": f"wallet:{PLAYER}"}
    plant(filled, "posting", **theirs, **posted, amount=700, currency=EUR, debit_version=None, credit_version=1)
    assert found(filled) == {"I-03": ["Each deposit and withdrawal is posted once, as it says."]}


def test_what_is_said_of_nobody_is_seen(filled: Bench) -> None:
    """I-56: a row whose player, leg or decision is not there, however it came."""
    plant(filled, "cash_movement", id="planted", player_id="nobody", idempotency_key="planted")
    plant(filled, "history", transfer_id="nothing")
    plant(filled, "attempt", transfer_id="nothing")
    (about,) = [sentences for invariant, sentences in found(filled).items() if invariant == "I-56"]
    assert {sentence.split(" names ")[0] for sentence in about} >= {
        "The player that cash_movement", "The transfer that history", "The leg that attempt",
    }  # fmt: skip
