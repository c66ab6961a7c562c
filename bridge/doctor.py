"""The doctor: what has to be right on this machine before money is entrusted to it; and the one way in which
a command or the jobs open a configured bridge, with one sentence where that cannot be."""

from __future__ import annotations

import errno
import os
import socket
import sys
import tomllib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import Connection
from sqlalchemy.exc import ArgumentError

from bridge import clocks, db, gates, gauges, guards, identity, ledger, lineage, readiness, traces, withdrawals
from bridge.app import compose
from bridge.config import CONFIG_VARIABLE, Config, GenericSection
from bridge.money import AmountRefused, UnknownCurrency
from bridge.outbound import Outbound
from bridge.ports import SECOND, Window
from bridge.runtime import Runtime

SQLITE_PRAGMAS = ("journal_mode", "synchronous")

POSTGRESQL_SETTINGS = {
    "fsync": "must be on: a crash of the machine loses what was answered",
    "full_page_writes": "must be on: a crash of the machine can tear a page of the ledger",
    "synchronous_commit": "must not be off: a crash loses what was answered",
}
"""What must not be off, and why."""

CANNOT_START = 2
"""The exit code of what could not start."""

LEAST_SLACK_SECONDS = 1.0
CONTRACT_EXECUTES_WITHIN = 60  # docs/provider-contract.md §2, promise 4
REACH_SECONDS = 3.0
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class CannotStart(Exception):
    """Something on this machine prevents the start; the text is one sentence for the person who tried."""


def configuration() -> Config:
    """The configuration of this process. Raises CannotStart, naming the key that is wrong."""
    named = os.environ.get(CONFIG_VARIABLE)
    if named is not None and not Path(named).is_file():
        raise CannotStart(f"There is no file {named}, which {CONFIG_VARIABLE} names.")
    source = named or "bridge.toml"
    try:
        return Config()
    except tomllib.TOMLDecodeError as wrong:
        raise CannotStart(f"{source} is not TOML: {wrong}.") from wrong
    except ValueError as wrong:
        raise CannotStart(f"The configuration ({source}, BRIDGE_…) cannot be used: {_told(wrong)}.") from wrong


def bridge(config: Config, *, migrated: bool = True) -> Runtime:
    """The runtime of a configured bridge, its database migrated. Raises CannotStart."""
    try:
        traces.require(config.traces)
        runtime = compose(config)
    except (ArgumentError, AmountRefused, UnknownCurrency, ImportError, OSError, traces.NotInstalled) as wrong:
        raise CannotStart(f"The configuration cannot be used: {one_line(wrong)}.") from wrong
    if not migrated:
        return runtime
    try:
        readiness.require(runtime)
    except db.NotMigrated as wrong:
        raise CannotStart(str(wrong)) from wrong
    except db.TROUBLE as wrong:
        raise CannotStart(database_sentence(wrong)) from wrong
    return runtime


def bridge_or_exit() -> Runtime:
    """The runtime of this process, for an entry point; one sentence and exit code 2 where it cannot start."""
    try:
        config = configuration()
        runtime = bridge(config)
        identity.keep(runtime)
        traces.start(config.traces, runtime.worker)
        return runtime
    except CannotStart as wrong:
        sentence = str(wrong)
    except db.TROUBLE as wrong:
        sentence = database_sentence(wrong)
    sys.stderr.write(f"{sentence}\n")
    raise SystemExit(CANNOT_START)


def free_port(host: str, port: int) -> int:
    """The port itself if nobody listens there, a free one for 0. Web workers share a port, so one that is
    taken has to be noticed before they start. Raises CannotStart."""
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as taken:
            why = "is in use" if taken.errno == errno.EADDRINUSE else f"cannot be taken ({taken.strerror})"
            raise CannotStart(f"{host}:{port} {why}: name another port with --port or web.port.") from taken
        return int(probe.getsockname()[1])


def database_sentence(trouble: Exception) -> str:
    """One sentence for what a database raised."""
    return f"The database cannot be used: {one_line(getattr(trouble, 'orig', None) or trouble)}."


def database_trouble(runtime: Runtime) -> str:
    """Why the database of a runtime cannot be asked, in one sentence; nothing if it can. Makes no file."""
    missing = _missing_file(runtime)
    if missing:
        return missing
    try:
        db.require_migrated(runtime.engine)
    except db.NotMigrated as wrong:
        return str(wrong)
    except db.TROUBLE as trouble:
        return database_sentence(trouble)
    return ""


def _missing_file(runtime: Runtime) -> str:
    """Looking for a file of SQLite through SQLite would make it."""
    file = runtime.engine.url.database
    if runtime.engine.dialect.name == "sqlite" and file and file != ":memory:" and not Path(file).exists():
        return f"there is no file {file}: run `python -m bridge migrate` first"
    return ""


def one_line(trouble: BaseException) -> str:
    """The first line of an error's text, without its full stop; its name where it has none."""
    lines = str(trouble).strip().splitlines()
    return lines[0].strip().rstrip(".") if lines else type(trouble).__name__


def _told(wrong: ValueError) -> str:
    """Each key that is wrong and why, from pydantic's list where the error carries one."""
    listed = getattr(wrong, "errors", None)
    if not callable(listed):
        return one_line(wrong)
    told = []
    for error in listed():
        key = ".".join(str(part) for part in error["loc"]) or "together"
        unknown = error["type"] == "extra_forbidden"
        told.append(f"unknown key {key}" if unknown else f"{key}: {error['msg'].removeprefix('Value error, ')}")
    return "; ".join(told)


# --- the examination ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Remark:
    """One thing that was looked at; `mark` is `ok`, `note` (worth knowing) or `bad` (not safe, or missing)."""

    mark: str
    subject: str
    sentence: str


def examine(runtime: Runtime) -> list[Remark]:
    """Everything that has to be right, in the order in which it has to be put right."""
    found = [*_database(runtime), *_times(runtime), *_alerts(runtime), _desk(runtime)]
    return [*found, *(remark for name in runtime.providers for remark in _provider(runtime, name))]


def durability(connection: Connection) -> list[Remark]:
    """Whether an answered commit survives a power cut, as the database itself says."""
    if connection.dialect.name == "sqlite":
        journal, synchronous = (connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in SQLITE_PRAGMAS)
        return [
            _judged("journal_mode", str(journal), journal == "wal", "must be wal: this file system or URL refuses it"),
            _judged("synchronous", str(synchronous), synchronous in (2, 3), "must be FULL (2) or EXTRA (3)"),
        ]
    remarks = []
    for name, unsafe in POSTGRESQL_SETTINGS.items():
        value = str(connection.exec_driver_sql(f"SHOW {name}").scalar_one())
        remarks.append(_judged(name, value, value != "off", unsafe))
    replica = bool(connection.exec_driver_sql("SELECT pg_is_in_recovery()").scalar_one())
    sentence = "this is a replica: money is decided on the primary only"
    return [*remarks, _judged("primary", "no" if replica else "yes", not replica, sentence)]


def _database(runtime: Runtime) -> list[Remark]:
    missing = _missing_file(runtime)
    if missing:
        return [Remark("bad", "database", missing)]
    try:
        with db.reading(runtime.engine) as connection:
            remarks = [Remark("ok", "database", f"{connection.dialect.name} answers"), *durability(connection)]
            remarks.append(_clock(runtime, connection))
        return [*remarks, *_schema(runtime)]
    except db.TROUBLE as trouble:
        return [Remark("bad", "database", database_sentence(trouble))]


def _schema(runtime: Runtime) -> list[Remark]:
    try:
        readiness.require(runtime)
    except db.NotMigrated as wrong:
        return [Remark("bad", "schema", str(wrong))]
    with db.reading(runtime.engine) as connection:
        missing, closed = guards.missing(connection), gates.closed(connection)
        moved = identity.moved(connection, runtime)
        unpaid, behind = withdrawals.closed(connection), list(_left_behind(connection, runtime))
    found = f"missing {', '.join(missing)}" if missing else "all in force"
    triggers = _judged("triggers", found, not missing, "what is written for ever can be changed")
    shut = [Remark("note", each.provider, f"transfers in are closed ({each.cause}): {each.reason}") for each in closed]
    if unpaid is not None:
        shut.append(Remark("note", "withdrawals", f"closed (restored): {unpaid.reason}; {withdrawals.HOW_TO_OPEN}"))
    accept = "`python -m bridge providers accept {} --reason WHY`"
    others = [
        Remark("bad", name, f"{told}: configure it as it was, or {accept.format(name)}") for name, told in moved.items()
    ]
    return [Remark("ok", "schema", db.schema_version()), triggers, _lineage(runtime), *others, *shut, *behind]


def _left_behind(connection: Connection, runtime: Runtime) -> Iterator[Remark]:
    """What is still at a provider, or on its way, in what was taken out of the configuration."""
    moves = {(name, code) for name, policy in runtime.config.providers.items() for code in policy.currencies}
    for (provider, currency), units in sorted(ledger.held_at_games(connection).items()):
        if (provider, currency) not in moves:
            held = runtime.currencies.spelled(units, currency)
            yield Remark("note", provider, f"{held} is there by our books, and {currency} is not configured there")
    for each in gauges.unresolved(connection):
        if (each.provider, each.currency) not in moves:
            kind = f"({each.direction}, {each.stage}) of {each.currency}, which is not configured there"
            yield Remark("note", each.provider, f"transfers that have not ended: {each.transfers} {kind}")


def _lineage(runtime: Runtime) -> Remark:
    """Whether a database that is set back to an earlier day would be noticed."""
    file = lineage.mark_file(runtime)
    if file is None:
        unseen = "a copy would be noticed, a disk that was set back would not: set database.mark_file"
        return Remark("note", "lineage", unseen)
    writable = os.access(file.parent, os.W_OK)
    return _judged("lineage", f"its mark is kept in {file}", writable, "this folder cannot be written")


def _clock(runtime: Runtime, connection: Connection) -> Remark:
    apart = clocks.apart(runtime, connection)
    near, limit = apart < clocks.APART_AT_MOST, clocks.APART_AT_MOST // SECOND
    return _judged("clock", f"{apart / SECOND:.1f} s from the database's", near, f"must be below {limit} s")


def _times(runtime: Runtime) -> Iterator[Remark]:
    """Combinations that are allowed and seldom meant; those that are unsafe are refused when they are read."""
    config = runtime.config
    slack, wait = config.engine.lease_slack_seconds, config.web.wait_seconds
    yield Remark(
        "ok" if slack >= LEAST_SLACK_SECONDS else "note",
        "lease",
        f"a worker that is paused for more than {slack:g} s does not send"
        + ("" if slack >= LEAST_SLACK_SECONDS else ": a busy machine pauses longer than that"),
    )
    threads, pool = config.engine.resolve_threads + config.events.deliver_threads, config.database.pool_size
    if runtime.engine.dialect.name == "postgresql" and pool < threads:
        late = "where the database is slow, they and the jobs' beat wait for each other"
        told = f"database.pool_size ({pool}) is below resolve_threads and deliver_threads together ({threads}): {late}"
        yield Remark("note", "pool", told)
    for name, policy in config.providers.items():
        if wait >= policy.patience_seconds:
            yield Remark("note", name, "web.wait_seconds reaches patience_seconds: requests wait for an orphan")
        lease = runtime.lease_seconds(policy.longest_call_seconds)
        if isinstance(policy, GenericSection) and policy.absent_after_seconds < CONTRACT_EXECUTES_WITHIN:
            early = f"absent_after_seconds is below the {CONTRACT_EXECUTES_WITHIN} s in which the contract may execute"
            yield Remark("note", name, f"{early}: what is taken as absent may still come")
        if lease >= policy.patience_seconds:
            yield Remark("note", name, f"a lease of {lease:g} s outlives patience_seconds: a lost worker orphans")
    if not config.providers:
        yield Remark("bad", "providers", "none is configured: add a [providers.NAME] table to bridge.toml")


def _alerts(runtime: Runtime) -> Iterator[Remark]:
    """Whether what alerts are sent with can be read; whether they arrive, `alerts test` says."""
    settings = runtime.config.alerts
    wanted = (("webhook_secret", settings.webhook_url, settings.signing_secret),
              ("smtp_password", settings.smtp_user, settings.password))  # fmt: skip
    for name, is_used, read in wanted:
        try:
            if is_used is not None:
                read()
        except (OSError, ValueError) as wrong:
            yield Remark("bad", "alerts", f"{name}_file cannot be used: {one_line(wrong)}")


def _desk(runtime: Runtime) -> Remark:
    """Whether people can come to the desk, and orphaned money before them."""
    desk = runtime.config.desk
    try:
        is_there = desk.master() is not None
    except (OSError, ValueError) as wrong:
        return Remark("bad", "desk", f"its secret cannot be read: {one_line(wrong)}")
    if not is_there:
        return Remark("note", "desk", "desk.secret is not set: /ops is closed, and nobody decides about orphans there")
    if desk.address is None and runtime.config.web.host not in LOOPBACK:
        return Remark("note", "desk", "desk.address is not set: links begin with whatever name a browser asked for")
    return Remark("ok", "desk", desk.address or "at http://localhost")


def _provider(runtime: Runtime, name: str) -> Iterator[Remark]:
    policy = runtime.policy(name)
    parts = urlsplit(policy.base_url)
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        yield Remark("note", name, f"{policy.base_url} is not encrypted: a password and money travel in the clear")
    try:
        policy.read_secrets()
    except (OSError, ValueError) as wrong:
        yield Remark("bad", name, f"its secret cannot be read: {one_line(wrong)}")
    door = Outbound(policy.base_url, clock=runtime.clock, pool=1)
    end = runtime.clock.monotonic() + REACH_SECONDS
    exchange = door.send("GET", "", window=Window(not_after=end, deadline=end), headers={})
    door.close()
    there = exchange.status is not None
    told = f"{policy.base_url} answers" if there else f"{policy.base_url} does not answer ({exchange.failure})"
    yield Remark("ok" if there else "bad", name, told)


def _judged(subject: str, value: str, safe: bool, unsafe: str) -> Remark:
    return Remark("ok", subject, value) if safe else Remark("bad", subject, f"{value}: {unsafe}")
