"""The operator's cancel in every phase: a wish that is stored, and an end that the provider's ledger agrees with."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.errors import AlreadyFinal, Conflict, NotFound
from bridge.transfers.advance import advance
from bridge.transfers.cancel import cancel
from bridge.transfers.drive import drive, perform
from tests.harness import Bench, Hands, Simulator, together
from tests.transfers.scripted import DROPPED, LATE, LOST, SILENT, ScriptedProvider

BOTH_WAYS = pytest.mark.parametrize("direction", ["in", "out"])


def wish(still: Bench, transfer_id: Any) -> str:
    """The state after the wish."""
    return cancel(still.runtime, still.operator, transfer_id).state.value


def pass_time(still: Bench, seconds: int) -> None:
    """So many seconds, a resolver pass in each."""
    for _ in range(seconds):
        still.runtime.clock.sleep(1)
        still.resolve_due()


@BOTH_WAYS
def test_planned_is_reversed_without_a_call(still: Bench, scripted: ScriptedProvider, direction: str) -> None:
    """I-13 C-29 Nothing was sent: reversed at once, the wallet whole, and the provider never hears of it."""
    transfer_id = still.begin(direction, queued=True).transfer_id
    assert wish(still, transfer_id) == "reversed"
    assert still.row(str(transfer_id))["reason_code"] == "cancelled"
    pass_time(still, 30)
    assert (scripted.calls, still.wallet(), still.game()) == ([], 100_000, 0)
    still.audit()


@BOTH_WAYS
def test_prepared_is_voided(still: Bench, scripted: ScriptedProvider, direction: str) -> None:
    """I-13 C-29 Prepared, and its worker gone: a resolver voids it, and the provider's record says cancelled."""
    outcome = still.begin(direction).outcome
    assert outcome is not None
    assert outcome.order is not None
    fact = perform(still.runtime, outcome.order)
    assert wish(still, outcome.transfer.id) == "pending", "a worker holds the lease: the wish waits"
    after = advance(still.runtime, outcome.transfer.id, outcome.order.claim, fact)
    assert after.order is not None
    assert after.order.step == "void"
    advance(still.runtime, outcome.transfer.id, after.order.claim, perform(still.runtime, after.order))
    assert still.row(outcome.transfer.id)["state"] == "reversed"
    assert [r.state for r in scripted.records.values()] == ["CANCELLED"]
    assert (still.wallet(), still.game()) == (100_000, 0)
    still.audit()


@BOTH_WAYS
@pytest.mark.parametrize(("fault", "end"), [(LOST, "confirmed"), (DROPPED, "reversed"), (LATE, "either")])
def test_complete_unknown(still: Bench, scripted: ScriptedProvider, direction: str, fault: str, end: str) -> None:
    """I-02 I-13 C-29 The complete is out and unanswered: looked up first; voided only if it is still pending there."""
    scripted.script = ["ok", fault]
    transfer_id = still.run(direction, ask=-1)
    wish(still, transfer_id)
    pass_time(still, 60)
    state, reference = still.row(transfer_id)["state"], still.get(transfer_id).outside.reference
    assert state in (("confirmed", "reversed") if end == "either" else (end,))
    assert scripted.done(reference) == (state == "confirmed")
    assert scripted.count("look_up") >= 1
    assert still.game() == scripted.net("ann")
    still.audit()


@BOTH_WAYS
def test_void_that_is_lost(still: Bench, scripted: ScriptedProvider, direction: str) -> None:
    """I-13 A void without an answer proves nothing; the expiry does, and no complete leaves after the wish."""
    scripted.script = ["ok", DROPPED, "ok", DROPPED, SILENT]
    transfer_id = still.run(direction, ask=-1)
    wish(still, transfer_id)
    completes = scripted.count("complete")
    pass_time(still, 60)
    assert still.row(transfer_id)["state"] == "reversed"
    assert scripted.count("complete") == completes
    assert not scripted.done(still.get(transfer_id).outside.reference)
    still.audit()


@BOTH_WAYS
def test_prepare_unanswered(still: Bench, scripted: ScriptedProvider, hands: Hands, direction: str) -> None:
    """I-13 C-29 The prepare may still come alive: never reversed before it has certainly died, and never retried."""
    scripted.script = [LATE]
    outcome = still.begin(direction).outcome
    assert outcome is not None
    assert outcome.order is not None
    fact = perform(still.runtime, outcome.order)
    wish(still, outcome.transfer.id)
    advance(still.runtime, outcome.transfer.id, outcome.order.claim, fact)
    assert still.row(outcome.transfer.id)["state"] == "pending"
    pass_time(still, 11)
    assert still.row(outcome.transfer.id)["state"] == "pending"
    pass_time(still, 10)
    assert still.row(outcome.transfer.id)["state"] == "reversed"
    assert scripted.count("prepare") == 1
    hands.turn(100)
    assert not scripted.done(outcome.order.effect.reference)
    still.audit()


@BOTH_WAYS
@pytest.mark.parametrize("end", ["confirmed", "reversed"])
def test_final_is_refused(still: Bench, scripted: ScriptedProvider, direction: str, end: str) -> None:
    """I-10 I-11 C-29 What has ended is not cancelled any more: 409, and nothing changes."""
    scripted.script = [] if end == "confirmed" else ["not_sent"]
    transfer_id = still.run(direction)
    before = still.row(transfer_id)
    with pytest.raises(AlreadyFinal) as refused:
        wish(still, transfer_id)
    assert (refused.value.status, refused.value.code, refused.value.transfer_id) == (409, "already_final", transfer_id)
    assert still.row(transfer_id) == before
    still.audit()


def test_wish_is_stored_once_and_told_in_the_history(still: Bench, scripted: ScriptedProvider) -> None:
    """I-14 I-17 Wished twice is wished once; the wish is a row of the history, and the wake-up stays."""
    scripted.script = ["ok", LOST, SILENT, SILENT, SILENT, SILENT]
    transfer_id = still.run("in", ask=-1)
    wish(still, transfer_id)
    first = still.row(transfer_id)["cancel_requested_at"]
    still.runtime.clock.sleep(1)
    wish(still, transfer_id)
    assert still.row(transfer_id)["cancel_requested_at"] == first is not None
    assert len(still.rows("SELECT id FROM history WHERE trigger = 'wish_cancel'")) == 1
    assert still.row(transfer_id)["wake_at"] is not None
    still.audit()


def test_cancel_of_another_operators_transfer(still: Bench) -> None:
    """C-53 C-68 Another operator's transfer is not there."""
    transfer_id = still.begin("in", queued=True).transfer_id
    for operator, asked in ((still.operator + 1, transfer_id), (still.operator, "tr_none")):
        with pytest.raises(NotFound):
            cancel(still.runtime, operator, str(asked))
    assert still.row(str(transfer_id))["cancel_requested_at"] is None


@BOTH_WAYS
def test_cancel_and_drive_at_the_same_instant(desk: Bench, sim: Simulator, direction: str) -> None:
    """I-02 I-10 C-29 Cancelled by two while its worker drives it: one end, and the provider's ledger says the same."""
    for number in range(4):
        player = desk.player(f"cancel{direction}{number}{id(desk):x}")
        sim.play(player, "50.00")
        begun = desk.begin(direction, player=player, key=f"c-{number}")
        assert begun.outcome is not None
        transfer_id = begun.transfer_id

        def act(n: int, begun: Any = begun, transfer_id: Any = transfer_id) -> Any:
            return drive(desk.runtime, begun.outcome) if n == 0 else wish(desk, transfer_id)

        results = together(3, act)
        assert all(not isinstance(r, Exception) or isinstance(r, AlreadyFinal | Conflict) for r in results), results
    desk.resolve_until_still(12)
    for row in desk.rows(
        "SELECT t.state, t.player_id, l.reference "
        "FROM transfer t JOIN leg l ON l.transfer_id = t.id AND l.holder = 'sim'"
    ):
        assert sim.effects(row["reference"]) == (1 if row["state"] == "confirmed" else 0), row
        assert desk.game(row["player_id"]) == sim.owns(row["player_id"])
    desk.audit()
