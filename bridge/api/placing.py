"""One transfer request, from its key to its answer.

The first request begins and drives the transfer; a repetition finds it by its key. Whoever meets the end
first keeps the answer with the key, and everybody after gets those bytes (I-21). Nothing is kept while the
end is not known, and nothing is ever kept of an error of ours (C-49).
"""

from __future__ import annotations

from functools import partial

from flask import Response

from bridge import db, idempotency, log, traces
from bridge.api import waiting
from bridge.api.answers import replies, views
from bridge.api.intake.admission import Call
from bridge.api.waiting import Preference
from bridge.errors import InFlight
from bridge.idempotency import Key, Stored
from bridge.runtime import Runtime
from bridge.transfers import stories
from bridge.transfers.begin import Begun, Wish, begin, begin_plainly
from bridge.transfers.drive import drive
from bridge.transfers.ending import Closing
from bridge.transfers.rows import Story
from statemachines import TransferState

CREATED, ACCEPTED = 201, 202


def place(call: Call, key: Key, wish: Wish, preference: Preference) -> Response:
    """Answer 201 when the transfer has ended, 202 while it is pending, or what the key got before.

    Raises InFlight while another request with this key drives it and no `wait` was asked for.
    """
    assert key.operation == idempotency.TRANSFER
    runtime = call.runtime
    asked_at, until = runtime.clock.now(), runtime.clock.monotonic() + preference.seconds
    begun = _begun(call, key, wish, preference)
    stored = begun.stored
    if stored is not None and stored.response is not None:
        return _told_again(runtime, key, stored, asked_at)
    assert begun.transfer_id is not None
    log.about(begun.transfer_id)  # until the request has ended, also where it fails
    traces.link(begun.transfer_id)
    if begun.outcome is not None:
        closing = Closing(key, CREATED, partial(_text, runtime))
        ended = drive(runtime, begun.outcome, ask_until=until, closing=closing)
        if ended.answer:
            return _applied(_located(replies.reply(ended.answer, CREATED), begun.transfer_id), preference)
    elif not preference.said_wait:
        until = runtime.clock.monotonic()  # a repetition looks, and waits only if it was told to
    if stored is not None and not stored.answered and not preference.said_wait:
        _refuse_while_driven(runtime, key, begun.transfer_id)
    story = waiting.for_end(runtime, key.operator_id, begun.transfer_id, until)
    response = _applied(_answer(runtime, key, story), preference)
    return response if stored is None else replies.replayed(response)


def _begun(call: Call, key: Key, wish: Wish, preference: Preference) -> Begun:
    """Begin in one statement, in which the caller's key is confirmed too; else look the key up, and go the long way."""
    begun = None if preference.queued else begin_plainly(call.runtime, key, wish, call.caller)
    if begun is not None:
        return begun
    call.confirm()
    return begin(call.runtime, key.operator_id, key.text, wish, queued=preference.queued, plainly=False)


def _applied(response: Response, preference: Preference) -> Response:
    if preference.applied:
        response.headers["Preference-Applied"] = preference.applied
    return response


def _text(runtime: Runtime, story: Story) -> str:
    return replies.text(views.transfer(story, runtime.currencies))


def _told_again(runtime: Runtime, key: Key, stored: Stored, asked_at: int) -> Response:
    response = replies.kept(stored)
    if stored.subject_id is not None:
        return replies.replayed(_located(response, stored.subject_id))
    return replies.replayed(response) if replies.known_before(runtime, key, asked_at) else response


def _refuse_while_driven(runtime: Runtime, key: Key, transfer_id: str) -> None:
    row = stories.one(runtime, key.operator_id, transfer_id).row
    live = row["lease_owner"] is not None and row["wake_at"] is not None and row["wake_at"] > runtime.clock.now()
    if live and row["state"] == TransferState.PENDING:
        raise InFlight(after_seconds=1, transfer_id=transfer_id)


def _answer(runtime: Runtime, key: Key, story: Story) -> Response:
    body, transfer_id = _text(runtime, story), story.row["id"]
    if story.row["state"] != TransferState.PENDING:
        return _located(replies.first_answer(runtime, key, CREATED, body), transfer_id)
    with db.writing(runtime.engine) as connection:
        idempotency.mark_answered(connection, key)
    return _located(replies.reply(body, ACCEPTED), transfer_id)


def _located(response: Response, transfer_id: str) -> Response:
    response.headers["Location"] = f"/v1/transfers/{transfer_id}"
    return response
