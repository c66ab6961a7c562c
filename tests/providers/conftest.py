"""Every adapter test stands on a clock, a scripted server that grants tokens, and an account at it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bridge.providers.qtech import QTech
from tests.providers import ScriptedServer
from tests.providers.account import TOKEN, Later, account


@pytest.fixture
def clock() -> Later:
    """A clock of this test's own."""
    return Later()


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A server that grants tokens and then follows its script."""
    with ScriptedServer() as scripted:
        scripted.routes["/v1/auth/token"] = TOKEN
        yield scripted


@pytest.fixture
def qtech(server: ScriptedServer, clock: Later) -> QTech:
    """The adapter, speaking to that server."""
    return account(server.url, clock)
