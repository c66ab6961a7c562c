"""Recalls over HTTP, by the books of the real simulator: beside a provider that does not answer, without waiting, and
where something was taken out of the configuration."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from bridge.app import compose, create_app
from tests.api.conftest import Caller, House
from tests.harness import PROVIDER

DEAD = "dead"
"""A provider that takes connections and never says a word."""


@pytest.fixture
def house(build_house: Callable[..., House]) -> House:
    """A house before one provider, in euros."""
    return build_house(currencies=("EUR",))


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of that provider."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def configured(house: House, **sections: Any) -> House:
    """The same database and player, served by a process with these providers."""
    config = house.runtime.config.model_copy(update={"providers": sections})
    runtime = compose(config, house.runtime.clock)
    callers = {name: Caller(create_app(runtime).test_client(), each.secret) for name, each in house.callers.items()}
    return replace(house, runtime=runtime, callers=callers)


@pytest.fixture
def beside(house: House, silent: str) -> Iterator[House]:
    """A house that has to ask the dead provider first."""
    policy = house.runtime.config.providers[PROVIDER]
    dead = policy.model_copy(update={"base_url": silent})
    made = configured(house, **{DEAD: dead, PROVIDER: policy})
    yield made
    made.runtime.engine.dispose()


def recalled(house: House, key: str, prefer: str) -> tuple[int, dict[str, Any]]:
    """(status, provider → what was found) of a recall; of a transfer its state."""
    answer = house.ann.post(f"/v1/players/{house.player}/recall", key=key, Prefer=prefer)
    return answer.status_code, {
        each["provider"]: each["transfer"]["state"] if each["transfer"] else each["found"]
        for each in answer.json["sweeps"]
    }


def test_one_that_does_not_answer_keeps_no_money_from_coming_home(beside: House) -> None:
    """Its balance takes longer than the client waits; the other one's money is home by the first request."""
    assert beside.transfer("t-1", "in", "25.00").json["state"] == "confirmed"
    assert recalled(beside, "r-1", "wait=1") == (202, {DEAD: "unread", PROVIDER: "confirmed"})
    assert (beside.funds("wallet"), beside.provider.owns(beside.player)) == ("1000.00", 0)
    beside.audit()


@pytest.mark.parametrize("prefer", ["respond-async", "wait=0"])
def test_without_waiting_it_goes_on_and_ends(house: House, prefer: str) -> None:
    """Design §6: the same request until it is 200, and it will be: what is begun is the resolver's."""
    assert house.transfer("t-1", "in", "25.00").json["state"] == "confirmed"
    status, told = recalled(house, "r-1", prefer)
    assert (status, told[PROVIDER]) != (202, "unread")
    for _ in range(20):
        house.resolve()
        status, told = recalled(house, "r-1", prefer)
        if status == 200:
            break
    assert status == 200
    assert (house.funds("wallet"), house.provider.owns(house.player)) == ("1000.00", 0)
    house.audit()


def test_a_provider_that_was_taken_out_is_never_told_as_empty(house: House) -> None:
    """10.00 stands there by our books: no recall says that all is home; put back, the same key ends."""
    assert house.transfer("t-1", "in", "10.00").json["state"] == "confirmed"
    without = configured(house)
    for _ in range(2):
        assert recalled(without, "r-1", "wait=1") == (202, {PROVIDER: "unread"})
    assert without.all_funds()["funds"][0]["at_providers"] == {PROVIDER: "10.00"}
    without.runtime.engine.dispose()
    status, _ = recalled(house, "r-1", "wait=6")
    assert (status, house.provider.owns(house.player)) == (200, 0)


@pytest.mark.parametrize("home", ["out", "recall"])
def test_a_currency_that_was_taken_out_lets_money_home(house: House, home: str) -> None:
    """Design §3, rule 10: none goes in any more; what is there comes home, by the real adapter."""
    assert house.transfer("t-1", "in", "10.00").json["state"] == "confirmed"
    policy = house.runtime.config.providers[PROVIDER].model_copy(update={"currencies": ("USD",)})
    stopped = configured(house, **{PROVIDER: policy})
    refused = stopped.transfer("t-2", "in", "1.00")
    assert (refused.status_code, [each["field"] for each in refused.json["errors"]]) == (422, ["currency"])
    ways: dict[str, Callable[[], int]] = {
        "out": lambda: stopped.transfer("t-3", "out", "10.00").status_code,
        "recall": lambda: recalled(stopped, "r-1", "wait=6")[0],
    }
    assert ways[home]() == (201 if home == "out" else 200)
    assert (stopped.funds("wallet"), stopped.provider.owns(stopped.player)) == ("1000.00", 0)
    stopped.audit()
    stopped.runtime.engine.dispose()
