"""What the bridge says in its log goes into the trace; it says the same things to nobody else."""

from __future__ import annotations

import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from tests.simulation.oracle import Oracle
from tests.simulation.world import World

_ears: list[Any] = [None, None]


def listen(world: World, oracle: Oracle) -> None:
    """From now on, hear what is logged in this story."""
    _ears[:] = [world, oracle]


def _hear(_logger: Any, level: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    world, oracle = _ears
    if world is not None and world.current is not None:
        told = " ".join(f"{name}={value}" for name, value in event.items() if name not in ("exc_info", "milliseconds"))
        if event.get("exc_info"):
            told += f" {sys.exc_info()[1]!r}"
        world.trace(world.current.node.name, f"{level} {told}")
        if event["event"] == "provider answered":
            oracle.told.heard(world.current, event)
        elif event.get("exc_info"):
            oracle.tripped(world.current, sys.exc_info()[1])
    raise structlog.DropEvent


def take_over() -> None:
    """From now on, what is logged is heard here."""
    structlog.configure(processors=[_hear], cache_logger_on_first_use=True)
