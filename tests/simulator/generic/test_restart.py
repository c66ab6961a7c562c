"""The books outlive the process: kill -9, what is pending, what does not add up, and a storm of every case."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest

from tests.simulator.generic.conftest import CALLBACKS, REQUESTS

ROOT = Path(__file__).resolve().parents[3]


def fold(lines):
    """What each player owns, by the file alone: our own addition, not the simulator's."""
    owned = defaultdict(Decimal)
    for line in lines:
        amount = Decimal(line["amount"])
        if line["kind"] == "result":
            owned[line["player"]] += amount
        elif line["kind"] in ("completed", "taken_back"):
            adds = (line["type"] == "CREDIT") == (line["kind"] == "completed")
            owned[line["player"]] += amount if adds else -amount
        if "balance" in line:
            assert owned[line["player"]] == Decimal(line["balance"])
    return dict(owned)


def test_killed_in_the_middle_of_work_it_forgets_nothing_it_said(start):
    """C-02, I-20: SIGKILL under load; each answer that left is in the file, and is given again after the restart."""
    simulator = start()
    told = {}

    def client(name: str) -> None:
        number = 0
        while True:
            try:
                told[f"{name}-{number}"] = simulator.create(f"{name}-{number}", player=name, amount="1.00")
            except (OSError, http.client.HTTPException, ValueError):
                return
            number += 1

    clients = [threading.Thread(target=client, args=(f"p{number}",)) for number in range(6)]
    for thread in clients:
        thread.start()
    time.sleep(0.7)
    assert simulator.stop(signal.SIGKILL) == -signal.SIGKILL
    for thread in clients:
        thread.join()
    assert len(told) > 30
    simulator.start()
    assert {name: simulator.create(name, player=name.split("-")[0], amount="1.00") for name in told} == told
    effects = Counter(line["reference"] for line in simulator.lines() if line["kind"] == "completed")
    assert set(effects.values()) == {1}
    assert {player: Decimal(simulator.owned(player)) for player in fold(simulator.lines())} == fold(simulator.lines())


def test_what_was_pending_is_cancelled_in_time(start):
    """C-26: a plan dies with the process; the time of what is pending counts from the stored instant."""
    simulator = start("--expiry", "2")
    simulator.script(25, params={"variant": "success", "delay": 60})
    simulator.create("r")
    began = Decimal(simulator.lines()[-1]["at"])
    simulator.stop(signal.SIGKILL)
    simulator.start()
    assert simulator.status("r") == "pending"
    simulator.until("r", "cancelled")
    assert Decimal(2) <= Decimal(simulator.lines()[-1]["at"]) - began < Decimal("2.5")
    assert simulator.lines()[-1]["by"] == "deadline"


def test_everything_about_a_transfer_is_in_the_file(honest):
    """C-57: after kill -9 each look-up, the feed and every balance are what they were."""
    honest.create("a", amount="100.00")
    honest.create("b", "out", "100.01")
    honest.cancel("c")
    honest.act("take_back", "a")
    honest.script(27, params={"never": True, "lose": False})
    honest.create("d")
    honest.script(31, params={"amount": "0.50"})
    honest.create("e", "out", "1.00")

    def everything():
        looks = [honest.ask("lookup", id=name) for name in "abcde"]
        return looks, honest.ask("feed", after=0, limit=500), honest.balance(), honest.create("a", amount="100.00")

    before = everything()
    honest.stop(signal.SIGKILL)
    honest.start()
    assert everything() == before
    assert before[2] == "24.50"


LINE = {
    "seq": 1, "at": "1700000000.000000", "kind": "completed", "id": "W-1", "reference": "r", "type": "CREDIT",
    "player": "ann", "currency": "EUR", "amount": "1.00", "sequence": 1, "balance": "1.00",
}  # fmt: skip


@pytest.mark.parametrize(
    "lines",
    [
        [LINE | {"kind": "prepared"}],
        [LINE | {"balance": "2.00"}],
        [LINE | {"sequence": 2}],
        [LINE, LINE | {"seq": 2, "sequence": 2, "balance": "2.00"}],
        [LINE | {"kind": "refused", "balance": "0.00"}, LINE | {"seq": 2, "sequence": 2}],
        [LINE, LINE | {"seq": 2, "sequence": 2, "kind": "taken_back", "id": "W-2", "balance": "0.00"}],
    ],
)
def test_books_that_do_not_add_up_are_not_opened(tmp_path, lines):
    """I-06: a ledger whose lines do not follow from each other is refused, not repaired."""
    path = tmp_path / "ledger"
    content = "".join(json.dumps(line) + "\n" for line in lines)
    path.write_text(content)
    assert f"entry {len(lines)}, cannot be understood" in refused("--secret", REQUESTS, "--ledger", str(path))
    assert path.read_text() == content


def refused(*options: str) -> str:
    """The one sentence of a simulator that cannot start."""
    command = [sys.executable, "-m", "bridge.simulator", "--protocol", "generic", *options]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.count("\n") == 1
    return ended.stderr


def test_one_sentence_and_exit_code_2(tmp_path):
    """C-57: missing or impossible secrets and addresses are said in one sentence that does not tell the secret."""
    ledger = ("--ledger", str(tmp_path / "ledger"))
    assert "--secret is required" in refused(*ledger)
    assert "--callback-secret" in refused(*ledger, "--secret", REQUESTS, "--callbacks", "http://127.0.0.1:9/")
    for wrong in ("short", "whsec_AAAA", "whsec_" + "A" * 90, "whsec_!!!!" + REQUESTS[6:]):
        assert wrong not in refused(*ledger, "--secret", wrong)
    both = (*ledger, "--secret", REQUESTS, "--callback-secret", CALLBACKS)
    assert "--callbacks: the url" in refused(*both, "--callbacks", "127.0.0.1:9")
    assert "above zero" in refused(*both, "--callback-pause", "0")
    assert "is not a fault" in refused(*both, "--cases", "3")


EVERY_FAULT = "13,14,15,16,17,18,19,20,21,22,23,25,26,27,28,30,31,32,33,35,36,39,40,41,42,53"


def storm(simulator, count, clients):
    """Creates, look-ups and creates again of many players from many threads, whatever the answers are."""
    lost = (OSError, http.client.HTTPException, ValueError, AssertionError, KeyError, TypeError)

    def several(first: int) -> None:
        for number in range(first, count, clients):
            names = (f"ref-{number}", "out" if number % 2 else "in", "1.00")
            for ask in (partial(simulator.create, *names), partial(simulator.status, names[0])) * 2:
                with contextlib.suppress(*lost):
                    ask()

    threads = [threading.Thread(target=several, args=(first,)) for first in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_in_a_storm_of_all_faults_the_books_still_add_up(calling, receiver):
    """I-02, I-06: every case by rate on many threads; the sums hold, statuses go one way, and nothing broke."""
    calling.play("500.00")
    short = {str(number): {"delay": 0.1} for number in (13, 14, 16, 25, 26, 27, 28, 33, 36, 39, 53)}
    wanted = {"rate": 0.9, "cases": EVERY_FAULT, "params": short}
    assert calling.control("POST", "/rate", wanted)[0] == 200
    storm(calling, 240, 12)
    time.sleep(1.3)
    lines = calling.lines()
    statuses = defaultdict(list)
    for line in lines:
        if "sequence" in line:
            statuses[line["reference"]].append(line["sequence"])
    assert len(statuses) > 100
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in statuses.values())
    assert {player: Decimal(calling.owned(player)) for player in fold(lines)} == fold(lines)
    assert len({case for case, _ in calling.shown()}) >= 15
    assert calling.stop() == 0
    assert calling.errors == ""
    assert receiver.heard
