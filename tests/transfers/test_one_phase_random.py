"""Random histories before a one-phase provider: lies, dying and paused workers, cancels, sweeps, bets, callbacks in any
order and take-backs; after each step the books are audited, and in the end they are the provider's."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule
from sqlalchemy import event

from bridge.errors import Unavailable
from bridge.transfers.advance import Fact, advance
from bridge.transfers.drive import perform
from bridge.verify import verify
from tests.harness import Bench, Hands, bench, cents
from tests.transfers.conftest import ONE_TIMES
from tests.transfers.scripted_one import (
    DROPPED,
    GARBAGE,
    LATE,
    LOST,
    OK,
    PENDING,
    PENDING_LOST,
    PENDING_REFUSED,
    REFUSED_DOOR,
    REFUSES,
    SILENT,
    SLOW,
    STALE,
    UNDECIDED,
    ScriptedOne,
)  # fmt: skip
from tests.transfers.test_histories import PLAYERS, Histories, any_of, run

MONEY = (OK, OK, LOST, LOST, DROPPED, REFUSED_DOOR, LATE, GARBAGE, SLOW, REFUSES, PENDING, PENDING_LOST,
         PENDING_REFUSED, UNDECIDED)  # fmt: skip
ASKED = (OK, SILENT, STALE, SLOW)
money = st.lists(st.sampled_from(MONEY), max_size=4)


class OnePhase(Histories):
    """A provider that calls back, takes back, and whose players play."""

    provider: ScriptedOne

    @initialize()
    def open(self) -> None:
        super().open()
        self.said: list[tuple[str, Fact]] = []

    # --- what may happen beside ---------------------------------------------------------------------------------

    @rule(
        direction=st.sampled_from(["in", "out"]), amount=st.sampled_from(["0.01", "7.00", "900.00", "max"]),
        player=st.sampled_from(PLAYERS), script=money,
        fate=st.sampled_from(["drive", "drive", "dies", "dies after", "pauses", "queued"]),
    )  # fmt: skip
    def begin(self, direction: str, amount: str, player: str, script: list[str], fate: str) -> None:
        if amount != "max":
            super().begin(direction, amount, player, script, fate)
            return
        try:
            super().begin("out", amount, player, script, fate)
        except Unavailable:
            assert "balance" in self.provider.calls

    @rule(asked=st.lists(st.sampled_from(ASKED), max_size=4), aside=st.lists(st.sampled_from((OK, SILENT)), max_size=3))
    def provider_will_lie_when_asked(self, asked: list[str], aside: list[str]) -> None:
        self.provider.asked, self.provider.aside = asked, aside

    @rule(player=st.sampled_from(PLAYERS), units=st.sampled_from([-90_000, -100, 100, 90_000]), sits=st.booleans())
    def somebody_plays(self, player: str, units: int, sits: bool) -> None:
        self.provider.won[player] += units
        if sits:
            self.provider.playing.add(player)

    @precondition(lambda self: self.provider.records)
    @rule(which=any_of)
    def provider_says_how_it_stands(self, which: int) -> None:
        self.provider.settle_time()
        reference = sorted(self.provider.records)[which % len(self.provider.records)]
        if self.provider.records[reference].status in ("confirmed", "cancelled"):
            self.said.append((reference, self.provider.callback(reference)))

    @precondition(lambda self: self.provider.records)
    @rule(which=any_of)
    def provider_takes_back(self, which: int) -> None:
        self.provider.settle_time()
        reference = sorted(self.provider.records)[which % len(self.provider.records)]
        if self.provider.records[reference].status in ("pending", "confirmed"):
            self.said.append((reference, self.provider.take_back(reference)))

    @precondition(lambda self: self.said)
    @rule(which=any_of)
    def callback_arrives(self, which: int) -> None:
        """Any of them, at any time, once or again."""
        self.deliver(*self.said[which % len(self.said)])

    @rule(player=st.sampled_from(PLAYERS), amount=st.sampled_from(["5.00", "100.00", "2000.00"]), out=st.booleans())
    def somebody_goes_to_the_cashier(self, player: str, amount: str, out: bool) -> None:
        if not out or self.desk.wallet(player) >= cents(amount):
            self.desk.cash("withdrawal" if out else "deposit", player, amount)

    def deliver(self, reference: str, fact: Fact) -> None:
        leg = self.desk.rows("SELECT transfer_id, ordinal FROM leg WHERE reference = :r", r=reference)[0]
        told = Fact(fact.reply, fact.source, self.hands.now(), ordinal=leg["ordinal"])
        outcome = advance(self.desk.runtime, leg["transfer_id"], None, told)
        assert outcome.order is None, "a callback sends nothing"

    # --- what must hold -----------------------------------------------------------------------------------------

    def ends_agree(self) -> None:
        """What is confirmed stands there to the cent, unless it is taken back and we do not know it yet; of what is
        reversed nothing stands there; and each reference was executed at most once."""
        moved: dict[str, int] = {}
        unheard: set[str] = set()
        for leg in self.desk.rows("SELECT transfer_id, reference FROM leg WHERE holder = 'sim'"):
            transfer_id, record = leg["transfer_id"], self.provider.records.get(leg["reference"])
            moved[transfer_id] = moved.get(transfer_id, 0) + self.provider.moved(leg["reference"])
            assert self.provider.executed[leg["reference"]] <= 1
            if record is not None and record.status == "cancelled":
                unheard.add(transfer_id)
        for row in self.desk.rows("SELECT id, state, amount FROM transfer WHERE state IN ('confirmed', 'reversed')"):
            if row["state"] == "reversed" or row["id"] not in unheard:
                assert moved[row["id"]] == (row["amount"] if row["state"] == "confirmed" else 0), dict(row)

    def heal(self) -> None:
        """The provider answers truly and every callback is told until it is taken; then all is proved, and our books
        are the provider's. What is left: a take-back from a wallet that had spent it, for people."""
        self.provider.script, self.provider.asked, self.provider.aside = [], [], []
        self.provider.playing.clear()
        for order in self.paused:
            fact = perform(self.desk.runtime, order)
            advance(self.desk.runtime, order.claim.transfer_id, order.claim, fact)
        for order, fact in self.late:
            advance(self.desk.runtime, order.claim.transfer_id, order.claim, fact)
        for reference, fact in self.said:
            self.deliver(reference, fact)
        for _ in range(60):
            self.hands.turn(60)
            self.desk.resolve_due()
        self.desk.audit()
        self.ends_agree()
        found = [f for f in verify(self.desk.runtime) if not all(row.get("inbox_id", 0) is None for row in f.rows)]
        assert found == []
        left = self.desk.rows("SELECT * FROM transfer WHERE state IN ('pending', 'orphaned')")
        assert {(row["direction"], row["reason_code"]) for row in left} <= {("out", "wallet_spent")}, left
        for player in PLAYERS:
            assert self.desk.game(player) == self.provider.net(player)


@contextmanager
def desk_on(url: str, *, hasty: bool = False) -> Iterator[tuple[Bench, ScriptedOne, Hands]]:
    """A bridge with its provider and its clock on a migrated database."""
    hands = Hands()
    provider = ScriptedOne(hands)
    with bench(url, clock=hands, provider=provider, **ONE_TIMES) as desk:
        if hasty:
            # The disk is not under test here, and each history writes some hundred commits.
            event.listen(
                desk.runtime.engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF")
            )
            desk.runtime.engine.dispose()
        yield desk, provider, hands


def test_histories_on_sqlite(migrated_sqlite_file: Path, tmp_path: Path) -> None:
    """I-01 I-02 I-03 I-04 I-05 I-06 I-12 I-13 I-15 I-17 I-25 C-02 C-08 C-11 C-28 C-29 C-40 C-61 C-62 After every step
    of every history before a one-phase provider the books hold."""

    @contextmanager
    def fresh() -> Iterator[Any]:
        file = tmp_path / f"{uuid.uuid4().hex}.db"
        shutil.copyfile(migrated_sqlite_file, file)
        with desk_on(f"sqlite:///{file}", hasty=True) as made:
            yield made
        for left in tmp_path.glob(f"{file.name}*"):
            left.unlink()

    run(OnePhase, fresh, 50, 25)


def test_histories_on_postgresql(postgres: Any, migrated_postgres_template: str) -> None:
    """I-01 I-02 I-03 I-04 I-05 I-06 I-12 I-13 I-15 I-17 I-25 C-02 C-08 C-11 C-28 C-29 C-40 C-61 C-62 The same on
    PostgreSQL, in fewer histories."""

    @contextmanager
    def fresh() -> Iterator[Any]:
        name = f"bridge_test_{uuid.uuid4().hex}"
        with desk_on(postgres.create_database(name, migrated_postgres_template)) as made:
            yield made
        postgres.drop_database(name)

    run(OnePhase, fresh, 8, 25)
