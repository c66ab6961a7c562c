"""The door of providers: what opens it, what each refusal says, and that what it answered 200 is there for ever."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from sqlalchemy import text

from bridge import db, keys
from bridge.app import create_app
from bridge.runtime import SystemClock
from tests import callbacks
from tests.api.test_openapi import EXAMPLES, REJECTED, TOLD, Counted
from tests.callbacks import (
    FAR,
    KEY,
    NEAR,
    NETWORKS,
    RIVAL,
    RIVAL_KEY,
    UNKNOWN_REFERENCE,
    Letter,
    Office,
    balance,
    secret,
    signed,
    transfer,
)
from tests.harness import EUR, OPERATOR, PROVIDER, ROOT, Hands, together

ADDRESS = f"/v1/providers/{PROVIDER}/callbacks"


@dataclass
class Door:
    """The application over an office."""

    office: Office
    app: Any

    def post(self, sent: Letter, *, provider: str = PROVIDER, peer: str | None = NEAR, **headers: str) -> Any:
        """Deliver a message from an address; `headers` with underscores replace or add."""
        told = {**sent.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        wire = {} if peer is None else {"REMOTE_ADDR": peer}
        client = self.app.test_client()
        client.environ_base.pop("REMOTE_ADDR")
        path = f"/v1/providers/{provider}/callbacks"
        return client.post(path, data=sent.body, headers=told, environ_overrides=wire)


@pytest.fixture
def hands() -> Hands:
    """The clock of the office."""
    return Hands()


@pytest.fixture
def door(migrated_url: str, hands: Hands) -> Iterator[Door]:
    """A bridge that hears two providers, on a clock that stands still."""
    with callbacks.office(migrated_url, clock=hands) as made:
        yield Door(made, create_app(made.runtime))


def problem(answer: Any, status: int, code: str, *fields: str) -> None:
    """The answer is this problem, and it names these members."""
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json"), answer.text
    told = answer.json
    assert (told["status"], told["code"], told["type"]) == (status, code, f"/docs/problems#{code}")
    assert tuple(error["field"] for error in told.get("errors", [])) == fields


# --- accepted ---------------------------------------------------------------------------------------------


def test_a_message_is_answered_when_it_is_stored(door):
    """I-40: 200 and nothing but `received`; the row is there, and nothing has been done about it yet."""
    transfer_id, reference = door.office.planned()
    answer = door.post(door.office.letter("transfer.confirmed", transfer(reference)))
    assert (answer.status_code, answer.content_type, answer.text) == (200, "application/json", '{"received":true}')
    assert answer.headers["Cache-Control"] == "no-store"
    assert door.office.tasks() == [("waiting", "")]
    assert door.office.get(transfer_id).state == "pending"


def test_every_accepted_message_gets_the_same_answer(door):
    """I-42, C-68: known, unknown, ended, another operator's, repeated, of a kind that says nothing: byte by byte the
    same answer under the same headers."""
    office = door.office
    (_, pending), (_, ended) = office.planned(), office.planned()
    first = office.letter("transfer.confirmed", transfer(ended), id_="evt_0")
    answers = [door.post(first)]
    office.work()
    for number, reference in enumerate((pending, ended, UNKNOWN_REFERENCE, pending[::-1])):
        told = transfer(reference)
        answers.append(door.post(office.letter("transfer.confirmed", told, id_=f"evt_1{number}")))
        theirs = office.letter("transfer.confirmed", told, id_=f"evt_2{number}", key=RIVAL_KEY)
        answers.append(door.post(theirs, provider=RIVAL))
    answers += [door.post(first), door.post(office.letter("any.thing", {}, id_="evt_3"))]
    answers.append(door.post(office.letter("balance.reported", balance("7.00"), id_="evt_4")))
    assert len({(each.status, each.data, str(each.headers)) for each in answers}) == 1
    assert answers[0].status_code == 200


def test_fifty_deliveries_in_parallel_and_again_after_four_months(door, hands):
    """I-41, C-64: fifty requests at once with one message are all answered 200; there is one row and one piece of
    evidence, now and when it is told again for days and after four months."""
    office = door.office
    transfer_id, reference = office.planned()
    sent = office.letter("transfer.confirmed", transfer(reference))
    answers = together(50, lambda _: door.post(sent))
    assert {(each.status_code, each.text) for each in answers} == {(200, '{"received":true}')}
    office.work()
    before = office.contents()
    for days in (1, 3, 30, 120):
        hands.turn(days * 86_400)
        assert door.post(office.letter("transfer.confirmed", transfer(reference))).status_code == 200
        office.work()
    assert office.contents() == before
    assert (office.count("inbox"), len(office.evidence()), office.get(transfer_id).state) == (1, 1, "confirmed")


def test_what_was_done_already_is_accepted_again(door):
    """C-67: a provider that gave up waiting and sends for days is told 200 each time, though all was done long ago."""
    office = door.office
    _, reference = office.planned()
    for _ in range(5):
        assert door.post(office.letter("transfer.confirmed", transfer(reference))).status_code == 200
        office.work()
    assert len(office.evidence()) == 1


# --- refused ----------------------------------------------------------------------------------------------


def test_a_stranger_gets_one_answer(door):
    """I-42: from elsewhere, or to a provider that is not there, one and the same answer, whatever is sent."""
    office = door.office
    before = office.contents()
    right = office.letter("transfer.confirmed", transfer(UNKNOWN_REFERENCE))
    bare = Letter("", "", "", right.body)
    answers = [
        door.post(sent, **where)
        for sent in (right, bare)
        for where in ({"peer": FAR}, {"peer": None}, {"provider": "nobody"}, {"provider": "old"}, {"provider": "A%20b"})
    ]
    assert len({(each.status, each.data, str(each.headers)) for each in answers}) == 1
    problem(answers[0], 403, "address_not_allowed")
    assert office.contents() == before


@pytest.mark.parametrize("where", [{"peer": FAR}, {"provider": "nobody"}])
def test_a_strangers_body_is_not_read(door, where):
    """I-42: who may not call back is refused before the body is read, or waited for."""

    class Unread(io.RawIOBase):
        """A body that nobody may ask for."""

        def readable(self):
            return True

        def readinto(self, _buffer):
            raise AssertionError("the body was read")

    sent = door.office.letter("transfer.confirmed", transfer(UNKNOWN_REFERENCE))
    path = f"/v1/providers/{where.get('provider', PROVIDER)}/callbacks"
    body = {"wsgi.input": Unread(), "CONTENT_LENGTH": "9999", "REMOTE_ADDR": where.get("peer", NEAR)}
    answer = door.app.test_client().post(path, headers=sent.headers, environ_overrides=body)
    problem(answer, 403, "address_not_allowed")


def test_what_is_not_signed_gets_one_answer(door):
    """I-42, C-65: no header, a wrong one, another secret, another body: the same 401, with a challenge."""
    office = door.office
    _, known = office.planned()
    before = office.contents()
    answers = []
    for reference in (known, UNKNOWN_REFERENCE):
        right = office.letter("transfer.confirmed", transfer(reference))
        now = int(right.timestamp)
        answers += [
            door.post(Letter("", "", "", right.body)),
            door.post(right, webhook_signature="v1,"),
            door.post(right, webhook_id="evt_2"),
            door.post(right, webhook_timestamp=str(now + 1)),
            door.post(Letter(right.id, right.timestamp, right.signature, right.body + b" ")),
            door.post(signed(right.body, "evt_1", now, RIVAL_KEY)),
            door.post(signed(right.body, "evt_1", now - 301, KEY)),
        ]
    assert len({(each.status, each.data, str(each.headers)) for each in answers}) == 1
    problem(answers[0], 401, "bad_signature")
    assert answers[0].headers["WWW-Authenticate"] == 'Standard-Webhooks realm="bridge"'
    assert office.contents() == before


def test_a_process_that_was_left_running_by_a_migration_takes_nothing(door):
    """I-40 It would store by the rules of another version: the provider sends it again, and the new one takes it."""
    door.office.write("UPDATE alembic_version SET version_num = '9999'")
    sent = door.office.letter("transfer.confirmed", transfer(UNKNOWN_REFERENCE))
    answer = door.post(sent)
    problem(answer, 503, "schema_changed")
    assert answer.headers["Retry-After"] == "10"
    assert door.office.count("inbox") == 0


@pytest.mark.parametrize("unseen", [False, True])
@pytest.mark.parametrize("kind", ["transfer.confirmed", "balance.reported"])
def test_what_is_told_in_a_currency_that_is_counted_otherwise_comes_again(door, kind, unseen):
    """I-12 C-67 This process is configured with other decimals than the books have, which is not the sender's fault:
    refused for good, his only word of it would be lost. He is told to come again."""
    runtime = door.office.runtime
    _, reference = door.office.planned()
    if unseen:  # the watch has just looked, and does so again in five seconds
        assert door.post(door.office.letter("any.thing", {}, id_="evt_before")).status_code == 200
    with db.writing(runtime.engine) as connection:
        connection.execute(text("INSERT INTO denomination (currency, exponent) VALUES ('USDT', 6)"))
    told = balance("10.000000", currency="USDT")
    if kind != "balance.reported":
        told = transfer(reference, currency="USDT", amount="10.000000", balance="10.000000")
    refused = door.post(door.office.letter(kind, told))
    assert (refused.status_code, refused.json["code"]) == (503, "currency_redenominated")
    assert int(refused.headers["Retry-After"]) > 0
    assert door.office.count("inbox") == int(unseen)


def test_a_key_of_an_operator_opens_nothing_here(door):
    """I-42: a bearer key, even one that may do everything, is no signature."""
    bearer = keys.create(door.office.runtime, OPERATOR, ["admin"], "k")[1]
    unsigned = Letter("evt_1", "", "", b'{"type": "x", "data": {}}')
    problem(door.post(unsigned, Authorization=f"Bearer {bearer}"), 401, "bad_signature")
    assert door.office.count("inbox") == 0


def test_another_body_under_the_same_id(door):
    """C-64: 409, and it is seen by whoever looks."""
    office = door.office
    assert door.post(office.letter("a", {})).status_code == 200
    problem(door.post(office.letter("b", {})), 409, "message_id_reused")
    assert office.count("security_event") == 1


def test_what_is_malformed_is_named(door):
    """C-63, C-65: 422 names the member; what is not JSON names the body."""
    office = door.office
    now = office.runtime.clock.now() // 1_000_000
    wrong = office.letter("transfer.confirmed", transfer(UNKNOWN_REFERENCE, "pending"))
    problem(door.post(wrong), 422, "invalid", "data.status")
    problem(door.post(office.letter("balance.reported", balance("1"))), 422, "invalid", "data.amount")
    problem(door.post(signed(b'{"data": {}}', "evt_1", now, KEY)), 422, "invalid", "type")
    problem(door.post(signed(b"", "evt_1", now, KEY)), 422, "invalid", "body")
    assert office.count("inbox") == 0


@pytest.mark.parametrize("size", [65_536, 65_537, 300_000])
@pytest.mark.parametrize("chunked", [False, True], ids=["length told", "chunked"])
def test_a_body_has_a_limit(door, size, chunked):
    """C-06: 65,536 bytes are taken; one more is refused, also where no length is told, and nothing is stored."""
    office = door.office
    body = b'{"type": "x", "data": {}}'.ljust(size)
    sent = signed(body, "evt_1", office.runtime.clock.now() // 1_000_000, KEY)
    if not chunked:
        answer = door.post(sent)
    else:
        wire = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked", "REMOTE_ADDR": NEAR}
        stream = io.BytesIO(body)
        answer = door.app.test_client().post(ADDRESS, input_stream=stream, headers=sent.headers, environ_overrides=wire)
    if size == 65_536:
        assert answer.status_code == 200
    else:
        problem(answer, 413, "body_too_large")
    assert office.count("inbox") == (size == 65_536)


@pytest.mark.parametrize(
    ("kind", "taken"),
    [
        ("application/json", True),
        ("application/json; charset=utf-8", True),
        ("Application/JSON;charset=UTF-8", True),
        ("application/json; charset=utf-16", False),
        ("text/json", False),
        ("application/x-www-form-urlencoded", False),
        ("", False),
    ],
)
def test_a_body_is_called_json(door, kind, taken):
    """C-65: another content type is refused before anything is read."""
    answer = door.post(door.office.letter("x", {}), Content_Type=kind)
    assert answer.status_code == (200 if taken else 415)
    assert door.office.count("inbox") == taken


def test_a_compressed_body_is_refused(door):
    """C-06: what is signed is what is read; nothing is unpacked first."""
    problem(door.post(door.office.letter("x", {}), Content_Encoding="gzip"), 415, "unsupported_media_type")


# --- who is calling ---------------------------------------------------------------------------------------

PEERS = [
    # hops, socket, X-Forwarded-For, heard
    (0, NEAR, None, True),
    (0, NEAR, FAR, True),
    (0, FAR, NEAR, False),
    (0, FAR, f"{NEAR}, {NEAR}", False),
    (1, FAR, NEAR, True),
    (1, "127.0.0.1", f"{FAR}, {NEAR}", True),
    (1, FAR, f"{NEAR}, {FAR}", False),
    (1, NEAR, FAR, False),
    (1, NEAR, None, False),
    (1, NEAR, "", False),
    (1, FAR, f"{NEAR},", False),
    (1, FAR, f"  {NEAR}  ", True),
    (1, FAR, f"{NEAR}:443", False),
    (1, FAR, "unknown", False),
    (1, FAR, "2001:db8::7", True),
    (1, FAR, f"for={NEAR}", False),
    (2, FAR, f"{NEAR}, {FAR}", True),
    (2, FAR, f"{FAR},{NEAR},{FAR}", True),
    (2, FAR, f"{NEAR},{FAR},{FAR}", False),
    (2, NEAR, NEAR, False),
    (2, NEAR, f"{FAR}, {NEAR}", False),
    (5, FAR, f"{NEAR}, {FAR}, {FAR}, {FAR}, {FAR}", True),
    (5, FAR, f"{NEAR}, {NEAR}, {NEAR}, {NEAR}", False),
]


@pytest.mark.parametrize(("hops", "peer", "forwarded", "heard"), PEERS)
def test_the_caller_is_counted_from_the_right(migrated_url, hands, hops, peer, forwarded, heard):
    """I-42: without proxies the header is ignored; with n of them the caller is the n-th entry from the right, and a
    list that is shorter than that is refused, whatever the socket says."""
    with callbacks.office(migrated_url, clock=hands, hops=hops) as made:
        door = Door(made, create_app(made.runtime))
        told = {} if forwarded is None else {"X_Forwarded_For": forwarded}
        answer = door.post(made.letter("x", {}), peer=peer, **told)
        assert answer.status_code == (200 if heard else 403)
        assert made.count("inbox") == heard


# --- as it is documented ----------------------------------------------------------------------------------


class Signing(Counted):
    """Calls from an allowed address and signs what was sent, if it is asked to."""

    def __init__(self, app: Any, *, signs: bool) -> None:
        super().__init__(app)
        self._signs, self._sent = signs, 0

    def __call__(self, environ: Any, start_response: Any) -> Any:
        environ["REMOTE_ADDR"] = NEAR
        if self._signs and environ["REQUEST_METHOD"] == "POST":
            body = environ["wsgi.input"].read()
            self._sent += 1
            sent = signed(body, f"evt_{self._sent}", int(time.time()), KEY)
            environ["wsgi.input"] = io.BytesIO(body)
            environ["PATH_INFO"] = ADDRESS
            names = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in sent.headers.items()}
            environ.update({name: value for name, value in names.items() if "CONTENT" not in name})
        return super().__call__(environ, start_response)


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("signs", [True, False], ids=["signed", "not signed"])
def test_every_answer_is_as_documented(migrated_url, mode, signs):
    """Design §8: whatever is sent, allowed or forbidden, signed or not, is answered as the document says, never 5xx."""
    with callbacks.office(migrated_url, clock=SystemClock()) as made:
        app = create_app(made.runtime)
        counted = Signing(app.wsgi_app, signs=signs)
        app.wsgi_app = counted
        operation = schemathesis.openapi.from_wsgi("/openapi.json", app)["/v1/providers/{provider}/callbacks"]["POST"]
        counted.statuses.clear()
        # A signature that the door makes up makes headers and names right that were meant to be wrong.
        told = REJECTED if mode is GenerationMode.NEGATIVE and not signs else TOLD

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def sends(case: Any) -> None:
            case.validate_response(case.call(), checks=told)

        sends()
        assert len(counted.statuses) >= EXAMPLES
        assert not [status for status in counted.statuses if status >= 500]
        if not signs:
            assert 200 not in counted.statuses
            assert made.count("inbox") == 0
        elif mode is GenerationMode.POSITIVE:
            assert 200 in counted.statuses
        assert operation.definition.raw["security"] == [{"signature": []}]


# --- a real server ----------------------------------------------------------------------------------------

SETTINGS = """
[database]
url = "{url}"
[web]
proxy_hops = {hops}
[providers.{name}]
operator = "{operator}"
protocol = "generic"
base_url = "http://127.0.0.1:9"
currencies = ["{currency}"]
request_secret = "{requests}"
callback_secrets = ["{callbacks}"]
callback_networks = {networks}
"""


class Server:
    """Granian behind `wsgi:app`, in a session of its own, so that all of it can be killed at once."""

    def __init__(self, folder: Path, url: str, hops: int) -> None:
        file = folder / "bridge.toml"
        names = {"name": PROVIDER, "operator": OPERATOR, "currency": EUR, "networks": json.dumps(NETWORKS)}
        secrets = {"requests": secret(callbacks.REQUESTS), "callbacks": secret(KEY)}
        file.write_text(SETTINGS.format(url=url, hops=hops, **names, **secrets))
        with socket.socket() as chosen:
            chosen.bind(("127.0.0.1", 0))
            self.port = chosen.getsockname()[1]
        options = ["--interface", "wsgi", "--host", "127.0.0.1", "--port", str(self.port), "--blocking-threads", "4"]
        self.log = folder / "server.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "granian", *options, "--no-ws", "wsgi:app"],
                cwd=ROOT,
                env={**os.environ, "BRIDGE_CONFIG": str(file)},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + 40
        while not self._listens():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.1)

    def _listens(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as wire:
                wire.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                return wire.makefile("rb").readline().split()[1:2] == [b"200"]
        except OSError:
            return False

    def send(self, sent: Letter, *lines: str) -> socket.socket:
        """A request on its way, with these header lines; the socket on which its answer comes."""
        headers = [*(f"{name}: {value}" for name, value in sent.headers.items()), *lines]
        head = [f"POST {ADDRESS} HTTP/1.1", "Host: x", f"Content-Length: {len(sent.body)}", "Connection: close"]
        wire = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        wire.sendall("\r\n".join([*head, *headers, "", ""]).encode() + sent.body)
        return wire

    def status(self, sent: Letter, *lines: str) -> int:
        with self.send(sent, *lines) as wire:
            return int(wire.makefile("rb").readline().split()[1])

    def kill(self) -> None:
        """SIGKILL to the server and all its workers."""
        if self.process.returncode is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(20)


def test_what_was_answered_200_survives_a_kill(migrated_url, tmp_path):
    """I-40: the whole server is killed with SIGKILL at the first bytes of its answer: the message is there, and a job
    that comes later acts on it."""
    with callbacks.office(migrated_url, clock=SystemClock()) as made:
        transfer_id, reference = made.planned()
        server = Server(tmp_path, migrated_url, hops=0)
        try:
            with server.send(made.letter("transfer.confirmed", transfer(reference))) as wire:
                first = wire.recv(12)
                server.kill()
        finally:
            server.kill()
        assert first == b"HTTP/1.1 200"
        assert made.tasks() == [("waiting", "")]
        assert made.work()["acted"] == 1
        assert made.get(transfer_id).state == "confirmed"
        made.audit()


def test_a_header_that_stands_twice_hides_nobody(migrated_url, tmp_path):
    """I-42: where our proxy adds a line of its own behind one that the caller has made up, ours counts."""
    with callbacks.office(migrated_url, clock=SystemClock()) as made:
        server = Server(tmp_path, migrated_url, hops=1)
        try:
            sent = made.letter("x", {})
            assert server.status(sent, f"X-Forwarded-For: {NEAR}", f"X-Forwarded-For: {FAR}") == 403
            assert server.status(sent) == 403
            assert server.status(sent, f"X-Forwarded-For: {FAR}", f"X-Forwarded-For: {NEAR}") == 200
        finally:
            server.kill()
        assert [row["peer"] for row in made.rows("SELECT peer FROM inbox")] == [NEAR]
