"""The books outlive the process: kill -9, torn lines, a second writer, and what the file alone says."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def fold(lines):
    """What each player owns, by the file alone: our own addition, not the simulator's."""
    owned = defaultdict(Decimal)
    for line in lines:
        amount = Decimal(line.get("amount", "0"))
        if line["kind"] == "result":
            owned[line["player"]] += amount
        elif line["kind"] == "completed":
            owned[line["player"]] += amount if line["type"] == "CREDIT" else -amount
        if "balance" in line:
            assert owned[line["player"]] == Decimal(line["balance"])
    return dict(owned)


def test_killed_in_the_middle_of_work_it_forgets_nothing_it_said(start):
    """C-02, I-20: SIGKILL under load; every answer that left is in the file; each transfer has one end."""
    simulator = start("--seed", "1")
    told = {}

    def client(name: str) -> None:
        number = 0
        while True:
            try:
                status, answer = simulator.prepare(f"{name}-{number}", player=name, amount="1.00")
                assert status == 201
                status, answer = simulator.finish(answer["id"])
                told[f"{name}-{number}"] = answer["status"]
            except (OSError, http.client.HTTPException):
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
    completed = [line["reference"] for line in simulator.lines() if line["kind"] == "completed"]
    assert len(completed) == len(set(completed))
    assert set(told) <= set(completed)
    for player, owned in fold(simulator.lines()).items():
        assert Decimal(simulator.owned(player)) == owned
    assert [line["seq"] for line in simulator.lines()] == list(range(1, len(simulator.lines()) + 1))


def test_reservations_and_expiry_survive_a_kill(start):
    """C-02, C-26: a reservation and its expiry are counted from the stored instant, not from the restart."""
    simulator = start("--expiry", "2")
    simulator.funded()
    pending = simulator.prepared("out", "DEBIT", "60.00")
    began = Decimal(simulator.lines()[-1]["at"])
    time.sleep(0.8)
    simulator.stop(signal.SIGKILL)
    simulator.start()
    assert simulator.balance() == Decimal("40.00")
    assert simulator.prepare("out", "DEBIT", "60.00")[1]["id"] == pending
    simulator.until("out", "cancelled")
    assert Decimal(2) <= Decimal(simulator.lines()[-1]["at"]) - began < Decimal("2.4")
    assert simulator.balance() == Decimal("100.00")


def test_what_expired_while_it_was_dead_is_cancelled_before_anything_is_answered(start):
    """C-26: the first answer after a restart already knows what time has decided."""
    simulator = start("--expiry", "0.5")
    transfer_id = simulator.prepared("r")
    simulator.stop(signal.SIGKILL)
    time.sleep(0.6)
    simulator.start()
    status, answer = simulator.finish(transfer_id)
    assert (status, answer["code"]) == (409, "STATUS_CONFLICT")
    assert simulator.lines()[-1]["by"] == "expiry"


def test_a_torn_last_line_is_cut_off_and_said(start):
    """C-02: half a line was never answered; it is cut off, the rest stands, and writing goes on after it."""
    simulator = start()
    simulator.funded()
    simulator.stop(signal.SIGKILL)
    with simulator.ledger_file.open("ab") as file:
        file.write(b'{"seq": 3, "at": "17')
    simulator.start()
    assert simulator.balance() == Decimal("100.00")
    simulator.funded("again", "1.00")
    assert [line["seq"] for line in simulator.lines()] == [1, 2, 3, 4]
    assert simulator.stop() == 0
    assert "cut off a torn last line of 20 bytes" in simulator.errors


def test_attempts_and_counts_go_on_after_a_restart(start):
    """I-25: attempts and fault counts are read back from the diaries."""
    simulator = start()
    simulator.script(18, on="complete", params={"status": 500, "commit": False})
    transfer_id = simulator.prepared("r")
    simulator.finish(transfer_id)
    simulator.stop(signal.SIGKILL)
    simulator.start()
    simulator.finish(transfer_id)
    attempts = [line["attempt"] for line in simulator.lines(".wire") if line["operation"] == "complete"]
    assert attempts == [1, 2]
    assert simulator.control("GET", "/faults")[1]["counts"] == {"18": 1}


def refused(*options: str) -> str:
    """The one sentence of a simulator that cannot start."""
    command = [sys.executable, "-m", "bridge.simulator", *options]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 2
    assert ended.stdout == ""
    return ended.stderr


def test_one_sentence_and_exit_code_2(start, tmp_path):
    """C-57: a busy port, a ledger in use, an unreadable one and bad options are said in one sentence."""
    simulator = start()
    port = simulator.address.split(":")[1]
    other = str(tmp_path / "other")
    assert "cannot be opened" in refused("--ledger", other, "--port", port)
    assert "in use by another simulator" in refused("--ledger", str(simulator.ledger_file))
    assert "cannot be opened" in refused("--ledger", str(tmp_path))
    assert "not a loopback address" in refused("--ledger", other, "--host", "0.0.0.0")  # noqa: S104
    assert "decimals" in refused("--ledger", other, "--currencies", "EUR")
    assert "rate" in refused("--ledger", other, "--rate", "1.5")
    assert "45" in refused("--ledger", other, "--cases", "45")
    assert "above zero" in refused("--ledger", other, "--expiry", "0")
    assert "--ledger is required" in refused("--port", "0")
    assert "invalid seconds value" in refused("--ledger", other, "--expiry", "soon")


GOOD_LINE = {
    "seq": 1, "at": "1700000000.000000", "kind": "result", "player": "ann", "currency": "EUR",
    "amount": "1.00", "balance": "1.00",
}  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        "not json",
        "[]",
        json.dumps(GOOD_LINE | {"seq": 2}),
        json.dumps(GOOD_LINE | {"balance": "2.00"}),
        json.dumps(GOOD_LINE | {"currency": "USD"}),
        json.dumps(GOOD_LINE | {"amount": "1.001"}),
        json.dumps(GOOD_LINE | {"kind": "gift"}),
        json.dumps(GOOD_LINE | {"kind": "completed", "id": "never prepared"}),
    ],
)
def test_books_that_do_not_add_up_are_not_opened(tmp_path, line):
    """I-06: a ledger whose lines do not follow from each other is refused, not repaired."""
    path = tmp_path / "ledger"
    path.write_text(line + "\n")
    told = refused("--ledger", str(path))
    assert told.count("\n") == 1
    assert "line 1" in told or "entry 1" in told
    assert path.read_text() == line + "\n"


def test_a_stop_finishes_the_request_in_hand(start):
    """C-41: SIGTERM answers what has begun, takes nothing new, and ends with 0."""
    simulator = start()
    simulator.script(16, params={"delay": 8})
    transfer_id, answers = simulator.prepared("r"), []
    client = threading.Thread(target=lambda: answers.append(simulator.finish(transfer_id)))
    client.start()
    simulator.until("r", "completed")
    began = time.monotonic()
    assert simulator.stop() == 0
    client.join()
    assert answers[0][0] == 200
    assert time.monotonic() - began < 5
    assert simulator.errors == ""


def test_play_is_in_the_books(start):
    """I-08: wins and losses are exact, durable, and refused below zero available."""
    simulator = start()
    simulator.funded()
    simulator.prepared("out", "DEBIT", "60.00")
    assert simulator.control("POST", "/play", {"player": "ann", "currency": "EUR", "amount": "2.00"}) == (
        200,
        {"balance": "102.00"},
    )
    assert simulator.control("POST", "/play", {"player": "ann", "currency": "EUR", "amount": "-42.01"})[0] == 409
    assert simulator.control("POST", "/play", {"player": "ann", "currency": "EUR", "amount": "-42.00"})[0] == 200
    for wrong in ("1.001", "x", "", "NaN", "1e400"):
        answered, answer = simulator.control("POST", "/play", {"player": "ann", "currency": "EUR", "amount": wrong})
        assert answered == 400, (wrong, answer)
    assert simulator.control("POST", "/play", {"player": "ann", "currency": "EUR", "amount": 1})[0] == 400
    simulator.stop(signal.SIGKILL)
    simulator.start()
    assert simulator.balance() == 0
    assert fold(simulator.lines()) == {"ann": Decimal("60.00")}
