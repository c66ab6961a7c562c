"""The ground itself: fresh databases of both kinds, no skipped test, full pins, a Makefile that explains."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import SKIPPING_IS_FAILING
from tests.postgres_binaries import BINARIES_VARIABLE

ROOT = Path(__file__).resolve().parent.parent


# --- databases of tests


@pytest.mark.parametrize("workers", [0, 2])
def test_missing_postgres_is_a_failure_with_one_sentence(workers: int, tmp_path: Path) -> None:
    """A machine without PostgreSQL turns the run red and says why; nothing is skipped."""
    (tmp_path / "test_inner.py").write_text("def test_one(database_url):\n    assert database_url\n")

    run = _pytest(tmp_path, workers, **{BINARIES_VARIABLE: "/nowhere"})

    assert run.returncode == 1
    assert run.stdout.count(f"{BINARIES_VARIABLE}=/nowhere does not hold initdb and postgres.") >= 1
    assert _closing_line(run).startswith("1 passed, 1 error in ")


@pytest.mark.parametrize("turn", [1, 2])
def test_database_is_fresh_and_empty(database_url: str, turn: int) -> None:
    """Each test gets a database without a table, whatever the one before it left."""
    engine = sa.create_engine(database_url)
    assert sa.inspect(engine).get_table_names() == []
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE left_behind (number INTEGER)"))
    assert sa.inspect(engine).get_table_names() == ["left_behind"]
    engine.dispose()


@pytest.mark.parametrize("turn", [1, 2])
def test_migrated_database_is_fresh_and_has_the_schema(migrated_url: str, turn: int) -> None:
    """Each test gets its own copy of the migrated schema, whatever the one before it did to its copy."""
    engine = sa.create_engine(migrated_url)
    tables = sa.inspect(engine).get_table_names()
    assert "alembic_version" in tables
    assert "left_behind" not in tables
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE left_behind (number INTEGER)"))
    engine.dispose()


NOTE_SERVER = """
import pathlib, time
import pytest

@pytest.mark.parametrize("turn", range({turns}))
def test_one(postgres, turn, worker_id):
    with postgres.connect() as connection:
        folder, = connection.execute("SHOW data_directory").fetchone()
    pathlib.Path({folder!r}, f"{{worker_id}}-{{turn}}.seen").write_text(folder)
    time.sleep(0.05)
"""


def test_workers_share_one_server(tmp_path: Path) -> None:
    """Two workers are told the same server, and it ends with the run."""
    (tmp_path / "test_inner.py").write_text(NOTE_SERVER.format(turns=8, folder=str(tmp_path)))

    run = _pytest(tmp_path, 2)

    assert run.returncode == 0, run.stdout
    notes = list(tmp_path.glob("*.seen"))
    assert {note.name.split("-")[0] for note in notes} == {"gw0", "gw1"}
    servers = {note.read_text() for note in notes}
    assert len(servers) == 1
    assert not Path(servers.pop()).exists()


def test_server_ends_with_an_abandoned_run(tmp_path: Path) -> None:
    """Like `pytest | head`: the reader leaves in the middle, pytest dies of it, and the server goes too."""
    (tmp_path / "test_inner.py").write_text(NOTE_SERVER.format(turns=400, folder=str(tmp_path)))
    reader = f"until ls {tmp_path}/*.seen; do sleep 0.05; done >/dev/null 2>&1"
    command = f"{shlex.join(_pytest_command(tmp_path, 2))} 2>/dev/null | ( {reader} )"

    subprocess.run(["sh", "-c", command], cwd=ROOT, env=_environment(), check=True, timeout=60)

    notes = list(tmp_path.glob("*.seen"))
    assert 0 < len(notes) < 400
    deadline = time.monotonic() + 20
    while any(Path(note.read_text()).exists() for note in notes):
        assert time.monotonic() < deadline, "the server outlived its run"
        time.sleep(0.05)


# --- nothing is skipped

EXCUSES = """
import unittest
import pytest

@pytest.fixture
def moody():
    pytest.skip("the fixture")

@pytest.mark.skip(reason="marked")
def test_mark_skip(): ...

@pytest.mark.skipif(True, reason="marked if")
def test_mark_skipif(): ...

def test_skip_in_body(): pytest.skip("in the body")

def test_skip_in_fixture(moody): ...

def test_skip_of_unittest(): raise unittest.SkipTest("by unittest")

@pytest.mark.xfail(reason="marked xfail")
def test_mark_xfail(): assert False

@pytest.mark.xfail(reason="marked and passing", strict=False)
def test_mark_xfail_that_passes(): ...

def test_xfail_in_body(): pytest.xfail("in the body")

@pytest.mark.xfail(reason="not even run", run=False)
def test_mark_xfail_not_run(): ...

def test_skip_in_subtest(subtests):
    with subtests.test("one"):
        pytest.skip("in a subtest")

def test_honest(): ...
"""


@pytest.mark.parametrize("workers", [0, 2])
def test_every_excuse_fails_the_run(workers: int, tmp_path: Path) -> None:
    """However a test excuses itself, it is red; an honest one beside it is green."""
    (tmp_path / "test_inner.py").write_text(EXCUSES)

    run = _pytest(tmp_path, workers)

    assert run.returncode == 1, run.stdout
    red = set(re.findall(r"^(?:FAILED|ERROR|SUBFAILED\S*) \S*::(test_\w+)", run.stdout, re.MULTILINE))
    assert red == set(re.findall(r"def (test_\w+)", EXCUSES)) - {"test_honest"}
    assert SKIPPING_IS_FAILING in run.stdout
    assert re.search(r"\b(skipped|xfailed|xpassed)\b", _closing_line(run)) is None


@pytest.mark.parametrize("workers", [0, 2])
def test_skipped_module_fails_the_run(workers: int, tmp_path: Path) -> None:
    """A module that skips itself while it is collected turns the run red, other modules notwithstanding."""
    for name, excuse in [
        ("import", "pytest.importorskip('no_such_package')"),
        ("level", "pytest.skip('whole', allow_module_level=True)"),
    ]:
        (tmp_path / f"test_{name}.py").write_text(f"import pytest\n{excuse}\ndef test_one(): ...\n")
    (tmp_path / "test_other.py").write_text("def test_honest(): ...\n")

    run = _pytest(tmp_path, workers)

    assert run.returncode not in {0, 5}, run.stdout
    red = set(re.findall(r"^ERROR \S*(test_\w+)\.py", run.stdout, re.MULTILINE))
    assert red == {"test_import", "test_level"}
    assert SKIPPING_IS_FAILING in run.stdout


def test_honest_run_is_green(tmp_path: Path) -> None:
    """The guard says nothing where nothing is skipped."""
    (tmp_path / "test_inner.py").write_text("def test_honest(): ...\n")

    run = _pytest(tmp_path, 0)

    assert run.returncode == 0, run.stdout
    assert _closing_line(run).startswith("1 passed in ")


# --- pins


@pytest.mark.parametrize(
    "name", ["requirements.txt", "requirements-traces.txt", "requirements-dev.txt", "constraints.txt"]
)
def test_every_requirement_is_pinned(name: str) -> None:
    """Each line names exactly one version; each direct dependency stands beside its reason."""
    lines = [line for line in (ROOT / name).read_text().splitlines() if line and line[0] not in "#-"]

    assert lines
    for line in lines:
        pin, _, reason = line.partition("#")
        assert re.fullmatch(r"[A-Za-z0-9._-]+(\[\w+\])?==[A-Za-z0-9.]+\s*", pin), line
        assert reason.strip() or name == "constraints.txt", f"no reason: {line}"


def test_everything_we_pull_is_constrained_at_the_installed_version() -> None:
    """Our requirements, followed through what is installed, meet only versions that constraints.txt names."""
    constraints: dict[str, str] = {canonicalize_name(pin.name): str(pin.specifier) for pin in _pins("constraints.txt")}
    direct = [pin for part in ROOT.glob("requirements*.txt") for pin in _pins(part.name)]

    pulled = _closure(direct)

    assert {name: f"=={importlib.metadata.version(name)}" for name in pulled} == {
        name: constraints.get(name) for name in pulled
    }
    assert {canonicalize_name(pin.name): str(pin.specifier) for pin in direct}.items() <= constraints.items()
    assert len(pulled) > len(direct)


def _pins(name: str) -> list[Requirement]:
    lines = (line.partition("#")[0].strip() for line in (ROOT / name).read_text().splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("-r")]


def _closure(direct: list[Requirement]) -> set[str]:
    """Names of all distributions that `direct` requires on this machine, themselves included."""
    waiting = [(pin.name, extra) for pin in direct for extra in ["", *pin.extras]]
    seen: set[tuple[str, str]] = set()
    while waiting:
        name, extra = waiting.pop()
        if (canonicalize_name(name), extra) in seen:
            continue
        seen.add((canonicalize_name(name), extra))
        for line in importlib.metadata.requires(name) or []:
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                waiting += [(needed.name, wanted) for wanted in ["", *needed.extras]]
    return {name for name, _ in seen}


# --- the Makefile


def test_make_without_python_says_so_in_one_sentence(tmp_path: Path) -> None:
    """Without a usable Python, set-up stops before it touches anything and says what is needed."""
    for part in (ROOT / "Makefile", *ROOT.glob("requirements*.txt"), ROOT / "constraints.txt"):
        shutil.copyfile(part, tmp_path / part.name)
    too_old = tmp_path / "python-too-old"
    too_old.write_text("#!/bin/sh\nexit 1\n")
    too_old.chmod(0o755)

    for choice in ("", str(too_old)):
        run = subprocess.run(
            ["make", f"PYTHON={choice}", "test"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert run.returncode != 0
        assert run.stderr.startswith("Python 3.11 or newer with pip is needed")
        assert not (tmp_path / ".venv").exists()


# --- what these tests stand on


def _pytest_command(folder: Path, workers: int) -> list[str]:
    return [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-rfE",
        "-p",
        "xdist",
        "-p",
        "pytest_timeout",
        "-p",
        "tests.conftest",
        "-p",
        "no:cacheprovider",
        "-n",
        str(workers),
        "--rootdir",
        str(folder),
        "-c",
        str(ROOT / "pyproject.toml"),
        str(folder),
    ]


def _environment() -> dict[str, str]:
    """Our environment without what the outer run told its workers, and without plugins that cost seconds."""
    ours = {name: setting for name, setting in os.environ.items() if not name.startswith("PYTEST_")}
    return ours | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


def _pytest(folder: Path, workers: int, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _pytest_command(folder, workers),
        cwd=ROOT,
        env=_environment() | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def _closing_line(run: subprocess.CompletedProcess[str]) -> str:
    return run.stdout.strip().splitlines()[-1]
