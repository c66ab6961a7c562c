"""`python -m bridge` as its users run it: in a folder of their own, with a file and an environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import warm
from tests.harness import EUR, OPERATOR, PROVIDER, Bench, bench, simulator

ROOT = Path(__file__).resolve().parents[2]
Ended = subprocess.CompletedProcess


def environment(**changes: str) -> dict[str, str]:
    """This process's environment, with nothing in it that configures a bridge but `changes`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BRIDGE_", "SIMULATOR_"))}
    return {**kept, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **changes}


class Folder:
    """Where somebody stands who types a command."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def configure(self, text: str) -> None:
        """Write bridge.toml."""
        (self.path / "bridge.toml").write_text(text)

    def run(self, *arguments: str, seconds: float = 60, **variables: str) -> Ended[str]:
        """One command, to its end; a traceback is never what was wanted."""
        ended = warm.bridge(*arguments, folder=self.path, environment=environment(**variables), seconds=seconds)
        assert "Traceback" not in ended.stderr, ended.stderr
        return ended

    def cold(self, *arguments: str) -> str:
        """One command that must work, by an interpreter of its own that has imported nothing; what it said."""
        command = [sys.executable, "-m", "bridge", *arguments]
        ended = subprocess.run(
            command, cwd=self.path, env=environment(), capture_output=True, text=True, timeout=60, check=False
        )
        assert (ended.returncode, ended.stderr) == (0, "")
        return ended.stdout

    def did(self, *arguments: str, **variables: str) -> str:
        """One command that must work; what it said."""
        ended = self.run(*arguments, **variables)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    def refused(self, *arguments: str, **variables: str) -> str:
        """One command that must be refused by one sentence and exit code 2; the sentence."""
        ended = self.run(*arguments, **variables)
        assert ended.returncode == 2, ended.stdout + ended.stderr
        assert ended.stdout == ""
        assert len(ended.stderr.splitlines()) == 1, ended.stderr
        return ended.stderr.strip()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """An empty folder."""
    place = tmp_path / "here"
    place.mkdir()
    return Folder(place)


def written(url: str, base_url: str, **engine: Any) -> str:
    """A bridge.toml with one provider."""
    return "\n".join([
        "[database]", f"url = {json.dumps(url)}", "[engine]", *(f"{k} = {json.dumps(v)}" for k, v in engine.items()),
        f"[providers.{PROVIDER}]", f'operator = "{OPERATOR}"', 'protocol = "qtech"', f'base_url = "{base_url}"',
        'username = "demo"', 'password = "demo"', f'currencies = ["{EUR}"]', 'lane_policy = "allow"',
    ])  # fmt: skip


@pytest.fixture
def site(folder: Folder, migrated_url: str, tmp_path: Path) -> Iterator[tuple[Folder, Bench, Any]]:
    """A folder whose bridge.toml names a migrated database with an operator, a player and a provider that runs."""
    calm = {"prepare_seconds": 4, "complete_seconds": 4, "lookup_seconds": 5}
    calm |= {"expiry_seconds": 10, "patience_seconds": 60}
    with (
        simulator(tmp_path, "--expiry", "10") as provider,
        bench(migrated_url, provider.address, engine_lease_slack_seconds=5, **calm) as made,
    ):
        folder.configure(written(migrated_url, provider.address))
        yield folder, made, provider
