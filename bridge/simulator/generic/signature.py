"""Signatures of the contract (§1, Standard Webhooks): HMAC-SHA256 over id, timestamp and the raw body."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence

PREFIX = "whsec_"
SHORTEST_KEY, LONGEST_KEY = 24, 64  # bytes
FARTHEST = 300  # seconds between the timestamp and the receiver's clock
MESSAGE_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
TIMESTAMP = re.compile(r"[0-9]{1,12}")


def key_of(secret: str) -> bytes:
    """The key in a shared secret; raises ValueError with one sentence that does not tell it."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not secret.startswith(PREFIX) or not SHORTEST_KEY <= len(key) <= LONGEST_KEY:
        raise ValueError(f"a secret is {PREFIX} and {SHORTEST_KEY} to {LONGEST_KEY} bytes in base64")
    return key


def code(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    """One `v1` signature."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def fits(keys: Sequence[bytes], headers: Mapping[str, str], body: bytes, now: int) -> bool:
    """Whether any signature fits any key, and the timestamp is near `now` (seconds since 1970)."""
    message_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not MESSAGE_ID.fullmatch(message_id) or not TIMESTAMP.fullmatch(timestamp):
        return False
    if abs(now - int(timestamp)) > FARTHEST:
        return False
    right = [code(key, message_id, timestamp, body).encode() for key in keys]
    given = headers.get("webhook-signature", "").encode("latin-1", "replace").split(b" ")
    return any(hmac.compare_digest(one, each) for one in right for each in given)
