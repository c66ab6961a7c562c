"""Whole histories before a one-phase provider that lies, on both databases: what is sent, and how it all ends."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from bridge.errors import AlreadyFinal
from bridge.evidence import Answer
from bridge.ports import SECOND, SameId
from bridge.transfers.advance import advance, effect_of
from bridge.transfers.cancel import cancel
from bridge.transfers.drive import drive, perform
from bridge.verify import Finding, verify
from tests.harness import Bench, Hands
from tests.transfers.scripted_one import (
    ABSENT,
    BELATED,
    DROPPED,
    GARBAGE,
    LATE,
    LOST,
    NEGATIVE,
    ONE_PHASE,
    PENDING,
    PENDING_LOST,
    PENDING_REFUSED,
    REFUSED_DOOR,
    REFUSES,
    SILENT,
    SLOW,
    STALE,
    UNDECIDED,
    WRONG,
    ScriptedOne,
)  # fmt: skip
from tests.transfers.test_driver import counting_commits

BOTH_WAYS = pytest.mark.parametrize("direction", ["in", "out"])
UNSAFE = replace(ONE_PHASE, same_id=SameId.UNSAFE)
FORGETS = replace(ONE_PHASE, dedupe_window=30)

START = 100_000
"""What the player of every bench has in the wallet, in cents; a transfer of these tests moves 10.00."""


def state_of(lone: Bench, transfer_id: str) -> tuple[str, str | None]:
    """Its state and why."""
    row = lone.row(transfer_id)
    return row["state"], row["reason_code"]


def turn_until(
    lone: Bench, hands: Hands, transfer_id: str, *states: str, seconds: float = 3000, step: float = 1
) -> None:
    """Let time pass, resolving what is due, until the transfer is in one of these states."""
    for _ in range(int(seconds / step)):
        if lone.row(transfer_id)["state"] in states:
            return
        hands.turn(step)
        lone.resolve_due()
    raise AssertionError(f"still {state_of(lone, transfer_id)} after {seconds} s")


def questions_answered(lone: Bench) -> list[Finding]:
    """What `bridge verify` finds; the callbacks of these tests are given to the door itself, not to the inbox."""
    found = verify(lone.runtime)
    return [each for each in found if not all(row.get("inbox_id", 0) is None for row in each.rows)]


def books_are_right(lone: Bench, one: ScriptedOne, transfer_id: str, *, agree: bool = True) -> None:
    """The audit, the product's own questions, and, where they can agree, our books against the provider's."""
    lone.audit()
    assert questions_answered(lone) == []
    if not agree:
        return
    state = lone.row(transfer_id)["state"]
    moved = one.moved(lone.get(transfer_id).outside.reference)
    assert moved == {"confirmed": 1000, "reversed": 0}[state]
    assert lone.game() == one.net("ann")
    assert lone.wallet() == START - one.net("ann")


def case_of(lone: Bench, transfer_id: str) -> str | None:
    """The state of its case; None where it never had one."""
    cases = lone.rows("SELECT state FROM orphan_case WHERE transfer_id = :id", id=transfer_id)
    return cases[0]["state"] if cases else None


@dataclass(frozen=True)
class Story:
    """Words for the money requests and for the look-ups; the end, its reason, how many money requests were tried."""

    script: list[str]
    asked: list[str]
    end: str
    reason: str | None
    sent: int

    def __str__(self) -> str:
        return f"{'+'.join(self.script) or 'ok'}/{'+'.join(self.asked)}"


ENDS = [
    Story([], [], "confirmed", None, 1),
    Story([LOST], [], "confirmed", None, 1),
    Story([GARBAGE], [], "confirmed", None, 1),
    Story([SLOW], [], "confirmed", None, 1),
    Story([LATE], [STALE] * 3, "confirmed", None, 1),
    Story([LATE], [], "confirmed", None, 2),  # "not found" yet: sent again, and executed once
    Story([LOST], [SILENT] * 4, "confirmed", None, 1),
    Story([LOST], [ABSENT], "confirmed", None, 2),  # sent again, answered with the original answer
    Story([LOST], [STALE, SILENT, STALE], "confirmed", None, 1),
    Story([LOST, LOST, LOST], [ABSENT, ABSENT, ABSENT, STALE, SILENT], "confirmed", None, 3),
    Story([LOST], [NEGATIVE], "confirmed", None, 1),  # said once, and early: not believed
    Story([DROPPED], [], "confirmed", None, 2),
    Story([DROPPED, DROPPED], [], "confirmed", None, 3),
    Story([DROPPED, DROPPED, DROPPED], [], "reversed", "not_executed", 3),
    Story([DROPPED, REFUSES], [], "reversed", "provider_refused", 2),
    Story([REFUSED_DOOR], [], "reversed", "provider_unreachable", 0),
    Story([REFUSES], [], "reversed", "provider_refused", 1),
    Story([PENDING], [], "confirmed", None, 1),
    Story([PENDING_LOST], [], "confirmed", None, 1),
    Story([PENDING_REFUSED], [], "reversed", "provider_refused", 1),
]  # fmt: skip


@BOTH_WAYS
@pytest.mark.parametrize("story", ENDS, ids=str)
def test_every_lie_ends_in_the_truth(lone: Bench, one: ScriptedOne, hands: Hands, direction: str, story: Story) -> None:
    """I-02 I-12 I-13 I-25 C-01 C-15 C-17 Whatever is lost, late or said wrongly once, the transfer ends as it is
    at the provider, executed at most once."""
    one.script, one.asked = list(story.script), list(story.asked)
    transfer_id = lone.run(direction, ask=30)
    turn_until(lone, hands, transfer_id, "confirmed", "reversed")
    assert state_of(lone, transfer_id) == (story.end, story.reason)
    reference = lone.get(transfer_id).outside.reference
    assert (one.sent(reference), one.executed[reference or ""]) == (story.sent, int(story.end == "confirmed"))
    books_are_right(lone, one, transfer_id)
    assert (lone.get(transfer_id).outside.provider_reference is None) == (reference not in one.records)


@BOTH_WAYS
@pytest.mark.parametrize(("word", "end"), [(LOST, "confirmed"), (DROPPED, "reversed"), (LATE, "confirmed")])
def test_provider_that_executes_again_is_sent_to_once(
    lone: Bench, one: ScriptedOne, hands: Hands, direction: str, word: str, end: str
) -> None:
    """I-25 C-01 C-15 A provider that is not idempotent gets the request once, whatever is not found."""
    one.descriptor, one.executes_again, one.script, one.asked = UNSAFE, True, [word], [ABSENT, SILENT, ABSENT]
    transfer_id = lone.run(direction, ask=30)
    turn_until(lone, hands, transfer_id, "confirmed", "reversed")
    assert state_of(lone, transfer_id)[0] == end
    assert one.count("transfer") == 1
    books_are_right(lone, one, transfer_id)


@BOTH_WAYS
def test_commits_and_requests_of_a_clean_transfer(lone: Bench, one: ScriptedOne, direction: str) -> None:
    """I-14 I-25 I-33 Embedded wallet and one phase: two commits that write, one request, no connection held over it."""
    held: list[int] = []
    one.during = lambda _operation: held.append(lone.runtime.engine.pool.checkedout())  # type: ignore[attr-defined]
    with counting_commits(lone.runtime.engine) as commits:
        transfer_id = lone.run(direction)
    assert (len(commits), one.calls, held) == (2, ["transfer"], [0])
    books_are_right(lone, one, transfer_id)


@BOTH_WAYS
def test_answer_that_comes_forty_seconds_late(lone: Bench, one: ScriptedOne, hands: Hands, direction: str) -> None:
    """I-30 C-05 The answer of a worker that was given up is evidence when it comes: not lost, and nothing twice."""
    begun = lone.begin(direction)
    assert begun.outcome is not None
    assert begun.outcome.order is not None
    order = begun.outcome.order
    fact = perform(lone.runtime, order)
    hands.turn(10)
    lone.another(providers={"sim": one}).resolve_due()
    assert state_of(lone, order.claim.transfer_id)[0] == "confirmed"
    hands.turn(30)
    late = advance(lone.runtime, order.claim.transfer_id, order.claim, replace(fact, at=hands.now()))
    assert late.order is None
    assert [e.reply.answer.value for e in late.transfer.outside.evidence] == ["applied", "applied"]
    assert one.count("transfer") == 1
    books_are_right(lone, one, order.claim.transfer_id)


@BOTH_WAYS
def test_request_that_was_given_up_arrives_after_its_successor(
    lone: Bench, one: ScriptedOne, hands: Hands, direction: str
) -> None:
    """I-25 C-05 Two workers have sent the same id, the second because it was not found; both answers count once."""
    begun = lone.begin(direction)
    assert begun.outcome is not None
    assert begun.outcome.order is not None
    stale, transfer_id = begun.outcome.order, begun.outcome.transfer.id
    hands.turn(9)
    other = lone.another(providers={"sim": one})
    other.resolve_due()
    assert state_of(lone, transfer_id)[0] == "confirmed"
    assert one.calls == ["look_up", "transfer"]
    again = replace(stale, window=replace(stale.window, not_after=1e9, deadline=1e9))  # its bytes had left in time
    drive(lone.runtime, advance(lone.runtime, transfer_id, stale.claim, perform(lone.runtime, again)))
    assert state_of(lone, transfer_id)[0] == "confirmed"
    assert one.executed.total() == 1
    books_are_right(lone, one, transfer_id)


@BOTH_WAYS
def test_executed_long_after_it_was_not_found(lone: Bench, one: ScriptedOne, hands: Hands, direction: str) -> None:
    """I-16 C-07 A success after our reversal is orphaned, booked where it stands, put before people, and nothing
    moves after it."""
    one.script = [BELATED, DROPPED, DROPPED]
    transfer_id = lone.run(direction)
    turn_until(lone, hands, transfer_id, "reversed")
    assert state_of(lone, transfer_id) == ("reversed", "not_executed")
    books_are_right(lone, one, transfer_id)
    reversed_with, requests = lone.wallet(), one.count("transfer")
    turn_until(lone, hands, transfer_id, "orphaned", step=20)
    assert one.moved(lone.get(transfer_id).outside.reference) == 1000
    assert state_of(lone, transfer_id) == ("orphaned", "contradiction")
    assert case_of(lone, transfer_id) == "open"
    inward = direction == "in"
    books = {"house:sim": -1000 if inward else 0, "custody:sim": 0 if inward else 1000}
    assert {name: lone.account(name) for name in books} == books
    assert lone.game() == one.net("ann") == (1000 if inward else -1000)
    for word in ("applied", "cancelled", "not_applied"):
        reference = lone.get(transfer_id).outside.reference
        assert reference is not None
        advance(lone.runtime, transfer_id, None, one.callback(reference, answer=Answer(word)))
    for _ in range(30):
        hands.turn(3600)
        lone.resolve_due()
    assert state_of(lone, transfer_id) == ("orphaned", "contradiction")
    assert (lone.wallet(), one.count("transfer")) == (reversed_with, requests)
    assert {name: lone.account(name) for name in books} == books
    assert lone.row(transfer_id)["wake_at"] > hands.now()
    books_are_right(lone, one, transfer_id, agree=False)


@BOTH_WAYS
def test_failure_after_the_confirmation(lone: Bench, one: ScriptedOne, hands: Hands, direction: str) -> None:
    """I-16 C-08 A cancel that the provider does not count after the confirmation contradicts it: a case, and no
    correction by machine."""
    transfer_id = lone.run(direction)
    assert state_of(lone, transfer_id) == ("confirmed", None)
    hands.turn(86_400)
    reference = lone.get(transfer_id).outside.reference
    assert reference is not None
    before = lone.wallet()
    outcome = advance(lone.runtime, transfer_id, None, one.callback(reference, answer=Answer.CANCELLED))
    assert outcome.order is None
    assert state_of(lone, transfer_id) == ("orphaned", "contradiction")
    assert case_of(lone, transfer_id) == "open"
    assert lone.wallet() == before
    assert lone.account("custody:sim") == (1000 if direction == "in" else 0)
    assert lone.account("house:sim") == (0 if direction == "in" else -1000)
    books_are_right(lone, one, transfer_id, agree=False)


@BOTH_WAYS
@pytest.mark.parametrize("lie", sorted(WRONG))
@pytest.mark.parametrize("told_by", ["answer", "look-up", "callback"])
def test_confirmed_otherwise_than_it_was_asked_for(
    lone: Bench, one: ScriptedOne, direction: str, lie: str, told_by: str
) -> None:
    """I-12 C-09 Another amount, player, currency or side is never confirmed: orphaned at once, and into custody."""
    one.script, one.asked = [lie] if told_by == "answer" else [LOST], [lie]
    if told_by == "callback":
        begun = lone.begin(direction)
        assert begun.outcome is not None
        order = begun.outcome.order
        assert order is not None
        perform(lone.runtime, order)
        changes = WRONG[lie] or {"side": "debit" if direction == "in" else "credit"}
        advance(lone.runtime, order.claim.transfer_id, None, one.callback(order.effect.reference, **changes))
        transfer_id = order.claim.transfer_id
    else:
        transfer_id = lone.run(direction, ask=30)
    assert state_of(lone, transfer_id) == ("orphaned", "mismatch")
    assert case_of(lone, transfer_id) == "open"
    assert (lone.account("custody:sim"), lone.account("house:sim")) == (1000, 0)
    assert one.count("transfer") == 1
    books_are_right(lone, one, transfer_id, agree=False)


@BOTH_WAYS
@pytest.mark.parametrize("word", [LOST, DROPPED])
def test_patience_spent_then_answered(lone: Bench, one: ScriptedOne, hands: Hands, direction: str, word: str) -> None:
    """I-17 C-18 C-01 Orphaned with a case when patience is spent, asked on for ever, sent never again, and ended by
    proof however late."""
    one.script, one.asked = [word], [SILENT] * 400
    transfer_id = lone.run(direction)
    turn_until(lone, hands, transfer_id, "orphaned", step=5)
    assert state_of(lone, transfer_id) == ("orphaned", "unproved")
    assert case_of(lone, transfer_id) == "open"
    assert hands.now() >= lone.row(transfer_id)["orphan_at"]
    assert lone.account("custody:sim") == 1000
    asked = one.count("look_up")
    for _ in range(24):
        hands.turn(3600)
        lone.resolve_due()
        books_are_right(lone, one, transfer_id, agree=False)
    assert one.count("look_up") >= asked + 24
    one.asked = []
    turn_until(lone, hands, transfer_id, "confirmed", "reversed", step=400, seconds=40_000)
    assert state_of(lone, transfer_id)[0] == ("confirmed" if word == LOST else "reversed")
    assert case_of(lone, transfer_id) == "closed"
    assert one.count("transfer") == 1
    books_are_right(lone, one, transfer_id)


@BOTH_WAYS
def test_never_sent_again_after_patience(lone: Bench, one: ScriptedOne, hands: Hands, direction: str) -> None:
    """I-25 C-18 What is not found for the first time after patience was spent is not begun again."""
    one.script, one.asked = [DROPPED], [SILENT] * 2
    transfer_id = lone.run(direction)
    hands.turn(900)
    turn_until(lone, hands, transfer_id, "orphaned")
    turn_until(lone, hands, transfer_id, "reversed", step=30)
    assert one.count("transfer") == 1
    assert state_of(lone, transfer_id) == ("reversed", "not_executed")
    books_are_right(lone, one, transfer_id)


@BOTH_WAYS
def test_window_of_a_repeated_id_is_not_outlived(lone: Bench, one: ScriptedOne, hands: Hands, direction: str) -> None:
    """I-25 C-15 A provider that forgets ids after half a minute gets no repetition after it, not found or not."""
    one.descriptor, one.script, one.asked = FORGETS, [DROPPED, DROPPED], [SILENT] * 5
    transfer_id = lone.run(direction, ask=100)
    hands.turn(30)
    turn_until(lone, hands, transfer_id, "reversed")
    assert one.count("transfer") == 1
    books_are_right(lone, one, transfer_id)


@BOTH_WAYS
def test_aftercare_asks_at_its_marks_and_ends(lone: Bench, one: ScriptedOne, hands: Hands, direction: str) -> None:
    """I-17 C-15 A reversal by absence is asked about after a minute, ten, an hour and a day; then nobody waits."""
    one.script = [DROPPED, DROPPED, DROPPED]
    transfer_id = lone.run(direction)
    turn_until(lone, hands, transfer_id, "reversed")
    settled = lone.row(transfer_id)["settled_at"]
    one.asked = [SILENT]  # a question without an answer does not count
    marks: list[int] = []
    one.during = lambda _operation: marks.append(round((hands.now() - settled) / 1_000_000))
    while (due := lone.row(transfer_id)["wake_at"]) is not None:
        hands.turn(max(10, (due - hands.now()) / SECOND))
        lone.resolve_due()
    assert [mark for mark in marks if mark < 120] == pytest.approx([60, 60], abs=20)
    assert [mark for mark in marks if mark >= 120] == pytest.approx([600, 3600, 86_400], abs=20)
    assert lone.row(transfer_id)["wake_at"] is None
    books_are_right(lone, one, transfer_id)


@BOTH_WAYS
def test_late_answer_does_not_end_the_aftercare(lone: Bench, one: ScriptedOne, hands: Hands, direction: str) -> None:
    """I-15 I-17 C-05 C-07 A worker that was paused past its lease brings "no answer" after the reversal, which is
    watched as before, and the execution that comes after it is found."""
    one.script = [BELATED, DROPPED, DROPPED]
    begun = lone.begin(direction)
    assert begun.outcome is not None
    assert begun.outcome.order is not None
    order, transfer_id = begun.outcome.order, begun.outcome.transfer.id
    silence = perform(lone.runtime, order)
    turn_until(lone, hands, transfer_id, "reversed")
    advance(lone.runtime, transfer_id, order.claim, replace(silence, at=hands.now()))
    turn_until(lone, hands, transfer_id, "orphaned", step=20)
    assert state_of(lone, transfer_id) == ("orphaned", "contradiction")
    books_are_right(lone, one, transfer_id, agree=False)


@BOTH_WAYS
@pytest.mark.parametrize("word", [REFUSES, REFUSED_DOOR])
def test_no_aftercare_where_the_provider_itself_refused(
    lone: Bench, one: ScriptedOne, direction: str, word: str
) -> None:
    """I-17 C-12 A refusal by the provider, or a request that never left, leaves nothing to watch."""
    one.script = [word]
    transfer_id = lone.run(direction)
    assert lone.row(transfer_id)["state"] == "reversed"
    assert lone.row(transfer_id)["wake_at"] is None


# --- cancel -------------------------------------------------------------------------------------------------


@BOTH_WAYS
def test_cancel_before_anything_was_sent(lone: Bench, one: ScriptedOne, direction: str) -> None:
    """I-13 C-29 Cancelled while it was still queued: reversed without a call."""
    begun = lone.begin(direction, queued=True)
    assert begun.transfer_id is not None
    cancel(lone.runtime, lone.operator, begun.transfer_id)
    assert state_of(lone, begun.transfer_id) == ("reversed", "cancelled")
    assert one.calls == []
    lone.audit()


@BOTH_WAYS
def test_cancel_while_the_request_is_on_the_wire(lone: Bench, one: ScriptedOne, direction: str) -> None:
    """I-13 C-29 The wish waits for the answer of whoever is driving it; a confirmation stands."""
    begun = lone.begin(direction)
    assert begun.outcome is not None
    assert begun.transfer_id is not None
    assert cancel(lone.runtime, lone.operator, begun.transfer_id).state.value == "pending"
    assert one.calls == []
    drive(lone.runtime, begun.outcome)
    assert state_of(lone, begun.transfer_id) == ("confirmed", None)
    with pytest.raises(AlreadyFinal):
        cancel(lone.runtime, lone.operator, begun.transfer_id)
    books_are_right(lone, one, begun.transfer_id)


# What became of the original, then of the voids; look-ups after the silent one; voids tried.
CANCELS = [
    Story([DROPPED], [], "reversed", "cancelled", 1),  # a tombstone
    Story([LOST], [], "confirmed", None, 1),  # too late, says the void
    Story([PENDING_LOST], [], "reversed", "cancelled", 1),
    Story([REFUSES], [], "reversed", "provider_refused", 0),
    Story([DROPPED, LOST], [], "reversed", "cancelled", 1),  # found cancelled by look-ups
    Story([LOST, LOST], [], "confirmed", None, 1),
    Story([DROPPED, DROPPED], [], "reversed", "cancelled", 2),
    Story([DROPPED, DROPPED, DROPPED], [], "reversed", "cancelled", 3),
    Story([DROPPED, DROPPED, DROPPED, DROPPED], [], "reversed", "cancelled", 3),  # absent in the end
    Story([DROPPED, REFUSED_DOOR], [], "reversed", "cancelled", 2),
    Story([PENDING_LOST, UNDECIDED], [], "reversed", "cancelled", 2),
    Story([PENDING_LOST, UNDECIDED, UNDECIDED, UNDECIDED], [], "confirmed", None, 3),
    Story([LOST, SLOW], [ABSENT], "confirmed", None, 1),
]  # fmt: skip


@BOTH_WAYS
@pytest.mark.parametrize("story", CANCELS, ids=str)
def test_cancel_after_a_lost_answer(lone: Bench, one: ScriptedOne, hands: Hands, direction: str, story: Story) -> None:
    """I-13 I-25 C-29 What may have been executed is voided at most three times, and ends as the provider has it; the
    original is not sent again."""
    one.script, one.asked = list(story.script), [SILENT, *story.asked]
    transfer_id = lone.run(direction)
    if lone.row(transfer_id)["state"] == "pending":
        cancel(lone.runtime, lone.operator, transfer_id)
    turn_until(lone, hands, transfer_id, "confirmed", "reversed")
    assert state_of(lone, transfer_id) == (story.end, story.reason)
    assert (one.count("transfer"), sum(call.startswith("void") for call in one.calls)) == (1, story.sent)
    books_are_right(lone, one, transfer_id)


@BOTH_WAYS
@pytest.mark.parametrize(("word", "end"), [(DROPPED, "reversed"), (PENDING_LOST, "reversed"), (LOST, "confirmed")])
def test_cancel_of_an_orphan(lone: Bench, one: ScriptedOne, hands: Hands, direction: str, word: str, end: str) -> None:
    """I-11 C-18 C-29 Work goes on in an orphan: a cancel that is wished of it is sent, and what it proves ends it."""
    one.script, one.asked = [word], [SILENT] * 20
    transfer_id = lone.run(direction)
    if word == PENDING_LOST:
        one.records[lone.get(transfer_id).outside.reference or ""].decides = None  # it never decides
    turn_until(lone, hands, transfer_id, "orphaned")
    cancel(lone.runtime, lone.operator, transfer_id)
    assert lone.row(transfer_id)["state"] == end
    assert case_of(lone, transfer_id) == "closed"
    assert one.calls.count("void") == 1
    books_are_right(lone, one, transfer_id)


@BOTH_WAYS
def test_original_that_arrives_after_its_void(lone: Bench, one: ScriptedOne, hands: Hands, direction: str) -> None:
    """C-29 C-07 The request that was slow on its way finds the tombstone of its cancel, and executes nothing."""
    one.script = [LATE]
    one.asked = [SILENT]
    transfer_id = lone.run(direction)
    cancel(lone.runtime, lone.operator, transfer_id)
    assert state_of(lone, transfer_id) == ("reversed", "cancelled")
    for _ in range(30):
        hands.turn(3600)
        lone.resolve_due()
    assert one.executed.total() == 0
    assert state_of(lone, transfer_id) == ("reversed", "cancelled")
    books_are_right(lone, one, transfer_id)


@BOTH_WAYS
@pytest.mark.parametrize("when", ["queued", "on the wire", "after it was lost"])
def test_provider_cancels_before_its_original(
    lone: Bench, one: ScriptedOne, hands: Hands, direction: str, when: str
) -> None:
    """I-13 I-16 C-29 C-61 A cancel of the provider that comes before the original: never executed, reversed once
    nothing is on the wire, and never sent where it was not."""
    begun = lone.begin(direction, queued=when == "queued")
    assert begun.outcome is not None
    assert begun.transfer_id is not None
    leg = begun.outcome.transfer.outside
    assert leg.reference is not None
    if when == "after it was lost":
        one.script, one.asked = [DROPPED], [SILENT] * 3
        drive(lone.runtime, begun.outcome, ask_until=0)
    after = advance(lone.runtime, begun.transfer_id, None, one.bury(effect_of(begun.outcome.transfer))).transfer
    assert after.state.value == ("pending" if when == "on the wire" else "reversed")
    if when == "on the wire":
        drive(lone.runtime, begun.outcome)
    assert state_of(lone, begun.transfer_id) == ("reversed", "provider_cancelled")
    for _ in range(30):
        hands.turn(3600)
        lone.resolve_due()
    assert one.executed.total() == 0
    assert one.sent(leg.reference) == (0 if when == "queued" else 1)
    assert state_of(lone, begun.transfer_id)[0] == "reversed"
    books_are_right(lone, one, begun.transfer_id)
