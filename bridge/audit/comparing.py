"""Rows against the seals of their run: which of them were edited, deleted, inserted, swapped, or given to another
operator since they were sealed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bridge.audit.canon import MARK_BYTES, Unreadable, listed
from bridge.audit.chain import NOBODYS, SealRow, name_of
from bridge.audit.findings import Finding, Kind
from bridge.audit.sealed import Source
from bridge.audit.sealing import bundled

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
    keys = {(seal.chain, seal.number): keys_of(source, seal) for seal in (*seals, *late)}
    then = {key: _Row(name, mark) for (name, _), told in keys.items() for key, mark in told or ()}
    unread = [seal for seal in (*seals, *late) if keys[seal.chain, seal.number] is None]
    found = [*_unlisted(source, unread, then, now, hashes), *_differing(source, then, now)]
    found += [*_added(source, run, then, now), *_doubled(source, run, twice)]
    yield from found
    for seal in () if found else (*seals, *late):
        told = [key for key, _ in keys[seal.chain, seal.number] or ()]
        if told and _digest(hashes[key] for key in told) != seal.digest:
            which = f"{_told(source, told[0])} to {_told(source, told[-1])}"
            yield Finding(Kind.EDITED, source.name, which, seal.chain, f"one of them is not as seal {seal.number} says")


def keys_of(source: Source, seal: SealRow) -> list[tuple[Key, str]] | None:
    """(the key, the beginning of its hash) of each row that a seal lists; None where that cannot be read, or is no list
    of a seal."""
    try:
        return source.read_keys(seal.content) or None
    except Unreadable:
        return None


def _unlisted(
    source: Source,
    unread: Sequence[SealRow],
    then: Mapping[Key, _Row],
    now: dict[Key, _Row],
    hashes: Mapping[Key, bytes],
) -> Iterator[Finding]:
    """The rows whose list cannot be read any more, which only their digest tells; they are taken out of `now`."""
    for seal in unread:
        rest = [key for key, row in now.items() if key not in then and row.chain == seal.chain]
        if _digest(hashes[key] for key in rest) != seal.digest:
            which = f"{_told(source, rest[0])} to {_told(source, rest[-1])}" if rest else "rows"
            sentence = f"one of them is not as it was sealed; which, seal {seal.number} does not tell any more"
            yield Finding(Kind.EDITED, source.name, which, seal.chain, sentence)
        for key in rest:
            del now[key]


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
        key, hashed = told[places + 1 : places + 1 + names], source.hash_of(told[places + 1 + names :])
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
        for key, _ in keys_of(source, seal) or ():
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
    """(chain, entries, hash) of the seals that a run lists. Raises Unreadable."""
    try:
        return [(int(chain), int(entries), str(hashed)) for chain, entries, hashed in listed(run.content)]
    except (TypeError, ValueError) as strange:
        raise Unreadable from strange
