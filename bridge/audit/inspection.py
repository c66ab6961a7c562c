"""The inspection: everything recomputed, from the first seal of every chain to the last line of the mirror.

It reads in pieces and keeps none: memory does not grow with the tables. Chains are looked at up to the heads that they
have when it begins, so that it can run beside a busy bridge; what is sealed meanwhile is looked at the next time. What
it finds names the table, the row and the operator.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from threading import Event
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from bridge import db
from bridge.audit import chain, marks, mirrored
from bridge.audit.canon import FIRST, Place, Unreadable
from bridge.audit.chain import NOBODYS, RUNS, SealRow
from bridge.audit.comparing import compared, keys_of, late_findings, listed_seals
from bridge.audit.findings import KEPT, Finding, Kind, Report
from bridge.audit.sealed import BY_NAME, FORMAT, SOURCES, Between, Source
from bridge.audit.standing import waiting
from bridge.runtime import Runtime

LINKS = 5000
"""Seals of one chain that are read at once, without what is in them."""

ENTRIES = 5000
"""About so many rows are read at once, of so many runs as make them."""

RUNS_READ = 500
SPARE = 1000
"""Rows more than were sealed that are read, and named one by one, at the places of some runs."""

REST_AT_MOST = 10.0
"""Seconds between two portions."""

BROKEN = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError)
"""What comes of a value that somebody has put where no such value can be: a finding, and no end of the inspection."""

Spans = list[tuple[SealRow, Place, Place]]
"""Runs, and the places behind and up to which each looked."""


class Stopped(Exception):
    """The process was asked to end before the inspection had."""


def inspect(runtime: Runtime, stop: Event | None = None) -> Report:
    """Inspect everything; with `stop`, beside other work: after each portion it rests as long as that took. Raises
    Stopped when `stop` is set meanwhile, and what the database raises where even its
    seals cannot be read."""
    report = Report()
    with db.reading(runtime.engine) as connection:
        heads = chain.heads(connection)
        looked_at = chain.looked_at(connection)
    last_run = heads.get(RUNS, chain.NONE_YET)[0]
    linked = {each: _Links(report, each, last_run) for each in sorted(heads)}
    for each, links in linked.items():
        _going_on(report, "seal", each, partial(links.walk, runtime, heads[each], stop))
    accepted = mirrored.inspect(runtime, report)
    reached: Counter[int] = Counter({RUNS: 0})
    for name, scope in looked_at:
        source = BY_NAME.get(name)
        if source is None:
            report.add([Finding(Kind.SEAL, "runs", name, RUNS, "they seal a table that is not sealed here")])
            continue
        table = _Table(runtime, report, source, scope, last_run, accepted, reached)
        _going_on(report, name, RUNS, partial(table.inspect, stop))
    report.add(_unreached(linked, reached))
    for source in SOURCES:
        report.add(_strays(runtime, source, stop))
    report.add(_not_sealed(runtime, report))
    return report


def _going_on(report: Report, where: str, whose: int, work: Callable[[], None]) -> None:
    """A part of the inspection; what breaks it is a finding, and the others are inspected."""
    try:
        work()
    except BROKEN as trouble:
        sentence = f"it cannot be inspected to its end: something in it is of no kind that we write ({trouble!r})"
        report.add([Finding(Kind.UNREADABLE, where, "", whose, sentence)])


class _Links:
    """The links of one chain: numbers without a gap, each naming the hash of the one before."""

    def __init__(self, report: Report, name: int, last_run: int) -> None:
        self.report, self.chain, self.last_run = report, name, last_run
        self.seals = 0

    def walk(self, runtime: Runtime, head: chain.Head, stop: Event | None) -> None:
        """From the first seal to the head."""
        number, previous = 0, FIRST
        while number < head[0]:
            _look_up(stop)
            began = runtime.clock.monotonic()
            with db.reading(runtime.engine) as connection:
                links = chain.links(connection, self.chain, number, LINKS)
            for link in links:
                if link.number > head[0]:
                    return
                self.report.add(self._judged(link, number, previous))
                number, previous = link.number, link.hash
                self.seals += 1
            if not links:
                return
            _rest(runtime, began, stop)

    def _judged(self, link: Any, number: int, previous: str) -> Iterator[Finding]:
        if link.number != number + 1:
            gap = f"{number + 1}" if link.number == number + 2 else f"{number + 1} to {link.number - 1}"
            yield self._finding(gap, "deleted: numbers have no gaps")
        elif link.previous != previous:
            yield self._finding(link.number, f"it does not name the hash of seal {number}")
        if self.chain != RUNS and not 0 < link.run <= self.last_run:
            yield self._finding(link.number, f"it is of run {link.run}, which is not there")

    def _finding(self, which: object, sentence: str) -> Finding:
        return Finding(Kind.SEAL, "seal", str(which), self.chain, sentence)


@dataclass
class _Table:
    """The runs of one table, each against its rows."""

    runtime: Runtime
    report: Report
    source: Source
    scope: int
    last_run: int
    accepted: int  # runs of late rows up to this one a person has looked at
    reached: Counter[int]
    late: dict[tuple[str, str], list[SealRow]] = field(default_factory=lambda: defaultdict(list))
    upto: str = "[]"

    def inspect(self, stop: Event | None) -> None:
        """All of them, in their order."""
        self._late_ones()
        behind = 0
        while True:
            _look_up(stop)
            with db.reading(self.runtime.engine) as connection:
                runs = chain.runs(connection, self.source.name, self.scope, behind, RUNS_READ)
            runs = [run for run in runs if run.number <= self.last_run]
            if not runs:
                return
            for several in _portions(runs):
                _look_up(stop)
                began = self.runtime.clock.monotonic()
                self._inspect(several)
                _rest(self.runtime, began, stop)
            behind = runs[-1].number

    def _inspect(self, runs: Sequence[SealRow]) -> None:
        """Some runs that follow each other: their seals in one question, their rows in another."""
        with db.reading(self.runtime.engine) as connection:
            seals = chain.of_runs(connection, [run.number for run in runs])
        by_run = {number: list(of_run) for number, of_run in groupby(seals, key=lambda seal: seal.run)}
        for run in runs:
            self.report.add(self._judged(run, by_run.get(run.number, [])))
        spans: Spans = []
        for run in runs:
            try:
                spans.append((run, *chain.span(self.source, run, by_run.get(run.number, []))))
            except Unreadable as why:
                self.report.add([Finding(Kind.SEAL, "seal", str(run.number), RUNS, f"{why}: nothing is compared")])
        for together in _unbroken(spans):
            self._compare(together, by_run)

    def _compare(self, spans: Spans, by_run: dict[int, list[SealRow]]) -> None:
        """The rows of runs that follow each other; one run after the other where there is too much, or something that
        cannot be compared."""
        after, upto = spans[0][1], spans[-1][2]
        limit = sum(_entries(run) for run, *_ in spans) + SPARE
        try:
            with db.reading(self.runtime.engine) as connection:
                rows = Between(self.source, self.scope, after, upto).rows(connection, limit)
        except DBAPIError as trouble:
            which = f"{after} to {upto}"
            sentence = f"the rows cannot be read ({type(trouble.orig).__name__})"
            self.report.add([Finding(Kind.UNREADABLE, self.source.name, which, NOBODYS, sentence)])
            return
        cut, found = len(rows) == limit, None
        if not cut or len(spans) == 1:
            with suppress(*BROKEN):
                found = list(self._compared(spans, by_run, rows))
        if found is None and len(spans) > 1:
            for span in spans:
                self._compare([span], by_run)
            return
        self.report.entries += len(rows)
        self.report.add(self._told(found, after, upto, cut=cut))

    def _told(self, found: list[Finding] | None, after: Place, upto: Place, *, cut: bool) -> Iterator[Finding]:
        """What was found at some places; what was not read of them, since there was too much, is not told as gone."""
        where = f"{after} to {upto}"
        if found is None:
            sentence = "what is there cannot be compared with what was sealed"
            yield Finding(Kind.UNREADABLE, self.source.name, where, NOBODYS, sentence)
            return
        yield from (each for each in found if not cut or each.kind is not Kind.DELETED)
        if cut:
            sentence = f"and more: there are over {SPARE} rows beside those that were sealed; not all were looked at"
            yield Finding(Kind.INSERTED, self.source.name, where, NOBODYS, sentence)

    def _judged(self, run: SealRow, seals: Sequence[SealRow]) -> Iterator[Finding]:
        """The run and its seals by themselves."""
        for seal in (run, *seals):
            self.reached[seal.chain] += 1
            self.report.seals += 1
            if chain.hash_of(seal) != seal.hash:
                yield Finding(Kind.SEAL, "seal", str(seal.number), seal.chain, "it was edited: its hash is another one")
            if seal.format != FORMAT:
                yield Finding(Kind.SEAL, "seal", str(seal.number), seal.chain, f"its format {seal.format} is not known")
        if run.after != self.upto and not run.late:
            sentence = f"its run begins at {run.after}, and the one before it ended at {self.upto}"
            yield Finding(Kind.SEAL, "seal", str(run.number), RUNS, sentence)
        if not run.late:
            self.upto = run.upto
        unread = [seal for seal in seals if keys_of(self.source, seal) is None]
        for seal in unread:
            yield Finding(Kind.SEAL, "seal", str(seal.number), seal.chain, "which rows it lists cannot be read")
        try:
            told = set(listed_seals(run))
        except Unreadable:
            yield Finding(Kind.SEAL, "seal", str(run.number), RUNS, "which seals it lists cannot be read")
            return
        found = {(seal.chain, seal.entries, seal.hash) for seal in seals}
        for each in sorted(told ^ found, key=repr):
            sentence = "is listed and not there" if each not in found else "is there and not listed"
            yield Finding(Kind.SEAL, f"seal of run {run.number}", f"of {each[1]} rows", each[0], sentence)

    def _compared(self, spans: Spans, by_run: dict[int, list[SealRow]], rows: Sequence[Any]) -> Iterator[Finding]:
        """Each run against the rows at its places."""
        places, begin = len(self.source.place), 0
        ends = [list(row[:places]) for row in rows] if len(spans) > 1 else []
        for run, _, upto in spans:
            end = begin
            if len(spans) == 1:
                end = len(rows)
            while end < len(ends) and ends[end] <= upto:
                end += 1
            late = self.late[run.after, run.upto]
            yield from compared(self.source, run, by_run.get(run.number, []), late, rows[begin:end])
            begin = end

    def _late_ones(self) -> None:
        """Runs of late rows, which are few: what they seal is looked at together with the run that missed it."""
        with db.reading(self.runtime.engine) as connection:
            late = chain.late_runs(connection, self.source.name, self.scope)
            late = [run for run in late if run.number <= self.last_run]
            seals = chain.of_runs(connection, [run.number for run in late])
        for run in late:
            own = [seal for seal in seals if seal.run == run.number]
            self.report.add(self._judged(run, own))
            self.late[run.after, run.upto] += own
            if run.number > self.accepted:
                self.report.add(late_findings(self.source, run, own))
            else:
                self.report.remarks.append(f"run {run.number} sealed {run.entries} rows of {run.source} late; accepted")


def _portions(runs: Sequence[SealRow]) -> Iterator[list[SealRow]]:
    """Runs that follow each other without a break, so many that they have about ENTRIES rows."""
    portion: list[SealRow] = []
    for run in runs:
        if portion and (portion[-1].upto != run.after or sum(map(_entries, [*portion, run])) > ENTRIES):
            yield portion
            portion = []
        portion.append(run)
    yield portion


def _unbroken(spans: Spans) -> Iterator[Spans]:
    """Those between which none is left out."""
    together: Spans = []
    for span in spans:
        if together and together[-1][2] != span[1]:
            yield together
            together = []
        together.append(span)
    if together:
        yield together


def _entries(run: SealRow) -> int:
    """How many rows a run says that it sealed."""
    return marks.number(run.entries)


def _unreached(linked: dict[int, _Links], reached: Counter[int]) -> Iterator[Finding]:
    """Seals that stand in a chain, and that no run of a table led to."""
    for each, links in linked.items():
        if links.seals != reached[each]:
            sentence = f"{links.seals} stand in the chain, and runs lead to {reached[each]} of them"
            yield Finding(Kind.SEAL, "seals", "", each, sentence)


def _strays(runtime: Runtime, source: Source, stop: Event | None) -> Iterator[Finding]:
    """Rows that stand without the row at which they are sealed: no run would ever look at them."""
    if not source.stray:
        return
    _look_up(stop)
    keys = ", ".join(f"x.{name}" for name in source.key)
    query = f"SELECT {keys} FROM {source.name} x WHERE {source.stray} ORDER BY {keys} LIMIT {KEPT}"  # noqa: S608 - ours
    with db.reading(runtime.engine) as connection:
        found = connection.execute(text(query)).all()
    for row in found:
        which = ", ".join(f"{name} {part}" for name, part in zip(source.key, row, strict=True))
        sentence = "the row is not there that was written with it, at which it would be sealed"
        yield Finding(Kind.STRAY, source.name, which, NOBODYS, sentence)


def _not_sealed(runtime: Runtime, report: Report) -> Iterator[Finding]:
    """What waits, and where it has waited for too long."""
    with db.reading(runtime.engine) as connection:
        for each in waiting(connection, runtime):
            report.unsealed += each.rows
            if each.late:
                sentence = f"{each.rows} rows wait to be sealed, and nothing was sealed for {each.late // 60} minutes"
                yield Finding(Kind.UNSEALED, each.source.name, "", each.scope, sentence)


def _rest(runtime: Runtime, began: float, stop: Event | None) -> None:
    if stop is not None:
        stop.wait(min(REST_AT_MOST, runtime.clock.monotonic() - began))


def _look_up(stop: Event | None) -> None:
    if stop is not None and stop.is_set():
        raise Stopped
