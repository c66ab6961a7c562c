"""What is derived from `desk.secret`: one key for each purpose, so that none says anything about another.

Seeds of one-time codes are kept encrypted under such a key, each bound to its person: a copy of the database makes no
code, and a seed that is moved to another person's row opens nothing.
"""

from __future__ import annotations

import base64
import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from bridge import log
from bridge.errors import Unavailable
from bridge.runtime import Runtime

SEEDS, OFFERS, FORMS = "seeds of one-time codes", "offers of a seed", "tokens of forms"

_KEY_BYTES, _NONCE_BYTES = 32, 12
_log = log.get("desk")


class NotSetUp(Unavailable):
    """The desk is not set up: set `desk.secret`."""

    code = "desk_not_set_up"


class Unreadable(Exception):
    """What is to be opened was not sealed with this key for this purpose."""


def require(runtime: Runtime) -> None:
    """Raise NotSetUp where there is nothing to derive keys from."""
    _master(runtime)


def _master(runtime: Runtime) -> bytes:
    try:
        found = runtime.config.desk.master()
    except (OSError, ValueError) as ours:
        _log.error("desk.secret cannot be read", error=type(ours).__name__)
        raise NotSetUp(after_seconds=60) from ours
    if found is None:
        raise NotSetUp(after_seconds=60)
    return found.encode()


def _key(runtime: Runtime, purpose: str) -> bytes:
    told = f"bridge desk: {purpose}".encode()
    return HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=told).derive(_master(runtime))


def seal(runtime: Runtime, purpose: str, bound_to: str, plain: str) -> str:
    """Encrypt a text so that it opens only for the same purpose and owner."""
    nonce = runtime.ids.noise(_NONCE_BYTES)
    hidden = AESGCM(_key(runtime, purpose)).encrypt(nonce, plain.encode(), bound_to.encode())
    return base64.urlsafe_b64encode(nonce + hidden).decode()


def open_sealed(runtime: Runtime, purpose: str, bound_to: str, sealed: str) -> str:
    """What was sealed. Raises Unreadable: another secret, purpose or owner, or not whole."""
    try:
        kept = base64.urlsafe_b64decode(sealed.encode())
        nonce, hidden = kept[:_NONCE_BYTES], kept[_NONCE_BYTES:]
        return AESGCM(_key(runtime, purpose)).decrypt(nonce, hidden, bound_to.encode()).decode()
    except (InvalidTag, ValueError) as wrong:
        raise Unreadable from wrong


def mark(runtime: Runtime, purpose: str, of: str) -> str:
    """A token that only this bridge can make of `of`."""
    return hmac.new(_key(runtime, purpose), of.encode(), "sha256").hexdigest()


def is_mark(runtime: Runtime, purpose: str, of: str, told: str) -> bool:
    """Whether a token is the one of `of`."""
    return hmac.compare_digest(mark(runtime, purpose, of).encode(), told.encode())
