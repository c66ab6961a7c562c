"""What is sent to the one that has a provider's name now: what was never sent to the one before, as far as anybody can
know, and nothing else."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from sqlalchemy import text

from bridge import db, gates, identity, lineage
from bridge.desk import switches
from bridge.errors import Unavailable
from bridge.evidence import Answer, Reply, Source
from bridge.transfers.advance import Fact, advance
from tests.deciding import decide
from tests.harness import EUR, PLAYER, PROVIDER, Bench, Hands
from tests.transfers.scripted import DROPPED, ScriptedProvider
from tests.transfers.scripted_one import ABSENT, GRANTED, ScriptedOne
from tests.transfers.test_decide import decision
from tests.transfers.test_moved import START, at_once, fresh, old, repointed, work  # noqa: F401 - fixtures
from tests.transfers.test_restored import backups

WHY = "they moved house"


@pytest.mark.parametrize("noticed", [True, False], ids=["noticed", "not noticed"])
@pytest.mark.parametrize("direction", ["in", "out"])
def test_what_a_restore_has_forgotten_is_not_sent_to_another(
    old: Bench, one: ScriptedOne, fresh: ScriptedOne, hands: Hands, tmp_path: Path, direction: str, *, noticed: bool  # noqa: F811
) -> None:
    """I-09 C-58: executed by the one before, forgotten by a restored backup, and then the name is another's, who would
    execute it again. It is for people, and the money is where the one before has put it."""
    copies = backups(old, tmp_path)
    queued = str(old.begin(direction, queued=True).transfer_id)
    copies.back_up()
    old.resolve_due()
    lineage.check(old.runtime)
    old.runtime.engine.dispose()
    copies.restore()
    assert lineage.check(old.runtime) if noticed else old.row(queued)["rewound_at"] is None
    new = repointed(old, fresh)
    fresh.asked = [ABSENT] * 500

    switches.accept(new.runtime, PROVIDER, WHY, "ops")
    work(new, hands, 7200, step=30)

    assert {*fresh.calls} <= {"look_up", "balance"}
    assert (new.row(queued)["state"], new.row(queued)["reason_code"]) == ("orphaned", "unproved")
    moved = 1000 if direction == "in" else -1000
    assert (one.owned(PLAYER) - GRANTED, fresh.owned(PLAYER) - GRANTED) == (moved, 0)
    assert new.wallet() == START - (1000 if direction == "in" else 0)
    new.audit()


def test_the_clock_may_have_been_ahead_before(
    old: Bench, one: ScriptedOne, fresh: ScriptedOne, hands: Hands, tmp_path: Path  # noqa: F811
) -> None:
    """I-09, I-34: the same, where the restore was seen by a clock that was set back before the new one is accepted."""
    copies = backups(old, tmp_path)
    queued = str(old.begin("in", queued=True).transfer_id)
    copies.back_up()
    old.resolve_due()
    lineage.check(old.runtime)
    old.runtime.engine.dispose()
    copies.restore()
    assert lineage.check(old.runtime)
    hands.set_both(-3600)
    new = repointed(old, fresh)

    switches.accept(new.runtime, PROVIDER, WHY, "ops")
    work(new, hands, 600, step=30)

    assert (one.owned(PLAYER) - GRANTED, fresh.owned(PLAYER) - GRANTED) == (1000, 0)
    assert new.row(queued)["state"] == "pending"
    assert new.row(queued)["moved_at"] > new.row(queued)["first_rewound_at"]


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


@pytest.mark.parametrize("moved", [False, True])
def test_what_people_order_afterwards_is_carried_out(still: Bench, scripted: ScriptedProvider, *, moved: bool) -> None:
    """I-03: a reversed transfer that was executed after all is taken back, where it was executed and where that has
    another address by now."""
    identity.keep(still.runtime)
    scripted.script = [DROPPED] * 2
    transfer_id = still.run("in")
    work(still, scripted.clock, 60, step=1)
    leg = still.get(transfer_id).outside
    told = Reply(Answer.APPLIED, amount=1000, currency=EUR, player=PLAYER, side=leg.side.value,
                 reference=leg.reference, provider_reference="Q77")  # fmt: skip
    advance(still.runtime, transfer_id, None, Fact(told, Source.LOOKUP, scripted.clock.now()))
    made = still
    if moved:
        made = repointed(still, scripted)
        switches.accept(made.runtime, PROVIDER, WHY, "ops")
    sent = len(scripted.calls)

    decide(made.runtime, made.operator, transfer_id, decision(made, transfer_id, "claw_back"))
    work(made, scripted.clock, 600, step=5)

    assert [call for call in scripted.calls[sent:] if call != "look_up"] == ["prepare", "complete"]
    assert (made.row(transfer_id)["state"], made.row(transfer_id)["reason_code"]) == ("reversed", "clawed_back")
    made.audit()


def test_a_refused_begin_stops_nobody(at_once: Bench, fresh: ScriptedOne) -> None:  # noqa: F811
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


def test_a_restore_and_an_acceptance_wait_for_each_other(at_once: Bench, fresh: ScriptedOne) -> None:  # noqa: F811
    """C-58: whoever comes second comes after the first; both marks are there, and neither is lost to a deadlock."""
    transfer_id = str(at_once.begin("in", queued=True).transfer_id)
    new, other, failed = repointed(at_once, fresh), at_once.another(), []
    lineage.check(new.runtime)
    inside, beside = threading.Event(), threading.Event()

    def restores() -> None:
        try:
            lineage.restored(other.runtime, "set back", "ops")
        except Exception as trouble:  # noqa: BLE001 - a thread's trouble, told below
            failed.append(trouble)

    thread = threading.Thread(target=restores)
    closing = gates.close_restored

    def closes(*asked: object) -> None:
        inside.set()
        if not beside.is_set():
            beside.set()
            thread.start()
            thread.join(1)  # it has to wait for us by now
        closing(*asked)  # type: ignore[arg-type] # as it was called

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(gates, "close_restored", closes)
        switches.accept(new.runtime, PROVIDER, WHY, "ops")
        thread.join(20)

    assert (inside.is_set(), failed) == (True, [])
    row = new.row(transfer_id)
    assert row["moved_at"] == row["first_rewound_at"] <= row["rewound_at"]
    other.runtime.engine.dispose()
