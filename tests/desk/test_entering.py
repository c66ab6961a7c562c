"""Coming in: one answer to whatever is wrong, three tries, a lock, and the ways past it; alone and many at once."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from bridge.desk import doorkeeper, entering, passwords, sittings
from bridge.errors import Invalid, Unavailable
from bridge.ports import SECOND
from tests.desk.crew import ADDRESS, PASSWORD, WHY, code, person, seat
from tests.harness import together

LOGIN = "approver-ann"


def enter(desk: Any, *, login: str = LOGIN, password: str = PASSWORD, told: str | None = None,
          address: str = ADDRESS, **more: Any) -> str:  # fmt: skip
    """One try; the code of now unless another is told."""
    given = code(desk.runtime) if told is None else told
    return entering.by_password(
        desk.runtime, login=login, password=password, code=given, address=address, **more
    )


def wrong(desk: Any, times: int = 1) -> None:
    """So many wrong passwords of a stranger."""
    for _ in range(times):
        with pytest.raises(entering.NotLetIn):
            enter(desk, password="not the password", address="203.0.113.7")


def row(desk: Any, login: str = LOGIN) -> dict[str, Any]:
    """The row of a person."""
    return desk.rows("SELECT * FROM person WHERE login = :login", login=login)[0]


def recovery(desk: Any, login: str = LOGIN) -> list[str]:
    """Ten recovery codes."""
    from bridge import db
    from bridge.desk import codes

    with db.writing(desk.runtime.engine) as connection:
        return list(codes.new_recovery_codes(connection, desk.runtime, row(desk, login)["id"]))


def found(desk: Any, token: str) -> sittings.Sitting | None:
    """Whose sitting a cookie is."""
    return sittings.find(desk.runtime, token, ADDRESS, moved=False)


def test_who_shows_both_factors_comes_in(desk):
    """Security row 25: password and code, and a sitting of one's own; written down with the address."""
    sitting = found(desk, enter(desk, login=f"  {LOGIN.upper()} "))
    assert sitting is not None
    assert sitting.person.login == LOGIN
    note = desk.notes("enter")[-1]
    assert (note["outcome"], note["person_id"], note["operator_id"]) == ("done", sitting.person.id, desk.operator)
    assert (note["address"], note["reason"], note["login"]) == (ADDRESS, "password", None)


@pytest.mark.parametrize(
    "given", [{"password": "not the password"}, {"told": "000000"}, {"login": "nobody-here"}, {"told": "not a code"},
              {"login": "invited-ann"}, {"login": "disabled-ann"}],
)  # fmt: skip
def test_there_is_one_answer_to_whatever_is_wrong(desk, given):
    """GLI-19 2.5.3 (d): the same error whichever credential was wrong; unknown, invited and disabled alike."""
    desk.write("UPDATE person SET state = 'invited', login = 'invited-ann' WHERE login = 'viewer-ann'")
    desk.write("UPDATE person SET state = 'disabled', login = 'disabled-ann' WHERE login = 'operator-ann'")
    with pytest.raises(entering.NotLetIn) as refused:
        enter(desk, **given)
    assert (refused.value.status, refused.value.fields) == (403, {})
    assert refused.value.detail == str(entering.NotLetIn())
    note = desk.notes("enter")[-1]
    assert note["outcome"] == "refused"
    is_nobodys = given.get("login") == "nobody-here"
    assert (note["login"], note["operator_id"]) == (("nobody-here", None) if is_nobodys else (None, desk.operator))
    assert desk.rows("SELECT * FROM sitting") == []


def test_an_unknown_login_takes_as_long_as_a_known_one(desk, monkeypatch):
    """Security row 25: each try compares exactly one password, whoever it names; nothing tells by its time who is
    known."""
    compared: list[str] = []
    fits = passwords._hasher.verify

    class Counting:
        def verify(self, kept: str, told: str) -> bool:
            compared.append(kept)
            return fits(kept, told)

    passwords._nobodys()
    monkeypatch.setattr(passwords, "_hasher", Counting())
    for login in (LOGIN, "nobody-here"):
        with pytest.raises(entering.NotLetIn):
            enter(desk, login=login, password="not the password")
    desk.write("UPDATE person SET state = 'disabled' WHERE login = :login", login=LOGIN)
    with pytest.raises(entering.NotLetIn):
        enter(desk)
    assert len(compared) == 3
    assert compared[1] == compared[2] == passwords._nobodys()


@pytest.mark.parametrize("state", ["disabled", "invited"])
def test_tries_on_who_may_not_come_in_are_shown_to_their_operator(desk, state):
    """Issue 5 §3: that somebody tries the account of a person who has left is for the admins to see; it locks nobody,
    and the gate says what it says to everybody."""
    desk.write("UPDATE person SET state = :state WHERE login = :login", state=state, login=LOGIN)
    for _ in range(5):
        with pytest.raises(entering.NotLetIn):
            enter(desk)
    ann = desk.people["approver"]
    notes = [(each["person_id"], each["operator_id"], each["outcome"], each["login"]) for each in desk.notes("enter")]
    assert notes == [(ann.id, desk.operator, "refused", None)] * 5
    assert desk.notes("lock") == []
    assert (row(desk)["failures"], row(desk)["locked_at"]) == (0, None)
    page = desk.sitting("admin").get(f"/ops/people/{ann.id}").text
    assert page.count("refused") == 5


@pytest.mark.parametrize("empty", ["login", "password", "code"])
def test_what_is_left_empty_is_no_try(desk, empty):
    """A form sent too early names its field, and counts as nothing."""
    told = {"login": LOGIN, "password": PASSWORD, "code": code(desk.runtime), empty: ""}
    for _ in range(5):
        with pytest.raises(Invalid) as refused:
            entering.by_password(desk.runtime, **told, address=ADDRESS)
        assert set(refused.value.fields) == {empty}
    assert row(desk)["failures"] == 0
    assert desk.notes("enter") == []


def test_a_code_is_good_once(desk):
    """Security row 25: a one-time code, and every one before it, is used up by coming in."""
    first = code(desk.runtime)
    enter(desk, told=first)
    with pytest.raises(entering.NotLetIn):
        enter(desk, told=first)
    with pytest.raises(entering.NotLetIn):
        enter(desk, told=code(desk.runtime, steps=-1))
    desk.hands.turn(30)
    enter(desk)


@pytest.mark.parametrize(("steps", "comes_in"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_phone_may_be_off_by_one_step(desk, steps, comes_in):
    """Security row 25: a skew of one step, 30 seconds, and no more."""
    if comes_in:
        assert enter(desk, told=code(desk.runtime, steps=steps))
    else:
        with pytest.raises(entering.NotLetIn):
            enter(desk, told=code(desk.runtime, steps=steps))


def test_one_code_used_twice_at_once_lets_one_in(desk):
    """Security row 25: of two that use one code at the same instant, one comes in."""
    told = code(desk.runtime)
    results = together(2, lambda _number: enter(desk, told=told))
    assert sorted(type(each).__name__ for each in results) == ["NotLetIn", "str"]
    assert len(desk.rows("SELECT * FROM sitting")) == 1


def test_three_wrong_tries_lock(desk):
    """GLI-19 2.5.3 (d): the third wrong try within 30 minutes locks; the right password and code do not help then."""
    wrong(desk, 2)
    assert row(desk)["locked_at"] is None
    wrong(desk)
    assert row(desk)["locked_at"] == desk.hands.now()
    with pytest.raises(entering.NotLetIn):
        enter(desk)
    desk.hands.turn(86_400)
    with pytest.raises(entering.NotLetIn):
        enter(desk)
    lock = desk.notes("lock")
    assert [(each["subject"], each["address"]) for each in lock] == [(row(desk)["id"], "203.0.113.7")]


def test_old_failures_are_forgotten(desk):
    """GLI-19 2.5.3 (d): three within 30 minutes, not three in a life; and success forgets."""
    wrong(desk, 2)
    desk.hands.turn(30 * 60 + 1)
    wrong(desk, 2)
    assert row(desk)["locked_at"] is None
    enter(desk)
    assert row(desk)["failures"] == 0
    wrong(desk, 2)
    assert row(desk)["locked_at"] is None


def test_many_wrong_tries_at_once_are_three(desk):
    """GLI-19 2.5.3 (d): ten wrong guesses at once are three that count and a lock, not ten."""
    guesses = [f"guess number {number}" for number in range(10)]
    results = together(10, lambda number: enter(desk, password=guesses[number], address=f"203.0.113.{number}"))
    assert {type(each) for each in results} == {entering.NotLetIn}
    assert row(desk)["failures"] == 3
    assert row(desk)["locked_at"] is not None
    desk.hands.turn(3600)
    with pytest.raises(entering.NotLetIn):
        enter(desk)


def test_a_right_guess_among_many_is_not_let_in_beyond_the_third(desk):
    """GLI-19 2.5.3 (d): while three tries are under way, a fourth is refused even where it is right."""
    began = [entering._begin_try(desk.runtime, LOGIN) for _ in range(4)]
    assert [each.begun is None for each in began] == [False] * 3 + [True]
    with pytest.raises(entering.NotLetIn):
        enter(desk)
    assert desk.rows("SELECT * FROM sitting") == []


def test_who_dies_between_counting_and_comparing_has_tried_for_a_minute(desk):
    """GLI-19 2.5.3 (d): tries whose processes died shut a login while they could still be judged; they locked nothing,
    for nobody was wrong, and later they are forgotten."""
    from bridge.desk import people
    from bridge.errors import Conflict
    from bridge.models.desk import InvitationKind

    for _ in range(3):
        entering._begin_try(desk.runtime, LOGIN)
    with pytest.raises(entering.NotLetIn, match="three wrong tries have locked it, or three are under way"):
        enter(desk)
    desk.hands.turn(59)
    with pytest.raises(entering.NotLetIn):
        enter(desk)
    with pytest.raises(Conflict, match="not locked"):
        ann = desk.people["approver"].id
        people.link(desk.runtime, people.by_command(WHY), desk.operator, ann, InvitationKind.UNLOCK)
    desk.hands.turn(1)
    assert enter(desk)
    assert desk.notes("lock") == []
    assert desk.rows("SELECT * FROM challenge") == []


def test_tries_begun_by_a_clock_that_was_ahead_shut_nothing(desk):
    """Three tries of a process that died with its clock a day ahead had shut a login until tomorrow, with no lock that
    anybody could open; a try is under way for a minute, by whatever clock."""
    desk.hands.turn(86_400)
    for _ in range(3):
        entering._begin_try(desk.runtime, LOGIN)
    desk.hands.turn(-86_400)
    assert enter(desk)
    assert desk.rows("SELECT * FROM challenge") == []


def test_tries_begun_by_a_clock_that_is_a_little_ahead_are_under_way(desk):
    """GLI-19 2.5.3 (d): whose clock is seconds behind that of another process judges no fourth guess for it."""
    for _ in range(3):
        entering._begin_try(desk.runtime, LOGIN)
    desk.hands.turn(-30)
    with pytest.raises(entering.NotLetIn):
        enter(desk)


def test_a_strangers_tries_end_nobodys_sitting(desk):
    """A lock keeps out who wants to come in; who sits already works on, and may prove that it is still they."""
    from bridge.desk import proving

    token, sitting = seat(desk.runtime, desk.people["approver"])
    wrong(desk, 3)
    assert found(desk, token) is not None
    proving.by_code(desk.runtime, sitting, code(desk.runtime))


def test_password_and_recovery_code_open_a_lock(desk):
    """The way past a lock that nobody else can go: what they know, and what they kept; the code is used up."""
    codes = recovery(desk)
    wrong(desk, 3)
    with pytest.raises(entering.NotLetIn):
        enter(desk, password="not the password", told=codes[0])
    assert found(desk, enter(desk, told=codes[0].upper())) is not None
    assert (row(desk)["locked_at"], row(desk)["failures"]) == (None, 0)
    assert [(each["reason"], each["outcome"]) for each in desk.notes("unlock")] == [("password", "done")]
    assert enter(desk)


def test_a_recovery_code_is_good_once(desk):
    """Of two that use one at once, one comes in; new ones make those before worthless."""
    codes = recovery(desk)
    results = together(2, lambda _number: enter(desk, told=codes[0]))
    assert sorted(type(each).__name__ for each in results) == ["NotLetIn", "str"]
    with pytest.raises(entering.NotLetIn):
        enter(desk, told=codes[0])
    again = recovery(desk)
    with pytest.raises(entering.NotLetIn):
        enter(desk, told=codes[1])
    assert enter(desk, told=again[0])
    assert set(codes) & set(again) == set()


def test_anothers_recovery_code_opens_nothing(desk):
    """A recovery code is its person's own."""
    theirs = recovery(desk, "viewer-ann")
    with pytest.raises(entering.NotLetIn):
        enter(desk, told=theirs[0])


def test_a_password_that_was_changed_meanwhile_does_not_count(desk, monkeypatch):
    """What was compared must still be what counts when the door opens."""
    fits = passwords.fits

    def slow(told: str, kept: str | None) -> bool:
        desk.write("UPDATE person SET password_hash = 'another' WHERE login = :login", login=LOGIN)
        return fits(told, kept)

    monkeypatch.setattr(passwords, "fits", slow)
    with pytest.raises(entering.NotLetIn):
        enter(desk)


def test_coming_in_ends_the_sitting_that_the_browser_had(desk):
    """Security row 25 (session fixation): a cookie that was there before is worth nothing afterwards."""
    planted, _ = seat(desk.runtime, desk.people["viewer"])
    token = enter(desk, instead_of=planted)
    assert token != planted
    assert found(desk, planted) is None
    assert found(desk, token) is not None


def test_no_transaction_is_open_while_a_password_is_compared(desk, monkeypatch):
    """A hash takes a tenth of a second: nobody waits for a row meanwhile, and no connection is held."""
    fits, held = passwords.fits, []

    def watched(told: str, kept: str | None) -> bool:
        held.append(desk.runtime.engine.pool.checkedout())
        return fits(told, kept)

    monkeypatch.setattr(passwords, "fits", watched)
    enter(desk)
    assert held == [0]


def test_with_another_secret_nobody_is_locked_out_for_it(desk):
    """Where `desk.secret` was exchanged, codes cannot be checked: that is said, and is nobody's wrong try for ever."""
    from pydantic import SecretStr

    object.__setattr__(desk.runtime.config.desk, "secret", SecretStr("another secret, and long enough as well"))
    with pytest.raises(Unavailable):
        enter(desk)
    assert row(desk)["locked_at"] is None
    assert row(desk)["failures"] == 0
    assert enter(desk, told=recovery(desk)[0])


def test_a_try_that_nobody_could_judge_does_not_count(desk, monkeypatch):
    """Whoever comes while too many do is told to come again, and is shut out by it not at all."""
    fits = passwords.fits
    monkeypatch.setattr(passwords, "fits", lambda *_given: (_ for _ in ()).throw(Unavailable(code="busy")))
    for _ in range(5):
        with pytest.raises(Unavailable):
            enter(desk)
    assert (row(desk)["failures"], row(desk)["locked_at"]) == (0, None)
    monkeypatch.setattr(passwords, "fits", fits)
    assert enter(desk)


@pytest.mark.parametrize("ended_by", ["taking back", "time"])
def test_only_wrong_tries_lock(desk, ended_by):
    """GLI-19 2.5.3 (d): two that wait for their turn and are sent away, and one that is wrong, are one wrong try; the
    third wrong one locks."""
    waiting = [entering._begin_try(desk.runtime, LOGIN) for _ in range(2)]
    wrong(desk)
    assert (row(desk)["failures"], row(desk)["locked_at"]) == (1, None)
    with pytest.raises(entering.NotLetIn):
        enter(desk)
    if ended_by == "time":
        desk.hands.turn(60)
    else:
        for each in waiting:
            entering._take_back(desk.runtime, each)
    wrong(desk)
    assert row(desk)["locked_at"] is None
    wrong(desk)
    assert row(desk)["locked_at"] == desk.hands.now()
    assert [each["reason"] for each in desk.notes("lock")] == ["3 wrong tries"]


@pytest.mark.parametrize("broken", ["comparing", "judging", "taking back"])
def test_a_database_that_fails_locks_nobody(desk, monkeypatch, broken):
    """Whoever comes while the database fails was not wrong: their tries do not stay, or for a minute at most."""
    from sqlalchemy.exc import OperationalError

    def fail(*_given: Any, **_told: Any) -> None:
        raise OperationalError("SELECT 1", {}, OSError("gone"))

    with monkeypatch.context() as patched:
        patched.setattr(*{"comparing": (passwords, "fits", fail)}.get(broken, (entering, "_seat", fail)))
        if broken == "taking back":
            patched.setattr(entering, "_take_back", fail)
        for _ in range(3):
            with pytest.raises(OperationalError):
                enter(desk)
    if broken == "taking back":
        desk.hands.turn(60)
    assert enter(desk)
    assert desk.notes("lock") == []


# --- the doorkeeper -----------------------------------------------------------------------------------


def test_who_sprays_waits(desk):
    """Security row 25: one address, many logins: 30 tries, then one every ten seconds, whatever the answers were."""
    for number in range(30):
        doorkeeper.knock(desk.runtime, "203.0.113.7", f"login-{number}")
    with pytest.raises(doorkeeper.TooManyTries) as refused:
        doorkeeper.knock(desk.runtime, "203.0.113.7", "login-x")
    assert (refused.value.status, refused.value.after_seconds) == (429, 11)
    doorkeeper.knock(desk.runtime, "203.0.113.8", "login-x")
    desk.hands.turn(10)
    doorkeeper.knock(desk.runtime, "203.0.113.7", "login-y")
    with pytest.raises(doorkeeper.TooManyTries):
        doorkeeper.knock(desk.runtime, "203.0.113.7", "login-y")


def test_one_login_is_tried_at_a_pace_from_everywhere(desk):
    """Security row 25: many addresses, one login: ten tries, then one every twenty seconds."""
    for number in range(10):
        doorkeeper.knock(desk.runtime, f"203.0.113.{number}", LOGIN)
    with pytest.raises(doorkeeper.TooManyTries):
        doorkeeper.knock(desk.runtime, "203.0.113.99", LOGIN)
    doorkeeper.knock(desk.runtime, "203.0.113.99", "somebody-else")
    doorkeeper.knock(desk.runtime, "203.0.113.99")


def test_one_stranger_keeps_nobody_out_who_has_a_recovery_code(desk):
    """Security row 25: a try every ten seconds under somebody's login, from one address, locks it and keeps its bucket
    empty for ever; its person opens the lock by password and recovery code all the same."""
    codes = recovery(desk)
    for number in range(60):
        with suppress(entering.NotLetIn, doorkeeper.TooManyTries):
            enter(desk, password="not the password", told="000000", address="203.0.113.9")
        if number % 20 == 19:
            with pytest.raises(doorkeeper.TooManyTries):
                enter(desk, address="198.51.100.7")
            assert enter(desk, told=codes[number // 20].upper(), address="198.51.100.7")
        desk.hands.turn(10)
    assert len(desk.notes("unlock")) == 3


def test_what_looks_like_a_recovery_code_is_counted_all_the_same(desk):
    """Security row 25: by its address and by all together, and a wrong one is a wrong try."""
    for _ in range(3):
        with pytest.raises(entering.NotLetIn):
            enter(desk, told="aaaa-bbbb-cccc-dddd", address="203.0.113.7")
    assert row(desk)["locked_at"] is not None
    keys = {each["key"] for each in desk.rows("SELECT key FROM doorkeeper")}
    assert keys == {"address 203.0.113.7", "the gate"}
    for _ in range(27):
        with pytest.raises(entering.NotLetIn):
            enter(desk, told="aaaa-bbbb-cccc-dddd", address="203.0.113.7")
    with pytest.raises(doorkeeper.TooManyTries):
        enter(desk, told="aaaa-bbbb-cccc-dddd", address="203.0.113.7")


def test_all_strangers_together_have_one_bucket(desk):
    """Security row 25: a thousand networks, a login each: 120 tries, then one a second; passkeys and links go past it,
    and who is refused by their own bucket takes nothing from the others'."""
    for number in range(120):
        doorkeeper.knock(desk.runtime, f"2001:db8:0:{number:x}::1", f"login-{number}", at_gate=True)
    with pytest.raises(doorkeeper.TooManyTries) as refused:
        doorkeeper.knock(desk.runtime, "198.51.100.1", LOGIN, at_gate=True)
    assert refused.value.after_seconds == 2
    doorkeeper.knock(desk.runtime, "198.51.100.2")
    desk.hands.turn(1)
    doorkeeper.knock(desk.runtime, "198.51.100.3", "somebody-else", at_gate=True)
    desk.hands.turn(120)
    before = desk.rows("SELECT full_at FROM doorkeeper WHERE key = 'the gate'")
    for _ in range(30):
        doorkeeper.knock(desk.runtime, "198.51.100.4")
    for _ in range(10):
        with pytest.raises(doorkeeper.TooManyTries):
            doorkeeper.knock(desk.runtime, "198.51.100.4", "somebody-third", at_gate=True)
    assert desk.rows("SELECT full_at FROM doorkeeper WHERE key = 'the gate'") == before


def test_who_is_refused_by_their_address_takes_nothing_from_others(desk):
    """Security row 25: an address that has had its tries empties nobody's login, and fills no table with logins that it
    makes up; who is refused by a login that is empty takes nothing from the gate."""
    for _ in range(30):
        doorkeeper.knock(desk.runtime, "203.0.113.7", at_gate=True)
    before = desk.rows("SELECT * FROM doorkeeper ORDER BY key")
    for number in range(20):
        for login in (LOGIN, f"made-up-{number}"):
            with pytest.raises(doorkeeper.TooManyTries):
                doorkeeper.knock(desk.runtime, "203.0.113.7", login, at_gate=True)
    assert desk.rows("SELECT * FROM doorkeeper ORDER BY key") == before
    for _ in range(10):
        doorkeeper.knock(desk.runtime, "198.51.100.1", LOGIN)
    with pytest.raises(doorkeeper.TooManyTries):
        doorkeeper.knock(desk.runtime, "198.51.100.1", LOGIN, at_gate=True)
    gate = next(each for each in before if each["key"] == "the gate")
    assert desk.rows("SELECT * FROM doorkeeper WHERE key = 'the gate'") == [gate]


def test_who_is_refused_by_their_address_waits_for_no_writer(desk, monkeypatch):
    """SQLite has one writer at a time, and money needs it."""
    monkeypatch.setattr(doorkeeper, "BY_ADDRESS", doorkeeper.Pace(1, 10))
    doorkeeper.knock(desk.runtime, "203.0.113.7")
    monkeypatch.setattr(doorkeeper.db, "writing", lambda *_given: pytest.fail("it was written"))
    with pytest.raises(doorkeeper.TooManyTries):
        doorkeeper.knock(desk.runtime, "203.0.113.7", LOGIN, at_gate=True)


def test_an_ipv6_caller_has_one_bucket(desk):
    """A /64 belongs to one caller, and so does an IPv4 address however it is written."""
    for number in range(30):
        doorkeeper.knock(desk.runtime, f"2001:db8:0:1::{number:x}")
        doorkeeper.knock(desk.runtime, "::ffff:203.0.113.7" if number % 2 else "203.0.113.7")
    for address in ("2001:db8:0:1:ffff::1", "203.0.113.7", "::ffff:203.0.113.7"):
        with pytest.raises(doorkeeper.TooManyTries):
            doorkeeper.knock(desk.runtime, address)
    doorkeeper.knock(desk.runtime, "2001:db8:0:2::1")


def test_as_many_pass_at_once_as_may(desk):
    """Forty knocks at once: thirty pass, in however many processes."""
    results = together(40, lambda _number: doorkeeper.knock(desk.runtime, "203.0.113.7"))
    assert sum(each is None for each in results) == 30


def test_full_buckets_are_forgotten(desk):
    """The table does not grow with every address that ever came."""
    for number in range(5):
        doorkeeper.knock(desk.runtime, f"203.0.113.{number}")
    desk.hands.turn(2 * 3600)
    doorkeeper.knock(desk.runtime, "203.0.113.99")
    assert [each["key"] for each in desk.rows("SELECT key FROM doorkeeper")] == ["address 203.0.113.99"]


def test_a_bucket_that_is_swept_between_two_looks_is_made_anew(desk, monkeypatch):
    """The morning's first two logins at once: what one sweeps the other has just found there."""
    taken = doorkeeper.db.insert_if_absent
    told = iter([False])
    monkeypatch.setattr(doorkeeper.db, "insert_if_absent", lambda *given: next(told, None) is None and taken(*given))
    doorkeeper.knock(desk.runtime, "203.0.113.7")
    assert [each["key"] for each in desk.rows("SELECT key FROM doorkeeper")] == ["address 203.0.113.7"]


@pytest.mark.parametrize("ahead", [3600, 86_400])
def test_a_clock_that_was_ahead_keeps_nobody_out(desk, ahead):
    """One knock while the database's clock was a day ahead, and everybody waited for a day: at the gate, at an address
    and under a login. No bucket is ever honestly so empty: each counts as empty, and fills as ever."""
    desk.hands.turn(ahead)
    doorkeeper.knock(desk.runtime, ADDRESS, LOGIN, at_gate=True)
    desk.hands.turn(-ahead)
    for seconds in (10, 20, 20):  # at the address, under the login, at the gate, which takes from the login's again
        with pytest.raises(doorkeeper.TooManyTries):
            enter(desk)
        desk.hands.turn(seconds)
    enter(desk)
    with pytest.raises(doorkeeper.TooManyTries):
        doorkeeper.knock(desk.runtime, "203.0.113.9", LOGIN)


@pytest.mark.parametrize("apart", [0, 200, 300, 86_400])
def test_processes_whose_clocks_are_apart_have_one_bucket(desk, apart):
    """Whoever knocks at two of them in turn has no more tries: neither undoes what the other has counted."""

    class Ahead:
        def now(self) -> int:
            return int(desk.hands.now()) + apart * SECOND

    two = (desk.runtime, replace(desk.runtime, clock=Ahead()))

    def passed(knocks: int, **more: Any) -> int:
        count = 0
        for number in range(knocks):
            with suppress(doorkeeper.TooManyTries):
                doorkeeper.knock(two[number % 2], f"203.{number // 250}.113.{number % 250}", **more)
                count += 1
        return count

    assert (passed(150, at_gate=True), passed(30, login=LOGIN)) == (120, 10)


def test_clocks_that_differ_by_little_have_one_bucket(desk):
    """Whoever knocks at a process that is half a minute behind the others has no more tries."""
    for number in range(10):
        doorkeeper.knock(desk.runtime, f"203.0.113.{number}", LOGIN)
    desk.hands.turn(-30)
    with pytest.raises(doorkeeper.TooManyTries):
        doorkeeper.knock(desk.runtime, "203.0.113.99", LOGIN)


def test_who_is_refused_by_the_doorkeeper_is_not_judged(desk, monkeypatch):
    """429 comes before any password is compared."""
    monkeypatch.setattr(doorkeeper, "BY_ADDRESS", doorkeeper.Pace(1, 10))
    enter(desk)
    monkeypatch.setattr(passwords, "fits", lambda *_given: pytest.fail("it was judged"))
    with pytest.raises(doorkeeper.TooManyTries):
        enter(desk)
    assert person(desk.runtime, desk.people["approver"].id).epoch == 0
