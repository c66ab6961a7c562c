"""Four eyes on pages: one proposes, another approves what was shown, having typed the amount; and many at once."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest

from bridge.evidence import Answer
from tests.dashboard.stock import WHY, Stock, stock
from tests.dashboard.test_money_pages import examine
from tests.desk.stand import Desk


@pytest.fixture
def shelves(desk: Desk) -> Stock:
    """The desk with a player and a provider."""
    return stock(desk)


def hidden(text: str, action: str) -> dict[str, Any]:
    """The hidden fields of the form that goes to an address; those that stand several times as lists."""
    form = re.search(rf'<form method="post" action="{re.escape(action)}"[^>]*>(.*?)</form>', text, re.DOTALL)
    assert form is not None, text
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form[1]):
        found.setdefault(name, []).append(html.unescape(value))
    return {name: values[0] if len(values) == 1 else values for name, values in found.items() if name != "form_token"}


def proposed_by_form(shelves: Stock, transfer_id: str, kind: str, who: str = "operator", **query: str) -> Any:
    """Somebody opens the form of a decision and sends it; the answer."""
    browser = shelves.desk.sitting(who)
    path = f"/ops/transfers/{transfer_id}/propose"
    page = browser.client.get(path, query_string={"kind": kind, **query})
    return browser.post(path, reason=WHY, **hidden(page.text, path))


def test_from_proposal_to_ledger(shelves: Stock) -> None:
    """I-54 C-77 A maker proposes and cannot approve; a checker types the amount and approves; ledger, case and story
    agree."""
    desk, transfer_id = shelves.desk, shelves.orphan()
    answer = proposed_by_form(shelves, transfer_id, "confirm", "approver")
    assert answer.status_code == 303
    address = answer.headers["Location"]
    maker = desk.sitting("approver")
    own = maker.get(address).text
    assert "somebody else has to approve it" in own
    assert f"{address}/approve" not in own
    refused = maker.post(f"{address}/approve", amount="10.00", reason="mine", seen="x")
    assert refused.status_code == 403
    checker = second_approver(desk)
    page = checker.get(address).text
    examine(page)
    assert "Everything that matters is as it was proposed." in page
    fields = hidden(page, f"{address}/approve")
    before = desk.rows("SELECT * FROM posting ORDER BY id")
    for amount in ("", "10.01", "1000", "ten", "-10.00", "10.000"):
        wrong = checker.post(f"{address}/approve", amount=amount, reason="seen it", **fields)
        assert wrong.status_code == 422, amount
        examine(wrong.text)
    assert checker.post(f"{address}/approve", amount="10.00", reason="", **fields).status_code == 422
    assert checker.post(f"{address}/approve", amount="10.00", reason="seen it", seen="other").status_code == 409
    assert desk.rows("SELECT * FROM posting ORDER BY id") == before
    assert checker.post(f"{address}/approve", amount=" 10.00 EUR ", reason="seen it", **fields).status_code == 303
    posted = desk.rows("SELECT debit, credit, amount FROM posting WHERE transfer_id = :id ORDER BY id", id=transfer_id)
    assert posted[-1] == {"debit": "custody:sim", "credit": "game:sim:pat", "amount": 1000}
    assert shelves.state(transfer_id) == "confirmed"
    story = checker.get(f"/ops/transfers/{transfer_id}").text
    for told in ("Approver-Ann proposed to confirm it", "Checker approved the proposal", "Case: proposed → closed"):
        assert told in story
    assert "10.00 EUR has left pat&#39;s wallet and is in pat&#39;s balance at sim." in story
    again = checker.post(f"{address}/approve", amount="10.00", reason="seen it", **fields)
    assert again.status_code in (303, 409)
    assert len(desk.rows("SELECT * FROM decision")) == 1


def second_approver(desk: Desk, name: str = "checker") -> Any:
    """A browser of another approver."""
    from bridge.models.desk import Role
    from tests.desk import crew
    from tests.desk.crew import Browser

    if name not in desk.people:
        desk.people[name] = crew.hire(desk.runtime, desk.operator, Role.APPROVER, name)
    token, _ = crew.seat(desk.runtime, crew.person(desk.runtime, desk.people[name].id))
    return Browser(desk.app).sit(token)


def test_a_split_names_two_amounts(shelves: Stock) -> None:
    """Two amounts that are the whole: first looked at, then proposed; others are refused by name."""
    transfer_id = shelves.orphan()
    path = f"/ops/transfers/{transfer_id}/propose"
    operator = shelves.desk.sitting("operator")
    for arrived, returned in (("6.00", "5.00"), ("0", "10.00"), ("6.00", ""), ("x", "4.00"), ("6.001", "3.999")):
        page = operator.client.get(path, query_string={"kind": "split", "arrived": arrived, "returned": returned}).text
        assert 'method="post" action="/ops/transfers' not in page, (arrived, returned)
        assert "is-invalid" in page
        examine(page)
    answer = proposed_by_form(shelves, transfer_id, "split", arrived="6.00", returned="4.00")
    page = operator.get(answer.headers["Location"]).text
    assert "6.00 EUR arrived, 4.00 EUR returned." in page
    for posting in ('custody:sim</span> → <span class="font-monospace">game:sim:pat', "wallet:pat"):
        assert posting in page


def test_what_has_changed_is_not_approved(shelves: Stock) -> None:
    """I-54 Security 27: a new word of the provider between proposal and approval: the page says what changed, offers no
    approval, and one that is sent nevertheless moves nothing."""
    transfer_id = shelves.orphan("in", "house")
    address = proposed_by_form(shelves, transfer_id, "confirm").headers["Location"]
    checker = second_approver(shelves.desk)
    fields = hidden(checker.get(address).text, f"{address}/approve")
    shelves.tell(transfer_id, answer=Answer.CANCELLED, sequence=None, provider_reference="W-77")
    page = checker.get(address).text
    assert "It cannot be carried out as it was proposed" in page
    assert f'action="{address}/approve"' not in page
    before = shelves.desk.rows("SELECT * FROM posting ORDER BY id")
    late = checker.post(f"{address}/approve", amount="10.00", reason="seen it", **fields)
    assert late.status_code == 409
    assert shelves.desk.rows("SELECT * FROM posting ORDER BY id") == before


def test_rejected_and_withdrawn(shelves: Stock) -> None:
    """Another says no, or the maker takes it back: nothing is posted, the orphan is open again."""
    transfer_id = shelves.orphan()
    before = shelves.desk.rows("SELECT * FROM posting ORDER BY id")
    address = proposed_by_form(shelves, transfer_id, "reverse").headers["Location"]
    checker, maker = second_approver(shelves.desk), shelves.desk.sitting("operator")
    assert checker.post(f"{address}/reject", reason="").status_code == 422
    assert checker.post(f"{address}/reject", reason="their log says otherwise").status_code == 303
    assert "their log says otherwise" in maker.get(address).text
    again = proposed_by_form(shelves, transfer_id, "reverse").headers["Location"]
    assert second_approver(shelves.desk).post(f"{again}/withdraw", reason="not mine").status_code == 403
    assert maker.post(f"{again}/withdraw", reason="I was wrong").status_code == 303
    states = [row["state"] for row in shelves.desk.rows("SELECT state FROM proposal ORDER BY id")]
    assert states == ["rejected", "withdrawn"]
    assert shelves.desk.rows("SELECT * FROM posting ORDER BY id") == before
    assert shelves.desk.rows("SELECT state FROM orphan_case") == [{"state": "open"}]


def test_a_word_that_counts_again_can_be_given_again(build_desk: Any) -> None:
    """I-54 Two are needed; the first one's word did not count when the second approved, and does by now: the page says
    so, and whoever of them approves once more carries it out, once."""
    desk = build_desk(two_checkers_above={"EUR": "5.00"})
    shelves = stock(desk)
    transfer_id = shelves.orphan()
    address = proposed_by_form(shelves, transfer_id, "confirm").headers["Location"]

    def says(browser: Any) -> None:
        fields = hidden(browser.get(address).text, f"{address}/approve")
        assert browser.post(f"{address}/approve", amount="10.00", reason="seen it", **fields).status_code == 303

    anna, alma = second_approver(desk, "anna"), second_approver(desk, "alma")
    says(anna)
    desk.write("UPDATE person SET role = 'operator' WHERE login = 'anna'")
    says(alma)
    page = alma.get(address).text
    assert "1 person has still to approve it" in page
    assert "(does not count at present)" in page
    assert f'action="{address}/approve"' not in page
    desk.write("UPDATE person SET role = 'approver' WHERE login = 'anna'")
    page = anna.get(address).text
    examine(page)
    assert "Enough people have approved it" in page
    assert f'action="{address}/reject"' not in page
    says(anna)
    assert shelves.state(transfer_id) == "confirmed"
    assert len(desk.rows("SELECT * FROM decision")) == 1


def test_asking_again_needs_nobody_else(shelves: Stock) -> None:
    """The provider is asked at once; its answer is proof by the same door as ever."""
    transfer_id = shelves.orphan()
    shelves.one.speaks = True
    shelves.desk.hands.turn(2)
    path = f"/ops/transfers/{transfer_id}"
    operator = shelves.desk.sitting("operator")
    fields = hidden(operator.get(f"{path}/propose?kind=ask_again").text, f"{path}/ask")
    assert operator.post(f"{path}/ask", reason="", **fields).status_code == 422
    answer = operator.post(f"{path}/ask", reason="they say that it is repaired", **fields)
    assert (answer.status_code, answer.headers["Location"]) == (303, path)
    assert shelves.state(transfer_id) == "confirmed"


def test_several_at_once(shelves: Stock) -> None:
    """C-77 Several orphans are looked at with their sum, proposed, approved with the sum typed; each has a report, and
    one that cannot be does not stop the others."""
    desk = shelves.desk
    chosen = [shelves.orphan(), shelves.orphan("out"), shelves.orphan("in", "custody", "2.50")]
    shelves.propose(chosen[1], "reverse", "approver")
    operator = desk.sitting("operator")
    query = "&".join(f"transfer={each}" for each in chosen)
    page = operator.get(f"/ops/many/propose?kind=confirm&{query}").text
    examine(page)
    assert "<strong>12.50 EUR</strong>" in page
    assert "Approver-Ann has proposed to reverse it already." in page
    fields = hidden(page, "/ops/many/propose")
    assert operator.post("/ops/many/propose", reason="no", **fields).status_code == 422
    fields["transfer"], fields["seen"] = fields["transfer"] + ["tr_x"], fields["seen"] + ["y"]
    report = operator.post("/ops/many/propose", reason=WHY, **fields).text
    examine(report)
    assert "2 of 3 proposed" in report
    assert "There is no such transfer." in report
    proposals = [row["id"] for row in desk.rows("SELECT id FROM proposal WHERE state = 'open' ORDER BY id")]
    assert len(proposals) == 3
    checker = second_approver(desk)
    page = checker.get("/ops/many/approve?" + "&".join(f"proposal={each}" for each in proposals)).text
    examine(page)
    fields = hidden(page, "/ops/many/approve")
    wrong = checker.post("/ops/many/approve", reason="seen all", sum_EUR="22.51", **fields)
    assert wrong.status_code == 422
    assert "Is not the amount that is at stake" in wrong.text
    assert desk.rows("SELECT * FROM decision") == []
    report = checker.post("/ops/many/approve", reason="seen all", sum_EUR="22.50", **fields).text
    assert "3 of 3 approved" in report
    assert "<strong>22.50 EUR</strong>" in report
    assert [shelves.state(each) for each in chosen] == ["confirmed", "reversed", "confirmed"]
    again = checker.post("/ops/many/approve", reason="seen all", sum_EUR="22.50", **fields).text
    assert "0 of 3 approved" in again


def test_what_was_typed_wrong_is_noted_as_refused(shelves: Stock) -> None:
    """I-54 GLI-19 B.6.5: every act leaves a note, also one that a wrong amount, sum or part of a split refused, each
    beside what it was about, saying what was wrong."""
    desk, transfers = shelves.desk, [shelves.orphan(), shelves.orphan()]
    maker, path = desk.sitting("operator"), f"/ops/transfers/{transfers[0]}/propose"
    assert maker.post(path, kind="split", arrived="6.00", returned="x", reason=WHY, seen="y").status_code == 422
    addresses = [proposed_by_form(shelves, each, "confirm").headers["Location"] for each in transfers]
    ids = [each.rpartition("/")[2] for each in addresses]
    checker = second_approver(desk)
    fields = hidden(checker.get(addresses[0]).text, f"{addresses[0]}/approve")
    assert checker.post(f"{addresses[0]}/approve", amount="10.01", reason="seen it", **fields).status_code == 422
    page = checker.get("/ops/many/approve?" + "&".join(f"proposal={each}" for each in ids)).text
    fields = hidden(page, "/ops/many/approve")
    assert checker.post("/ops/many/approve", reason="seen all", sum_EUR="1", **fields).status_code == 422
    refused = [(each["subject"], each["reason"]) for each in desk.notes("approve") if each["outcome"] == "refused"]
    assert sorted(refused) == sorted([(ids[0], "seen it"), *((each, "seen all") for each in ids)])
    assert {each["after"] for each in desk.notes("approve")} == {
        "invalid: amount is not the amount that is at stake: look again",
        "invalid: sum_EUR is not the amount that is at stake: look again",
    }
    (split,) = (each for each in desk.notes("propose") if each["outcome"] == "refused")
    assert split["subject"] == transfers[0]
    assert "returned" in split["after"]
    story = checker.get(f"/ops/transfers/{transfers[0]}").text
    assert "Checker wanted to approve the proposal, and was refused" in story
    assert "refused because: amount is not the amount that is at stake: look again" in story


def test_several_are_offered_by_the_rule_of_one(build_desk: Any) -> None:
    """I-54 What one has proposed or approved already is not among what one is asked to approve, nor in its sum."""
    desk = build_desk(two_checkers_above={"EUR": "5.00"})
    shelves = stock(desk)
    addresses = [proposed_by_form(shelves, shelves.orphan(), "confirm", who).headers["Location"]
                 for who in ("operator", "approver", "operator")]  # fmt: skip
    approver = desk.sitting("approver")
    fields = hidden(approver.get(addresses[0]).text, f"{addresses[0]}/approve")
    assert approver.post(f"{addresses[0]}/approve", amount="10.00", reason="seen it", **fields).status_code == 303
    ids = [each.rpartition("/")[2] for each in addresses]
    page = approver.get("/ops/many/approve?" + "&".join(f"proposal={each}" for each in ids)).text
    examine(page)
    assert hidden(page, "/ops/many/approve")["proposal"] == ids[2]
    assert "<strong>10.00 EUR</strong>" in page
    assert "you have approved it already" in page
    assert "you proposed it yourself" in page


def test_nothing_is_chosen_that_is_anothers(shelves: Stock) -> None:
    """Proposals of others are not there; a form that does not fit together is refused."""
    checker = second_approver(shelves.desk)
    assert checker.get("/ops/many/approve?proposal=pr_x").status_code == 404
    assert checker.post("/ops/many/approve", proposal=["pr_x"], seen=["a", "b"], reason=WHY).status_code == 422
    assert checker.post("/ops/many/propose", transfer=["tr_x"], seen=["a"], kind="split", reason=WHY).status_code == 422
