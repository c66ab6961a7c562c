"""The ground every test stands on: a fresh database of each kind, and a run in which nothing is skipped.

- ``database_url``: a new, empty database; the test runs once on SQLite and once on PostgreSQL.
- ``migrated_url``: the same with the migrated schema, copied from a template migrated once per worker.
- ``tmp_path``: in memory where the machine has enough of it, and gone with a test that passed.
- ``postgres``: the server behind both, shared by all workers of a run. A test that stops or kills a server
  starts one of its own with ``tests.postgres.PostgresServer``.

A machine without PostgreSQL fails those tests with one sentence. A skip or an xfail fails the run. What fails is
named at once, for a run that is cut off tells no summary.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import uuid
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from tests.memory import memory
from tests.postgres import Cluster, PostgresFailed, PostgresServer
from tests.postgres_binaries import PostgresMissing

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

ENGINES = ["sqlite", "postgresql"]
SERVER = pytest.StashKey[PostgresServer]()
SKIPPING_IS_FAILING = "A test of this project is never skipped and never expected to fail. It said: "


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Give ``tmp_path`` its folder before anybody asks for it, and the terminal its crier."""
    if place := memory():
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(place))
    if terminal := config.pluginmanager.get_plugin("terminalreporter"):
        config.pluginmanager.register(Crier(terminal))


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> Cluster:
    """The run's PostgreSQL server, started by the xdist controller for its workers; without xdist, here."""
    told: dict[str, Any] | None = getattr(request.config, "workerinput", None)
    if told is None:
        try:
            return _shared_server(request.config)
        except (PostgresMissing, PostgresFailed) as reason:
            pytest.fail(str(reason), pytrace=False)
    if told["postgres_trouble"]:
        pytest.fail(told["postgres_trouble"], pytrace=False)
    return Cluster(told["postgres_port"])


@pytest.fixture(params=ENGINES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """SQLAlchemy URL of a fresh, empty database, gone after the test; the test runs on both engines."""
    if request.param == "sqlite":
        yield _sqlite_url(tmp_path / "bridge.db")
    else:
        yield from _fresh_postgres_database(request.getfixturevalue("postgres"), template=None)


@pytest.fixture(params=ENGINES)
def migrated_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """SQLAlchemy URL of a fresh database as migration leaves it; the test runs on both engines."""
    if request.param == "sqlite":
        shutil.copyfile(request.getfixturevalue("migrated_sqlite_file"), tmp_path / "bridge.db")
        yield _sqlite_url(tmp_path / "bridge.db")
    else:
        template = request.getfixturevalue("migrated_postgres_template")
        yield from _fresh_postgres_database(request.getfixturevalue("postgres"), template)


@pytest.fixture(scope="session")
def migrated_sqlite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file, complete in itself: nothing is left in a write-ahead log beside it."""
    from bridge.db import migrate

    template = tmp_path_factory.mktemp("template") / "bridge.db"
    migrate(_sqlite_url(template))
    with closing(sqlite3.connect(template)) as connection:
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        pytest.fail("bridge.db.migrate left a connection open: its file cannot be copied", pytrace=False)
    return template


@pytest.fixture(scope="session")
def migrated_postgres_template(postgres: Cluster) -> Iterator[str]:
    """Name of a PostgreSQL database with the migrated schema, to create others from."""
    from bridge.db import migrate

    name = _unique_name("template")
    migrate(postgres.create_database(name))
    yield name
    postgres.drop_database(name)


def _sqlite_url(path: Path) -> str:
    return f"sqlite:///{path.absolute()}"


def _fresh_postgres_database(postgres: Cluster, template: str | None) -> Iterator[str]:
    name = _unique_name("test")
    yield postgres.create_database(name, template)
    postgres.drop_database(name)


def _unique_name(kind: str) -> str:
    return f"bridge_{kind}_{uuid.uuid4().hex}"


def _shared_server(config: pytest.Config) -> PostgresServer:
    """The server of this run, started by the first who asks in this process and closed with the session."""
    if SERVER not in config.stash:
        server = PostgresServer()
        config.add_cleanup(server.close)
        server.start()
        config.stash[SERVER] = server
    return config.stash[SERVER]


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Start the server before the first xdist worker, in the controller, which outlives them all."""
    told = {"postgres_port": 0, "postgres_trouble": ""}
    try:
        told["postgres_port"] = _shared_server(node.config).port
    except (PostgresMissing, PostgresFailed) as reason:
        told["postgres_trouble"] = str(reason)
    node.workerinput.update(told)


class Crier:
    """Names each failure when it happens, in the process that writes to the terminal."""

    def __init__(self, terminal: Any) -> None:
        """Speak through pytest's own terminal reporter."""
        self.terminal = terminal

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One line between the dots: which test, when, and the first line of why."""
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            why = str(crash.message if crash else report.longrepr).partition("\n")[0]
            self.terminal.write_line(f"\nred: {report.nodeid} ({report.when}): {why}")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn the report of a skipped, xfailed or xpassed test into a failure."""
    report = yield
    excuse: str | None = getattr(report, "wasxfail", None)
    if excuse is not None:
        del report.wasxfail
    if report.skipped or excuse is not None:
        report.outcome = "failed"
        report.longrepr = SKIPPING_IS_FAILING + (excuse or _reason_of_skip(report))
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn a module that skips itself (importorskip, allow_module_level) into a collection error."""
    report = yield
    if report.skipped:
        reason = _reason_of_skip(report)
        report.outcome = "failed"
        report.longrepr = SKIPPING_IS_FAILING + reason
    return report


def _reason_of_skip(report: pytest.TestReport | pytest.CollectReport) -> str:
    return str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
