"""A take-back that nobody ordered, put among a transfer's legs by whoever owns the database: nothing is sent for it."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from bridge.errors import Invalid
from bridge.transfers import resolve
from bridge.verify import verify
from statemachines import LegState
from tests.audit.ground import owned
from tests.deciding import decide
from tests.harness import PLAYER, Bench, Hands
from tests.transfers.scripted_one import LOST, SILENT, ScriptedOne
from tests.transfers.test_after_decisions import carry_out, executed_late, order, state
from tests.transfers.test_decide import decision, orphan
from tests.transfers.test_sweep import has, loses, sweep

PLANNED = "Each leg beyond the first two was planned by a move of its own, and each leg that moved is there."
TAKEN = "What is taken out of a game again people have decided, each take-back by a decision of its own."
TRIES = "The tries of a sweep are of what was told to be there, the newest of what it moves; no other transfer has two."
EACH_LEG = "Each leg is where its transfer says, under its own reference, and told as it was proved."

PLANTED = """INSERT INTO leg (transfer_id, ordinal, holder, side, undoes, state, amount, reference)
SELECT transfer_id, 9, holder, 'debit', ordinal, 'planned', 5000, :reference FROM leg
WHERE transfer_id = :id AND holder <> 'wallet' AND undoes IS NULL"""


def plant(lone: Bench, transfer_id: str) -> None:
    """A leg that takes 50.00 out of the game, of a transfer that somebody looks at now."""
    now = lone.runtime.clock.now()
    with lone.runtime.engine.begin() as connection:
        connection.execute(text(PLANTED), {"id": transfer_id, "reference": transfer_id[3:] + "9"})
        connection.execute(text("UPDATE transfer SET wake_at = :now WHERE id = :id"), {"now": now, "id": transfer_id})


def drive(lone: Bench, hands: Hands) -> None:
    """The resolver for ten minutes."""
    for _ in range(20):
        hands.turn(30)
        lone.resolve_due()


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What is logged as an error about a transfer."""
    heard: list[dict[str, Any]] = []
    monkeypatch.setattr("bridge.transfers.advance._log.error", lambda _, **told: heard.append(told))
    return heard


@pytest.mark.parametrize("patience", [60, 3600], ids=["pending", "orphaned"])
def test_a_take_back_that_nobody_ordered_is_not_sent(
    lone: Bench, one: ScriptedOne, hands: Hands, said: list[dict[str, Any]], patience: int
) -> None:
    """I-02 A planted leg moves nothing at the provider, whatever its transfer's state; it is an error in the log."""
    one.script, one.asked = [LOST], [SILENT] * 10_000
    transfer_id = lone.run("in")
    for _ in range(patience // 30):
        hands.turn(30)
        lone.resolve_due()
    before = state(lone, transfer_id)
    plant(lone, transfer_id)

    drive(lone, hands)

    assert (state(lone, transfer_id), one.net(PLAYER), sum(one.executed.values())) == (before, 1000, 1)
    planted = lone.get(transfer_id).leg(9)
    assert (planted.state, planted.attempts) == (LegState.PLANNED, ())
    assert {"transfer": transfer_id, "legs": [9]} in said


def test_people_decide_beside_a_planted_take_back(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-11 A planted leg keeps nobody from deciding; only it is not made one that was ordered."""
    transfer_id = orphan(lone, one, hands, "in", "house")
    plant(lone, transfer_id)

    with pytest.raises(Invalid) as refused:
        order(lone, transfer_id)
    assert "nobody had ordered" in refused.value.fields["kind"]
    decide(lone.runtime, lone.operator, transfer_id, decision(lone, transfer_id, "confirm"))
    for claim in resolve.claim_due(lone.runtime, 10):
        resolve.resolve(lone.runtime, claim)
    assert state(lone, transfer_id) == "confirmed"
    assert lone.get(transfer_id).leg(9).attempts == ()


def test_an_order_is_carried_out_beside_a_planted_take_back(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-02 What was ordered goes on to its end, and nothing else is taken."""
    transfer_id = executed_late(lone, one, hands)
    order(lone, transfer_id)
    plant(lone, transfer_id)
    (ordered,) = lone.get(transfer_id).ordered

    drive(lone, hands)

    assert lone.get(transfer_id).leg(ordered.ordinal).state is LegState.APPLIED
    assert (state(lone, transfer_id), one.net(PLAYER)) == ("reversed", 0)
    assert lone.get(transfer_id).leg(9).attempts == ()


def test_every_take_back_that_was_ordered_is_driven(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-02 As many as there are decisions: none is left out."""
    transfer_id = executed_late(lone, one, hands)
    order(lone, transfer_id)
    carry_out(lone, hands, transfer_id)
    transfer = lone.get(transfer_id)
    assert transfer.unordered == ()
    assert transfer.ordered == transfer.take_backs
    assert transfer.driven is transfer.take_backs[-1]


def sentences(lone: Bench) -> set[str]:
    """What `verify` says."""
    return {finding.sentence for finding in verify(lone.runtime)}


def test_verify_names_a_take_back_that_nobody_ordered(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-10, I-11 Beside one that people ordered, or instead of it, with or without a move that plans it."""
    transfer_id = executed_late(lone, one, hands)
    order(lone, transfer_id)
    carry_out(lone, hands, transfer_id)
    before = sentences(lone)
    plant(lone, transfer_id)
    assert sentences(lone) - before >= {PLANNED, TAKEN}
    (ordered,) = lone.get(transfer_id).ordered
    with owned(lone.runtime) as connection:
        which = {"id": transfer_id, "ordered": f"leg {ordered.ordinal}"}
        connection.execute(text(FORGED_PLAN), which)
    assert sentences(lone) - before >= {TAKEN}
    assert PLANNED not in sentences(lone)


FORGED_PLAN = """INSERT INTO history (transfer_id, version, subject, "trigger", target, reason, evidence_id, actor,
    lease_epoch, at)
SELECT transfer_id, version, 'leg 9', "trigger", target, reason, evidence_id, actor, lease_epoch, at FROM history
WHERE transfer_id = :id AND subject = :ordered AND "trigger" = 'plan'"""


@pytest.mark.parametrize(("ordinal", "rule"), [(2, EACH_LEG), (3, TRIES)], ids=["wallet", "newest"])
def test_verify_names_the_amount_of_a_try(lone: Bench, one: ScriptedOne, hands: Hands, ordinal: int, rule: str) -> None:
    """I-03 A sweep in two tries is sound; its newest try of another amount, or the wallet's share, is named."""
    has(one, 5000)
    one.during = loses(one, "transfer", units=1000)
    transfer_id = sweep(lone)
    drive(lone, hands)
    assert [leg.amount for leg in lone.get(transfer_id).tries] == [5000, 4000]
    assert verify(lone.runtime) == []
    with owned(lone.runtime) as connection:
        change = "UPDATE leg SET amount = amount + 1 WHERE transfer_id = :id AND ordinal = :ordinal"
        connection.execute(text(change), {"id": transfer_id, "ordinal": ordinal})
    assert rule in sentences(lone)
