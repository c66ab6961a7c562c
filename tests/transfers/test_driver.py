"""The driver: what is committed before what leaves, what a crash at any point leaves behind, who may send."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, event

from bridge import db
from bridge.evidence import Answer, Reply, Source, Step
from bridge.models import metadata
from bridge.transfers import resolve, rows
from bridge.transfers.advance import Claim, Fact, Order, Outcome, UnknownTransfer, advance
from bridge.transfers.drive import drive, perform
from bridge.transfers.ending import end
from tests.harness import Bench, Hands, Simulator, strokes_seen, together
from tests.transfers.scripted import LOST, REFUSED_DOOR, SILENT, WRONG_AMOUNT, ScriptedProvider

BOTH_WAYS = pytest.mark.parametrize("direction", ["in", "out"])
WRITES = ("INSERT", "UPDATE", "DELETE", "WITH")


class Pulled(Exception):
    """The plug, at a statement that the test chose."""


@contextmanager
def counting_commits(engine: Engine) -> Iterator[list[str]]:
    """The transactions that wrote something and were committed, each by its first write."""
    wrote: dict[int, str] = {}
    commits: list[str] = []

    def statement(connection: Any, _cursor: Any, text: str, *_rest: Any) -> None:
        if text.lstrip().upper().startswith(WRITES):
            wrote.setdefault(id(connection.connection.dbapi_connection), text.split("(", maxsplit=1)[0].strip())

    def committed(connection: Any) -> None:
        first = wrote.pop(id(connection.connection.dbapi_connection), None)
        if first is not None:
            commits.append(first)

    event.listen(engine, "before_cursor_execute", statement)
    event.listen(engine, "commit", committed)
    try:
        with strokes_seen(lambda text: commits.append(text.split("(", maxsplit=1)[0].strip())):
            yield commits
    finally:
        event.remove(engine, "before_cursor_execute", statement)
        event.remove(engine, "commit", committed)


@BOTH_WAYS
def test_commits_and_requests_of_a_clean_transfer(desk: Bench, sim: Simulator, player: str, direction: str) -> None:
    """I-14 I-25 Embedded wallet and two phases: three commits that write, two money requests, no look-up."""
    desk.run("in", "1.00", player=player, ask=2)  # a token is there
    for _ in range(5):
        before = len(sim.wire(player, "prepare", "complete", "cancel", "lookup"))
        with counting_commits(desk.runtime.engine) as commits:
            transfer_id = desk.run(direction, "10.00", player=player)
        if "unknown" not in {e.reply.answer.value for e in desk.get(transfer_id).outside.evidence}:
            break  # on a busy machine half a second may be too short, and that is no clean transfer
    assert desk.row(transfer_id)["state"] == "confirmed"
    assert len(commits) == 3, commits
    seen = [line["operation"] for line in sim.wire(player, "prepare", "complete", "cancel", "lookup")[before:]]
    assert seen == ["prepare", "complete"]
    assert sim.effects(desk.get(transfer_id).outside.reference) == 1
    desk.resolve_until_still()
    assert desk.game(player) == sim.owns(player)
    desk.audit()


def test_no_connection_is_held_while_a_request_is_on_the_wire(desk: Bench, sim: Simulator, player: str) -> None:
    """I-33 While the provider takes its time over a prepare, a complete or a look-up, the pool has every connection."""
    outbound = desk.runtime.providers["sim"]._outbound  # type: ignore[attr-defined]
    for operation in ("prepare", "complete"):
        sim.script(16, player=player, on=operation, params={"delay": 0.25})
    held: list[int] = []
    samples: list[int] = []

    def watched(send: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **parts: Any) -> Any:
            over = threading.Event()

            def sample() -> None:
                while not over.wait(0.005):
                    samples.append(desk.runtime.engine.pool.checkedout())  # type: ignore[attr-defined]

            held.append(desk.runtime.engine.pool.checkedout())  # type: ignore[attr-defined]
            watcher = threading.Thread(target=sample)
            watcher.start()
            try:
                return send(*args, **parts)
            finally:
                over.set()
                watcher.join()

        return call

    outbound.send, outbound.read = watched(outbound.send), watched(outbound.read)
    transfer_id = desk.run("in", "10.00", player=player, ask=3)
    assert desk.row(transfer_id)["state"] in ("confirmed", "pending", "reversed")
    assert len(held) >= 3, "token, prepare, complete"
    assert len(samples) > 20
    assert set(held) | set(samples) == {0}


@BOTH_WAYS
def test_no_connection_is_held_whatever_is_asked(still: Bench, scripted: ScriptedProvider, direction: str) -> None:
    """I-33 At the moment of each prepare, complete, void and look-up, nothing is checked out of the pool."""
    held: list[tuple[str, int]] = []
    scripted.during = lambda operation: held.append((operation, still.runtime.engine.pool.checkedout()))  # type: ignore[attr-defined]
    scripted.script = ["ok", LOST, SILENT, SILENT]
    still.run(direction, ask=100)
    for _ in range(12):
        still.runtime.clock.sleep(3)
        still.resolve_due()
    assert {operation for operation, _ in held} == {"prepare", "complete", "look_up"}
    assert {count for _, count in held} == {0}


# --- not-after ----------------------------------------------------------------------------------------------


@BOTH_WAYS
def test_worker_paused_past_its_not_after_sends_nothing(
    still: Bench, scripted: ScriptedProvider, hands: Hands, direction: str
) -> None:
    """I-30 C-40 C-05 A worker that was paused between its commit and its call finds the gate shut."""
    begun = still.begin(direction)
    hands.turn(4.1)
    assert begun.outcome is not None
    outcome = drive(still.runtime, begun.outcome)
    assert scripted.requests == []
    assert outcome.transfer.state.value == "reversed"
    assert still.row(outcome.transfer.id)["reason_code"] == "provider_unreachable"
    still.audit()


def test_real_gate_is_shut_too(desk: Bench, sim: Simulator, player: str) -> None:
    """I-30 C-40 The same over real HTTP: nothing of the transfer reaches the provider's wire."""
    begun = desk.begin("in", player=player)
    time.sleep(1.55)
    assert begun.outcome is not None
    outcome = drive(desk.runtime, begun.outcome)
    assert outcome.transfer.state.value == "reversed"
    assert [line for line in sim.lines(".wire") if line.get("reference") == outcome.transfer.outside.reference] == []
    assert desk.wallet(player) == 10_000


def test_complete_is_not_sent_after_the_reserve(still: Bench, scripted: ScriptedProvider, hands: Hands) -> None:
    """I-13 C-40 A complete committed in time, by a worker paused until 7.1 s after the prepare, does not leave."""
    begun = still.begin("in")
    assert begun.outcome is not None
    order = begun.outcome.order
    assert order is not None
    hands.turn(3.5)
    prepared = perform(still.runtime, order)
    outcome = advance(still.runtime, order.claim.transfer_id, order.claim, prepared)
    assert outcome.order is not None
    assert outcome.order.step is Step.COMPLETE
    hands.turn(3.6)
    fact = perform(still.runtime, outcome.order)
    assert fact.reply.answer is Answer.NOT_SENT
    assert scripted.count("complete") == 0
    advance(still.runtime, order.claim.transfer_id, order.claim, fact)
    hands.turn(20)
    still.resolve_due()
    assert still.row(order.claim.transfer_id)["state"] == "reversed"
    assert not scripted.done(order.effect.reference)


# --- a statement, then nothing ------------------------------------------------------------------------------


def everything(still: Bench) -> dict[str, Any]:
    """Every row of every table."""
    return {name: sorted(map(str, still.rows(f"SELECT * FROM {name}"))) for name in metadata.tables}


def pulled_at_each_statement(still: Bench, act: Callable[[], Any]) -> int:
    """Run `act` with the plug pulled at statement 1, 2, … and at the commit: each time nothing of it may be there."""
    before, engine = everything(still), still.runtime.engine
    number = 0
    while True:
        number += 1
        seen = 0

        def statement(*_: Any, number: int = number) -> None:
            nonlocal seen
            seen += 1
            if seen == number:
                raise Pulled

        def commit(*_: Any) -> None:
            raise Pulled

        event.listen(engine, "before_cursor_execute", statement)
        event.listen(engine, "commit", commit)
        try:
            # On PostgreSQL a stroke is its own commit.
            alone = engine.dialect.name == "postgresql"
            with strokes_seen(commit if alone else statement), pytest.raises(Pulled):
                act()
        finally:
            event.remove(engine, "before_cursor_execute", statement)
            event.remove(engine, "commit", commit)
        assert everything(still) == before, f"statement {number} left something behind"
        if seen < number:
            return number


@BOTH_WAYS
def test_crash_at_each_statement_commits_nothing(
    still: Bench, scripted: ScriptedProvider, hands: Hands, direction: str
) -> None:
    """I-14 C-02 Begin, each outcome, a conclusion and an orphaning are there as a whole or not at all."""
    counts = [pulled_at_each_statement(still, lambda: still.begin(direction, key="one", plainly=False))]
    pulled_at_each_statement(still, lambda: still.begin(direction, key="one"))  # in one stroke
    begun = still.begin(direction, key="one")
    outcome = begun.outcome
    assert outcome is not None
    for number in range(2):
        order = outcome.order
        assert order is not None
        fact = perform(still.runtime, order)
        given = (still.runtime, order.claim.transfer_id, order.claim, fact)
        counts.append(pulled_at_each_statement(still, lambda given=given: advance(*given)))
        if number == 1:
            pulled_at_each_statement(still, lambda seen=outcome, fact=fact: end(still.runtime, seen, fact))
        outcome = advance(*given)
    assert outcome.transfer.state.value == "confirmed"
    second = still.begin(direction, key="two")
    assert second.transfer_id is not None
    hands.turn(60)
    claim = still_claim(still, second.transfer_id)
    counts.append(pulled_at_each_statement(still, lambda: advance(still.runtime, claim.transfer_id, claim)))
    advance(still.runtime, claim.transfer_id, claim)
    assert still.row(second.transfer_id)["state"] == "reversed"
    mismatch = Fact(told(outcome, "applied", amount=1), Source.LOOKUP, hands.now())
    counts.append(pulled_at_each_statement(still, lambda: advance(still.runtime, outcome.transfer.id, None, mismatch)))
    advance(still.runtime, outcome.transfer.id, None, mismatch)
    assert still.row(outcome.transfer.id)["state"] == "orphaned"
    assert min(counts) > 5, counts
    still.audit()


def still_claim(still: Bench, transfer_id: str) -> Claim:
    """The claim of one transfer that is due."""
    (claim,) = [claim for claim in resolve.claim_due(still.runtime, 50) if claim.transfer_id == transfer_id]
    return claim


def told(outcome: Outcome, answer: str, **changes: Any) -> Reply:
    """What the provider would say of a transfer, exactly as intended except `changes`."""
    seen = outcome.transfer
    whole = Reply(
        Answer(answer), amount=seen.amount, currency=seen.currency, player=seen.player, side=seen.outside.side.value,
        reference=seen.outside.reference, provider_reference=seen.outside.provider_reference,
    )  # fmt: skip
    return replace(whole, **changes)


# --- a worker dies ------------------------------------------------------------------------------------------

# Where the worker dies: before or after the k-th request left; what the others must make of it.
DEATHS = [
    ("before prepare", 1, False, "reversed", 0),
    ("after prepare", 1, True, "reversed", 0),
    ("before complete", 2, False, "reversed", 0),
    ("after complete", 2, True, "confirmed", 1),
]


@BOTH_WAYS
@pytest.mark.parametrize("death", DEATHS, ids=[death[0] for death in DEATHS])
def test_worker_dies_and_another_resumes_from_rows(
    still: Bench, scripted: ScriptedProvider, hands: Hands, direction: str, death: tuple[str, int, bool, str, int]
) -> None:
    """I-02 C-02 C-45 Killed around each request, the transfer is taken up by another worker and has one effect
    or none."""
    _, nth, sent, end, effects = death
    outcome = still.begin(direction).outcome
    assert outcome is not None
    for _ in range(1, nth):
        assert outcome.order is not None
        outcome = advance(
            still.runtime, outcome.transfer.id, outcome.order.claim, perform(still.runtime, outcome.order)
        )
    assert outcome.order is not None
    if sent:
        perform(still.runtime, outcome.order)
    other = still.another(providers=still.runtime.providers)
    for _ in range(60):
        hands.turn(1)
        other.resolve_due()
    assert other.row(outcome.transfer.id)["state"] == end
    assert sum(r.state == "COMPLETED" for r in scripted.records.values()) == effects
    assert still.game() == scripted.net("ann")
    still.audit()


def test_late_evidence_from_a_stale_worker_moves_by_proof(
    still: Bench, scripted: ScriptedProvider, hands: Hands
) -> None:
    """I-30 C-05 C-40 An answer that comes when the lease is long another's is stored, and its proof moves the
    transfer."""
    outcome = still.begin("in").outcome
    assert outcome is not None
    assert outcome.order is not None
    outcome = advance(still.runtime, outcome.transfer.id, outcome.order.claim, perform(still.runtime, outcome.order))
    assert outcome.order is not None
    late = perform(still.runtime, outcome.order)
    hands.turn(12)
    other = still.another(providers=still.runtime.providers)
    scripted.script = [SILENT]
    other.resolve_due()
    assert other.row(outcome.transfer.id)["lease_epoch"] == 2
    after = advance(still.runtime, outcome.transfer.id, outcome.order.claim, late)
    assert after.transfer.state.value == "confirmed"
    assert after.order is None
    stored = still.rows("SELECT lease_epoch, worker FROM evidence WHERE answer = 'applied' AND source = 'call'")
    assert stored == [{"lease_epoch": 1, "worker": still.runtime.worker}]
    still.audit()


def test_stale_worker_sends_nothing_and_concludes_nothing(
    still: Bench, scripted: ScriptedProvider, hands: Hands
) -> None:
    """I-30 C-40 C-42 Under a stale epoch an update changes no row, no order is given, silence proves nothing."""
    outcome = still.begin("in").outcome
    assert outcome is not None
    order = outcome.order
    assert order is not None
    hands.turn(10)
    other = still.another(providers=still.runtime.providers)
    other.resolve_due()
    seen = still.get(order.claim.transfer_id)
    with db.writing(still.runtime.engine) as connection:
        assert not rows.update_transfer(connection, seen, {"reason_detail": "stale"}, lease_epoch=order.claim.epoch)
        assert not rows.update_transfer(connection, replace(seen, version=99), {"reason_detail": "stale"})
    hands.turn(60)
    for fact in (None, Fact(Reply(Answer.UNKNOWN), Source.CALL, hands.now(), Step.PREPARE, 1)):
        after = advance(still.runtime, order.claim.transfer_id, order.claim, fact)
        assert after.order is None
        assert after.transfer.state.value == "pending"
    assert still.row(order.claim.transfer_id)["reason_detail"] is None
    assert still.rows("SELECT answer FROM evidence WHERE source = 'call'") == [{"answer": "unknown"}]
    hands.turn(60)
    other.resolve_due()
    assert still.row(order.claim.transfer_id)["state"] == "reversed"
    assert scripted.requests == []


def test_worker_without_the_lease_leaves_the_lease_alone(
    still: Bench, scripted: ScriptedProvider, hands: Hands
) -> None:
    """I-30 C-31 Late evidence touches neither wake-up nor owner of a live lease; where nobody holds one, it
    wakes at once."""
    outcome = still.begin("in").outcome
    assert outcome is not None
    assert outcome.order is not None
    order = outcome.order
    late = perform(still.runtime, order)
    hands.turn(10)
    other = still.another(providers=still.runtime.providers)
    (claim,) = resolve.claim_due(other.runtime, 5)
    lease = {name: still.row(claim.transfer_id)[name] for name in ("wake_at", "lease_owner", "lease_epoch")}
    assert lease["lease_owner"] == other.runtime.worker
    after = advance(still.runtime, claim.transfer_id, order.claim, late)
    assert after.transfer.outside.provider_reference is not None, "it taught us the provider's id"
    assert {name: still.row(claim.transfer_id)[name] for name in lease} == lease
    drive(other.runtime, advance(other.runtime, claim.transfer_id, claim))
    row = still.row(claim.transfer_id)
    assert (row["lease_owner"], row["wake_at"] > hands.now()) == (None, True)
    mismatch = Fact(told(Outcome(still.get(claim.transfer_id)), "applied", amount=1), Source.LOOKUP, hands.now())
    advance(still.runtime, claim.transfer_id, order.claim, mismatch)
    row = still.row(claim.transfer_id)
    assert (row["state"], row["lease_owner"], row["wake_at"]) == ("orphaned", None, hands.now())
    still.audit()


def test_log_that_cannot_be_written_stops_no_money(still: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """I-14 C-35 A full disk behind standard error loses lines, not answers."""

    class Full:
        def write(self, _line: str) -> int:
            raise OSError(28, "No space left on device")

        def flush(self) -> None:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("sys.stderr", Full())
    transfer_id = still.run("in")
    monkeypatch.undo()
    assert still.row(transfer_id)["state"] == "confirmed"
    still.audit()


# --- at the same instant ------------------------------------------------------------------------------------


@BOTH_WAYS
def test_two_resolvers_decide_at_the_same_instant(still: Bench, scripted: ScriptedProvider, direction: str) -> None:
    """I-10 C-28 Eight bring the same proof at one instant: one transition, one set of postings, all their evidence."""
    scripted.script = ["ok", LOST]
    transfer_id = still.run(direction, ask=-1)
    seen = Outcome(still.get(transfer_id))
    fact = Fact(told(seen, "applied"), Source.LOOKUP, still.runtime.clock.now())
    results = together(8, lambda _n: advance(still.runtime, transfer_id, None, fact))
    assert all(isinstance(result, Outcome) for result in results), results
    assert still.row(transfer_id)["state"] == "confirmed"
    moves = still.rows("SELECT trigger FROM history WHERE subject = 'transfer' AND target = 'confirmed'")
    assert len(moves) == 1
    assert len(still.rows("SELECT id FROM evidence WHERE source = 'lookup'")) == 8
    versions = [row["version"] for row in still.rows("SELECT DISTINCT version FROM history ORDER BY version")]
    assert versions == sorted(set(versions))
    still.audit()


@BOTH_WAYS
@pytest.mark.parametrize("end", ["applied", "cancelled"])
def test_another_decides_while_one_is_reading(
    still: Bench, scripted: ScriptedProvider, direction: str, end: str
) -> None:
    """I-10 I-14 C-28 C-30 Between our reading of the transfer and of its legs another worker ends it: one transition,
    and our evidence is stored too."""
    scripted.script = ["ok", LOST]
    transfer_id = still.run(direction, ask=-1)
    seen = Outcome(still.get(transfer_id))
    still.runtime.clock.sleep(30)
    now, engine = still.runtime.clock.now(), still.runtime.engine
    if end == "cancelled":
        advance(still.runtime, transfer_id, None, Fact(told(seen, end), Source.LOOKUP, now))
    fact = Fact(told(seen, end), Source.LOOKUP, now)
    other = threading.Thread(target=advance, args=(still.runtime, transfer_id, None, fact))

    def between(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if "FROM leg" in statement and not other.ident:
            other.start()
            other.join(0.5)  # where our reading holds the row, the other one waits for us instead

    event.listen(engine, "before_cursor_execute", between)
    try:
        advance(still.runtime, transfer_id, None, fact)
    finally:
        event.remove(engine, "before_cursor_execute", between)
        other.join(20)
    assert other.ident
    assert still.row(transfer_id)["state"] == ("confirmed" if end == "applied" else "reversed")
    assert len(still.rows("SELECT id FROM evidence WHERE source = 'lookup'")) == (2 if end == "applied" else 3)
    assert (
        len(
            still.rows(
                "SELECT id FROM history WHERE subject = 'transfer' AND source = 'pending' AND target <> 'pending'"
            )
        )
        == 1
    )
    still.audit()


def test_each_due_transfer_is_claimed_once(still: Bench, scripted: ScriptedProvider, hands: Hands) -> None:
    """I-30 C-38 C-46 Eight claim at one instant: every due transfer goes to exactly one of them, none twice,
    none not due."""
    for _ in range(12):
        still.begin("out", "1.00", queued=True)
    claims = [claim for taken in together(8, lambda _n: resolve.claim_due(still.runtime, 3)) for claim in taken]
    ids = [claim.transfer_id for claim in claims]
    assert len(ids) == len(set(ids))
    more = resolve.claim_due(still.runtime, 50)
    assert len({*ids, *(claim.transfer_id for claim in more)}) == len(ids) + len(more) == 12
    assert {claim.epoch for claim in claims} == {2}
    assert resolve.claim_due(still.runtime, 50) == []
    hands.turn(10.1)
    assert len(resolve.claim_due(still.runtime, 50)) == 12


def test_opposite_proofs_at_the_same_instant(still: Bench, scripted: ScriptedProvider) -> None:
    """I-16 C-28 C-29 Proofs of both ends at one instant, from eight workers: orphaned, one case, books that agree."""
    scripted.script = ["ok", LOST]
    transfer_id = still.run("in", ask=-1)
    seen = Outcome(still.get(transfer_id))
    still.runtime.clock.sleep(30)
    now = still.runtime.clock.now()
    facts = [Fact(told(seen, "applied" if n % 2 else "cancelled"), Source.LOOKUP, now) for n in range(8)]
    results = together(8, lambda n: advance(still.runtime, transfer_id, None, facts[n]))
    assert all(isinstance(result, Outcome) for result in results), results
    assert still.row(transfer_id)["state"] == "orphaned"
    assert len(still.rows("SELECT * FROM orphan_case WHERE state = 'open'")) == 1
    still.audit()


@BOTH_WAYS
def test_other_amount_is_never_confirmed(still: Bench, scripted: ScriptedProvider, direction: str) -> None:
    """C-09 I-12 A completed transfer told with another amount is orphaned at once, with both amounts in its case."""
    scripted.script = ["ok", WRONG_AMOUNT]
    transfer_id = still.run(direction)
    row = still.row(transfer_id)
    assert (row["state"], row["reason_code"]) == ("orphaned", "mismatch")
    assert "1001" in row["reason_detail"]
    assert still.account("custody:sim") == 1000
    still.audit()


def test_provider_that_cannot_be_reached_gives_everything_back(still: Bench, scripted: ScriptedProvider) -> None:
    """I-13 C-12 Provably no byte left: reversed at once, wallet whole, and no second try behind anybody's back."""
    scripted.script = [REFUSED_DOOR]
    transfer_id = still.run("in")
    assert (still.row(transfer_id)["state"], still.row(transfer_id)["reason_code"]) == (
        "reversed",
        "provider_unreachable",
    )
    assert scripted.calls == ["prepare:not_sent"]
    assert still.wallet() == 100_000
    still.audit()


def test_unknown_transfer(still: Bench) -> None:
    """I-14 Evidence about a transfer that does not exist is an error and leaves nothing."""
    with pytest.raises(UnknownTransfer):
        advance(still.runtime, "tr_none", None, Fact(Reply(Answer.APPLIED), Source.LOOKUP, 1))
    assert still.rows("SELECT * FROM evidence") == []


def test_orders_carry_a_window_inside_the_lease(still: Bench, hands: Hands) -> None:
    """I-30 C-31 The gate shuts and the deadline passes before the lease ends, whatever the step."""
    outcome = still.begin("in").outcome
    for _ in range(2):
        assert outcome is not None
        order: Order | None = outcome.order
        assert order is not None
        lease_left = (still.row(order.claim.transfer_id)["wake_at"] - hands.now()) / 1_000_000
        assert order.window.not_after - hands.mono < lease_left
        assert order.window.deadline - hands.mono < lease_left
        assert order.window.not_after <= order.window.deadline
        outcome = advance(still.runtime, order.claim.transfer_id, order.claim, perform(still.runtime, order))
