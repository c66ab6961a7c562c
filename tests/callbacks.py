"""A provider that calls back: its messages, signed by code of their own, and a bridge that is configured to hear them.

Two providers of two operators follow docs/provider-contract.md, and a third speaks another protocol. None of them
answers: what happens here happens by callbacks.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import Event
from typing import Any

from sqlalchemy import text

from bridge import db, inbox, keys, players
from bridge.config import Config, GenericSection, QTechSection
from bridge.inbox import Message
from bridge.models import metadata
from bridge.ports import SECOND
from bridge.sections import DatabaseSection, EngineSection, WebSection
from jobs import inbox as job
from tests.harness import ENGINE_TIMES, EUR, OPERATOR, PLAYER, PROVIDER, Bench, Hands, composed

RIVAL, OLD = "rival", "old"
REQUESTS = b"requests: from bridge to provider"
KEY, NEXT_KEY, RIVAL_KEY = (
    b"callbacks: from it to the bridge",
    b"callbacks: the one that follows.",
    b"callbacks: of the rival to it..",
)
NEAR, FAR = "203.0.113.7", "198.51.100.7"
"""An address inside the allowed network, and one outside of all."""

NETWORKS = ("203.0.113.0/24", "2001:db8::/32", "127.0.0.1/32")
UNKNOWN_REFERENCE = "019a8f3e2c417d3ab0c5d6e7f8091a2b2"


def secret(key: bytes) -> str:
    """As it stands in a configuration."""
    return "whsec_" + base64.b64encode(key).decode()


@dataclass(frozen=True)
class Letter:
    """One message as its provider sends it."""

    id: str
    timestamp: str
    signature: str
    body: bytes

    @property
    def headers(self) -> dict[str, str]:
        names = {"webhook-id": self.id, "webhook-timestamp": self.timestamp, "webhook-signature": self.signature}
        return {"Content-Type": "application/json", **names}

    @property
    def message(self) -> Message:
        return Message(self.id, self.timestamp, self.signature, self.body)


def signed(body: bytes, id_: str, at: int, *signing: bytes) -> Letter:
    """These bytes under this name, signed at a second with one key or more."""
    codes = (hmac.new(key, f"{id_}.{at}.".encode() + body, hashlib.sha256).digest() for key in signing)
    return Letter(id_, str(at), " ".join("v1," + base64.b64encode(code).decode() for code in codes), body)


def letter(kind: str, data: Any, at: int, *, id_: str = "evt_1", key: bytes = KEY) -> Letter:
    """A message of a kind, sent at an instant (microseconds)."""
    return signed(json.dumps({"type": kind, "data": data}).encode(), id_, at // SECOND, key)


def transfer(reference: str, status: str = "confirmed", sequence: int = 2, **changes: Any) -> dict[str, Any]:
    """What a callback tells about a transfer of 10.00 in, unless `changes` say otherwise."""
    told = {"id": reference, "player": PLAYER, "direction": "in", "amount": "10.00", "currency": EUR}
    told |= {"provider_id": "W-1", "status": status, "sequence": sequence, "time": "2026-09-21T14:13:20Z"}
    return {**told, "balance": "10.00", **changes}


def balance(amount: str, player: str = PLAYER, **changes: Any) -> dict[str, Any]:
    """What a callback tells about a balance."""
    return {"player": player, "currency": EUR, "amount": amount, "time": "2026-09-21T14:13:20Z", **changes}


def section(operator: str, address: str, *callback_keys: bytes, **settings: Any) -> GenericSection:
    """A provider that follows the contract and calls back."""
    told: dict[str, Any] = {"callback_networks": NETWORKS, "currencies": (EUR, "JPY"), "lane_policy": "allow"}
    told |= {"callback_secrets": tuple(secret(key) for key in callback_keys), "request_secret": secret(REQUESTS)}
    return GenericSection(operator=operator, protocol="generic", base_url=address, **{**told, **settings})


def configured(url: str, address: str = "http://127.0.0.1:9", *, hops: int = 0, **settings: Any) -> Config:
    """The three providers; `settings` are of the first one."""
    old = {"username": "demo", "password": "demo", "currencies": (EUR,)}
    return Config(
        database=DatabaseSection(url=url, busy_seconds=30),
        engine=EngineSection(**ENGINE_TIMES),
        web=WebSection(proxy_hops=hops),
        providers={
            PROVIDER: section(OPERATOR, address, KEY, **settings),
            RIVAL: section("rivals", "http://127.0.0.1:9/rival", RIVAL_KEY),
            OLD: QTechSection(operator=OPERATOR, protocol="qtech", base_url="http://127.0.0.1:9/old", **old),
        },
    )


@dataclass
class Office(Bench):
    """A bridge with an inbox."""

    def letter(self, kind: str, data: Any, **options: Any) -> Letter:
        """A message that is sent now."""
        return letter(kind, data, self.runtime.clock.now(), **options)

    def hear(self, sent: Letter, *, peer: str = NEAR, provider: str = PROVIDER) -> None:
        """Deliver it."""
        inbox.receive(self.runtime, provider, sent.message, peer)

    def told(self, kind: str, data: Any, *, provider: str = PROVIDER, **options: Any) -> None:
        """Deliver a message that is sent now."""
        options.setdefault("key", RIVAL_KEY if provider == RIVAL else KEY)
        self.hear(self.letter(kind, data, **options), provider=provider)

    def work(self, limit: int = 1000) -> dict[str, int]:
        """One tick of the job."""
        return job.run_once(self.runtime, self.runtime.clock.now(), limit, Event())

    def planned(self, direction: str = "in", **options: Any) -> tuple[str, str]:
        """A transfer that nobody has sent yet: its id, and its reference at the provider."""
        transfer_id = self.begin(direction, queued=True, **options).transfer_id
        assert transfer_id is not None
        return transfer_id, self.reference(transfer_id)

    def reference(self, transfer_id: str) -> str:
        return str(self.get(transfer_id).outside.reference)

    def tasks(self) -> list[tuple[str, str]]:
        """(state, reason) of every message, in the order in which they came."""
        return [(row["state"], row["reason"]) for row in self.rows("SELECT * FROM inbox_task ORDER BY inbox_id")]

    def count(self, table: str, where: str = "1 = 1") -> int:
        return int(self.rows(f"SELECT COUNT(*) AS n FROM {table} WHERE {where}")[0]["n"])

    def evidence(self) -> list[dict[str, Any]]:
        """What callbacks have proved or said, in the order in which it was stored."""
        return [dict(row) for row in self.rows("SELECT * FROM evidence WHERE source = 'callback' ORDER BY id")]

    def contents(self, *without: str) -> dict[str, list[str]]:
        """Every row of every table, to compare before and after."""
        tables = [table for table in metadata.sorted_tables if table.name not in without]
        with db.reading(self.runtime.engine) as connection:
            return {t.name: sorted(repr(row) for row in connection.execute(t.select())) for t in tables}

    def write(self, statement: str, **values: Any) -> None:
        """Change a row behind the bridge's back."""
        with db.writing(self.runtime.engine) as connection:
            connection.execute(text(statement), values)

    def with_config(self, config: Config) -> Office:
        """The same database under another configuration: the process was started anew."""
        other = composed(config, self.runtime.clock)
        return replace(self, runtime=other)


@contextmanager
def office(url: str, address: str = "http://127.0.0.1:9", *, clock: Any = None, **settings: Any) -> Iterator[Office]:
    """A bridge on the migrated database at `url`, its player with 1000.00, and the rival's operator with one too."""
    runtime = composed(configured(url, address, **settings), clock or Hands())
    made = Office(runtime, keys.add_operator(runtime, OPERATOR))
    made.player(PLAYER, "1000.00")
    players.register(runtime, keys.add_operator(runtime, "rivals"), PLAYER, [EUR])
    try:
        yield made
    finally:
        runtime.engine.dispose()
