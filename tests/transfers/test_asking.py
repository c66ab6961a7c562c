"""Somebody wants to know now; and what a question may not change."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from bridge.config import Config
from bridge.evidence import Answer
from bridge.transfers import resolve
from bridge.transfers.advance import advance
from bridge.transfers.drive import perform
from tests.harness import SECRET, Bench, Hands, configured
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


@pytest.mark.parametrize("written", [
    "https://provider.example/wallet", "https://PROVIDER.example:443/wallet", "https://provider.example./wallet/",
])  # fmt: skip
@pytest.mark.parametrize("by_file", [True, False])
def test_the_account_of_our_own_contract_is_its_secret(written: str, tmp_path: Path, *, by_file: bool) -> None:
    """I-09: by the secret alone a provider of our own contract knows whose a request is. Two operators with one secret
    at one place have one account, however the place is written and the secret kept; the refusal tells neither."""
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    kept = {"request_secret_file": tmp_path / "secret"} if by_file else {"request_secret": SECRET.rstrip("=")}
    whole = {"protocol": "generic", "currencies": ("EUR",), "operator": "brand-a"}
    one = {**whole, "base_url": "https://provider.example/wallet", "request_secret": SECRET}
    other = {**whole, "operator": "brand-b", "base_url": written, **kept}

    with pytest.raises(ValidationError, match=r"account of a and b at https://provider\.example:443 is named") as no:
        Config.model_validate({"providers": {"a": one, "b": other}})

    assert SECRET.rstrip("=") not in str(no.value.errors()[0]["msg"])
    for changes in ({"base_url": "https://provider.example/w"}, {"base_url": "http://provider.example/wallet"},
                    {"request_secret": "whsec_" + "b" * 44, "request_secret_file": None}):  # fmt: skip
        assert len(Config.model_validate({"providers": {"a": one, "b": {**other, **changes}}}).providers) == 2


def test_an_address_with_no_such_port_is_refused() -> None:
    """The places of providers are compared: a port that is none is a typing error, by its key."""
    one = configured("sqlite://").providers["sim"].model_dump()
    with pytest.raises(ValidationError, match=r"sim\.qtech\.base_url"):
        Config(providers={"sim": {**one, "base_url": "http://127.0.0.1:99999"}})


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
