"""What an end rests on (I-12, I-13 of correctness.md): the words of the transfer's own provider, about this player,
amount, currency, direction and reference; that it was never asked for; or what people have decided.

What counts is written from protocols.md §1.1 and §5 and from our own contract (`docs/provider-contract.md`), and asked
of what was spoken on the wire. Nothing that the bridge has noted is believed here, but what it asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tests.simulation.settings import PROTOCOLS
from tests.simulation.spoken import (
    CALLBACK,
    CANCEL,
    CANCELLED,
    DONE,
    LOOK_UP,
    MONEY,
    NOT_FOUND,
    REFUSED,
    Asked,
    Spoken,
    Word,
)
from tests.simulation.world import SECOND

DRAINED = ("insufficient_funds", "INSUFFICIENT_FUNDS")
"""What a provider says of a balance that the first attempt may have taken: said of a later one, it proves nothing. A
cancel attempts nothing; what it answers is how the transfer stands (contract §2, rule 3)."""

SAID_AGAIN = 2
"""Look-ups that tell a refusal or a cancel: some providers say so first and execute afterwards."""

FINAL_OTHERWISE = "STATUS_CONFLICT"
"""To a complete: it is final, and in the other state."""

NOT_TAKEN = {"INVALID_TOKEN", "USER_BLOCKED", "VALIDATION_ERROR", "INVALID_FORMAT", "INSUFFICIENT_FUNDS"}
"""Errors of a provider of two phases by which it has turned a request away unread."""


class Grounds:
    """Judges ends. `providers`: as the operator has them configured; so it is agreed what is absent, and whether a part
    may be done (`docs/configuration.md`)."""

    def __init__(self, spoken: Spoken, fail: Callable[[str, str], None], providers: Mapping[str, Any]) -> None:
        self._spoken, self._fail, self._providers = spoken, fail, providers

    def check(self, row: Mapping[str, Any], state: str) -> None:
        """A transfer that nobody has decided about has come to this end."""
        legs = [leg for leg in row["legs"] if leg["holder"] == row["provider"] and leg["undoes"] is None]
        if state == "confirmed" and not any(self._is_done(row, leg) for leg in legs):
            self._fail("I-12", f"{row['id']} is confirmed, and {row['provider']} has not said that it did just that")
        for leg in legs if state == "reversed" else ():
            self._check_undone(row, leg)

    def _is_done(self, row: Mapping[str, Any], leg: Mapping[str, Any]) -> bool:
        """It was done; a part only where that is agreed, and if its provider says, too, of how much it is a part."""
        whole, partial = int(leg["amount"]), getattr(self._providers[row["provider"]], "partial", False)
        arrived = whole if row["arrived"] is None else row["arrived"]
        meant = row["player_id"], row["currency"], leg["side"], arrived
        words = [word for word in self._about(row, leg) if word.said == DONE and word.what == meant]
        return any(arrived == whole or (partial and word.requested == whole) for word in words)

    def _check_undone(self, row: Mapping[str, Any], leg: Mapping[str, Any]) -> None:
        requests = [each for each in self._spoken.requests(row["provider"], _names(leg)) if each.operation in MONEY]
        if not requests or any(self._is_off(row, leg, word) for word in self._about(row, leg)):
            return
        if self._is_off_by_look_up(row, leg):
            return
        if PROTOCOLS[row["provider"]] == "qtech":
            self._check_never_completed(row, requests)
        else:
            self._check_absence(row, leg, requests)

    def _is_off(self, row: Mapping[str, Any], leg: Mapping[str, Any], word: Word) -> bool:
        """In answer to the request itself, or by callback: it was refused or cancelled."""
        if word.by == LOOK_UP or word.said not in (REFUSED, CANCELLED) or not _fits(row, leg, word):
            return False
        if word.by == CALLBACK:
            return word.said == CANCELLED
        assert word.asked is not None
        return word.code not in DRAINED or word.asked.nth == 1 or word.asked.operation == CANCEL

    def _is_off_by_look_up(self, row: Mapping[str, Any], leg: Mapping[str, Any]) -> bool:
        """A look-up says so again later, or counts the cancel behind the execution that was told; a provider of two
        phases never changes what is final."""
        words = [word for word in self._about(row, leg) if _fits(row, leg, word)]
        told = [word for word in words if word.by == LOOK_UP and word.said in (REFUSED, CANCELLED)]
        if PROTOCOLS[row["provider"]] == "qtech" or len(told) >= SAID_AGAIN:
            return bool(told)
        done = [word.sequence or 0 for word in self._about(row, leg) if word.said == DONE]
        return any((word.sequence or 0) > number for word in told for number in done)

    def _check_never_completed(self, row: Mapping[str, Any], requests: list[Asked]) -> None:
        """What was prepared alone moves nothing and dies; silence after a complete proves nothing."""
        for request in requests:
            if request.operation == "complete" and request.error not in NOT_TAKEN | {FINAL_OTHERWISE}:
                told = f"a complete of it has left, and {row['provider']} has not said that it is off"
                self._fail("I-13", f"{row['id']} is reversed: {told}")
                return

    def _check_absence(self, row: Mapping[str, Any], leg: Mapping[str, Any], requests: list[Asked]) -> None:
        """It does not know of it, long after the last request, and repeatedly."""
        settings = self._providers[row["provider"]]
        seconds, times = settings.absent_after_seconds, settings.absent_times
        if not all(each.sure for each in self._spoken.requests(row["provider"], _names(leg))):
            return  # by clocks that are off nobody can count seconds
        begins = max(each.left for each in requests) + int(seconds * SECOND)
        words = [word for word in self._about(row, leg) if word.said == NOT_FOUND and word.asked is not None]
        late = [word for word in words if word.asked is not None and word.asked.left >= begins]
        if len(late) < times:
            told = f"not found {len(words)} times, {len(late)} of them {seconds:g} s after the last request"
            self._fail("I-13", f"{row['id']} is reversed, and {row['provider']} has not said why: {told}")

    def _about(self, row: Mapping[str, Any], leg: Mapping[str, Any]) -> list[Word]:
        words = self._spoken.words(row["provider"], _names(leg))
        return [word for word in words if word.about == leg["reference"]]


def _names(leg: Mapping[str, Any]) -> list[str]:
    return [leg[name] for name in ("reference", "provider_reference") if leg[name]]


def _fits(row: Mapping[str, Any], leg: Mapping[str, Any], word: Word) -> bool:
    return word.what == (row["player_id"], row["currency"], leg["side"], leg["amount"])
