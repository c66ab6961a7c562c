"""Instants that clients name: RFC 3339 with an offset, exact to the microsecond, never in the future."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from bridge.api.answers.views import EPOCH
from bridge.errors import Invalid

_RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?([Zz]|[+-][0-9]{2}:[0-9]{2})", re.ASCII
)


def past(text: str, field: str, now: int) -> int:
    """Microseconds since 1970 of a past instant; raises Invalid naming `field`."""
    if _RFC_3339.fullmatch(text) is None:
        raise Invalid(fields={field: "must be an instant with its offset (RFC 3339), such as 2026-01-31T12:00:00Z"})
    try:
        at = (datetime.fromisoformat(text.upper()) - EPOCH) // timedelta(microseconds=1)
    except ValueError:
        raise Invalid(fields={field: "is not a day and a time that exist"}) from None
    if at < 0:
        raise Invalid(fields={field: "must not be before 1970"})
    if at > now:
        raise Invalid(fields={field: "must not be in the future"})
    return at
