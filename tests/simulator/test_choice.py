"""Which request meets which fault: scripts, rates, seeds; the control port's manners; the printed table."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import threading
import time
from decimal import Decimal
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

CASES = {
    "qtech": [*range(1, 23), 26, 28, 29, 30, 32, 33, 35, 36, 39, 40, 41, 42, 45],
    "generic": [*range(13, 37), *range(39, 43), 44, 45, 53],
}


def printed_table() -> str:
    """What --list prints."""
    command = [sys.executable, "-m", "bridge.simulator", "--list"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=True).stdout


def test_the_list_names_every_case_once():
    """C-06: each number of protocols.md that a protocol can show stands in its table with one line."""
    table = printed_table()
    first, second = table.split("generic: ", 1)
    for part, cases in ((first, CASES["qtech"]), (second, CASES["generic"])):
        assert [int(number) for number in re.findall(r"^ +(\d+)  \[.+\]  \S.+$", part, re.MULTILINE)] == cases
    assert [part.count("protocol behaviour: always on") for part in (first, second)] == [6, 1]
    assert re.findall(r"§(6\.\d)", table) == ["6.1", "6.2", "6.2", "6.5"]


def test_the_page_shows_the_list():
    """C-06: docs/simulator.md carries the table as --list prints it today."""
    page = (ROOT / "docs" / "simulator.md").read_text()
    assert f"```text\n{printed_table()}```" in page


def run_transfers(simulator, count: int, clients: int = 4) -> None:
    """Deposits and withdrawals of many players from several threads, whatever the answers are."""
    lost = (OSError, http.client.HTTPException, ValueError)

    def one(number: int) -> None:
        type_ = "DEBIT" if number % 2 else "CREDIT"
        try:
            _, answer = simulator.prepare(f"ref-{number}", type_, "1.00", player=f"p{number % 5}")
            simulator.finish(answer["id"])
        except (*lost, KeyError, TypeError):
            return

    def several(start: int) -> None:
        for number in range(start, count, clients):
            one(number)

    threads = [threading.Thread(target=several, args=(start,)) for start in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


RATE = ("--rate", "0.5", "--cases", "1:2,2,3:3,14,18:2,19,40", "--currencies", "EUR:2")


def fates(start, seed: str, name: str) -> set[tuple[str, int, str]]:
    """(reference, case, operation) of every fault shown in a run of many transfers."""
    simulator = start(*RATE, "--seed", seed, ledger=name)
    for player in range(5):
        amount = {"player": f"p{player}", "currency": "EUR", "amount": "1000.00"}
        assert simulator.control("POST", "/play", amount)[0] == 200
    simulator.script(14, on="complete", reference="ref-none", params={"how": "reset"})
    simulator.control(
        "POST",
        "/rate",
        {
            "rate": 0.5,
            "cases": "1:2,2,3:3,14,18:2,19,40",
            "params": {"14": {"how": "close"}, "18": {"delay": 0}},
        },
    )
    run_transfers(simulator, 80)
    return {(line["reference"], line["case"], line["on"]) for line in simulator.lines(".faults")}


def test_a_seed_gives_the_same_faults_whatever_the_threads_do(start):
    """I-31: the same seed strikes the same transfers in the same way; another seed does not."""
    first, again, other = (fates(start, seed, name) for seed, name in (("7", "a"), ("7", "b"), ("8", "c")))
    assert first == again
    assert first != other
    assert len({case for _, case, _ in first}) >= 5
    assert 20 <= len({reference for reference, _, _ in first}) <= 60


def test_the_rate_is_off_at_zero_and_total_at_one(start):
    """C-01: no fault without being asked for; with rate 1 every transfer meets the one case asked for."""
    simulator = start("--rate", "0")
    run_transfers(simulator, 8)
    assert simulator.shown() == []
    weights = {"rate": 1, "cases": {"19": 1}, "params": {"19": {"variant": "thousandfold"}}}
    assert simulator.control("POST", "/rate", weights)[0] == 200
    for number in range(4):
        simulator.funded(f"x{number}")
    assert simulator.shown() == [(19, "complete")] * 4
    assert simulator.control("GET", "/faults")[1]["counts"] == {"19": 4}


def test_a_script_file_is_read_at_start(start, tmp_path):
    """C-12: faults from a file strike in its order, by reference and by number of times."""
    script = tmp_path / "script.json"
    faults = [
        {
            "case": 18,
            "on": "complete",
            "reference": "b",
            "times": 2,
            "params": {"status": 500, "commit": False},
        },
        {"case": 41, "on": ["prepare"], "player": "bob", "params": {"retry_after": 0}},
    ]
    script.write_text(json.dumps(faults))
    simulator = start("--script", str(script))
    assert simulator.finish(simulator.prepared("a"))[0] == 200
    transfer_id = simulator.prepared("b")
    assert [simulator.finish(transfer_id)[0] for _ in range(3)] == [500, 500, 200]
    assert [simulator.prepare("c", player="bob")[0] for _ in range(2)] == [429, 201]
    assert simulator.control("GET", "/faults")[1] == {
        "counts": {"18": 2, "41": 1},
        "observed": {},
        "scripted": [],
    }


def test_scripted_faults_can_be_taken_back(honest):
    """C-12: DELETE /faults ends what is scripted and every window still open."""
    honest.script(36, params={"delay": 60})
    assert honest.prepare("a")[0] == 503
    honest.script(1, times=5)
    assert honest.control("DELETE", "/faults") == (204, None)
    assert honest.prepare("a")[0] == 201
    assert honest.control("GET", "/faults")[1]["scripted"] == []


WRONG = [
    ("/faults", []),
    ("/faults", {"case": 6}),
    ("/faults", {"case": 45}),
    ("/faults", {"case": 21}),
    ("/faults", {"case": "1"}),
    ("/faults", {"case": 1, "reason": "typing mistake"}),
    ("/faults", {"case": 1, "times": 0}),
    ("/faults", {"case": 1, "on": "launch"}),
    ("/faults", {"case": 3, "on": "accept"}),
    ("/faults", {"case": 1, "on": [["prepare"]]}),
    ("/faults", {"case": 1, "on": 7}),
    ("/faults", {"case": 1, "reference": 7}),
    ("/faults", {"case": 1, "params": {"delay": "2"}}),
    ("/faults", {"case": 1, "params": {"delay": -1}}),
    ("/faults", {"case": 1, "params": {"delay": float("nan")}}),
    ("/faults", {"case": 1, "params": {"how": "politely"}}),
    ("/faults", {"case": 1, "params": {"variant": "late"}}),
    ("/faults", {"case": 17, "params": {"body": "poem"}}),
    ("/faults", {"case": 18, "params": {"status": 99}}),
    ("/faults", {"case": 19, "params": {"amount": "much"}}),
    ("/rate", {}),
    ("/rate", {"rate": 2}),
    ("/rate", {"rate": True}),
    ("/rate", {"rate": 0.5, "cases": "6"}),
    ("/rate", {"rate": 0.5, "cases": "1:0"}),
    ("/rate", {"rate": 0.5, "cases": 7}),
    ("/rate", {"rate": 0.5, "params": {"99": {}}}),
    ("/rate", {"rate": 0.5, "params": []}),
    ("/play", {"player": "ann", "currency": "USD", "amount": "1"}),
    ("/play", {"player": "", "currency": "EUR", "amount": "1"}),
]


def test_the_control_port_refuses_mistakes(honest):
    """C-12: a fault that is misspelt is refused with a sentence, never silently without effect."""
    for path, body in WRONG:
        status, answer = honest.control("POST", path, body)
        assert status == 400, (path, body, answer)
        assert list(answer) == ["error"]
    assert honest.control("GET", "/faults")[1]["scripted"] == []
    assert honest.control("GET", "/transfers")[0] == 400
    assert honest.control("GET", "/nothing")[0] == 404


def test_the_control_port_tells_the_truth(honest):
    """C-16: the true transfer by the operator's reference, which the protocol itself cannot give."""
    transfer_id = honest.prepared("r")
    _, answer = honest.control("GET", "/transfers?reference=r")
    assert [(found["id"], found["status"], found["amount"]) for found in answer["transfers"]] == [
        (transfer_id, "PENDING", "25.00")
    ]
    assert honest.control("GET", "/transfers?reference=none")[1] == {"transfers": []}
    assert honest.control("GET", "/players/nobody")[1] == {"player": "nobody", "balances": {}}
    assert honest.control("GET", "/health")[1] == {"status": "ok", "pid": honest.process.pid, "seed": 1}


def test_the_ports_are_apart(honest):
    """C-03: nothing of the control port can be reached on the protocol's port, and the other way round."""
    assert honest.call("POST", "/play", "{}")[0] == 404
    assert honest.control("POST", "/v1/fund-transfers", {})[0] == 404


def test_it_shares_no_code_with_the_bridge():
    """C-16: the simulator imports the standard library and itself, and nothing else of ours or anybody's."""
    files = list((ROOT / "bridge" / "simulator").rglob("*.py"))
    assert len(files) > 10
    for path in files:
        for module in re.findall(r"^(?:from|import) ([\w.]+)", path.read_text(), re.MULTILINE):
            top = module.split(".")[0]
            own = module == "bridge.simulator" or module.startswith("bridge.simulator.")
            assert own or top == "__future__" or top in sys.stdlib_module_names, f"{path.name}: {module}"


def test_in_a_storm_of_all_faults_the_books_still_add_up(start):
    """I-02, I-06: every case by rate on many threads; each transfer has one end, the sums hold, nothing broke."""
    simulator = start("--seed", "5", "--expiry", "1")
    for player in range(5):
        amount = {"player": f"p{player}", "currency": "EUR", "amount": "50.00"}
        assert simulator.control("POST", "/play", amount)[0] == 200
    short = {str(number): {"delay": 0.1} for number in (13, 14, 16, 26, 33, 36)}
    cases = "1,2,3,4,5,9,13,14,15,16,17,18,19,20,26,28,30,32,33,35,36,40,41"  # a dead token would calm the storm
    assert simulator.control("POST", "/rate", {"rate": 0.9, "cases": cases, "params": short})[0] == 200
    for _ in range(2):
        run_transfers(simulator, 120, clients=16)  # the second time as replays
    time.sleep(1.3)
    ends, owned = {}, {}
    for line in simulator.lines():
        if line["kind"] == "result":
            owned[line["player"]] = owned.get(line["player"], Decimal(0)) + Decimal(line["amount"])
        else:
            ends.setdefault(line["reference"], []).append(line["kind"])
        if line["kind"] == "completed":
            owned[line["player"]] += Decimal(line["amount"]) * (1 if line["type"] == "CREDIT" else -1)
    assert set(map(tuple, ends.values())) == {("prepared", "completed"), ("prepared", "cancelled")}
    assert {player: Decimal(simulator.owned(player)) for player in owned} == owned
    assert len({case for case, _ in simulator.shown()}) >= 12
    assert simulator.stop() == 0
    assert simulator.errors == ""
