"""One cancel request, from its key to its answer.

The wish itself is the same however often it is stored, so the key only has to keep the end: what was
answered once, 200 or 409, is answered for ever. A key names one transfer; another one under it is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response

from bridge import db, idempotency, problems
from bridge.api.answers import replies, views
from bridge.errors import AlreadyFinal
from bridge.idempotency import Key, Stored
from bridge.runtime import Runtime
from bridge.transfers import cancel as wishing
from bridge.transfers import stories
from statemachines import TransferState

CANCELLED, REQUESTED = 200, 202


def cancel(runtime: Runtime, key: Key, transfer_id: str, body: Mapping[str, Any]) -> Response:
    """Answer 200 when the transfer is reversed now, 202 when the wish is stored, 409 when it had ended.

    Raises NotFound (nothing is stored, not even the key) and KeyReused.
    """
    stories.one(runtime, key.operator_id, transfer_id)
    stored = _take(runtime, key, transfer_id, body)
    if stored is not None and stored.response is not None:
        return replies.replayed(replies.kept(stored))
    response = _wish(runtime, key, transfer_id, wished_before=stored is not None)
    return response if stored is None else replies.replayed(response)


def _take(runtime: Runtime, key: Key, transfer_id: str, body: Mapping[str, Any]) -> Stored | None:
    wish = {"transfer_id": transfer_id, **body}
    with db.writing(runtime.engine) as connection:
        return idempotency.take(connection, key, wish, transfer_id, runtime.clock.now())


def _wish(runtime: Runtime, key: Key, transfer_id: str, *, wished_before: bool) -> Response:
    try:
        wishing.cancel(runtime, key.operator_id, transfer_id)
    except AlreadyFinal as refusal:
        story = stories.one(runtime, key.operator_id, transfer_id)
        if not (wished_before and story.row["state"] == TransferState.REVERSED):
            return replies.first_answer(runtime, key, refusal.status, problems.render(refusal))
    story = stories.one(runtime, key.operator_id, transfer_id)
    body = replies.text(views.transfer(story, runtime.currencies))
    if story.row["state"] == TransferState.REVERSED:
        return replies.first_answer(runtime, key, CANCELLED, body)
    return replies.reply(body, REQUESTED)
