"""Every page of the desk in a real browser, wide and narrow, by day and by night: nothing runs that was not sent,
nothing bars anybody."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from sqlalchemy import text

from bridge import db, gates, models
from bridge.app import create_app
from bridge.ports import SECOND
from bridge.up import QTECH
from tests.browser import liar
from tests.browser.conftest import NARROW, WIDE, House, Window, Windows

SERIOUS = {"serious", "critical"}
LOOKS = [(size, scheme) for size in ("wide", "narrow") for scheme in ("light", "dark")]
SIZES = {"wide": WIDE, "narrow": NARROW}
NO_PAGES = re.compile(r"/ops|.*/part|.*\.csv|.*<path:filename>")
"""What is asked for by GET and is no page: the address that leads to the first one, parts of pages, files."""

OUT_OF_SIGHT = """[...document.querySelectorAll(".desk-nav a")].filter((each) => {
  const box = each.getBoundingClientRect();
  return box.width === 0 || box.left < 0 || box.right > window.innerWidth + 1;
}).map((each) => each.textContent)"""


def serious(window: Window) -> list[str]:
    """What axe finds that would bar somebody."""
    found: Any = Axe().run(window.page).response
    return [
        f"{each['id']}: {node['html'][:120]}"
        for each in found["violations"]
        if each["impact"] in SERIOUS
        for node in each["nodes"]
    ]


@dataclass
class Tour:
    """A walk through the whole desk: `rules` are the routes whose pages were looked at, `trouble` what is wrong."""

    house: House
    match: Callable[[str], str]
    rules: set[str] = field(default_factory=set)
    trouble: list[str] = field(default_factory=list)

    def visit(self, window: Window, path: str, name: str) -> None:
        """Open a page by its address, and look at it."""
        window.open(path)
        self.rules.add(self.match(urlsplit(self.house.desk + path).path))
        self.look(window, name)

    def look(self, window: Window, name: str) -> None:
        """At the page that is open, in both widths and by both lights; once as well where nobody sees colours."""
        window.page.locator("body").wait_for()
        before = window.page.url
        for size, scheme in LOOKS:
            window.page.set_viewport_size(SIZES[size])
            window.page.emulate_media(color_scheme=scheme)
            where = f"{name}, {size}, {scheme}"
            self.trouble += [f"{where}: {each}" for each in serious(window)]
            wider = window.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            self.trouble += [f"{where}: {wider} pixels wider than its window"] if wider > 1 else []
            hidden = window.page.evaluate(OUT_OF_SIGHT)
            self.trouble += [f"{where}: {', '.join(hidden)} not to be seen in the navigation"] if hidden else []
            window.shoot(f"{name}_{size}_{scheme}")
        assert window.page.url == before, "it led elsewhere while it was looked at"
        window.page.set_viewport_size(WIDE)


def everything(house: House) -> tuple[Callable[[str], str], set[str]]:
    """(which route an address is of; the routes of all pages), from the application's own map."""
    routes = create_app(house.runtime).url_map
    adapter = routes.bind("localhost")
    pages = {
        rule.rule
        for rule in routes.iter_rules()
        if "GET" in (rule.methods or ()) and re.match(r"/ops(/|$)", rule.rule) and not NO_PAGES.fullmatch(rule.rule)
    }

    def match(path: str) -> str:
        rule, _ = adapter.match(path, method="GET", return_rule=True)
        return str(rule.rule)

    return match, pages


def press(window: Window, name: str, why: str = "") -> None:
    """Press the button of a form, its reason given where it wants one."""
    button = window.page.get_by_role("button", name=name, exact=True).first
    reason = window.page.locator("form", has=button).locator("[name=reason]")
    if reason.count():
        reason.first.fill(why or "they refused it")
    button.click()


@dataclass
class Crew:
    """Who walks: an admin, two approvers, and whoever opens a window anew."""

    admin: Window
    maker: Window
    checker: Window
    window: Windows


@pytest.mark.timeout(1200)
def test_every_page_can_be_read_by_everybody(house: House, window: Windows) -> None:
    """Wide and narrow, by day and by night: no serious finding of axe on any page, no error in its console, nothing
    from elsewhere, and no page is wider than its window. A route of a page that nobody looked at here fails."""
    match, pages = everything(house)
    tour = Tour(house, match)
    crew = Crew(window("ada", "admin"), window("oskar", "approver"), window("carla", "approver"), window)
    orphans = [house.orphan(f"pages-{number}", "12.00")["id"] for number in range(4)]
    _decide(tour, crew, *orphans)
    _look_at_money(tour, crew, orphans[0])
    _come_and_go(tour, crew)
    _look_at_people(tour, crew)
    assert sorted(set(tour.trouble)) == []
    assert pages - tour.rules == set(), "pages of which there is no picture"


def _decide(tour: Tour, crew: Crew, one: str, first: str, second: str, turned_down: str) -> None:
    """Proposals and approvals, alone and several at once, and what came of each. First, while everybody is proved."""
    maker, checker = crew.maker, crew.checker
    at = f"/transfers/{one}/propose"
    tour.visit(maker, f"{at}?kind=split&arrived=5.00&returned=7.00", "propose_split")
    tour.visit(maker, f"{at}?kind=ask_again", "ask_again")
    tour.visit(maker, f"/transfers/{turned_down}/propose?kind=reverse", "propose")
    press(maker, "Propose to reverse")
    maker.page.get_by_text("somebody else has to approve it").first.wait_for()
    proposal = maker.page.url.removeprefix(tour.house.desk)
    tour.visit(maker, proposal, "proposal_of_ones_own")
    tour.visit(checker, proposal, "proposal")
    press(checker, "Reject")
    checker.page.get_by_text("rejected").first.wait_for()
    tour.look(checker, "proposal_rejected")
    tour.visit(checker, "/proposals?state=rejected", "proposals_rejected")
    tour.visit(maker, f"/many/propose?kind=confirm&transfer={first}&transfer={second}", "many_propose")
    press(maker, "Propose 2 times")
    maker.page.get_by_text("2 of 2 proposed").first.wait_for()
    tour.look(maker, "many_proposed")
    checker.open("/proposals")
    waiting = [checker.page.locator("tr", has_text=each).locator("input[name=proposal]") for each in (first, second)]
    ids = [each.get_attribute("value") for each in waiting]
    tour.look(checker, "proposals")
    tour.visit(checker, "/many/approve?" + "&".join(f"proposal={each}" for each in ids), "many_approve")
    checker.page.get_by_label("Type the sum in EUR").fill("24.00")
    press(checker, "Approve them", "seen their statement")
    checker.page.get_by_text("2 of 2 approved").first.wait_for()
    tour.look(checker, "many_approved")
    tour.visit(checker, f"/transfers/{first}", "transfer_decided")


def _look_at_money(tour: Tour, crew: Crew, orphan: str) -> None:
    """Whatever tells where money is, and what runs."""
    for name, path in {
        "overview": "/overview", "orphans": "/orphans", "unknown": "/orphans?stage=unknown", "transfer":
        f"/transfers/{orphan}", "proposals_open": "/proposals", "players": "/players", "player": "/players/ann",
        "player_then": "/players/ann?at=2026-01-01T00:00:00", "providers": "/providers",
        "provider": f"/providers/{QTECH.name}", "jobs": "/jobs", "job": "/jobs/verify", "audit": "/audit",
        "audit_review": "/audit/review", "trouble": "/transfers/tr_none/propose",
    }.items():  # fmt: skip
        tour.visit(crew.maker, path, name)


def _come_and_go(tour: Tour, crew: Crew) -> None:
    """What is seen by whoever has not come in: the gate, a link to join, recovery codes, a lock and a link to open it,
    and what plain http gets."""
    house, somebody = tour.house, crew.window()
    tour.visit(somebody, "/gate", "gate")
    link = house.link("nina", "viewer").removeprefix(house.desk)
    tour.visit(somebody, link, "join")
    somebody.fill_in("nina")
    tour.look(somebody, "recovery_codes")
    stranger = crew.window()
    for _ in range(3):
        stranger.open("/gate").get_by_label("Login").fill("nina")
        stranger.page.get_by_label("Password").fill("not her password at all")
        stranger.page.get_by_label("Code").fill("123456")
        press(stranger, "Come in")
        stranger.page.locator("main").wait_for()
    tour.look(stranger, "gate_locked")
    crew.admin.open("/people").get_by_role("link", name="nina", exact=True).click()
    press(crew.admin, "Link to unlock", "she asked for it")
    prove(crew.admin, house, "ada")
    unlock = crew.admin.page.locator(".desk-secret").inner_text().removeprefix(house.desk)
    tour.look(crew.admin, "link")
    tour.visit(stranger, unlock, "unlock")
    stranger.page.goto(house.stack.address + "/ops/overview")
    stranger.complaints.clear()  # that address is elsewhere, on purpose
    tour.look(stranger, "plain_http")
    stranger.complaints.clear()


def prove(window: Window, house: House, login: str) -> None:
    """Show a code, where one is asked for before what was wanted is done."""
    window.page.locator("main").wait_for()
    asked = window.page.get_by_label("Code from your authenticator")
    if asked.count():
        asked.fill(house.staff[login].code())
        press(window, "Go on")
        window.page.locator(".desk-secret").wait_for()


def _look_at_people(tour: Tour, crew: Crew) -> None:
    """Other people, and oneself."""
    tour.visit(crew.admin, "/people", "people")
    path = crew.admin.page.get_by_role("link", name="oskar", exact=True).get_attribute("href")
    tour.visit(crew.admin, str(path).removeprefix("/ops"), "person")
    tour.visit(crew.admin, "/account", "account")
    tour.visit(crew.admin, "/prove?next=/ops/account", "prove")


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


def test_what_is_wrong_can_be_read(house: House, window: Windows) -> None:
    """A door that people have closed, one that refuses for its breaker, and open alerts, where people look first; as
    well read as any other page."""
    someone, tour = window("otto", "operator"), Tour(house, str)
    now = house.runtime.clock.now()
    breaker = {"open": True, "counted_from": now, "probe_at": now + 15 * SECOND, "version": 1}
    with db.writing(house.runtime.engine) as connection:
        connection.execute(models.metadata.tables["breaker"].insert().values(provider=liar.BY_MANUAL, **breaker))
    gates.pause(house.runtime, liar.BY_CONTRACT, "they are down", "otto")
    try:
        someone.open("/overview").get_by_text(f"The breaker of {liar.BY_MANUAL} is open").first.wait_for()
        for name, path in {
            "overview_wrong": "/overview", "providers_wrong": "/providers", "closed": f"/providers/{liar.BY_CONTRACT}",
            "broken": f"/providers/{liar.BY_MANUAL}",
        }.items():  # fmt: skip
            shown = someone.open(path).locator("main").inner_text()
            assert ("Wrong now:" in shown) == (name == "overview_wrong"), path
            assert ("closed by people" in shown) == (name != "broken"), path
            assert ("its breaker is open" in shown) == (name != "closed"), path
            tour.look(someone, name)
    finally:
        gates.resume(house.runtime, liar.BY_CONTRACT, "otto")
        with db.writing(house.runtime.engine) as connection:
            connection.execute(text("UPDATE breaker SET open = :no"), {"no": False})
    assert sorted(set(tour.trouble)) == []
