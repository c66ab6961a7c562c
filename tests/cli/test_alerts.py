"""`bridge alerts`: what is wrong and who was told, and whether people can be told at all."""

from __future__ import annotations

import json

import pytest

from bridge import db
from tests.alerts.conftest import SECRET, SENDER, TO, verified
from tests.harness import bench
from tests.letterbox import Letterbox
from tests.providers import ScriptedServer, http

NOWHERE = "http://127.0.0.1:9"


def configured(url: str, **alerts: object) -> str:
    """A bridge.toml whose people are told like this."""
    told = "\n".join(f"{name} = {json.dumps(value)}" for name, value in alerts.items())
    return f"[database]\nurl = {json.dumps(url)}\n[alerts]\n{told}\n"


@pytest.fixture
def ways():
    """(a receiver, a letterbox, settings that lead to both)."""
    with ScriptedServer() as receiver, Letterbox() as box:
        receiver.routes["/alerts"] = http(204)
        yield receiver, box, {
            "webhook_url": receiver.url + "/alerts", "webhook_secret": SECRET, "allowed_networks": ["127.0.0.0/8"],
            "email_to": [TO], "email_from": SENDER, "smtp_host": "127.0.0.1", "smtp_port": box.port,
            "smtp_security": "none", "answer_seconds": 3,
        }  # fmt: skip


def test_a_test_reaches_every_way(folder, migrated_url, ways):
    """One message each, and it says so; nothing is kept of it."""
    receiver, box, settings = ways
    folder.configure(configured(migrated_url, **settings))
    assert folder.did("alerts", "test").splitlines() == ["webhook: taken", "email: taken"]
    (request,) = receiver.received
    assert verified(request)["data"]["kind"] == "test"
    assert box.got[0].letter["Subject"] == "[bridge] This is a test: nothing is wrong."
    assert "nobody" not in folder.did("alerts", "list")


def test_a_test_that_fails_says_why(folder, migrated_url, ways):
    """Exit code 1, and both ways are tried all the same."""
    receiver, box, settings = ways
    receiver.routes["/alerts"] = http(401)
    folder.configure(configured(migrated_url, **settings))
    ended = folder.run("alerts", "test")
    assert (ended.returncode, ended.stdout) == (1, "email: taken\n")
    assert "webhook: not taken: it answered 401" in ended.stderr
    assert len(box.got) == 1
    receiver.routes["/alerts"] = http(204)
    folder.configure(configured(migrated_url, **{**settings, "smtp_port": 9}))
    ended = folder.run("alerts", "test")
    assert (ended.returncode, ended.stdout) == (1, "webhook: taken\n")
    assert "email: not taken: connect" in ended.stderr


def test_without_a_way_the_test_fails(folder, migrated_url):
    """Somebody who tests wants to be told."""
    folder.configure(configured(migrated_url))
    ended = folder.run("alerts", "test")
    assert ended.returncode == 1
    assert "No way is configured" in ended.stderr


def test_the_list_says_who_was_told(folder, migrated_url):
    """What lasts first; each message with what became of it."""
    with bench(migrated_url) as made, db.writing(made.runtime.engine) as connection:
        for number, ended in ((1, "NULL"), (2, "3")):
            connection.exec_driver_sql(
                "INSERT INTO alert (id, kind, about, sentence, over, began_at, seen_at, told_at, ended_at)"
                f" VALUES ('al_{number}', 'breaker_open', 'p{number}', 'The breaker.', 'x', 2, 2, 2, {ended})"
            )
        connection.exec_driver_sql(
            "INSERT INTO alert_notice (id, alert_id, phase, sink, subject, body, state, tries, epoch, wake_at, failure,"
            " created_at) VALUES ('an_1', 'al_1', 'begun', 'email', 's', 'b', 'waiting', 3, 3, 9, 'connect', 2)"
        )
    folder.configure(configured(migrated_url))
    lines = folder.did("alerts", "list").splitlines()
    assert [line.split()[0] for line in lines] == ["alert", "al_1", "al_2"]
    assert lines[1].endswith("begun by email: waiting (connect)")
    assert lines[2].endswith("nobody: no way is configured")
    assert folder.did("alerts") == folder.did("alerts", "list")


def test_settings_that_would_tell_nobody_are_refused(folder, migrated_url):
    """One sentence, with the key."""
    folder.configure(configured(migrated_url, email_to=[TO]))
    assert "email_to, email_from and smtp_host belong together" in folder.refused("alerts", "list")


def test_the_doctor_says_what_cannot_be_read(folder, migrated_url, tmp_path):
    """Before somebody has to be told: the file that is not there, by its key."""
    folder.configure(
        configured(migrated_url, webhook_url="https://x.example/", webhook_secret_file=str(tmp_path / "none"))
    )  # fmt: skip
    ended = folder.run("doctor")
    assert ended.returncode == 1
    assert "webhook_secret_file cannot be used" in ended.stdout
