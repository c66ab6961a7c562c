"""How rows and seals are written down, byte for byte the same on both databases, and their hashes (SHA-256).

What is here is fixed by a seal's `format`: another way of writing is another number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import orjson

FIRST = hashlib.sha256(b"").hexdigest()
"""What the first seal of a chain, and the first line of a mirror, name as the one before them."""

MARK_BYTES = 8
"""So much of a row's hash stands beside its key in a seal. It says which row it is that differs; that none differs is
proved by the digest, which is over whole hashes."""

Place = list[Any]
"""Where a row stands in its table's order; empty: before the first one."""


def written(values: Any) -> bytes:
    """Canonical JSON: no spaces, UTF-8, numbers as integers, members in the order in which they are given."""
    return orjson.dumps(values, default=_strange)


def row_hash(values: Sequence[Any]) -> bytes:
    """The hash of a row's sealed columns, its key left out, so that contents that were exchanged are recognised.

    No sealed column holds a binary float; where SQLite was made to hold one, JSON would write infinity as null.
    """
    if float in map(type, values):
        return hashlib.sha256(repr(list(values)).encode()).digest()
    return hashlib.sha256(written(values)).digest()


def digest(content: str | bytes) -> str:
    """SHA-256 in hexadecimal digits."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def place_text(place: Place) -> str:
    """A place as it stands in a seal."""
    return written(place).decode()


class Unreadable(ValueError):
    """What should be a place, or a list of rows or seals, is none: somebody has changed it."""


def listed(text: str | None) -> list[Any]:
    """A list as it stands in a seal or a mark; nothing is an empty one. Raises Unreadable."""
    try:
        found = orjson.loads(text) if text else []
    except (TypeError, ValueError):
        found = None
    if not isinstance(found, list):
        raise Unreadable
    return found


def ordered(place: Place) -> list[tuple[int, Any]]:
    """A place as it is compared, in SQLite's order also where its columns were made to hold something else: numbers,
    then texts, then whatever else there is."""
    return [
        (0, part) if isinstance(part, int | float) else (1, part) if isinstance(part, str) else (2, repr(part))
        for part in place
    ]


class Bundle:
    """The rows of one operator in one run, as they are added: their keys, the beginnings of their hashes, and a digest
    over all of them."""

    __slots__ = ("_digest", "listed")

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self.listed: list[list[Any]] = []

    def add(self, key: list[Any], hashed: bytes) -> None:
        """One more row."""
        key.append(hashed[:MARK_BYTES].hex())
        self.listed.append(key)
        self._digest.update(hashed)

    @property
    def entries(self) -> int:
        """How many rows."""
        return len(self.listed)

    @property
    def content(self) -> str:
        """What the seal lists."""
        return written(self.listed).decode()

    @property
    def digest(self) -> str:
        """Over the rows' whole hashes, in their order."""
        return self._digest.hexdigest()


def _strange(value: Any) -> Any:
    """What no column of ours holds, and somebody may have put there: never the same as what JSON can write."""
    return {type(value).__name__: repr(bytes(value) if isinstance(value, memoryview) else value)}
