"""The route of provider callbacks (docs/provider-contract.md §3): no key; an allowed address and a signature."""

from __future__ import annotations

from flask import Response, request
from flask_openapi.blueprint import APIBlueprint

from bridge import forwarded, inbox
from bridge.api.answers import document, replies
from bridge.api.answers.views import Received
from bridge.api.intake.admission import raw_json, require_fit, takes
from bridge.api.intake.wishes import CallbackHeader, CallbackPath
from bridge.inbox import Message
from bridge.runtime import Runtime

room = APIBlueprint(
    "callbacks", __name__, url_prefix="/v1/providers", abp_tags=[document.CALLBACKS], abp_security=document.SIGNED
)


@room.post(
    "/<provider>/callbacks",
    request_body=document.SIGNED_MESSAGE,
    responses=document.answers({200: Received}, document.CALLED_BACK),
)
@takes
def take_callback(runtime: Runtime, path: CallbackPath, header: CallbackHeader) -> Response:
    """A provider tells us something: stored once, answered 200, and acted on afterwards.

    The answer is the same whether what it names is known or not.
    """
    told = request.headers.get("X-Forwarded-For", "")
    peer = forwarded.caller(runtime.config.web.proxy_hops, request.remote_addr, told)
    inbox.admit(runtime, path.provider, peer)  # before the body is read: a stranger must not hold a thread by it
    require_fit(runtime, timely=False)
    message = Message(header.id, header.timestamp, header.signature, raw_json())
    inbox.receive(runtime, path.provider, message, peer)
    return replies.show(Received(received=True))
