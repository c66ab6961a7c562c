"""The pages about money, with orphans of each shape: what they show, what they offer to whom, and nothing that runs."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import insert

from bridge import db, endpoints, events, gates, models, players
from bridge.evidence import Answer
from tests.dashboard.stock import PLAYER, SHAPES, Stock, stock
from tests.desk.stand import Desk

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
PAYLOAD = "\"><script>alert(1)</script><img src=x onerror=alert(1)>'{{7*7}}&lt;"
"""Closes an attribute and an element, runs, and is no template."""

HALF_A_PAIR = "\ud800"
"""What JSON can write in ASCII and no page can hold: no text in UTF-8 has half of a surrogate pair."""

ODD_PLAYER = '"><img src=x onerror=alert(1)>'
"""A player's id as no platform may send it: whoever wrote it into the rows has nothing of it either."""


@pytest.fixture
def shelves(desk: Desk) -> Stock:
    """The desk with a player and a provider."""
    return stock(desk)


class Seen(HTMLParser):
    """What a browser would make of a page: its elements, and whether each is closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.stack: list[str] = []
        self.wrong: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: told or "" for name, told in attrs}))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.stack or self.stack.pop() != tag:
            self.wrong.append(f"</{tag}>")

    def all(self, *tags: str) -> list[dict[str, str]]:
        """The attributes of all elements of these kinds."""
        return [attributes for tag, attributes in self.elements if tag in tags]


def examine(text: str, *, whole: bool = True) -> Seen:
    """A page as it has to be: well formed, nothing that runs, one first heading and none left out, every field with a
    label, every name once, no link to one that is not there, and whoever presses Enter in a form about money sends
    nothing."""
    seen = Seen(text)
    assert seen.wrong == []
    assert seen.stack == []
    for tag, attributes in seen.elements:
        assert not any(name.startswith("on") or name == "style" for name in attributes), (tag, attributes)
        assert not attributes.get("href", "").startswith("javascript:")
        assert tag != "script" or attributes.get("src", "").startswith("/ops/static/")
        assert tag not in ("style", "iframe", "object", "embed", "base")
    ids = [attributes["id"] for _, attributes in seen.elements if "id" in attributes]
    assert sorted(set(ids)) == sorted(ids)
    led = {link["href"][1:] for link in seen.all("a") if link.get("href", "").startswith("#")}
    assert led <= set(ids), "a link that leads nowhere"
    labelled = {label["for"] for label in seen.all("label") if "for" in label}
    for field in seen.all("input", "select", "textarea"):
        assert field.get("type") == "hidden" or field.get("id") in labelled or "aria-label" in field, field
    levels = [int(tag[1]) for tag, _ in seen.elements if re.fullmatch("h[1-6]", tag)]
    if whole:
        assert levels[0] == 1
        assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels)), levels
    return seen


def pages(shelves: Stock, transfer_id: str) -> list[str]:
    """Every address that shows something of a transfer, or of all of them."""
    return [
        "/ops/overview", "/ops/orphans", "/ops/orphans?stage=unknown", "/ops/orphans?stage=pending",
        "/ops/orphans?currency=EUR&older=0&proposed=no&word=pat", f"/ops/transfers/{transfer_id}",
        "/ops/proposals", "/ops/proposals?state=rejected", "/ops/players", f"/ops/players/{PLAYER}",
        f"/ops/players/{PLAYER}?at=2027-01-15T08:00", "/ops/providers", "/ops/providers/sim", "/ops/jobs", "/ops/audit",
        f"/ops/players?word={shelves.reference(transfer_id)}x",
    ]  # fmt: skip


@pytest.mark.parametrize(("direction", "place"), SHAPES)
def test_every_page_shows_an_orphan_of_each_shape(shelves: Stock, direction: str, place: str) -> None:
    """Each page for a viewer and for an approver; each decision that makes sense is on offer with its postings, and the
    form of each opens."""
    transfer_id = shelves.orphan(direction, place)
    viewer, approver = shelves.desk.sitting("viewer"), shelves.desk.sitting("approver")
    for path in pages(shelves, transfer_id):
        for browser in (viewer, approver):
            answer = browser.get(path)
            assert answer.status_code == 200, path
            examine(answer.text)
    for part in (
        "/ops/overview/part",
        "/ops/orphans/part",
        f"/ops/transfers/{transfer_id}/part",
        "/ops/proposals/part",
    ):
        answer = approver.get(part, X_Part="1")
        assert answer.status_code == 200
        assert "<html" not in answer.text
        examine(answer.text, whole=False)
    page = approver.get(f"/ops/transfers/{transfer_id}").text
    offered = re.findall(rf"/ops/transfers/{transfer_id}/propose\?kind=(\w+)", page)
    assert {"ask_again", "confirm", "reverse", "split"} <= set(offered)
    for kind in offered:
        text = approver.get(f"/ops/transfers/{transfer_id}/propose?kind={kind}&arrived=6.00&returned=4.00").text
        seen = examine(text)
        forms = [each for each in seen.all("form") if each.get("method") == "post" and "transfers" in each["action"]]
        assert len(forms) == 1, kind
    assert "propose?" not in viewer.get(f"/ops/transfers/{transfer_id}").text


def test_nobody_confirms_money_by_enter(shelves: Stock) -> None:
    """The first button of each form about money is one that nothing comes of."""
    first, second = shelves.orphan(), shelves.orphan("out")
    proposal = shelves.propose(second)
    approver, operator = shelves.desk.sitting("approver"), shelves.desk.sitting("operator")
    asked = [
        (operator, f"/ops/transfers/{first}/propose?kind=confirm"), (operator, f"/ops/many/propose?transfer={first}"),
        (approver, f"/ops/proposals/{proposal}"), (approver, f"/ops/many/approve?proposal={proposal}"),
        (operator, f"/ops/proposals/{proposal}"),
    ]  # fmt: skip
    for browser, path in asked:
        forms = re.findall(
            r'<form method="post" action="/ops/(?:transfers|proposals|many)[^>]*>(.*?)</form>',
            browser.get(path).text,
            re.DOTALL,
        )
        assert forms, path
        for form in forms:
            first_button = re.search(r"<button[^>]*>", form)
            assert first_button is not None
            assert "disabled" in first_button[0], path


def test_payloads_stay_text_on_every_page(shelves: Stock) -> None:
    """Security §3.1 row 24: in each field that a provider, a player, an operator's platform or a person controls."""
    desk = shelves.desk
    transfer_id = shelves.orphan("in", "house")
    lie = {"code": PAYLOAD, "detail": PAYLOAD, "provider_reference": PAYLOAD, "player": PAYLOAD, "currency": PAYLOAD,
           "side": PAYLOAD, "provider_time": PAYLOAD, "reference": None, "answer": Answer.UNKNOWN}  # fmt: skip
    shelves.tell(transfer_id, **lie)
    proposal = shelves.propose(transfer_id, reason=PAYLOAD)
    waiting = shelves.orphan("out")
    endpoints.register(desk.runtime, desk.operator, "http://127.0.0.1:9/hook?" + "x", "a label")
    while events.number(desk.runtime, desk.operator, 50):
        pass
    players.register(desk.runtime, desk.operator, ODD_PLAYER, ["EUR"])
    shelves.one.script = ["wrong_amount"]
    odd = shelves.run("out", player=ODD_PLAYER)
    spoil(desk, transfer_id, waiting)
    approver, operator, admin = (desk.sitting(who) for who in ("approver", "operator", "admin"))
    paths = [(approver, path) for path in (*pages(shelves, transfer_id), *pages(shelves, waiting))]
    paths += [
        (approver, f"/ops/proposals/{proposal}"), (approver, f"/ops/many/approve?proposal={proposal}"),
        (operator, f"/ops/many/propose?transfer={waiting}&transfer={transfer_id}"),
        (admin, "/ops/audit?since=1970-01-01T00:00"), (approver, f"/ops/transfers/{odd}"),
        (approver, "/ops/players/" + ODD_PLAYER),
        (operator, f"/ops/transfers/{waiting}/propose?kind=split&arrived={PAYLOAD}&returned={PAYLOAD}"),
        (approver, f"/ops/orphans?word={PAYLOAD}&provider={PAYLOAD}&reason={PAYLOAD}&currency={PAYLOAD}"),
        (approver, f"/ops/players?word={PAYLOAD}"), (approver, f"/ops/players/{PAYLOAD.replace('/', '')}"),
        (approver, f"/ops/audit?kind={PAYLOAD}&subject={PAYLOAD}&person={PAYLOAD}"),
        (approver, f"/ops/audit?subject={PAYLOAD}&person={PAYLOAD}"), (admin, f"/ops/audit?subject={transfer_id}"),
        (approver, f"/ops/orphans?stage={PAYLOAD}"),
    ]  # fmt: skip
    told = ""
    for browser, path in paths:
        answer = browser.client.get(path.partition("?")[0], query_string=_query(path))
        assert answer.status_code in (200, 404, 422), path
        examine(answer.text)
        assert "<script>alert" not in answer.text
        assert "<img" not in answer.text
        assert "49" not in re.findall(r"'(\d+)&", answer.text)
        told += answer.text
    assert told.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 20


def _query(path: str) -> Any:
    pairs = [pair.partition("=") for pair in path.partition("?")[2].split("&") if "=" in pair and "?" in path]
    return [(name, value) for name, _, value in pairs]


def spoil(desk: Desk, transfer_id: str, waiting: str) -> None:
    """Put the payload wherever a row can hold it that no rule keeps as it was."""
    desk.write("UPDATE transfer SET reason_detail = :p, idempotency_key = :q || id", p=PAYLOAD, q=PAYLOAD)
    desk.write("UPDATE transfer SET reason_code = :p WHERE id = :id", p=PAYLOAD, id=waiting)
    desk.write(
        "UPDATE leg SET provider_reference = :p WHERE transfer_id = :id AND holder = 'sim'", p=PAYLOAD, id=waiting
    )
    desk.write("UPDATE person SET name = :p || login", p=PAYLOAD)
    desk.write("UPDATE webhook_endpoint SET label = :p, url = :p", p=PAYLOAD)
    gates.pause(desk.runtime, "sim", PAYLOAD, PAYLOAD)
    half = {"message": PAYLOAD + HALF_A_PAIR, HALF_A_PAIR: HALF_A_PAIR}
    body = json.dumps({"type": PAYLOAD, "data": {"id": PAYLOAD, PAYLOAD: PAYLOAD, "amount": 1, **half}})
    rows: dict[str, dict[str, Any]] = {
        "inbox": {"id": 7, "provider": "sim", "message_id": PAYLOAD, "kind": PAYLOAD, "body": body, "digest": PAYLOAD,
                  "peer": PAYLOAD, "sent_at": 1, "received_at": 1},
        "evidence": {"transfer_id": transfer_id, "ordinal": 2, "provider": "sim", "source": "callback", "attempt": 0,
                     "answer": "unknown", "code": PAYLOAD, "detail": PAYLOAD, "attempt_sensitive": False,
                     "digest": PAYLOAD, "at": 1_800_000_000_000_000, "worker": "w", "lease_epoch": 0, "inbox_id": 7,
                     "sent": f"{PAYLOAD}\n{body}", "received": f"{PAYLOAD}\n{body}"},
        "history": {"transfer_id": transfer_id, "version": 1, "subject": PAYLOAD, "trigger": "x", "target": PAYLOAD,
                    "reason": PAYLOAD, "actor": PAYLOAD, "lease_epoch": 0, "at": 1},
        "balance_break": {"id": "br", "operator_id": desk.operator, "provider": "sim", "player_id": PLAYER,
                          "currency": "EUR", "ours": 1, "theirs": 2, "told_by": PAYLOAD, "opened_at": 1},
        "access_note": {"at": 1, "operator_id": desk.operator, "login": PAYLOAD, "kind": PAYLOAD, "outcome": "refused",
                        "subject": transfer_id, "reason": PAYLOAD, "before": PAYLOAD, "after": PAYLOAD,
                        "address": PAYLOAD},
        "job_run": {"job": "verify", "slot": 1, "worker": PAYLOAD, "started_at": 1, "outcome": PAYLOAD},
    }  # fmt: skip
    with db.writing(desk.runtime.engine) as connection:
        for table, row in rows.items():
            connection.execute(insert(models.metadata.tables[table]).values(**row))


# --- what moves on a page -------------------------------------------------------------------------------


def test_an_orphan_appears_in_the_part_that_is_asked_for_again(shelves: Stock) -> None:
    """The list of a minute ago has nothing of it, the part has; the address of the part is on the page."""
    viewer = shelves.desk.sitting("viewer")
    page = viewer.get("/ops/orphans").text
    assert "No orphans: every transfer&#39;s money is where it should be." in page
    address = re.search(r'data-part="([^"]+)"', page)
    assert address is not None
    transfer_id = shelves.orphan()
    assert transfer_id in viewer.get(address[1], X_Part="1").text
    assert "Nothing is unresolved" not in viewer.get("/ops/overview/part", X_Part="1").text


def test_the_list_as_a_file(shelves: Stock) -> None:
    """It is taken as a file, and that it was is written down."""
    transfer_id = shelves.orphan()
    answer = shelves.desk.sitting("viewer").get("/ops/orphans.csv?currency=EUR")
    assert answer.content_type == "text/csv; charset=utf-8; header=present"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="orphaned.csv"'
    assert answer.text.count("\r\n") == 2
    assert f'"{transfer_id}"' in answer.text
    (note,) = shelves.desk.notes("export")
    assert (note["person_id"], note["subject"], note["reason"]) == (
        shelves.desk.people["viewer"].id, "orphans.csv", "currency=EUR"
    )  # fmt: skip


BAD = [
    ("/ops/orphans?stage=lost", "stage"), ("/ops/orphans?older=-1", "older"), ("/ops/orphans?page=x", "page"),
    ("/ops/orphans?proposed=maybe", "proposed"), ("/ops/orphans?word=" + "x" * 201, "word"),
    ("/ops/orphans?at=99999999999999999999", "at"), ("/ops/players/pat?at=yesterday", "at"),
    ("/ops/players/pat?at=2999-01-01T00:00", "at"), ("/ops/players/pat?at=1969-12-31T00:00", "at"),
    ("/ops/audit?before=1", "before"), ("/ops/audit?kind=x", "kind"),
    ("/ops/audit?outcome=perhaps", "outcome"), ("/ops/audit?since=0", "since"),
    ("/ops/proposals?state=lost", "state"), ("/ops/many/propose?transfer=x&kind=steal", "kind"),
    ("/ops/many/propose?" + "&".join(f"transfer=tr_{n}" for n in range(101)), "chosen"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "field"), BAD)
def test_what_cannot_be_asked_is_named(shelves: Stock, path: str, field: str) -> None:
    """A clear word about the field, and no page of trouble of ours."""
    answer = shelves.desk.sitting("approver").get(path)
    assert answer.status_code == 422
    assert f"<li>{field}: " in answer.text
    examine(answer.text)


@pytest.mark.parametrize("path", ["/ops/orphans?page=9999", "/ops/audit?before=1-1", "/ops/orphans?at=0&word=%25"])
def test_odd_questions_are_answered(shelves: Stock, path: str) -> None:
    """Nothing fits, and nothing breaks."""
    assert shelves.desk.sitting("viewer").get(path).status_code == 200


def test_what_nobody_has_is_not_there(shelves: Stock) -> None:
    """404, whatever stands in the address."""
    viewer = shelves.desk.sitting("viewer")
    for path in ("/ops/transfers/tr_x", "/ops/players/nobody", "/ops/providers/other", "/ops/proposals/pr_x"):
        assert viewer.get(path).status_code == 404, path


# --- switches -------------------------------------------------------------------------------------------


def test_a_provider_is_closed_and_opened_with_a_reason(shelves: Stock) -> None:
    """I-54 The switch and the note of who turned it stand or fall together; without a reason neither is there."""
    desk, operator = shelves.desk, shelves.desk.sitting("operator")
    refused = operator.post("/ops/providers/sim/pause", reason=" x ")
    assert refused.status_code == 422
    assert desk.rows("SELECT * FROM switch") == []
    assert operator.post("/ops/providers/sim/pause", reason="they are down").status_code == 303
    (switch,) = desk.rows("SELECT provider, cause, reason, actor FROM switch")
    assert switch == {"provider": "sim", "cause": "paused", "reason": "they are down", "actor": "operator-ann"}
    page = operator.get("/ops/providers/sim").text
    assert "they are down" in page
    assert "Open it for transfers in" in page
    seen = {"seen": re.findall(r'name="seen" value="([^"]+)"', page)[0]}
    assert operator.post("/ops/providers/sim/resume", reason="they are back", **seen).status_code == 303
    assert operator.post("/ops/providers/sim/resume", reason="they are back", **seen).status_code == 404
    assert desk.rows("SELECT * FROM switch") == []
    notes = [(note["kind"], note["subject"], note["reason"], note["before"], note["after"]) for note in
             desk.notes("pause provider") + desk.notes("resume provider")]  # fmt: skip
    assert notes == [
        ("pause provider", "sim", "they are down", "open", "closed for transfers in"),
        ("resume provider", "sim", "they are back", "closed by operator-ann (paused): they are down",
         "open for transfers in"),
    ]  # fmt: skip


def test_nobody_opens_what_they_were_not_shown(shelves: Stock) -> None:
    """A colleague's pause of a second ago, for another reason, is not opened by who had looked before it; nor is one
    that was never shown at all."""
    desk, operator = shelves.desk, shelves.desk.sitting("operator")
    operator.post("/ops/providers/sim/pause", reason="they are down")
    seen = re.findall(r'name="seen" value="([^"]+)"', operator.get("/ops/providers/sim").text)[0]
    desk.hands.turn(1)
    desk.sitting("approver").post("/ops/providers/sim/pause", reason="they pay twice")
    for told in ({"seen": seen}, {}, {"seen": "x"}):
        refused = operator.post("/ops/providers/sim/resume", reason="they are back", **told)
        assert refused.status_code == 409
        assert "they pay twice" in refused.text
    assert [each["reason"] for each in desk.rows("SELECT reason FROM switch")] == ["they pay twice"]
    assert desk.notes("resume provider") == []


@pytest.mark.parametrize("reason", ["", "  x ", "no\u202eitaerc", "bell\x07 rang", "x" * 501])
def test_a_reason_is_one_that_can_be_read_later(shelves: Stock, reason: str) -> None:
    """Whatever it is for: a switch, a job, a decision; and nothing is done without one."""
    operator, transfer_id = shelves.desk.sitting("operator"), shelves.orphan()
    for path, more in (("providers/sim/pause", {}), ("jobs/verify/pause", {}), (f"transfers/{transfer_id}/ask", {}),
                       ("many/propose", {"kind": "confirm", "transfer": transfer_id, "seen": "x"})):  # fmt: skip
        refused = operator.post(f"/ops/{path}", reason=reason, **more)
        assert refused.status_code == 422, path
        said = refused.text.lower()
        assert ("must have 3 to" in said) != ("cannot be read" in said), path
    assert shelves.desk.rows("SELECT * FROM switch") == []
    assert shelves.desk.rows("SELECT * FROM job_line WHERE paused_by IS NOT NULL") == []


def test_others_learn_of_a_job_whether_it_works(shelves: Stock) -> None:
    """Security row 13: people of another operator than the steward see the jobs and how they do, and of the steward's
    people, hosts and amounts nothing."""
    desk = shelves.desk
    steward = desk.sitting("approver")
    steward.post("/ops/jobs/verify/pause", reason="too loud for us")
    steward.post("/ops/jobs/resolve/run")
    whole = steward.get("/ops/jobs").text
    assert "too loud for us" in whole
    for path in ("/ops/jobs", "/ops/jobs/part"):
        page = desk.sitting("stranger").get(path).text
        assert "verify" in page
        assert "paused" in page
        for secret in ("too loud for us", "approver-ann", "In hand of", "Processes that run them", "wanted now"):
            assert secret not in page


# --- a provider that is gone ----------------------------------------------------------------------------


def test_a_transfer_of_a_provider_that_is_not_configured_any_more(shelves: Stock) -> None:
    """Its pages say so, offer nothing that cannot be, and let a proposal be turned down; an approval moves nothing."""
    desk = shelves.desk
    transfer_id = shelves.orphan()
    proposal_id = shelves.propose(transfer_id)
    other = shelves.orphan(amount="11.00")
    desk.runtime.providers.pop("sim")  # type: ignore[attr-defined] # as it was composed, it can be taken out
    approver = desk.sitting("approver")
    for path in (f"/ops/transfers/{other}", f"/ops/transfers/{other}/part", f"/ops/transfers/{transfer_id}"):
        page = approver.get(path)
        assert page.status_code == 200, path
        assert f"/ops/transfers/{other}/ask" not in page.text
        assert f"/ops/transfers/{other}/propose" not in page.text
    address = f"/ops/proposals/{proposal_id}"
    page = approver.get(address)
    assert page.status_code == 200
    assert "is not configured any more" in page.text
    assert f'action="{address}/reject"' in page.text
    assert f'action="{address}/approve"' not in page.text
    assert approver.get(f"/ops/many/approve?proposal={proposal_id}").status_code == 200
    assert approver.post(f"/ops/transfers/{other}/ask", reason="what is it").status_code == 422
    before = desk.rows("SELECT * FROM posting ORDER BY id")
    sent = approver.post(f"{address}/approve", amount="10.00", reason="seen it", seen="x")
    assert sent.status_code == 409
    assert desk.rows("SELECT * FROM posting ORDER BY id") == before


# --- jobs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "lives"), [(0, True), (-59, True), (-60, False), (60, False), (86_400, False)])
def test_a_beat_of_a_later_day_is_no_sign_of_life(shelves: Stock, seconds: int, lives: bool) -> None:
    """A process that has died, and whose clock was wrong, runs no jobs: the page says that none does."""
    desk = shelves.desk
    desk.write("DELETE FROM beat")
    desk.write("INSERT INTO beat (worker, started_at, seen_at, at_work) VALUES ('dead', 0, :at, '{}')",
               at=desk.hands.now() + seconds * 1_000_000)  # fmt: skip
    page = desk.sitting("operator").get("/ops/jobs").text
    assert ("No process runs the jobs at present" in page) != lives
    assert (">lives<" in page, ">silent<" in page) == (lives, not lives)


def test_a_job_is_run_and_paused_by_the_stewards_people(shelves: Stock) -> None:
    """What is wanted and who wanted it stand or fall together; what money depends on is never paused."""
    desk, operator = shelves.desk, shelves.desk.sitting("operator")
    examine(operator.get("/ops/jobs/verify").text)
    never = operator.get("/ops/jobs/resolve").text
    assert "It is never paused" in never
    assert "/ops/jobs/resolve/pause" not in never
    assert operator.post("/ops/jobs/resolve/pause", reason="too loud").status_code == 409
    assert operator.post("/ops/jobs/verify/pause", reason=" ").status_code == 422
    assert operator.post("/ops/jobs/verify/run").status_code == 303
    assert operator.post("/ops/jobs/verify/pause", reason="too loud").status_code == 303
    page = desk.sitting("viewer").get("/ops/jobs").text
    assert "by operator-ann: too loud" in page
    assert 'href="/ops/jobs/verify"' not in page
    assert operator.post("/ops/jobs/verify/run").status_code == 409
    assert operator.post("/ops/jobs/verify/resume").status_code == 303
    assert operator.post("/ops/jobs/none/run").status_code == 404
    kinds = [desk.notes(kind) for kind in ("pause job", "run job", "resume job")]
    assert [(len(notes), notes[0]["subject"], notes[0]["outcome"]) for notes in kinds] == [(1, "verify", "done")] * 3


def test_silence_of_the_jobs_is_told(shelves: Stock) -> None:
    """A minute without a sign of any process that runs them."""
    viewer = shelves.desk.sitting("viewer")
    assert "No process runs the jobs" not in viewer.get("/ops/jobs").text
    shelves.desk.hands.turn(61)
    assert "No process runs the jobs" in viewer.get("/ops/jobs").text


@pytest.mark.parametrize("steward", ["charlie", None])
def test_nobody_elses_people_touch_the_jobs(build_desk: Any, steward: str | None) -> None:
    """Where another operator is the steward, or none is, there is nothing to touch."""
    desk = build_desk(steward=steward)
    stock(desk)
    for path in ("run", "pause", "resume"):
        assert desk.sitting("operator").post(f"/ops/jobs/verify/{path}", reason="too loud").status_code == 404
    assert desk.sitting("operator").get("/ops/jobs/verify").status_code == 404
