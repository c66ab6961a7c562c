"""Passwords: Argon2id, a few at a time, and never inside of a transaction.

No rule asks for signs of a kind, and none for a new password every so often: length, and that it is nobody's first
guess, is what counts (NIST SP 800-63B, ASVS 6.2).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from bridge.errors import Invalid, Unavailable
from bridge.runtime import Runtime

SHORTEST, LONGEST = 12, 128
"""Characters, after NFKC."""

AT_ONCE = 2
"""Hashes that one process computes side by side: each takes 64 MiB and a core for a tenth of a second."""

WAITING, WAIT_SECONDS = 4, 2.0
"""So many wait for their turn, so long at most; whoever else comes is refused at once. Threads that wait here are
threads that carry no money meanwhile."""

SALT_BYTES = 16
LEAST_LETTERS, LEAST_DIFFERENT = 6, 5
TELLING = 4
"""Letters of a name from which on it is one: shorter ones stand in many words."""


_hasher = PasswordHasher(time_cost=3, memory_cost=65_536, parallelism=1)
_turns = BoundedSemaphore(AT_ONCE)
_line = BoundedSemaphore(AT_ONCE + WAITING)

_KNOWN = (
    "password passwort motdepasse contrasena letmein welcome willkommen iloveyou sunshine princess football baseball "
    "superman batman dragon monkey master shadow michael jordan login admin administrator secret geheim changeme "
    "trustno qwertyuiop qwertzuiop asdfghjkl zxcvbnm yxcvbnm qwerty qwertz azerty asdf zxcv qaz wsx edc abcdefghijklm "
    "abcdef abcd abc correcthorsebatterystaple correct horse battery staple whatever starwars pokemon computer "
    "internet google facebook linkedin casino bridge transfer operator approver dashboard desk default temporary test"
).split()
"""What guesses begin with; a password has to have more to it than these."""

_SAME_AS = str.maketrans("013457@$!", "oleastasi")


def require_good(password: str, *about: str) -> str:
    """The password as it is kept, NFKC. Raises Invalid naming `password`; `about`: login and name of whose it is."""
    told = unicodedata.normalize("NFKC", password)
    if not SHORTEST <= len(told) <= LONGEST:
        raise Invalid(fields={"password": f"must have {SHORTEST} to {LONGEST} characters"})
    folded = told.casefold()
    names = [word for each in about for word in re.split(r"[\s@._+-]+", each.casefold()) if len(word) >= TELLING]
    if any(word in folded for word in names):
        raise Invalid(fields={"password": "must hold neither your login nor your name"})
    if _is_common(folded):
        raise Invalid(fields={"password": "is one of the first that are guessed: take several words that are your own"})
    return told


def _is_common(folded: str) -> bool:
    """Whether little is left when the words that everybody takes are left out. What is mostly digits, or the same few
    signs over and over, is common too."""
    meant = (folded, folded.translate(_SAME_AS))
    return len(set(folded)) < LEAST_DIFFERENT or min(_letters_left(each) for each in meant) < LEAST_LETTERS


def _letters_left(told: str) -> int:
    for word in _KNOWN:
        told = told.replace(word, " ")
    return sum(sign.isalpha() for sign in told)


def hashed(runtime: Runtime, password: str) -> str:
    """What is kept of a password. Raises Unavailable while too many are being computed."""
    with _a_turn():
        return _hasher.hash(password, salt=runtime.ids.noise(SALT_BYTES))


def fits(password: str, kept: str | None) -> bool:
    """Whether this is the password; nobody's (None) takes as long as somebody's. Raises Unavailable as `hashed`."""
    told = unicodedata.normalize("NFKC", password)
    with _a_turn():
        try:
            return _hasher.verify(_nobodys() if kept is None else kept, told) and kept is not None
        except (VerificationError, InvalidHashError):
            return False


@cache
def _nobodys() -> str:
    """A hash that is compared with where there is none, so that an unknown login takes as long as a known one."""
    return _hasher.hash("nobody", salt=bytes(SALT_BYTES))


@contextmanager
def _a_turn() -> Iterator[None]:
    _nobodys()  # once in a process, and before anybody's time is taken
    if not _line.acquire(blocking=False):
        raise _busy()
    try:
        if not _turns.acquire(timeout=WAIT_SECONDS):
            raise _busy()
        try:
            yield
        finally:
            _turns.release()
    finally:
        _line.release()


def _busy() -> Unavailable:
    return Unavailable("Too many people are coming in at once.", code="busy", after_seconds=5)
