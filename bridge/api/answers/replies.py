"""Answers as bytes: JSON by orjson, first answers kept with their key, kept answers told again unchanged."""

from __future__ import annotations

from typing import Any

import orjson
from flask import Response

from bridge import db, idempotency, models
from bridge.idempotency import Key, Stored
from bridge.runtime import Runtime

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"
REPLAYED = "Idempotent-Replayed"

_KEY = models.metadata.tables["idempotency_key"]
_FIRST_ERROR_STATUS = 400


def text(view: Any) -> str:
    """A view as JSON text, fields in the order of their declaration."""
    return orjson.dumps(view).decode()


def reply(body: str, status: int = 200) -> Response:
    """An answer with this JSON text; a problem document when the status is one of an error."""
    mimetype = PROBLEM_JSON if status >= _FIRST_ERROR_STATUS else JSON
    return Response(body, status, content_type=mimetype)


def show(view: Any, status: int = 200) -> Response:
    """An answer with this view."""
    return reply(text(view), status)


def first_answer(runtime: Runtime, key: Key, status: int, body: str) -> Response:
    """Keep a final answer with its key and give it; whoever comes second gives the bytes of the first."""
    with db.writing(runtime.engine) as connection:
        stored = idempotency.remember(connection, key, status, body)
    return kept(stored)


def kept(stored: Stored) -> Response:
    """The answer that a key has got for ever."""
    assert stored.response is not None
    assert stored.status is not None
    return reply(stored.response, stored.status)


def replayed(response: Response) -> Response:
    """Say that the request was known already and did nothing now."""
    response.headers[REPLAYED] = "true"
    return response


def known_before(runtime: Runtime, key: Key, instant: int) -> bool:
    """Whether the key was first used before `instant`: a pinned refusal is a replay only then."""
    query = _KEY.select().where(
        _KEY.c.operator_id == key.operator_id, _KEY.c.operation == key.operation, _KEY.c.key == key.text
    )
    with db.reading(runtime.engine) as connection:
        row = connection.execute(query).mappings().one()
    return bool(row["created_at"] < instant)
