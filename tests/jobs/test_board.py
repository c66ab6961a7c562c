"""The board: what is noted of each job, pauses that end, wishes that one process takes, and beats."""

from __future__ import annotations

import json
import signal
import time
from threading import Event, Thread
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from bridge import board, db
from bridge.board import MAY_REST, Ended, Planned, Standing
from bridge.errors import Conflict, Invalid, NotFound
from bridge.ports import SECOND
from jobs.schedule import SCHEDULE, Job
from jobs.shift import Shift, told
from tests.harness import Bench, Hands, bench, together
from tests.jobs.test_process import until

HOUR = 3600


@pytest.fixture
def hands() -> Hands:
    """The clock."""
    return Hands()


@pytest.fixture
def made(migrated_url, hands):
    """A bridge on the test's clock."""
    with bench(migrated_url, clock=hands) as opened:
        yield opened


def line(made: Bench, job: str) -> dict[str, Any]:
    """The board's line of a job."""
    with db.reading(made.runtime.engine) as connection:
        return next(row for row in board.listed(connection, made.runtime) if row["job"] == job)


def job(name: str = "verify", counts: dict[str, int] | None = None, fails: Exception | None = None) -> Job:
    """A job that does as it is told."""

    def run_once(*_: Any) -> dict[str, int]:
        if fails is not None:
            raise fails
        return counts or {}

    return Job(name, lambda _config: 1, run_once, 1, "a test")


def change(made: Bench, deed: Any, *given: Any) -> Any:
    """What a person does, in a transaction of its own."""
    with db.writing(made.runtime.engine) as connection:
        return deed(connection, made.runtime, *given)


def shift(made: Bench) -> Shift:
    """A process of jobs."""
    begun = Shift(made.runtime, Event())
    begun.begin()
    return begun


# --- what is noted ------------------------------------------------------------------------------------


def test_a_run_is_noted(made, hands):
    """Who ran it, when, what it came to, and when it runs next."""
    shift(made).tick(job(counts={"claimed": 2}))
    row = line(made, "verify")
    assert (row["worker"], row["counts"]) == (made.runtime.worker, {"claimed": 2})
    assert (row["started_at"], row["ended_at"]) == (hands.now(), hands.now())
    assert row["next_at"] == hands.now() + 300 * SECOND
    assert (row["error"], row["failing_since"], row["paused"]) == (None, None, False)
    assert row["may_rest"] is True
    assert line(made, "resolve")["may_rest"] is False


def test_a_job_that_raises_stands_on_the_board(made, hands):
    """C-19 Since when it fails and where it was raised, never what it says; a run that goes well ends it."""
    working = shift(made)
    began = hands.now()
    for _ in range(10):
        working.tick(job("outbox", fails=ValueError("player ann's secret")))
        hands.turn(1)
    row = line(made, "outbox")
    assert row["error"].startswith("ValueError at tests/jobs/test_board.py:")
    assert "ann" not in json.dumps(row)
    assert (row["failing_since"], row["failing_by"]) == (began, made.runtime.worker)
    working.tick(job("outbox"))
    row = line(made, "outbox")
    assert (row["failing_since"], row["failing_by"]) == (None, None)
    assert row["error_at"] is not None


def test_what_fails_in_one_process_is_not_well_in_another(made, hands):
    """C-19 As long as it still fails there; a process that died with it is not waited for."""
    good, bad = shift(made), shift(made.another())
    began = hands.now()
    for _ in range(20):
        bad.tick(job("outbox", fails=OSError("x")))
        good.tick(job("outbox"))
        hands.turn(10)
    assert line(made, "outbox")["failing_since"] == began
    for _ in range(7):
        good.tick(job("outbox"))
        hands.turn(10)
    assert line(made, "outbox")["failing_since"] is None
    bad.runtime.engine.dispose()


def test_the_jobs_of_the_schedule_are_on_the_board(made):
    """With their reasons; an older version's line is brought up to date."""
    shift(made)
    with db.writing(made.runtime.engine) as connection:
        connection.exec_driver_sql("UPDATE job_line SET why = 'old', every = 1")
    shift(made)
    with db.reading(made.runtime.engine) as connection:
        rows = {row["job"]: row for row in board.listed(connection, made.runtime)}
    assert {name: row["why"] for name, row in rows.items()} == {each.name: each.why for each in SCHEDULE}
    assert rows["resolve"]["every"] == int(made.runtime.config.engine.resolve_every_seconds * SECOND)


def written(made: Bench, deed: Any) -> int:
    """How many transactions that write a deed commits."""
    commits = []

    def seen(connection: Any) -> None:
        commits.append(connection.info.pop("wrote", False))

    def executed(connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.split(maxsplit=1)[0] in ("INSERT", "UPDATE", "DELETE"):
            connection.info["wrote"] = True

    event.listen(made.runtime.engine, "commit", seen)
    event.listen(made.runtime.engine, "after_cursor_execute", executed)
    deed()
    event.remove(made.runtime.engine, "commit", seen)
    event.remove(made.runtime.engine, "after_cursor_execute", executed)
    return sum(commits)


def test_jobs_that_find_nothing_hardly_write(made, hands):
    """A minute of ticks, once a second: each job's line is written every quarter of a minute, the beat every five
    seconds, and nothing else."""
    working = shift(made)
    idle = [job(each.name, {"claimed": 0}) for each in SCHEDULE]

    def minute() -> None:
        for second in range(60):
            for each in idle:
                working.tick(each)
            working.look()
            if second % board.BEAT_SECONDS == 0:
                working.beat()
            hands.turn(1)

    minute()
    assert written(made, minute) <= 60 // board.QUIET_SECONDS * len(SCHEDULE) + 60 // board.BEAT_SECONDS
    busy = job("resolve", {"claimed": 1})
    assert written(made, lambda: [working.tick(busy), hands.turn(1), working.tick(busy)]) <= 2


def test_what_is_wrong_with_the_board_keeps_no_job_from_running(made):
    """The board is for people: a job runs also where nothing can be read or written of it."""
    working, ran = shift(made), []
    with db.writing(made.runtime.engine) as connection:
        connection.exec_driver_sql("DROP TABLE job_line")
    working.tick(Job("resolve", lambda _config: 1, lambda *_: ran.append(1) or {}, 1, "a test"))
    working.look()
    assert ran == [1]


# --- pauses -------------------------------------------------------------------------------------------


def test_a_pause_ends_by_itself(made, hands):
    """Nothing is run while it lasts; after eight hours at most it is run again, whoever has gone home."""
    working, ran = shift(made), []
    watched = Job("deliver", lambda _config: 1, lambda *_: ran.append(hands.now()) or {}, 1, "a test")
    until_when = change(made, board.pause, "deliver", "olga", "their server is being moved")
    assert until_when == hands.now() + 8 * HOUR * SECOND
    row = line(made, "deliver")
    assert (row["paused"], row["paused_by"], row["pause_reason"]) == (True, "olga", "their server is being moved")
    for _ in range(10):
        working.tick(watched)
        hands.turn(HOUR * 8 / 10)
    assert ran == []
    working.tick(watched)
    assert len(ran) == 1
    assert line(made, "deliver")["paused"] is False


def test_a_pause_is_ended_by_a_person(made):
    """Once: a second end has nothing to end."""
    working, ran = shift(made), []
    change(made, board.pause, "sweep", "olga", "too loud", 60)
    before = change(made, board.resume, "sweep")
    assert before["paused_by"] == "olga"
    working.tick(Job("sweep", lambda _config: 1, lambda *_: ran.append(1) or {}, 1, "a test"))
    assert ran == [1]
    with pytest.raises(Conflict, match="is not paused"):
        change(made, board.resume, "sweep")


@pytest.mark.parametrize("name", sorted({each.name for each in SCHEDULE} - MAY_REST.keys()))
def test_what_money_depends_on_never_rests(made, name):
    """Rule 10: resolution is never stopped; not by a row that somebody wrote by hand either."""
    working, ran = shift(made), []
    with pytest.raises(Conflict, match="cannot be paused: money"):
        change(made, board.pause, name, "olga", "too loud")
    with db.writing(made.runtime.engine) as connection:
        connection.exec_driver_sql(
            f"UPDATE job_line SET paused_at = {made.runtime.clock.now()}, paused_by = 'x',"
            f" paused_until = {made.runtime.clock.now() + 1000 * SECOND}"
        )
    working.tick(Job(name, lambda _config: 1, lambda *_: ran.append(1) or {}, 1, "a test"))
    assert ran == [1]


def test_every_job_that_may_rest_is_named(made):
    """Typed out: a new job never rests until somebody has thought about it."""
    money = {"resolve", "inbox", "aftercare", "outbox", "expire", "mirror", "alerts"}
    assert money == {each.name for each in SCHEDULE} - MAY_REST.keys()


@pytest.mark.parametrize(
    ("given", "refusal"),
    [
        (("nothing", "olga", "too loud"), NotFound),
        (("verify", "olga", "  x "), Invalid),
        (("verify", "olga", "bell\x07 rang"), Invalid),
        (("verify", "olga", "x" * 501), Invalid),
        (("verify", "olga", "too loud", 8 * HOUR + 1), Invalid),
        (("verify", "olga", "too loud", 0), Invalid),
    ],
)
def test_a_pause_that_makes_no_sense_is_refused(made, given, refusal):
    """By the name of what is wrong with it; nothing is changed."""
    shift(made)
    with pytest.raises(refusal):
        change(made, board.pause, *given)
    assert [row["job"] for row in made.rows("SELECT job FROM job_line WHERE paused_by IS NOT NULL")] == []


def test_the_database_knows_no_longer_pause(made):
    """Below the code: no row says more than eight hours."""
    shift(made)
    with pytest.raises(DBAPIError), db.writing(made.runtime.engine) as connection:
        connection.exec_driver_sql(
            "UPDATE job_line SET paused_at = 0, paused_by = 'x', paused_until = 28800000001 WHERE job = 'verify'"
        )


# --- run now ------------------------------------------------------------------------------------------


def hurried(made: Bench) -> tuple[Shift, list[str]]:
    """A process of jobs whose scheduler only notes what it was to fire."""
    working, fired = shift(made), []
    working.hurry = fired.append
    return working, fired


def test_a_wish_is_taken_by_exactly_one(made):
    """C-38 Of eight processes at the same instant one runs it, once."""
    workers = [made.another() for _ in range(8)]
    shifts = [hurried(worker) for worker in workers]
    change(made, board.run_now, "verify", "olga")
    together(8, lambda number: shifts[number][0].look())
    assert sorted(len(fired) for _, fired in shifts) == [0] * 7 + [1]
    for working, _ in shifts:
        working.look()
    assert sum(len(fired) for _, fired in shifts) == 1
    assert made.rows("SELECT * FROM job_line WHERE wanted_at IS NOT NULL") == []
    for worker in workers:
        worker.runtime.engine.dispose()


def test_a_process_that_is_at_it_leaves_the_wish_to_another(made):
    """Who has the job in hand is not free for it; the wish waits for who is."""
    busy, seen = hurried(made)
    other, taken = hurried(made.another())

    def meanwhile(*_: Any) -> dict[str, int]:
        change(made, board.run_now, "verify", "olga")
        busy.look()
        assert seen == []
        other.look()
        return {}

    busy.tick(Job("verify", lambda _config: 1, meanwhile, 1, "a test"))
    assert taken == ["verify"]
    other.runtime.engine.dispose()


def test_a_wish_that_is_taken_while_a_run_begins_is_carried_out(made, monkeypatch):
    """C-38 Free when the board was read, at it when the wish was taken: the job runs again, as a wish, and once."""
    working, _ = hurried(made)
    begun, go_on, runs = Event(), Event(), list[str]()

    def usual(*_: Any) -> dict[str, int]:
        runs.append("usual")
        begun.set()
        assert go_on.wait(10)
        return {}

    def at_once(*_: Any) -> dict[str, int]:
        runs.append("at once")
        return {}

    job = Job("verify", lambda _config: 1, usual, 1, "a test", at_once)
    ticking = Thread(target=working.tick, args=(job,))
    take = board.take

    def taken(*asked: Any) -> bool:
        ticking.start()
        assert begun.wait(10)
        return take(*asked)

    monkeypatch.setattr(board, "take", taken)
    change(made, board.run_now, "verify", "olga")
    working.look()
    working.tick(job)  # the scheduler's, for the wish: the job is in hand
    assert runs == ["usual"]
    go_on.set()
    ticking.join(10)
    assert runs == ["usual", "at once"]
    working.tick(job)
    assert runs == ["usual", "at once", "usual"]


def test_a_wish_that_nobody_took_is_not_carried_out_tomorrow(made, hands):
    """After five minutes it is void; a new one may be made."""
    working, fired = hurried(made)
    first = change(made, board.run_now, "verify", "olga")
    hands.turn(60)
    assert change(made, board.run_now, "verify", "peter") == first
    hands.turn(board.WISH_SECONDS)
    working.look()
    assert fired == []
    assert change(made, board.run_now, "verify", "peter") == hands.now()
    working.look()
    assert fired == ["verify"]


def test_a_paused_job_is_not_wanted(made):
    """First the pause has to be ended; and a pause takes a waiting wish with it."""
    working, fired = hurried(made)
    change(made, board.run_now, "deliver", "olga")
    change(made, board.pause, "deliver", "olga", "too loud")
    working.look()
    assert fired == []
    with pytest.raises(Conflict, match="is paused"):
        change(made, board.run_now, "deliver", "olga")
    with pytest.raises(NotFound):
        change(made, board.run_now, "nothing", "olga")


def test_a_wish_verifies_a_slot_again(made):
    """What was found before stays in the slot; the newer outcome stands first."""
    working, _ = hurried(made)
    verify = next(each for each in SCHEDULE if each.name == "verify")
    working.tick(verify)
    working.tick(verify)
    assert [run["outcome"] for run in made.rows("SELECT outcome FROM job_run")] == ["ok"]
    with db.writing(made.runtime.engine) as connection:
        connection.exec_driver_sql("UPDATE account SET version = version + 1")
    change(made, board.run_now, "verify", "olga")
    working.look()
    working.tick(verify)
    (run,) = made.rows("SELECT * FROM job_run")
    assert run["outcome"] == "failed: I-06 (1 row) (before that: ok)"
    assert line(made, "verify")["counts"] == {"claimed": 1, "findings": 1}


# --- beats, and real processes ------------------------------------------------------------------------


def test_a_beat_says_what_is_in_hand(made, hands):
    """Since when each process has a job in hand, as of its last beat; stale ones are no processes any more."""
    working = shift(made)

    def meanwhile(*_: Any) -> dict[str, int]:
        hands.turn(5)
        working.beat()
        assert line(made, "deliver")["at_work"] == {made.runtime.worker: hands.now() - 5 * SECOND}
        return {}

    working.tick(Job("deliver", lambda _config: 1, meanwhile, 1, "a test"))
    working.beat()
    assert line(made, "deliver")["at_work"] == {}
    with db.reading(made.runtime.engine) as connection:
        assert len(board.living(connection, hands.now())) == 1
        assert board.living(connection, hands.now() + board.SILENT_SECONDS * SECOND) == []
        assert board.quiet_for(connection, hands.now() + 7 * SECOND) == 7 * SECOND


def test_a_beat_from_a_later_day_is_no_sign_of_life(made, hands):
    """I-34 A clock that was an hour ahead when all jobs died: they are silent all the same."""
    shift(made).begin()
    hands.turn(-HOUR)
    with db.reading(made.runtime.engine) as connection:
        assert board.quiet_for(connection, hands.now()) is None
        assert board.living(connection, hands.now()) == []
    shift(made).begin()
    assert len(made.rows("SELECT * FROM beat")) == 1
    with db.reading(made.runtime.engine) as connection:
        assert board.quiet_for(connection, hands.now()) == 0


def test_a_process_whose_clock_is_off_has_no_beat(made, hands):
    """I-34 It does nothing, and must not seem to."""
    working = shift(made)
    working.end()
    hands.set_wall(100)
    working.beat()
    assert made.rows("SELECT * FROM beat") == []


def test_the_dead_are_forgotten_after_a_day(made, hands):
    """Until then people see that it died."""
    shift(made)
    hands.turn(board.FORGOTTEN_SECONDS + 1)
    other = made.another()
    shift(other)
    assert [beat["worker"] for beat in made.rows("SELECT worker FROM beat")] == [other.runtime.worker]
    other.runtime.engine.dispose()


def beats(made: Bench) -> dict[str, Any]:
    """The processes that run the jobs."""
    return {beat["worker"]: beat for beat in made.rows("SELECT * FROM beat")}


def test_a_stop_takes_the_beat_away_and_a_kill_leaves_it(migrated_url, jobs):
    """SIGTERM: the row goes. SIGKILL: it stays, and goes stale."""
    with bench(migrated_url) as made:
        first, second = (jobs(migrated_url, "http://127.0.0.1:9") for _ in range(2))
        pids = [process.ready()["pid"] for process in (first, second)]
        until(lambda: len(beats(made)) == 2)
        assert {int(worker.split("/")[1]) for worker in beats(made)} == set(pids)
        assert first.stop() == 0
        assert [int(worker.split("/")[1]) for worker in beats(made)] == pids[1:]
        (before,) = beats(made).values()
        until(lambda: beats(made)[before["worker"]]["seen_at"] > before["seen_at"])
        assert second.stop(signal.SIGKILL) == -signal.SIGKILL
        (after,) = beats(made).values()
        time.sleep(board.BEAT_SECONDS + 2)
        assert list(beats(made).values()) == [after]


def test_run_now_is_at_once_and_once_among_two_processes(migrated_url, jobs):
    """C-38 Within about a second, by one of two real processes; the slot shows that it was verified anew."""
    with bench(migrated_url) as made:
        processes = [jobs(migrated_url, "http://127.0.0.1:9", verify_every_seconds=86_400) for _ in range(2)]
        for process in processes:
            process.ready()
        verified = "FROM job_run WHERE job = 'verify'"
        until(lambda: made.rows(f"SELECT 1 {verified} AND finished_at IS NOT NULL"))
        until(lambda: len(beats(made)) == 2)
        before = made.rows(f"SELECT * {verified}")
        began = time.monotonic()
        wanted_at = change(made, board.run_now, "verify", "olga")
        until(lambda: made.rows("SELECT 1 FROM job_line WHERE job = 'verify' AND started_at >= :w", w=wanted_at))
        assert time.monotonic() - began < 3
        until(lambda: made.rows(f"SELECT 1 {verified} AND finished_at >= :w", w=wanted_at))
        (run,) = made.rows(f"SELECT * {verified}")
        assert run["slot"] == before[0]["slot"]
        time.sleep(2)
        logs = "".join(process.log.read_text() for process in processes)
        assert logs.count('"event":"job wanted"') == 1
        assert [process.stop() for process in processes] == [0, 0]


def test_where_an_error_was_raised_is_told_without_its_text() -> None:
    """Its kind, and the deepest line of ours."""
    with pytest.raises(ValueError) as raised:
        json.loads("secret")
    assert told(raised.value).startswith("JSONDecodeError at tests/jobs/test_board.py:")
    assert "secret" not in told(raised.value)
    assert told(KeyError("x")) == "KeyError"


def test_a_job_that_is_not_on_the_board_runs(made):
    """A line that is missing stops nothing."""
    seen = Standing("new", rests=False)
    with db.reading(made.runtime.engine) as connection:
        assert board.standing(connection, "new", 0) == seen
    board.enrol(made.runtime, [Planned("other", 1, "x")])
    assert board.note(made.runtime, seen, Ended(1, 2, {}))
