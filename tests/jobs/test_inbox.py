"""The job that acts on messages: each by itself, none lost, none twice, in any number of processes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from threading import Event

import pytest

from bridge import inbox
from bridge.ports import SECOND
from bridge.runtime import SystemClock
from bridge.verify import verify
from jobs import inbox as job
from jobs import resolve
from jobs.schedule import SCHEDULE
from tests import callbacks
from tests.callbacks import RIVAL, UNKNOWN_REFERENCE, Office, balance, transfer
from tests.harness import OPERATOR, PROVIDER, Hands, together
from tests.jobs.conftest import Jobs


@pytest.fixture
def hands() -> Hands:
    """The clock of the office."""
    return Hands()


@pytest.fixture
def office(migrated_url: str, hands: Hands) -> Iterator[Office]:
    """A bridge that hears two providers, on a clock that stands still; nothing is ever sent."""
    with callbacks.office(migrated_url, clock=hands) as made:
        yield made


def test_it_stands_in_the_schedule():
    """I-31: what was told is looked at each second."""
    (line,) = [line for line in SCHEDULE if line.name == "inbox"]
    assert line.run_once is job.run_once
    assert line.limit > job.BATCH


def without(office: Office, provider: str) -> Office:
    """The same bridge, from whose configuration a provider has been taken."""
    config = office.runtime.config
    left = {name: each for name, each in config.providers.items() if name != provider}
    return office.with_config(config.model_copy(update={"providers": left}))


def test_a_message_that_fails_is_set_aside_and_never_dropped(office, hands):
    """C-66, C-81, I-32: a message whose provider is not configured any more fails each time: it waits longer and
    longer, an hour at most, for ever; the others are acted on at once, and so is it when the provider is back."""
    office.told("balance.reported", balance("0.00"), provider=RIVAL, id_="poison")
    poisoned = without(office, RIVAL)
    waits = []
    for number in range(16):
        _, reference = office.planned()
        office.told("transfer.confirmed", transfer(reference), id_=f"evt_{number}")
        assert poisoned.work() == {"taken": 2, "acted": 1, "set_aside": 1}
        (task,) = office.rows("SELECT * FROM inbox_task WHERE provider = :name", name=RIVAL)
        assert (task["state"], task["failures"], task["reason"]) == ("waiting", number + 1, "failed: KeyError")
        waits.append((task["wake_at"] - hands.now()) // SECOND)
        hands.turn(waits[-1])
    assert waits == [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600, 3600, 3600, 3600]
    hands.turn(30 * 86_400)
    assert office.work() == {"taken": 1, "acted": 1, "set_aside": 0}
    assert office.tasks()[0] == ("done", "balance equal")
    poisoned.runtime.engine.dispose()


def test_a_message_that_was_taken_by_a_clock_that_was_ahead_is_acted_on(office, hands):
    """I-31 The database's clock was ahead with it, and whoever took it died: it is due when both are right, and so is
    one that came then."""
    (_, reference), (_, other) = office.planned(), office.planned()
    office.told("transfer.confirmed", transfer(reference))
    hands.turn(600)
    assert len(inbox.due(office.runtime, 10)) == 1
    office.told("transfer.confirmed", transfer(other), id_="evt_2")
    hands.turn(-600)
    assert office.work()["taken"] == 0
    resolve.run_once(office.runtime, hands.now(), 0, Event())
    assert office.work() == {"taken": 2, "acted": 2, "set_aside": 0}


def test_a_message_that_cannot_be_read_any_more_is_kept(office, migrated_url):
    """C-66: what was taken under one configuration and is malformed under another stays due, with the reason."""
    _, reference = office.planned()
    office.told("transfer.confirmed", transfer(reference, requested="5.00"))  # to whom it is agreed on, a mistake
    changed = office.with_config(callbacks.configured(migrated_url, partial=True))
    assert changed.work() == {"taken": 1, "acted": 0, "set_aside": 1}
    assert office.tasks() == [("waiting", "failed: Malformed")]
    changed.runtime.engine.dispose()


def test_a_message_of_a_provider_that_speaks_otherwise_now_is_kept(office, migrated_url):
    """C-66: a provider that was given another protocol, perhaps by mistake and for an hour: nothing is passed over."""
    _, reference = office.planned()
    office.told("transfer.confirmed", transfer(reference))
    config = callbacks.configured(migrated_url)
    speaks_otherwise = {**config.providers, PROVIDER: config.providers["old"]}
    changed = office.with_config(config.model_copy(update={"providers": speaks_otherwise}))
    assert changed.work() == {"taken": 1, "acted": 0, "set_aside": 1}
    assert office.tasks() == [("waiting", "failed: KeyError")]
    changed.runtime.engine.dispose()


def test_a_database_that_fails_leaves_everything_to_its_lease(office, hands, monkeypatch):
    """C-66, C-43: where not even setting aside works, the run goes on, and what it had in hand is due again later."""
    for number in range(3):
        office.told("transfer.confirmed", transfer(office.planned()[1]), id_=f"evt_{number}")

    def down(*_: object) -> None:
        raise ConnectionError("the database went away")

    with monkeypatch.context() as outage:
        outage.setattr("bridge.transfers.advance.write", down)
        outage.setattr("bridge.inbox.set_aside", down)
        assert office.work() == {"taken": 3, "acted": 0, "set_aside": 3}
    assert office.work()["taken"] == 0
    assert office.evidence() == []
    hands.turn(inbox.LEASE_SECONDS)
    assert office.work() == {"taken": 3, "acted": 3, "set_aside": 0}
    assert len(office.evidence()) == 3


def test_a_worker_that_died_with_messages_in_hand(office, hands):
    """I-31, C-45: messages that were taken by a process that died are taken by another when the lease is over."""
    _, reference = office.planned()
    office.told("transfer.confirmed", transfer(reference))
    assert len(inbox.due(office.runtime, 10)) == 1
    assert office.work()["taken"] == 0
    hands.turn(inbox.LEASE_SECONDS)
    assert office.work() == {"taken": 1, "acted": 1, "set_aside": 0}


def test_a_scheduler_that_slept_for_a_month_finds_everything(office, hands):
    """C-20, I-31: there is no window behind which a message is forgotten."""
    for number in range(3):
        office.told("transfer.confirmed", transfer(office.planned()[1]), id_=f"evt_{number}")
        hands.turn(10 * 86_400)
    assert office.work() == {"taken": 3, "acted": 3, "set_aside": 0}


def test_many_processes_share_the_work(office):
    """I-41: eight workers run at once over many messages: each message is taken by one of them and acted on once."""
    for number in range(90):
        office.told("transfer.confirmed", transfer(office.planned()[1]), id_=f"evt_{number}")
    counts = together(8, lambda _: office.work())
    assert sum(count["taken"] for count in counts) == 90
    assert sum(count["acted"] for count in counts) == 90
    assert office.work()["taken"] == 0
    assert len(office.evidence()) == 90
    assert {row["state"] for row in office.rows("SELECT state FROM transfer")} == {"confirmed"}
    office.audit()
    assert verify(office.runtime) == []


def test_a_run_has_a_limit_and_takes_the_longest_due_first(office, hands):
    """I-32: no run is longer than it may be, and what waited longest comes first."""
    for number in range(30):
        office.told("balance.reported", balance("0.00"), id_=f"evt_{number}")
        hands.turn(1)
    assert office.work(limit=25)["taken"] == 25
    left = office.rows("SELECT inbox_id FROM inbox_task WHERE state = 'waiting' ORDER BY inbox_id")
    messages = office.rows("SELECT id FROM inbox ORDER BY id")
    assert [row["inbox_id"] for row in left] == [row["id"] for row in messages[25:]]


def test_a_run_ends_with_its_time_or_its_process(office, hands):
    """I-32: a tick whose time is over, or whose process is to stop, takes no more; nothing is lost by it."""
    office.told("balance.reported", balance("0.00"))
    stopped = Event()
    stopped.set()
    assert job.run_once(office.runtime, hands.now(), 10, stopped)["taken"] == 0
    assert job.run_once(office.runtime, hands.now() - job.TICK_SECONDS * SECOND, 10, Event())["taken"] == 0
    assert office.work()["acted"] == 1


def test_the_process_of_the_jobs_acts(migrated_url, tmp_path):
    """I-31, C-61: `python -m jobs`, as it is run, acts on what was stored, and parks what it does not know."""
    policy = callbacks.section(OPERATOR, "http://127.0.0.1:9")
    names = {"operator", "protocol", "base_url", "currencies", "lane_policy"}
    told = {**policy.model_dump(mode="json", include=names), "request_secret": callbacks.secret(callbacks.REQUESTS)}
    with callbacks.office(migrated_url, clock=SystemClock()) as made:
        transfer_id, reference = made.planned()
        made.told("transfer.confirmed", transfer(reference))
        made.told("transfer.confirmed", transfer(UNKNOWN_REFERENCE), id_="evt_2")
        made.write("UPDATE transfer SET wake_at = wake_at + 600000000")  # nobody sends it meanwhile
        process = Jobs(tmp_path, {"database": {"url": migrated_url}, f"providers.{PROVIDER}": told})
        try:
            process.ready()
            end = time.monotonic() + 20
            while [state for state, _ in made.tasks()] != ["done", "parked"]:
                assert time.monotonic() < end, process.log.read_text()
                time.sleep(0.1)
        finally:
            code = process.stop()
        assert code == 0
        assert made.get(transfer_id).state == "confirmed"


def test_what_waits_for_its_transfer_delays_no_other(office, hands):
    """C-66, I-32: many messages about transfers that never come are due again; a fresh one is acted on before them."""
    for number in range(20):
        office.told("transfer.confirmed", transfer(f"never-{number}"), id_=f"evt_{number}")
    assert office.work()["acted"] == 20
    hands.turn(30 * 86_400)
    _, reference = office.planned()
    office.told("transfer.confirmed", transfer(reference), id_="evt_fresh")
    office.work(limit=10)
    assert [state for state, _ in office.tasks()][-1] == "done"
