"""Every path of design §4 between confirmed, reversed and orphaned, in both directions and on both databases: what is
taken back, what is disproved, what comes too late, what does not match, and what moved only in part."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bridge.errors import Declined, Invalid
from bridge.evidence import Answer
from bridge.transfers import resolve
from bridge.transfers.advance import advance, effect_of
from bridge.transfers.cancel import cancel
from bridge.transfers.core.decisions import Kind
from bridge.transfers.drive import drive, perform
from bridge.verify import verify
from tests.deciding import Decision, decide
from tests.harness import EUR, Bench, Hands, cents, together
from tests.transfers.scripted_one import (
    DROPPED,
    HALF,
    LOST,
    ONE_PHASE,
    REFUSED_DOOR,
    REFUSES,
    SILENT,
    WRONG,
    ScriptedOne,
)  # fmt: skip

BOTH_WAYS = pytest.mark.parametrize("direction", ["in", "out"])
START = 100_000
PARTIAL = replace(ONE_PHASE, partial=True)


def state_of(lone: Bench, transfer_id: str) -> tuple[str, str | None]:
    """Its state and why."""
    row = lone.row(transfer_id)
    return row["state"], row["reason_code"]


def reference_of(lone: Bench, transfer_id: str) -> str:
    """The reference of its newest try."""
    reference = lone.get(transfer_id).outside.reference
    assert reference is not None
    return reference


def path(lone: Bench, transfer_id: str) -> list[tuple[int, str]]:
    """The transfer's own moves: the version that each was committed with, and the state that it led to."""
    query = """SELECT version, target FROM history WHERE transfer_id = :id AND subject = 'transfer'
        AND "trigger" <> 'wish_cancel' ORDER BY id"""
    return [(row["version"], row["target"]) for row in lone.rows(query, id=transfer_id)]


def books(lone: Bench) -> dict[str, int]:
    """What stands beside zero in the books of the one transfer of a test, in cents; the wallet from its start."""
    accounts = {"transit": "transit", "custody": "custody:sim", "house": "house:sim", "game": "game:sim:ann"}
    sums = {"wallet": lone.wallet() - START, **{word: lone.account(name) for word, name in accounts.items()}}
    return {word: units for word, units in sums.items() if units}


def check(lone: Bench) -> None:
    """The audit, and what `bridge verify` finds but for the missing inbox of these callbacks."""
    lone.audit()
    assert [f for f in verify(lone.runtime) if not all(row.get("inbox_id", 0) is None for row in f.rows)] == []


def open_case(lone: Bench, transfer_id: str) -> bool:
    """Whether people have it on their desk."""
    return lone.rows("SELECT state FROM orphan_case WHERE transfer_id = :id", id=transfer_id) == [{"state": "open"}]


def much_later(lone: Bench, hands: Hands) -> None:
    """Two days pass, and everything that is due is done."""
    for _ in range(48):
        hands.turn(3600)
        lone.resolve_due()


# --- taken back ---------------------------------------------------------------------------------------------


@BOTH_WAYS
def test_taken_back_by_the_providers_own_count(lone: Bench, one: ScriptedOne, hands: Hands, direction: str) -> None:
    """I-10 I-11 I-14 I-15 Confirmed → orphaned → reversed in one transaction, and everything is as it was before."""
    transfer_id = lone.run(direction)
    assert state_of(lone, transfer_id) == ("confirmed", None)
    hands.turn(3600)
    said = one.take_back(reference_of(lone, transfer_id))
    version = lone.row(transfer_id)["version"]
    advance(lone.runtime, transfer_id, None, said)
    assert state_of(lone, transfer_id) == ("reversed", "provider_cancelled")
    assert path(lone, transfer_id)[-2:] == [(version + 1, "orphaned"), (version + 1, "reversed")]
    assert books(lone) == {}
    assert one.net("ann") == 0
    before = lone.rows("SELECT * FROM posting")
    advance(lone.runtime, transfer_id, None, one.callback(reference_of(lone, transfer_id)))
    much_later(lone, hands)
    assert lone.rows("SELECT * FROM posting") == before
    assert state_of(lone, transfer_id) == ("reversed", "provider_cancelled")
    check(lone)


@BOTH_WAYS
@pytest.mark.parametrize("order", ["cancel while it is on the wire", "cancel first", "confirmation first"])
def test_taken_back_in_whatever_order_it_is_told(lone: Bench, one: ScriptedOne, direction: str, order: str) -> None:
    """I-15 I-16 C-61 C-62 The count says which was later: told first or last, the end is the same."""
    begun = lone.begin(direction)
    assert begun.outcome is not None
    assert begun.outcome.order is not None
    claim, transfer_id = begun.outcome.order.claim, begun.outcome.transfer.id
    answer = perform(lone.runtime, begun.outcome.order)
    reference = reference_of(lone, transfer_id)
    confirmed = one.callback(reference)
    cancelled = one.take_back(reference)
    if order == "cancel while it is on the wire":
        assert advance(lone.runtime, transfer_id, None, cancelled).transfer.state.value == "pending"
        advance(lone.runtime, transfer_id, claim, answer)
    elif order == "cancel first":
        advance(lone.runtime, transfer_id, claim, replace(answer, reply=replace(answer.reply, answer=Answer.UNKNOWN)))
        assert advance(lone.runtime, transfer_id, None, cancelled).transfer.state.value == "reversed"
        advance(lone.runtime, transfer_id, None, confirmed)
    else:
        assert advance(lone.runtime, transfer_id, None, confirmed).transfer.state.value == "confirmed"
        assert advance(lone.runtime, transfer_id, None, cancelled).transfer.state.value == "confirmed"
        advance(lone.runtime, transfer_id, claim, answer)
    assert state_of(lone, transfer_id) == ("reversed", "provider_cancelled")
    assert books(lone) == {}
    check(lone)


SEQUENCES = [
    (1, 2, True),
    (3, 9, True),
    (None, None, False),
    (1, None, False),
    (None, 2, False),
    (2, 1, False),
    (2, 2, False),
]


@BOTH_WAYS
@pytest.mark.parametrize(("confirmed", "cancelled", "later"), SEQUENCES)
def test_only_a_later_count_takes_back(
    lone: Bench, one: ScriptedOne, direction: str, confirmed: int | None, cancelled: int | None, later: bool
) -> None:
    """I-16 C-08 Without two counts, or with the wrong one higher, the two statements contradict each other: orphaned,
    the wallet left alone, a case."""
    begun = lone.begin(direction)
    assert begun.outcome is not None
    assert begun.outcome.order is not None
    answer = perform(lone.runtime, begun.outcome.order)
    told = replace(answer, reply=replace(answer.reply, sequence=confirmed))
    drive(lone.runtime, advance(lone.runtime, begun.outcome.transfer.id, begun.outcome.order.claim, told))
    transfer_id = begun.outcome.transfer.id
    said = one.callback(reference_of(lone, transfer_id), answer=Answer.CANCELLED, sequence=cancelled)
    advance(lone.runtime, transfer_id, None, said)
    if later:
        assert state_of(lone, transfer_id) == ("reversed", "provider_cancelled")
        assert books(lone) == {}
    else:
        assert state_of(lone, transfer_id) == ("orphaned", "contradiction")
        assert open_case(lone, transfer_id)
        inward = {"wallet": -1000, "custody": 1000}
        outward = {"wallet": 1000, "house": -1000}
        assert books(lone) == (inward if direction == "in" else outward)
    check(lone)


def test_taken_back_and_the_wallet_spent(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-05 I-16 C-08 Out of a game and spent by then: orphaned, the house bears it, and no later deposit is taken
    by machine; only people may."""
    transfer_id = lone.run("out")
    lone.cash("withdrawal", "ann", "1000.01")
    hands.turn(60)
    said = one.take_back(reference_of(lone, transfer_id))
    advance(lone.runtime, transfer_id, None, said)
    assert state_of(lone, transfer_id) == ("orphaned", "wallet_spent")
    assert open_case(lone, transfer_id)
    assert [target for _, target in path(lone, transfer_id)] == ["pending", "confirmed", "orphaned"]
    assert lone.wallet() == 999
    assert (lone.account("house:sim"), lone.game()) == (-1000, 0)
    lone.deposit("ann", "50.00")
    for fact in (said, one.callback(reference_of(lone, transfer_id)), replace(said, at=hands.now())):
        advance(lone.runtime, transfer_id, None, fact)
        assert lone.wallet() == 5999
    much_later(lone, hands)
    assert state_of(lone, transfer_id) == ("orphaned", "wallet_spent")
    assert (lone.wallet(), lone.account("house:sim")) == (5999, -1000)
    check(lone)
    decision = Decision(Kind.REVERSE, "eve", "bob", "it is there again", lone.row(transfer_id)["version"])
    decide(lone.runtime, lone.operator, transfer_id, decision)
    assert state_of(lone, transfer_id) == ("reversed", "decided")
    assert (lone.wallet(), lone.account("house:sim"), lone.game()) == (4999, 0, 0)
    check(lone)


@pytest.mark.parametrize(("left", "end"), [("10.00", "reversed"), ("9.99", "orphaned"), ("0.00", "orphaned")])
def test_taken_back_takes_the_last_cent_and_not_one_more(lone: Bench, one: ScriptedOne, left: str, end: str) -> None:
    """I-05 What the wallet has is enough to the cent, or nothing of it is taken."""
    transfer_id = lone.run("out")
    units = cents(left)
    spent = 101_000 - units
    lone.cash("withdrawal", "ann", f"{spent // 100}.{spent % 100:02d}")
    advance(lone.runtime, transfer_id, None, one.take_back(reference_of(lone, transfer_id)))
    assert state_of(lone, transfer_id)[0] == end
    assert lone.wallet() == (0 if end == "reversed" else units)
    check(lone)


def test_taken_back_while_the_wallet_is_being_spent(lone: Bench, one: ScriptedOne) -> None:
    """I-05 C-28 C-33 C-34 The take-back, told several times, beside transfers in and withdrawals at the same instant:
    no deadlock, no wallet below zero, and one end or the other."""
    lone.cash("withdrawal", "ann", "990.00")
    for _ in range(6):
        transfer_id = lone.run("out")
        said = one.take_back(reference_of(lone, transfer_id))

        def work(number: int, said: Any = said, transfer_id: str = transfer_id) -> Any:
            if number < 2:
                return advance(lone.runtime, transfer_id, None, said)
            if number == 2:
                return lone.cash("withdrawal", "ann", "10.00")
            return lone.begin("in", "5.00", key=f"spend-{transfer_id}-{number}")

        results = together(4, work)
        assert not [r for r in results if isinstance(r, Exception) and not isinstance(r, Declined)], results
        assert state_of(lone, transfer_id) in (("reversed", "provider_cancelled"), ("orphaned", "wallet_spent"))
        check(lone)
        short = 2000 - lone.wallet()
        if short > 0:
            lone.deposit("ann", f"{short // 100}.{short % 100:02d}")


@BOTH_WAYS
def test_taken_back_after_it_had_been_an_orphan(lone: Bench, one: ScriptedOne, hands: Hands, direction: str) -> None:
    """I-10 I-11 C-18 Pending → orphaned → confirmed → orphaned → reversed: five states, one amount, one case that
    is closed in the end."""
    one.script, one.asked = [LOST], [SILENT] * 3
    transfer_id = lone.run(direction)
    hands.turn(900)
    lone.resolve_due()
    assert state_of(lone, transfer_id) == ("orphaned", "unproved")
    reference = reference_of(lone, transfer_id)
    advance(lone.runtime, transfer_id, None, one.callback(reference))
    assert state_of(lone, transfer_id)[0] == "confirmed"
    assert not open_case(lone, transfer_id)
    advance(lone.runtime, transfer_id, None, one.take_back(reference))
    steps = ["pending", "orphaned", "confirmed", "orphaned", "reversed"]
    assert [target for _, target in path(lone, transfer_id)] == steps
    assert books(lone) == {}
    check(lone)


# --- too late -----------------------------------------------------------------------------------------------


def reverse(lone: Bench, one: ScriptedOne, hands: Hands, direction: str, how: str) -> str:
    """A transfer that was reversed in one of the ways in which that can happen; its id."""
    if how == "never sent":
        begun = lone.begin(direction, queued=True)
        assert begun.transfer_id is not None
        cancel(lone.runtime, lone.operator, begun.transfer_id)
        return begun.transfer_id
    one.script = {"refused": [REFUSES], "never left": [REFUSED_DOOR], "absent": [DROPPED] * 3}.get(how, [DROPPED])
    one.asked = [SILENT] if how == "voided" else []
    transfer_id = lone.run(direction)
    if how == "voided":
        cancel(lone.runtime, lone.operator, transfer_id)
    for _ in range(20):
        hands.turn(15)
        lone.resolve_due()
    return transfer_id


WAYS = {
    "refused": "provider_refused", "never left": "provider_unreachable", "absent": "not_executed",
    "voided": "cancelled", "never sent": "cancelled",
}  # fmt: skip


@BOTH_WAYS
@pytest.mark.parametrize("how", WAYS)
def test_success_after_the_reversal(lone: Bench, one: ScriptedOne, hands: Hands, direction: str, how: str) -> None:
    """I-02 I-16 C-07 However it was reversed: a late success is orphaned where the money stands, is never believed
    against the reversal, and no later statement moves anything by machine."""
    transfer_id = reverse(lone, one, hands, direction, how)
    assert state_of(lone, transfer_id) == ("reversed", WAYS[how])
    assert books(lone) == {}
    effect = effect_of(lone.get(transfer_id))
    one.records.pop(effect.reference, None)
    one.later = [(0.0, effect)]
    one.settle_time()
    assert one.moved(effect.reference) == 1000
    advance(lone.runtime, transfer_id, None, one.callback(effect.reference))
    assert state_of(lone, transfer_id) == ("orphaned", "contradiction")
    assert open_case(lone, transfer_id)
    stands = {"house": -1000, "game": 1000} if direction == "in" else {"custody": 1000, "game": -1000}
    assert books(lone) == stands
    check(lone)
    sent = one.count("transfer") + one.count("void")
    for fact in (one.callback(effect.reference), one.take_back(effect.reference)):
        advance(lone.runtime, transfer_id, None, fact)
    much_later(lone, hands)
    assert state_of(lone, transfer_id) == ("orphaned", "contradiction")
    assert books(lone) == stands
    assert one.count("transfer") + one.count("void") == sent
    check(lone)


# --- not what was meant ---------------------------------------------------------------------------------------


@BOTH_WAYS
@pytest.mark.parametrize("lie", sorted(WRONG))
@pytest.mark.parametrize("answer", ["applied", "cancelled"])
@pytest.mark.parametrize("before", ["pending", "confirmed", "reversed"])
def test_mismatch(lone: Bench, one: ScriptedOne, direction: str, before: str, answer: str, lie: str) -> None:
    """I-12 I-16 C-09 A verdict about our reference with something else in it orphans the transfer from any state, and
    what the wallet was given stays there."""
    one.script, one.asked = {"reversed": [REFUSES], "pending": [LOST]}.get(before, []), [SILENT]
    transfer_id = lone.run(direction)
    assert state_of(lone, transfer_id)[0] == before
    wallet = lone.wallet()
    changes = WRONG[lie] or {"side": "debit" if direction == "in" else "credit"}
    said = one.callback(reference_of(lone, transfer_id), answer=Answer(answer), sequence=9, **changes)
    advance(lone.runtime, transfer_id, None, said)
    assert state_of(lone, transfer_id) == ("orphaned", "mismatch")
    assert open_case(lone, transfer_id)
    given = (before, direction) in (("confirmed", "out"), ("reversed", "in"))
    if before != "pending" or direction == "in":
        assert lone.wallet() == wallet
    assert (lone.account("house:sim"), lone.account("custody:sim")) == ((-1000, 0) if given else (0, 1000))
    check(lone)
    one.asked = []
    advance(lone.runtime, transfer_id, None, one.callback(reference_of(lone, transfer_id)))
    assert state_of(lone, transfer_id) == ("orphaned", "mismatch")
    check(lone)


@BOTH_WAYS
@pytest.mark.parametrize("answer", ["in_progress", "not_applied", "not_found", "unknown"])
def test_what_is_no_verdict_mismatches_nothing(lone: Bench, one: ScriptedOne, direction: str, answer: str) -> None:
    """I-12 C-13 C-63 A statement without a verdict changes a final transfer by nothing, whatever is in it."""
    transfer_id = lone.run(direction)
    said = one.callback(reference_of(lone, transfer_id), answer=Answer(answer), amount=7, player="mallory", sequence=9)
    advance(lone.runtime, transfer_id, None, said)
    assert state_of(lone, transfer_id) == ("confirmed", None)
    check(lone)


# --- a part of it ---------------------------------------------------------------------------------------------


@BOTH_WAYS
def test_part_that_was_agreed_on(lone: Bench, one: ScriptedOne, hands: Hands, direction: str) -> None:
    """I-02 I-03 C-09 Half of it moved, and says so: confirmed for that half, the rest is where it was."""
    one.descriptor, one.script = PARTIAL, [HALF]
    transfer_id = lone.run(direction)
    assert state_of(lone, transfer_id) == ("confirmed", "partial")
    assert lone.row(transfer_id)["arrived"] == 500
    sign = -1 if direction == "in" else 1
    assert books(lone) == {"wallet": 500 * sign, "game": -500 * sign}
    assert lone.game() == one.net("ann")
    much_later(lone, hands)
    assert state_of(lone, transfer_id) == ("confirmed", "partial")
    check(lone)


@BOTH_WAYS
def test_part_that_was_not_agreed_on(lone: Bench, one: ScriptedOne, direction: str) -> None:
    """I-12 C-09 Half of it where nothing says that it may be half: orphaned, and all of it in custody."""
    one.script = [HALF]
    transfer_id = lone.run(direction)
    assert state_of(lone, transfer_id) == ("orphaned", "mismatch")
    assert lone.account("custody:sim") == 1000
    check(lone)


@BOTH_WAYS
def test_part_that_is_taken_back(lone: Bench, one: ScriptedOne, direction: str) -> None:
    """I-02 I-03 I-15 Half of it moved and was taken back: everything is as it was before."""
    one.descriptor, one.script = PARTIAL, [HALF]
    transfer_id = lone.run(direction)
    advance(lone.runtime, transfer_id, None, one.take_back(reference_of(lone, transfer_id)))
    assert state_of(lone, transfer_id) == ("reversed", "provider_cancelled")
    assert (books(lone), one.net("ann")) == ({}, 0)
    assert lone.row(transfer_id)["arrived"] is None
    check(lone)


@pytest.mark.parametrize(("left", "end"), [("5.00", "reversed"), ("4.99", "orphaned")])
def test_part_that_is_taken_back_from_a_wallet_that_spent(lone: Bench, one: ScriptedOne, left: str, end: str) -> None:
    """I-05 Out in part, and spent: what is owed is the part, not the whole."""
    one.descriptor, one.script = PARTIAL, [HALF]
    transfer_id = lone.run("out")
    units = cents(left)
    spent = 100_500 - units
    lone.cash("withdrawal", "ann", f"{spent // 100}.{spent % 100:02d}")
    advance(lone.runtime, transfer_id, None, one.take_back(reference_of(lone, transfer_id)))
    assert state_of(lone, transfer_id)[0] == end
    assert lone.wallet() == (0 if end == "reversed" else units)
    check(lone)


@BOTH_WAYS
@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        ({"answer": Answer.CANCELLED, "amount": 1000, "sequence": None}, "contradiction"),
        ({"amount": 600}, "contradiction"),
        ({"amount": 1000}, "contradiction"),
        ({"amount": 1001}, "mismatch"),
        ({"answer": Answer.CANCELLED, "amount": 500, "sequence": 2}, "mismatch"),
    ],
    ids=str,
)
def test_part_that_is_contradicted(
    lone: Bench, one: ScriptedOne, hands: Hands, direction: str, lie: dict[str, Any], reason: str
) -> None:
    """I-03 I-05 I-16 Half of it moved, and then something else is told: orphaned; what the wallet was given stays, the
    house bears that much, and the rest is nobody's."""
    one.descriptor, one.script = PARTIAL, [HALF]
    transfer_id = lone.run(direction)
    wallet = lone.wallet()
    advance(lone.runtime, transfer_id, None, one.callback(reference_of(lone, transfer_id), **lie))
    assert state_of(lone, transfer_id) == ("orphaned", reason)
    assert lone.row(transfer_id)["arrived"] is None
    assert lone.wallet() == wallet
    assert (lone.account("house:sim"), lone.account("custody:sim")) == (-500, 500)
    much_later(lone, hands)
    assert (lone.wallet(), lone.account("house:sim"), lone.account("custody:sim")) == (wallet, -500, 500)
    check(lone)


@BOTH_WAYS
@pytest.mark.parametrize("kind", [Kind.CONFIRM, Kind.REVERSE, Kind.WRITE_OFF, Kind.SPLIT])
def test_part_that_is_contradicted_and_decided(lone: Bench, one: ScriptedOne, direction: str, kind: Kind) -> None:
    """I-02 I-03 I-54 People may end what stands half on the house and half in custody; writing off gives no wallet
    anything, for a loss is borne and not made."""
    one.descriptor, one.script = PARTIAL, [HALF]
    transfer_id = lone.run(direction)
    advance(lone.runtime, transfer_id, None, one.callback(reference_of(lone, transfer_id), amount=600))
    wallet = lone.wallet()
    split = {"arrived": 600, "returned": 400} if kind is Kind.SPLIT else {}
    decision = Decision(kind, "eve", "bob", "seen in their books", lone.row(transfer_id)["version"], **split)
    try:
        decide(lone.runtime, lone.operator, transfer_id, decision)
    except Invalid:
        assert kind is Kind.WRITE_OFF
        assert state_of(lone, transfer_id)[0] == "orphaned"
        check(lone)
        return
    arrived = {Kind.CONFIRM: 1000, Kind.REVERSE: 0, Kind.SPLIT: 600}.get(kind)
    if arrived is None:
        assert lone.wallet() <= wallet
    else:
        assert lone.wallet() == START + (-arrived if direction == "in" else arrived)
        assert (lone.account("house:sim"), lone.account("custody:sim")) == (0, 0)
    assert state_of(lone, transfer_id)[0] == ("reversed" if kind is Kind.REVERSE else "confirmed")
    check(lone)


# --- a stale worker ---------------------------------------------------------------------------------------------


@BOTH_WAYS
def test_nobody_drives_what_was_decided_by_a_callback(
    lone: Bench, one: ScriptedOne, hands: Hands, direction: str
) -> None:
    """I-25 I-30 C-61 C-42 A callback ends the transfer while its driver waits for an answer: the driver finds it ended,
    sends nothing, and what it heard is evidence."""
    one.script = [LOST]
    begun = lone.begin(direction)
    assert begun.outcome is not None
    assert begun.outcome.order is not None
    order = begun.outcome.order
    fact = perform(lone.runtime, order)
    after = advance(lone.runtime, order.claim.transfer_id, None, one.callback(order.effect.reference))
    assert after.transfer.state.value == "confirmed"
    assert lone.row(order.claim.transfer_id)["lease_owner"] == lone.runtime.worker
    outcome = advance(lone.runtime, order.claim.transfer_id, order.claim, fact)
    assert outcome.order is None
    assert lone.row(order.claim.transfer_id)["wake_at"] is None
    hands.turn(100)
    assert resolve.claim_due(lone.runtime, 10) == []
    assert one.calls == ["transfer"]
    assert lone.account("transit") == 0
    assert lone.rows("SELECT DISTINCT currency FROM posting") == [{"currency": EUR}]
    check(lone)
