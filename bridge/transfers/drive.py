"""The call: puts committed orders on the wire and brings every answer to `advance`.

No connection of the pool and no lock is held here while a request is on its way.
"""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError

from bridge import log
from bridge.evidence import Source
from bridge.runtime import Runtime
from bridge.transfers.advance import Asking, Fact, Order, Outcome, Question, advance
from bridge.transfers.ending import Closing, end
from bridge.transfers.measure import measure

_log = log.get("transfers")


def drive(
    runtime: Runtime,
    outcome: Outcome,
    *,
    ask_until: float | None = None,
    closing: Closing | None = None,
) -> Outcome:
    """Carry out orders until the transfer rests or has ended.

    `closing` says what the client is told of a plain end.
    `ask_until` (monotonic seconds) bounds how long look-ups go on inline; money requests that follow one
    another, a complete after its prepare, are never left half done. None: no bound.
    """
    while outcome.order is not None:
        order = outcome.order
        fact = perform(runtime, order)
        ended = _ended(runtime, outcome, fact, closing)
        if ended is not None:
            return ended
        in_time = ask_until is None or runtime.clock.monotonic() < ask_until
        asking = Asking.DUE if in_time else Asking.NO
        outcome = advance(runtime, order.claim.transfer_id, order.claim, fact, asking=asking)
    return outcome


def _ended(runtime: Runtime, outcome: Outcome, fact: Fact, closing: Closing | None) -> Outcome | None:
    """As `ending.end`. A connection that broke keeps no answer from being stored the long way, on another one; where
    the end was committed all the same, that stores the answer a second time, and nothing else."""
    try:
        return end(runtime, outcome, fact, closing)
    except DBAPIError as trouble:
        _log.warning("end not written at a stroke", transfer=outcome.transfer.id, error=type(trouble.orig).__name__)
        return None


def perform(runtime: Runtime, order: Order) -> Fact:
    """One request, one answer; never raises for a provider's trouble.

    A look-up counts from before it was asked: what it tells was true then, and a worker that is paused before it can
    say so must not make it younger. Everything else counts from when it was answered.
    """
    provider, asked = runtime.providers[order.provider], runtime.clock.now()
    if order.step is not None:
        source, reply = Source.CALL, provider.money(order.step, order.effect, order.window)
    elif order.question is Question.KICK:
        source, reply = Source.ASIDE, provider.kick(order.effect.player, order.window)
    elif order.question is Question.BALANCE:
        source, reply = (
            Source.ASIDE,
            measure(runtime, order.provider, order.effect.player, order.effect.currency, order.window),
        )
    else:
        source, reply = Source.LOOKUP, provider.look_up(order.effect, order.window)
    at = asked if source is Source.LOOKUP else runtime.clock.now()
    _log.info(
        "provider answered",
        transfer=order.claim.transfer_id,
        provider=order.provider,
        step=order.step or order.question,
        attempt=order.attempt,
        answer=reply.answer,
        code=reply.code,
        as_of=at,
    )
    return Fact(reply, source, at, order.step, order.attempt, order.ordinal)
