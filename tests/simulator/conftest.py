"""The simulator as its users meet it: a process of its own, real sockets, files read by other code."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


class Simulator:
    """One running simulator and one client of it."""

    def __init__(self, ledger: Path, *options: str) -> None:
        self.ledger_file, self.options = ledger, options
        self.start()

    def start(self) -> None:
        """Start (again, on the same ledger) and wait for the line that says it is ready."""
        command = [sys.executable, "-m", "bridge.simulator", "--ledger", str(self.ledger_file), *self.options]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        self.ready = json.loads(line)
        self.address = self.ready["address"].removeprefix("http://")
        self.control_address = self.ready["control"].removeprefix("http://")
        self.token = ""
        self.log_in()

    def log_in(self) -> None:
        """Get a token the way the protocol says."""
        status, answer = self.call(
            "POST", "/v1/auth/token?grant_type=password&response_type=token&username=demo&password=demo"
        )
        if status == 200:
            self.token = answer["access_token"]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End the process with a signal; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(20)
        self.errors = self.process.stderr.read()
        self.process.stdout.close()
        self.process.stderr.close()
        return self.process.returncode

    def send(
        self, method: str, path: str, body: str | bytes | None = None, *, timeout: float = 10
    ) -> tuple[int, bytes, dict[str, str]]:
        """One raw request on its own connection: status, body bytes, headers in lower case."""
        connection = http.client.HTTPConnection(self.address, timeout=timeout)
        try:
            headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"}
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            names = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, answer.read(), names
        finally:
            connection.close()

    def call(self, method: str, path: str, body: str | None = None, *, timeout: float = 10) -> tuple[int, Any]:
        """One request: status and JSON with exact numbers (None for an empty body)."""
        status, content, _ = self.send(method, path, body, timeout=timeout)
        return status, json.loads(content, parse_float=Decimal) if content else None

    def prepare(
        self,
        reference: str,
        type_: str = "CREDIT",
        amount: str = "25.00",
        player: str = "ann",
        currency: str = "EUR",
    ) -> tuple[int, Any]:
        """A prepare with the amount exactly as written."""
        names = json.dumps({"type": type_, "referenceId": reference, "playerId": player, "currency": currency})
        return self.call("POST", "/v1/fund-transfers", f'{names[:-1]}, "amount": {amount}}}')

    def finish(self, transfer_id: str, status: str = "COMPLETED", *, timeout: float = 10) -> tuple[int, Any]:
        """Complete or cancel."""
        body = json.dumps({"status": status})
        return self.call("PUT", f"/v1/fund-transfers/{transfer_id}/status", body, timeout=timeout)

    def look_up(self, transfer_id: str) -> tuple[int, Any]:
        """The look-up by the provider's id."""
        return self.call("GET", f"/v1/fund-transfers/{transfer_id}")

    def balance(self, player: str = "ann") -> Decimal:
        """The balance that the protocol tells."""
        status, answer = self.call("GET", f"/v1/wallet/ext/{player}")
        assert status == 200, answer
        return Decimal(answer["amount"])

    def prepared(self, reference: str, type_: str = "CREDIT", amount: str = "25.00", **names: str) -> str:
        """The id of a new pending transfer."""
        status, answer = self.prepare(reference, type_, amount, **names)
        assert status == 201, answer
        return str(answer["id"])

    def funded(self, reference: str = "fund", amount: str = "100.00", **names: str) -> str:
        """The id of a completed deposit."""
        transfer_id = self.prepared(reference, "CREDIT", amount, **names)
        assert self.finish(transfer_id)[0] == 200
        return transfer_id

    def control(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """One request to the control port."""
        connection = http.client.HTTPConnection(self.control_address, timeout=10)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            content = answer.read()
            return answer.status, json.loads(content) if content else None
        finally:
            connection.close()

    def script(self, case: int, **fault: Any) -> None:
        """Script one fault through the control port."""
        status, answer = self.control("POST", "/faults", {"case": case, **fault})
        assert status == 201, answer

    def owned(self, player: str = "ann", currency: str = "EUR") -> str:
        """What the player truly owns."""
        _, answer = self.control("GET", f"/players/{player}")
        return str(answer["balances"][currency]["owned"])

    def lines(self, suffix: str = "") -> list[dict[str, Any]]:
        """The ledger file (or the diary with this suffix), line by line."""
        path = self.ledger_file.with_name(self.ledger_file.name + suffix)
        return [json.loads(line) for line in path.read_text().splitlines()]

    def kinds(self, reference: str) -> list[str]:
        """What the ledger file says happened to one transfer."""
        return [line["kind"] for line in self.lines() if line.get("reference") == reference]

    def shown(self, *, observed: bool = False) -> list[tuple[int, str]]:
        """(case, operation) of the faults in the diary."""
        return [(line["case"], line["on"]) for line in self.lines(".faults") if line.get("observed", False) is observed]

    def until(self, reference: str, kind: str, seconds: float = 8) -> None:
        """Wait until the ledger file says so; the file alone, no request is sent."""
        deadline = time.monotonic() + seconds
        while kind not in self.kinds(reference):
            assert time.monotonic() < deadline, f"{kind} of {reference} never came: {self.kinds(reference)}"
            time.sleep(0.03)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    """Start simulators with options; all end with the test."""
    running: list[Simulator] = []

    def starter(*options: str, ledger: str = "ledger") -> Simulator:
        environment_free = [name for name in os.environ if name == "SIMULATOR_PASSWORD"]
        assert not environment_free, "SIMULATOR_PASSWORD would change the simulator under test"
        running.append(Simulator(tmp_path / ledger, *options))
        return running[-1]

    yield starter
    for simulator in running:
        if simulator.process.returncode is None:
            simulator.stop(signal.SIGKILL)


@pytest.fixture
def honest(start: Any) -> Simulator:
    """A simulator with the protocol's own expiry and no faults of its own accord."""
    return start("--seed", "1")


@pytest.fixture
def hasty(start: Any) -> Simulator:
    """The same with an expiry of one second."""
    return start("--seed", "1", "--expiry", "1")
