"""A bridge whose operator has events, before a provider that does as it is told, on the test's clock; and an operator's
server that answers by a script."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness import Bench, Hands, bench
from tests.providers import ScriptedServer
from tests.transfers.conftest import ONE_TIMES
from tests.transfers.scripted_one import ScriptedOne


@pytest.fixture
def hands() -> Hands:
    """The clock."""
    return Hands()


@pytest.fixture
def one(hands: Hands) -> ScriptedOne:
    """A one-phase provider with books of its own."""
    return ScriptedOne(hands)


@pytest.fixture
def casino(migrated_url: str, hands: Hands, one: ScriptedOne) -> Iterator[Bench]:
    """The bridge; no time passes unless the test turns the clock."""
    with bench(migrated_url, clock=hands, provider=one, events_answer_seconds=2, **ONE_TIMES) as made:
        yield made


@pytest.fixture
def receiver() -> Iterator[ScriptedServer]:
    """Where the operator's events go."""
    with ScriptedServer() as started:
        yield started
