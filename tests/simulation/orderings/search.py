"""Breadth first through everything that can happen, each state once, judged on the way to it."""

from __future__ import annotations

import hashlib
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from bridge.ports import SECOND
from tests.simulation.orderings import sameness
from tests.simulation.orderings.calls import Service
from tests.simulation.orderings.events import Events, Hand, State, Step
from tests.simulation.orderings.judge import Judge
from tests.simulation.orderings.shapes import Shape
from tests.simulation.orderings.stand import BEGINS, schema, stand
from tests.simulation.orderings.truth_one import One
from tests.simulation.orderings.truth_two import Two

TRUTHS = {"generic": One, "qtech": Two}
HONESTLY = "then honestly"
"""The event after which nothing is lost any more."""

LIVES_AT_MOST = 2000
"""States of the last level that have to come to a good end once nothing is lost any more: all, or every so many-th in
the order in which they were found, evenly over the level."""

LIVES_SECONDS = 60
"""So long after the end of the search there is still time for that."""

HONEST_AT_MOST = 120
"""Steps in which a state must come to its end once nothing is lost any more."""


@dataclass(frozen=True)
class Violation:
    """What does not hold, and the events that lead to it."""

    shape: str
    sentence: str
    path: tuple[str, ...]


@dataclass
class Found:
    """What a search has seen so far."""

    states: int = 0
    edges: int = 0
    depth: int = 0
    frontier: int = 0
    lives: int = 0
    calls: int = 0
    violations: list[Violation] = field(default_factory=list)


class Search:
    """One shape: a protocol and a direction."""

    def __init__(self, events: Events, shape: str, truth: One | Two) -> None:
        self.events, self.service, self.shape = events, events.service, shape
        self.found = Found()
        self._seen: set[bytes] = set()
        self._alive: set[bytes] = set()
        self._rows: dict[tuple[int, int], bytes] = {}
        self._parents, self._labels = array("L"), array("L")
        self._names: dict[str, int] = {}
        self.start = events.beginning(truth)
        self._frontier: list[tuple[int, State]] = []
        self._add(self.start, 0, "")

    # --- the search -------------------------------------------------------------------------------------------

    def run(
        self, depth: int, end: float, tell: Callable[[str], None] = lambda _line: None, lives: int = LIVES_AT_MOST
    ) -> Found:
        """Down to `depth`, or as far as there is time until `end` (monotonic seconds); then the states of the last
        level, or `lives` of them, have to come to a good end."""
        while self._frontier and self.found.depth < depth and not self.found.violations:
            if not self._level(end):
                break
            self.found.depth += 1
            tell(f"{self.shape}: depth {self.found.depth}, {self.found.states} states, {self.found.edges} edges, "
                 f"{self.service.ran} calls of the service, {len(self._frontier)} ahead")  # fmt: skip
        for number, state in self._frontier[:: max(1, -(-len(self._frontier) // lives))]:
            if self.found.violations or time.monotonic() > end + LIVES_SECONDS:
                break
            self._live(number, state)
        self.found.calls = self.service.ran
        return self.found

    def _level(self, end: float) -> bool:
        """Follow every state of the last level; false if something was wrong, or there was no time for all."""
        level, self._frontier = self._frontier, []
        for place, (number, state) in enumerate(level):
            if time.monotonic() > end:
                self._frontier = level[place:] + self._frontier
                break
            self._expand(number, state)
            if self.found.violations:
                break
        else:
            place = len(level)
        self.found.frontier = len(self._frontier)
        return place == len(level) and not self.found.violations

    def _expand(self, number: int, state: State) -> None:
        for step in self.events.steps(state):
            self.found.edges += 1
            wrong = self._judged(step)
            if wrong:
                self._violated(wrong, (*self.path(number), step.label))
                return
            self._add(step.state, number, step.label)

    def _judged(self, step: Step) -> str | None:
        if step.wrong:
            return step.wrong[0]
        state = step.state
        books = self.service.kept[state.books].books
        hands = (hand.request if hand.reply is None else None for hand in state.hands)
        wrong = self.service.judge.state(books, state.truth, hands, state.now)
        return wrong[0] if wrong else None

    def _add(self, state: State, parent: int, label: str) -> None:
        key = self.key(state)
        if key in self._seen:
            return
        self._seen.add(key)
        self._parents.append(parent)
        self._labels.append(self._names.setdefault(label, len(self._names)))
        self._frontier.append((self.found.states, state))
        self.found.states += 1

    def key(self, state: State) -> bytes:
        """The hash of a state: rows, provider, messages and requests in flight, workers, and time told from now."""
        kept, now = self.service.kept[state.books], state.now
        descriptor = self.service.stand.port.descriptor
        rows = self._rows.get((state.books, now))
        if rows is None:
            told = repr((kept.still, sameness.instants(kept.books, descriptor, now)))
            rows = self._rows[state.books, now] = hashlib.blake2b(told.encode(), digest_size=16).digest()
        hands = sorted(
            (hand.key(now), self._at_a_stroke(hand, state.books),
             sameness.brought(kept.books, descriptor, now, hand.asked) if hand.asks else ())
            for hand in state.hands
        )  # fmt: skip
        told = repr((rows, state.truth.key(now), hands))
        return hashlib.blake2b(told.encode(), digest_size=16).digest()

    def _at_a_stroke(self, hand: Hand, books: int) -> bool:
        return hand.request is not None and self.service.at_a_stroke(hand.request, books, holds=hand.holds)

    def path(self, number: int) -> tuple[str, ...]:
        """The events that lead to a state, by a shortest way."""
        names, labels = list(self._names), []
        while number:
            labels.append(names[self._labels[number]])
            number = self._parents[number]
        return tuple(reversed(labels))

    def _violated(self, sentence: str, path: tuple[str, ...]) -> None:
        self.found.violations.append(Violation(self.shape, sentence, path))

    # --- its end ----------------------------------------------------------------------------------------------

    def _live(self, number: int, state: State) -> None:
        """From here on nothing is lost: it must end, and end as it is at the provider."""
        told, keys = [], []
        for _ in range(HONEST_AT_MOST):
            key = self.key(state)
            if key in self._alive:
                break
            keys.append(key)
            step = self.events.honest(state)
            if step is None:
                wrong = self._ended(state)
                if wrong:
                    self._violated(wrong, (*self.path(number), HONESTLY, *told))
                break
            told.append(step.label)
            wrong = self._judged(step)
            if wrong:
                self._violated(wrong, (*self.path(number), HONESTLY, *told))
                break
            state = step.state
        else:
            self._violated("live: it comes to no end", (*self.path(number), HONESTLY, *told))
        self._alive.update(keys)
        self.found.lives += 1

    def _ended(self, state: State) -> str | None:
        books = self.service.kept[state.books].books
        expected = "confirmed" if state.truth.net else "reversed"
        return None if books.state == expected else f"live: it ends {books.state}, and the truth is {expected}"

    # --- one path again ---------------------------------------------------------------------------------------

    def replay(self, labels: list[str]) -> Iterator[tuple[Step, str | None]]:
        """The same events again, with what was wrong after each; raises ValueError for one that cannot happen."""
        state, honest = self.start, False
        for label in labels:
            if label == HONESTLY:
                honest = True
                continue
            step = self.events.honest(state) if honest else self._named(state, label)
            if step is None:
                raise ValueError(f"nothing happens any more before {label!r}")
            yield step, self._judged(step)
            state = step.state
        if honest and self.events.honest(state) is None:
            yield Step("the end", state), self._ended(state)

    def _named(self, state: State, label: str) -> Step:
        steps = {step.label: step for step in self.events.steps(state)}
        if label not in steps:
            raise ValueError(f"{label!r} cannot happen here; what can: {sorted(steps)}")
        return steps[label]

    def described(self, state: State) -> Iterator[str]:
        """A state in a few lines for people."""
        books = self.service.kept[state.books].books
        reason = f" ({books.reason})" if books.reason else ""
        wake = "" if books.wake_at is None else f", wakes at {(books.wake_at - BEGINS) / SECOND:g} s"
        leased = ", leased" if books.leased else ""
        yield f"at {(state.now - BEGINS) / SECOND:g} s: {books.state}{reason}{wake}{leased}; provider: {state.truth}"
        for number, hand in enumerate(state.hands, 1):
            doing = "a claim" if hand.request is None else f"{hand.request.step} {hand.request.attempt}"
            told = "" if hand.reply is None else f", answered {hand.reply.answer.value}"
            yield f"worker {number} has {doing}{told}{'' if hand.holds else ', its lease is gone'}"
        if books.evidence:
            *_, (_, source, _, _, answer, _, sequence, at, _) = books.evidence
            counted = "" if sequence is None else f" #{sequence}"
            last = f"{source} {answer}{counted} at {(at - BEGINS) / SECOND:g} s"
            yield f"{len(books.evidence)} pieces of evidence, the last: {last}"


@contextmanager
def searching(shape: Shape, database: bytes | None = None) -> Iterator[Search]:
    """A search through one shape."""
    with stand(shape.protocol, shape.direction, database or schema()) as made:
        events = Events(Service(made, Judge()), shape.families)
        yield Search(events, str(shape), TRUTHS[shape.protocol]())
