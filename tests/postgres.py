"""A real PostgreSQL for tests, chaos and proof: from binaries, on loopback, gone when its owner is gone.

PostgresServer is the server and its life; Cluster is what another process needs to use it.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from tests.memory import memory
from tests.postgres_binaries import PostgresMissing, find_binaries, open_to_all, readable_to_all

if TYPE_CHECKING:
    import psycopg
    from sqlalchemy import Engine

SUPERUSER = "bridge"
GUARD = Path(__file__).with_name("postgres_guard.py")
START_SECONDS_MAX = 30.0
STOP_SECONDS_MAX = 20.0
REMOVED_SECONDS_MAX = 120.0  # a folder on a busy disk, after a long run

COMMON_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "250",  # two workers, each with web processes that hold a pool of their own
    "dynamic_shared_memory_type": "mmap",  # in the data folder: a killed server leaves nothing outside it
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
}
# Safe against the death of any process, not against the death of the machine. synchronous_commit stays on:
# without it a committed row waits in shared memory, and kill9() would lose it.
FAST_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "on",
    "min_wal_size": "32MB",
    "max_wal_size": "128MB",
}
DURABLE_SETTINGS = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}


class PostgresFailed(Exception):
    """The server was found but did not start or stop; the message ends with its own log."""


class Cluster:
    """A running server seen from outside: an address, and the databases behind it."""

    def __init__(self, port: int) -> None:
        """Know the server that listens on `port` of 127.0.0.1."""
        self.port = port

    def url(self, database: str) -> str:
        """SQLAlchemy URL of `database`, whether it exists or not."""
        return f"postgresql+psycopg://{SUPERUSER}@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[Any, ...]]:
        """Open an autocommit connection as superuser; the caller closes it."""
        import psycopg

        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=SUPERUSER,
            dbname=database,
            autocommit=True,
            connect_timeout=10,
        )

    def create_database(self, name: str, template: str | None = None) -> str:
        """Create `name`, empty or a copy of `template`, to which nobody may be connected; return its URL."""
        from psycopg import sql

        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY wal_log").format(
            sql.Identifier(name), sql.Identifier(template or "template0")
        )
        with self.connect() as connection:
            connection.execute(statement)
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drop `name` if it is there, ending the sessions that a test left open in it."""
        from psycopg import sql

        with self.connect() as connection:
            statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            connection.execute(statement.format(sql.Identifier(name)))


class PostgresServer(Cluster):
    """A server of our own, in temporary folders of its own, that can be stopped and killed.

    `durable=True` keeps its data on disk, with fsync and full page writes (chaos, benchmarks). Without it
    they are in memory where the machine has enough: commits survive kill9(), but not a power cut. Use it as
    a context manager, or end it with close(). If its owner dies untidily, even by SIGKILL, the guard of
    tests/postgres_guard.py stops the server and removes the folders.
    """

    def __init__(self, *, durable: bool = False) -> None:
        """Find the binaries and make the folder; start() does the rest.

        Raises PostgresMissing when this machine has no usable PostgreSQL.
        """
        super().__init__(_free_port())
        self.durable = durable
        self._owner = _unprivileged_account() if os.geteuid() == 0 else None
        binaries = find_binaries()
        self.folder = Path(tempfile.mkdtemp(prefix="bridge-postgres-", dir=_temporary_root(self._owner)))
        self.data = self._data_folder()
        self._guard = subprocess.Popen(
            [sys.executable, "-S", "-P", str(GUARD), str(self.folder), str(self.data)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd="/",
            start_new_session=True,
        )
        self._postmaster: subprocess.Popen[bytes] | None = None
        self._has_run = False
        if self._owner:
            # The server's account may pass through our folder, and owns nothing but the data.
            self.folder.chmod(0o711)
            os.chown(self.data, self._owner.pw_uid, self._owner.pw_gid)
            binaries = readable_to_all(binaries, self.folder)
        self._binaries = binaries

    @property
    def running(self) -> bool:
        """Whether the postmaster is alive."""
        return self._postmaster is not None and self._postmaster.poll() is None

    @property
    def pid(self) -> int:
        """Process id of the postmaster; raises PostgresFailed when none was started."""
        if self._postmaster is None:
            raise PostgresFailed("this PostgreSQL server is not running")
        return self._postmaster.pid

    def start(self) -> None:
        """Start the server and return when it accepts connections; a running one is left alone."""
        if self.running:
            return
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        deadline = time.monotonic() + START_SECONDS_MAX
        while failure := self._launch(deadline):
            if not self._has_run and "Address already in use" in failure:
                self.port = _free_port()
            # The backends of a killed postmaster need a moment to notice; until then its memory is taken.
            elif "is still in use" not in failure or time.monotonic() > deadline:
                raise PostgresFailed(f"PostgreSQL did not start:\n{failure}")
            time.sleep(0.05)
        self._has_run = True

    def stop(self) -> None:
        """End the server in order: sessions are cut, everything is on disk."""
        self._end(signal.SIGINT)

    def kill9(self) -> None:
        """Kill the postmaster without warning; its backends follow by themselves, and start() recovers."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop in order and start again on the same port."""
        self.stop()
        self.start()

    def close(self) -> None:
        """End the server for good and remove its folder; a second call does nothing."""
        self._end(signal.SIGQUIT)
        if self._guard.stdin is not None:
            self._guard.stdin.close()
        self._guard.wait(REMOVED_SECONDS_MAX)

    def __enter__(self) -> Self:
        """Start, and close on the way out."""
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        """Close."""
        self.close()

    def _data_folder(self) -> Path:
        """Make the folder of the data: in memory, if allowed and large enough, else beside the log."""
        root = self.folder if self.durable else memory() or self.folder
        return Path(tempfile.mkdtemp(prefix="bridge-postgres-data-", dir=root))

    def _initialise(self) -> None:
        command = [
            str(self._binaries / "initdb"),
            "--pgdata",
            str(self.data),
            "--username",
            SUPERUSER,
            "--auth",
            "trust",
            "--encoding",
            "UTF8",
            "--locale",
            "C",
            "--no-instructions",
        ]
        with (self.folder / "log").open("ab") as log:
            code = self._run(command if self.durable else [*command, "--no-sync"], log).wait()
        if code != 0:
            raise PostgresFailed(f"initdb failed:\n{self._log_from(0)}")

    def _launch(self, deadline: float) -> str:
        """Start the postmaster once; return "" when it answers, else what it logged before it ended."""
        settings = COMMON_SETTINGS | (DURABLE_SETTINGS if self.durable else FAST_SETTINGS)
        command = [str(self._binaries / "postgres"), "-D", str(self.data), "-p", str(self.port)]
        for name, setting in settings.items():
            command += ["-c", f"{name}={setting}"]
        with (self.folder / "log").open("ab") as log:
            log_start = log.tell()
            self._postmaster = self._run(command, log)
        self._tell_guard(self._postmaster.pid)
        while self.running:
            if self._accepts_connections():
                return ""
            if time.monotonic() > deadline:
                self._end(signal.SIGQUIT)
                break
            time.sleep(0.01)
        self._end(signal.SIGQUIT)
        return self._log_from(log_start) or f"no answer within {START_SECONDS_MAX:.0f} s"

    def _accepts_connections(self) -> bool:
        """Ask our own server, not one that happens to hold the port: the data folder must be ours."""
        import psycopg

        with contextlib.suppress(psycopg.OperationalError), self.connect() as connection:
            row = connection.execute("SHOW data_directory").fetchone()
            return row == (str(self.data),)
        return False

    def _run(self, command: list[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start `command` outside our terminal and our environment; as root, under another account."""
        account: dict[str, Any] = {}
        if self._owner:
            account = {"user": self._owner.pw_uid, "group": self._owner.pw_gid, "extra_groups": []}
        environment = {"LC_ALL": "C", "TZ": "UTC", "PATH": os.defpath}
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            cwd="/",
            start_new_session=True,
            **account,
        )

    def _end(self, how: signal.Signals) -> None:
        if self._postmaster is None:
            return
        if self.running:
            self._postmaster.send_signal(how)
            try:
                self._postmaster.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self._postmaster.kill()
                self._postmaster.wait()
        self._postmaster = None
        self._tell_guard(0)

    def _tell_guard(self, pid: int) -> None:
        with contextlib.suppress(BrokenPipeError):
            if self._guard.stdin is not None and not self._guard.stdin.closed:
                print(pid, file=self._guard.stdin, flush=True)

    def _log_from(self, offset: int) -> str:
        return (self.folder / "log").read_bytes()[offset:].decode(errors="replace").strip()


def _unprivileged_account() -> pwd.struct_passwd:
    """PostgreSQL refuses to run as root: as root, run it as nobody."""
    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        sentence = "PostgreSQL does not run as root, and this machine has no user nobody to run it as."
        raise PostgresMissing(sentence) from None


def _temporary_root(owner: pwd.struct_passwd | None) -> Path:
    """Return the usual temporary folder, or a public one where `owner` could not enter the usual."""
    usual = Path(tempfile.gettempdir()).resolve()
    if owner is None or open_to_all(usual):
        return usual
    public = [Path(name).resolve() for name in ("/tmp", "/var/tmp") if Path(name).is_dir()]  # noqa: S108
    return next((folder for folder in public if open_to_all(folder)), usual)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


OTHERS_SECONDS = 60.0
_OTHERS = (
    "SELECT COUNT(*) FROM pg_stat_activity WHERE CAST(CAST(backend_xid AS text) AS bigint) < {begun} "
    "AND (datname IS DISTINCT FROM current_database() OR backend_type <> 'client backend')"
)


def others_end(engine: Engine) -> None:
    """Other tests share the server, and sealing waits for a transaction of theirs as for one of its own database: wait
    until none is left that is running now. What the test itself has open is not waited for."""
    if engine.dialect.name == "sqlite":
        return
    end = time.monotonic() + OTHERS_SECONDS
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        begun = connection.exec_driver_sql(
            "SELECT CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text) AS bigint)"
        ).scalar_one()
        while connection.exec_driver_sql(_OTHERS.format(begun=int(begun))).scalar_one():
            assert time.monotonic() < end, "a transaction of another database does not end"
            time.sleep(0.02)
