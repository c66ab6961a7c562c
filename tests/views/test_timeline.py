"""One transfer's story on one axis, and the advice that rests on it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest

from bridge import endpoints, events
from bridge.evidence import Answer, Reply, Source
from bridge.transfers.advance import Fact, advance
from bridge.views import timeline, transfer
from bridge.views.timeline import Kind
from tests.callbacks import KEY
from tests.deciding import decide
from tests.harness import Bench, Hands
from tests.transfers.scripted_one import DROPPED, LOST, SILENT, ScriptedOne
from tests.transfers.test_decide import decision, orphan
from tests.views.conftest import person, proposal, put


def titles(lone: Bench, transfer_id: str, *kinds: Kind) -> list[str]:
    """The lines of a story in their order, of all kinds or of these."""
    page = transfer.page(lone.runtime, lone.operator, transfer_id)
    return [entry.title for entry in page.line.entries if not kinds or entry.kind in kinds]


def test_a_plain_transfer(lone: Bench) -> None:
    """Moves, postings, request and answer, in the order in which they were; what one commit did, from its cause on."""
    transfer_id = lone.run("in")
    events.number(lone.runtime, lone.operator, 10)
    told = titles(lone, transfer_id)
    assert told[0] == "Transfer: begins as pending"
    spine = [
        "Posted 10.00 EUR: wallet:ann → transit",
        "Sent to sim: transfer 10.00 EUR, credit ann",
        "sim answered request 1: executed (confirmed)",
        "Posted 10.00 EUR: transit → game:sim:ann",
        "Became event 1 of its operator: transfer.confirmed",
    ]
    assert [title for title in told if title in spine] == spine
    entries = transfer.page(lone.runtime, lone.operator, transfer_id).line.entries
    assert [entry.at for entry in entries] == sorted(entry.at for entry in entries)


def test_equal_polls_are_one_line(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """Asked again and again with one answer: how often, and until when; another answer begins another line."""
    one.script, one.asked = [LOST], [SILENT] * 7
    transfer_id = lone.run("in")
    for _ in range(7):
        hands.turn(400)
        lone.resolve_due()
    assert len(lone.get(transfer_id).outside.lookups()) == 7
    until = "no usable answer (DEADLINE)"
    # It became an orphan after the third: that stands between them.
    assert titles(lone, transfer_id, Kind.POLL) == [
        f"Asked sim 3 times, until 2027-01-15 08:20:00.030 UTC: {until}",
        f"Asked sim 4 times, until 2027-01-15 08:46:40.070 UTC: {until}",
    ]
    hands.turn(4000)
    lone.resolve_due()
    assert titles(lone, transfer_id, Kind.POLL)[2:] == ["Asked sim: executed (confirmed)"]


def answered(lone: Bench, hands: Hands, transfer_id: str, *bodies: str) -> None:
    """Look-ups that the bridge can make nothing of, each for the same reason, with these bodies."""
    for body in bodies:
        hands.turn(60)
        received = f"HTTP/1.1 200 OK\n{body}"
        digest = hashlib.sha256(received.encode()).hexdigest()
        reply = Reply(Answer.UNKNOWN, "MALFORMED", "amount", digest=digest, sent="POST /\n{}", received=received)
        fact = Fact(reply, Source.LOOKUP, hands.now(), ordinal=lone.get(transfer_id).outside.ordinal)
        advance(lone.runtime, transfer_id, None, fact)


def polls(lone: Bench, transfer_id: str) -> list[timeline.Entry]:
    """The lines about what was asked."""
    entries = transfer.page(lone.runtime, lone.operator, transfer_id).line.entries
    return [entry for entry in entries if entry.kind is Kind.POLL]


def test_polls_with_other_messages_are_not_one_line(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """Whoever judges an orphan sees each answer, also where the bridge read nothing in any of them."""
    one.script = [LOST]
    transfer_id = lone.run("in")
    answered(lone, hands, transfer_id, *(f'{{"status": "{word}"}}' for word in ("confirmed", "pending", "refused")))
    assert [json.loads(each.message.partition("\n")[2])["status"] for each in polls(lone, transfer_id)] == [
        "confirmed", "pending", "refused"
    ]  # fmt: skip


def test_polls_that_differ_in_what_is_masked_are_one_line(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """A number that a provider gives each of its answers is not shown, and tells nobody anything."""
    one.script = [LOST]
    transfer_id = lone.run("in")
    answered(lone, hands, transfer_id, *(f'{{"status": "pending", "trace": {number}}}' for number in range(3)))
    answered(lone, hands, transfer_id, *(f"<html>{number}" for number in range(2)))
    assert [each.count for each in polls(lone, transfer_id)] == [3, 2]


def test_so_many_messages_are_compared(
    lone: Bench, one: ScriptedOne, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provider that writes something else each time costs a page no more than this; what was not compared is not
    said to be alike."""
    monkeypatch.setattr(timeline, "COMPARED_AT_MOST", 3)
    one.script = [LOST]
    transfer_id = lone.run("in")
    answered(lone, hands, transfer_id, *(f'{{"status": "pending", "trace": {number}}}' for number in range(5)))
    assert [each.count for each in polls(lone, transfer_id)] == [1, 1, 3]


def test_what_was_told_otherwise_stands_first(lone: Bench, one: ScriptedOne) -> None:
    """A mismatch says what was told and what was meant; its advice is to ask which is right."""
    one.script = ["wrong_amount"]
    transfer_id = lone.run("in")
    page = transfer.page(lone.runtime, lone.operator, transfer_id)
    (answer,) = [entry for entry in page.line.entries if entry.kind is Kind.ANSWER]
    assert answer.detail.startswith("told 9\u202f999.99 EUR where 10.00 EUR was meant; their reference W-1")
    assert "it told something else than was asked for" in page.advice.step
    assert page.advice.evidence == (answer.evidence,)


def test_a_callback_shows_its_message_masked(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """The message is the one from the inbox: amounts and references stand in it, nothing else does."""
    transfer_id = orphan(lone, one, hands, "in", "custody")
    reference = str(lone.get(transfer_id).outside.reference)
    body = json.dumps({
        "type": "transfer.cancelled", "timestamp": "2027-01-15T08:00:00Z", "api_token": "s3cr3t", "data": {
            "id": reference, "player": "ann", "amount": 10.00, "customer": {"id": "passport X1", "name": "Ann Smith"},
            "code": f"whsec_{KEY.hex()}", "time": "mail ann@example.com", "provider_id": "4111 1111 1111 1111",
        },
    })  # fmt: skip
    put(
        lone, "inbox", id=7, provider="sim", message_id="m1", kind="transfer.cancelled", reference=reference, body=body,
        digest="d" * 64, peer="203.0.113.7", sent_at=1, received_at=1,
    )  # fmt: skip
    put(
        lone,
        "inbox_task",
        inbox_id=7,
        provider="sim",
        reference=reference,
        state="waiting",
        wake_at=1,
        reason="",
        failures=0,
    )
    fact = one.callback(reference, answer=Answer.CANCELLED)
    advance(lone.runtime, transfer_id, None, replace(fact, message=7))
    page = transfer.page(lone.runtime, lone.operator, transfer_id)
    (entry,) = [entry for entry in page.line.entries if entry.kind is Kind.CALLBACK]
    told = json.loads(entry.message)
    assert told["data"]["amount"] == 10.0
    assert told["data"]["id"] == reference
    assert told["data"]["player"] == "ann"
    assert '"amount": 10.0' in entry.message
    for hidden in ("s3cr3t", "passport", "Ann Smith", "whsec_", "example.com", "4111"):
        assert hidden not in entry.message


def test_requests_and_answers_are_shown_masked(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """Of each answer and look-up both messages; of a lost answer the request; of polls that say the same the newest."""
    one.script, one.asked = [LOST], [SILENT]
    transfer_id = lone.run("in")
    for _ in range(2):
        hands.turn(400)
        lone.resolve_due()
    entries = transfer.page(lone.runtime, lone.operator, transfer_id).line.entries
    (lost,) = [entry for entry in entries if entry.kind is Kind.ANSWER]
    assert (lost.request, lost.message) == ("POST /\n{}", "")
    told = [entry for entry in entries if entry.kind is Kind.POLL][-1]
    reference = lone.get(transfer_id).outside.reference
    assert told.request.startswith("POST /\n")
    first, _, body = told.message.partition("\n")
    assert (first, json.loads(body)) == ("HTTP/1.1 200 OK", {"id": reference, "status": "confirmed"})
    assert all(not entry.request + entry.message for entry in entries if entry.evidence is None)


def test_people_and_events_are_on_the_axis(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """Who proposed what, what another said, what was decided, who was refused, and what the platform was told."""
    endpoints.register(lone.runtime, lone.operator, "http://127.0.0.1:9/hook", "their <platform>")
    transfer_id = orphan(lone, one, hands, "in", "custody")
    mia, carl = person(lone, "mia"), person(lone, "carl")
    made = proposal(lone, transfer_id, mia, kind="split", arrived=600, returned=400)
    waits = transfer.page(lone.runtime, lone.operator, transfer_id)
    assert waits.proposal is not None
    assert waits.advice.step.startswith("Mia made a proposal: another person")
    note = {"operator_id": lone.operator, "address": "203.0.113.7", "subject": transfer_id, "at": hands.now()}
    put(lone, "access_note", id=1, person_id=carl, kind="propose", outcome="refused", reason="role", **note)
    put(lone, "access_note", id=2, person_id=mia, kind="propose", outcome="done", reason="done", **note)
    hands.turn(60)
    said = {"proposal_id": made, "maker_id": mia, "reason": "seen their log", "at": hands.now()}
    put(lone, "verdict", person_id=carl, approves=True, **said)
    decided = decision(lone, transfer_id, "split", maker="mia", checker="carl", reason="their log")
    decide(lone.runtime, lone.operator, transfer_id, decided)
    events.number(lone.runtime, lone.operator, 10)
    told = titles(lone, transfer_id, Kind.PERSON, Kind.EVENT)
    assert told[:2] == [
        "Mia proposed to split it: 6.00 EUR arrived, 4.00 EUR returned",
        "Carl wanted to propose something about it, and was refused"
    ]  # fmt: skip
    assert told[2:4] == [
        "Carl approved the proposal", "Decided by mia and carl: split, 6.00 EUR arrived, 4.00 EUR returned"
    ]  # fmt: skip
    assert "Became event 1 of its operator: transfer.orphaned" in told
    assert "Event 2 is on its way to their <platform>" in told


def test_a_story_of_years_is_bounded(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """More lines than anybody reads: the first of them and the newest, and how many there are between."""
    one.script, one.asked = [DROPPED], [SILENT, "stale"] * 1000
    transfer_id = lone.run("in")
    for _ in range(450):
        hands.turn(400)
        lone.resolve_due()
    line = transfer.page(lone.runtime, lone.operator, transfer_id).line
    assert len(line.entries) == timeline.AT_MOST
    assert line.left_out > 0
    assert line.before_gap == timeline.AT_MOST // 5
    assert line.entries[0].at < line.entries[line.before_gap].at <= line.entries[-1].at


def test_advice_says_what_it_rests_on(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """An orphan nobody answered about: whom to ask about what, and which decision fits which answer."""
    transfer_id = orphan(lone, one, hands, "out", "custody")
    told = transfer.page(lone.runtime, lone.operator, transfer_id).advice
    leg = lone.get(transfer_id).outside
    assert told.step.startswith(f"Ask sim what became of reference {leg.reference}, 10.00 EUR, first sent 2027-01-15 ")
    assert "If it is out of the game, propose to confirm. If it is still in the game, and that is final" in told.step
    assert told.because[0].startswith("Request 1 (transfer), sent 2027-01-15 ")
    assert told.because[1].startswith("Asked ")
