"""The benchmarks' provider as the process that it is."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import pytest

from benchmarks import patterns
from benchmarks.children import Child, python
from benchmarks.contestants.base import SECRET
from benchmarks.desk import kinds
from bridge import cashier, keys, players
from bridge.app import compose
from bridge.config import Config
from bridge.runtime import Runtime


@pytest.fixture
def provider(tmp_path):
    """Its address; the account `bridge` is signed, every other one is not."""
    command = [python(peers=False), "-m", "benchmarks.wire.provider", f"--secret=bridge={SECRET}"]
    child = Child("provider", command, tmp_path, pipes=True)
    child.start()
    try:
        yield str(child.line()["address"])
    finally:
        child.stop()


@pytest.fixture
def simulator(tmp_path):
    """Address and control of the product's own simulator."""
    command = [python(peers=False), "-m", "bridge.simulator", "--protocol", "generic", "--currencies", "EUR:2,USD:2",
               "--ledger", str(tmp_path / "simulator.ledger")]  # fmt: skip
    child = Child("simulator", command, tmp_path, {"SIMULATOR_SECRET": SECRET}, pipes=True)
    child.start()
    try:
        yield child.line()
    finally:
        child.stop()


@dataclass(frozen=True)
class Workshop:
    """Where patterns are made, its operator, its database, and how many players there are beside the pattern's."""

    made: kinds.Workshop
    operator: int
    url: str
    players: int = 3

    @property
    def runtime(self) -> Runtime:
        return self.made.runtime


@pytest.fixture
def workshop(postgres, migrated_postgres_template, provider, simulator):
    """A bridge with a desk on a fresh PostgreSQL database with the pattern's player and three others."""
    name = f"bridge_desk_{uuid.uuid4().hex}"  # workers share the server
    url = postgres.create_database(name, migrated_postgres_template)
    account = {"operator": "acme", "protocol": "generic", "request_secret": SECRET}
    tables = {
        kinds.CLEAN: {**account, "base_url": f"{provider}/bridge", "currencies": ["EUR"]},
        kinds.LIAR: {**account, "base_url": simulator["address"], "currencies": ["EUR", "USD"], **kinds.HURRY},
    }
    desk = {"secret": "of the desk, for tests alone, and long enough"}
    runtime = compose(Config(database={"url": url}, engine=kinds.POLLS, providers=tables, desk=desk))
    operator = keys.add_operator(runtime, "acme")
    _, secret = keys.create(runtime, "acme", ["transfers"], "test")
    made = Workshop(kinds.Workshop(runtime, secret, simulator["control"]), operator, url)
    for player in (patterns.PLAYER, *(f"p{number}" for number in range(made.players))):
        players.register(runtime, operator, player, ["EUR", "USD"])
        for currency in ("EUR", "USD"):
            wish = cashier.CashWish(player, "500000.00", currency)
            cashier.move(runtime, operator, "deposit", f"{currency}-{player}", wish)
    yield made
    runtime.engine.dispose()
    postgres.drop_database(name)
