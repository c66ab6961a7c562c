"""The composition root: the only place that knows which adapters and services make up a process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge import db, gates, log
from bridge.config import Config
from bridge.desk import thresholds
from bridge.money import Currencies
from bridge.providers import build as build_provider
from bridge.runtime import Clock, Runtime, SystemClock

if TYPE_CHECKING:
    from flask_openapi.openapi import OpenAPI

    from bridge.alerts.watchman import Watchman


def compose(config: Config, clock: Clock | None = None) -> Runtime:
    """The runtime of one process: engine, providers, currencies, clock. Opens nothing yet.

    Raises UnknownCurrency, or AmountRefused for an exposure cap or a threshold that is no exact amount.
    """
    log.configure()
    clock = clock or SystemClock()
    currencies = Currencies(config.currencies)
    gates.check_caps(config, currencies)
    thresholds.check(config, currencies)
    providers = {name: build_provider(name, settings, currencies, clock) for name, settings in config.providers.items()}
    engine = db.connect(config.database)
    return Runtime(config=config, engine=engine, providers=providers, currencies=currencies, clock=clock)


def watch(runtime: Runtime) -> Watchman:
    """Who notices, from a web process, that nobody runs the jobs; he watches once he is started."""
    from bridge.alerts.watchman import Watchman

    return Watchman(runtime)


def create_app(runtime: Runtime) -> OpenAPI:
    """The web application over a runtime; jobs and the command line never load what only it needs."""
    from bridge.api.answers import trouble
    from bridge.api.application import build
    from bridge.dashboard import frame

    app = build(runtime)
    frame.furnish(app, runtime, elsewhere=trouble.answer)
    return app
