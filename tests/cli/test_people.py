"""`people`: the first admin is made by a command, and what the command line does it does for good."""

from __future__ import annotations

import re
from typing import Any

import pyotp
import pytest

from bridge.app import compose, create_app
from bridge.config import Config
from bridge.sections import DatabaseSection, DeskSection
from tests.cli.conftest import written
from tests.desk.crew import SECRET, Browser

NEW = "seven green herons dive"


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
    config = Config(database=DatabaseSection(url=url), desk=DeskSection(secret=SECRET))
    return Browser(create_app(compose(config)))


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
    said = place.did("people", "add", "Ann", "--operator", "demo", "--name", "Ann Smith")
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
    first = token(place.did("people", "add", "ann", "--operator", "demo", "--role", "viewer"))
    second = token(place.did("people", "link", "ann", "--kind", "join"))
    browser = opened(migrated_url)
    assert browser.get(f"/ops/link/{first}").status_code == 404
    assert join(browser, second).status_code == 200


def test_the_command_line_may_what_no_admin_may(place, migrated_url):
    """Role, disabling and enabling even of the last admin; each is written down as done there."""
    browser = opened(migrated_url)
    join(browser, token(place.did("people", "add", "ann", "--operator", "demo")))
    assert "has the role viewer" in place.did("people", "role", "ann", "viewer")
    assert browser.get("/ops/account").status_code == 303, "the sitting has ended"
    place.did("people", "disable", "ann")
    assert " disabled " in place.did("people", "list", "--operator", "demo")
    place.did("people", "enable", "ann")
    assert place.refused("people", "vouch", "ann") == "This person needs no voucher."


def test_who_gives_a_role_is_told_that_nobody_has_vouched(place, migrated_url):
    """Issue 5 §2: the command line's role vouches for nobody whom one admin let in, and names the command that does."""
    browser = opened(migrated_url)
    join(browser, token(place.did("people", "add", "ann", "--operator", "demo")))
    page = browser.post("/ops/people", login="bob", name="Bob", role="viewer").text
    join(opened(migrated_url), re.search(r"/ops/link/([\w-]{43})", page)[1])
    said = place.did("people", "role", "bob", "approver")
    assert said == (
        "bob has the role approver.\n"
        "Nobody has vouched for bob: `python -m bridge people vouch bob`, if it is they who sit there.\n"
    )
    assert re.search(r"^bob +demo +Bob +approver +active +no ", place.did("people", "list"), re.MULTILINE)
    place.did("people", "vouch", "bob")
    assert place.did("people", "role", "bob", "operator") == "bob has the role operator.\n"


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
    assert REFUSED[words] in place.refused("people", *words)


def test_without_a_secret_nobody_is_invited(folder, migrated_url):
    """A link that could lead nowhere is not made."""
    configure(folder, migrated_url, 'steward = "demo"')
    folder.did("operators", "add", "demo")
    said = folder.refused("people", "add", "ann", "--operator", "demo")
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
