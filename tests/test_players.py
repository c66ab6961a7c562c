"""Players and where their money is: wallet, transit, game, custody, now and as of any instant."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bridge import keys, players
from bridge.errors import Invalid, NotFound
from bridge.players import Funds
from tests.harness import EUR, PLAYER, Bench, Hands, bench
from tests.transfers.conftest import REAL_TIMES
from tests.transfers.scripted import LOST, ScriptedProvider


@pytest.fixture
def provider() -> ScriptedProvider:
    """A provider that does as it is told."""
    return ScriptedProvider(Hands())


@pytest.fixture
def desk(migrated_url: str, provider: ScriptedProvider) -> Iterator[Bench]:
    """A bridge before it."""
    with bench(migrated_url, clock=provider.clock, provider=provider, **REAL_TIMES) as made:
        yield made


def funds(desk: Bench, as_of: int | None = None) -> Funds:
    """The funds of the one player in the one currency, whose total must be the sum of the places."""
    (found,) = players.funds(desk.runtime, desk.operator, PLAYER, as_of)
    assert found.total == found.wallet + found.in_transit + sum(found.at_providers.values()) + sum(
        found.in_custody.values()
    )
    return found


def test_registering_is_idempotent_and_only_adds(desk: Bench) -> None:
    """I-20 I-09 Again is again; a currency that is missing is added, none is taken away, balances stay."""
    assert players.register(desk.runtime, desk.operator, "eve", ["EUR", "USD"]) == (["EUR", "USD"], True)
    desk.deposit("eve", "5.00")
    assert players.register(desk.runtime, desk.operator, "eve", ["EUR"]) == (["EUR", "USD"], False)
    assert players.register(desk.runtime, desk.operator, "eve", ["JPY"]) == (["EUR", "JPY", "USD"], False)
    assert desk.wallet("eve") == 500
    with pytest.raises(Invalid):
        players.register(desk.runtime, desk.operator, "eve", ["EUR", "XXX"])
    desk.audit()


def test_money_is_followed_through_every_place(desk: Bench, provider: ScriptedProvider) -> None:
    """I-03 C-26 In transit, at the provider, in custody: the total is what the player is owed at every step."""
    assert funds(desk) == Funds(EUR, 100_000, 0, {}, {})
    provider.script = ["ok", LOST]
    desk.run("in", "10.00", ask=-1)
    assert funds(desk) == Funds(EUR, 99_000, 1000, {}, {})
    provider.broken = True
    for _ in range(100):
        desk.runtime.clock.sleep(10)
        desk.resolve_due()
    assert funds(desk) == Funds(EUR, 99_000, 0, {}, {"sim": 1000})
    provider.broken = False
    for _ in range(40):
        desk.runtime.clock.sleep(10)
        desk.resolve_due()
    found = funds(desk)
    assert (found.wallet, found.in_transit, found.at_providers) == (99_000, 0, {"sim": 1000})
    assert sum(found.in_custody.values()) == 0
    assert found.total == 100_000
    desk.audit()


def test_funds_as_of_an_instant(desk: Bench) -> None:
    """I-06 What was true at an instant is the fold of the postings up to it, and stays so."""
    clock = desk.runtime.clock
    first = clock.now()
    clock.sleep(60)
    desk.run("in", "10.00")
    second = clock.now()
    clock.sleep(60)
    desk.run("out", "4.00")
    assert [funds(desk, at).wallet for at in (first - 1, first, second - 1, second, clock.now())] == [
        0,
        100_000,
        100_000,
        99_000,
        99_400,
    ]
    assert funds(desk, second).at_providers == {"sim": 1000}
    assert funds(desk).at_providers == {"sim": 600}


def test_currencies_are_apart(desk: Bench) -> None:
    """I-09 Each currency has funds of its own."""
    players.register(desk.runtime, desk.operator, PLAYER, ["JPY"])
    desk.run("in", "10.00")
    assert [(f.currency, f.wallet, f.total) for f in players.funds(desk.runtime, desk.operator, PLAYER)] == [
        ("EUR", 99_000, 100_000), ("JPY", 0, 0),
    ]  # fmt: skip


def test_operators_are_apart(desk: Bench) -> None:
    """I-55 C-53 The same player id at another operator is another player."""
    other = keys.add_operator(desk.runtime, "second")
    with pytest.raises(NotFound):
        players.funds(desk.runtime, other, PLAYER)
    players.register(desk.runtime, other, PLAYER, [EUR])
    (found,) = players.funds(desk.runtime, other, PLAYER)
    assert found.total == 0
    with pytest.raises(NotFound):
        players.funds(desk.runtime, desk.operator, "nobody")
