"""The advice about a transfer, and what it rests on: the newest fact is there, in money, and people prove nothing."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from sqlalchemy import text

from bridge import db, lineage
from bridge.transfers.advance import advance
from bridge.transfers.core import decisions
from bridge.views import orphans, transfer
from bridge.views.timeline import Entry, Kind, Line
from tests.deciding import decide
from tests.harness import Bench, Hands
from tests.transfers.scripted_one import DROPPED, LOST, REFUSES, SILENT, ScriptedOne
from tests.transfers.test_after_decisions import executed_late, order
from tests.transfers.test_decide import ORPHANS, decision, orphan
from tests.views.conftest import person, put


def page(lone: Bench, transfer_id: str) -> transfer.Page:
    """As it is shown now."""
    return transfer.page(lone.runtime, lone.operator, transfer_id)


# --- what people ordered to be taken back ---------------------------------------------------------------------


def ordered(lone: Bench, one: ScriptedOne, hands: Hands, fault: str, direction: str = "in") -> str:
    """An orphan whose amount is to be taken out of the game; the provider does `fault` with the first request."""
    transfer_id = orphan(lone, one, hands, direction, "house")
    decide(lone.runtime, lone.operator, transfer_id, decision(lone, transfer_id, "claw_back"))
    one.script, one.asked = [fault], [SILENT] * 20
    hands.turn(1)
    lone.resolve_due()
    return transfer_id


def test_a_take_back_that_was_refused_is_the_last_word(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """The refusal decides the case: it is the step itself and the last of the facts, and the same is not advised
    again as if nothing had been told."""
    told = page(lone, ordered(lone, one, hands, REFUSES)).advice
    assert told.step.startswith("Taking it out of the game was refused: refused (")
    assert "If it is to come out of the game: propose to claw it back." not in told.step
    assert "Only if what kept it from being taken is gone: propose to claw it back again." in told.step
    assert told.because[-1].startswith("Taking it back: request 1 (transfer), sent ")
    assert "refused (" in told.because[-1]
    assert "People decided: mia and carl, to claw it back." in told.because


def test_a_refusal_tells_what_was_there(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """What the player had in the game is what a refusal for want of money is about."""
    transfer_id = ordered(lone, one, hands, REFUSES)
    with db.writing(lone.runtime.engine) as connection:
        newest = "SELECT MAX(id) FROM evidence WHERE transfer_id = :id AND answer = 'not_applied'"
        number = connection.execute(text(newest), {"id": transfer_id}).scalar_one()
        for trigger in ("evidence_no_update", "evidence_no_change"):
            if connection.dialect.name == "sqlite":
                connection.execute(text(f"DROP TRIGGER IF EXISTS {trigger}"))
            else:
                connection.execute(text(f"DROP TRIGGER IF EXISTS {trigger} ON evidence"))
        connection.execute(text("UPDATE evidence SET balance = 1234567 WHERE id = :id"), {"id": number})
    assert "balance there 12\u202f345.67 EUR." in page(lone, transfer_id).advice.step


def test_a_take_back_under_way_shows_its_requests(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """Wait, and see what for: the request that has been sent, and what was asked about it."""
    told = page(lone, ordered(lone, one, hands, DROPPED)).advice
    assert told.step.startswith("Wait: sim is told to take it out of the game")
    assert any(fact.startswith("Taking it back: request 1 (transfer), sent ") for fact in told.because)


# --- what is said is what is permitted ------------------------------------------------------------------------

WORDS = {
    "to confirm": "confirm", "to reverse": "reverse", "to split": "split", "to write it off": "write_off",
    "to claw it back": "claw_back",
}  # fmt: skip
DAY = 86_400


def said(step: str) -> set[str]:
    """The decisions that a step says may be proposed."""
    return {WORDS[each] for each in re.findall(rf"propose ({'|'.join(WORDS)})", step)}


def permitted(lone: Bench, one: ScriptedOne, transfer_id: str) -> set[str]:
    """The decisions that would not be refused now."""
    seen, now = lone.get(transfer_id), lone.runtime.clock.now()
    parts = {decisions.Kind.SPLIT: (1, seen.amount - 1)}
    return {
        kind.value
        for kind in decisions.Kind
        if decisions.refusal(seen, one.descriptor, kind, *parts.get(kind, (0, 0)), now) is None
    }


def pass_time(lone: Bench, one: ScriptedOne, hands: Hands, seconds: float) -> None:
    """Time passes, the bridge looks, and its look-ups are answered by nobody."""
    one.asked = [SILENT] * 2000
    for _ in range(30):
        hands.turn(seconds / 30)
        lone.resolve_due()


@pytest.mark.parametrize(("direction", "place"), ORPHANS)
def test_of_an_orphan_everything_permitted_is_said(
    lone: Bench, one: ScriptedOne, hands: Hands, direction: str, place: str
) -> None:
    """Each decision that is possible has its answer of the provider, wherever the amount stands."""
    transfer_id = orphan(lone, one, hands, direction, place)
    step = page(lone, transfer_id).advice.step
    assert said(step) == permitted(lone, one, transfer_id) != set(), step


@pytest.mark.parametrize("direction", ["in", "out"])
@pytest.mark.parametrize("fault", [REFUSES, DROPPED, LOST])
def test_of_a_take_back_what_is_permitted_is_said(
    lone: Bench, one: ScriptedOne, hands: Hands, direction: str, fault: str
) -> None:
    """While something may come of it, to wait; once it has had its time without a proof, what people may decide."""
    transfer_id = ordered(lone, one, hands, fault, direction)
    for seconds in (0, 60, DAY + 3600):
        pass_time(lone, one, hands, seconds)
        step = page(lone, transfer_id).advice.step
        assert said(step) == permitted(lone, one, transfer_id), step
        assert step.startswith("Wait: ") == (said(step) == set())
    assert {"confirm", "reverse", "split", "write_off"} <= said(step)
    if fault != REFUSES:
        reference = lone.get(transfer_id).driven.reference
        assert step.startswith(f"Ask sim whether it took it out of the game under reference {reference}, ")


def test_what_a_take_back_rested_on_gave_way(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """The provider has cancelled the transfer itself, and whether ours was carried out too is not proved: people decide
    anew, but not before that."""
    transfer_id = executed_late(lone, one, hands)
    order(lone, transfer_id)
    one.script, one.asked = [DROPPED], [SILENT]
    hands.turn(1)
    lone.resolve_due()
    leg = lone.get(transfer_id).outside
    gone = one.take_back(str(leg.reference))
    advance(lone.runtime, transfer_id, None, replace(gone, ordinal=leg.ordinal))
    step = page(lone, transfer_id).advice.step
    assert step == (
        "Wait: what the decision rests on was told otherwise since. sim is asked whether it took it out of the game "
        "all the same; then decide anew."
    )
    assert permitted(lone, one, transfer_id) == set()
    pass_time(lone, one, hands, DAY + 3600)
    step = page(lone, transfer_id).advice.step
    assert said(step) == permitted(lone, one, transfer_id) != set(), step
    assert "which of its statements about" in step


def test_a_wallet_that_was_spent(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """What is proved needs nobody's word, and no later deposit is taken without one."""
    transfer_id = lone.run("out")
    lone.cash("withdrawal", "ann", f"{lone.wallet() // 100}.00")
    hands.turn(60)
    advance(lone.runtime, transfer_id, None, one.take_back(str(lone.get(transfer_id).outside.reference)))
    assert lone.row(transfer_id)["reason_code"] == "wallet_spent"
    step = page(lone, transfer_id).advice.step
    assert step.startswith("The wallet does not hold what it would have to give back: have it paid in, and propose to ")
    assert said(step) == {"reverse", "claw_back", "write_off"} <= permitted(lone, one, transfer_id)
    decide(lone.runtime, lone.operator, transfer_id, decision(lone, transfer_id, "claw_back"))
    one.script = [LOST]
    pass_time(lone, one, hands, DAY + 3600)
    step = page(lone, transfer_id).advice.step
    assert step.startswith("Ask sim whether it took it out of the game under reference ")
    assert said(step) == permitted(lone, one, transfer_id) != set(), step


# --- what differs, in money -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lie", "differs"),
    [
        ("wrong_amount", "told 9\u202f999.99 EUR where 10.00 EUR was meant"),
        ("wrong_player", "told player mallory where ann was meant"),
        ("wrong_currency", "told 10.00 USD where 10.00 EUR was meant"),
    ],
)
def test_a_mismatch_says_what_differs(lone: Bench, one: ScriptedOne, lie: str, differs: str) -> None:
    """In the facts, in the reason that is kept, and in the list of orphans; never in minor units."""
    one.script = [lie]
    transfer_id = lone.run("in")
    told = page(lone, transfer_id)
    assert f"executed (confirmed), {differs}." in told.advice.because[0]
    assert "minor units" not in told.reason_detail
    (row,) = orphans.queue(lone.runtime, lone.operator, orphans.Wanted()).transfers
    if lie == "wrong_amount":
        assert told.reason_detail.endswith(f"; {differs}")
        assert row.differs == differs
        assert "999999 minor units" in row.detail  # as it is kept, for the file


# --- people decide, and prove nothing -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["confirm", "reverse", "write_off"])
def test_a_decision_is_called_one(lone: Bench, one: ScriptedOne, hands: Hands, kind: str) -> None:
    """Design §5: for ever, with who made it; the story has the line to which the advice points."""
    transfer_id = orphan(lone, one, hands, "in", "house")
    decide(lone.runtime, lone.operator, transfer_id, decision(lone, transfer_id, kind))
    told = page(lone, transfer_id)
    assert told.advice.step == "Nothing is to be done: people have decided where the money is."
    deed = {"confirm": "to confirm it", "reverse": "to reverse it", "write_off": "to write it off"}[kind]
    assert told.advice.because == (f"People decided: mia and carl, {deed}.",)
    (number,) = told.advice.evidence
    (entry,) = [entry for entry in told.line.entries if entry.evidence == number]
    assert entry.kind is Kind.PERSON
    assert entry.title.startswith("Decided by mia and carl: ")


def test_proof_after_a_decision_is_told_beside_it(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """What people had ordered was carried out, and the provider has proved it."""
    told = page(lone, ordered(lone, one, hands, "ok")).advice
    assert told.step == "Nothing is to be done: where the money is has been proved."
    assert told.because[0] == "People decided: mia and carl, to claw it back."
    assert told.because[1].startswith("Proved by: the answer to a request of 2027-")


def test_a_piece_is_pointed_to_where_it_stands() -> None:
    """By its own number, by that of the line in which it is one of many alike, or not at all."""
    alike = Entry(2, Kind.POLL, "Asked", evidence=9, first=4)
    line = Line((Entry(1, Kind.ANSWER, "said", evidence=3), alike))
    assert [line.place_of(number) for number in (3, 4, 7, 9, 12)] == [3, 9, 9, 9, None]


# --- nothing is promised that is past -------------------------------------------------------------------------


def test_a_pending_transfer_promises_no_instant_that_is_past(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """While nobody resolves anything, that is what is said."""
    one.script, one.asked = [LOST], [SILENT]
    transfer_id = lone.run("in")
    lone.resolve_due()
    wake_at = lone.row(transfer_id)["wake_at"]
    told = page(lone, transfer_id).advice.step
    assert told.startswith("Nothing yet: the bridge looks at it again by itself at 2027-01-15 ")
    hands.turn((wake_at - hands.now()) / 1_000_000 + 5)
    assert page(lone, transfer_id).advice.step.startswith("Nothing yet: the bridge is about to look at it again")
    hands.turn(75)
    told = page(lone, transfer_id).advice.step
    assert told.startswith("The bridge was to look at it again at 2027-01-15 ")
    assert "and has not, for 1 minute 20 seconds: see under Jobs whether they run." in told
    hands.turn(3600)
    assert "Its patience ended 2027-01-15 " in page(lone, transfer_id).advice.step


@pytest.mark.parametrize("amount", ["max", "10.00"])
def test_what_a_restore_has_forgotten_is_told(lone: Bench, one: ScriptedOne, amount: str) -> None:
    """Of a sweep also that it may have gone on, under a reference that is not here."""
    one.script, one.asked = [LOST], [SILENT]
    transfer_id = lone.run("out", amount)
    lineage.restored(lone.runtime, "a backup of the night", "mia")
    first, second = page(lone, transfer_id).advice.because[:2]
    assert first.startswith("The database was restored from a backup: ")
    assert second.startswith("All that was there was asked for: ") is (amount == "max")


def test_who_was_refused_learns_why(lone: Bench) -> None:
    """The person's own reason is not why; the note holds both."""
    transfer_id = lone.run("in")
    note = {"operator_id": lone.operator, "address": "203.0.113.7", "subject": transfer_id, "kind": "approve",
            "at": lone.runtime.clock.now(), "person_id": person(lone, "chloe"), "outcome": "refused"}  # fmt: skip
    put(lone, "access_note", id=1, reason="saw it", after="invalid: amount is not the amount that is at stake", **note)
    put(lone, "access_note", id=2, reason="saw the ticket", after="expired: not approved in time", **note)
    entries = page(lone, transfer_id).line.entries
    assert sorted((each.title, each.detail) for each in entries if each.kind is Kind.PERSON) == [
        ("Chloe wanted to approve the proposal, and was refused",
         'refused because: amount is not the amount that is at stake; their reason: "saw it"'),
        ("Chloe wanted to approve the proposal, and was refused",
         'refused because: not approved in time; their reason: "saw the ticket"'),
    ]  # fmt: skip
