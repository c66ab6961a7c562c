"""The command line: `python -m bridge.simulator --ledger FILE`; prints one JSON line when it is ready."""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import random
import signal
import sys
import threading
import time
from decimal import Decimal, InvalidOperation
from pathlib import Path

from bridge.simulator.books import Books
from bridge.simulator.control import Control
from bridge.simulator.faults.cases import listing
from bridge.simulator.faults.choice import BadFault, Choice, read_rate, read_script, read_weights
from bridge.simulator.journal import FaultDiary, Journal, UnreadableLedger, WireDiary
from bridge.simulator.messages import MICROS, Currencies
from bridge.simulator.qtech import Provider, Tokens
from bridge.simulator.server import Door, Gate
from bridge.simulator.stage import Stage

SWEEP_SECONDS = 0.1  # an expiry stands in the file at most this long after its instant
LAST_REQUESTS_SECONDS = 10.0  # a stop waits no longer than this for the requests in hand
POLL_SECONDS = 0.05  # how soon a listener notices that it should stop
LONGEST_SECONDS = 10**9  # some thirty years
CANNOT_START = 2


class CannotStart(Exception):
    """Something on the command line or the machine prevents the start; the text is one sentence."""


def microseconds() -> int:
    """Now, since 1970. The wall clock: expiry must go on counting while the process is dead."""
    return time.time_ns() // 1000


def seconds(text: str) -> Decimal:
    """An option in seconds, fractions allowed; raises ValueError, which argparse turns into its own sentence."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise ValueError(text) from None
    if value.is_nan() or not 0 <= value <= LONGEST_SECONDS:
        raise ValueError(text)
    return value


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line; an unusable one ends the process with exit code 2."""
    parser = argparse.ArgumentParser(
        prog="python -m bridge.simulator", description="A QTech transfer wallet that lies on request."
    )
    parser.add_argument("--ledger", type=Path, help="the provider's books; FILE.faults and FILE.wire beside it")
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address")
    parser.add_argument("--port", type=int, default=0, help="the protocol's port (0: any free one)")
    parser.add_argument("--control-port", type=int, default=0, help="the control port (0: any free one)")
    parser.add_argument("--seed", type=int, default=None, help="decides every open choice (default: a new one)")
    parser.add_argument("--rate", default="0", help="share of the transfers that meet a fault, 0 to 1")
    parser.add_argument("--cases", default="", help="numbers with weights, such as 1:3,3:5,13 (default: all alike)")
    parser.add_argument("--script", type=Path, help="JSON list of faults, as POST /faults takes them")
    parser.add_argument("--expiry", type=seconds, default=Decimal(10), help="seconds until PENDING is cancelled")
    parser.add_argument("--username", default="demo")
    parser.add_argument("--password", default=os.environ.get("SIMULATOR_PASSWORD", "demo"))
    parser.add_argument("--token-idle-ms", type=int, default=21_600_000, help="idle milliseconds a token lives")
    parser.add_argument("--retention", type=seconds, help="seconds a final transfer can be looked up (default: ever)")
    parser.add_argument("--currencies", default="EUR:2,JPY:0,KWD:3,BTC:8", help="codes with their decimals")
    parser.add_argument("--list", action="store_true", help="print the cases and end")
    return parser.parse_args(argv)


def build(wanted: argparse.Namespace, gate: Gate) -> tuple[Stage, Door, Door]:
    """Open the files and both ports. Raises CannotStart, UnreadableLedger or BadFault."""
    if not _is_loopback(wanted.host):
        raise CannotStart(f"{wanted.host} is not a loopback address.")
    if wanted.ledger is None:
        raise CannotStart("--ledger is required.")
    if wanted.expiry <= 0 or wanted.token_idle_ms <= 0:
        raise CannotStart("--expiry and --token-idle-ms must be above zero.")
    try:
        currencies = Currencies.parse(wanted.currencies)
    except ValueError as error:
        raise CannotStart(f"--currencies: {error}.") from error
    choice = Choice(random.SystemRandom().randrange(1 << 32) if wanted.seed is None else wanted.seed, microseconds)
    choice.set_rate(read_rate(wanted.rate), read_weights(wanted.cases), {})
    for fault in _script(wanted.script):
        choice.script(read_script(fault))
    ledger: Path = wanted.ledger
    books = Books(Journal(ledger, durable=True), currencies, int(wanted.expiry * MICROS), microseconds)
    tokens = Tokens(wanted.username, wanted.password, wanted.token_idle_ms, microseconds)
    retention = None if wanted.retention is None else float(wanted.retention)
    faults = FaultDiary(ledger.with_name(ledger.name + ".faults"), microseconds)
    wire = WireDiary(ledger.with_name(ledger.name + ".wire"), microseconds)
    stage = Stage(Provider(books, tokens, retention), choice, faults, wire, gate)
    doors = [
        _open(wanted.host, port, gate, *answers)
        for port, answers in (
            (wanted.port, (stage.answer, stage.at_accept)),
            (wanted.control_port, (Control(stage).answer,)),
        )
    ]
    return stage, doors[0], doors[1]


def _open(host: str, port: int, gate: Gate, *answers: object) -> Door:
    try:
        return Door((host, port), gate, *answers)  # type: ignore[arg-type]
    except (OSError, OverflowError) as error:
        raise CannotStart(f"{host}:{port} cannot be opened: {error}.") from error


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _script(path: Path | None) -> list[object]:
    if path is None:
        return []
    try:
        faults = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CannotStart(f"{path} is not a script: {error}.") from error
    if not isinstance(faults, list):
        raise CannotStart(f"{path} is not a script: it must be a JSON list.")
    return faults


def serve(stage: Stage, protocol: Door, control: Door, gate: Gate) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests in hand."""
    asked_to_stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked_to_stop.set())
    for door in (protocol, control):
        threading.Thread(target=door.serve_forever, args=(POLL_SECONDS,), daemon=True).start()
    threading.Thread(target=_sweep, args=(stage, gate), daemon=True).start()
    print(json.dumps({"address": protocol.url, "control": control.url, "pid": os.getpid()}), flush=True)
    asked_to_stop.wait()
    for door in (protocol, control):
        door.shutdown()
    gate.close(LAST_REQUESTS_SECONDS)


def _sweep(stage: Stage, gate: Gate) -> None:
    while not gate.stopping.wait(SWEEP_SECONDS):
        stage.provider.books.settle_due()


def main(argv: list[str] | None = None) -> int:
    """The exit code: 0 after a stop, 2 where it could not start."""
    wanted = arguments(argv)
    if wanted.list:
        print(listing())
        return 0
    gate = Gate()
    try:
        stage, protocol, control = build(wanted, gate)
    except (CannotStart, UnreadableLedger, BadFault) as error:
        print(str(error), file=sys.stderr)
        return CANNOT_START
    serve(stage, protocol, control, gate)
    return 0


if __name__ == "__main__":
    sys.exit(main())
