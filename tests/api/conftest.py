"""One house per test: a bridge on a fresh database of each kind, the simulator behind it, and three callers —
Ann's operator, which may do everything it should; Rita, who may only read; Charlie, who must see nothing."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

from bridge import db, keys
from bridge.app import compose, create_app
from bridge.models import metadata
from bridge.ports import SECOND
from bridge.runtime import Runtime
from bridge.sections import WebSection
from bridge.transfers import resolve
from tests.harness import OPERATOR, PROVIDER, Simulator, audit, configured, simulator

MOVED = ("EUR", "JPY", "KWD")
TIMES: dict[str, Any] = {
    "currencies": MOVED,
    "expiry_seconds": 3,
    "complete_reserve_seconds": 0.5,
    "prepare_seconds": 2,
    "complete_seconds": 1.5,
    "lookup_seconds": 1.5,
    "patience_seconds": 10,
    "engine_lease_slack_seconds": 2,
}
"""Long enough that a busy machine never looks like a slow provider."""


@dataclass
class Caller:
    """One key of one operator, and its HTTP client."""

    client: FlaskClient
    secret: str

    def ask(self, method: str, path: str, body: Any = None, *, key: str | None = None, **headers: str) -> TestResponse:
        """One request; `body` as JSON, or as it is when it is bytes. `Prefer="wait=1"` is a header."""
        sent = {"Authorization": f"Bearer {self.secret}"} | {name.replace("_", "-"): v for name, v in headers.items()}
        if key is not None:
            sent["Idempotency-Key"] = key
        if isinstance(body, bytes):
            sent.setdefault("Content-Type", "application/json")
            return self.client.open(path, method=method, data=body, headers=sent)
        return self.client.open(path, method=method, json=body, headers=sent)

    def get(self, path: str, **headers: str) -> TestResponse:
        return self.ask("GET", path, **headers)

    def post(self, path: str, body: Any = None, *, key: str | None = None, **headers: str) -> TestResponse:
        return self.ask("POST", path, body, key=key, **headers)


@dataclass
class House:
    """A bridge process in this process, its database and its provider."""

    runtime: Runtime
    provider: Simulator
    player: str
    callers: dict[str, Caller] = field(default_factory=dict)

    @property
    def ann(self) -> Caller:
        return self.callers["ann"]

    @property
    def rita(self) -> Caller:
        return self.callers["rita"]

    @property
    def charlie(self) -> Caller:
        return self.callers["charlie"]

    def wish(self, direction: str = "in", amount: str = "25.00", **changes: Any) -> dict[str, Any]:
        """The body of a transfer."""
        body = {"player_id": self.player, "provider": PROVIDER, "direction": direction, "amount": amount}
        return {**body, "currency": "EUR", **changes}

    def transfer(self, key: str, direction: str = "in", amount: str = "25.00", **headers: str) -> TestResponse:
        return self.ann.post("/v1/transfers", self.wish(direction, amount), key=key, **headers)

    def cash(self, kind: str, amount: str, key: str, currency: str = "EUR") -> TestResponse:
        body = {"amount": amount, "currency": currency}
        return self.ann.post(f"/v1/players/{self.player}/{kind}", body, key=key)

    def funds(self, name: str = "wallet") -> str:
        """What the API says of the player's euros."""
        return next(one for one in self.all_funds()["funds"] if one["currency"] == "EUR")[name]

    def all_funds(self) -> Any:
        return self.ann.get(f"/v1/players/{self.player}/funds").json

    def rows(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        with db.reading(self.runtime.engine) as connection:
            return [dict(row) for row in connection.execute(text(statement), values).mappings()]

    def write(self, statement: str, **values: Any) -> None:
        with db.writing(self.runtime.engine) as connection:
            connection.execute(text(statement), values)

    def job_ran(self, slot: int = 1, outcome: str | None = "ok", *, started_ago: float = 0) -> None:
        """A run of the job `verify`, started so many seconds ago, by a process that was last heard of then; outcome
        None: it never ended."""
        now = self.runtime.clock.now()
        self.write("DELETE FROM beat")
        self.write(
            "INSERT INTO beat (worker, started_at, seen_at, at_work) VALUES ('w', :at, :at, '{}')",
            at=now - int(started_ago * SECOND),
        )
        self.write(
            "INSERT INTO job_run (job, slot, worker, started_at, finished_at, outcome) "
            "VALUES ('verify', :slot, 'w', :at, :end, :what)",
            slot=slot,
            at=now - int(started_ago * SECOND),
            end=None if outcome is None else now,
            what=outcome,
        )

    def contents(self) -> dict[str, list[dict[str, Any]]]:
        """Every row of every table but the keys of callers, to compare before and after."""
        tables = [table for table in metadata.sorted_tables if table.name != "api_key"]
        with db.reading(self.runtime.engine) as connection:
            found = {t.name: [dict(row) for row in connection.execute(t.select()).mappings()] for t in tables}
        return {name: sorted(rows, key=repr) for name, rows in found.items()}

    def resolve(self) -> int:
        """One pass of the resolver."""
        claims = resolve.claim_due(self.runtime, 50)
        for claim in claims:
            resolve.resolve(self.runtime, claim)
        return len(claims)

    def resolve_until(self, transfer_id: str, *states: str, seconds: float = 12) -> str:
        """Resolve in real time until the transfer is in one of `states`; the state."""
        end = time.monotonic() + seconds
        while (state := self.state(transfer_id)) not in states:
            assert time.monotonic() < end, f"{transfer_id} is still {state}"
            self.resolve()
            time.sleep(0.05)
        return state

    def state(self, transfer_id: str) -> str:
        return str(self.rows("SELECT state FROM transfer WHERE id = :id", id=transfer_id)[0]["state"])

    def effects(self, transfer: Any) -> int:
        """How often a transfer really moved money, by the provider's own ledger."""
        reference = next(leg["reference"] for leg in transfer["legs"] if leg["holder"] == PROVIDER)
        return self.provider.effects(reference)

    def audit(self) -> None:
        wrong = audit(self.runtime)
        assert not wrong, "\n".join(wrong)

    def call_as(self, secret: str) -> Caller:
        """Another client of the same process."""
        return Caller(create_app(self.runtime).test_client(), secret)


@pytest.fixture(scope="session")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """The simulator, one process for this worker's tests: each test has a player of its own."""
    with simulator(tmp_path_factory.mktemp("provider"), "--seed", "1", "--expiry", "3") as started:
        yield started


def build(url: str, provider: Simulator, *, wait_seconds: float = 6, clock: Any = None, **settings: Any) -> House:
    """A house on the migrated database at `url`, its player with 1000.00 in the wallet."""
    config = configured(url, provider.address, **{**TIMES, **settings})
    runtime = compose(config.model_copy(update={"web": WebSection(wait_seconds=wait_seconds)}), clock)
    house = House(runtime, provider, player=f"p-{uuid.uuid4().hex[:12]}")
    app = create_app(runtime)
    grants = {"ann": (OPERATOR, "transfers", "read"), "rita": (OPERATOR, "read"), "charlie": ("charlie", "admin")}
    for operator in (OPERATOR, "charlie"):
        keys.add_operator(runtime, operator)
    for name, (operator, *scopes) in grants.items():
        house.callers[name] = Caller(app.test_client(), keys.create(runtime, operator, scopes, name)[1])
    assert house.ann.ask("PUT", f"/v1/players/{house.player}", {"currencies": [*MOVED]}).status_code == 201
    assert house.cash("deposits", "1000.00", "first-money").status_code == 201
    return house


@pytest.fixture
def house(migrated_url: str, provider: Simulator) -> Iterator[House]:
    """A bridge with short times and nothing wrong anywhere."""
    made = build(migrated_url, provider)
    yield made
    made.runtime.engine.dispose()


@pytest.fixture
def build_house(migrated_url: str, provider: Simulator) -> Iterator[Any]:
    """Builds a house with other settings."""
    built: list[House] = []

    def builder(**settings: Any) -> House:
        built.append(build(migrated_url, provider, **settings))
        return built[-1]

    yield builder
    for made in built:
        made.runtime.engine.dispose()
