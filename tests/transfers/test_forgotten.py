"""What was final when a backup was made, or when the provider's name was given to another one, and moves again: no
restore and no acceptance has marked it, and what became of it since may be forgotten."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bridge import lineage, misdated
from bridge.desk import switches
from bridge.errors import Invalid
from bridge.evidence import Answer, Source
from bridge.ports import SECOND, SameId
from bridge.transfers.advance import advance
from bridge.transfers.drive import perform
from bridge.views.transfer import page
from tests.deciding import decide
from tests.harness import PLAYER, PROVIDER, Bench, Hands
from tests.restoring import Copies
from tests.transfers.moving import in_doubt, repointed, work
from tests.transfers.scripted_one import LOST, ONE_PHASE, ScriptedOne
from tests.transfers.test_after_decisions import carry_out, executed_late, order, state, wait
from tests.transfers.test_decide import decision
from tests.transfers.test_restored import backups, restore
from tests.transfers.test_sweep import has, loses, sweep

WHY = "they moved house"
DAY = 86_400


def backed_up(made: Bench, folder: Path, transfer_id: str) -> Copies:
    """A backup in which the transfer is confirmed, and watched no more."""
    row = made.row(transfer_id)
    assert (row["state"], row["wake_at"]) == ("confirmed", None)
    copies = backups(made, folder)
    copies.back_up()
    return copies


def undone_and_taken_back(made: Bench, one: ScriptedOne, hands: Hands, transfer_id: str) -> str:
    """The provider undoes a transfer out, and people have it taken back; the reference under which it was executed."""
    reference = str(made.get(transfer_id).outside.reference)
    undone = one.take_back(reference)
    advance(made.runtime, transfer_id, None, replace(undone, reply=replace(undone.reply, sequence=None)))
    order(made, transfer_id)
    carry_out(made, hands, transfer_id)
    assert (state(made, transfer_id), one.net(PLAYER)) == ("confirmed", -1000)
    return reference


def is_told_again(made: Bench, one: ScriptedOne, transfer_id: str, reference: str, **reply: Any) -> None:
    """The cancel of before the restore comes once more."""
    advance(made.runtime, transfer_id, None, one.callback(reference, **reply))
    assert state(made, transfer_id) == "orphaned"


def is_not_taken_again(made: Bench, transfer_id: str, *providers: ScriptedOne) -> None:
    """People are refused another claw-back, and decide as it is there."""
    with pytest.raises(Invalid) as refused:
        order(made, transfer_id)
    assert "might take twice" in refused.value.fields["kind"]
    decide(made.runtime, made.operator, transfer_id, decision(made, transfer_id, "confirm"))
    assert (sum(each.net(PLAYER) for each in providers), made.game()) == (-1000, -1000)
    made.audit()


def behind_a_restore(made: Bench, one: ScriptedOne, hands: Hands, folder: Path, transfer_id: str) -> None:
    """A claw-back that a restore has forgotten is not made twice when its cause is told again."""
    copies = backed_up(made, folder, transfer_id)
    reference = undone_and_taken_back(made, one, hands, transfer_id)
    restore(made, copies)
    hands.turn(5)
    is_told_again(made, one, transfer_id, reference, sequence=None)
    is_not_taken_again(made, transfer_id, one)


@pytest.mark.parametrize("accepted", ["before it is told", "afterwards", "never"])
@pytest.mark.parametrize("again", [True, False], ids=["done again", "known for one"])
def test_taken_back_and_forgotten_it_is_not_taken_back_again(
    old: Bench, one: ScriptedOne, fresh: ScriptedOne, hands: Hands, tmp_path: Path, *, again: bool, accepted: str
) -> None:
    """I-02 C-58: told again that it was undone, it is not taken back twice: not there, where that may have another
    reference or would be done again, and not by another who has the name by now."""
    lineage.check(old.runtime)
    transfer_id = old.run("out")
    one.descriptor, one.executes_again = replace(ONE_PHASE, same_id=SameId.UNSAFE if again else SameId.REPLAY), again
    copies = backed_up(old, tmp_path, transfer_id)
    reference = undone_and_taken_back(old, one, hands, transfer_id)
    restore(old, copies)
    hands.turn(5)
    made = old if accepted == "never" else repointed(old, fresh)

    if accepted == "before it is told":
        switches.accept(made.runtime, PROVIDER, WHY, "ops")
        hands.turn(5)
        is_told_again(made, one, transfer_id, reference, sequence=None)
        assert made.get(transfer_id).moved_in_doubt
    else:
        is_told_again(old, one, transfer_id, reference, sequence=None)
        if accepted == "afterwards":
            switches.accept(made.runtime, PROVIDER, WHY, "ops")
            hands.turn(5)

    is_not_taken_again(made, transfer_id, one, fresh)


def test_of_one_that_moved_while_it_was_open_and_was_restored_when_it_was_final(
    old: Bench, one: ScriptedOne, hands: Hands, tmp_path: Path
) -> None:
    """I-02 C-58: the marks that an acceptance has left say nothing of a restore since."""
    lineage.check(old.runtime)
    transfer_id = in_doubt(old, one, "out")
    made = repointed(old, one)
    switches.accept(made.runtime, PROVIDER, WHY, "ops")
    work(made, hands, 3600, step=30)
    wait(made, hands)
    behind_a_restore(made, one, hands, tmp_path, transfer_id)


@pytest.mark.parametrize("later", [5, DAY + 3600], ids=["at once", "when that day has come"])
@pytest.mark.parametrize("again", [True, False], ids=["done again", "known for one"])
def test_of_one_that_a_clock_that_was_ahead_has_settled(
    old: Bench, one: ScriptedOne, hands: Hands, tmp_path: Path, *, again: bool, later: float
) -> None:
    """I-02 I-34 C-58: it settled at an instant to come, behind the restore: its history says that it was so before."""
    lineage.check(old.runtime)
    hands.set_both(DAY)
    transfer_id = old.run("out")
    hands.set_both(-DAY)
    misdated.bring_near(old.runtime)
    one.descriptor, one.executes_again = replace(ONE_PHASE, same_id=SameId.UNSAFE if again else SameId.REPLAY), again
    copies = backed_up(old, tmp_path, transfer_id)
    reference = undone_and_taken_back(old, one, hands, transfer_id)
    restore(old, copies)
    hands.turn(later)
    is_told_again(old, one, transfer_id, reference, sequence=None)
    is_not_taken_again(old, transfer_id, one)


@pytest.mark.parametrize("again", [True, False], ids=["done again", "known for one"])
def test_the_wallet_is_not_taken_from_for_what_was_taken_back(
    old: Bench, one: ScriptedOne, hands: Hands, tmp_path: Path, *, again: bool
) -> None:
    """I-02 C-58: undone by the provider when the wallet was empty, and taken back by a claw-back: told again that it
    was undone, behind a restore which has filled the wallet again, it is for people. The first move is marked."""
    lineage.check(old.runtime)
    transfer_id = old.run("out")
    one.descriptor, one.executes_again = replace(ONE_PHASE, same_id=SameId.UNSAFE if again else SameId.REPLAY), again
    copies = backed_up(old, tmp_path, transfer_id)
    reference, held = str(old.get(transfer_id).outside.reference), old.wallet()
    old.cash("withdrawal", PLAYER, f"{held // 100}.00")
    advance(old.runtime, transfer_id, None, one.take_back(reference))
    assert old.row(transfer_id)["reason_code"] == "wallet_spent"
    order(old, transfer_id)
    carry_out(old, hands, transfer_id)
    assert (state(old, transfer_id), one.net(PLAYER)) == ("confirmed", -1000)
    restore(old, copies)
    hands.turn(5)

    is_told_again(old, one, transfer_id, reference)

    assert old.wallet() == held
    is_not_taken_again(old, transfer_id, one)


def test_a_restore_that_is_noticed_at_this_moment_marks_it(at_once: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-31 C-58: to whoever notices it the transfer is still final; who moves it has looked before. The one waits for
    the other, and it is marked."""
    lineage.check(at_once.runtime)
    hands.turn(1)
    transfer_id = at_once.run("out")
    hands.turn(100)
    other = at_once.another()
    lineage.check(other.runtime)
    fact = one.take_back(str(at_once.get(transfer_id).outside.reference))
    notices = threading.Thread(target=lineage.restored, args=(other.runtime, "set back", "ops"))
    looks = lineage.last_restore

    def then_it_is_noticed(*asked: Any, held: bool) -> lineage.Restore | None:
        found = looks(*asked, held=held)
        if held and notices.ident is None:
            notices.start()
            notices.join(2)
            assert notices.is_alive(), "it does not wait for whoever has looked"
        return found

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(lineage, "last_restore", then_it_is_noticed)
        advance(at_once.runtime, transfer_id, None, replace(fact, reply=replace(fact.reply, sequence=None)))
    notices.join(20)
    other.runtime.engine.dispose()
    row = at_once.row(transfer_id)
    assert row["state"] == "orphaned"
    assert row["rewound_at"] is not None


def test_a_restore_that_is_being_dealt_with_marks_it(at_once: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-31 C-58: the other way round; it is not waited for, since it may wait for the transfer."""
    lineage.check(at_once.runtime)
    hands.turn(1)
    transfer_id = at_once.run("out")
    hands.turn(100)
    fact = one.take_back(str(at_once.get(transfer_id).outside.reference))
    with at_once.another().runtime.engine.begin() as connection:
        lineage.stand_alone(connection)
        advance(at_once.runtime, transfer_id, None, replace(fact, reply=replace(fact.reply, sequence=None)))
    row = at_once.row(transfer_id)
    assert (row["state"], row["rewound_at"]) == ("orphaned", hands.now())


def test_the_marks_of_an_acceptance_since_are_those_that_it_gives(
    old: Bench, one: ScriptedOne, fresh: ScriptedOne, hands: Hands
) -> None:
    """I-34: sent by a clock that was ahead, and final when the name was given away: it is in doubt, as an open one."""
    lineage.check(old.runtime)
    hands.set_both(DAY)
    final = old.run("out")
    opened = in_doubt(old, one, "out")
    hands.set_both(-DAY)
    misdated.bring_near(old.runtime)
    made = repointed(old, fresh)
    switches.accept(made.runtime, PROVIDER, WHY, "ops")
    hands.turn(5)
    is_told_again(made, one, final, str(made.get(final).outside.reference), answer=Answer.CANCELLED, sequence=None)
    marks = [{name: made.row(each)[name] for name in ("rewound_at", "first_rewound_at")} for each in (final, opened)]
    assert marks[0] == marks[1]
    assert made.get(final).moved_in_doubt
    assert made.get(opened).moved_in_doubt


@pytest.mark.parametrize("apart", [0, 1], ids=["one clock", "two clocks"])
@pytest.mark.parametrize("watched", [True, False], ids=["watched", "watched no more"])
@pytest.mark.parametrize("direction", ["in", "out"])
def test_what_was_told_before_a_restore_may_be_told_again(
    old: Bench, one: ScriptedOne, hands: Hands, direction: str, apart: int, *, watched: bool
) -> None:
    """I-14: reversed by a cancel that the provider counts behind its execution, all of it known before the backup: told
    once more, by a look-up or a callback, it stays reversed."""
    lineage.check(old.runtime)
    hands.turn(1)
    transfer_id = old.run(direction)
    hands.turn(5)
    reference = str(old.get(transfer_id).outside.reference)
    undone = one.take_back(reference)
    advance(old.runtime, transfer_id, None, replace(undone, at=undone.at + apart * SECOND))
    assert state(old, transfer_id) == "reversed"
    hands.turn(120)
    if not watched:
        wait(old, hands)
    assert (old.row(transfer_id)["wake_at"] is not None) is watched
    lineage.restored(old.runtime, "a failover", "ops")
    wait(old, hands, 40)
    advance(old.runtime, transfer_id, None, one.callback(reference))
    assert (state(old, transfer_id), one.net(PLAYER), old.game()) == ("reversed", 0, 0)
    old.audit()


def test_the_first_try_of_a_sweep_stays_refused(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-14: refused by look-ups of before the restore, and the second try confirmed: told once more, nothing moves."""
    lineage.check(lone.runtime)
    has(one, 2500)
    one.during, one.script = loses(one, "transfer"), [LOST]
    transfer_id = sweep(lone)
    work(lone, hands, 600)
    assert (state(lone, transfer_id), len(lone.get(transfer_id).tries)) == ("confirmed", 2)
    hands.turn(1000)
    lineage.restored(lone.runtime, "a failover", "ops")
    hands.turn(100)
    advance(lone.runtime, transfer_id, None, one.callback(str(lone.get(transfer_id).outside.reference)))
    assert state(lone, transfer_id) == "confirmed"
    lone.audit()


def test_the_answer_to_what_is_forgotten_is_kept(lone: Bench, one: ScriptedOne, hands: Hands, tmp_path: Path) -> None:
    """I-12 C-58: the database is set back while a claw-back is on the wire: that it was taken stands in the file."""
    transfer_id = executed_late(lone, one, hands)
    copies = backups(lone, tmp_path)
    copies.back_up()
    order(lone, transfer_id)

    def set_back(operation: str) -> None:
        if operation == "transfer":
            restore(lone, copies)

    hands.turn(1)
    one.during = set_back
    lone.resolve_due()
    one.during = lambda _operation: None
    last = lone.get(transfer_id).outside.evidence[-1]
    assert (last.source, last.reply.answer, one.net(PLAYER)) == (Source.ASIDE, Answer.APPLIED, 0)
    told = [entry.title for entry in page(lone.runtime, lone.operator, transfer_id).line.entries]
    assert "At sim: leg 4, forgotten: confirmed" in told
    with pytest.raises(Invalid):
        order(lone, transfer_id)
    decide(lone.runtime, lone.operator, transfer_id, decision(lone, transfer_id, "reverse"))
    assert (lone.game(), one.net(PLAYER)) == (0, 0)
    lone.audit()


def test_what_is_told_of_a_final_one_marks_nothing_where_nothing_was_restored(
    old: Bench, one: ScriptedOne, hands: Hands
) -> None:
    """It moves as ever, and people may have it taken back."""
    lineage.check(old.runtime)
    hands.turn(1)
    transfer_id = old.run("out")
    undone_and_taken_back(old, one, hands, transfer_id)
    row = old.row(transfer_id)
    assert (row["rewound_at"], row["first_rewound_at"], row["moved_at"]) == (None, None, None)
    old.audit()


def test_a_cancel_that_the_backup_knew_and_had_not_followed_is_for_people(
    old: Bench, one: ScriptedOne, hands: Hands, tmp_path: Path
) -> None:
    """I-02 I-30 C-58: confirmed and undone by callbacks while its request may be on the wire: so far the backup knows.
    Then the wallet was empty, and people had it clawed back: behind the restore it is not taken from for that."""
    lineage.check(old.runtime)
    hands.turn(1)
    copies = backups(old, tmp_path)
    begun = old.begin("out")
    assert begun.outcome.order is not None
    perform(old.runtime, begun.outcome.order)  # and its worker dies with the answer
    transfer_id = str(begun.transfer_id)
    reference = str(old.get(transfer_id).outside.reference)
    advance(old.runtime, transfer_id, None, one.callback(reference))
    advance(old.runtime, transfer_id, None, one.take_back(reference))
    assert state(old, transfer_id) == "confirmed"
    copies.back_up()
    held = old.wallet()
    old.cash("withdrawal", PLAYER, f"{held // 100}.00")
    hands.turn(60)
    wait(old, hands, 1)
    order(old, transfer_id)
    carry_out(old, hands, transfer_id)
    assert (state(old, transfer_id), one.net(PLAYER)) == ("confirmed", -1000)
    hands.turn(200)
    restore(old, copies)
    wait(old, hands, 3)
    assert (state(old, transfer_id), old.wallet()) == ("orphaned", held)
    is_not_taken_again(old, transfer_id, one)


def test_an_acceptance_under_a_clock_that_was_ahead_hides_no_restore(
    old: Bench, one: ScriptedOne, hands: Hands, tmp_path: Path
) -> None:
    """I-02 I-34 C-58: its marks are of an instant to come, and the restore of one before that."""
    lineage.check(old.runtime)
    one.descriptor, one.executes_again = replace(ONE_PHASE, same_id=SameId.UNSAFE), True
    transfer_id = in_doubt(old, one, "out")
    made = repointed(old, one)
    hands.set_both(DAY)
    switches.accept(made.runtime, PROVIDER, WHY, "ops")
    hands.set_both(-DAY)
    misdated.bring_near(made.runtime)
    work(made, hands, 3600, step=30)
    wait(made, hands, 6)
    behind_a_restore(made, one, hands, tmp_path, transfer_id)
