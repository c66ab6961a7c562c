"""Links: used once, for a time, the newest alone; and what they lead to."""

from __future__ import annotations

from typing import Any

import pyotp
import pytest

from bridge.desk import entering, invitations, people, sittings
from bridge.errors import Conflict, Forbidden, Invalid, NotFound
from bridge.models.desk import InvitationKind, Role
from tests.desk import crew
from tests.desk.crew import ADDRESS, PASSWORD, SEED, WHY, code, seat
from tests.harness import together

NEW = "seven green herons dive"


def command() -> people.Actor:
    """The command line."""
    return people.by_command(WHY)


def admin(desk: Any) -> people.Actor:
    """The operator's admin, just come in."""
    return people.by_admin(seat(desk.runtime, crew.person(desk.runtime, desk.people["admin"].id))[1], WHY)


def bobs(desk: Any) -> people.Actor:
    """A second admin of the operator, just come in."""
    if "bob" not in desk.people:
        desk.people["bob"] = crew.hire(desk.runtime, desk.operator, Role.ADMIN, "admin-bob")
    return people.by_admin(seat(desk.runtime, crew.person(desk.runtime, desk.people["bob"].id))[1], WHY)


def invited(desk: Any, actor: people.Actor | None = None, *, role: str = "approver", login: str = "new") -> str:
    """A link for somebody new."""
    return people.add(desk.runtime, actor or command(), desk.operator, login=login, name="New", role=role)[1]


def join(desk: Any, link: str, *, password: str = NEW, told: str | None = None) -> tuple[str, invitations.Joined]:
    """(the seed, what came of it): enrol and join."""
    who = invitations.look(desk.runtime, link)
    seed, offered = invitations.offer(desk.runtime, who)
    given = code(desk.runtime, seed) if told is None else told
    joined = invitations.join(
        desk.runtime, who, password=password, offered=offered, code=given, address=ADDRESS
    )
    return seed, joined


def row(desk: Any, login: str = "new") -> dict[str, Any]:
    """The row of a person."""
    return desk.rows("SELECT * FROM person WHERE login = :login", login=login)[0]


def enter(desk: Any, seed: str, login: str = "new", password: str = NEW) -> str:
    """Come in by password and a code of that seed."""
    return entering.by_password(
        desk.runtime, login=login, password=password, code=code(desk.runtime, seed), address=ADDRESS
    )


def test_who_joins_chooses_both_factors(desk):
    """Issue 5 §3: no default password: a link, one's own password, a seed confirmed by a code, recovery codes."""
    link = invited(desk)
    seed, joined = join(desk, link)
    assert len(set(joined.recovery)) == 10
    sitting = sittings.find(desk.runtime, joined.token, ADDRESS, moved=True)
    assert sitting is not None
    assert (sitting.person.login, sitting.person.role) == ("new", Role.APPROVER)
    desk.hands.turn(30)
    assert enter(desk, seed)
    assert [each["kind"] for each in desk.rows("SELECT kind FROM access_note ORDER BY id")] == [
        "invite", "link", "join", "enter",
    ]  # fmt: skip


def test_nothing_secret_is_stored(desk):
    """A copy of the database comes in nowhere: link, seed, password, recovery codes and cookies are not in it."""
    link = invited(desk)
    seed, joined = join(desk, link)
    kept = repr([desk.rows(f"SELECT * FROM {table}") for table in
                 ("person", "invitation", "recovery_code", "sitting", "access_note", "challenge")])  # fmt: skip
    for secret in (link, seed, NEW, joined.token, *joined.recovery):
        assert secret not in kept
        assert secret.replace("-", "") not in kept


def test_a_link_is_used_once(desk):
    """Afterwards it is as if it had never been."""
    link = invited(desk)
    join(desk, link)
    with pytest.raises(invitations.LinkSpent):
        invitations.look(desk.runtime, link)


def test_of_two_who_use_a_link_at_once_one_joins(desk):
    """One password, one seed, one set of recovery codes, of the same person."""
    link = invited(desk)
    who = invitations.look(desk.runtime, link)
    offers = [invitations.offer(desk.runtime, who) for _ in range(2)]

    def use(number: int) -> invitations.Joined:
        seed, offered = offers[number]
        return invitations.join(
            desk.runtime, who, password=f"{NEW} {number}", offered=offered, code=code(desk.runtime, seed),
            address=ADDRESS,
        )  # fmt: skip

    results = together(2, use)
    assert sorted(type(each).__name__ for each in results) == ["Joined", "LinkSpent"]
    winner = next(number for number, each in enumerate(results) if isinstance(each, invitations.Joined))
    desk.hands.turn(30)
    assert enter(desk, offers[winner][0], password=f"{NEW} {winner}")
    assert len(desk.rows("SELECT * FROM recovery_code")) == 10
    assert len(desk.notes("join")) == 1


def test_a_link_expires(desk):
    """After `desk.invitation_hours`, also for somebody who has its page open."""
    link = invited(desk)
    who = invitations.look(desk.runtime, link)
    seed, offered = invitations.offer(desk.runtime, who)
    desk.hands.turn(24 * 3600)
    with pytest.raises(invitations.LinkSpent):
        invitations.look(desk.runtime, link)
    with pytest.raises(invitations.LinkSpent):
        invitations.join(desk.runtime, who, password=NEW, offered=offered, code=code(desk.runtime, seed), address="x")


def test_a_newer_link_makes_the_older_worthless(desk):
    """There is one link at a time."""
    first = invited(desk)
    second = people.link(desk.runtime, command(), desk.operator, row(desk)["id"], InvitationKind.JOIN)
    with pytest.raises(invitations.LinkSpent):
        invitations.look(desk.runtime, first)
    join(desk, second)


@pytest.mark.parametrize("link", ["", "x", "\u00e9", "a" * 5000])
def test_a_made_up_link_is_none(desk, link):
    """404, as for one that was used."""
    with pytest.raises(NotFound):
        invitations.look(desk.runtime, link)


def test_a_seed_counts_only_with_a_code_of_it(desk):
    """A wrong code, a code of another offer, an offer of another link: nothing is enrolled, and the link stays good."""
    link, other = invited(desk), invited(desk, login="other")
    for told in ("", "000000", code(desk.runtime, pyotp.random_base32())):
        with pytest.raises(Invalid) as refused:
            join(desk, link, told=told)
        assert set(refused.value.fields) == {"code"}
    seed, offered = invitations.offer(desk.runtime, invitations.look(desk.runtime, other))
    with pytest.raises(Invalid):
        invitations.join(desk.runtime, invitations.look(desk.runtime, link), password=NEW, offered=offered,
                         code=code(desk.runtime, seed), address=ADDRESS)  # fmt: skip
    assert row(desk)["state"] == "invited"
    assert row(desk)["seed"] is None
    join(desk, link)


def test_the_code_that_enrolled_is_used_up(desk):
    """Whoever looked over the shoulder comes in with nothing."""
    seed, _ = join(desk, invited(desk))
    with pytest.raises(entering.NotLetIn):
        enter(desk, seed)


def test_a_seed_is_new_for_each_try(desk):
    """What a page showed before is worth nothing once another was taken."""
    who = invitations.look(desk.runtime, invited(desk))
    assert len({invitations.offer(desk.runtime, who)[0] for _ in range(5)}) == 5


def test_a_bad_password_uses_no_link(desk):
    """The reason is told, the link is good for another try."""
    link = invited(desk)
    with pytest.raises(Invalid) as refused:
        join(desk, link, password="password1234")
    assert set(refused.value.fields) == {"password"}
    join(desk, link)


def test_a_reset_makes_everything_before_worthless(desk):
    """Password, seed, passkeys, recovery codes and sittings of before: a lost laptop comes in nowhere."""
    ann = desk.people["operator"]
    token, _ = seat(desk.runtime, ann)
    desk.write("INSERT INTO passkey (id, person_id, label, public_key, sign_count, created_at) "
               "VALUES ('k', :id, 'old', 'x', 0, 0)", id=ann.id)  # fmt: skip
    link = people.link(desk.runtime, command(), desk.operator, ann.id, InvitationKind.RESET)
    still = sittings.find(desk.runtime, token, ADDRESS, moved=True)
    assert still is not None, "until the link is used, they may work on"
    seed, _ = join(desk, link)
    assert sittings.find(desk.runtime, token, ADDRESS, moved=True) is None
    assert desk.rows("SELECT removed_at FROM passkey")[0]["removed_at"] is not None
    desk.hands.turn(30)
    with pytest.raises(entering.NotLetIn):
        enter(desk, SEED, ann.login, PASSWORD)
    assert enter(desk, seed, ann.login)


def test_a_link_of_the_wrong_kind_is_refused(desk):
    """Joining is for the invited, resetting for who has joined, unlocking for who is locked."""
    link = invited(desk)
    new, ann = row(desk)["id"], desk.people["operator"].id
    for person_id, kind in ((new, InvitationKind.RESET), (new, InvitationKind.UNLOCK), (ann, InvitationKind.JOIN),
                            (ann, InvitationKind.UNLOCK)):  # fmt: skip
        with pytest.raises(Conflict):
            people.link(desk.runtime, command(), desk.operator, person_id, kind)
    join(desk, link)


# --- unlocking ----------------------------------------------------------------------------------------


def locked(desk: Any) -> tuple[Any, str]:
    """(a locked person, an admin's link to unlock)."""
    ann = desk.people["operator"]
    for _ in range(3):
        with pytest.raises(entering.NotLetIn):
            enter(desk, SEED, ann.login, "not the password")
    return ann, people.link(desk.runtime, admin(desk), desk.operator, ann.id, InvitationKind.UNLOCK)


def unlock(desk: Any, link: str, password: str = PASSWORD, told: str | None = None) -> invitations.Joined:
    """Use a link to unlock."""
    who = invitations.look(desk.runtime, link)
    given = code(desk.runtime) if told is None else told
    return invitations.unlock(desk.runtime, who, password=password, code=given, address=ADDRESS)


def test_an_admins_link_opens_a_lock_for_who_has_both_factors(desk):
    """The link alone lets nobody in; with password and code it does, once; and it takes no factor away."""
    ann, link = locked(desk)
    joined = unlock(desk, link)
    assert sittings.find(desk.runtime, joined.token, ADDRESS, moved=True) is not None
    assert row(desk, ann.login)["locked_at"] is None
    assert row(desk, ann.login)["made_by"] is None, "nobody has to vouch again: nothing was chosen anew"
    with pytest.raises(invitations.LinkSpent):
        unlock(desk, link)
    assert [each["reason"] for each in desk.notes("unlock")] == ["link"]


def test_an_unlocking_link_has_three_tries(desk):
    """Whoever finds the link guesses three times, at once or one after the other, and the lock holds."""
    ann, link = locked(desk)
    who = invitations.look(desk.runtime, link)

    def guess(number: int) -> Any:
        return invitations.unlock(desk.runtime, who, password=PASSWORD, code=f"{number:06d}", address=ADDRESS)

    results = together(6, guess)
    assert sorted(type(each).__name__ for each in results) == ["LinkSpent"] * 3 + ["NotLetIn"] * 3
    with pytest.raises(invitations.LinkSpent):
        unlock(desk, link)
    assert row(desk, ann.login)["locked_at"] is not None
    again = people.link(desk.runtime, admin(desk), desk.operator, ann.id, InvitationKind.UNLOCK)
    assert unlock(desk, again)


def test_an_unlocking_link_is_worth_nothing_once_the_lock_is_gone(desk):
    """It is no second way in for later."""
    ann, link = locked(desk)
    desk.write("UPDATE person SET locked_at = NULL, failures = 0 WHERE id = :id", id=ann.id)
    with pytest.raises(invitations.LinkSpent):
        unlock(desk, link)


def test_a_link_chooses_nothing_anew_that_only_unlocks(desk):
    """An unlocking link cannot be used to choose a password."""
    _, link = locked(desk)
    with pytest.raises(invitations.LinkSpent):
        join(desk, link)


# --- four eyes over people ----------------------------------------------------------------------------


def test_whom_one_admin_let_in_may_less_until_another_vouches(desk):
    """Issue 5 §2: one admin alone must not be both pairs of eyes: their approver proposes and does not approve, and
    their admin makes nobody."""
    second = crew.hire(desk.runtime, desk.operator, Role.ADMIN, "admin-bob")
    bob = people.by_admin(seat(desk.runtime, second)[1], WHY)
    for role, counts_as in (("approver", Role.OPERATOR), ("admin", Role.VIEWER), ("operator", Role.OPERATOR)):
        who = f"new-{role}"
        _, joined = join(desk, invited(desk, admin(desk), role=role, login=who))
        sitting = sittings.find(desk.runtime, joined.token, ADDRESS, moved=True)
        assert sitting is not None
        assert (sitting.person.granted, sitting.person.role, sitting.person.vouched) == (Role(role), counts_as, False)
        with pytest.raises(Forbidden, match="vouch"):
            crew.vouch(desk.runtime, admin(desk), desk.operator, sitting.person.id)
        crew.vouch(desk.runtime, bob, desk.operator, sitting.person.id)
        again = sittings.find(desk.runtime, joined.token, ADDRESS, moved=True)
        assert again is not None
        assert (again.person.role, again.person.vouched) == (Role(role), True)
    assert [each["person_id"] for each in desk.notes("vouch")] == [second.id] * 3


def test_an_admin_whom_nobody_vouched_for_vouches_for_nobody(desk):
    """A second admin made by the first is no second pair of eyes."""
    puppet = join(desk, invited(desk, admin(desk), role="admin", login="puppet"))[1]
    join(desk, invited(desk, admin(desk), role="approver", login="friend"))
    sitting = sittings.find(desk.runtime, puppet.token, ADDRESS, moved=True)
    assert sitting is not None
    with pytest.raises(Forbidden):
        crew.vouch(desk.runtime, people.by_admin(sitting, WHY), desk.operator, row(desk, "friend")["id"])


@pytest.mark.parametrize("change", ["role", "reset"])
def test_who_is_changed_by_an_admin_needs_a_voucher_again(desk, change):
    """An approver whose factors an admin reset, or to whom an admin gave the role, is in that admin's hand."""
    ann = desk.people["operator" if change == "role" else "approver"]
    if change == "role":
        people.give_role(desk.runtime, admin(desk), desk.operator, ann.id, "approver")
    else:
        join(desk, people.link(desk.runtime, admin(desk), desk.operator, ann.id, InvitationKind.RESET))
    now = crew.person(desk.runtime, ann.id)
    assert (now.granted, now.role) == (Role.APPROVER, Role.OPERATOR)
    crew.vouch(desk.runtime, command(), desk.operator, ann.id)
    assert crew.person(desk.runtime, ann.id).role == Role.APPROVER


@pytest.mark.parametrize("seen_first", [True, False])
def test_who_is_reset_is_vouched_for_after_they_used_the_link(desk, seen_first):
    """Issue 5 §2: admin Ann makes a link for somebody, admin Bob sees the real one and vouches, then Ann uses her link.
    While it is open nobody vouches; and what was vouched before it was used is worth nothing."""
    bob = bobs(desk)
    if seen_first:
        ann = desk.people["approver"].id
    else:
        join(desk, invited(desk, admin(desk)))
        ann = row(desk)["id"]
    link = people.link(desk.runtime, admin(desk), desk.operator, ann, InvitationKind.RESET)
    for actor in (bob, command()):
        with pytest.raises(Conflict) as refused:
            crew.vouch(desk.runtime, actor, desk.operator, ann)
        assert refused.value.code == ("vouched" if seen_first else "link_open")
    join(desk, link)
    now = crew.person(desk.runtime, ann)
    assert (now.vouched, now.role) == (False, Role.OPERATOR)
    with pytest.raises(Forbidden, match="vouch"):
        crew.vouch(desk.runtime, admin(desk), desk.operator, ann)
    crew.vouch(desk.runtime, bob, desk.operator, ann)
    assert crew.person(desk.runtime, ann).role == Role.APPROVER


@pytest.mark.parametrize("maker", ["admin", "command"])
def test_a_link_that_nobody_used_changes_nobody(desk, maker):
    """Issue 5 §2: neither can one admin make links until nobody is left who may, nor does a link of the command line
    vouch for whoever sits there already."""
    bob = crew.hire(desk.runtime, desk.operator, Role.ADMIN, "admin-bob")
    mine = join(desk, invited(desk, admin(desk), login="mine"))[1]
    before = desk.rows("SELECT id, made_by, vouched_by, vouched_at, epoch FROM person ORDER BY id")
    actor = admin(desk) if maker == "admin" else command()
    for person_id in (bob.id, desk.people["approver"].id, row(desk, "mine")["id"]):
        people.link(desk.runtime, actor, desk.operator, person_id, InvitationKind.RESET)
    assert desk.rows("SELECT id, made_by, vouched_by, vouched_at, epoch FROM person ORDER BY id") == before
    sitting = sittings.find(desk.runtime, mine.token, ADDRESS, moved=True)
    assert sitting is not None
    assert sitting.person.role == Role.OPERATOR
    assert crew.person(desk.runtime, bob.id).role == Role.ADMIN


def test_a_link_of_the_command_line_vouches_for_nobody(desk):
    """Issue 5 §2: who needs a voucher needs one as before when they have used it, and who has one keeps it."""
    join(desk, invited(desk, admin(desk)))
    for login, role in (("new", Role.OPERATOR), ("approver-ann", Role.APPROVER)):
        person_id = row(desk, login)["id"]
        join(desk, people.link(desk.runtime, command(), desk.operator, person_id, InvitationKind.RESET))
        assert crew.person(desk.runtime, person_id).role == role
    assert row(desk)["made_by"] == desk.people["admin"].id


@pytest.mark.parametrize("ended_by", ["disabling", "time"])
def test_anothers_link_does_not_hide_who_made_them(desk, ended_by):
    """Issue 5 §2: Ann asks Bob for a link for her own puppet, ends it, and would vouch: he makes none, and whoever has
    not used a link is in the hand that they were in."""
    bob = bobs(desk)
    join(desk, invited(desk, admin(desk)))
    puppet = row(desk)["id"]
    with pytest.raises(Conflict, match="admin-ann let them in") as refused:
        people.link(desk.runtime, bob, desk.operator, puppet, InvitationKind.RESET)
    assert refused.value.code == "unvouched"
    people.link(desk.runtime, command(), desk.operator, puppet, InvitationKind.RESET)
    if ended_by == "time":
        desk.hands.turn(25 * 3600)
    else:
        people.disable(desk.runtime, admin(desk), desk.operator, puppet)
        people.enable(desk.runtime, admin(desk), desk.operator, puppet)
    with pytest.raises(Forbidden, match="vouch"):
        crew.vouch(desk.runtime, admin(desk), desk.operator, puppet)
    crew.vouch(desk.runtime, bobs(desk), desk.operator, puppet)
    assert people.link(desk.runtime, bobs(desk), desk.operator, puppet, InvitationKind.RESET)


@pytest.mark.parametrize("wish", ["link", "role"])
def test_who_is_asked_for_a_link_is_not_sent_to_vouch(desk, wish):
    """Issue 5 §2: Ann's puppet "has lost her phone", and Bob is asked to help: told to vouch first, he would vouch for
    whom he never saw, and one human would be both pairs of eyes. The way is Ann, who let them in, or the command line;
    and he vouches for whom he has seen."""
    bob = bobs(desk)
    join(desk, invited(desk, admin(desk), role="operator"))
    new, given = row(desk)["id"], "approver" if wish == "role" else InvitationKind.RESET
    change: Any = people.give_role if wish == "role" else people.link
    with pytest.raises(Conflict) as refused:
        change(desk.runtime, bob, desk.operator, new, given)
    does = "gives the role" if wish == "role" else "makes the link"
    assert refused.value.detail == (
        f"admin-ann let them in, and nobody has vouched for them: admin-ann {does}, or the command line. "
        "Vouch for nobody whom you have not seen."
    )
    came = change(desk.runtime, admin(desk), desk.operator, new, given)
    if wish == "link":
        join(desk, came)
    assert row(desk)["made_by"] == desk.people["admin"].id
    crew.vouch(desk.runtime, bob, desk.operator, new)
    assert crew.person(desk.runtime, new).vouched


def test_a_role_hides_nobody_who_holds_a_link(desk):
    """Issue 5 §2: Ann invites and keeps the link, Bob changes the role, so that he made them, and Ann would vouch for
    herself: before they join their link is worth nothing then, and afterwards Bob gives none unless they are vouched
    for."""
    bob = bobs(desk)
    kept = invited(desk, admin(desk), role="operator")
    people.give_role(desk.runtime, bob, desk.operator, row(desk)["id"], "approver")
    with pytest.raises(invitations.LinkSpent):
        join(desk, kept)
    join(desk, invited(desk, admin(desk), role="operator", login="other"))
    other = row(desk, "other")["id"]
    with pytest.raises(Conflict) as refused:
        people.give_role(desk.runtime, bob, desk.operator, other, "approver")
    assert refused.value.code == "unvouched"
    crew.vouch(desk.runtime, bob, desk.operator, other)
    people.give_role(desk.runtime, bob, desk.operator, other, "approver")
    assert crew.person(desk.runtime, other).role == Role.OPERATOR


def test_who_uses_an_admins_link_is_in_that_admins_hand(desk):
    """Issue 5 §2: whoever was written down last as having made them: the maker of the link vouches for nobody who used
    it."""
    link = invited(desk, admin(desk))
    bob = crew.hire(desk.runtime, desk.operator, Role.ADMIN, "admin-bob")
    desk.write("UPDATE person SET made_by = :bob WHERE login = 'new'", bob=bob.id)
    join(desk, link)
    with pytest.raises(Forbidden, match="vouch"):
        crew.vouch(desk.runtime, admin(desk), desk.operator, row(desk)["id"])


def test_who_has_not_joined_is_vouched_for_by_nobody(desk):
    """A voucher has seen who sits there, not who holds a link."""
    invited(desk, admin(desk))
    with pytest.raises(Conflict):
        crew.vouch(desk.runtime, bobs(desk), desk.operator, row(desk)["id"])
