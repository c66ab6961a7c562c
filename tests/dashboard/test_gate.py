"""Coming in, proving, joining and leaving as a browser does it; and that no secret is in any log."""

from __future__ import annotations

import base64
import html
import json
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest

from bridge.desk import people
from bridge.models.desk import InvitationKind
from tests.desk.authenticator import Authenticator
from tests.desk.crew import PASSWORD, SEED, WHY, Browser, code, token_of

NEW = "seven green herons dive"


def enter(desk: Any, browser: Browser, **changed: str) -> Any:
    """Fill in the gate's form and send it."""
    form = {"login": "approver-ann", "password": PASSWORD, "code": code(desk.runtime), "next": "/ops/account"}
    return browser.post("/ops/gate", on="/ops/gate", **{**form, **changed})


def test_from_the_gate_to_what_was_wanted_and_out_again(desk):
    """Security row 25: a cookie by coming in, none before; leaving ends it here and on the server."""
    browser = Browser(desk.app)
    came = enter(desk, browser)
    assert (came.status_code, came.headers["Location"]) == (303, "/ops/account")
    given = next(each for each in came.headers.getlist("Set-Cookie") if each.startswith("__Host-desk="))
    assert {word.strip() for word in given.split(";")[1:]} == {"Secure", "HttpOnly", "Path=/", "SameSite=Strict"}
    token = browser.cookie
    assert browser.get("/ops/account").status_code == 200
    assert browser.post("/ops/leave").headers["Location"] == "/ops/gate"
    assert browser.cookie is None
    assert Browser(desk.app).sit(token or "").get("/ops/account").status_code == 303


@pytest.mark.parametrize("changed", [{"password": "wrong wrong wrong"}, {"code": "000000"}, {"login": "nobody-here"}])
def test_the_page_says_the_same_whatever_was_wrong(desk, changed):
    """GLI-19 2.5.3 (d): byte for byte but for the token and what was typed."""
    pages = set()
    for given in (changed, {"password": "another wrong one"}):
        browser = Browser(desk.app)
        page = enter(desk, browser, **{"login": "approver-ann", **given})
        assert page.status_code == 403
        assert browser.cookie is None
        pages.add(re.sub(r"[0-9a-f]{64}|nobody-here|approver-ann", "", page.text))
    assert len(pages) == 1


def test_a_planted_cookie_is_worth_nothing(desk):
    """Security row 25 (session fixation): what an attacker put into the browser is not the sitting afterwards."""
    browser = Browser(desk.app).sit("planted")
    enter(desk, browser)
    assert browser.cookie not in (None, "planted")
    assert Browser(desk.app).sit("planted").get("/ops/account").status_code == 303
    first = browser.cookie
    desk.hands.turn(30)
    enter(desk, browser)
    assert browser.cookie != first
    assert Browser(desk.app).sit(first or "").get("/ops/account").status_code == 303


def test_who_sprays_is_told_to_wait(desk):
    """Security row 25: 429, with Retry-After, before anything is compared."""
    for number in range(30):
        assert enter(desk, Browser(desk.app), login=f"nobody-{number}").status_code == 403
    refused = enter(desk, Browser(desk.app))
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["Retry-After"]) <= 11
    assert "Too many tries" in refused.text


def test_a_page_that_asks_by_itself_keeps_nobody_awake(desk):
    """ASVS 7.3.1: a page left open that refreshes every five seconds ends with its person's silence."""
    browser = desk.sitting("viewer")
    for _ in range(14):
        desk.hands.turn(60)
        assert browser.get("/ops/account", X_Part="1").status_code == 200
    desk.hands.turn(61)
    assert browser.get("/ops/account", X_Part="1").status_code == 401


def test_what_was_wanted_is_done_after_the_proof(desk):
    """ASVS 7.5.3: the form is carried along, its secrets are not; a wrong code is told, a right one does it."""
    browser = desk.sitting("admin")
    desk.hands.turn(6 * 60)
    wanted = {"login": "new-one", "name": "<b>New</b>", "role": "viewer", "reason": WHY, "password": "a secret"}
    asked = browser.post("/ops/people", **wanted)
    assert asked.status_code == 403
    assert 'value="&lt;b&gt;New&lt;/b&gt;"' in asked.text
    assert "a secret" not in asked.text
    wrong = browser.post("/ops/people", token=token_of(asked), **wanted, prove_code="000000")
    assert wrong.status_code == 422
    done = browser.post("/ops/people", token=token_of(wrong), **wanted, prove_code=code(desk.runtime))
    assert done.status_code == 200
    assert "/ops/link/" in done.text
    assert desk.rows("SELECT name FROM person WHERE login = 'new-one'") == [{"name": "<b>New</b>"}]


def test_three_wrong_proofs_lead_to_the_gate(desk):
    """Whoever is at the browser has to come in again."""
    browser = desk.sitting("admin")
    desk.hands.turn(6 * 60)
    answers = [browser.post("/ops/prove", prove_code="000000", next="/ops/people") for _ in range(3)]
    assert [each.status_code for each in answers] == [422, 422, 303]
    assert answers[2].headers["Location"].startswith("/ops/gate")
    assert browser.get("/ops/account").status_code == 303


def test_a_link_leads_to_a_desk_of_ones_own(desk):
    """Issue 5 §3: join by a link: seed, code, password, recovery codes, and then one sits there."""
    link = people.add(desk.runtime, people.by_command(WHY), desk.operator, login="new", name="New", role="viewer")[1]
    browser, address = Browser(desk.app), f"/ops/link/{link}"
    page = browser.get(address)
    seed = re.sub(r"\s", "", re.search(r"desk-secret[^>]*>([^<]*)<", page.text)[1])
    assert html.unescape(re.search(r'href="(otpauth:[^"]*)"', page.text)[1]) == pyotp.TOTP(seed).provisioning_uri(
        name="new", issuer_name="Bridge desk"
    )
    offered = html.unescape(re.search(r'name="offered" value="([^"]*)"', page.text)[1])
    form = {"offered": offered, "code": code(desk.runtime, seed), "password": NEW, "again": NEW}
    for wrong in ({"again": "another"}, {"code": "000000"}, {"password": "short", "again": "short"}):
        refused = browser.post(address, on=address, **{**form, **wrong})
        assert refused.status_code == 422
        assert seed not in refused.text
    joined = browser.post(address, on=address, **form)
    assert joined.status_code == 200
    assert len(re.findall(r"<li>[a-z2-7]{4}(?:-[a-z2-7]{4}){3}</li>", joined.text)) == 10
    assert browser.get("/ops/account").status_code == 200
    assert browser.get(address).status_code == 404
    assert Browser(desk.app).post(address, on="/ops/gate", **form).status_code == 404


@pytest.mark.parametrize("kind", list(InvitationKind))
def test_a_link_ends_the_sitting_that_the_browser_had(desk, kind):
    """Security row 25 (session fixation): whoever sat at this browser, they do not afterwards, and an old cookie of it
    is worth nothing."""
    ann = desk.people["approver"]
    if kind == InvitationKind.JOIN:
        by = people.by_command(WHY)
        link = people.add(desk.runtime, by, desk.operator, login="new", name="New", role="viewer")[1]
    else:
        desk.write("UPDATE person SET locked_at = 1 WHERE id = :id", id=ann.id)
        link = people.link(desk.runtime, people.by_command(WHY), desk.operator, ann.id, kind)
    browser, address = desk.sitting("viewer"), f"/ops/link/{link}"
    before, page = browser.cookie, browser.get(address)
    if kind == InvitationKind.UNLOCK:
        form = {"password": PASSWORD, "code": code(desk.runtime)}
    else:
        seed = re.sub(r"\s", "", re.search(r"desk-secret[^>]*>([^<]*)<", page.text)[1])
        offered = html.unescape(re.search(r'name="offered" value="([^"]*)"', page.text)[1])
        form = {"offered": offered, "code": code(desk.runtime, seed), "password": NEW, "again": NEW}
    assert browser.post(address, token=token_of(page), **form).status_code in (200, 303)
    assert browser.cookie not in (None, before)
    assert Browser(desk.app).sit(before or "").get("/ops/account").status_code == 303


def test_a_locked_person_comes_in_by_a_link(desk):
    """GLI-19 2.5.3 (d): both factors to unlock."""
    for _ in range(3):
        enter(desk, Browser(desk.app), password="wrong wrong wrong")
    ann = desk.people["approver"].id
    admin = desk.sitting("admin")
    assert "locked" in admin.get("/ops/people").text
    made = admin.post(f"/ops/people/{ann}/link", kind=InvitationKind.UNLOCK.value, reason=WHY)
    address = re.search(r"http://localhost(/ops/link/[\w-]+)", made.text)[1]
    browser = Browser(desk.app)
    assert browser.post(address, on=address, password=PASSWORD, code="000000").status_code == 403
    came = browser.post(address, on=address, password=PASSWORD, code=code(desk.runtime))
    assert came.status_code == 303
    assert browser.get("/ops/account").status_code == 200


def test_a_passkey_is_made_shown_and_removed(desk):
    """Issue 5 §3: by the addresses that the page's script uses."""
    browser, passkey = desk.sitting("approver"), Authenticator()

    def send(who: Browser, path: str, on: str, **body: Any) -> Any:
        return who.client.post(path, data=json.dumps(body), content_type="application/json",
                               headers={"X-Form-Token": who.token(on)})  # fmt: skip

    options = send(browser, "/ops/account/passkeys/challenge", "/ops/account").json
    made = send(browser, "/ops/account/passkeys", "/ops/account", credential=passkey.make(options), label="my <i>key")
    assert made.status_code == 200, made.text
    assert "my &lt;i&gt;key" in browser.get("/ops/account").text
    other = Browser(desk.app)
    options = send(other, "/ops/gate/passkey/challenge", "/ops/gate").json
    came = send(other, "/ops/gate/passkey", "/ops/gate", credential=passkey.sign(options), next="//evil.example")
    assert came.json == {"next": "/ops"}
    assert other.get("/ops/account").status_code == 200
    desk.hands.turn(6 * 60)
    options = send(other, "/ops/prove/passkey/challenge", "/ops/account").json
    proved = send(other, "/ops/prove/passkey", "/ops/account", credential=passkey.sign(options))
    assert proved.status_code == 200
    gone = re.search(r'action="(/ops/account/passkeys/[^"]*/remove)"', other.get("/ops/account").text)[1]
    assert other.post(gone).status_code == 303
    assert desk.rows("SELECT removed_at FROM passkey")[0]["removed_at"] is not None


def test_a_password_is_changed_and_every_other_browser_is_out(desk):
    """ASVS 7.4.3 on the pages."""
    here, there = desk.sitting("viewer"), desk.sitting("viewer")
    wrong = here.post("/ops/account/password", old="not the password", password=NEW, again=NEW)
    assert wrong.status_code == 422
    done = here.post("/ops/account/password", old=PASSWORD, password=NEW, again=NEW)
    assert done.status_code == 303
    assert here.get("/ops/account").status_code == 200
    assert there.get("/ops/account").status_code == 303


def test_what_somebody_typed_runs_nowhere(desk):
    """ASVS 3.4: a name with a script in it is text, on every page that shows it."""
    script = "<script>alert(1)</script>"
    admin = desk.sitting("admin")
    admin.post("/ops/people", login="evil", name=script, role="viewer", reason=script)
    person_id = desk.rows("SELECT id FROM person WHERE login = 'evil'")[0]["id"]
    for path in ("/ops/people", f"/ops/people/{person_id}"):
        page = admin.get(path).text
        assert script not in page
        assert "&lt;script&gt;" in page
    refused = enter(desk, Browser(desk.app), login='"><script>alert(1)</script>')
    assert "<script>alert" not in refused.text


def test_bad_input_is_nobodys_fault_of_ours(desk, subtests):
    """Whatever is sent to any form is answered, and never by 5xx."""
    broken = "\ud800".encode("utf-8", "surrogatepass")
    payloads = ["\0", broken, "x" * 5000, "'; DROP TABLE person; --", "\u202e", "💰" * 99]
    for number, payload in enumerate(payloads):
        with subtests.test(payload=number):
            desk.write("DELETE FROM doorkeeper")
            browser = Browser(desk.app)
            token = browser.token("/ops/gate")
            for field in ("login", "password", "code", "next"):
                form = {"form_token": token, "login": "a-b", "password": "b", "code": "c", field: payload}
                assert browser.client.post("/ops/gate", data=form).status_code in (400, 403, 422)
            admin = desk.sitting("admin")
            for field in ("login", "name", "role"):
                form = {"login": "good", "name": "b", "role": "viewer", field: payload}
                assert admin.post("/ops/people", **form).status_code in (200, 400, 409, 422)
    assert desk.sitting("admin").get("/ops/people/%00").status_code in (400, 404)


def test_what_is_nested_without_end_is_refused_and_counted(desk):
    """Security row 25: 60 kB of brackets: no error of ours, and the doorkeeper counts it before it is read."""
    browser = Browser(desk.app)
    headers = {"X-Form-Token": browser.token("/ops/gate")}
    inner = base64.urlsafe_b64encode(b"[" * 40_000).decode().rstrip("=")
    bodies = ["[" * 60_000, json.dumps({"credential": {"id": "AAAA", "response": {"clientDataJSON": inner}}})]
    for number in range(30):
        sent = browser.client.post("/ops/gate/passkey", data=bodies[number % 2], headers=headers,
                                   content_type="application/json")  # fmt: skip
        assert sent.status_code == 422
    sent = browser.client.post("/ops/gate/passkey", data=bodies[0], headers=headers, content_type="application/json")
    assert sent.status_code == 429


@pytest.mark.parametrize("query", ["since=9999-12-31T23:59:59-14:00", "until=9999-12-31T23:59:59-14:00"])
def test_an_instant_beyond_every_calendar_is_refused(desk, query):
    """It is named, and breaks no page."""
    assert desk.sitting("viewer").get(f"/ops/audit?{query}").status_code in (200, 422)


@pytest.mark.parametrize(
    ("before", "wanted"),
    [("http://localhost/ops/people?page=2", "/ops/people?page=2"), ("http://localhost/ops/people", "/ops/people"),
     ("http://localhost/ops/proposals/x/approve", "/ops"), (None, "/ops"), ("http://[", "/ops"), ("/ops//x", "/ops"),
     ("https://evil.example/ops/people", "/ops/people")],
)  # fmt: skip
def test_behind_the_gate_is_the_page_from_which_a_form_was_sent(desk, before, wanted):
    """A form of a sitting that has ended leads through the gate to a page that can be looked at, on this desk."""
    browser = desk.nobody
    headers = {} if before is None else {"Referer": before}
    sent = browser.post("/ops/people", on="/ops/gate", headers=headers, login="new")
    assert sent.status_code == 303
    assert parse_qs(urlsplit(sent.headers["Location"]).query) == {"next": [wanted]}


def test_a_password_in_the_wrong_field_is_not_kept(desk):
    """ASVS 16.2.5: what cannot be a login is not written down as one; what can be is."""
    enter(desk, Browser(desk.app), login="My Secret! pass phrase")
    enter(desk, Browser(desk.app), login="nobody-here")
    assert [each["login"] for each in desk.notes("enter")] == ["(no login)", "nobody-here"]


def test_no_secret_is_in_any_log(desk, capfd):
    """ASVS 16.2.5: whatever is typed and shown at the desk, right or wrong, stands in no log line and in no note."""
    link = people.add(desk.runtime, people.by_command(WHY), desk.operator, login="new", name="New", role="viewer")[1]
    browser = Browser(desk.app)
    enter(desk, browser)
    enter(desk, Browser(desk.app), password="canary of a wrong password")
    enter(desk, Browser(desk.app), code="canary-of-a-code")
    browser.get(f"/ops/link/{link}")
    browser.post(f"/ops/link/{link}", password="canary of a wrong password", code="canary-of-a-code")
    browser.get("/ops/link/canary-of-a-link")
    desk.write("UPDATE person SET seed = 'broken'")
    desk.hands.turn(30)
    assert enter(desk, Browser(desk.app)).status_code == 503
    out, err = capfd.readouterr()
    told = out + err + repr(desk.rows("SELECT * FROM access_note"))
    assert "seed cannot be read" in told
    for secret in (PASSWORD, SEED, "canary", link, browser.cookie or "-", code(desk.runtime)):
        assert secret not in told
