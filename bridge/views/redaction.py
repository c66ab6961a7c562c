"""Messages as they came, with everything masked that is not needed to judge a transfer: what is not known to be
harmless is not shown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from bridge.evidence import LONGEST_MESSAGE

MASK = "•••"

SHOWN = frozenset({
    "type", "data", "id", "player", "direction", "amount", "requested", "currency", "provider_id", "status", "code",
    "sequence", "time", "timestamp", "balance", "reference", "in_game",
    "playerId", "referenceId", "initiated", "finalized", "message",
})  # fmt: skip
"""Members that are shown: what our contract for providers and the other protocols name, nothing else."""

ENVELOPE = "data"
"""Of those the one that holds others: whatever else stands there is of no name that is known."""

COUNTED = frozenset({"amount", "requested", "balance", "sequence", "time", "timestamp"})
"""Of those the ones whose numbers count or measure something, whatever their digits look like."""

LONGEST, DEEPEST = 20_000, 20

LONGEST_TEXT = 300
"""Characters of a text that is shown: what is longer is masked, a first line from there on."""

_SECRET = re.compile(
    r"whsec_[A-Za-z0-9+/=_-]+"  # a signing secret
    r"|v1[a-z]?,[A-Za-z0-9+/=]{20,}"  # a signature
    r"|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"  # a web token
    r"|(?i:bearer|basic)\s+[A-Za-z0-9+/=._~-]{8,}"
    r"|(?i:passw(?:or)?d|passphrase|secret|token|api[_-]?key|session[_-]?(?:id|key))"  # what is called one
    r"[\"']?\s{0,3}[=:]\s{0,3}[\"']?[^\s\"'&;,<>]+[\"']?"
    r"|[^\s@\"'<>]{1,64}@[^\s@\"'<>]{1,255}\.[A-Za-z]{2,}"  # an address for mail
)
_CARD = re.compile(r"(?<![0-9A-Za-z])[0-9](?:[ -]?[0-9]){12,18}(?![0-9A-Za-z])")


def shown(body: str) -> str:
    """A message in JSON, indented, masked; what is no JSON, or longer than LONGEST, is not shown at all."""
    if len(body) > LONGEST:
        return f"(a message of {len(body)} characters is not shown)"
    try:
        told = _AS_WRITTEN.decode(body)
    except (ValueError, RecursionError):
        return "(not a message in JSON)"
    return _written(_masked(told, ENVELOPE, 0), 0)


def exchanged(message: str) -> str:
    """A request or an answer as it is kept: its first line, and its body masked as above. Empty where there is none."""
    first, _, body = message.partition("\n")
    line = text(first) if len(first) <= LONGEST_TEXT else f"{text(first[:LONGEST_TEXT].rpartition(' ')[0])} {MASK}"
    if len(message) >= LONGEST_MESSAGE:  # it was cut
        return f"{line}\n(only the beginning is kept, and is not shown: it cannot be masked)"
    return "\n".join(part for part in (line, shown(body) if body.strip() else "") if part)


def text(told: str) -> str:
    """A text with whatever looks like a secret, a card's number or an address for mail masked in it; half of a
    surrogate pair, which no page can hold, is escaped."""
    return _without_secrets(told).encode("utf-8", "backslashreplace").decode()


class _Kept(str):
    """A number exactly as it was written."""

    __slots__ = ()


class _Members(tuple[tuple[str, Any], ...]):
    """An object: its members in their order, and one twice that stood there twice."""

    __slots__ = ()


_AS_WRITTEN = json.JSONDecoder(
    parse_float=_Kept, parse_int=_Kept, parse_constant=_Kept, object_pairs_hook=_Members
)  # fmt: skip


def _without_secrets(told: str) -> str:
    return _CARD.sub(_unless_no_card, _SECRET.sub(MASK, told))


def _unless_no_card(found: re.Match[str]) -> str:
    digits = [int(each) for each in found[0] if each.isdecimal()]
    doubled = [sum(divmod(2 * digit, 10)) if place % 2 else digit for place, digit in enumerate(reversed(digits))]
    return found[0] if sum(doubled) % 10 else MASK


def _masked(value: Any, name: str, depth: int) -> Any:
    """`name`: of the member that the value is of, a known one."""
    if depth > DEEPEST:
        return MASK
    if isinstance(value, _Members):
        return _Members(_members(value, depth))
    if isinstance(value, list):
        return [_masked(each, name, depth + 1) for each in value]
    if name == ENVELOPE:
        return MASK
    if not isinstance(value, str):
        return value
    if len(value) > LONGEST_TEXT:
        return MASK
    if isinstance(value, _Kept) and name in COUNTED:
        return value
    told = _without_secrets(value)
    return value if told == value else told  # a number that nothing is masked in stays one: _Kept


def _members(members: _Members, depth: int) -> Iterable[tuple[str, Any]]:
    """Those with a known name; of the others how many there are, for anything may stand in a name."""
    for name, value in members:
        if name in SHOWN:
            yield name, _masked(value, name, depth + 1)
    unknown = sum(name not in SHOWN for name, _ in members)
    if unknown:
        yield MASK if unknown == 1 else f"{MASK} × {unknown}", MASK


def _written(value: Any, depth: int) -> str:
    """As JSON, two blanks a level; numbers as they came."""
    if isinstance(value, _Members):
        return _block("{", (f"{_quoted(name)}: {_written(each, depth + 1)}" for name, each in value), "}", depth)
    if isinstance(value, list):
        return _block("[", (_written(each, depth + 1) for each in value), "]", depth)
    if isinstance(value, _Kept):
        return str(value)
    return _quoted(value) if isinstance(value, str) else json.dumps(value)


def _block(opening: str, lines: Iterable[str], closing: str, depth: int) -> str:
    held = ",".join(f"\n{'  ' * (depth + 1)}{line}" for line in lines)
    return f"{opening}{held}\n{'  ' * depth}{closing}" if held else opening + closing


def _quoted(told: str) -> str:
    """A text in JSON. What cannot be seen is escaped: half of a surrogate pair, at which the page would break, and what
    turns the order in which letters are read."""
    plain = json.dumps(told, ensure_ascii=False)
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in plain)
