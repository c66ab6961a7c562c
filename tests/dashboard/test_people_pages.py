"""The people's pages: an admin vouches for what they were shown."""

from __future__ import annotations

import pytest

from bridge.desk import people
from bridge.models.desk import InvitationKind, Role
from tests.dashboard.stock import stock
from tests.dashboard.test_four_eyes_pages import hidden
from tests.dashboard.test_money_pages import examine
from tests.desk import crew
from tests.desk.crew import WHY
from tests.desk.test_invitations import admin, invited, join

CHANGED = {
    "role": lambda desk, ann, who: people.give_role(desk.runtime, ann, desk.operator, who, "approver"),
    "factors": lambda desk, ann, who: join(
        desk, people.link(desk.runtime, ann, desk.operator, who, InvitationKind.RESET)
    ),
    "state": lambda desk, ann, who: (
        people.disable(desk.runtime, ann, desk.operator, who), people.enable(desk.runtime, ann, desk.operator, who)
    ),
}


@pytest.mark.parametrize("change", CHANGED)
def test_nobody_vouches_for_what_they_were_not_shown(desk, change):
    """Issue 5 §2: Bob has a viewer before him; Ann makes an approver of them, or has somebody else choose their
    factors, and then Bob presses: he is told that it has changed, and nobody is vouched for."""
    bob, ann = crew.hire(desk.runtime, desk.operator, Role.ADMIN, "admin-bob"), admin(desk)
    join(desk, invited(desk, ann, role="viewer" if change == "role" else "approver"))
    who = desk.rows("SELECT id FROM person WHERE login = 'new'")[0]["id"]
    browser = crew.Browser(desk.app).sit(crew.seat(desk.runtime, bob)[0])
    path = f"/ops/people/{who}"
    fields = hidden(browser.get(path).text, path)
    desk.write("UPDATE person SET failures = 2, failing_since = 1, changed_at = 2 WHERE id = :id", id=who)
    assert hidden(browser.get(path).text, path) == fields, "a stranger's tries change nothing of it"
    CHANGED[change](desk, ann, who)
    refused = browser.post(f"{path}/vouch", reason=WHY, **fields)
    assert refused.status_code == 409
    assert "changed meanwhile" in refused.text
    assert not crew.person(desk.runtime, who).vouched
    assert browser.post(f"{path}/vouch", reason=WHY, **hidden(browser.get(path).text, path)).status_code == 303
    assert crew.person(desk.runtime, who).vouched


def test_nobody_is_offered_to_vouch_while_a_link_is_open(desk):
    """What would be refused is not offered."""
    bob, ann = crew.hire(desk.runtime, desk.operator, Role.ADMIN, "admin-bob"), admin(desk)
    join(desk, invited(desk, ann))
    who = desk.rows("SELECT id FROM person WHERE login = 'new'")[0]["id"]
    browser = crew.Browser(desk.app).sit(crew.seat(desk.runtime, bob)[0])
    assert f"/ops/people/{who}/vouch" in browser.get(f"/ops/people/{who}").text
    people.link(desk.runtime, ann, desk.operator, who, InvitationKind.RESET)
    assert f"/ops/people/{who}/vouch" not in browser.get(f"/ops/people/{who}").text


@pytest.mark.parametrize("act", ["role", "link", "disable", "enable", "vouch", ""])
def test_nothing_is_changed_without_a_reason(desk, act):
    """GLI-19 2.9.5: the page asks why, says what is wrong with it beside the field, and keeps what was typed."""
    who, browser = desk.people["viewer"].id, desk.sitting("admin")
    path = f"/ops/people/{who}" if act else "/ops/people"
    assert 'name="reason"' in browser.get(path).text
    before = desk.rows("SELECT * FROM person ORDER BY id"), desk.rows("SELECT * FROM invitation")
    form = {"role": "operator", "kind": "reset", "seen": "viewer 0", "login": "new", "name": "New", "reason": "ok"}
    refused = browser.post(f"{path}/{act}".rstrip("/"), **form)
    assert refused.status_code == 422
    assert "Must have 3 to 500 characters" in refused.text
    assert ">ok</textarea>" in refused.text
    assert (desk.rows("SELECT * FROM person ORDER BY id"), desk.rows("SELECT * FROM invitation")) == before


def test_what_somebody_did_can_be_followed(desk):
    """What a note is about leads there, its reason stands apart from it, and the table is as elsewhere."""
    shelves = stock(desk)
    transfer_id = shelves.orphan()
    proposal_id = shelves.propose(transfer_id, who="operator")
    desk.sitting("approver").post(f"/ops/proposals/{proposal_id}/reject", reason="saw it otherwise")
    page = desk.sitting("admin").get(f"/ops/people/{desk.people['approver'].id}")
    examine(page.text)
    assert f'href="/ops/proposals/{proposal_id}"' in page.text
    assert f"{proposal_id} saw it" not in page.text
    assert "saw it otherwise" in page.text
    page = desk.sitting("admin").get(f"/ops/people/{desk.people['operator'].id}").text
    assert f'href="/ops/transfers/{transfer_id}"' in page
    assert "desk-cards" in page
