"""A restore closes withdrawals until a person opens them: what was paid out since the backup stands in no provider's
books, and would be paid out again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from flask.testing import FlaskClient

from bridge import cashier, db, gates, keys, lineage, readiness, withdrawals
from bridge.app import compose, create_app
from bridge.desk import switches
from bridge.errors import Invalid, NotFound, Unavailable
from jobs import sweep
from tests.harness import EUR, OPERATOR, PLAYER, PROVIDER, Bench, Simulator, bench, simulator, together
from tests.restoring import Copies, in_place

CHECKED = "the platform's list of payouts was compared"


@dataclass
class House:
    """A web process before the real simulator, and a client of its API; and how its database comes back."""

    made: Bench
    provider: Simulator
    copies: Copies
    client: FlaskClient
    secret: str

    def ask(self, path: str, key: str, **body: str) -> Any:
        """One request that moves money."""
        sent = {"Authorization": f"Bearer {self.secret}", "Idempotency-Key": key}
        return self.client.post(path, json={"currency": EUR, **body}, headers=sent)

    def cash(self, kind: str, key: str, amount: str) -> Any:
        """A deposit or a withdrawal."""
        return self.ask(f"/v1/players/{PLAYER}/{kind}", key, amount=amount)

    def transfer(self, key: str, direction: str, amount: str) -> Any:
        """A transfer, waited for."""
        return self.ask("/v1/transfers", key, player_id=PLAYER, provider=PROVIDER, direction=direction, amount=amount)

    def back_up(self) -> None:
        """A backup of this instant."""
        self.made.runtime.engine.dispose()
        self.copies.back_up()

    def is_set_back(self) -> None:
        """The jobs ran until now, and the database is set back."""
        jobs = compose(self.made.runtime.config, self.made.runtime.clock)
        lineage.watch(jobs)
        jobs.engine.dispose()
        self.made.runtime.engine.dispose()
        self.copies.restore()

    def starts_again(self) -> None:
        """Web and jobs start on what is there."""
        lineage._memories.pop(self.made.runtime.engine, None)
        readiness.require(self.made.runtime)


@pytest.fixture
def house(migrated_url: str, tmp_path: Path) -> Iterator[House]:
    """It has been up for a while; the player has 1000.00 in the wallet."""
    with simulator(tmp_path) as provider, bench(migrated_url, provider.address) as made:
        readiness.require(made.runtime)
        secret = keys.create(made.runtime, OPERATOR, ["transfers", "read"], "mine")[1]
        copies = Copies(migrated_url, tmp_path, in_place(migrated_url))
        yield House(made, provider, copies, create_app(made.runtime).test_client(), secret)


def test_money_that_a_backup_has_forgotten_is_not_paid_out_twice(house: House) -> None:
    """C-58: what was moved in since the backup stands in the wallet again, and comes home once more: it cannot be paid
    out before a person has looked, while deposits and transfers out go on."""
    house.back_up()
    assert house.transfer("k-1", "in", "400.00").json["state"] == "confirmed"
    house.is_set_back()
    house.starts_again()
    assert (house.made.wallet(), house.provider.owns(PLAYER)) == (100_000, 40_000)

    assert house.transfer("k-2", "out", "max").json["state"] == "confirmed"
    assert (house.made.wallet(), house.provider.owns(PLAYER)) == (140_000, 0)
    assert house.cash("deposits", "d-1", "1.00").status_code == 201
    refused = house.cash("withdrawals", "w-1", "1401.00")
    assert (refused.status_code, refused.json["code"], refused.json["retry"]) == (503, "database_restored", "after")
    assert refused.headers["Retry-After"] == "60"
    assert house.made.wallet() == 140_100

    switches.open_withdrawals(house.made.runtime, CHECKED)
    assert house.cash("withdrawals", "w-1", "1401.00").status_code == 201
    house.made.audit()


def test_a_payout_that_a_backup_has_forgotten_is_not_made_again(house: House) -> None:
    """C-58: nothing that any provider holds could ever show this one. A key that the backup knows has its answer."""
    known = house.cash("withdrawals", "w-0", "1.00")
    house.back_up()
    assert house.cash("withdrawals", "w-1", "999.00").status_code == 201
    house.is_set_back()
    house.starts_again()

    assert house.cash("withdrawals", "w-1", "999.00").status_code == 503
    assert house.cash("withdrawals", "w-2", "999.00").status_code == 503
    again = house.cash("withdrawals", "w-0", "1.00")
    assert (again.status_code, again.data, again.headers["Idempotent-Replayed"]) == (201, known.data, "true")
    assert house.made.wallet() == 99_900


def test_a_process_that_stays_up_looks_before_it_pays_out(house: House) -> None:
    """C-58: no job has looked since the database was set back: the first withdrawal does, and closes what a restore
    closes. Its key stood for nothing."""
    house.back_up()
    assert house.transfer("k-1", "in", "400.00").json["state"] == "confirmed"
    house.is_set_back()

    assert house.cash("withdrawals", "w-1", "1000.00").json["code"] == "database_restored"

    assert house.made.wallet() == 100_000
    with db.reading(house.made.runtime.engine) as connection:
        assert withdrawals.closed(connection) is not None
        assert [each.provider for each in gates.closed(connection)] == [PROVIDER]
    assert house.made.rows("SELECT * FROM idempotency_key WHERE operation = 'withdrawal'") == []
    assert house.cash("withdrawals", "w-1", "1000.00").json["code"] == "database_restored"


def test_it_stays_closed_whatever_agrees(house: House) -> None:
    """C-58: no comparison with a provider opens withdrawals, and no further start; a second restore is the one told."""
    lineage.restored(house.made.runtime, "the first", "somebody")
    assert sweep.run_once(house.made.runtime, house.made.runtime.clock.now(), 10, Event())["opened"] == 1
    house.starts_again()
    assert house.cash("withdrawals", "w-1", "1.00").status_code == 503
    lineage.restored(house.made.runtime, "the second", "somebody else")

    was = switches.open_withdrawals(house.made.runtime, CHECKED)

    assert (was.reason, was.actor) == ("the second", "somebody else")
    assert house.cash("withdrawals", "w-1", "1.00").status_code == 201


@pytest.fixture
def made(migrated_url: str) -> Iterator[Bench]:
    """A bridge whose provider nobody asks."""
    with bench(migrated_url) as built:
        yield built


def test_closing_is_one_transaction_with_the_marks(made: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """C-58: whoever fails to mark, behind both closings, has closed nothing either, and the next does all of it."""

    def fails(*_anything: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(lineage, "marks", fails)
    with pytest.raises(RuntimeError):
        lineage.restored(made.runtime, "a test", "somebody")
    assert made.rows("SELECT * FROM withdrawal_switch") == made.rows("SELECT * FROM switch") == []
    monkeypatch.undo()
    lineage.restored(made.runtime, "a test", "somebody")
    assert len(made.rows("SELECT * FROM withdrawal_switch")) == 1


def test_nothing_of_a_refusal_stays_with_the_key(made: Bench) -> None:
    """I-21: while it is closed even a withdrawal that the wallet does not hold is not refused for ever, for the wallet
    of a backup says nothing; an amount that is none is."""
    lineage.restored(made.runtime, "a test", "somebody")
    wish = cashier.CashWish(PLAYER, "1000.01", EUR)
    with pytest.raises(Unavailable):
        cashier.move(made.runtime, made.operator, "withdrawal", "w-1", wish)
    switches.open_withdrawals(made.runtime, CHECKED)
    made.deposit(PLAYER, "1.00")
    assert isinstance(cashier.move(made.runtime, made.operator, "withdrawal", "w-1", wish)[1], cashier.Cash)


def test_who_opens_says_why_and_every_operator_can_read_it(made: Bench) -> None:
    """Four eyes see afterwards what two did not before: who opened it, why, and what had closed it."""
    keys.add_operator(made.runtime, "rival")
    lineage.restored(made.runtime, "night of the storm", "somebody")
    for reason in ("", " x "):
        with pytest.raises(Invalid):
            switches.open_withdrawals(made.runtime, reason)
    switches.open_withdrawals(made.runtime, CHECKED)
    with pytest.raises(NotFound):
        switches.open_withdrawals(made.runtime, CHECKED)

    notes = made.rows("SELECT * FROM access_note ORDER BY operator_id")
    assert [note["operator_id"] for note in notes] == [row["id"] for row in keys.operators(made.runtime)]
    for note in notes:
        assert (note["kind"], note["reason"], note["after"]) == ("open withdrawals", CHECKED, "open")
        assert note["before"] == "closed by somebody (restored): night of the storm"
        assert note["address"] == "command line"


def test_a_restore_beside_an_opening_is_not_lost(made: Bench) -> None:
    """C-58: whichever comes second, it is closed after the last restore, unless somebody opened that one."""
    others = [made.another().runtime for _ in range(2)]
    for turn in range(8):
        lineage.restored(made.runtime, f"before {turn}", "somebody")
        was, _ = together(2, lambda n: (
            lineage.restored(others[0], "anew", "somebody") if n else switches.open_withdrawals(others[1], CHECKED)
        ))  # fmt: skip
        with db.reading(made.runtime.engine) as connection:
            found = withdrawals.closed(connection)
        assert (found is None) == (was.reason == "anew"), (was, found)
    for other in others:
        other.engine.dispose()


def test_who_never_looked_knows_it_by_the_mark_outside(made: Bench, tmp_path: Path) -> None:
    """C-58: a process that has never looked knows the restore from the mark that the jobs have written."""
    settings = made.runtime.config.database.model_copy(update={"mark_file": tmp_path / "mark"})
    config = made.runtime.config.model_copy(update={"database": settings})
    for _ in range(2):  # the first look remembers it, the second has something to keep
        lineage.watch(replace(made.runtime, config=config))
    fresh = compose(config, made.runtime.clock)
    with db.writing(made.runtime.engine) as connection:
        assert lineage.is_as_it_was(connection, fresh)
    marked = (tmp_path / "mark").read_text()
    (tmp_path / "mark").write_text(marked.replace('"posting": 1', '"posting": 7'))
    with pytest.raises(Unavailable):
        cashier.move(fresh, made.operator, "withdrawal", "w-1", cashier.CashWish(PLAYER, "1.00", EUR))
    assert len(made.rows("SELECT * FROM withdrawal_switch")) == 1
    fresh.engine.dispose()
