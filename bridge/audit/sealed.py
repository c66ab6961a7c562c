"""What is sealed: which columns of which tables, whose they are, and in which order rows are looked at.

Where the database numbers the rows of a table, their number is their place. What has no number is sealed at the place
of the row that the same transaction wrote and that names it: a transfer and its requests at their moves in the history,
a decision at its evidence, a movement of cash at its posting. An operator's events have numbers of their own; proposals
and verdicts, of which people make few, are looked at in the order of their times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sqlalchemy import Boolean, Connection, Row, TextClause, text

from bridge import models
from bridge.audit.canon import Place, Unreadable, listed, row_hash

FORMAT = 1
"""Which columns are sealed, and how: there is one format so far, and a seal of any other is a finding. A column that is
added to a table below, and is empty in every row of before, stands among LATER and needs no new format. Whoever changes
anything else of a table makes it 2, and has the inspection read rows under a seal of 1 by the columns of 1. A table
that is sealed from some day on needs none either, for its runs begin with what is there then."""

COLUMNS: dict[str, tuple[str, ...]] = {
    "posting": (
        "id", "operator_id", "player_id", "transfer_id", "cash_movement_id", "version", "debit", "credit", "amount",
        "currency", "debit_version", "credit_version", "at"),
    "evidence": (
        "id", "transfer_id", "ordinal", "provider", "source", "step", "attempt", "answer", "code", "detail", "amount",
        "currency", "player", "side", "reference", "provider_reference", "provider_time", "balance",
        "attempt_sensitive", "digest", "at", "worker", "lease_epoch", "sequence", "requested", "watermark",
        "inbox_id", "sent", "received"),
    "history": (
        "id", "transfer_id", "version", "subject", "trigger", "source", "target", "reason", "evidence_id", "actor",
        "lease_epoch", "at"),
    "transfer": (
        "id", "operator_id", "player_id", "provider", "direction", "amount", "currency", "idempotency_key",
        "created_at", "sweep"),
    "attempt": (
        "transfer_id", "ordinal", "attempt", "step", "sent_at", "wire_until", "lease_owner", "lease_epoch"),
    "decision": (
        "id", "transfer_id", "kind", "arrived", "returned", "maker", "checker", "reason", "watermark", "decided_at"),
    "cash_movement": (
        "id", "operator_id", "player_id", "kind", "amount", "currency", "idempotency_key", "created_at"),
    "inbox": (
        "id", "provider", "message_id", "kind", "reference", "body", "digest", "peer", "sent_at", "received_at"),
    "security_event": ("id", "kind", "provider", "peer", "detail", "digest", "at"),
    "event": (
        "operator_id", "sequence", "id", "kind", "transfer_id", "version", "body", "occurred_at", "numbered_at"),
    "delivery_try": ("id", "delivery_id", "at", "status", "failure", "milliseconds"),
    "access_note": (
        "id", "at", "operator_id", "person_id", "login", "kind", "outcome", "subject", "reason", "before", "after",
        "address"),
    "proposal": (
        "id", "operator_id", "transfer_id", "kind", "arrived", "returned", "reason", "maker_id", "needs", "version",
        "seen", "postings", "batch", "created_at", "expires_at"),
    "verdict": ("proposal_id", "person_id", "maker_id", "approves", "reason", "at"),
}  # fmt: skip
"""Every table that is sealed, and its sealed columns."""

LATER = {"evidence": 2}
"""So many of these, at the end, were added to a table that was sealed already. A row in which all of them are empty has
the hash that it had without them, so what was sealed before stands; one that holds anything there has another hash."""

CHANGES: dict[str, tuple[str, ...]] = {
    "transfer": (
        "state", "version", "reason_code", "reason_detail", "updated_at", "settled_at", "orphan_at",
        "cancel_requested_at", "wake_at", "lease_owner", "lease_epoch", "failures", "dust", "arrived", "written_off",
        "rewound_at", "first_rewound_at", "moved_at", "quiet_from"),
    "proposal": ("state", "ended_at", "ended_why", "decision_id"),
}  # fmt: skip
"""Columns that change in the course of things and are not sealed: what moves them is (history, verdicts, decisions).
`orphan_at` does not change, and the legs, of which much does not, are in no list at all: `bridge verify` compares legs
with what is sealed, and asks that `orphan_at` be no further from the sealed begin than patience can be
(bridge/transfers/invariants.py)."""

MEANT = {"transfer.amount": "CASE WHEN x.sweep IS NULL THEN x.amount END"}
"""Columns of which a part is sealed: the amount of a sweep is counted later, and each count stands in the history."""


def _is_plain(part: object) -> bool:
    return isinstance(part, int | str)


_TRANSFERS = " LEFT JOIN transfer o ON o.id = x.transfer_id"
_OF_TRANSFER, _OWN, _NOBODY = "COALESCE(o.operator_id, 0)", "COALESCE(x.operator_id, 0)", "0"


@dataclass(frozen=True)
class Source:
    """One table as it is looked at: its rows are `x`, its statement's words are SQL.

    `place` orders the rows, `key` names one, `operator` is whose it is, `at` when it was written (microseconds).
    `scoped`: each operator's rows are numbered for themselves. `anchor`: the table at whose rows these are sealed,
    where that is another one, as it is called in `place`; `stray`: which of these stand without such a row.
    """

    name: str
    key: tuple[str, ...] = ("id",)
    place: tuple[str, ...] = ("x.id",)
    rows: str = ""
    whose: str = ""
    operator: str = _OWN
    at: str = "x.at"
    where: str = ""
    scoped: bool = False
    anchor: str = ""
    stray: str = ""
    values: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        table, rest = models.metadata.tables[self.name], [c for c in COLUMNS[self.name] if c not in self.key]
        shown = [MEANT.get(f"{self.name}.{name}", f'x."{name}"') for name in rest]
        # A truth is a number on one database and a word of its own on the other.
        booleans = {name for name in rest if isinstance(table.columns[name].type, Boolean)}
        as_number = "CASE WHEN {0} THEN 1 WHEN NOT {0} THEN 0 END"
        listed = (as_number.format(each) if n in booleans else each for n, each in zip(rest, shown, strict=True))
        object.__setattr__(self, "values", tuple(listed))  # frozen, and told by its own columns
        object.__setattr__(self, "rows", self.rows or f'"{self.name}" x')

    def hash_of(self, values: Sequence[Any]) -> bytes:
        """The hash of a row by its sealed columns, its key left out."""
        before = len(values) - LATER.get(self.name, 0)
        return row_hash(values if any(each is not None for each in values[before:]) else values[:before])

    def read_place(self, text: str | None) -> Place:
        """A place of this table, as a seal or a mark says it. Raises Unreadable for what no row of it can have."""
        place = listed(text)
        if place:
            number, *rest = place
            fits = isinstance(number, int | float) and not isinstance(number, bool) and abs(number) < 1 << 63
            if not fits or len(place) != len(self.place) or not all(isinstance(part, str) for part in rest):
                raise Unreadable
        return place

    def read_keys(self, content: str) -> list[tuple[tuple[Any, ...], str]]:
        """(the key, the beginning of its hash) of each row that a seal of this table lists. Raises Unreadable."""
        found = listed(content)
        for each in found:
            if not isinstance(each, list) or len(each) != len(self.key) + 1 or not all(map(_is_plain, each)):
                raise Unreadable
        return [(tuple(each[:-1]), each[-1]) for each in found]


SOURCES = (
    Source("posting"),
    Source("evidence", whose=_TRANSFERS, operator=_OF_TRANSFER),
    Source("history", whose=_TRANSFERS, operator=_OF_TRANSFER),
    Source(
        "transfer", place=("h.id",), anchor="history h", rows="history h JOIN transfer x ON x.id = h.transfer_id",
        at="x.created_at",
        where="h.subject = 'transfer' AND h.\"trigger\" = 'begin'",
        stray="NOT EXISTS (SELECT 1 FROM history h WHERE h.transfer_id = x.id AND h.subject = 'transfer' "
              "AND h.\"trigger\" = 'begin')"),
    Source(
        "attempt", key=("transfer_id", "ordinal", "attempt"), place=("h.id",), anchor="history h", at="x.sent_at",
        rows="history h JOIN attempt x ON x.transfer_id = h.transfer_id AND h.subject = 'leg ' || x.ordinal "
             "AND h.reason LIKE '%, attempt ' || x.attempt",
        where="h.\"trigger\" IN ('send', 'resend')", whose=_TRANSFERS, operator=_OF_TRANSFER,
        stray="NOT EXISTS (SELECT 1 FROM history h WHERE h.transfer_id = x.transfer_id "
              "AND h.\"trigger\" IN ('send', 'resend') AND h.subject = 'leg ' || x.ordinal "
              "AND h.reason LIKE '%, attempt ' || x.attempt)"),
    Source(
        "decision", place=("e.id",), anchor="evidence e", at="x.decided_at", where="e.source = 'person'",
        rows="evidence e JOIN decision x ON x.transfer_id = e.transfer_id AND x.watermark = e.watermark",
        whose=_TRANSFERS, operator=_OF_TRANSFER,
        stray="NOT EXISTS (SELECT 1 FROM evidence e WHERE e.transfer_id = x.transfer_id AND e.source = 'person' "
              "AND e.watermark = x.watermark)"),
    Source(
        "cash_movement", place=("p.id",), anchor="posting p",
        rows="posting p JOIN cash_movement x ON x.id = p.cash_movement_id", at="x.created_at",
        stray="NOT EXISTS (SELECT 1 FROM posting p WHERE p.cash_movement_id = x.id)"),
    Source("inbox", operator=_NOBODY, at="x.received_at"),
    Source("security_event", operator=_NOBODY),
    Source(
        "event", key=("operator_id", "sequence"), place=("x.sequence",), at="x.numbered_at", scoped=True,
        where="x.operator_id = :scope"),
    Source(
        "delivery_try", whose=" LEFT JOIN delivery o ON o.id = x.delivery_id", operator=_OF_TRANSFER),
    Source("access_note"),
    Source("proposal", place=("x.created_at", "x.id"), at="x.created_at"),
    Source(
        "verdict", key=("proposal_id", "person_id"), place=("x.at", "x.proposal_id", "x.person_id"),
        whose=" LEFT JOIN proposal o ON o.id = x.proposal_id", operator=_OF_TRANSFER),
)  # fmt: skip

BY_NAME = {source.name: source for source in SOURCES}


def scopes(connection: Connection, source: Source) -> list[int]:
    """The scopes in which a table's rows are looked at: 0, or each operator whose rows have numbers of their own."""
    if not source.scoped:
        return [0]
    return list(connection.execute(text("SELECT operator_id FROM event_head ORDER BY operator_id")).scalars())


@dataclass(frozen=True)
class Between:
    """Rows of a table behind `after` and up to `upto` (None: to the end), of one scope."""

    source: Source
    scope: int
    after: Place
    upto: Place | None = None

    def rows(self, connection: Connection, limit: int) -> Sequence[Row[Any]]:
        """At most so many, in their order: the place, the operator, the key, the other sealed columns."""
        given = {**self._given, "limit": limit}
        return connection.execute(_rows(connection.dialect.name, *self._shape), given).all()

    def count(self, connection: Connection) -> tuple[int, int | None]:
        """(how many, when the oldest of them was written)."""
        number, oldest = connection.execute(_count(connection.dialect.name, *self._shape), self._given).one()
        return int(number), _instant(oldest)

    def oldest(self, connection: Connection) -> int | None:
        """When the first of them was written; None where there is none."""
        return _instant(connection.execute(_oldest(connection.dialect.name, *self._shape), self._given).scalar())

    def last(self, connection: Connection) -> Place | None:
        """The last place at which there may be a row; None where there is none."""
        found = connection.execute(_last(connection.dialect.name, *self._shape), self._given).first()
        return None if found is None else list(found)

    @property
    def _shape(self) -> tuple[Source, bool, bool]:
        return self.source, bool(self.after), self.upto is not None

    @property
    def _given(self) -> dict[str, Any]:
        given: dict[str, Any] = {"scope": self.scope} if self.source.scoped else {}
        given |= {f"after{number}": part for number, part in enumerate(self.after)}
        return given | {f"upto{number}": part for number, part in enumerate(self.upto or ())}


def _instant(value: Any) -> int | None:
    """A time; on SQLite a row may have been made to hold a word for it, and that is none."""
    return value if isinstance(value, int) else None


@cache
def _rows(dialect: str, source: Source, begun: bool, ends: bool) -> TextClause:
    keys = (f'x."{name}"' for name in source.key)
    listed = ", ".join([*source.place, source.operator, *keys, *source.values])
    order = ", ".join(_ordered(dialect, source))
    return text(
        f"SELECT {listed} FROM {source.rows}{source.whose} {_where(dialect, source, begun, ends)} "  # noqa: S608 - ours
        f"ORDER BY {order} LIMIT :limit"
    )


@cache
def _count(dialect: str, source: Source, begun: bool, ends: bool) -> TextClause:
    where = _where(dialect, source, begun, ends)
    return text(f"SELECT COUNT(*), MIN({source.at}) FROM {source.rows} {where}")  # noqa: S608 - words of our own


@cache
def _last(dialect: str, source: Source, begun: bool, ends: bool) -> TextClause:
    order = ", ".join(f"{each} DESC" for each in _ordered(dialect, source))
    rows, where = source.anchor or source.rows, _where(dialect, source, begun, ends, at_all=bool(source.anchor))
    return text(f"SELECT {', '.join(source.place)} FROM {rows} {where} ORDER BY {order} LIMIT 1")  # noqa: S608 - ours


@cache
def _oldest(dialect: str, source: Source, begun: bool, ends: bool) -> TextClause:
    order, where = ", ".join(_ordered(dialect, source)), _where(dialect, source, begun, ends)
    return text(f"SELECT {source.at} FROM {source.rows} {where} ORDER BY {order} LIMIT 1")  # noqa: S608 - ours


def _where(dialect: str, source: Source, begun: bool, ends: bool, *, at_all: bool = False) -> str:
    """`at_all`: every row of the table at which these are sealed counts, whether it has one of these or not."""
    ordered = ", ".join(_ordered(dialect, source))
    conditions = [source.where] if source.where and not at_all else []
    for given, sign, name in ((begun, ">", "after"), (ends, "<=", "upto")):
        if given:
            values = ", ".join(f":{name}{number}" for number in range(len(source.place)))
            conditions.append(f"({ordered}) {sign} ({values})")
            if len(source.place) > 1:  # by which an index on the first column is found
                conditions.append(f"{source.place[0]} {sign.rstrip('=')}= :{name}0")
    return f"WHERE {' AND '.join(conditions)}" if conditions else ""


def _ordered(dialect: str, source: Source) -> list[str]:
    """Texts in the order of their bytes, which is SQLite's own: the one in which Python compares them too."""
    first, *others = source.place
    return [first, *(f'{each} COLLATE "C"' for each in others)] if dialect == "postgresql" else [*source.place]
