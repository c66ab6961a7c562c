"""The composition root: the only place that knows which adapters and services make up a process."""

from __future__ import annotations

from bridge import db, log
from bridge.config import Config
from bridge.money import Currencies
from bridge.providers import build as build_provider
from bridge.runtime import Clock, Runtime, SystemClock


def compose(config: Config, clock: Clock | None = None) -> Runtime:
    """The runtime of one process: engine, providers, currencies, clock. Opens nothing yet."""
    log.configure()
    clock = clock or SystemClock()
    currencies = Currencies(config.currencies)
    providers = {name: build_provider(name, settings, currencies, clock) for name, settings in config.providers.items()}
    return Runtime(
        config=config, engine=db.connect(config.database), providers=providers, currencies=currencies, clock=clock
    )
