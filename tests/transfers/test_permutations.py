"""Order does not matter: every set of evidence about a leg, in every order, ends in one state and one set of postings.

What a set proves is said here a second time, in other words than the product's; where proofs contradict each other or
do not match, the one thing that may differ is whether the amount stands on the house or in custody, and that is said
by whether the wallet had been given it before the contradiction came (docs/decisions.md).
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.evidence import Answer, Evidence, Reply, Source, Step
from bridge.ports import SECOND, WALLET, Descriptor, Side
from bridge.positions import POSITIONS
from bridge.transfers.advance import Fact, advance
from bridge.transfers.core import fold
from bridge.transfers.core.draft import Draft, settle
from bridge.transfers.core.facts import Transfer
from statemachines import LegState
from tests.harness import Bench, Hands, bench
from tests.transfers.conftest import ONE_TIMES, REAL_TIMES
from tests.transfers.scripted import ScriptedProvider
from tests.transfers.scripted_one import ONE_PHASE, ScriptedOne
from tests.transfers.values import (
    COMPLETE,
    FORGETFUL,
    LEASE,
    PREPARE,
    REFERENCE,
    THEIR_ID,
    TWO_PHASE,
    VOID,
    at,
    attempt,
    called,
    looked,
    told,
    transfer,
)  # fmt: skip

TRANSFER = Step.TRANSFER
QUIET = at(1_000_000)
"""When everything is folded: nothing is on the wire any more, whichever piece comes first."""

Order = tuple[int, ...]
KEPT = 2
"""Where orders of so many pieces led is kept, for many longer ones begin with them."""

PARTIAL = replace(ONE_PHASE, partial=True)
VERDICT = (Answer.APPLIED, Answer.CANCELLED)


@dataclass(frozen=True, eq=False)
class World:
    """A provider, what was sent to it, and every piece of evidence that there may be about it.

    A piece is called by its number in the vocabulary, from 1 on; `heard` keeps where short orders led.
    """

    name: str
    by: Descriptor
    steps: tuple[Step, ...]
    vocabulary: tuple[Evidence, ...]
    direction: str
    heard: dict[Order, Transfer] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name}-{self.direction}"

    def begun(self) -> Transfer:
        """The transfer before anything was heard; the id of theirs is known where a complete was sent under it."""
        known = THEIR_ID if self.by.phases > 1 and any(s is not PREPARE for s in self.steps) else None
        tried = [attempt(number, step, number - 1.0) for number, step in enumerate(self.steps, 1)]
        return transfer(tried, direction=self.direction, their_id=known)


def pushed(answer: str, seconds: float, **changes: Any) -> Evidence:
    """A callback, observed at a second."""
    return Evidence(0, 2, Source.CALLBACK, told(answer, **changes), at(seconds))


def answers(steps: tuple[Step, ...], one_phase: bool) -> Iterator[Evidence]:
    """Every direct answer that each attempt may have got, some of them told in full, some bare."""
    bare = {answer: Reply(Answer(answer), attempt_sensitive=True) for answer in ("not_applied", "cancelled")}
    for number, step in enumerate(steps, 1):
        for answer in ("applied", "unknown", "in_progress", "not_applied", "not_sent"):
            yield called(number, step, answer, 4 + number, sequence=1 if one_phase else None)
        yield called(number, step, "unknown", 60)  # by a worker whose lease had ended long before
        yield called(number, step, "not_applied", 4 + number, reply=bare["not_applied"])
        if one_phase:
            yield called(number, step, "cancelled", 4 + number, sequence=2 if step is VOID else 1)
        else:
            yield called(number, step, "cancelled", 4 + number, reply=bare["cancelled"])
            yield called(number, step, "cancelled", 4 + number)
            yield called(number, step, "reserved", 4 + number)


COMMON = (
    looked("applied", 20, sequence=1), looked("in_progress", 21, sequence=1), looked("unknown", 22),
    looked("cancelled", 5, sequence=2), looked("cancelled", 23, sequence=2), looked("cancelled", 24, sequence=2),
    looked("not_applied", 25, sequence=1), looked("not_applied", 26, sequence=1),
    looked("not_found", 12), looked("not_found", 75), looked("not_found", 100), looked("not_found", 400),
    looked("applied", 27, amount=999), looked("cancelled", 28, player="bob"), looked("applied", 29, reference="other"),
)  # fmt: skip
PUSHED = (
    pushed("applied", 30), pushed("applied", 31, sequence=1), pushed("applied", 32, sequence=3),
    pushed("cancelled", 33), pushed("cancelled", 34, sequence=2), pushed("cancelled", 35, sequence=4),
    pushed("applied", 36, currency="USD", sequence=5), pushed("in_progress", 37, sequence=6),
)  # fmt: skip
PARTS = (
    pushed("applied", 40, amount=400, requested=1000, sequence=1), pushed("applied", 42, amount=600, sequence=1),
    looked("applied", 41, amount=400, requested=1000, sequence=1), pushed("cancelled", 43, amount=400, sequence=2),
    pushed("applied", 44, amount=600, requested=1000, sequence=1),
)  # fmt: skip


def world(name: str, by: Descriptor, steps: tuple[Step, ...], direction: str) -> World:
    """A world with all the words that there are for it, each a row of its own."""
    one_phase = by.phases == 1
    words = [*answers(steps, one_phase), *COMMON, *PUSHED, *(PARTS if by.partial else ())]
    if not one_phase:
        words = [replace(word, reply=replace(word.reply, sequence=None)) for word in words]
        words += [looked("applied", 44, provider_reference="Q2")] if any(s is not PREPARE for s in steps) else []
    side = (Side.CREDIT if direction == "in" else Side.DEBIT).value
    sided = (replace(word.reply, side=side if word.reply.side else None) for word in words)
    numbered = [replace(word, id=n, reply=reply) for n, (word, reply) in enumerate(zip(words, sided, strict=True), 1)]
    return World(name, by, steps, tuple(numbered), direction)


SHAPES: list[tuple[str, Descriptor, tuple[Step, ...]]] = [
    ("one phase, once", ONE_PHASE, (TRANSFER,)),
    ("one phase, twice", ONE_PHASE, (TRANSFER, TRANSFER)),
    ("one phase, three times", ONE_PHASE, (TRANSFER, TRANSFER, TRANSFER)),
    ("one phase, voided", ONE_PHASE, (TRANSFER, VOID)),
    ("one phase, never sent", ONE_PHASE, ()),
    ("in parts", PARTIAL, (TRANSFER,)),
    ("in parts, voided", PARTIAL, (TRANSFER, VOID)),
    ("two phases, prepared", TWO_PHASE, (PREPARE,)),
    ("two phases, prepared twice", TWO_PHASE, (PREPARE, PREPARE)),
    ("two phases, completed", TWO_PHASE, (PREPARE, COMPLETE)),
    ("two phases, voided", TWO_PHASE, (PREPARE, VOID)),
    ("two phases, completed after a retry", TWO_PHASE, (PREPARE, PREPARE, COMPLETE)),
    ("two phases, voided after a complete", TWO_PHASE, (PREPARE, COMPLETE, VOID)),
    ("two phases, absence counts", FORGETFUL, (PREPARE, COMPLETE)),
]
WORLDS = [world(name, by, steps, direction) for name, by, steps in SHAPES for direction in ("in", "out")]
EVERY_WORLD = pytest.mark.parametrize("there", WORLDS, ids=str)


# --- what a set proves, said again ----------------------------------------------------------------------------


def meaning(there: World, pieces: list[Evidence]) -> str:
    """What a set of evidence proves: applied, refused, contradicted, mismatched, or nothing (design §5)."""
    mine = [p for p in pieces if p.reply.reference in (None, REFERENCE)]
    if there.by.phases > 1:
        mine = [p for p in mine if p.reply.provider_reference in (None, THEIR_ID)]
    if any(p.reply.answer in VERDICT and p.reply.reference and not whole(p) and not part(there, p) for p in mine):
        return "mismatched"
    yes = [p for p in mine if p.reply.answer is Answer.APPLIED and (whole(p) or part(there, p))]
    no = refusing(there, mine) + counted_later(yes, mine)
    if len({p.reply.amount for p in yes}) > 1 or len({p.reply.provider_reference for p in yes} - {None}) > 1:
        return "contradicted"
    if yes and no:
        counts = [p.reply.sequence for p in (*yes, *no)]
        cancelled = all(p.reply.answer is Answer.CANCELLED for p in no)
        ids = {p.reply.provider_reference for p in (*yes, *no)} - {None}
        if None in counts or not cancelled or len(ids) > 1 or max(counts[: len(yes)]) >= min(counts[len(yes) :]):
            return "contradicted"
        return "refused"
    if no and {p.reply.answer for p in no} == {Answer.NOT_FOUND} and told_to_be_at_work(mine):
        return "contradicted"
    return "applied" if yes else "refused" if no else "nothing"


def told_to_be_at_work(pieces: list[Evidence]) -> bool:
    """Whether the provider said that it has the request in hand, as it cannot say of what it has never got."""
    return any(p.reply.answer is Answer.IN_PROGRESS for p in pieces)


def whole(piece: Evidence) -> bool:
    """Whether it tells everything, and all of it as it was meant."""
    reply = piece.reply
    told_all = (reply.reference, reply.amount, reply.currency, reply.player)
    return told_all == (REFERENCE, 1000, "EUR", "ann") and reply.side is not None


def part(there: World, piece: Evidence) -> bool:
    """Whether it tells of a part that moved, where that is agreed on."""
    reply = piece.reply
    smaller = reply.amount is not None and 0 < reply.amount < 1000
    agreed = there.by.partial and reply.answer is Answer.APPLIED
    of_ours = reply.requested == 1000
    return agreed and smaller and of_ours and whole(replace(piece, reply=replace(reply, amount=1000)))


def refusing(there: World, pieces: list[Evidence]) -> list[Evidence]:
    """The pieces that prove that nothing has moved and nothing will."""
    direct = {p.attempt: p for p in pieces if p.source is Source.CALL}
    said = [p for p in pieces if p.source in (Source.CALL, Source.CALLBACK) and whole(p) and final(there, p)]
    looked_up = [p for p in pieces if p.source is Source.LOOKUP]
    if there.steps:
        old = max(quiet(there, direct).values()) + round(there.by.fail_final_after * SECOND)
        negative = [p for p in looked_up if p.reply.answer.value in ("cancelled", "not_applied") and p.at >= old]
        negative = [p for p in negative if whole(p)]
        said += negative if len(negative) >= there.by.fail_final_times else []
        said += absent(there, direct, looked_up)
    return said + each_refused(there, direct) + inferred(there, direct)


def counted_later(executed: list[Evidence], pieces: list[Evidence]) -> list[Evidence]:
    """Look-ups that tell a cancel which the provider counts after something that it said was executed."""
    counts = [p.reply.sequence for p in executed if p.reply.sequence is not None]
    if not counts:
        return []
    cancels = [p for p in pieces if p.source is Source.LOOKUP and p.reply.answer is Answer.CANCELLED and whole(p)]
    return [p for p in cancels if p.reply.sequence is not None and p.reply.sequence > min(counts)]


def final(there: World, piece: Evidence) -> bool:
    """Whether the provider's own word ends it: a cancel by callback, or the answer to a void or to the one request."""
    answer = piece.reply.answer
    if piece.source is Source.CALLBACK:
        return answer is Answer.CANCELLED
    if piece.step is VOID:
        return answer is Answer.CANCELLED or (there.by.phases == 1 and answer is Answer.NOT_APPLIED)
    return piece.step is TRANSFER and answer is Answer.CANCELLED


def each_refused(there: World, direct: dict[int, Evidence]) -> list[Evidence]:
    """Refusals, where each attempt was refused or never left, and "insufficient" was said to the first that left."""
    if len(direct) < len(there.steps):
        return []
    left = [direct[n] for n in sorted(direct) if direct[n].reply.answer is not Answer.NOT_SENT]
    if any(p.reply.answer is not Answer.NOT_APPLIED for p in left) or any(p.reply.attempt_sensitive for p in left[1:]):
        return []
    return left


def inferred(there: World, direct: dict[int, Evidence]) -> list[Evidence]:
    """protocols.md §1.1 (a): a repeated prepare that finds its reference final can only find it cancelled, once it is
    known that the first one had left and had not found it so itself."""
    if there.by.phases == 1:
        return []
    left = [n for n in range(1, len(there.steps) + 1) if n not in direct or direct[n].reply.answer != "not_sent"]
    first = next((n for n in left if there.steps[n - 1] is PREPARE), None)
    heard_first = first in direct and direct[first].reply.answer is not Answer.CANCELLED
    if not heard_first or any(there.steps[n - 1] is COMPLETE for n in left):
        return []
    repeated = [direct[n] for n in left if n in direct and there.steps[n - 1] is PREPARE]
    return [piece for piece in repeated if piece.reply.answer is Answer.CANCELLED]


def quiet(there: World, direct: dict[int, Evidence]) -> dict[int, int]:
    """From when on no byte of an attempt can leave any more: its answer, or the end of its lease."""
    ends = {n: at(n - 1 + LEASE) for n in range(1, len(there.steps) + 1)}
    return ends | {n: min(ends[n], piece.at) for n, piece in direct.items()}


def absent(there: World, direct: dict[int, Evidence], looked_up: list[Evidence]) -> list[Evidence]:
    """Answers "not found", where told often enough, far enough apart, and long enough after the last lease ended."""
    rule = there.by.absence
    if rule is None:
        return []
    begins = max(quiet(there, direct).values()) + rule.after * SECOND
    spaced: list[Evidence] = []
    for piece in sorted(looked_up, key=lambda p: p.at):
        old = piece.at >= begins
        apart = not spaced or piece.at - spaced[-1].at >= rule.apart * SECOND
        if piece.reply.answer is Answer.NOT_FOUND and old and apart:
            spaced.append(piece)
    return spaced if len(spaced) >= rule.times else []


# --- every order ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class End:
    """Where one order of arrival led: the state, what it posted (source, transit, custody, destination, house), what
    the wallet's legs make, and what the wallet had been given right before the contradiction orphaned it."""

    state: str
    posted: tuple[int, ...]
    wallet: int
    given: int | None


def hear(there: World, order: Order, long: dict[Order, Transfer]) -> Transfer:
    """Pieces arrive at the door one by one, each as `advance` without a lease lets it in; `long` is kept by the caller
    for orders that no other set begins with."""
    kept = there.heard if len(order) <= KEPT else long
    if order not in kept:
        kept[order] = let_in(there, hear(there, order[:-1], long), order[-1]) if order else there.begun()
    return kept[order]


def let_in(there: World, seen: Transfer, number: int) -> Transfer:
    """The transfer after one more piece of evidence."""
    outside = seen.outside
    told_of = replace(there.vocabulary[number - 1], ordinal=outside.ordinal)
    informed = replace(outside, evidence=(*outside.evidence, told_of))
    draft = Draft(replace(seen, legs=tuple(informed if leg is outside else leg for leg in seen.legs)))
    settle(draft, there.by, QUIET, may_conclude=False, wallet_holds=10**9)
    return draft.transfer


def net(seen: Transfer) -> int:
    """What the applied legs at the wallet make of it, in minor units."""
    done = [leg for leg in seen.legs if leg.holder == WALLET and leg.state is LegState.APPLIED]
    return sum(leg.amount if leg.side is Side.CREDIT else -leg.amount for leg in done)


def posted(seen: Transfer) -> tuple[int, ...]:
    """What stands in the five accounts of the transfer."""
    rows = [[units * sign for sign in POSITIONS[row]] for units, row in fold.position(seen)]
    return tuple(sum(column) for column in zip(*rows, strict=True))


def ends(there: World, numbers: Iterable[int]) -> dict[End, Order]:
    """Every end that some order of the pieces leads to, each with one such order."""
    found: dict[End, Order] = {}
    long: dict[Order, Transfer] = {}
    for order in itertools.permutations(numbers):
        passed = [hear(there, order[:length], long) for length in range(len(order) + 1)]
        found.setdefault(
            End(passed[-1].state.value, posted(passed[-1]), net(passed[-1]), had_before(there, passed)), order
        )
    return found


def had_before(there: World, passed: list[Transfer]) -> int | None:
    """What the wallet had been given when the transfer was orphaned for the last time; None where it is no orphan."""
    calm = [number for number, seen in enumerate(passed) if seen.state.value != "orphaned"]
    if calm[-1] == len(passed) - 1:
        return None
    return net(passed[calm[-1]]) + (1000 if there.direction == "in" else 0)


def expected(there: World, proved: str, pieces: list[Evidence], end: End) -> End:
    """The end that design §7 and the decisions want for what is proved."""
    inward = there.direction == "in"
    match proved:
        case "nothing":
            return End("pending", (-1000, 1000, 0, 0, 0) if inward else (0, 0, 0, 0, 0), -1000 if inward else 0, None)
        case "refused":
            return End("reversed", (0, 0, 0, 0, 0), 0, None)
        case "applied":
            yes = [p for p in pieces if p.reply.answer is Answer.APPLIED and (whole(p) or part(there, p))]
            arrived = yes[0].reply.amount or 0
            return End("confirmed", (-arrived, 0, 0, arrived, 0), -arrived if inward else arrived, None)
    had = end.given or 0
    return End("orphaned", (had - 1000, 0, 1000 - had, had, -had), had - 1000 if inward else had, end.given)


def told_by(pieces: Iterable[Evidence]) -> list[str]:
    """Pieces in words, for the message of a failure."""
    return [
        f"{p.source.value} {p.step or ''}{p.attempt or ''} {p.reply.answer.value} {p.reply.amount}"
        f" #{p.reply.sequence} @{(p.at - at(0)) / 1_000_000:g}"
        for p in pieces
    ]


def check(there: World, numbers: Order) -> None:
    """(a) one state, (b) one set of postings for what does not contradict, (c) house or custody by what had been
    given, where it does."""
    pieces = [there.vocabulary[number - 1] for number in numbers]
    proved = meaning(there, pieces)
    for end, order in ends(there, numbers).items():
        wanted = expected(there, proved, pieces, end)
        assert end == wanted, (str(there), proved, told_by(there.vocabulary[number - 1] for number in order))


def possible(pieces: list[Evidence]) -> bool:
    """A request is answered once."""
    direct = [piece.attempt for piece in pieces if piece.source is Source.CALL]
    return len(direct) == len(set(direct))


@EVERY_WORLD
def test_every_pair(there: World) -> None:
    """I-12 I-13 I-15 I-16 Every word there is, alone and with every other, in both orders."""
    every = range(1, len(there.vocabulary) + 1)
    for numbers in itertools.chain(*(itertools.combinations(every, length) for length in (0, 1, 2))):
        if possible([there.vocabulary[number - 1] for number in numbers]):
            check(there, numbers)


CORE = (4.0, 5.0, 6.0, 20, 21, 23, 25, 27, 31, 33, 34, 40, 42, 60, 75, 100)
"""The seconds of the words of which every three are tried: at least one of each kind."""


@EVERY_WORLD
def test_every_three(there: World) -> None:
    """I-12 I-13 I-15 I-16 C-05 Every three of the words that decide most, in all six orders."""
    instants = {at(second) for second in CORE}
    deciding = ("applied", "unknown", "in_progress", "not_applied", "cancelled", "not_found")
    core = [w.id for w in there.vocabulary if w.at in instants and w.reply.answer.value in deciding]
    assert len(core) >= 10
    for numbers in itertools.combinations(core, 3):
        if possible([there.vocabulary[number - 1] for number in numbers]):
            check(there, numbers)


def agreeing(there: World, truth: str) -> list[int]:
    """The words of a world in which nothing contradicts `truth`, so that long stories are not all contradictions."""
    kinds: dict[str, Callable[[Evidence], bool]] = {
        "applied": lambda w: w.reply.answer.value not in ("cancelled", "not_applied", "not_found"),
        "refused": lambda w: w.reply.answer is not Answer.APPLIED,
        "taken back": lambda w: (
            w.reply.sequence == (1 if w.reply.answer is Answer.APPLIED else 2)
            or w.reply.answer not in (*VERDICT, Answer.NOT_APPLIED, Answer.NOT_FOUND)
        ),
    }
    fits = kinds.get(truth, lambda _: True)
    return [w.id for w in there.vocabulary if truth == "anything" or (fits(w) and meaning(there, [w]) != "mismatched")]


@st.composite
def stories(draw: Any) -> tuple[World, Order]:
    """A world and up to six of its words."""
    there = draw(st.sampled_from(WORLDS))
    truth = draw(st.sampled_from(["anything", "applied", "refused", "taken back"]))
    kept: Order = ()
    for number in draw(st.lists(st.sampled_from(agreeing(there, truth)), min_size=4, max_size=6, unique=True)):
        kept += (number,) if possible([there.vocabulary[each - 1] for each in (*kept, number)]) else ()
    return there, kept


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(stories())
def test_every_order_of_six(story: tuple[World, Order]) -> None:
    """I-12 I-13 I-15 I-16 Up to six words drawn from everything, in all 720 orders."""
    check(*story)


@pytest.mark.parametrize("direction", ["in", "out"])
@pytest.mark.parametrize("late", ["not_sent", "cancelled"])
def test_collision_that_is_found_out_late(direction: str, late: str) -> None:
    """I-13 I-15 C-10 The second prepare found its reference final, and the answer to the first, which comes last, says
    that nothing of ours had made it so: whichever is heard first, a collision proves nothing, or is loud."""
    there = world("prepared twice", TWO_PHASE, (PREPARE, PREPARE), direction)
    direct = {(w.attempt, w.reply.answer.value): w.id for w in there.vocabulary if w.source is Source.CALL}
    pair = (direct[1, late], direct[2, "cancelled"])
    states = {hear(there, order, {}).state.value for order in (pair, pair[::-1])}
    assert "reversed" not in states


# --- through the door itself ------------------------------------------------------------------------------------


def in_the_database(desk: Bench, hands: Hands, there: World, order: Order) -> End:
    """A transfer is begun, its wire falls silent, and the pieces arrive at `advance` in this order."""
    begun = desk.begin(there.direction)
    assert begun.outcome is not None
    leg, transfer_id = begun.outcome.transfer.outside, begun.outcome.transfer.id
    start = begun.outcome.transfer.created_at
    hands.turn(600)
    passed = [desk.get(transfer_id)]
    for number in order:
        piece = there.vocabulary[number - 1]
        mine = {"provider_reference": f"theirs-{leg.reference}"} if piece.reply.provider_reference else {}
        mine |= {"reference": leg.reference} if piece.reply.reference == REFERENCE else {}
        fact = Fact(
            replace(piece.reply, **mine), piece.source, piece.at - at(0) + start, piece.step, piece.attempt, leg.ordinal
        )
        advance(desk.runtime, transfer_id, None, fact)
        passed.append(desk.get(transfer_id))
    here, game = "wallet:ann", "game:sim:ann"
    source, target = (here, game) if there.direction == "in" else (game, here)
    sums = dict.fromkeys((source, "transit", "custody:sim", target, "house:sim"), 0)
    for row in desk.rows("SELECT debit, credit, amount FROM posting WHERE transfer_id = :id", id=transfer_id):
        sums[row["debit"]] -= row["amount"]
        sums[row["credit"]] += row["amount"]
    return End(passed[-1].state.value, tuple(sums.values()), sums[here], had_before(there, passed))


IN_THE_DATABASE = [w for w in WORLDS if w.name in {"one phase, once", "in parts", "two phases, prepared"}]


@pytest.mark.parametrize("there", IN_THE_DATABASE, ids=str)
def test_a_sample_through_the_database(migrated_url: str, hands: Hands, there: World) -> None:
    """I-01 I-03 I-10 I-12 I-14 I-15 I-16 Rows and postings say the same as the values: drawn stories, each in several
    orders, through `advance` on both databases."""
    drawn = random.Random(str(there))
    one_phase = there.by.phases == 1
    provider: Any = ScriptedOne(hands, there.by) if one_phase else ScriptedProvider(hands)
    with bench(migrated_url, clock=hands, provider=provider, **(ONE_TIMES if one_phase else REAL_TIMES)) as desk:
        for truth in ("anything", "anything", "applied", "refused", "taken back", "taken back"):
            numbers: Order = ()
            for number in drawn.sample(agreeing(there, truth), 8):
                together = [there.vocabulary[each - 1] for each in (*numbers, number)]
                numbers += (number,) if len(numbers) < 5 and possible(together) else ()
            pieces = [there.vocabulary[number - 1] for number in numbers]
            proved = meaning(there, pieces)
            for order in (numbers, numbers[::-1], tuple(drawn.sample(numbers, len(numbers)))):
                end = in_the_database(desk, hands, there, order)
                wanted = expected(there, proved, pieces, end)
                assert end == wanted, (proved, told_by(there.vocabulary[number - 1] for number in order))
            desk.audit()
