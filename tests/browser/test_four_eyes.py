"""Four eyes in a real browser, before a provider that lies: from the orphan that appears to the event that is sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page

from bridge import db, models
from bridge.up import QTECH
from tests.browser.conftest import House, Windows
from tests.browser.receiver import Receiver

WHY = "their statement says that it arrived"


@pytest.fixture
def receiver(house: House) -> Iterator[Receiver]:
    """The operator's server, registered for its events."""
    with Receiver() as made:
        endpoint = house.call("POST", "/v1/webhook-endpoints", {"url": made.url, "label": "platform"})
        made.secret = endpoint["secret"]
        yield made
        house.call("DELETE", f"/v1/webhook-endpoints/{endpoint['endpoint']['id']}")
        made.shutdown()


def rows(house: House, table: str, transfer: str) -> list[Any]:
    """What the database holds about a transfer."""
    found = models.metadata.tables[table]
    with db.reading(house.runtime.engine) as connection:
        return list(connection.execute(found.select().where(found.c.transfer_id == transfer)).mappings())


def test_an_orphan_appears_is_proposed_and_approved_by_somebody_else(
    house: House, window: Windows, receiver: Receiver
) -> None:
    """I-54 C-77: it appears without a reload; whoever proposes cannot approve; after another person's approval the
    ledger, the event that its operator's server gets, signed, and the timeline say the same, and the provider was asked
    for nothing more."""
    maker, checker = window("mira", "approver"), window("chloe", "approver")
    page = maker.open("/orphans")
    page.get_by_role("heading", name="Orphans").wait_for()
    made = house.orphan("appears")
    asked = len((house.stack.ledger(QTECH)).read_text().splitlines())
    link = page.locator(f'a[href$="/transfers/{made["id"]}"]').first
    link.wait_for()  # nobody has reloaded
    link.click()

    shown = propose(page)
    assert page.get_by_role("button", name="Approve", exact=True).count() == 0
    address = page.url.removeprefix(house.desk)
    assert rows(house, "decision", made["id"]) == []
    approve(checker.open(address))

    event = receiver.wait("transfer.confirmed", made["id"])
    (decision,) = rows(house, "decision", made["id"])
    assert decision["maker"] != decision["checker"]
    last = rows(house, "posting", made["id"])[-1]
    assert (last["debit"], last["credit"], last["amount"]) == (f"custody:{QTECH.name}", f"game:{QTECH.name}:ann", 2500)
    for account in (last["debit"], last["credit"]):
        assert account in shown
    agree(house, receiver, made["id"], event, last["version"])

    page = checker.open(f"/transfers/{made['id']}")
    page.get_by_text("confirmed").first.wait_for()
    page.get_by_text(f"Event {event['sequence']} was delivered to platform").first.wait_for()
    text = page.locator("main").inner_text().lower()
    assert f"became event {event['sequence']} of its operator: transfer.confirmed" in text
    assert "decided by mira and chloe: confirm" in text
    assert len(house.stack.ledger(QTECH).read_text().splitlines()) == asked


def propose(page: Page) -> str:
    """Propose to confirm what a page shows; what it said that this would post."""
    page.locator("#option-confirm summary").click()
    page.locator("#option-confirm").get_by_role("link").click()
    page.get_by_text("What it would post").wait_for()
    shown: str = page.locator("main").inner_text()
    page.get_by_label("Why").fill(WHY)
    page.get_by_role("button", name="Propose to confirm").click()
    page.get_by_text("somebody else has to approve it").first.wait_for()
    return shown


def approve(page: Page) -> None:
    """Approve the proposal that a page shows."""
    page.get_by_label("Type the amount, in EUR").fill("25.00")
    page.get_by_label("Why you approve it").fill("I have seen the statement too")
    page.get_by_role("button", name="Approve", exact=True).click()
    page.get_by_text("carried out").first.wait_for()


def agree(house: House, receiver: Receiver, transfer_id: str, event: dict[str, Any], version: int) -> None:
    """What was sent is what the API answers and what was posted, once as an orphan and once as what was decided."""
    transfer = house.call("GET", f"/v1/transfers/{transfer_id}")
    assert (transfer["state"], transfer["amount"]) == ("confirmed", "25.00")
    told = event["data"]
    assert (told["state"], told["amount"], told["arrived"], told["currency"]) == ("confirmed", "25.00", "25.00", "EUR")
    assert (told["player_id"], told["provider"], told["direction"]) == ("ann", QTECH.name, "in")
    assert told["version"] == version, "it tells of the commit that posted"
    orphaned = receiver.wait("transfer.orphaned", transfer_id)
    came = {each["id"]: each for each in receiver.told if each["data"].get("transfer_id") == transfer_id}
    assert sorted(each["sequence"] for each in came.values()) == [orphaned["sequence"], event["sequence"]]
    assert receiver.forged == 0
    listed = house.call("GET", "/v1/events?limit=200")["events"]
    assert [each for each in listed if each["id"] == event["id"]] == [event]


def test_a_maker_who_forges_the_form_is_refused(house: House, window: Windows) -> None:
    """I-54: the page of an approval is not needed to try it; the bridge refuses whoever proposed, and nothing moves."""
    maker = window("mara", "approver")
    made = house.orphan("forged", "5.00")
    page = maker.open(f"/transfers/{made['id']}/propose?kind=confirm")
    page.get_by_label("Why").fill(WHY)
    page.get_by_role("button", name="Propose to confirm").click()
    page.get_by_text("somebody else has to approve it").first.wait_for()
    proposal = page.url.rsplit("/", 1)[1]
    status = page.evaluate(
        """async (path) => {
            const token = document.querySelector('form input[type=hidden]');
            const body = new URLSearchParams({[token.name]: token.value, seen: 'x', amount: '5.00', reason: 'mine'});
            return (await fetch(path, {method: 'POST', body})).status;
        }""",
        f"/ops/proposals/{proposal}/approve",
    )
    assert status in (403, 422)
    assert rows(house, "decision", made["id"]) == []
    assert house.call("GET", f"/v1/transfers/{made['id']}")["state"] == "orphaned"
