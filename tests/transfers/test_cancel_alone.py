"""A cancel that is told alone behind a restored backup: that the transfer was executed, taken back by the provider, and
that people answered this by a claw-back, may all be forgotten. The backups are really made and really restored."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge import lineage
from bridge.transfers.advance import advance, effect_of
from tests.deciding import decide
from tests.harness import PLAYER, Bench, Hands
from tests.restoring import Copies
from tests.transfers.moving import in_doubt, work
from tests.transfers.scripted_one import PENDING, ScriptedOne
from tests.transfers.test_after_decisions import carry_out, order, state
from tests.transfers.test_decide import decision
from tests.transfers.test_restored import backups, restore

ENOUGH = 1200
"""Seconds in which everything is asked that is ever asked, and patience ends."""


def begun(made: Bench, one: ScriptedOne, direction: str, *, sent: bool) -> str:
    """10.00 under way: sent and not heard of, or not sent as far as is known."""
    if sent:
        return in_doubt(made, one, direction)
    return str(made.begin(direction, "10.00", queued=True).transfer_id)


def saved(made: Bench, hands: Hands, folder: Path) -> Copies:
    """A backup, a second later than what was begun."""
    copies = backups(made, folder)
    hands.turn(1)
    copies.back_up()
    return copies


@pytest.mark.parametrize(("sent", "told"), [(True, "by callback"), (True, "when asked"), (False, "by callback")])
def test_a_withdrawal_that_was_undone_and_clawed_back(
    old: Bench, one: ScriptedOne, hands: Hands, tmp_path: Path, sent: bool, told: str
) -> None:
    """I-02 I-13 C-58: executed, its money spent, undone, and taken out once more: the game has lost it, so the wallet
    is not left without it. What is known is put before people."""
    lineage.check(old.runtime)
    transfer_id = begun(old, one, "out", sent=sent)
    copies = saved(old, hands, tmp_path)
    work(old, hands, 60, step=5)
    assert state(old, transfer_id) == "confirmed"
    reference = str(old.get(transfer_id).outside.reference)
    old.cash("withdrawal", PLAYER, f"{old.wallet() // 100}.00")
    advance(old.runtime, transfer_id, None, one.take_back(reference))
    assert old.row(transfer_id)["reason_code"] == "wallet_spent"
    order(old, transfer_id)
    carry_out(old, hands, transfer_id)
    assert (state(old, transfer_id), one.net(PLAYER)) == ("confirmed", -1000)
    restore(old, copies)

    if told == "by callback":
        advance(old.runtime, transfer_id, None, one.callback(reference))
    work(old, hands, ENOUGH)

    assert (state(old, transfer_id), old.wallet()) == ("orphaned", 100_000)
    decide(old.runtime, old.operator, transfer_id, decision(old, transfer_id, "confirm"))
    assert (old.wallet(), old.game(), one.net(PLAYER)) == (101_000, -1000, -1000)
    old.audit()


def test_a_deposit_that_was_undone_is_given_back(old: Bench, one: ScriptedOne, hands: Hands, tmp_path: Path) -> None:
    """I-02 C-58: nothing is ever put into a game again, so a cancel of a transfer in says where the money is."""
    lineage.check(old.runtime)
    transfer_id = begun(old, one, "in", sent=True)
    copies = saved(old, hands, tmp_path)
    work(old, hands, 60, step=5)
    reference = str(old.get(transfer_id).outside.reference)
    advance(old.runtime, transfer_id, None, one.take_back(reference))
    assert state(old, transfer_id) == "reversed"
    restore(old, copies)

    advance(old.runtime, transfer_id, None, one.callback(reference))

    assert (state(old, transfer_id), old.wallet(), one.net(PLAYER)) == ("reversed", 100_000, 0)
    old.audit()


@pytest.mark.parametrize(("answer", "end"), [("", "reversed"), (PENDING, "orphaned")], ids=["first", "second"])
def test_the_first_word_about_a_withdrawal_follows_nothing(
    old: Bench, one: ScriptedOne, hands: Hands, answer: str, end: str
) -> None:
    """I-13 C-58: by the provider's count it was cancelled before anything else, so nobody needs to look. Behind
    "pending" it is the second word, or a later one: whether it was executed in between nobody can know."""
    lineage.check(old.runtime)
    transfer_id = begun(old, one, "out", sent=False)
    lineage.restored(old.runtime, "a disk was set back", "ops")
    hands.turn(5)
    if answer:
        one.script = [answer]
        old.resolve_due()
        told = one.take_back(str(old.get(transfer_id).outside.reference))
    else:
        told = one.bury(effect_of(old.get(transfer_id)))

    advance(old.runtime, transfer_id, None, told)
    work(old, hands, ENOUGH)

    assert (told.reply.sequence, state(old, transfer_id), one.net(PLAYER)) == (2 if answer else 1, end, 0)
