"""A provider's name is given to another one: another account, protocol or operator. What was sent to the one before is
there, or is not; the one that has its name now is told nothing of it, and what it says of it proves nothing."""

from __future__ import annotations

import threading
from dataclasses import replace
from threading import Event
from typing import Any

import pytest
from sqlalchemy import update

from bridge import breaker, db, gates, identity, inbox, keys, lineage, models, players
from bridge.desk import switches
from bridge.errors import Conflict, Invalid, NotFound, Unavailable
from bridge.idempotency import TRANSFER, Key
from bridge.inbox import Kept
from bridge.ports import Balance, BalancePage
from bridge.transfers import hear, resolve
from bridge.transfers.begin import begin, begin_plainly
from bridge.transfers.drive import drive
from jobs import resolve as resolve_job
from jobs import sweep
from tests.harness import EUR, PLAYER, PROVIDER, Bench, Hands, composed, configured
from tests.transfers.conftest import REAL_TIMES
from tests.transfers.moving import START, in_doubt, repointed, work
from tests.transfers.scripted import LOST as LOST_COMPLETE
from tests.transfers.scripted import OK as DONE
from tests.transfers.scripted import ScriptedProvider
from tests.transfers.scripted_one import ABSENT, GRANTED, ScriptedOne

# --- nothing is sent, concluded or begun ----------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["in", "out"])
def test_another_account_is_told_and_believed_nothing(
    old: Bench, one: ScriptedOne, fresh: ScriptedOne, hands: Hands, direction: str
) -> None:
    """I-09, I-13: what the old account executed is neither sent to the new one again nor given back because the new one
    does not know it; the process that has the old one goes on, and proves it."""
    transfer_id = in_doubt(old, one, direction)
    new = repointed(old, fresh)

    identity.keep(new.runtime)
    work(new, hands, 400)

    assert fresh.calls == []
    assert old.row(transfer_id)["state"] == "pending"
    one.asked = []
    old.resolve_due()
    assert old.row(transfer_id)["state"] == "confirmed"
    assert one.owned(PLAYER) - GRANTED == (1000 if direction == "in" else -1000)
    assert old.wallet() + one.owned(PLAYER) == START + GRANTED
    old.audit()


@pytest.mark.parametrize("amount", ["1.00", "max"])
@pytest.mark.parametrize("direction", ["in", "out"])
@pytest.mark.parametrize("plainly", [True, False])
def test_nothing_is_begun_at_another_account(
    old: Bench, fresh: ScriptedOne, direction: str, amount: str, *, plainly: bool
) -> None:
    """I-09: while money stands in our books at the old account, in and out are refused at the new one, no byte leaves,
    and the key is free for another try."""
    if (direction, amount) == ("in", "max"):
        amount = "2.00"
    old.run("in")
    new = repointed(old, fresh)

    with pytest.raises(Unavailable) as refused:
        new.begin(direction, amount, key="once", plainly=plainly)

    assert refused.value.code == "provider_moved"
    assert fresh.calls == []
    assert old.begin(direction, amount, key="once").stored is None
    assert len(old.rows("SELECT id FROM transfer")) == 2


def test_another_operator_does_not_take_what_the_first_one_has_there(
    old: Bench, one: ScriptedOne, fresh: ScriptedOne
) -> None:
    """I-09: the account is given to another operator, whose player has the same name: their sweep takes nothing."""
    old.run("in")
    given = repointed(old, one, base_url=str(old.runtime.config.providers[PROVIDER].base_url), operator="rival")
    rival = keys.add_operator(given.runtime, "rival")
    players.register(given.runtime, rival, PLAYER, [EUR])
    calls = len(one.calls)

    with pytest.raises(Unavailable, match="accept"):
        begin(given.runtime, rival, "x", old.wish("out", "max"))
    with pytest.raises(Conflict, match="players hold money there"):
        switches.accept(given.runtime, PROVIDER, "they bought it", "ops")

    assert len(one.calls) == calls
    assert players.funds(given.runtime, rival, PLAYER)[0].wallet == 0
    assert one.owned(PLAYER) == GRANTED + 1000


def test_another_protocol_is_not_believed_about_what_was_sent_in_the_first(
    old: Bench, one: ScriptedOne, hands: Hands
) -> None:
    """I-13: what was sent in one request is no prepare that dies by itself, and nobody can accept that it is."""
    transfer_id = in_doubt(old, one)
    url = str(old.runtime.config.database.url)
    other = Bench(composed(configured(url, **{**REAL_TIMES, "lane_policy": "allow"}), hands), old.operator, made=500)

    work(other, hands, 60, step=1)

    assert old.row(transfer_id)["state"] == "pending"
    assert old.wallet() == START - 1000
    with pytest.raises(Conflict, match="a transfer is open there"):
        switches.accept(other.runtime, PROVIDER, "they changed it", "ops")
    other.runtime.engine.dispose()


def test_where_nothing_is_open_or_held_another_one_is_simply_kept(
    old: Bench, one: ScriptedOne, fresh: ScriptedOne, hands: Hands
) -> None:
    """Everything has come home: the first transfer at the new account is begun, and from then on the old one is the
    other; back again the same way."""
    old.run("in")
    old.run("out")
    work(old, hands, 20)
    new = repointed(old, fresh)

    assert new.row(new.run("in"))["state"] == "confirmed"

    with pytest.raises(Unavailable) as refused:
        old.begin("in")
    assert refused.value.code == "provider_moved"
    assert new.row(new.run("out"))["state"] == "confirmed"
    assert old.row(old.run("in"))["state"] == "confirmed"
    assert (one.owned(PLAYER), fresh.owned(PLAYER)) == (GRANTED + 1000, GRANTED)


def test_what_is_watched_counts_as_open(old: Bench, fresh: ScriptedOne) -> None:
    """C-07: a reversal about which the provider is still asked is with the one that it was asked of."""
    transfer_id = old.run("in")
    old.run("out")
    with db.writing(old.runtime.engine) as connection:
        transfer = models.metadata.tables["transfer"]
        connection.execute(update(transfer).where(transfer.c.id == transfer_id).values(wake_at=2**62))
    new = repointed(old, fresh)

    identity.keep(new.runtime)

    with db.reading(new.runtime.engine) as connection:
        assert "where a transfer is watched" in identity.moved(connection, new.runtime)[PROVIDER]


def test_what_another_account_calls_back_waits(old: Bench, one: ScriptedOne, fresh: ScriptedOne, hands: Hands) -> None:
    """C-66: a message that a process with the new account is to act on says nothing of what was sent to the old one; it
    waits, and is acted on by whoever has the right one."""
    transfer_id = in_doubt(old, one)
    (leg,) = old.rows("SELECT reference FROM leg WHERE holder = 'sim' AND transfer_id = :id", id=transfer_id)
    row: dict[str, Any] = {
        "provider": PROVIDER, "message_id": "m1", "kind": "transfer.updated", "reference": leg["reference"],
        "body": "{}", "digest": "d", "peer": "192.0.2.1", "sent_at": hands.now(), "received_at": hands.now(),
    }  # fmt: skip
    task = {"provider": PROVIDER, "reference": leg["reference"], "state": "waiting", "wake_at": hands.now()}
    inbox._store(old.runtime, row, task)
    (number,) = inbox.due(old.runtime, 1)

    hear.act(repointed(old, fresh).runtime, number)

    (found,) = old.rows("SELECT state, reason FROM inbox_task")
    assert (found["state"], found["reason"]) == ("parked", inbox.ANOTHER)
    with db.reading(old.runtime.engine) as connection:
        assert isinstance(inbox.load(connection, number), Kept)


def test_another_account_is_neither_compared_nor_probed(old: Bench, fresh: ScriptedOne, hands: Hands) -> None:
    """C-58: its balances say nothing of our books, and that it answers says nothing of the one whose breaker opened."""
    old.run("in")
    new = repointed(old, fresh)
    lineage.restored(old.runtime, "a test", "ops")
    with db.writing(old.runtime.engine) as connection:
        opened = {"open": True, "counted_from": 0, "probe_at": 0, "version": 1}
        connection.execute(models.metadata.tables["breaker"].insert().values(provider=PROVIDER, **opened))
    hands.turn(100)

    assert sweep.run_once(new.runtime, hands.now(), 10, Event())["swept"] == 0
    assert resolve_job.run_once(new.runtime, hands.now(), 10, Event())["probed"] == 0

    assert fresh.calls == []
    with db.reading(old.runtime.engine) as connection:
        assert breaker.open_until(connection, PROVIDER, hands.now())


# --- people accept it -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["in", "out"])
def test_accepted_what_was_sent_before_is_for_people(
    old: Bench, one: ScriptedOne, fresh: ScriptedOne, hands: Hands, direction: str
) -> None:
    """I-09, I-13: the new account says for hours that it does not know the transfer. It is not sent there, not
    cancelled there, not given back: patience is spent, and people see it."""
    transfer_id = in_doubt(old, one, direction)
    new = repointed(old, fresh)
    fresh.asked = [ABSENT] * 500

    change, marked = switches.accept(new.runtime, PROVIDER, "they moved house", "ops")
    with db.writing(new.runtime.engine) as connection:
        transfer = models.metadata.tables["transfer"]
        connection.execute(update(transfer).where(transfer.c.id == transfer_id).values(cancel_requested_at=hands.now()))
    work(new, hands, 7200, step=30)

    assert (change.held, marked) == ("a transfer is open", 1)
    assert {call for call in fresh.calls if call != "balance"} == {"look_up"}
    row = new.row(transfer_id)
    assert (row["state"], row["reason_code"]) == ("orphaned", "unproved")
    assert new.wallet() == START - (1000 if direction == "in" else 0)
    assert one.owned(PLAYER) - GRANTED == (1000 if direction == "in" else -1000)
    new.audit()


def test_accepted_what_the_new_one_knows_is_proved(old: Bench, one: ScriptedOne, hands: Hands) -> None:
    """A provider that has moved its books with it: what it says was executed is confirmed."""
    transfer_id = in_doubt(old, one)
    new = repointed(old, one)
    one.asked = []

    switches.accept(new.runtime, PROVIDER, "another host of the same", "ops")
    work(new, hands, 60)

    assert new.row(transfer_id)["state"] == "confirmed"
    assert one.sent(new.get(transfer_id).outside.reference) == 1
    new.audit()


def test_accepted_it_is_closed_until_its_balances_were_compared(
    old: Bench, one: ScriptedOne, hands: Hands, fresh: ScriptedOne
) -> None:
    """C-58: in is closed as after a restore, and opens by itself where what it holds is what our books say; a note says
    who accepted what, and why."""
    old.run("in")
    held = Balance(PLAYER, EUR, 1000)
    fresh.balances = lambda *_asked: BalancePage((held,), None)  # type: ignore[method-assign] # its list, scripted
    new = repointed(old, fresh)

    switches.accept(new.runtime, PROVIDER, "they moved house", "ops")

    with pytest.raises(Unavailable) as refused:
        new.begin("in")
    assert refused.value.code == "provider_restored"
    hands.turn(100)
    assert sweep.run_once(new.runtime, hands.now(), 10, Event())["opened"] == 1
    assert new.row(new.run("in"))["state"] == "confirmed"
    (note,) = new.rows("SELECT * FROM access_note")
    assert (note["kind"], note["subject"], note["reason"]) == ("accept provider", PROVIDER, "they moved house")
    assert (note["login"], note["address"], note["operator_id"]) == ("ops", "command line", new.operator)
    assert note["before"] == "generic at http://127.0.0.1:9, for operator op; players hold money"
    assert note["after"].startswith("generic at https://new.provider.example:443, path ")
    with db.reading(new.runtime.engine) as connection:
        assert identity.moved(connection, new.runtime) == {}
        assert PROVIDER in identity.moved(connection, old.runtime)
    assert one.owned(PLAYER) == GRANTED + 1000


def test_who_has_the_old_one_in_hand_does_nothing_more_with_it(still: Bench, scripted: ScriptedProvider) -> None:
    """I-30: it is accepted while a prepare is out. Its answer is kept, but no complete follows it, neither by the
    process that waits for it nor by one that has the new account; nothing has moved, and nobody concludes that."""
    identity.keep(still.runtime)
    new = repointed(still, ScriptedProvider(scripted.clock), username="another")

    def arrived(operation: str) -> None:
        if operation == "prepare":
            scripted.during = lambda _operation: None
            switches.accept(new.runtime, PROVIDER, "they moved house", "ops")

    scripted.during, scripted.script = arrived, [DONE, LOST_COMPLETE]
    transfer_id = still.run("in")
    for made in (still, new):
        work(made, scripted.clock, 60, step=1)

    assert scripted.count("complete") == new.runtime.providers[PROVIDER].count("complete") == 0  # type: ignore[attr-defined] # a scripted one
    row = still.row(transfer_id)
    assert (row["state"], row["moved_at"] is None) == ("pending", False)
    assert still.wallet() == START - 1000
    still.audit()


def test_a_claim_of_before_is_worth_nothing(
    old: Bench, one: ScriptedOne, fresh: ScriptedOne, hands: Hands
) -> None:
    """I-30: claimed and not sent yet when it is accepted: it is sent to the new account, and not to the old one."""
    queued = old.begin("in", queued=True).transfer_id
    (claim,) = resolve.claim_due(old.runtime, 1)
    new = repointed(old, fresh)

    switches.accept(new.runtime, PROVIDER, "they moved house", "ops")
    resolve.resolve(old.runtime, claim)
    assert one.calls == []
    work(new, hands, 60)

    assert new.row(str(queued))["state"] == "confirmed"
    assert (one.owned(PLAYER), fresh.owned(PLAYER)) == (GRANTED, GRANTED + 1000)


def test_what_cannot_be_accepted(old: Bench, fresh: ScriptedOne) -> None:
    """A reason is stated, the name is configured, and it is another one: else nothing is changed."""
    old.run("in")
    new = repointed(old, fresh)
    with pytest.raises(Invalid):
        switches.accept(new.runtime, PROVIDER, " x ", "ops")
    with pytest.raises(NotFound):
        switches.accept(new.runtime, "nobody", "they moved house", "ops")
    with pytest.raises(Conflict, match="is the one that it was"):
        switches.accept(old.runtime, PROVIDER, "they moved house", "ops")
    with db.writing(old.runtime.engine) as connection:
        connection.exec_driver_sql("DELETE FROM provider_identity")
    with pytest.raises(Conflict, match="was never kept"):
        switches.accept(new.runtime, PROVIDER, "they moved house", "ops")
    assert old.rows("SELECT * FROM access_note") == old.rows("SELECT * FROM switch") == []


# --- several processes at once --------------------------------------------------------------------------------


def test_each_process_claims_what_is_its_own(old: Bench, one: ScriptedOne, fresh: ScriptedOne, hands: Hands) -> None:
    """I-17: a process with the new account takes no lease of what is with the old one, and keeps nobody waiting; a
    provider that the two agree about is driven by both."""
    in_doubt(old, one)
    hands.turn(60)
    assert resolve.claim_due(repointed(old, fresh).runtime, 10) == []
    assert len(resolve.claim_due(old.runtime, 10)) == 1


@pytest.mark.parametrize("plainly", [True, False], ids=["stroke", "long way"])
def test_nobody_begins_under_an_identity_that_is_being_changed(
    at_once: Bench, fresh: ScriptedOne, *, plainly: bool
) -> None:
    """I-09: whoever begins at the old account while the new one is accepted waits for that, and then finds itself
    another; else its transfer would be open with one and asked for at the other."""
    at_once.run("in")
    new, begun, found = repointed(at_once, fresh), threading.Event(), []

    def tries() -> None:
        begun.set()
        try:
            found.append(at_once.begin("out", "1.00", plainly=plainly))
        except Unavailable as refused:
            found.append(refused)

    with db.writing(new.runtime.engine) as connection:
        identity.accept(connection, new.runtime, PROVIDER, "they moved house", "ops", new.runtime.clock.now())
        thread = threading.Thread(target=tries)
        thread.start()
        begun.wait(5)
        thread.join(1)
        assert thread.is_alive(), "it has not waited"
    thread.join(20)

    assert isinstance(found[0], Unavailable)
    assert found[0].code == "provider_moved"
    assert len(at_once.rows("SELECT id FROM transfer")) == 1


def test_a_stroke_begins_nothing_at_another_account(old: Bench, fresh: ScriptedOne) -> None:
    """A plain transfer is begun at the account that it was, and not at another one."""
    old.run("in")
    new = repointed(old, fresh)
    assert begin_plainly(new.runtime, Key(new.operator, TRANSFER, "k"), new.wish("out")) is None
    begun = begin_plainly(old.runtime, Key(old.operator, TRANSFER, "k"), old.wish("out"))
    assert begun is not None
    assert begun.outcome is not None
    drive(old.runtime, begun.outcome)


# --- a restore ------------------------------------------------------------------------------------------------


def test_a_restore_closes_also_what_its_finder_is_not_configured_with(old: Bench) -> None:
    """C-58: whoever notices it is the only one who does; a shell without the service's variables closes what the
    service sends to all the same."""
    old.run("in")
    nobody = old.runtime.config.model_copy(update={"providers": {}})

    done = lineage.restored(replace(old.runtime, config=nobody, providers={}), "noticed in a shell", "ops")

    assert done.closed == [PROVIDER]
    with db.reading(old.runtime.engine) as connection:
        assert [each.provider for each in gates.closed(connection)] == [PROVIDER]
    with pytest.raises(Unavailable):
        old.begin("in")


def test_a_restore_closes_what_only_transfers_know_of(lone: Bench) -> None:
    """C-58: also a provider of before identities were kept, by its transfers."""
    lone.run("in")
    nobody = lone.runtime.config.model_copy(update={"providers": {}})
    done = lineage.restored(replace(lone.runtime, config=nobody, providers={}), "in a shell", "ops")
    assert done.closed == [PROVIDER]
