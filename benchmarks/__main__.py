"""`python -m benchmarks`: one clean transfer in through the bridge, beside the floor: the same two provider
requests and three durable commits with nothing else. Rounds are interleaved, because machines are noisy."""

from __future__ import annotations

import http.client
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from bridge import cashier, db, keys, players
from bridge.app import compose
from bridge.config import Config, DatabaseSection, QTechSection
from bridge.runtime import Runtime
from bridge.transfers.begin import Wish, begin
from bridge.transfers.drive import drive

ROUNDS, TRANSFERS = 7, 40
USERNAME, PASSWORD = "bench", "bench"


def main() -> None:
    """Print the medians per transfer and their ratio."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        command = [sys.executable, "-m", "bridge.simulator", "--ledger", str(folder / "provider.ledger")]
        command += ["--username", USERNAME, "--password", PASSWORD]
        simulator = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert simulator.stdout is not None
            address = json.loads(simulator.stdout.readline())["address"]
            bridge, floor = through_the_bridge(folder, address), the_floor(folder, address)
            times = [(clock(bridge), clock(floor)) for _ in range(ROUNDS)]
        finally:
            simulator.terminate()
            simulator.wait()
    ours, theirs = median(t[0] for t in times), median(t[1] for t in times)
    print(f"one clean transfer in, SQLite, {ROUNDS} interleaved rounds of {TRANSFERS}")
    print(f"  bridge  {ours * 1000:7.2f} ms   two requests, three commits, evidence, history, ledger")
    print(f"  floor   {theirs * 1000:7.2f} ms   the same two requests and three durable commits, nothing else")
    print(f"  ratio   {median(a / b for a, b in times):7.2f}   median of {ROUNDS} pairs")


def clock(transfer: Callable[[], None]) -> float:
    """Seconds per transfer."""
    begun = time.perf_counter()
    for _ in range(TRANSFERS):
        transfer()
    return (time.perf_counter() - begun) / TRANSFERS


def through_the_bridge(folder: Path, address: str) -> Callable[[], None]:
    """The product, as the API calls it."""
    url = f"sqlite:///{folder / 'bridge.db'}"
    db.migrate(url)
    provider = QTechSection.model_validate(
        {"operator": "bench", "protocol": "qtech", "base_url": address, "username": USERNAME,
         "password": PASSWORD, "currencies": ["EUR"]}
    )  # fmt: skip
    runtime: Runtime = compose(Config(database=DatabaseSection(url=url), providers={"bench": provider}))
    operator = keys.add_operator(runtime, "bench")
    players.register(runtime, operator, "p1", ["EUR"])
    cashier.move(runtime, operator, cashier.DEPOSIT, "money", cashier.CashWish("p1", "1000000.00", "EUR"))
    count = iter(range(10**9))

    def transfer() -> None:
        begun = begin(runtime, operator, f"key-{next(count)}", Wish("p1", "bench", "in", "1.00", "EUR"))
        assert begun.outcome is not None
        assert drive(runtime, begun.outcome).transfer.state == "confirmed"

    return transfer


def the_floor(folder: Path, address: str) -> Callable[[], None]:
    """What no bridge can do without."""
    parts = urlsplit(address)
    wire = http.client.HTTPConnection(parts.hostname or "", parts.port)
    rows = sqlite3.connect(folder / "floor.db", isolation_level=None)
    rows.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE t (reference TEXT, state TEXT);")
    credentials = f"username={USERNAME}&password={PASSWORD}"
    wire.request("POST", f"/v1/auth/token?grant_type=password&response_type=token&{credentials}")
    token = json.loads(wire.getresponse().read())["access_token"]
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    count = iter(range(10**9))

    def ask(method: str, path: str, body: str) -> dict[str, str]:
        wire.request(method, path, body, headers)
        answer: dict[str, str] = json.loads(wire.getresponse().read())
        return answer

    def transfer() -> None:
        reference = f"floor-{next(count)}"
        rows.execute("INSERT INTO t VALUES (?, 'prepare')", (reference,))
        prepared = ask(
            "POST", "/v1/fund-transfers",
            f'{{"type":"CREDIT","referenceId":"{reference}","playerId":"p2","amount":1.00,"currency":"EUR"}}',
        )  # fmt: skip
        rows.execute("INSERT INTO t VALUES (?, 'complete')", (reference,))
        done = ask("PUT", f"/v1/fund-transfers/{prepared['id']}/status", '{"status":"COMPLETED"}')
        assert done["status"] == "COMPLETED"
        rows.execute("INSERT INTO t VALUES (?, 'confirmed')", (reference,))

    return transfer


if __name__ == "__main__":
    main()
