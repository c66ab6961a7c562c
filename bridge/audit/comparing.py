"""Rows against the seals of their run: which of them were edited, deleted, inserted, swapped, or given to another
operator since they were sealed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bridge.audit.canon import MARK_BYTES, place_of, row_hash
from bridge.audit.chain import NOBODYS, SealRow, name_of
from bridge.audit.findings import Finding, Kind
from bridge.audit.sealed import Source
from bridge.audit.sealing import bundled, keys_of

Key = tuple[Any, ...]


@dataclass
class _Row:
    """A row as it is now, or as a seal lists it."""

    chain: int
    mark: str


def compared(
    source: Source, run: SealRow, seals: Sequence[SealRow], late: Sequence[SealRow], rows: Sequence[Any]
) -> Iterator[Finding]:
    """What differs at the places of one run; `seals` are its own, `late` those of later runs about the same places."""
    if not late and _agrees(source, seals, rows):
        return
    now, hashes, twice = _as_they_are(source, rows)
    then = {key: _Row(seal.chain, mark) for seal in (*seals, *late) for key, mark in keys_of(seal.content)}
    found = [*_differing(source, then, now), *_added(source, run, then, now), *(_doubled(source, run, twice))]
    yield from found
    for seal in () if found else (*seals, *late):
        listed = [key for key, _ in keys_of(seal.content)]
        if _digest(hashes[key] for key in listed) != seal.digest:
            which = f"{_told(source, listed[0])} to {_told(source, listed[-1])}"
            yield Finding(Kind.EDITED, source.name, which, seal.chain, f"one of them is not as seal {seal.number} says")


def _agrees(source: Source, seals: Sequence[SealRow], rows: Sequence[Any]) -> bool:
    """Whether everything is as it was sealed: nearly always."""
    now = bundled(source, rows)
    if len(now) != len(seals):
        return False
    for seal in seals:
        bundle = now.get(seal.chain)
        if bundle is None or bundle.digest != seal.digest or bundle.content != seal.content:
            return False
    return True


def _as_they_are(source: Source, rows: Sequence[Any]) -> tuple[dict[Key, _Row], dict[Key, bytes], list[Key]]:
    places, names = len(source.place), len(source.key)
    now: dict[Key, _Row] = {}
    hashes: dict[Key, bytes] = {}
    twice = []
    for row in rows:
        told = tuple(row)
        key, hashed = told[places + 1 : places + 1 + names], row_hash(told[places + 1 + names :])
        if key in now:
            twice.append(key)
            continue
        now[key], hashes[key] = _Row(told[places], hashed[:MARK_BYTES].hex()), hashed
    return now, hashes, twice


def _differing(source: Source, then: Mapping[Key, _Row], now: Mapping[Key, _Row]) -> Iterator[Finding]:
    """Rows that were sealed and are not as they were."""
    by_mark = {row.mark: key for key, row in then.items() if key in now and now[key].mark != row.mark}
    for key, row in then.items():
        which = _told(source, key)
        if key not in now:
            yield Finding(Kind.DELETED, source.name, which, row.chain, "it was sealed, and is not there")
            continue
        other = by_mark.get(now[key].mark)
        if now[key].mark != row.mark and other is not None and now[other].mark == row.mark:
            sentence = f"it holds what {_told(source, other)} held, and that one what it held"
            yield Finding(Kind.SWAPPED, source.name, which, row.chain, sentence)
        elif now[key].chain != row.chain:
            sentence = f"it was sealed for {name_of(row.chain)}, and is now of {name_of(now[key].chain)}"
            yield Finding(Kind.MOVED, source.name, which, row.chain, sentence)
        elif now[key].mark != row.mark:
            yield Finding(Kind.EDITED, source.name, which, row.chain, "it is not as it was sealed")


def _added(source: Source, run: SealRow, then: Mapping[Key, _Row], now: Mapping[Key, _Row]) -> Iterator[Finding]:
    """Rows that are there and were not when the run looked at their places."""
    for key, row in now.items():
        if key not in then:
            sentence = f"run {run.number} looked at its place, and it was not there"
            yield Finding(Kind.INSERTED, source.name, _told(source, key), row.chain, sentence)


def _doubled(source: Source, run: SealRow, twice: Sequence[Key]) -> Iterator[Finding]:
    for key in twice:
        sentence = f"it is named twice among what run {run.number} looked at"
        yield Finding(Kind.INSERTED, source.name, _told(source, key), NOBODYS, sentence)


def late_findings(source: Source, run: SealRow, seals: Sequence[SealRow]) -> Iterator[Finding]:
    """What a run of late rows says, for people to look at."""
    for seal in seals:
        for key, _ in keys_of(seal.content):
            sentence = (
                f"it was not there when its place was sealed; run {run.number} sealed it later. Inserted afterwards, "
                "or committed after a wait that should not be possible"
            )
            yield Finding(Kind.LATE, source.name, _told(source, key), seal.chain, sentence)


def _digest(hashes: Iterator[bytes]) -> str:
    whole = hashlib.sha256()
    for each in hashes:
        whole.update(each)
    return whole.hexdigest()


def _told(source: Source, key: Sequence[Any]) -> str:
    """A row's key in words."""
    if len(key) == 1:
        return f"{source.key[0]} {key[0]}"
    return ", ".join(f"{name} {part}" for name, part in zip(source.key, key, strict=True))


def listed_seals(run: SealRow) -> list[tuple[int, int, str]]:
    """(chain, entries, hash) of the seals that a run lists."""
    return [(each[0], each[1], each[2]) for each in place_of(run.content)]
