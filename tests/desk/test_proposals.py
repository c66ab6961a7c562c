"""Proposals: what is shown beforehand is what is posted, what is proposed stays as it was, and who may do what."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, text
from sqlalchemy.exc import DatabaseError

from bridge import db, keys, models
from bridge.app import compose
from bridge.desk import docket, thresholds
from bridge.desk.proposals import Wish, propose, reject, withdraw
from bridge.desk.sight import permitted, preview
from bridge.errors import Conflict, Declined, Forbidden, Invalid, NotFound, Refusal, Stale, Unavailable
from bridge.evidence import Answer
from bridge.models.desk import Role
from bridge.models.proposals import ProposalKind, ProposalState
from bridge.money import THOUSANDS, AmountRefused
from bridge.transfers.advance import advance
from tests.desk.office import WHY, Office, everything
from tests.harness import PLAYER, bench, configured, simulator
from tests.transfers.test_decide import ORPHANS, TYPED

MEANT = [key for key in TYPED if key[2] != "claw_back"]


@pytest.mark.parametrize(("direction", "place", "kind"), MEANT)
def test_what_is_shown_is_what_is_posted(room: Office, direction: str, place: str, kind: str) -> None:
    """I-54 I-03 C-77 For every place and kind: the postings that maker and checker were shown are those typed out in
    test_decide.py, they are what is posted, and the balances become what was shown."""
    transfer_id = room.orphan(direction, place)
    before = room.bench.row(transfer_id)
    sight = preview(
        room.bench.runtime, room.person("olga"), transfer_id, ProposalKind(kind),
        *((600, 400) if kind == "split" else (0, 0)),
    )  # fmt: skip
    postings, end = TYPED[direction, place, kind]
    assert sorted((each.debit, each.credit, each.amount) for each in sight.postings) == postings
    assert (sight.ends.value, sight.upon_proof, sight.checkers, sight.covered) == (end, False, 1, True)
    assert room.bench.row(transfer_id) == before, "a preview writes nothing"

    proposal = room.propose(transfer_id, kind)
    assert room.case(transfer_id) == "proposed"
    approval = room.approve(proposal)

    assert approval.missing == 0
    assert (room.bench.row(transfer_id)["state"], room.posted(transfer_id, before["version"])) == (end, postings)
    held = {"wallet:ann": room.bench.wallet(), "game:sim:ann": room.bench.game()}
    assert {each.account: each.after for each in sight.touched} == held
    assert (room.case(transfer_id), room.row(proposal)["state"]) == ("closed", "carried_out")
    (decision,) = room.decisions()
    assert (decision["maker"], decision["checker"], decision["reason"]) == ("olga", "anna", WHY)
    assert room.row(proposal)["decision_id"] == decision["id"]
    steps = [row["trigger"] for row in room.bench.rows("SELECT * FROM history WHERE subject = 'case' ORDER BY id")]
    assert steps[-2:] == ["propose", "approve"]
    room.audit()


@pytest.mark.parametrize(("direction", "place"), ORPHANS)
def test_what_may_be_proposed_is_what_makes_sense(room: Office, direction: str, place: str) -> None:
    """I-54 What is offered is what design §7 gives a meaning; everything else is refused by its field."""
    transfer_id = room.orphan(direction, place)
    offered = permitted(room.bench.runtime, room.person("vera"), transfer_id)
    meant = {kind for d, p, kind in TYPED if (d, p) == (direction, place)}
    assert {kind.value for kind in offered} == meant | {"ask_again"}
    for kind in set(ProposalKind) - set(offered):
        with pytest.raises(Invalid) as refused:
            preview(room.bench.runtime, room.person("olga"), transfer_id, kind)
        assert "kind" in refused.value.fields


@pytest.mark.parametrize("direction", ["in", "out"])
def test_a_claw_back_is_ordered_once_and_proved_by_the_provider(room: Office, direction: str) -> None:
    """I-54 C-77 What was approved leaves the transfer an orphan with an open case until the provider has done it, once,
    by its own books; then exactly those postings are made that both were shown."""
    transfer_id = room.orphan(direction, "house")
    room.one.asked.clear()
    net, version = room.one.net(PLAYER), room.bench.row(transfer_id)["version"]
    sight = preview(room.bench.runtime, room.person("olga"), transfer_id, ProposalKind.CLAW_BACK)
    assert sight.upon_proof
    proposal = room.propose(transfer_id, "claw_back")

    room.approve(proposal)

    assert (room.bench.row(transfer_id)["state"], room.case(transfer_id)) == ("orphaned", "open")
    assert (room.row(proposal)["state"], room.posted(transfer_id, version)) == ("carried_out", [])
    assert room.bench.rows("SELECT * FROM history WHERE subject = 'case' AND \"trigger\" = 'order'")
    room.audit()
    for _ in range(3):
        room.hands.turn(1)
        room.bench.resolve_due()
    (back,) = room.bench.get(transfer_id).take_backs
    assert (room.one.executed[str(back.reference)], room.one.net(PLAYER)) == (1, net - 1000)
    shown = [(each.debit, each.credit, each.amount) for each in sight.postings]
    assert (room.posted(transfer_id, version), room.bench.row(transfer_id)["state"]) == (shown, sight.ends.value)
    assert room.case(transfer_id) == "closed"
    room.audit()


def test_a_second_maker_is_told_of_the_first(room: Office) -> None:
    """I-54 C-77 One transfer has one open proposal; whoever comes second learns of whom. The database sees to it
    too."""
    transfer_id = room.orphan()
    first = room.propose(transfer_id, "confirm")
    before = everything(room.bench)
    with pytest.raises(Conflict, match=f"olga has proposed confirm already .{first.id}."):
        room.propose(transfer_id, "reverse", "otto")
    assert everything(room.bench) == before
    copied = "id, operator_id, transfer_id, kind, arrived, returned, reason, maker_id, needs, version, seen, postings"
    with pytest.raises(DatabaseError):
        room.change(
            f"INSERT INTO proposal ({copied}, created_at, expires_at, state) "
            f"SELECT 'pr_2', {copied.removeprefix('id, ')}, created_at, expires_at, state FROM proposal"
        )
    reject(room.bench.runtime, room.seats["anna"], first.id, "the books say otherwise")
    assert room.propose(transfer_id, "reverse", "otto").state is ProposalState.OPEN


def test_what_was_proposed_stays_as_it_was(room: Office) -> None:
    """I-54 Security 27: no column of a proposal changes but how it ends, once, and only with the verdicts it needs; a
    verdict never does; and nothing that moves money begins at its end."""
    transfer_id = room.orphan()
    proposal = room.propose(transfer_id, "confirm")
    changes = {
        "kind": "'reverse'", "arrived": "1", "returned": "1", "reason": "'other'", "maker_id": "'pe_otto'", "needs":
        "2", "version": "99", "seen": "'x'", "postings": "'[]'", "batch": "'ba'", "created_at": "1", "expires_at": "1",
        "id": "'pr_x'", "transfer_id": "'tr_x'", "operator_id": "77",
    }  # fmt: skip
    told = models.metadata.tables["proposal"].c.keys()
    assert {*changes, "state", "ended_at", "ended_why", "decision_id"} == set(told)
    refused = [f"UPDATE proposal SET {column} = {value}" for column, value in changes.items()]
    refused += ["DELETE FROM proposal", "UPDATE proposal SET state = 'carried_out', ended_at = 1"]
    frozen = room.row(proposal)
    for statement in refused:
        with pytest.raises(DatabaseError):
            room.change(statement)
    row = {**frozen, "id": "pr_new", "state": "rejected", "ended_at": 1}
    with pytest.raises(DatabaseError), db.writing(room.bench.runtime.engine) as connection:
        connection.execute(insert(models.metadata.tables["proposal"]).values(**row))
    assert room.row(proposal) == frozen
    withdraw(room.bench.runtime, room.seats["olga"], proposal.id, "a mistake of mine")
    with pytest.raises(DatabaseError, match="frozen"):
        room.change("UPDATE proposal SET state = 'open', ended_at = NULL, ended_why = NULL")


def test_the_database_lets_nobody_carry_out_without_verdicts(room: Office) -> None:
    """I-54 A decision by somebody's own hand is not enough: the row of the proposal wants the verdicts."""
    transfer_id = room.orphan()
    proposal = room.propose(transfer_id, "confirm")
    with db.writing(room.bench.runtime.engine) as connection:
        connection.execute(text(
            "INSERT INTO decision SELECT 'de_x', transfer_id, kind, arrived, returned, 'olga', 'anna', reason, 9, 9 "
            "FROM proposal"
        ))  # fmt: skip
    end = "UPDATE proposal SET state = 'carried_out', ended_at = 9, decision_id = 'de_x'"
    with pytest.raises(DatabaseError):
        room.change(end)
    verdict = "INSERT INTO verdict VALUES (:proposal, :person, :maker, :yes, 'r', 9)"
    told = {"proposal": proposal.id, "yes": True}
    for person, maker in (("pe_olga", "pe_olga"), ("pe_olga", "pe_otto")):
        with pytest.raises(DatabaseError):  # the maker, and the maker under another's name
            room.change(verdict, person=person, maker=maker, **told)
    room.change(verdict, person="pe_anna", maker="pe_olga", **told)
    room.change(end)


@pytest.mark.parametrize("who", ["vera", "adam"])
def test_only_operators_and_approvers_propose(room: Office, who: str) -> None:
    """I-54 A viewer sees, an admin decides about no money; what they tried is noted, and nothing else is stored."""
    transfer_id = room.orphan()
    before = everything(room.bench)
    with pytest.raises(Refusal):
        room.propose(transfer_id, "confirm", who)
    assert everything(room.bench) == before
    assert room.notes() == [("propose", "refused", f"pe_{who}", transfer_id)]


def test_an_invalid_wish_names_its_field(room: Office) -> None:
    """I-54 I-11 Reasons that say nothing, halves that are no whole, amounts without a split, a digest of before, an
    id of nobody's: each refused by its field, nothing is stored but the note."""
    transfer_id = room.orphan()
    good = room.wish(transfer_id, "confirm")
    split = room.wish(transfer_id, "split")
    wrong: list[tuple[Wish, type[Refusal], str]] = [
        (replace(good, reason="  x "), Invalid, "reason"),
        (replace(good, reason="x" * 501), Invalid, "reason"),
        (replace(good, reason="because\x00"), Invalid, "reason"),
        (replace(split, returned=401), Invalid, "arrived"),
        (replace(split, arrived=-1, returned=1001), Invalid, "arrived"),
        (replace(split, arrived=0, returned=0), Invalid, "arrived"),
        (replace(good, arrived=600, returned=400), Invalid, "arrived"),
        (replace(good, kind=ProposalKind.WRITE_OFF), Invalid, "kind"),
        (replace(good, seen="f" * 64), Stale, ""),
        (replace(good, kind=ProposalKind.REVERSE), Stale, ""),
        (replace(good, transfer_id="tr_nobody"), NotFound, ""),
        (replace(good, transfer_id="tr_\x00"), NotFound, ""),
    ]
    before = everything(room.bench)
    for wish, refusal, field in wrong:
        with pytest.raises(refusal) as refused:
            propose(room.bench.runtime, room.seats["olga"], wish)
        assert list(refused.value.fields) == ([field] if field else [])
    assert everything(room.bench) == before
    assert [note[:3] for note in room.notes()] == [("propose", "refused", "pe_olga")] * len(wrong)


def test_only_orphans_are_decided_about(room: Office) -> None:
    """I-54 What is proved needs nobody: neither decision nor question."""
    transfer_id = room.bench.run("in")
    assert room.bench.row(transfer_id)["state"] == "confirmed"
    assert permitted(room.bench.runtime, room.person("olga"), transfer_id) == {}
    for kind in ProposalKind:
        with pytest.raises(Invalid) as refused:
            propose(room.bench.runtime, room.seats["olga"], Wish(transfer_id, kind, WHY, ""))
        assert set(refused.value.fields) <= {"transfer_id", "kind"}
    assert room.bench.rows("SELECT * FROM proposal") == []


def test_a_spent_wallet_is_told_when_it_is_proposed(room: Office) -> None:
    """I-05 I-54 Nobody approves for nothing: what the wallet does not hold is refused to the maker already."""
    transfer_id = room.orphan("in", "house")
    room.bench.cash("withdrawal", "ann", f"{room.bench.wallet() // 100}.00")
    assert not preview(room.bench.runtime, room.person("olga"), transfer_id, ProposalKind.CONFIRM).covered
    before = everything(room.bench)
    with pytest.raises(Declined) as refused:
        room.propose(transfer_id, "confirm")
    assert (refused.value.code, everything(room.bench)) == ("wallet_spent", before)
    room.approve(room.propose(transfer_id, "write_off"))
    assert room.bench.row(transfer_id)["state"] == "confirmed"
    room.audit()


def test_another_operators_people_see_nothing(room: Office) -> None:
    """I-55 C-77 To people of another operator neither the transfer nor what is proposed about it exists."""
    transfer_id = room.orphan()
    proposal = room.propose(transfer_id, "confirm")
    other = keys.add_operator(room.bench.runtime, "elsewhere")
    for login, role in (("otis", Role.OPERATOR), ("arne", Role.APPROVER), ("ada", Role.ADMIN)):
        room.hire(login, role, operator=other)
    runtime, arne = room.bench.runtime, room.seats["arne"]
    before = everything(room.bench)
    tries: list[Any] = [
        lambda: preview(runtime, arne.person, transfer_id, ProposalKind.CONFIRM),
        lambda: permitted(runtime, arne.person, transfer_id),
        lambda: propose(runtime, room.seats["otis"], Wish(transfer_id, ProposalKind.ASK_AGAIN, WHY, "")),
        lambda: propose(runtime, arne, Wish(transfer_id, ProposalKind.CONFIRM, WHY, proposal.seen)),
        lambda: room.approve(proposal, "arne"),
        lambda: reject(runtime, arne, proposal.id, WHY),
        lambda: withdraw(runtime, room.seats["ada"], proposal.id, WHY),
        lambda: docket.shown(runtime, arne.person, proposal.id),
        lambda: docket.of_transfer(runtime, arne.person, transfer_id),
    ]
    for tried in tries:
        with pytest.raises(NotFound):
            tried()
    assert docket.listed(runtime, arne.person) == []
    assert everything(room.bench) == before


def test_who_rejects_and_who_withdraws(room: Office) -> None:
    """I-54 Another approver rejects; the maker, or an admin, withdraws; the case is open again and nothing has
    moved."""
    transfer_id = room.orphan()
    money = room.bench.rows("SELECT * FROM posting")
    for who, act, ended in (
        ("axel", reject, "rejected"), ("anna", withdraw, "withdrawn"), ("adam", withdraw, "withdrawn"),
    ):  # fmt: skip
        proposal = room.propose(transfer_id, "confirm", "anna")
        for other in ("vera", "olga"):
            with pytest.raises(Forbidden):
                reject(room.bench.runtime, room.seats[other], proposal.id, WHY)
            with pytest.raises(Forbidden):
                withdraw(room.bench.runtime, room.seats[other], proposal.id, WHY)
        with pytest.raises(Forbidden):
            reject(room.bench.runtime, room.seats["anna"], proposal.id, WHY)
        done = act(room.bench.runtime, room.seats[who], proposal.id, "the books say otherwise")
        assert (done.state.value, done.ended_why, room.case(transfer_id)) == (ended, "the books say otherwise", "open")
        with pytest.raises(Conflict, match=ended):
            room.approve(proposal, "alma")
        with pytest.raises(Conflict, match=ended):
            withdraw(room.bench.runtime, room.seats["anna"], proposal.id, WHY)
    assert room.bench.rows("SELECT * FROM posting") == money
    assert [row["person_id"] for row in room.bench.rows("SELECT * FROM verdict WHERE NOT approves")] == ["pe_axel"]
    room.audit()


NOT_AN_APPROVER = "role_missing: This needs the role approver; yours is operator."


def test_every_act_is_noted_with_who_and_what(room: Office) -> None:
    """Security 9, GLI-19 2.9.5: each act is one note in its own transaction, a refused one too: who, what, why, before
    and after; it names the transfer and the amount, and what a decision did to the player's accounts."""
    transfer_id = room.orphan()
    orphaned = f"orphaned, 10.00 EUR of {transfer_id}"
    proposal = room.propose(transfer_id, "confirm")
    with pytest.raises(Forbidden):
        reject(room.bench.runtime, room.seats["olga"], proposal.id, "not mine to say")
    reject(room.bench.runtime, room.seats["anna"], proposal.id, "the books say otherwise")
    second = room.propose(transfer_id, "reverse")
    with pytest.raises(Forbidden):
        room.approve(second, "olga")
    room.approve(second)
    rows = room.bench.rows("SELECT * FROM access_note ORDER BY id")
    assert [(r["kind"], r["outcome"], r["person_id"], r["subject"], r["before"], r["after"]) for r in rows] == [
        ("propose", "done", "pe_olga", transfer_id, orphaned, f"confirm open, {proposal.id}"),
        ("reject", "refused", "pe_olga", proposal.id, f"confirm open; {orphaned}", NOT_AN_APPROVER),
        ("reject", "done", "pe_anna", proposal.id, f"confirm open; {orphaned}", f"confirm rejected; {orphaned}"),
        ("propose", "done", "pe_olga", transfer_id, orphaned, f"reverse open, {second.id}"),
        ("approve", "refused", "pe_olga", second.id, f"reverse open; {orphaned}", NOT_AN_APPROVER),
        ("approve", "done", "pe_anna", second.id,
         f"reverse open; {orphaned}; wallet:ann 990.00 EUR, game:sim:ann 0.00 EUR",
         (f"reverse carried_out; reversed, 10.00 EUR of {transfer_id}; wallet:ann 1{THOUSANDS}000.00 EUR, "
         "game:sim:ann 0.00 EUR")),
    ]  # fmt: skip
    assert rows[2]["reason"] == "the books say otherwise"
    assert {row["address"] for row in rows} == {"192.0.2.1"}


def test_a_threshold_is_an_exact_amount(migrated_url: str) -> None:
    """I-54 A threshold that the currency cannot hold is refused at the start, by its key; above it two are needed."""
    for told in ("12.345", "-1", "1e3", "many"):
        with pytest.raises(AmountRefused, match=r"desk\.two_checkers_above\.EUR"):
            compose(configured(migrated_url, desk_two_checkers_above={"EUR": told}))
    with bench(migrated_url, desk_two_checkers_above={"EUR": "10.00", "JPY": "0"}) as made:
        asked = [("EUR", 1000), ("EUR", 1001), ("JPY", 1), ("USD", 10**9)]
        assert [thresholds.checkers(made.runtime, *each) for each in asked] == [1, 2, 2, 1]


def test_to_ask_again_asks_the_provider_at_once(room: Office) -> None:
    """I-54 It moves nothing and needs nobody: the provider is asked once, now, and its answer is proof or not, by the
    same door as ever; a second later somebody may ask again, and not before."""
    transfer_id = room.orphan()
    room.one.asked = ["silent"]
    room.hands.turn(1.5)
    asked, version = room.one.count("look_up"), room.bench.row(transfer_id)["version"]
    wish = Wish(transfer_id, ProposalKind.ASK_AGAIN, "they say that it is repaired", "")
    made = propose(room.bench.runtime, room.seats["olga"], wish)
    assert (made.state.value, made.needs, room.one.count("look_up")) == ("carried_out", 0, asked + 1)
    assert (room.bench.row(transfer_id)["version"], room.case(transfer_id)) == (version, "open")
    with pytest.raises(Unavailable):
        propose(room.bench.runtime, room.seats["otto"], wish)
    assert room.one.count("look_up") == asked + 1
    room.hands.turn(1.5)
    propose(room.bench.runtime, room.seats["otto"], wish)
    assert room.one.count("look_up") == asked + 2
    assert room.bench.row(transfer_id)["state"] == "confirmed"
    assert room.one.moved(room.bench.get(transfer_id).outside.reference) == 1000
    room.audit()


def test_asked_again_a_real_provider_says_what_it_did(migrated_url: str, tmp_path: Path) -> None:
    """I-54 C-77 Before the simulator: the answer to a complete was lost, and look-ups know nothing until the transfer
    is an orphan; asked again it tells, and by its own ledger it has done it once."""
    with simulator(tmp_path) as sim, bench(migrated_url, sim.address) as made:
        room = Office(made, None, None)  # type: ignore[arg-type] - no scripted provider is behind this desk
        room.hire("olga", Role.OPERATOR)
        sim.script(26, player=PLAYER, params={"variant": "late", "body": "missing", "delay": 12})
        transfer_id = made.run("in")
        made.resolve_until_still()
        assert (made.row(transfer_id)["state"], sim.owns(PLAYER)) == ("orphaned", 1000)
        wish = Wish(transfer_id, ProposalKind.ASK_AGAIN, WHY, "")
        end = time.monotonic() + 20
        while made.row(transfer_id)["state"] == "orphaned":
            time.sleep(1.1)
            assert time.monotonic() < end
            propose(made.runtime, room.seats["olga"], wish)
        assert made.row(transfer_id)["state"] == "confirmed"
        assert (sim.effects(made.get(transfer_id).outside.reference), sim.owns(PLAYER)) == (1, 1000)
        room.audit()


def test_a_proposal_keeps_what_its_maker_was_shown(room: Office) -> None:
    """I-54 Postings, end and balances stay with it as they were shown, whatever the player does afterwards."""
    transfer_id = room.orphan()
    proposal = room.propose(transfer_id, "reverse")
    wallet = room.bench.wallet()
    room.bench.deposit("ann", "7.00")
    kept = json.loads(room.row(proposal)["postings"])
    assert kept["postings"] == [["custody:sim", "wallet:ann", 1000]]
    assert ["wallet:ann", wallet, wallet + 1000] in kept["balances"]
    now = docket.shown(room.bench.runtime, room.person("anna"), proposal.id)
    assert now.sight is not None
    assert [each.before for each in now.sight.touched if each.account == "wallet:ann"] == [wallet + 700]
    assert now.seen == proposal.seen
    told = room.one.callback(str(room.bench.get(transfer_id).outside.reference))
    reply = replace(told.reply, answer=Answer.IN_PROGRESS)
    advance(room.bench.runtime, transfer_id, None, replace(told, reply=reply))
    now = docket.shown(room.bench.runtime, room.person("anna"), proposal.id)
    assert (now.seen, now.why) == (None, "evidence changed since it was proposed")
