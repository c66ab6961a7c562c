"""The provider adapters, one file a protocol. To add one: its file, and its case in `build`."""

from __future__ import annotations

from bridge.config import GenericSection, ProviderSection, QTechSection
from bridge.money import Currencies
from bridge.outbound import Outbound
from bridge.ports import Provider
from bridge.providers.generic import Generic
from bridge.providers.qtech import QTech
from bridge.runtime import Clock, Dial, dial


def build(
    name: str, settings: ProviderSection, currencies: Currencies, clock: Clock, dial: Dial = dial
) -> Provider:
    """The adapter of the configured provider `name`, with a door of its own, whose connections `dial` opens."""
    outbound = Outbound(settings.base_url, clock=clock, dial=dial)
    match settings:
        case QTechSection():
            return QTech(name, settings, outbound, currencies, clock)
        case GenericSection():
            return Generic(name, settings, outbound, currencies, clock)
        case _:
            raise ValueError(f"providers.{name}: there is no protocol {settings.protocol!r}")
