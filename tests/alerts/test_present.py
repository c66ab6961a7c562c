"""What lasts is kept in the words in which it stands now: people read it at the desk and in `alerts list`, long before
it is told again."""

from __future__ import annotations

from threading import Event

from bridge import gates, lineage
from bridge.alerts.watchman import Watchman
from bridge.ports import SECOND
from tests.alerts.test_episodes import HOUR, alerts, verified, write
from tests.harness import PROVIDER
from tests.transfers.scripted_one import LOST, SILENT


def sentence(watched):
    """Of the one alert that there is."""
    (row,) = alerts(watched.made)
    return row["sentence"]


def test_orphans_are_kept_by_their_number_now(watched):
    """More of them at once, fewer within half a minute; nobody is told more often for that."""
    first = watched.orphan("10.00")
    watched.pass_time(70)
    assert sentence(watched) == "1 orphaned transfer: 10.00 EUR."
    watched.orphan("500.00")
    watched.orphan("200.00")
    watched.hands.turn(61)
    watched.tick()
    assert sentence(watched) == "3 orphaned transfers: 710.00 EUR."
    write(watched.made, "UPDATE transfer SET state = 'reversed' WHERE id = :id", id=first)
    watched.pass_time(30)
    assert sentence(watched) == "2 orphaned transfers: 700.00 EUR."
    assert watched.heard() == [("alert.begun", "orphans"), ("alert.more", "orphans")]
    assert watched.posted()[1]["data"]["sentence"] == "2 new orphaned transfers: 700.00 EUR."


def test_all_orphans_are_told_again_however_steadily_more_come(watched):
    """A message about new ones says how many those are; how many there are is told every few hours all the same, and
    not in the same breath."""
    watched.orphan("1.00")
    watched.pass_time(70)
    for _ in range(9):
        watched.orphan("1.00")
        watched.pass_time(HOUR / 2, step=60)
    again = [each["data"] for each in watched.posted() if each["type"] == "alert.again"]
    assert [(each["count"], each["value"]) for each in again] == [(9, {"EUR": "9.00"})]
    assert [said for said, _ in watched.heard()] == ["alert.begun", *["alert.more"] * 8, "alert.again", "alert.more"]


def test_what_the_last_verification_found_is_kept(watched):
    """Another finding of the same check is the same alert; it says what is found now."""
    verified(watched.made, 1, "failed: I-31 (1 row)")
    watched.tick()
    verified(watched.made, 2, "failed: I-03 (9 rows)")
    watched.pass_time(30)
    assert sentence(watched).startswith("Verify failed: I-03 (9 rows). ")
    assert watched.heard() == [("alert.begun", "check_failed")]


def test_how_long_nobody_has_run_the_jobs_is_kept(watched):
    """By the web process that watches, while nobody else looks."""
    man = Watchman(watched.made.runtime)
    for _ in range(50):
        watched.hands.turn(10)
        man.look(Event())
    (quiet,) = [int(word) for word in sentence(watched).split() if word.isdigit()]
    assert 470 <= quiet <= 500
    assert watched.heard() == [("alert.begun", "scheduler_silent")]


def test_what_is_pending_too_long_is_kept_by_its_number_now(build):
    """Another one of the same operator is the same alert."""
    watched = build(lane_policy="allow")
    watched.one.script, watched.one.asked = [LOST, LOST], [SILENT] * 100
    first = watched.made.run("in", "10.00")
    watched.hands.turn(60)
    watched.made.run("in", "1.00")
    write(watched.made, "UPDATE transfer SET wake_at = 9000000000000000000, lease_owner = NULL")
    patience = int(watched.made.row(first)["orphan_at"]) - watched.hands.now()
    watched.pass_time(patience // SECOND + HOUR + 10, step=300)
    assert sentence(watched).startswith(f"Transfer {first} is pending ")
    watched.pass_time(90)
    assert sentence(watched).startswith(f"Transfer {first}, and 1 more, are pending ")
    assert watched.heard() == [("alert.begun", "pending_too_long")]


def test_what_a_restore_has_closed_is_kept_as_long_as_it_is_closed(watched):
    """Opened within the hour, it is not said to be closed."""
    lineage.check(watched.made.runtime)
    watched.tick()
    lineage.restored(watched.made.runtime, "a test", "somebody")
    watched.tick()
    assert f"Closed for transfers in: {PROVIDER}" in sentence(watched)
    gates.resume(watched.made.runtime, PROVIDER, "somebody")
    watched.pass_time(30)
    assert "Closed for transfers in" not in sentence(watched)
    assert watched.heard() == [("alert.begun", "database_set_back")]
