"""The audit log's page: what a note names and leads to, the log as a file, and that somebody has reviewed it."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

import pytest

from bridge import reasons
from bridge.alerts import wording
from bridge.alerts.conditions import Kind
from bridge.desk import accesses, entering
from bridge.models.desk import Role
from bridge.money import THOUSANDS
from tests.dashboard.stock import Stock, stock
from tests.desk import crew
from tests.desk.crew import ADDRESS
from tests.desk.stand import STRANGER, Desk

FORMULA = '=HYPERLINK("http://192.0.2.9","pay")'
FOUND = "nothing but what I know of"


@pytest.fixture
def shelves(desk: Desk) -> Stock:
    """A player with money, and a provider that says nothing."""
    return stock(desk)


def taken(answer: Any) -> list[dict[str, str]]:
    """The lines of a file, by the names of its columns."""
    assert answer.content_type == "text/csv; charset=utf-8; header=present"
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


def entries(page: str) -> list[int]:
    """The numbers of the entries on a page."""
    return [int(number) for number in re.findall(r">entry (\d+)<", page)]


def test_a_note_about_a_proposal_leads_to_it_and_to_the_transfer(shelves: Stock) -> None:
    """GLI-19 2.9.5: an approval says which transfer, how much, and what it did to the player's accounts; so does a
    refused one, and all of them are found by the transfer."""
    desk, transfer_id = shelves.desk, shelves.orphan()
    proposal = shelves.propose(transfer_id)
    maker, checker = desk.sitting("operator"), desk.sitting("approver")
    assert maker.post(f"/ops/proposals/{proposal}/approve", amount="10.00", reason=FOUND).status_code == 403
    page = checker.get(f"/ops/proposals/{proposal}").text
    seen = re.search(r'name="seen" value="([^"]+)"', page)
    assert seen is not None
    form = {"seen": seen[1], "amount": "10.00", "reason": FOUND}
    assert checker.post(f"/ops/proposals/{proposal}/approve", **form).status_code == 303
    page = checker.get("/ops/audit?kind=approve").text
    assert f'href="/ops/transfers/{transfer_id}"' in page
    assert f'href="/ops/proposals/{proposal}"' in page
    assert f"confirm open; orphaned, 10.00 EUR of {transfer_id}; wallet:pat 990.00 EUR, game:sim:pat 0.00 EUR" in page
    assert f"confirm carried_out; confirmed, 10.00 EUR of {transfer_id}" in page
    assert "game:sim:pat 10.00 EUR" in page
    found = taken(checker.get(f"/ops/audit.csv?subject={transfer_id}"))
    assert [(each["kind"], each["outcome"]) for each in found] == [
        ("approve", "done"), ("access", "refused"), ("propose", "done"),
    ]  # fmt: skip
    assert {(each["transfer"], each["proposal"]) for each in found} == {(transfer_id, proposal)}


def test_what_was_tried_is_what_is_noted(desk: Desk) -> None:
    """Security §3.1 row 14: the address itself, in signs that can be seen, and no longer than a note keeps."""
    viewer = desk.sitting("viewer")
    transfer = f"tr_{'0' * 32}"
    assert viewer.get(f"/ops/transfers/{transfer}").status_code == 404
    assert viewer.get("/ops/players/%1b%5b2J%0a%e2%80%ae" + "x" * 900).status_code == 404
    assert viewer.post(f"/ops/transfers/{transfer}/propose", kind="confirm").status_code == 403
    tried = [each["subject"] for each in desk.notes("access")]
    assert tried == [
        f"GET /ops/transfers/{transfer}",
        ("GET /ops/players/?[2J??" + "x" * 900)[: accesses.LONGEST],
        f"POST /ops/transfers/{transfer}/propose",
    ]
    assert f'href="/ops/transfers/{transfer}"' in viewer.get("/ops/audit?kind=access").text


def test_a_reason_stands_whole_in_its_note(shelves: Stock) -> None:
    """GLI-19 2.9.5: a reason as long as one may be, to its last word: of what was done about money, a job, a provider
    and a person, of what was refused, and where another note says what was there before."""
    desk, transfer_id = shelves.desk, shelves.orphan()
    why = "why".ljust(reasons.MOST - 4, ".") + " end"
    proposal = shelves.propose(transfer_id, reason=why)
    admin, operator, approver = (desk.sitting(who) for who in ("admin", "operator", "approver"))
    path = f"/ops/proposals/{proposal}"
    seen = re.search(r'name="seen" value="([^"]+)"', approver.get(path).text)
    assert seen is not None
    assert approver.post(f"{path}/approve", seen=seen[1], amount="10.01", reason=f"\n {why}").status_code == 422
    assert approver.post(f"{path}/approve", seen=seen[1], amount="10.00", reason=why).status_code == 303
    rejected, withdrawn = (shelves.propose(shelves.orphan()) for _ in range(2))
    assert approver.post(f"/ops/proposals/{rejected}/reject", reason=why).status_code == 303
    assert operator.post(f"/ops/proposals/{withdrawn}/withdraw", reason=why).status_code == 303
    assert operator.post("/ops/jobs/verify/pause", reason=why).status_code == 303
    assert operator.post("/ops/jobs/verify/resume").status_code == 303
    assert operator.post("/ops/providers/sim/pause", reason=why).status_code == 303
    switch = re.search(r'name="seen" value="([^"]+)"', operator.get("/ops/providers/sim").text)
    assert switch is not None
    assert operator.post("/ops/providers/sim/resume", reason=why, seen=switch[1]).status_code == 303
    assert admin.post(f"/ops/people/{desk.people['viewer'].id}/role", role="operator", reason=why).status_code == 303
    for kind in ("propose", "approve", "reject", "withdraw", "pause job", "pause provider", "resume provider", "role"):
        assert why in [note["reason"] for note in desk.notes(kind)], kind
    assert [note["reason"] for note in desk.notes("approve")] == [why, why]
    for kind in ("resume job", "resume provider"):
        assert [note["before"].endswith(f": {why}") for note in desk.notes(kind)] == [True], kind


def test_what_can_be_noted_can_be_chosen(desk: Desk) -> None:
    """The kinds of notes are a choice; what is none is refused by name, and what is chosen is shown alone."""
    browser = desk.sitting("admin")
    page = browser.get("/ops/audit").text
    options = re.search(r'<select[^>]* name="kind">(.*?)</select>', page, re.DOTALL)
    assert options is not None
    assert re.findall(r'value="([^"]+)"', options[1]) == list(accesses.KINDS)
    browser.get("/ops/transfers/tr_none")
    browser.get("/ops/orphans.csv")
    assert len(entries(browser.get("/ops/audit?kind=export").text)) == 1
    refused = browser.get("/ops/audit?kind=exp")
    assert refused.status_code == 422
    assert "kind" in refused.text


def test_whom_a_note_is_about(desk: Desk) -> None:
    """By name on the page, and found by login."""
    admin = desk.sitting("admin")
    who = desk.people["viewer"]
    admin.post(f"/ops/people/{who.id}/role", role="operator", reason=crew.WHY)
    page = admin.get(f"/ops/audit?subject={who.login}").text
    assert entries(page)
    assert who.name in page
    assert who.id not in re.sub(r"<option[^>]*>", "", page)
    assert crew.WHY in page
    assert "viewer, vouched for → operator, not vouched for" in page


@pytest.mark.parametrize("role", list(Role))
def test_the_link_of_a_locked_login_leads_everybody_to_whose_it_is(desk: Desk, role: Role) -> None:
    """GLI-19 B.2.3: the alert names nobody; whoever is on call, admin or not, sees by its link whose login it is, and
    from where the last try came."""
    whom = desk.people["approver" if role is Role.VIEWER else "viewer"]
    for place in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
        with pytest.raises(entering.NotLetIn):
            entering.by_password(desk.runtime, login=whom.login, password="not it", code="000000", address=place)
    page = desk.sitting(role.value).get(f"/ops/{wording.PAGES[Kind.LOCKED]}")
    assert page.status_code == 200
    assert len(entries(page.text)) == 1
    rows = re.sub(r"<option.*?</option>", "", page.text)
    assert whom.name in rows
    assert "192.0.2.3" in rows


def test_the_log_as_a_file(desk: Desk) -> None:
    """Safe against formulas, of this operator alone, with every column; and that it was taken is noted."""
    for login, kind in (("charlie", "enter"), (FORMULA, "enter")):
        desk.write("INSERT INTO access_note (at, operator_id, login, kind, outcome, subject, address) "
                   "VALUES (:at, :op, :login, :kind, 'refused', :login, :address)", at=desk.hands.now(), kind=kind,
                   op=desk.operator if login == FORMULA else desk.other, login=login, address=ADDRESS)  # fmt: skip
    admin = desk.sitting("admin")
    admin.get("/ops/transfers/tr_none")
    found = taken(admin.get("/ops/audit.csv"))
    assert [each["kind"] for each in found] == ["export", "access", "enter"]
    assert found[2]["login"] == found[2]["about"] == f"'{FORMULA}"
    assert (found[1]["login"], found[1]["outcome"]) == ("admin-ann", "refused")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", found[1]["at"])
    (note,) = desk.notes("export")
    assert (note["subject"], note["person_id"]) == ("audit.csv", desk.people["admin"].id)
    assert [each["kind"] for each in taken(admin.get("/ops/audit.csv?kind=access"))] == ["access"]


def test_amounts_in_the_file_are_as_programs_read_them(shelves: Stock) -> None:
    """In what a note says of before and after too: the page alone has thousands apart."""
    transfer_id = shelves.orphan(amount="1000.00")
    shelves.propose(transfer_id)
    viewer = shelves.desk.sitting("viewer")
    assert f"1{THOUSANDS}000.00 EUR of {transfer_id}" in viewer.get("/ops/audit?kind=propose").text
    (found,) = taken(viewer.get("/ops/audit.csv?kind=propose"))
    assert found["before"] == f"orphaned, 1000.00 EUR of {transfer_id}"


def test_the_log_as_a_file_goes_on_behind_a_piece(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every entry once, however many pieces they are read in."""
    monkeypatch.setattr("bridge.views.audit_log.PIECE", 2)
    viewer = desk.sitting("viewer")
    for number in range(5):
        viewer.get(f"/ops/transfers/tr_{number}")
    found = taken(viewer.get("/ops/audit.csv"))
    assert [each["about"] for each in found] == ["audit.csv", *(f"GET /ops/transfers/tr_{n}" for n in range(4, -1, -1))]


# --- reviews ------------------------------------------------------------------------------------------


def form_of(page: str) -> dict[str, str]:
    """What the form of a page to review brings back of it."""
    return dict(re.findall(r'name="(up_to|shown)" value="(\d+)"', page))


def test_reviewed_up_to_here(desk: Desk) -> None:
    """GLI-19 B.6.5: who reviewed the log, when, up to which entry, and what they found; shown on both pages, and once
    reviewed so far it is not reviewed so far again."""
    viewer = desk.sitting("viewer")
    for number in range(3):
        viewer.get(f"/ops/transfers/tr_{number}")
    page = viewer.get("/ops/audit/review").text
    assert "Nobody has said yet that they have reviewed this log." in page
    form, up_to = form_of(page), max(entries(page))
    assert form == {"up_to": str(up_to), "shown": "3"}
    assert viewer.post("/ops/audit/review", **form, reason=FOUND).headers["Location"] == "/ops/audit"
    (note,) = desk.notes("review")
    assert (note["person_id"], note["reason"], note["before"]) == (desk.people["viewer"].id, FOUND, None)
    assert re.fullmatch(rf"up to entry {up_to} of [-\d]+ [:\d]+ UTC, 3 since the review before", note["after"])
    for path in ("/ops/audit", "/ops/audit/review"):
        page = viewer.get(path).text
        assert f"Up to entry {up_to} by Viewer-Ann" in page
        assert FOUND in page
        assert "1\u00a0entry came in since" in page or "1 entry came in since" in page
    again = viewer.post("/ops/audit/review", **form, reason=FOUND)
    assert again.status_code == 409
    assert f"reviewed up to entry {up_to} already" in again.text
    assert form_of(page) == {"up_to": str(note["id"]), "shown": "1"}
    assert viewer.post("/ops/audit/review", **form_of(page), reason="I was there").status_code == 303
    assert desk.notes("review")[1]["before"] == f"up to entry {up_to}"
    assert "1 since the review before" in desk.notes("review")[1]["after"]


def test_a_review_goes_page_by_page(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """GLI-19 B.6.5: the oldest first, each entry on exactly one page, however old it is, and on to the next page until
    the last; another operator's are on none."""
    monkeypatch.setattr("bridge.views.audit_log.PAGE", 3)
    viewer, stranger = desk.sitting("viewer"), desk.sitting(STRANGER)
    for number in range(7):
        (viewer if number else stranger).get(f"/ops/transfers/tr_{number}")
        viewer.get(f"/ops/transfers/tr_{number}")
        desk.hands.turn(600)
    desk.hands.turn(90 * 86_400)
    written = [each["id"] for each in desk.notes("access") if each["operator_id"] == desk.operator]
    viewer, seen, went = desk.sitting("viewer"), list[int](), "/ops/audit/review"
    while went == "/ops/audit/review":
        page = viewer.get(went).text
        seen += entries(page)
        went = viewer.post("/ops/audit/review", **form_of(page), reason=FOUND).headers["Location"]
    assert seen[: len(written)] == written
    reviewed = [each["id"] for each in desk.notes("review")]
    assert seen[len(written) :] == reviewed[: len(seen) - len(written)]


def test_nobody_signs_what_was_not_shown(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """GLI-19 B.6.5: no page of the log itself can be signed, for it may be narrowed, and continue behind another. A
    form that was shown fewer entries than it takes in, because a transaction was still under way for instance, is
    refused by name, and what it takes in is shown; so is one that takes in more than a page can show."""
    viewer = desk.sitting("viewer")
    for number in range(4):
        viewer.get(f"/ops/transfers/tr_{number}")
    for path in ("/ops/audit", "/ops/audit?since=2027-01-01T00:00", "/ops/audit?until=2100-01-01T00:00"):
        assert 'name="up_to"' not in viewer.get(path).text
    newest = desk.notes("access")[-1]["id"]

    def write(number: int) -> None:
        desk.write("INSERT INTO access_note (id, at, operator_id, kind, outcome, address) "
                   "VALUES (:id, :at, :op, 'enter', 'refused', :address)", id=number, at=desk.hands.now(),
                   op=desk.operator, address=ADDRESS)  # fmt: skip

    write(newest + 20)
    form = form_of(viewer.get("/ops/audit/review").text)
    assert form == {"up_to": str(newest + 20), "shown": "5"}
    write(newest + 10)
    refused = viewer.post("/ops/audit/review", **form, reason=FOUND)
    assert refused.status_code == 422
    assert "Up to takes in 6 entries that nobody has reviewed, and 5 were shown: look again" in refused.text
    assert newest + 10 in entries(refused.text)
    assert FOUND in refused.text
    monkeypatch.setattr("bridge.views.audit_log.PAGE", 5)
    refused = viewer.post("/ops/audit/review", up_to=form["up_to"], shown=6, reason=FOUND)
    assert "Up to takes in 6 entries that nobody has reviewed, and 5 were shown: look again" in refused.text
    refused = viewer.post("/ops/audit/review", up_to=form["up_to"], reason=FOUND)
    assert refused.status_code == 422
    assert "Shown says not how many entries were" in refused.text
    assert desk.notes("review") == []
    assert viewer.post("/ops/audit/review", **form_of(refused.text), reason=FOUND).status_code == 303


def test_what_is_no_review(desk: Desk) -> None:
    """An entry of another operator is as little one of this log as one that never was; and a review says what was
    found."""
    desk.sitting(STRANGER).get("/ops/transfers/tr_none")
    theirs = desk.rows("SELECT MAX(id) AS id FROM access_note")[0]["id"]
    viewer = desk.sitting("viewer")
    viewer.get("/ops/transfers/tr_none")
    ours = desk.rows("SELECT MAX(id) AS id FROM access_note")[0]["id"]
    for number in (theirs, ours + 1, 0, "", "x", "9" * 30):
        refused = viewer.post("/ops/audit/review", up_to=number, shown=1, reason=FOUND)
        assert refused.status_code == 422
        assert "Up to is no entry of this log" in refused.text
    refused = viewer.post("/ops/audit/review", up_to=ours, shown=1, reason="ok")
    assert refused.status_code == 422
    assert "Must have 3 to 500 characters" in refused.text
    assert desk.notes("review") == []
    assert "Nobody has said yet" in desk.sitting(STRANGER).get("/ops/audit").text
