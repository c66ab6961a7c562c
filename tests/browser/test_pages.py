"""Every page of the desk in a real browser, wide and narrow: nothing runs that was not sent, nothing bars anybody."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import pytest
from axe_playwright_python.sync_playwright import Axe

from bridge.up import QTECH
from tests.browser import liar
from tests.browser.conftest import NARROW, WIDE, House, Window, Windows

PAGES = (
    "/overview", "/orphans", "/orphans?stage=unknown", "/proposals", "/players", "/players/ann", "/providers",
    f"/providers/{QTECH.name}", "/jobs", "/audit", "/account", "/people",
)  # fmt: skip
SERIOUS = {"serious", "critical"}


def serious(window: Window) -> list[str]:
    """What axe finds that would bar somebody."""
    found: Any = Axe().run(window.page).response
    return [
        f"{each['id']}: {node['html'][:120]}"
        for each in found["violations"]
        if each["impact"] in SERIOUS
        for node in each["nodes"]
    ]


@pytest.mark.parametrize(("name", "size"), [("wide", WIDE), ("narrow", NARROW)])
def test_every_page_can_be_read_by_everybody(house: House, window: Windows, name: str, size: dict[str, int]) -> None:
    """No serious finding of axe on any page, no error in its console, nothing from elsewhere, and no page is wider than
    its window."""
    admin, maker = window("ada", "admin", size), window("oskar", "approver", size)
    made = house.orphan(f"pages-{name}", "12.00")
    maker.open(f"/transfers/{made['id']}/propose?kind=reverse").get_by_label("Why").fill("they refused it")
    trouble = [f"propose {each}" for each in serious(maker)]
    maker.shoot(f"propose_{name}")
    maker.page.get_by_role("button", name="Propose to reverse").click()
    maker.page.get_by_text("somebody else has to approve it").first.wait_for()
    proposal = maker.page.url.removeprefix(house.desk)
    for path in (*PAGES, f"/transfers/{made['id']}", proposal, "/gate"):
        seen = admin if path != proposal else maker
        seen.open(path)
        seen.page.locator("main").wait_for()
        trouble += [f"{path} {each}" for each in serious(seen)]
        wider = seen.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        trouble += [f"{path} is {wider} pixels wider than its window"] if wider > 1 else []
        seen.shoot(re.sub(r"[^a-z]+", "_", f"{path}_{name}".removeprefix("/")))
    assert sorted(set(trouble)) == []


PAYLOADS = (
    "<script>window.ran=1</script>", "<img src=x onerror=window.ran=1>", "'\"><svg onload=window.ran=1>",
    "javascript:window.ran=1", "{{7*7}}",
)  # fmt: skip


def test_nothing_runs_that_a_person_types(house: House, window: Windows) -> None:
    """Payloads as reasons, search words and names are shown as text, on every page that shows them."""
    someone = window("olive", "operator")
    for number, payload in enumerate(PAYLOADS):
        made = house.orphan(f"typed-{number}", "1.00")
        page = someone.open(f"/transfers/{made['id']}/propose?kind=reverse")
        page.get_by_label("Why").fill(payload)
        page.get_by_role("button", name="Propose to reverse").click()
        page.get_by_text("somebody else has to approve it").first.wait_for()
        assert payload in page.locator("main").inner_text()
        for path in ("/proposals", f"/transfers/{made['id']}", "/audit"):
            someone.open(path)
            assert page.evaluate("window.ran") is None, (path, payload)
        page = someone.open("/orphans")
        page.get_by_text("Search and filter").click()
        page.get_by_label("Player, transfer, reference or provider's id").fill(payload)
        page.get_by_role("button", name="Show").click()
        assert page.evaluate("window.ran") is None


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("provider", [liar.BY_CONTRACT, liar.BY_MANUAL])
def test_nothing_runs_that_a_provider_says(house: House, window: Windows, provider: str, payload: str) -> None:
    """Security §3.1 row 24: payloads in the ids, players, times, errors and callbacks of a provider, in members that
    nobody knows and in their names. No name that an operator gives a player can hold one: the API takes letters."""
    someone = window("olga", "approver")
    house.liar.payload = payload
    wish = {"player_id": "ann", "provider": provider, "direction": "in", "amount": "1.00", "currency": "EUR"}
    key = f"said-{provider}-{PAYLOADS.index(payload)}"
    made = house.call("POST", "/v1/transfers", wish, key)
    at = f"/transfers/{made['id']}"
    page = someone.open(at)
    page.get_by_text(payload).first.wait_for(state="attached")
    if provider == liar.BY_CONTRACT:
        assert made["state"] == "orphaned"
        (told,) = [each["data"] for each in house.liar.asked if each.get("type") == "transfer.create"][-1:]
        house.hear(house.liar.transfer(told, status="cancelled", sequence=2))
        page.get_by_text("callback").first.wait_for(state="attached")
    for path in (
        at, f"{at}/propose?kind=reverse", "/orphans", f"/orphans?word={quote(payload)}", "/orphans?stage=unknown",
        "/audit", "/overview", "/providers", f"/providers/{provider}", "/players/ann",
    ):  # fmt: skip
        someone.open(path)
        page.locator("main").wait_for()
        assert page.evaluate("window.ran") is None, path
        assert page.locator("main script, main img, main svg[onload]").count() == 0, path


def test_plain_http_from_elsewhere_is_told_about_tls(house: House, window: Windows) -> None:
    """At any other plain address there is a page that says why, and nothing else."""
    someone = window()
    answer = someone.page.goto(house.stack.address + "/ops/overview")
    someone.complaints.clear()  # that address is elsewhere, on purpose
    assert answer is not None
    assert answer.status == 403
    assert "TLS" in someone.page.locator("body").inner_text()
