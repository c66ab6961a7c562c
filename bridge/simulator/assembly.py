"""The parts put together: files, books, protocol, faults and both ports, for the protocol that is asked for."""

from __future__ import annotations

import argparse
import ipaddress
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridge.simulator.control import Control, Route
from bridge.simulator.faults.cases import TABLES
from bridge.simulator.faults.choice import BadFault, Choice, read_rate, read_script, read_weights
from bridge.simulator.generic import signature
from bridge.simulator.generic.acts import Acts, checked_url
from bridge.simulator.generic.books import GenericBooks
from bridge.simulator.generic.caller import Caller
from bridge.simulator.generic.games import Games
from bridge.simulator.generic.lies.requests import LIES as GENERIC_LIES
from bridge.simulator.generic.outbox import Outbox
from bridge.simulator.generic.protocol import PATH, Generic
from bridge.simulator.journal import CallbackDiary, FaultDiary, Journal, WireDiary
from bridge.simulator.messages import MICROS, Currencies
from bridge.simulator.provider import Provider
from bridge.simulator.qtech.books import QTechBooks
from bridge.simulator.qtech.lies import LIES as QTECH_LIES
from bridge.simulator.qtech.protocol import QTech
from bridge.simulator.qtech.sight import Sight
from bridge.simulator.qtech.tokens import Tokens
from bridge.simulator.server import Door, Gate
from bridge.simulator.stage import Lies, Stage


class CannotStart(Exception):
    """Something on the command line or the machine prevents the start; the text is one sentence."""


@dataclass(frozen=True)
class Spoken:
    """One protocol over its books: the truth, the lies, the control port's extra POSTs, the path that clients
    are told, and what begins to work once both ports are open.
    """

    provider: Provider
    lies: Lies
    acts: Mapping[str, Route]
    path: str = ""
    begin: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Assembled:
    """A simulator that can be served."""

    stage: Stage
    protocol: Door
    control: Door
    spoken: Spoken


@dataclass(frozen=True)
class Parts:
    """What both protocols are built from."""

    wanted: argparse.Namespace
    currencies: Currencies
    choice: Choice
    faults: FaultDiary
    wire: WireDiary
    gate: Gate

    @property
    def retention(self) -> float | None:
        """Seconds for which what has ended can be looked up."""
        return None if self.wanted.retention is None else float(self.wanted.retention)

    @property
    def for_books(self) -> tuple[Journal, Currencies, int, Callable[[], int]]:
        """The ledger file, and what else books need."""
        journal = Journal(self.wanted.ledger, durable=True)
        return journal, self.currencies, int(self.wanted.expiry * MICROS), microseconds


def microseconds() -> int:
    """Now, since 1970. The wall clock: expiry must go on counting while the process is dead."""
    return time.time_ns() // 1000


def assemble(wanted: argparse.Namespace, gate: Gate) -> Assembled:
    """Open the files and both ports. Raises CannotStart, UnreadableLedger or BadFault."""
    if not _is_loopback(wanted.host):
        raise CannotStart(f"{wanted.host} is not a loopback address.")
    if wanted.ledger is None:
        raise CannotStart("--ledger is required.")
    if wanted.expiry <= 0 or wanted.token_idle_ms <= 0 or wanted.callback_pause <= 0:
        raise CannotStart("--expiry, --token-idle-ms and --callback-pause must be above zero.")
    try:
        currencies = Currencies.parse(wanted.currencies)
    except ValueError as error:
        raise CannotStart(f"--currencies: {error}.") from error
    choice = _choice(wanted)
    faults, wire = FaultDiary(_beside(wanted, "faults"), microseconds), WireDiary(_beside(wanted, "wire"), microseconds)
    spoken = SPEAK[wanted.protocol](Parts(wanted, currencies, choice, faults, wire, gate))
    stage = Stage(spoken.provider, spoken.lies, choice, faults, wire, gate)
    protocol = _open(wanted.host, wanted.port, gate, stage.answer, stage.at_accept)
    control = _open(wanted.host, wanted.control_port, gate, Control(stage, spoken.acts).answer)
    return Assembled(stage, protocol, control, spoken)


def _choice(wanted: argparse.Namespace) -> Choice:
    table = TABLES[wanted.protocol]
    seed = random.SystemRandom().randrange(1 << 32) if wanted.seed is None else wanted.seed
    choice = Choice(table, seed, microseconds)
    choice.set_rate(read_rate(wanted.rate), read_weights(wanted.cases, table), {})
    for fault in _script(wanted.script):
        choice.script(read_script(fault, table))
    return choice


def _qtech(parts: Parts) -> Spoken:
    wanted = parts.wanted
    books = QTechBooks(*parts.for_books)
    books.when_cancelled = Sight(parts.faults, parts.wire).cancelled
    tokens = Tokens(wanted.username, wanted.password, wanted.token_idle_ms, microseconds)
    return Spoken(QTech(books, tokens, parts.retention), QTECH_LIES, {})


def _generic(parts: Parts) -> Spoken:
    wanted = parts.wanted
    keys, callback_keys = _keys("--secret", wanted.secret), _keys("--callback-secret", wanted.callback_secret)
    if not keys or (wanted.callbacks is not None and not callback_keys):
        raise CannotStart("--secret is required, and --callback-secret where there are --callbacks.")
    try:
        url = None if wanted.callbacks is None else checked_url(wanted.callbacks)
    except BadFault as error:
        raise CannotStart(f"--callbacks: {error}.") from error
    books = GenericBooks(*parts.for_books)
    provider = Generic(books, Games(microseconds), keys, parts.retention)
    diary = CallbackDiary(_beside(wanted, "callbacks"), microseconds)
    outbox = Outbox(callback_keys, float(wanted.callback_pause), lambda: microseconds() // MICROS, diary, parts.gate)
    caller = Caller(provider, parts.choice, outbox, parts.faults, diary)
    books.when_changed = caller.changed

    def begin() -> None:
        caller.call_to(url)
        outbox.start()

    return Spoken(provider, GENERIC_LIES, Acts(caller, keys).routes, PATH, begin)


def _keys(option: str, secrets: Sequence[str]) -> tuple[bytes, ...]:
    try:
        return tuple(signature.key_of(secret) for secret in secrets)
    except ValueError as error:
        raise CannotStart(f"{option}: {error}.") from error


SPEAK: dict[str, Callable[[Parts], Spoken]] = {"qtech": _qtech, "generic": _generic}


def _beside(wanted: argparse.Namespace, diary: str) -> Path:
    ledger: Path = wanted.ledger
    return ledger.with_name(f"{ledger.name}.{diary}")


def _open(host: str, port: int, gate: Gate, *answers: Any) -> Door:
    try:
        return Door((host, port), gate, *answers)
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
