"""The real bridge before the real provider of our own contract, for each case of protocols.md §6.2 that it can show,
in and out.

Judged by the provider's ledger file: what really moved there, how often, and what our books say of it. Where the
provider breaks the contract in a way that nobody outside can see, the expected end is written as what it is, with why.
What it tells unasked (§6.5) and what happens to the bridge itself stand in test_faults_generic_unasked.py.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from bridge.errors import Unavailable
from bridge.transfers import resolve
from bridge.transfers.cancel import cancel
from bridge.verify import verify
from tests.harness import SECRET, Bench, Simulator, bench, cents, simulator, together

TIMES: dict[str, Any] = {
    "protocol": "generic",
    "transfer_seconds": 2.5,
    "lookup_seconds": 2,
    "absent_after_seconds": 2,
    "absent_apart_seconds": 0.2,
    "final_after_seconds": 0.3,
    "settle_seconds": 0.4,
    "patience_seconds": 20,
    "engine_lease_slack_seconds": 2,
    "engine_aftercare_seconds": (0.5, 1, 2, 4, 8, 16),
}
"""An operator in a hurry, who yet leaves a busy machine the time to send and to answer."""

IMPATIENT = {**TIMES, "patience_seconds": 5}
OLD_SECONDS = 3.0
DIRECTIONS = ("in", "out")
ONCE, NEVER, TWICE, UNDONE = ("completed",), (), ("completed",) * 2, ("completed", "taken_back")
"""What the ledger may say of the money of one reference, line by line."""


@dataclass(frozen=True)
class End:
    """How a transfer of 10.00 ends, and what the ledger says of its money: these lines, each of this amount.

    `unseen`: why the bridge cannot know what really moved. Everywhere else our books are the ledger.
    """

    state: str
    moves: tuple[str, ...]
    reason: str | None = None
    amount: str = "10.00"
    unseen: str = ""

    @property
    def moved(self) -> int:
        """In cents, as seen by whoever asked for it."""
        return sum(cents(self.amount) * (1 if kind == "completed" else -1) for kind in self.moves)


CONFIRMED = End("confirmed", ONCE)
REFUSED = End("reversed", NEVER, "provider_refused")
CANCELLED = End("reversed", NEVER, "provider_cancelled")
ABSENT = End("reversed", NEVER, "not_executed")
MISMATCH = End("orphaned", ONCE, "mismatch")
MOVED_TWICE = "the contract says that an id is executed once: whoever sends it again cannot see that it moved again"


@dataclass(frozen=True)
class Fault:
    """One case: what is scripted, and the end that follows, in and out. `owns`: what the player has there before.

    `strikes`: the directions in which the case can be shown; the other one is met as well, and is left alone.
    """

    case: int
    ends: tuple[End, End]
    script: dict[str, Any] = field(default_factory=dict)
    owns: str = "50.00"
    strikes: tuple[str, ...] = DIRECTIONS

    def __str__(self) -> str:
        return f"case {self.case} {self.script or ''}"


def both(case: int, end: End, **given: Any) -> Fault:
    """The same end in both directions; what is given are the fault's params."""
    return Fault(case, (end, end), {"params": given})


def either(case: int, inward: End, outward: End, *strikes: str, owns: str = "50.00", **given: Any) -> Fault:
    """An end of its own in each direction."""
    return Fault(case, (inward, outward), {"params": given}, owns, strikes or DIRECTIONS)


def thrice(case: int, end: End, **given: Any) -> Fault:
    """It strikes every request that we send of one transfer."""
    return Fault(case, (end, end), {"params": given, "times": 3})


FAULTS: dict[str, list[Fault]] = {
    "the answer is lost": [
        *(both(13, CONFIRMED, how=how) for how in ("reset", "close", "half", "hang")),
        *(both(14, CONFIRMED, how=how) for how in ("reset", "close", "hang")),  # not found: the same id is sent again
        thrice(14, ABSENT, how="reset"),
        both(15, CONFIRMED, body="missing"),
        both(15, CONFIRMED, body="pending"),
        both(16, CONFIRMED),
        both(16, CONFIRMED, drip=0.002, part="both"),
        *(
            both(18, CONFIRMED, status=status, commit=commit)
            for status in (500, 502, 503, 504)
            for commit in (True, False)
        ),
        thrice(18, ABSENT, status=503, commit=False),
    ],
    "the answer is garbled": [
        both(17, CONFIRMED, body=body)
        for body in "truncated html cdn521 empty bom zero zero_text strings float bomb big".split()
    ],
    "the answer lies": [
        *(both(19, MISMATCH, variant=variant) for variant in ("thousandfold", "thousandth", "whole", "tens")),
        both(20, MISMATCH, variant="player"),
        both(20, CONFIRMED, variant="older"),
        both(28, CONFIRMED, delay=0.5),
        both(
            28,
            End("confirmed", NEVER, unseen="answers and look-ups say confirmed for ever: only a balance tells"),
            never=True,
        ),
        both(31, End("orphaned", ONCE, "mismatch", "4.00"), amount="4.00"),  # nobody has agreed on parts with it
    ],
    "the id comes again": [
        both(21, End("confirmed", TWICE, unseen=MOVED_TWICE), lose=True, variant="twice"),
        *(both(21, CONFIRMED, lose=True, variant=variant) for variant in ("duplicate", "busy", "created")),
        either(23, CONFIRMED, CONFIRMED, "out", owns="10.00", lose=True),
    ],
    "it is decided later": [
        both(25, CONFIRMED, variant="success", delay=0.4),
        both(25, CANCELLED, variant="fail", delay=0.4),
        *(both(26, CONFIRMED, variant="late", body=body, delay=0.5) for body in ("missing", "pending")),
        both(26, CONFIRMED, variant="rate", delay=0.5),
        both(26, CONFIRMED, variant="maintenance", delay=0.5),
        both(26, CONFIRMED, variant="retention"),
        both(26, End("confirmed", TWICE, unseen=MOVED_TWICE), variant="unrecorded"),  # 26b
        *(both(27, End("reversed", UNDONE, "provider_refused"), delay=0.5, lose=lose) for lose in (True, False)),
        both(
            27,
            End("reversed", ONCE, "provider_refused", unseen="a refusal is final, and the money stayed"),
            never=True,
            lose=True,
        ),
    ],
    "a refusal": [
        either(32, CONFIRMED, REFUSED, "out"),
        either(33, CONFIRMED, REFUSED, "out"),
        either(33, REFUSED, REFUSED, variant="both"),
        either(35, REFUSED, CONFIRMED, "in"),
        either(42, REFUSED, REFUSED, owns="0.00"),
    ],
    "not now": [
        *(both(36, CONFIRMED, delay=0.1, body=body) for body in ("json", "html")),
        *(both(36, ABSENT, delay=60, body=body) for body in ("json", "html")),
        both(39, CONFIRMED, variant="alive"),
        both(39, CONFIRMED, variant="dead", delay=0.1),
        both(39, ABSENT, variant="dead", delay=60),
        *(both(40, CONFIRMED, variant=variant) for variant in ("body", "drop", "redirect")),
        thrice(40, ABSENT, variant="body"),
        *(both(41, CONFIRMED, retry_after=seconds) for seconds in (0, 1)),
        thrice(41, ABSENT, retry_after=0),
    ],
}


# --- one transfer under one fault -------------------------------------------------------------------------


@dataclass(frozen=True)
class Told:
    """One transfer under one fault, and what became of it."""

    fault: Fault
    direction: str
    player: str
    transfer_id: str

    @property
    def end(self) -> End:
        """The one that is expected."""
        return self.fault.ends[self.direction == "out"]

    @property
    def older(self) -> int:
        """What an older transfer has put into the game, in cents."""
        return 100 if self.fault.case == 20 else 0


def somebody(desk: Bench, sim: Simulator, owns: str = "50.00") -> str:
    """A new player with 100.00 in the wallet, and with so much won at the provider."""
    name = desk.player(f"p{uuid.uuid4().hex[:12]}")
    if cents(owns):
        sim.play(name, owns)
    return name


def meet(desk: Bench, sim: Simulator, fault: Fault, direction: str) -> Told:
    """A player of its own moves 10.00 under the fault; for a mis-routed answer there is an older transfer of 1.00."""
    player = somebody(desk, sim, fault.owns)
    if fault.case == 20:
        older = desk.run("in", "1.00", player=player, key=f"{player}-1", ask=5)
        assert desk.row(older)["state"] == "confirmed"
    sim.script(fault.case, player=player, **fault.script)
    return Told(fault, direction, player, desk.run(direction, "10.00", player=player, key=f"{player}-2"))


def resolve_all(desk: Bench, seconds: float = 25) -> None:
    """Resolve side by side, as the job does, until nothing is pending."""
    end = time.monotonic() + seconds
    while desk.rows("SELECT id FROM transfer WHERE state = 'pending'"):
        claims = resolve.claim_due(desk.runtime, 10)
        with ThreadPoolExecutor(10) as pool:
            list(pool.map(lambda claim: resolve.resolve(desk.runtime, claim), claims))
        assert time.monotonic() < end, desk.rows("SELECT * FROM transfer WHERE state = 'pending'")
        time.sleep(0.03)


def resolve_until(desk: Bench, ends: Mapping[str, str], seconds: float = 15) -> None:
    """Resolve what is pending, watched or an orphan, until each transfer is in its state."""
    end = time.monotonic() + seconds
    while wrong := {each: state for each, state in ends.items() if desk.row(each)["state"] != state}:
        desk.resolve_due()
        assert time.monotonic() < end, [desk.row(each) for each in wrong]
        time.sleep(0.03)


def reference_of(desk: Bench, transfer_id: str) -> str:
    """By which the provider knows it."""
    return str(desk.get(transfer_id).outside.reference)


# --- by the ledger ----------------------------------------------------------------------------------------


def moves(sim: Simulator, reference: str | None) -> list[tuple[str, str]]:
    """(kind, amount) of every line of the ledger file by which a reference moved money."""
    lines = (line for line in sim.lines() if line.get("reference") == reference)
    return [(line["kind"], line["amount"]) for line in lines if line["kind"] in UNDONE]


def ledger_of(sim: Simulator, player: str) -> int:
    """What a player has there by transfers, in cents, by the ledger file alone; wins and losses aside."""
    total = 0
    for line in sim.lines():
        if line["kind"] in UNDONE and line["player"] == player:
            into = (line["type"] == "CREDIT") == (line["kind"] == "completed")
            total += cents(line["amount"]) * (1 if into else -1)
    return total


def wait_for_moves(sim: Simulator, reference: str | None, expected: list[tuple[str, str]], seconds: float = 5) -> None:
    """Until what is still to come at the provider has come, or it is too late."""
    end = time.monotonic() + seconds
    while moves(sim, reference) != expected and time.monotonic() < end:
        time.sleep(0.05)


def wrong_with(desk: Bench, sim: Simulator, told: Told) -> list[str]:
    """What is not as expected: the end, the provider's ledger, our books, and what went over the wire."""
    row, end, leg = desk.row(told.transfer_id), told.end, desk.get(told.transfer_id).outside
    expected = [(kind, end.amount) for kind in end.moves]
    wait_for_moves(sim, leg.reference, expected)
    wrong = []
    if (row["state"], row["reason_code"]) != (end.state, end.reason):
        wrong.append(f"{row['state']} ({row['reason_code']}: {row['reason_detail']})")
    if moves(sim, leg.reference) != expected:
        wrong.append(f"the ledger says {moves(sim, leg.reference)}, expected {expected}")
    wrong += books_wrong(desk, sim, told)
    if (end.state == "orphaned") != bool(desk.rows(OPEN_CASES, id=told.transfer_id, reason=end.reason)):
        wrong.append("an orphan has an open case that says why, and nothing else has one")
    return wrong + wire_wrong(sim, told, leg.reference)


OPEN_CASES = "SELECT id FROM orphan_case WHERE transfer_id = :id AND reason = :reason AND state <> 'closed'"


def books_wrong(desk: Bench, sim: Simulator, told: Told) -> list[str]:
    """Our books against the ledger: the same, but for an orphan, in custody, and for what nobody can see."""
    end, sign = told.end, 1 if told.direction == "in" else -1
    ledger, game = ledger_of(sim, told.player) - told.older, desk.game(told.player) - told.older
    wrong = []
    if ledger != sign * end.moved:
        wrong.append(f"the provider's ledger has {ledger} of the player, expected {sign * end.moved}")
    believed, given = expected_books(desk, told)
    if (game, desk.wallet(told.player)) != (believed, 10_000 - told.older + given):
        wrong.append(f"game and wallet have {game}, {desk.wallet(told.player)}, expected {believed} and {given} more")
    if not end.unseen and end.state != "orphaned" and game != ledger:
        wrong.append(f"the game account has {game}, and the provider's ledger {ledger}")
    if end.unseen and game == ledger:
        wrong.append("our books are right, and were expected to be misled")
    return wrong


def expected_books(desk: Bench, told: Told) -> tuple[int, int]:
    """What a transfer has changed the game account and the wallet by, in cents (design §7)."""
    sign = 1 if told.direction == "in" else -1
    if told.end.state != "orphaned":
        moved = sign * 1000 if told.end.state == "confirmed" else 0
        return moved, -moved
    if sign == 1:
        return 0, -1000
    # Out: it has left the game for custody; a wallet that was given it before keeps it, and the house bears that.
    return (0, 1000) if desk.rows(GIVEN, id=told.transfer_id) else (-1000, 0)


GIVEN = "SELECT id FROM history WHERE transfer_id = :id AND subject = 'transfer' AND target = 'confirmed'"


def wire_wrong(sim: Simulator, told: Told, reference: str | None) -> list[str]:
    """I-25: at most three requests of one reference, and no cancel that nobody wished; the case was really shown."""
    seen = Counter(line["operation"] for line in sim.lines(".wire") if line["reference"] == reference)
    wrong = [] if seen["create"] <= 3 and not seen["cancel"] else [f"sent {dict(seen)}"]
    shown = {line["case"] for line in sim.lines(".faults") if line["player"] == told.player and "observed" not in line}
    if shown != ({told.fault.case} if told.direction in told.fault.strikes else set()):
        wrong.append(f"shown were cases {shown or 'none'}")
    return wrong


def clean(desk: Bench) -> None:
    """The books agree with themselves, by two audits that share no code."""
    desk.audit()
    assert verify(desk.runtime) == []


# --- the ground -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def running_generic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """One simulator a worker: a time scale of one second, no faults of its own accord."""
    options = ("--protocol", "generic", "--secret", SECRET, "--seed", "1")
    with simulator(tmp_path_factory.mktemp("generic"), *options) as started:
        yield started


@pytest.fixture
def gen(running_generic: Simulator) -> Simulator:
    """The simulator with nothing scripted any more."""
    running_generic.control("DELETE", "/faults")
    return running_generic


@pytest.fixture
def desk(migrated_url: str, gen: Simulator) -> Iterator[Bench]:
    """A bridge before it."""
    with bench(migrated_url, gen.address, **TIMES) as made:
        yield made


# --- the tests --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", FAULTS)
def test_fault_ends_as_the_ledger_says(desk: Bench, gen: Simulator, group: str) -> None:
    """I-02 I-12 I-13 I-17 I-25 C-01 C-06 C-07 C-09 C-12 C-15 C-54 issue 3 point 6: under each fault, in and out, the
    end is what the provider's own ledger says, or the amount is in custody and before people."""
    cases = [(fault, direction) for fault in FAULTS[group] for direction in DIRECTIONS]
    with ThreadPoolExecutor(6) as pool:
        stories = list(pool.map(lambda case: meet(desk, gen, *case), cases))
    resolve_all(desk)
    wrong = {(str(t.fault), t.direction): found for t in stories if (found := wrong_with(desk, gen, t))}
    assert wrong == {}
    clean(desk)


@pytest.mark.parametrize("fault", ["drop", "reset", "close"])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_connection_that_is_dropped_unread(desk: Bench, gen: Simulator, direction: str, fault: str) -> None:
    """C-12 cases 14 and 40: accepted and dropped before a byte is read: looked up, sent again, moved once; or, where
    the drop is noticed before a byte has left, reversed for that reason, and nothing moved."""
    player = somebody(desk, gen)
    gen.script(40, on="accept") if fault == "drop" else gen.script(14, on="accept", params={"how": fault})
    struck = len(gen.lines(".faults"))
    transfer_id = desk.run(direction, "10.00", player=player)
    resolve_all(desk)
    assert [line["on"] for line in gen.lines(".faults")[struck:]] == ["accept"]
    row = desk.row(transfer_id)
    left = [("completed", "10.00")] if row["state"] == "confirmed" else []
    assert (row["state"], row["reason_code"]) in {("confirmed", None), ("reversed", "provider_unreachable")}
    assert moves(gen, reference_of(desk, transfer_id)) == left
    assert desk.game(player) == ledger_of(gen, player) == 10_000 - desk.wallet(player)
    clean(desk)


def lost(desk: Bench, sim: Simulator, case: int, direction: str, **given: Any) -> tuple[str, str]:
    """(player, transfer) of one that meets a case."""
    player = somebody(desk, sim)
    sim.script(case, player=player, params=given)
    return player, desk.run(direction, "10.00", player=player)


def test_late_commit_after_a_reversal(desk: Bench, gen: Simulator) -> None:
    """I-17 C-07 case 15: three requests are lost, it is absent by the rule and reversed; then the provider executes it
    after all, long after it may. The watch finds it: an orphan, and one effect."""
    stories = []
    for direction in DIRECTIONS:
        player = somebody(desk, gen)
        gen.script(14, player=player, times=3, params={"how": "reset"})
        stories.append((direction, player, desk.run(direction, "10.00", player=player)))
    resolve_until(desk, {transfer_id: "reversed" for _, _, transfer_id in stories})
    for direction, player, transfer_id in stories:
        reference = reference_of(desk, transfer_id)
        assert (desk.row(transfer_id)["reason_code"], moves(gen, reference)) == ("not_executed", [])
        assert (desk.wallet(player), desk.game(player)) == (10_000, 0)
        terms = {"player": player, "direction": direction, "amount": "10.00", "currency": "EUR"}
        gen.control("POST", "/act", {"act": "confirm", "id": reference, **terms})
    clean(desk)
    resolve_until(desk, {transfer_id: "orphaned" for _, _, transfer_id in stories})
    for _, _, transfer_id in stories:
        assert moves(gen, reference_of(desk, transfer_id)) == [("completed", "10.00")]
        assert desk.rows(OPEN_CASES, id=transfer_id, reason="contradiction")
    clean(desk)


def test_cancelled_before_a_late_commit(desk: Bench, gen: Simulator) -> None:
    """C-07 C-29 case 15: cancelled while it is still to come, it is reversed and never executed. `commit`: the provider
    has promised that and moves the money all the same, off its record, where no answer of its own will ever show it."""
    stories = []
    for direction in DIRECTIONS:
        for commit in (False, True):
            player, transfer_id = lost(desk, gen, 15, direction, body="pending", delay=2, commit=commit)
            assert cancel(desk.runtime, desk.operator, transfer_id).state.value == "reversed"
            stories.append((player, transfer_id, commit))
    _, later = lost(desk, gen, 15, "in", body="pending", delay=2)  # due after those that were cancelled
    resolve_until(desk, {later: "confirmed"})
    for player, transfer_id, commit in stories:
        kinds = [kind for kind, _ in moves(gen, reference_of(desk, transfer_id))]
        assert kinds == ["completed"] * commit
        assert (desk.row(transfer_id)["state"], desk.row(transfer_id)["reason_code"]) == ("reversed", "cancelled")
        assert (desk.wallet(player), desk.game(player)) == (10_000, 0)
        assert (ledger_of(gen, player) == desk.game(player)) is not commit
    clean(desk)


def test_pending_for_ever(migrated_url: str, gen: Simulator) -> None:
    """I-17 C-18 C-63 case 25: pending beyond all patience: an orphan with a case, nothing moved, asked about on and on.
    The provider's people end it one day, and it ends as they say, once."""
    with bench(migrated_url, gen.address, **IMPATIENT) as desk:
        acts = {"confirm": ("confirmed", [("completed", "10.00")]), "cancel": ("reversed", [])}
        stories = [(*lost(desk, gen, 25, direction, variant="ever"), act) for direction in DIRECTIONS for act in acts]
        resolve_until(desk, {transfer_id: "orphaned" for _, transfer_id, _ in stories})
        for _, transfer_id, _ in stories:
            assert desk.rows(OPEN_CASES, id=transfer_id, reason="unproved")
            assert moves(gen, reference_of(desk, transfer_id)) == []
        clean(desk)
        for _, transfer_id, act in stories:
            gen.control("POST", "/act", {"act": act, "id": reference_of(desk, transfer_id)})
        resolve_until(desk, {transfer_id: acts[act][0] for _, transfer_id, act in stories})
        for player, transfer_id, act in stories:
            assert moves(gen, reference_of(desk, transfer_id)) == acts[act][1]
            assert desk.game(player) == ledger_of(gen, player) == 10_000 - desk.wallet(player)
        clean(desk)


OTHERS = [
    # how the provider takes our create under an id that somebody else has used for 4.00, and what is in its ledger
    (None, "orphaned", ["4.00"]),  # 409, and the look-up shows another amount
    ("first", "orphaned", ["4.00"]),
    ("executed", "confirmed", ["4.00", "10.00"]),  # told as asked: that 4.00 moved under our id, no answer shows
]


@pytest.mark.parametrize(("variant", "state", "amounts"), OTHERS)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_id_that_was_used_with_another_amount(
    desk: Bench, gen: Simulator, direction: str, variant: str | None, state: str, amounts: list[str]
) -> None:
    """C-09 C-10 case 22: the bridge never sends one id with two amounts; where somebody else has used it, what is told
    with the other amount is before people and in custody."""
    player = somebody(desk, gen)
    transfer_id = desk.begin(direction, "10.00", player=player, queued=True).transfer_id
    assert transfer_id is not None
    reference = reference_of(desk, transfer_id)
    stranger = {"player": player, "direction": direction, "amount": "4.00", "currency": "EUR"}
    gen.control("POST", "/act", {"act": "confirm", "id": reference, **stranger})
    if variant is not None:
        gen.script(22, player=player, params={"variant": variant})
    resolve_until(desk, {transfer_id: state})
    shown = [line.get("observed", False) for line in gen.lines(".faults") if line["reference"] == reference]
    assert shown == [variant is None]
    assert moves(gen, reference) == [("completed", amount) for amount in amounts]
    assert bool(desk.rows(OPEN_CASES, id=transfer_id, reason="mismatch")) is (state == "orphaned")
    sign = 1 if direction == "in" else -1
    assert desk.game(player) == {"confirmed": sign * 1000, "orphaned": 0 if sign == 1 else -1000}[state]
    clean(desk)


def test_two_withdrawals_both_pass(desk: Bench, gen: Simulator) -> None:
    """C-34 case 30: the second is checked against a balance that the first has taken: the provider's balance is
    negative, and each withdrawal is in our wallet once, as in its ledger."""
    player = somebody(desk, gen)
    time.sleep(OLD_SECONDS + 0.1)  # what was won must be older than the balance that is looked at
    gen.script(30, player=player, params={"delay": OLD_SECONDS})
    ids = [desk.run("out", "40.00", player=player) for _ in range(2)]
    resolve_all(desk)
    for transfer_id in ids:
        assert desk.row(transfer_id)["state"] == "confirmed"
        assert moves(gen, reference_of(desk, transfer_id)) == [("completed", "40.00")]
    owned = gen.control("GET", f"/players/{player}")["balances"]["EUR"]["owned"]
    assert (owned, desk.wallet(player)) == ("-30.00", 18_000)
    assert desk.game(player) == ledger_of(gen, player) == -8000
    clean(desk)


# --- all that is there ------------------------------------------------------------------------------------

SWEEPS = [
    # what is scripted, and what becomes of "max" with 50.00 there: state, reason, amounts that moved
    (32, {}, "confirmed", None, ["49.99"]),  # the bet was one cent
    (33, {"delay": 60, "settle": 0.2}, "confirmed", None, ["50.00"]),
    (33, {"delay": 60, "settle": 60}, "reversed", "player_in_game", []),
    (23, {"lose": True}, "confirmed", None, ["50.00"]),
    (31, {"amount": "20.00"}, "orphaned", "mismatch", ["20.00"]),
    (26, {"variant": "retention"}, "confirmed", None, ["50.00"]),
]


@pytest.mark.parametrize(("case", "params", "state", "reason", "amounts"), SWEEPS)
def test_sweep(
    desk: Bench,
    gen: Simulator,
    case: int,
    params: dict[str, Any],
    state: str,
    reason: str | None,
    amounts: list[str],
) -> None:
    """C-11 C-34 cases 23, 26, 31 to 33: what is there comes out once, whatever moves or is refused meanwhile."""
    player = somebody(desk, gen)
    gen.script(case, player=player, params=params)
    transfer_id = desk.run("out", "max", player=player)
    resolve_all(desk)
    row = desk.row(transfer_id)
    assert (row["state"], row["reason_code"]) == (state, reason), row["reason_detail"]
    references = [each["reference"] for each in desk.rows(OUTSIDE, id=transfer_id)]
    assert [amount for one in references for _, amount in moves(gen, one)] == amounts
    assert ledger_of(gen, player) == -sum(map(cents, amounts))
    if state != "orphaned":
        assert desk.game(player) == ledger_of(gen, player) == 10_000 - desk.wallet(player)
    assert bool(desk.rows(OPEN_CASES, id=transfer_id, reason=reason)) is (state == "orphaned")
    clean(desk)


OUTSIDE = "SELECT reference FROM leg WHERE transfer_id = :id AND reference IS NOT NULL ORDER BY ordinal"


def test_sweep_by_a_stale_balance(desk: Bench, gen: Simulator) -> None:
    """C-30 C-34 case 29: too high: refused, read again, and what is there comes out; too low: what was read comes out,
    and the rest stays where it is, in both books."""
    changes = {"-20.00": ["30.00"], "30.00": ["50.00"]}  # what is lost or won since, and what comes out
    players = {later: somebody(desk, gen) for later in changes}
    time.sleep(OLD_SECONDS + 0.1)  # what was won first must be older than the stale balance
    for later, player in players.items():
        gen.play(player, later)
        gen.script(29, player=player, params={"delay": OLD_SECONDS})
        transfer_id = desk.run("out", "max", player=player)
        resolve_all(desk)
        assert desk.row(transfer_id)["state"] == "confirmed"
        references = [each["reference"] for each in desk.rows(OUTSIDE, id=transfer_id)]
        assert len(references) == (2 if later == "-20.00" else 1)
        assert [amount for one in references for _, amount in moves(gen, one)] == changes[later]
        assert desk.game(player) == ledger_of(gen, player) == 10_000 - desk.wallet(player)
    clean(desk)


@pytest.mark.parametrize("variant", ["zero", "error"])
def test_sweep_of_a_player_never_seen(desk: Bench, gen: Simulator, variant: str) -> None:
    """C-14 case 42: zero there, or an internal error: no transfer, no posting, and no request that could move money."""
    player = somebody(desk, gen, "0.00")
    gen.script(42, on="balance", player=player, params={"variant": variant})
    if variant == "zero":
        begun = desk.begin("out", "max", player=player)
        assert (begun.transfer_id, begun.outcome) == (None, None)
        assert begun.stored is not None
        assert "#nothing_to_move" in (begun.stored.response or "")
    else:
        with pytest.raises(Unavailable):
            desk.begin("out", "max", player=player)
    assert (desk.wallet(player), desk.game(player), ledger_of(gen, player)) == (10_000, 0, 0)
    assert {line["operation"] for line in gen.lines(".wire") if line["player"] == player} == {"balance"}
    assert desk.rows("SELECT id FROM transfer WHERE player_id = :player", player=player) == []
    clean(desk)


# --- parts, and everything together -----------------------------------------------------------------------


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_part_where_it_is_agreed(migrated_url: str, gen: Simulator, direction: str) -> None:
    """C-09 case 31: the provider may move a part: what moved is confirmed, and the rest is where it was."""
    with bench(migrated_url, gen.address, partial=True, **TIMES) as desk:
        player = somebody(desk, gen)
        gen.script(31, player=player, params={"amount": "4.00"})
        transfer_id = desk.run(direction, "10.00", player=player)
        resolve_all(desk)
        row = desk.row(transfer_id)
        assert (row["state"], row["reason_code"], row["arrived"]) == ("confirmed", "partial", 400)
        assert moves(gen, reference_of(desk, transfer_id)) == [("completed", "4.00")]
        assert desk.game(player) == ledger_of(gen, player) == 10_000 - desk.wallet(player)
        clean(desk)


HONEST_BY_RATE = (13, 14, 15, 16, 17, 18, 23, 25, 28, 36, 39, 40, 41)


def test_faults_by_rate_over_many_transfers(desk: Bench, gen: Simulator) -> None:
    """I-01 I-02 C-01 C-15 Thirty transfers of three players under faults by rate: our books are the provider's ledger,
    player by player."""
    players = [somebody(desk, gen) for _ in range(3)]
    params = {"25": {"variant": "success"}, "39": {"delay": 0.1}, "36": {"delay": 0.1}, "28": {"delay": 0.3}}
    cases = {str(number): 1 for number in HONEST_BY_RATE}
    gen.control("POST", "/rate", {"rate": 0.8, "cases": cases, "params": params})
    try:
        ids = together(
            6,
            lambda n: [
                desk.run("out" if m % 3 == 2 else "in", "2.00", player=players[n % 3], key=f"r{n}-{m}")
                for m in range(5)
            ],
        )
        assert all(isinstance(batch, list) for batch in ids), ids
        resolve_all(desk)
    finally:
        gen.control("POST", "/rate", {"rate": 0})
    for transfer_id in (each for batch in ids for each in batch):
        expected = [("completed", "2.00")] if desk.row(transfer_id)["state"] == "confirmed" else []
        reference = reference_of(desk, transfer_id)
        wait_for_moves(gen, reference, expected)
        assert moves(gen, reference) == expected
    for player in players:
        assert desk.game(player) == ledger_of(gen, player) == 10_000 - desk.wallet(player)
    states = Counter(row["state"] for row in desk.rows("SELECT state FROM transfer"))
    assert (states.total(), states["orphaned"]) == (30, 0)
    assert {line["case"] for line in gen.lines(".faults") if line["player"] in players} & set(HONEST_BY_RATE)
    clean(desk)
