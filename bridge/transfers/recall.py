"""Everything home: one sweep out of each provider and currency in which a player may have money.

A recall is nothing but its sweeps: each has a key derived from the recall's own, so that a repetition, after a
crash or by an impatient client, finds those that were begun and begins those that were not. They are made side by side:
a provider that does not answer keeps no money from coming home from another.
"""

from __future__ import annotations

from contextvars import copy_context
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from sqlalchemy import Connection, select

from bridge import db, idempotency, ledger, log, players
from bridge.errors import Invalid, NotFound, Unavailable
from bridge.idempotency import TRANSFER, Key
from bridge.ports import Direction
from bridge.runtime import Runtime
from bridge.transfers import rows
from bridge.transfers.begin import MAX, Wish, begin, is_on_its_way, resolve_lane
from bridge.transfers.drive import drive
from statemachines import TransferState

_log = log.get("transfers")


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


HANDS = 8
"""So many places of one recall are swept side by side at most."""

LOOK_SECONDS = 0.2
"""While all hands are full it is looked this often whether one is free."""


def recall(runtime: Runtime, key: Key, player_id: str, places: Places, until: float) -> list[Swept]:
    """Begin (or find) every sweep of a recall, side by side, and drive each until `until` (monotonic seconds).

    The recall's own key is stored before. As many as there are hands are begun whatever the time, so that repetitions
    come to an end; without any time, what is begun is left to the resolver. Which are the first is drawn: where many
    providers do not answer, another repetition tries others. What was not tried, and where nobody can be asked, is
    UNREAD.
    """
    told: dict[tuple[str, str], Swept] = {}
    troubles: list[Exception] = []
    queued = until <= runtime.clock.monotonic()

    def sweep(provider: str, currency: str) -> bool:
        wish = Wish(player_id, provider, Direction.OUT, MAX, currency)
        try:
            told[provider, currency] = _sweep(runtime, key, wish, until, queued=queued)
        except Exception as trouble:  # noqa: BLE001 - the first is raised when the others have ended
            _log.exception("sweep failed", provider=provider, currency=currency)
            troubles.append(trouble)
        return True

    with runtime.crew(HANDS) as crew:
        for number, place in enumerate(_in_turn(runtime, _askable(runtime, key.operator_id, places))):
            while crew.busy >= HANDS:
                crew.ended(LOOK_SECONDS)
            if number >= HANDS and runtime.clock.monotonic() >= until:
                break
            crew.begin(partial(copy_context().run, sweep, *place))
        while crew.busy:
            crew.ended(LOOK_SECONDS)
    if troubles:
        raise troubles[0]
    return [told.get(place, Swept(*place, Found.UNREAD)) for place in places]


def places_of(runtime: Runtime, operator_id: int, player_id: str) -> Places:
    """Wherever the player may have something: all of the operator's providers, for promotions and wins can be where
    no transfer ever went; and where there is something by our books, or on its way, though it was taken out of the
    configuration since. Raises NotFound for a player that is none of the operator's."""
    with db.reading(runtime.engine) as connection:
        operator = players.operator_name(connection, operator_id)
        currencies = players.wallets_of(connection, operator_id, player_id)
        held = ledger.games_of(connection, operator_id, player_id)
        coming = _on_their_way(connection, operator_id, player_id)
    if not currencies:
        raise NotFound("There is no such player.")
    configured = [
        (name, currency)
        for name, policy in runtime.config.providers.items()
        if policy.operator == operator and len(player_id) <= runtime.providers[name].descriptor.longest_player_id
        for currency in policy.currencies
        if currency in currencies
    ]
    elsewhere = {*coming, *(place for place, units in held.items() if units > 0)} - set(configured)
    return [*configured, *sorted(elsewhere)]


def _on_their_way(connection: Connection, operator_id: int, player_id: str) -> set[tuple[str, str]]:
    """(provider, currency) to which money of a player is under way."""
    transfer = rows.transfer_table
    query = select(transfer.c.provider, transfer.c.currency).where(
        transfer.c.operator_id == operator_id, transfer.c.player_id == player_id,
        transfer.c.direction == Direction.IN.value, transfer.c.state == TransferState.PENDING.value,
    )  # fmt: skip
    return {(row.provider, row.currency) for row in connection.execute(query)}


def _askable(runtime: Runtime, operator_id: int, places: Places) -> Places:
    """Those whose provider is still there for us to be asked."""
    with db.reading(runtime.engine) as connection:
        operator = players.operator_name(connection, operator_id)
    mine = {name for name, policy in runtime.config.providers.items() if policy.operator == operator}
    return [place for place in places if place[0] in mine]


def _in_turn(runtime: Runtime, places: Places) -> Places:
    """From one of them on, drawn anew each time; only where they are more than hands."""
    if len(places) <= HANDS:
        return places
    first = int.from_bytes(runtime.ids.noise(4)) % len(places)
    return places[first:] + places[:first]


def _sweep(runtime: Runtime, key: Key, wish: Wish, until: float, *, queued: bool) -> Swept:
    # A client's own key has no blank in it, so that none can ever be one of these.
    part = f"recall {key.text} {wish.provider} {wish.currency}"
    if not _is_begun(runtime, key, part, wish) and is_on_its_way(runtime, key.operator_id, wish):
        # Its key stands for one sweep for ever: it is not begun before all that it is to bring home is there.
        resolve_lane(runtime, key.operator_id, wish)
        if is_on_its_way(runtime, key.operator_id, wish):
            return Swept(wish.provider, wish.currency, Found.UNREAD)
    try:
        begun = begin(runtime, key.operator_id, part, wish, queued=queued)
    except (Unavailable, Invalid):  # not now; or it was taken out of the configuration, and nothing is there any more
        return Swept(wish.provider, wish.currency, Found.UNREAD)
    if begun.transfer_id is None:
        return Swept(wish.provider, wish.currency, Found.NOTHING)
    if begun.outcome is not None:
        drive(runtime, begun.outcome, ask_until=until)
    return Swept(wish.provider, wish.currency, Found.SWEPT, begun.transfer_id)


def _is_begun(runtime: Runtime, key: Key, part: str, wish: Wish) -> bool:
    with db.reading(runtime.engine) as connection:
        return idempotency.find(connection, Key(key.operator_id, TRANSFER, part), wish.body) is not None
