"""QTech's error envelope, and the HTTP status that belongs to each code (protocols.md §1.1)."""

from __future__ import annotations

from typing import Any

from bridge.simulator.messages import Answer
from bridge.simulator.provider import Trouble

STATUS_OF_CODE = {
    "INVALID_FORMAT": 400,
    "INVALID_TOKEN": 401,
    "LOGIN_FAILED": 401,
    "USER_BLOCKED": 403,
    "IP_NOT_ALLOWED": 403,
    "TRANSFER_NOT_FOUND": 404,
    "NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "STATUS_CONFLICT": 409,
    "VALIDATION_ERROR": 422,
    "INSUFFICIENT_FUNDS": 422,
    "TOO_MANY_REQUESTS": 429,
    "UNKNOWN_ERROR": 500,
    "QT_NOT_AVAILABLE": 503,
}
TROUBLES: dict[Trouble, tuple[str, str]] = {
    "internal": ("UNKNOWN_ERROR", "An internal error."),
    "unavailable": ("QT_NOT_AVAILABLE", "The service is not available."),
    "maintenance": ("QT_NOT_AVAILABLE", "The service is under maintenance."),
    "unauthorised": ("INVALID_TOKEN", "The access token is expired."),
    "not_allowed": ("IP_NOT_ALLOWED", "Access is not allowed."),
    "too_many": ("TOO_MANY_REQUESTS", "Too many requests."),
}


def failure(code: str, message: str, details: Any = None) -> Answer:
    """The protocol's error envelope with the HTTP status that belongs to its code."""
    return Answer(STATUS_OF_CODE[code], {"code": code, "message": message, "details": details})
