"""A desk before the simulator, one before a scripted provider; each test gets both databases and books of its own."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from bridge import identity
from tests.harness import Bench, Hands, Simulator, bench, simulator
from tests.transfers.scripted import ScriptedProvider
from tests.transfers.scripted_one import ScriptedOne


@pytest.fixture(scope="session")
def running_simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """One simulator a worker: expiry 3 s, no faults of its own accord. Players have names of their own."""
    with simulator(tmp_path_factory.mktemp("provider"), "--seed", "1") as started:
        yield started


@pytest.fixture
def sim(running_simulator: Simulator) -> Simulator:
    """The simulator with nothing scripted any more."""
    running_simulator.control("DELETE", "/faults")
    return running_simulator


@pytest.fixture
def desk(migrated_url: str, sim: Simulator) -> Iterator[Bench]:
    """A bridge before the simulator."""
    with bench(migrated_url, sim.address) as made:
        yield made


@pytest.fixture
def player(desk: Bench, sim: Simulator) -> str:
    """A player with 100.00 in the wallet and 50.00 won at the provider."""
    name = f"p{uuid.uuid4().hex[:12]}"
    desk.player(name)
    sim.play(name, "50.00")
    return name


@pytest.fixture
def hands() -> Hands:
    """The clock of `still`."""
    return Hands()


@pytest.fixture
def scripted(hands: Hands) -> ScriptedProvider:
    """A provider that does as it is told, on the test's clock, with books of its own."""
    return ScriptedProvider(hands)


@pytest.fixture
def still(migrated_url: str, hands: Hands, scripted: ScriptedProvider) -> Iterator[Bench]:
    """A bridge before the scripted provider; no time passes unless the test turns the clock."""
    with bench(migrated_url, clock=hands, provider=scripted, **REAL_TIMES) as made:
        yield made


REAL_TIMES = {
    "expiry_seconds": 10, "expiry_margin_seconds": 2, "complete_reserve_seconds": 3, "prepare_seconds": 4,
    "complete_seconds": 4, "lookup_seconds": 5, "patience_seconds": 900, "engine_lease_slack_seconds": 5,
    "engine_poll_seconds": (0, 2, 3, 5, 10, 20, 40, 80, 160, 300),
}  # fmt: skip


@pytest.fixture
def one(hands: Hands) -> ScriptedOne:
    """A one-phase provider that does as it is told, on the test's clock, with books of its own."""
    return ScriptedOne(hands)


@pytest.fixture
def lone(migrated_url: str, hands: Hands, one: ScriptedOne) -> Iterator[Bench]:
    """A bridge before the one-phase provider; no time passes unless the test turns the clock."""
    with bench(migrated_url, clock=hands, provider=one, **ONE_TIMES) as made:
        yield made


@pytest.fixture
def lanes(postgres: Any, migrated_postgres_template: str, hands: Hands, one: ScriptedOne) -> Iterator[Bench]:
    """A bridge that keeps lanes before the one-phase provider, on PostgreSQL: transactions run beside each other."""
    name = f"bridge_strokes_{time.monotonic_ns()}"
    url = postgres.create_database(name, migrated_postgres_template)
    with bench(url, clock=hands, provider=one, **BLOCKED, currencies=("EUR", "USD")) as made:
        yield made
    postgres.drop_database(name)


ONE_TIMES = {
    "protocol": "generic", "transfer_seconds": 4, "lookup_seconds": 5, "absent_after_seconds": 60,
    "patience_seconds": 900, "engine_lease_slack_seconds": 5,
    "engine_poll_seconds": (0, 2, 3, 5, 10, 20, 40, 80, 160, 300),
}  # fmt: skip
BLOCKED = {**ONE_TIMES, "lane_policy": "block"}


@pytest.fixture
def old(lone: Bench) -> Bench:
    """A process that has been up, by whose configuration the name is known."""
    identity.keep(lone.runtime)
    return lone


@pytest.fixture
def fresh(hands: Hands) -> ScriptedOne:
    """Another account, which knows nothing of what was sent before."""
    return ScriptedOne(hands)


@pytest.fixture
def at_once(lanes: Bench) -> Bench:
    """As `old`, on PostgreSQL: transactions run beside each other."""
    identity.keep(lanes.runtime)
    return lanes
