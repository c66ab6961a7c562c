"""`up`: one command, everything there, one key, both protocols, one line to try; and nothing left when it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import environment

READY_SECONDS = 90


class Up:
    """A running `up`, and what it printed."""

    def __init__(self, place: Path, *options: str) -> None:
        self.place = place
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-m", "bridge", "up", *options],
            cwd=place,
            env=environment(BRIDGE_DATABASE__URL="sqlite:///elsewhere.db"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._heard = threading.Condition()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in self.process.stdout:
            with self._heard:
                self.lines.append(line.rstrip("\n"))
                self._heard.notify_all()

    def until(self, start: str) -> str:
        """The line that begins so, without its beginning."""
        with self._heard:
            found = self._heard.wait_for(
                lambda: [line for line in self.lines if line.startswith(start)] or self.process.poll() is not None,
                READY_SECONDS,
            )
        assert isinstance(found, list), self.lines
        return found[0].removeprefix(start).strip()

    def commands(self) -> dict[int, list[str]]:
        """Process id → command line of what it has started, as anybody on the machine can read it."""
        pids = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0") for pid in pids}

    def children(self) -> dict[str, int]:
        """Program (of a simulator, its protocol) → process id of what it has started."""
        found = {}
        for pid, words in self.commands().items():
            found[words[words.index("--protocol" if "--protocol" in words else "-m") + 1]] = pid
        return found

    def transfer(self, provider: str, key: str) -> tuple[int, Any]:
        """Ask for 1.00 EUR into a provider with the printed key."""
        wish = {"player_id": "ann", "provider": provider, "direction": "in", "amount": "1.00", "currency": "EUR"}
        address, secret = self.until("bridge").split()[0], self.until("key").split()[0]
        headers = {"Authorization": f"Bearer {secret}", "Idempotency-Key": key}
        return self.call("POST", f"{address}/v1/transfers", wish, **headers)

    def control(self, provider: str) -> str:
        """The printed address of a simulator's control port."""
        return self.until(provider).split("control: ")[1].rstrip(")")

    def call(self, method: str, url: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """One HTTP request with code of this test's own."""
        request = urllib.request.Request(  # noqa: S310 - a loopback address that `up` printed
            url, None if body is None else json.dumps(body).encode(), method=method, headers=headers
        )
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - as above
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as refused:
            return refused.code, json.loads(refused.read())

    def end(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(60)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    """`up` in an empty folder, on any free port, ready."""
    place = tmp_path / "here"
    place.mkdir()
    running = Up(place, "--port", "0")
    running.until("try")
    yield running
    if running.process.poll() is None:
        running.end()


def gone(pid: int) -> bool:
    """Whether a process is no more."""
    return not Path(f"/proc/{pid}").exists()


def test_the_printed_line_moves_money_and_a_stop_finishes_the_request_in_hand(up):
    """Issue, point 10: the curl line works as it stands; SIGTERM with a request in hand: it is answered, every
    child ends, the exit code is 0, and nothing was written outside the folder."""
    line = up.until("try")
    answer = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(answer.stdout)["state"] == "confirmed"

    fault = {"case": 16, "on": "complete", "params": {"delay": 2}}
    assert up.call("POST", f"{up.control('simulator')}/faults", fault)[0] == 201
    answers: list[tuple[int, Any]] = []
    asked = threading.Thread(target=lambda: answers.append(up.transfer("simulator", "in-hand")))
    children = up.children()
    asked.start()
    ledger = up.place / ".bridge-up" / "provider.ledger"
    end = time.monotonic() + 30
    while ledger.read_text().count('"completed"') < 2:
        assert time.monotonic() < end, "the complete never reached the provider"
        time.sleep(0.05)

    assert up.end() == 0
    asked.join(30)

    assert [(status, answer["state"]) for status, answer in answers] == [(201, "confirmed")]
    assert sorted(children) == ["generic", "granian", "jobs", "qtech"]
    assert [pid for pid in children.values() if not gone(pid)] == []
    assert [path.name for path in up.place.iterdir()] == [".bridge-up"]


def test_both_protocols_are_there(up):
    """Issue 3, point 6: the printed key moves money through the other protocol too. Its callbacks arrive, signed with
    secrets that stand in the folder's bridge.toml alone, and are acted on: what it takes back is reversed."""
    status, transfer = up.transfer("generic", "other")
    assert (status, transfer["state"]) == (201, "confirmed")

    reference = next(leg["reference"] for leg in transfer["legs"] if leg["holder"] == "generic")
    act = {"act": "take_back", "id": reference}
    assert up.call("POST", f"{up.control('generic')}/act", act)[0] == 200
    end = time.monotonic() + 30
    while transfer["state"] != "reversed":
        assert time.monotonic() < end, transfer
        time.sleep(0.05)
        address, key = up.until("bridge").split()[0], up.until("key").split()[0]
        bearer = {"Authorization": f"Bearer {key}"}
        transfer = up.call("GET", f"{address}/v1/transfers/{transfer['id']}", **bearer)[1]

    config = up.place / ".bridge-up" / "bridge.toml"
    assert config.stat().st_mode & 0o777 == 0o600
    secrets = set(re.findall(r"whsec_[A-Za-z0-9+/=]+", config.read_text()))
    assert len(secrets) == 2
    told = [word for words in up.commands().values() for word in words] + up.lines
    files = [path for path in config.parent.iterdir() if path != config]
    told += [path.read_bytes().decode(errors="replace") for path in files]
    assert [secret for secret in secrets for text in told if secret in text] == []


def test_the_desk_is_there_and_its_first_admin_can_join(up):
    """Issue 5 §3: `up` prints the desk's address and a link for the first admin, not a password; the secret is in a
    file of the folder that nobody else reads."""
    desk, link = up.until("desk"), up.until("join").split()[0]
    assert re.fullmatch(r"http://localhost:\d+/ops", desk)
    assert link.startswith(f"{desk}/link/")
    for address, told in ((desk, "Come in"), (link, "Welcome, First admin")):
        with urllib.request.urlopen(address, timeout=60) as answer:  # noqa: S310 - a loopback address that `up` printed
            assert told in answer.read().decode()
    secret = up.place / ".bridge-up" / "desk.secret"
    assert secret.stat().st_mode & 0o777 == 0o600
    told = [path.read_bytes() for path in secret.parent.iterdir() if path != secret]
    assert not [text for text in told if secret.read_bytes() in text or link.rsplit("/", 1)[1].encode() in text]


def test_again_in_the_same_folder_goes_on(up):
    """Issue, point 10: money and transfers are still there after a second start; the key is a new one, the old
    one is refused; another `up` on the same port or folder is one sentence and exit code 2. The simulated providers
    are the ones that they were, so what is held there can come home (I-09)."""
    assert up.transfer("simulator", "k-1")[0] == up.transfer("generic", "k-2")[0] == 201
    first = up.until("key").split()[0]
    port = up.until("bridge").split()[0].rsplit(":", 1)[1]
    busy = Up(up.place, "--port", port, "--folder", "other")
    assert busy.process.wait(60) == 2
    assert busy.lines[-1] == f"127.0.0.1:{port} is in use: name another port with --port or web.port."
    locked = Up(up.place, "--port", "0")
    assert locked.process.wait(60) == 2
    assert "is in use by another simulator." in locked.lines[-1]
    assert up.end(signal.SIGINT) == 0

    again = Up(up.place, "--port", "0")
    try:
        address, second = again.until("bridge").split()[0], again.until("key").split()[0]
        funds = f"{address}/v1/players/ann/funds"
        status, answer = again.call("GET", funds, Authorization=f"Bearer {second}")
        assert (status, answer["funds"][0]["wallet"]) == (200, "998.00")
        assert again.transfer("simulator", "k-3")[0] == again.transfer("generic", "k-4")[0] == 201
        assert again.call("GET", funds, Authorization=f"Bearer {first}")[0] == 401
    finally:
        again.end()


def test_a_second_signal_leaves_nobody_behind(up):
    """Issue, point 10: whoever asks again while it stops does not leave children running."""
    children = up.children()
    up.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    up.process.send_signal(signal.SIGINT)

    assert up.end() == 0
    assert [pid for pid in children.values() if not gone(pid)] == []


@pytest.mark.parametrize(("which", "name"), [("jobs", "jobs"), ("generic", "simulator-generic")])
def test_a_child_that_dies_is_reported(up, which, name):
    """Issue, point 10: when a child ends by itself, `up` says which of them, ends the others and gives exit code 1."""
    children = up.children()
    os.kill(children[which], signal.SIGKILL)

    assert up.process.wait(60) == 1
    said = "\n".join(up.lines)
    assert f"{name} (process {children[which]}) ended by itself, exit code -9: stopping." in said
    assert [pid for pid in children.values() if not gone(pid)] == []


def test_a_busy_port_is_one_sentence(tmp_path):
    """Issue, point 10: somebody else's port: one sentence, exit code 2, nothing started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        running = Up(tmp_path, "--port", str(port))

        assert running.process.wait(60) == 2
    assert running.lines[-1] == f"127.0.0.1:{port} is in use: name another port with --port or web.port."
