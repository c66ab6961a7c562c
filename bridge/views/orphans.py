"""The queue of what is not proved: sorted by value × age, filtered, searched, added up.

Value and age are multiplied inside one currency. Across currencies the oldest comes first, unless the configuration
says what a unit of each is worth (`desk.reference_rates`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    RowMapping,
    Select,
    Table,
    and_,
    case,
    cast,
    false,
    func,
    or_,
    select,
    text,
)

from bridge import db, models
from bridge.money import UnknownCurrency
from bridge.ports import SECOND, WALLET
from bridge.runtime import Runtime
from bridge.tallies import GIGA
from bridge.views import finding, redaction, told

_transfer: Table = models.metadata.tables["transfer"]
_leg: Table = models.metadata.tables["leg"]
_evidence: Table = models.metadata.tables["evidence"]
_proposal: Table = models.metadata.tables["proposal"]
_person: Table = models.metadata.tables["person"]

PAGE = 50
FURTHEST = 10_000
"""So many are passed over at most: whoever looks for more filters."""

# Typed out: neither database uses a partial index where the states are parameters of the statement.
_UNRESOLVED = text("transfer.state IN ('pending', 'orphaned')")
_PROPOSED = and_(_proposal.c.transfer_id == _transfer.c.id, text("proposal.state = 'open'"))
_SINCE = case(
    (_transfer.c.state == "orphaned", func.coalesce(_transfer.c.settled_at, _transfer.c.orphan_at)),
    else_=_transfer.c.created_at,
)


class Stage(StrEnum):
    """What is looked at."""

    ORPHANED = "orphaned"  # before people
    UNKNOWN = "unknown"  # pending, and a request to the provider got no usable answer
    PENDING = "pending"  # pending otherwise


class Order(StrEnum):
    """What comes first."""

    VALUE_AGE = "value_age"  # one currency: value × age
    AGE = "age"  # several currencies: the oldest
    REFERENCE = "reference"  # several currencies with rates: value in the reference × age


@dataclass(frozen=True)
class Wanted:
    """Which transfers are wanted; None asks for nothing. `older_than` in seconds; `word`: a player, or what a transfer
    is called by us or by its provider."""

    stage: Stage = Stage.ORPHANED
    provider: str | None = None
    currency: str | None = None
    player: str | None = None
    reason: str | None = None
    older_than: int | None = None
    proposed: bool | None = None
    word: str | None = None


@dataclass(frozen=True)
class Proposed:
    """What one person has proposed, and what waits for another."""

    id: str
    kind: str
    maker: str
    at: int


@dataclass(frozen=True)
class Unproved:
    """One transfer of the queue. `differs`: what was told otherwise than it was meant, in money; `since`: when it was
    orphaned, or, pending, when it was begun (microseconds)."""

    id: str
    player: str
    provider: str
    direction: str
    amount: int
    currency: str
    state: str
    version: int
    reason: str
    detail: str
    differs: str
    begun_at: int
    since: int
    reference: str | None = None
    provider_reference: str | None = None
    proposal: Proposed | None = None


@dataclass(frozen=True)
class Sum:
    """All that was asked for in one currency: how many, and their value in minor units."""

    currency: str
    transfers: int
    units: int


@dataclass(frozen=True)
class Choices:
    """What can be chosen among the transfers of this stage."""

    providers: tuple[str, ...]
    currencies: tuple[str, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Queue:
    """A page of the queue as of the instant `at`: ages are told, and sorted, as of it. `sums` are of the whole."""

    at: int
    order: Order
    transfers: tuple[Unproved, ...]
    sums: tuple[Sum, ...]
    choices: Choices
    number: int
    pages: int

    @property
    def count(self) -> int:
        """How many there are on all pages."""
        return sum(each.transfers for each in self.sums)


def queue(runtime: Runtime, operator_id: int, wanted: Wanted, number: int = 1, at: int | None = None) -> Queue:
    """Page `number`, from 1. `at`: the instant of the first page, so that the pages of one list fit together."""
    now = runtime.clock.now()
    at = now if at is None else min(max(at, 0), now)
    with db.reading(runtime.engine) as connection:
        conditions = _conditions(connection, operator_id, wanted, at)
        sums = _sums(connection, conditions)
        count = sum(each.transfers for each in sums)
        pages = max(1, -(-min(count, FURTHEST) // PAGE))
        number = min(max(1, number), pages)
        order = _order(runtime, sums)
        sorting = (*_sorting(runtime, order, at), _transfer.c.id)
        # Sorted by what stands in the index; only the page's own rows are read whole.
        chosen = select(_transfer.c.id).where(*conditions).order_by(*sorting).limit(PAGE).offset((number - 1) * PAGE)
        query = _rows([_transfer.c.id.in_(chosen.correlate(None))]).order_by(*sorting)
        rows = connection.execute(query).mappings().all()
        return Queue(
            at=at,
            order=order,
            transfers=tuple(_told(connection, runtime, rows)),
            sums=tuple(sums),
            choices=_choices(connection, operator_id, wanted.stage),
            number=number,
            pages=pages,
        )


def every(runtime: Runtime, operator_id: int, wanted: Wanted) -> Iterator[Unproved]:
    """All that is wanted, oldest transfer first, however many there are: read piece by piece, so that whoever takes
    them slowly keeps no transaction open. What changes meanwhile is told as it is when its piece is read."""
    at, last = runtime.clock.now(), ""
    while True:
        with db.reading(runtime.engine) as connection:
            conditions = [*_conditions(connection, operator_id, wanted, at), _transfer.c.id > last]
            query = _rows(conditions).order_by(_transfer.c.id).limit(10 * PAGE)
            rows = connection.execute(query).mappings().all()
            page = _told(connection, runtime, rows)
        yield from page
        if len(rows) < 10 * PAGE:
            return
        last = rows[-1]["id"]


# --- which ------------------------------------------------------------------------------------------------


def _conditions(connection: Connection, operator_id: int, wanted: Wanted, at: int) -> list[Any]:
    conditions = [_UNRESOLVED, _transfer.c.operator_id == operator_id, *_of_stage(wanted.stage)]
    for column, value in (
        ("provider", wanted.provider), ("currency", wanted.currency), ("player_id", wanted.player),
        ("reason_code", wanted.reason),
    ):  # fmt: skip
        if value is not None:
            conditions.append(_transfer.c[column] == value.replace("\x00", ""))
    if wanted.older_than is not None:
        conditions.append(at - wanted.older_than * SECOND >= _SINCE)
    if wanted.proposed is not None:
        proposed = select(_proposal.c.id).where(_PROPOSED).exists()
        conditions.append(proposed if wanted.proposed else ~proposed)
    word = finding.typed(wanted.word)
    if word is None and (wanted.word or "").strip():
        conditions.append(false())  # no row holds it
    elif word is not None:
        called = finding.by_word(connection, operator_id, word)
        conditions.append(or_(_transfer.c.player_id == word, _transfer.c.id.in_(called)))
    return conditions


def _of_stage(stage: Stage) -> list[ColumnElement[bool]]:
    if stage is Stage.ORPHANED:
        return [_transfer.c.state == "orphaned"]
    lost = select(_leg.c.transfer_id).where(_leg.c.transfer_id == _transfer.c.id, _leg.c.unknown_since.is_not(None))
    return [_transfer.c.state == "pending", lost.exists() if stage is Stage.UNKNOWN else ~lost.exists()]


def _choices(connection: Connection, operator_id: int, stage: Stage) -> Choices:
    names = ("provider", "currency", "reason_code")
    kinds = select(*(_transfer.c[name] for name in names)).where(
        _UNRESOLVED, _transfer.c.operator_id == operator_id, *_of_stage(stage)
    )
    rows = connection.execute(kinds.distinct()).all()
    return Choices(*(tuple(sorted({row[place] for row in rows if row[place]})) for place in range(len(names))))


def _sums(connection: Connection, conditions: Sequence[Any]) -> list[Sum]:
    parts = (func.sum(_transfer.c.amount // GIGA), func.sum(_transfer.c.amount % GIGA))  # one sum might not fit
    query = select(_transfer.c.currency, func.count(), *parts).where(*conditions)
    grouped = query.group_by(_transfer.c.currency).order_by(_transfer.c.currency)
    return [
        Sum(currency, count, int(giga) * GIGA + int(units))
        for currency, count, giga, units in connection.execute(grouped)
    ]


# --- in which order ---------------------------------------------------------------------------------------


def _order(runtime: Runtime, sums: Sequence[Sum]) -> Order:
    if len(sums) <= 1:
        return Order.VALUE_AGE
    return Order.REFERENCE if _worth(runtime) else Order.AGE


def _sorting(runtime: Runtime, order: Order, at: int) -> list[ColumnElement[Any]]:
    """By floats: only which comes first is decided by them, and no integer would hold the product."""
    age = cast(at - _SINCE, Float(53)) / SECOND
    if order is Order.AGE:
        return [_SINCE]
    value = cast(_transfer.c.amount, Float(53))
    if order is Order.VALUE_AGE:
        return [(value * age).desc()]
    worth = _worth(runtime)
    of_unit = case(*((_transfer.c.currency == code, rate) for code, rate in sorted(worth.items())), else_=0.0)
    return [(value * age * of_unit).desc(), _SINCE]  # what has no rate comes last, the oldest first


def _worth(runtime: Runtime) -> Mapping[str, float]:
    """Currency → what one minor unit is worth, where it is configured."""
    worth = {}
    for code, rate in runtime.config.desk.reference_rates.items():
        try:
            worth[code] = float(Decimal(rate).scaleb(-runtime.currencies.exponent(code)))
        except (InvalidOperation, UnknownCurrency):
            continue
    return worth


# --- what is told of each ---------------------------------------------------------------------------------


def _rows(conditions: Sequence[Any]) -> Select[Any]:
    return select(_transfer, _SINCE.label("since")).where(*conditions)


def _told(connection: Connection, runtime: Runtime, rows: Sequence[RowMapping]) -> list[Unproved]:
    ids = [row["id"] for row in rows]
    references, proposals = _references(connection, ids), proposed(connection, ids)
    mismatched = _told_in(connection, [row["id"] for row in rows if row["reason_code"] == "mismatch"])
    return [
        Unproved(
            id=row["id"],
            player=row["player_id"],
            provider=row["provider"],
            direction=row["direction"],
            amount=row["amount"],
            currency=row["currency"],
            state=row["state"],
            version=row["version"],
            reason=row["reason_code"] or "",
            detail=redaction.text(row["reason_detail"] or ""),
            differs=_difference(runtime, row, mismatched[row["id"]]) if row["id"] in mismatched else "",
            begun_at=row["created_at"],
            since=row["since"],
            reference=references.get(row["id"], (None, None))[0],
            provider_reference=references.get(row["id"], (None, None))[1],
            proposal=proposals.get(row["id"]),
        )
        for row in rows
    ]


def _told_in(connection: Connection, ids: Sequence[str]) -> dict[str, dict[int, str]]:
    """Transfer → amount that was told (minor units) → its currency."""
    found: dict[str, dict[int, str]] = {each: {} for each in ids}
    amounts = select(_evidence.c.transfer_id, _evidence.c.amount, _evidence.c.currency).where(
        _evidence.c.transfer_id.in_(ids), _evidence.c.amount.is_not(None), _evidence.c.currency.is_not(None)
    )
    for transfer, amount, currency in connection.execute(amounts):
        found[transfer][amount] = currency
    return found


def _difference(runtime: Runtime, row: RowMapping, told_in: Mapping[int, str]) -> str:
    reason = redaction.text(row["reason_detail"] or "")
    return told.difference(told.in_money(reason, runtime.currencies, row["currency"], told_in))


def _references(connection: Connection, ids: Sequence[str]) -> dict[str, tuple[str | None, str | None]]:
    """Transfer → (our reference, the provider's own) of its newest try, or whatever else the provider called it."""
    told = (
        select(_evidence.c.transfer_id, func.max(_evidence.c.provider_reference))
        .where(_evidence.c.transfer_id.in_(ids), _evidence.c.provider_reference.is_not(None))
        .group_by(_evidence.c.transfer_id)
    )
    heard = dict(connection.execute(told).all())
    query = (
        select(_leg.c.transfer_id, _leg.c.reference, _leg.c.provider_reference)
        .where(_leg.c.transfer_id.in_(ids), _leg.c.holder != WALLET, _leg.c.undoes.is_(None))
        .order_by(_leg.c.ordinal)
    )
    return {transfer: (ours, theirs or heard.get(transfer)) for transfer, ours, theirs in connection.execute(query)}


def waiting(runtime: Runtime, operator_id: int, ids: Sequence[str]) -> dict[str, Proposed]:
    """Of these transfers of the operator, those about which something is proposed already."""
    mine = select(_transfer.c.id).where(_transfer.c.operator_id == operator_id, _transfer.c.id.in_(ids))
    with db.reading(runtime.engine) as connection:
        return proposed(connection, list(connection.execute(mine).scalars()))


def proposed(connection: Connection, ids: Sequence[str]) -> dict[str, Proposed]:
    """Transfer → the proposal about it that waits for another person."""
    query = (
        select(_proposal.c.transfer_id, _proposal.c.id, _proposal.c.kind, _person.c.name, _proposal.c.created_at)
        .join(_person, _person.c.id == _proposal.c.maker_id)
        .where(_proposal.c.transfer_id.in_(ids), text("proposal.state = 'open'"))
    )
    return {transfer: Proposed(*told) for transfer, *told in connection.execute(query)}
