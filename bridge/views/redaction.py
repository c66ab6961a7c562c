"""Messages as they came, with everything masked that is not needed to judge a transfer: what is not known to be
harmless is not shown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from bridge.evidence import LONGEST_MESSAGE

MASK = "•••"

SHOWN = frozenset({
    "type", "data", "id", "player", "direction", "amount", "requested", "currency", "provider_id", "status", "code",
    "sequence", "time", "timestamp", "balance", "reference",
    "playerId", "referenceId", "initiated", "finalized", "message",
})  # fmt: skip
"""Members whose values are shown: what our contract for providers and the other protocols name, nothing else."""

COUNTED = frozenset({"amount", "requested", "balance", "sequence", "time", "timestamp"})
"""Of those the ones whose numbers count or measure something, whatever their digits look like."""

LONGEST, DEEPEST = 20_000, 20

LONGEST_LINE = 200
"""Characters of the first line that are shown of a message that is too long."""

_SECRET = re.compile(
    r"whsec_[A-Za-z0-9+/=_-]+"  # a signing secret
    r"|v1[a-z]?,[A-Za-z0-9+/=]{20,}"  # a signature
    r"|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"  # a web token
    r"|(?i:bearer|basic)\s+[A-Za-z0-9+/=._~-]{8,}"
    r"|[^\s@\"'<>]{1,64}@[^\s@\"'<>]{1,255}\.[A-Za-z]{2,}"  # an address for mail
)
_CARD = re.compile(r"(?<![0-9A-Za-z])[0-9](?:[ -]?[0-9]){12,18}(?![0-9A-Za-z])")


def shown(body: str) -> str:
    """A message in JSON, indented, masked; what is no JSON, or longer than LONGEST, is not shown at all."""
    if len(body) > LONGEST:
        return f"(a message of {len(body)} characters is not shown)"
    try:
        told = json.loads(body, parse_float=_Kept, parse_int=_Kept, parse_constant=_Kept)
    except (ValueError, RecursionError):
        return "(not a message in JSON)"
    return _written(_masked(told, "data", 0), 0)


def exchanged(message: str) -> str:
    """A request or an answer as it is kept: its first line, and its body masked as above. Empty where there is none."""
    first, _, body = message.partition("\n")
    if len(message) >= LONGEST_MESSAGE:
        return f"{text(first)[:LONGEST_LINE]}\n(only the beginning is kept, and is not shown: it cannot be masked)"
    return "\n".join(part for part in (text(first), shown(body) if body.strip() else "") if part)


class _Kept(str):
    """A number exactly as it was written."""

    __slots__ = ()


def text(told: str) -> str:
    """A text with whatever looks like a secret, a card's number or an address for mail masked in it."""
    return _CARD.sub(_unless_no_card, _SECRET.sub(MASK, told))


def _masked(value: Any, name: str, depth: int) -> Any:
    """`name`: of the member that the value is of. What is below an unknown one is unknown too."""
    if name not in SHOWN or depth > DEEPEST:
        return MASK
    if isinstance(value, Mapping):
        return {text(key): _masked(each, key, depth + 1) for key, each in value.items()}
    if isinstance(value, list):
        return [_masked(each, name, depth + 1) for each in value]
    if not isinstance(value, str) or (isinstance(value, _Kept) and name in COUNTED):
        return value
    told = text(value)
    return value if told == value else told  # a number that nothing is masked in stays one: _Kept


def _unless_no_card(found: re.Match[str]) -> str:
    digits = [int(each) for each in found[0] if each.isdecimal()]
    doubled = [sum(divmod(2 * digit, 10)) if place % 2 else digit for place, digit in enumerate(reversed(digits))]
    return found[0] if sum(doubled) % 10 else MASK


def _written(value: Any, depth: int) -> str:
    """As JSON, two blanks a level; numbers as they came."""
    inner, outer = "  " * (depth + 1), "  " * depth
    if isinstance(value, dict) and value:
        pairs = ((json.dumps(key, ensure_ascii=False), _written(each, depth + 1)) for key, each in value.items())
        return "{\n" + ",\n".join(f"{inner}{key}: {each}" for key, each in pairs) + f"\n{outer}}}"
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(inner + _written(each, depth + 1) for each in value) + f"\n{outer}]"
    return str(value) if isinstance(value, _Kept) else json.dumps(value, ensure_ascii=False)
