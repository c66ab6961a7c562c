"""A provider's name is given to another one, with the real adapters before two providers: judged by the ledger file of
each, which is what really moved there."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bridge import identity
from bridge.desk import switches
from bridge.errors import Unavailable
from bridge.verify import verify
from tests.harness import PROVIDER, SECRET, Bench, Simulator, bench, composed, configured, simulator
from tests.transfers.test_faults_generic import TIMES

GENERIC = ("--protocol", "generic", "--secret", SECRET)
HURRIED = {**TIMES, "patience_seconds": 7}
"""Absence would be proved after two seconds; patience is spent after seven."""


@dataclass
class Town:
    """A bridge before one provider, and another provider to which the name is given."""

    made: Bench
    here: Simulator
    elsewhere: Simulator
    player: str
    others: int  # requests that came there for other tests

    def repointed(self) -> Bench:
        """A process that is configured with the other one, just started."""
        config = configured(str(self.made.runtime.config.database.url), self.elsewhere.address, **HURRIED)
        new = Bench(composed(config, None), self.made.operator, made=500)
        identity.keep(new.runtime)
        return new

    @property
    def asked_elsewhere(self) -> set[str]:
        """What the other provider was asked, by what came over its wire."""
        return {line["operation"] for line in self.elsewhere.lines(".wire")[self.others :]}

    def executed_here(self) -> list[str]:
        """The lines of the first one's ledger by which money moved."""
        return [line["kind"] for line in self.here.lines() if line["kind"] in ("completed", "taken_back")
                and line["player"] == self.player]  # fmt: skip


@pytest.fixture(scope="module")
def providers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Simulator, Simulator]]:
    """Two of them: each has books of its own."""
    with (
        simulator(tmp_path_factory.mktemp("here"), *GENERIC) as here,
        simulator(tmp_path_factory.mktemp("elsewhere"), *GENERIC) as elsewhere,
    ):
        yield here, elsewhere


@pytest.fixture
def town(migrated_url: str, providers: tuple[Simulator, Simulator]) -> Iterator[Town]:
    """A player with 100.00 in the wallet and 50.00 won at either provider."""
    here, elsewhere = providers
    with bench(migrated_url, here.address, **HURRIED) as made:
        identity.keep(made.runtime)
        player = made.player(f"p{uuid.uuid4().hex[:12]}")
        for each in providers:
            each.play(player, "50.00")
        yield Town(made, here, elsewhere, player, len(elsewhere.lines(".wire")))


def works(made: Bench, until: Callable[[], bool], seconds: float) -> bool:
    """Its jobs run until something is so, or for so long; whether it is."""
    end = time.monotonic() + seconds
    while not until() and time.monotonic() < end:
        made.resolve_due()
        time.sleep(0.05)
    return until()


@pytest.mark.parametrize("direction", ["in", "out"])
def test_money_is_not_doubled_by_another_address(town: Town, direction: str) -> None:
    """I-09, I-13: executed, the answer lost, the name given to another provider. Nothing is sent there. People accept
    it, and still nothing is sent, and nothing given back for its "not found": an orphan, with what really moved in
    custody, and in one ledger."""
    town.here.script(13, player=town.player, params={"how": "reset"})
    transfer_id = town.made.run(direction, "10.00", player=town.player)
    before = town.made.wallet(town.player)
    new = town.repointed()

    assert not works(new, lambda: town.made.row(transfer_id)["state"] != "pending", 3.5)
    with pytest.raises(Unavailable) as refused:
        new.begin(direction, "1.00", player=town.player)
    assert refused.value.code == "provider_moved"
    assert town.asked_elsewhere == set()

    assert switches.accept(new.runtime, PROVIDER, "they moved house", "ops")[1] == 1
    assert works(new, lambda: town.made.row(transfer_id)["state"] == "orphaned", 12)

    assert town.executed_here() == ["completed"]
    assert town.asked_elsewhere == {"lookup"}
    assert new.wallet(town.player) == before == (9_000 if direction == "in" else 10_000)
    assert new.row(transfer_id)["moved_at"] is not None
    new.audit()
    assert verify(new.runtime) == []
    new.runtime.engine.dispose()


def test_who_has_the_old_address_proves_it(town: Town) -> None:
    """Of two processes that are restarted one after another the one goes on whose provider it is."""
    town.here.script(13, player=town.player, params={"how": "reset"})
    transfer_id = town.made.run("in", "10.00", player=town.player)
    new = town.repointed()

    def both() -> bool:
        new.resolve_due()
        return bool(town.made.row(transfer_id)["state"] == "confirmed")

    assert works(town.made, both, 10)
    assert town.asked_elsewhere == set()
    assert town.executed_here() == ["completed"]
    town.made.audit()
    new.runtime.engine.dispose()


def test_a_provider_that_keeps_its_books_is_accepted_and_goes_on(
    migrated_url: str, tmp_path: Path
) -> None:
    """A vendor moves to another address with all it knows: what was in doubt is proved there, once, and what is held
    there comes home."""
    with simulator(tmp_path, *GENERIC) as before, bench(migrated_url, before.address, **HURRIED) as made:
        identity.keep(made.runtime)
        before.script(13, player="ann", params={"how": "reset"})
        transfer_id = made.run("in", "10.00")
        config = configured(migrated_url, before.address.replace("127.0.0.1", "localhost"), **HURRIED)
        new = Bench(composed(config, None), made.operator, made=500)
        switches.accept(new.runtime, PROVIDER, "they have a name now", "ops")

        assert works(new, lambda: made.row(transfer_id)["state"] == "confirmed", 10)
        assert new.row(new.run("out", "10.00", ask=5))["state"] == "confirmed"
        assert [line["kind"] for line in before.lines() if line["kind"] == "completed"] == ["completed"] * 2
        assert (new.wallet(), new.game()) == (100_000, 0)
        new.audit()
        new.runtime.engine.dispose()
