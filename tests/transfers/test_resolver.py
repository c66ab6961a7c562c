"""The resolver: patience, slow polling, aftercare, outages, clocks, lanes, and what is set aside."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from bridge import watch
from bridge.errors import LaneUnresolved
from bridge.evidence import Answer, Reply, Source, Step
from bridge.ports import SECOND, LanePolicy
from bridge.transfers import resolve
from bridge.transfers.advance import Asking, Fact, advance
from bridge.transfers.drive import drive, perform
from tests.harness import PLAYER, Bench, Hands, Simulator, bench, together
from tests.transfers.conftest import REAL_TIMES
from tests.transfers.scripted import ABSENT, DROPPED, LOST, SILENT, STALE, ScriptedProvider

BOTH_WAYS = pytest.mark.parametrize("direction", ["in", "out"])
DAY = 86_400


def complete_lost(still: Bench, scripted: ScriptedProvider, direction: str = "in") -> str:
    """A transfer whose complete was executed, its answer lost; nobody has asked yet."""
    scripted.script = ["ok", LOST]
    transfer_id = still.run(direction, ask=-1)
    assert still.row(transfer_id)["state"] == "pending"
    return transfer_id


def pass_time(still: Bench, seconds: float, tick: float = 1.0) -> int:
    """Time passes, a resolver pass each tick; how many transfers were due."""
    due = 0
    for _ in range(int(seconds / tick)):
        still.runtime.clock.sleep(tick)
        due += still.resolve_due()
    return due


def positions(still: Bench) -> tuple[int, int, int, int]:
    """Wallet, transit, custody and game of the player, in cents."""
    return still.wallet(), still.account("transit"), still.account("custody:sim"), still.game()


@BOTH_WAYS
def test_patience_then_custody_then_late_proof(still: Bench, scripted: ScriptedProvider, direction: str) -> None:
    """I-04 I-17 C-18 Unproved when patience is spent: orphaned, custody, an open case, slow questions; late
    proof confirms and settles."""
    transfer_id = complete_lost(still, scripted, direction)
    scripted.broken = True
    pass_time(still, 870, 30)
    assert still.row(transfer_id)["state"] == "pending"
    pass_time(still, 40, 5)
    row = still.row(transfer_id)
    assert (row["state"], row["reason_code"]) == ("orphaned", "unproved")
    assert positions(still) == ((99_000, 0, 1000, 0) if direction == "in" else (100_000, 0, 1000, -1000))
    (case,) = still.rows("SELECT * FROM orphan_case")
    assert (case["state"], case["transfer_id"]) == ("open", transfer_id)
    still.audit()
    asked = scripted.count("look_up")
    pass_time(still, 3000, 30)
    assert 8 <= scripted.count("look_up") - asked <= 12, "slow polling goes on: every 300 s"
    scripted.broken = False
    pass_time(still, 400, 40)
    assert still.row(transfer_id)["state"] == "confirmed"
    (case,) = still.rows("SELECT * FROM orphan_case")
    assert case["state"] == "closed"
    assert positions(still) == ((99_000, 0, 0, 1000) if direction == "in" else (101_000, 0, 0, -1000))
    moves = [
        (m["source"], m["target"]) for m in still.rows("SELECT * FROM history WHERE subject = 'transfer' ORDER BY id")
    ]
    assert moves == [(None, "pending"), ("pending", "orphaned"), ("orphaned", "confirmed")]
    still.audit()


@BOTH_WAYS
def test_orphan_whose_return_is_proved_is_reversed(still: Bench, scripted: ScriptedProvider, direction: str) -> None:
    """I-11 I-13 An orphan leaves by proof the other way too: cancelled there, money back, case closed."""
    scripted.script = ["ok", DROPPED]
    transfer_id = still.run(direction, ask=-1)
    scripted.broken = True
    pass_time(still, 910, 10)
    assert still.row(transfer_id)["state"] == "orphaned"
    scripted.broken = False
    pass_time(still, 700, 50)
    assert (still.row(transfer_id)["state"], still.wallet(), still.game()) == ("reversed", 100_000, 0)
    assert still.rows("SELECT state FROM orphan_case") == [{"state": "closed"}]
    still.audit()


@pytest.mark.parametrize("lie", [SILENT, ABSENT, STALE])
def test_no_number_of_lying_look_ups_moves_money(still: Bench, scripted: ScriptedProvider, lie: str) -> None:
    """I-12 C-13 C-14 C-15 Errors, "not found" and "pending" for an hour leave a completed transfer unproved,
    not reversed."""
    transfer_id = complete_lost(still, scripted)
    still.runtime.clock.sleep(8)  # too late to complete it again
    for _ in range(100):
        scripted.script = [lie] * 4
        pass_time(still, 30, 30)
    assert still.row(transfer_id)["state"] == "orphaned"
    assert positions(still) == (99_000, 0, 1000, 0)
    scripted.script = []
    pass_time(still, 400, 40)
    assert still.row(transfer_id)["state"] == "confirmed"


@BOTH_WAYS
def test_aftercare_finds_a_late_execution(
    still: Bench, scripted: ScriptedProvider, hands: Hands, direction: str
) -> None:
    """I-16 C-07 What was reversed by inference and executed after all is orphaned: both sides have it, the
    house bears it."""
    begun = still.begin(direction)
    assert begun.outcome is not None
    order = begun.outcome.order
    assert order is not None
    hands.turn(0.5)
    prepared = perform(still.runtime, order)  # answered, but the worker is away until it is too late
    hands.turn(9)
    advance(still.runtime, order.claim.transfer_id, order.claim, prepared)
    pass_time(still, 30)
    row = still.row(order.claim.transfer_id)
    assert (row["state"], row["reason_code"]) == ("reversed", "not_completed")
    assert still.wallet() == 100_000
    assert row["wake_at"] is not None, "it is watched"
    next(iter(scripted.records.values())).state = "COMPLETED"  # against its own rules: executed late
    pass_time(still, 90, 5)
    assert still.row(order.claim.transfer_id)["state"] == "orphaned"
    # In: the wallet has it back and the game has it too, so the house bears one. Out: it left the game and
    # reached nobody.
    expected = (100_000, 1000, -1000, 0) if direction == "in" else (100_000, -1000, 0, 1000)
    assert (still.wallet(), still.game(), still.account("house:sim"), still.account("custody:sim")) == expected
    assert [case["state"] for case in still.rows("SELECT state FROM orphan_case")] == ["open"]
    still.audit()


def test_aftercare_leaves_a_spent_wallet_alone(still: Bench, scripted: ScriptedProvider, hands: Hands) -> None:
    """I-05 C-07 The player spent what was given back: the late execution is stored, orphaned, and the house
    bears the loss."""
    begun = still.begin("in")
    assert begun.outcome is not None
    order = begun.outcome.order
    assert order is not None
    prepared = perform(still.runtime, order)
    hands.turn(9)
    advance(still.runtime, order.claim.transfer_id, order.claim, prepared)
    pass_time(still, 30)
    still.cash("withdrawal", PLAYER, "1000.00")
    assert still.wallet() == 0
    next(iter(scripted.records.values())).state = "COMPLETED"
    pass_time(still, 90)
    assert still.row(order.claim.transfer_id)["state"] == "orphaned"
    assert (still.wallet(), still.game(), still.account("house:sim")) == (0, 1000, -1000)
    assert still.rows("SELECT answer FROM evidence WHERE source = 'lookup'") == [{"answer": "applied"}]
    still.audit()


def test_mismatch_after_the_end_leaves_a_spent_wallet_alone(still: Bench) -> None:
    """I-05 I-16 C-09 Out, confirmed, spent; then the provider tells another amount: stored, orphaned, wallet
    untouched."""
    transfer_id = still.run("out")
    still.cash("withdrawal", PLAYER, "1010.00")
    seen = still.get(transfer_id)
    other = Reply(
        Answer.APPLIED, amount=5, currency="EUR", player=PLAYER, side="debit", reference=seen.outside.reference,
        provider_reference=seen.outside.provider_reference,
    )  # fmt: skip
    outcome = advance(still.runtime, transfer_id, None, Fact(other, Source.LOOKUP, still.runtime.clock.now()))
    assert outcome.transfer.state.value == "orphaned"
    assert (still.wallet(), still.account("house:sim")) == (0, -1000)
    still.audit()


# --- outages and clocks -------------------------------------------------------------------------------------


@BOTH_WAYS
@pytest.mark.parametrize("days", [31 / 1440, 1 / 3, 25, 30])
def test_outage_of_any_length(
    still: Bench, scripted: ScriptedProvider, hands: Hands, direction: str, days: float
) -> None:
    """I-31 C-20 C-21 After an outage of half an hour or thirty days each transfer is found and proved at the
    first pass."""
    lost = complete_lost(still, scripted, direction)
    scripted.script = [DROPPED, DROPPED]
    unprepared = still.run(direction, "3.00", ask=-1)
    queued = still.begin("out", "2.00", queued=True).transfer_id
    assert queued is not None
    hands.turn(days * DAY)
    still.resolve_due()
    assert still.row(lost)["state"] == "confirmed"
    assert still.row(unprepared)["state"] == "reversed"
    assert still.row(queued)["state"] in ("reversed", "confirmed")
    assert still.rows("SELECT * FROM orphan_case") == [], "an outage makes no orphan of what one question can prove"
    assert still.game() == scripted.net(PLAYER)
    still.audit()


@BOTH_WAYS
@pytest.mark.parametrize("days", [1, -1])
@pytest.mark.parametrize("stage", ["begun", "prepared", "complete committed", "complete lost", "confirmed", "reversed"])
def test_clock_that_is_set_changes_no_state(
    still: Bench, scripted: ScriptedProvider, hands: Hands, direction: str, days: int, stage: str
) -> None:
    """I-34 A wall clock set by a day, at any stage, asks earlier or later; it neither reverses what happened
    nor confirms what did not."""
    outcome = still.begin(direction).outcome
    assert outcome is not None
    steps = {"begun": 0, "prepared": 0, "complete committed": 1, "complete lost": 2, "confirmed": 2, "reversed": 0}[
        stage
    ]
    scripted.script = ["ok", LOST if stage == "complete lost" else "ok"]
    fact: Any = None
    for _ in range(steps):
        assert outcome.order is not None
        fact = perform(still.runtime, outcome.order)
        outcome = advance(still.runtime, outcome.transfer.id, outcome.order.claim, fact, asking=Asking.NO)
    if stage == "prepared":
        assert outcome.order is not None
        fact = perform(still.runtime, outcome.order)  # the clock is set before the answer is stored
    if stage == "reversed":
        pass_time(still, 40)
    before = still.row(outcome.transfer.id)["state"]
    hands.set_wall(days * DAY)
    if stage == "prepared" and outcome.order is not None:
        outcome = advance(still.runtime, outcome.transfer.id, outcome.order.claim, fact)
        drive(still.runtime, outcome)
    for worker in (still, still.another(providers=still.runtime.providers)):
        worker.resolve_due()
    reference = still.get(outcome.transfer.id).outside.reference
    seen = still.row(outcome.transfer.id)["state"]
    assert before in ("pending", seen)
    assert seen != ("reversed" if scripted.done(reference) else "confirmed")
    still.audit()
    hands.set_wall(-days * DAY)
    pass_time(still, 60, 4)
    hands.set_both(2 * DAY)  # whatever was put off by the wrong clock comes due
    assert watch.hindrance(still.runtime) is None
    pass_time(still, 1500, 50)
    assert still.row(outcome.transfer.id)["state"] == ("confirmed" if scripted.done(reference) else "reversed")
    assert still.game() == scripted.net(PLAYER)
    still.audit()


def test_time_zones_of_the_provider_are_only_words(still: Bench) -> None:
    """I-34 C-24 A provider's time is stored as it was told and decides nothing."""
    transfer_id = still.run("out")
    seen = still.get(transfer_id)
    proof = next(e for e in seen.outside.evidence if e.reply.answer is Answer.APPLIED)
    for told in ("2001-01-01T00:00:00", "9999-12-31T23:59:59+14:00", "not a time", ""):
        reply = Reply(**{**proof.reply.__dict__, "provider_time": told})
        outcome = advance(still.runtime, transfer_id, None, Fact(reply, Source.LOOKUP, still.runtime.clock.now()))
        assert outcome.transfer.state.value == "confirmed"


# --- set aside ----------------------------------------------------------------------------------------------


def test_a_row_that_always_raises_delays_nobody(still: Bench, hands: Hands, monkeypatch: Any) -> None:
    """I-32 I-17 C-19 An error of our own sets one row aside, waits longer each time, opens a case, and never
    finishes it."""
    bad, good = (still.begin("out", "1.00", queued=True).transfer_id for _ in range(2))
    real = resolve.resolve

    def poisoned(runtime: Any, claim: Any, **options: Any) -> Any:
        if claim.transfer_id == bad:
            raise RuntimeError("a bug of ours")
        return real(runtime, claim, **options)

    monkeypatch.setattr(resolve, "resolve", poisoned)
    waits = []
    for _ in range(120):
        hands.turn(1)
        for claim in resolve.claim_due(still.runtime, 10):
            done = resolve.resolve_or_set_aside(still.runtime, claim)
            assert done == (claim.transfer_id == good)
            if not done:
                waits.append((still.row(claim.transfer_id)["wake_at"] - hands.now()) // SECOND)
    assert still.row(str(good))["state"] == "confirmed"
    assert waits == [2, 4, 8, 16, 32, 64]
    (case,) = still.rows("SELECT * FROM orphan_case")
    assert (case["transfer_id"], case["state"], case["reason"]) == (bad, "open", "engine_error")
    assert len(still.rows("SELECT id FROM history WHERE subject = 'case'")) == 1
    still.audit()
    monkeypatch.setattr(resolve, "resolve", real)
    pass_time(still, 100, 5)
    assert still.row(str(bad))["state"] == "confirmed"
    assert [case["state"] for case in still.rows("SELECT state FROM orphan_case")] == ["closed"]
    still.audit()


# --- lanes --------------------------------------------------------------------------------------------------

# policy, what is unresolved on the lane, what is new: whether it begins. Out is never blocked.
LANES = [
    ("block", "in", "in", False), ("block", "out", "in", False), ("block", "in", "out", True), ("block", "out",
     "out", True),
    ("opposite", "in", "in", False), ("opposite", "out", "in", True), ("opposite", "in", "out", True), ("opposite",
     "out", "out", True),
    ("allow", "in", "in", True), ("allow", "out", "in", True), ("allow", "in", "out", True), ("allow", "out", "out",
     True),
]  # fmt: skip


def test_lanes(migrated_url: str) -> None:
    """C-54 I-20 What a new transfer may do beside an unresolved one: blocked or allowed by policy, out never
    blocked."""
    hands = Hands()
    provider = ScriptedProvider(hands)
    with bench(migrated_url, clock=hands, provider=provider, **REAL_TIMES) as desk:
        for number, (policy, first, second, begins) in enumerate(LANES):
            section = desk.runtime.config.providers["sim"].model_copy(update={"lane_policy": LanePolicy(policy)})
            config = desk.runtime.config.model_copy(update={"providers": {"sim": section}})
            lane = Bench(replace(desk.runtime, config=config), desk.operator, made=1000 + 10 * number)
            player = lane.player(f"lane{number}")
            provider.script = ["ok", LOST, *[SILENT] * 9]
            lane.run(first, "1.00", player=player, ask=-1)
            provider.broken = True
            if begins:
                assert lane.begin(second, "1.00", player=player).outcome is not None
            else:
                wallet = lane.wallet(player)
                with pytest.raises(LaneUnresolved) as refused:
                    lane.begin(second, "1.00", player=player, key=f"lane-{number}")
                assert refused.value.transfer_id
                assert lane.wallet(player) == wallet
                hands.turn(3)
                provider.broken, provider.script = False, []
                assert lane.begin(second, "1.00", player=player, key=f"lane-{number}").outcome is not None, (
                    "asked, proved, begun"
                )
            provider.broken = False
        desk.audit()


def test_a_lane_is_one_player_at_one_provider(still: Bench, scripted: ScriptedProvider) -> None:
    """C-54 C-44 An unresolved transfer of one player delays no other player."""
    complete_lost(still, scripted)
    scripted.broken = True
    still.player("bob")
    assert still.begin("in", player="bob").outcome is not None


def test_two_in_at_the_same_instant_see_each_other(migrated_url: str) -> None:
    """C-34 C-54 Under policy block, of eight transfers in at one instant exactly one begins."""
    hands = Hands()
    provider = ScriptedProvider(hands)
    with bench(migrated_url, clock=hands, provider=provider, **{**REAL_TIMES, "lane_policy": "block"}) as desk:
        results = together(8, lambda n: desk.begin("in", "1.00", key=f"same-{n}", queued=False))
        begun = [r for r in results if not isinstance(r, Exception)]
        assert len(begun) == 1, results
        assert all(isinstance(r, LaneUnresolved) for r in results if isinstance(r, Exception)), results
        assert desk.wallet() == 99_900
        desk.audit()


# --- with the real simulator --------------------------------------------------------------------------------


def test_late_answer_after_patience(desk: Bench, sim: Simulator) -> None:
    """C-01 C-18 I-17 Look-ups fail beyond patience, then tell the truth: orphaned with a case, then confirmed
    and settled."""
    ids = {}
    for direction in ("in", "out"):
        player = desk.player(f"late{random.getrandbits(40):x}")
        sim.play(player, "50.00")
        sim.script(26, player=player, params={"variant": "late", "body": "missing", "delay": 11})
        ids[player] = desk.run(direction, player=player)
    desk.resolve_until_still(15)
    for player, transfer_id in ids.items():
        assert desk.row(transfer_id)["state"] == "orphaned", player
        assert sim.effects(desk.get(transfer_id).outside.reference) == 1
    assert desk.account("custody:sim") == 2000
    desk.audit()
    desk.resolve_until_still(20, states=("orphaned",))
    for player, transfer_id in ids.items():
        assert desk.row(transfer_id)["state"] == "confirmed"
        assert desk.game(player) == sim.owns(player)
    assert {case["state"] for case in desk.rows("SELECT state FROM orphan_case")} == {"closed"}
    desk.audit()


def test_two_real_resolvers_side_by_side(desk: Bench, sim: Simulator) -> None:
    """C-28 C-38 I-25 Two resolvers with pools and adapters of their own drive twelve queued transfers: each
    has one effect."""
    names = [f"two{random.getrandbits(40):x}" for _ in range(12)]
    for name in names:
        desk.player(name)
        sim.play(name, "50.00")
    ids = [desk.begin("in" if n % 2 else "out", player=name, queued=True).transfer_id for n, name in enumerate(names)]
    workers = [desk.another(), desk.another()]
    results = together(4, lambda n: [workers[n % 2].resolve_due(3) for _ in range(6)])
    assert not [r for r in results if isinstance(r, Exception)], results
    desk.resolve_until_still(15)
    for transfer_id, name in zip(ids, names, strict=True):
        assert transfer_id is not None
        leg, state = desk.get(transfer_id).outside, desk.row(transfer_id)["state"]
        assert sim.effects(leg.reference) == (1 if state == "confirmed" else 0)
        assert desk.game(name) == sim.owns(name)
        assert len(sim.wire(name, "prepare")) <= 2
    for worker in workers:
        worker.runtime.engine.dispose()
    desk.audit()


def test_first_request_of_a_queued_transfer_is_the_resolvers(still: Bench, scripted: ScriptedProvider) -> None:
    """I-17 C-56 A queued transfer is there at once, due at once, and sent by the first pass."""
    begun = still.begin("in", queued=True)
    assert begun.transfer_id is not None
    assert scripted.requests == []
    assert still.row(begun.transfer_id)["wake_at"] <= still.runtime.clock.now()
    still.resolve_due()
    assert still.row(begun.transfer_id)["state"] == "confirmed"
    assert [name for name, _ in scripted.requests] == [Step.PREPARE.value, Step.COMPLETE.value]
