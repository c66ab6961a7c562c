"""Approvals: whose word counts, what makes a proposal stale, and what does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bridge import lineage
from bridge.desk import docket, people
from bridge.desk.proposals import Wish, propose, reject
from bridge.errors import Conflict, Forbidden, Invalid, Refusal, Stale
from bridge.evidence import Answer, Reply, Source
from bridge.models.desk import InvitationKind, Role
from bridge.models.proposals import ProposalKind
from bridge.transfers.advance import Fact, advance
from bridge.transfers.core.decisions import Kind
from tests.deciding import Decision, decide
from tests.desk import crew
from tests.desk.office import WHY, Office, everything
from tests.restoring import Copies, in_place

MONEY = ("transfer", "leg", "posting", "account", "decision", "evidence", "event", "outbox")


def money(room: Office) -> dict[str, list[str]]:
    """Everything that a decision would change."""
    return {name: rows for name, rows in everything(room.bench).items() if name in MONEY}


def told(room: Office, transfer_id: str, answer: str, source: Source = Source.CALLBACK, **reply: object) -> Fact:
    """A word about the transfer as it was sent."""
    leg = room.bench.get(transfer_id).outside
    said = Reply(
        Answer(answer), amount=leg.amount, currency="EUR", player="ann", side=leg.side.value, reference=leg.reference,
    )  # fmt: skip
    return Fact(replace(said, **reply), source, room.hands.now())


def words(room: Office) -> tuple[str, str]:
    """(the person's own reason, what came of it) in the newest note."""
    row = room.bench.rows("SELECT reason, after FROM access_note ORDER BY id DESC LIMIT 1")[0]
    return row["reason"], row["after"]


def ends_stale(room: Office, proposal: object, why: str, who: str = "anna") -> None:
    """The approval is refused, the proposal has ended, its case is open, and nothing has moved; the note has what the
    person said, and why it ended."""
    before = money(room)
    with pytest.raises(Stale, match=why):
        room.approve(proposal, who)  # type: ignore[arg-type] - a Proposal
    row = room.row(proposal)  # type: ignore[arg-type] - a Proposal
    assert (row["state"], room.case(row["transfer_id"])) == ("stale", "open")
    assert (money(room), room.decisions()) == (before, [])
    assert room.bench.rows("SELECT * FROM verdict") == []
    assert room.notes()[-1] == ("approve", "refused", f"pe_{who}", row["id"])
    assert words(room) == (f"{who} has seen it", f"stale: {row['ended_why']}")
    room.audit()


# --- whose word counts --------------------------------------------------------------------------------


def test_nobody_approves_what_he_proposed(room: Office) -> None:
    """I-54 C-77 The maker is refused, whatever sitting he comes with; nothing is stored but the note."""
    transfer_id = room.orphan()
    proposal = room.propose(transfer_id, "confirm", "anna")
    room.change(
        "INSERT INTO sitting (digest, person_id, epoch, began_at, seen_at, proved_at, failures, address) "
        "SELECT 'another browser', person_id, epoch, began_at, seen_at, proved_at, failures, address FROM sitting "
        "WHERE digest = 'digest of anna'"
    )
    before = everything(room.bench)
    for digest in ("digest of anna", "another browser"):
        room.seats["anna"] = replace(room.seats["anna"], digest=digest)
        with pytest.raises(Forbidden) as refused:
            room.approve(proposal)
        assert refused.value.code == "own_proposal"
    assert everything(room.bench) == before
    assert room.notes()[-1] == ("approve", "refused", "pe_anna", proposal.id)


@pytest.mark.parametrize("who", ["olga", "otto", "adam", "vera"])
def test_only_an_approver_approves(room: Office, who: str) -> None:
    """I-54 Neither operator nor admin nor viewer."""
    proposal = room.propose(room.orphan(), "confirm", "axel")
    before = everything(room.bench)
    with pytest.raises(Refusal):
        room.approve(proposal, who)
    assert everything(room.bench) == before


@pytest.mark.parametrize(
    "change", [{"role": "operator"}, {"role": "admin"}, {"state": "disabled"}, {}], ids=str
)
def test_rights_are_read_again(room: Office, change: dict[str, object]) -> None:
    """I-54 Security 27: who lost the role, was disabled, or whose sittings were all ended, since the page was drawn,
    approves nothing."""
    proposal = room.propose(room.orphan(), "confirm")
    if change:
        room.demote("anna", **change)
    else:
        room.change("UPDATE person SET epoch = epoch + 1 WHERE login = 'anna'")
    before = everything(room.bench)
    with pytest.raises(Refusal):
        room.approve(proposal)
    assert everything(room.bench) == before


def test_a_stranger_at_the_gate_takes_nothing_from_who_sits(room: Office) -> None:
    """I-54 Three wrong tries of a stranger lock a login: its person's word counts as before, the one they gave already
    and the one that they give in their sitting now."""
    proposal = room.propose(room.custody("60.00", "ann"), "confirm")
    room.approve(proposal)
    room.change("UPDATE person SET locked_at = 1, failures = 3 WHERE login IN ('anna', 'axel')")
    assert room.approve(proposal, "axel").missing == 0
    assert room.decisions()[0]["checker"] == "anna, axel"
    room.audit()


def test_an_account_made_by_one_admin_alone_does_not_count(room: Office) -> None:
    """I-54 C-77 A second account is no second pair of eyes: until another person vouches for it, it approves
    nothing."""
    room.hire("zoe", Role.APPROVER, made_by="pe_adam")
    proposal = room.propose(room.orphan(), "confirm")
    with pytest.raises(Refusal):
        room.approve(proposal, "zoe")
    room.change("UPDATE person SET vouched_by = 'pe_alma', vouched_at = 2 WHERE login = 'zoe'")
    assert room.approve(proposal, "zoe").missing == 0


def test_one_admin_with_two_accounts_and_a_helper_moves_no_money(room: Office) -> None:
    """I-54 C-77 Ann made `hand` and `puppet`; whatever links are made for the puppet by whom, while nobody uses one she
    does not vouch for it herself, and what her one account proposes her other one does not approve."""
    ann, bob = (people.by_admin(room.hire(login, Role.ADMIN), WHY) for login in ("ann", "bob"))
    room.hire("hand", Role.OPERATOR, made_by="pe_ann")
    room.hire("puppet", Role.APPROVER, made_by="pe_ann")
    runtime, operator = room.bench.runtime, room.bench.operator
    with pytest.raises(Conflict, match="ann let them in"):
        people.link(runtime, bob, operator, "pe_puppet", InvitationKind.RESET)
    people.link(runtime, people.by_command(WHY), operator, "pe_puppet", InvitationKind.RESET)
    people.disable(runtime, ann, operator, "pe_puppet")
    people.enable(runtime, ann, operator, "pe_puppet")
    with pytest.raises(Forbidden, match="four eyes"):
        crew.vouch(runtime, ann, operator, "pe_puppet")
    room.change("UPDATE sitting SET epoch = (SELECT epoch FROM person WHERE id = 'pe_puppet') "
                "WHERE person_id = 'pe_puppet'")  # she has come in again  # fmt: skip
    proposal = room.propose(room.orphan(), "reverse", "hand")
    with pytest.raises(Forbidden, match="vouched"):
        room.approve(proposal, "puppet")
    assert room.row(proposal)["state"] == "open"


def test_to_approve_again_does_nothing_again(room: Office) -> None:
    """I-54 Who approved is told so; another approver learns that it is carried out; one decision, one set of
    postings."""
    proposal = room.propose(room.orphan(), "confirm")
    room.approve(proposal)
    after = everything(room.bench)
    again = room.approve(proposal)
    assert (again.again, again.missing, again.moved) == (True, 0, None)
    for act in (room.approve, lambda p, who: reject(room.bench.runtime, room.seats[who], p.id, WHY)):
        with pytest.raises(Conflict, match="carried out"):
            act(proposal, "axel")
    assert everything(room.bench) == after


# --- two checkers -------------------------------------------------------------------------------------


def test_two_are_needed_above_the_threshold(room: Office) -> None:
    """I-54 60.00 where 50.00 is the threshold: the first approval moves nothing, the same one again neither, a second
    person's carries it out, and the decision names both."""
    transfer_id = room.custody("60.00", "ann")
    proposal = room.propose(transfer_id, "confirm")
    before = money(room)
    assert (proposal.needs, room.approve(proposal).missing) == (2, 1)
    again = room.approve(proposal)
    assert (again.again, again.missing) == (True, 1)
    assert money(room) == before
    room.audit()
    assert room.approve(proposal, "axel").missing == 0
    (decision,) = room.decisions()
    assert (decision["maker"], decision["checker"]) == ("olga", "anna, axel")
    (entry,) = docket.of_transfer(room.bench.runtime, room.person("vera"), transfer_id)
    assert [(said.name, said.approves) for said in entry.verdicts] == [("Anna", True), ("Axel", True)]
    room.audit()


@pytest.mark.parametrize("change", [{"role": "operator"}, {"state": "disabled"}], ids=str)
def test_a_first_word_does_not_count_once_its_person_lost_the_right(room: Office, change: dict[str, object]) -> None:
    """I-54 Security 27: at the decisive approval each earlier one is asked about again; a third person is needed
    then."""
    proposal = room.propose(room.custody("60.00", "ann"), "confirm")
    room.approve(proposal)
    room.demote("anna", **change)
    assert (room.approve(proposal, "axel").missing, room.decisions()) == (1, [])
    assert room.approve(proposal, "alma").missing == 0
    assert room.decisions()[0]["checker"] == "axel, alma"
    room.audit()


def test_a_lower_threshold_counts_from_then_on(room: Office) -> None:
    """I-54 What needs two by now is not carried out by one because one had been enough when it was proposed; and the
    other way round, what was proposed under two still needs two."""
    for amount, then, now in (("10.00", "50.00", "5.00"), ("60.00", "50.00", "500.00")):
        proposal = room.propose(room.custody(amount, "ann"), "confirm")
        config = room.bench.runtime.config
        desk = config.desk.model_copy(update={"two_checkers_above": {"EUR": now}})
        changed = replace(room.bench.runtime, config=config.model_copy(update={"desk": desk}))
        before, room.bench.runtime = room.bench.runtime, changed
        assert config.desk.two_checkers_above == {"EUR": then}
        assert room.approve(proposal).missing == 1
        assert room.approve(proposal, "axel").missing == 0
        room.bench.runtime = before
    room.audit()


# --- stale, and what is not ---------------------------------------------------------------------------


@pytest.mark.parametrize("source", [Source.CALLBACK, Source.LOOKUP])
def test_a_new_word_makes_it_stale(room: Office, source: Source) -> None:
    """I-54 C-77 Something was told since that nobody had seen: the proposal ends, says why, and nothing has moved."""
    transfer_id = room.orphan()
    proposal = room.propose(transfer_id, "confirm")
    advance(room.bench.runtime, transfer_id, None, told(room, transfer_id, "in_progress", source))
    ends_stale(room, proposal, "changed since it was proposed: evidence")
    second = room.propose(transfer_id, "confirm")
    assert room.approve(second).missing == 0
    room.audit()


def test_what_is_said_again_is_no_news(room: Office) -> None:
    """I-54 An orphan is polled for ever, and providers repeat their callbacks: the same word again, answers that never
    come, balances read, leases and versions do not make a proposal stale, and what is carried out is what was shown."""
    transfer_id = room.orphan()
    advance(room.bench.runtime, transfer_id, None, told(room, transfer_id, "in_progress"))
    room.one.asked = ["stale"] * 4 + ["silent"] * 20
    room.hands.turn(3700)
    assert room.bench.resolve_due() == 1
    proposal = room.propose(transfer_id, "confirm")
    version = room.bench.row(transfer_id)["version"]
    for _ in range(5):
        room.hands.turn(3700)
        assert room.bench.resolve_due() == 1
    for answer, balance in (("in_progress", 17), ("in_progress", 23), ("unknown", None)):
        advance(room.bench.runtime, transfer_id, None, told(room, transfer_id, answer, balance=balance))
    advance(room.bench.runtime, transfer_id, None, told(room, transfer_id, "unknown", Source.ASIDE, code="balance"))
    after = room.bench.row(transfer_id)
    assert (after["version"] > version, after["lease_epoch"] > 1, after["state"]) == (True, True, "orphaned")
    assert docket.shown(room.bench.runtime, room.person("anna"), proposal.id).seen == proposal.seen
    assert room.approve(proposal).missing == 0
    assert room.bench.row(transfer_id)["state"] == "confirmed"
    room.audit()


def test_the_checker_approves_what_he_was_shown(room: Office) -> None:
    """I-54 Security 27: a digest of something else is refused, and the proposal stands for those who look again."""
    transfer_id = room.orphan()
    other = room.wish(transfer_id, "reverse").seen
    proposal = room.propose(transfer_id, "confirm")
    before = everything(room.bench)
    for seen in (other, "", proposal.seen.upper()):
        with pytest.raises(Stale, match="look again"):
            room.approve(proposal, seen=seen)
    assert everything(room.bench) == before
    assert room.approve(proposal).missing == 0


def test_a_late_answer_of_the_provider_ends_what_is_proposed(room: Office) -> None:
    """I-16 I-54 C-77 Proof came first: the transfer ends by it, the proposal is stale by the same commit, the case is
    closed, and an approval moves nothing."""
    transfer_id = room.orphan()
    proposal = room.propose(transfer_id, "reverse")
    room.one.asked.clear()
    room.hands.turn(3700)
    room.bench.resolve_due()
    assert room.bench.row(transfer_id)["state"] == "confirmed"
    row = room.row(proposal)
    assert (row["state"], row["ended_why"], room.case(transfer_id)) == ("stale", "proved by evidence", "closed")
    before = everything(room.bench)
    with pytest.raises(Conflict, match="stale"):
        room.approve(proposal)
    assert everything(room.bench) == before
    room.audit()


@pytest.mark.parametrize(("kind", "place", "case"), [("confirm", "custody", "closed"), ("claw_back", "house", "open")])
def test_a_decision_from_elsewhere_ends_what_is_proposed(room: Office, kind: str, place: str, case: str) -> None:
    """I-54 C-77 Where a decision is carried out past the desk, what was proposed is stale by the same commit; the
    case of an order is open until that is proved."""
    transfer_id = room.orphan("in", place)
    proposal = room.propose(transfer_id, "reverse")
    decision = Decision(Kind(kind), "mia", "carl", WHY, room.bench.row(transfer_id)["version"])
    decide(room.bench.runtime, room.bench.operator, transfer_id, decision)
    assert (room.row(proposal)["state"], room.case(transfer_id)) == ("stale", case)
    assert room.row(proposal)["decision_id"] is None
    room.audit()


def test_a_wallet_spent_in_between_is_not_taken_from(room: Office) -> None:
    """I-05 I-54 The wallet held it when it was proposed, and does not any more: stale, nothing is taken; as long as it
    holds enough, what the player does with the rest is no news."""
    transfer_id = room.orphan("in", "house")
    proposal = room.propose(transfer_id, "confirm")
    room.bench.cash("withdrawal", "ann", f"{room.bench.wallet() // 100 - 10}.00")
    assert docket.shown(room.bench.runtime, room.person("anna"), proposal.id).seen == proposal.seen
    room.bench.cash("withdrawal", "ann", "0.01")
    ends_stale(room, proposal, "the wallet does not hold")
    room.bench.deposit("ann", "0.01")
    assert room.approve(room.propose(transfer_id, "confirm")).missing == 0
    assert room.bench.wallet() == 0
    room.audit()


@pytest.mark.parametrize("change", [{"role": "viewer"}, {"role": "admin"}, {"state": "disabled"}], ids=str)
def test_a_maker_who_lost_the_right_proposes_nothing_any_more(room: Office, change: dict[str, object]) -> None:
    """I-54 Four eyes are two people who both may: with the maker's right the proposal is gone."""
    proposal = room.propose(room.orphan(), "confirm")
    room.demote("olga", **change)
    ends_stale(room, proposal, "olga, who proposed it, may not do so any more")


def test_a_proposal_lapses(room: Office) -> None:
    """I-54 Security 27: approved a day too late, before any job came by: it has expired, and nothing has moved."""
    transfer_id = room.orphan()
    proposal = room.propose(transfer_id, "confirm")
    room.hands.turn(24 * 3600 - 1)
    assert docket.shown(room.bench.runtime, room.person("anna"), proposal.id).seen == proposal.seen
    room.hands.turn(1)
    before = money(room)
    with pytest.raises(Stale, match="not approved in time"):
        room.approve(proposal)
    assert (room.row(proposal)["state"], room.case(transfer_id), money(room)) == ("expired", "open", before)
    assert words(room) == ("anna has seen it", "expired: not approved in time")
    room.audit()


def test_what_was_orphaned_again_is_decided_anew(room: Office) -> None:
    """I-16 I-54 Decided, contradicted, decided the other way: each decision is one proposal of its own, and a proposal
    from before the first decision fits no more."""
    transfer_id = room.orphan("in", "house")
    old = room.wish(transfer_id, "confirm")
    room.approve(room.propose(transfer_id, "reverse"))
    known = [e for e in room.bench.get(transfer_id).outside.evidence if e.source is Source.CALLBACK][-1]
    again = Fact(replace(known.reply, sequence=7), Source.CALLBACK, room.hands.now())
    advance(room.bench.runtime, transfer_id, None, again)
    assert (room.bench.row(transfer_id)["state"], room.case(transfer_id)) == ("orphaned", "open")
    with pytest.raises(Stale):
        propose(room.bench.runtime, room.seats["olga"], old)
    room.approve(room.propose(transfer_id, "confirm", "otto"), "axel")
    assert room.bench.row(transfer_id)["state"] == "confirmed"
    assert [row["kind"] for row in room.decisions()] == ["reverse", "confirm"]
    room.audit()


def test_while_a_claw_back_is_under_way_nothing_else_is_proposed(room: Office) -> None:
    """I-54 C-77 What may still be carried out by itself is waited for."""
    transfer_id = room.orphan("in", "house")
    room.approve(room.propose(transfer_id, "claw_back"))
    for kind in ("reverse", "claw_back", "write_off"):
        with pytest.raises(Invalid) as refused:
            propose(room.bench.runtime, room.seats["olga"], Wish(transfer_id, ProposalKind(kind), WHY, ""))
        assert "transfer_id" in refused.value.fields


def test_what_a_backup_still_proposes_is_stale(room: Office, tmp_path: Path) -> None:
    """C-58 C-77 Approved and carried out, and then a backup comes back in which it is still open: nobody has noticed it
    yet, and the next who approves it is told so, for what was shown is not all that happened."""
    lineage.check(room.bench.runtime)
    url = room.bench.runtime.config.database.url
    copies = Copies(url, tmp_path, in_place(url))
    proposal = room.propose(room.orphan(), "confirm")
    copies.back_up()
    assert room.approve(proposal).missing == 0
    lineage.check(room.bench.runtime)
    room.bench.runtime.engine.dispose()
    copies.restore()
    assert room.row(proposal)["state"] == "open"

    with pytest.raises(Stale, match="changed since it was proposed: database"):
        room.approve(proposal, "axel")

    assert (room.row(proposal)["state"], room.decisions()) == ("stale", [])
    assert room.bench.row(proposal.transfer_id)["rewound_at"] is not None
    again = room.propose(proposal.transfer_id, "confirm")
    assert room.approve(again, "axel").missing == 0
    room.audit()
