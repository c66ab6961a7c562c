"""What is wrong is to be seen where people look first: doors that let nothing in, jobs that nobody runs, alerts."""

from __future__ import annotations

import re
from typing import Any

import pytest

from bridge import checks, gates, troubles
from bridge.alerts import episodes
from bridge.models.desk import Role
from bridge.views import balances
from tests.dashboard.stock import Stock, stock
from tests.dashboard.test_money_pages import examine
from tests.desk import crew
from tests.desk.stand import STRANGER, Desk

FIRST = "/ops/overview"
SHOWN_ON = ("/ops/overview", "/ops/overview/part", "/ops/providers", "/ops/providers/sim")


@pytest.fixture
def shelves(desk: Desk) -> Stock:
    """The desk with a player and a provider."""
    return stock(desk)


def wrong_now(page: str) -> str:
    """What the first page says of that, with the marks in it."""
    return " ".join(page.partition("Wrong now:")[2].partition("</section>")[0].split())


def breaker(shelves: Stock) -> None:
    """Too many unknown answers."""
    shelves.desk.write("INSERT INTO breaker (provider, open, counted_from, probe_at, version) "
                       "VALUES ('sim', :yes, 1, 2, 1)", yes=True)  # fmt: skip


def cap(shelves: Stock) -> None:
    """As much unresolved as may be."""
    providers = shelves.desk.runtime.config.providers
    providers["sim"] = providers["sim"].model_copy(update={"exposure_caps": {"EUR": "10.00"}, "currencies": ("EUR",)})
    shelves.orphan(amount="10.00")


def pause(shelves: Stock) -> None:
    """People have closed it."""
    gates.pause(shelves.desk.runtime, "sim", "they are down", "mia")


CLOSED: dict[str, tuple[Any, str]] = {
    "breaker": (breaker, "its breaker is open"),
    "cap": (cap, "the cap is reached"),
    "people": (pause, "closed by people"),
}  # fmt: skip


@pytest.mark.parametrize("why", CLOSED)
def test_no_page_calls_a_door_open_that_lets_nothing_in(shelves: Stock, why: str) -> None:
    """Whatever refuses a transfer in, the three pages that tell of the door say so, and no green badge stands there."""
    viewer = shelves.desk.sitting("viewer")
    for path in SHOWN_ON:
        assert "text-bg-success" in viewer.get(path).text, path
    close, words = CLOSED[why]
    close(shelves)
    for path in SHOWN_ON:
        page = viewer.get(path).text
        examine(page, whole="part" not in path)
        assert words in page, path
        assert "text-bg-success" not in page, path
        assert ">open<" not in page, path


def test_whether_a_cap_is_set_is_told(shelves: Stock) -> None:
    """Nothing unresolved is no bound."""
    viewer = shelves.desk.sitting("viewer")
    for path in ("/ops/overview", "/ops/providers/sim"):
        assert "no cap is set" in viewer.get(path).text, path


def test_silent_jobs_do_not_work(shelves: Stock) -> None:
    """Nobody runs them: none of them is said to work, the first page says it in one line, and so does `/readyz`."""
    desk = shelves.desk
    viewer, other = desk.sitting("viewer"), desk.sitting("stranger")
    for who in (viewer, other):
        page = who.get("/ops/jobs").text
        assert ">works<" in page
        assert ">silent<" not in page
    assert "Wrong now:" not in viewer.get("/ops/overview").text
    desk.hands.turn(79)
    for who in (viewer, other):
        page = who.get("/ops/jobs").text
        assert ">works<" not in page
        assert page.count(">silent<") >= 2
    page = viewer.get("/ops/overview").text
    examine(page)
    line = wrong_now(page)
    (wrong,) = desk.nobody.client.get("/readyz").json["wrong"]
    assert f"{wrong['check']}: {wrong['detail']}" in line


def test_open_alerts_stand_on_the_first_page(shelves: Stock) -> None:
    """Each in its sentence, and text only; the first four at once, the others in what opens, and stays open by its
    name when the page refreshes itself."""
    desk = shelves.desk
    for number in range(6):
        desk.write("INSERT INTO alert (id, kind, about, operator_id, sentence, over, began_at, seen_at, told_at) "
                   "VALUES (:id, 'orphans', :id, :operator, :sentence, 'over', :at, 1, 1)",
                   id=f"al_{number}", operator=desk.operator, sentence=f"<b>{number} orphans</b>.",
                   at=number)  # fmt: skip
    page = desk.sitting("viewer").get("/ops/overview").text
    examine(page)
    line = wrong_now(page)
    shown, _, others = line.partition('<details id="other-alerts"')
    assert re.findall(r"(\d) orphans", shown) == ["5", "4", "3", "2"]
    assert "<summary>And 2 other alerts</summary>" in others
    assert re.findall(r"(\d) orphans", others) == ["1", "0"]
    assert "<b>" not in line


def test_locked_logins_hide_no_other_alert(shelves: Stock) -> None:
    """Whoever tries every login locks many: orphans, and that nobody runs the jobs, stand before that, which is one
    line."""
    desk = shelves.desk
    shelves.orphan()
    desk.hands.turn(120)
    episodes.look(desk.runtime)
    desk.hands.turn(60)
    for number in range(55):
        crew.hire(desk.runtime, desk.operator, Role.VIEWER, f"p{number:03}", locked_at=desk.hands.now())
    episodes.look(desk.runtime)
    line = wrong_now(desk.sitting("viewer").get("/ops/overview").text)
    silent, orphans, locked = (line.find(words) for words in ("The scheduler is silent", "1 orphaned", "55 logins at "))
    assert 0 <= silent < orphans < locked
    assert "A login at the desk" not in line


def test_what_all_share_is_told_to_others_without_its_detail(shelves: Stock) -> None:
    """People of another operator than the steward learn which check is not well, and nothing of what it found: neither
    from the alert nor beside it."""
    desk = shelves.desk
    slot = checks.slot_of(desk.runtime.config, checks.VERIFY, desk.hands.now())
    desk.write("INSERT INTO job_run (job, slot, worker, started_at, finished_at, outcome) "
               "VALUES ('verify', :slot, 'w', :now, :now, 'failed: I-03 (2 rows)')",
               slot=slot, now=desk.hands.now())  # fmt: skip
    episodes.look(desk.runtime)
    assert "verify: the last verification failed: I-03 (2 rows)" in wrong_now(desk.sitting("admin").get(FIRST).text)
    line = wrong_now(desk.sitting(STRANGER).get(FIRST).text)
    assert "A check of the books or of the audit fails, or is late." in line
    assert "Not ready: verify." in line
    assert "I-03" not in line


def test_what_is_known_of_balances_is_said(shelves: Stock) -> None:
    """No word that they agree: nothing was compared, and how they are is said."""
    page = shelves.desk.sitting("viewer").get("/ops/providers/sim").text
    assert "No difference is known." in page
    assert "When one was last compared is not known: nothing of it is kept." in page
    assert "is what we have" not in page


def test_what_was_not_looked_for_is_not_said_to_be_lost(shelves: Stock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A comparison may have been told before the messages that a page looks through."""
    desk = shelves.desk
    monkeypatch.setattr(balances, "MESSAGES_AT_MOST", 1)
    for number in (1, 2):
        desk.write("INSERT INTO inbox (id, provider, message_id, kind, body, digest, peer, sent_at, received_at) "
                   "VALUES (:n, 'sim', :m, 'x', '{}', 'd', 'p', 1, 1)", n=number, m=f"m{number}")  # fmt: skip
        desk.write("INSERT INTO inbox_task (inbox_id, provider, state, reason, failures, handled_at) "
                   "VALUES (:n, 'sim', 'done', '', 0, 1)", n=number)  # fmt: skip
    page = desk.sitting("viewer").get("/ops/providers/sim").text
    assert "When one was last compared is not known: none is among the newest 1 message of all providers" in page
    assert "nothing of it is kept" not in page
    desk.write("INSERT INTO job_run (job, slot, worker, started_at, finished_at, outcome) "
               "VALUES ('sweep', 1, 'w', 1, 1, 'sim: 1 equal')")  # fmt: skip
    page = desk.sitting("viewer").get("/ops/providers/sim").text
    assert "The last comparison that is known was" in page


def test_that_more_balances_differ_is_said(shelves: Stock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody takes the oldest for all of them."""
    desk = shelves.desk
    monkeypatch.setattr(balances, "BREAKS_AT_MOST", 2)
    said = []
    for number in range(3):
        desk.write("INSERT INTO balance_break (id, operator_id, provider, player_id, currency, ours, theirs, told_by, "
                   "opened_at) VALUES (:id, :mine, 'sim', 'pat', :unit, 1, 2, 'sweep', :at)",
                   id=f"bb_{number}", mine=desk.operator, unit=("EUR", "USD", "JPY")[number], at=number)  # fmt: skip
        page = desk.sitting("viewer").get("/ops/providers/sim").text
        examine(page)
        said.append(" ".join(re.findall(r"The 2 oldest of \d+", page)))
    assert said == ["", "", "The 2 oldest of 3"]


def test_of_an_address_no_path_is_shown(shelves: Stock) -> None:
    """Some providers give each of their customers a path, and nobody else should know it."""
    providers = shelves.desk.runtime.config.providers
    providers["sim"] = providers["sim"].model_copy(update={"base_url": "https://pay.example:8443/k3y/"})
    page = shelves.desk.sitting("viewer").get("/ops/providers/sim").text
    assert "at https://pay.example:8443<" in page
    assert "k3y" not in page


def test_losses_are_told(shelves: Stock) -> None:
    """What was written off, once it is; nobody has to add it up from transfers."""
    viewer = shelves.desk.sitting("viewer")
    assert "Nothing is written off." in viewer.get("/ops/overview").text
    transfer_id = shelves.orphan("in", "house")
    proposal_id = shelves.propose(transfer_id, "write_off")
    approver = shelves.desk.sitting("approver")
    seen = re.findall(r'name="seen" value="([^"]+)"', approver.get(f"/ops/proposals/{proposal_id}").text)[0]
    assert (
        approver.post(f"/ops/proposals/{proposal_id}/approve", amount="10.00", reason="seen", seen=seen).status_code
        == 303
    )
    page = viewer.get("/ops/overview").text
    assert "10.00 EUR" in page.partition("Lost for good")[2].partition("</section>")[0]
    assert "Lost for good" in viewer.get("/ops/providers/sim").text


def test_the_name_of_a_process_is_not_broken(shelves: Stock) -> None:
    """A long one parts at its strokes alone."""
    for name, shown in (
        ("vm/24985/3ebf397a", '<span class="text-nowrap">vm/24985/3ebf397a</span>'),
        ("a-host.with-a-long-name.example/24985/3ebf397a",
         '>a-host.with-a-long-name.example</span>/<wbr><span class="text-nowrap">24985</span>/<wbr>'),
    ):  # fmt: skip
        shelves.desk.write("UPDATE job_line SET worker = :name, ended_at = 1 WHERE job = 'verify'", name=name)
        assert shown in shelves.desk.sitting("approver").get("/ops/jobs").text


def test_what_is_wrong_is_not_asked_anew_for_everybody(shelves: Stock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many look, every few seconds: what they are all told is found once in two seconds."""
    asked: list[int] = []
    monkeypatch.setattr(troubles, "found_wrong", lambda _runtime: asked.append(1) or [])
    viewer, other = shelves.desk.sitting("viewer"), shelves.desk.sitting("approver")
    for browser in (viewer, other, viewer):
        assert browser.get("/ops/overview/part").status_code == 200
    assert len(asked) == 1
    shelves.desk.hands.turn(2)
    viewer.get("/ops/overview/part")
    assert len(asked) == 2
