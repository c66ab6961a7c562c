"""Restate: a durable handler with one durable step, served by hypercorn as its documentation has it; the door is the
server's own ingress, which knows the header Idempotency-Key.

The application is `benchmarks.apps.restate_service:app`.
"""

from __future__ import annotations

import os
from typing import Any

import aiohttp
import restate

PROVIDER = os.environ["BENCH_PROVIDER"]
_session: list[aiohttp.ClientSession] = []

transfers = restate.Service("transfers")


def _wire() -> aiohttp.ClientSession:
    """One session a process, made inside of its loop."""
    if not _session:
        connector = aiohttp.TCPConnector(limit=int(os.environ["BENCH_THREADS"]))
        _session.append(aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=10)))
    return _session[0]


async def ask(content: dict[str, str]) -> str:
    """The request, as a step: done again after a crash before its result was stored."""
    async with _wire().post(PROVIDER, json={"type": "transfer.create", "data": content}) as answer:
        told: dict[str, Any] = await answer.json()
    return str(told["status"])


@transfers.handler()
async def move(context: restate.Context, wish: dict[str, str]) -> dict[str, str]:
    """One transfer."""
    key = context.request().headers["x-request-id"]  # the same key: the ingress keeps the other header to itself
    content = {"id": key, "player": wish["player_id"], "direction": wish["direction"],
               "amount": wish["amount"], "currency": wish["currency"]}  # fmt: skip
    state = await context.run_typed("ask", ask, content=content)
    return {"id": key, "state": state}


app = restate.app([transfers])
