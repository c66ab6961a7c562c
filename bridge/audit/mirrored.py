"""The mirror's part of an inspection: is every line whole, signed and in its place, and is the database what the last
one says."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection

from bridge import db
from bridge.audit import chain, memory, mirror, signing, standing
from bridge.audit.canon import FIRST, digest
from bridge.audit.chain import RUNS, name_of
from bridge.audit.findings import Finding, Kind, Report
from bridge.audit.memory import Line
from bridge.runtime import Runtime


@dataclass
class _Reading:
    """What was read of a mirror, line by line; memory grows with the operators, not with the lines."""

    keys: Mapping[str, str]
    file: str
    heads: dict[int, tuple[chain.Head, Line]] = field(default_factory=dict)
    last: Line | None = None
    accepted: Line | None = None
    bad: list[tuple[int, str]] = field(default_factory=list)  # pieces that are no line: where in the file, their hash
    known: dict[int, str] = field(default_factory=dict)  # hashes of the lines that the database remembers
    place: int = 0

    def read(self, file: Path, wanted: int) -> Iterator[Finding]:
        """Every line; the hash of the `wanted`th is kept."""
        with file.open("rb") as lines:
            for raw in lines:
                self.place += 1
                line = mirror.read_line(raw.removesuffix(b"\n"))
                if line is None:
                    self.bad.append((self.place, digest(raw.removesuffix(b"\n"))))
                    continue
                yield from self._judged(line)
                if line.number == wanted:
                    self.known[wanted] = line.hash
        if self.bad and not raw.endswith(b"\n"):
            self.bad.pop()  # a crash has cut off the last one, and the next line will name it
        yield from self._broken()

    def _judged(self, line: Line) -> Iterator[Finding]:
        torn = list(line.told.get("torn", ()))
        self.bad = self.bad if [hashed for _, hashed in self.bad] != torn else []
        yield from self._broken()
        number, previous = (0, FIRST) if self.last is None else (self.last.number, self.last.hash)
        if not line.is_signed(self.keys):
            named = line.told.get("key")
            yield self._finding(line.number, f"it is not signed by a key that is accepted (it names {named})")
        if line.number != number + 1:
            missing = str(number + 1) if line.number == number + 2 else f"{number + 1} to {line.number - 1}"
            yield self._finding(missing, f"missing: line {line.number} follows line {number}")
        elif line.told["previous"] != previous:
            yield self._finding(number, f"edited: line {line.number} names another hash of it")
        self.last = line
        if line.told["kind"] != mirror.Kind.HEADS:
            self.heads = {}
        if line.told["kind"] == mirror.Kind.ACCEPT:
            self.accepted = line
        self.heads |= {name: (head, line) for name, head in line.heads.items()}

    def _broken(self) -> Iterator[Finding]:
        for place, _ in self.bad:
            yield self._finding(f"at {place} of the file", "it is no line of a mirror")
        self.bad = []

    def _finding(self, which: object, sentence: str) -> Finding:
        return Finding(Kind.MIRROR, "line", str(which), RUNS, sentence)


def inspect(runtime: Runtime, report: Report) -> int:
    """Add to an inspection's report what is wrong with the mirror, and with the database by the mirror; the last run
    that a person has accepted, 0 where none is."""
    file = runtime.config.audit.mirror_file
    with db.reading(runtime.engine) as connection:
        remembered = memory.remembered(connection)
    if file is None:
        report.remarks.append("no mirror is configured here: what was cut off or written anew cannot be seen")
        return 0
    if not mirror.has_begun(runtime):
        if any(not known.ended for known in remembered.values()):
            gone = "it is not there, and the database remembers it"
            report.add([Finding(Kind.MIRROR, "mirror", ", ".join(remembered), RUNS, gone)])
        else:
            report.remarks.append(f"the mirror {file} has not begun: `python -m bridge audit begin`")
        return 0
    reading = _Reading(signing.accepted(runtime.config), str(file))
    first = _first(file)
    name = "" if first is None else str(first.told.get("mirror"))
    known = remembered.get(name, memory.UNKNOWN)
    wanted, hashed = known.number, known.hash
    report.add(reading.read(file, wanted))
    report.add(_as_remembered(reading, wanted, hashed))
    others = [each for each, other in remembered.items() if not other.ended]
    report.remarks += [f"the database knows another mirror, {each}" for each in others if each != name]
    with db.reading(runtime.engine) as connection:
        report.add(_held(connection, reading, file))
        late = standing.mirror_late(connection, runtime, reading.heads[RUNS][0]) if RUNS in reading.heads else 0
    if late:
        sentence = f"heads have not been mirrored for {late // 60} minutes"
        report.add([Finding(Kind.MIRROR, "mirror", "", RUNS, sentence)])
    report.mirrored = reading.last is not None
    if reading.accepted is None:
        return 0
    told = reading.accepted.told
    was = told["was"] or "rows that came late"
    line = reading.accepted.number
    report.remarks.append(f"{told['actor']} has accepted in line {line}: {told['reason']} ({was})")
    return reading.accepted.runs[0]


def _first(file: Path) -> Line | None:
    with file.open("rb") as lines:
        return mirror.read_line(lines.readline().removesuffix(b"\n"))


def _as_remembered(reading: _Reading, wanted: int, hashed: str) -> Iterator[Finding]:
    """The database remembers the last line that was written: a mirror that was cut has it no more."""
    if not wanted or reading.known.get(wanted) == hashed:
        return
    last = 0 if reading.last is None else reading.last.number
    if last < wanted:
        yield Finding(Kind.MIRROR, "line", f"{last + 1} to {wanted}", RUNS, "cut off: the database remembers them")
    else:
        yield Finding(Kind.MIRROR, "line", str(wanted), RUNS, "it is another one than the database remembers")


def _held(connection: Connection, reading: _Reading, file: Path) -> Iterator[Finding]:
    """Whether the database holds the heads that were mirrored last; where not, since which line."""
    wrong = []
    for name, ((number, hashed), line) in sorted(reading.heads.items()):
        seal = chain.at_number(connection, name, number)
        if number and seal is None:
            last = chain.head(connection, name)[0]
            which = str(number) if last == number - 1 else f"{last + 1} to {number}"
            sentence = f"cut off: line {line.number} of the mirror has seal {number} of {name_of(name)}"
            yield Finding(Kind.TRUNCATED, "seal", which, name, sentence)
        if number and (seal is None or seal.hash != hashed):
            wrong.append(name)
    if wrong:
        yield from _written_anew(connection, file, wrong)


def _written_anew(connection: Connection, file: Path, names: Collection[int]) -> Iterator[Finding]:
    """Of chains that do not end as they were mirrored: between which mirrored heads they begin to be others."""
    good, told = dict.fromkeys(names, 0), dict[int, Finding]()
    with file.open("rb") as lines:
        for raw in lines:
            line = mirror.read_line(raw.removesuffix(b"\n"))
            if line is None:
                continue
            if line.told["kind"] != mirror.Kind.HEADS:  # nothing that was mirrored before is compared any more
                good, told = dict.fromkeys(names, 0), {}
            for name in good.keys() & line.heads.keys() - told.keys():
                number, hashed = line.heads[name]
                seal = chain.at_number(connection, name, number)
                if seal is None:
                    continue
                if seal.hash == hashed:
                    good[name] = number
                    continue
                sentence = f"written anew: line {line.number} of the mirror has another hash of seal {number}"
                told[name] = Finding(Kind.REWRITTEN, "seal", f"{good[name] + 1} to {number}", name, sentence)
    yield from (told[name] for name in sorted(told))
