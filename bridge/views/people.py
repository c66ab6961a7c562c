"""What people did about a transfer, and what its operator was told of it, as lines of its story."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, Table, or_, select

from bridge import models
from bridge.models.desk import Outcome
from bridge.money import Currencies
from bridge.transfers.core.facts import Transfer
from bridge.views import redaction, words
from bridge.views.amounts import written
from bridge.views.timeline import Entry, Kind

_decision: Table = models.metadata.tables["decision"]
_proposal: Table = models.metadata.tables["proposal"]
_verdict: Table = models.metadata.tables["verdict"]
_person: Table = models.metadata.tables["person"]
_note: Table = models.metadata.tables["access_note"]
_event: Table = models.metadata.tables["event"]
_endpoint: Table = models.metadata.tables["webhook_endpoint"]
_delivery: Table = models.metadata.tables["delivery"]
_try: Table = models.metadata.tables["delivery_try"]

NOTES_AT_MOST = 100

TOLD_ALREADY = ("propose", "approve", "reject", "withdraw")
"""What was done by these stands in a proposal or a verdict; what was refused of them stands in a note alone."""

ASKS = "ask_again"

_WISHES = {
    "propose": "propose something about it",
    "approve": "approve the proposal",
    "reject": "reject the proposal",
    "withdraw": "withdraw the proposal",
}
"""Kinds of notes about what was refused, behind "wanted to"."""

_ENDS = {
    "carried_out": "was carried out",
    "rejected": "was rejected",
    "withdrawn": "was withdrawn",
    "stale": "went stale: the transfer changed",
    "expired": "expired",
}


def deeds(connection: Connection, operator_id: int, transfer: Transfer, money: Currencies) -> list[Entry]:
    """What people did: proposals and what others said to them, decisions, and who looked or was refused."""
    transfer_id, currency = transfer.id, transfer.currency
    mine = select(_proposal).where(_proposal.c.transfer_id == transfer_id, _proposal.c.operator_id == operator_id)
    proposals = connection.execute(mine.order_by(_proposal.c.created_at)).mappings().all()
    ids = [row["id"] for row in proposals]
    said = select(_verdict).where(_verdict.c.proposal_id.in_(ids)).order_by(_verdict.c.at)
    verdicts = connection.execute(said).mappings().all()
    decisions = _rows(connection, _decision, "decided_at", _decision.c.transfer_id == transfer_id)
    notes = _notes(connection, operator_id, [transfer_id, *ids])
    names = names_of(connection, _people(proposals, verdicts, decisions, notes))
    return [
        *_proposals(proposals, names, currency, money),
        *(_spoken(row, names) for row in verdicts),
        *(_decided(row, names, transfer, money) for row in decisions),
        *(_noted(row, names) for row in notes),
    ]


def deciders(connection: Connection, transfer_id: str) -> str | None:
    """Who made the newest decision about a transfer: whoever proposed it, and whoever approved it."""
    newest = select(_decision.c.maker, _decision.c.checker).where(_decision.c.transfer_id == transfer_id)
    row = connection.execute(newest.order_by(_decision.c.watermark.desc()).limit(1)).first()
    return None if row is None else f"{row.maker} and {row.checker}"


def names_of(connection: Connection, ids: Iterable[str]) -> Mapping[str, str]:
    """Id of a person → the name."""
    query = select(_person.c.id, _person.c.name).where(_person.c.id.in_(sorted(set(ids))))
    return dict(connection.execute(query).all())


def told_to_operator(connection: Connection, operator_id: int, transfer_id: str) -> list[Entry]:
    """The events that its moves became, and how far each has come to each address."""
    mine = select(_event).where(_event.c.transfer_id == transfer_id, _event.c.operator_id == operator_id)
    events = connection.execute(mine.order_by(_event.c.sequence)).mappings().all()
    entries = [
        Entry(row["numbered_at"], Kind.EVENT, f"Became event {row['sequence']} of its operator: {row['kind']}")
        for row in events
    ]
    return [*entries, *_deliveries(connection, operator_id, [row["sequence"] for row in events])]


def _people(*lists: Sequence[RowMapping]) -> Iterator[str]:
    for rows in lists:
        for row in rows:
            yield from (row[name] for name in ("maker_id", "person_id", "maker", "checker") if row.get(name))


def _proposals(
    proposals: Sequence[RowMapping], names: Mapping[str, str], currency: str, money: Currencies
) -> Iterator[Entry]:
    for row in proposals:
        split = row["kind"] == "split"
        parts = f": {_parts(row, currency, money)}" if split else ""
        who, what = names.get(row["maker_id"], row["maker_id"]), words.DEEDS.get(row["kind"], row["kind"])
        title = f"{who} asked the provider again" if row["kind"] == ASKS else f"{who} proposed {what}{parts}"
        yield Entry(row["created_at"], Kind.PERSON, title, row["reason"])
        if row["ended_at"] is not None and row["state"] != "carried_out":
            how = _ENDS.get(row["state"], row["state"])
            yield Entry(row["ended_at"], Kind.PERSON, f"The proposal {how}", row["ended_why"] or "")


def _parts(row: RowMapping, currency: str, money: Currencies) -> str:
    arrived, returned = (written(money, row[name], currency) for name in ("arrived", "returned"))
    return f"{arrived} arrived, {returned} returned"


def _spoken(row: RowMapping, names: Mapping[str, str]) -> Entry:
    who = names.get(row["person_id"], row["person_id"])
    word = "approved" if row["approves"] else "rejected"
    return Entry(row["at"], Kind.PERSON, f"{who} {word} the proposal", row["reason"])


def _decided(row: RowMapping, names: Mapping[str, str], transfer: Transfer, money: Currencies) -> Entry:
    """It is evidence too, under which others point to it: the piece that has seen as much as the decision."""
    number = next((each.id for each in transfer.decisions if (each.watermark or 0) == row["watermark"]), None)
    maker, checker = (names.get(row[name], row[name]) for name in ("maker", "checker"))
    parts = f", {_parts(row, transfer.currency, money)}" if row["kind"] == "split" else ""
    title = f"Decided by {maker} and {checker}: {row['kind'].replace('_', ' ')}{parts}"
    seen = (
        f"what they had seen: evidence up to number {row['watermark']}" if row["watermark"] else "nothing was told yet"
    )
    return Entry(row["decided_at"], Kind.PERSON, title, f"{row['reason']}; {seen}", evidence=number)


def _notes(connection: Connection, operator_id: int, subjects: Sequence[str]) -> Sequence[RowMapping]:
    news = or_(_note.c.outcome != Outcome.DONE.value, _note.c.kind.not_in(TOLD_ALREADY))
    query = select(_note).where(_note.c.subject.in_(subjects), _note.c.operator_id == operator_id, news)
    return connection.execute(query.order_by(_note.c.id.desc()).limit(NOTES_AT_MOST)).mappings().all()


def _noted(row: RowMapping, names: Mapping[str, str]) -> Entry:
    who = names.get(row["person_id"] or "", row["login"] or "somebody")
    kind = row["kind"].replace("_", " ")
    if row["outcome"] != Outcome.REFUSED:
        return Entry(row["at"], Kind.PERSON, f"{who}: {kind}", row["reason"] or "")
    title = f"{who} wanted to {_WISHES.get(row['kind'], kind)}, and was refused"
    return Entry(row["at"], Kind.PERSON, title, _why_refused(row))


def _why_refused(row: RowMapping) -> str:
    """The note holds, behind a code, why it was refused, and the person's own reason for what was tried."""
    _, _, why = (row["after"] or "").partition(": ")
    own = f'their reason: "{row["reason"]}"' if row["reason"] else ""
    return "; ".join(filter(None, (f"refused because: {why}" if why else "", own)))


def _deliveries(connection: Connection, operator_id: int, sequences: Sequence[int]) -> Iterator[Entry]:
    endpoints = select(_endpoint.c.id, _endpoint.c.label, _endpoint.c.url).where(_endpoint.c.operator_id == operator_id)
    where = {row["id"]: row["label"] or row["url"] for row in connection.execute(endpoints).mappings()}
    if not where or not sequences:
        return
    mine = (_delivery.c.endpoint_id.in_(sorted(where)), _delivery.c.sequence.in_(sequences))
    deliveries = _rows(connection, _delivery, "id", *mine)
    tries = _tries(connection, [row["id"] for row in deliveries])
    for row in deliveries:
        last = tries.get(row["id"], [])
        number, to = row["sequence"], where[row["endpoint_id"]]
        failed = f"tried {len(last)} times, last: {_outcome(last[-1])}" if last else "not tried yet"
        match row["state"]:
            case "delivered":
                yield Entry(row["ended_at"], Kind.EVENT, f"Event {number} was delivered to {to}")
            case "waiting":
                at = last[-1]["at"] if last else row["created_at"]
                yield Entry(at, Kind.EVENT, f"Event {number} is on its way to {to}", failed)
            case state:
                words = {"given_up": "was given up", "dropped": "was dropped"}.get(state, state)
                yield Entry(row["ended_at"], Kind.EVENT, f"Event {number} for {to} {words}", failed)


def _tries(connection: Connection, deliveries: Sequence[int]) -> Mapping[int, list[RowMapping]]:
    found: dict[int, list[RowMapping]] = {}
    for row in _rows(connection, _try, "id", _try.c.delivery_id.in_(deliveries)):
        found.setdefault(row["delivery_id"], []).append(row)
    return found


def _outcome(row: RowMapping) -> str:
    return f"HTTP {row['status']}" if row["status"] is not None else redaction.text(row["failure"])


def _rows(connection: Connection, table: Table, order: str, *conditions: Any) -> Sequence[RowMapping]:
    return connection.execute(select(table).where(*conditions).order_by(table.c[order])).mappings().all()
