"""One spelling of amounts and one of times, whatever page they stand on, whoever has written them there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bridge import dashboard
from bridge.evidence import Answer
from tests.dashboard.stock import PLAYER, Stock, stock
from tests.dashboard.test_money_pages import examine
from tests.desk.stand import Desk

SPELLED = "1\u202f234.56 EUR"


@pytest.fixture
def shelves(desk: Desk) -> Stock:
    """The desk with a player and a provider."""
    return stock(desk)


def decided(shelves: Stock, transfer_id: str, kind: str) -> None:
    """Two people decide about it."""
    proposal_id = shelves.propose(transfer_id, kind)
    approver = shelves.desk.sitting("approver")
    page = approver.get(f"/ops/proposals/{proposal_id}").text
    seen = re.findall(r'name="seen" value="([^"]+)"', page)[0]
    amount = re.findall(r"(\d+\.\d\d) EUR", page.replace("\u202f", ""))[0]
    sent = approver.post(f"/ops/proposals/{proposal_id}/approve", amount=amount, reason="seen it too", seen=seen)
    assert sent.status_code == 303, sent.text


def test_amounts_and_times_have_one_spelling(shelves: Stock) -> None:
    """Headings, sentences, story, advice and postings alike: thousands apart, UTC, never minor units; the story to the
    millisecond."""
    transfer_id = shelves.orphan(amount="234.56")
    odd = shelves.run(amount="1.00")
    shelves.tell(odd, amount=123_456, answer=Answer.APPLIED, sequence=None)
    proposal = shelves.propose(transfer_id)
    desk = shelves.desk
    told = ""
    for who, path in (
        ("approver", f"/ops/transfers/{odd}"), ("approver", f"/ops/transfers/{transfer_id}"),
        ("approver", "/ops/orphans"), ("approver", f"/ops/proposals/{proposal}"),
        ("approver", f"/ops/players/{PLAYER}"), ("approver", "/ops/overview"),
        ("admin", "/ops/people"), ("admin", f"/ops/people/{desk.people['viewer'].id}"), ("admin", "/ops/account"),
        ("approver", "/ops/jobs"), ("admin", "/ops/audit"), ("operator", f"/ops/transfers/{odd}/propose?kind=reverse"),
    ):  # fmt: skip
        page = desk.sitting(who).get(path)
        assert page.status_code == 200
        examine(page.text)
        shown = re.sub(r"<(?:pre|script|title)\b.*?</(?:pre|script|title)>|<[^>]*>", " ", page.text, flags=re.DOTALL)
        assert not re.search(r"\d{4,}\.\d\d\b", shown), path
        assert "minor units" not in shown, path
        assert not re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?!\.\d{3} UTC| UTC)", shown), path
        assert not re.search(r"<time(?![^>]*\btitle=)", page.text), path
        told += shown
    assert told.count(f"told {SPELLED} where 1.00 EUR was meant") >= 3
    story = desk.sitting("viewer").get(f"/ops/transfers/{odd}").text.partition('id="story"')[2]
    times = re.findall(r"\d\d:\d\d:\d\d(\S*) UTC</time>", story.partition("As of")[0])
    assert times
    assert all(re.fullmatch(r"\.\d{3}", each) for each in times)


def test_no_script_changes_what_is_written() -> None:
    """A time that the browser writes anew, in its own zone, cannot be compared with one in a log."""
    for script in (Path(dashboard.__file__).parent / "static").glob("*.js"):
        assert "toLocale" not in script.read_text(), script.name


@pytest.mark.parametrize("kind", ["confirm", "reverse", "write_off", "claw_back"])
def test_no_page_of_a_decided_transfer_leads_nowhere(shelves: Stock, kind: str) -> None:
    """The evidence on which it rests is the line of the people who decided; and nothing else is called proof."""
    transfer_id = shelves.orphan("in", "house")
    decided(shelves, transfer_id, kind)
    page = shelves.desk.sitting("viewer").get(f"/ops/transfers/{transfer_id}").text
    examine(page)
    assert 'href="#evidence-' in page
    assert "People decided: operator-ann and approver-ann, to " in page
    assert "has been proved" not in page
    if kind != "claw_back":
        assert "orphan" not in page.partition("What to do next")[2].partition("Its story")[0].lower()


def test_whoever_asks_again_is_told_to_have_asked(shelves: Stock) -> None:
    """It is done at once, and proposed to nobody."""
    transfer_id = shelves.orphan()
    shelves.desk.hands.turn(5)  # they are asked once a second at most
    operator = shelves.desk.sitting("operator")
    assert operator.post(f"/ops/transfers/{transfer_id}/ask", reason="what is it").status_code == 303
    page = operator.get(f"/ops/transfers/{transfer_id}").text
    assert "asked the provider again" in page
    assert "proposed to ask" not in page
