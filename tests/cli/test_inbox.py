"""`inbox`: what a person sees of callbacks, of what no honest provider sends, and of balances that differ."""

from __future__ import annotations

import json

import pytest

from bridge.errors import MessageIdReused
from tests import callbacks
from tests.callbacks import NEAR, RIVAL, UNKNOWN_REFERENCE, balance, transfer
from tests.harness import OPERATOR, PROVIDER


@pytest.fixture
def site(folder, migrated_url):
    """A folder whose bridge.toml names the database of an office."""
    with callbacks.office(migrated_url) as made:
        lines = ["[database]", f"url = {json.dumps(migrated_url)}", f"[providers.{PROVIDER}]"]
        lines += [f'operator = "{OPERATOR}"', 'protocol = "generic"', 'base_url = "http://127.0.0.1:9"']
        lines += [f'request_secret = "{callbacks.secret(callbacks.REQUESTS)}"', 'currencies = ["EUR"]']
        folder.configure("\n".join(lines))
        yield folder, made


def lines(said: str) -> list[list[str]]:
    """The words of each line under the head."""
    return [line.split() for line in said.splitlines()[1:]]


def test_messages_and_what_became_of_them(site):
    """C-61, C-66: each message with its state, newest first; by state and by provider; `list` may be left out."""
    folder, made = site
    transfer_id, reference = made.planned()
    made.told("transfer.confirmed", transfer(reference), id_="evt_1")
    made.told("round.settled", {}, id_="evt_2")
    made.told("transfer.cancelled", transfer(UNKNOWN_REFERENCE, "cancelled"), id_="evt_3", provider=RIVAL)
    made.work()
    made.told("balance.reported", balance("1.00"), id_="evt_4")

    told = lines(folder.did("inbox"))
    assert [line[:2] for line in told] == [
        ["evt_4", PROVIDER], ["evt_3", RIVAL], ["evt_2", PROVIDER], ["evt_1", PROVIDER],
    ]  # fmt: skip
    assert ["waiting" in told[0], "parked" in told[1], "passed_over" in told[2], "done" in told[3]] == [True] * 4
    assert {UNKNOWN_REFERENCE, "reference"} <= set(told[1])
    assert {reference, transfer_id} <= set(told[3])
    assert [line[0] for line in lines(folder.did("inbox", "list", "--state", "parked"))] == ["evt_3"]
    assert [line[0] for line in lines(folder.did("inbox", "list", "--provider", PROVIDER, "--limit", "2"))] == [
        "evt_4", "evt_2",
    ]  # fmt: skip
    assert lines(folder.did("inbox", "list", "--provider", "nobody")) == []


def test_what_no_honest_provider_sends(site):
    """C-64: a reused id is shown with its provider, its address and the digest of the body that was refused."""
    folder, made = site
    made.told("a", {})
    with pytest.raises(MessageIdReused):
        made.told("b", {})
    (row,) = made.rows("SELECT digest FROM security_event")
    (line,) = lines(folder.did("inbox", "events"))
    assert line[1:] == ["message_id_reused", PROVIDER, NEAR, "evt_1", row["digest"]]


def test_balances_that_differ(site):
    """I-53: an open break is shown with both numbers in the currency's decimals; a closed one is not."""
    folder, made = site
    made.told("balance.reported", balance("12.50"))
    made.work()
    (line,) = lines(folder.did("inbox", "breaks"))
    assert line[1:] == [PROVIDER, "ann", "0.00", "12.50", "EUR", "callback"]
    made.runtime.clock.turn(1)
    made.told("balance.reported", balance("0.00"), id_="evt_2")
    made.work()
    assert lines(folder.did("inbox", "breaks")) == []
