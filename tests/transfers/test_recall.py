"""Recall: everything of a player home, one sweep a provider and currency, under one key."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from bridge.errors import Invalid, NotFound
from bridge.idempotency import RECALL, Key
from bridge.transfers.recall import HANDS, Found, Swept, places_of, recall
from tests.harness import EUR, PLAYER, Bench, Hands, together
from tests.transfers.scripted_one import (
    DROPPED,
    GRANTED,
    LATE,
    SILENT,
    ScriptedOne,
)  # fmt: skip
from tests.transfers.test_sweep import START, has


def key(text: str, lone: Bench) -> Key:
    """A recall's key of the operator."""
    return Key(lone.operator, RECALL, text)


@pytest.fixture
def two(lone: Bench, one: ScriptedOne, hands: Hands) -> tuple[Bench, ScriptedOne, ScriptedOne]:
    """A bridge before two providers of the same operator."""
    other = ScriptedOne(hands, name="sam")
    policies = {"sim": lone.runtime.config.providers["sim"], "sam": lone.runtime.config.providers["sim"]}
    config = lone.runtime.config.model_copy(update={"providers": policies})
    runtime = replace(lone.runtime, config=config, providers={"sim": one, "sam": other})
    return Bench(runtime, lone.operator, made=500), one, other


def home(desk: Bench, text: str, seconds: float = 15) -> list[Swept]:
    """A recall under this key."""
    until = desk.runtime.clock.monotonic() + seconds
    return recall(desk.runtime, key(text, desk), PLAYER, places_of(desk.runtime, desk.operator, PLAYER), until)


def test_recall_sweeps_every_provider(two: tuple[Bench, ScriptedOne, ScriptedOne]) -> None:
    """Design §6: everything home, also from where no transfer ever went; where nothing is, nothing is begun."""
    desk, one, other = two
    has(one, 2500)
    has(other, 0)
    swept = home(desk, "r1")
    assert [(each.provider, each.currency, each.found) for each in swept] == [
        ("sim", EUR, Found.SWEPT), ("sam", EUR, Found.NOTHING)
    ]  # fmt: skip
    assert swept[0].transfer_id is not None
    assert (desk.row(swept[0].transfer_id)["state"], desk.wallet()) == ("confirmed", START + 2500)
    desk.audit()


class Died(Exception):
    """The process, in the middle of a recall."""


def test_recall_that_died_between_two_sweeps(two: tuple[Bench, ScriptedOne, ScriptedOne]) -> None:
    """I-20 I-21 C-48 C-55 The same key finds the sweep that was begun, begins the one that was not, and a third time
    finds both."""
    desk, one, other = two
    has(one, 2500)
    has(other, 700)

    def dies(_operation: str) -> None:
        raise Died

    other.during = dies
    with suppress(Died):
        home(desk, "r1")
    assert [row["provider"] for row in desk.rows("SELECT provider FROM transfer")] == ["sim"]
    other.during = lambda _operation: None
    has(one, 900)  # won since: not this recall's
    second, third = home(desk, "r1"), home(desk, "r1")
    assert second == third
    assert [each.found for each in second] == [Found.SWEPT, Found.SWEPT]
    assert len(desk.rows("SELECT id FROM transfer")) == 2
    assert desk.wallet() == START + 2500 + 700
    assert (one.owned(PLAYER), other.owned(PLAYER)) == (900, 0)
    home(desk, "r2")
    assert desk.wallet() == START + 2500 + 700 + 900
    desk.audit()


@pytest.mark.parametrize("point", range(4))
def test_recall_that_died_inside_a_sweep(two: tuple[Bench, ScriptedOne, ScriptedOne], hands: Hands, point: int) -> None:
    """I-17 I-20 C-02 C-48 Whichever request it died at: the sweep that was begun is finished by the resolver, the same
    key begins the others, and everything is home once."""
    desk, one, other = two
    has(one, 2500)
    has(other, 700)
    count = 0

    def dies(_operation: str) -> None:
        nonlocal count
        count += 1
        if count == point + 1:
            raise Died

    one.during = other.during = dies
    with suppress(Died):
        home(desk, "r1")
    hands.turn(60)
    desk.resolve_due()
    home(desk, "r1")
    for _ in range(10):
        hands.turn(60)
        desk.resolve_due()
    assert [row["state"] for row in desk.rows("SELECT state FROM transfer")] == ["confirmed", "confirmed"]
    assert desk.wallet() == START + 3200
    assert (one.owned(PLAYER), other.owned(PLAYER)) == (0, 0)
    desk.audit()


def test_recalls_at_the_same_instant(two: tuple[Bench, ScriptedOne, ScriptedOne], hands: Hands) -> None:
    """I-02 I-20 C-28 Two keys and each of them twice, at the same instant: everything is home once; who came too late
    found nothing, or was refused for it."""
    desk, one, other = two
    has(one, 2500)
    has(other, 700)
    results = together(4, lambda number: home(desk, f"r{number % 2}"))
    assert not [each for each in results if isinstance(each, Exception)], results
    for _ in range(20):
        hands.turn(60)
        desk.resolve_due()
    ends: list[Any] = [(row["state"], row["reason_code"]) for row in desk.rows("SELECT * FROM transfer")]
    assert set(ends) <= {("confirmed", None), ("reversed", "nothing_to_move"), ("reversed", "balance_moving")}
    assert len(ends) <= 4
    assert desk.wallet() == START + 3200
    assert (one.owned(PLAYER), other.owned(PLAYER)) == (0, 0)
    desk.audit()


def test_recall_without_any_time_goes_on_with_each_repetition(
    two: tuple[Bench, ScriptedOne, ScriptedOne], hands: Hands
) -> None:
    """Design §6: who waits for nothing has balances read all the same, the requests are the resolver's, and the same
    key comes to an end. It never began anything."""
    desk, one, other = two
    has(one, 2500)
    has(other, 700)
    other.aside = [SILENT]
    assert [each.found for each in home(desk, "r1", seconds=0)] == [Found.SWEPT, Found.UNREAD]
    assert [each.found for each in home(desk, "r1", seconds=0)] == [Found.SWEPT, Found.SWEPT]
    assert not [each for each in (*one.calls, *other.calls) if each.startswith("transfer")]
    hands.turn(1)
    desk.resolve_due()
    assert desk.wallet() == START + 3200
    assert len(desk.rows("SELECT id FROM transfer")) == 2


def test_of_more_than_can_be_asked_at_once_each_has_its_turn(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """With more dead providers than hands and no time, who is asked is drawn, and the living one has its turn."""
    dead = {f"d-{number:02}": ScriptedOne(hands, name=f"d-{number:02}") for number in range(HANDS + 4)}
    for each in dead.values():
        each.aside = [SILENT] * 99
    has(one, 700)
    policy = lone.runtime.config.providers["sim"]
    config = lone.runtime.config.model_copy(update={"providers": dict.fromkeys((*dead, "sim"), policy)})
    desk = Bench(replace(lone.runtime, config=config, providers={**dead, "sim": one}), lone.operator, made=500)
    for _ in range(60):
        told = home(desk, "r1", seconds=0)
        assert {each.found for each in told[:-1]} == {Found.UNREAD}
        if told[-1].found is Found.SWEPT:
            break
    hands.turn(1)
    desk.resolve_due()
    assert (one.owned(PLAYER), desk.wallet()) == (0, START + 700)


# --- what was taken out of the configuration ----------------------------------------------------------


def less(desk: Bench, **changes: Any) -> Bench:
    """The same bridge, with another configuration of `sim`; without any it was taken out."""
    policies = dict(desk.runtime.config.providers)
    policy = policies.pop("sim")
    if changes:
        policies["sim"] = policy.model_copy(update=changes)
    providers = {name: desk.runtime.providers[name] for name in policies}
    config = desk.runtime.config.model_copy(update={"providers": policies})
    return Bench(replace(desk.runtime, config=config, providers=providers), desk.operator, made=900)


@pytest.mark.parametrize("changes", [{}, {"operator": "rival"}])
def test_what_nobody_can_be_asked_about_is_unread(
    two: tuple[Bench, ScriptedOne, ScriptedOne], changes: dict[str, Any]
) -> None:
    """By our books money is at a provider that was taken out, or given to somebody else: no recall says that all
    is home, and where nothing is by our books nothing is asked for."""
    desk, _, other = two
    has(other, 0)
    assert [each.provider for each in home(less(desk, **changes), "r1")] == ["sam"]
    desk.run("in", "10.00")
    gone = less(desk, **changes)
    assert home(gone, "r2") == [Swept("sam", EUR, Found.NOTHING), Swept("sim", EUR, Found.UNREAD)]
    back = home(desk, "r2")
    assert {each.provider: each.found for each in back} == {"sim": Found.SWEPT, "sam": Found.NOTHING}
    assert desk.wallet() == START + GRANTED


def test_what_is_on_its_way_to_one_that_was_taken_out_is_unread(two: tuple[Bench, ScriptedOne, ScriptedOne]) -> None:
    """Nothing is there by our books yet, and something is under way."""
    desk, one, other = two
    has(other, 0)
    one.script, one.asked = [LATE], [SILENT] * 9
    desk.run("in", "10.00")
    assert home(less(desk), "r1") == [Swept("sam", EUR, Found.NOTHING), Swept("sim", EUR, Found.UNREAD)]


def test_a_currency_that_was_taken_out_lets_money_home_and_none_in(two: tuple[Bench, ScriptedOne, ScriptedOne]) -> None:
    """Design §3, rule 10: to take a currency out stops transfers in; those out go on, and a recall finds it."""
    desk, one, other = two
    has(other, 0)
    desk.run("in", "10.00")
    stopped = less(desk, currencies=("USD",))
    with pytest.raises(Invalid) as met:
        stopped.begin("in", "1.00")
    assert met.value.fields == {"currency": "does not move at sim"}
    assert stopped.row(stopped.run("out", "4.00"))["state"] == "confirmed"
    has(one, 600)
    told = home(stopped, "r1")
    assert {each.provider: each.found for each in told} == {"sam": Found.NOTHING, "sim": Found.SWEPT}
    assert (one.owned(PLAYER), desk.wallet()) == (0, START)
    desk.audit()


def test_a_currency_that_never_moved_there_does_not_move_out(lone: Bench) -> None:
    """What nobody ever took there is refused by its field, as it was; no provider is asked."""
    with pytest.raises(Invalid) as met:
        less(lone, currencies=("USD",)).begin("out", "1.00")
    assert met.value.fields == {"currency": "does not move at sim"}


def test_recall_of_somebody_else(lone: Bench) -> None:
    """I-55 A player that is none of the operator's is not there."""
    with pytest.raises(NotFound):
        places_of(lone.runtime, lone.operator, "nobody")
    with pytest.raises(NotFound):
        places_of(lone.runtime, lone.operator + 1, PLAYER)


def test_key_of_a_client_is_never_one_of_a_recall(lone: Bench, one: ScriptedOne) -> None:
    """I-20 C-53 The same text as a transfer's key and as a recall's are two keys."""
    has(one, 2500)
    transfer_id = lone.run("out", "5.00", key="r1")
    swept = home(lone, "r1")
    assert [each.found for each in swept] == [Found.SWEPT]
    assert swept[0].transfer_id != transfer_id
    assert (one.owned(PLAYER), GRANTED) == (0, 1_000_000)
    assert lone.wallet() == START + 2500


@pytest.mark.parametrize("there", [0, 1])
def test_recall_waits_for_what_is_on_its_way(
    two: tuple[Bench, ScriptedOne, ScriptedOne], hands: Hands, there: int
) -> None:
    """I-20 Neither "nothing there" nor a single cent is the answer, for ever, about a game that money is still on
    its way to."""
    desk, one, other = two
    has(one, there)
    has(other, 0)
    one.script, one.asked = [LATE], [SILENT] * 3
    desk.run("in")
    assert [each.found for each in home(desk, "r1")] == [Found.UNREAD, Found.NOTHING]
    one.asked = []
    hands.turn(30)
    desk.resolve_due()
    assert [each.found for each in home(desk, "r1")] == [Found.SWEPT, Found.NOTHING]
    assert (one.owned(PLAYER), desk.wallet()) == (0, START + there)
    assert [each.found for each in home(desk, "r1")] == [Found.SWEPT, Found.NOTHING]
    desk.audit()


def test_an_orphan_keeps_nobody_from_sweeping(two: tuple[Bench, ScriptedOne, ScriptedOne], hands: Hands) -> None:
    """An orphan may wait for people for days; a recall does not wait for it."""
    desk, one, other = two
    has(one, 0)
    has(other, 0)
    one.script, one.asked = [DROPPED], [SILENT] * 99
    transfer_id = desk.run("in")
    for _ in range(12):
        hands.turn(120)
        desk.resolve_due()
    assert desk.row(transfer_id)["state"] == "orphaned"
    assert [each.found for each in home(desk, "r1")] == [Found.NOTHING, Found.NOTHING]
