"""The configuration of a station: two protocols with short times, in which deadlines fit into expiries and leases."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from tests.chaos.simulators import Simulator

OPERATOR = "casino"
CURRENCY = "EUR"
PASSWORD = "demo"  # the simulator's own default
REQUESTS = "whsec_cmVxdWVzdHM6IG9mIGEgc3RhdGlvbiBvZiBjaGFvcw=="
CALLBACKS = "whsec_Y2FsbGJhY2tzOiBvZiBhIHN0YXRpb24gb2YgY2hhb3M="

SIGNED = "signed"
"""The provider that follows docs/provider-contract.md."""

LETTER_PAUSE = 0.3
"""Seconds until that provider sends a callback again that nobody took."""

Tables = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Contract:
    """A provider of our own contract at a station. `money`: the deadline of a transfer, in seconds, which the lease
    outlives by half of one. `cap`: what may be unresolved there, as a decimal text; empty: no bound."""

    money: float = 1.5
    cap: str = ""

    @property
    def options(self) -> tuple[str, ...]:
        """Of its simulator."""
        return ("--protocol", "generic", "--secret", REQUESTS, "--callback-secret", CALLBACKS,
                "--callback-pause", str(LETTER_PAUSE))  # fmt: skip


def settings(url: str, simulators: Collection[Simulator], contract: Contract | None) -> Tables:
    """All tables of bridge.toml, `providers` with a table a provider."""
    providers = {
        each.name: _signed(each, contract) if contract is not None and each.name == SIGNED else _qtech(each)
        for each in simulators
    }
    slack = 0.5 if contract is not None or any(each.expiry < 10 for each in simulators) else 5
    # Nobody is looked after again while the campaign lasts: an aftercare look-up is no point of its transfer.
    engine = {"lease_slack_seconds": slack, "poll_seconds": [0, 0.3, 0.5, 1], "resolve_every_seconds": 0.2,
              "verify_every_seconds": 86400, "aftercare_seconds": [86400]}  # fmt: skip
    return {"database": {"url": url}, "engine": engine, "providers": providers}


def _qtech(simulator: Simulator) -> dict[str, Any]:
    """From 10 s of expiry on, the product's defaults."""
    short = simulator.expiry < 10
    return {
        **_any(simulator), "protocol": "qtech", "username": "demo", "password": PASSWORD,
        "expiry_seconds": simulator.expiry, "expiry_margin_seconds": 0.2 if short else 2,
        "complete_reserve_seconds": 0.1 if short else 3, "prepare_seconds": 0.8 if short else 4,
        "complete_seconds": 0.8 if short else 4, "lookup_seconds": 1 if short else 5,
    }  # fmt: skip


def _signed(simulator: Simulator, contract: Contract) -> dict[str, Any]:
    capped = {"exposure_caps": {CURRENCY: contract.cap}} if contract.cap else {}
    return {
        **_any(simulator), **capped, "protocol": "generic", "request_secret": REQUESTS,
        "callback_secrets": [CALLBACKS], "callback_networks": ["127.0.0.1/32"], "transfer_seconds": contract.money,
        "lookup_seconds": 1, "absent_after_seconds": 60, "final_after_seconds": 1, "settle_seconds": 0.5,
    }  # fmt: skip


def _any(simulator: Simulator) -> dict[str, Any]:
    return {
        "operator": OPERATOR, "base_url": simulator.address, "currencies": [CURRENCY], "lane_policy": "allow",
        "patience_seconds": 300, "breaker_least": 100000,
    }  # fmt: skip


def toml(tables: Tables) -> str:
    """The tables as bridge.toml."""
    flat = {name: table for name, table in tables.items() if name != "providers"}
    flat |= {f"providers.{name}": table for name, table in tables["providers"].items()}
    blocks = (
        "\n".join([f"[{name}]", *(f"{key} = {_value(value)}" for key, value in table.items())])
        for name, table in flat.items()
    )
    return "\n\n".join(blocks) + "\n"


def _value(value: Any) -> str:
    """But for a table inside of another, every value of theirs is written alike in JSON and in TOML."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_value(inner)}" for key, inner in value.items()) + "}"
    return json.dumps(value)
