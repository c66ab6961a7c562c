"""Proposals under pressure: many at once, one thing against another, and the process gone between any two
statements."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from threading import Event
from typing import Any

import pytest
from sqlalchemy import event

from bridge import lineage
from bridge.desk import proposals
from bridge.desk.proposals import Proposal, Wish, propose, reject, withdraw
from bridge.desk.verdicts import Approval, approve
from bridge.errors import Conflict, Forbidden, Refusal, Stale, Unauthorized
from bridge.evidence import Answer, Reply, Source
from bridge.models.desk import Role
from bridge.models.proposals import ProposalKind
from bridge.transfers.advance import Fact, advance
from jobs import expire
from tests.desk.office import WHY, Office, everything
from tests.harness import Bench, together

CROWD = 50


def nodes(room: Office, number: int) -> list[Bench]:
    """Other processes on the same database."""
    return [room.bench.another(providers=room.bench.runtime.providers) for _ in range(number)]


@contextmanager
def closed(benches: list[Bench]) -> Iterator[list[Bench]]:
    """Those processes, ended with the block."""
    try:
        yield benches
    finally:
        for made in benches:
            made.runtime.engine.dispose()


def approving(room: Office, proposal: Proposal, made: Bench, who: str) -> Approval:
    """One approval, by one of those processes."""
    return approve(made.runtime, room.seats[who], proposal.id, proposal.seen, f"{who} has seen it")


@pytest.mark.parametrize("people", [1, CROWD])
def test_fifty_approvals_at_once_are_one(room: Office, people: int) -> None:
    """I-54 C-28 C-77 Security 27: fifty approvals of one proposal at one instant, over four processes, by one person
    or by fifty: one decision, one set of postings, and each of the others is told so."""
    transfer_id = room.orphan()
    proposal, version = room.propose(transfer_id, "reverse"), room.bench.row(transfer_id)["version"]
    names = [f"checker{n}" for n in range(people)]
    for name in names:
        room.hire(name, Role.APPROVER)
    with closed(nodes(room, 4)) as benches:
        results = together(CROWD, lambda n: approving(room, proposal, benches[n % 4], names[n % people]))
    carried = [one for one in results if isinstance(one, Approval) and one.moved is not None]
    assert len(carried) == 1, results
    others = [one for one in results if one is not carried[0]]
    told = Approval if people == 1 else Conflict
    assert all(isinstance(one, told) for one in others), others
    assert len(room.decisions()) == 1
    assert room.posted(transfer_id, version) == [("custody:sim", "wallet:ann", 1000)]
    assert len(room.bench.rows("SELECT * FROM verdict")) == 1
    assert [note[1] for note in room.notes() if note[0] == "approve"].count("done") == 1
    room.audit()


def test_two_checkers_of_fifty(room: Office) -> None:
    """I-54 Where two are needed, of fifty at once exactly two are counted, and they are two people."""
    transfer_id = room.custody("60.00", "ann")
    proposal = room.propose(transfer_id, "confirm")
    names = [f"checker{n}" for n in range(5)]
    for name in names:
        room.hire(name, Role.APPROVER)
    with closed(nodes(room, 4)) as benches:
        results = together(CROWD, lambda n: approving(room, proposal, benches[n % 4], names[n % 5]))
    assert sum(isinstance(one, Approval) and one.moved is not None for one in results) == 1, results
    (decision,) = room.decisions()
    said = room.bench.rows("SELECT p.login FROM verdict v JOIN person p ON p.id = v.person_id ORDER BY v.at, p.id")
    assert set(decision["checker"].split(", ")) == {row["login"] for row in said}
    assert len({row["login"] for row in said}) == len(said) == 2
    room.audit()


@pytest.mark.parametrize("kind", ["confirm", "reverse"])
def test_approve_reject_and_withdraw_at_once(room: Office, kind: str) -> None:
    """I-54 C-77 C-28 One of them has its effect, the others are told of it; the money is where that one says."""
    for turn in range(4):
        transfer_id = room.custody("10.00", "ann")
        proposal, version = room.propose(transfer_id, kind), room.bench.row(transfer_id)["version"]
        with closed(nodes(room, 3)) as (first, second, third):
            acts: list[Callable[[], Any]] = [
                lambda: approving(room, proposal, first, "anna"),  # noqa: B023 - done before the next turn
                lambda: reject(second.runtime, room.seats["axel"], proposal.id, WHY),  # noqa: B023
                lambda: withdraw(third.runtime, room.seats["olga"], proposal.id, WHY),  # noqa: B023
            ]
            results = together(3, lambda n: acts[(n + turn) % 3]())  # noqa: B023
        assert sum(isinstance(one, Conflict) for one in results) == 2, results
        state = room.row(proposal)["state"]
        assert (len(room.posted(transfer_id, version)) > 0) is (state == "carried_out")
        assert room.case(transfer_id) == ("closed" if state == "carried_out" else "open")
        room.audit()


def test_two_makers_at_once(room: Office) -> None:
    """I-54 C-77 Twelve propose at one instant: one proposal, eleven learn of whose it is."""
    transfer_id = room.orphan()
    wishes = [room.wish(transfer_id, kind) for kind in ("confirm", "reverse")]
    makers = ["olga", "otto", "anna"]
    with closed(nodes(room, 3)) as benches:
        results = together(12, lambda n: propose(benches[n % 3].runtime, room.seats[makers[n % 3]], wishes[n % 2]))
    made = [one for one in results if isinstance(one, Proposal)]
    assert len(made) == 1
    assert {str(one).split(" has")[0] for one in results if isinstance(one, Conflict)} == {
        made[0].maker_id.removeprefix("pe_")
    }
    assert len(room.bench.rows("SELECT * FROM proposal")) == 1
    room.audit()


def test_expiry_at_once_with_an_approval(room: Office) -> None:
    """I-54 C-28 C-77 The instant at which it lapses: carried out by a clock that is behind, or expired, never both."""
    seen = set()
    for turn in range(6):
        transfer_id = room.custody("10.00", "ann")
        proposal, version = room.propose(transfer_id, "confirm"), room.bench.row(transfer_id)["version"]
        behind = room.hands.wall + 86_400 * 1_000_000 - 1
        room.hands.turn(86_400)
        with closed(nodes(room, 2)) as (early, late):
            slow = replace(early.runtime, clock=_Stopped(room.hands, behind))
            acts: list[Callable[[], Any]] = [
                lambda: approve(slow, room.seats["anna"], proposal.id, proposal.seen, WHY),  # noqa: B023
                lambda: expire.run_once(late.runtime, room.hands.now(), 10, Event()),
            ]
            together(2, lambda n: acts[(n + turn) % 2]())  # noqa: B023
        state = room.row(proposal)["state"]
        seen.add(state)
        assert state in ("carried_out", "expired")
        assert (room.posted(transfer_id, version) != []) is (state == "carried_out")
        assert room.case(transfer_id) == ("closed" if state == "carried_out" else "open")
    room.audit()


class _Stopped:
    """A clock that stands."""

    def __init__(self, hands: Any, at: int) -> None:
        self._hands, self._at = hands, at

    def now(self) -> int:
        return self._at

    def monotonic(self) -> float:
        return float(self._hands.monotonic())

    def sleep(self, seconds: float) -> None:
        self._hands.turn(seconds)


def test_an_answer_at_once_with_an_approval(room: Office) -> None:
    """I-16 I-54 C-77 The provider's word and the approval meet: either the word is first, and the approval moves
    nothing and says so, or it comes after the decision, and the transfer is an orphan again with an open case."""
    for turn in range(4):
        transfer_id = room.custody("10.00", "ann")
        proposal, version = room.propose(transfer_id, "reverse"), room.bench.row(transfer_id)["version"]
        leg = room.bench.get(transfer_id).outside
        said = Reply(
            Answer.APPLIED, amount=1000, currency="EUR", player="ann", side=leg.side.value, reference=leg.reference,
            provider_reference=f"W-late-{turn}", sequence=9,
        )  # fmt: skip
        fact = Fact(said, Source.CALLBACK, room.hands.now())
        with closed(nodes(room, 2)) as (one, other):
            acts: list[Callable[[], Any]] = [
                lambda: approving(room, proposal, one, "anna"),  # noqa: B023
                lambda: advance(other.runtime, transfer_id, None, fact),  # noqa: B023
            ]
            results = together(2, lambda n: acts[(n + turn) % 2]())  # noqa: B023
        state, row = room.row(proposal)["state"], room.bench.row(transfer_id)
        if state == "carried_out":
            assert (row["state"], room.case(transfer_id)) == ("orphaned", "open")
        else:
            assert any(isinstance(result, Conflict) for result in results), results
            assert (state, row["state"], room.case(transfer_id)) == ("stale", "confirmed", "closed")
            assert room.posted(transfer_id, version) == [("custody:sim", "game:sim:ann", 1000)]
        room.audit()


def test_who_is_disabled_at_once_with_an_approval(room: Office) -> None:
    """I-54 The row of the person is held: either the approval was first, or it is refused, and nothing lies between."""
    for turn in range(4):
        proposal = room.propose(room.custody("10.00", "ann"), "confirm")
        with closed(nodes(room, 1)) as (other,):
            acts: list[Callable[[], Any]] = [
                lambda: approving(room, proposal, other, "anna"),  # noqa: B023
                lambda: room.demote("anna", state="disabled"),
            ]
            results = together(2, lambda n: acts[(n + turn) % 2]())  # noqa: B023
        done = any(isinstance(result, Approval) for result in results)
        assert done is (room.row(proposal)["state"] == "carried_out")
        assert done or any(isinstance(result, Forbidden | Unauthorized) for result in results)
        room.change("UPDATE person SET state = 'active', epoch = 1 WHERE login = 'anna'")
        if not done:
            withdraw(room.bench.runtime, room.seats["olga"], proposal.id, WHY)
    room.audit()


# --- death between statements -------------------------------------------------------------------------


class Died(Exception):
    """The process is gone."""


@contextmanager
def dying_at(made: Bench, statement: int) -> Iterator[list[str]]:
    """Die before the statement of that number (from 1) of those that are executed meanwhile; what was executed."""
    executed: list[str] = []

    def before(_connection: Any, _cursor: Any, text: str, *_rest: Any) -> None:
        if len(executed) + 1 == statement:
            raise Died(text)
        executed.append(text)

    event.listen(made.runtime.engine, "before_cursor_execute", before)
    try:
        yield executed
    finally:
        event.remove(made.runtime.engine, "before_cursor_execute", before)


ACTS = ("propose", "approve", "approve_first_of_two", "order", "reject", "withdraw", "expire", "stale", "proved")


def prepared(room: Office, act: str) -> Callable[[], Any]:
    """One act at the desk, ready to be done."""
    runtime = room.bench.runtime
    if act == "propose":
        wish = room.wish(room.orphan(), "confirm")
        return lambda: propose(runtime, room.seats["olga"], wish)
    if act == "approve_first_of_two":
        proposal = room.propose(room.custody("60.00", "ann"), "confirm")
        return lambda: room.approve(proposal)
    transfer_id = room.orphan("in", "house" if act == "order" else "custody")
    proposal = room.propose(transfer_id, "claw_back" if act == "order" else "reverse")
    leg = room.bench.get(transfer_id).outside
    answer = Answer.IN_PROGRESS if act == "stale" else Answer.APPLIED
    said = Reply(answer, amount=1000, currency="EUR", player="ann", side=leg.side.value, reference=leg.reference)
    fact = Fact(said, Source.CALLBACK, room.hands.now())
    if act == "stale":
        advance(runtime, transfer_id, None, fact)
    if act == "expire":
        room.hands.turn(86_400)
    done: dict[str, Callable[[], Any]] = {
        "approve": lambda: room.approve(proposal),
        "order": lambda: room.approve(proposal),
        "stale": lambda: room.approve(proposal),
        "reject": lambda: reject(runtime, room.seats["anna"], proposal.id, WHY),
        "withdraw": lambda: withdraw(runtime, room.seats["olga"], proposal.id, WHY),
        "expire": lambda: proposals.expire(runtime, proposal.id),
        "proved": lambda: advance(runtime, transfer_id, None, fact),
    }
    return done[act]


@pytest.mark.parametrize("act", ACTS)
def test_a_death_between_any_two_statements_leaves_nothing(room: Office, act: str) -> None:
    """I-14 I-54 C-28 Each act is one transaction: whichever statement is the last, nothing of it is there; done again
    it is done, once."""
    doing = prepared(room, act)
    lineage.check(room.bench.runtime)  # the first look at a database is remembered
    notes, before = room.notes(), everything(room.bench)
    for statement in range(1, 100):
        with dying_at(room.bench, statement) as executed:
            try:
                doing()
            except Died:
                pass
            except Stale:
                assert act == "stale"
                break
            else:
                break
        assert (everything(room.bench), room.notes()) == (before, notes), executed
    assert len(executed) > 3, "it was done without a statement"
    assert everything(room.bench) != before
    room.audit()


# --- the job ------------------------------------------------------------------------------------------


def test_the_job_ends_what_has_lapsed(room: Office) -> None:
    """I-54 Security 27: only those whose day is over, at most `limit` a run, each once; cases are open again."""
    times = []
    for _ in range(3):
        transfer_id = room.custody("10.00", "ann")
        times.append((transfer_id, room.propose(transfer_id, "confirm")))
        room.hands.turn(3600)
    run: Callable[[int], dict[str, int]] = lambda limit: expire.run_once(  # noqa: E731
        room.bench.runtime, room.hands.now(), limit, Event()
    )
    due = times[0][1].expires_at
    room.hands.turn((due - room.hands.now()) / 1_000_000 - 1)
    assert run(10) == {"due": 0, "expired": 0}
    room.hands.turn(6 * 3600)
    assert run(1) == {"due": 1, "expired": 1}
    assert room.row(times[0][1])["state"] == "expired"
    assert run(10) == {"due": 2, "expired": 2}
    assert run(10)["due"] == 0
    assert {room.case(transfer_id) for transfer_id, _ in times} == {"open"}
    with pytest.raises(Conflict, match="expired"):
        room.approve(times[0][1])
    room.audit()


def test_one_that_cannot_expire_stops_no_other(room: Office) -> None:
    """I-54 A proposal whose rows somebody has broken fails the run, and the next one expires."""
    first, second = (room.propose(room.custody("10.00", "ann"), "confirm") for _ in range(2))
    room.change("UPDATE orphan_case SET state = 'open' WHERE transfer_id = :id", id=first.transfer_id)
    room.hands.turn(90_000)
    with pytest.raises(expire.ProposalsFailed, match="'due': 2, 'expired': 1"):
        expire.run_once(room.bench.runtime, room.hands.now(), 10, Event())
    assert (room.row(first)["state"], room.row(second)["state"]) == ("open", "expired")


def test_a_stop_is_heeded(room: Office) -> None:
    """I-54 A run that is told to stop begins nothing more."""
    room.propose(room.custody("10.00", "ann"), "confirm")
    room.hands.turn(90_000)
    stop = Event()
    stop.set()
    assert expire.run_once(room.bench.runtime, room.hands.now(), 10, stop)["expired"] == 0


def test_to_ask_again_at_once_asks_once(room: Office) -> None:
    """I-54 Twelve who want to know at one instant: the provider is asked once."""
    transfer_id = room.orphan()
    room.one.asked = ["silent"] * 20
    room.hands.turn(10)
    asked = room.one.count("look_up")
    wish = Wish(transfer_id, ProposalKind.ASK_AGAIN, WHY, "")
    with closed(nodes(room, 3)) as benches:
        results = together(12, lambda n: propose(benches[n % 3].runtime, room.seats["olga"], wish))
    assert sum(isinstance(one, Proposal) for one in results) == 1
    assert sum(isinstance(one, Refusal) for one in results) == 11
    assert room.one.count("look_up") == asked + 1
    room.audit()
