"""Why somebody did something, in their own words: judged in one way, whatever it was."""

from __future__ import annotations

from bridge.errors import Invalid

LEAST, MOST = 3, 500
"""Characters: so many as stand whole in a note of who did it."""


def stated(told: str) -> str:
    """A reason, without blanks around it; raises Invalid unless somebody could understand it later."""
    reason = told.strip()
    if not LEAST <= len(reason) <= MOST:
        raise Invalid(fields={"reason": f"must have {LEAST} to {MOST} characters"})
    if any(not sign.isprintable() and sign not in "\n\r\t" for sign in reason):
        raise Invalid(fields={"reason": "holds characters that cannot be read"})
    return reason
