"""A cancel that is told alone behind a restored backup: that the transfer was executed, taken back by the provider, and
that people answered this by a claw-back, may all be forgotten. The backups are really made and really restored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bridge import lineage
from bridge.ports import SECOND
from bridge.transfers.advance import advance, effect_of
from bridge.transfers.core.facts import UNNOTICED
from tests.deciding import decide
from tests.harness import PLAYER, Bench, Hands
from tests.restoring import Copies
from tests.transfers.moving import in_doubt, work
from tests.transfers.scripted_one import (
    ABSENT,
    BELATED,
    BELATED_SECONDS,
    DROPPED,
    PENDING,
    PENDING_LOST,
    SILENT,
    STALE,
    ScriptedOne,
)  # fmt: skip
from tests.transfers.test_after_decisions import carry_out, order, state, told
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


@pytest.mark.parametrize(
    ("sent", "heard"),
    [(True, "by callback"), (True, "when asked"), (True, "long ago"), (True, "and denied"), (False, "by callback")],
)
def test_a_withdrawal_that_was_undone_and_clawed_back(
    old: Bench, one: ScriptedOne, hands: Hands, tmp_path: Path, sent: bool, heard: str
) -> None:
    """I-02 I-13 C-58: executed, its money spent, undone, and taken out once more: the game has lost it, so the wallet
    is not left without it. What is known is put before people, also where the cancel lay unread in the backup, and
    where nothing is found when asked."""
    lineage.check(old.runtime)
    transfer_id = begun(old, one, "out", sent=sent)
    unread = hands.now()
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
    hands.turn(UNNOTICED // SECOND)
    restore(old, copies)

    if heard != "when asked":
        cancelled = one.callback(reference)
        cancelled = replace(cancelled, at=unread) if heard == "long ago" else cancelled
        advance(old.runtime, transfer_id, None, cancelled)
    if heard == "and denied":
        one.asked, one.script = [STALE] + [ABSENT] * 99, [DROPPED] * 99
    work(old, hands, ENOUGH)

    assert (state(old, transfer_id), old.wallet()) == ("orphaned", 100_000)
    decide(old.runtime, old.operator, transfer_id, decision(old, transfer_id, "confirm"))
    assert (old.wallet(), old.game(), one.net(PLAYER)) == (101_000, -1000, -1000)
    old.audit()


def test_a_deposit_that_was_clawed_back_and_undone(
    old: Bench, one: ScriptedOne, hands: Hands, tmp_path: Path
) -> None:
    """I-02 C-58: reversed by its absence, executed late, taken out by people, and undone by the provider as well, which
    has taken it twice now. The cancel alone would have it once."""
    lineage.check(old.runtime)
    one.script = [BELATED, DROPPED, DROPPED]
    transfer_id = old.run("in")
    copies = saved(old, hands, tmp_path)
    work(old, hands, int(BELATED_SECONDS), step=30)
    assert state(old, transfer_id) == "reversed"
    one.settle_time()
    leg = old.get(transfer_id).outside
    told(old, one, transfer_id, leg, one.callback(str(leg.reference)))
    order(old, transfer_id)
    carry_out(old, hands, transfer_id)
    told(old, one, transfer_id, leg, one.take_back(str(leg.reference)))
    assert (state(old, transfer_id), one.net(PLAYER)) == ("orphaned", -1000)
    restore(old, copies)

    told(old, one, transfer_id, leg, one.callback(str(leg.reference)))
    work(old, hands, ENOUGH)

    assert (state(old, transfer_id), old.wallet(), one.net(PLAYER)) == ("orphaned", 99_000, -1000)
    old.audit()


@pytest.mark.parametrize("direction", ["in", "out"])
@pytest.mark.parametrize(
    ("answer", "count", "end"),
    [("", 1, "reversed"), (PENDING, 2, "reversed"), (PENDING_LOST, 2, "orphaned")],
    ids=["first", "behind work", "behind what was lost"],
)
def test_a_cancel_that_follows_no_execution(
    old: Bench, one: ScriptedOne, hands: Hands, direction: str, answer: str, count: int, end: str
) -> None:
    """I-13 C-58: by the provider's count it was cancelled before anything else, or next after it was at work on it, so
    nobody needs to look. Where the word before was lost it may have been that it was executed."""
    lineage.check(old.runtime)
    transfer_id = begun(old, one, direction, sent=False)
    lineage.restored(old.runtime, "a disk was set back", "ops")
    hands.turn(5)
    if answer:
        one.script, one.asked = [answer], [SILENT] * 99
        old.resolve_due()
        cancelled = one.take_back(str(old.get(transfer_id).outside.reference))
    else:
        cancelled = one.bury(effect_of(old.get(transfer_id)))
    one.asked = []

    advance(old.runtime, transfer_id, None, cancelled)
    work(old, hands, ENOUGH)

    assert (cancelled.reply.sequence, state(old, transfer_id), one.net(PLAYER)) == (count, end, 0)
