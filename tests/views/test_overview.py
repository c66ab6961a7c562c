"""The overview, the providers and the audit log, of transfers that were really made."""

from __future__ import annotations

import math

import pytest
from sqlalchemy import text

from bridge import db, events, gates, keys, tallies
from bridge.errors import NotFound
from bridge.ports import SECOND
from bridge.views import amounts, audit_log, jobs, overview, providers
from bridge.views.audit_log import Wanted
from bridge.views.doors import Way
from bridge.views.overview import Heap, Hour, Standing
from tests.deciding import decide
from tests.harness import Bench, Hands
from tests.transfers.scripted_one import DROPPED, SILENT, ScriptedOne
from tests.transfers.test_decide import decision, orphan
from tests.views.conftest import person, proposal, put


def test_what_is_unresolved(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """Pending, unknown and orphaned apart, each with its oldest; what ended is in none of them."""
    orphan(lone, one, hands, "in", "custody")
    one.script, one.asked = [DROPPED, "pending"], [SILENT] * 2
    unknown_at = hands.now()
    lone.run("in", "7.00")
    pending_at = hands.now()
    lone.run("in", "5.00")
    lone.run("in", "3.00")
    told = overview.overview(lone.runtime, lone.operator)
    (standing,) = told.standings
    assert standing == Standing(
        "sim", "EUR", Heap(1, 500, pending_at), Heap(1, 700, unknown_at), Heap(1, 1000, standing.orphaned.oldest)
    )
    assert (told.count("orphaned"), told.total("unknown")) == (1, [amounts.Money(700, "EUR")])
    assert told.oldest("unknown") == unknown_at
    (door,) = told.doors
    assert (door.way, [(used.currency, used.units, used.cap) for used in door.exposure]) == (
        Way.ACCEPTED, [("EUR", 2200, None), ("USD", 0, None)]
    )  # fmt: skip
    stranger = keys.add_operator(lone.runtime, "stranger")
    empty = overview.overview(lone.runtime, stranger)
    assert (empty.standings, empty.doors, empty.certainty, empty.proposals_open) == ((), (), (), 0)


def test_how_it_has_gone(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """Moves by the hour, cases by the day, and how long certainty took, all counted once."""
    for _ in range(3):
        lone.run("in")
    hands.turn(7200)
    transfer_id = orphan(lone, one, hands, "out", "custody")
    hands.turn(86_400)
    decide(lone.runtime, lone.operator, transfer_id, decision(lone, transfer_id, "confirm"))
    proposal(lone, lone.run("in"), person(lone, "mia"))
    while events.number(lone.runtime, lone.operator, 2):
        pass
    told = overview.overview(lone.runtime, lone.operator)
    assert len(told.hours) == overview.HOURS
    assert len(told.days) == overview.DAYS
    moved = [each for each in told.hours if (each.confirmed, each.reversed, each.orphaned) != (0, 0, 0)]
    assert [(each.confirmed, each.reversed, each.orphaned) for each in moved] == [(3, 0, 0), (0, 0, 1), (2, 0, 0)]
    assert all(each.start % (3600 * SECOND) == 0 for each in told.hours)
    assert sum(each.opened for each in told.days) == sum(each.closed for each in told.days) == 1
    assert (told.days[-2].opened, told.days[-1].closed) == (1, 1)
    (certainty,) = told.certainty  # of the last day: the decided one, and one at once
    assert certainty.transfers == 2
    assert certainty.median == pytest.approx(0.1)
    assert certainty.slow == math.inf
    assert told.proposals_open == 1
    assert isinstance(told.hours[0], Hour)


QUANTILES = [
    ({}, 0.5, None),
    ({0: 10}, 0.5, 0.05),
    ({0: 5, 1: 5}, 0.5, 0.1),
    ({0: 5, 1: 5}, 0.75, 0.175),
    ({4: 1}, 0.99, 1 + 1.5 * 0.99),
    ({13: 1}, 0.5, math.inf),
    ({0: 99, 13: 1}, 0.99, 0.1),
    ({0: 98, 13: 2}, 0.99, math.inf),
]  # fmt: skip


@pytest.mark.parametrize(("buckets", "share", "seconds"), QUANTILES)
def test_quantiles(buckets: dict[int, int], share: float, seconds: float | None) -> None:
    """Inside a bound in proportion; behind the last one nobody knows; of nothing there is none."""
    assert tallies.quantile(buckets, share) == (None if seconds is None else pytest.approx(seconds))


def test_a_provider(lone: Bench, one: ScriptedOne) -> None:
    """Its promises and contract in words, its switch, its breaker, what it said, and balances that differ."""
    lone.run("in")
    one.script, one.asked = [DROPPED], [SILENT]
    lone.run("in")
    gates.pause(lone.runtime, "sim", "they are <down>", "mia")
    with db.writing(lone.runtime.engine) as connection:
        broken = "INSERT INTO breaker (provider, open, counted_from, probe_at, version) VALUES ('sim', :yes, 1, 2, 1)"
        connection.execute(text(broken), {"yes": True})
    put(
        lone, "balance_break", id="br_1", operator_id=lone.operator, provider="sim", player_id="ann", currency="EUR",
        ours=1, theirs=2, told_by="callback", opened_at=1,
    )  # fmt: skip
    page = providers.page(lone.runtime, lone.operator, "sim")
    assert dict(page.promises)["the same id again is"] == "answered as the first time: sending it again is safe"
    assert dict(page.contract)["not found"] == "proves absence 60 s after the last request, seen 2 times"
    assert dict(page.limits)["patience, then orphaned"] == "900 s"
    assert page.door.closed is not None
    assert (page.door.closed.reason, page.door.breaker_open, page.door.way) == ("they are <down>", True, Way.CLOSED)
    assert page.broken == providers.Broken(1, 2)
    assert [(each.source, each.answer, each.times) for each in page.said] == [
        ("call", "applied", 1), ("call", "unknown", 1)
    ]  # fmt: skip
    assert [each.theirs for each in page.differing] == [2]
    (line,) = providers.listed(lone.runtime, lone.operator)
    assert (line.name, line.answers, line.unknown) == ("sim", 2, 1)
    stranger = keys.add_operator(lone.runtime, "stranger")
    assert providers.listed(lone.runtime, stranger) == []
    for operator, name in ((stranger, "sim"), (lone.operator, "other")):
        with pytest.raises(NotFound):
            providers.page(lone.runtime, operator, name)


def test_the_audit_log(lone: Bench, hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    """Newest first, of this operator alone, by person, kind, outcome, subject and time, page by page."""
    monkeypatch.setattr(audit_log, "PAGE", 3)
    stranger = keys.add_operator(lone.runtime, "stranger")
    mia, other = person(lone, "mia"), person(lone, "other", stranger)
    for number in range(1, 8):
        put(
            lone, "access_note", id=number, at=hands.now(), operator_id=lone.operator, address="203.0.113.7",
            person_id=mia if number % 2 else None, login=None if number % 2 else "=typed", subject=f"tr_{number}",
            kind="enter" if number < 5 else "propose", outcome="refused" if number == 3 else "done",
        )  # fmt: skip
        hands.turn(60)
    put(lone, "access_note", id=8, at=1, operator_id=lone.operator, kind="enter", outcome="done", address="a")
    put(
        lone,
        "access_note",
        id=9,
        at=hands.now(),
        operator_id=stranger,
        person_id=other,
        kind="enter",
        outcome="done",
        address="a",
    )

    def shown(**wanted: object) -> list[int]:
        found, before = [], None
        while True:
            page = audit_log.page(lone.runtime, lone.operator, Wanted(**wanted, before=before))  # type: ignore[arg-type]
            found += [note.id for note in page.notes]
            before = page.further
            if before is None:
                return found

    assert shown() == [7, 6, 5, 4, 3, 2, 1]  # what is older than a month is asked for by its time
    assert shown(since=0) == [7, 6, 5, 4, 3, 2, 1, 8]
    assert shown(person=mia) == [7, 5, 3, 1]
    assert shown(kind="propose") == [7, 6, 5]
    assert shown(outcome="refused") == [3]
    assert shown(subject="tr_6") == [6]
    assert shown(until=hands.now() - 5 * 60 * SECOND) == [3, 2, 1]
    page = audit_log.page(lone.runtime, lone.operator, Wanted())
    assert page.people == {mia: "Mia"}
    assert [(note.person, note.login) for note in page.notes] == [("Mia", "mia"), (None, "=typed"), ("Mia", "mia")]


def test_verifications(lone: Bench) -> None:
    """The last runs, newest first; one that goes on has no end."""
    for slot in (1, 2, 3):
        ended = None if slot == 3 else slot + 1
        put(lone, "job_run", job="verify", slot=slot, worker="w", started_at=slot, finished_at=ended, outcome="ok")
    told = jobs.page(lone.runtime, whole=True)
    assert [(run.started_at, run.ended_at) for run in told.verifications] == [(3, None), (2, 3), (1, 2)]
    assert told.silent


DURATIONS = [
    (0, "0 seconds"), (999_999, "0 seconds"), (1_000_000, "1 second"), (61_000_000, "1 minute 1 second"),
    (3_600_000_000, "1 hour"), (90_061_000_000, "1 day 1 hour"), (-5, "0 seconds"),
    (2 * 86_400_000_000 + 60_000_000, "2 days"),
]  # fmt: skip


@pytest.mark.parametrize(("micros", "words"), DURATIONS)
def test_lengths_of_time(micros: int, words: str) -> None:
    """The two largest units, and no more."""
    assert amounts.duration(micros) == words


@pytest.mark.parametrize("at", [0, -1, 2**62, 1_800_000_000_000_000])
def test_instants_never_break_a_page(at: int) -> None:
    """Whatever a row holds, it is some instant."""
    assert amounts.clock_time(at).endswith(" UTC")
