"""Reading what providers send, strictly: JSON as exact decimals, names once, texts that can be stored and shown."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from decimal import Decimal
from typing import Any

from bridge.evidence import CUT, LONGEST_MESSAGE, Answer, Reply
from bridge.outbound import Exchange

MOST_CHARACTERS = 28  # of a number on the wire: decimal arithmetic is exact below 29 digits
LONGEST_TEXT = 300


class Unreadable(Exception):
    """An answer that says nothing: why, as a code, and what is wrong with it, never what was sent."""

    def __init__(self, code: str, detail: str = "") -> None:
        self.code, self.detail = code, detail
        super().__init__(code)


def unknown(exchange: Exchange, nothing: Unreadable) -> Reply:
    """The reply of an exchange that says nothing."""
    return with_messages(Reply(Answer.UNKNOWN, code=nothing.code, detail=nothing.detail), exchange)


def with_messages(reply: Reply, exchange: Exchange) -> Reply:
    """The reply with what was said on the wire, and the digest of what was received. Not for a login: what is said
    there is a password and a token."""
    sent, received = (_kept(each) for each in (exchange.request, exchange.answer))
    return replace(reply, digest=exchange.digest, sent=sent, received=received)


def _kept(message: str) -> str | None:
    """A message as a database can store it, where there is one. Cut after it was escaped, which makes it longer."""
    written = message.replace("\0", "\\x00")
    if len(written) >= LONGEST_MESSAGE:
        return written[: LONGEST_MESSAGE - len(CUT)] + CUT
    return written or None


def document(exchange: Exchange) -> dict[str, Any]:
    """The body as a JSON object, strictly: UTF-8 without BOM, names once, plain numbers as exact decimals."""
    kind = exchange.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" or exchange.headers.get("content-encoding", "identity") != "identity":
        raise Unreadable("MALFORMED", "content type")
    try:
        body = _STRICT.decode(exchange.body.decode("utf-8"))
    except (ValueError, RecursionError) as wrong:
        raise Unreadable("MALFORMED", "not strict JSON") from wrong
    if not isinstance(body, dict):
        raise Unreadable("MALFORMED", "not an object")
    return body


def _number(text: str) -> Decimal:
    if len(text) > MOST_CHARACTERS or not _EXACT.fullmatch(text):
        raise ValueError("not a number that arithmetic keeps exact")
    return Decimal(text)


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(members := dict(pairs)) != len(pairs):
        raise ValueError("a name twice")
    return members


_EXACT = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?")  # no NaN, no Infinity, no huge exponent
_STRICT = json.JSONDecoder(parse_int=_number, parse_float=_number, parse_constant=_number, object_pairs_hook=_members)


def text(body: Any, name: str) -> str:
    """The member `name`: a text that can be stored and shown."""
    value = body.get(name) if isinstance(body, dict) else None
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_TEXT or not value.isprintable():
        raise Unreadable("MALFORMED", name)
    return value
