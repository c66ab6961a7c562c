"""What every contestant has: programs, a door, and a word on every transfer that it was asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.children import HOST, Child, free_port
from benchmarks.wire.order import Door

DONE, UNDONE, OPEN = "done", "undone", "open"
"""What a system says of a transfer at last: that it took place, that it did not, or that it does not know."""

SECRET = "whsec_YmVuY2htYXJrczogYnJpZGdlIHRvIHByb3ZpZGVyIDAwMQ=="  # noqa: S105 - of a provider that exists for a run
PLAYERS = 500


@dataclass(frozen=True)
class Ground:
    """What all contestants of one field share.

    `fresh`: the URL of a new empty database of that name; `roots`: the processes of the database server, if any;
    `workers` and `threads` of every web server: those with which the bridge starts.
    """

    provider: str
    fresh: Callable[[str], str]
    roots: tuple[int, ...]
    workers: int
    threads: int

    @property
    def on_postgresql(self) -> bool:
        """Whether there is a database server."""
        return bool(self.roots)


class Contestant:
    """One system. Subclasses say what runs; `start` raises DidNotStart."""

    path: ClassVar[str] = "/v1/transfers"

    def __init__(self, name: str, ground: Ground, folder: Path) -> None:
        self.name, self.ground, self.folder = name, ground, folder
        folder.mkdir(parents=True)
        self.port = free_port()
        self.children: list[Child] = []

    @property
    def door(self) -> Door:
        """Where its clients ask."""
        return Door(HOST, self.port, self.path, self.headers())

    @property
    def provider(self) -> str:
        """Its account at the provider."""
        return f"{self.ground.provider}/{self.name}"

    @property
    def roots(self) -> tuple[int, ...]:
        """All processes that work for it: its own, and the database server, which the others only poll meanwhile."""
        return (*(child.pid for child in self.children), *self.ground.roots)

    def headers(self) -> dict[str, str]:
        """What every request carries beside its key."""
        return {}

    def prepare(self) -> None:
        """What is done once, before the first start."""

    def programs(self) -> Iterator[tuple[Child, int | None]]:
        """Its programs in the order in which they start, each with the port by which it is seen to be ready."""
        raise NotImplementedError

    def ready(self) -> None:
        """What is done after every start."""

    def said(self, run: str) -> Mapping[int, str]:
        """DONE, UNDONE or OPEN of every transfer of a run that it knows, by number."""
        raise NotImplementedError(run)

    def start(self) -> None:
        """Start all programs, and be ready for the first request."""
        try:
            for child, port in self.programs():
                self.children.append(child)
                child.start()
                if port is not None:
                    child.wait_for_port(port)
            self.ready()
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """SIGKILL to all of its programs at once."""
        for child in self.children:
            child.kill()
        self.children.clear()

    def stop(self) -> None:
        """End in order."""
        for child in self.children:
            child.stop()
        self.children.clear()

    @contextmanager
    def running(self) -> Iterator[Contestant]:
        """Prepared, started, and stopped at the end."""
        self.prepare()
        self.start()
        try:
            yield self
        finally:
            self.stop()


def numbers(rows: Mapping[str, str] | list[tuple[Any, ...]], run: str, words: Mapping[str, str]) -> dict[int, str]:
    """By number, from (key, state) as a system stores them; what has another state than `words` knows is OPEN."""
    pairs = rows.items() if isinstance(rows, Mapping) else rows
    mine = ((str(key), str(state)) for key, state in pairs if str(key).startswith(f"{run}-"))
    return {int(key.rpartition("-")[2]): words.get(state, OPEN) for key, state in mine}
