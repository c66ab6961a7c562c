"""The timeout contract: what is done next about a leg, typed out, and what holds in every history that can be drawn."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.evidence import Answer, Evidence, Source, Step
from bridge.ports import SECOND, Cancel, Descriptor, LookupKey, SameId
from bridge.transfers.core import contract, fold
from bridge.transfers.core.draft import Draft, send, settle
from bridge.transfers.core.facts import Transfer
from bridge.transfers.core.proof import Finding, Verdict
from bridge.transfers.core.steps import Ask, Done, Rest, Send
from statemachines import LegState, TransferState
from tests.transfers.values import (
    COMPLETE,
    FORGETFUL,
    PREPARE,
    SCHEDULE,
    TWO_PHASE,
    VOID,
    at,
    attempt,
    called,
    looked,
    told,
    transfer,
)  # fmt: skip

DEAF = replace(TWO_PHASE, lookup_key=LookupKey.NONE)
STUBBORN = replace(TWO_PHASE, cancel=Cancel.NO)
EXECUTES_AGAIN = replace(TWO_PHASE, same_id=SameId.UNSAFE)

# Times of TWO_PHASE: expiry 10 s, margin 2 s, reserve 3 s, so the last complete leaves before 7 s after the first
# prepare, and what was prepared has died 12 s after the last request went quiet. A lease is 9 s, patience 900 s.
one, lost = [attempt(1, PREPARE)], called(1, PREPARE, "unknown", 4)
reserved = called(1, PREPARE, "reserved", 1)
both = [attempt(1, PREPARE), attempt(2, COMPLETE, 1)]
ended = [reserved, called(2, COMPLETE, "unknown", 2)]  # so what is looked up counts 12 s later
unsure = [reserved, called(2, COMPLETE, "unknown", 5)]
twice = [attempt(1, PREPARE), attempt(2, PREPARE, 4)]
held = {"leg": "reserved", "their_id": "Q1"}
known = {"their_id": "Q1"}
wish = {"cancel_requested_at": at(0)}


def moved(seconds: float) -> dict[str, int]:
    """The marks of a transfer whose provider's name was given to another one then."""
    return {"moved_at": at(seconds), "rewound_at": at(seconds), "first_rewound_at": at(seconds)}


# what, transfer, second, next step
STEPS: list[tuple[str, Transfer, float, Any]] = [
    ("planned", transfer(), 0, Send(PREPARE)),
    ("planned, moved away since", transfer(**moved(0)), 0, Send(PREPARE)),
    ("prepare answered unknown, moved away since", transfer(one, [lost], **moved(4)), 4, Rest(at(24))),
    ("prepared, moved away since", transfer(one, [reserved], **held, **moved(1)), 2, Ask()),
    ("prepared, moved away before", transfer(one, [reserved], **held, **moved(-1)), 2, Send(COMPLETE, at(7))),
    ("planned in a restored backup, moved away since", transfer(**moved(0) | {"first_rewound_at": at(-1)}), 0,
     Rest(at(20))),
    ("planned, moved away, restored since", transfer(**moved(0) | {"rewound_at": at(1)}), 2, Rest(at(22))),
    ("prepared, moved away before, restored since",
     transfer(one, [reserved], **held, **moved(-1) | {"rewound_at": at(1)}), 2, Ask()),
    ("prepare on the wire", transfer(one), 1, Rest(at(9))),
    ("prepare on the wire to the last moment", transfer(one), 8.9, Rest(at(9))),
    ("prepare unanswered, its lease over", transfer(one), 9, Rest(at(21))),
    ("prepare answered unknown", transfer(one, [lost]), 4, Send(PREPARE, at(7))),
    ("prepare answered unknown, just in time", transfer(one, [lost]), 6.999, Send(PREPARE, at(7))),
    ("prepare answered unknown, too late for a complete", transfer(one, [lost]), 7, Rest(at(16))),
    ("prepare unknown, cancel wished", transfer(one, [lost], **wish), 4, Rest(at(16))),
    ("never a third prepare", transfer(twice, [lost, called(2, PREPARE, "unknown", 5)]), 5, Rest(at(17))),
    ("second prepare insufficient", transfer(twice, [lost, called(2, PREPARE, "not_applied", 5,
     attempt_sensitive=True)]), 5, Rest(at(17))),
    ("409 on the first prepare", transfer(one, [called(1, PREPARE, "cancelled", 1)]), 1, Rest(at(13))),
    ("prepared with another amount", transfer(one, [called(1, PREPARE, "reserved", 1, amount=1)]), 1, Rest(at(13))),
    ("prepared", transfer(one, [reserved], **held), 1, Send(COMPLETE, at(7))),
    ("prepared, 3 s left", transfer(one, [reserved], **held), 7, Rest(at(13))),
    ("prepared, cancel wished", transfer(one, [reserved], **held, **wish), 1, Send(VOID, at(7))),
    ("prepared, cancel wished too late", transfer(one, [reserved], **held, **wish), 7, Rest(at(13))),
    ("prepared late by the second prepare", transfer(twice, [lost, called(2, PREPARE, "reserved", 5)], **held), 5,
     Send(COMPLETE, at(7))),
    ("complete on the wire", transfer(both, [reserved], **known), 2, Rest(at(10))),
    ("complete unanswered, its lease over", transfer(both, [reserved], **known), 10, Ask()),
    ("complete unknown", transfer(both, unsure, **known), 5, Ask()),
    ("asked once, unknown", transfer(both, [*unsure, looked("unknown", 5)], **known), 5, Rest(at(7))),
    ("asked once, next question due", transfer(both, [*unsure, looked("unknown", 5)], **known), 7, Ask()),
    ("asked twice", transfer(both, [*unsure, looked("unknown", 5), looked("unknown", 7)], **known), 7, Rest(at(10))),
    ("asked for hours", transfer(both, [*unsure, *(looked("unknown", 5 + n) for n in range(30))], **known), 35,
     Rest(at(45))),
    ("still pending there, time left", transfer(both, [*unsure, looked("in_progress", 5.5)], **known), 5.5,
     Send(COMPLETE, at(7))),
    ("still pending there, no time left", transfer(both, [*unsure, looked("in_progress", 7.5)], **known), 7.5,
     Rest(at(10))),
    ("still pending, cancel wished", transfer(both, [*unsure, looked("in_progress", 5.5)], **known, **wish), 5.5,
     Send(VOID, at(7))),
    ("complete conflicted", transfer(both, [reserved, called(2, COMPLETE, "unknown", 5, code="STATUS_CONFLICT")],
     **known), 5, Ask()),
    ("complete never left", transfer(both, [reserved, called(2, COMPLETE, "not_sent", 2)], **known), 2,
     Send(COMPLETE, at(7))),
    ("complete never left, too late", transfer(both, [reserved, called(2, COMPLETE, "not_sent", 7)], **known), 7,
     Rest(at(19))),
    ("complete never left, cancel wished", transfer(both, [reserved, called(2, COMPLETE, "not_sent", 2)], **known,
     **wish), 2, Send(VOID, at(7))),
    ("three completes never left",
     transfer([attempt(1, PREPARE), *(attempt(n, COMPLETE, 1) for n in (2, 3, 4))],
              [reserved, *(called(n, COMPLETE, "not_sent", n) for n in (2, 3, 4))], **known), 4, Rest(at(16))),
    ("void unknown", transfer([attempt(1, PREPARE), attempt(2, VOID, 1)], [reserved, called(2, VOID, "unknown", 3)],
     **known, **wish), 3, Rest(at(15))),
    ("patience spent, not yet asked", transfer(both, [*unsure, looked("unknown", 899)], **known), 900, Ask()),
    ("rest never outlasts patience", transfer(both, [*unsure, *(looked("unknown",
     889.0 + n / 10) for n in range(20))], **known), 891, Rest(at(900))),
    ("confirmed", transfer(both, [looked("applied", 6)], state="confirmed", leg="applied", **known,
     settled_at=at(6)), 10, Done()),
    ("confirmed under a request that may be on the wire", transfer(both, [looked("applied", 6)], state="confirmed",
     leg="applied", **known, settled_at=at(6)), 7, Rest(at(10))),
    ("reversed by a refusal", transfer(one, [called(1, PREPARE, "not_applied")], state="reversed", leg="refused",
     settled_at=at(1)), 2, Done()),
    ("reversed, aftercare", transfer(both, [*ended, looked("cancelled", 14), looked("cancelled", 15)],
     state="reversed", leg="refused", **known, settled_at=at(15)), 16, Rest(at(75))),
    ("reversed, aftercare due", transfer(both, [*ended, looked("cancelled", 14), looked("cancelled", 15)],
     state="reversed", leg="refused", **known, settled_at=at(15)), 75, Ask()),
    ("contradicted", transfer(both, [*ended, looked("applied", 6), looked("cancelled", 14), looked("cancelled", 15)],
     state="orphaned", leg="applied", **known), 16, Rest(at(35))),
    ("contradicted, prepared", transfer(one, [reserved, looked("applied", 2, amount=5)], state="orphaned", **held),
     3, Rest(at(22))),
    ("orphaned, still asked slowly", transfer(both, [*unsure, *(looked("unknown", 900 + n) for n in range(9))],
     state="orphaned", **known), 910, Rest(at(928))),
    ("orphaned, question due", transfer(both, [*unsure, *(looked("unknown", 900 + n) for n in range(9))],
     state="orphaned", **known), 928, Ask()),
]  # fmt: skip


@pytest.mark.parametrize(("seen", "second", "step"), [row[1:] for row in STEPS], ids=[row[0] for row in STEPS])
def test_next_step(seen: Transfer, second: float, step: Any) -> None:
    """I-13 I-25 C-01 C-05 C-18 The timeout contract of a two-phase provider, one situation a row."""
    assert contract.next_step(seen, TWO_PHASE, SCHEDULE, fold.find(seen, TWO_PHASE), at(second), 0) == step


def test_queued_while_the_breaker_is_open() -> None:
    """C-12 Nothing new is sent before the breaker may be looked at again; what was sent is driven on."""
    open_ = Finding(Verdict.OPEN)
    assert contract.next_step(transfer(), TWO_PHASE, SCHEDULE, open_, at(5), at(8)) == Rest(at(8))
    assert contract.next_step(transfer(), TWO_PHASE, SCHEDULE, open_, at(8), at(8)) == Send(PREPARE)
    assert contract.next_step(transfer(one, [reserved], **held), TWO_PHASE, SCHEDULE, open_, at(1), at(8)) == Send(
        COMPLETE, at(7)
    )


@pytest.mark.parametrize(
    ("descriptor", "seen", "second", "step"),
    [
        (STUBBORN, transfer(one, [reserved], **held, **wish), 1, Rest(at(13))),
        (STUBBORN, transfer(both, [*unsure, looked("in_progress", 5.5)], **known, **wish), 5.5, Rest(at(7))),
        (EXECUTES_AGAIN, transfer(one, [lost]), 4, Rest(at(16))),
        (replace(TWO_PHASE, dedupe_window=3), transfer(one, [lost]), 4, Rest(at(16))),  # it may execute again
        (replace(TWO_PHASE, dedupe_window=4.5), transfer(one, [lost]), 4, Send(PREPARE, at(7))),
        (DEAF, transfer(both, unsure, **known), 5, Rest(at(25))),
        (TWO_PHASE, transfer(both, unsure), 5, Rest(at(25))),  # their id was never learnt
        (FORGETFUL, transfer(one, [lost]), 4, Send(PREPARE, at(7))),
        (EXECUTES_AGAIN, transfer(), 4, Send(PREPARE)),
        (EXECUTES_AGAIN, transfer(rewound_at=at(3)), 4, Rest(at(24))),  # perhaps it was sent, and is forgotten
        (replace(TWO_PHASE, dedupe_window=3600), transfer(rewound_at=at(3)), 4, Rest(at(24))),
        (replace(TWO_PHASE, dedupe_window=3600), transfer(one, [lost], rewound_at=at(3)), 4, Rest(at(16))),
        (replace(TWO_PHASE, dedupe_window=3), transfer(), 4, Send(PREPARE)),
        (EXECUTES_AGAIN, transfer(**moved(3)), 4, Send(PREPARE)),  # nothing is forgotten, it has only moved
        (TWO_PHASE, transfer(rewound_at=at(3)), 4, Send(PREPARE)),
    ],
)
def test_stricter_descriptors(descriptor: Descriptor, seen: Transfer, second: float, step: Any) -> None:
    """I-25 C-17 C-58 No void where the provider cannot, no retry where an id executes again, nor of what a restored
    backup may have forgotten, no question that cannot be asked."""
    assert contract.next_step(seen, descriptor, SCHEDULE, fold.find(seen, descriptor), at(second), 0) == step


# what, transfer, second, code of what the contract proves
CONCLUSIONS: list[tuple[str, Transfer, float, str | None]] = [
    ("planned", transfer(), 899.9, None),
    ("planned, patience spent", transfer(), 900, "never_sent"),
    ("planned, cancel wished", transfer(**wish), 0, "never_sent"),
    ("prepare on the wire", transfer(one), 8.9, None),
    ("prepare on the wire, cancel wished", transfer(one, **wish), 8.9, None),
    ("prepare unanswered, not dead yet", transfer(one), 20.9, None),
    ("prepare unanswered, dead", transfer(one), 21, "never_completed"),
    ("prepare unknown, not dead yet", transfer(one, [lost]), 15.9, None),
    ("prepare unknown, dead", transfer(one, [lost]), 16, "never_completed"),
    ("second prepare counts", transfer(twice, [lost]), 16, None),
    ("prepared, not dead yet", transfer(one, [reserved], **held), 12.9, None),
    ("prepared, dead", transfer(one, [reserved], **held), 13, "never_completed"),
    ("complete sent, silence", transfer(both, [reserved], **known), 10**7, None),
    ("complete unknown", transfer(both, unsure, **known), 10**7, None),
    ("complete unknown, cancel wished", transfer(both, unsure, **known, **wish), 10**7, None),
    ("complete never left, not dead yet", transfer(both, [reserved, called(2, COMPLETE, "not_sent", 2)], **known),
     13.9, None),
    ("complete never left, dead", transfer(both, [reserved, called(2, COMPLETE, "not_sent", 2)], **known), 14,
     "never_completed"),
    ("nothing ever left", transfer(one, [called(1, PREPARE, "not_sent", 1)]), 1, "never_left"),
    ("one of two prepares left", transfer(twice, [called(1, PREPARE, "not_sent", 1)]), 12, None),
    ("collided", transfer(one, [called(1, PREPARE, "cancelled", 1)]), 10**7, None),
    ("void unknown, dead", transfer([*one, attempt(2, VOID, 1)], [reserved, called(2, VOID, "unknown", 3)],
     **known), 15, "never_completed"),
    ("void on the wire", transfer([*one, attempt(2, VOID, 1)], [reserved], **known), 9.9, None),
    ("sent in one request, in another protocol", transfer([attempt(1, Step.TRANSFER)]), 10**7, None),
    ("moved away, dead", transfer(one, [reserved], **held, moved_at=at(1), rewound_at=at(1)), 13, None),
    ("already applied", transfer(one, [looked("applied", 2)], leg="applied", **known), 10**7, None),
    ("already refused", transfer(one, [called(1, PREPARE, "not_applied")], leg="refused"), 10**7, None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("seen", "second", "code"), [row[1:] for row in CONCLUSIONS], ids=[row[0] for row in CONCLUSIONS]
)
def test_conclude(seen: Transfer, second: float, code: str | None) -> None:
    """I-13 C-02 What silence proves: nothing once a complete was committed as sent; before it, only past the expiry."""
    reply = contract.conclude(seen, TWO_PHASE, at(second))
    assert (reply and reply.code) == code
    assert reply is None or reply.answer is Answer.NOT_APPLIED


def test_inference_b_complete_needs_the_reserve() -> None:
    """I-13 C-02 protocols.md §1.1 (b): less than 3 s before the expiry no complete is sent, and it dies by itself."""
    seen = transfer(one, [reserved], **held)
    found = fold.find(seen, TWO_PHASE)
    for tenth in range(200):
        step = contract.next_step(seen, TWO_PHASE, SCHEDULE, found, at(1 + tenth / 10), 0)
        assert isinstance(step, Send) == (1 + tenth / 10 < 7)
    draft = Draft(seen)
    settle(draft, TWO_PHASE, at(13), may_conclude=True)
    assert draft.transfer.state is TransferState.REVERSED


def test_only_the_lease_holder_concludes() -> None:
    """I-30 C-40 A worker whose lease is stale concludes nothing from silence."""
    draft = Draft(transfer(one))
    settle(draft, TWO_PHASE, at(100), may_conclude=False)
    assert (draft.transfer.state, draft.moves, draft.found) == (TransferState.PENDING, [], [])
    settle(draft, TWO_PHASE, at(100), may_conclude=True)
    assert draft.transfer.state is TransferState.REVERSED


@pytest.mark.parametrize(
    ("seen", "second", "spent"),
    [
        (transfer(both, unsure, **known), 899.9, False),
        (transfer(both, unsure, **known), 900, False),
        (transfer(both, [*unsure, looked("unknown", 899.9)], **known), 900, False),
        (transfer(both, [*unsure, looked("unknown", 900)], **known), 900, True),
        (transfer(both, unsure), 900, True),
        (transfer([attempt(1, PREPARE, 895)]), 900, False),
        (transfer([attempt(1, PREPARE, 895)]), 904, True),
    ],
)
def test_patience(seen: Transfer, second: float, spent: bool) -> None:
    """C-18 C-20 Patience is spent after a last question, where one can be asked, and never under a request in
    flight."""
    assert contract.patience_spent(seen, TWO_PHASE, at(second)) is spent


def test_aftercare_is_asked_as_often_as_the_schedule_says() -> None:
    """C-07 A reversal by inference or cancel is asked about after 1 min, 10 min, 1 h, then left alone."""
    evidence = [*ended, looked("cancelled", 14), looked("cancelled", 15)]
    asked = []
    for second in range(16, 8000, 1):
        seen = transfer(both, evidence, state="reversed", leg="refused", **known, settled_at=at(15))
        step = contract.next_step(seen, TWO_PHASE, SCHEDULE, fold.find(seen, TWO_PHASE), at(second), 0)
        if isinstance(step, Ask):
            asked.append(second - 15)
            evidence.append(looked("cancelled", second))
        elif isinstance(step, Done):
            break
        else:
            assert step.until > at(second)
    assert asked == [60, 600, 3600]


def test_aftercare_counts_only_what_was_answered() -> None:
    """C-07 C-14 A look-up that failed is no look-up: it is asked again; one answer serves every mark that has
    passed."""
    cancelled = [*ended, looked("cancelled", 14), looked("cancelled", 15)]

    def step(evidence: list[Evidence], second: float) -> Any:
        seen = transfer(
            both, [*cancelled, *evidence], state="reversed", leg="refused", their_id="Q1", settled_at=at(15)
        )
        return contract.next_step(seen, TWO_PHASE, SCHEDULE, fold.find(seen, TWO_PHASE), at(second), 0)

    failed = [looked("unknown", 75)]
    assert step([], 74) == Rest(at(75))
    assert step(failed, 75) == Rest(at(77))
    assert step(failed, 77) == Ask()
    assert step([*failed, looked("unknown", 77)], 77) == Rest(at(80))
    assert step([*failed, looked("cancelled", 80)], 80) == Rest(at(615))
    assert step([looked("cancelled", 700)], 700) == Rest(at(3615))
    assert step([looked("cancelled", 4000)], 4000) == Done()
    assert step([looked("unknown", 4000)], 4002) == Ask()


def test_nothing_is_concluded_where_something_is_proved() -> None:
    """I-12 I-16 The contract concludes from silence alone: not beside a mismatch, not beside a proof."""
    for piece in (looked("applied", 2, amount=5), looked("applied", 2)):
        draft = Draft(transfer(one, [reserved, piece], leg="reserved", their_id="Q1"))
        settle(draft, TWO_PHASE, at(100), may_conclude=True)
        assert draft.found == []
        assert draft.transfer.state.value == ("confirmed" if piece.reply.amount == 1000 else "orphaned")


def test_what_is_never_completed_expires_though_it_was_worked_on() -> None:
    """I-13 I-15 A prepared half that dies by itself is no less dead for having been worked on and not found."""
    words = [called(1, PREPARE, "unknown", 4), looked("in_progress", 20)]
    words += [looked("not_found", second) for second in (100, 120, 140)]
    draft = Draft(transfer([attempt(1, PREPARE, 0.0)], words))
    settle(draft, replace(FORGETFUL, expiry=600), at(150), may_conclude=True)
    assert draft.transfer.state.value == "orphaned"
    settle(draft, replace(FORGETFUL, expiry=600), at(1000), may_conclude=True)
    assert (draft.transfer.state.value, draft.found[0].reply.code) == ("reversed", "never_completed")


def test_only_the_lease_holder_loses_patience() -> None:
    """I-30 C-18 An answer from a worker without the lease does not orphan what the holder may still prove."""
    seen = transfer(both, [*unsure, looked("unknown", 900)], **known)
    for holding, end in ((False, "pending"), (True, "orphaned")):
        draft = Draft(seen)
        settle(draft, TWO_PHASE, at(901), may_conclude=holding)
        assert draft.transfer.state.value == end


@pytest.mark.parametrize("descriptor", [TWO_PHASE, DEAF])
def test_orphan_that_cannot_be_asked_is_not_woken_every_second(descriptor: Descriptor) -> None:
    """I-31 I-16 What only people can help, and nobody can ask about, rests for the longest wait, again and again."""
    seen = transfer(one, [looked("applied", 2, amount=5)], state="orphaned")
    for second in (100, 1000, 10**6):
        step = contract.next_step(seen, descriptor, SCHEDULE, fold.find(seen, descriptor), at(second), 0)
        assert step == Rest(at(second + 20))


def test_questions_in_between_delay_nothing() -> None:
    """I-31 C-18 The look-ups follow the time since the request: somebody who asks each second pushes none of
    them away."""
    curious = [looked("unknown", 5 + n) for n in range(100)]
    for second in (9, 14, 24, 44, 64, 84):
        seen = transfer(both, [*unsure, *(e for e in curious if e.at < at(second))], **known)
        step = contract.next_step(seen, TWO_PHASE, SCHEDULE, fold.find(seen, TWO_PHASE), at(second), 0)
        assert isinstance(step, Rest)
        assert at(second) < step.until <= at(second + 21)
    outage = transfer(both, [*unsure, looked("unknown", 5)], **known)
    assert contract.next_step(outage, TWO_PHASE, SCHEDULE, fold.find(outage, TWO_PHASE), at(500), 0) == Ask()


def test_somebody_wants_to_know_now() -> None:
    """I-31 A refresh asks before the time, but not under an open request, not twice a second, not where it cannot."""
    asked = transfer(both, [*unsure, looked("unknown", 5)], **known)
    assert contract.sooner(Rest(at(7)), asked.outside, TWO_PHASE, at(5.5)) == Rest(at(7))
    assert contract.sooner(Rest(at(7)), asked.outside, TWO_PHASE, at(6)) == Ask()
    assert contract.sooner(Rest(at(7)), asked.outside, DEAF, at(6)) == Rest(at(7))
    on_the_wire = transfer(both, [reserved], **known).outside
    assert contract.sooner(Rest(at(10)), on_the_wire, TWO_PHASE, at(6)) == Rest(at(10))
    assert contract.sooner(Send(PREPARE), asked.outside, TWO_PHASE, at(6)) == Send(PREPARE)


# --- every history ----------------------------------------------------------------------------------------


HISTORY_SCHEDULE = replace(SCHEDULE, polls=(0, 2, 3, 5, 10, 20, 120))
LIKELY = {PREPARE: Answer.RESERVED, COMPLETE: Answer.UNKNOWN, VOID: Answer.CANCELLED, None: Answer.IN_PROGRESS}


@dataclass
class Life:
    """One transfer driven through time by the pure core alone, with answers drawn at random."""

    rng: random.Random
    descriptor: Descriptor
    seen: Transfer
    now: int = at(0)
    sent: list[tuple[Step, int]] = field(default_factory=list)
    same_instant: int = 0
    steps: int = 0

    def live(self, until: int) -> None:
        while self.now < until:
            draft = Draft(self.seen)
            settle(draft, self.descriptor, self.now, may_conclude=True)
            found = draft.finding
            step = contract.next_step(draft.transfer, self.descriptor, HISTORY_SCHEDULE, found, self.now, 0)
            self.seen = draft.transfer
            before = self.now
            self.steps += 1
            if isinstance(step, Done):
                return
            if isinstance(step, Rest):
                assert step.until > self.now, "a rest that is over already is a hot loop"
                # A worker may be late, and the wake-up may come with somebody else's late answer.
                self.now = step.until + self.rng.choice((0, 0, 1, 300_000, 4 * SECOND))
            elif isinstance(step, Ask):
                self.take_time()
                self.hear(Evidence(0, 0, Source.LOOKUP, self.reply(None), self.now))
            else:
                self.put_on_the_wire(draft, step, found)
            self.same_instant = self.same_instant + 1 if self.now == before else 0
            assert self.same_instant < 12, "it turns without time passing"
            if self.rng.random() < 0.05:
                self.seen = replace(self.seen, cancel_requested_at=self.seen.cancel_requested_at or self.now)

    def put_on_the_wire(self, draft: Draft, step: Send, found: Finding) -> None:
        assert self.seen.state not in (TransferState.CONFIRMED, TransferState.REVERSED), "sent after the end"
        assert found.verdict is Verdict.OPEN, "sent although something was proved"
        if step.step is not PREPARE:
            first = self.seen.outside.attempts[0].sent_at
            last = first + int((self.descriptor.expiry - self.descriptor.complete_reserve) * SECOND)  # type: ignore[operator]
            assert self.now < last, "a complete later than the reserve"
            assert step.before is not None
            assert step.before <= last
        tried = send(draft, step.step, self.now, self.now + 9 * SECOND)
        self.seen = draft.transfer
        self.sent.append((step.step, self.now))
        crashed = self.rng.random() < 0.15
        self.take_time()
        if not crashed:
            self.hear(Evidence(0, 0, Source.CALL, self.reply(step.step), self.now, step.step, tried.number))

    def hear(self, piece: Evidence) -> None:
        outside = self.seen.outside
        piece = replace(piece, id=len(outside.evidence) + 1, ordinal=outside.ordinal)
        outside = replace(outside, evidence=(*outside.evidence, piece))
        legs = tuple(outside if leg.ordinal == outside.ordinal else leg for leg in self.seen.legs)
        self.seen = replace(self.seen, legs=legs)

    def take_time(self) -> None:
        self.now += self.rng.choice((0, 0, 1000, 400_000, 2 * SECOND, 4 * SECOND))

    def reply(self, step: Step | None) -> Any:
        answer = self.rng.choice([*Answer, *[Answer.UNKNOWN] * 2, *[LIKELY[step]] * 6])
        changes: dict[str, Any] = {"attempt_sensitive": self.rng.random() < 0.3}
        if self.rng.random() < 0.1:
            changes |= self.rng.choice(
                ({"amount": 5}, {"reference": "other"}, {"provider_reference": None}, {"player": None})
            )
        return told(answer, self.seen.direction.value, **changes)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 2**32),
    st.sampled_from(["in", "out"]),
    st.sampled_from([TWO_PHASE, FORGETFUL, STUBBORN, EXECUTES_AGAIN, DEAF]),
)
def test_every_history(seed: int, direction: str, descriptor: Descriptor) -> None:
    """I-13 I-16 I-25 I-31 In every history: no late complete, no third prepare, nothing sent after the end, no
    hot loop, an end."""
    life = Life(random.Random(seed), descriptor, transfer(direction=direction))
    life.live(at(2 * 3600))
    counts = Counter(step for step, _ in life.sent)
    assert counts[PREPARE] <= (1 if descriptor.same_id is SameId.UNSAFE else 2)
    assert counts[COMPLETE] <= 3
    assert life.seen.state is not TransferState.PENDING, "two hours, and still pending"
    assert life.steps < 300, "bounded work in bounded time"
    if not life.seen.outside.attempts:
        assert life.seen.outside.state in (LegState.PLANNED, LegState.REFUSED)


def test_histories_are_not_all_alike() -> None:
    """I-13 The property above is not true of nothing: drawn histories end in every state and use every step."""
    ends: Counter[str] = Counter()
    steps: Counter[str] = Counter()
    for seed in range(200):
        life = Life(random.Random(seed), TWO_PHASE, transfer(direction="in" if seed % 2 else "out"))
        life.live(at(2 * 3600))
        ends[life.seen.state.value] += 1
        steps.update(step.value for step, _ in life.sent)
    assert min(ends["confirmed"], ends["reversed"], ends["orphaned"]) > 10, ends
    assert min(steps["prepare"], steps["complete"], steps["void"]) > 5, steps


def test_contract_in_words() -> None:
    """I-25 What is printed of the contract follows the descriptor."""
    words = contract.describe(TWO_PHASE)
    assert words["not found"] == "proves nothing"
    assert words["cancel wished"] == "void at the provider"
    assert contract.describe(FORGETFUL)["not found"] == "proves absence 60 s after the last request, seen 3 times"
    assert contract.describe(EXECUTES_AGAIN)["prepare unanswered"] == "hold until it has died"
    assert contract.describe(STUBBORN)["cancel wished"] == "hold"
