"""Random histories: begins, lies, lost answers, dying and paused workers, cancels, clocks; after each step the books
are audited, and in the end, with the provider healed, nothing is pending and our ledger is the provider's."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from sqlalchemy import event

from bridge import watch
from bridge.errors import AlreadyFinal, Conflict
from bridge.ports import SECOND
from bridge.transfers import resolve
from bridge.transfers.advance import Fact, Order, Outcome, advance
from bridge.transfers.cancel import cancel
from bridge.transfers.drive import drive, perform
from tests.harness import Bench, Hands, bench
from tests.transfers.conftest import REAL_TIMES
from tests.transfers.scripted import (
    DROPPED,
    GARBAGE,
    LATE,
    LOST,
    OK,
    REFUSED_DOOR,
    SILENT,
    SLOW,
    STALE,
    ScriptedProvider,
)

PLAYERS = ("ann", "bob")
FAULTS = (OK, OK, OK, LOST, DROPPED, REFUSED_DOOR, LATE, GARBAGE, SLOW, SILENT, STALE, "absent")
faults = st.lists(st.sampled_from(FAULTS), max_size=5)
any_of = st.integers(0, 10**6)


class Histories(RuleBasedStateMachine):
    """A desk with two workers, two players and a provider; `fresh` opens an empty, migrated database."""

    fresh: Callable[[], Any]
    clock_may_be_set = False

    @initialize()
    def open(self) -> None:
        self.opened = self.fresh()
        self.desk, self.provider, self.hands = self.opened.__enter__()
        self.workers = [self.desk, Bench(replace(self.desk.runtime, worker="second"), self.desk.operator)]
        self.paused: list[Order] = []
        self.late: list[tuple[Order, Fact]] = []
        self.ids: list[str] = []
        self.latest = self.hands.wall
        self.desk.player("bob", "30.00")

    # --- what may happen ------------------------------------------------------------------------------------

    @rule(
        direction=st.sampled_from(["in", "out"]), amount=st.sampled_from(["0.01", "7.00", "25.00", "900.00"]),
        player=st.sampled_from(PLAYERS), script=faults, fate=st.sampled_from(["drive", "drive", "dies",
            "dies after", "pauses", "queued"]),
    )  # fmt: skip
    def begin(self, direction: str, amount: str, player: str, script: list[str], fate: str) -> None:
        begun = self.desk.begin(direction, amount, player=player, queued=fate == "queued")
        if begun.outcome is None:
            assert begun.stored is not None
            assert begun.stored.status == 422, "only an empty wallet refuses here"
            return
        assert begun.transfer_id is not None
        self.ids.append(begun.transfer_id)
        self.provider.script = script
        self.carry_on(begun.outcome, fate)

    @rule(
        worker=st.integers(0, 1),
        script=faults,
        fate=st.sampled_from(["drive", "drive", "drive", "dies", "dies after", "pauses", "claims"]),
    )
    def resolve(self, worker: int, script: list[str], fate: str) -> None:
        runtime = self.workers[worker].runtime
        self.provider.script = script
        for claim in resolve.claim_due(runtime, 3):
            if fate != "claims":
                self.carry_on(advance(runtime, claim.transfer_id, claim), fate, worker)

    @precondition(lambda self: self.paused)
    @rule(which=any_of, script=faults, delivered=st.booleans())
    def paused_worker_goes_on(self, which: int, script: list[str], delivered: bool) -> None:
        order = self.paused.pop(which % len(self.paused))
        self.provider.script = script
        fact = perform(self.desk.runtime, order)
        if delivered:
            self.carry_on(advance(self.desk.runtime, order.claim.transfer_id, order.claim, fact), "drive")
        else:
            self.late.append((order, fact))

    @precondition(lambda self: self.late)
    @rule(which=any_of)
    def late_answer_arrives(self, which: int) -> None:
        order, fact = self.late.pop(which % len(self.late))
        self.carry_on(advance(self.desk.runtime, order.claim.transfer_id, order.claim, fact), "pauses")

    @precondition(lambda self: self.ids)
    @rule(which=any_of, script=faults)
    def operator_cancels(self, which: int, script: list[str]) -> None:
        self.provider.script = script
        try:
            cancel(self.desk.runtime, self.desk.operator, self.ids[which % len(self.ids)])
        except (AlreadyFinal, Conflict):
            return

    @rule(seconds=st.sampled_from([0.2, 1, 3, 5, 9, 13, 60, 400, 1000]))
    def time_passes(self, seconds: float) -> None:
        self.hands.turn(seconds)

    @precondition(lambda self: self.clock_may_be_set)
    @rule(days=st.sampled_from([-1, 1]))
    def somebody_sets_the_clock(self, days: int) -> None:
        self.latest = max(self.latest, self.hands.wall)
        self.hands.set_wall(days * 86400)

    def carry_on(self, outcome: Outcome, fate: str, worker: int = 0) -> None:
        """Drive, or die before or after the next request, or pause before it with the order in hand."""
        runtime, order = self.workers[worker].runtime, outcome.order
        if fate == "drive" or order is None:
            drive(runtime, outcome, ask_until=runtime.clock.monotonic() + 5)
        elif fate == "dies after":
            perform(runtime, order)
        elif fate == "pauses":
            self.paused.append(order)

    # --- what must hold -------------------------------------------------------------------------------------

    def check_invariants(self, settings: Any = None, *args: Any) -> None:
        super().check_invariants(settings, *args)
        if hasattr(self, "desk"):
            self.desk.audit()
            self.ends_agree()

    def ends_agree(self) -> None:
        """I-02 in the world outside: what is confirmed happened there, what is reversed did not."""
        for row in self.desk.rows(
            "SELECT t.id, t.state, l.reference FROM transfer t JOIN leg l ON l.transfer_id = t.id AND l.holder = 'sim'"
        ):
            if row["state"] in ("confirmed", "reversed"):
                assert self.provider.done(row["reference"]) == (row["state"] == "confirmed"), row

    def teardown(self) -> None:
        if not hasattr(self, "desk"):
            return
        try:
            self.heal()
        finally:
            self.opened.__exit__(None, None, None)

    def heal(self) -> None:
        """The provider answers truly and at once; paused workers go on; then there is nothing left to prove."""
        self.provider.script = []
        for order in self.paused:
            advance(self.desk.runtime, order.claim.transfer_id, order.claim, perform(self.desk.runtime, order))
        for order, fact in self.late:
            advance(self.desk.runtime, order.claim.transfer_id, order.claim, fact)
        if self.clock_may_be_set:
            # What a clock that was set back has put off comes due when it is right again.
            self.hands.set_both((max(self.hands.wall, self.latest) - self.hands.wall) / SECOND + 86_400)
            for worker in self.workers:
                assert watch.hindrance(worker.runtime) is None
        for _ in range(60):
            self.hands.turn(60)
            self.desk.resolve_due()
        self.desk.audit()
        self.ends_agree()
        left = self.desk.rows(
            "SELECT id, direction, state, reason_detail FROM transfer WHERE state IN ('pending', 'orphaned')"
        )
        assert left == [], "healed for an hour, and not proved"
        for player in PLAYERS:
            assert self.desk.game(player) == self.provider.net(player)
        for reference in {r.effect.reference for r in self.provider.records.values()}:
            assert (
                sum(r.state == "COMPLETED" for r in self.provider.records.values() if r.effect.reference == reference)
                <= 1
            )


class SetClocks(Histories):
    """The same while somebody sets the wall clock by a day, forth and back (I-34)."""

    clock_may_be_set = True


@contextmanager
def desk_on(url: str, *, hasty: bool = False) -> Iterator[tuple[Bench, ScriptedProvider, Hands]]:
    """A bridge with its provider and its clock on a migrated database."""
    hands = Hands()
    provider = ScriptedProvider(hands)
    with bench(url, clock=hands, provider=provider, **REAL_TIMES) as desk:
        if hasty:
            # The disk is not under test here, and each history writes some hundred commits.
            event.listen(
                desk.runtime.engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF")
            )
            desk.runtime.engine.dispose()
        yield desk, provider, hands


def run(machine: type[Histories], fresh: Callable[[], Any], examples: int, steps: int) -> None:
    """Run the machine on databases that `fresh` opens."""
    made = type(machine.__name__, (machine,), {"fresh": staticmethod(fresh)})
    chosen = settings(
        max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate, Phase.shrink), print_blob=True,
    )  # fmt: skip
    run_state_machine_as_test(made, settings=chosen)


@pytest.mark.parametrize(("machine", "examples"), [(Histories, 60), (SetClocks, 25)])
def test_histories_on_sqlite(
    machine: type[Histories], examples: int, migrated_sqlite_file: Path, tmp_path: Path
) -> None:
    """I-01 I-02 I-03 I-04 I-05 I-06 I-13 I-15 I-17 I-34 C-02 C-28 C-29 C-40 After every step of every history
    the books hold."""

    @contextmanager
    def fresh() -> Iterator[Any]:
        file = tmp_path / f"{uuid.uuid4().hex}.db"
        shutil.copyfile(migrated_sqlite_file, file)
        with desk_on(f"sqlite:///{file}", hasty=True) as made:
            yield made
        for left in tmp_path.glob(f"{file.name}*"):
            left.unlink()

    run(machine, fresh, examples, 25)


def test_histories_on_postgresql(postgres: Any, migrated_postgres_template: str) -> None:
    """I-01 I-02 I-03 I-04 I-05 I-06 I-13 I-15 I-17 C-02 C-28 C-29 C-40 The same on PostgreSQL, in fewer histories."""

    @contextmanager
    def fresh() -> Iterator[Any]:
        name = f"bridge_test_{uuid.uuid4().hex}"
        with desk_on(postgres.create_database(name, migrated_postgres_template)) as made:
            yield made
        postgres.drop_database(name)

    run(Histories, fresh, 8, 25)
