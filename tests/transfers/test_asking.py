"""Somebody wants to know now; and what a question may not change."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from bridge.config import Config
from bridge.evidence import Answer
from bridge.transfers import resolve
from bridge.transfers.advance import advance
from bridge.transfers.drive import perform
from tests.harness import Bench, Hands, configured
from tests.transfers.scripted import LOST, SILENT, ScriptedProvider
from tests.transfers.scripted_one import DROPPED, ScriptedOne


def asked(scripted: ScriptedProvider) -> int:
    """Look-ups that reached the provider."""
    return [operation for operation, _ in scripted.requests].count("look_up")


def test_a_refresh_asks_although_no_question_is_due(still: Bench, hands: Hands, scripted: ScriptedProvider) -> None:
    """C-18, C-14: a provider that was silent for long and is back is asked at once, and the transfer ends."""
    scripted.script = ["ok", LOST]
    transfer_id = still.run("in", ask=-1)
    for _ in range(30):
        scripted.script = [SILENT]
        hands.turn(1)
        still.resolve_due()
    scripted.script = []
    before = asked(scripted)
    assert still.row(transfer_id)["state"] == "pending"
    assert still.row(transfer_id)["wake_at"] > hands.now()

    resolve.refresh(still.runtime, transfer_id, hands.monotonic())

    assert asked(scripted) == before + 1
    assert still.row(transfer_id)["state"] == "confirmed"
    still.audit()


def test_questions_of_the_curious_do_not_push_the_schedule(
    still: Bench, hands: Hands, scripted: ScriptedProvider
) -> None:
    """C-18: whoever refreshes each second delays no automatic question, and an answer that says nothing moves
    `updated_at` no further."""
    scripted.script = ["ok", LOST, SILENT]
    transfer_id = still.run("in", ask=-1)
    still.resolve_due()
    told = still.row(transfer_id)["updated_at"]
    for _ in range(16):
        scripted.script = [SILENT]
        hands.turn(1)
        resolve.refresh(still.runtime, transfer_id, hands.monotonic())
    assert still.row(transfer_id)["updated_at"] == told
    scripted.script = []

    for _ in range(25):
        hands.turn(1)
        still.resolve_due()

    assert still.row(transfer_id)["state"] == "confirmed"
    still.audit()


def test_one_account_at_a_provider_is_configured_once() -> None:
    """I-09: two names for one account would let two operators' players share a balance there."""
    one = configured("sqlite://").providers["sim"].model_dump()
    other = {**one, "operator": "somebody-else", "base_url": one["base_url"] + "/"}
    with pytest.raises(ValidationError, match="is named twice"):
        Config(providers={"sim": one, "twin": other})
    assert len(Config(providers={"sim": one, "twin": {**other, "username": "another"}}).providers) == 2


def test_a_look_up_counts_from_when_it_was_asked(lone: Bench, hands: Hands, one: ScriptedOne) -> None:
    """I-12, C-05: a worker that stands still for minutes with a "not found" in its hand makes it no younger: two such
    answers, from before the request was executed, would prove its absence."""
    one.script = [DROPPED]
    begun = lone.begin("in")
    assert begun.outcome is not None
    assert begun.outcome.order is not None
    sent = perform(lone.runtime, begun.outcome.order)
    look_up = advance(lone.runtime, begun.outcome.transfer.id, begun.outcome.order.claim, sent).order
    assert look_up is not None
    before = hands.now()
    one.during = lambda _operation: hands.turn(300)
    told = perform(lone.runtime, look_up)
    assert (told.reply.answer, told.at) == (Answer.NOT_FOUND, before)
    assert hands.now() > before
