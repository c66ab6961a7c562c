"""Breaks: a balance that a provider told and that is not ours, while nothing moved between us and it.

A told balance is compared, never copied: it moves nothing, and is evidence of no transfer. An open break is for
people; it closes by itself when a later balance agrees.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from sqlalchemy import ColumnElement, Connection, RowMapping, Table, or_, select, update

from bridge import db, denominations, ledger, models
from bridge.ports import SECOND
from bridge.runtime import Runtime
from statemachines import TransferState

_break: Table = models.metadata.tables["balance_break"]
_transfer: Table = models.metadata.tables["transfer"]
_player: Table = models.metadata.tables["player"]
_operator: Table = models.metadata.tables["operator"]

QUIET_SECONDS = 60
"""Nothing has moved on a quiet lane for this long: a provider executes within it what it executes at all."""

CALLBACK, SWEEP = "callback", "sweep"
"""Who told a balance: the provider, unasked, or its list of balances, read by us."""


class Compared(StrEnum):
    """What came of comparing a told balance with ours."""

    EQUAL = "equal"  # a break that was open is closed
    DIFFERS = "differs"  # a break with these numbers is open
    BUSY = "busy"  # something moves there, or did a moment ago: it says nothing
    OUTDATED = "outdated"  # something told later was compared already
    NOBODY = "nobody"  # told of one who is no player of the operator and holds something there: no break can name them


def compare(  # noqa: PLR0917 - what is compared, with what, as told by whom and when
    connection: Connection,
    runtime: Runtime,
    operator_id: int,
    provider: str,
    player: str,
    currency: str,
    theirs: int,
    told_by: str,
    now: int,
) -> Compared:
    """Compare a balance that a provider told with our `game:` account, in the caller's transaction.

    `theirs` in minor units; `now` is the instant, in microseconds, at which we were told. The lane (this player at this
    provider, in any currency) is quiet if no transfer there is pending or orphaned, and none has changed since a minute
    before `now`, nor after it. At most one break is open per provider, player and currency: other numbers close
    it and open another.
    """
    denominations.require(connection, runtime, currency)
    # Ours first: what moves it between two statements makes the lane busy before the second one.
    ours = ledger.cached_balance(connection, operator_id, ledger.game(provider, player), currency)
    if not _is_quiet(connection, operator_id, provider, player, now):
        return Compared.BUSY
    if _told_later(connection, provider, player, currency, now):
        return Compared.OUTDATED
    if ours == theirs:
        _close(connection, provider, player, currency, now)
        return Compared.EQUAL
    if not _is_player(connection, operator_id, player):
        return Compared.NOBODY
    found = select(_break.c.ours, _break.c.theirs).where(*_open(provider, player, currency)).with_for_update()
    if connection.execute(found).first() == (ours, theirs):
        return Compared.DIFFERS
    _close(connection, provider, player, currency, now)
    row = {
        "id": runtime.ids.new("bb"),
        "operator_id": operator_id,
        "provider": provider,
        "player_id": player,
        "currency": currency,
        "ours": ours,
        "theirs": theirs,
        "told_by": told_by,
        "opened_at": now,
    }
    db.insert_if_absent(connection, _break, row)  # one that another worker opens at this moment is as new as ours
    return Compared.DIFFERS


def operator_of(connection: Connection, runtime: Runtime, provider: str) -> int | None:
    """The id of the operator whose account at the provider it is; None if that operator was never added."""
    name = runtime.policy(provider).operator
    return connection.execute(select(_operator.c.id).where(_operator.c.name == name)).scalar()


def open_ones(runtime: Runtime) -> Sequence[RowMapping]:
    """All breaks that are open, oldest first."""
    query = select(_break).where(_break.c.closed_at.is_(None)).order_by(_break.c.opened_at, _break.c.id)
    with db.reading(runtime.engine) as connection:
        return connection.execute(query).mappings().all()


def _is_quiet(connection: Connection, operator_id: int, provider: str, player: str, now: int) -> bool:
    unresolved = _transfer.c.state.in_((TransferState.PENDING.value, TransferState.ORPHANED.value))
    moved = _transfer.c.updated_at > now - QUIET_SECONDS * SECOND
    query = select(_transfer.c.id).where(
        _transfer.c.operator_id == operator_id,
        _transfer.c.player_id == player,
        _transfer.c.provider == provider,
        or_(unresolved, moved),
    )
    return connection.execute(query.limit(1)).first() is None


def _told_later(connection: Connection, provider: str, player: str, currency: str, now: int) -> bool:
    later = or_(_break.c.opened_at > now, _break.c.closed_at > now)
    query = select(_break.c.id).where(*_lane(provider, player, currency), later)
    return connection.execute(query.limit(1)).first() is not None


def _is_player(connection: Connection, operator_id: int, player: str) -> bool:
    query = select(_player.c.player_id).where(_player.c.operator_id == operator_id, _player.c.player_id == player)
    return connection.execute(query).first() is not None


def _open(provider: str, player: str, currency: str) -> tuple[ColumnElement[bool], ...]:
    return *_lane(provider, player, currency), _break.c.closed_at.is_(None)


def _lane(provider: str, player: str, currency: str) -> tuple[ColumnElement[bool], ...]:
    return _break.c.provider == provider, _break.c.player_id == player, _break.c.currency == currency


def _close(connection: Connection, provider: str, player: str, currency: str, now: int) -> None:
    connection.execute(update(_break).where(*_open(provider, player, currency)).values(closed_at=now))
