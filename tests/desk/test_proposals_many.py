"""Many at once, and the docket: an answer for each, a sum per currency, and what `bridge verify` asks."""

from __future__ import annotations

import pytest

from bridge.desk import docket
from bridge.desk.batches import MOST, approve_many, preview_many, propose_many
from bridge.errors import Invalid
from bridge.models.proposals import ProposalKind, ProposalState
from bridge.verify import verify
from tests.desk.office import WHY, Office, everything
from tests.test_verify import unguarded

CONFIRM = ProposalKind.CONFIRM


def test_many_each_with_an_answer_of_its_own(room: Office) -> None:
    """I-54 C-79 Of five, one is proved already, one is not ours, one is proposed already: the others are done, each
    in a transaction of its own, the sum is theirs, and each of the rest says why not."""
    good = [room.custody(amount, "ann") for amount in ("10.00", "7.50")]
    taken, proved = room.custody("1.00", "ann"), room.bench.run("in", "2.00")
    room.propose(taken, "reverse", "otto")
    runtime = room.bench.runtime

    shown = preview_many(runtime, room.person("olga"), [*good, taken, proved, "tr_nobody"], CONFIRM)
    assert ([item.done for item in shown.items], shown.sums) == ([True, True, True, False, False], {"EUR": 1850})
    assert shown.items[3].why == "transfer_id is confirmed: people decide about orphans only"
    seen = {item.id: item.sight.seen if item.sight else "" for item in shown.items}

    proposed = propose_many(runtime, room.seats["olga"], CONFIRM, "the statement of last night", seen)
    assert [(item.done, item.code) for item in proposed.items] == [
        (True, ""), (True, ""), (False, "already_proposed"), (False, "invalid"), (False, "not_found"),
    ]  # fmt: skip
    assert (proposed.sums, len(room.bench.rows("SELECT * FROM proposal"))) == ({"EUR": 1750}, 3)
    mine = [item.proposal for item in proposed.items if item.proposal is not None]
    assert {each.batch for each in mine} == {proposed.id}

    told = {each.id: each.seen for each in mine} | {mine[1].id: "what was shown before"}
    approved = approve_many(runtime, room.seats["anna"], "as in the statement", told | {"pr_nobody": ""})
    assert [(item.done, item.code) for item in approved.items] == [
        (True, ""), (False, "stale"), (False, "not_found"),
    ]  # fmt: skip
    assert approved.sums == {"EUR": 1000}
    assert [room.bench.row(each)["state"] for each in good] == ["confirmed", "orphaned"]
    again = approve_many(runtime, room.seats["anna"], "as in the statement", {each.id: each.seen for each in mine})
    assert [(item.done, item.code) for item in again.items] == [(False, "again"), (True, "")]
    assert again.sums == {"EUR": 750}
    room.audit()


def test_what_waits_for_another_person_is_in_no_sum(room: Office) -> None:
    """I-54 C-79 Of two that are approved one needs a second checker: the sum is of what was carried out."""
    made = [room.propose(room.custody(amount, "ann"), "confirm") for amount in ("60.00", "7.50")]
    batch = approve_many(room.bench.runtime, room.seats["anna"], WHY, {each.id: each.seen for each in made})
    assert [(item.done, item.missing) for item in batch.items] == [(True, 1), (True, 0)]
    assert batch.sums == {"EUR": 750}


def test_one_that_fails_by_our_own_fault_stops_no_other(room: Office) -> None:
    """I-54 C-79 An error that nobody foresaw is an answer too: the next ones are gone through."""
    ids = [room.custody("10.00", "ann") for _ in range(3)]
    made = [room.propose(each, "confirm") for each in ids]
    room.change("UPDATE orphan_case SET state = 'closed' WHERE transfer_id = :id", id=ids[1])
    batch = approve_many(room.bench.runtime, room.seats["anna"], WHY, {each.id: each.seen for each in made})
    assert [(item.done, item.code) for item in batch.items] == [(True, ""), (False, "failed"), (True, "")]
    assert batch.sums == {"EUR": 2000}
    assert [room.bench.row(each)["state"] for each in ids] == ["confirmed", "orphaned", "confirmed"]


def test_a_batch_has_bounds(room: Office) -> None:
    """I-54 Nothing, too many, one twice, or kinds that are for one alone: refused before anything is done."""
    before = everything(room.bench)
    ids = [f"tr_{n}" for n in range(MOST + 1)]
    for told, kind in (
        ([], CONFIRM), (ids, CONFIRM), (["tr_1", "tr_1"], CONFIRM), (["tr_1"], ProposalKind.SPLIT),
        (["tr_1"], ProposalKind.ASK_AGAIN),
    ):  # fmt: skip
        with pytest.raises(Invalid):
            preview_many(room.bench.runtime, room.person("olga"), told, kind)
    for few in ({}, dict.fromkeys(ids, "")):
        with pytest.raises(Invalid):
            approve_many(room.bench.runtime, room.seats["anna"], WHY, few)
        with pytest.raises(Invalid):
            propose_many(room.bench.runtime, room.seats["olga"], CONFIRM, WHY, few)
    assert everything(room.bench) == before


def test_the_docket_lists_what_waits(room: Office) -> None:
    """I-54 Oldest first, page by page, by state; with the names of those who have said something."""
    made = [room.propose(room.custody(f"{n}.00", "ann"), "confirm") for n in range(1, 5)]
    runtime, vera = room.bench.runtime, room.person("vera")
    first = docket.listed(runtime, vera, limit=3)
    assert [entry.proposal.id for entry in first] == [each.id for each in made[:3]]
    last = first[-1].proposal
    (rest,) = docket.listed(runtime, vera, limit=3, after=(last.created_at, last.id))
    assert (rest.proposal.id, rest.amount, rest.currency, rest.player) == (made[3].id, 400, "EUR", "ann")
    assert (rest.maker_name, rest.provider, rest.direction, rest.state) == ("Olga", "sim", "in", "orphaned")
    room.approve(made[3])
    assert len(docket.listed(runtime, vera)) == 3
    (ended,) = docket.listed(runtime, vera, state=ProposalState.CARRIED_OUT)
    assert [(said.login, said.approves, said.reason) for said in ended.verdicts] == [("anna", True, "anna has seen it")]
    shown = docket.shown(runtime, vera, made[3].id)
    assert (shown.sight, shown.seen, shown.why) == (None, None, "approved by anna")


@pytest.mark.parametrize(
    ("harm", "rule"),
    [
        ("UPDATE orphan_case SET state = 'open' WHERE state = 'proposed'", "A case is proposed"),
        ("DELETE FROM proposal WHERE state = 'open'", "A case is proposed"),
        ("DELETE FROM verdict", "What was proposed and carried out"),
        ("UPDATE proposal SET needs = 2 WHERE state = 'carried_out'", "What was proposed and carried out"),
        ("UPDATE proposal SET kind = 'reverse' WHERE state = 'carried_out'", "What was proposed and carried out"),
        ("UPDATE verdict SET approves = NOT approves", "What was proposed and carried out"),
        ("UPDATE person SET operator_id = operator_id + 1 WHERE login = 'anna'", "Nobody has said something"),
    ],
)
def test_verify_sees_two_eyes_only(room: Office, harm: str, rule: str) -> None:
    """I-54 I-56 Rows changed by an owner of the database, past all triggers: each is named by its rule."""
    room.approve(room.propose(room.custody("10.00", "ann"), "confirm"))
    room.propose(room.custody("10.00", "ann"), "confirm")
    assert verify(room.bench.runtime) == []
    room.change("INSERT INTO operator (name, created_at) VALUES ('elsewhere', 1)")
    with unguarded(room.bench, "proposal", "verdict"):
        room.change(harm)
    found = {finding.sentence for finding in verify(room.bench.runtime) if finding.invariant == "I-54"}
    assert any(sentence.startswith(rule) for sentence in found), found
