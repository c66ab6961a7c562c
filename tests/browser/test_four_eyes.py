"""Four eyes in a real browser, before a provider that lies: from the orphan that appears to the event that is sent."""

from __future__ import annotations

import json
from typing import Any

from bridge import db, models
from bridge.up import QTECH
from tests.browser.conftest import House, Windows

WHY = "their statement says that it arrived"


def rows(house: House, table: str, transfer: str) -> list[Any]:
    """What the database holds about a transfer."""
    found = models.metadata.tables[table]
    with db.reading(house.runtime.engine) as connection:
        return list(connection.execute(found.select().where(found.c.transfer_id == transfer)).mappings())


def test_an_orphan_appears_is_proposed_and_approved_by_somebody_else(house: House, window: Windows) -> None:
    """I-54 C-77: it appears without a reload; whoever proposes cannot approve; after another person's approval ledger,
    event and timeline say the same, and the provider was asked for nothing more."""
    maker, checker = window("mira", "approver"), window("chloe", "approver")
    page = maker.open("/orphans")
    page.get_by_role("heading", name="Orphans").wait_for()
    made = house.orphan("appears")
    asked = len((house.stack.ledger(QTECH)).read_text().splitlines())
    link = page.locator(f'a[href$="/transfers/{made["id"]}"]').first
    link.wait_for()  # nobody has reloaded
    link.click()

    page.locator("#option-confirm summary").click()
    page.locator("#option-confirm").get_by_role("link").click()
    page.get_by_text("What it would post").wait_for()
    shown = page.locator("main").inner_text()
    page.get_by_label("Why").fill(WHY)
    page.get_by_role("button", name="Propose to confirm").click()
    page.get_by_text("somebody else has to approve it").first.wait_for()
    assert page.get_by_role("button", name="Approve", exact=True).count() == 0
    address = page.url.removeprefix(house.desk)
    assert rows(house, "decision", made["id"]) == []

    page = checker.open(address)
    page.get_by_label("Type the amount, in EUR").fill("25.00")
    page.get_by_label("Why you approve it").fill("I have seen the statement too")
    page.get_by_role("button", name="Approve", exact=True).click()
    page.get_by_text("carried out").first.wait_for()

    (decision,) = rows(house, "decision", made["id"])
    assert decision["maker"] != decision["checker"]
    transfer = house.call("GET", f"/v1/transfers/{made['id']}")
    assert transfer["state"] == "confirmed"
    last = rows(house, "posting", made["id"])[-1]
    assert (last["debit"], last["credit"], last["amount"]) == (f"custody:{QTECH.name}", f"game:{QTECH.name}:ann", 2500)
    for account in (last["debit"], last["credit"]):
        assert account in shown
    events = house.call("GET", "/v1/events")
    told = [event for event in json.loads(json.dumps(events))["events"] if made["id"] in json.dumps(event)]
    page = checker.open(f"/transfers/{made['id']}")
    page.get_by_text("confirmed").first.wait_for()
    text = page.locator("main").inner_text()
    assert "Mira" in text
    assert "Chloe" in text
    assert told, "an event tells the operator of it"
    assert len(house.stack.ledger(QTECH).read_text().splitlines()) == asked


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
