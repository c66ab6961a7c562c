"""One recall request: everything of a player home, told sweep by sweep.

Its key is kept with the answer once every sweep has ended; before that a repetition goes on where it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response

from bridge import db, idempotency
from bridge.api import waiting
from bridge.api.answers import replies, views
from bridge.api.waiting import Preference
from bridge.idempotency import Key
from bridge.runtime import Runtime
from bridge.transfers.recall import Found, Swept, places_of, recall
from statemachines import TransferState

ENDED, GOING_ON = 200, 202


def call_home(runtime: Runtime, key: Key, player_id: str, body: Mapping[str, Any], preference: Preference) -> Response:
    """Answer 200 when every sweep has ended, 202 while one is pending or a balance could not be read.

    Raises NotFound and KeyReused; nothing is stored then.
    """
    asked = {"player_id": player_id, **body}
    with db.reading(runtime.engine) as connection:
        stored = idempotency.find(connection, key, asked)
    if stored is not None and stored.response is not None:
        return replies.replayed(replies.kept(stored))
    until = runtime.clock.monotonic() + preference.seconds
    places = places_of(runtime, key.operator_id, player_id)
    with db.writing(runtime.engine) as connection:
        idempotency.take(connection, key, asked, None, runtime.clock.now())
    swept = recall(runtime, key, player_id, places, until)
    response = _told(runtime, key, player_id, swept, until)
    if preference.applied:
        response.headers["Preference-Applied"] = preference.applied
    return response if stored is None else replies.replayed(response)


def _told(runtime: Runtime, key: Key, player_id: str, swept: list[Swept], until: float) -> Response:
    shown, ended = [], True
    for sweep in swept:
        transfer = None
        if sweep.transfer_id is not None:
            story = waiting.for_end(runtime, key.operator_id, sweep.transfer_id, until)
            transfer = views.transfer(story, runtime.currencies)
        pending = transfer is not None and transfer.state is TransferState.PENDING
        ended = ended and not pending and sweep.found is not Found.UNREAD
        shown.append(views.SweepView(sweep.provider, sweep.currency, sweep.found.value, transfer))
    body = replies.text(views.RecallView(player_id, shown))
    if ended:
        return replies.first_answer(runtime, key, ENDED, body)
    with db.writing(runtime.engine) as connection:
        idempotency.mark_answered(connection, key)
    return replies.reply(body, GOING_ON)
