"""The whole bridge on one machine: two simulated providers, one a protocol, web and jobs as child processes on one
SQLite file in one folder.

A child that ends by itself is reported. A stop lets the web finish the requests in hand while jobs and
simulators still answer them, then the jobs their work, then the simulators.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import select
import signal
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, redirect_stderr
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from rich.console import Console

from bridge import cashier, db, doctor, keys, log, players
from bridge.audit import mirror, signing
from bridge.config import CONFIG_VARIABLE
from bridge.desk import people
from bridge.errors import Conflict
from bridge.models.desk import InvitationKind, PersonState
from bridge.outbound import wait_until_up
from bridge.runtime import Ids, Runtime, SystemClock

PROJECT = Path(__file__).resolve().parents[1]
HOST = "127.0.0.1"
OPERATOR, PLAYER = "demo", "ann"
START_SECONDS = 30.0
WATCH_SECONDS = 0.2
SECRET_BYTES = 32

Tables = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Simulated:
    """A simulated provider: its name in the API, the protocol that it speaks, the same in words, its own books."""

    name: str
    protocol: str
    words: str
    ledger: str

    @property
    def child(self) -> str:
        """The name of its process."""
        return f"simulator-{self.protocol}"


QTECH = Simulated("simulator", "qtech", "QTech's transfer wallet", "provider.ledger")
GENERIC = Simulated("generic", "generic", "our own contract, with callbacks", "generic.ledger")
SIMULATED = (QTECH, GENERIC)

LAST_SECONDS = {"web": 40.0, "jobs": 50.0, QTECH.child: 15.0, GENERIC.child: 15.0}
"""How long each child may take to stop, in the order in which they are stopped."""


@dataclass
class Child:
    """One child process and the file that holds what it says."""

    name: str
    process: subprocess.Popen[str]
    log: Path

    def last_words(self) -> str:
        """The last line of its log that says what went wrong, and where the others are."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").split("\n")
        told = [line for line in lines if line.strip() and not line.startswith("[INFO]")]
        said = told[-1] if told else "it said nothing"
        return f"{said} (its log: {self.log})"


@dataclass
class Stack:
    """Simulators, web and jobs in `folder`; a context manager that starts and stops them.

    `port` 0 takes any free one; `tables` are added to the generated bridge.toml, `simulator` to each simulator's
    command line. `told`: what each said when it was ready, by the provider's name. Entering raises
    doctor.CannotStart; nothing is left running then.
    """

    folder: Path
    port: int
    tables: Tables = field(default_factory=dict)
    simulator: Sequence[str] = ()
    children: list[Child] = field(default_factory=list)
    told: dict[str, dict[str, Any]] = field(default_factory=dict)
    _ends: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        with ExitStack() as ends:
            ends.callback(self.stop)
            self._start(ends)
            self._ends = ends.pop_all()
        return self

    def __exit__(self, *_raised: object) -> None:
        self._ends.close()

    @property
    def address(self) -> str:
        """Where the API answers."""
        return f"http://{HOST}:{self.port}"

    def watch(self) -> Child | None:
        """The first child that has ended by itself, None while all run."""
        return next((child for child in self.children if child.process.poll() is not None), None)

    def ledger(self, provider: Simulated) -> Path:
        """The books that a simulated provider keeps of its own."""
        return self.folder / provider.ledger

    def stop(self) -> None:
        """Stop all children, each with the time it needs for the work in hand."""
        for name, seconds in LAST_SECONDS.items():
            for child in [child for child in self.children if child.name == name]:
                self.children.remove(child)
                child.process.terminate()
                try:
                    child.process.wait(seconds)
                except subprocess.TimeoutExpired:
                    os.killpg(child.process.pid, signal.SIGKILL)  # its workers too: each child leads a session
                    child.process.wait()
                if child.process.stdout is not None:
                    child.process.stdout.close()

    def _start(self, ends: ExitStack) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as wrong:
            raise doctor.CannotStart(f"{self.folder} cannot be written: {wrong.strerror}.") from wrong
        self.folder = self.folder.resolve()
        # What this process logs from here on goes into the folder; the screen is for people.
        ends.enter_context(redirect_stderr(ends.enter_context((self.folder / "up.log").open("a", encoding="utf-8"))))
        log.configure()
        self.port = doctor.free_port(HOST, self.port)
        for name in [name for name in os.environ if name.startswith(("BRIDGE_", "SIMULATOR_"))]:
            del os.environ[name]  # what stands in the folder is all that counts, here and in the children
        requests, callbacks = _secret(), _secret()
        self._simulators(requests, callbacks)
        config = self.folder / "bridge.toml"
        config.touch(mode=0o600)
        config.chmod(0o600)  # before a secret stands in it
        config.write_text(_toml(self._tables(requests, callbacks)), encoding="utf-8")
        os.environ[CONFIG_VARIABLE] = str(config)
        db.migrate(self.url)
        self._begin_mirror()
        self._spawn("web", sys.executable, "-m", "bridge", "serve")
        self._say_when_ready(self._spawn("jobs", sys.executable, "-m", "jobs", ready=True))
        self._wait_for_web()

    @property
    def url(self) -> str:
        """The database."""
        return f"sqlite:///{self.folder / 'bridge.db'}"

    def runtime(self) -> Runtime:
        """A runtime of this process on the same configuration."""
        return doctor.bridge(doctor.configuration())

    def _simulators(self, requests: str, callbacks: str) -> None:
        # By the environment: a command line can be read by everybody on the machine.
        secret = {"SIMULATOR_SECRET": requests, "SIMULATOR_CALLBACK_SECRET": callbacks}
        to_us = f"{self.address}/v1/providers/{GENERIC.name}/callbacks"
        program = (sys.executable, "-m", "bridge.simulator", *self.simulator)
        started = {
            each: self._spawn(
                each.child,
                *(*program, "--protocol", each.protocol, "--ledger", str(self.ledger(each))),
                *("--port", str(self._port_before(each))),
                *(("--callbacks", to_us) if each is GENERIC else ()),
                ready=True,
                more=secret if each is GENERIC else {},
            )
            for each in SIMULATED
        }
        self.told = {each.name: self._say_when_ready(child) for each, child in started.items()}

    def _port_before(self, provider: Simulated) -> int:
        """Where a simulated provider answered the last time, for elsewhere it would be another one; 0 for anywhere."""
        try:
            written = tomllib.loads((self.folder / "bridge.toml").read_text(encoding="utf-8"))
            return urlsplit(written["providers"][provider.name]["base_url"]).port or 0
        except (OSError, ValueError, LookupError):
            return 0

    def _tables(self, requests: str, callbacks: str) -> Tables:
        providers: dict[Simulated, dict[str, Any]] = {
            QTECH: {"username": "demo", "password": "demo"},
            GENERIC: {
                "request_secret": requests,
                "callback_secrets": (callbacks,),
                "callback_networks": (f"{HOST}/32",),
            },
        }
        ours: dict[str, Mapping[str, Any]] = {
            "database": {"url": self.url},
            "web": {"host": HOST, "port": self.port, "threads": 32},
            "audit": self._audit(),
            "events": {"secret_file": str(self._lasting_secret("events")), "allowed_networks": (f"{HOST}/32",)},
            "desk": {"secret_file": str(self._lasting_secret("desk")), "steward": OPERATOR},
        }
        for each, more in providers.items():
            account = {"operator": OPERATOR, "protocol": each.protocol, "base_url": self.told[each.name]["address"]}
            ours[f"providers.{each.name}"] = {**account, **more, "currencies": ("EUR",)}
        return {name: {**ours.get(name, {}), **self.tables.get(name, {})} for name in {**ours, **self.tables}}

    def _audit(self) -> dict[str, Any]:
        """Key and mirror of the audit, made once; here they lie beside the database, to be looked at. Where it counts
        they do not."""
        key = self.folder / "audit.key"
        if not key.exists():
            signing.make(Ids(), key)
        return {"key_file": str(key), "mirror_file": str(self.folder / "audit.mirror"), "delay_seconds": 5}

    def _begin_mirror(self) -> None:
        runtime = self.runtime()
        if not mirror.has_begun(runtime):
            mirror.begin(runtime, "up")
        runtime.engine.dispose()

    def _lasting_secret(self, section: str) -> Path:
        """The file of a secret from which others are derived: the same as long as the folder is there."""
        path = self.folder / f"{section}.secret"
        if not path.exists():
            part = path.with_suffix(".part")
            part.touch(mode=0o600)
            part.write_text(_secret(), encoding="utf-8")
            part.replace(path)
        return path

    def _spawn(self, name: str, *command: str, ready: bool = False, more: Mapping[str, str] | None = None) -> Child:
        """Start a child in a session of its own, so that a Ctrl-C reaches it only through us; `more` is added to
        its environment."""
        path = self.folder / f"{name}.log"
        with path.open("a", encoding="utf-8") as log:
            process = subprocess.Popen(
                command,
                cwd=PROJECT,
                env={**os.environ, **(more or {})},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if ready else log,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self.children.append(Child(name, process, path))
        return self.children[-1]

    def _say_when_ready(self, child: Child) -> dict[str, Any]:
        """The JSON line by which a child says that it is ready."""
        assert child.process.stdout is not None
        heard, _, _ = select.select([child.process.stdout], [], [], START_SECONDS)
        line = child.process.stdout.readline() if heard else ""
        if not line:
            raise doctor.CannotStart(f"{child.name} did not start: {child.last_words()}.")
        told: dict[str, Any] = json.loads(line)
        return told

    def _wait_for_web(self) -> None:
        clock = SystemClock()
        end = clock.monotonic() + START_SECONDS
        while not wait_until_up(f"{self.address}/healthz", 1, clock):
            ended = self.watch()
            if ended is not None or clock.monotonic() > end:
                late = ended or next(child for child in self.children if child.name == "web")
                raise doctor.CannotStart(f"{late.name} did not start: {late.last_words()}.")


def interrupt_once() -> None:
    """SIGTERM and Ctrl-C raise KeyboardInterrupt once; after it they are ignored, for a second one would
    leave the children that are not stopped yet behind."""

    def interrupt(*_signal: object) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, interrupt)


def run(folder: Path, port: int) -> int:
    """Start everything, say how to use it, and stop everything on Ctrl-C, SIGTERM or a child's death.

    The exit code: 0 after a stop, 1 when a child ended by itself. Raises doctor.CannotStart.
    """
    out = Console(highlight=False, soft_wrap=True, markup=False)
    interrupt_once()
    try:
        out.print("starting two simulators, web and jobs …")
        with Stack(folder, port) as stack:
            runtime = stack.runtime()
            secret, link = _welcome(runtime), _first_admin(runtime)
            for line in (*_greeting(stack, secret), *_to_the_desk(stack, link), "Ctrl-C stops everything."):
                out.print(line)
            clock = SystemClock()
            while (ended := stack.watch()) is None:
                clock.sleep(WATCH_SECONDS)
            code = ended.process.returncode
            out.print(f"{ended.name} (process {ended.process.pid}) ended by itself, exit code {code}: stopping.")
            out.print(ended.last_words())
            return 1
    except KeyboardInterrupt:
        out.print("stopped")
        return 0


def _welcome(runtime: Runtime) -> str:
    """Make sure of the operator and of a player with money; a fresh key, those of earlier starts revoked."""
    try:
        operator = keys.add_operator(runtime, OPERATOR)
    except Conflict:
        operator = _operator(runtime)
    for row in keys.listed(runtime, OPERATOR):
        if row["label"] == "up" and row["revoked_at"] is None:
            keys.revoke(runtime, row["id"])
    players.register(runtime, operator, PLAYER, ["EUR"])
    cashier.move(runtime, operator, cashier.DEPOSIT, "first money", cashier.CashWish(PLAYER, "1000.00", "EUR"))
    return keys.create(runtime, OPERATOR, [keys.Scope.READ, keys.Scope.TRANSFERS], "up")[1]


def _operator(runtime: Runtime) -> int:
    return next(int(row["id"]) for row in keys.operators(runtime) if row["name"] == OPERATOR)


def _first_admin(runtime: Runtime) -> str | None:
    """The secret of a link by which the first admin joins; None where somebody has joined by now."""
    operator, by = _operator(runtime), people.by_command("somebody has started `bridge up`, and nobody has joined yet")
    listed = people.listed(runtime, operator)
    if not listed:
        return people.add(runtime, by, operator, login="admin", name="First admin", role="admin")[1]
    first = next((row for row in listed if row["state"] == PersonState.INVITED and row["login"] == "admin"), None)
    if first is None:
        return None
    return people.link(runtime, by, operator, first["id"], InvitationKind.JOIN)


def _to_the_desk(stack: Stack, link: str | None) -> list[str]:
    desk = f"http://localhost:{stack.port}/ops"
    command = f"BRIDGE_CONFIG={stack.folder / 'bridge.toml'} python -m bridge people"
    join = [] if link is None else [f"join       {desk}/link/{link}  (the first admin; once, within a day)"]
    add = f"people     {command} add LOGIN --operator {OPERATOR} --role approver --reason WHY"
    return [f"desk       {desk}", *join, add]


def _secret() -> str:
    """A new one, as docs/provider-contract.md wants it."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def _greeting(stack: Stack, secret: str) -> list[str]:
    wish = {"player_id": PLAYER, "provider": QTECH.name, "direction": "in", "amount": "25.00", "currency": "EUR"}
    named = {"Authorization": f"Bearer {secret}", "Idempotency-Key": "try-1", "Content-Type": "application/json"}
    headers = " ".join(f"-H '{name}: {value}'" for name, value in named.items())
    told = stack.told
    return [
        f"bridge     {stack.address}  (docs: {stack.address}/docs)",
        *(
            f"{each.name:9}  {told[each.name]['address']}  (a simulated provider that speaks {each.words}; "
            f"control: {told[each.name]['control']})"
            for each in SIMULATED
        ),
        f"folder     {stack.folder}",
        f"command    BRIDGE_CONFIG={stack.folder / 'bridge.toml'} python -m bridge transfers list",
        f"key        {secret}  (operator {OPERATOR}, player {PLAYER})",
        f"try        curl -sS {stack.address}/v1/transfers {headers} -d '{json.dumps(wish)}'",
        f'           (through the other protocol: "provider": "{GENERIC.name}", and another Idempotency-Key)',
    ]


def _toml(tables: Tables) -> str:
    """Tables of plain values as TOML; JSON's strings, numbers and lists are TOML's as well."""
    lines = ["# Written by `python -m bridge up` or `demo`; written again at the next start."]
    for name, table in tables.items():
        lines += ["", f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"
