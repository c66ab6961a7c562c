"""Standard Webhooks: a message is signed with HMAC-SHA256 over `id.timestamp.body`, and names the second it was sent.

The same scheme in both directions (docs/provider-contract.md §1). What is signed is the body as it went over the
wire: nothing is parsed here, and JSON that was written anew does not fit its signature.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Sequence
from functools import lru_cache

TOLERANCE_SECONDS = 300
"""How far a message's timestamp may be from the receiver's clock, before or behind it."""

LEAST_BYTES, MOST_BYTES = 24, 64  # of a key
PREFIX, VERSION = "whsec_", "v1,"

_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_SECONDS = re.compile(r"0|[1-9][0-9]{0,11}")


class BadSignature(Exception):
    """A message is not signed by whom it claims to be from, or not now; the text is for our log alone."""


@lru_cache(maxsize=64)
def key(secret: str) -> bytes:
    """The key in a shared secret, `whsec_` and base64; raises ValueError, which never repeats the secret."""
    text = secret.removeprefix(PREFIX)
    try:
        found = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        found = b""
    if text == secret or not LEAST_BYTES <= len(found) <= MOST_BYTES:
        raise ValueError(f"a secret is {PREFIX} and the base64 of {LEAST_BYTES} to {MOST_BYTES} bytes")
    return found


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The content of `webhook-signature` for a message sent at `timestamp`, seconds since 1970; raises ValueError."""
    digest = hmac.digest(key(secret), f"{message_id}.{timestamp}.".encode() + body, "sha256")
    return VERSION + base64.b64encode(digest).decode()


def verify(
    secrets: Sequence[str], message_id: str, timestamp_text: str, signatures_header: str, body: bytes, now_seconds: int
) -> None:
    """Accept a message of which any `v1` signature fits any of the secrets, at most 300 s from now; else BadSignature.

    The texts are the headers as received, empty where there is none. Raises ValueError only where one of our own
    `secrets` is none. All secrets and all signatures are compared, so the time tells nothing about either.
    """
    if not _ID.fullmatch(message_id):
        raise BadSignature("webhook-id is missing or malformed")
    if not _SECONDS.fullmatch(timestamp_text):
        raise BadSignature("webhook-timestamp is missing or malformed")
    expected = [sign(secret, message_id, int(timestamp_text), body).encode() for secret in secrets]
    if abs(now_seconds - int(timestamp_text)) > TOLERANCE_SECONDS:
        raise BadSignature("webhook-timestamp is too far from now")
    told = [each.encode(errors="replace") for each in signatures_header.split(" ") if each.startswith(VERSION)]
    if not any([hmac.compare_digest(one, other) for one in expected for other in told]):  # noqa: C419 - compare all
        raise BadSignature("no signature fits")
