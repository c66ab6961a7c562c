"""The breaker: opens on unknown answers, refuses in before Begin, queues out, and is never tried out with money."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event
from typing import Any

import pytest

from bridge import breaker, db
from bridge.errors import Unavailable
from bridge.ports import SECOND
from jobs import resolve as job
from tests.harness import Bench, Hands, bench, together
from tests.transfers.conftest import REAL_TIMES
from tests.transfers.scripted import DROPPED, LOST, REFUSED_DOOR, ScriptedProvider

TIMES = {
    **REAL_TIMES,
    "breaker_least": 4,
    "breaker_share": 0.5,
    "breaker_window_seconds": 60,
    "breaker_probe_seconds": 10,
}


@pytest.fixture
def hands() -> Hands:
    """The clock."""
    return Hands()


@pytest.fixture
def provider(hands: Hands) -> ScriptedProvider:
    """A provider that does as it is told."""
    return ScriptedProvider(hands)


@pytest.fixture
def desk(migrated_url: str, hands: Hands, provider: ScriptedProvider) -> Iterator[Bench]:
    """A bridge whose breaker opens on two unknown answers of four."""
    with bench(migrated_url, clock=hands, provider=provider, **TIMES) as made:
        yield made


def is_open(desk: Bench) -> bool:
    """Whether the breaker is open now."""
    with db.reading(desk.runtime.engine) as connection:
        return bool(breaker.open_until(connection, "sim", desk.runtime.clock.now()))


def unknown_answers(desk: Bench, provider: ScriptedProvider, count: int) -> None:
    """So many prepares without an answer (each transfer tries twice)."""
    for _ in range(count // 2):
        provider.script = [DROPPED, DROPPED]
        desk.run("out", "1.00", ask=-1)


def test_opens_on_the_share_of_unknown_answers(desk: Bench, provider: ScriptedProvider) -> None:
    """C-12 Four answers, half of them unknown, open it; three do not, nor do as many known ones."""
    unknown_answers(desk, provider, 2)
    assert not is_open(desk)
    desk.run("out", "1.00")
    assert not is_open(desk), "two of four: the last answer was known, and nobody counts on a known one"
    provider.script = [LOST, LOST]
    desk.run("out", "1.00", ask=-1)
    assert is_open(desk)


def test_doors_that_refuse_and_known_answers_do_not_open_it(desk: Bench, provider: ScriptedProvider) -> None:
    """C-12 Only unknown answers count: not refused connections, not a success, not a look-up."""
    for _ in range(12):
        provider.script = [REFUSED_DOOR]
        desk.run("in", "1.00")
        desk.run("in", "1.00")
    assert not is_open(desk)


def test_old_unknown_answers_are_forgotten(desk: Bench, provider: ScriptedProvider, hands: Hands) -> None:
    """C-12 The window moves: what is older than a minute is not counted."""
    unknown_answers(desk, provider, 2)
    hands.turn(61)
    unknown_answers(desk, provider, 2)
    assert not is_open(desk)


def test_open_refuses_in_before_begin_and_queues_out(desk: Bench, provider: ScriptedProvider, hands: Hands) -> None:
    """I-23 I-20 C-12 Open: in is refused with nothing stored and the key unused; out begins, holds, and waits
    unsent."""
    unknown_answers(desk, provider, 4)
    assert is_open(desk)
    before, wallet, sent = desk.rows("SELECT id FROM transfer"), desk.wallet(), len(provider.requests)
    with pytest.raises(Unavailable) as refused:
        desk.begin("in", key="kept")
    assert (refused.value.status, refused.value.code, refused.value.retry.value) == (
        503,
        "provider_unavailable",
        "after",
    )
    assert 1 <= (refused.value.after_seconds or 0) <= 11
    assert desk.rows("SELECT id FROM transfer") == before
    assert desk.rows("SELECT * FROM idempotency_key WHERE key = 'kept'") == []
    assert desk.wallet() == wallet
    out = desk.begin("out", "2.00")
    assert out.outcome is not None
    assert out.outcome.order is None
    for _ in range(40):
        hands.turn(5)
        desk.resolve_due()
        assert desk.row(str(out.transfer_id))["state"] == "pending"
    assert provider.count("prepare") == sent, "200 s past the probe's time, nobody has probed: no money probes"
    breaker.close(desk.runtime.engine, "sim", hands.now())
    hands.turn(2)
    desk.resolve_due()
    assert desk.row(str(out.transfer_id))["state"] == "confirmed"
    assert desk.begin("in", key="kept").outcome is not None, "the key was never used"
    desk.audit()


def test_open_for_the_whole_patience_gives_a_queued_out_back(
    desk: Bench, provider: ScriptedProvider, hands: Hands
) -> None:
    """I-13 I-17 What was queued until patience was spent never left: reversed, not orphaned."""
    unknown_answers(desk, provider, 4)
    out = str(desk.begin("out", "2.00").transfer_id)
    prepares = provider.count("prepare")
    for _ in range(50):
        hands.turn(20)
        desk.resolve_due()
    assert (desk.row(out)["state"], desk.row(out)["reason_code"]) == ("reversed", "provider_unavailable")
    assert provider.count("prepare") == prepares
    assert desk.get(out).outside.attempts == ()
    desk.audit()


def test_one_probe_at_a_time_and_counting_anew(desk: Bench, provider: ScriptedProvider, hands: Hands) -> None:
    """C-12 Half-open: one worker of eight may probe at its time; once closed, unknown answers are counted anew."""
    unknown_answers(desk, provider, 4)
    policy = desk.runtime.policy("sim")

    def probe(_n: int = 0) -> bool:
        return breaker.claim_probe(desk.runtime.engine, "sim", policy, hands.now())

    assert not probe()
    hands.turn(10)
    assert sorted(together(8, probe)) == [False] * 7 + [True]
    assert not probe(), "and not again before the next time"
    assert is_open(desk), "a claimed probe is no success"
    breaker.close(desk.runtime.engine, "sim", hands.now())
    assert not is_open(desk)
    assert not probe()
    hands.turn(1)
    unknown_answers(desk, provider, 2)
    assert not is_open(desk), "what was counted before it closed is not counted again"
    unknown_answers(desk, provider, 2)
    assert is_open(desk), "and it opens again"


def test_one_provider_one_breaker(desk: Bench, provider: ScriptedProvider) -> None:
    """C-12 Opened by eight at one instant, it is one row, and says when it may be looked at again, never in
    the past."""
    unknown_answers(desk, provider, 4)
    policy, now = desk.runtime.policy("sim"), desk.runtime.clock.now()

    def note(_n: int) -> Any:
        with db.writing(desk.runtime.engine) as connection:
            return breaker.note_unknown(connection, "sim", policy, now)

    assert together(8, note) == [None] * 8
    assert len(desk.rows("SELECT * FROM breaker")) == 1
    with db.reading(desk.runtime.engine) as connection:
        for late in (0, 5, 10, 1000):
            assert breaker.open_until(connection, "sim", now + late * SECOND) > now + late * SECOND
        assert breaker.open_until(connection, "another", now) == 0


def test_closes_by_a_question_and_by_nothing_else(desk: Bench, provider: ScriptedProvider, hands: Hands) -> None:
    """C-12 The job asks a question that moves nothing: unanswered it stays open, answered it closes, and no
    money was tried."""
    unknown_answers(desk, provider, 4)
    money = len(provider.requests)
    provider.broken = True
    for broken in (True, False):
        provider.broken = broken
        hands.turn(10)
        job.run_once(desk.runtime, hands.now(), 10, Event())
        assert is_open(desk) is broken
    assert provider.calls.count("answers") == 2
    assert [name for name, _ in provider.requests[money:] if name in ("prepare", "complete", "void")] == []


def test_probe_planned_by_a_wrong_clock_is_due(desk: Bench, provider: ScriptedProvider, hands: Hands) -> None:
    """I-34 C-12 A clock that was a day ahead and was set back does not keep the breaker open for a day."""
    hands.set_wall(86_400)
    unknown_answers(desk, provider, 4)
    hands.set_wall(-86_400)
    assert is_open(desk)
    assert breaker.claim_probe(desk.runtime.engine, "sim", desk.runtime.policy("sim"), hands.now())
