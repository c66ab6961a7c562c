"""The simulator that follows docs/provider-contract.md, as its users meet it: a child process, real sockets.

What it is sent is signed here, and what it sends is verified here, by code written for these tests alone.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import signal
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.simulator.conftest import Simulator

REQUESTS = "whsec_cmVxdWVzdHM6IGJyaWRnZSB0byBwcm92aWRlciAwMDE="
CALLBACKS = "whsec_Y2FsbGJhY2tzOiBwcm92aWRlciB0byBicmlkZ2UgMDE="
NEXT = "whsec_Y2FsbGJhY2tzOiB0aGUgb25lIHRoYXQgZm9sbG93cyE="
LOST = (ConnectionError, http.client.HTTPException, TimeoutError)
TYPES = {
    "create": "transfer.create",
    "lookup": "transfer.look_up",
    "cancel": "transfer.cancel",
    "balance": "player.balance",
    "kick": "player.kick",
    "balances": "balances.list",
    "feed": "transfers.feed",
}


def signature(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    """The contract's §1, Signature, once more."""
    key = base64.b64decode(secret[len("whsec_") :])
    content = message_id.encode() + b"." + timestamp.encode() + b"." + body
    return "v1," + base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()


class Generic(Simulator):
    """One running simulator and one client of it."""

    messages = 0

    def log_in(self) -> None:
        """There is nothing to log in to: each message is signed. The address has a path."""
        self.address, _, path = self.address.partition("/")
        self.path = f"/{path}"

    def post(
        self, body: bytes, *, secret: str = REQUESTS, timeout: float = 10, method: str = "POST", **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
        """One signed message on its own connection; `headers` replace the right ones."""
        Generic.messages += 1
        message_id, now = f"msg_{Generic.messages}", str(int(time.time()))
        told = {"webhook_id": message_id, "webhook_timestamp": now, "content_type": "application/json"} | headers
        told.setdefault("webhook_signature", signature(secret, told["webhook_id"], told["webhook_timestamp"], body))
        connection = http.client.HTTPConnection(self.address, timeout=timeout)
        try:
            names = {name.replace("_", "-"): value for name, value in told.items()}
            connection.request(method, self.path, body, names)
            answer = connection.getresponse()
            return answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}
        finally:
            connection.close()

    def ask(self, operation: str, *, timeout: float = 10, **data: Any) -> tuple[int, Any]:
        """One request of the contract: HTTP status and JSON."""
        body = json.dumps({"type": TYPES[operation], "data": data}).encode()
        status, content, _ = self.post(body, timeout=timeout)
        return status, json.loads(content) if content else None

    def create(
        self, reference: str, direction: str = "in", amount: str = "25.00", *, timeout: float = 10, **names: str
    ) -> Any:
        """The answer to a create that must be 200."""
        status, answer = self.ask("create", timeout=timeout, **terms(reference, direction, amount, **names))
        assert status == 200, answer
        return answer

    def loses(self, reference: str, direction: str = "in", amount: str = "25.00", **names: str) -> None:
        """A create whose answer does not arrive."""
        with pytest.raises(LOST):
            self.create(reference, direction, amount, **names)

    def cancel(self, reference: str, direction: str = "in", amount: str = "25.00", **names: str) -> Any:
        """The answer to a cancel that must be 200."""
        status, answer = self.ask("cancel", **terms(reference, direction, amount, **names))
        assert status == 200, answer
        return answer

    def status(self, reference: str) -> str:
        """What a look-up says."""
        status, answer = self.ask("lookup", id=reference)
        assert status == 200, answer
        assert answer["id"] == reference
        return str(answer["status"])

    def balance(self, player: str = "ann", currency: str = "EUR") -> str:
        """The balance that the protocol tells."""
        status, answer = self.ask("balance", player=player, currency=currency)
        assert status == 200, answer
        return str(answer["amount"])

    def feed(self, after: int = 0, limit: int = 500) -> list[tuple[int, str, str, int]]:
        """(position, id, status, sequence) of one page."""
        status, answer = self.ask("feed", after=after, limit=limit)
        assert status == 200, answer
        rows = [(entry["position"], entry["transfer"]) for entry in answer["entries"]]
        return [(position, row["id"], row["status"], row["sequence"]) for position, row in rows]

    def play(self, amount: str, player: str = "ann") -> None:
        """A win or a loss at the provider."""
        assert self.control("POST", "/play", {"player": player, "currency": "EUR", "amount": amount})[0] == 200

    def act(self, act: str, reference: str, **more: str) -> Any:
        """Something that the provider does unasked."""
        status, answer = self.control("POST", "/act", {"act": act, "id": reference, **more})
        assert status == 200, answer
        return answer["transfer"]

    def craft(self, **wanted: Any) -> list[Any]:
        """The statuses that a crafted callback was answered with."""
        status, answer = self.control("POST", "/callback", wanted)
        assert status == 200, answer
        return list(answer["statuses"])

    def moved(self, reference: str) -> str:
        """What a reference has moved into the player's account, by the ledger file alone."""
        total = Decimal("0.00")
        for line in self.lines():
            if line.get("reference") == reference and line["kind"] in ("completed", "taken_back"):
                sign = 1 if (line["type"] == "CREDIT") == (line["kind"] == "completed") else -1
                total += sign * Decimal(line["amount"])
        return format(total, "f")


def terms(reference: str, direction: str, amount: str, player: str = "ann", currency: str = "EUR") -> dict[str, str]:
    """The data of a create or a cancel."""
    return {"id": reference, "player": player, "direction": direction, "amount": amount, "currency": currency}


class Heard:
    """One callback as it arrived."""

    def __init__(self, headers: dict[str, str], body: bytes, answered: int) -> None:
        self.id, self.timestamp = headers["webhook-id"], int(headers["webhook-timestamp"])
        self.signatures, self.body, self.answered = headers["webhook-signature"].split(" "), body, answered
        self.at, self.content = time.monotonic(), json.loads(body)
        self.type, self.data = self.content["type"], self.content["data"]

    def signed_with(self, secret: str) -> bool:
        """Whether one of its signatures is this secret's, over the very bytes that came."""
        return signature(secret, self.id, str(self.timestamp), self.body) in self.signatures

    @property
    def good(self) -> bool:
        """Whether a receiver that keeps to the contract would take it."""
        return self.signed_with(CALLBACKS) and abs(time.time() - self.timestamp) <= 300

    @property
    def said(self) -> tuple[str, str, int]:
        """(id, status, sequence)."""
        return self.data["id"], self.data["status"], self.data["sequence"]


class Receiver:
    """The bridge's side of callbacks: takes what is signed, refuses what is not, and keeps everything."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.statuses: list[int] = []  # answers to come, before it answers rightly; 0: none at all
        self._turn = threading.Condition()
        receiver = self

        class Connection(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = receiver.take({name.lower(): value for name, value in self.headers.items()}, body)
                if status:
                    self.send_response(status)
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Connection)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1/providers/sim/callbacks"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def take(self, headers: dict[str, str], body: bytes) -> int:
        with self._turn:
            heard = Heard(headers, body, 0)
            heard.answered = self.statuses.pop(0) if self.statuses else (200 if heard.good else 401)
            self.heard.append(heard)
            self._turn.notify_all()
            return heard.answered

    def wait(self, count: int, seconds: float = 8) -> list[Heard]:
        """So many callbacks, in the order in which they came."""
        with self._turn:
            assert self._turn.wait_for(lambda: len(self.heard) >= count, seconds), [each.said for each in self.heard]
            return list(self.heard)

    def still(self, count: int, seconds: float = 0.6) -> list[Heard]:
        """So many, and then no more."""
        self.wait(count)
        time.sleep(seconds)
        assert len(self.heard) == count, [each.content for each in self.heard]
        return self.heard


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    """Start simulators with options; all end with the test."""
    running: list[Generic] = []

    def starter(*options: str, ledger: str = "ledger") -> Generic:
        generic = ("--protocol", "generic", "--secret", REQUESTS, "--callback-secret", CALLBACKS, "--seed", "1")
        running.append(Generic(tmp_path / ledger, *generic, "--callback-pause", "0.1", *options))
        return running[-1]

    yield starter
    for simulator in running:
        if simulator.process.returncode is None:
            simulator.stop(signal.SIGKILL)


@pytest.fixture
def honest(start: Any) -> Generic:
    """A simulator with no faults of its own accord and a time scale of ten seconds."""
    return start()


@pytest.fixture
def hasty(start: Any) -> Generic:
    """The same with a time scale of one second."""
    return start("--expiry", "1")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Somebody who hears callbacks."""
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def calling(start: Any, receiver: Receiver) -> Generic:
    """A simulator in a hurry that calls back."""
    return start("--expiry", "1", "--callbacks", receiver.url)
