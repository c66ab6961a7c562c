"""What is fixed in every seed, and the configuration that a seed draws."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

from bridge.config import Config, GenericSection, QTechSection
from bridge.sections import DatabaseSection, DeskSection, EngineSection, WebSection

OPERATOR = "op"
QTECH, GENERIC = "alpha", "beta"
"""The providers by name; each speaks one protocol."""

PROTOCOLS = {QTECH: "qtech", GENERIC: "generic"}
PLAYERS = tuple(f"player-{number}" for number in range(8))
STRANGER = "nobody"
CURRENCIES = {"EUR": 2, "JPY": 0}
MONEY = {"EUR": "500.00", "JPY": "50000"}
"""What every wallet holds at the beginning."""

WALLETS = {player: tuple(CURRENCIES)[: 1 + number % 2] for number, player in enumerate(PLAYERS)}
"""Every other player has only one, and begins transfers in another way (`bridge/transfers/strokes.py`)."""

FIRST, ENOUGH = 1, 100
"""So many times as much there is at providers and in wallets in twin stories: whether it suffices must not depend on
who was faster."""

USERNAME, PASSWORD = "bridge", "a simulated password"
REQUEST_SECRET = "whsec_cmVxdWVzdHM6IGJyaWRnZSB0byBwcm92aWRlciAwMDE="
CALLBACK_SECRETS = ("whsec_Y2FsbGJhY2tzOiBwcm92aWRlciB0byBicmlkZ2UgMDE=",)
PROVIDER_ADDRESS = "203.0.113.7"
EXPIRY_SECONDS = {"qtech": 10.0, "generic": 60.0}

BEGINS = 1_800_000_000_000_000
"""The instant at which every story begins, microseconds."""

STORY_HOURS = 48
PATIENCE_SECONDS = 600
HEAL_SECONDS = 900
"""So long after the last fault nothing may be pending any more (I8)."""

CAPPED = 0.3
CAPS = {"EUR": ("5.00", "10.00"), "JPY": ("100", "250")}

LADDERS = (
    (0, 2, 3, 5, 10, 20, 40, 80, 160, 300, 300, 900, 3600, 21_600),
    (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 1800, 43_200),
    (5, 30, 60, 120, 240, 3600, 14_400, 43_200),
)
"""Waits between look-ups."""


def paid_in(times: int) -> Iterator[tuple[str, str, str, str]]:
    """By what wallets come to so many times `MONEY` more: key, player, currency and amount of each deposit."""
    for player in PLAYERS:
        for currency in WALLETS[player]:
            yield f"{player}-{currency}-{times}", player, currency, str(Decimal(MONEY[currency]) * times)


def _caps(seed: int, provider: str) -> dict[str, str]:
    """In three stories of ten a provider has caps, so low that one or two transfers without an end fill them."""
    dice = Random(f"{seed}/caps/{provider}")
    capped = dice.random() < CAPPED
    return {currency: dice.choice(amounts) for currency, amounts in CAPS.items() if capped}


def configuration(seed: int, database: Path, *, capped: bool = True) -> Config:
    """The configuration of every process of one seed; `capped`: whether any provider may have caps."""
    dice = Random(f"{seed}/configuration")
    shared: dict[str, Any] = {
        "operator": OPERATOR,
        "currencies": tuple(CURRENCIES),
        "patience_seconds": PATIENCE_SECONDS,
        "breaker_least": dice.choice((4, 10, 1000)),
    }
    lanes = ("block", "opposite", "allow")
    return Config(
        database=DatabaseSection(url=f"sqlite:///{database}"),
        web=WebSection(wait_seconds=15),
        # Who sits there when a story begins sits there when it ends.
        desk=DeskSection(idle_minutes=10_000, absolute_hours=200, expiry_hours=dice.choice((0.01, 5, 24))),
        engine=EngineSection(poll_seconds=dice.choice(LADDERS), resolve_threads=dice.choice((1, 2, 8))),
        providers={
            QTECH: QTechSection(
                protocol="qtech",
                base_url=f"http://{QTECH}:80",
                username=USERNAME,
                password=PASSWORD,  # type: ignore[arg-type]
                lane_policy=dice.choice(lanes),
                exposure_caps=_caps(seed, QTECH) if capped else {},
                **shared,
            ),
            GENERIC: GenericSection(
                protocol="generic",
                base_url=f"http://{GENERIC}:80/wallet",
                request_secret=REQUEST_SECRET,  # type: ignore[arg-type]
                callback_secrets=CALLBACK_SECRETS,  # type: ignore[arg-type]
                callback_networks=("203.0.113.0/24",),  # type: ignore[arg-type]
                lane_policy=dice.choice(lanes),
                partial=dice.random() < 0.5,
                exposure_caps=_caps(seed, GENERIC) if capped else {},
                **shared,
            ),
        },
    )
