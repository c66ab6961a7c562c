"""Hear: acts on what providers told us unasked (design §8). A callback is evidence like any other and goes through
`advance`, or it is a balance, which is compared and moves nothing.

Acting again changes nothing: a message is settled in the transaction of its effect. The transfer is looked for among
the legs of the provider that signed the message, and nowhere else.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from bridge import breaks, db, identity, inbox, log
from bridge.breaks import Compared
from bridge.evidence import Reply, Source
from bridge.inbox import Kept
from bridge.ports import Balance
from bridge.runtime import Runtime
from bridge.transfers import rows
from bridge.transfers.advance import Fact, advance

_log = log.get("transfers")

_LEG = select(rows.leg_table.c.transfer_id, rows.leg_table.c.ordinal).where(
    rows.leg_table.c.holder == bindparam("provider"), rows.leg_table.c.reference == bindparam("reference")
)

_SAID_NOTHING = {
    Compared.BUSY: "money moves between us and them, or did a minute ago",
    Compared.OUTDATED: "a balance that was told later has been compared",
    Compared.NOBODY: "told of one who is no player of the operator",
}

PASSED_OVER_AS_BUSY = _SAID_NOTHING[Compared.BUSY]
"""What a message is closed with whose balance says nothing, for money moved there."""


def act(runtime: Runtime, inbox_id: int) -> None:
    """Act on one stored message, unless that has been done; raises whatever keeps it from being acted on."""
    with db.reading(runtime.engine) as connection:
        kept = inbox.load(connection, inbox_id)
        others = identity.others(connection, runtime)
    if kept is None:
        return
    if kept.provider in others:
        # It is told by one about whom nothing is known here: whoever is right acts on it, or people say who that is.
        with db.writing(runtime.engine) as connection:
            inbox.park(connection, kept, inbox.ANOTHER, runtime.clock.now())
        return
    told = inbox.translated(runtime, kept)
    if isinstance(told, Reply):
        _tell_transfer(runtime, kept, told)
    elif isinstance(told, Balance):
        _compare(runtime, kept, told)
    else:
        with db.writing(runtime.engine) as connection:
            inbox.pass_over(connection, kept.id, inbox.SAYS_NOTHING, runtime.clock.now())


def act_or_set_aside(runtime: Runtime, inbox_id: int) -> bool:
    """Like :func:`act`, but an error of our own is logged and the message waits longer each time; false then."""
    with log.within(None):  # until it is known which transfer it is about
        return _acted(runtime, inbox_id)


def _acted(runtime: Runtime, inbox_id: int) -> bool:
    try:
        act(runtime, inbox_id)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with one message, the others are acted on
        _log.exception("message set aside", message=inbox_id)
        with db.writing(runtime.engine) as connection:
            inbox.set_aside(connection, inbox_id, f"failed: {type(error).__name__}", runtime.clock.now())
        return False
    return True


def act_on_parked(runtime: Runtime, provider: str, reference: str) -> int:
    """Act on what a provider told about a reference before its transfer was there; how many messages that were."""
    with db.reading(runtime.engine) as connection:
        parked = inbox.parked_for(connection, provider, reference)
    return sum(act_or_set_aside(runtime, inbox_id) for inbox_id in parked)


def _tell_transfer(runtime: Runtime, kept: Kept, reply: Reply) -> None:
    """The transfer with that reference at this provider gets one more piece of evidence; without one, it waits."""
    with db.reading(runtime.engine) as connection:
        leg = _leg(connection, kept.provider, reply.reference)
    if leg is None:
        with db.writing(runtime.engine) as connection:
            inbox.park(connection, kept, inbox.NO_TRANSFER, runtime.clock.now())
        return
    fact = Fact(reply, Source.CALLBACK, kept.received_at, ordinal=leg.ordinal, message=kept.id)
    log.about(leg.transfer_id)
    advance(runtime, leg.transfer_id, None, fact)
    told = {"answer": reply.answer, "code": reply.code, "message": kept.id}
    _log.info("provider called back", transfer=leg.transfer_id, provider=kept.provider, **told)


def _leg(connection: Connection, provider: str, reference: str | None) -> Row[Any, Any] | None:
    """(transfer, number) of the leg that this provider knows by a reference."""
    return connection.execute(_LEG, {"provider": provider, "reference": reference}).first()


def _compare(runtime: Runtime, kept: Kept, told: Balance) -> None:
    """The balance as it was when we were told; what has moved since then makes the lane a busy one."""
    with db.writing(runtime.engine) as connection:
        if inbox.load(connection, kept.id, to_close=True) is None:
            return
        compared = _compared(connection, runtime, kept, told)
        now = runtime.clock.now()
        if compared in _SAID_NOTHING:
            inbox.pass_over(connection, kept.id, _SAID_NOTHING[compared], now)
        else:
            inbox.finish(connection, kept.id, f"balance {compared.value}", now)
    if compared in (Compared.DIFFERS, Compared.NOBODY):
        _log.warning("balance differs", provider=kept.provider, player=told.player, currency=told.currency)


def _compared(connection: Connection, runtime: Runtime, kept: Kept, told: Balance) -> Compared:
    operator = breaks.operator_of(connection, runtime, kept.provider)
    if operator is None:
        return Compared.NOBODY
    lane = (operator, kept.provider, told.player, told.currency)
    return breaks.compare(connection, runtime, *lane, told.amount, breaks.CALLBACK, kept.received_at)
