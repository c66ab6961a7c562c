"""What is sent to the one that has a provider's name now: what was never sent to the one before, as far as anybody can
know, and nothing else."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from bridge import db, gates, identity, lineage, misdated
from bridge.desk import switches
from bridge.errors import Invalid, Unavailable
from bridge.evidence import Answer, Reply, Source
from bridge.ports import SameId
from bridge.transfers import advance as advancing
from bridge.transfers.advance import Fact, advance
from tests.deciding import decide
from tests.harness import EUR, PLAYER, PROVIDER, Bench, Hands
from tests.transfers.moving import START, in_doubt, repointed, work
from tests.transfers.scripted import DROPPED, ScriptedProvider
from tests.transfers.scripted_one import ABSENT, GRANTED, LOST, ONE_PHASE, PENDING_REFUSED, REFUSES, SILENT, ScriptedOne
from tests.transfers.test_after_decisions import carry_out, executed_late, order
from tests.transfers.test_decide import decision, orphan
from tests.transfers.test_restored import backups, restore

WHY = "they moved house"


def executed_and_forgotten(old: Bench, folder: Path, direction: str = "in") -> str:
    """A transfer that was queued when the backup was made, and then executed; the backup is in place, and nobody has
    looked yet."""
    copies = backups(old, folder)
    queued = str(old.begin(direction, queued=True).transfer_id)
    copies.back_up()
    old.resolve_due()
    lineage.check(old.runtime)
    old.runtime.engine.dispose()
    copies.restore()
    assert old.row(queued)["rewound_at"] is None
    return queued


@pytest.mark.parametrize("noticed", ["before", "by the acceptance", "after it"])
@pytest.mark.parametrize("direction", ["in", "out"])
def test_what_a_restore_has_forgotten_is_not_sent_to_another(
    old: Bench, one: ScriptedOne, fresh: ScriptedOne, hands: Hands, tmp_path: Path, direction: str, noticed: str
) -> None:
    """I-09 C-58: executed by the one before, forgotten by a restored backup, and then the name is another's, who would
    execute it again. It is for people, and the money is where the one before has put it; also where the new one is
    accepted by a process that has never seen the database as it was."""
    queued = executed_and_forgotten(old, tmp_path, direction)
    assert noticed != "before" or lineage.check(old.runtime)
    fresh.asked = [ABSENT] * 500
    hands.turn(1)

    command = repointed(old.another() if noticed == "after it" else old, fresh)
    switches.accept(command.runtime, PROVIDER, WHY, "ops")
    hands.turn(60)
    new = repointed(old, fresh)
    lineage.check(new.runtime)
    work(new, hands, 7200, step=30)

    assert {*fresh.calls} <= {"look_up", "balance"}
    assert (new.row(queued)["state"], new.row(queued)["reason_code"]) == ("orphaned", "unproved")
    moved = 1000 if direction == "in" else -1000
    assert (one.owned(PLAYER) - GRANTED, fresh.owned(PLAYER) - GRANTED) == (moved, 0)
    assert new.wallet() == START - (1000 if direction == "in" else 0)
    new.audit()
    if command.runtime.engine is not old.runtime.engine:
        command.runtime.engine.dispose()


def test_a_restore_that_is_said_late(
    old: Bench, one: ScriptedOne, fresh: ScriptedOne, hands: Hands, tmp_path: Path
) -> None:
    """I-09, I-13 C-58: nobody could notice it, and the new one was sent the transfer once, in vain. From when a person
    says it, it is sent no more, and that the new one does not know it proves nothing."""
    queued = executed_and_forgotten(old, tmp_path)
    since = hands.now()
    _forget(old)
    hands.turn(1)
    new = repointed(old, fresh)
    switches.accept(new.runtime, PROVIDER, WHY, "ops")
    fresh.script, fresh.asked = [DROPPED] * 9, [SILENT]
    hands.turn(1)
    new.resolve_due()
    sent = fresh.count("transfer")

    lineage.restored(new.runtime, WHY, "ops", since)
    fresh.asked = []
    work(new, hands, 7200, step=30)

    assert fresh.count("transfer") == sent
    assert (new.row(queued)["state"], new.row(queued)["reason_code"]) == ("orphaned", "unproved")
    assert (one.owned(PLAYER) - GRANTED, new.wallet()) == (1000, START - 1000)


def _forget(made: Bench) -> None:
    """All processes were stopped, and no mark is kept."""
    lineage._memories.pop(made.runtime.engine)  # what a stopped process has forgotten


@pytest.mark.parametrize("restored", [True, False])
def test_the_clock_may_have_been_ahead_before(
    old: Bench, one: ScriptedOne, fresh: ScriptedOne, hands: Hands, tmp_path: Path, *, restored: bool
) -> None:
    """I-09, I-34: the same, where the restore was seen, or the request was sent, by a clock that was put back before
    the new one is accepted."""
    hands.set_both(3600)
    if restored:
        transfer_id = executed_and_forgotten(old, tmp_path)
        assert lineage.check(old.runtime)
    else:
        transfer_id = in_doubt(old, one)
    hands.set_both(-3600)
    hands.turn(30)
    new = repointed(old, fresh)

    switches.accept(new.runtime, PROVIDER, WHY, "ops")
    fresh.asked = [ABSENT] * 500
    work(new, hands, 7200, step=30)

    assert (one.owned(PLAYER) - GRANTED, fresh.owned(PLAYER) - GRANTED) == (1000, 0)
    assert new.row(transfer_id)["state"] == "orphaned"
    assert new.wallet() == START - 1000


def test_what_was_never_sent_is_carried_out_by_the_new_one(still: Bench, scripted: ScriptedProvider) -> None:
    """I-03: both phases of it, by the one that is asked first."""
    identity.keep(still.runtime)
    queued = str(still.begin("in", queued=True).transfer_id)
    other = ScriptedProvider(scripted.clock)
    new = repointed(still, other, username="another")

    switches.accept(new.runtime, PROVIDER, WHY, "ops")
    work(new, scripted.clock, 60, step=1)

    assert new.row(queued)["state"] == "confirmed"
    assert (scripted.calls, other.count("prepare"), other.count("complete")) == ([], 1, 1)
    new.audit()


def test_an_absence_is_proved_by_who_alone_was_asked(old: Bench, fresh: ScriptedOne, hands: Hands) -> None:
    """I-13 C-05: queued before, sent to the new one alone, lost on the way there, and not known there for long
    enough."""
    queued = str(old.begin("in", queued=True).transfer_id)
    new = repointed(old, fresh)
    switches.accept(new.runtime, PROVIDER, WHY, "ops")
    fresh.script, fresh.asked = [DROPPED] * 9, [ABSENT] * 500
    work(new, hands, 7200, step=30)

    assert (new.row(queued)["state"], new.row(queued)["reason_code"]) == ("reversed", "not_executed")
    assert (fresh.owned(PLAYER), new.wallet()) == (GRANTED, START)
    new.audit()


@pytest.mark.parametrize("restored", ["never", "before"])
@pytest.mark.parametrize("moved", [False, True])
def test_what_people_order_afterwards_is_carried_out(
    old: Bench, one: ScriptedOne, hands: Hands, *, moved: bool, restored: str
) -> None:
    """I-03: what the house bears is taken back, where it was executed and where that has another address by now; not
    where a backup was restored: whether it was taken back already, under whatever reference, nobody knows."""
    transfer_id = orphan(old, one, hands, "in", "house")
    if restored == "before":
        lineage.restored(old.runtime, "a restore", "ops")
        hands.turn(1000)
    made = old
    if moved:
        made = repointed(old, one)
        switches.accept(made.runtime, PROVIDER, WHY, "ops")
        hands.turn(1000)
    before = one.owned(PLAYER)

    if restored == "before":
        with pytest.raises(Invalid) as refused:
            decide(made.runtime, made.operator, transfer_id, decision(made, transfer_id, "claw_back"))
        assert "might take twice" in refused.value.fields["kind"]
        decide(made.runtime, made.operator, transfer_id, decision(made, transfer_id, "write_off"))
        made.audit()
        return
    decide(made.runtime, made.operator, transfer_id, decision(made, transfer_id, "claw_back"))
    work(made, hands, 3600, step=30)

    assert (made.row(transfer_id)["state"], made.row(transfer_id)["reason_code"]) == ("reversed", "clawed_back")
    assert one.owned(PLAYER) == before - 1000
    made.audit()


@pytest.mark.parametrize("sent", [False, True])
def test_what_people_ordered_is_in_doubt_behind_a_restore(
    old: Bench, one: ScriptedOne, fresh: ScriptedOne, hands: Hands, *, sent: bool
) -> None:
    """I-34 C-58: ordered after the name was given to another one, and then a backup is restored: it is not sent any
    more; where it was sent already, the provider that has done it says so."""
    transfer_id = orphan(old, one, hands, "in", "house")
    made = repointed(old, fresh)
    switches.accept(made.runtime, PROVIDER, WHY, "ops")
    hands.turn(1000)
    decide(made.runtime, made.operator, transfer_id, decision(made, transfer_id, "claw_back"))
    if sent:
        fresh.script, fresh.asked = [LOST], [SILENT] * 3
        work(made, hands, 10)
    lineage.restored(made.runtime, "a failover", "ops")
    work(made, hands, 3600, step=30)

    assert fresh.count("transfer") == int(sent)
    assert made.row(transfer_id)["state"] == ("reversed" if sent else "orphaned")
    if not sent:
        decide(made.runtime, made.operator, transfer_id, decision(made, transfer_id, "write_off"))
    made.audit()


def test_a_take_back_that_was_forgotten_is_not_done_by_another(
    old: Bench, one: ScriptedOne, fresh: ScriptedOne, hands: Hands, tmp_path: Path
) -> None:
    """I-02 C-58: people had it taken back, the one before has done it, and a restore has forgotten all of that. Who has
    the name now knows of nothing: people cannot have it done again there."""
    transfer_id = executed_late(old, one, hands)
    copies = backups(old, tmp_path)
    copies.back_up()
    order(old, transfer_id)
    carry_out(old, hands, transfer_id)
    assert (old.row(transfer_id)["state"], one.net(PLAYER)) == ("reversed", 0)
    restore(old, copies)
    hands.turn(5)
    new = repointed(old, fresh)
    switches.accept(new.runtime, PROVIDER, WHY, "ops")
    hands.turn(5)

    with pytest.raises(Invalid):
        decide(new.runtime, new.operator, transfer_id, decision(new, transfer_id, "claw_back"))
    decide(new.runtime, new.operator, transfer_id, decision(new, transfer_id, "reverse"))

    assert (one.net(PLAYER), fresh.net(PLAYER), new.game()) == (0, 0, 0)
    new.audit()


def test_who_executes_again_is_sent_what_was_never_sent(
    old: Bench, one: ScriptedOne, fresh: ScriptedOne, hands: Hands
) -> None:
    """I-25: it has only moved, and nothing is forgotten: what is queued is executed once, also by a provider that would
    do it twice, and people can have something taken back there."""
    fresh.descriptor = one.descriptor = replace(ONE_PHASE, same_id=SameId.UNSAFE)
    late = orphan(old, one, hands, "in", "house")
    queued = str(old.begin("in", "10.00", queued=True).transfer_id)
    hands.turn(1)
    new = repointed(old, fresh)
    switches.accept(new.runtime, PROVIDER, WHY, "ops")
    hands.turn(1)
    decide(new.runtime, new.operator, late, decision(new, late, "claw_back"))
    work(new, hands, 3600, step=30)

    assert (new.row(queued)["state"], fresh.count("transfer")) == ("confirmed", 2)
    assert new.row(late)["state"] == "reversed"
    new.audit()


@pytest.mark.parametrize("word", ["two look-ups", "absence"])
def test_who_executes_again_and_has_only_moved_is_believed(
    old: Bench, fresh: ScriptedOne, one: ScriptedOne, hands: Hands, word: str
) -> None:
    """I-13: nothing is forgotten, and nobody else was ever asked: what it says of what was queued counts as ever."""
    fresh.descriptor = one.descriptor = replace(ONE_PHASE, same_id=SameId.UNSAFE)
    queued = str(old.begin("in", "10.00", queued=True).transfer_id)
    hands.turn(1)
    new = repointed(old, fresh)
    switches.accept(new.runtime, PROVIDER, WHY, "ops")
    if word == "two look-ups":
        fresh.script = [PENDING_REFUSED]
    else:
        fresh.script, fresh.asked = [DROPPED] * 9, [ABSENT] * 500
    work(new, hands, 7200, step=30)

    assert (new.row(queued)["state"], new.wallet(), fresh.net(PLAYER)) == ("reversed", START, 0)
    new.audit()


@pytest.mark.parametrize("word", ["two look-ups", "the answer"])
@pytest.mark.parametrize("moved", [False, True])
def test_a_refusal_of_one_execution_excludes_no_other(
    old: Bench, one: ScriptedOne, fresh: ScriptedOne, hands: Hands, tmp_path: Path, *, moved: bool, word: str
) -> None:
    """I-13 C-58: executed, and forgotten, and sent a second time before people said that a backup was restored: what
    whoever has the name now, or the same provider that would execute it again, refuses of the second says nothing of
    the first."""
    queued = executed_and_forgotten(old, tmp_path)
    since = hands.now()
    _forget(old)
    hands.turn(1)
    asked, made = one, old
    if moved:
        asked, made = fresh, repointed(old, fresh)
        switches.accept(made.runtime, PROVIDER, WHY, "ops")
        hands.turn(1)
    else:
        one.descriptor, one.executes_again = replace(ONE_PHASE, same_id=SameId.UNSAFE), True

    def say() -> None:
        lineage.restored(made.runtime, WHY, "ops", since)

    asked.script = [PENDING_REFUSED if word == "two look-ups" else REFUSES]
    if word == "the answer":
        asked.during = lambda operation: say() if operation == "transfer" else None
    made.resolve_due()
    if word == "two look-ups":
        assert made.row(queued)["state"] == "pending"
        say()
    work(made, hands, 7200, step=30)

    assert (made.row(queued)["state"], made.wallet()) == ("orphaned", START - 1000)
    assert one.executed[str(made.get(queued).outside.reference)] == 1
    made.audit()


@pytest.mark.parametrize(("storing", "accepting"), [(1.0, 0.0), (0.3, 0.9)], ids=["it", "the answer"])
def test_an_answer_and_an_acceptance_wait_for_each_other(
    at_once: Bench, one: ScriptedOne, fresh: ScriptedOne, storing: float, accepting: float
) -> None:
    """I-12 I-34: an answer is being stored, its transfer held and not yet written, while a person accepts; whichever of
    the two PostgreSQL would have ended for a deadlock, neither is lost."""
    one.script, one.asked = [LOST], [SILENT] * 3
    transfer_id = at_once.run("in")
    fact = one.callback(str(at_once.get(transfer_id).outside.reference))
    new, loaded, found = repointed(at_once, fresh), threading.Event(), {}
    lineage.check(new.runtime)
    real, closing = advancing._one_round, gates.close_restored

    def stores(*asked: Any, **named: Any) -> Any:
        loaded.set()
        time.sleep(storing)
        return real(*asked, **named)

    def closes(*asked: Any) -> None:
        time.sleep(accepting)
        closing(*asked)

    def answered() -> None:
        found["answer"] = advance(at_once.runtime, transfer_id, None, fact).transfer.state.value

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(advancing, "_one_round", stores)
        patched.setattr(gates, "close_restored", closes)
        thread = threading.Thread(target=answered)
        thread.start()
        assert loaded.wait(5)
        switches.accept(new.runtime, PROVIDER, WHY, "ops")
        thread.join(20)

    assert (found, new.row(transfer_id)["state"]) == ({"answer": "confirmed"}, "confirmed")


@pytest.mark.parametrize("ahead", [0, 86_400], ids=["right", "ahead"])
@pytest.mark.parametrize("forgotten", [False, True])
def test_what_people_had_ordered_before_is_not_sent_again(
    old: Bench, one: ScriptedOne, fresh: ScriptedOne, hands: Hands, tmp_path: Path, *, ahead: int, forgotten: bool
) -> None:
    """I-09, I-34: a take-back that the one before has executed, its answer lost or all of it forgotten by a restore,
    also where it was ordered by a clock that was ahead. That the new one does not know it refuses nothing."""
    transfer_id = orphan(old, one, hands, "in", "house")
    hands.set_both(ahead)
    decide(old.runtime, old.operator, transfer_id, decision(old, transfer_id, "claw_back"))
    hands.set_both(-ahead)
    hands.turn(20)
    misdated.bring_near(old.runtime)
    copies, before = backups(old, tmp_path), one.owned(PLAYER)
    copies.back_up()
    one.script, one.asked = [LOST], [SILENT] * 50
    old.resolve_due()
    if forgotten:
        lineage.check(old.runtime)
        old.runtime.engine.dispose()
        copies.restore()
        hands.turn(5)
        assert lineage.check(old.runtime)
    hands.turn(5)
    new = repointed(old, fresh)
    fresh.asked = [ABSENT] * 500

    switches.accept(new.runtime, PROVIDER, WHY, "ops")
    work(new, hands, 3600, step=30)

    assert (one.owned(PLAYER) - before, fresh.owned(PLAYER) - GRANTED) == (-1000, 0)
    assert new.get(transfer_id).take_backs[-1].state.value != "refused"
    assert new.row(transfer_id)["state"] == "orphaned"


def test_both_phases_of_what_people_order_afterwards(still: Bench, scripted: ScriptedProvider) -> None:
    """I-03: a reversed transfer that was executed after all is taken back at its provider's other address."""
    identity.keep(still.runtime)
    scripted.script = [DROPPED] * 2
    transfer_id = still.run("in")
    work(still, scripted.clock, 60, step=1)
    leg = still.get(transfer_id).outside
    told = Reply(Answer.APPLIED, amount=1000, currency=EUR, player=PLAYER, side=leg.side.value,
                 reference=leg.reference, provider_reference="Q77")  # fmt: skip
    advance(still.runtime, transfer_id, None, Fact(told, Source.LOOKUP, scripted.clock.now()))
    made = repointed(still, scripted)
    switches.accept(made.runtime, PROVIDER, WHY, "ops")
    sent = len(scripted.calls)
    work(made, scripted.clock, 10, step=1)

    decide(made.runtime, made.operator, transfer_id, decision(made, transfer_id, "claw_back"))
    work(made, scripted.clock, 600, step=5)

    assert [call for call in scripted.calls[sent:] if call != "look_up"] == ["prepare", "complete"]
    assert (made.row(transfer_id)["state"], made.row(transfer_id)["reason_code"]) == ("reversed", "clawed_back")
    made.audit()


def test_a_refused_begin_stops_nobody(at_once: Bench, fresh: ScriptedOne) -> None:
    """I-09: a process with the wrong account is asked again and again. It takes no lock of what others move: somebody
    who holds one that lets them go on, as a vacuum does, is not waited for."""
    at_once.run("in")
    new = repointed(at_once, fresh)
    with db.writing(at_once.runtime.engine) as connection:
        connection.execute(text("LOCK TABLE transfer IN SHARE UPDATE EXCLUSIVE MODE"))
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        with pytest.raises(Unavailable) as refused:
            new.begin("out", "1.00")
    assert refused.value.code == "provider_moved"


def test_a_restore_and_an_acceptance_wait_for_each_other(at_once: Bench, fresh: ScriptedOne) -> None:
    """C-58: whoever comes second comes after the first; both marks are there, and neither is lost to a deadlock."""
    transfer_id = str(at_once.begin("in", queued=True).transfer_id)
    new, other, failed = repointed(at_once, fresh), at_once.another(), []
    lineage.check(new.runtime)
    beside = threading.Event()

    def restores() -> None:
        try:
            lineage.restored(other.runtime, "set back", "ops")
        except Exception as trouble:  # noqa: BLE001 - a thread's trouble, told below
            failed.append(trouble)

    thread = threading.Thread(target=restores)
    closing = gates.close_restored

    def closes(*asked: object) -> None:
        if not beside.is_set():
            beside.set()
            thread.start()
            thread.join(1)  # it has to wait for us by now
        closing(*asked)  # type: ignore[arg-type] # as it was called

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(gates, "close_restored", closes)
        switches.accept(new.runtime, PROVIDER, WHY, "ops")
        thread.join(20)

    assert (beside.is_set(), failed) == (True, [])
    row = new.row(transfer_id)
    assert row["moved_at"] == row["first_rewound_at"] <= row["rewound_at"]
    other.runtime.engine.dispose()
