"""A player's money, as of any instant: by the postings, and equal to what it was then."""

from __future__ import annotations

import random
from typing import Any

import pytest

from bridge import keys, players
from bridge.errors import Invalid, NotFound
from bridge.views import player
from tests.deciding import decide
from tests.harness import Bench, Hands
from tests.transfers.scripted_one import MONEY_FAULTS, SILENT, ScriptedOne
from tests.transfers.test_decide import decision, orphan


def stands(lone: Bench) -> dict[str, int]:
    """What every account of ann's holds now, added up from the bare rows here."""
    sums: dict[str, int] = {}
    for row in lone.rows("SELECT debit, credit, amount FROM posting WHERE player_id = 'ann'"):
        sums[row["debit"]] = sums.get(row["debit"], 0) - row["amount"]
        sums[row["credit"]] = sums.get(row["credit"], 0) + row["amount"]
    return sums


def told(page: player.Page) -> dict[str, int]:
    """The same, as the page has it."""
    (funds,) = page.funds
    sums = {"wallet:ann": funds.wallet, "transit": funds.transit, "cashier": -funds.paid_in}
    sums |= {f"game:{each.provider}:ann": each.units for each in funds.games}
    sums |= {f"custody:{each.provider}": each.units for each in funds.custody}
    return sums | {f"house:{each.provider}": each.units for each in funds.house}


def same(one: dict[str, int], other: dict[str, int]) -> bool:
    """Whether all accounts hold the same; one that holds nothing need not be told."""
    return {k: v for k, v in one.items() if v} == {k: v for k, v in other.items() if v}


@pytest.mark.parametrize("seed", range(3))
def test_as_of_any_instant(lone: Bench, one: ScriptedOne, hands: Hands, seed: int) -> None:
    """I-01 Thirty random transfers under faults: at every instant noted, the page as of it is what was true."""
    chance = random.Random(seed)
    noted: list[tuple[int, dict[str, int]]] = []
    for _ in range(30):
        one.script = [chance.choice(MONEY_FAULTS)]
        one.asked = [SILENT] * chance.choice((0, 0, 40))
        lone.run(chance.choice(("in", "out")), f"{chance.randint(1, 20)}.00")
        hands.turn(chance.choice((1, 30, 600, 4000)))
        lone.resolve_due()
        noted.append((hands.now(), stands(lone)))
        hands.turn(1)
    assert len({tuple(sorted(then.items())) for _, then in noted}) > 10
    for at, then in noted:
        page = player.page(lone.runtime, lone.operator, "ann", at)
        assert same(told(page), then), at
        assert page.past
        (funds,) = page.funds
        assert funds.total + funds.borne == funds.paid_in
        assert all(each.at <= at for each in page.postings)
    now = player.page(lone.runtime, lone.operator, "ann")
    assert same(told(now), stands(lone))


def test_what_both_sides_have_counts_on_both(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """The house bears one; before anything was paid in there is nothing; decided, the sum is as it was."""
    begin = hands.now() - 1
    transfer_id = orphan(lone, one, hands, "in", "house")
    page = player.page(lone.runtime, lone.operator, "ann")
    (funds,) = page.funds
    assert (funds.total, funds.borne, funds.paid_in) == (101_000, -1000, 100_000)
    assert [(each.id, each.state) for each in page.open] == [(transfer_id, "orphaned")]
    assert page.postings[0].transfer == transfer_id
    decide(lone.runtime, lone.operator, transfer_id, decision(lone, transfer_id, "reverse"))
    (funds,) = player.page(lone.runtime, lone.operator, "ann").funds
    assert (funds.total, funds.borne, funds.wallet) == (100_000, 0, 100_000)
    (before,) = player.page(lone.runtime, lone.operator, "ann", begin).funds
    assert (before.total, before.paid_in) == (0, 0)


def test_who_waits_and_who_is_found(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """Players with orphans come first; a word leads to a player or to transfers, and never to another operator's."""
    transfer_id = orphan(lone, one, hands, "out", "custody")
    lone.player("bob")
    one.script, one.asked = ["dropped"], [SILENT]
    lone.run("in", player="bob")
    assert [(each.player, each.transfers, each.orphaned) for each in player.waiting(lone.runtime, lone.operator)] == [
        ("ann", 1, 1), ("bob", 1, 0)
    ]  # fmt: skip
    assert found(lone, " bob ") == player.Found("bob", ())
    assert found(lone, str(lone.get(transfer_id).outside.reference)) == player.Found(None, (transfer_id,))
    stranger = keys.add_operator(lone.runtime, "stranger")
    assert player.waiting(lone.runtime, stranger) == []
    assert player.found(lone.runtime, stranger, "bob") == player.Found(None, ())
    for operator, name in ((stranger, "ann"), (lone.operator, "nobody"), (lone.operator, "a\x00")):
        with pytest.raises(NotFound):
            player.page(lone.runtime, operator, name)
    with pytest.raises(Invalid, match="at"):
        player.page(lone.runtime, lone.operator, "ann", hands.now() + 1)


def found(lone: Bench, word: str) -> Any:
    """What a word leads to."""
    return player.found(lone.runtime, lone.operator, word)


def test_two_currencies_are_never_added(lone: Bench) -> None:
    """Each has a line of its own, also one that nothing was ever posted in."""
    players.register(lone.runtime, lone.operator, "ann", ["USD"])
    page = player.page(lone.runtime, lone.operator, "ann")
    assert [(each.currency, each.total) for each in page.funds] == [("EUR", 100_000), ("USD", 0)]
