"""One strict reading of a JSON object, so that no two parsers can disagree about what a request says.

RFC 8259 and nothing beside it: UTF-8 without a byte order mark, one object, no NaN or Infinity, no half
of a surrogate pair, no name twice, nesting at most 20 deep.
"""

from __future__ import annotations

import json
from typing import Any

import orjson

from bridge.errors import BadRequest

DEEPEST = 20

LONGEST_NAME_TOLD = 64
"""A name that the client invented is told back, cut to this length."""


def read_object(raw: bytes) -> dict[str, Any]:
    """The object that `raw` holds. Raises BadRequest, naming the field where there is one."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"The body is not JSON in UTF-8: {error.msg}.", code="json_broken") from None
    if not isinstance(value, dict):
        raise BadRequest("The body must be a JSON object.", code="json_broken")
    if _deeper_than(value, DEEPEST):
        raise BadRequest(f"The body is nested deeper than {DEEPEST} levels.", code="json_too_deep")
    json.loads(raw, object_pairs_hook=_each_name_once)
    return value


def _deeper_than(value: Any, levels: int) -> bool:
    """Level by level, without recursion: the depth is the sender's choice."""
    layer = [value]
    for _ in range(levels):
        layer = [inner for outer in layer for inner in _inside(outer) if isinstance(inner, dict | list)]
        if not layer:
            return False
    return True


def _inside(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value


def _each_name_once(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for name, _value in pairs:
        if name in seen:
            fields = {name[:LONGEST_NAME_TOLD]: "stands twice in one object"}
            raise BadRequest("A name stands twice.", code="json_duplicate_name", fields=fields)
        seen.add(name)
