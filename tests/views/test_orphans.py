"""The queue: what comes first, what is left out, what is found, and how it is added up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from bridge import db, keys, players
from bridge.config import Config
from bridge.sections import DeskSection
from bridge.transfers.begin import Wish, begin
from bridge.transfers.drive import drive
from bridge.views import finding, orphans
from bridge.views.orphans import Order, Queue, Stage, Wanted
from tests.harness import Bench, Hands
from tests.transfers.scripted_one import DROPPED, LOST, SILENT, ScriptedOne
from tests.views.conftest import person, proposal, put

DAY = 86_400


def orphaned(
    lone: Bench, one: ScriptedOne, hands: Hands, amount: str, currency: str = "EUR", player: str = "ann"
) -> str:
    """An orphan of so much: every answer lost, until patience is spent. It takes 17 minutes."""
    players.register(lone.runtime, lone.operator, player, ["EUR", "USD"])
    one.script, one.asked = [LOST], [SILENT] * 50
    lone.made += 1
    begun = begin(lone.runtime, lone.operator, f"key-{lone.made}", Wish(player, "sim", "out", amount, currency))
    assert begun.outcome is not None
    assert begun.transfer_id is not None
    drive(lone.runtime, begun.outcome)
    hands.turn(1000)
    lone.resolve_due()
    hands.turn(20)
    lone.resolve_due()
    assert lone.row(begun.transfer_id)["state"] == "orphaned"
    return begun.transfer_id


def asked(lone: Bench, number: int = 1, at: int | None = None, **wanted: Any) -> Queue:
    """A page of the queue."""
    return orphans.queue(lone.runtime, lone.operator, Wanted(**wanted), number, at)


def ids(queue: Queue) -> list[str]:
    """What is on it, in its order."""
    return [each.id for each in queue.transfers]


@pytest.fixture
def three(lone: Bench, one: ScriptedOne, hands: Hands) -> tuple[str, str, str]:
    """Ten euros for three days, twenty-five for one, a thousand dollars since just now."""
    old = orphaned(lone, one, hands, "10.00")
    hands.turn(2 * DAY)
    large = orphaned(lone, one, hands, "25.00", player="bob")
    hands.turn(DAY)
    dollars = orphaned(lone, one, hands, "1000.00", "USD", player="cy")
    one.asked = [SILENT] * 500
    return old, large, dollars


def test_order(lone: Bench, three: tuple[str, str, str], hands: Hands) -> None:
    """One currency: by value × age. Several: the oldest first. With rates: by value in the reference × age."""
    old, large, dollars = three
    assert (asked(lone).order, ids(asked(lone))) == (Order.AGE, [old, large, dollars])
    euros = asked(lone, currency="EUR")
    assert (euros.order, ids(euros)) == (Order.VALUE_AGE, [old, large])  # 30 euro days before 25
    hands.turn(DAY)
    assert ids(asked(lone, currency="EUR")) == [large, old]  # 50 before 40
    rated = with_rates(lone, {"EUR": "1", "USD": "0.9"})
    first = orphans.queue(rated, lone.operator, Wanted())
    assert (first.order, ids(first)) == (Order.REFERENCE, [dollars, large, old])
    only_euros = with_rates(lone, {"EUR": "1", "USD": "nonsense"})
    assert ids(orphans.queue(only_euros, lone.operator, Wanted())) == [large, old, dollars]


def with_rates(lone: Bench, rates: dict[str, str]) -> Any:
    """The bridge with these reference rates."""
    config = lone.runtime.config
    told = Config(
        **{
            **{name: getattr(config, name) for name in type(config).model_fields},
            "desk": DeskSection(reference_rates=rates),
        }
    )
    return replace(lone.runtime, config=told)


def test_filters_and_sums(lone: Bench, three: tuple[str, str, str], hands: Hands) -> None:
    """Each filter leaves what it names; the sums are of all that is left, by currency."""
    old, large, dollars = three
    everything = asked(lone)
    assert [(each.currency, each.transfers, each.units) for each in everything.sums] == [
        ("EUR", 2, 3500), ("USD", 1, 100_000)
    ]  # fmt: skip
    assert everything.count == 3
    assert everything.choices == orphans.Choices(("sim",), ("EUR", "USD"), ("unproved",))
    assert ids(asked(lone, currency="USD")) == [dollars]
    assert ids(asked(lone, player="bob")) == [large]
    assert ids(asked(lone, provider="other")) == []
    assert ids(asked(lone, reason="unproved", older_than=DAY // 2)) == [old, large]
    assert ids(asked(lone, reason="mismatch")) == []
    assert ids(asked(lone, older_than=2 * DAY)) == [old]
    made = proposal(lone, old, person(lone, "mia"))
    (proposed,) = asked(lone, proposed=True).transfers
    assert (proposed.id, proposed.proposal) == (old, orphans.Proposed(made, "confirm", "Mia", hands.now()))
    assert ids(asked(lone, proposed=False)) == [large, dollars]


def test_search(lone: Bench, three: tuple[str, str, str]) -> None:
    """By player, by our id, by the reference that the provider was given, by the provider's own; never a part of it."""
    old, large, _ = three
    reference = str(lone.get(large).outside.reference)
    by_reference = asked(lone, word=f"  {reference} ")
    assert ids(by_reference) == ids(asked(lone, word=large)) == ids(asked(lone, word="bob")) == [large]
    assert by_reference.transfers[0].reference == reference
    assert ids(asked(lone, word=old, player="bob")) == []
    for nothing in ("bo", reference[:-1], "tr_", "%", "x\x00", "'; --", "💶" * 300):
        assert ids(asked(lone, word=nothing)) == []


def test_found_by_the_providers_own_id(lone: Bench, one: ScriptedOne) -> None:
    """What the provider calls it leads to it; to nobody else's."""
    one.script = ["wrong_amount"]
    transfer_id = lone.run("in")
    assert ids(asked(lone, word="W-1")) == [transfer_id]
    (found,) = asked(lone, word="W-1").transfers
    assert found.provider_reference == "W-1"
    stranger = keys.add_operator(lone.runtime, "stranger")
    assert orphans.queue(lone.runtime, stranger, Wanted(word="W-1")).transfers == ()
    assert orphans.queue(lone.runtime, stranger, Wanted()).count == 0


def test_another_operators_ids_crowd_out_nothing(lone: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider numbers from 1 for each of its accounts: however many of another operator's are called the same, one's
    own is found."""
    monkeypatch.setattr(finding, "AT_MOST", 1)
    made = [lone.run("in") for _ in range(3)]
    stranger = keys.add_operator(lone.runtime, "stranger")
    players.register(lone.runtime, stranger, "ann", ["EUR"])
    for transfer_id in made:
        told = {"source": "callback", "answer": "unknown", "provider_reference": "77", "at": 1, "worker": "w"}
        put(lone, "evidence", transfer_id=transfer_id, ordinal=1, provider="sim", attempt=0, attempt_sensitive=False,
            lease_epoch=0, code="", detail="", digest="x", **told)  # fmt: skip
    with db.writing(lone.runtime.engine) as connection:
        for transfer_id in (made[0], made[2]):
            moved = {"operator": stranger, "id": transfer_id}
            connection.execute(text("UPDATE transfer SET operator_id = :operator WHERE id = :id"), moved)
        assert finding.by_word(connection, lone.operator, "77") == [made[1]]
        assert finding.by_word(connection, stranger, "77") == [made[2]]


def test_what_is_pending_and_what_is_unknown(lone: Bench, one: ScriptedOne) -> None:
    """A request without a usable answer is unknown; one that is being worked on is pending; neither is an orphan."""
    one.script, one.asked = [DROPPED], [SILENT] * 3
    unknown = lone.run("in", "1.00")
    one.script = ["pending"]
    pending = lone.run("in", "2.00")
    assert ids(asked(lone, stage=Stage.UNKNOWN)) == [unknown]
    assert ids(asked(lone, stage=Stage.PENDING)) == [pending]
    assert asked(lone).count == 0


def test_pages_fit_together(lone: Bench, one: ScriptedOne, hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of the first page's instant the pages show each transfer once; a page that there is not is the nearest."""
    monkeypatch.setattr(orphans, "PAGE", 2)
    made = [orphaned(lone, one, hands, f"{n}.00") for n in (1, 2, 3, 4, 5)]
    one.asked = [SILENT] * 500
    first = asked(lone, currency="EUR")
    hands.turn(30 * DAY)
    pages = [asked(lone, number, first.at, currency="EUR") for number in (1, 2, 3)]
    assert sorted(each for page in pages for each in ids(page)) == sorted(made)
    assert [(page.number, page.pages) for page in pages] == [(1, 3), (2, 3), (3, 3)]
    assert asked(lone, 99).number == 3
    assert asked(lone, -1).number == 1
    assert [each.id for each in orphans.every(lone.runtime, lone.operator, Wanted())] == made
