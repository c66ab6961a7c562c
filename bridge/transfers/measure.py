"""How much of what a player has at a provider can be moved: the largest amount that can be told to it exactly."""

from __future__ import annotations

from dataclasses import replace

from bridge.evidence import Answer, Reply
from bridge.money import MAX_MINOR_UNITS
from bridge.ports import Window
from bridge.runtime import Runtime
from bridge.transfers.core.sweep import BALANCE


def measure(runtime: Runtime, provider: str, player: str, currency: str, window: Window) -> Reply:
    """Read the balance: `balance` is what is there, `amount` what of it can move, both in minor units.

    The code is `balance` only when both are told; any other says why there is none. The messages themselves are
    dropped: a balance is evidence of no transfer, and can be asked for again.
    """
    told = runtime.providers[provider].balance(player, currency, window)
    if isinstance(told, Reply):
        return replace(told, sent=None, received=None)
    amount = movable(runtime, provider, told.amount, currency)
    return Reply(Answer.UNKNOWN, code=BALANCE, amount=amount, balance=told.amount, currency=currency, player=player)


def movable(runtime: Runtime, provider: str, balance: int, currency: str) -> int:
    """The largest part of a balance that converts exactly, in minor units; 0 where nothing does."""
    adapter = runtime.providers[provider]
    surplus = runtime.currencies.exponent(currency) - adapter.descriptor.places[currency]
    most = min(balance, MAX_MINOR_UNITS)  # a transfer's own bound; what is beyond it is dust of this sweep
    amount = most - most % 10 ** max(0, surplus)
    return amount if amount > 0 and adapter.refuses(amount, currency) is None else 0
