"""Seeded chance: one stream for each strand of the world, and the tape of every fault that it decided.

A decision is named by its stream and its place in it, so that a story without some of its faults can be told again:
the others still strike where they struck.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from random import Random
from typing import Self


@dataclass(frozen=True)
class Decision:
    """One fault that was decided: what, in which stream, at which of its draws."""

    kind: str
    stream: str
    draw: int

    def __str__(self) -> str:
        return f"{self.kind}@{self.stream}#{self.draw}"


class Chance:
    """All streams of one seed. `kept`: of the faults, only these happen; None lets all of them happen."""

    def __init__(self, seed: int, kept: Collection[str] | None = None) -> None:
        self.seed, self.tape = seed, list[Decision]()
        self._kept = None if kept is None else frozenset(kept)

    def stream(self, name: str) -> Stream:
        """The stream of that name, from its beginning."""
        return Stream(self, name)

    def take(self, decision: Decision) -> bool:
        """Write a fault on the tape, and whether it may happen."""
        if self._kept is not None and str(decision) not in self._kept:
            return False
        self.tape.append(decision)
        return True


def rule_the_system(chance: Chance) -> None:
    """What the providers' code asks of the system's own chance is drawn from the story's."""
    dice = Stream(chance, "system")
    uuid.uuid4 = lambda: uuid.UUID(int=dice.getrandbits(128), version=4)
    secrets.token_urlsafe = lambda size=32: f"{dice.getrandbits(8 * (size or 32)):x}"
    secrets.token_bytes = lambda size=32: dice.randbytes(size or 32)


class Stream(Random):
    """Draws of one strand, alike in every run of one seed. `random` and its kind decide nothing that is on the tape."""

    def __new__(cls, *_arguments: object) -> Self:  # Random would hash its arguments
        return super().__new__(cls)

    def __init__(self, chance: Chance, name: str) -> None:
        super().__init__(f"{chance.seed}/{name}")
        self.name, self._chance, self._drawn = name, chance, 0

    def strikes(self, kind: str, rate: float) -> bool:
        """Whether a fault happens here; drawn alike whether it may happen or not."""
        if rate <= 0:
            return False
        self._drawn += 1
        return self.random() < rate and self._chance.take(Decision(kind, self.name, self._drawn))
