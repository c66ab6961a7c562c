"""Inspect: everything that was sealed is recomputed, once per slot among all processes, and the outcome kept.

1. The slot (the number of whole intervals since 1970) is claimed by inserting its row: one process gets it.
2. Each finding is logged.
3. The row keeps the outcome: `ok`, or `failed` with what was found; `/readyz` is red then. A database that cannot be
   reached gives the slot back, the board tells of it, and the next tick tries again. Any other error has `failed`: what
   was sealed cannot be inspected.
"""

from __future__ import annotations

from threading import Event

from bridge import log
from bridge.audit import rounds
from bridge.audit.inspection import Stopped, inspect
from bridge.runtime import Runtime

EVERY_SECONDS = 300
"""How often it is looked whether a slot has to be inspected."""

NOTHING = {"claimed": 0, "findings": 0, "entries": 0}

_log = log.get("jobs")


def run_once(runtime: Runtime, now: int, limit: int, stop: Event) -> dict[str, int]:
    """Inspect if this process gets the slot of `now`; at most `limit` findings are logged one by one.

    Counts: claimed, findings, entries. Raises what broke it off, after that is kept, or its slot given back.
    """
    return _inspect(runtime, now, limit, stop, again=False)


def run_again(runtime: Runtime, now: int, limit: int, stop: Event) -> dict[str, int]:
    """As `run_once`, also in a slot that has been inspected, unless some process is at it; what was found before stays
    in the slot's outcome."""
    return _inspect(runtime, now, limit, stop, again=True)


def _inspect(runtime: Runtime, now: int, limit: int, stop: Event, *, again: bool) -> dict[str, int]:
    slot = None if stop.is_set() else rounds.take(runtime, now, again=again)
    if slot is None:
        return dict(NOTHING)
    try:
        report = inspect(runtime, stop)
    except Stopped:
        rounds.give_back(runtime, slot)
        return dict(NOTHING)
    except Exception as trouble:
        rounds.break_off(runtime, slot, trouble)
        raise
    for finding in report.findings[:limit]:
        _log.error("audit finding", kind=finding.kind.value, where=finding.where, which=finding.which,
                   operator=finding.chain, sentence=finding.sentence)  # fmt: skip
    rounds.end(runtime, slot, rounds.outcome_of(report))
    return {"claimed": 1, "findings": report.count, "entries": report.entries}
