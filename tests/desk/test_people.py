"""People and their sittings: what ends one, who may change whom, and that somebody is left who may."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from bridge import db
from bridge.desk import accesses, own, people, proving, sittings
from bridge.errors import Conflict, Forbidden, Invalid, NotFound, Unauthorized
from bridge.models.desk import Role
from tests.desk import crew
from tests.desk.crew import ADDRESS, PASSWORD, WHY, code, seat
from tests.harness import together


def sit(desk: Any, who: str) -> tuple[str, sittings.Sitting]:
    """(cookie, sitting) of somebody who has just come in."""
    return seat(desk.runtime, crew.person(desk.runtime, desk.people[who].id))


def stands(desk: Any, token: str) -> bool:
    """Whether a cookie is still somebody's."""
    return sittings.find(desk.runtime, token, ADDRESS, moved=False) is not None


def actor(desk: Any, who: str = "admin") -> people.Actor:
    """Somebody at the desk who changes people."""
    return people.by_admin(sit(desk, who)[1], WHY)


# --- sittings -----------------------------------------------------------------------------------------


def test_a_sitting_sleeps_in(desk):
    """ASVS 7.3: 15 minutes without anything that a person did; what a page asks by itself keeps nobody awake."""
    token, _ = sit(desk, "viewer")
    for _ in range(10):
        desk.hands.turn(14 * 60)
        assert sittings.find(desk.runtime, token, ADDRESS, moved=True) is not None
    for _ in range(15):
        desk.hands.turn(59)
        assert stands(desk, token)
    desk.hands.turn(20)
    assert not stands(desk, token)


def test_a_sitting_ends_after_eight_hours(desk):
    """ASVS 7.3: however awake its person is."""
    token, _ = sit(desk, "viewer")
    for _ in range(47):
        desk.hands.turn(10 * 60)
        assert sittings.find(desk.runtime, token, ADDRESS, moved=True) is not None
    desk.hands.turn(10 * 60)
    assert sittings.find(desk.runtime, token, ADDRESS, moved=True) is None


def test_looking_at_pages_is_no_storm_of_writes(desk):
    """A sitting is written as seen at most every ten seconds."""
    token, _ = sit(desk, "viewer")
    began = desk.rows("SELECT seen_at FROM sitting")[0]["seen_at"]
    desk.hands.turn(9)
    sittings.find(desk.runtime, token, ADDRESS, moved=True)
    assert desk.rows("SELECT seen_at FROM sitting")[0]["seen_at"] == began
    desk.hands.turn(2)
    sittings.find(desk.runtime, token, ADDRESS, moved=True)
    assert desk.rows("SELECT seen_at FROM sitting")[0]["seen_at"] == desk.hands.now()


def test_leaving_ends_it_on_the_server(desk):
    """ASVS 7.4.1: a cookie that was copied before is worth nothing."""
    token, sitting = sit(desk, "viewer")
    sittings.leave(desk.runtime, sitting)
    assert not stands(desk, token)
    sittings.leave(desk.runtime, sitting)
    assert len(desk.notes("leave")) == 1


ENDINGS = {
    "role": lambda desk, ann: people.give_role(desk.runtime, actor(desk), desk.operator, ann.id, "viewer"),
    "disabled": lambda desk, ann: people.disable(desk.runtime, actor(desk), desk.operator, ann.id),
    "command": lambda desk, ann: people.disable(desk.runtime, people.by_command(WHY), desk.operator, ann.id),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_change_of_rights_ends_every_sitting(desk, ending):
    """ASVS 7.4.2: role or state changed: what was begun under the old ones is over, also inside of a transaction."""
    tokens = [sit(desk, "approver") for _ in range(2)]
    ENDINGS[ending](desk, desk.people["approver"])
    for token, sitting in tokens:
        assert not stands(desk, token)
        with pytest.raises(Unauthorized), db.writing(desk.runtime.engine) as connection:
            sittings.still(connection, desk.runtime, sitting)


def test_rights_are_asked_again_in_the_transaction(desk):
    """Issue 5 §2: what a page saw is not what counts at the commit."""
    _, sitting = sit(desk, "approver")
    with db.writing(desk.runtime.engine) as connection:
        assert sittings.still(connection, desk.runtime, sitting, Role.APPROVER).login == "approver-ann"
    with pytest.raises(Forbidden, match="role admin"), db.writing(desk.runtime.engine) as connection:
        sittings.still(connection, desk.runtime, sitting, Role.ADMIN)
    desk.write("UPDATE person SET made_by = :by WHERE id = :id", by=desk.people["admin"].id, id=sitting.person.id)
    with pytest.raises(Forbidden, match="vouched"), db.writing(desk.runtime.engine) as connection:
        sittings.still(connection, desk.runtime, sitting, Role.APPROVER)


def test_rights_do_not_end_between_question_and_commit(desk):
    """Whoever takes the role away waits until what was begun with it is committed: one after the other."""
    _, sitting = sit(desk, "approver")
    order: list[str] = []

    def work(number: int) -> None:
        if number == 0:
            with db.writing(desk.runtime.engine) as connection:
                sittings.still(connection, desk.runtime, sitting, Role.APPROVER)
                order.append("asked")
                desk.hands.sleep(0)
                connection.execute(text("SELECT 1"))
                order.append("committed")
        else:
            people.give_role(desk.runtime, people.by_command(WHY), desk.operator, sitting.person.id, "viewer")
            order.append("taken")

    results = together(2, work)
    assert order in (["asked", "committed", "taken"], ["taken"])
    assert results[1] is None
    assert results[0] is None or isinstance(results[0], Unauthorized)


def test_one_ends_ones_other_sittings(desk):
    """ASVS 7.4.5: and stays where one is; nobody else's end."""
    here, sitting = sit(desk, "viewer")
    there, other = sit(desk, "viewer")[0], sit(desk, "admin")[0]
    assert len(sittings.listed(desk.runtime, sitting.person.id)) == 2
    assert sittings.end_others(desk.runtime, sitting) == 1
    assert (stands(desk, here), stands(desk, there), stands(desk, other)) == (True, False, True)


# --- proving ------------------------------------------------------------------------------------------


def test_a_proof_is_good_for_minutes(desk):
    """ASVS 7.5.3: five minutes after the factors were shown, a code is asked for again."""
    token, sitting = sit(desk, "approver")
    assert sittings.is_proved(desk.runtime, sitting)
    desk.hands.turn(5 * 60 + 1)
    assert not sittings.is_proved(desk.runtime, sitting)
    proving.by_code(desk.runtime, sitting, code(desk.runtime))
    again = sittings.find(desk.runtime, token, ADDRESS, moved=True)
    assert again is not None
    assert sittings.is_proved(desk.runtime, again)


def test_a_proof_is_good_once(desk):
    """The code of a proof is used up, at the gate too; two at once are one."""
    _, sitting = sit(desk, "approver")
    told = code(desk.runtime)
    results = together(2, lambda _number: proving.by_code(desk.runtime, sitting, told))
    assert sorted(type(each).__name__ for each in results) == ["Invalid", "NoneType"]


def test_three_wrong_proofs_end_the_sitting_and_lock_nobody(desk):
    """A stranger at an unattended browser gets nowhere; the person comes in again at once. Empty is no try."""
    token, sitting = sit(desk, "approver")
    for _ in range(5):
        with pytest.raises(Invalid):
            proving.by_code(desk.runtime, sitting, " ")
    results = together(5, lambda number: proving.by_code(desk.runtime, sitting, f"{number:06d}"))
    assert [type(each) for each in results].count(Invalid) == 2
    assert [type(each) for each in results].count(Unauthorized) == 3
    assert not stands(desk, token)
    row = desk.rows("SELECT * FROM person WHERE id = :id", id=sitting.person.id)[0]
    assert (row["failures"], row["locked_at"]) == (0, None)
    assert [each["outcome"] for each in desk.notes("prove")] == ["refused"] * 3


def test_a_right_proof_forgets_the_wrong_ones(desk):
    """Two wrong, one right, two wrong: they still sit there."""
    token, sitting = sit(desk, "approver")
    for _ in range(3):
        for _ in range(2):
            with pytest.raises(Invalid):
                proving.by_code(desk.runtime, sitting, "000000")
        desk.hands.turn(30)
        proving.by_code(desk.runtime, sitting, code(desk.runtime))
    assert stands(desk, token)


# --- one's own password -------------------------------------------------------------------------------


def test_a_new_password_ends_every_sitting_but_the_one_that_follows(desk):
    """ASVS 7.4.3: whoever else sat there by the old one is out."""
    here, sitting = sit(desk, "viewer")
    there, _ = sit(desk, "viewer")
    token = own.change_password(desk.runtime, sitting, old=PASSWORD, new="seven green herons dive")
    assert (stands(desk, here), stands(desk, there), stands(desk, token)) == (False, False, True)


def test_a_new_password_prolongs_nothing(desk):
    """ASVS 7.3, 7.5.3: a password alone is no second factor: when the sitting began and when both were last shown stays
    as it was."""
    _, sitting = sit(desk, "viewer")
    before = desk.rows("SELECT began_at, proved_at FROM sitting")
    desk.hands.turn(4 * 60)
    token = own.change_password(desk.runtime, sitting, old=PASSWORD, new="seven green herons dive")
    assert stands(desk, token)
    assert desk.rows("SELECT began_at, proved_at FROM sitting") == before * 2


def test_the_old_password_is_asked_for_three_times(desk):
    """A wrong one counts on the sitting, and proves nothing when right but for the change itself."""
    token, sitting = sit(desk, "viewer")
    for trouble in (Invalid, Invalid, Unauthorized):
        with pytest.raises(trouble):
            own.change_password(desk.runtime, sitting, old="not the password", new="seven green herons dive")
    assert not stands(desk, token)


def test_a_right_password_forgets_no_wrong_code(desk):
    """ASVS 7.5.3: whoever knows the password and sits at an unattended browser has three codes, and not two more with
    each new password."""
    token, sitting = sit(desk, "viewer")
    for number in range(2):
        with pytest.raises(Invalid):
            proving.by_code(desk.runtime, sitting, f"00000{number}")
    token = own.change_password(desk.runtime, sitting, old=PASSWORD, new="seven green herons dive")
    again = sittings.find(desk.runtime, token, ADDRESS, moved=True)
    assert again is not None
    with pytest.raises(Unauthorized):
        proving.by_code(desk.runtime, again, "000002")
    assert not stands(desk, token)


# --- who may change whom ------------------------------------------------------------------------------


CHANGES = {
    "invite": lambda desk, who, _id: people.add(desk.runtime, who, desk.operator, login="new", name="N", role="viewer"),
    "role": lambda desk, who, one: people.give_role(desk.runtime, who, desk.operator, one, "approver"),
    "disable": lambda desk, who, one: people.disable(desk.runtime, who, desk.operator, one),
    "enable": lambda desk, who, one: people.enable(desk.runtime, who, desk.operator, one),
    "vouch": lambda desk, who, one: people.vouch(desk.runtime, who, desk.operator, one, ""),
    "link": lambda desk, who, one: people.link(desk.runtime, who, desk.operator, one, people.InvitationKind.RESET),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("who", ["viewer", "operator", "approver", "stranger"])
def test_only_an_admin_of_the_same_operator_changes_people(desk, change, who):
    """I-55 Whoever is not, changes nothing, and is told no more than that there is no such person."""
    acting = actor(desk, who)
    before = desk.rows("SELECT * FROM person ORDER BY id"), desk.rows("SELECT * FROM invitation")
    with pytest.raises(NotFound if who == "stranger" else Forbidden):
        CHANGES[change](desk, acting, desk.people["operator"].id)
    assert (desk.rows("SELECT * FROM person ORDER BY id"), desk.rows("SELECT * FROM invitation")) == before


STANDING = {
    "invite": [("invite", None, "new viewer, not vouched for"), ("link", None, "join")],
    "role": [("role", "operator, vouched for", "approver, not vouched for")],
    "disable": [("disable", "active", "disabled")],
    "enable": [("enable", "disabled, vouched for", "active, not vouched for")],
    "vouch": [("vouch", "operator, not vouched for", "operator, vouched for")],
    "link": [("link", None, "reset")],
}


@pytest.mark.parametrize("change", CHANGES)
def test_who_changes_people_says_why(desk, change):
    """GLI-19 2.9.5: person, reason, value before and after, of every change; without a reason nothing is changed."""
    one = desk.people["operator"].id
    bob = crew.hire(desk.runtime, desk.operator, Role.ADMIN, "admin-bob").id
    desk.write("UPDATE person SET state = :state, made_by = :by WHERE id = :id", id=one,
               state="disabled" if change == "enable" else "active", by=bob if change == "vouch" else None)  # fmt: skip
    sitting = sit(desk, "admin")[1]
    for silence in ("", "  ", "ok", "x" * 501, "seen\x07"):
        with pytest.raises(Invalid) as refused:
            people.by_admin(sitting, silence)
        assert set(refused.value.fields) == {"reason"}
    if change == "vouch":
        crew.vouch(desk.runtime, people.by_admin(sitting, WHY), desk.operator, one)
    else:
        CHANGES[change](desk, people.by_admin(sitting, WHY), one)
    notes = desk.rows("SELECT * FROM access_note ORDER BY id")
    assert [(each["kind"], each["before"], each["after"]) for each in notes] == STANDING[change]
    assert {(each["person_id"], each["reason"], each["login"]) for each in notes} == {(sitting.person.id, WHY, None)}


@pytest.mark.parametrize("change", ["role", "disable", "link"])
def test_nobody_changes_themselves(desk, change):
    """An admin who could would be the last one, or raise themselves."""
    with pytest.raises(Forbidden):
        CHANGES[change](desk, actor(desk), desk.people["admin"].id)


def test_somebody_is_left_who_may(desk):
    """Two admins who disable each other at once: one is too late, and the operator keeps an admin."""
    second = crew.hire(desk.runtime, desk.operator, Role.ADMIN, "admin-bob")
    first = desk.people["admin"]
    actors = [people.by_admin(seat(desk.runtime, each)[1], WHY) for each in (first, second)]
    targets = [second.id, first.id]
    results = together(2, lambda n: people.disable(desk.runtime, actors[n], desk.operator, targets[n]))
    assert sorted(type(each).__name__ for each in results) == ["NoneType", "Unauthorized"]
    states = desk.rows("SELECT state FROM person WHERE role = 'admin' AND operator_id = :op", op=desk.operator)
    assert sorted(each["state"] for each in states) == ["active", "disabled"]


def test_a_login_is_one_for_all(desk):
    """Of two who are invited by one login at once, one is; what is no login is named."""
    def work(_number: int) -> Any:
        return people.add(desk.runtime, people.by_command(WHY), desk.operator, login="New", name="N", role="viewer")

    results = together(2, work)
    assert sorted(type(each).__name__ for each in results) == ["Conflict", "tuple"]
    with pytest.raises(Conflict):
        people.add(desk.runtime, people.by_command(WHY), desk.other, login="new", name="N", role="viewer")
    for login, name, role, field in (("a", "N", "viewer", "login"), ("a b c", "N", "viewer", "login"),
                                     ("good", " ", "viewer", "name"), ("good", "N", "owner", "role")):  # fmt: skip
        with pytest.raises(Invalid) as refused:
            people.add(desk.runtime, people.by_command(WHY), desk.operator, login=login, name=name, role=role)
        assert set(refused.value.fields) == {field}


def test_who_was_disabled_comes_back_with_what_they_had(desk):
    """Enabled again: their factors, and no sitting of before."""
    token, _ = sit(desk, "operator")
    ann = desk.people["operator"].id
    people.disable(desk.runtime, actor(desk), desk.operator, ann)
    people.enable(desk.runtime, actor(desk), desk.operator, ann)
    assert not stands(desk, token)
    notes = desk.rows("SELECT * FROM access_note ORDER BY id")
    told = [(each["kind"], each["before"], each["after"]) for each in notes]
    assert told == [
        ("disable", "active", "disabled"), ("enable", "disabled, vouched for", "active, not vouched for"),
    ]  # fmt: skip


@pytest.mark.parametrize("made_by", [None, "admin-bob"])
def test_whom_one_admin_lets_in_again_another_vouches_for(desk, made_by):
    """Issue 5 §2: Bob disabled an approver who has left; Ann alone does not bring their vote back."""
    bob = crew.hire(desk.runtime, desk.operator, Role.ADMIN, "admin-bob")
    ann = desk.people["approver"].id
    if made_by:
        desk.write("UPDATE person SET made_by = :bob, vouched_by = :admin, vouched_at = 1 WHERE id = :id",
                   bob=bob.id, admin=desk.people["admin"].id, id=ann)  # fmt: skip
    people.disable(desk.runtime, people.by_admin(seat(desk.runtime, bob)[1], WHY), desk.operator, ann)
    people.enable(desk.runtime, actor(desk), desk.operator, ann)
    assert crew.person(desk.runtime, ann).role == Role.OPERATOR
    with pytest.raises(Forbidden, match="four eyes"):
        crew.vouch(desk.runtime, actor(desk), desk.operator, ann)
    crew.vouch(desk.runtime, people.by_admin(seat(desk.runtime, bob)[1], WHY), desk.operator, ann)
    assert crew.person(desk.runtime, ann).role == Role.APPROVER


def test_the_command_line_lets_in_again_as_it_was(desk):
    """It needs no voucher and gives none: who had one has it, who had none is in the hand that they were in."""
    for who, made_by in (("approver", None), ("operator", desk.people["admin"].id)):
        one = desk.people[who].id
        desk.write("UPDATE person SET made_by = :by WHERE id = :id", by=made_by, id=one)
        people.disable(desk.runtime, people.by_command(WHY), desk.operator, one)
        people.enable(desk.runtime, people.by_command(WHY), desk.operator, one)
        told = desk.rows("SELECT made_by, vouched_by FROM person WHERE id = :id", id=one)
        assert told == [{"made_by": made_by, "vouched_by": None}]


def test_a_role_of_the_command_line_vouches_for_nobody(desk):
    """Issue 5 §2: Ann asks an engineer for another role for her own puppet: it is as little vouched for as before,
    until `people vouch` says so, and that is noted. Bob's voucher was for the role that he saw, and whose hand somebody
    is in stays in the row; whom no admin has in hand needs no voucher."""
    ann, bob = desk.people["admin"].id, crew.hire(desk.runtime, desk.operator, Role.ADMIN, "admin-bob").id
    for who, made_by, vouched_by in (("viewer", ann, None), ("operator", ann, bob), ("approver", None, None)):
        one = desk.people[who].id
        desk.write("UPDATE person SET made_by = :made_by, vouched_by = :by, vouched_at = :at WHERE id = :id",
                   made_by=made_by, by=vouched_by, at=vouched_by and 1, id=one)  # fmt: skip
        given = "approver" if who != "approver" else "operator"
        people.give_role(desk.runtime, people.by_command(WHY), desk.operator, one, given)
        now = crew.person(desk.runtime, one)
        assert (now.granted, now.vouched, now.role) == (Role(given), made_by is None, Role.OPERATOR)
        (row,) = desk.rows("SELECT made_by, vouched_by, vouched_at FROM person WHERE id = :id", id=one)
        assert row == {"made_by": made_by, "vouched_by": None, "vouched_at": None}
    assert desk.notes("vouch") == []
    with pytest.raises(Forbidden, match="four eyes"):
        crew.vouch(desk.runtime, actor(desk), desk.operator, desk.people["viewer"].id)
    crew.vouch(desk.runtime, people.by_command(WHY), desk.operator, desk.people["viewer"].id)
    assert crew.person(desk.runtime, desk.people["viewer"].id).role == Role.APPROVER
    told = [(each["address"], each["before"], each["after"]) for each in desk.notes("vouch")]
    assert told == [("command line", "approver, not vouched for", "approver, vouched for")]


@pytest.mark.parametrize("gone", ["disabled", "no admin", "unvouched"])
def test_nobody_is_sent_to_an_admin_who_is_none_any_more(desk, gone):
    """Ann let them in and cannot act: what is left is the command line, and Bob is told so."""
    ann, bob = desk.people["admin"].id, crew.hire(desk.runtime, desk.operator, Role.ADMIN, "admin-bob")
    new = crew.hire(desk.runtime, desk.operator, Role.OPERATOR, "new", made_by=ann).id
    change = {"disabled": "state = 'disabled'", "no admin": "role = 'viewer'", "unvouched": "made_by = :bob"}[gone]
    desk.write(f"UPDATE person SET {change} WHERE id = :ann", ann=ann, **({"bob": bob.id} if ":bob" in change else {}))
    with pytest.raises(Conflict, match="admin-ann let them in") as refused:
        people.give_role(desk.runtime, people.by_admin(seat(desk.runtime, bob)[1], WHY), desk.operator, new, "viewer")
    assert ": only the command line gives the role. Vouch for nobody" in refused.value.detail


def test_to_enable_hides_nobody_who_made_them(desk):
    """Issue 5 §2: Ann's puppet stays Ann's, whichever admin lets it in again."""
    bob = crew.hire(desk.runtime, desk.operator, Role.ADMIN, "admin-bob")
    puppet = desk.people["approver"].id
    desk.write("UPDATE person SET made_by = :by WHERE id = :id", by=desk.people["admin"].id, id=puppet)
    people.disable(desk.runtime, actor(desk), desk.operator, puppet)
    people.enable(desk.runtime, people.by_admin(seat(desk.runtime, bob)[1], WHY), desk.operator, puppet)
    with pytest.raises(Forbidden, match="four eyes"):
        crew.vouch(desk.runtime, actor(desk), desk.operator, puppet)


def test_notes_are_for_ever(desk):
    """I-07 GLI-19 B.6.5: nobody changes or takes away what was written of an access."""
    people.disable(desk.runtime, actor(desk), desk.operator, desk.people["viewer"].id)
    for statement in ("UPDATE access_note SET outcome = 'refused'", "DELETE FROM access_note"):
        with pytest.raises(DBAPIError):
            desk.write(statement)


def test_a_note_and_what_it_tells_are_one(desk, monkeypatch):
    """Where the note cannot be written, nothing is changed."""

    def full(*_given: Any, **_told: Any) -> None:
        raise OSError("no room")

    monkeypatch.setattr(accesses, "note", full)
    with pytest.raises(OSError, match="no room"):
        people.disable(desk.runtime, actor(desk), desk.operator, desk.people["viewer"].id)
    assert desk.rows("SELECT state FROM person WHERE login = 'viewer-ann'") == [{"state": "active"}]
