"""Everything that happened to a transfer on one axis of time: what we sent and asked, what was told us, what was
posted, what people did, and what its operator was told. Questions that got the same answer over and over are one line:
what is shown of their messages is the same too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise

from sqlalchemy import Connection, RowMapping, Table, select

from bridge import models
from bridge.evidence import Evidence, Source
from bridge.money import Currencies
from bridge.transfers import rows
from bridge.transfers.core.facts import Leg, Transfer
from bridge.views import redaction, told, words
from bridge.views.amounts import clock_time, written

_posting: Table = models.metadata.tables["posting"]
_inbox: Table = models.metadata.tables["inbox"]

AT_MOST = 400
"""Entries that are shown, the first fifth and the newest of them: of a transfer that lives for years."""

COMPARED_AT_MOST = 400
"""So many different messages, the newest, are read to see whether they say the same."""


class Kind(StrEnum):
    """What an entry is; in this order where instants are equal: a commit is told from its cause to what it leads to."""

    ANSWER = "answer"  # what came of it
    POLL = "poll"  # we asked, and what was answered
    CALLBACK = "callback"  # the provider told us unasked
    ASIDE = "aside"  # a balance read, or a kick
    RULE = "rule"  # the timeout contract concluded something
    PERSON = "person"  # people proposed, approved, decided, looked
    MOVE = "move"  # the transfer, a leg or its case went to another state
    POSTING = "posting"  # the ledger
    REQUEST = "request"  # we committed a money request
    EVENT = "event"  # the operator's platform was told


_PLACES = {kind: place for place, kind in enumerate(Kind)}


@dataclass(frozen=True)
class Entry:
    """One line. `count` and `until`: so many alike, the last of them then (microseconds). `evidence`: the number of
    the stored piece, `first` that of the first of so many alike; `request` and `message`: what we sent and what the
    provider did, masked; `digest`: SHA-256 of the latter as it came."""

    at: int
    kind: Kind
    title: str
    detail: str = ""
    leg: int | None = None
    evidence: int | None = None
    count: int = 1
    until: int | None = None
    request: str = ""
    message: str = ""
    digest: str = ""
    first: int | None = None


@dataclass(frozen=True)
class Line:
    """The entries, oldest first; so many were left out behind the first `before_gap` of them."""

    entries: tuple[Entry, ...]
    left_out: int = 0
    before_gap: int = 0

    def place_of(self, evidence: int) -> int | None:
        """The number under which a stored piece stands in the story: its own, or that of the line in which it is one of
        many alike; None where it is left out."""
        if any(entry.evidence == evidence for entry in self.entries):
            return evidence
        alike = [entry for entry in self.entries if entry.first and entry.first <= evidence <= (entry.evidence or 0)]
        return alike[0].evidence if len(alike) == 1 else None


def line(connection: Connection, transfer: Transfer, currencies: Currencies, others: Iterable[Entry]) -> Line:
    """The whole story; `others`: what people did, and what the operator was told."""
    entries = [
        *_requests(transfer, currencies),
        *_told(transfer, currencies),
        *_moves(connection, transfer.id),
        *_postings(connection, transfer, currencies),
        *others,
    ]
    ordered = sorted(entries, key=lambda entry: (entry.at, _PLACES[entry.kind], entry.evidence or 0))
    shown = _bounded(_folded(ordered, _answers(connection, ordered)))
    return replace(shown, entries=tuple(_with_messages(connection, shown.entries)))


# --- what was sent and told ---------------------------------------------------------------------------------


def _requests(transfer: Transfer, currencies: Currencies) -> Iterator[Entry]:
    for leg in transfer.legs:
        for attempt in leg.attempts:
            amount = written(currencies, leg.amount, transfer.currency)
            again = f", request {attempt.number}" if attempt.number > 1 else ""
            yield Entry(
                attempt.sent_at,
                Kind.REQUEST,
                f"Sent to {leg.holder}: {attempt.step.value} {amount}, {leg.side.value} {transfer.player}{again}",
                f"reference {leg.reference}; nothing of it is on the wire after "
                f"{clock_time(attempt.wire_until, exact=True)}",
                leg=leg.ordinal,
            )


_SOURCES = {
    Source.CALL: Kind.ANSWER,
    Source.LOOKUP: Kind.POLL,
    Source.CALLBACK: Kind.CALLBACK,
    Source.ASIDE: Kind.ASIDE,
    Source.CONTRACT: Kind.RULE,
}
"""What the embedded wallet says is a posting, and what people decided is told with their names elsewhere."""


def _told(transfer: Transfer, currencies: Currencies) -> Iterator[Entry]:
    for leg in transfer.legs:
        for piece in leg.evidence:
            if piece.source in _SOURCES:
                yield _piece(transfer, leg, piece, currencies)


def _piece(transfer: Transfer, leg: Leg, piece: Evidence, currencies: Currencies) -> Entry:
    reply = piece.reply
    said = told.said(piece)
    match piece.source:
        case Source.CALL:
            title = f"{leg.holder} answered request {piece.attempt}: {said}"
        case Source.LOOKUP:
            title = f"Asked {leg.holder}: {said}"
        case Source.CALLBACK:
            title = f"{leg.holder} called back: {said}"
        case Source.CONTRACT:
            title = f"By the rules agreed with {leg.holder}: {said}"
        case _:
            title = f"At {leg.holder}: {redaction.text(reply.code) or said}"
    return Entry(
        piece.at,
        _SOURCES[piece.source],
        title,
        "; ".join(_details(transfer, leg, piece, currencies)),
        leg=leg.ordinal,
        evidence=piece.id,
        digest=reply.digest,
    )


def _details(transfer: Transfer, leg: Leg, piece: Evidence, currencies: Currencies) -> Iterator[str]:
    """What was told beside the answer, and first of all what is not as it was meant."""
    reply, currency = piece.reply, piece.reply.currency or transfer.currency
    aside = piece.source is Source.ASIDE
    if not aside:
        yield from told.otherwise(transfer, leg, reply, currencies)
    if reply.amount is not None and (aside or (reply.amount, currency) == (leg.amount, transfer.currency)):
        yield written(currencies, reply.amount, redaction.text(currency))
    if reply.provider_reference:
        yield f"their reference {redaction.text(reply.provider_reference)}"
    if reply.balance is not None:
        yield f"balance there {written(currencies, reply.balance, currency)}"
    if reply.sequence is not None:
        yield f"their change {reply.sequence} of it"
    if reply.provider_time:
        yield f"their time {redaction.text(reply.provider_time)}"
    if reply.detail:
        yield redaction.text(reply.detail)


def _with_messages(connection: Connection, entries: Sequence[Entry]) -> Iterator[Entry]:
    """What is shown, with what was said on the wire: of a callback that stands in the inbox."""
    evidence = rows.evidence_table
    query = select(evidence.c.id, evidence.c.sent, evidence.c.received, _inbox.c.body)
    query = query.outerjoin(_inbox, _inbox.c.id == evidence.c.inbox_id)
    pieces = [entry.evidence for entry in entries if entry.evidence is not None]
    said = {row.id: row for row in connection.execute(query.where(evidence.c.id.in_(pieces)))}
    for entry in entries:
        row = said.get(entry.evidence)
        if row is None:
            yield entry
            continue
        request, message = redaction.exchanged(row.sent or ""), redaction.exchanged(row.received or "")
        yield replace(entry, request=request, message=message if row.body is None else redaction.shown(row.body))


# --- what came of it ----------------------------------------------------------------------------------------


def _moves(connection: Connection, transfer_id: str) -> Iterator[Entry]:
    for row in _all(connection, rows.history_table, transfer_id):
        subject, source = row["subject"], row["source"]
        path = f"{source} → {row['target']}" if source else f"begins as {row['target']}"
        title = f"{subject[:1].upper()}{subject[1:]}: {path}"
        yield Entry(row["at"], Kind.MOVE, title, redaction.text(words.why(row["reason"])), leg=_leg_of(subject))


def _postings(connection: Connection, transfer: Transfer, currencies: Currencies) -> Iterator[Entry]:
    for row in _all(connection, _posting, transfer.id):
        amount = written(currencies, row["amount"], row["currency"])
        yield Entry(row["at"], Kind.POSTING, f"Posted {amount}: {row['debit']} → {row['credit']}")


def _all(connection: Connection, table: Table, transfer_id: str) -> Sequence[RowMapping]:
    query = select(table).where(table.c.transfer_id == transfer_id).order_by(table.c.id)
    return connection.execute(query).mappings().all()


def _leg_of(subject: str) -> int | None:
    word, _, number = subject.partition(" ")
    return int(number) if word == "leg" and number.isdecimal() else None


# --- short enough to be read --------------------------------------------------------------------------------


def _answers(connection: Connection, entries: Iterable[Entry]) -> Mapping[str, str]:
    """What is shown of the messages of polls that follow each other in the same words, by digest: only of those that
    are not the same to the byte."""
    told: dict[str, int | None] = {}
    for one, other in pairwise(entries):
        if _is_worded_as(one, other) and one.digest != other.digest:
            told |= {one.digest: one.evidence, other.digest: other.evidence}
    evidence = rows.evidence_table
    query = select(evidence.c.digest, evidence.c.received)
    newest = connection.execute(query.where(evidence.c.id.in_(list(told.values())[-COMPARED_AT_MOST:])))
    return {digest: redaction.exchanged(received or "") for digest, received in newest}


def _folded(entries: Iterable[Entry], answers: Mapping[str, str]) -> list[Entry]:
    """Polls that follow each other and say the same are one line that tells how often, and until when."""
    found: list[Entry] = []
    for entry in entries:
        last = found[-1] if found else None
        if last is not None and _says_the_same(last, entry, answers):
            found[-1] = replace(
                last, count=last.count + 1, until=entry.at, evidence=entry.evidence, digest=entry.digest,
                first=last.first or last.evidence,
            )  # fmt: skip
        else:
            found.append(entry)
    return [_counted(entry) for entry in found]


def _says_the_same(one: Entry, other: Entry, answers: Mapping[str, str]) -> bool:
    """Two polls: in what the bridge read in them, and in what people are shown of them."""
    if not _is_worded_as(one, other):
        return False
    return one.digest == other.digest or answers.get(one.digest, one.digest) == answers.get(other.digest, other.digest)


def _is_worded_as(one: Entry, other: Entry) -> bool:
    polls = one.kind is other.kind is Kind.POLL
    return polls and (one.title, one.detail, one.leg) == (other.title, other.detail, other.leg)


def _counted(entry: Entry) -> Entry:
    """The title of what happened several times."""
    if entry.until is None:
        return entry
    asked, _, said = entry.title.partition(": ")
    return replace(entry, title=f"{asked} {entry.count} times, until {clock_time(entry.until, exact=True)}: {said}")


def _bounded(entries: list[Entry]) -> Line:
    if len(entries) <= AT_MOST:
        return Line(tuple(entries))
    first = AT_MOST // 5
    kept = (*entries[:first], *entries[first - AT_MOST :])
    return Line(kept, len(entries) - AT_MOST, first)
