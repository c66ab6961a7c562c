"""Why somebody did something, in their own words: judged in one way, whatever it was."""

from __future__ import annotations

from bridge.errors import Invalid

LEAST, MOST = 3, 500


def stated(told: str, most: int = MOST) -> str:
    """A reason, without blanks around it; raises Invalid unless somebody could understand it later."""
    reason = told.strip()
    if not LEAST <= len(reason) <= most:
        raise Invalid(fields={"reason": f"must have {LEAST} to {most} characters"})
    if any(not sign.isprintable() and sign not in "\n\r\t" for sign in reason):
        raise Invalid(fields={"reason": "holds characters that cannot be read"})
    return reason
