"""Passkeys: made by who sits there, shown to come in or to prove; bound to the desk's name, counted, removed."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from bridge.desk import doorkeeper, entering, passkeys, proving, sittings
from bridge.errors import Invalid, NotFound, Unauthorized
from tests.desk import crew
from tests.desk.authenticator import Authenticator
from tests.desk.crew import ADDRESS, PASSWORD, code, seat
from tests.harness import together

HERE = passkeys.Place("localhost", "http://localhost")


def enrolled(desk: Any, who: str = "approver") -> tuple[Authenticator, sittings.Sitting]:
    """(a passkey of a person, their sitting)."""
    sitting = seat(desk.runtime, crew.person(desk.runtime, desk.people[who].id))[1]
    made = Authenticator()
    options = passkeys.ask_to_enrol(desk.runtime, sitting, HERE)
    passkeys.enrol(desk.runtime, sitting, HERE, made.make(options), "laptop")
    return made, sitting


def signed(desk: Any, passkey: Authenticator, purpose: str = passkeys.ENTER, person_id: str | None = None) -> Any:
    """An answer to a new challenge."""
    return passkey.sign(passkeys.ask_to_show(desk.runtime, HERE, purpose, person_id))


def enter(desk: Any, credential: Any, password: str = "") -> str:
    """Come in by a passkey."""
    return entering.by_passkey(desk.runtime, HERE, credential, password=password, address=ADDRESS)


def lock(desk: Any, login: str = "approver-ann") -> None:
    """Three wrong tries of a stranger."""
    for _ in range(3):
        with pytest.raises(entering.NotLetIn):
            entering.by_password(desk.runtime, login=login, password="not it at all", code="000000", address="x")


def test_a_passkey_lets_its_person_in(desk):
    """Issue 5 §3: a passkey where wished; both factors in one, and a sitting that is proved."""
    passkey, _ = enrolled(desk)
    sitting = sittings.find(desk.runtime, enter(desk, signed(desk, passkey)), ADDRESS, moved=True)
    assert sitting is not None
    assert sitting.person.login == "approver-ann"
    assert sittings.is_proved(desk.runtime, sitting)
    assert desk.rows("SELECT label, sign_count FROM passkey") == [{"label": "laptop", "sign_count": 1}]


def test_a_refused_passkey_is_noted(desk):
    """Issue 5 §3: every access: with its person where it says to be theirs, with nobody where a stranger's has signed
    what was asked here. What is nobody's and has signed nothing of ours is no try of anybody's."""
    passkey, _ = enrolled(desk)
    used = signed(desk, passkey)
    enter(desk, copy.deepcopy(used))
    for credential in (used, signed(desk, Authenticator()), {"id": "AAAA"}, "no credential", None):
        with pytest.raises(Invalid):
            enter(desk, credential)
    notes = [(each["person_id"], each["outcome"], each["reason"]) for each in desk.notes("enter")[1:]]
    assert notes == [(desk.people["approver"].id, "refused", "passkey"), (None, "refused", "passkey")]


def test_strangers_do_not_fill_the_notes_by_passkey(desk, monkeypatch):
    """Security row 25: however many networks they have, so many refused passkeys are noted and no more; a good one is
    let in meanwhile."""
    monkeypatch.setattr(doorkeeper, "BY_REFUSED_PASSKEYS", doorkeeper.Pace(3, 10))
    passkey, _ = enrolled(desk)
    stranger = Authenticator()
    for number in range(8):
        with pytest.raises(Invalid if number < 3 else doorkeeper.TooManyTries):
            enter(desk, signed(desk, stranger))
        with pytest.raises(Invalid):
            enter(desk, {"id": f"junk {number}"})
    assert len(desk.notes("enter")) == 3
    assert enter(desk, signed(desk, passkey))
    desk.hands.turn(10)
    with pytest.raises(Invalid):
        enter(desk, signed(desk, stranger))
    assert [each["outcome"] for each in desk.notes("enter")] == ["refused"] * 3 + ["done", "refused"]


def test_what_was_signed_is_good_once(desk):
    """A challenge is used up by whatever comes of it; the same answer twice at once lets one in."""
    passkey, _ = enrolled(desk)
    credential = signed(desk, passkey)
    results = together(2, lambda _number: enter(desk, copy.deepcopy(credential)))
    assert sorted(type(each).__name__ for each in results) == ["Unasked", "str"]
    late = signed(desk, passkey)
    desk.hands.turn(5 * 60)
    with pytest.raises(Invalid):
        enter(desk, late)


def altered(desk: Any, passkey: Authenticator) -> dict[str, Any]:
    """Answers that are each wrong in one way."""
    whole = {name: signed(desk, passkey) for name in ("signature", "id", "challenge", "nothing", "list")}
    whole["signature"]["response"]["signature"] = whole["signature"]["response"]["signature"][:-4] + "AAAA"
    whole["id"] |= {"id": "AAAA", "rawId": "AAAA"}
    whole["challenge"]["response"]["clientDataJSON"] = "e30"
    whole["nothing"], whole["list"] = None, ["x"]  # type: ignore[assignment]
    elsewhere, unverified, other = (copy.copy(passkey) for _ in range(3))
    elsewhere.origin, unverified.verifies, other.host = "https://evil.example", False, "evil.example"
    whole |= {"origin": signed(desk, elsewhere), "unverified": signed(desk, unverified), "host": signed(desk, other)}
    whole["another's"] = signed(desk, Authenticator(id=passkey.id))
    whole["enrolment"] = passkey.sign(passkeys.ask_to_enrol(desk.runtime, enrolled(desk, "viewer")[1], HERE))
    whole["nul"] = {**signed(desk, passkey), "id": "a\0b"}
    return whole


def test_whatever_is_wrong_with_it_lets_nobody_in(desk, subtests):
    """ASVS 6.5: another signature, id, challenge, origin, host, purpose, or an authenticator that verified nobody."""
    passkey, _ = enrolled(desk)
    before = len(desk.rows("SELECT * FROM sitting"))
    for name, credential in altered(desk, passkey).items():
        with subtests.test(wrong=name), pytest.raises(Invalid):
            enter(desk, credential)
    assert len(desk.rows("SELECT * FROM sitting")) == before + 1, "the viewer's, who enrolled"


def test_a_copy_of_a_passkey_is_noticed(desk):
    """WebAuthn §6.1.1: a counter that does not grow is a copy: refused."""
    passkey, _ = enrolled(desk)
    clone = copy.copy(passkey)
    enter(desk, signed(desk, passkey))
    enter(desk, signed(desk, passkey))
    with pytest.raises(Invalid):
        enter(desk, signed(desk, clone))


def test_a_passkey_does_not_open_a_lock_by_itself(desk):
    """Issue 5 §3: a lock keeps a passkey out too; together with the password it is the way past it."""
    passkey, _ = enrolled(desk)
    lock(desk)
    for password in ("", "not the password"):
        with pytest.raises(entering.NotLetIn):
            enter(desk, signed(desk, passkey), password)
    assert enter(desk, signed(desk, passkey), PASSWORD)
    assert desk.rows("SELECT failures, locked_at FROM person WHERE login = 'approver-ann'") == [
        {"failures": 0, "locked_at": None}
    ]
    assert [each["reason"] for each in desk.notes("unlock")] == ["passkey"]


def test_a_removed_passkey_is_none(desk):
    """Removable: by its person alone, at once, and also while it is being shown."""
    passkey, sitting = enrolled(desk)
    credential = signed(desk, passkey)
    others = seat(desk.runtime, desk.people["viewer"])[1]
    passkey_id = desk.rows("SELECT id FROM passkey")[0]["id"]
    with pytest.raises(NotFound):
        passkeys.remove(desk.runtime, others, passkey_id)
    passkeys.remove(desk.runtime, sitting, passkey_id)
    with pytest.raises(Invalid):
        enter(desk, credential)
    assert passkeys.listed(desk.runtime, sitting.person.id) == []


def test_a_disabled_persons_passkey_lets_nobody_in(desk):
    """State counts, not what is in somebody's pocket."""
    passkey, _ = enrolled(desk)
    desk.write("UPDATE person SET state = 'disabled' WHERE login = 'approver-ann'")
    with pytest.raises(entering.NotLetIn):
        enter(desk, signed(desk, passkey))


def test_ones_own_passkey_proves(desk):
    """ASVS 7.5.3: before a money action; somebody else's does not, and what is wrong counts on the sitting."""
    passkey, sitting = enrolled(desk)
    theirs, _ = enrolled(desk, "viewer")
    desk.hands.turn(6 * 60)
    assert not sittings.is_proved(desk.runtime, sitting)
    proving.by_passkey(desk.runtime, sitting, HERE, signed(desk, passkey, passkeys.PROVE, sitting.person.id))
    assert desk.rows("SELECT MAX(proved_at) AS at FROM sitting")[0]["at"] == desk.hands.now()
    for trouble in (Invalid, Invalid, Unauthorized):
        with pytest.raises(trouble):
            proving.by_passkey(desk.runtime, sitting, HERE, signed(desk, theirs, passkeys.PROVE, sitting.person.id))
    entry = signed(desk, passkey, passkeys.ENTER)
    with pytest.raises((Invalid, Unauthorized)):
        proving.by_passkey(desk.runtime, sitting, HERE, entry)
    assert code(desk.runtime)


def test_the_same_passkey_is_not_enrolled_twice(desk):
    """Nor by somebody else: an id is one person's."""
    passkey, sitting = enrolled(desk)
    other = seat(desk.runtime, desk.people["viewer"])[1]
    for who in (sitting, other):
        options = passkeys.ask_to_enrol(desk.runtime, who, HERE)
        with pytest.raises(Exception, match="known already"):
            passkeys.enrol(desk.runtime, who, HERE, passkey.make(options), "again")
    assert [each["id"] for each in passkeys.ask_to_enrol(desk.runtime, sitting, HERE)["excludeCredentials"]] == [
        desk.rows("SELECT id FROM passkey")[0]["id"]
    ]
