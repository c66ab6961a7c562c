"""The provider of the benchmarks, asked by the bridge's own adapter: it keeps the contract as far as it is needed."""

from __future__ import annotations

import json
import time
import urllib.request

import pytest

from benchmarks.contestants.base import SECRET
from bridge.app import compose
from bridge.config import Config
from bridge.evidence import Answer, Step
from bridge.ports import Effect, Side, Window

OTHER = "whsec_c29tZWJvZHkgZWxzZSdzIHNlY3JldCwgbm90IG91cnM="
EFFECT = Effect("0192-2", None, Side.CREDIT, "ann", 2500, "EUR")


@pytest.fixture
def ask(provider, tmp_path):
    """An adapter that signs with the given secret, and a window that is long enough."""

    def adapter(secret):
        table = {"operator": "acme", "protocol": "generic", "base_url": f"{provider}/bridge", "currencies": ["EUR"],
                 "request_secret": secret}  # fmt: skip
        config = Config(database={"url": f"sqlite:///{tmp_path}/none.db"}, providers={"stub": table})
        return compose(config).providers["stub"]

    return adapter


def window():
    """Twenty seconds from now, on the clock that the adapter uses."""
    end = time.clock_gettime(time.CLOCK_BOOTTIME) + 20
    return Window(not_after=end, deadline=end)


def books(provider, account="bridge"):
    """What the provider says of itself."""
    with urllib.request.urlopen(f"{provider}/{account}/books", timeout=10) as answer:  # noqa: S310 - our own child
        return json.loads(answer.read())


def test_a_transfer_is_executed_once_however_often_it_is_asked_for(ask, provider):
    """Confirmed with every member as requested; the books count both."""
    adapter = ask(SECRET)
    first, second = (adapter.money(Step.TRANSFER, EFFECT, window()) for _ in range(2))
    assert first.answer is second.answer is Answer.APPLIED
    assert (first.amount, first.currency, first.player) == (2500, "EUR", "ann")
    assert first.provider_reference == second.provider_reference
    assert books(provider) == [["0192-2", "25.00", 2, 1]]
    assert adapter.balance("ann", "EUR", window()).amount == 2500


def test_a_look_up_tells_what_there_is(ask):
    """Not found before, confirmed after."""
    adapter = ask(SECRET)
    assert adapter.look_up(EFFECT, window()).answer is Answer.NOT_FOUND
    adapter.money(Step.TRANSFER, EFFECT, window())
    assert adapter.look_up(EFFECT, window()).answer is Answer.APPLIED


def test_a_cancel_that_comes_first_keeps_the_transfer_from_being_executed(ask, provider):
    """It is remembered."""
    adapter = ask(SECRET)
    assert adapter.money(Step.VOID, EFFECT, window()).answer is Answer.CANCELLED
    assert adapter.money(Step.TRANSFER, EFFECT, window()).answer is Answer.CANCELLED
    assert books(provider) == [["0192-2", "25.00", 1, 0]]


def test_the_same_id_with_another_amount_executes_nothing(ask, provider):
    """409 `id_reused`."""
    adapter = ask(SECRET)
    adapter.money(Step.TRANSFER, EFFECT, window())
    other = Effect("0192-2", None, Side.CREDIT, "ann", 2600, "EUR")
    assert adapter.money(Step.TRANSFER, other, window()).answer is not Answer.APPLIED
    assert books(provider) == [["0192-2", "25.00", 2, 1]]


def test_another_signature_is_refused_before_anything_is_read(ask, provider):
    """401, and nothing in the books."""
    assert ask(OTHER).money(Step.TRANSFER, EFFECT, window()).answer is Answer.UNKNOWN
    assert books(provider) == []
