"""A provider with one request: what is proved, what is done next, and whole histories against one that lies."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bridge.errors import AlreadyFinal
from bridge.evidence import Answer, Evidence, Reply, Source, Step
from bridge.ports import Cancel, Descriptor, LookupKey, SameId
from bridge.transfers.advance import advance, effect_of
from bridge.transfers.cancel import cancel
from bridge.transfers.core import contract, fold
from bridge.transfers.core.facts import Transfer
from bridge.transfers.core.steps import Ask, Done, Rest, Send
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
)
from tests.transfers.values import SCHEDULE, VOID, at, attempt, called, looked, told, transfer

TRANSFER = Step.TRANSFER
BOTH_WAYS = pytest.mark.parametrize("direction", ["in", "out"])
UNSAFE = replace(ONE_PHASE, same_id=SameId.UNSAFE)
STUBBORN = replace(ONE_PHASE, cancel=Cancel.NO)
FORGETS = replace(ONE_PHASE, dedupe_window=30)
DEAF = replace(ONE_PHASE, lookup_key=LookupKey.NONE)


def pushed(answer: str, seconds: float, **changes: Any) -> Evidence:
    """A callback, observed at a second."""
    return Evidence(0, 2, Source.CALLBACK, told(answer, **changes), at(seconds))


# --- the contract, typed out ------------------------------------------------------------------------------

# A lease is 9 s, patience 900 s, polls wait 0, 2, 3, 5, 10, 20, 20, … s: asked at 4, 6, 9, 14, 24 s after an answer at 4.
first = [attempt(1, TRANSFER)]
lost = called(1, TRANSFER, "unknown", 4)
second = [*first, attempt(2, TRANSFER, 5)]
lost_again = called(2, TRANSFER, "unknown", 6)
third = [*second, attempt(3, TRANSFER, 7)]
lost_thrice = [lost, lost_again, called(3, TRANSFER, "unknown", 8)]
wish = {"cancel_requested_at": at(0)}
voided = [*first, attempt(2, VOID, 5)]
void_lost = [lost, called(2, VOID, "unknown", 6)]
voids = [*first, *(attempt(n, VOID, n + 3) for n in (2, 3, 4))]
voids_lost = [lost, *(called(n, VOID, "in_progress", n + 3.5) for n in (2, 3, 4))]

# what, transfer, provider, second, next step
STEPS: list[tuple[str, Transfer, Descriptor, float, Any]] = [
    ("planned", transfer(), ONE_PHASE, 0, Send(TRANSFER)),
    ("on the wire", transfer(first), ONE_PHASE, 8.9, Rest(at(9))),
    ("unanswered, its lease over", transfer(first), ONE_PHASE, 9, Ask()),
    ("answered unknown", transfer(first, [lost]), ONE_PHASE, 4, Ask()),
    ("asked, silent", transfer(first, [lost, looked("unknown", 4)]), ONE_PHASE, 4, Rest(at(6))),
    ("asked, silent, the next one due", transfer(first, [lost, looked("unknown", 4)]), ONE_PHASE, 6, Ask()),
    ("asked, still pending there", transfer(first, [lost, looked("in_progress", 4)]), ONE_PHASE, 4, Rest(at(6))),
    ("said to be pending", transfer(first, [called(1, TRANSFER, "in_progress", 1)]), ONE_PHASE, 1, Ask()),
    ("not found", transfer(first, [lost, looked("not_found", 4)]), ONE_PHASE, 4, Send(TRANSFER, at(900))),
    ("not found, asked before the answer came", transfer(first, [looked("not_found", 3), lost]), ONE_PHASE, 4, Ask()),
    ("not found, asked while it might have been on the wire", transfer(first, [looked("not_found", 8)]), ONE_PHASE, 9,
     Ask()),
    ("not found, then silence", transfer(first, [lost, looked("not_found", 4), looked("unknown", 6)]), ONE_PHASE, 6,
     Rest(at(9))),
    ("not found, then a callback", transfer(first, [lost, looked("not_found", 4), pushed("in_progress", 5)]),
     ONE_PHASE, 5, Rest(at(6))),
    ("not found after the second", transfer(second, [lost, lost_again, looked("not_found", 6)]), ONE_PHASE, 6,
     Send(TRANSFER, at(900))),
    ("not found before the second only", transfer(second, [lost, looked("not_found", 4), lost_again]), ONE_PHASE, 6,
     Ask()),
    ("never a fourth", transfer(third, [*lost_thrice, looked("not_found", 8)]), ONE_PHASE, 8, Rest(at(10))),
    ("not found, patience all but spent", transfer(first, [lost, looked("not_found", 899.9)]), ONE_PHASE, 899.9,
     Send(TRANSFER, at(900))),
    ("not found, patience spent", transfer(first, [lost, looked("not_found", 899.9)]), ONE_PHASE, 900, Ask()),
    ("orphaned and not found", transfer(first, [lost, looked("not_found", 5)], state="orphaned"), ONE_PHASE, 5,
     Rest(at(6))),
    ("not found, executes again", transfer(first, [lost, looked("not_found", 4)]), UNSAFE, 4, Rest(at(6))),
    ("not found, id still known", transfer(first, [lost, looked("not_found", 29.9)]), FORGETS, 29.9,
     Send(TRANSFER, at(900))),
    ("not found, id forgotten by now", transfer(first, [lost, looked("not_found", 30)]), FORGETS, 30, Rest(at(44))),
    ("cannot be asked", transfer(first, [lost]), DEAF, 4, Rest(at(24))),
    ("cancel wished, on the wire", transfer(first, **wish), ONE_PHASE, 1, Rest(at(9))),
    ("cancel wished, unanswered", transfer(first, [lost], **wish), ONE_PHASE, 4, Send(VOID)),
    ("cancel wished, not found", transfer(first, [lost, looked("not_found", 4)], **wish), ONE_PHASE, 4, Send(VOID)),
    ("cancel wished, orphaned", transfer(first, [lost], state="orphaned", **wish), ONE_PHASE, 1000, Send(VOID)),
    ("cancel wished, cannot be voided", transfer(first, [lost], **wish), STUBBORN, 4, Ask()),
    ("cancel wished, cannot be voided, not found", transfer(first, [lost, looked("not_found", 4)], **wish), STUBBORN,
     4, Rest(at(6))),
    ("void on the wire", transfer(voided, [lost], **wish), ONE_PHASE, 6, Rest(at(14))),
    ("void unanswered", transfer(voided, void_lost, **wish), ONE_PHASE, 6, Ask()),
    ("void lost, silence", transfer(voided, [*void_lost, looked("unknown", 6)], **wish), ONE_PHASE, 6, Rest(at(8))),
    ("void lost, not found", transfer(voided, [*void_lost, looked("not_found", 6)], **wish), ONE_PHASE, 6, Send(VOID)),
    ("void lost, pending", transfer(voided, [*void_lost, looked("in_progress", 6)], **wish), ONE_PHASE, 6, Send(VOID)),
    ("never a fourth void", transfer(voids, [*voids_lost, looked("in_progress", 8)], **wish), ONE_PHASE, 8,
     Rest(at(9.5))),
    ("confirmed", transfer(first, [looked("applied", 9)], state="confirmed", leg="applied"), ONE_PHASE, 10, Done()),
    ("reversed by its own refusal", transfer(first, [called(1, TRANSFER, "not_applied")], state="reversed",
     leg="refused", settled_at=at(1)), ONE_PHASE, 2, Done()),
    ("reversed by absence", transfer(first, [lost, looked("not_found", 70), looked("not_found", 90)],
     state="reversed", leg="refused", settled_at=at(90)), ONE_PHASE, 91, Rest(at(150))),
    ("reversed by absence, the question due", transfer(first, [lost, looked("not_found", 70), looked("not_found", 90)],
     state="reversed", leg="refused", settled_at=at(90)), ONE_PHASE, 150, Ask()),
    ("reversed by a cancel", transfer(voided, [lost, called(2, VOID, "cancelled", 6)], state="reversed",
     leg="refused", settled_at=at(6), **wish), ONE_PHASE, 7, Rest(at(66))),
]  # fmt: skip


@pytest.mark.parametrize(("seen", "by", "now", "step"), [row[1:] for row in STEPS], ids=[row[0] for row in STEPS])
def test_next_step(seen: Transfer, by: Descriptor, now: float, step: Any) -> None:
    """I-13 I-25 C-01 C-05 C-18 The timeout contract of a one-phase provider, one situation a row."""
    assert contract.next_step(seen, by, SCHEDULE, fold.find(seen, by), at(now), 0) == step


# what, transfer, second, code of what silence itself proves
SILENCE: list[tuple[str, Transfer, float, str | None]] = [
    ("planned", transfer(), 0, None),
    ("planned, patience spent", transfer(), 900, "never_sent"),
    ("planned, cancel wished", transfer(**wish), 0, "never_sent"),
    ("planned, cancel wished, a backup restored", transfer(rewound_at=at(0), **wish), 0, None),
    ("unanswered for a year", transfer(first), 31_536_000, None),
    ("not found for a year", transfer(first, [lost, looked("not_found", 10)]), 31_536_000, None),
    ("never left, on the wire for all we know", transfer(first), 8.9, None),
    ("never left", transfer(first, [called(1, TRANSFER, "not_sent")]), 1, "never_left"),
    ("never left, a backup restored", transfer(first, [called(1, TRANSFER, "not_sent")], rewound_at=at(0)), 1, None),
    ("never left, then lost", transfer(second, [called(1, TRANSFER, "not_sent"), lost_again]), 100, None),
    ("lost, then never left", transfer(second, [lost, called(2, TRANSFER, "not_sent", 6)]), 100, None),
    ("lost, the void never left", transfer(voided, [lost, called(2, VOID, "not_sent", 6)], **wish), 100, None),
    ("never left, neither did the void",
     transfer(voided, [called(1, TRANSFER, "not_sent"), called(2, VOID, "not_sent", 6)], **wish), 100, "never_left"),
    ("orphaned, cancel wished", transfer(first, [lost], state="orphaned", **wish), 1000, None),
]  # fmt: skip


@pytest.mark.parametrize(("seen", "now", "code"), [row[1:] for row in SILENCE], ids=[row[0] for row in SILENCE])
def test_what_silence_proves(seen: Transfer, now: float, code: str | None) -> None:
    """I-13 C-01 C-18 Silence of a one-phase provider proves nothing, unless no byte of any request ever left."""
    concluded = contract.conclude(seen, ONE_PHASE, at(now))
    assert (concluded and concluded.code) == code


# what, attempts, evidence, verdict
VERDICTS: list[tuple[str, list[Any], list[Evidence], str]] = [
    ("nothing", first, [], "open"),
    ("confirmed", first, [called(1, TRANSFER, "applied")], "applied"),
    ("confirmed, told bare", first, [called(1, TRANSFER, "", reply=Reply(Answer.APPLIED))], "open"),
    ("another's confirmed", first, [looked("applied", 9, reference="other")], "open"),
    ("by another id of theirs", first, [looked("applied", 9, provider_reference="W-2")], "applied"),
    ("confirmed by callback", first, [pushed("applied", 1)], "applied"),
    ("confirmed before it was sent", [], [pushed("applied", 1)], "applied"),
    ("refused", first, [called(1, TRANSFER, "not_applied")], "refused"),
    ("insufficient", first, [called(1, TRANSFER, "not_applied", attempt_sensitive=True)], "refused"),
    ("lost, then insufficient", second, [lost, called(2, TRANSFER, "not_applied", attempt_sensitive=True)], "open"),
    ("lost, then refused", second, [lost, called(2, TRANSFER, "not_applied")], "open"),
    ("refused twice", second, [called(n, TRANSFER, "not_applied") for n in (1, 2)], "refused"),
    ("never left, then insufficient", second,
     [called(1, TRANSFER, "not_sent"), called(2, TRANSFER, "not_applied", attempt_sensitive=True)], "refused"),
    ("refused by callback", first, [pushed("not_applied", 1)], "open"),
    ("tombstone found", first, [called(1, TRANSFER, "cancelled")], "refused"),
    ("tombstone found by the second", second, [lost, called(2, TRANSFER, "cancelled", 6)], "refused"),
    ("cancelled by callback", first, [pushed("cancelled", 1)], "refused"),
    ("cancelled by callback before it was sent", [], [pushed("cancelled", 1)], "refused"),
    ("another's cancelled", first, [pushed("cancelled", 1, reference="other")], "open"),
    ("cancelled, told bare", first, [replace(pushed("cancelled", 1), reply=Reply(Answer.CANCELLED))], "open"),
    ("voided", voided, [lost, called(2, VOID, "cancelled", 6)], "refused"),
    ("void finds it refused", voided, [lost, called(2, VOID, "not_applied", 6)], "refused"),
    ("void finds it confirmed", voided, [lost, called(2, VOID, "applied", 6)], "applied"),
    ("void undecided", voided, [lost, called(2, VOID, "in_progress", 6)], "open"),
    ("looked up: refused once", first, [lost, looked("not_applied", 20)], "open"),
    ("looked up: refused twice, too young", first, [lost, looked("not_applied", 5), looked("not_applied", 9.9)],
     "open"),
    ("looked up: refused twice", first, [lost, looked("not_applied", 10), looked("not_applied", 11)], "refused"),
    ("looked up: cancelled, then refused", first, [lost, looked("cancelled", 10), looked("not_applied", 11)],
     "refused"),
    ("not found once", first, [lost, looked("not_found", 100)], "open"),
    ("not found twice, too young", first, [lost, looked("not_found", 40), looked("not_found", 63.9)], "open"),
    ("not found twice, too close", first, [lost, looked("not_found", 64), looked("not_found", 83.9)], "open"),
    ("not found twice, apart", first, [lost, looked("not_found", 64), looked("not_found", 84)], "refused"),
    ("not found, but the last request is young", second,
     [lost, lost_again, looked("not_found", 64), looked("not_found", 84)], "open"),
    ("not found after ninety days", first, [lost, *(looked("not_found", 90 * 86_400 + n) for n in (1, 100))], "open"),
    ("not found of what was never sent", [], [looked("not_found", 100), looked("not_found", 200)], "open"),
    # contradictions and their order
    ("confirmed and refused", first, [called(1, TRANSFER, "not_applied"), looked("applied", 20)], "contradicted"),
    ("confirmed and cancelled, uncounted", first, [looked("applied", 9), pushed("cancelled", 10)], "contradicted"),
    ("confirmed and cancelled, half counted", first, [looked("applied", 9, sequence=1), pushed("cancelled", 10)],
     "contradicted"),
    ("confirmed and cancelled at one count", first,
     [looked("applied", 9, sequence=1), pushed("cancelled", 10, sequence=1)], "contradicted"),
    ("cancelled, counted before the confirmation", first,
     [looked("applied", 9, sequence=2), pushed("cancelled", 10, sequence=1)], "contradicted"),
    ("taken back", first, [looked("applied", 9, sequence=1), pushed("cancelled", 10, sequence=2)], "refused"),
    ("taken back, told the other way round", first,
     [pushed("cancelled", 3, sequence=2), looked("applied", 9, sequence=1)], "refused"),
    ("refused after it was confirmed", first,
     [looked("applied", 9, sequence=1), *(looked("not_applied", n, sequence=2) for n in (20, 40))], "contradicted"),
    ("absent, then confirmed", first, [lost, looked("not_found", 64), looked("not_found", 84),
     looked("applied", 600, sequence=1)], "contradicted"),
    ("another amount", first, [looked("applied", 9, amount=999)], "mismatched"),
    ("part of it, not agreed on", first, [called(1, TRANSFER, "applied", amount=400)], "mismatched"),
    ("another player", first, [called(1, TRANSFER, "applied", player="bob")], "mismatched"),
    ("another currency", first, [pushed("applied", 9, currency="USD")], "mismatched"),
    ("the other side", first, [pushed("cancelled", 9, side="debit")], "mismatched"),
    ("refused, told bare", first, [called(1, TRANSFER, "", reply=Reply(Answer.NOT_APPLIED, code="limit"))], "refused"),
    ("another's refusal", first, [called(1, TRANSFER, "not_applied", reference="other")], "open"),
    ("refused with another amount", first, [called(1, TRANSFER, "not_applied", amount=999)], "open"),
    ("refused to another player", first, [called(1, TRANSFER, "not_applied", player="bob")], "open"),
    ("another's refusal, by a void", voided, [lost, called(2, VOID, "not_applied", 6, reference="other")], "open"),
    ("pending with another amount", first, [looked("in_progress", 9, amount=999)], "open"),
    ("mismatch beside proof", first, [looked("applied", 9), pushed("applied", 10, amount=999)], "mismatched"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("attempts", "evidence", "verdict"), [row[1:] for row in VERDICTS], ids=[row[0] for row in VERDICTS]
)
def test_verdict(attempts: list[Any], evidence: list[Evidence], verdict: str) -> None:
    """I-12 I-13 C-07 C-08 C-09 C-15 C-16 C-17 What each story of a one-phase leg proves, and what it does not."""
    numbered = [replace(piece, id=number) for number, piece in enumerate(evidence, 1)]
    for order in (numbered, numbered[::-1]):
        finding = fold.find(transfer(attempts, order), ONE_PHASE)
        assert finding.verdict.value == verdict
        assert (finding.proof is None) == (verdict == "open")


PARTS: list[tuple[str, list[Evidence], str, int | None]] = [
    ("part of it", [called(1, TRANSFER, "applied", amount=400)], "applied", 400),
    ("all of it", [called(1, TRANSFER, "applied")], "applied", None),
    ("the same part twice", [called(1, TRANSFER, "applied", amount=400), pushed("applied", 5, amount=400)], "applied",
     400),
    ("two different parts", [called(1, TRANSFER, "applied", amount=400), pushed("applied", 5, amount=500)],
     "contradicted", None),
    ("a part and the whole", [called(1, TRANSFER, "applied", amount=400), pushed("applied", 5)], "contradicted", None),
    ("more than the whole", [called(1, TRANSFER, "applied", amount=1001)], "mismatched", None),
    ("nothing of it", [called(1, TRANSFER, "applied", amount=0)], "mismatched", None),
    ("a part for another player", [called(1, TRANSFER, "applied", amount=400, player="bob")], "mismatched", None),
    ("a part, told without a player", [called(1, TRANSFER, "applied", amount=400, player=None)], "mismatched", None),
    ("a part cancelled", [pushed("cancelled", 5, amount=400)], "mismatched", None),
    ("a part, taken back whole", [called(1, TRANSFER, "applied", amount=400, sequence=1),
     pushed("cancelled", 5, sequence=2)], "refused", None),
]  # fmt: skip


@pytest.mark.parametrize(("evidence", "verdict", "arrived"), [row[1:] for row in PARTS], ids=[row[0] for row in PARTS])
def test_parts_where_they_are_agreed_on(evidence: list[Evidence], verdict: str, arrived: int | None) -> None:
    """I-12 C-09 Only where the descriptor says so, a smaller amount is the part that moved; anything else is loud."""
    finding = fold.find(transfer(first, evidence), replace(ONE_PHASE, partial=True))
    assert (finding.verdict.value, finding.arrived) == (verdict, arrived)


# --- histories, on both databases ---------------------------------------------------------------------------

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
    cases = lone.rows("SELECT state FROM orphan_case WHERE transfer_id = :id", id=transfer_id)
    return cases[0]["state"] if cases else None


# words for the money requests, words for the look-ups, end, its reason, how often the request reached the provider
ENDS: list[tuple[list[str], list[str], str, str | None, int]] = [
    ([], [], "confirmed", None, 1),
    ([LOST], [], "confirmed", None, 1),
    ([GARBAGE], [], "confirmed", None, 1),
    ([SLOW], [], "confirmed", None, 1),
    ([LATE], [STALE] * 3, "confirmed", None, 1),
    ([LATE], [], "confirmed", None, 2),  # "not found" yet: sent again, and executed once
    ([LOST], [SILENT] * 4, "confirmed", None, 1),
    ([LOST], [ABSENT], "confirmed", None, 2),  # sent again, answered with the original answer
    ([LOST], [STALE, SILENT, STALE], "confirmed", None, 1),
    ([LOST, LOST, LOST], [ABSENT, ABSENT, ABSENT, STALE, SILENT], "confirmed", None, 3),
    ([LOST], [NEGATIVE], "confirmed", None, 1),  # said once, and early: not believed
    ([DROPPED], [], "confirmed", None, 2),
    ([DROPPED, DROPPED], [], "confirmed", None, 3),
    ([DROPPED, DROPPED, DROPPED], [], "reversed", "not_executed", 3),
    ([DROPPED, REFUSES], [], "reversed", "provider_refused", 2),
    ([REFUSED_DOOR], [], "reversed", "provider_unreachable", 0),
    ([REFUSES], [], "reversed", "provider_refused", 1),
    ([PENDING], [], "confirmed", None, 1),
    ([PENDING_LOST], [], "confirmed", None, 1),
    ([PENDING_REFUSED], [], "reversed", "provider_refused", 1),
]  # fmt: skip


@BOTH_WAYS
@pytest.mark.parametrize(
    ("script", "asked", "end", "reason", "sent"),
    ENDS,
    ids=[f"{'+'.join(s) or 'ok'}/{'+'.join(a)}" for s, a, *_ in ENDS],
)
def test_every_lie_ends_in_the_truth(
    lone: Bench, one: ScriptedOne, hands: Hands, direction: str, script: list[str], asked: list[str], end: str,
    reason: str | None, sent: int,
) -> None:  # fmt: skip
    """I-02 I-12 I-13 I-25 C-01 C-15 C-17 Whatever is lost, late or said wrongly once, the transfer ends as it is
    at the provider, executed at most once."""
    one.script, one.asked = list(script), list(asked)
    transfer_id = lone.run(direction, ask=30)
    turn_until(lone, hands, transfer_id, "confirmed", "reversed")
    assert state_of(lone, transfer_id) == (end, reason)
    reference = lone.get(transfer_id).outside.reference
    assert (one.sent(reference), one.executed[reference or ""]) == (sent, int(end == "confirmed"))
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
    one.script, one.asked = [DROPPED], [SILENT] * 10
    transfer_id = lone.run(direction)
    hands.turn(900)
    for _ in range(40):
        lone.resolve_due()
        hands.turn(10)
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
    for _ in range(9000):
        hands.turn(10)
        lone.resolve_due()
    assert [mark for mark in marks if mark < 120] == pytest.approx([60, 60], abs=20)
    assert [mark for mark in marks if mark >= 120] == pytest.approx([600, 3600, 86_400], abs=20)
    assert lone.row(transfer_id)["wake_at"] is None
    books_are_right(lone, one, transfer_id)


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


# what became of the original, words for the voids, words for look-ups, end, reason, voids sent
CANCELS: list[tuple[str, list[str], list[str], str, str | None, int]] = [
    (DROPPED, [], [], "reversed", "cancelled", 1),  # a tombstone
    (LOST, [], [], "confirmed", None, 1),  # too late, says the void
    (PENDING_LOST, [], [], "reversed", "cancelled", 1),
    (REFUSES, [], [], "reversed", "provider_refused", 0),
    (DROPPED, [LOST], [], "reversed", "cancelled", 1),  # found cancelled by look-ups
    (LOST, [LOST], [], "confirmed", None, 1),
    (DROPPED, [DROPPED], [], "reversed", "cancelled", 2),
    (DROPPED, [DROPPED, DROPPED], [], "reversed", "cancelled", 3),
    (DROPPED, [DROPPED, DROPPED, DROPPED], [], "reversed", "cancelled", 3),  # absent in the end
    (DROPPED, [REFUSED_DOOR], [], "reversed", "cancelled", 2),
    (PENDING_LOST, [UNDECIDED], [], "reversed", "cancelled", 2),
    (PENDING_LOST, [UNDECIDED, UNDECIDED, UNDECIDED], [], "confirmed", None, 3),
    (LOST, [SLOW], [ABSENT], "confirmed", None, 1),
]  # fmt: skip


@BOTH_WAYS
@pytest.mark.parametrize(
    ("word", "voids", "asked", "end", "reason", "count"), CANCELS, ids=[f"{w}/{'+'.join(v)}" for w, v, *_ in CANCELS]
)
def test_cancel_after_a_lost_answer(
    lone: Bench, one: ScriptedOne, hands: Hands, direction: str, word: str, voids: list[str], asked: list[str],
    end: str, reason: str | None, count: int,
) -> None:  # fmt: skip
    """I-13 I-25 C-29 What may have been executed is voided at most three times, and ends as the provider has it; the
    original is not sent again."""
    one.script, one.asked = [word, *voids], [SILENT, *asked]
    transfer_id = lone.run(direction)
    if lone.row(transfer_id)["state"] == "pending":
        cancel(lone.runtime, lone.operator, transfer_id)
    turn_until(lone, hands, transfer_id, "confirmed", "reversed")
    assert state_of(lone, transfer_id) == (end, reason)
    assert (one.count("transfer"), one.calls.count("void") + one.calls.count("void:not_sent")) == (1, count)
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
