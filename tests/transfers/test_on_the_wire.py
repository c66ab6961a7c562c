"""What is told while a request of ours may still be on the wire: nothing is reversed under it, and nothing of what was
told is forgotten. Whoever told it was answered 200, and does not say it again."""

from __future__ import annotations

from threading import Event
from typing import Any

import pytest
from sqlalchemy import text

from bridge import db
from bridge.ports import SECOND
from bridge.transfers import resolve
from bridge.transfers.advance import advance, effect_of
from bridge.transfers.core.decisions import Kind
from bridge.transfers.drive import perform
from bridge.verify import verify
from jobs import aftercare
from tests.deciding import Decision, decide
from tests.harness import Bench, Hands
from tests.transfers.scripted_one import DROPPED, OK, ScriptedOne
from tests.transfers.test_contradictions import BOTH_WAYS, books, check, reference_of, state_of


class Ours(Exception):
    """Something of our own that went wrong."""


def abandoned(lone: Bench, direction: str) -> str:
    """A transfer whose request is committed as sent; nobody goes on with it, and no answer to it is ever stored."""
    begun = lone.begin(direction)
    assert begun.outcome is not None
    return begun.outcome.transfer.id


def quiet_at(lone: Bench, transfer_id: str) -> int:
    """Until when a request of it may be on the wire, as far as anybody knows: one that has no answer."""
    query = """SELECT MAX(a.wire_until) AS quiet FROM attempt a WHERE a.transfer_id = :id AND NOT EXISTS (
        SELECT 1 FROM evidence e WHERE e.transfer_id = a.transfer_id AND e.source = 'call' AND e.attempt = a.attempt)"""
    (row,) = lone.rows(query, id=transfer_id)
    return int(row["quiet"])


def set_back(lone: Bench, hands: Hands, transfer_id: str) -> None:
    """The clock is set to a second before that, the database's with it."""
    hands.set_both((quiet_at(lone, transfer_id) - hands.now()) / SECOND - 1)


def taken_back_by_a_clock_set_back(lone: Bench, one: ScriptedOne, hands: Hands, direction: str) -> str:
    """A transfer whose worker died with the answer, and that a look-up confirmed. Then the clock is set back, and the
    provider takes back, which nobody believes yet."""
    begun = lone.begin(direction)
    assert begun.outcome is not None
    assert begun.outcome.order is not None
    transfer_id = begun.outcome.transfer.id
    perform(lone.runtime, begun.outcome.order)
    hands.turn(60)
    lone.resolve_due()
    assert (state_of(lone, transfer_id)[0], lone.row(transfer_id)["wake_at"]) == ("confirmed", None)
    set_back(lone, hands, transfer_id)
    advance(lone.runtime, transfer_id, None, one.take_back(reference_of(lone, transfer_id)))
    assert state_of(lone, transfer_id) == ("confirmed", None)
    return transfer_id


@BOTH_WAYS
def test_a_take_back_is_not_forgotten(lone: Bench, one: ScriptedOne, hands: Hands, direction: str) -> None:
    """I-16 I-17 I-34 C-08 It counts as soon as nothing can be on the wire any more, and somebody looks then."""
    transfer_id = taken_back_by_a_clock_set_back(lone, one, hands, direction)
    asked = len(one.requests)
    assert lone.resolve_due() == 1
    assert (state_of(lone, transfer_id), len(one.requests)) == (("confirmed", None), asked)
    row = lone.row(transfer_id)
    assert (row["wake_at"], row["lease_owner"]) == (quiet_at(lone, transfer_id), None)
    hands.turn(1)
    assert lone.resolve_due() == 1
    assert state_of(lone, transfer_id) == ("reversed", "provider_cancelled")
    assert books(lone) == {}
    assert one.net("ann") == 0
    check(lone)


TAKEN_BACK = "A provider's word that it took a confirmed transfer back is acted on, or somebody will look at it."


def named(lone: Bench) -> list[tuple[str, str]]:
    """(invariant, transfer) of every take-back that `bridge verify` says nobody will act on."""
    told = (finding for finding in verify(lone.runtime) if finding.sentence == TAKEN_BACK)
    return [(finding.invariant, row["transfer_id"]) for finding in told for row in finding.rows]


def wake(lone: Bench, transfer_id: str, at: int | None) -> None:
    """By hand."""
    with db.writing(lone.runtime.engine) as connection:
        given = {"at": at, "id": transfer_id}
        connection.execute(text("UPDATE transfer SET wake_at = :at WHERE id = :id"), given)


@BOTH_WAYS
def test_a_take_back_that_nobody_will_act_on_is_named(
    lone: Bench, one: ScriptedOne, hands: Hands, direction: str
) -> None:
    """I-16 I-17 As earlier versions left it, or somebody's hand: it is found, and whoever sets a time has it acted on,
    as docs/runbook.md says."""
    transfer_id = taken_back_by_a_clock_set_back(lone, one, hands, direction)
    assert named(lone) == []
    wake(lone, transfer_id, None)
    assert named(lone) == [("I-17", transfer_id)]
    hands.turn(1)
    wake(lone, transfer_id, 1)
    aftercare.run_once(lone.runtime, hands.now(), 10, Event())
    assert state_of(lone, transfer_id)[0] == "reversed"
    assert named(lone) == []
    check(lone)


@BOTH_WAYS
def test_what_people_confirmed_against_a_take_back_is_not_named(lone: Bench, one: ScriptedOne, direction: str) -> None:
    """I-17 I-54 Nobody has to look at it: they had seen what the provider said."""
    transfer_id = lone.run(direction)
    one.take_back(reference_of(lone, transfer_id))
    advance(lone.runtime, transfer_id, None, one.callback(reference_of(lone, transfer_id), sequence=None))
    assert state_of(lone, transfer_id) == ("orphaned", "contradiction")
    version = lone.get(transfer_id).version
    decide(lone.runtime, lone.operator, transfer_id, Decision(Kind.CONFIRM, "mia", "tom", "seen there", version))
    lone.resolve_due()
    assert (state_of(lone, transfer_id)[0], lone.row(transfer_id)["wake_at"]) == ("confirmed", None)
    assert named(lone) == []


@BOTH_WAYS
def test_a_take_back_is_not_forgotten_where_a_lease_was_given_back_early(
    lone: Bench, one: ScriptedOne, hands: Hands, monkeypatch: pytest.MonkeyPatch, direction: str
) -> None:
    """I-16 I-17 I-32 C-61 An error of our own behind the request sets the transfer aside, and it is due before the
    request is certainly off the wire. Both callbacks come in that time."""
    transfer_id, money = str(lone.begin(direction, queued=True).transfer_id), one.money

    def fails(*request: Any) -> Any:
        money(*request)
        raise Ours

    monkeypatch.setattr(one, "money", fails)
    (claim,) = resolve.claim_due(lone.runtime, 1)
    assert not resolve.resolve_or_set_aside(lone.runtime, claim)
    advance(lone.runtime, transfer_id, None, one.callback(reference_of(lone, transfer_id)))
    assert lone.resolve_due() == 1
    assert state_of(lone, transfer_id) == ("confirmed", None)
    assert lone.row(transfer_id)["wake_at"] == quiet_at(lone, transfer_id) > hands.now()
    advance(lone.runtime, transfer_id, None, one.take_back(reference_of(lone, transfer_id)))
    assert state_of(lone, transfer_id) == ("confirmed", None)
    hands.turn((quiet_at(lone, transfer_id) - hands.now()) / SECOND)
    lone.resolve_due()
    assert state_of(lone, transfer_id) == ("reversed", "provider_cancelled")
    assert books(lone) == {}
    check(lone)


@BOTH_WAYS
def test_a_take_back_under_a_live_lease_is_left_to_its_holder(
    lone: Bench, one: ScriptedOne, hands: Hands, direction: str
) -> None:
    """I-16 I-17 I-30 C-61 Both callbacks come before the answer: the lease stays as it was. Where its holder has died,
    the lease is when somebody looks."""
    transfer_id = abandoned(lone, direction)
    leased = lone.row(transfer_id)
    reference = reference_of(lone, transfer_id)
    one._create(effect_of(lone.get(transfer_id)), OK)
    advance(lone.runtime, transfer_id, None, one.callback(reference))
    advance(lone.runtime, transfer_id, None, one.take_back(reference))
    row = lone.row(transfer_id)
    assert row["state"] == "confirmed"
    assert (row["wake_at"], row["lease_owner"]) == (leased["wake_at"], leased["lease_owner"])
    hands.turn((row["wake_at"] - hands.now()) / SECOND)
    assert lone.resolve_due() == 1
    assert state_of(lone, transfer_id) == ("reversed", "provider_cancelled")
    check(lone)


@BOTH_WAYS
def test_a_round_by_a_wrong_clock_ends_no_aftercare(
    lone: Bench, one: ScriptedOne, hands: Hands, direction: str
) -> None:
    """I-17 I-34 C-07 A reversal by absence is watched. Whoever looks at it by a clock that was set back believes the
    request on the wire, concludes nothing, and looks again when it is not."""
    one.script = [DROPPED] * 3
    transfer_id = abandoned(lone, direction)
    while state_of(lone, transfer_id)[0] == "pending":
        hands.turn(60)
        lone.resolve_due()
    assert state_of(lone, transfer_id)[0] == "reversed"
    due = lone.row(transfer_id)["wake_at"]
    hands.turn((due - hands.now()) / SECOND)
    (claim,) = resolve.claim_due(lone.runtime, 1)
    set_back(lone, hands, transfer_id)
    resolve.resolve(lone.runtime, claim)
    assert lone.row(transfer_id)["wake_at"] == quiet_at(lone, transfer_id)
    hands.turn(1)
    lone.resolve_due()
    assert lone.row(transfer_id)["wake_at"] == due
    check(lone)
