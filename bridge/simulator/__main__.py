"""The command line: `python -m bridge.simulator --ledger FILE`; prints one JSON line when it is ready."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from decimal import Decimal, InvalidOperation
from pathlib import Path

from bridge.simulator.assembly import Assembled, CannotStart, assemble
from bridge.simulator.faults.cases import TABLES, listing
from bridge.simulator.faults.choice import BadFault
from bridge.simulator.journal import UnreadableLedger
from bridge.simulator.server import Gate
from bridge.simulator.stage import Stage

SWEEP_SECONDS = 0.1  # an expiry stands in the file at most this long after its instant
LAST_REQUESTS_SECONDS = 10.0  # a stop waits no longer than this for the requests in hand
POLL_SECONDS = 0.05  # how soon a listener notices that it should stop
LONGEST_SECONDS = 10**9  # some thirty years
CANNOT_START = 2
STOP = (signal.SIGTERM, signal.SIGINT)


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
    parser = argparse.ArgumentParser(prog="python -m bridge.simulator", description="A provider that lies on request.")
    parser.add_argument("--protocol", choices=list(TABLES), default="qtech", help="what it speaks")
    parser.add_argument("--ledger", type=Path, help="the provider's books; its diaries stand beside it")
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address")
    parser.add_argument("--port", type=int, default=0, help="the protocol's port (0: any free one)")
    parser.add_argument("--control-port", type=int, default=0, help="the control port (0: any free one)")
    parser.add_argument("--seed", type=int, default=None, help="decides every open choice (default: a new one)")
    parser.add_argument("--rate", default="0", help="share of the transfers that meet a fault, 0 to 1")
    parser.add_argument("--cases", default="", help="numbers with weights, such as 1:3,3:5,13 (default: all alike)")
    parser.add_argument("--script", type=Path, help="JSON list of faults, as POST /faults takes them")
    parser.add_argument(
        "--expiry", type=seconds, default=Decimal(10), help="seconds until what is pending is cancelled"
    )
    parser.add_argument("--retention", type=seconds, help="seconds a final transfer can be looked up (default: ever)")
    parser.add_argument("--currencies", default="EUR:2,JPY:0,KWD:3,BTC:8", help="codes with their decimals")
    parser.add_argument("--list", action="store_true", help="print the cases and end")
    _qtech_arguments(parser.add_argument_group("qtech"))
    _generic_arguments(parser.add_argument_group("generic"))
    return parser.parse_args(argv)


def _qtech_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--username", default="demo")
    group.add_argument("--password", default=os.environ.get("SIMULATOR_PASSWORD", "demo"))
    group.add_argument("--token-idle-ms", type=int, default=21_600_000, help="idle milliseconds a token lives")


def _generic_arguments(group: argparse._ArgumentGroup) -> None:
    for option, whose in (("--secret", "requests"), ("--callback-secret", "callbacks")):
        name = f"SIMULATOR_{option[2:].replace('-', '_').upper()}"
        known = os.environ.get(name, "").split()
        text = f"whsec_…, of {whose}; twice while one is exchanged for the other ({name})"
        group.add_argument(option, action="append", default=known, help=text)
    group.add_argument("--callbacks", metavar="URL", help="where callbacks are sent (default: none are)")
    group.add_argument("--callback-pause", type=seconds, default=Decimal(5), help="seconds until one is sent again")


def serve(made: Assembled, gate: Gate) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests in hand."""
    doors = (made.protocol, made.control)
    for door in doors:
        threading.Thread(target=door.serve_forever, args=(POLL_SECONDS,), daemon=True).start()
    threading.Thread(target=_sweep, args=(made.stage, gate), daemon=True).start()
    made.spoken.begin()
    address = made.protocol.url + made.spoken.path
    print(json.dumps({"address": address, "control": made.control.url, "pid": os.getpid()}), flush=True)
    signal.sigwait(STOP)
    for door in doors:
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
    # Waited for, not handled: a handler that sets an event can wait for a lock that the interrupted code holds.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP)  # before any thread is started: threads inherit it
    gate = Gate()
    try:
        made = assemble(wanted, gate)
    except (CannotStart, UnreadableLedger, BadFault) as error:
        print(str(error), file=sys.stderr)
        return CANNOT_START
    serve(made, gate)
    return 0


if __name__ == "__main__":
    sys.exit(main())
