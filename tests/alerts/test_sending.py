"""Notices are stored before they are sent, and come again until they are taken, for a day."""

from __future__ import annotations

from dataclasses import replace
from threading import Event
from typing import Any

import pytest

from bridge import board, webhooks
from bridge.alerts import episodes, sending
from bridge.alerts.conditions import Kind
from bridge.alerts.mail import Came
from bridge.alerts.watchman import LEASE_SECONDS, Watchman, is_mine
from bridge.models.alerts import Sink
from bridge.ports import SECOND
from tests.alerts.conftest import LIVES, SECRET, SENDER, TO
from tests.alerts.test_episodes import HOUR, looks, open_breaker, without_ways, write
from tests.harness import together
from tests.providers import http, silence

DAY = 86_400


def notices(watched: Any) -> dict[str, Any]:
    """The newest notice of each sink."""
    return {row["sink"]: row for row in watched.made.rows("SELECT * FROM alert_notice ORDER BY id")}


def test_a_message_is_signed_like_every_other(watched):
    """Standard Webhooks: the reference implementation and our own verification accept it."""
    open_breaker(watched.made)
    watched.tick()
    (request,) = watched.receiver.received
    assert watched.posted()[0]["type"] == "alert.begun"
    headers = request.headers
    webhooks.verify(
        [SECRET], headers["webhook-id"], headers["webhook-timestamp"], headers["webhook-signature"], request.body,
        int(headers["webhook-timestamp"]),
    )  # fmt: skip
    assert (request.method, request.target, headers["content-type"]) == ("POST", "/alerts", "application/json")
    assert {row["state"] for row in notices(watched).values()} == {"sent"}


def test_who_dies_between_storing_and_sending_is_made_good(watched):
    """C-59 The alert was committed, the process died before a byte left: the next one sends it."""
    open_breaker(watched.made)
    dead = watched.made.another()
    assert episodes.look(dead.runtime) == 1
    dead.runtime.engine.dispose()
    assert watched.receiver.received == []
    assert watched.tick() == {"told": 0, "sent": 2, "unsent": 0}
    assert watched.heard() == [("alert.begun", "breaker_open")]


def test_who_dies_while_sending_is_made_good(watched):
    """At least once: the lease runs out, and it is sent under the same id, by which a receiver knows it again."""
    open_breaker(watched.made)
    episodes.look(watched.made.runtime)
    dead = watched.made.another()
    leased = sending.take(dead.runtime, Sink.WEBHOOK)
    assert leased is not None
    sending._sent(dead.runtime, Sink.WEBHOOK, leased["id"], leased["subject"], leased["body"])  # and here it dies
    watched.tick()
    assert len(watched.receiver.received) == 1
    watched.hands.turn(3 + sending.LEASE_SLACK_SECONDS)
    watched.tick()
    ids = [request.headers["webhook-id"] for request in watched.receiver.received]
    assert ids == [leased["id"]] * 2
    # The dead one comes back to life: what it says of its lease changes nothing.
    sending._noted(dead.runtime, leased, Came(taken=False, failure="too late"))
    assert notices(watched)["webhook"]["state"] == "sent"
    dead.runtime.engine.dispose()


def test_a_sink_that_fails_delays_no_other(watched):
    """The webhook hangs to its deadline; the letter goes out in the same tick, and the webhook comes again."""
    watched.receiver.routes.clear()
    watched.receiver.answers = [http(500)]
    open_breaker(watched.made)
    assert watched.tick() == {"told": 1, "sent": 1, "unsent": 1}
    seen = notices(watched)
    assert (seen["email"]["state"], seen["webhook"]["state"]) == ("sent", "waiting")
    assert seen["webhook"]["failure"] == "it answered 500"
    assert watched.tick() == {"told": 0, "sent": 0, "unsent": 0}
    watched.receiver.routes["/alerts"] = http(200)
    watched.hands.turn(sending.WAITS_SECONDS[0])
    assert watched.tick()["sent"] == 1
    assert notices(watched)["webhook"]["tries"] == 2


def test_a_sink_that_is_dead_is_asked_once_a_tick(watched):
    """Twenty messages for a server that hangs cost one deadline, not twenty."""
    watched.receiver.routes["/alerts"] = http(503)
    for number in range(20):
        write(
            watched.made,
            "INSERT INTO webhook_endpoint (id, operator_id, url, label, state, reason, secret_number, failures,"
            f" created_at, changed_at) VALUES ('we_{number}', 1, 'https://x', 'x', 'disabled', 'x', 1, 1, 1, 1)",
        )  # fmt: skip
    assert watched.tick() == {"told": 20, "sent": 20, "unsent": 1}
    assert len(watched.receiver.received) == 1


def test_after_a_day_it_is_given_up_and_stays_visible(watched):
    """Tried again with waits that grow, for a day; then it stands there as given up, with what was wrong."""
    watched.receiver.routes["/alerts"] = http(404)
    open_breaker(watched.made)
    watched.tick()
    tried = 0
    for _ in range(2 * DAY // 600):
        watched.hands.turn(600)
        tried += watched.tick()["unsent"]
    given_up = watched.made.rows("SELECT * FROM alert_notice WHERE state = 'given_up' ORDER BY id")[0]
    assert (given_up["sink"], given_up["failure"], given_up["wake_at"]) == ("webhook", "it answered 404", None)
    assert 25 <= given_up["tries"] <= 40
    assert given_up["ended_at"] - given_up["created_at"] >= DAY * SECOND
    assert tried >= given_up["tries"] - 1


def test_one_wrong_address_has_nobody_get_a_letter_twice(build):
    """Whoever took it is not sent it again because another one's server did not; who did not get it stands beside."""
    watched = build(alerts_email_to=(TO, "gone@casino.example"))
    watched.box.manners.refuses = ("gone@casino.example",)
    open_breaker(watched.made)
    watched.pass_time(7200, step=60)
    assert [got.to for got in watched.box.got] == [[TO]]
    letter = notices(watched)["email"]
    assert (letter["state"], letter["tries"]) == ("sent", 1)
    assert letter["failure"] == "the mail server refused it to gone@casino.example (550)"
    assert sending.test(watched.made.runtime, Sink.EMAIL) == letter["failure"]


def test_whom_a_letter_is_refused_to_for_a_moment_gets_it_later(build):
    """Greylisting, or a full disk: it goes again to those alone, whatever happens to the tries between; whom it is
    refused to for good stands beside the message to the end."""
    watched = build(alerts_email_to=(TO, "archive@casino.example", "gone@casino.example"))
    manners = watched.box.manners
    manners.not_yet, manners.refuses = (TO,), ("gone@casino.example",)
    open_breaker(watched.made)
    watched.tick()
    gone, noted = "gone@casino.example (550)", "the mail server refused it to "
    assert notices(watched)["email"]["failure"] == f"{noted}{TO} (450), {gone}"
    watched.pass_time(60)
    manners.greeting = b"421 not now\r\n"
    watched.pass_time(300)
    letter = notices(watched)["email"]
    assert letter["state"] == "waiting"
    assert letter["failure"].startswith("the mail server answered 421; the mail server refused it to ")
    manners.greeting, manners.not_yet = b"220 letterbox ESMTP\r\n", ()
    watched.pass_time(3 * 3600, step=60)
    assert [got.to for got in watched.box.got] == [["archive@casino.example"], [TO]]
    letter = notices(watched)["email"]
    assert (letter["state"], letter["failure"]) == ("sent", noted + gone)


def test_who_is_refused_for_a_moment_and_then_for_good_is_asked_no_more(build):
    """Nobody who has it gets it again."""
    watched = build(alerts_email_to=(TO, "archive@casino.example"))
    manners = watched.box.manners
    manners.not_yet = (TO,)
    open_breaker(watched.made)
    watched.tick()
    taken = sending.take(watched.made.runtime, Sink.EMAIL)
    assert taken is None  # it waits
    manners.not_yet, manners.refuses = (), (TO,)
    watched.pass_time(3600, step=60)
    letter = notices(watched)["email"]
    assert (letter["state"], letter["tries"]) == ("sent", 2)
    assert letter["failure"] == f"the mail server refused it to {TO} (550)"
    assert [got.to for got in watched.box.got] == [["archive@casino.example"]]


def with_letters_to(watched: Any, *email_to: str) -> Any:
    """Another process, whose letters go to others."""
    alerts = watched.made.runtime.config.alerts.model_copy(update={"email_to": email_to})
    return replace(watched.made.runtime, config=watched.made.runtime.config.model_copy(update={"alerts": alerts}))


@pytest.mark.parametrize("knows", [("boss@casino.example",), ("boss@casino.example", "gone@casino.example")])
def test_who_waits_for_a_letter_gets_it_by_a_process_that_knows_them(build, knows):
    """Processes need not have the same `email_to`: one that lacks those who wait ends nothing for them, whatever comes
    of those whom it knows."""
    boss, gone = "boss@casino.example", "gone@casino.example"
    watched = build(alerts_email_to=(TO, boss, gone))
    watched.box.manners.not_yet = (TO, gone)
    open_breaker(watched.made)
    watched.tick()
    other = with_letters_to(watched, *knows)
    watched.box.manners.refuses = (gone,)
    for _ in range(6):
        watched.hands.turn(600)
        watched.alive()
        looks(other)
    assert notices(watched)["email"]["state"] == "waiting"
    watched.box.manners.not_yet = ()
    watched.pass_time(HOUR, step=600)
    assert (notices(watched)["email"]["state"], [got.to for got in watched.box.got]) == ("sent", [[boss], [TO]])


def test_a_letter_for_somebody_whom_no_process_knows_any_more_is_given_up(build):
    """After its day, by whoever comes; until then `bridge_alerts_unsent` counts it."""
    watched = build(alerts_email_to=(TO, "boss@casino.example"))
    watched.box.manners.not_yet = (TO,)
    open_breaker(watched.made)
    watched.tick()
    write(watched.made, "DELETE FROM breaker")
    other = with_letters_to(watched, "boss@casino.example")
    for state in ("waiting", "given_up"):
        watched.hands.turn(DAY - HOUR if state == "waiting" else HOUR)
        watched.alive()
        looks(other)
        rows = watched.made.rows("SELECT state FROM alert_notice WHERE sink = 'email' ORDER BY created_at")
        assert rows[0]["state"] == state


def test_a_letter_counts_as_sent_once(build):
    """And not at each try to reach the one whom it is refused to; that is told once, too."""
    watched = build(alerts_email_to=(TO, "boss@casino.example"))
    watched.box.manners.not_yet = (TO,)
    open_breaker(watched.made)
    counts = [watched.tick()]
    for _ in range(5):
        watched.hands.turn(HOUR // 2)
        counts.append(watched.tick())
    assert [each["sent"] for each in counts] == [1, 0, 0, 0, 0, 0]  # the webhook's
    assert [each["unsent"] for each in counts] == [1] * 6
    watched.box.manners.not_yet = ()
    watched.hands.turn(HOUR)
    assert watched.tick()["sent"] == 1


def test_an_answer_that_nobody_can_read_is_no_refusal_for_good(build):
    """It goes again to whom it was about."""
    watched = build(alerts_email_to=(TO, "boss@casino.example"))
    watched.box.manners.mumbles = (TO,)
    open_breaker(watched.made)
    watched.tick()
    letter = notices(watched)["email"]
    assert (letter["state"], letter["failure"]) == ("waiting", f"the mail server refused it to {TO} (451)")
    watched.box.manners.mumbles = ()
    watched.pass_time(20)
    assert (notices(watched)["email"]["state"], len(watched.box.got)) == ("sent", 2)


def test_a_letter_that_nobody_takes_comes_again(watched):
    """To all, as before."""
    watched.box.manners.refuses = (TO,)
    open_breaker(watched.made)
    watched.tick()
    assert notices(watched)["email"]["state"] == "waiting"
    watched.box.manners.refuses = ()
    watched.pass_time(10)
    assert [got.to for got in watched.box.got] == [[TO]]


def test_private_addresses_are_refused(build):
    """C-69 The rules of deliveries: nothing leaves to an address that is neither public nor allowed."""
    watched = build(alerts_allowed_networks=())
    open_breaker(watched.made)
    watched.tick()
    assert watched.receiver.received == []
    assert notices(watched)["webhook"]["failure"] == "not_allowed"


def test_redirects_are_not_followed(watched):
    """C-69 A 3xx is a failure, whatever it points to."""
    watched.receiver.routes["/alerts"] = http(302, b"", "", "Location: /elsewhere")
    open_breaker(watched.made)
    watched.tick()
    assert [request.path for request in watched.receiver.received] == ["/alerts"]
    assert notices(watched)["webhook"]["failure"] == "it answered 302"


def test_a_receiver_that_hangs_is_left_at_the_deadline(migrated_url, build):
    """Nothing waits for longer than `alerts.answer_seconds`; on a real clock."""
    watched = build(alerts_answer_seconds=0.3)
    watched.receiver.routes["/alerts"] = silence
    from bridge.runtime import SystemClock  # the test's clock stands still

    runtime = replace(watched.made.runtime, clock=SystemClock())
    began = runtime.clock.monotonic()
    assert sending.test(runtime, Sink.WEBHOOK) == "deadline"
    assert runtime.clock.monotonic() - began < 2


def test_a_secret_that_cannot_be_read_is_told(build, tmp_path):
    """The file went: it is noted, without the secret, and comes again when the file is back."""
    file = tmp_path / "secret"
    file.write_text(SECRET)
    watched = build(alerts_webhook_secret=None, alerts_webhook_secret_file=file)
    file.unlink()
    open_breaker(watched.made)
    watched.tick()
    assert notices(watched)["webhook"]["failure"] == "webhook_secret cannot be read: FileNotFoundError"
    file.write_text(SECRET)
    watched.hands.turn(10)
    watched.tick()
    assert watched.heard() == [("alert.begun", "breaker_open")]


def test_nothing_of_players_and_no_secret_is_told(watched):
    """What leaves names transfers by their ids, and neither players nor secrets nor addresses."""
    transfer = watched.orphan()
    open_breaker(watched.made)
    watched.pass_time(70)
    texts = [request.body.decode() for request in watched.receiver.received]
    texts += [got.raw.decode() for got in watched.box.got]
    assert any(transfer in text for text in texts)
    for text in texts:
        assert "ann" not in text.replace("annot", "")
        assert SECRET not in text
        assert str(watched.receiver.port) not in text


def test_a_letter_arrives_as_it_was_written(watched):
    """From, to, subject, an id that is the notice's own, and the text."""
    open_breaker(watched.made)
    watched.tick()
    (got,) = watched.box.got
    assert (got.sender, got.to) == (SENDER, [TO])
    assert (got.letter["From"], got.letter["To"]) == (SENDER, TO)
    assert got.letter["Message-ID"] == f"<{notices(watched)['email']['id']}@bridge.invalid>"
    assert got.letter["Auto-Submitted"] == "auto-generated"
    assert "Desk: https://desk.example/ops/providers" in got.letter.get_content()


def test_an_operators_name_ends_no_header(watched):
    """Whatever a name holds, it is one line of one header, and the letter has no other recipient or body."""
    watched.orphan()
    evil = "evil\r\nBcc: x@y.example\r\n\r\nHello \x1b\u2028\u202ethere"
    write(watched.made, "UPDATE operator SET name = :n", n=evil)
    watched.pass_time(61, step=61)
    (got,) = watched.box.got
    assert got.letter["Bcc"] is None
    assert got.to == [TO]
    assert "Bcc: x@y.example" in got.letter["Subject"]
    assert b"\r\nBcc:" not in got.raw
    assert got.letter["Subject"].isprintable()


# --- the watchman -------------------------------------------------------------------------------------


def test_a_silent_scheduler_is_told_by_a_web_process(watched):
    """I-31 No job runs, so none can tell: a web process does, once, and sends it too; the jobs tell that it is over."""
    with watched.made.runtime.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE beat SET seen_at = {watched.hands.now()}, started_at = 2")
    watchmen = [Watchman(watched.made.another().runtime) for _ in range(2)]

    def pass_by(seconds: int) -> None:
        for _ in range(seconds // 10):
            watched.hands.turn(10)
            assert sum(each.look(Event()) for each in watchmen) == 1

    pass_by(50)
    assert watched.heard() == []
    pass_by(200)
    assert watched.heard() == [("alert.begun", "scheduler_silent")]
    assert len(watched.box.got) == 1
    with watched.made.runtime.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE beat SET seen_at = {watched.hands.now()}, started_at = {LIVES}")
    watched.pass_time(60)
    assert watched.heard()[1:] == [("alert.over", "scheduler_silent")]
    for each in watchmen:
        each._runtime.engine.dispose()


def test_one_web_process_watches_and_another_takes_over(watched):
    """A lease: of eight at once one has it; when that one is gone, another has it within a minute."""
    runtimes = [watched.made.another().runtime for _ in range(8)]
    held = together(8, lambda number: is_mine(runtimes[number], f"web-{number}"))
    assert sum(held) == 1, held
    first = held.index(True)
    watched.hands.turn(LEASE_SECONDS // 2 + 1)
    assert is_mine(runtimes[first], f"web-{first}")
    watched.hands.turn(LEASE_SECONDS - 1)
    assert [is_mine(runtimes[n], f"web-{n}") for n in range(8) if n != first] == [False] * 7
    watched.hands.turn(1)
    held = together(8, lambda number: number != first and is_mine(runtimes[number], f"web-{number}"))
    assert sum(held) == 1, held
    for runtime in runtimes:
        runtime.engine.dispose()


def test_a_watch_that_a_clock_ahead_has_taken_ends_when_it_is_put_right(watched):
    """The database's clock was ahead with it, and its process is gone."""
    gone, other = (watched.made.another().runtime for _ in range(2))
    watched.hands.turn(3600)
    assert is_mine(gone, "gone")
    watched.hands.turn(-3600)
    assert is_mine(other, "other")
    assert not is_mine(gone, "gone")
    for runtime in (gone, other):
        runtime.engine.dispose()


def test_alerts_that_fail_are_told_by_a_web_process(watched):
    """C-19 The job that tells people cannot tell that it fails, though its process lives: a web process does."""
    write(
        watched.made,
        "INSERT INTO job_line (job, why, every, error, error_at, failing_since, failing_by, pause_reason)"
        " VALUES ('alerts', 'x', 5, 'OSError at jobs/alerts.py:1', :n, :n, 'w', '')",
        n=watched.hands.now(),
    )  # fmt: skip
    man = Watchman(watched.made.runtime)
    for _ in range(60):
        watched.hands.turn(10)
        watched.alive()
        man.look(Event())
    assert watched.heard() == [("alert.begun", "job_failing")]
    assert watched.posted()[0]["data"]["sentence"].startswith("The job alerts has failed for 300 s: OSError")
    write(watched.made, "UPDATE job_line SET failing_since = NULL, failing_by = NULL")
    watched.hands.turn(30)
    watched.alive()
    man.look(Event())
    assert watched.heard()[1:] == [("alert.over", "job_failing")]


def test_alerts_that_hang_are_told_by_a_web_process(watched):
    """C-19 The same for one that does not end."""
    board.beat(watched.made.runtime, 5, {"alerts": watched.hands.now()})
    watched.hands.turn(600)
    write(watched.made, "UPDATE beat SET seen_at = :n", n=watched.hands.now())
    Watchman(watched.made.runtime).look(Event())
    assert watched.heard() == [("alert.begun", "job_hanging")]


def test_a_web_process_without_ways_keeps_none_from_watching(watched):
    """It holds its own lease; the one that can tell people watches beside it, and tells what that one saw first."""
    with watched.made.runtime.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE beat SET seen_at = {watched.hands.now()}, started_at = 2")
    bare = Watchman(without_ways(watched.made))
    watched.hands.turn(61)
    assert bare.look(Event())
    assert (watched.heard(), len(watched.made.rows("SELECT * FROM alert"))) == ([], 1)
    assert Watchman(watched.made.runtime).look(Event())
    assert watched.heard() == [("alert.begun", "scheduler_silent")]


def test_what_jobs_without_ways_have_seen_is_told_by_a_web_process(watched):
    """Ways that only the web processes have are ways to people all the same: orphans too are told, once, with what
    becomes of them."""
    bare, man = without_ways(watched.made), Watchman(watched.made.runtime)

    def pass_by(seconds: int) -> None:
        for _ in range(seconds // 10):
            watched.hands.turn(10)
            watched.alive()
            looks(bare)
            man.look(Event())

    first = watched.orphan("10.00")
    pass_by(120)
    assert watched.heard() == [("alert.begun", "orphans")]
    assert watched.posted()[0]["data"]["value"] == {"EUR": "10.00"}
    second = watched.orphan("4.00")
    pass_by(120)
    assert watched.heard()[1:] == [("alert.more", "orphans")]
    for transfer in (first, second):
        write(watched.made, "UPDATE transfer SET state = 'reversed' WHERE id = :id", id=transfer)
    pass_by(120)
    assert watched.heard()[2:] == [("alert.over", "orphans")]
    assert len(watched.box.got) == 3


def test_a_watchman_whose_clock_is_off_tells_nothing(watched):
    """I-34 A clock that was set would see silence where there is none."""
    with watched.made.runtime.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE beat SET seen_at = {watched.hands.now()}, started_at = 2")
    watched.hands.set_wall(3600)
    assert not Watchman(watched.made.runtime).look(Event())
    assert watched.heard() == []


def test_a_database_that_is_away_ends_no_watch(watched, monkeypatch):
    """Whatever is raised is logged, and the next look is made."""
    with monkeypatch.context() as broken:
        broken.setattr(episodes, "look", lambda *_: 1 // 0)
        assert not Watchman(watched.made.runtime).look(Event())
    assert Watchman(watched.made.runtime).look(Event())
    assert Kind.SILENT.value not in [kind for _, kind in watched.heard()]


@pytest.mark.parametrize("seconds", [59, 61])
def test_a_stop_leaves_time_for_a_start(watched, seconds):
    """A clean stop takes the beat away; for `alerts.silent_seconds` after the last run nobody is woken."""
    write(watched.made, "DELETE FROM beat")
    write(
        watched.made,
        "INSERT INTO job_line (job, why, every, ended_at, pause_reason) VALUES ('verify', 'x', 1, :n, '')",
        n=watched.hands.now() - seconds * SECOND,
    )  # fmt: skip
    Watchman(watched.made.runtime).look(Event())
    assert (watched.heard() == []) is (seconds < 60)
