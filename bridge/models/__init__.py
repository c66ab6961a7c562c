"""The tables. Instants are microseconds UTC, amounts minor units; states are text checked against the
machines. What must never change (postings, evidence, attempts, history, cash) is guarded by triggers.

`wake_at` is schedule and lease in one: the instant at which somebody else may take the row.
"""

from __future__ import annotations

from bridge.models import alerts, desk, events, people, proposals, providers, transfers, upkeep
from bridge.models.base import metadata

APPEND_ONLY = (
    "posting", "evidence", "attempt", "history", "cash_movement", "decision", "inbox", "security_event",
    "event", "delivery_try", "access_note", "verdict",
)  # fmt: skip
"""Tables in which a row, once written, stays as it is: UPDATE and DELETE are refused by triggers."""

FROZEN = ("proposal",)
"""Tables in which a row stays as it is but for its end, which is written once: triggers refuse the rest."""

__all__ = [
    "APPEND_ONLY", "FROZEN", "alerts", "desk", "events", "metadata", "people", "proposals", "providers", "transfers",
    "upkeep",
]  # fmt: skip
