"""Every route × role × operator, from the route map: a route without a row in rights.py fails."""

from __future__ import annotations

import re
from typing import Any

import pytest

from bridge.models import metadata
from bridge.models.desk import Role
from bridge.watch import WATCH, Watch
from tests.dashboard.rights import FILES, PARTS, PASSKEY, RIGHTS, Right
from tests.dashboard.stock import stock
from tests.desk import crew
from tests.desk.crew import WHY
from tests.desk.stand import STRANGER, Desk

ROUTES = sorted(RIGHTS)
NEVER = "never-was"
UNTOUCHED = ("access_note", "sitting", "doorkeeper", "challenge")
"""Tables in which a refused request leaves something: that it was refused, and that somebody was there."""


@pytest.fixture(autouse=True)
def stocked(desk: Desk) -> None:
    """An orphan of the desk's operator, about which nothing is proposed, and another about which something is."""
    shelves = stock(desk)
    shelves.orphan()
    shelves.propose(shelves.orphan())
    carl = crew.hire(desk.runtime, desk.operator, Role.VIEWER, "carl-ann")
    desk.write("INSERT INTO passkey (id, person_id, label, public_key, sign_count, created_at) "
               "VALUES (:id, :carl, 'a phone', 'k', 0, 0)", id=PASSKEY, carl=carl.id)  # fmt: skip
    desk.sitting("viewer").get("/ops/overview")  # whoever looks first has it kept which database this is


def routes(desk: Any) -> set[tuple[str, str]]:
    """(method, rule) of everything under /ops."""
    found = [rule for rule in desk.app.url_map.iter_rules() if rule.rule.startswith("/ops")]
    return {(method, rule.rule) for rule in found for method in rule.methods - {"HEAD", "OPTIONS"}}


def ask(desk: Any, browser: Any, method: str, rule: str, *, named: dict[str, str] | None = None, **parts: str) -> Any:
    """A right request to a route, with the token of a page that this browser may see; `named`: what it names beside
    its address."""
    path = path_of(desk, rule, **parts)
    if method == "GET":
        return browser.client.get(path, query_string=named or {})
    token = browser.token("/ops/account" if browser.cookie else "/ops/gate")
    return browser.post(path, token=token, **{**RIGHTS[method, rule].form, **(named or {})})


def path_of(desk: Any, rule: str, **parts: str) -> str:
    """An address of a route."""
    path = FILES.get(rule, rule)
    for name in re.findall(r"<([^>]+)>", path):
        path = path.replace(f"<{name}>", parts.get(name) or PARTS[name](desk))
    return path


def contents(desk: Any) -> dict[str, list[Any]]:
    """Every row of every table that a refused request must leave alone."""
    kept = [table.name for table in metadata.sorted_tables if table.name not in UNTOUCHED]
    return dict(desk.contents({name: f'SELECT * FROM "{name}"' for name in kept}))


def is_gate(answer: Any) -> bool:
    """Whether somebody is sent to the gate to come in first."""
    return answer.status_code == 303 and answer.headers["Location"].startswith("/ops/gate?next=")


def test_every_route_has_a_row(desk: Desk) -> None:
    """Issue 5: a route without a row fails the test, and so does a row without a route; the row says what the route
    itself declares."""
    assert routes(desk) == set(RIGHTS)
    for rule in desk.app.url_map.iter_rules():
        for method in rule.methods - {"HEAD", "OPTIONS"} if rule.rule.startswith("/ops") else ():
            declared = desk.app.view_functions[rule.endpoint].allowed_roles
            expected = RIGHTS[method, rule.rule].roles
            assert declared == (None if expected is None else frozenset(expected)), rule.rule


@pytest.mark.parametrize("role", [each.value for each in Role])
def test_each_role_may_what_its_rows_say(desk, role, subtests):
    """Security §3.1 row 14: every cell: done, or 403 with nothing changed and the refusal written down."""
    for method, rule in ROUTES:
        with subtests.test(route=f"{method} {rule}"):
            right: Right = RIGHTS[method, rule]
            desk.write("DELETE FROM doorkeeper")
            browser = desk.sitting(role)
            browser.get("/ops/account")
            if right.roles is None or role in right.roles:
                answer = ask(desk, browser, method, rule)
                assert answer.status_code in right.said, answer.text
                assert not is_gate(answer)
                desk.write("UPDATE person SET state = 'active', role = 'viewer', made_by = NULL "
                           "WHERE login = 'viewer-ann' AND :role <> 'viewer'", role=role)  # fmt: skip
                desk.write("UPDATE person SET login = id WHERE login = 'new'")
                continue
            before, notes = contents(desk), len(desk.notes("access"))
            answer = ask(desk, browser, method, rule)
            assert answer.status_code == 403, answer.text
            assert contents(desk) == before
            note = desk.notes("access")[notes:]
            assert [(each["person_id"], each["outcome"], each["subject"], each["reason"]) for each in note] == [
                (desk.people[role].id, "refused", f"{method} {path_of(desk, rule)}", "403 role_missing")
            ]


COMING_AND_GOING = {"/ops/gate", "/ops/gate/passkey/challenge", "/ops/gate/passkey", "/ops/leave", "/ops/link/<token>"}
"""What people may do before a process whose clock is off."""


@pytest.mark.parametrize("seconds", [140, -140, 2.5])
def test_a_process_whose_clock_is_off_lets_people_do_nothing(desk, seconds, subtests):
    """I-34, I-30: every route that does something but those of coming in and of leaving: it is refused on a page that
    says why and what to do, nothing is stored, and no provider is asked. Pages are shown as ever."""
    asked = len(desk.runtime.providers["sim"].requests)
    desk.hands.set_wall(seconds)
    desk.app.extensions[WATCH] = Watch()  # a process that has not asked yet
    for method, rule in ROUTES:
        right = RIGHTS[method, rule]
        with subtests.test(route=f"{method} {rule}"):
            browser = desk.sitting((right.roles or (Role.ADMIN,))[0].value)
            token, path, before = browser.token(), path_of(desk, rule), contents(desk)
            if method == "GET":
                assert browser.get(path).status_code != 503
                continue
            answer = browser.post(path, token=token, **{"reason": WHY, **right.form})
            if rule in COMING_AND_GOING:
                assert answer.status_code != 503
                continue
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
            assert "The clock of this process is off." in answer.text
            assert "do it again in ten seconds" in answer.text
            assert contents(desk) == before
    assert len(desk.runtime.providers["sim"].requests) == asked


def test_a_process_that_was_left_running_by_a_migration_shows_nothing(desk, subtests):
    """Every route: its rows are another version's by now."""
    found = desk.rows("SELECT version_num FROM alembic_version")[0]["version_num"]
    sitting = {role: desk.sitting(role.value) for role in Role}
    tokens = {role: browser.token() for role, browser in sitting.items()}
    paths = {rule: path_of(desk, rule) for _, rule in ROUTES}
    desk.write("UPDATE alembic_version SET version_num = '9999'")
    desk.app.extensions[WATCH] = Watch()
    before = contents(desk)
    for method, rule in ROUTES:
        if rule in FILES:
            continue
        right = RIGHTS[method, rule]
        role = (right.roles or (Role.ADMIN,))[0]
        with subtests.test(route=f"{method} {rule}"):
            browser, path = sitting[role], paths[rule]
            sent = {"reason": WHY, **right.form}
            answer = browser.get(path) if method == "GET" else browser.post(path, token=tokens[role], **sent)
            assert answer.status_code == 503
            assert "The database has been migrated for another version than this process runs." in answer.text
    assert contents(desk) == before
    desk.write("UPDATE alembic_version SET version_num = :found", found=found)
    desk.hands.turn(Watch.EVERY_SECONDS)
    assert sitting[Role.ADMIN].get("/ops/").status_code != 503


def test_what_people_do_is_done_again_once_the_clock_is_right(desk):
    """The refusal stays with nothing: the same form does what it says as soon as the clock is set right."""
    browser, path = desk.sitting("operator"), path_of(desk, "/ops/transfers/<transfer_id>/ask")
    for seconds, said in ((140, 503), (-140, 303)):
        token = browser.token()
        desk.hands.set_wall(seconds)
        desk.hands.turn(Watch.EVERY_SECONDS)
        assert browser.post(path, token=token, reason=WHY).status_code == said


def test_nobody_may_what_is_not_for_anybody(desk, subtests):
    """Whoever has not come in, or whose sitting has ended, is shown the gate, and changes nothing."""
    ended = desk.sitting("admin")
    token, cookie = ended.token(), str(ended.cookie)
    desk.write("UPDATE sitting SET ended_at = 1")
    for method, rule in ROUTES:
        right = RIGHTS[method, rule]
        if right.roles is None:
            continue
        with subtests.test(route=f"{method} {rule}"):
            path = re.sub(r"<(\w+)>", lambda part: PARTS[part[1]](desk), rule)
            before = contents(desk)
            stranger = desk.nobody
            for browser, sent in ((stranger, stranger.token("/ops/gate")), (ended.sit(cookie), token)):
                answer = browser.get(path) if method == "GET" else browser.post(path, token=sent, **right.form)
                assert is_gate(answer), answer.text
                assert browser.cookie is None
            assert contents(desk) == before


@pytest.mark.parametrize("role", [each.value for each in Role])
def test_another_operators_people_see_and_change_nothing(desk, role, subtests):
    """I-55: Charlie's people, one of each role: what is ours is not there for them, exactly as what never was. What
    they may at home takes none of them further here."""
    charlie = f"{STRANGER} {role}"
    desk.people[charlie] = crew.hire(desk.runtime, desk.other, Role(role), f"charlie-{role}")
    tried = {NEVER}  # what they typed themselves stands in their own log
    for method, rule in ROUTES:
        right = RIGHTS[method, rule]
        if right.roles is None:
            continue
        with subtests.test(route=f"{method} {rule}"):
            desk.write("DELETE FROM doorkeeper")
            before, things = ours(desk), names(desk)
            named = {name: PARTS[part](desk) for name, part in right.ours.items()}
            parts = {part: PARTS[part](desk) for part in re.findall(r"<(\w+)>", rule)}
            tried |= {*named.values(), *parts.values()}
            answer = ask(desk, desk.sitting(charlie), method, rule, named=named, **parts)
            assert ours(desk) == before
            told = plain(answer, *tried)
            assert "-ann" not in told
            assert [each for each in things if each in told] == []
            if role not in right.roles:
                assert answer.status_code == 403
                continue
            never = ask(desk, desk.sitting(charlie), method, rule, named=dict.fromkeys(named, NEVER),
                        **dict.fromkeys(parts, NEVER))  # fmt: skip
            if named or parts:
                assert answer.status_code == never.status_code
                assert told == plain(never, *tried)
            expected = (404,) if parts or right.steward else (*right.said, 200, 404)
            assert answer.status_code in expected


def names(desk: Any) -> list[str]:
    """What transfers, proposals and people of the desk's operator are called by."""
    queries = ("SELECT id FROM transfer", "SELECT id FROM proposal", "SELECT id FROM person")
    return [each["id"] for query in queries for each in desk.rows(f"{query} WHERE operator_id = :id", id=desk.operator)]


def ours(desk: Any) -> dict[str, list[Any]]:
    """Every row that is not another operator's, of every table that a request of its people must leave alone."""
    theirs = "SELECT id FROM person WHERE operator_id <> :ours"
    queries = {}
    for table in metadata.sorted_tables:
        if table.name in UNTOUCHED:
            continue
        but = {"operator_id": "operator_id <> :ours", "person_id": f"person_id IN ({theirs})"}
        which = next((f"WHERE NOT ({but[name]}) OR {name} IS NULL" for name in but if name in table.c), "")
        queries[table.name] = f'SELECT * FROM "{table.name}" {which}'
    return dict(desk.contents(queries, ours=desk.operator))


def plain(answer: Any, *named: str) -> str:
    """A page without what differs from one time to the next, and without what was named by whoever asked."""
    told: str = answer.text
    for each in sorted(named, key=len, reverse=True):
        told = re.sub(rf"\b{re.escape(each)}\b", "…", told)
    return re.sub(r"(err|ba)_[0-9a-f]{32}|[0-9a-f]{64}", "", told)


def test_what_needs_a_proof_is_not_done_without(desk, subtests):
    """ASVS 7.5.3: five minutes after the factors were shown a code is asked for, and what was wanted waits."""
    for method, rule in ROUTES:
        right = RIGHTS[method, rule]
        if not right.proved:
            continue
        with subtests.test(route=f"{method} {rule}"):
            role = (right.roles or (Role.ADMIN,))[-1]
            browser = desk.sitting(role.value)
            desk.hands.turn(6 * 60)
            before = contents(desk)
            answer = ask(desk, browser, method, rule)
            assert answer.status_code == 403
            assert 'name="prove_code"' in answer.text
            assert contents(desk) == before


def test_whom_nobody_vouched_for_may_less(desk):
    """One admin alone must not be both pairs of eyes, on the pages too."""
    desk.write("UPDATE person SET made_by = :by WHERE login = 'admin-ann'", by=desk.people["approver"].id)
    refused = desk.sitting("admin").get("/ops/people")
    assert refused.status_code == 403
    assert "Nobody has vouched for you yet" in refused.text
    assert crew.person(desk.runtime, desk.people["admin"].id).role == Role.VIEWER
