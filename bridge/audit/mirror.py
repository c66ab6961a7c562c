"""The mirror: heads of the chains, signed, in a file that the database's owner should not be able to write.

One line each, which names the hash of the line before it. A line is written only if the database goes on from the one
before: what was mirrored is there, unchanged. Where it is not, the mirror is refused until a person accepts it with a
reason, which is a signed line too. The head of the chain of runs stands for everything; the heads of operators that
have changed stand beside it, so that each operator can be shown its own.

The file is only ever added to. A line that a crash cut off is closed, and the next line names its hash.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO

import orjson
from sqlalchemy import Connection

from bridge import db, log
from bridge.audit import chain, memory, signing
from bridge.audit.canon import FIRST, digest, written
from bridge.audit.memory import Line
from bridge.errors import Conflict, Declined, Refusal, Unavailable
from bridge.runtime import Runtime

_log = log.get("audit")

FORMAT = 1

TAIL_BYTES = 1 << 20
"""More than a line has: so much of the file is read to find its last one, and twice as much where it is too little."""


class Kind(StrEnum):
    """What a line says."""

    BEGIN = "begin"  # the first one: a person has begun this mirror
    HEADS = "heads"
    ACCEPT = "accept"  # a person has looked at what is otherwise than it was: what is there now counts


class Refused(Exception):
    """The database does not go on from what was mirrored last; the text says where."""


@dataclass
class Tail:
    """The end of a mirror: its last whole line, and the hashes of what was cut off behind it."""

    last: Line | None = None
    torn: list[str] = field(default_factory=list)
    unclosed: bool = field(default=False)  # the file does not end with the end of a line


# --- what jobs and people do ----------------------------------------------------------------------------


def is_wanted(runtime: Runtime) -> bool:
    """Whether this process is to write a mirror."""
    return runtime.config.audit.mirror_file is not None and runtime.config.audit.key_file is not None


def has_begun(runtime: Runtime) -> bool:
    """Whether there is a mirror."""
    file = runtime.config.audit.mirror_file
    return file is not None and file.exists() and file.stat().st_size > 0


def can_judge(runtime: Runtime) -> bool:
    """Whether an inspection by this process is a whole one: it can read a mirror, or there is none."""
    if has_begun(runtime):
        return os.access(str(runtime.config.audit.mirror_file), os.R_OK)
    with db.reading(runtime.engine) as connection:
        return not any(memory.counts(known, runtime) for known in memory.remembered(connection).values())


def begin(runtime: Runtime, actor: str) -> None:
    """The first line. It ends what is remembered of the mirror that was in the same place, and names it; and of all
    what they were refused for: who still is will be at its next tick.

    Raises Conflict where there are lines already, Unavailable where nothing is configured.
    """
    signer, file = _means(runtime)
    file.parent.mkdir(parents=True, exist_ok=True)
    with _held(file, create=True) as end:
        if end.seek(0, os.SEEK_END):
            raise Conflict(f"{file} has begun already: move it away to begin another one.")
        with db.reading(runtime.engine) as connection:
            known = memory.remembered(connection)
        replaced = [name for name, each in known.items() if each.place == memory.place_of_this(runtime)]
        told = {"mirror": runtime.ids.new("mi"), "kind": Kind.BEGIN.value, "actor": actor, "replaces": replaced}
        line = _write(end, signer, runtime, Tail(), told, _all_heads(runtime))
    _keep_name(file)
    memory.end(runtime, replaced)
    memory.note(runtime, line, None)
    memory.keep_refusal(runtime, None)


def go_on(runtime: Runtime) -> bool:
    """Mirror the heads if they have moved; whether a line was written.

    Raises Refused where the database does not go on from the last line, and notes it where `/readyz` looks;
    Unavailable without a key; Declined where nobody has begun, or the last line is not trusted. Each is noted where
    alerts look.
    """
    try:
        written = _go_on(runtime)
    except REFUSALS as why:
        memory.keep_refusal(runtime, str(why))
        raise
    memory.keep_refusal(runtime, None)
    return written


def _go_on(runtime: Runtime) -> bool:
    signer, file = _means(runtime)
    if not has_begun(runtime):
        raise Declined(f"{file} has not begun: `python -m bridge audit begin`.")
    with _held(file) as end:
        tail = _tail(end)
        last = _trusted(runtime, tail)
        with db.reading(runtime.engine) as connection:
            why = cut(connection, last) or gone(connection, last)
            moved = {} if why else _moved_heads(connection, last)
        if why:
            memory.note(runtime, last, why)
            raise Refused(why)
        if not moved:
            memory.note(runtime, last, None)
            return False
        told = {"mirror": last.told["mirror"], "kind": Kind.HEADS.value}
        line = _write(end, signer, runtime, tail, told, moved)
    memory.note(runtime, line, None)
    return True


def accept(runtime: Runtime, reason: str, actor: str) -> Line:
    """A person has looked: what the database holds now counts, what was mirrored before does not any more. The line."""
    signer, file = _means(runtime)
    if not has_begun(runtime):
        raise Declined(f"{file} has not begun: `python -m bridge audit begin`.")
    with _held(file) as end:
        tail = _tail(end)
        last = _trusted(runtime, tail)
        with db.reading(runtime.engine) as connection:
            was = cut(connection, last) or gone(connection, last)
        told = {"mirror": last.told["mirror"], "kind": Kind.ACCEPT.value, "actor": actor, "reason": reason, "was": was}
        line = _write(end, signer, runtime, tail, told, _all_heads(runtime))
    memory.note(runtime, line, None)
    memory.keep_refusal(runtime, None)
    _log.error("mirror accepted", reason=reason, actor=actor, line=line.number)
    return line


def gone(connection: Connection, last: Line) -> str:
    """Why the database does not go on from a line, in a sentence; nothing if it does."""
    number, hashed = last.runs
    if number == 0:
        return ""
    seal = chain.at_number(connection, chain.RUNS, number)
    if seal is None:
        there = chain.head(connection, chain.RUNS)[0]
        return f"run {number} was mirrored in line {last.number}, and the database ends with run {there}: cut off"
    return "" if seal.hash == hashed else f"run {number} is another one than was mirrored in line {last.number}"


def cut(connection: Connection, last: Line) -> str:
    """Why this is not the mirror's last line, as far as the database knows; nothing if it is, or a later one."""
    known = memory.remembered(connection).get(str(last.told["mirror"]), memory.UNKNOWN)
    if known.number < last.number or (known.number, known.hash) == (last.number, last.hash):
        return ""
    return f"the mirror had {known.number} lines, and ends with line {last.number}: it was cut"


def _means(runtime: Runtime) -> tuple[signing.Signer, Path]:
    file, signer = runtime.config.audit.mirror_file, signing.signer(runtime.config)
    if file is None or signer is None:
        missing = "audit.mirror_file" if file is None else "audit.key_file"
        raise Unavailable(f"Set {missing}: without it heads are not mirrored.")
    return signer, file


def _trusted(runtime: Runtime, tail: Tail) -> Line:
    """The last line, if it is one of ours: nothing is signed behind another one. Raises Declined."""
    if tail.last is None:
        raise Declined("The mirror's last line cannot be read: move the file away, keep it, and begin another one.")
    if not tail.last.is_signed(signing.accepted(runtime.config)):
        raise Declined("The mirror's last line is not signed by a key of audit.public_keys.")
    return tail.last


def _all_heads(runtime: Runtime) -> dict[int, chain.Head]:
    with db.reading(runtime.engine) as connection:
        return {chain.RUNS: chain.NONE_YET, **chain.heads(connection)}


def _moved_heads(connection: Connection, last: Line) -> dict[int, chain.Head]:
    """The head of the runs, and of every chain that has seals of later runs than the last line; none if none has."""
    number, _ = last.runs
    newest = chain.head(connection, chain.RUNS)
    if newest[0] == number:
        return {}
    changed = chain.changed_since(connection, number)
    return {chain.RUNS: newest, **{each: chain.head(connection, each) for each in changed}}


# --- the file -------------------------------------------------------------------------------------------


@contextmanager
def _held(file: Path, *, create: bool = False) -> Iterator[BinaryIO]:
    """The file, to read and to add to, for this process alone."""
    flags = os.O_RDWR | os.O_APPEND | (os.O_CREAT if create else 0)
    with os.fdopen(os.open(file, flags, 0o640), "r+b", buffering=0) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield held


def _keep_name(file: Path) -> None:
    """A file that was just made is not lost with its folder's last change."""
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _tail(end: BinaryIO) -> Tail:
    """The end of the file. What is no line, at its end, was cut off by a crash; or it is whole, and only its end is
    missing."""
    size, wanted = end.seek(0, os.SEEK_END), TAIL_BYTES
    while True:
        begin = max(0, size - wanted)
        end.seek(begin)
        content = end.read(size - begin)
        pieces = content.split(b"\n")
        whole = pieces if begin == 0 else pieces[1:]
        tail = Tail(unclosed=bool(pieces[-1]))
        for piece in reversed(whole if tail.unclosed else whole[:-1]):
            tail.last = read_line(piece)
            if tail.last is not None:
                return tail
            tail.torn.insert(0, digest(piece))
        if begin == 0:
            return tail
        wanted *= 2


def read_line(raw: bytes) -> Line | None:
    """A line, if this is a whole one."""
    with suppress(orjson.JSONDecodeError, KeyError, ValueError, TypeError, AttributeError):
        line = Line(raw, orjson.loads(raw))
        if line.number and line.runs and line.told["previous"] and line.told["signature"]:
            return line
    return None


def _write(
    end: BinaryIO,
    signer: signing.Signer,
    runtime: Runtime,
    tail: Tail,
    told: Mapping[str, Any],
    heads: Mapping[int, chain.Head],
) -> Line:
    """One signed line, on the disk when this returns."""
    last = tail.last
    content = {
        "format": FORMAT,
        **told,
        "number": 1 if last is None else last.number + 1,
        "at": runtime.clock.now(),
        "heads": {str(name): list(head) for name, head in sorted(heads.items())},
        "previous": FIRST if last is None else last.hash,
        **({"torn": tail.torn} if tail.torn else {}),
        "key": signer.name,
    }
    signed = {**content, "signature": signer.sign(written(content))}
    raw = written(signed)
    left = (b"\n" if tail.unclosed else b"") + raw + b"\n"
    while left:  # a disk that is full takes a part, and what it took is a line that was cut off
        left = left[end.write(left) :]
    os.fsync(end.fileno())
    return Line(raw, signed)


REFUSALS = (Refused, Refusal)
"""What `go_on` raises where a person has to do something."""
