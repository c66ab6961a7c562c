"""An account at a scripted QTech: what its tests share. Bodies are typed out from protocols.md §1.1."""

from __future__ import annotations

from typing import Any

from bridge.config import QTechSection
from bridge.evidence import Answer, Reply, Step
from bridge.money import Currencies
from bridge.outbound import Outbound
from bridge.ports import Effect, Side, Window
from bridge.providers.qtech import QTech
from bridge.runtime import SystemClock
from tests.providers import Answer as Wire
from tests.providers import http

TOKEN = http(200, '{"access_token": "t-1", "expires_in": 21600000}')
CURRENCIES = Currencies({"BTC": 8, "ETH": 9})
SETTINGS: dict[str, Any] = {
    "protocol": "qtech",
    "operator": "acme",
    "username": "acme-user",
    "password": "acme-password",
    "currencies": ("EUR", "JPY", "KWD", "CLF", "BTC", "ETH"),
}
EFFECT = Effect("tr_1-1", "q-77", Side.CREDIT, "p-1", 2500, "EUR")

PENDING = (
    '{"id": "q-77", "type": "CREDIT", "referenceId": "tr_1-1", "playerId": "p-1", "amount": 25.00,'
    ' "currency": "EUR", "initiated": "2026-06-01T18:00:00", "status": "PENDING"}'
)
FINAL = PENDING.replace('"PENDING"', '"%s", "finalized": "2026-06-01T18:00:03"')
COMPLETED, CANCELLED = FINAL % "COMPLETED", FINAL % "CANCELLED"
TOLD = Reply(
    Answer.UNKNOWN,
    amount=2500,
    currency="EUR",
    player="p-1",
    side="credit",
    reference="tr_1-1",
    provider_reference="q-77",
)
OPERATIONS = ["prepare", "complete", "void", "look_up"]
GOOD = {"prepare": (201, PENDING), "complete": (200, COMPLETED), "void": (200, CANCELLED), "look_up": (200, COMPLETED)}
HTML = "<html><body>Down for maintenance</body></html>"


class Later(SystemClock):
    """The real clock, moved on by hand."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


def account(url: str, clock: Later) -> QTech:
    """An adapter for an account at `url`."""
    settings = QTechSection(base_url=url, **SETTINGS)
    return QTech("acme", settings, Outbound(url, clock=clock), CURRENCIES, clock)


def window(clock: Later, seconds: float = 5.0) -> Window:
    """From now on, for some seconds."""
    now = clock.monotonic()
    return Window(not_after=now + seconds, deadline=now + seconds)


def call(qtech: QTech, clock: Later, operation: str, effect: Effect = EFFECT, seconds: float = 5.0) -> Reply:
    """One call of the adapter, by name."""
    if operation == "look_up":
        return qtech.look_up(effect, window(clock, seconds))
    return qtech.money(Step(operation), effect, window(clock, seconds))


def said(reply: Reply) -> tuple[Answer, bool, str]:
    """What decides."""
    return reply.answer, reply.attempt_sensitive, reply.code


def told_nothing(reply: Reply) -> bool:
    """No fact about a transfer in it."""
    facts = (reply.amount, reply.currency, reply.player, reply.side, reply.reference, reply.provider_reference)
    return facts == (None,) * 6 and reply.provider_time is None and reply.balance is None


def error(status: int, code: str) -> Wire:
    """A refusal as the protocol words it."""
    return http(status, f'{{"code": "{code}", "message": "as it is"}}')
