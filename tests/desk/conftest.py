"""A desk with people, before a one-phase provider that does as it is told; each test gets both databases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.desk.office import Office, office
from tests.desk.stand import build_desk, desk  # noqa: F401 - pytest finds its fixtures here
from tests.harness import Bench, Hands, bench
from tests.transfers.conftest import ONE_TIMES
from tests.transfers.scripted_one import ScriptedOne


@pytest.fixture
def hands() -> Hands:
    """The clock of `room`: only the test turns it."""
    return Hands()


@pytest.fixture
def one(hands: Hands) -> ScriptedOne:
    """A one-phase provider that does as it is told, with books of its own."""
    return ScriptedOne(hands)


@pytest.fixture
def lone(migrated_url: str, hands: Hands, one: ScriptedOne) -> Iterator[Bench]:
    """A bridge before that provider."""
    told: dict[str, Any] = {"desk_two_checkers_above": {"EUR": "50.00"}}
    with bench(migrated_url, clock=hands, provider=one, **ONE_TIMES, **told) as made:
        yield made


@pytest.fixture
def room(lone: Bench, one: ScriptedOne, hands: Hands) -> Office:
    """The desk of that bridge's operator: two who propose, three who approve, and others."""
    return office(lone, one, hands)
