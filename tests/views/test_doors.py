"""What happens to a transfer in now, whatever keeps it out; what is known of balances; losses, and what is wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from bridge import db, gates, keys
from bridge.alerts import conditions
from bridge.transfers.hear import PASSED_OVER_AS_BUSY
from bridge.views import alerted, balances, overview, providers
from bridge.views.balances import Compare
from bridge.views.doors import Door, Used, Way
from tests.deciding import decide
from tests.harness import Bench, Hands
from tests.transfers.scripted_one import LOST, SILENT, ScriptedOne
from tests.transfers.test_decide import decision, orphan
from tests.views.conftest import put

PAUSED, RESTORED = (gates.Closed("sim", cause, "why", "mia", 1) for cause in (gates.PAUSED, gates.RESTORED))
FREE, FULL, ROOM = Used("EUR", 5, None), Used("EUR", 10, 10), Used("EUR", 4, 10)
OVER = Used("EUR", 12, 10)
WAYS: list[tuple[dict[str, Any], Way]] = [
    ({}, Way.ACCEPTED),
    ({"moved": True, "closed": PAUSED}, Way.MOVED),
    ({"closed": PAUSED}, Way.CLOSED),
    ({"closed": PAUSED, "breaker_open": True, "exposure": (FULL,)}, Way.CLOSED),
    ({"closed": RESTORED}, Way.RESTORED),
    ({"breaker_open": True}, Way.BREAKER),
    ({"breaker_open": True, "exposure": (FULL,)}, Way.BREAKER),
    ({"exposure": (FULL,)}, Way.CAP),
    ({"exposure": (OVER,)}, Way.CAP),
    ({"exposure": (FULL, replace(ROOM, currency="USD"))}, Way.PARTLY),
    ({"exposure": (ROOM,)}, Way.ACCEPTED),
    ({"exposure": (replace(ROOM, refused=True),)}, Way.PARTLY),
    ({"exposure": ()}, Way.ACCEPTED),
]


@pytest.mark.parametrize(("kept", "way"), WAYS)
def test_one_property_knows_all_that_keeps_a_transfer_out(kept: dict[str, Any], way: Way) -> None:
    """People, a restore, the breaker and the caps, in that order; only where none does it is accepted."""
    door = Door("sim", **{"breaker_open": False, "closed": None, "exposure": (FREE,), **kept})
    assert door.way is way


def test_a_cap_that_has_refused_is_told(lone: Bench) -> None:
    """Room is left, and somebody was refused a moment ago for wanting more; after a while that is over."""
    capped = {"exposure_caps": {"EUR": "10.00"}}
    policy = lone.runtime.config.providers["sim"].model_copy(update=capped)
    lone.runtime.config.providers["sim"] = policy
    now = lone.runtime.clock.now()
    put(lone, "cap_hit", provider="sim", currency="EUR", hit_at=now - 299 * 1_000_000)
    (door,) = overview.overview(lone.runtime, lone.operator).doors
    assert (door.way, [(used.currency, used.room) for used in door.tight]) == (Way.PARTLY, [("EUR", 1000)])
    with db.writing(lone.runtime.engine) as connection:
        connection.execute(text("UPDATE cap_hit SET hit_at = :at"), {"at": now - 300 * 1_000_000})
    assert overview.overview(lone.runtime, lone.operator).doors[0].way is Way.ACCEPTED


# --- balances ---------------------------------------------------------------------------------------------------


def message(lone: Bench, number: int, state: str, reason: str, at: int, provider: str = "sim") -> None:
    """One message of a provider that was acted on."""
    put(
        lone, "inbox", id=number, provider=provider, message_id=f"m{number}", kind="balance.changed", body="{}",
        digest="d", peer="203.0.113.7", sent_at=1, received_at=1,
    )  # fmt: skip
    put(
        lone, "inbox_task", inbox_id=number, provider=provider, state=state, reason=reason, failures=0, handled_at=at,
    )  # fmt: skip


def test_what_is_known_of_balances(lone: Bench) -> None:
    """When one was last compared, whoever told it, and how many were passed over; nothing that is not kept."""
    known = providers.page(lone.runtime, lone.operator, "sim")
    assert (known.differing, known.compared.at, known.tells_unasked) == ((), None, True)
    message(lone, 1, "done", "balance equal", 70)
    message(lone, 2, "passed_over", PASSED_OVER_AS_BUSY, 80)
    message(lone, 3, "passed_over", "told of one who is no player of the operator", 90)
    message(lone, 4, "done", "confirmed", 95)
    message(lone, 5, "done", "balance differs", 99, provider="other")
    told = providers.page(lone.runtime, lone.operator, "sim").compared
    assert (told.at, told.told_busy, told.swept_at) == (70, 1, None)
    runs = ("sim: 3 equal, 2 busy", "simple: 9 busy; sim: 1 busy, 2 equal", "sim: not read")
    for slot, outcome in enumerate(runs, 1):
        put(lone, "job_run", job="sweep", slot=slot, worker="w", started_at=1, finished_at=slot * 100, outcome=outcome)
    told = providers.page(lone.runtime, lone.operator, "sim").compared
    assert (told.at, told.swept_at, told.swept_busy) == (200, 200, 1)
    put(
        lone, "balance_break", id="br_1", operator_id=lone.operator, provider="sim", player_id="ann", currency="EUR",
        ours=1, theirs=2, told_by="callback", opened_at=250, closed_at=300,
    )  # fmt: skip
    assert providers.page(lone.runtime, lone.operator, "sim").compared.at == 300


def test_what_was_only_passed_over_was_not_compared(lone: Bench) -> None:
    """All lanes were busy: that says of no balance that it is ours."""
    put(lone, "job_run", job="sweep", slot=1, worker="w", started_at=1, finished_at=9, outcome="sim: 4 busy")
    told = providers.page(lone.runtime, lone.operator, "sim").compared
    assert (told.at, told.swept_busy) == (None, 4)
    runs = ("sim: 3 equal, 1 busy", "other: 3 equal; sim: 5 busy; that: 1 differs")
    for slot, outcome in enumerate(runs, 2):
        put(lone, "job_run", job="sweep", slot=slot, worker="w", started_at=1, finished_at=slot * 10, outcome=outcome)
    told = providers.page(lone.runtime, lone.operator, "sim").compared
    assert (told.at, told.swept_at, told.swept_busy) == (20, 30, 5)


def test_a_comparison_is_found_behind_runs_that_read_nothing(lone: Bench) -> None:
    """Another provider that cannot be read has the sweep run every ten seconds; what was compared before is known."""
    outcomes = ["my_sim: not read; sim: 2 equal", "mysim: 3 equal", *["my_sim: not read", "sim: not read"] * 75]
    for slot, outcome in enumerate(outcomes, 90):
        put(lone, "job_run", job="sweep", slot=slot, worker="w", started_at=1, finished_at=slot, outcome=outcome)
    told = providers.page(lone.runtime, lone.operator, "sim").compared
    assert (told.at, told.swept_at, told.looked_through) == (90, 90, None)


def test_what_was_not_looked_through_is_not_said_to_be_lost(lone: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a balance that was told longer ago than so many messages nothing is known; nor whether it was the last one."""
    monkeypatch.setattr(balances, "MESSAGES_AT_MOST", 3)
    message(lone, 1, "done", "balance equal", 70)
    assert providers.page(lone.runtime, lone.operator, "sim").compared == Compare(70)
    for number in range(2, 5):
        message(lone, number, "done", "confirmed", 80)
    assert providers.page(lone.runtime, lone.operator, "sim").compared == Compare(None, looked_through=3)
    put(lone, "job_run", job="sweep", slot=1, worker="w", started_at=1, finished_at=60, outcome="sim: 1 equal")
    told = providers.page(lone.runtime, lone.operator, "sim").compared
    assert (told.at, told.looked_through) == (60, 3)
    message(lone, 5, "done", "balance differs", 99)
    assert providers.page(lone.runtime, lone.operator, "sim").compared == Compare(99, 0, 60)


# --- losses, alerts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["confirm", "write_off"])
def test_what_the_house_has_lost(lone: Bench, one: ScriptedOne, hands: Hands, kind: str) -> None:
    """Only what people have written off, by provider and currency, of this operator."""
    transfer_id = orphan(lone, one, hands, "in", "house")
    assert overview.overview(lone.runtime, lone.operator).losses == ()
    decide(lone.runtime, lone.operator, transfer_id, decision(lone, transfer_id, kind))
    if kind == "confirm":
        assert overview.overview(lone.runtime, lone.operator).losses == ()
        return
    (loss,) = overview.overview(lone.runtime, lone.operator).losses
    assert (loss.provider, loss.currency, loss.transfers, loss.units) == ("sim", "EUR", 1, 1000)
    assert providers.page(lone.runtime, lone.operator, "sim").losses == (loss,)
    assert overview.overview(lone.runtime, keys.add_operator(lone.runtime, "stranger")).losses == ()


def test_open_alerts_are_told(lone: Bench, one: ScriptedOne) -> None:
    """One's own and those of all; of what all share others learn the kind alone; what is over is not there."""
    one.script, one.asked = [LOST], [SILENT]
    stranger = keys.add_operator(lone.runtime, "stranger")
    for number, (kind, operator, ended) in enumerate((
        ("orphans", lone.operator, None), ("job_failing", None, None), ("orphans", stranger, None),
        ("breaker_open", lone.operator, 9),
    )):  # fmt: skip
        put(
            lone, "alert", id=f"al_{number}", kind=kind, about=str(number), operator_id=operator, over="over",
            sentence=f"sentence {number} of host-7", began_at=number, seen_at=number, told_at=number, ended_at=ended,
        )  # fmt: skip

    def told(operator: int, *, whole: bool) -> list[str]:
        return [each.sentence for each in overview.overview(lone.runtime, operator, whole=whole).alerts]

    assert told(lone.operator, whole=True) == ["sentence 0 of host-7", "sentence 1 of host-7"]
    assert told(lone.operator, whole=False) == ["sentence 0 of host-7", "A job fails."]
    assert told(stranger, whole=False) == ["sentence 2 of host-7", "A job fails."]


def test_the_most_serious_alert_is_the_first(lone: Bench) -> None:
    """Whatever began last; logins are one line, however many somebody locks, and hide nothing."""
    for number, kind in enumerate((*alerted.MOST_SERIOUS_FIRST, *[conditions.Kind.LOCKED] * 200)):
        put(
            lone, "alert", id=f"al_{number}", kind=kind.value, about=str(number), operator_id=lone.operator, over="x",
            sentence=f"{kind.value}.", began_at=100 + number, seen_at=1, told_at=1,
        )  # fmt: skip
    *others, locked = overview.overview(lone.runtime, lone.operator).alerts
    assert [each.sentence for each in others] == [f"{kind.value}." for kind in alerted.MOST_SERIOUS_FIRST[:-1]]
    assert locked.sentence.startswith("201 logins at the desk are locked ")
    assert locked.since == 100 + len(others)


def test_every_kind_of_alert_has_its_place() -> None:
    """None is forgotten where they are put in order, and last whoever has locked himself out."""
    assert sorted(alerted.MOST_SERIOUS_FIRST) == sorted(conditions.Kind)
    assert alerted.MOST_SERIOUS_FIRST[-1] is conditions.Kind.LOCKED
