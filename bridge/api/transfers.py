"""Routes of transfers: begin, look, page, history, cancel."""

from __future__ import annotations

from flask import Response
from flask_openapi.blueprint import APIBlueprint

from bridge import idempotency
from bridge.api import cancelling, placing, waiting
from bridge.api.answers import document, history, replies, views
from bridge.api.intake.admission import Call, admits, require_fit
from bridge.api.intake.wishes import (
    EmptyBody,
    KeyHeader,
    PageQuery,
    TransferBody,
    TransferHeader,
    TransferPath,
    TransferQuery,
)
from bridge.idempotency import Key
from bridge.keys import Scope
from bridge.transfers import resolve, stories
from bridge.transfers.begin import Wish

room = APIBlueprint(
    "transfers", __name__, url_prefix="/v1/transfers", abp_tags=[document.TRANSFERS], abp_security=document.BEARER
)

_SAID = ("Location", "Idempotent-Replayed", "Preference-Applied")


@room.post("", responses=document.answers({201: views.TransferView, 202: views.TransferView}, document.MONEY, *_SAID))
@admits(Scope.TRANSFERS, confirms=True, timely=True)
def begin_transfer(call: Call, header: TransferHeader, body: TransferBody) -> Response:
    """Begin a transfer, or find the one that this key began: 201 when it has ended, 202 while it is pending."""
    preference = waiting.preferred(header.prefer, call.runtime.config.web.wait_seconds)
    key = Key(call.operator_id, idempotency.TRANSFER, header.idempotency_key)
    wish = Wish(body.player_id, body.provider, body.direction, body.amount, body.currency)
    return placing.place(call, key, wish, preference)


@room.get("", responses=document.answers({200: views.TransferPage}, document.READING))
@admits(Scope.READ)
def page_transfers(call: Call, query: PageQuery) -> Response:
    """Transfers, newest first, a page at a time."""
    filters = {name: getattr(query, name) for name in ("state", "provider", "player_id")}
    given = {name: value for name, value in filters.items() if value is not None}
    page = stories.page(call.runtime, call.operator_id, given, query.cursor, query.limit)
    shown = [views.transfer(story, call.runtime.currencies) for story in page.stories]
    return replies.show(views.TransferPage(shown, page.cursor))


@room.get("/<transfer_id>", responses=document.answers({200: views.TransferView}, document.READING_ONE))
@admits(Scope.READ)
def show_transfer(call: Call, path: TransferPath, query: TransferQuery) -> Response:
    """One transfer as it stands; `refresh=true` asks the provider first, unless a worker is at it already."""
    story = stories.one(call.runtime, call.operator_id, path.transfer_id)
    if query.refresh == "true":
        require_fit(call.runtime, timely=True)
        until = call.runtime.clock.monotonic() + call.runtime.config.web.wait_seconds
        resolve.refresh(call.runtime, path.transfer_id, until)
        story = stories.one(call.runtime, call.operator_id, path.transfer_id)
    return replies.show(views.transfer(story, call.runtime.currencies))


@room.get("/<transfer_id>/history", responses=document.answers({200: history.Story}, document.READING_ONE))
@admits(Scope.READ)
def show_history(call: Call, path: TransferPath) -> Response:
    """Everything that happened to one transfer, oldest first."""
    currency = stories.one(call.runtime, call.operator_id, path.transfer_id).row["currency"]
    entries = stories.history(call.runtime, call.operator_id, path.transfer_id)
    return replies.show(history.story(path.transfer_id, entries, currency, call.runtime.currencies))


@room.post(
    "/<transfer_id>/cancel",
    request_body=document.OPTIONAL_OBJECT,
    responses=document.answers(
        {200: views.TransferView, 202: views.TransferView}, (*document.MONEY, 404), "Idempotent-Replayed"
    ),
)
@admits(Scope.TRANSFERS, timely=True)
def cancel_transfer(call: Call, path: TransferPath, header: KeyHeader, body: EmptyBody) -> Response:
    """Wish a transfer cancelled: 200 when it is reversed now, 202 when the wish is stored, 409 when it has ended."""
    key = Key(call.operator_id, idempotency.CANCEL, header.idempotency_key)
    return cancelling.cancel(call.runtime, key, path.transfer_id, body.model_dump())
