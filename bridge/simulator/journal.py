"""Append-only files: the ledger, fsynced line by line, and beside it diaries of faults, requests and callbacks."""

from __future__ import annotations

import fcntl
import json
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bridge.simulator.messages import unix_text

TAKEN = range(200, 300)  # HTTP statuses that end a callback
NO_ANSWER, GIVEN_UP = "no answer", "given up"  # what stands in their place
LEDGER_BROKEN = 3  # exit code: an entry could not be made durable, so nothing may be answered any more


class UnreadableLedger(Exception):
    """The ledger file cannot be opened, locked, or understood; the text is one sentence."""


class Journal:
    """One file of JSON lines. Opening it locks it against a second writer and cuts off a torn last line.

    A line is torn when the writer died inside `write`; nobody was answered on its strength, for the
    answer leaves after the line is whole (and, with `durable`, fsynced).
    """

    def __init__(self, path: Path, *, durable: bool) -> None:
        self.path, self.durable = path, durable
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._cut_torn_line()
            if durable:
                _sync_folder(path.absolute().parent)
        except BlockingIOError:
            raise UnreadableLedger(f"{path} is in use by another simulator.") from None
        except OSError as error:
            raise UnreadableLedger(f"{path} cannot be opened: {error.strerror}.") from error

    def _cut_torn_line(self) -> None:
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            print(f"{self.path}: cut off a torn last line of {len(content) - whole} bytes.", file=sys.stderr)
            os.ftruncate(self._file, whole)
            os.fsync(self._file)

    def lines(self) -> Iterator[dict[str, Any]]:
        """Every line so far; raises UnreadableLedger with its number."""
        with self.path.open("rb") as text:
            for number, line in enumerate(text, 1):
                try:
                    entry = json.loads(line)
                except ValueError:
                    entry = None
                if not isinstance(entry, dict):
                    raise UnreadableLedger(f"{self.path}, line {number}, is not a JSON object.")
                yield entry

    def append(self, entry: dict[str, Any]) -> None:
        """Write one line, and fsync it where the journal is durable.

        A provider that cannot write its books must not go on answering, and what a failed fsync left
        behind cannot be known: the process ends, and the next start reads what truly stands in the file.
        """
        line = json.dumps(entry, separators=(", ", ": ")).encode() + b"\n"
        try:
            if os.write(self._file, line) != len(line):
                raise OSError("short write")
            if self.durable:
                os.fsync(self._file)
        except OSError as error:
            print(f"{self.path} cannot be written ({error}); the simulator ends.", file=sys.stderr, flush=True)
            os._exit(LEDGER_BROKEN)


def _sync_folder(folder: Path) -> None:
    """Make a new file's name as durable as its content."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class FaultDiary:
    """`FILE.faults`: one line for each fault that was shown, written before its answer leaves.

    Protocol behaviour that is no fault (cases always on) stands there too, marked `"observed": true`.
    """

    def __init__(self, path: Path, clock: Callable[[], int]) -> None:
        self._journal, self._clock, self._lock = Journal(path, durable=False), clock, threading.Lock()
        self.counts: Counter[int] = Counter()
        self.observed: Counter[int] = Counter()
        for line in self._journal.lines():
            (self.observed if line.get("observed") else self.counts)[int(line["case"])] += 1

    def shown(self, case: int, on: str, reference: str, transfer_id: str, player: str) -> None:
        """A fault is about to be seen on the wire."""
        self._write(self.counts, case, on, reference, transfer_id, player)

    def saw(self, case: int, on: str, reference: str, transfer_id: str, player: str) -> None:
        """The protocol itself showed one of its own cases."""
        self._write(self.observed, case, on, reference, transfer_id, player, observed=True)

    def _write(self, counts: Counter[int], case: int, on: str, *names: str, observed: bool = False) -> None:
        line: dict[str, Any] = {"at": unix_text(self._clock()), "case": case, "on": on}
        line |= dict(zip(("reference", "id", "player"), names, strict=True))
        with self._lock:
            counts[case] += 1
            self._journal.append(line | ({"observed": True} if observed else {}))


class WireDiary:
    """`FILE.wire`: one line for each request that reached the server, and which attempt it was."""

    def __init__(self, path: Path, clock: Callable[[], int]) -> None:
        self._journal, self._clock, self._lock = Journal(path, durable=False), clock, threading.Lock()
        self._attempts: Counter[tuple[str, str]] = Counter()
        for line in self._journal.lines():
            self._attempts[(line["operation"], line["reference"] or line["id"] or line["player"])] += 1

    def attempt(self, operation: str, subject: str) -> int:
        """Count one more request of this operation for this transfer (or player); 1 for the first."""
        with self._lock:
            self._attempts[(operation, subject)] += 1
            return self._attempts[(operation, subject)]

    def attempts(self, operation: str, subject: str) -> int:
        """How many requests of this operation have come for this transfer."""
        with self._lock:
            return self._attempts[(operation, subject)]

    def write(self, operation: str, names: tuple[str, str, str], attempt: int, answered: int | str) -> None:
        """Note a request (`names`: reference, id, player) and its HTTP status, or "dropped"."""
        line: dict[str, Any] = {"at": unix_text(self._clock()), "operation": operation}
        line |= dict(zip(("reference", "id", "player"), names, strict=True))
        with self._lock:
            self._journal.append(line | {"attempt": attempt, "answered": answered})


class CallbackDiary:
    """`FILE.callbacks`: one line for each attempt to tell the bridge something, and what became of it."""

    def __init__(self, path: Path, clock: Callable[[], int]) -> None:
        self._journal, self._clock, self._lock = Journal(path, durable=False), clock, threading.Lock()
        self._settled: set[str] = set()
        for line in self._journal.lines():
            self._note(line["id"], line["status"])

    def settled(self, message_id: str) -> bool:
        """Whether this message was taken, or given up."""
        with self._lock:
            return message_id in self._settled

    def write(self, message_id: str, kind: str, reference: str, attempt: int, status: int | str) -> None:
        """Note an attempt and its HTTP status, "no answer", or "given up"."""
        names = {"id": message_id, "type": kind, "reference": reference, "attempt": attempt, "status": status}
        with self._lock:
            self._journal.append({"at": unix_text(self._clock()), **names})
            self._note(message_id, status)

    def _note(self, message_id: str, status: int | str) -> None:
        if status == GIVEN_UP or status in TAKEN:
            self._settled.add(message_id)
