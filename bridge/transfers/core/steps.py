"""The steps that a driver can take next, and the times between questions. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import assert_never

from bridge.evidence import Step
from bridge.ports import SECOND, Descriptor, LookupKey
from bridge.transfers.core.facts import Leg, Transfer


@dataclass(frozen=True)
class Send:
    """Commit a money request as sent and put it on the wire; `before` bounds when its bytes may leave."""

    step: Step
    before: int | None = None


@dataclass(frozen=True)
class Ask:
    """Look an effect up: that of the driven leg, or of the leg with this number."""

    ordinal: int = 0


@dataclass(frozen=True)
class Kick:
    """End the player's game at the provider, so that the balance stands still."""


@dataclass(frozen=True)
class Measure:
    """Read what the player has there now."""


@dataclass(frozen=True)
class TryAgain:
    """Begin a new leg under a new reference for `amount` (minor units), leaving `dust` behind."""

    amount: int
    dust: int


@dataclass(frozen=True)
class Rest:
    """Nothing to do before `until`."""

    until: int


@dataclass(frozen=True)
class Done:
    """Nothing to do any more, unless somebody brings new evidence."""


NextStep = Send | Ask | Kick | Measure | TryAgain | Rest | Done
OnTheWire = Send | Ask | Kick | Measure


@dataclass(frozen=True)
class Schedule:
    """The operator's times, in seconds: waits between look-ups, and the watch after a reversal."""

    polls: tuple[float, ...]
    aftercare: tuple[float, ...]

    @property
    def longest_wait(self) -> int:
        """The last wait between look-ups, which repeats for ever; microseconds."""
        return int(self.polls[-1] * SECOND)


def paced(since: int, asked: list[int], schedule: Schedule, now: int) -> int:
    """When the next question is due, `since` the instant from which waits count, after those already `asked`.

    By the time since then, not by the number of questions: who asks in between delays nothing.
    """
    marks = (since + int(mark * SECOND) for mark in accumulate(schedule.polls))
    later = (mark for mark in marks if not asked or mark > asked[-1])
    return next(later, asked[-1] + schedule.longest_wait if asked else now)


def poll(leg: Leg, descriptor: Descriptor, schedule: Schedule, now: int) -> NextStep:
    """Look the leg up when the next question is due; rest until then."""
    if not askable(leg, descriptor):
        return Rest(now + schedule.longest_wait)
    since = leg.quiet_since(leg.attempts[-1]) if leg.attempts else 0
    due = paced(since, [piece.at for piece in leg.asked(now, since)], schedule, now)
    return Ask() if due <= now else Rest(due)


def askable(leg: Leg, descriptor: Descriptor) -> bool:
    """Whether the provider can be asked about this leg."""
    match descriptor.lookup_key:
        case LookupKey.OWN:
            return bool(leg.attempts)
        case LookupKey.PROVIDER:
            return leg.provider_reference is not None
        case LookupKey.NONE:
            return False
        case _ as unreachable:
            assert_never(unreachable)


def still_recognised(transfer: Transfer, leg: Leg, descriptor: Descriptor, now: int) -> bool:
    """Whether a repeated id does nothing where it has been executed: past some time the provider might do it again
    (§0.9). Behind a restored backup nobody knows which request was the first, nor whether a take-back that has never
    arrived was followed by another one."""
    if leg.undoes is not None and not transfer.bears_a_take_back:
        return False
    window = descriptor.dedupe_window
    if window is None:
        return True
    return transfer.rewound_at is None and now < leg.attempts[0].sent_at + int(window * SECOND)
