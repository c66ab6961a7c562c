"""What an end rests on (I-12, I-13 of correctness.md): the words of the transfer's own provider, about this player,
amount, currency, direction and reference; that it was never asked for; or what people have decided.

What counts is written from protocols.md §1.1 and §5 and from our own contract (`docs/provider-contract.md`), and asked
of what was spoken on the wire. Nothing that the bridge has noted is believed here, but what it asked for, and when.
Which of what was spoken it had heard, it has to have noted: an end is judged by what was known when it came, and what
died with a process, or has not been looked at yet, is neither a ground nor against one.
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
    PENDING,
    REFUSED,
    Asked,
    Spoken,
    Word,
    is_counted_after,
)
from tests.simulation.world import PAUSE_AT_THE_GATE_SECONDS, SECOND

Ask = Callable[..., list[tuple[Any, ...]]]
"""A query of the bridge's database, with its values."""

_NOTED = "SELECT source, digest FROM evidence WHERE transfer_id = ? AND ordinal = ? AND answer <> 'unknown'"

DRAINED = ("insufficient_funds", "INSUFFICIENT_FUNDS")
"""What a provider says of a balance that the first attempt may have taken: said of a later one, it proves nothing. A
cancel attempts nothing; what it answers is how the transfer stands (contract §2, rule 3)."""

FINAL_OTHERWISE = "STATUS_CONFLICT"
"""To a complete: it is final, and in the other state."""

NOT_TAKEN = {"INVALID_TOKEN", "USER_BLOCKED", "VALIDATION_ERROR", "INVALID_FORMAT", "INSUFFICIENT_FUNDS"}
"""Errors of a provider of two phases by which it has turned a request away unread."""


class Grounds:
    """Judges ends. `providers`: as the operator has them configured; so it is agreed what is absent, when a refusal is
    final, and whether a part may be done (`docs/configuration.md`). `held_up`: seconds for which a question may be on
    its way from when it was begun until it leaves. `ask`: the database of the bridge."""

    def __init__(
        self, spoken: Spoken, fail: Callable[[str, str], None], ask: Ask, providers: Mapping[str, Any], held_up: float
    ) -> None:
        self._spoken, self._fail, self._ask, self._providers = spoken, fail, ask, providers
        self._held_up = held_up + max(PAUSE_AT_THE_GATE_SECONDS)

    def check(self, row: Mapping[str, Any], state: str) -> None:
        """A transfer that nobody has decided about has come to this end."""
        legs = [leg for leg in row["legs"] if leg["holder"] == row["provider"] and leg["undoes"] is None]
        if state == "confirmed" and not any(self._is_done(row, leg) for leg in legs):
            self._fail("I-12", f"{row['id']} is confirmed, and {row['provider']} has not said that it did just that")
        for leg in legs if state == "confirmed" else ():
            self._check_stands(row, leg)
        for leg in legs if state == "reversed" else ():
            self._check_undone(row, leg)

    def _is_done(self, row: Mapping[str, Any], leg: Mapping[str, Any]) -> bool:
        """It was done; a part only where that is agreed, and if its provider says, too, of how much it is a part."""
        whole, partial = int(leg["amount"]), getattr(self._providers[row["provider"]], "partial", False)
        arrived = whole if row["arrived"] is None else row["arrived"]
        meant = row["player_id"], row["currency"], leg["side"], arrived
        words = [word for word in self._about(row, leg) if word.said == DONE and word.what == meant]
        return any(arrived == whole or (partial and word.requested == whole) for word in words)

    def _check_stands(self, row: Mapping[str, Any], leg: Mapping[str, Any]) -> None:
        """What was done once, and not cancelled, stands. Two ids of the provider's own are two executions; a cancel
        that it does not count behind the execution contradicts it, and one that it does undoes it."""
        words = self._about(row, leg)
        done = [word for word in words if word.said == DONE]
        if len({word.provider_id for word in done} - {None}) > 1:
            self._fail("I-12", f"{row['id']} is confirmed, and {row['provider']} has said that it did it twice")
        cancels = [word for word in words if word.said == CANCELLED and _fits(row, leg, word)]
        if done and any(word.by != LOOK_UP or _is_behind_any(word, done) for word in cancels):
            self._fail("I-12", f"{row['id']} is confirmed, and {row['provider']} has said that it is cancelled")

    def _check_undone(self, row: Mapping[str, Any], leg: Mapping[str, Any]) -> None:
        requests = [each for each in self._spoken.requests(row["provider"], _names(leg)) if each.operation in MONEY]
        if not requests:
            return
        words = self._about(row, leg)
        done = [word for word in words if word.said == DONE]
        if done:
            self._check_taken_back(row, leg, done)
        elif any(self._is_off(row, leg, word) for word in words) or self._is_off_by_look_up(row, leg, requests):
            return
        elif PROTOCOLS[row["provider"]] == "qtech":
            self._check_never_completed(row, requests)
        else:
            self._check_absence(row, leg, requests)

    def _check_taken_back(self, row: Mapping[str, Any], leg: Mapping[str, Any], done: list[Word]) -> None:
        """What was said to be done is off only by a cancel of the same execution that the provider counts behind all
        that it has said of that."""
        cancels = [word for word in self._about(row, leg) if word.said == CANCELLED and _fits(row, leg, word)]
        if not any(all(is_counted_after(cancel, word) for word in done) for cancel in cancels):
            told = "has said that it did it, and of that execution no later cancel"
            self._fail("I-13", f"{row['id']} is reversed, and {row['provider']} {told}")

    def _is_off(self, row: Mapping[str, Any], leg: Mapping[str, Any], word: Word) -> bool:
        """In answer to the request itself, or by callback: it was refused or cancelled."""
        if word.by == LOOK_UP or word.said not in (REFUSED, CANCELLED) or not _fits(row, leg, word):
            return False
        if word.by == CALLBACK:
            return word.said == CANCELLED
        assert word.asked is not None
        return word.code not in DRAINED or word.asked.nth == 1 or word.asked.operation == CANCEL

    def _is_off_by_look_up(self, row: Mapping[str, Any], leg: Mapping[str, Any], requests: list[Asked]) -> bool:
        """Look-ups say so often enough, and none too early after the last request has really left: some providers say
        so first and execute afterwards. A provider of two phases never changes what is final."""
        words = [word for word in self._about(row, leg) if _fits(row, leg, word) and word.asked is not None]
        told = [word for word in words if word.by == LOOK_UP and word.said in (REFUSED, CANCELLED)]
        if PROTOCOLS[row["provider"]] == "qtech":
            return bool(told)
        settings = self._providers[row["provider"]]
        if self._are_sure(row, leg):
            begins = max(each.left for each in requests) + int(settings.final_after_seconds * SECOND)
            told = [word for word in told if word.asked is not None and word.asked.left >= begins]
        return len(told) >= settings.final_times

    def _check_never_completed(self, row: Mapping[str, Any], requests: list[Asked]) -> None:
        """What was prepared alone moves nothing and dies; silence after a complete proves nothing."""
        for request in requests:
            if request.operation == "complete" and request.error not in NOT_TAKEN | {FINAL_OTHERWISE}:
                told = f"a complete of it has left, and {row['provider']} has not said that it is off"
                self._fail("I-13", f"{row['id']} is reversed: {told}")
                return

    def _check_absence(self, row: Mapping[str, Any], leg: Mapping[str, Any], requests: list[Asked]) -> None:
        """It does not know of it, long after the last request, and repeatedly, and has never said that it does."""
        settings, words = self._providers[row["provider"]], self._about(row, leg)
        if any(word.said == PENDING for word in words):
            self._fail("I-13", f"{row['id']} is reversed, and {row['provider']} has said that it is at it, and not why")
            return
        left = sorted(word.asked.left for word in words if word.said == NOT_FOUND and word.asked is not None)
        begins = max(each.left for each in requests) + int(settings.absent_after_seconds * SECOND)
        late, apart = [each for each in left if each >= begins], settings.absent_apart_seconds - self._held_up
        if not self._are_sure(row, leg):
            late, apart = left, 0
        if _apart(late, apart) < settings.absent_times:
            told = f"not found {len(left)} times, {len(late)} of them {settings.absent_after_seconds:g} s after the"
            told = f"{told} last request, and not {settings.absent_times} {settings.absent_apart_seconds:g} s apart"
            self._fail("I-13", f"{row['id']} is reversed, and {row['provider']} has not said why: {told}")

    def _are_sure(self, row: Mapping[str, Any], leg: Mapping[str, Any]) -> bool:
        """Whether every process that asked had the right time: by clocks that are off nobody can count seconds."""
        return all(each.sure for each in self._spoken.requests(row["provider"], _names(leg)))

    def _about(self, row: Mapping[str, Any], leg: Mapping[str, Any]) -> list[Word]:
        """What was said about this side of it and has been noted. At a provider of two phases only about the transfer
        that it has begun for us."""
        noted = set(self._ask(_NOTED, row["id"], leg["ordinal"]))
        words = self._spoken.words(row["provider"], _names(leg))
        own = {None, leg["provider_reference"]} if PROTOCOLS[row["provider"]] == "qtech" else None
        return [
            word
            for word in words
            if word.about == leg["reference"]
            and (_source(word), word.digest) in noted
            and (own is None or word.provider_id in own)
        ]


def _source(word: Word) -> str:
    """What the bridge calls where a word comes from."""
    return {LOOK_UP: "lookup", CALLBACK: "callback"}.get(word.by, "call")


def _is_behind_any(cancel: Word, done: list[Word]) -> bool:
    return any(is_counted_after(cancel, word) for word in done)


def _apart(instants: list[int], seconds: float) -> int:
    """How many of these, oldest first, are so far from each other."""
    counted: list[int] = []
    for instant in instants:
        if not counted or instant - counted[-1] >= seconds * SECOND:
            counted.append(instant)
    return len(counted)


def _names(leg: Mapping[str, Any]) -> list[str]:
    return [leg[name] for name in ("reference", "provider_reference") if leg[name]]


def _fits(row: Mapping[str, Any], leg: Mapping[str, Any], word: Word) -> bool:
    return word.what == (row["player_id"], row["currency"], leg["side"], leg["amount"])
