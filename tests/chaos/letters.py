"""Signed messages of docs/provider-contract.md, by code of their own: callbacks to us, and a packet that comes late."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Mapping
from typing import Any

from tests.chaos.books import Record
from tests.chaos.client import Door, Reply
from tests.chaos.settings import CALLBACKS, CURRENCY, REQUESTS, SIGNED
from tests.chaos.simulators import Simulator

TOLD = {"confirmed": "transfer.confirmed", "cancelled": "transfer.cancelled"}


def tell(door: Door, record: Record, status: str, sequence: int) -> None:
    """A callback about a transfer, delivered to a bridge that is there."""
    content = {**_named(record), "provider_id": "W-told", "status": status, "sequence": sequence,
               "time": "2026-01-01T00:00:00Z", "balance": "0.00"}  # fmt: skip
    path = f"/v1/providers/{SIGNED}/callbacks"
    reply = _post(door, path, CALLBACKS, f"evt_{uuid.uuid4().hex}", TOLD[status], content)
    assert reply.status == 200, reply


def late_packet(simulator: Simulator, record: Record) -> None:
    """The request of a transfer that nobody waits for any more reaches its provider after all."""
    address, _, path = simulator.address.removeprefix("http://").partition("/")
    name = f"create_{record.reference}"
    reply = _post(Door(address), f"/{path}", REQUESTS, name, "transfer.create", _named(record))
    assert (reply.status, reply.body["status"]) == (200, "confirmed"), reply


def _named(record: Record) -> dict[str, str]:
    amount = f"{record.amount // 100}.{record.amount % 100:02}"
    return {"id": record.reference, "player": record.player, "direction": record.direction, "amount": amount,
            "currency": CURRENCY}  # fmt: skip


def _post(door: Door, path: str, secret: str, name: str, kind: str, content: Mapping[str, Any]) -> Reply:
    message, stamp = {"type": kind, "data": content}, str(int(time.time()))
    signed = f"{name}.{stamp}.{json.dumps(message)}".encode()  # the very bytes that the door writes
    code = hmac.new(base64.b64decode(secret.removeprefix("whsec_")), signed, hashlib.sha256).digest()
    signature = "v1," + base64.b64encode(code).decode()
    return door.ask("POST", path, message, webhook_id=name, webhook_timestamp=stamp, webhook_signature=signature)
