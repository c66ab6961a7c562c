"""`audit` as its users type it, and the jobs beside it: from nothing set up to a finding."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from threading import Event

import pytest
from sqlalchemy import text

from bridge.api.health import found_wrong
from bridge.audit.findings import Finding, Kind
from jobs import inspect, seal
from tests.cli.conftest import ROOT, Folder
from tests.postgres import others_end


def until(true, seconds=60.0):
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.2)


def configured(folder: Folder, **audit: object) -> None:
    """Add a section to the file that is there."""
    file = folder.path / "bridge.toml"
    lines = [f"{name} = {json.dumps(value)}" for name, value in audit.items()]
    file.write_text("\n".join([file.read_text().split("[audit]")[0], "[audit]", *lines]))


@pytest.mark.timeout(300)  # twenty commands, each a process of its own
def test_from_nothing_to_a_finding(site):
    """I-56 R17 Set up, begun, sealed, mirrored, verified; a row that is changed makes each of them say so."""
    folder, made, _ = site
    assert "not set up (audit.key_file)" in folder.did("audit", "status")
    assert "audit.key_file" in folder.refused("audit", "key")
    assert "Set audit.mirror_file" in folder.refused("audit", "begin")
    configured(folder, key_file="keys/audit.key", mirror_file="mirror/heads", delay_seconds=0)
    assert "audit key" in folder.refused("audit", "begin")
    public = folder.did("audit", "key").split()[2]
    assert folder.did("audit", "key").split()[2] == public
    assert "not begun" in folder.did("audit", "status")
    assert "has begun" in folder.did("audit", "begin")
    assert made.run("in", "10.00", ask=5)

    sealed(made)
    assert "1 lines" not in folder.did("audit", "status")
    told = folder.did("audit", "verify").splitlines()[-1]
    assert told.startswith("Nothing was changed: ")
    assert ", 0 not sealed yet." in told
    assert "Nothing was changed" in folder.did("verify")
    assert "Nothing was changed" not in folder.did("verify", "--quick")
    another = folder.did("audit", "key", "--replace").split()
    assert public in another
    assert "not signed by a key that is accepted" in folder.run("audit", "verify").stdout
    configured(folder, key_file="keys/audit.key", mirror_file="mirror/heads", delay_seconds=0, public_keys=[public])
    folder.did("audit", "verify")

    changed(made)
    ended = folder.run("audit", "verify")
    assert ended.returncode == 1
    assert "edited      history id 1 (operator 1): it is not as it was sealed" in ended.stdout
    assert "1 finding: " in ended.stdout
    assert folder.run("verify").returncode == 1
    assert folder.run("verify", "--quick").returncode == 0
    inspect.run_once(made.runtime, made.runtime.clock.now(), 10, Event())
    wrong = {each.check: each.detail for each in found_wrong(made.runtime)}
    assert wrong["audit"] == "the last inspection failed: 1 finding (1 edited)"
    assert "Accepted in line 2" in folder.did("audit", "accept", "--reason", "looked at")


def sealed(made) -> None:
    """The job at two ticks."""
    runtime = made.runtime
    section = runtime.config.audit.model_copy(update={"delay_seconds": 0})
    object.__setattr__(runtime, "config", runtime.config.model_copy(update={"audit": section}))
    for _ in range(2):
        others_end(runtime.engine)
        seal.run_once(runtime, runtime.clock.now(), 10**6, Event())


def changed(made) -> None:
    """One row of the history, by the owner of the database."""
    with made.runtime.engine.begin() as connection:
        edit = text("UPDATE history SET actor = 'nobody' WHERE id = 1")
        if made.runtime.engine.dialect.name == "sqlite":
            guard = connection.execute(text("SELECT sql FROM sqlite_master WHERE name = 'history_no_update'")).scalar()
            connection.execute(text("DROP TRIGGER history_no_update"))
            connection.execute(edit)
            connection.exec_driver_sql(guard)
        else:
            connection.execute(text("SET LOCAL session_replication_role = replica"))
            connection.execute(edit)


def test_a_finding_about_a_whole_chain_is_one_line():
    """Where there is no one row, seal or line that it is about, no gap stands in its place."""
    told = str(Finding(Kind.SEAL, "seals", "", 1, "3 stand in the chain, and runs lead to 2 of them"))
    assert told == "seal        seals (operator 1): 3 stand in the chain, and runs lead to 2 of them"


def test_wrong_settings_are_named(site):
    """Bad input names the key."""
    folder, *_ = site
    configured(folder, public_keys=["AAAA"])
    assert "audit.public_keys" in folder.refused("audit", "status")
    configured(folder, delay_seconds=-1)
    assert "audit.delay_seconds" in folder.refused("audit", "status")


@pytest.mark.timeout(200)
def test_the_jobs_seal_mirror_and_inspect(site):
    """R17 A real process of the jobs: what a transfer wrote is sealed, mirrored and inspected."""
    folder, made, _ = site
    options = {"delay_seconds": 0, "seal_every_seconds": 0.3, "mirror_seconds": 0.5}
    configured(folder, key_file="audit.key", mirror_file="heads", **options)
    folder.did("audit", "key")
    folder.did("audit", "begin")
    assert made.run("in", "10.00", ask=5)
    process = started(folder)
    try:
        until(lambda: made.rows("SELECT 1 FROM seal WHERE source = 'event'"))  # of what was written last
        until(lambda: len(mirror_of(folder)) > 1)
        until(lambda: made.rows("SELECT outcome FROM job_run WHERE job = 'inspect' AND outcome = 'ok'"))
    finally:
        process.terminate()
        process.wait(40)
    told = folder.did("verify")
    assert "Nothing was changed" in told
    assert " 0 not sealed yet." in told


def mirror_of(folder: Folder) -> list[str]:
    """The lines of its mirror."""
    return (folder.path / "heads").read_text().splitlines()


def started(folder: Folder) -> subprocess.Popen[bytes]:
    """A process of the jobs on its configuration."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BRIDGE_")}
    with (folder.path / "jobs.log").open("w") as log:
        return subprocess.Popen([sys.executable, "-m", "jobs"], cwd=folder.path, env={**kept, "PYTHONPATH": str(ROOT)},
                                stdout=log, stderr=log)  # fmt: skip
