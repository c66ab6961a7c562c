"""What is proof and what is not, by typed-out tables and by exhaustion over all short stories of a two-phase leg."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.evidence import Answer, Evidence, Reply, Source, Step
from bridge.ports import Side
from bridge.positions import Position
from bridge.transfers.core import fold
from bridge.transfers.core.draft import Draft, settle
from bridge.transfers.core.facts import Attempt, Transfer
from bridge.transfers.core.fold import find
from bridge.transfers.core.proof import Finding, Verdict, reservation
from statemachines import LegState, TransferFacts, TransferState
from tests.transfers.values import (
    COMPLETE,
    FORGETFUL,
    LEASE,
    PREPARE,
    T0,
    TWO_PHASE,
    VOID,
    arrive,
    at,
    attempt,
    called,
    looked,
    told,
    transfer,
)  # fmt: skip

# The shapes a two-phase leg's attempts can have.
SHAPES: dict[str, tuple[Step, ...]] = {
    "prepare": (PREPARE,),
    "prepare twice": (PREPARE, PREPARE),
    "completed": (PREPARE, COMPLETE),
    "completed after a retry": (PREPARE, PREPARE, COMPLETE),
    "voided": (PREPARE, VOID),
    "voided after a complete": (PREPARE, COMPLETE, VOID),
}


def tried(shape: str) -> tuple[Attempt, ...]:
    """The attempts of a shape, a second apart."""
    return tuple(attempt(number, step, number - 1.0) for number, step in enumerate(SHAPES[shape], 1))


def bare(answer: str, **changes: Any) -> Reply:
    """An answer that tells nothing but itself."""
    return Reply(Answer(answer), **changes)


# --- one story a row: shape, evidence, verdict ----------------------------------------------------------

Story = tuple[str, str, list[Evidence], str]
STORIES: list[Story] = [
    # nothing proved
    ("silence", "prepare", [], "open"),
    ("prepared", "prepare", [called(1, PREPARE, "reserved")], "open"),
    ("timeout of a complete", "completed", [called(1, PREPARE, "reserved"), called(2, COMPLETE, "unknown")], "open"),
    ("still pending", "completed", [called(2, COMPLETE, "unknown"), looked("in_progress", 20)], "open"),
    ("not found for ever", "completed", [looked("not_found", t) for t in (20, 100, 1000, 9999)], "open"),
    ("failed look-ups for ever", "completed", [looked("unknown", t) for t in (20, 100, 1000, 9999)], "open"),
    ("told by nobody in particular", "completed", [called(2, COMPLETE, "applied", reply=bare("applied"))], "open"),
    ("told without the amount", "completed", [looked("applied", 20, amount=None)], "open"),
    ("told without the currency", "completed", [looked("applied", 20, currency=None)], "open"),
    ("told without the player", "completed", [looked("applied", 20, player=None)], "open"),
    ("told without the side", "completed", [looked("applied", 20, side=None)], "open"),
    ("told without our reference", "completed", [looked("applied", 20, reference=None)], "open"),
    # C-16: about somebody else
    ("another reference", "completed", [looked("applied", 20, reference="other")], "open"),
    ("another reference and amount", "completed", [looked("applied", 20, reference="other", amount=1)], "open"),
    ("another reference refused", "completed", [looked("cancelled", t, reference="other") for t in (22, 40)], "open"),
    # proof of the effect
    ("completed", "completed", [called(2, COMPLETE, "applied")], "applied"),
    ("looked up", "completed", [called(2, COMPLETE, "unknown"), looked("applied", 3)], "applied"),
    ("looked up much later", "completed", [looked("unknown", 3), looked("applied", 10**7)], "applied"),
    ("not found, then found", "completed", [looked("not_found", 20), looked("not_found", 40), looked("applied",
     60)], "applied"),
    ("without their id", "completed", [looked("applied", 20, provider_reference=None)], "applied"),
    # refusals of the first prepare
    ("refused", "prepare", [called(1, PREPARE, "not_applied")], "refused"),
    ("insufficient on attempt 1", "prepare", [called(1, PREPARE, "not_applied", attempt_sensitive=True)], "refused"),
    ("refused, told bare", "prepare", [called(1, PREPARE, "", reply=bare("not_applied"))], "refused"),
    ("409 on attempt 1", "prepare", [called(1, PREPARE, "", reply=bare("cancelled", attempt_sensitive=True))], "open"),
    # the second prepare: attempt-sensitive
    ("lost, then insufficient", "prepare twice",
     [called(1, PREPARE, "unknown"), called(2, PREPARE, "not_applied", attempt_sensitive=True)], "open"),
    ("silent, then insufficient", "prepare twice", [called(2, PREPARE, "not_applied", attempt_sensitive=True)], "open"),
    ("lost, then refused", "prepare twice", [called(1, PREPARE, "unknown"), called(2, PREPARE, "not_applied")], "open"),
    ("never left, then refused", "prepare twice",
     [called(1, PREPARE, "not_sent"), called(2, PREPARE, "not_applied", attempt_sensitive=True)], "refused"),
    ("insufficient twice", "prepare twice",
     [called(n, PREPARE, "not_applied", attempt_sensitive=True) for n in (1, 2)], "open"),
    ("reserved, then insufficient", "prepare twice",
     [called(1, PREPARE, "reserved"), called(2, PREPARE, "not_applied", attempt_sensitive=True)], "open"),
    # protocols.md §1.1 inference (a): lost, then 409: it can only be cancelled, for nobody knew the id
    ("lost, then 409", "prepare twice",
     [called(1, PREPARE, "unknown"), called(2, PREPARE, "", reply=bare("cancelled", attempt_sensitive=True))],
         "refused"),
    ("409 twice is a collision", "prepare twice",
     [called(n, PREPARE, "", reply=bare("cancelled", attempt_sensitive=True)) for n in (1, 2)], "open"),
    ("never left, then 409 is a collision", "prepare twice",
     [called(1, PREPARE, "not_sent"), called(2, PREPARE, "", reply=bare("cancelled", attempt_sensitive=True))], "open"),
    ("409 where a complete was sent", "completed after a retry",
     [called(1, PREPARE, "unknown"), called(2, PREPARE, "", reply=bare("cancelled", attempt_sensitive=True))], "open"),
    ("409 where a complete never left", "completed after a retry",
     [called(1, PREPARE, "unknown"), called(2, PREPARE, "", reply=bare("cancelled")), called(3, COMPLETE,
         "not_sent")], "refused"),
    # a complete's own refusals prove nothing
    ("complete refused", "completed", [called(1, PREPARE, "reserved"), called(2, COMPLETE, "not_applied")], "open"),
    ("complete cancelled", "completed", [called(1, PREPARE, "reserved"), called(2, COMPLETE, "cancelled")], "open"),
    # negative look-ups: older than fail_final_after (12 s after the lease of the last request, 1 s to 10 s) and twice
    ("one cancelled", "completed", [looked("cancelled", 23)], "open"),
    ("two cancelled, too young", "completed", [looked("cancelled", 5), looked("cancelled", 21.9)], "open"),
    ("two cancelled, one too young", "completed", [looked("cancelled", 21.9), looked("cancelled", 23)], "open"),
    ("two cancelled", "completed", [looked("cancelled", 22), looked("cancelled", 23)], "refused"),
    ("two cancelled, the request known to have ended", "completed", [called(1, PREPARE, "reserved"),
     called(2, COMPLETE, "unknown", 4), looked("cancelled", 16), looked("cancelled", 17)], "refused"),
    ("two cancelled, too young behind its end", "completed", [called(1, PREPARE, "reserved"),
     called(2, COMPLETE, "unknown", 4), looked("cancelled", 15.9), looked("cancelled", 17)], "open"),
    ("two failed", "completed", [looked("not_applied", 22), looked("not_applied", 23)], "refused"),
    ("two cancelled, told bare", "completed", [replace(looked("cancelled", t),
     reply=bare("cancelled")) for t in (22, 23)], "open"),
    ("cancelled, then pending, then cancelled", "completed",
     [looked("cancelled", 22), looked("in_progress", 23), looked("cancelled", 24)], "refused"),
    # voids
    ("void answered", "voided", [called(1, PREPARE, "reserved"), called(2, VOID, "cancelled")], "refused"),
    ("void unanswered", "voided", [called(1, PREPARE, "reserved"), called(2, VOID, "unknown")], "open"),
    ("void conflict", "voided", [called(1, PREPARE, "reserved"), called(2, VOID, "not_applied")], "open"),
    ("void of another", "voided", [called(2, VOID, "cancelled", reference="other")], "open"),
    ("void told bare", "voided", [called(2, VOID, "", reply=bare("cancelled"))], "open"),
    ("complete applied, void cancelled", "voided after a complete",
     [called(2, COMPLETE, "applied"), called(3, VOID, "cancelled")], "contradicted"),
    # contradictions, whichever came first
    ("applied, then twice cancelled", "completed", [looked("applied", 3), looked("cancelled", 22),
     looked("cancelled", 23)], "contradicted"),
    ("twice cancelled, then applied", "completed", [looked("cancelled", 22), looked("cancelled", 23),
     looked("applied", 24)], "contradicted"),
    # mismatches: about our reference, with something else told
    ("another amount", "completed", [looked("applied", 3, amount=999)], "mismatched"),
    ("another currency", "completed", [looked("applied", 3, currency="USD")], "mismatched"),
    ("another player", "completed", [looked("applied", 3, player="bob")], "mismatched"),
    ("the other side", "completed", [looked("applied", 3, side="debit")], "mismatched"),
    ("another amount cancelled", "completed", [looked("cancelled", 3, amount=999)], "mismatched"),
    ("mismatch beside proof", "completed", [looked("applied", 3), looked("applied", 4, amount=999)], "mismatched"),
    ("another amount, only pending", "completed", [looked("in_progress", 3, amount=999)], "open"),
    ("another amount prepared", "prepare", [called(1, PREPARE, "reserved", amount=999)], "open"),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "evidence", "verdict"), [s[1:] for s in STORIES], ids=[s[0] for s in STORIES])
def test_verdict(shape: str, evidence: list[Evidence], verdict: str) -> None:
    """I-12 I-13 C-07 C-09 C-10 C-13 C-14 C-15 C-16 C-17 What each typed-out story proves, and what it does not."""
    finding = find(transfer(tried(shape), evidence), TWO_PHASE)
    assert finding.verdict.value == verdict
    assert (finding.proof is None) == (verdict == "open")


# --- exhaustion ---------------------------------------------------------------------------------------


def silent_observations(shape: str) -> list[Evidence]:
    """Every observation that decides nothing by itself, from every source and for every attempt."""
    steps = SHAPES[shape]
    nothing = ("reserved", "in_progress", "not_found", "not_sent", "unknown")
    found = [looked(answer, 50) for answer in nothing]
    found += [
        called(n, step, answer, 50) for n, step in enumerate(steps, 1) for answer in nothing if answer != "not_sent"
    ]
    for answer in ("applied", "cancelled", "not_applied"):
        found.append(replace(looked("unknown", 50), reply=bare(answer)))  # told of nobody
        found.append(looked(answer, 50, reference="other"))
        found.append(looked(answer, 50, amount=None))
    found += [looked("cancelled", 2), looked("not_applied", 2)]  # too young, however often
    for n, step in enumerate(steps, 1):
        if step is COMPLETE:
            found += [called(n, step, "not_applied", 50), called(n, step, "cancelled", 50)]
        if step is PREPARE and n > 1:
            found.append(called(n, step, "not_applied", 50, attempt_sensitive=True))
    if SHAPES[shape][0] is PREPARE:
        found.append(called(1, PREPARE, "", 50, reply=bare("cancelled", attempt_sensitive=True)))
    return found


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("direction", ["in", "out"])
def test_no_sequence_of_non_definitive_observations_moves_money(shape: str, direction: str) -> None:
    """I-12 I-13 C-13 C-14 C-15 C-16 Whatever is observed that decides nothing, in any order up to three, money
    stands still."""
    side = "credit" if direction == "in" else "debit"
    pieces = [
        replace(piece, id=number, reply=replace(piece.reply, side=side if piece.reply.side else None))
        for number, piece in enumerate(silent_observations(shape), 1)
    ]
    begun = transfer(tried(shape), direction=direction, their_id="Q1")
    start = fold.position(begun)
    count = 0
    for length in (1, 2, 3) if direction == "in" else (1, 2):
        for sequence in itertools.product(pieces, repeat=length):
            seen = transfer(tried(shape), sequence, direction=direction, their_id="Q1")
            finding = find(seen, TWO_PHASE)
            assert finding.verdict is Verdict.OPEN, [
                (e.source.value, e.step, e.attempt, e.reply.answer.value) for e in sequence
            ]
            facts = fold.facts_of(seen, finding, patience_spent=False)
            assert fold.trigger_for(seen.state, facts) is None
            assert fold.position(seen) == start
            count += 1
    assert count > (5_000 if direction == "in" else 300)


EVERY_ANSWER = [answer.value for answer in Answer]


def every_observation(shape: str) -> list[Evidence]:
    """Each of the eight answers, from each source, for each attempt, told in full, old enough to count."""
    steps = SHAPES[shape]
    found = [looked(answer, 50) for answer in EVERY_ANSWER]
    return found + [called(n, step, answer, 50) for n, step in enumerate(steps, 1) for answer in EVERY_ANSWER]


def definitive(shape: str, pieces: tuple[Evidence, ...]) -> set[str]:
    """What protocols.md §5 and design §5 let these prove, said again in other words: {applied}, {refused},
    both, none."""
    steps, proved = SHAPES[shape], set()
    direct: dict[int, str] = {}
    for piece in pieces:
        if piece.source is Source.CALL:
            direct.setdefault(piece.attempt, piece.reply.answer.value)
    if any(piece.reply.answer is Answer.APPLIED for piece in pieces):
        proved.add("applied")
    left = [n for n in range(1, len(steps) + 1) if direct.get(n) != "not_sent"]
    first_sight = next((n for n in left if steps[n - 1] is PREPARE), None)
    conflicts = {
        p.attempt
        for p in pieces
        if p.source is Source.CALL and p.step is PREPARE and p.reply.answer is Answer.CANCELLED
    }
    completed = any(steps[n - 1] is COMPLETE for n in left)
    collided, first_known = first_sight in conflicts, first_sight in direct
    if conflicts and first_known and not collided and not completed and any(n != first_sight for n in conflicts):
        proved.add("refused")
    if any(p.source is Source.CALL and p.step is VOID and p.reply.answer is Answer.CANCELLED for p in pieces):
        proved.add("refused")
    negatives = [
        p for p in pieces if p.source is Source.LOOKUP and p.reply.answer.value in ("cancelled", "not_applied")
    ]
    if len(negatives) >= 2:
        proved.add("refused")
    if left and all(direct.get(n) == "not_applied" for n in left):
        proved.add("refused")
    return proved


@pytest.mark.parametrize("shape", SHAPES)
def test_every_short_story_is_judged_as_the_rules_say(shape: str) -> None:
    """I-12 I-13 C-10 C-17 All stories of up to three observations of any kind prove what a second reading of
    the rules says."""
    pieces = [replace(piece, id=number) for number, piece in enumerate(every_observation(shape), 1)]
    words = {frozenset(): "open", frozenset({"applied"}): "applied", frozenset({"refused"}): "refused"}
    for length in (0, 1, 2, 3):
        for story in itertools.product(pieces, repeat=length):
            direct = [piece.attempt for piece in story if piece.source is Source.CALL]
            if len(direct) != len(set(direct)):
                continue  # a request is answered once
            verdict = find(transfer(tried(shape), story, their_id="Q1"), TWO_PHASE).verdict.value
            expected = words.get(frozenset(definitive(shape, story)), "contradicted")
            assert verdict == expected, [(e.source.value, e.step, e.attempt, e.reply.answer.value) for e in story]


# --- order does not matter ------------------------------------------------------------------------------

APPLIED_WORLD = [
    called(1, PREPARE, "reserved", 1, id_=1), called(2, COMPLETE, "unknown", 4, id_=2), looked("in_progress", 5, id_=3),
    looked("not_found", 6, id_=4), looked("unknown", 8, id_=5), looked("applied", 9, id_=6),
]  # fmt: skip
CANCELLED_WORLD = [
    called(1, PREPARE, "reserved", 1, id_=1), called(2, COMPLETE, "unknown", 4, id_=2), looked("cancelled", 11, id_=3),
    looked("cancelled", 20, id_=4), looked("cancelled", 24, id_=5), looked("not_found", 30, id_=6),
]  # fmt: skip
CONFLICT_WORLD = [
    called(1, PREPARE, "unknown", 4, id_=1), called(2, PREPARE, "", 5, id_=2, reply=bare("cancelled",
        attempt_sensitive=True)),
]  # fmt: skip
VOIDED_WORLD = [
    called(1, PREPARE, "reserved", 1, id_=1),
    called(2, VOID, "cancelled", 3, id_=2),
    looked("cancelled", 20, id_=3),
]
WORLDS = [
    ("completed", APPLIED_WORLD, "confirmed"), ("completed", CANCELLED_WORLD, "reversed"),
    ("prepare twice", CONFLICT_WORLD, "reversed"), ("voided", VOIDED_WORLD, "reversed"),
]  # fmt: skip


def sided(pieces: list[Evidence], direction: str) -> list[Evidence]:
    """The same evidence as told about a transfer in this direction."""
    side = "credit" if direction == "in" else "debit"
    return [replace(p, reply=replace(p.reply, side=side)) if p.reply.side else p for p in pieces]


@pytest.mark.parametrize("direction", ["in", "out"])
@pytest.mark.parametrize(("shape", "world", "end"), WORLDS)
def test_final_state_is_a_function_of_the_set(shape: str, world: list[Evidence], end: str, direction: str) -> None:
    """I-15 Consistent evidence, arriving in any order whatever, ends in one state, one position, one proof."""
    ends = set()
    for order in itertools.permutations(sided(world, direction)):
        seen = transfer(tried(shape), direction=direction)
        for piece in order:
            # Folded long after the last lease, so that the wire is quiet whichever piece is first.
            seen = arrive(seen, piece, now=at(100)).transfer
        proof = find(seen, TWO_PHASE).proof
        assert proof is not None
        ends.add((seen.state.value, fold.position(seen), seen.outside.state.value, seen.inside.state.value, proof.id))
    assert len(ends) == 1, ends
    assert next(iter(ends))[0] == end


def all_stories(shape: str, length: int) -> Iterator[tuple[Evidence, ...]]:
    """Every story of so many observations."""
    yield from itertools.product(every_observation(shape), repeat=length)


@pytest.mark.parametrize("direction", ["in", "out"])
@pytest.mark.parametrize("shape", ["prepare twice", "completed", "voided after a complete"])
def test_after_a_contradiction_nothing_moves_by_itself(shape: str, direction: str) -> None:
    """I-16 C-07 C-08 Once proofs have contradicted each other, no further evidence of any kind moves state,
    leg or money."""
    worlds = sided([looked("applied", 20), looked("cancelled", 23), looked("cancelled", 24)], direction)
    more = [tuple(sided(list(story), direction)) for story in all_stories(shape, 2)]
    more += [tuple(sided([looked("applied", 60, amount=5), looked("cancelled", 61, amount=5)], direction))]
    for first in (worlds, worlds[::-1]):
        seen = transfer(tried(shape), direction=direction, their_id="Q1")
        for piece in first:
            seen = arrive(seen, piece, now=at(100)).transfer
        assert seen.state is TransferState.ORPHANED
        for story in more:
            after = seen
            for piece in story:
                draft = arrive(after, replace(piece, at=at(200)), now=at(200), holding=True)
                after = draft.transfer
                assert draft.moves == []
            assert after.state is TransferState.ORPHANED
            assert fold.position(after) == fold.position(seen)


@pytest.mark.parametrize("direction", ["in", "out"])
def test_orphaned_again_leaves_the_wallet_alone(direction: str) -> None:
    """I-05 I-16 Whatever a final transfer turns into, what the wallet was given stays there; the house bears it."""
    late = sided(
        [looked("applied", 50, amount=5), looked("applied", 50), looked("cancelled", 51), looked("cancelled", 52)],
        direction,
    )
    for ending in ("confirmed", "reversed"):
        proof = [looked("applied", 20)] if ending == "confirmed" else [looked("cancelled", 22), looked("cancelled", 23)]
        final = transfer(tried("completed"), direction=direction, their_id="Q1")
        for piece in sided(proof, direction):
            final = arrive(final, piece, now=at(30)).transfer
        assert final.state.value == ending
        for first in late:
            seen = final
            for piece in (first, *late):
                seen = arrive(seen, piece, now=at(60)).transfer
                given = (direction == "in") == (ending == "reversed")  # whether the wallet has the amount
                if seen.state is TransferState.ORPHANED:
                    assert fold.position(seen) == ((1000, Position.HOUSE if given else Position.CUSTODY),)
            assert seen.state is TransferState.ORPHANED


# --- never under a request in flight --------------------------------------------------------------------


observations = st.builds(
    lambda source, answer, seconds, number, sensitive, whole: Evidence(
        0, 2, source, told(answer, attempt_sensitive=sensitive) if whole else bare(answer, attempt_sensitive=sensitive),
        at(seconds), None if source is Source.LOOKUP else PREPARE, 0 if source is Source.LOOKUP else number,
    ),
    st.sampled_from([Source.CALL, Source.LOOKUP]), st.sampled_from(EVERY_ANSWER), st.floats(0, 40), st.integers(1, 3),
    st.booleans(), st.booleans(),
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(sorted(SHAPES)),
    st.lists(observations, max_size=6),
    st.floats(0, 60),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_never_reversed_while_a_request_may_be_on_the_wire(
    shape: str, pieces: list[Evidence], now: float, inward: bool, holding: bool, wished: bool
) -> None:
    """I-13 I-02 No transfer is reversed, and its source never given back, while a money request of it may be
    on the wire."""
    steps = SHAPES[shape]
    fitting = [
        replace(p, step=steps[p.attempt - 1]) if p.source is Source.CALL else p
        for p in pieces
        if p.source is Source.LOOKUP or p.attempt <= len(steps)
    ]
    direction = "in" if inward else "out"
    seen = transfer(
        tried(shape), sided(fitting, direction), direction=direction, their_id="Q1",
        cancel_requested_at=at(0) if wished else None, orphan_at=at(50),
    )  # fmt: skip
    draft = Draft(seen)
    settle(draft, TWO_PHASE, at(now), may_conclude=holding)
    if seen.outside.may_be_on_the_wire(at(now)):
        assert draft.transfer.state is not TransferState.REVERSED
        assert not inward or draft.transfer.given == 0
    if draft.transfer.state in (TransferState.CONFIRMED, TransferState.REVERSED):
        assert draft.finding.proof is not None


# --- "not found" ----------------------------------------------------------------------------------------

# The last lease ended at 9 s (attempt at 0 s, nine seconds); absence after 60 s, three times, 10 s apart,
# retention 3600 s.
ABSENCES: list[tuple[str, tuple[float, ...], str]] = [
    ("never looked", (), "open"),
    ("too early", (10, 20, 30, 40, 50, 60, 68), "open"),
    ("old enough, but twice", (70, 81), "open"),
    ("old enough, three times, too close", (70, 71, 72, 75, 79), "open"),
    ("two of the three apart", (70, 80, 89.9), "open"),
    ("the first a moment too early", (68.9, 80, 90), "open"),
    ("three times, apart", (69, 79, 89), "refused"),
    ("three apart among many", (69, 70, 75, 79, 80, 89), "refused"),
    ("hours later", (1000, 2000, 3000), "refused"),
    ("at the end of the retention", (3580, 3590, 3600), "refused"),
    ("one of them past the retention", (3580, 3590, 3600.1), "open"),
    ("all past the retention", (4000, 5000, 6000, 7000), "open"),
]


@pytest.mark.parametrize(("seconds", "verdict"), [row[1:] for row in ABSENCES], ids=[row[0] for row in ABSENCES])
def test_not_found_proves_absence_by_the_rule_only(seconds: tuple[float, ...], verdict: str) -> None:
    """I-13 C-15 C-17 "Not found" counts when old enough, often enough, far enough apart, and inside the
    provider's memory."""
    unanswered = transfer([attempt(1, PREPARE)], [looked("not_found", s) for s in seconds])
    assert find(unanswered, FORGETFUL).verdict.value == verdict
    assert find(unanswered, TWO_PHASE).verdict is Verdict.OPEN, "a provider without the rule proves nothing by it"


def test_not_found_is_counted_from_the_last_lease_that_could_have_sent() -> None:
    """I-13 C-15 A second send starts the waiting again; an answered one ended when it was answered."""
    asked = [looked("not_found", s) for s in (69, 79, 89)]
    again = transfer([attempt(1, PREPARE), attempt(2, PREPARE, 5)], asked)
    assert find(again, FORGETFUL).verdict is Verdict.OPEN
    later = transfer([attempt(1, PREPARE), attempt(2, PREPARE, 5)], [looked("not_found", s) for s in (74, 84, 94)])
    assert find(later, FORGETFUL).verdict is Verdict.REFUSED
    answered = transfer(
        [attempt(1, PREPARE)], [called(1, PREPARE, "unknown", 2), *(looked("not_found", s) for s in (62, 72, 82))]
    )
    assert find(answered, FORGETFUL).verdict is Verdict.REFUSED


def test_not_found_then_found() -> None:
    """I-16 C-15 Absence that had been proved and an effect found later contradict each other, loudly."""
    asked = [looked("not_found", s) for s in (69, 79, 89)]
    seen = transfer([attempt(1, PREPARE)])
    for piece in asked:
        seen = arrive(seen, piece, by=FORGETFUL).transfer
    assert seen.state is TransferState.REVERSED
    seen = arrive(seen, looked("applied", 600), by=FORGETFUL).transfer
    assert (seen.state, fold.position(seen)) == (TransferState.ORPHANED, ((1000, Position.HOUSE),))


# --- states and positions ---------------------------------------------------------------------------------

# direction, transfer state, wallet leg, provider leg, wallet given back → position; typed from design §7.
PLACES: list[tuple[str, str, str, str, bool, str]] = [
    ("in", "pending", "applied", "planned", False, "transit"),
    ("in", "pending", "applied", "sent", False, "transit"),
    ("in", "pending", "applied", "reserved", False, "transit"),
    ("in", "confirmed", "applied", "applied", False, "arrived"),
    ("in", "reversed", "applied", "refused", True, "nothing"),
    ("in", "orphaned", "applied", "sent", False, "custody"),
    ("in", "orphaned", "applied", "reserved", False, "custody"),
    ("in", "orphaned", "applied", "applied", False, "custody"),
    ("in", "orphaned", "applied", "refused", False, "custody"),
    ("in", "orphaned", "applied", "applied", True, "house"),
    ("out", "pending", "planned", "planned", False, "nothing"),
    ("out", "pending", "planned", "sent", False, "nothing"),
    ("out", "pending", "planned", "reserved", False, "nothing"),
    ("out", "pending", "planned", "applied", False, "transit"),
    ("out", "confirmed", "applied", "applied", False, "arrived"),
    ("out", "reversed", "refused", "refused", False, "nothing"),
    ("out", "orphaned", "planned", "sent", False, "custody"),
    ("out", "orphaned", "refused", "applied", False, "custody"),
    ("out", "orphaned", "applied", "refused", False, "house"),
]


@pytest.mark.parametrize(("direction", "state", "inside", "outside", "back", "place"), PLACES)
def test_position(direction: str, state: str, inside: str, outside: str, back: bool, place: str) -> None:
    """I-03 Which row of design §7 a state and its facts select, typed out."""
    seen = transfer([attempt(1, PREPARE)], direction=direction, state=state, leg=outside)
    legs = [replace(leg, state=LegState(inside)) if leg.holder == "wallet" else leg for leg in seen.legs]
    if back:
        undo = replace(seen.inside, ordinal=3, undoes=seen.inside.ordinal, side=Side.CREDIT, state=LegState.APPLIED)
        legs.append(undo)
    assert [(units, row.value) for units, row in fold.position(replace(seen, legs=tuple(legs)))] == [(1000, place)]


# state × facts → trigger, typed out; columns: nothing, patience, arrival, return, contradiction.
TRIGGERS = {
    "pending": (None, "orphan", "confirm", "reverse", "orphan"),
    "orphaned": (None, None, "confirm", "reverse", None),
    "confirmed": (None, None, None, "reverse", "orphan"),
    "reversed": (None, None, "confirm", None, "orphan"),
}
COLUMNS = [
    TransferFacts(), TransferFacts(patience_spent=True), TransferFacts(arrival_proved=True),
        TransferFacts(return_proved=True),
    TransferFacts(contradiction=True),
]  # fmt: skip


@pytest.mark.parametrize("state", TRIGGERS)
def test_trigger(state: str) -> None:
    """I-10 I-11 Which edge each fact calls for, in each state; a contradiction outweighs patience and either proof."""
    assert tuple(fold.trigger_for(TransferState(state), facts) for facts in COLUMNS) == TRIGGERS[state]
    loud = TransferFacts(arrival_proved=True, return_proved=True, patience_spent=True, contradiction=True)
    assert fold.trigger_for(TransferState(state), loud) == (None if state == "orphaned" else "orphan")


@pytest.mark.parametrize(("state", "verdict"), [("confirmed", Verdict.REFUSED), ("reversed", Verdict.APPLIED)])
def test_a_final_state_never_turns_by_itself(state: str, verdict: Verdict) -> None:
    """I-11 I-16 The opposite proof after the end is a contradiction: a final transfer is orphaned, never
    turned around."""
    seen: Transfer = transfer([attempt(1, PREPARE)], state=state)
    facts = fold.facts_of(seen, Finding(verdict), patience_spent=False)
    assert facts.contradiction
    assert fold.trigger_for(seen.state, facts) == "orphan"


def test_reservation_with_another_amount_is_none() -> None:
    """C-09 I-12 A prepared half that is not exactly what was intended is never completed."""
    right, wrong = called(1, PREPARE, "reserved"), called(1, PREPARE, "reserved", amount=999)
    assert reservation(transfer(tried("prepare"), [right])) is not None
    for other in (
        wrong,
        called(1, PREPARE, "reserved", reference="other"),
        called(1, PREPARE, "reserved", provider_reference=None),
    ):
        assert reservation(transfer(tried("prepare"), [other])) is None
    draft = arrive(transfer(tried("prepare")), wrong)
    assert draft.transfer.outside.state is LegState.SENT
    assert draft.transfer.outside.provider_reference is None


def test_lease_of_these_tests_is_what_it_says() -> None:
    """I-13 The wire of an attempt ends with its lease, to the microsecond."""
    leg = transfer([attempt(1, PREPARE)]).outside
    assert leg.may_be_on_the_wire(at(LEASE) - 1)
    assert not leg.may_be_on_the_wire(at(LEASE))
    assert leg.attempts[0].sent_at == T0
