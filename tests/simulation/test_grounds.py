"""On what an end may rest, word by word: what stories show too seldom to be sure that the oracle would hear it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bridge import db, models
from bridge.sections import DatabaseSection
from bridge.simulator.messages import Delivery, Request
from tests.simulation import ending
from tests.simulation.grounds import Grounds
from tests.simulation.settings import CALLBACK_SECRETS, GENERIC
from tests.simulation.spoken import Asked, Spoken, first_line
from tests.simulation.wire import Network, Wire
from tests.simulation.world import SECOND

LEG = {
    "holder": GENERIC, "ordinal": 2, "undoes": None, "reference": "ref", "provider_reference": "W-1", "side": "credit",
    "amount": 1000,
}  # fmt: skip
ROW = {"id": "tr_1", "provider": GENERIC, "player_id": "ann", "currency": "EUR", "arrived": None, "legs": [LEG]}
SETTINGS = SimpleNamespace(
    partial=False,
    absent_after_seconds=60,
    absent_times=2,
    absent_apart_seconds=30,
    final_after_seconds=10,
    final_times=2,
)
HELD_UP = 5
ANSWERS = {
    "confirmed": "applied", "refused": "not_applied", "cancelled": "cancelled", "pending": "in_progress",
    "not_found": "not_found",
}  # fmt: skip
_EVIDENCE = """INSERT INTO evidence (transfer_id, ordinal, source, attempt, answer, code, detail, digest, at, worker,
    lease_epoch, attempt_sensitive, reference, provider_reference, sequence, amount, player)
    VALUES ('tr_1', 2, ?, 0, ?, '', '', ?, 0, 'web', 1, 0, ?, ?, ?, 1000, 'ann')"""
_ATTEMPT = "INSERT INTO attempt VALUES ('tr_1', 2, ?, 'transfer', ?, ?, 'web', 1)"
_LEG = """INSERT INTO leg (transfer_id, ordinal, holder, side, state, reference, amount)
    VALUES ('tr_1', 2, ?, 'credit', 'sent', 'ref', 1000)"""

NOT_FOUND = {"id": "ref", "status": "not_found"}


def told(status: str, provider_id: str = "W-1", sequence: int = 1) -> dict[str, Any]:
    """The transfer as its provider tells it."""
    what = {"id": "ref", "player": "ann", "direction": "in", "amount": "10.00", "currency": "EUR"}
    return {**what, "status": status, "provider_id": provider_id, "sequence": sequence}


class Talk:
    """What one provider and the bridge say to each other about one transfer, and what the bridge notes of it."""

    def __init__(self, database: Path) -> None:
        self._connection = sqlite3.connect(database)
        self._connection.execute(_LEG, (GENERIC,))
        self._spoken, self._sent, self._failed = Spoken(), 0, list[tuple[str, str]]()

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def asked(self, kind: str, at: float, *, sure: bool = True) -> Asked:
        """A request of ours has left."""
        now = int(at * SECOND)
        if kind != "look_up":
            self._sent += 1
            self._connection.execute(_ATTEMPT, (self._sent, now, now + 15 * SECOND))
        body = json.dumps({"type": f"transfer.{kind}", "data": {"id": "ref"}}).encode()
        asked = self._spoken.left(GENERIC, Request("POST", "/", {}, {}, body), now, sure=sure)
        assert asked is not None
        return asked

    def answer(self, asked: Asked, content: dict[str, Any], *, is_noted: bool = True) -> None:
        """It is read to its last byte, and noted, or its reader dies."""
        delivery = Delivery(200, json.dumps(content).encode(), {"Content-Type": "application/json"})
        self._spoken.answered(GENERIC, asked, delivery)
        digest = hashlib.sha256(first_line(delivery).encode() + b"\n" + delivery.body).hexdigest()
        if is_noted:
            self._note("lookup" if asked.operation == "look_up" else "call", content, digest)

    def look_up(self, at: float, content: dict[str, Any], *, sure: bool = True) -> None:
        """A question and its answer."""
        self.answer(self.asked("look_up", at, sure=sure), content)

    def call_back(self, content: dict[str, Any], *, is_noted: bool = True) -> None:
        """A callback under the right signature reaches a process, and is acted on, or not yet."""
        body = json.dumps({"type": f"transfer.{content['status']}", "data": content}).encode()
        key = base64.b64decode(CALLBACK_SECRETS[0].removeprefix("whsec_"))
        signed = base64.b64encode(hmac.new(key, b"m.1." + body, hashlib.sha256).digest()).decode()
        headers = {"webhook-id": "m", "webhook-timestamp": "1", "webhook-signature": f"v1,{signed}"}
        self._spoken.called_back(GENERIC, headers, body)
        if is_noted:
            self._note("callback", content, hashlib.sha256(body).hexdigest())

    def _note(self, source: str, content: dict[str, Any], digest: str) -> None:
        whose = content["id"], content.get("provider_id"), content.get("sequence")
        self._connection.execute(_EVIDENCE, (source, ANSWERS[content["status"]], digest, *whose))

    def ask(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """What is noted."""
        return self._connection.execute(query, values).fetchall()

    def found(self, state: str) -> list[str]:
        """Which invariants are broken by this end."""
        failed: list[str] = []
        judge = Grounds(self._spoken, lambda name, _facts: failed.append(name), self.ask, {GENERIC: SETTINGS}, HELD_UP)
        judge.check(ROW, state)
        return failed


@pytest.fixture
def talk(tmp_path: Path) -> Iterator[Talk]:
    """Nothing has been said yet."""
    engine = db.connect(DatabaseSection(url=f"sqlite:///{tmp_path}/bridge.db"))
    models.metadata.create_all(engine)
    engine.dispose()
    talk = Talk(tmp_path / "bridge.db")
    yield talk
    talk.close()


@pytest.mark.parametrize(
    ("provider_id", "sequence", "sound"),
    [("W-1", 6, "reversed"), ("W-2", 6, ""), ("W-1", 5, ""), ("W-1", 2, "")],
    ids=["counted later", "another execution", "counted alike", "counted before"],
)
def test_only_a_later_cancel_of_the_same_execution_undoes_it(
    talk: Talk, provider_id: str, sequence: int, sound: str
) -> None:
    """And whatever it is, what was cancelled is not simply done any more."""
    talk.answer(talk.asked("create", 0), told("confirmed", "W-1", 5))
    talk.call_back(told("cancelled", provider_id, sequence))
    assert talk.found("reversed") == ([] if sound == "reversed" else ["I-13"])
    assert talk.found("confirmed") == ["I-12"]


def test_what_is_done_twice_is_not_done(talk: Talk) -> None:
    """One id under two ids of the provider's own are two executions."""
    talk.answer(talk.asked("create", 0), told("confirmed"))
    assert talk.found("confirmed") == []
    talk.look_up(5, told("confirmed", "W-2"))
    assert talk.found("confirmed") == ["I-12"]


@pytest.mark.parametrize(
    ("seconds", "named"),
    [((1, 2), ["I-13"]), ((9.9, 30), ["I-13"]), ((10,), ["I-13"]), ((10, 11), [])],
    ids=["at once", "one too early", "only once", "late and again"],
)
@pytest.mark.parametrize("status", ["cancelled", "refused"])
def test_a_look_up_that_says_it_is_off_has_to_be_late_and_to_say_it_again(
    talk: Talk, status: str, seconds: tuple[float, ...], named: list[str]
) -> None:
    """Some providers say so first, and execute afterwards."""
    talk.asked("create", 0)
    for at in seconds:
        talk.look_up(at, told(status))
    assert talk.found("reversed") == named


def test_by_clocks_that_are_off_nobody_counts_seconds(talk: Talk) -> None:
    """How often it was said is counted all the same."""
    talk.asked("create", 0, sure=False)
    talk.look_up(1, told("refused"))
    assert talk.found("reversed") == ["I-13"]
    talk.look_up(2, told("refused"))
    assert talk.found("reversed") == []


@pytest.mark.parametrize(
    ("seconds", "named"),
    [
        ((61, 61.000001), ["I-13"]),
        ((61, 81.9), ["I-13"]),
        ((59, 100), ["I-13"]),
        ((61, 82, 91), []),
        ((61, 91), []),
    ],
    ids=["at once", "too near", "one too early", "again", "apart"],
)
def test_absence_is_said_late_and_apart(talk: Talk, seconds: tuple[float, ...], named: list[str]) -> None:
    """30 s, less what a question may have been held up on its way: 5 s by its gate, and 4 s behind that."""
    talk.asked("create", 0)
    for at in seconds:
        talk.look_up(at, NOT_FOUND)
    assert talk.found("reversed") == named


@pytest.mark.parametrize("status", ["pending", "confirmed"])
def test_what_a_provider_has_known_is_not_absent(talk: Talk, status: str) -> None:
    """It said that it is at it, or has done it; not found, however often, is no end any more."""
    talk.answer(talk.asked("create", 0), told(status))
    for at in (100, 200, 300):
        talk.look_up(at, NOT_FOUND)
    assert talk.found("reversed") == ["I-13"]


def test_an_end_is_judged_by_what_was_known_when_it_came(talk: Talk) -> None:
    """What died with its reader, and a callback that has not been looked at, are neither against an end nor for it."""
    talk.answer(talk.asked("create", 0), told("pending"), is_noted=False)
    talk.call_back(told("confirmed"), is_noted=False)
    assert (talk.found("reversed"), talk.found("confirmed")) == (["I-13"], ["I-12"])
    for at in (100, 200):
        talk.look_up(at, NOT_FOUND)
    assert talk.found("reversed") == []


def test_a_refusal_that_nobody_read_is_no_ground(talk: Talk) -> None:
    """It counts when its last byte is read: what is only written on the wire, nobody has been told."""
    network = Network(
        SimpleNamespace(now=0),  # all of a world that an answer asks for
        lambda *_sent: None,
        lambda *_left: None,
        lambda _provider, asked, _delivery: talk.answer(asked, told("refused")),
    )
    peer: Any = SimpleNamespace(node=SimpleNamespace(name=GENERIC), starts=1)
    wire = Wire(network, peer)
    wire.asked = talk.asked("create", 0)
    network._write(wire, Delivery(200, json.dumps(told("refused")).encode(), {"Content-Type": "application/json"}))
    size = sum(len(piece) for piece in wire._come if isinstance(piece, bytes))
    assert wire.readinto(bytearray(size - 1)) == size - 1
    assert talk.found("reversed") == ["I-13"]
    assert wire.readinto(bytearray(10)) == 1
    assert talk.found("reversed") == []


@pytest.mark.parametrize(
    ("words", "last"),
    [
        ([("confirmed", "W-1", 1), ("cancelled", "W-1", 2)], {"cancelled"}),
        ([("cancelled", "W-1", 2), ("confirmed", "W-1", 1)], {"cancelled"}),
        ([("confirmed", "W-1", 1), ("cancelled", "W-2", 2)], {"applied", "cancelled"}),
    ],
    ids=["in order", "the other way round", "of two executions"],
)
def test_each_execution_has_a_last_word(talk: Talk, words: list[tuple[str, str, int]], last: set[str]) -> None:
    """By the provider's own count, which each id of its own has for itself."""
    for word in words:
        talk.call_back(told(*word))
    oracle: Any = talk
    assert ending._last_words(oracle, ROW, 0) == last


@pytest.mark.parametrize(
    ("word", "news"),
    [
        (("confirmed", "W-1", 3), set()),
        (("cancelled", "W-1", 2), set()),
        (("cancelled", "W-1", 4), {"cancelled"}),
        (("confirmed", "W-2", 1), {"applied"}),
    ],
    ids=["known", "older", "later", "of another execution"],
)
def test_what_was_known_when_people_decided_is_no_last_word(
    talk: Talk, word: tuple[str, str, int], news: set[str]
) -> None:
    """Nor what the provider counts before it, of the same execution."""
    talk.call_back(told("confirmed", "W-1", 3))
    ((decided,),) = talk.ask("SELECT MAX(id) FROM evidence")
    talk.call_back(told(*word))
    oracle: Any = talk
    assert ending._last_words(oracle, ROW, decided) == news


@pytest.mark.parametrize(("sealed", "named"), [([1, 2], []), ([2, 3], ["I12"])], ids=["all", "newer ones in its place"])
def test_a_newer_row_that_is_sealed_makes_up_for_no_older_one(talk: Talk, sealed: list[int], named: list[str]) -> None:
    """Of three rows the first two are old enough; as many are sealed."""
    for _ in range(3):
        talk.call_back(told("confirmed"))
    talk.ask("UPDATE evidence SET at = ? WHERE id = 3", 10_000 * SECOND)
    talk.ask(
        "INSERT INTO seal VALUES (1, 1, 1, 'evidence', 0, 0, '', '', 2, ?, '', '', '', 0, 1)",
        json.dumps([[number, "0a"] for number in sealed]),
    )
    failed: list[str] = []
    world = SimpleNamespace(now=10_000 * SECOND)
    oracle: Any = SimpleNamespace(ask=talk.ask, world=world, fail=lambda name, _facts: failed.append(name))
    ending._check_seals(oracle)
    assert failed == named
