"""One transfer: where its money is, its legs, its story, its case, and what people may best do next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, Table, select

from bridge import db, ledger, models
from bridge.errors import NotFound
from bridge.runtime import Runtime
from bridge.transfers import rows
from bridge.transfers.core.facts import Leg, Transfer
from bridge.views import orphans, people, redaction, timeline, told
from bridge.views.advice import Advice, Around, advice
from bridge.views.orphans import Proposed
from bridge.views.timeline import Line
from bridge.views.whereabouts import sentence
from statemachines import LegState

_case: Table = models.metadata.tables["orphan_case"]


@dataclass(frozen=True)
class Case:
    """The file in which people resolve an orphan; instants in microseconds."""

    id: str
    state: str
    reason: str
    opened_at: int
    closed_at: int | None


@dataclass(frozen=True)
class Side:
    """One leg: who, what was or is to be done there, and how far it is known to have come."""

    ordinal: int
    holder: str
    side: str
    amount: int
    state: str
    undoes: int | None
    reference: str | None
    provider_reference: str | None
    unknown_since: int | None
    requests: int
    asked: int


@dataclass(frozen=True)
class Held:
    """What this transfer has brought to an account (+) or taken from it (−) until now, in minor units."""

    account: str
    units: int


@dataclass(frozen=True)
class Page:
    """Everything about one transfer as of the instant `at`."""

    at: int
    transfer: Transfer
    where: str
    idempotency_key: str
    updated_at: int
    wake_at: int | None
    reason_detail: str
    legs: tuple[Side, ...]
    books: tuple[Held, ...]
    line: Line
    case: Case | None
    proposal: Proposed | None
    advice: Advice

    @property
    def settled_at(self) -> int | None:
        """When it came to its present state; None for one that has been pending from the begin."""
        return self.transfer.settled_at


def page(runtime: Runtime, operator_id: int, transfer_id: str) -> Page:
    """One transfer of an operator; raises NotFound, also for another operator's."""
    now = runtime.clock.now()
    with db.reading(runtime.engine) as connection:
        row = _row(connection, operator_id, transfer_id)
        transfer = rows.load(connection, transfer_id)
        assert transfer is not None  # one snapshot
        proposal = orphans.proposed(connection, [transfer_id]).get(transfer_id)
        others = [
            *people.deeds(connection, operator_id, transfer, runtime.currencies),
            *people.told_to_operator(connection, operator_id, transfer_id),
        ]
        around = Around(
            now, row["wake_at"], None if proposal is None else proposal.maker, people.deciders(connection, transfer_id)
        )  # fmt: skip
        return Page(
            at=now,
            transfer=transfer,
            where=sentence(transfer, runtime.currencies),
            idempotency_key=row["idempotency_key"],
            updated_at=row["updated_at"],
            wake_at=row["wake_at"],
            reason_detail=_reason(runtime, transfer, row["reason_detail"] or ""),
            legs=tuple(_side(leg) for leg in transfer.legs),
            books=tuple(_books(ledger.posted_by(connection, transfer_id))),
            line=timeline.line(connection, transfer, runtime.currencies, others),
            case=_case_of(connection, transfer_id),
            proposal=proposal,
            advice=_advice(runtime, transfer, around),
        )


def _row(connection: Connection, operator_id: int, transfer_id: str) -> RowMapping:
    table = rows.transfer_table
    query = select(table).where(table.c.id == transfer_id.replace("\x00", ""), table.c.operator_id == operator_id)
    row = connection.execute(query).mappings().first()
    if row is None:
        raise NotFound("There is no such transfer.")
    return row


def _reason(runtime: Runtime, transfer: Transfer, kept: str) -> str:
    replies = [piece.reply for leg in transfer.legs for piece in leg.evidence]
    told_in = {reply.amount: reply.currency for reply in replies if reply.amount is not None and reply.currency}
    return told.in_money(redaction.text(kept), runtime.currencies, transfer.currency, told_in)


def _advice(runtime: Runtime, transfer: Transfer, around: Around) -> Advice:
    provider = runtime.providers.get(transfer.provider)
    descriptor = None if provider is None else provider.descriptor
    return advice(transfer, descriptor, runtime.currencies, around)


def _side(leg: Leg) -> Side:
    return Side(
        ordinal=leg.ordinal,
        holder=leg.holder,
        side=leg.side.value,
        amount=leg.amount,
        state=leg.state.value,
        undoes=leg.undoes,
        reference=leg.reference,
        provider_reference=leg.provider_reference,
        unknown_since=leg.unknown_since if leg.state in (LegState.SENT, LegState.RESERVED) else None,
        requests=len(leg.attempts),
        asked=len(leg.lookups()),
    )


def _books(posted: Mapping[str, int]) -> Sequence[Held]:
    return [Held(account, units) for account, units in sorted(posted.items()) if units]


def _case_of(connection: Connection, transfer_id: str) -> Case | None:
    names = ("id", "state", "reason", "opened_at", "closed_at")
    query = select(*(_case.c[name] for name in names)).where(_case.c.transfer_id == transfer_id)
    row = connection.execute(query).first()
    return None if row is None else Case(*row)
