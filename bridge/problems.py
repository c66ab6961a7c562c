"""RFC 9457 problems: the one shape in which a refusal is told, the same bytes each time."""

from __future__ import annotations

import orjson

from bridge.errors import Refusal


def render(refusal: Refusal) -> str:
    """The problem document of a refusal, as canonical JSON text."""
    problem: dict[str, object] = {
        "type": f"/docs/problems#{refusal.code}",
        "title": (type(refusal).__doc__ or "").split("\n")[0],
        "status": refusal.status,
        "detail": refusal.detail,
        "code": refusal.code,
        "retry": refusal.retry.value,
    }
    if refusal.fields:
        problem["errors"] = [{"field": name, "detail": why} for name, why in sorted(refusal.fields.items())]
    if refusal.transfer_id is not None:
        problem["transfer_id"] = refusal.transfer_id
    return orjson.dumps(problem).decode()
