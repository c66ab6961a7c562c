"""The raw figures: one JSON file a part, written when the part is finished. They are all that the page is made from.

A run that was cut short goes on where its files end; one that is complete, or was made by other code or on another
machine, is begun anew.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.arithmetic import ratio
from benchmarks.contestants import BRIDGE, DATABASES, DBOS, FLOOR
from benchmarks.plan import THROUGHPUT

RUN = "run.json"
UNKNOWN = "unknown"


class Figures:
    """The figures of one run in `folder`. `run`: what identifies it (machine, versions, scale)."""

    def __init__(self, folder: Path, run: Mapping[str, Any], *, fresh: bool = False) -> None:
        self._folder = folder
        if fresh or not self._goes_on(run):
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / RUN).exists():
            self._write(RUN, {**run, "complete": False})

    @property
    def run(self) -> dict[str, Any]:
        """What identifies the run."""
        found: dict[str, Any] = json.loads((self._folder / RUN).read_text(encoding="utf-8"))
        return found

    def has(self, part: str) -> bool:
        """Whether a part is finished."""
        return (self._folder / f"{part}.json").exists()

    def read(self, part: str) -> dict[str, Any]:
        """What was measured; empty where it was not."""
        if not self.has(part):
            return {}
        found: dict[str, Any] = json.loads((self._folder / f"{part}.json").read_text(encoding="utf-8"))
        return found

    def keep(self, part: str, measured: Mapping[str, Any]) -> None:
        """Store a finished part: whole, or not at all."""
        self._write(f"{part}.json", measured)

    def complete(self) -> None:
        """Mark the run as complete: the next one begins anew."""
        self._write(RUN, {**self.run, "complete": True})

    def everything(self) -> dict[str, Any]:
        """All parts and the run, by name, for the file beside the page."""
        names = sorted(path.stem for path in self._folder.glob("*.json"))
        return {name: self.read(name) for name in names}

    def _goes_on(self, run: Mapping[str, Any]) -> bool:
        if not (self._folder / RUN).exists():
            return False
        before = self.run
        return not before.get("complete") and all(before.get(name) == value for name, value in run.items())

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        new = self._folder / f"{name}.new"
        new.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        new.replace(self._folder / name)


def closing_line(figures: Figures) -> str:
    """`postgresql: bridge/floor=… cpu/floor=… bridge/dbos=… | sqlite: …`, at a provider that answers at once."""
    return " | ".join(f"{database}: {_ratios(figures, database)}" for database in DATABASES)


def _ratios(figures: Figures, database: str) -> str:
    rounds = figures.read(f"{THROUGHPUT}-{database}-0ms").get("rounds", {})

    def told(name: str, one: str, other: str, figure: str) -> str:
        if not rounds.get(one) or not rounds.get(other):
            return f"{name}={UNKNOWN}"
        pair = [[each[figure] for each in rounds[who]] for who in (one, other)]
        return f"{name}={ratio(*pair):.2f}"

    return " ".join(
        (
            told("bridge/floor", BRIDGE, FLOOR, "per_second"),
            told("cpu/floor", BRIDGE, FLOOR, "cpu_millis"),
            told("bridge/dbos", BRIDGE, DBOS, "per_second"),
        )
    )
