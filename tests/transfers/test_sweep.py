"""Sweeps: all that is there comes out of a game, however it moves meanwhile, and a recall is nothing but its sweeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import insert

from bridge import db
from bridge.errors import Invalid, Unavailable
from bridge.models import metadata
from bridge.ports import SECOND
from bridge.transfers import resolve
from bridge.transfers.advance import Outcome, advance
from bridge.transfers.cancel import cancel
from bridge.transfers.core.facts import Transfer
from bridge.transfers.drive import drive, perform
from bridge.transfers.measure import measure
from bridge.verify import verify
from statemachines import LegState
from tests.harness import PLAYER, Bench, Hands, together
from tests.transfers.scripted_one import (
    DROPPED,
    LATE,
    LOST,
    OK,
    ONE_PHASE,
    REFUSES,
    SILENT,
    ScriptedOne,
    statuses,
)  # fmt: skip

START = 100_000
WHOLE_EUROS = replace(ONE_PHASE, places={"EUR": 0})


def has(one: ScriptedOne, units: int, player: str = PLAYER) -> None:
    """The player has this much there now, in cents; whatever was won or lost."""
    one.won[player] += units - one.owned(player)


def loses(one: ScriptedOne, *operations: str, units: int = 500) -> Callable[[str], None]:
    """A bet of so much lands right before each of these operations, one after the other."""
    left = list(operations)

    def bet(operation: str) -> None:
        if left and left[0] == operation:
            left.pop(0)
            one.won[PLAYER] -= units

    return bet


def sweep(lone: Bench, **options: Any) -> str:
    """A sweep out of the game, driven inline as far as it goes without waiting; its id."""
    return lone.run("out", "max", ask=1, **options)


def keys_of(lone: Bench) -> list[str]:
    """The keys under which transfers stand."""
    return [row["key"] for row in lone.rows("SELECT key FROM idempotency_key WHERE operation = 'transfer'")]


def turn_until_final(lone: Bench, hands: Hands, transfer_id: str, seconds: float = 3000) -> Transfer:
    """Let time pass, resolving what is due, until the transfer has ended."""
    end = hands.now() + seconds * SECOND
    while lone.row(transfer_id)["state"] == "pending":
        assert hands.now() < end, lone.row(transfer_id)
        hands.turn(max(1, (lone.row(transfer_id)["wake_at"] - hands.now()) / SECOND))
        lone.resolve_due()
    return lone.get(transfer_id)


def check(lone: Bench, one: ScriptedOne, transfer_id: str, state: str, reason: str | None, home: int) -> Transfer:
    """How it ended, what came home, that our books are the provider's, and that every try is as it is there."""
    row, seen = lone.row(transfer_id), lone.get(transfer_id)
    assert (row["state"], row["reason_code"]) == (state, reason)
    assert lone.wallet() == START + home
    assert one.net(PLAYER) == lone.game() == -home
    wanted = {LegState.APPLIED: "confirmed", LegState.REFUSED: "refused"}
    for leg, status in zip(seen.tries, statuses(one, [leg.reference for leg in seen.tries]), strict=True):
        assert status in (wanted[leg.state], "nothing", "cancelled")
        assert one.executed[leg.reference or ""] == int(leg.state is LegState.APPLIED)
    lone.audit()
    assert verify(lone.runtime) == []
    return seen


# --- the amount -----------------------------------------------------------------------------------------------


def test_everything_comes_home(lone: Bench, one: ScriptedOne) -> None:
    """Design §6: `max` is all that is there, read before anything is stored, moved by one request."""
    has(one, 2537)
    transfer_id = sweep(lone)
    seen = check(lone, one, transfer_id, "confirmed", None, 2537)
    assert (seen.amount, seen.dust, seen.sweep) == (2537, 0, True)
    assert one.calls == ["balance", "transfer"]


def test_dust_stays(lone: Bench, one: ScriptedOne) -> None:
    """I-08 Design §6: only what converts exactly moves; the rest stays there and is reported as dust."""
    one.descriptor = WHOLE_EUROS
    has(one, 2537)
    seen = check(lone, one, sweep(lone), "confirmed", None, 2500)
    assert (seen.amount, seen.dust) == (2500, 37)
    assert one.owned(PLAYER) == 37


@pytest.mark.parametrize("there", [0, 99, -1, -2537])
def test_nothing_to_move_stays_with_its_key(lone: Bench, one: ScriptedOne, there: int) -> None:
    """I-20 I-23 Nothing, only dust, or less than nothing: refused, under that key for ever, whatever is won later."""
    one.descriptor = WHOLE_EUROS
    has(one, there)
    first = lone.begin("out", "max", key="home")
    assert first.stored is not None
    assert (first.transfer_id, first.stored.status) == (None, 422)
    assert "nothing_to_move" in (first.stored.response or "")
    has(one, 9900)
    again = lone.begin("out", "max", key="home")
    assert again.stored is not None
    assert (again.transfer_id, again.stored.response) == (None, first.stored.response)
    assert lone.rows("SELECT id FROM transfer") == []
    check(lone, one, sweep(lone), "confirmed", None, 9900)


def test_max_goes_out_only(lone: Bench, one: ScriptedOne) -> None:
    """I-26 Everything can come home; into a game goes an amount."""
    with pytest.raises(Invalid) as refused:
        lone.begin("in", "max")
    assert list(refused.value.fields) == ["amount"]
    assert (one.calls, keys_of(lone)) == ([], [])


def test_balance_that_is_not_told_begins_nothing(lone: Bench, one: ScriptedOne) -> None:
    """I-20 Design §6: with a balance unknown nothing is stored, and the same key tries again."""
    has(one, 2000)
    one.aside = [SILENT, SILENT]
    for _ in range(2):
        with pytest.raises(Unavailable) as unknown:
            lone.begin("out", "max", key="home")
        assert unknown.value.code == "balance_unknown"
        assert keys_of(lone) == lone.rows("SELECT * FROM transfer") == []
    check(lone, one, sweep(lone, key="home"), "confirmed", None, 2000)


def test_same_key_is_the_same_sweep(lone: Bench, one: ScriptedOne) -> None:
    """I-20 I-21 A repetition reads no balance and begins nothing, also when there is something again."""
    has(one, 2000)
    transfer_id = sweep(lone, key="home")
    has(one, 700)
    calls = len(one.calls)
    again = lone.begin("out", "max", key="home")
    assert (again.transfer_id, again.outcome, len(one.calls)) == (transfer_id, None, calls)
    check(lone, one, transfer_id, "confirmed", None, 2000)


def test_one_key_by_two_at_once(lone: Bench, one: ScriptedOne) -> None:
    """I-20 C-50 Four requests with one key read the balance at the same instant: one sweep."""
    has(one, 2000)
    lone.runtime.clock.sleep(0)
    begun = together(4, lambda _number: lone.begin("out", "max", key="home"))
    assert len({each.transfer_id for each in begun}) == 1
    drivers = [each.outcome for each in begun if each.outcome is not None]
    assert len(drivers) == 1
    drive(lone.runtime, drivers[0])
    check(lone, one, begun[0].transfer_id, "confirmed", None, 2000)


# --- the balance moves ------------------------------------------------------------------------------------------


def test_bet_that_lands_in_between(lone: Bench, one: ScriptedOne) -> None:
    """I-25 C-11 Refused for the balance: what is there now is another try under another reference; no guess."""
    has(one, 2500)
    one.during = loses(one, "transfer")
    transfer_id = sweep(lone)
    seen = check(lone, one, transfer_id, "confirmed", None, 2000)
    assert one.calls == ["balance", "transfer", "balance", "transfer"]
    assert [(leg.amount, leg.state.value) for leg in seen.tries] == [(2500, "refused"), (2000, "applied")]
    assert len({leg.reference for leg in seen.legs if leg.reference}) == 2
    assert (seen.amount, seen.dust) == (2000, 0)


def test_win_that_lands_in_between(lone: Bench, one: ScriptedOne) -> None:
    """C-11 What was won after the balance was read stays; the sweep moves what it read."""
    has(one, 2500)
    one.during = loses(one, "transfer", units=-500)
    check(lone, one, sweep(lone), "confirmed", None, 2500)
    assert one.owned(PLAYER) == 500


def test_balance_that_never_stands_still(lone: Bench, one: ScriptedOne) -> None:
    """I-25 C-11 A bet before each try: three tries, then reversed as what it is, and nothing has moved."""
    has(one, 2500)
    one.during = loses(one, *["transfer"] * 5, units=100)
    transfer_id = sweep(lone)
    seen = check(lone, one, transfer_id, "reversed", "balance_moving", 0)
    assert [leg.amount for leg in seen.tries] == [2500, 2400, 2300]
    assert one.count("transfer") == 3
    assert lone.row(transfer_id)["wake_at"] is None


@pytest.mark.parametrize("left", [0, 60, -300])
def test_everything_is_lost_in_between(lone: Bench, one: ScriptedOne, left: int) -> None:
    """C-11 Nothing that could move is there any more: reversed as that, without another try."""
    one.descriptor = WHOLE_EUROS
    has(one, 2500)
    one.during = loses(one, "transfer", units=2500 - left)
    seen = check(lone, one, sweep(lone), "reversed", "nothing_to_move", 0)
    assert len(seen.tries) == 1


def test_never_another_try_beside_an_unresolved_one(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-02 I-25 C-01 As long as a try is not proved, there is no other one, also when it turns out to be done."""
    has(one, 2500)
    one.script, one.asked = [LOST], [SILENT] * 6
    transfer_id = sweep(lone)
    for _ in range(100):
        assert len(lone.get(transfer_id).tries) == 1
        hands.turn(5)
        lone.resolve_due()
    check(lone, one, transfer_id, "confirmed", None, 2500)


def test_refusal_that_was_lost(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-13 C-11 Refused for the balance, and the answer lost: proved by look-ups that repeat it, then another try."""
    has(one, 2500)
    one.script, one.during = [LOST], loses(one, "transfer")
    transfer_id = sweep(lone)
    turn_until_final(lone, hands, transfer_id)
    seen = check(lone, one, transfer_id, "confirmed", None, 2000)
    assert one.sent(seen.tries[0].reference) == 1


def test_other_refusals_end_it(lone: Bench, one: ScriptedOne) -> None:
    """I-23 A refusal that is not about the balance leads to no other try."""
    has(one, 2500)
    one.script = [REFUSES]
    seen = check(lone, one, sweep(lone), "reversed", "provider_refused", 0)
    assert len(seen.tries) == 1


def test_amount_that_was_named_is_not_made_smaller(lone: Bench, one: ScriptedOne) -> None:
    """C-11 Only a sweep tries again with less: 25.00 that are not there are refused."""
    has(one, 2000)
    seen = check(lone, one, lone.run("out", "25.00"), "reversed", "provider_refused", 0)
    assert (len(seen.tries), one.calls) == (1, ["transfer"])


def test_balance_that_cannot_be_read_in_between(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-17 C-11 Between two tries the balance is asked for at the pace of look-ups until it is told."""
    has(one, 2500)
    one.aside, one.during = [OK, *[SILENT] * 4], loses(one, "transfer")
    transfer_id = sweep(lone)
    assert lone.row(transfer_id)["state"] == "pending"
    turn_until_final(lone, hands, transfer_id)
    check(lone, one, transfer_id, "confirmed", None, 2000)
    assert one.calls == ["balance", "transfer", *["balance"] * 5, "transfer"]


def test_of_a_balance_that_cannot_be_read_no_message_is_kept(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """It is evidence of no transfer, and can be asked for again; that it was asked, and why it says nothing, stays."""
    has(one, 2500)
    one.aside, one.during = [OK, SILENT], loses(one, "transfer")
    transfer_id = sweep(lone)
    turn_until_final(lone, hands, transfer_id)
    evidence = metadata.tables["evidence"]
    with db.reading(lone.runtime.engine) as connection:
        asides = connection.execute(evidence.select().where(evidence.c.source == "aside")).all()
    assert [(row.code, row.digest, row.sent, row.received) for row in asides] == [
        ("DEADLINE", "5" * 64, None, None), ("balance", "", None, None)
    ]  # fmt: skip


def test_balance_that_is_never_told_in_between(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-13 I-17 C-18 Patience ends it: nothing has moved, and nobody has to look at it."""
    has(one, 2500)
    one.aside, one.during = [OK, *[SILENT] * 100], loses(one, "transfer")
    transfer_id = sweep(lone)
    turn_until_final(lone, hands, transfer_id)
    check(lone, one, transfer_id, "reversed", "balance_moving", 0)
    assert hands.now() >= lone.row(transfer_id)["orphan_at"]
    assert one.calls.count("balance") < 20


def test_breaker_that_opens_in_between(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """C-12 Design §6: an open breaker queues what goes out, also another try, until a probe closed it."""
    has(one, 2500)
    breaker = metadata.tables["breaker"]

    def opens(operation: str) -> None:
        if operation == "transfer" and one.count("transfer") == 1:
            one.won[PLAYER] -= 500
            row = {"provider": "sim", "open": True, "counted_from": 0, "probe_at": hands.now(), "version": 1}
            with db.writing(lone.runtime.engine) as connection:
                connection.execute(insert(breaker).values(**row))

    one.during = opens
    transfer_id = sweep(lone)
    for _ in range(5):
        hands.turn(5)
        lone.resolve_due()
        assert one.count("transfer") == 1, "money was sent to a provider whose breaker is open"
    with db.writing(lone.runtime.engine) as connection:
        connection.execute(breaker.update().values(open=False))
    turn_until_final(lone, hands, transfer_id)
    check(lone, one, transfer_id, "confirmed", None, 2000)


# --- in a game --------------------------------------------------------------------------------------------------


def test_out_of_a_game(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """Design §6: in game → kick → settle delay → balance → another try; never before the balance stands still."""
    has(one, 2500)
    one.playing = {PLAYER}
    instants: list[tuple[str, int]] = []
    bet = loses(one, "kick")  # the round that was going on when the player was put out

    def watch(operation: str) -> None:
        instants.append((operation, hands.now()))
        bet(operation)

    one.during = watch
    transfer_id = sweep(lone)
    assert [name for name, _ in instants] == ["balance", "transfer", "kick"]
    turn_until_final(lone, hands, transfer_id)
    check(lone, one, transfer_id, "confirmed", None, 2000)
    names = [name for name, _ in instants]
    assert names == ["balance", "transfer", "kick", "balance", "transfer"]
    assert instants[3][1] - instants[2][1] >= ONE_PHASE.settle_delay * SECOND


@pytest.mark.parametrize("operation", ["transfer", "balance"])
def test_back_in_the_game(lone: Bench, one: ScriptedOne, hands: Hands, operation: str) -> None:
    """C-11 Who goes back into a game is put out again, for three tries; then it ends as that."""
    has(one, 2500)
    one.during = lambda each: one.playing.add(PLAYER) if each == operation else None
    transfer_id = sweep(lone)
    turn_until_final(lone, hands, transfer_id)
    seen = check(lone, one, transfer_id, "reversed", "player_in_game", 0)
    assert (len(seen.tries), one.calls.count("kick")) == (3, 2)


def test_no_connection_is_held_whatever_is_asked(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-33 While a balance is read, a player put out, or a try under way, nothing is checked out of the pool."""
    has(one, 2500)
    one.playing = {PLAYER}
    held: list[int] = []
    one.during = lambda _operation: held.append(lone.runtime.engine.pool.checkedout())  # type: ignore[attr-defined]
    transfer_id = sweep(lone)
    turn_until_final(lone, hands, transfer_id)
    assert held == [0] * len(one.calls) == [0] * 5


def test_kick_without_an_answer(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-17 A kick that is not answered is asked for again, at the pace of look-ups, and counts from its answer."""
    has(one, 2500)
    one.playing, one.aside = {PLAYER}, [OK, SILENT, SILENT]
    transfer_id = sweep(lone)
    turn_until_final(lone, hands, transfer_id)
    check(lone, one, transfer_id, "confirmed", None, 2500)
    assert one.calls == ["balance", "transfer", "kick", "kick", "kick", "balance", "transfer"]


def test_provider_that_cannot_kick(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-13 I-17 C-18 Nobody can be put out: asked for a while, then reversed as that when patience is spent."""
    has(one, 2500)
    one.playing, one.kicks = {PLAYER}, False
    transfer_id = sweep(lone)
    turn_until_final(lone, hands, transfer_id)
    seen = check(lone, one, transfer_id, "reversed", "player_in_game", 0)
    assert len(seen.tries) == 1
    assert 0 < one.calls.count("kick") < 20
    assert one.calls.count("balance") == 1


def test_player_who_leaves_the_game_by_himself(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-17 A kick counts when it is answered, and not before: who cannot be put out may leave."""
    has(one, 2500)
    one.playing, one.aside = {PLAYER}, [OK, SILENT, SILENT, SILENT]
    transfer_id = sweep(lone)
    one.playing.clear()
    turn_until_final(lone, hands, transfer_id)
    check(lone, one, transfer_id, "confirmed", None, 2500)


# --- crashes ------------------------------------------------------------------------------------------------------

POINTS = 8
"""More requests than the longest sweep below makes."""


@pytest.mark.parametrize("after", [False, True], ids=["before it left", "before its answer was stored"])
@pytest.mark.parametrize("point", range(POINTS))
def test_crash_at_every_request(lone: Bench, one: ScriptedOne, hands: Hands, point: int, after: bool) -> None:
    """I-02 I-14 I-17 I-25 C-02 C-45 In a game, then a bet in between: whichever request the process dies at, a new one
    goes on from the rows alone, and each reference moves money at most once."""
    has(one, 2500)
    one.playing = {PLAYER}
    seconds_try = loses(one, "transfer", "transfer")
    one.during = seconds_try
    begun = lone.begin("out", "max")
    assert begun.outcome is not None
    assert begun.transfer_id is not None
    worker, count, outcome = lone, 0, begun.outcome
    while lone.row(begun.transfer_id)["state"] == "pending":
        count, died = drive_until(worker, outcome, count, point, after=after)
        if died:
            worker = lone.another(providers={"sim": one})
        hands.turn(15)
        claims = resolve.claim_due(worker.runtime, 10)
        outcome = advance(worker.runtime, claims[0].transfer_id, claims[0]) if claims else replace(outcome, order=None)
    assert count > 5
    seen = lone.get(begun.transfer_id)
    assert seen.state.value == "confirmed"
    assert seen.amount == one.moved(seen.outside.reference) > 0
    check(lone, one, begun.transfer_id, "confirmed", None, seen.amount)


def drive_until(worker: Bench, outcome: Outcome, count: int, point: int, *, after: bool) -> tuple[int, bool]:
    """Drive as the driver does, but die at request number `point`; the number of requests by now, and whether so."""
    while outcome.order is not None:
        count += 1
        if count == point + 1 and not after:
            return count, True
        fact = perform(worker.runtime, outcome.order)
        if count == point + 1:
            return count, True
        outcome = advance(worker.runtime, outcome.order.claim.transfer_id, outcome.order.claim, fact)
    return count, False


def test_stale_worker_begins_no_other_try(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-30 C-40 A worker whose lease is over brings the refusal: it is evidence, and the next try is another's."""
    has(one, 2500)
    one.during = loses(one, "transfer")
    begun = lone.begin("out", "max")
    assert begun.outcome is not None
    order = begun.outcome.order
    assert order is not None
    refused = perform(lone.runtime, order)
    hands.turn(20)
    other = lone.another(providers={"sim": one})
    claim = resolve.claim_due(other.runtime, 1)[0]
    assert advance(lone.runtime, order.claim.transfer_id, order.claim, refused).order is None
    assert len(lone.get(order.claim.transfer_id).tries) == 1
    drive(other.runtime, advance(other.runtime, claim.transfer_id, claim))
    check(lone, one, order.claim.transfer_id, "confirmed", None, 2000)


# --- cancelled in between -------------------------------------------------------------------------------------------


def test_cancel_between_two_tries(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-13 C-29 Wished while the balance settles: no other try, and nothing has moved."""
    has(one, 2500)
    one.playing = {PLAYER}
    transfer_id = sweep(lone)
    assert one.calls[-1] == "kick"
    cancel(lone.runtime, lone.operator, transfer_id)
    hands.turn(60)
    lone.resolve_due()
    seen = check(lone, one, transfer_id, "reversed", "cancelled", 0)
    assert (len(seen.tries), one.count("transfer")) == (1, 1)


@pytest.mark.parametrize(("word", "end", "home"), [(LOST, "confirmed", 2000), (DROPPED, "reversed", 0)])
def test_cancel_while_the_second_try_is_unresolved(
    lone: Bench, one: ScriptedOne, hands: Hands, word: str, end: str, home: int
) -> None:
    """I-13 C-29 The newest try is voided under its own reference, and ends as the provider has it."""
    has(one, 2500)
    one.script, one.asked, one.during = [OK, word], [SILENT], loses(one, "transfer")
    transfer_id = sweep(lone)
    assert [leg.state.value for leg in lone.get(transfer_id).tries] == ["refused", "sent"]
    cancel(lone.runtime, lone.operator, transfer_id)
    turn_until_final(lone, hands, transfer_id)
    seen = check(lone, one, transfer_id, end, None if end == "confirmed" else "cancelled", home)
    assert ("void", seen.tries[1].reference) in one.requests
    assert ("void", seen.tries[0].reference) not in one.requests


# --- a try that was refused, and happened after all -------------------------------------------------------------------


@pytest.mark.parametrize("newest", ["sent", "applied", "planned"])
def test_refused_try_that_happened_after_all(lone: Bench, one: ScriptedOne, hands: Hands, newest: str) -> None:
    """I-02 I-16 C-07 A late success of the first try orphans the sweep; each leg says what is proved of itself, and no
    leg is moved by another's proof."""
    has(one, 2500)
    one.script = [OK, LOST] if newest == "sent" else []
    one.asked = [SILENT] * 50
    one.during = loses(one, "transfer")
    if newest == "planned":
        one.aside = [OK, *[SILENT] * 50]
    transfer_id = sweep(lone)
    refused = lone.get(transfer_id).tries[0]
    assert refused.state is LegState.REFUSED
    assert refused.reference is not None
    record = one.records[refused.reference]
    has(one, 5000)
    record.status, record.sequence, record.code, record.moved = "confirmed", 3, "", 2500
    said = replace(one.callback(refused.reference), ordinal=refused.ordinal)
    advance(lone.runtime, transfer_id, None, said)
    after = lone.get(transfer_id)
    assert after.state.value == "orphaned"
    assert lone.row(transfer_id)["reason_code"] == "contradiction"
    states = [leg.state.value for leg in after.tries]
    assert states == (["applied"] if newest == "planned" else ["applied", newest])
    for _ in range(24):
        hands.turn(3600)
        lone.resolve_due()
    assert lone.row(transfer_id)["state"] == "orphaned"
    assert one.count("transfer") == (1 if newest == "planned" else 2)
    assert lone.wallet() == START + (2000 if newest == "applied" else 0)
    lone.audit()


def test_nothing_there_is_not_said_while_money_is_on_its_way(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-20 I-23 A sweep that finds nothing would keep that with its key for ever: not while one in is pending."""
    has(one, 0)
    one.script, one.asked = [LATE], [SILENT] * 3
    lone.run("in")
    with pytest.raises(Unavailable) as later:
        lone.begin("out", "max", key="k1")
    assert later.value.code == "balance_unknown"
    one.asked = []
    hands.turn(30)
    lone.resolve_due()
    assert lone.begin("out", "max", key="k1").outcome is not None


def test_what_arrives_while_the_balance_is_read_is_not_nothing(
    lone: Bench, one: ScriptedOne, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I-20 I-23 The balance said nothing, and the transfer in was confirmed before that was looked at."""
    has(one, 0)
    one.script, one.asked = [LATE], [SILENT] * 3
    lone.run("in")

    def and_then_it_arrives(*asked: Any) -> Any:
        told = measure(*asked)
        one.asked = []
        hands.turn(30)
        lone.resolve_due()
        return told

    monkeypatch.setattr("bridge.transfers.begin.measure", and_then_it_arrives)
    with pytest.raises(Unavailable):
        lone.begin("out", "max", key="k1")
    monkeypatch.undo()
    assert lone.begin("out", "max", key="k1").outcome is not None
