"""The plain end of a transfer: this worker has just committed its request, knows all that is known of it, and the
provider's answer proves the end. Then nothing is read again, and everything is written in one stroke.

The decision is that of `advance`, made by the same functions; only what it is made of comes from memory. Where memory
may not be all (another worker came by, something has to be asked), nothing is written here, and `advance` reads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NoReturn

from bridge import log, stroke
from bridge.evidence import Answer, Evidence, Source
from bridge.idempotency import Key
from bridge.runtime import Runtime
from bridge.transfers import strokes
from bridge.transfers.advance import FIRST_EPOCH, Asking, Decided, Fact, Outcome, decide, informed, piece_of, tell
from bridge.transfers.core.facts import Transfer
from bridge.transfers.rows import Story

_log = log.get("transfers")

NEWEST = 2**62
"""Stands for the number of what was just said, until the database has given it one: above all that are known."""


@dataclass(frozen=True)
class Closing:
    """What the client is told once the transfer has ended: kept with its key, in the commit of the end."""

    key: Key
    status: int
    text: Callable[[Story], str]


class _NotPlain(Exception):
    """There is more to it, or something that only the database knows."""


class _Memory:
    """Answers nothing: what has to be asked is asked by `advance`."""

    def queued_until(self, seen: Transfer, now: int) -> NoReturn:
        raise _NotPlain(seen.id, now)

    def wallet_holds(self, seen: Transfer) -> NoReturn:
        raise _NotPlain(seen.id)


def end(runtime: Runtime, known: Outcome, fact: Fact, closing: Closing | None = None) -> Outcome | None:
    """Commit the end that an answer proves; None when it is not plain, and then nothing was written: whoever calls
    stores the answer by :func:`advance`, which drops none."""
    seen, order = known.transfer, known.order
    assert order is not None
    # Under a later lease another worker may have stored evidence of which this one has not heard.
    first = order.claim.epoch == seen.lease_epoch == FIRST_EPOCH and seen.rewound_at is None and not seen.failures
    if not first or fact.source is not Source.CALL or fact.reply.answer in _NO_END:
        return None
    said = piece_of(seen, fact, NEWEST)
    informed_of_it = informed(seen, said)
    try:
        with stroke.line(runtime.engine) as line:
            moment = runtime.moment()
            decided = decide(_Memory(), runtime, informed_of_it, order.claim, fact, Asking.NO, moment)
            plan = _plan(seen, said, decided, closing)
            written = strokes.end(line, runtime, plan, moment.now)
    except _NotPlain:
        return None
    if written is None:
        return None
    committed, kept = written
    tell(seen.state, committed)
    return Outcome(committed, None, plan.response if kept else "")


_NO_END = (Answer.UNKNOWN, Answer.RESERVED)
"""Answers that never end a transfer."""


def _plan(seen: Transfer, said: Evidence, decided: Decided, closing: Closing | None) -> strokes.End:
    """What is to be written, with what the client is told; raises _NotPlain."""
    plan = strokes.End(seen, said, decided.draft, decided.columns)
    if not plan.is_plain:
        raise _NotPlain(seen.id)
    if closing is None:
        return plan
    try:
        answer = closing.text(_story(decided))
    except Exception as error:
        # What the provider said is stored first, whatever is wrong with our words for it.
        _log.exception("answer not rendered", transfer=seen.id)
        raise _NotPlain(seen.id) from error
    return replace(plan, key=closing.key, status=closing.status, response=answer)


def _story(decided: Decided) -> Story:
    """The transfer as its row and its legs are going to be."""
    transfer = decided.draft.transfer
    names = ("id", "operator_id", "provider", "currency", "created_at", "orphan_at", "cancel_requested_at", "sweep")
    row = {name: getattr(transfer, name) for name in names}
    row |= {"player_id": transfer.player, "direction": transfer.direction.value, **decided.columns}
    return Story(row, transfer.legs)
