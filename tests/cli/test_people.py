"""`people`: the first admin is made by a command, and what the command line does it does for good."""

from __future__ import annotations

import os
import pwd
import re
from typing import Any

import pyotp
import pytest
from sqlalchemy import text

from bridge import db
from bridge.app import compose, create_app
from bridge.config import Config
from bridge.sections import DatabaseSection, DeskSection
from tests.cli.conftest import written
from tests.desk.crew import SECRET, Browser

NEW = "seven green herons dive"
WHY = ("--reason", "she begins on Monday")


@pytest.fixture
def place(folder: Any, migrated_url: str) -> Any:
    """A folder whose bridge.toml has a desk, on a migrated database with an operator."""
    configure(folder, migrated_url)
    folder.did("operators", "add", "demo")
    return folder


def configure(folder: Any, url: str, *lines: str) -> None:
    """Write a bridge.toml with a desk."""
    desk = lines or (f'secret = "{SECRET}"',)
    folder.configure("\n".join([written(url, "http://127.0.0.1:9"), "[desk]", *desk]))


def opened(url: str) -> Browser:
    """A browser before the same database."""
    return Browser(create_app(compose(config(url))))


def config(url: str) -> Config:
    """The configuration of a desk on a database."""
    return Config(database=DatabaseSection(url=url), desk=DeskSection(secret=SECRET))


def token(said: str) -> str:
    """The secret of the one link that a command printed."""
    (found,) = re.findall(r"^http://localhost:8080/ops/link/([\w-]{43})$", said, re.MULTILINE)
    return found


def join(browser: Browser, link: str) -> Any:
    """Join by a link, as a browser does."""
    page = browser.get(f"/ops/link/{link}").text
    seed = re.sub(r"\s", "", re.search(r"desk-secret[^>]*>([^<]*)<", page)[1])
    offered = re.search(r'name="offered" value="([^"]*)"', page)[1]
    form = {"offered": offered, "code": pyotp.TOTP(seed).now(), "password": NEW, "again": NEW}
    return browser.post(f"/ops/link/{link}", on=f"/ops/link/{link}", **form)


def test_the_first_admin_is_made_by_a_command(place, migrated_url):
    """Issue 5 §3: never a default password: a link, printed once, by which the admin chooses both factors; nobody has
    to vouch for whom the command line made."""
    said = place.did("people", "add", "Ann", "--operator", "demo", "--name", "Ann Smith", *WHY)
    assert "within 24 hours" in said
    browser = opened(migrated_url)
    assert join(browser, token(said)).status_code == 200
    page = browser.get("/ops/people")
    assert page.status_code == 200
    assert "Ann Smith" in page.text
    listed = place.did("people", "list")
    assert re.search(r"^ann +demo +Ann Smith +admin +active +yes ", listed, re.MULTILINE)
    assert token(said) not in listed


def test_a_newer_link_is_the_only_one(place, migrated_url):
    """`people link` withdraws what was printed before."""
    first = token(place.did("people", "add", "ann", "--operator", "demo", "--role", "viewer", *WHY))
    second = token(place.did("people", "link", "ann", "--kind", "join", *WHY))
    browser = opened(migrated_url)
    assert browser.get(f"/ops/link/{first}").status_code == 404
    assert join(browser, second).status_code == 200


def test_the_command_line_may_what_no_admin_may(place, migrated_url):
    """Role, disabling and enabling even of the last admin; each is written down as done there."""
    browser = opened(migrated_url)
    join(browser, token(place.did("people", "add", "ann", "--operator", "demo", *WHY)))
    assert "has the role viewer" in place.did("people", "role", "ann", "viewer", *WHY)
    assert browser.get("/ops/account").status_code == 303, "the sitting has ended"
    place.did("people", "disable", "ann", *WHY)
    assert " disabled " in place.did("people", "list", "--operator", "demo")
    place.did("people", "enable", "ann", *WHY)
    assert place.refused("people", "vouch", "ann", *WHY) == "This person needs no voucher."


def test_who_gives_a_role_is_told_that_nobody_has_vouched(place, migrated_url):
    """Issue 5 §2: the command line's role vouches for nobody whom one admin let in, and names the command that does."""
    browser = opened(migrated_url)
    join(browser, token(place.did("people", "add", "ann", "--operator", "demo", *WHY)))
    page = browser.post("/ops/people", login="bob", name="Bob", role="viewer", reason="he begins too").text
    join(opened(migrated_url), re.search(r"/ops/link/([\w-]{43})", page)[1])
    said = place.did("people", "role", "bob", "approver", *WHY)
    assert said == (
        "bob has the role approver.\n"
        "Nobody has vouched for bob: `python -m bridge people vouch bob --reason WHY`, if it is they who sit there.\n"
    )
    assert re.search(r"^bob +demo +Bob +approver +active +no ", place.did("people", "list"), re.MULTILINE)
    place.did("people", "vouch", "bob", *WHY)
    assert place.did("people", "role", "bob", "operator", *WHY) == "bob has the role operator.\n"


CHANGES = {
    "invite": ("add", "ann", "--operator", "demo", "--role", "viewer"),
    "link": ("link", "ann", "--kind", "join"),
    "role": ("role", "ann", "operator"),
    "disable": ("disable", "ann"),
    "enable": ("enable", "ann"),
    "vouch": ("vouch", "ann"),
}


def test_who_typed_it_and_why_is_kept(place, migrated_url):
    """GLI-19 2.9.5: no command that changes people goes without a reason; the note has it, with the user of the
    machine, and what was there before and after."""
    for kind, words in CHANGES.items():
        silent = place.run("people", *words)
        assert (silent.returncode, "--reason" in silent.stderr) == (2, True), kind
        assert place.refused("people", *words, "--reason", " ") == (
            "A field does not hold what it must: reason must have 3 to 500 characters."
        )
        if kind != "vouch":  # nobody needs one whom the command line let in
            place.did("people", *words, "--reason", f"to {kind} her")
    with db.reading(compose(config(migrated_url)).engine) as connection:
        notes = [dict(row) for row in connection.execute(text("SELECT * FROM access_note ORDER BY id")).mappings()]
    assert [(each["kind"], each["reason"], each["before"], each["after"]) for each in notes] == [
        ("invite", "to invite her", None, "ann viewer, vouched for"),
        ("link", "to invite her", None, "join"),
        ("link", "to link her", "join", "join"),
        ("role", "to role her", "viewer, vouched for", "operator, vouched for"),
        ("disable", "to disable her", "invited", "disabled"),
        ("enable", "to enable her", "disabled, vouched for", "invited, vouched for"),
    ]
    me = pwd.getpwuid(os.getuid()).pw_name
    assert {(each["person_id"], each["login"], each["address"]) for each in notes} == {(None, me, "command line")}


REFUSED = {
    ("add", "ann", "--operator", "nobody"): "There is no operator 'nobody'.",
    ("add", "a b", "--operator", "demo"): "login must be 3 to 64 of",
    ("add", "ann", "--operator", "demo", "--role", "owner"): "role must be one of viewer, operator, approver, admin.",
    ("disable", "nobody"): "There is nobody with the login 'nobody'.",
    ("link", "nobody", "--kind", "reset"): "There is nobody with the login 'nobody'.",
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_is_wrong_is_one_sentence(place, words):
    """Exit code 2, and the sentence names what to put right."""
    assert REFUSED[words] in place.refused("people", *words, *WHY)


def test_without_a_secret_nobody_is_invited(folder, migrated_url):
    """A link that could lead nowhere is not made."""
    configure(folder, migrated_url, 'steward = "demo"')
    folder.did("operators", "add", "demo")
    said = folder.refused("people", "add", "ann", "--operator", "demo", *WHY)
    assert said == "The desk is not set up: set `desk.secret`."
    assert "ann" not in folder.did("people", "list")


@pytest.mark.parametrize(
    ("lines", "mark", "sentence"),
    [
        ((f'secret = "{SECRET}"',), "ok", "at http://localhost"),
        (('steward = "demo"',), "note", "desk.secret is not set"),
        (('secret_file = "nowhere"',), "bad", "its secret cannot be read"),
        (('secret_file = "short"',), "bad", "desk.secret_file holds fewer than 32 characters"),
    ],
)
def test_the_doctor_looks_at_the_secret(folder, migrated_url, lines, mark, sentence):
    """What is missing or too short is said before anybody is invited."""
    (folder.path / "short").write_text("too short")
    configure(folder, migrated_url, *lines)
    said = folder.run("doctor").stdout
    line = next(line for line in said.splitlines() if line.split()[1:2] == ["desk"])
    assert line.startswith(mark)
    assert sentence in line


def test_a_short_secret_is_refused_by_name(folder, migrated_url):
    """As others are: before anything starts."""
    configure(folder, migrated_url, 'secret = "short"')
    assert "desk: secret must have at least 32 characters" in folder.refused("people", "list")
