"""The resolve job: finds what is due, drives it, and lets nothing delay the rest."""

from __future__ import annotations

from threading import Event

import pytest
from sqlalchemy import text

from bridge.ports import SECOND
from jobs import crew, resolve
from tests.harness import PLAYER, PROVIDER, Hands, bench, simulator, together

NOTHING = {"claimed": 0, "driven": 0, "set_aside": 0, "probed": 0, "closed": 0}
DAY = 86_400

# Nothing here waits for a deadline, so a busy machine may take its time.
CALM = {"prepare_seconds": 5, "complete_seconds": 5, "lookup_seconds": 5, "expiry_seconds": 20, "patience_seconds": 60}
CALM |= {"engine_lease_slack_seconds": 5}


def once(made, limit=100):
    """One run of the job at the runtime's own time."""
    return resolve.run_once(made.runtime, made.runtime.clock.now(), limit, Event())


@pytest.fixture
def provider(tmp_path):
    """A provider whose prepared transfers live as long as CALM says."""
    with simulator(tmp_path, "--expiry", "20") as started:
        yield started


@pytest.fixture
def calm(migrated_url, provider):
    """A bridge beside it."""
    with bench(migrated_url, provider.address, **CALM) as made:
        yield made


def references(made):
    """Every reference that was ever minted."""
    return [row["reference"] for row in made.rows("SELECT reference FROM leg WHERE reference IS NOT NULL")]


def test_nothing_due_is_nothing_done(calm):
    """I-31: an empty table is asked and left alone."""
    assert once(calm) == NOTHING


def test_one_due_transfer_is_driven_to_its_end(calm, provider):
    """I-31: what was left to the resolver is moved once, by the provider's own ledger."""
    transfer = calm.begin("in", "10.00", queued=True).transfer_id

    assert once(calm) == {**NOTHING, "claimed": 1, "driven": 1}
    assert calm.row(transfer)["state"] == "confirmed"
    assert provider.owns(PLAYER) == 1000
    assert once(calm) == NOTHING


def test_many_due_transfers_are_driven_each_once(calm, provider):
    """I-31, C-46: more than one crew can hold at a time; the limit bounds one run and forgets nobody."""
    for _ in range(25):
        calm.begin("in", "1.00", queued=True)

    assert once(calm, limit=20)["claimed"] == 20
    assert once(calm, limit=20)["claimed"] == 5
    assert [provider.effects(reference) for reference in references(calm)] == [1] * 25
    calm.audit()


def test_a_set_stop_claims_nothing_more(calm):
    """Design §10: a process that is told to stop takes no new work."""
    calm.begin("in", "1.00", queued=True)
    stop = Event()
    stop.set()

    assert resolve.run_once(calm.runtime, calm.runtime.clock.now(), 10, stop) == NOTHING


def test_a_run_ends_with_its_tick(migrated_url, provider):
    """I-32: a run whose time is over claims nothing more, however much is due; the next one goes on."""
    clock = Hands()
    with bench(migrated_url, provider.address, clock=clock, **CALM) as made:
        made.begin("in", "1.00", queued=True)
        began = clock.now()
        clock.turn(crew.TICK_SECONDS + 1)

        assert resolve.run_once(made.runtime, began, 10, Event()) == NOTHING
        assert once(made)["claimed"] == 1


def test_an_outage_of_thirty_days_loses_nobody(migrated_url, provider):
    """I-31, C-20: whatever the outage, what was due is found at the first tick after it, and ends by proof."""
    clock = Hands()
    with bench(migrated_url, provider.address, clock=clock, **CALM) as made:
        never_sent = made.begin("in", "1.00", queued=True).transfer_id
        provider.script(14, on="complete", times=9, params={"how": "close"})
        unproved = made.run("in", "2.00")
        assert made.row(unproved)["state"] == "pending"
        clock.turn(30 * DAY)

        assert once(made)["claimed"] == 2
        rows = [made.row(each) for each in (never_sent, unproved)]
        assert rows[0]["state"] == "reversed"
        assert rows[1]["wake_at"] < clock.now() + DAY * SECOND
        clock.turn(5)
        for _ in range(6):
            once(made)
            clock.turn(3600)
        assert provider.effects(references(made)[1]) == (1 if made.row(unproved)["state"] == "confirmed" else 0)
        made.audit()


def test_a_bad_row_delays_nobody_and_comes_before_people(migrated_url, provider):
    """I-32, C-19, C-46, C-81: a transfer whose provider is no longer configured always raises: the others are
    driven in the same run, it waits longer each time, and at the fifth failure a case is opened."""
    clock = Hands()
    with bench(migrated_url, provider.address, clock=clock, **CALM) as made:
        bad = made.begin("in", "1.00", queued=True).transfer_id
        with made.runtime.engine.begin() as connection:
            connection.execute(text("UPDATE transfer SET provider = 'gone' WHERE id = :id"), {"id": bad})
        good = [made.begin("in", "1.00", queued=True).transfer_id for _ in range(4)]

        assert once(made) == {**NOTHING, "claimed": 5, "driven": 4, "set_aside": 1}
        assert {made.row(each)["state"] for each in good} == {"confirmed"}

        waits = []
        for failures in range(1, 6):
            row = made.row(bad)
            assert row["failures"] == failures
            waits.append((row["wake_at"] - clock.now()) // SECOND)
            cases = made.rows("SELECT reason FROM orphan_case WHERE transfer_id = :id", id=bad)
            assert [case["reason"] for case in cases] == (["engine_error"] if failures == 5 else [])
            assert once(made)["claimed"] == 0
            clock.turn(waits[-1])
            assert once(made)["set_aside"] == 1
        assert waits == [2, 4, 8, 16, 32]
        assert made.row(bad)["state"] == "pending"


def test_what_cannot_even_be_set_aside_is_left_to_its_lease(calm, monkeypatch):
    """I-32, C-43: when the database fails under a worker, its crew goes on and the row comes back by itself."""
    transfer = calm.begin("in", "1.00", queued=True).transfer_id

    def down(_runtime, _claim):
        raise OSError("the database is gone")

    monkeypatch.setattr(crew, "resolve_or_set_aside", down)

    assert once(calm)["set_aside"] == 1
    row = calm.row(transfer)
    assert row["lease_owner"] == calm.runtime.worker
    assert row["wake_at"] > calm.runtime.clock.now()


def test_two_resolvers_at_once_share_the_work(calm, provider):
    """C-28, C-38, I-30: two workers on the same rows: each transfer is claimed by one, and moved once."""
    for _ in range(30):
        calm.begin("in", "1.00", queued=True)
    other = calm.another()

    counts = together(2, lambda number: once((calm, other)[number]))

    assert sum(count["claimed"] for count in counts) == 30, counts
    assert [provider.effects(reference) for reference in references(calm)] == [1] * 30
    assert len(provider.wire(PLAYER, "complete")) == 30
    other.runtime.engine.dispose()
    calm.audit()


def open_breaker(made, probe_at):
    """The provider's breaker, open, to be probed at an instant."""
    with made.runtime.engine.begin() as connection:
        insert = text(
            "INSERT INTO breaker (provider, open, counted_from, probe_at, version) VALUES (:name, :open, 0, :at, 1)"
        )
        connection.execute(insert, {"name": PROVIDER, "open": True, "at": probe_at})


def balances_read(provider):
    """Requests for balances, of one player or of all, that reached the provider."""
    return sum(1 for line in provider.lines(".wire") if line["operation"] in ("balance", "balances"))


def test_an_open_breaker_is_probed_with_a_balance_and_closes(calm, provider):
    """Design §6: half-open asks for balances, never for money; an answer closes the breaker."""
    calm.run("in", "1.00", ask=5)
    moved = len(provider.wire(PLAYER, "prepare", "complete"))
    open_breaker(calm, calm.runtime.clock.now() - 1)

    assert once(calm) == {**NOTHING, "probed": 1, "closed": 1}
    assert balances_read(provider) == 1
    assert len(provider.wire(PLAYER, "prepare", "complete")) == moved
    assert once(calm) == NOTHING


def test_a_provider_that_does_not_answer_keeps_its_breaker_open(migrated_url):
    """Design §6: a failed probe changes nothing, and the next one is due later."""
    with bench(migrated_url, **CALM) as made:
        made.begin("in", "1.00", queued=True)
        with made.runtime.engine.begin() as connection:
            connection.execute(text("UPDATE transfer SET wake_at = wake_at + 900000000"))
        open_breaker(made, made.runtime.clock.now() - 1)

        assert once(made) == {**NOTHING, "probed": 1}
        assert once(made) == NOTHING
        assert made.rows("SELECT open FROM breaker")[0]["open"]


def test_of_two_workers_one_probes(calm, provider):
    """C-38: a probe is claimed; the other worker leaves it alone."""
    calm.run("in", "1.00", ask=5)
    open_breaker(calm, calm.runtime.clock.now() - 1)
    other = calm.another()

    counts = together(2, lambda number: once((calm, other)[number]))

    assert sum(count["probed"] for count in counts) == 1, counts
    assert balances_read(provider) == 1
    other.runtime.engine.dispose()
