"""Idempotency keys: one key, one operation, one effect, for ever (I-20 to I-26).

The key's row is inserted in the transaction of its effect. The stored body holds the client's own
fields alone, so nothing that we mint can make an honest repetition look different.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, Table, bindparam, select, update

from bridge import db, models, problems
from bridge.errors import Declined, KeyReused

_key: Table = models.metadata.tables["idempotency_key"]

_IS = (
    _key.c.operator_id == bindparam("of_operator"),
    _key.c.operation == bindparam("of_operation"),
    _key.c.key == bindparam("of_key"),
)
_FOUND = select(_key).where(*_IS)
_FIRST_ANSWER = update(_key).where(*_IS, _key.c.status.is_(None)).values(answered=True)
_ANSWERED = update(_key).where(*_IS, _key.c.answered.is_(False)).values(answered=True)


TRANSFER, CANCEL, RECALL = "transfer", "cancel", "recall"
"""The operations of transfers: a key stands for one, or, of a recall, for all of its sweeps; the cashier's have names
of their own."""


@dataclass(frozen=True)
class Key:
    """A client's key within one operator and one operation."""

    operator_id: int
    operation: str
    text: str


@dataclass(frozen=True)
class Stored:
    """What a key stands for already; `status` and `response` once an end was answered."""

    subject_id: str | None
    answered: bool
    status: int | None
    response: str | None


def take(connection: Connection, key: Key, body: Mapping[str, Any], subject_id: str | None, now: int) -> Stored | None:
    """Take the key for `subject_id`: None when this call got it, else what it stands for.

    Raises KeyReused, naming the fields that differ, when it was first used with another body.
    """
    row = {
        "operator_id": key.operator_id,
        "operation": key.operation,
        "key": key.text,
        "body": canonical(body),
        "subject_id": subject_id,
        "answered": False,
        "created_at": now,
    }
    if db.insert_if_absent(connection, _key, row):
        return None
    return find(connection, key, body)


def find(connection: Connection, key: Key, body: Mapping[str, Any]) -> Stored | None:
    """What a key stands for, None if it is new; raises KeyReused."""
    row = connection.execute(_FOUND, _which(key)).mappings().first()
    if row is None:
        return None
    first = orjson.loads(row["body"])
    differing = sorted(name for name in {*first, *body} if first.get(name) != body.get(name))
    if differing:
        fields = dict.fromkeys(differing, "differs from the body this key was first used with")
        about_transfers = key.operation in (TRANSFER, CANCEL)
        raise KeyReused(fields=fields, transfer_id=row["subject_id"] if about_transfers else None)
    return Stored(row["subject_id"], row["answered"], row["status"], row["response"])


def remember(connection: Connection, key: Key, status: int, response: str) -> Stored:
    """Keep the first final answer; whoever comes second gets the bytes of the first."""
    connection.execute(_FIRST_ANSWER, {**_which(key), "status": status, "response": response})
    row = connection.execute(_FOUND, _which(key)).mappings().one()
    return Stored(row["subject_id"], True, row["status"], row["response"])


def pin(engine: Engine, key: Key, body: Mapping[str, Any], refusal: Declined, now: int) -> Stored:
    """Keep a refusal with its key for ever, even if it would be granted later (I-23); what another request
    with this key got meanwhile counts instead."""
    with db.writing(engine) as connection:
        stored = take(connection, key, body, None, now)
        return stored or remember(connection, key, refusal.status, problems.render(refusal))


def mark_answered(connection: Connection, key: Key) -> None:
    """An answer that is not final leaves now: a repetition is no longer in flight."""
    connection.execute(_ANSWERED, _which(key))


def _which(key: Key) -> dict[str, Any]:
    return {"of_operator": key.operator_id, "of_operation": key.operation, "of_key": key.text}


def canonical(body: Mapping[str, Any]) -> str:
    """A body as it is kept with its key."""
    return orjson.dumps(dict(body), option=orjson.OPT_SORT_KEYS).decode()
