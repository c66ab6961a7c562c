"""The call: puts committed orders on the wire and brings every answer to `advance`.

No connection of the pool and no lock is held here while a request is on its way.
"""

from __future__ import annotations

from bridge import db, log, traces
from bridge.evidence import Reply, Source
from bridge.runtime import Runtime
from bridge.transfers.advance import Asking, Fact, Order, Outcome, Question, advance
from bridge.transfers.ending import Closing, end
from bridge.transfers.measure import measure

_log = log.get("transfers")

AWAY_SECONDS = (0.0, 1.0, 4.0)
"""How long a database that cannot be reached is waited for between two tries to store an answer; where all connections
are in use, each try has waited for one as well."""


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
        outcome = _stored(runtime, order, fact, asking)
    return outcome


def _ended(runtime: Runtime, outcome: Outcome, fact: Fact, closing: Closing | None) -> Outcome | None:
    """As `ending.end`. Whatever keeps the end from being written keeps no answer from being stored the long way; where
    it was committed all the same, the answer is evidence a second time, and proves what it has proved."""
    try:
        with traces.span("advance", transfer=outcome.transfer.id):
            return end(runtime, outcome, fact, closing)
    except db.TROUBLE as trouble:
        _log.warning("end not written at a stroke", transfer=outcome.transfer.id, error=db.cause(trouble))
        return None


def _stored(runtime: Runtime, order: Order, fact: Fact, asking: Asking) -> Outcome:
    """As `advance`, by a worker with an answer in its hand that nobody else has: a database that is away for a moment,
    as while it is started again, or whose connections are all in use, is waited for. A commit that failed is not tried
    again: it may have committed the next request, which is then for whoever finds it in the rows."""
    for seconds in AWAY_SECONDS:
        try:
            return advance(runtime, order.claim.transfer_id, order.claim, fact, asking=asking)
        except db.TROUBLE as trouble:
            if not db.is_away(trouble):
                raise
            _log.warning("answer not stored yet", transfer=order.claim.transfer_id, error=db.cause(trouble))
        runtime.clock.sleep(seconds)
    return advance(runtime, order.claim.transfer_id, order.claim, fact, asking=asking)


def perform(runtime: Runtime, order: Order) -> Fact:
    """One request, one answer; never raises for a provider's trouble.

    A look-up counts from before it was asked: what it tells was true then, and a worker that is paused before it can
    say so must not make it younger. Everything else counts from when it was answered.
    """
    asked, transfer, what = runtime.clock.now(), order.claim.transfer_id, order.step or order.question
    call = traces.call(f"provider {what}", transfer=transfer, provider=order.provider, attempt=order.attempt)
    with log.within(transfer), call:
        source, reply = _called(runtime, order)
        traces.tell(answer=reply.answer, code=reply.code)
    at = asked if source is Source.LOOKUP else runtime.clock.now()
    _log.info(
        "provider answered",
        transfer=transfer,
        provider=order.provider,
        step=what,
        attempt=order.attempt,
        answer=reply.answer,
        code=reply.code,
        as_of=at,
    )
    return Fact(reply, source, at, order.step, order.attempt, order.ordinal)


def _called(runtime: Runtime, order: Order) -> tuple[Source, Reply]:
    provider = runtime.providers[order.provider]
    if order.step is not None:
        return Source.CALL, provider.money(order.step, order.effect, order.window)
    effect = order.effect
    if order.question is Question.KICK:
        return Source.ASIDE, provider.kick(effect.player, order.window)
    if order.question is Question.BALANCE:
        return Source.ASIDE, measure(runtime, order.provider, effect.player, effect.currency, order.window)
    return Source.LOOKUP, provider.look_up(effect, order.window)
