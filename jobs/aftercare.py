"""Aftercare: asks again about transfers that were reversed on our own inference; some providers execute late."""

from __future__ import annotations

from threading import Event

from bridge.runtime import Runtime
from jobs.crew import work
from statemachines import TransferState

STATES = (TransferState.REVERSED, TransferState.CONFIRMED)
"""A confirmed transfer rests; one that was set aside by an error of our own is put to rest here, and one that may have
been taken back under a request of ours is looked at once more."""


def run_once(runtime: Runtime, now: int, limit: int, stop: Event) -> dict[str, int]:
    """One tick at `now` (microseconds) for at most `limit` transfers. Counts: claimed, driven, set_aside."""
    return work(runtime, STATES, now, limit, stop)
