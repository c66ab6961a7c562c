"""What an inspection may find, and its report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from bridge.audit.chain import RUNS, name_of

KEPT = 1000
"""Findings that are kept; the others are counted."""


class Kind(StrEnum):
    """What is found."""

    EDITED = "edited"
    DELETED = "deleted"
    INSERTED = "inserted"
    SWAPPED = "swapped"
    MOVED = "moved"
    STRAY = "stray"
    LATE = "late"
    UNSEALED = "unsealed"
    UNREADABLE = "unreadable"
    SEAL = "seal"
    TRUNCATED = "truncated"
    REWRITTEN = "rewritten"
    MIRROR = "mirror"


@dataclass(frozen=True)
class Finding:
    """Something that is not as it was sealed: what happened, in which table (or chain, or mirror), to which row, seal
    or line, whose it is, in a sentence."""

    kind: Kind
    where: str
    which: str
    chain: int
    sentence: str

    def __str__(self) -> str:
        whose = "" if self.chain == RUNS else f" ({name_of(self.chain)})"
        what = f"{self.where} {self.which}".rstrip()
        return f"{self.kind.value:10}  {what}{whose}: {self.sentence}"


@dataclass
class Report:
    """What an inspection came to: what it found, how much it looked at, what is not sealed yet, whether the chains'
    heads are those of a mirror."""

    findings: list[Finding] = field(default_factory=list)
    count: int = 0
    entries: int = 0
    seals: int = 0
    unsealed: int = 0
    remarks: list[str] = field(default_factory=list)
    mirrored: bool = False

    def add(self, found: Iterable[Finding]) -> None:
        """Keep what was found, the first KEPT of it."""
        for finding in found:
            self.count += 1
            if len(self.findings) < KEPT:
                self.findings.append(finding)

    @property
    def kinds(self) -> Counter[Kind]:
        """How many of each kind, of those that are kept."""
        return Counter(finding.kind for finding in self.findings)
