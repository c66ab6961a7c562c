"""The provider adapters, one file a protocol. To add one: its file, and its line in PROTOCOLS."""

from __future__ import annotations

from bridge.config import ProviderSection
from bridge.money import Currencies
from bridge.outbound import Outbound
from bridge.ports import Provider
from bridge.providers.qtech import QTech
from bridge.runtime import Clock

PROTOCOLS = {
    "qtech": QTech,
}
"""The wire protocols that `protocol = "…"` in a provider's configuration may name."""


def build(name: str, settings: ProviderSection, currencies: Currencies, clock: Clock) -> Provider:
    """The adapter of the configured provider `name`, with a door of its own."""
    outbound = Outbound(settings.base_url, clock=clock)
    return PROTOCOLS[settings.protocol](name, settings, outbound, currencies, clock)
