"""Everything home: one sweep out of each provider and currency in which a player may have money.

A recall is nothing but its sweeps: each has a key derived from the recall's own, so that a repetition, after a
crash or by an impatient client, finds those that were begun and begins those that were not.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bridge import db, idempotency, players
from bridge.errors import NotFound, Unavailable
from bridge.idempotency import TRANSFER, Key
from bridge.ports import Direction
from bridge.runtime import Runtime
from bridge.transfers.begin import MAX, Wish, begin, is_on_its_way, resolve_lane
from bridge.transfers.drive import drive


class Found(StrEnum):
    """What a recall found at one provider in one currency."""

    SWEPT = "swept"  # a transfer was begun; it says itself how far it is
    NOTHING = "nothing"  # there is nothing that can be moved
    UNREAD = "unread"  # not told what is there, or more is on its way to it; the same key tries again


@dataclass(frozen=True)
class Swept:
    """One provider and currency of a recall; `transfer_id` where a transfer was begun."""

    provider: str
    currency: str
    found: Found
    transfer_id: str | None = None


Places = list[tuple[str, str]]
"""(provider, currency) to be swept."""


def recall(runtime: Runtime, key: Key, player_id: str, places: Places, until: float) -> list[Swept]:
    """Begin (or find) every sweep of a recall and drive each until `until` (monotonic seconds).

    The recall's own key is stored before. Past that instant no further balance is read: what is left is UNREAD.
    """
    swept = []
    for provider, currency in places:
        in_time = runtime.clock.monotonic() < until
        swept.append(
            _sweep(runtime, key, Wish(player_id, provider, Direction.OUT, MAX, currency), until)
            if in_time
            else Swept(provider, currency, Found.UNREAD)
        )
    return swept


def places_of(runtime: Runtime, operator_id: int, player_id: str) -> Places:
    """Wherever the player may have something: all of the operator's providers, for promotions and wins can be where
    no transfer ever went. Raises NotFound for a player that is none of the operator's."""
    with db.reading(runtime.engine) as connection:
        operator = players.operator_name(connection, operator_id)
        currencies = players.wallets_of(connection, operator_id, player_id)
    if not currencies:
        raise NotFound("There is no such player.")
    return [
        (name, currency)
        for name, policy in runtime.config.providers.items()
        if policy.operator == operator and len(player_id) <= runtime.providers[name].descriptor.longest_player_id
        for currency in policy.currencies
        if currency in currencies
    ]


def _sweep(runtime: Runtime, key: Key, wish: Wish, until: float) -> Swept:
    # A client's own key has no blank in it, so that none can ever be one of these.
    part = f"recall {key.text} {wish.provider} {wish.currency}"
    if not _is_begun(runtime, key, part, wish) and is_on_its_way(runtime, key.operator_id, wish):
        # Its key stands for one sweep for ever: it is not begun before all that it is to bring home is there.
        resolve_lane(runtime, key.operator_id, wish)
        if is_on_its_way(runtime, key.operator_id, wish):
            return Swept(wish.provider, wish.currency, Found.UNREAD)
    try:
        begun = begin(runtime, key.operator_id, part, wish)
    except Unavailable:
        return Swept(wish.provider, wish.currency, Found.UNREAD)
    if begun.transfer_id is None:
        return Swept(wish.provider, wish.currency, Found.NOTHING)
    if begun.outcome is not None:
        drive(runtime, begun.outcome, ask_until=until)
    return Swept(wish.provider, wish.currency, Found.SWEPT, begun.transfer_id)


def _is_begun(runtime: Runtime, key: Key, part: str, wish: Wish) -> bool:
    with db.reading(runtime.engine) as connection:
        return idempotency.find(connection, Key(key.operator_id, TRANSFER, part), wish.body) is not None
