"""verify finds what is wrong: each corruption is planted in a database that real transfers filled, and named."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from bridge import events
from bridge import verify as checks
from bridge.verify import verify
from statemachines import TransferState
from tests import callbacks
from tests.audit.ground import owned
from tests.harness import PLAYER, Bench, bench, simulator

# Nothing here waits for an expiry or a deadline, so a busy machine may take its time.
PATIENT = {
    "expiry_seconds": 10,
    "prepare_seconds": 5,
    "complete_seconds": 5,
    "lookup_seconds": 5,
    "patience_seconds": 60,
    "engine_lease_slack_seconds": 5,
}

WALLET, GAME = f"wallet:{PLAYER}", f"game:sim:{PLAYER}"


@contextmanager
def one_of_each(url: str, folder: Path) -> Iterator[Bench]:
    """One transfer of each end: confirmed in and out, reversed, orphaned by a mismatch, pending."""
    with (
        simulator(folder, "--expiry", "10") as provider,
        bench(url, provider.address, **PATIENT) as made,
    ):
        made.confirmed = made.run("in", "50.00", ask=2)  # type: ignore[attr-defined]
        made.out = made.run("out", "20.00", ask=2)  # type: ignore[attr-defined]
        provider.script(35, on="prepare")
        made.reversed = made.run("in", "7.00", ask=2)  # type: ignore[attr-defined]
        provider.script(19, on="complete", params={"variant": "thousandfold"})
        made.orphaned = made.run("in", "9.00", ask=2)  # type: ignore[attr-defined]
        made.pending = made.begin("in", "3.00", queued=True).transfer_id  # type: ignore[attr-defined]
        states = [row["state"] for row in made.rows("SELECT state FROM transfer ORDER BY id")]
        assert states == ["confirmed", "confirmed", "reversed", "orphaned", "pending"]
        yield made


@pytest.fixture
def filled(migrated_url, tmp_path) -> Iterator[Bench]:
    """A bridge with one transfer of each end."""
    with one_of_each(migrated_url, tmp_path) as made:
        yield made


@contextmanager
def unguarded(made: Bench, *tables: str) -> Iterator[None]:
    """The hand of somebody who owns the database: no trigger, no CHECK, no foreign key in the way; the
    triggers are put back as they were."""
    engine = made.runtime.engine
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            kept = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")).all()
            connection.rollback()
        with engine.begin() as connection:
            for name, _ in kept:
                connection.exec_driver_sql(f"DROP TRIGGER {name}")
        yield
        with engine.begin() as connection:
            for _, sql in kept:
                connection.exec_driver_sql(sql)
        return
    with engine.begin() as connection:
        for table in tables:
            connection.exec_driver_sql(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    yield
    with engine.begin() as connection:
        for table in tables:
            connection.exec_driver_sql(f"ALTER TABLE {table} ENABLE TRIGGER USER")


@contextmanager
def without_check(made: Bench, table: str, constraint: str) -> Iterator[None]:
    """No CHECK in the way, for one statement."""
    engine = made.runtime.engine
    if engine.dialect.name == "postgresql":
        with engine.begin() as connection:
            connection.exec_driver_sql(f"ALTER TABLE {table} DROP CONSTRAINT {constraint}")
        yield
        return
    with engine.connect() as connection:  # the pragma belongs to a connection: the pool hands out this one again
        connection.exec_driver_sql("PRAGMA ignore_check_constraints = ON")
        connection.commit()
    yield


def change(made: Bench, statement: str, **values: object) -> int:
    """Change rows behind the bridge's back; how many."""
    with made.runtime.engine.begin() as connection:
        return connection.execute(text(statement), values).rowcount


def found(made: Bench) -> dict[str, list[str]]:
    """Invariant → the sentences of what does not hold."""
    told: dict[str, list[str]] = {}
    for finding in verify(made.runtime):
        assert finding.rows
        assert finding.count >= len(finding.rows)
        told.setdefault(finding.invariant, []).append(finding.sentence)
    return told


def test_a_sound_database_has_no_finding(filled):
    """I-01 to I-17: real transfers of every end break nothing that is asked."""
    assert verify(filled.runtime) == []
    filled.audit()


def test_an_empty_database_has_no_finding(migrated_url):
    """I-01 to I-17 hold where nothing has happened."""
    with bench(migrated_url) as made:
        assert verify(made.runtime) == []


PLANTED = {
    "a cached balance that grew": (
        "account", "UPDATE account SET balance = balance + 5 WHERE account = :wallet", {"I-01", "I-06"}),
    "a version that skips": (
        "account", "UPDATE account SET version = version + 1 WHERE account = :wallet", {"I-06"}),
    "a posting of another amount": (
        "posting", "UPDATE posting SET amount = amount + 1 WHERE transfer_id = :confirmed AND credit = :game",
        {"I-01", "I-03", "I-04", "I-06"}),
    "a posting that is gone": (
        "posting", "DELETE FROM posting WHERE transfer_id = :confirmed AND credit = :game",
        {"I-01", "I-03", "I-04", "I-06"}),
    "a deposit posted with another amount": (
        "posting", "UPDATE posting SET amount = amount - 1 WHERE cash_movement_id IS NOT NULL",
        {"I-01", "I-03", "I-06"}),
    "a posting in another currency": (
        "posting", "UPDATE posting SET currency = 'USD' WHERE transfer_id = :confirmed AND debit = 'transit'",
        {"I-01", "I-03", "I-06", "I-09"}),
    "a posting for another player": (
        "posting", "UPDATE posting SET player_id = 'bob' WHERE transfer_id = :confirmed AND debit = 'transit'",
        {"I-06", "I-09", "I-56"}),
    "a state without a move": (
        "transfer", "UPDATE transfer SET state = 'confirmed' WHERE id = :reversed", {"I-03", "I-10", "I-12"}),
    "a leg that moved by itself": (
        "leg", "UPDATE leg SET state = 'refused' WHERE transfer_id = :confirmed AND holder = 'sim'", {"I-10"}),
    "a move that no table has": (
        "history", "UPDATE history SET \"trigger\" = 'reverse' WHERE transfer_id = :confirmed AND target = 'confirmed'",
        {"I-10"}),
    "a chain of moves that is broken": (
        "history", "UPDATE history SET source = 'orphaned' WHERE transfer_id = :confirmed AND target = 'confirmed'",
        {"I-10"}),
    "a proof of another amount": (
        "evidence", "UPDATE evidence SET amount = amount + 1 WHERE transfer_id = :confirmed AND step = 'complete'",
        {"I-12"}),
    "a proof of another player": (
        "evidence", "UPDATE evidence SET player = 'bob' WHERE transfer_id = :out AND step = 'complete'", {"I-12"}),
    "a proof that proves nothing": (
        "evidence", "UPDATE evidence SET answer = 'unknown' WHERE transfer_id = :reversed AND source = 'call'",
        {"I-12"}),
    "an end without any proof": (
        "history", "UPDATE history SET evidence_id = NULL WHERE transfer_id = :confirmed AND target = 'confirmed'",
        {"I-12"}),
    "an orphan whose case was closed": (
        "orphan_case", "UPDATE orphan_case SET state = 'closed' WHERE transfer_id = :orphaned", {"I-10", "I-17"}),
    "a loss on the house that nobody decided": (
        "transfer", "UPDATE transfer SET written_off = amount WHERE id = :confirmed", {"I-03", "I-11"}),
    "an orphan without a case": (
        "orphan_case", "DELETE FROM orphan_case WHERE transfer_id = :orphaned", {"I-17"}),
}  # fmt: skip


@pytest.mark.parametrize(("table", "statement", "named"), PLANTED.values(), ids=PLANTED.keys())
def test_each_corruption_is_named(filled, table, statement, named):
    """I-01, I-03, I-04, I-06, I-09, I-10, I-11, I-12, I-17: one changed row is found, by each rule that it breaks."""
    names = {"wallet": WALLET, "game": GAME, "confirmed": filled.confirmed, "out": filled.out}
    names |= {"reversed": filled.reversed, "orphaned": filled.orphaned}
    given = {name: value for name, value in names.items() if f":{name}" in statement}
    with unguarded(filled, "posting", "history", "evidence", "attempt", "cash_movement"):
        assert change(filled, statement, **given) == 1, table

    assert set(found(filled)) == named


ITS_LEGS = "A transfer has its two legs, one at the wallet and one at its provider, of its amount and direction."
EACH_LEG = "Each leg is where its transfer says, under its own reference, and told as it was proved."
PLANNED = "Each leg beyond the first two was planned by a move of its own, and each leg that moved is there."
TAKEN = "What is taken out of a game again people have decided, each take-back by a decision of its own."
TRIES = "The tries of a sweep are of what was told to be there, the newest of what it moves; no other transfer has two."
PROVED = "What ended references proof of its end about exactly this amount, currency and player."
UNTRUE_LEGS = {
    "an amount at the provider": (("UPDATE leg SET amount = amount * 100 WHERE transfer_id = :confirmed AND "
        "holder = 'sim'"), {ITS_LEGS}),
    "an amount at the wallet": (("UPDATE leg SET amount = amount * 3 WHERE transfer_id = :reversed AND "
        "holder = 'wallet'"), {ITS_LEGS, EACH_LEG}),
    "an amount that arrived": ("UPDATE leg SET amount = amount + 1 WHERE transfer_id = :out AND holder = 'wallet'",
        {EACH_LEG}),
    "an amount that is to be asked for": (("UPDATE leg SET amount = amount + 1 WHERE transfer_id = :pending AND "
        "holder = 'sim'"), {ITS_LEGS}),
    "a direction": ("UPDATE leg SET side = 'debit' WHERE transfer_id = :confirmed AND holder = 'sim'",
        {EACH_LEG, PROVED}),
    "another provider": ("UPDATE leg SET holder = 'rival' WHERE transfer_id = :confirmed AND holder = 'sim'",
        {ITS_LEGS, EACH_LEG}),
    "another reference": ("UPDATE leg SET reference = 'another' WHERE transfer_id = :pending AND holder = 'sim'",
        {EACH_LEG}),
    "another provider's id": (("UPDATE leg SET provider_reference = 'x' WHERE transfer_id = :confirmed AND "
        "holder = 'sim'"), {EACH_LEG}),
    "a leg at the wallet that is gone": ("DELETE FROM leg WHERE transfer_id = :reversed AND ordinal = 1",
        {ITS_LEGS, PLANNED}),
    "a leg at the provider that is gone": ("DELETE FROM leg WHERE transfer_id = :reversed AND ordinal = 2",
        {ITS_LEGS, PLANNED, PROVED}),
    "an undo that is gone": ("DELETE FROM leg WHERE transfer_id = :reversed AND ordinal = 3", {PLANNED}),
    "a take-back": (("INSERT INTO leg (transfer_id, ordinal, holder, side, undoes, state, amount, reference) SELECT "
        "transfer_id, 9, holder, 'debit', ordinal, 'planned', 5000, SUBSTR(transfer_id, 4) || '9' FROM leg "
        "WHERE transfer_id = :confirmed AND holder = 'sim'"), {PLANNED, TAKEN}),
    "a second try": (("INSERT INTO leg (transfer_id, ordinal, holder, side, state, amount, reference) SELECT "
        "transfer_id, 9, holder, side, 'planned', amount, SUBSTR(transfer_id, 4) || '9' FROM leg "
        "WHERE transfer_id = :pending AND holder = 'sim'"), {PLANNED, TRIES}),
}  # fmt: skip


@pytest.mark.parametrize(("statement", "sentences"), UNTRUE_LEGS.values(), ids=UNTRUE_LEGS.keys())
def test_a_leg_that_is_not_as_it_was_begun_is_named(filled, statement, sentences):
    """I-03, I-10, I-11, I-12: legs are in no seal; whatever never changes of one is compared with what is sealed, and
    one that is gone hides nothing."""
    (name,) = (name for name in ("confirmed", "out", "reversed", "pending") if f":{name}" in statement)
    with owned(filled.runtime) as connection:
        assert connection.execute(text(statement), {name: getattr(filled, name)}).rowcount > 0

    told = [sentence for sentences_of in found(filled).values() for sentence in sentences_of]
    assert set(told) >= sentences
    legs = {ITS_LEGS, EACH_LEG, PLANNED, TAKEN, TRIES}
    assert set(told) & legs == sentences & legs


def test_a_reversal_without_proof_and_without_a_leg_is_named(filled):
    """I-12: the leg that is gone does not keep the transfer from being asked for its proof."""
    with owned(filled.runtime) as connection:
        which = {"id": filled.reversed}
        connection.execute(text("DELETE FROM leg WHERE transfer_id = :id AND ordinal = 1"), which)
        connection.execute(text("UPDATE history SET evidence_id = NULL WHERE transfer_id = :id"), which)

    assert PROVED in found(filled)["I-12"]


def test_a_wallet_below_zero_is_named(filled):
    """I-05: a balance under the floor is found, though the CHECK should have refused it."""
    with without_check(filled, "account", "ck_account_floor"):
        assert change(filled, "UPDATE account SET balance = -1 WHERE account = :wallet", wallet=WALLET) == 1

    assert "I-05" in found(filled)


def test_a_wallet_that_was_below_zero_in_between_is_named(filled):
    """I-05: a balance that is fine now and was not between two postings is found by the running sum."""
    with unguarded(filled, "posting"):
        # The deposit of 1000.00 is moved behind everything else: at the end all sums are the same.
        last = filled.rows("SELECT version FROM account WHERE account = :wallet", wallet=WALLET)[0]["version"]
        statement = "UPDATE posting SET credit_version = :last WHERE cash_movement_id IS NOT NULL AND credit = :wallet"
        change(filled, "UPDATE posting SET debit_version = debit_version - 1 WHERE debit = :wallet", wallet=WALLET)
        change(
            filled,
            "UPDATE posting SET credit_version = credit_version - 1 WHERE credit = :wallet AND transfer_id IS NOT NULL",
            wallet=WALLET,
        )
        assert change(filled, statement, last=last, wallet=WALLET) == 1

    assert set(found(filled)) == {"I-05"}


def test_money_left_in_transit_is_named(filled):
    """I-04: a transfer that has ended and still has money on its way is found, and so is its position."""
    rows = filled.rows("SELECT id FROM posting WHERE transfer_id = :id AND debit = 'transit'", id=filled.confirmed)
    with unguarded(filled, "posting"):
        change(filled, "UPDATE posting SET debit = 'cashier' WHERE id = :id", id=rows[0]["id"])

    assert set(found(filled)) == {"I-03", "I-04"}


@pytest.mark.parametrize("state", ["pending", "orphaned"])
def test_an_open_transfer_that_nobody_will_wake_is_named(filled, state):
    """I-17: a transfer that is open and has no wake-up time is found, though the CHECK should have refused it."""
    with without_check(filled, "transfer", "ck_transfer_awake"):
        transfer = getattr(filled, state)
        assert change(filled, "UPDATE transfer SET wake_at = NULL WHERE id = :id", id=transfer) == 1

    told = found(filled)
    assert told.pop("I-17") == ["Every open transfer has a time at which somebody looks at it."]
    assert told == {"I-56": ["Each row of transfer is as its conditions say."]}


PATIENCE_SPENT = (
    "What is not proved in its time is put before people within the hour, and that time is no longer than any."
)
SLEEPS = "Whoever looks at an open transfer does not wait longer than there is to wait for."


@pytest.mark.parametrize("state", ["pending", "orphaned"])
@pytest.mark.parametrize(("seconds", "named"), [(3600, False), (100_000, True), (9 * 10**12, True)])
def test_an_open_transfer_that_sleeps_too_long_is_named(filled, state, seconds, named):
    """I-17: a time at which somebody looks at it, and that never comes, is no such time."""
    wake_at = filled.runtime.clock.now() + seconds * 1_000_000
    change(filled, "UPDATE transfer SET wake_at = :at WHERE id = :id", at=wake_at, id=getattr(filled, state))

    assert found(filled) == ({"I-17": [SLEEPS]} if named else {})


@pytest.mark.parametrize(("seconds", "named"), [(-3500, False), (-3700, True), (3500, False), (9 * 10**12, True)])
def test_what_is_pending_past_its_patience_is_named(filled, seconds, named):
    """I-17: a transfer that nobody puts before people, an hour after its time, or that has all the time in the world;
    not one that a case of an error of our own is open for."""
    at = filled.runtime.clock.now() + seconds * 1_000_000
    begun = min(at - 60_000_000, filled.runtime.clock.now())
    statement = "UPDATE transfer SET created_at = :begun, orphan_at = :at WHERE id = :id"
    change(filled, statement, begun=begun, at=at, id=filled.pending)
    assert found(filled) == ({"I-17": [PATIENCE_SPENT]} if named else {})
    insert = (
        "INSERT INTO orphan_case (id, transfer_id, state, reason, opened_at, version) "
        "VALUES ('ca_9', :id, 'open', 'engine_error', 1, 1)"
    )
    change(filled, insert, id=filled.pending)
    assert found(filled) == ({"I-17": [PATIENCE_SPENT]} if named and seconds > 0 else {})


@pytest.mark.parametrize(
    ("seconds", "named"), [(-1, True), (0, True), (30, False), (86_400, False), (86_401, True), (6 * 86_400, True)]
)
def test_an_end_of_patience_that_was_changed_is_named(filled, seconds, named):
    """I-17: patience is counted from the begin. One that was longer when the transfer was begun is no finding, as far
    as it can be configured; 60 seconds are configured now."""
    statement = "UPDATE transfer SET orphan_at = created_at + :more WHERE id = :id"
    change(filled, statement, more=seconds * 1_000_000, id=filled.pending)

    assert found(filled) == ({"I-17": [PATIENCE_SPENT]} if named else {})


UNDER_ITS_KEY = (
    "Every transfer stands under the key with which it was begun, and what was answered to that is about it."
)
KEYS = {
    "the key that is gone": "DELETE FROM idempotency_key WHERE subject_id = :confirmed",
    "another transfer's": "UPDATE idempotency_key SET subject_id = :out WHERE subject_id = :confirmed",
    "another key": "UPDATE idempotency_key SET key = 'another' WHERE subject_id = :confirmed",
    "an answer about another": "UPDATE idempotency_key SET status = 200, response = '{\"id\":\"tr_x\"}' "
    "WHERE subject_id = :confirmed",
}


@pytest.mark.parametrize("statement", KEYS.values(), ids=KEYS.keys())
def test_a_transfer_without_its_key_is_named(filled, statement):
    """I-20, I-21: a key that was set free, or stands for another transfer, would move the money once more."""
    given = {name: getattr(filled, name) for name in ("confirmed", "out") if f":{name}" in statement}
    assert change(filled, statement, **given) == 1
    assert found(filled) == {"I-20": [UNDER_ITS_KEY]}


ORIGIN = "Events begin where they began: no move up to there is one."


@pytest.mark.parametrize(
    "statement",
    ["UPDATE event_origin SET history_id = 999999999", "UPDATE event_origin SET history_id = :last",
     "DELETE FROM event_origin"],
    ids=["beyond all", "up to now", "gone"],
)  # fmt: skip
def test_an_origin_of_events_that_was_set_is_named(filled, statement):
    """I-43: the number that says of which moves there are no events is not set forward to hide moves."""
    for operator in events.waiting(filled.runtime):
        events.number(filled.runtime, operator, 100)
    assert verify(filled.runtime) == []
    last = {"last": filled.rows("SELECT MAX(id) AS id FROM history")[0]["id"]} if ":last" in statement else {}
    assert change(filled, statement, **last) == 1
    assert found(filled) == {"I-43": [ORIGIN]}


def test_a_reversal_that_is_no_longer_watched_is_named(migrated_url, tmp_path):
    """I-17: a transfer in aftercare that has lost its wake-up time is found."""
    with (
        simulator(tmp_path, "--expiry", "2") as provider,
        bench(migrated_url, provider.address, expiry_seconds=2, prepare_seconds=1, complete_seconds=1) as made,
    ):
        provider.script(9, on="complete", times=9)
        transfer = made.run("in", "5.00", ask=1)
        made.resolve_until_still()
        row = made.row(transfer)
        assert (row["state"], row["reason_code"]) == ("reversed", "provider_cancelled")
        assert verify(made.runtime) == []

        change(made, "UPDATE transfer SET wake_at = NULL WHERE id = :id", id=transfer)

        rule = "A reversal that rests on our inference was asked about before its watch ended."
        assert found(made) == {"I-17": [rule]}


def test_a_case_left_open_on_an_ended_transfer_is_named(filled):
    """I-17: an open case belongs to an orphan, unless an error of our own opened it."""
    insert = (
        "INSERT INTO orphan_case (id, transfer_id, state, reason, opened_at, version) "
        "VALUES (:id, :transfer, 'open', :reason, 1, 1)"
    )
    change(filled, insert, id="ca_1", transfer=filled.confirmed, reason="engine_error")
    assert verify(filled.runtime) == []

    change(filled, insert, id="ca_2", transfer=filled.out, reason="unproved")

    assert set(found(filled)) == {"I-17"}


@pytest.fixture
def told(migrated_url) -> Iterator[callbacks.Office]:
    """One transfer that a callback has confirmed, and a message whose transfer is not there."""
    with callbacks.office(migrated_url) as made:
        for name, reference in (("evt_1", made.planned()[1]), ("evt_2", callbacks.UNKNOWN_REFERENCE)):
            made.told("transfer.confirmed", callbacks.transfer(reference), id_=name)
        made.work()
        assert [state for state, _ in made.tasks()] == ["done", "parked"]
        assert verify(made.runtime) == []
        yield made


FORGED = {
    "no message": "UPDATE evidence SET inbox_id = NULL",
    "another message": "UPDATE evidence SET inbox_id = inbox_id + 1",
    "a look-up with a message": "UPDATE evidence SET source = 'lookup' WHERE inbox_id IS NOT NULL",
    "another provider's message": "UPDATE inbox SET provider = 'rival' WHERE message_id = 'evt_1'",
    "a message about another reference": "UPDATE inbox SET reference = 'another' WHERE message_id = 'evt_1'",
    "a message with another body": "UPDATE inbox SET digest = 'another' WHERE message_id = 'evt_1'",
    "a message that is to be acted on again": "UPDATE inbox_task SET state = 'parked', wake_at = :now WHERE inbox_id ="
    " (SELECT inbox_id FROM evidence WHERE source = 'callback')",
}


@pytest.mark.parametrize("statement", FORGED.values(), ids=FORGED.keys())
def test_evidence_of_a_callback_without_its_message_is_named(told, statement):
    """I-12, I-41: what a callback is said to have proved rests on exactly one stored message, which was acted on."""
    statement = statement if "WHERE" in statement else f"{statement} WHERE source = 'callback'"
    now = {"now": told.runtime.clock.now()} if ":now" in statement else {}
    with unguarded(told, "evidence", "inbox"):
        assert change(told, statement, **now) == 1
    rule = "Evidence of a callback is one message in the inbox: same provider, reference and body."
    assert rule in found(told)["I-12"]


SPOKEN_FOR = "Every message of a provider is to be acted on, or was: with evidence, or a reason."
LOST_MESSAGES = {
    "no task": "DELETE FROM inbox_task WHERE state = 'parked'",
    "done without evidence": "UPDATE inbox_task SET state = 'done', wake_at = NULL WHERE state = 'parked'",
    "passed over without a reason": "UPDATE inbox_task SET state = 'passed_over', wake_at = NULL, reason = '' "
    "WHERE state = 'parked'",
}


@pytest.mark.parametrize("statement", LOST_MESSAGES.values(), ids=LOST_MESSAGES.keys())
def test_a_message_that_is_not_to_be_acted_on_any_more_is_named(told, statement):
    """I-31: what a provider has told is not put aside by a hand: it leads to evidence, or there is a reason."""
    assert change(told, statement) == 1
    assert found(told) == {"I-31": [SPOKEN_FOR]}


@pytest.mark.parametrize(("seconds", "named"), [(3599, False), (3601, True)])
def test_a_message_that_nobody_looks_at_is_named(told, seconds, named):
    """I-31: a message that has been due for an hour is found: no job runs that would act on it."""
    due = told.rows("SELECT wake_at FROM inbox_task WHERE state = 'parked'")[0]["wake_at"]
    told.runtime.clock.turn((due - told.runtime.clock.now()) / 1_000_000 + seconds)
    rule = "What a provider has told is acted on, or looked at again, when it is due."
    assert found(told) == ({"I-31": [rule]} if named else {})


def test_a_missing_trigger_is_named(migrated_url):
    """I-07: an append-only table whose trigger is gone, or disabled, is found by the trigger's name."""
    with bench(migrated_url) as made:
        if made.runtime.engine.dialect.name == "sqlite":
            change(made, "DROP TRIGGER posting_no_update")
            missing = ["posting_no_update"]
        else:
            change(made, "ALTER TABLE evidence DISABLE TRIGGER evidence_no_change")
            missing = ["evidence_no_change"]

        (finding,) = verify(made.runtime)

    assert finding.invariant == "I-07"
    assert [row["trigger"] for row in finding.rows] == missing


def test_many_transfers_are_asked_in_batches(filled, monkeypatch):
    """I-03: with a batch of one transfer and one player, the same is found as in one go; rows beyond the
    examples are counted."""
    monkeypatch.setattr(checks, "BATCH", 1)
    monkeypatch.setattr(checks, "EXAMPLES", 2)
    assert verify(filled.runtime) == []
    with unguarded(filled, "posting"):
        change(filled, "UPDATE posting SET amount = amount + 1 WHERE transfer_id IS NOT NULL")

    findings = {finding.invariant: finding for finding in verify(filled.runtime)}

    assert findings["I-03"].count > 2
    assert len(findings["I-03"].rows) == 2


def test_verify_is_right_beside_a_busy_bridge(migrated_url, tmp_path):
    """I-01 to I-17 hold at every commit: verify finds nothing while transfers are under way in other threads."""
    with (
        simulator(tmp_path, "--expiry", "10") as provider,
        bench(migrated_url, provider.address, **PATIENT) as made,
    ):
        for player in ("p1", "p2"):
            made.player(player)
        stop = threading.Event()

        def move(player: str) -> None:
            mine, number = made.another(), 0
            while not stop.is_set():
                number += 1
                mine.run("in" if number % 2 else "out", "1.00", player=player, key=f"{player}-{number}", ask=1)
            mine.runtime.engine.dispose()

        movers = [threading.Thread(target=move, args=(player,)) for player in ("p1", "p2")]
        for mover in movers:
            mover.start()
        try:
            end = time.monotonic() + 3
            while time.monotonic() < end:
                assert verify(made.runtime) == []
        finally:
            stop.set()
            for mover in movers:
                mover.join(30)
        assert verify(made.runtime) == []
        assert len(made.rows("SELECT id FROM transfer")) > 10


def test_every_state_of_a_transfer_is_asked_about():
    """I-03: the positions that verify names cover each state of the machine; a new state breaks this test."""
    query = next(check.query for check in checks.PER_TRANSFER if check.invariant == "I-03")
    assert {"confirmed", "reversed", "pending", "orphaned"} == {state.value for state in TransferState}
    assert all(f"'{state.value}'" in query for state in TransferState if state is not TransferState.REVERSED)
