"""One player: where all of their money is, now or as of any instant, by the postings alone; and what is unresolved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Table, case, func, select, text

from bridge import db, ledger, models, players
from bridge.errors import Invalid, NotFound
from bridge.runtime import Runtime
from bridge.views import finding

_transfer: Table = models.metadata.tables["transfer"]
_posting: Table = models.metadata.tables["posting"]

LAST, OPEN_AT_MOST, PLAYERS_AT_MOST = 50, 200, 50


@dataclass(frozen=True)
class Share:
    """So much of something at one provider, in minor units."""

    provider: str
    units: int


@dataclass(frozen=True)
class Funds:
    """Where a player's money of one currency is, in minor units.

    What stands on both sides of an orphan counts on both, and the house bears one: `house` is what it bears for this
    player, zero or less. `paid_in`: what came through the cashier, less what left through it.
    """

    currency: str
    wallet: int
    transit: int
    games: tuple[Share, ...]
    custody: tuple[Share, ...]
    house: tuple[Share, ...]
    paid_in: int

    @property
    def total(self) -> int:
        """Everything that is the player's, wherever it is."""
        return self.wallet + self.transit + sum(each.units for each in (*self.games, *self.custody))

    @property
    def borne(self) -> int:
        """What the house bears for this player (zero or less)."""
        return sum(each.units for each in self.house)


@dataclass(frozen=True)
class Posted:
    """One posting: `units` of `currency` from an account to another, by a transfer or a movement of cash."""

    at: int
    debit: str
    credit: str
    units: int
    currency: str
    transfer: str | None
    cash: str | None


@dataclass(frozen=True)
class Open:
    """A transfer of the player's that has not ended."""

    id: str
    provider: str
    direction: str
    amount: int
    currency: str
    state: str
    begun_at: int


@dataclass(frozen=True)
class Page:
    """A player as of the instant `at`; `past` where that was asked for. Transfers are open now, whatever `at` is."""

    player: str
    at: int
    past: bool
    funds: tuple[Funds, ...]
    postings: tuple[Posted, ...]
    open: tuple[Open, ...]


@dataclass(frozen=True)
class Waiting:
    """A player with something unresolved: how many transfers, and since when the oldest of them."""

    player: str
    transfers: int
    orphaned: int
    oldest: int


def page(runtime: Runtime, operator_id: int, player_id: str, at: int | None = None) -> Page:
    """A player of an operator, as of `at` (microseconds) or now. Raises NotFound; Invalid for an instant to come."""
    now = runtime.clock.now()
    if at is not None and at > now:
        raise Invalid(fields={"at": "is still to come"})
    with db.reading(runtime.engine) as connection:
        known = finding.typed(player_id) == player_id and finding.of_player(connection, operator_id, player_id)
        if not known:
            raise NotFound("There is no such player.")
        sums = ledger.player_sums(connection, operator_id, player_id, at)
        currencies = {*players.wallets_of(connection, operator_id, player_id), *(code for _, code in sums)}
        return Page(
            player=player_id,
            at=now if at is None else at,
            past=at is not None,
            funds=tuple(_funds(player_id, code, sums) for code in sorted(currencies)),
            postings=tuple(_last(connection, operator_id, player_id, at)),
            open=tuple(_open(connection, operator_id, player_id)),
        )


def waiting(runtime: Runtime, operator_id: int) -> list[Waiting]:
    """Players with something unresolved, those with orphans first, then the longest."""
    orphaned = func.sum(case((_transfer.c.state == "orphaned", 1), else_=0))
    oldest = func.min(_transfer.c.created_at)
    query = (
        select(_transfer.c.player_id, func.count(), orphaned, oldest)
        .where(text("transfer.state IN ('pending', 'orphaned')"), _transfer.c.operator_id == operator_id)
        .group_by(_transfer.c.player_id)
        .order_by(orphaned.desc(), oldest, _transfer.c.player_id)
        .limit(PLAYERS_AT_MOST)
    )
    with db.reading(runtime.engine) as connection:
        return [Waiting(player, count, int(lost), at) for player, count, lost, at in connection.execute(query)]


@dataclass(frozen=True)
class Found:
    """What a word leads to: a player, or transfers."""

    player: str | None
    transfers: tuple[str, ...]


def found(runtime: Runtime, operator_id: int, word: str) -> Found:
    """The player with this id, else the transfers that are called so."""
    known = finding.typed(word)
    if known is None:
        return Found(None, ())
    with db.reading(runtime.engine) as connection:
        if finding.of_player(connection, operator_id, known):
            return Found(known, ())
        return Found(None, tuple(finding.by_word(connection, operator_id, known)))


def _funds(player: str, currency: str, sums: Mapping[tuple[str, str], int]) -> Funds:
    def shares(prefix: str) -> tuple[Share, ...]:
        mine = ((account, units) for (account, code), units in sorted(sums.items()) if code == currency)
        return tuple(Share(name.split(":")[1], units) for name, units in mine if name.startswith(prefix))

    return Funds(
        currency=currency,
        wallet=sums.get((ledger.wallet(player), currency), 0),
        transit=sums.get((ledger.TRANSIT, currency), 0),
        games=shares("game:"),
        custody=shares("custody:"),
        house=shares("house:"),
        paid_in=-sums.get((ledger.CASHIER, currency), 0),
    )


def _last(connection: Connection, operator_id: int, player_id: str, at: int | None) -> Sequence[Posted]:
    names = ("at", "debit", "credit", "amount", "currency", "transfer_id", "cash_movement_id")
    mine = [_posting.c.operator_id == operator_id, _posting.c.player_id == player_id]
    if at is not None:
        mine.append(_posting.c.at <= at)
    # Not by the bare number of the row: a planner would walk all postings backwards until so many were this player's.
    query = select(*(_posting.c[name] for name in names)).where(*mine).order_by((_posting.c.id + 0).desc()).limit(LAST)
    return [Posted(*row) for row in connection.execute(query)]


def _open(connection: Connection, operator_id: int, player_id: str) -> Sequence[Open]:
    names = ("id", "provider", "direction", "amount", "currency", "state", "created_at")
    query = select(*(_transfer.c[name] for name in names)).where(
        _transfer.c.operator_id == operator_id,
        _transfer.c.player_id == player_id,
        text("transfer.state IN ('pending', 'orphaned')"),
    )
    return [Open(*row) for row in connection.execute(query.order_by(_transfer.c.created_at).limit(OPEN_AT_MOST))]
