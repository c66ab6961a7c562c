"""What is wrong is told once, again while it lasts, and when it is over; by whichever process comes first."""

from __future__ import annotations

import json
from dataclasses import replace
from threading import Event, Thread
from typing import Any

import pytest
from sqlalchemy import text

from bridge import board, breaker, checks, db, gates, identity, lineage
from bridge.alerts import conditions, episodes
from bridge.alerts.conditions import Kind
from bridge.alerts.watchman import Watchman
from bridge.board import Planned
from bridge.desk import switches
from bridge.errors import Unavailable
from bridge.ports import SECOND
from bridge.runtime import Runtime
from bridge.sections import AlertsSection
from jobs import alerts as jobs_alerts
from jobs.schedule import SCHEDULE
from jobs.shift import Shift
from tests.harness import EUR, OPERATOR, PROVIDER, Bench, together
from tests.jobs.test_process import until
from tests.transfers.scripted_one import LOST, OK, SILENT

JOBS = {job.name: job for job in SCHEDULE}

HOUR = 3600


def write(made: Bench, statement: str, **values: Any) -> None:
    """Change a row by hand."""
    with db.writing(made.runtime.engine) as connection:
        connection.execute(text(statement), values)


def open_breaker(made: Bench) -> None:
    """As too many unknown answers do."""
    write(
        made, "INSERT INTO breaker (provider, open, counted_from, probe_at, version) VALUES (:p, true, 1, 1, 1)",
        p=PROVIDER,
    )  # fmt: skip


def alerts(made: Bench) -> list[Any]:
    """All rows, oldest first."""
    return list(made.rows("SELECT * FROM alert ORDER BY began_at, id"))


def test_orphans_within_a_minute_are_one_message(watched):
    """Design §1: what cannot be proved is put before people: three within a minute are one message, with their value,
    by both ways, and a link to the desk."""
    ids = [watched.orphan("10.00")]
    watched.hands.turn(20)
    ids += [watched.orphan("2.50"), watched.orphan("1.00")]
    assert watched.tick() == {"told": 0, "sent": 0, "unsent": 0}
    watched.hands.turn(41)
    assert watched.tick() == {"told": 1, "sent": 2, "unsent": 0}
    (message,) = watched.posted()
    data = message["data"]
    assert (message["type"], data["kind"], data["operator"]) == ("alert.begun", "orphans", OPERATOR)
    assert data["sentence"] == "3 new orphaned transfers: 13.50 EUR."
    assert (data["count"], data["value"], data["transfers"]) == (3, {"EUR": "13.50"}, ids)
    assert data["link"] == "https://desk.example/ops/orphans"
    (got,) = watched.box.got
    assert got.letter["Subject"] == f"[bridge] 3 new orphaned transfers: 13.50 EUR. ({OPERATOR})"
    assert "https://desk.example/ops/orphans" in got.letter.get_content()
    assert ids[0] in got.letter.get_content()
    for _ in range(3):
        watched.pass_time(60)
    assert len(watched.receiver.received) == 1


def test_new_orphans_are_told_as_more_and_the_end_is_told(watched):
    """The second group is another message of the same alert; when people have decided all of them, it is over."""
    first = watched.orphan("10.00")
    watched.pass_time(60)
    second = watched.orphan("4.00")
    watched.pass_time(70)
    assert watched.heard() == [("alert.begun", "orphans"), ("alert.more", "orphans")]
    assert watched.posted()[1]["data"]["transfers"] == [second]
    for transfer in (first, second):
        write(watched.made, "UPDATE transfer SET state = 'reversed' WHERE id = :id", id=transfer)
    watched.pass_time(60)
    assert watched.heard()[2:] == [("alert.over", "orphans")]
    assert watched.posted()[2]["data"]["sentence"] == episodes.NONE_LEFT
    (row,) = alerts(watched.made)
    assert row["ended_at"] is not None
    assert watched.made.rows("SELECT * FROM alerted_orphan") == []
    # Orphaned once more, it is a new orphan.
    write(watched.made, "UPDATE transfer SET state = 'orphaned' WHERE id = :id", id=first)
    watched.pass_time(70)
    assert watched.heard()[3:] == [("alert.begun", "orphans")]


def test_each_operator_hears_of_its_own_orphans(watched):
    """An orphan names its operator; two operators are two alerts."""
    transfer = watched.orphan()
    write(watched.made, "INSERT INTO operator (id, name, created_at) VALUES (77, 'other', 1)")
    write(watched.made, "INSERT INTO player (operator_id, player_id, created_at) VALUES (77, 'ann', 1)")
    other = watched.orphan()
    write(watched.made, "UPDATE transfer SET operator_id = 77 WHERE id = :id", id=other)
    watched.pass_time(61, step=61)
    told = {each["data"]["operator"]: each["data"]["transfers"] for each in watched.posted()}
    assert told == {OPERATOR: [transfer], "other": [other]}
    with db.reading(watched.made.runtime.engine) as connection:
        mine = episodes.listed(connection, 10, watched.made.operator)
    assert [row["operator"] for row in mine] == [OPERATOR]


def test_what_is_pending_long_after_its_patience_is_told(build):
    """I-17 What nobody wakes becomes no orphan, so that it is in no other message: an hour after its patience people
    hear of it, once for each operator, and when it has ended."""
    watched = build(lane_policy="allow")
    watched.one.script, watched.one.asked = [LOST, LOST], [SILENT] * 100
    first = watched.made.run("in", "10.00")
    watched.hands.turn(60)
    watched.made.run("in", "1.00")
    write(watched.made, "UPDATE transfer SET wake_at = 9000000000000000000, lease_owner = NULL")
    patience = int(watched.made.row(first)["orphan_at"]) - watched.hands.now()
    watched.pass_time(patience // SECOND + HOUR, step=300)
    assert watched.heard() == []
    watched.pass_time(60)
    (event,) = [each["data"] for each in watched.posted()]
    assert (event["kind"], event["operator"]) == ("pending_too_long", OPERATOR)
    assert event["sentence"].startswith(f"Transfer {first} is pending although patience was spent")
    watched.pass_time(4 * HOUR, step=300)
    assert watched.heard()[1:] == [("alert.again", "pending_too_long")]
    assert watched.posted()[1]["data"]["sentence"].startswith(f"Transfer {first}, and 1 more, are pending")
    write(watched.made, "UPDATE transfer SET state = 'reversed'")
    watched.pass_time(60)
    assert watched.heard()[2:] == [("alert.over", "pending_too_long")]


def test_what_is_pending_is_read_from_the_index_alone(watched):
    """It is asked every few seconds, among millions that have ended."""
    with db.reading(watched.made.runtime.engine) as connection:
        on_sqlite = connection.dialect.name == "sqlite"
        query = conditions.past_patience(1).compile(connection, compile_kwargs={"literal_binds": True})
        if not on_sqlite:
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        plan = str(connection.exec_driver_sql(f"EXPLAIN {'QUERY PLAN ' if on_sqlite else ''}{query}").all())
    assert "ix_transfer_unresolved" in plan, plan
    assert "COVERING INDEX" in plan if on_sqlite else "Seq Scan" not in plan, plan


def test_a_breaker_is_told_once_again_and_over(watched):
    """Deduplicated while it lasts, told again after `alerts.again_hours`, and when it has closed."""
    open_breaker(watched.made)
    watched.pass_time(300)
    assert watched.heard() == [("alert.begun", "breaker_open")]
    watched.pass_time(4 * HOUR, step=60)
    assert watched.heard() == [("alert.begun", "breaker_open"), ("alert.again", "breaker_open")]
    breaker.close(watched.made.runtime.engine, PROVIDER, watched.hands.now())
    watched.pass_time(60)
    assert watched.heard()[2:] == [("alert.over", "breaker_open")]
    assert watched.posted()[2]["data"]["sentence"] == f"The breaker of {PROVIDER} is closed again."
    watched.pass_time(600, step=60)
    assert len(watched.receiver.received) == 3
    assert len(watched.box.got) == 3


def test_what_comes_and_goes_is_one_thing(watched):
    """A breaker that opens and closes within half a minute does not wake anybody twice."""
    for _ in range(5):
        write(watched.made, "DELETE FROM breaker")
        open_breaker(watched.made)
        watched.pass_time(10)
        write(watched.made, "DELETE FROM breaker")
        watched.pass_time(10)
    assert watched.heard() == [("alert.begun", "breaker_open")]


def test_a_cap_that_is_hit_is_told(build):
    """I-57 A refusal leaves nothing but its mark, also though its transaction was rolled back; people are told."""
    watched = build(exposure_caps={EUR: "15.00"}, lane_policy="allow")
    watched.made.begin("in", "10.00", queued=True)
    for _ in range(2):
        with pytest.raises(Unavailable, match="does not fit"):
            watched.made.begin("in", "10.00", queued=True)
    watched.tick()
    ((kind, event),) = [(each["type"], each["data"]) for each in watched.posted()]
    assert (kind, event["kind"], event["operator"]) == ("alert.begun", "exposure_cap", OPERATOR)
    assert "15.00 EUR" in event["sentence"]
    watched.pass_time(400)
    assert watched.heard()[1:] == [("alert.over", "exposure_cap")]


def test_a_mark_that_cannot_be_written_changes_no_answer(build):
    """Alerts never stand in money's way: the client gets the same refusal."""
    watched = build(exposure_caps={EUR: "5.00"}, lane_policy="allow")
    watched.made.begin("in", "5.00", queued=True)
    write(watched.made, "DROP TABLE cap_hit")
    with pytest.raises(Unavailable) as refused:
        watched.made.begin("in", "1.00", queued=True)
    assert refused.value.code == gates.CAP_HIT


def verified(made: Bench, slot: int, outcome: str, job: str = "verify") -> None:
    """A run of a check that has ended."""
    write(
        made,
        "INSERT INTO job_run (job, slot, worker, started_at, finished_at, outcome) VALUES (:j, :s, 'w', 1, :n, :o)",
        j=job, s=slot, o=outcome, n=made.runtime.clock.now(),
    )  # fmt: skip


@pytest.mark.parametrize("job", ["verify", "inspect"])
def test_a_check_that_finds_something_is_told(watched, job):
    """Design §8: a failing verification, or inspection, wakes somebody; one that finds nothing ends it."""
    verified(watched.made, 1, "ok", job)
    watched.tick()
    assert watched.heard() == []
    verified(watched.made, 2, "failed: I-03 (2 rows)", job)
    watched.tick()
    (event,) = [each["data"] for each in watched.posted()]
    assert (event["kind"], event["operator"]) == ("check_failed", None)
    assert "I-03 (2 rows)" in event["sentence"]
    verified(watched.made, 3, "ok", job)
    watched.pass_time(60)
    assert watched.heard()[1:] == [("alert.over", "check_failed")]


def test_a_condition_that_cannot_be_read_silences_no_other(watched, monkeypatch):
    """C-19 The one that fails is told of itself, what was known of it lasts, and the others are told."""
    open_breaker(watched.made)
    watched.tick()

    def broken(*_):
        raise KeyError("a provider that is none any more")

    with monkeypatch.context() as patched:
        patched.setitem(conditions._ASKED, Kind.BREAKER, broken)
        verified(watched.made, 2, "failed: I-03 (2 rows)")
        watched.pass_time(60)
        told = sorted(each["data"]["sentence"][:20] for each in watched.posted()[1:])
        assert told == ["Verify failed: I-03 ", "Whether there is any"]
    watched.pass_time(60)
    assert watched.heard()[3:] == [("alert.over", "check_failed")]


@pytest.mark.parametrize("table", ["alerted_orphan", "webhook_endpoint"])
def test_an_error_of_the_database_silences_no_other(watched, table):
    """C-19 A table that cannot be read ends neither the look nor its transaction: people are told of it and of the
    others, what was known of it lasts, and it is told when it can be read again."""
    watched.orphan()
    watched.pass_time(61, step=61)
    write(watched.made, f"ALTER TABLE {table} RENAME TO hidden")
    open_breaker(watched.made)
    watched.pass_time(60)
    told = [each["data"] for each in watched.posted()[1:]]
    assert sorted(each["kind"] for each in told) == ["breaker_open", "check_failed"]
    write(watched.made, f"ALTER TABLE hidden RENAME TO {table}")
    watched.pass_time(60)
    assert watched.heard()[3:] == [("alert.over", "check_failed")]


def test_orphans_that_cannot_be_read_are_told_again_all_the_same(watched):
    """In the words in which they stood when they were seen last."""
    watched.orphan()
    watched.pass_time(61, step=61)
    write(watched.made, "ALTER TABLE alerted_orphan RENAME TO hidden")
    watched.pass_time(4 * HOUR, step=600)
    again = [each["data"] for each in watched.posted() if each["type"] == "alert.again"]
    assert [each["sentence"] for each in again] == ["1 orphaned transfer: 10.00 EUR."]


def test_what_was_found_before_is_sent_though_nothing_can_be_read(watched, monkeypatch):
    """C-19 Notices that wait are sent also by a tick that cannot look."""
    open_breaker(watched.made)
    episodes.look(watched.made.runtime)

    def away(*_):
        raise ConnectionError("gone")

    monkeypatch.setattr(episodes, "look", away)
    with pytest.raises(ConnectionError):
        watched.tick()
    assert watched.heard() == [("alert.begun", "breaker_open")]


def test_a_dead_endpoint_is_told(watched):
    """C-69 An endpoint that was disabled is told to people too; enabled again, it is over."""
    write(
        watched.made,
        "INSERT INTO webhook_endpoint (id, operator_id, url, label, state, reason, secret_number, failures, created_at,"
        " changed_at) VALUES ('we_1', :o, 'https://x.example', 'x', 'disabled', 'it answered 410 Gone', 1, 1, 1, 1)",
        o=watched.made.operator,
    )  # fmt: skip
    watched.tick()
    (event,) = [each["data"] for each in watched.posted()]
    assert (event["kind"], event["operator"]) == ("endpoint_disabled", OPERATOR)
    assert "we_1" in event["sentence"]
    assert "x.example" not in json.dumps(event)
    write(watched.made, "UPDATE webhook_endpoint SET state = 'enabled'")
    watched.pass_time(60)
    assert watched.heard()[1:] == [("alert.over", "endpoint_disabled")]


def test_a_job_that_fails_for_long_is_told(watched):
    """C-19 Not at its first failure, but when it has failed for `alerts.failing_seconds`."""
    write(
        watched.made,
        "INSERT INTO job_line (job, why, every, error, error_at, failing_since, failing_by, pause_reason)"
        " VALUES ('outbox', 'x', 1, 'OSError at jobs/outbox.py:1', :n, :n, 'w', '')",
        n=watched.hands.now(),
    )  # fmt: skip
    watched.pass_time(290)
    assert watched.heard() == []
    watched.pass_time(10)
    assert watched.heard() == [("alert.begun", "job_failing")]
    write(watched.made, "UPDATE job_line SET failing_since = NULL, failing_by = NULL")
    watched.pass_time(60)
    assert watched.heard()[1:] == [("alert.over", "job_failing")]


def test_processes_that_differ_about_when_tell_of_a_job_once(build):
    """The web processes' `failing_seconds` is shorter than the jobs': what they told is not over before the job works,
    however rarely they look."""
    watched = build(alerts_failing_seconds=600)
    fast = watched.made.runtime.config.alerts.model_copy(update={"failing_seconds": 60})
    config = watched.made.runtime.config.model_copy(update={"alerts": fast})
    man = Watchman(replace(watched.made.runtime, config=config))
    board.enrol(watched.made.runtime, [Planned("inbox", 1, "x")])
    failing = "UPDATE job_line SET failing_since = :n, error = 'X', failing_by = 'w', error_at = :n"
    write(watched.made, failing, n=watched.hands.now())
    for _ in range(15):
        watched.pass_time(40)
        man.look(Event())
    assert watched.heard() == [("alert.begun", "job_failing")]
    write(watched.made, "UPDATE job_line SET failing_since = NULL, failing_by = NULL")
    watched.pass_time(60)
    assert watched.heard()[1:] == [("alert.over", "job_failing")]


def test_a_job_that_hangs_is_told(watched):
    """C-19 A thread that waits for ever neither fails nor ends, and its process beats on: after ten minutes people are
    told, and when it has ended."""
    shift, go_on = Shift(watched.made.runtime, Event()), Event()
    shift.begin()
    hung = replace(JOBS["inbox"], run_once=lambda *_: (go_on.wait(60), {})[1])
    thread = Thread(target=shift.tick, args=(hung,))
    thread.start()
    until(lambda: "inbox" in shift._in_hand, 10)
    for _ in range(59):
        shift.beat()
        watched.pass_time(10)
    assert watched.heard() == []
    for _ in range(3):
        shift.beat()
        watched.pass_time(10)
    (event,) = [each["data"] for each in watched.posted()]
    assert (event["kind"], event["link"]) == ("job_hanging", "https://desk.example/ops/jobs")
    assert event["sentence"].startswith("The job inbox hangs: ")
    go_on.set()
    thread.join()
    shift.beat()
    watched.pass_time(60)
    assert watched.heard()[1:] == [("alert.over", "job_hanging")]


@pytest.mark.parametrize(("job", "seconds"), [("resolve", 600), ("verify", 7200), ("sweep", 3600), ("inspect", 21_600)])
def test_each_job_has_its_time(watched, job, seconds):
    """One that reads everything may take longer; one whose interval is long hangs later; a dead process has nothing."""
    planned = [Planned(each.name, each.every(watched.made.runtime.config), each.why) for each in JOBS.values()]
    board.enrol(watched.made.runtime, planned)
    board.beat(watched.made.runtime, 5, {job: watched.hands.now()})
    for late, found in ((seconds - 1, []), (1, [job])):
        watched.hands.turn(late)
        write(watched.made, "UPDATE beat SET seen_at = :n", n=watched.hands.now())
        with db.reading(watched.made.runtime.engine) as connection:
            assert [each.job for each in board.hanging(connection, watched.hands.now())] == found
    watched.hands.turn(61)
    with db.reading(watched.made.runtime.engine) as connection:
        assert board.hanging(connection, watched.hands.now()) == []


def test_a_restored_database_is_told(watched):
    """A restore closes providers and withdrawals, and people hear of it by themselves, until they have opened both; not
    of the first look at a new database."""
    lineage.check(watched.made.runtime)
    watched.pass_time(60)
    assert watched.heard() == []
    lineage.restored(watched.made.runtime, "a test", "somebody")
    watched.tick()
    assert watched.heard() == [("alert.begun", "database_set_back")]
    assert "`python -m bridge withdrawals open --reason WHY`" in watched.posted()[0]["data"]["sentence"]
    gates.resume(watched.made.runtime, PROVIDER, "somebody")
    watched.pass_time(4000, step=60)
    assert watched.heard()[1:] == []
    switches.open_withdrawals(watched.made.runtime, "compared")
    watched.pass_time(60)
    assert watched.heard()[1:] == [("alert.over", "database_set_back")]


def test_a_restore_that_closed_nothing_is_told_all_the_same(watched):
    """Also where the provider had been closed by a person before, and stays a person's to open."""
    lineage.check(watched.made.runtime)
    watched.tick()
    gates.pause(watched.made.runtime, PROVIDER, "maintenance", "somebody")
    watched.hands.turn(1)
    lineage.restored(watched.made.runtime, "a test", "somebody")
    watched.tick()
    assert watched.heard() == [("alert.begun", "database_set_back")]


def test_a_provider_that_is_another_is_told(watched):
    """I-09: by the process that is configured with it, to the operator whose it is; an acceptance ends it, and is no
    restored database, though the provider is closed by it."""
    identity.keep(watched.made.runtime)
    watched.made.run("in")
    policy = watched.made.runtime.config.providers[PROVIDER].model_copy(update={"base_url": "http://127.0.0.1:10"})
    config = watched.made.runtime.config.model_copy(update={"providers": {PROVIDER: policy}})
    watched.made.runtime = replace(watched.made.runtime, config=config)
    watched.pass_time(10)
    assert watched.heard() == [("alert.begun", "provider_moved")]
    told = watched.posted()[0]["data"]
    assert told["operator"] == OPERATOR
    assert told["sentence"].startswith(f"{PROVIDER} is generic at http://127.0.0.1:10, for operator {OPERATOR} here, ")

    switches.accept(watched.made.runtime, PROVIDER, "they moved house", "ops")
    watched.pass_time(60)
    assert watched.heard()[1:] == [("alert.over", "provider_moved")]


def test_nothing_wrong_writes_nothing(watched):
    """A look that finds nothing new takes no lock and leaves no row; that the jobs ran is noted once a minute."""
    watched.made.run("in")
    watched.tick()

    def turns() -> dict[str, Any]:
        return {row["name"]: row for row in watched.made.rows("SELECT * FROM alert_turn")}

    before = turns()
    for _ in range(11):
        watched.pass_time(5)
    assert turns() == before
    watched.pass_time(5)
    assert [name for name, row in turns().items() if row != before[name]] == [checks.RAN]
    assert alerts(watched.made) == []


def test_many_processes_at_once_tell_once(watched):
    """C-38 Eight processes look at the same instant: one alert, and one message by each way."""
    for _ in range(3):
        watched.orphan()
    open_breaker(watched.made)
    watched.hands.turn(61)
    workers = [watched.made.another() for _ in range(8)]
    came = together(8, lambda number: watched.tick(workers[number]))
    assert all(isinstance(each, dict) for each in came), came
    assert sum(each["told"] for each in came) == 2
    assert sorted(watched.heard()) == [("alert.begun", "breaker_open"), ("alert.begun", "orphans")]
    assert len(watched.box.got) == 2
    for worker in workers:
        worker.runtime.engine.dispose()


def test_without_a_way_alerts_are_kept(build):
    """Nobody is told, and they stand where people look."""
    watched = build(
        alerts_webhook_url=None, alerts_webhook_secret=None, alerts_email_to=(), alerts_email_from=None,
        alerts_smtp_host=None,
    )  # fmt: skip
    open_breaker(watched.made)
    assert watched.tick() == {"told": 1, "sent": 0, "unsent": 0}
    assert [row["kind"] for row in alerts(watched.made)] == ["breaker_open"]
    assert watched.made.rows("SELECT * FROM alert_notice") == []


def without_ways(made: Bench) -> Runtime:
    """Another process on the same database, whose configuration has no `[alerts]`."""
    return replace(made.runtime, config=made.runtime.config.model_copy(update={"alerts": AlertsSection()}))


def looks(runtime: Runtime) -> None:
    """A tick of that process."""
    jobs_alerts.run_once(runtime, runtime.clock.now(), 100, Event())


def test_what_a_process_without_ways_saw_first_is_told_by_one_that_has_them(watched):
    """A rolling deploy, or two machines of which one knows nobody to tell: the other tells at its next tick, once, and
    not `again_hours` later; whichever of them sees the end, it is told too."""
    bare = without_ways(watched.made)
    watched.orphan("10.00")
    open_breaker(watched.made)
    watched.hands.turn(61)
    watched.alive()
    looks(bare)
    assert (watched.heard(), len(alerts(watched.made))) == ([], 2)
    watched.tick()
    assert sorted(watched.heard()) == [("alert.begun", "breaker_open"), ("alert.begun", "orphans")]
    orphans = next(each["data"] for each in watched.posted() if each["data"]["kind"] == "orphans")
    assert (orphans["sentence"], orphans["value"]) == ("1 orphaned transfer: 10.00 EUR.", {"EUR": "10.00"})
    assert len(watched.box.got) == 2
    watched.pass_time(HOUR, step=60)
    assert len(watched.receiver.received) == 2
    write(watched.made, "DELETE FROM breaker")
    watched.hands.turn(61)
    watched.alive()
    looks(bare)
    assert [row["kind"] for row in alerts(watched.made) if row["ended_at"] is not None] == ["breaker_open"]
    watched.tick()
    assert watched.heard()[2:] == [("alert.over", "breaker_open")]


def test_more_orphans_that_a_process_without_ways_saw_first_are_told(watched):
    """It marks them as told: so it writes what the others have to send."""
    watched.orphan("10.00")
    watched.pass_time(70)
    second = watched.orphan("4.00")
    watched.hands.turn(61)
    watched.alive()
    looks(without_ways(watched.made))
    watched.tick()
    assert watched.heard() == [("alert.begun", "orphans"), ("alert.more", "orphans")]
    assert watched.posted()[1]["data"]["transfers"] == [second]


def away(watched: Any, minutes: int) -> None:
    """The process that has the ways is away; one without them looks."""
    for _ in range(minutes):
        watched.hands.turn(60)
        watched.alive()
        looks(without_ways(watched.made))


def test_who_was_told_hears_how_it_goes_on_however_long_nobody_had_the_way(watched):
    """The machine with the ways is down for more than an hour: of another orphan, and of an end, it tells when it is
    back, and not after `again_hours`, or never."""
    watched.orphan("10.00")
    open_breaker(watched.made)
    watched.pass_time(70)
    away(watched, 62)
    write(watched.made, "DELETE FROM breaker")
    second = watched.orphan("400.00")
    away(watched, 3)
    watched.pass_time(60)
    assert sorted(watched.heard()[2:]) == [("alert.more", "orphans"), ("alert.over", "breaker_open")]
    assert [each["data"]["transfers"] for each in watched.posted() if each["type"] == "alert.more"] == [[second]]
    assert len(watched.box.got) == 4


def test_a_way_is_had_also_by_who_is_a_little_ahead(watched):
    """Clocks may be two seconds apart: what is told again one second after such a one said to have a way goes by it."""
    open_breaker(watched.made)
    watched.tick()
    away(watched, 239)
    watched.hands.turn(59)
    watched.alive()
    watched.hands.set_wall(1.9)
    Watchman(watched.made.runtime).look(Event())
    watched.hands.set_wall(-1.9)
    watched.hands.turn(1)
    looks(without_ways(watched.made))
    watched.tick()
    assert watched.heard() == [("alert.begun", "breaker_open"), ("alert.again", "breaker_open")]


def test_what_others_saw_and_is_over_is_not_told(watched):
    """By a web process that has the ways that the jobs have not: neither orphans of which none is left, nor what the
    jobs do not see any more."""
    bare, man = without_ways(watched.made), Watchman(watched.made.runtime)
    transfer = watched.orphan("10.00")
    watched.hands.turn(61)
    open_breaker(watched.made)
    watched.alive()
    looks(bare)
    write(watched.made, "UPDATE transfer SET state = 'reversed' WHERE id = :id", id=transfer)
    write(watched.made, "DELETE FROM breaker")
    for _ in range(8):
        watched.hands.turn(5)
        watched.alive()
        looks(bare)
        if watched.hands.now() - alerts(watched.made)[0]["seen_at"] >= 20 * SECOND:
            man.look(Event())
    assert [row["ended_at"] is not None for row in alerts(watched.made)] == [True, True]
    assert (watched.posted(), watched.box.got) == ([], [])


def test_orphans_of_which_none_is_left_are_not_told(watched):
    """Also where the jobs saw them a moment ago."""
    transfer = watched.orphan("10.00")
    watched.hands.turn(61)
    watched.alive()
    looks(without_ways(watched.made))
    write(watched.made, "UPDATE transfer SET state = 'reversed' WHERE id = :id", id=transfer)
    watched.hands.turn(12)
    watched.alive()
    Watchman(watched.made.runtime).look(Event())
    assert (watched.posted(), watched.box.got) == ([], [])


def test_the_end_is_told_only_by_ways_by_which_the_beginning_was(watched):
    """What was over before anybody could be told is not told any more: nobody knows what it is that ended."""
    open_breaker(watched.made)
    watched.alive()
    looks(without_ways(watched.made))
    write(watched.made, "DELETE FROM breaker")
    watched.pass_time(120)
    assert [row["ended_at"] is not None for row in alerts(watched.made)] == [True]
    assert (watched.heard(), watched.box.got) == ([], [])


def test_a_way_that_is_new_tells_what_lasts(build):
    """E-mail is added: by it people hear of what was told by webhook alone, and not twice by that."""
    watched = build()
    posts = watched.made.runtime.config.alerts.model_copy(update={"smtp_host": None, "email_to": ()})
    old = replace(watched.made.runtime, config=watched.made.runtime.config.model_copy(update={"alerts": posts}))
    open_breaker(watched.made)
    looks(old)
    assert (watched.heard(), watched.box.got) == ([("alert.begun", "breaker_open")], [])
    watched.pass_time(60)
    assert (watched.heard(), len(watched.box.got)) == ([("alert.begun", "breaker_open")], 1)


def test_by_a_way_that_nobody_has_any_more_nothing_is_told_again(build):
    """E-mail is taken out of every configuration: that something lasts is told by the other way alone, and only its end
    waits by both, for a day. As long as a process has a way, one without it writes what that one has to send."""
    watched = build()
    posts = watched.made.runtime.config.alerts.model_copy(update={"smtp_host": None, "email_to": ()})
    new = replace(watched.made.runtime, config=watched.made.runtime.config.model_copy(update={"alerts": posts}))
    open_breaker(watched.made)
    watched.tick()

    def pass_by(hours: int, *, beside: bool) -> None:
        for _ in range(hours * 6):
            watched.hands.turn(600)
            watched.alive()
            looks(new)
            if beside:
                watched.tick()

    pass_by(4, beside=True)
    assert len(watched.box.got) == 2
    pass_by(9, beside=False)
    write(watched.made, "DELETE FROM breaker")
    pass_by(1, beside=False)
    by = [row["sink"] for row in watched.made.rows("SELECT sink FROM alert_notice ORDER BY created_at, sink")]
    assert by == ["email", "webhook"] * 2 + ["webhook"] * 2 + ["email", "webhook"]
    assert watched.heard()[-1] == ("alert.over", "breaker_open")


def test_value_that_no_column_holds_is_added_up(watched):
    """Orphans worth more together than 64 bits are told exactly."""
    for _ in range(10):
        watched.orphan()
    write(watched.made, "UPDATE transfer SET amount = 1000000000000000000 WHERE state = 'orphaned'")
    watched.pass_time(61, step=61)
    assert watched.posted()[0]["data"]["value"] == {"EUR": "100000000000000000.00"}


def test_money_moves_while_alerts_are_written(watched):
    """A tick beside money: the transfer ends as it would, and the books are right."""
    watched.orphan()
    watched.one.script = [OK]
    watched.hands.turn(61)
    worker = watched.made.another()

    def work(number: int) -> Any:
        return watched.tick(worker) if number else watched.made.run("in", "1.00")

    transfer = together(2, work)[0]
    assert watched.made.row(transfer)["state"] == "confirmed"
    watched.made.audit()
    assert watched.heard() == [("alert.begun", "orphans")]
    worker.runtime.engine.dispose()
