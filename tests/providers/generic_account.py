"""An account at a scripted provider of the generic profile: what its tests share. Bodies are typed out from
docs/provider-contract.md."""

from __future__ import annotations

from typing import Any

from bridge.config import GenericSection
from bridge.evidence import Answer, Reply, Step
from bridge.money import Currencies
from bridge.outbound import Outbound
from bridge.ports import SECOND, Effect, Side, Window
from bridge.providers.generic import Generic
from bridge.runtime import SystemClock

SECRET = "whsec_cmVxdWVzdHM6IGJyaWRnZSB0byBwcm92aWRlciAwMDE="
CURRENCIES = Currencies({"BTC": 8})
SETTINGS: dict[str, Any] = {
    "protocol": "generic",
    "operator": "acme",
    "request_secret": SECRET,
    "currencies": ("EUR", "JPY", "KWD", "CLF", "BTC"),
}
EFFECT = Effect("0192-2", None, Side.CREDIT, "p.1", 2500, "EUR")

PENDING = (
    '{"id": "0192-2", "player": "p.1", "direction": "in", "amount": "25.00", "currency": "EUR",'
    ' "provider_id": "W 77", "status": "pending", "sequence": 1, "time": "2026-06-01T18:00:00Z"}'
)
SECOND_STATUS = PENDING.replace('"sequence": 1', '"sequence": 2').replace("}", ', "balance": "-3.50"}')
CONFIRMED = SECOND_STATUS.replace("pending", "confirmed")
CANCELLED = SECOND_STATUS.replace("pending", "cancelled")
REFUSED = SECOND_STATUS.replace('"pending"', '"refused", "code": "limit_reached"')
SHORT = REFUSED.replace("limit_reached", "insufficient_funds")
PLAYING = REFUSED.replace("limit_reached", "player_in_game")
NOT_FOUND = '{"id": "0192-2", "status": "not_found"}'
TOLD = Reply(
    Answer.UNKNOWN,
    amount=2500,
    currency="EUR",
    player="p.1",
    side="credit",
    reference="0192-2",
    provider_reference="W 77",
    provider_time="2026-06-01T18:00:00Z",
)
OPERATIONS = ["transfer", "void", "look_up"]
GOOD = {"transfer": CONFIRMED, "void": CANCELLED, "look_up": CONFIRMED}


class At(SystemClock):
    """The real clock, whose wall stands where the test has put it."""

    wall = 1_790_000_000 * SECOND

    def now(self) -> int:
        return self.wall


def account(url: str, **settings: Any) -> Generic:
    """An adapter for an account at `url`."""
    clock = settings.pop("clock", None) or At()
    section = GenericSection(**{"base_url": url, **SETTINGS, **settings})
    return Generic("acme", section, Outbound(url, clock=clock), CURRENCIES, clock)


def window(seconds: float = 5.0) -> Window:
    """From now on, for some seconds."""
    now = SystemClock().monotonic()
    return Window(not_after=now + seconds, deadline=now + seconds)


def call(generic: Generic, operation: str, effect: Effect = EFFECT, seconds: float = 5.0) -> Reply:
    """One call of the adapter about a transfer, by name."""
    if operation == "look_up":
        return generic.look_up(effect, window(seconds))
    return generic.money(Step(operation), effect, window(seconds))
