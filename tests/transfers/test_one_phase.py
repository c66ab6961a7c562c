"""A provider with one request: what is proved, what is done next, and whole histories against one that lies."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bridge.evidence import Answer, Evidence, Reply, Source, Step
from bridge.ports import Cancel, Descriptor, LookupKey, SameId
from bridge.transfers.core import contract, fold
from bridge.transfers.core.facts import Transfer
from bridge.transfers.core.steps import Ask, Done, Rest, Schedule, Send
from tests.transfers.scripted_one import (
    ONE_PHASE,
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

# A lease is 9 s, patience 900 s, polls wait 0, 2, 3, 5, 10, 20, 20, … s: after an answer at 4 asked at 4, 6, 9, 14, 24.
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
    ("not found after the second, too soon", transfer(second, [lost, lost_again, looked("not_found", 6)]), ONE_PHASE, 6,
     Rest(at(8))),
    ("not found after the second", transfer(second, [lost, lost_again, looked("not_found", 6)]), ONE_PHASE, 8,
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


def test_a_clock_that_was_set_back_sends_nothing() -> None:
    """I-25 I-34 "Not found" that was told before the last request is not told again by a clock that was set back."""
    told_before = [lost, looked("not_found", 10), called(2, TRANSFER, "unknown", 6)]
    seen = transfer([*first, attempt(2, TRANSFER, 5)], told_before)
    for now in (6, 7, 10, 11, 20):
        step = contract.next_step(seen, ONE_PHASE, SCHEDULE, fold.find(seen, ONE_PHASE), at(now), 0)
        assert not isinstance(step, Send), now


def test_repetitions_keep_the_pace_of_a_short_schedule() -> None:
    """I-13 C-18 An operator's schedule may be a single wait: it paces every repetition."""
    pace = Schedule(polls=(3,), aftercare=())
    seen = transfer(second, [lost, lost_again, looked("not_found", 6)])
    steps = [contract.next_step(seen, ONE_PHASE, pace, fold.find(seen, ONE_PHASE), at(now), 0) for now in (6, 9)]
    assert steps == [Rest(at(9)), Send(TRANSFER, at(900))]


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
    ("looked up: refused twice, too young", first, [lost, looked("not_applied", 5), looked("not_applied", 13.9)],
     "open"),
    ("looked up: refused twice", first, [lost, looked("not_applied", 14), looked("not_applied", 15)], "refused"),
    ("looked up: cancelled, then refused", first, [lost, looked("cancelled", 14), looked("not_applied", 15)],
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
    ("another execution taken back", first,
     [looked("applied", 9, sequence=1), pushed("cancelled", 10, sequence=2, provider_reference="W-2")], "contradicted"),
    ("another execution taken back, as a look-up says", first,
     [looked("applied", 9, sequence=1), looked("cancelled", 10, sequence=2, provider_reference="W-2")], "contradicted"),
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


@pytest.mark.parametrize(("seconds", "verdict"), [((30, 39.9), "open"), ((39.9, 41), "open"), ((40, 41), "refused")])
def test_refusal_is_not_old_where_a_backup_was_restored(seconds: tuple[float, float], verdict: str) -> None:
    """C-09 I-13 What was sent after the backup is forgotten, and may have left until the restore was seen: a refusal
    that is looked up is final 10 s behind that, however old the request is that is known."""
    evidence = [replace(looked("not_applied", second), id=number) for number, second in enumerate(seconds, 2)]
    seen = transfer(first, [replace(lost, id=1), *evidence], rewound_at=at(30))
    assert fold.find(seen, ONE_PHASE).verdict.value == verdict


PART = {"amount": 400, "requested": 1000}
PARTS: list[tuple[str, list[Evidence], str, int | None]] = [
    ("part of it", [called(1, TRANSFER, "applied", **PART)], "applied", 400),
    ("all of it", [called(1, TRANSFER, "applied")], "applied", None),
    ("the same part twice", [called(1, TRANSFER, "applied", **PART), pushed("applied", 5, **PART)], "applied",
     400),
    ("two different parts", [called(1, TRANSFER, "applied", **PART), pushed("applied", 5, **(PART | {"amount": 500}))],
     "contradicted", None),
    ("a part and the whole", [called(1, TRANSFER, "applied", **PART), pushed("applied", 5)], "contradicted", None),
    ("a part that is not said to be one", [called(1, TRANSFER, "applied", amount=400)], "mismatched", None),
    ("a part of another whole", [called(1, TRANSFER, "applied", amount=400, requested=900)], "mismatched", None),
    ("more than the whole", [called(1, TRANSFER, "applied", amount=1001)], "mismatched", None),
    ("nothing of it", [called(1, TRANSFER, "applied", amount=0)], "mismatched", None),
    ("a part for another player", [called(1, TRANSFER, "applied", **PART, player="bob")], "mismatched", None),
    ("a part, told without a player", [called(1, TRANSFER, "applied", **PART, player=None)], "mismatched", None),
    ("a part cancelled", [pushed("cancelled", 5, **PART)], "mismatched", None),
    ("a part, taken back whole", [called(1, TRANSFER, "applied", **PART, sequence=1),
     pushed("cancelled", 5, sequence=2)], "refused", None),
]  # fmt: skip


@pytest.mark.parametrize(("evidence", "verdict", "arrived"), [row[1:] for row in PARTS], ids=[row[0] for row in PARTS])
def test_parts_where_they_are_agreed_on(evidence: list[Evidence], verdict: str, arrived: int | None) -> None:
    """I-12 C-09 Only where the descriptor says so, a smaller amount is the part that moved; anything else is loud."""
    finding = fold.find(transfer(first, evidence), replace(ONE_PHASE, partial=True))
    assert (finding.verdict.value, finding.arrived) == (verdict, arrived)
