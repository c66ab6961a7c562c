"""Answers in good form that tell the wrong thing: another amount, somebody else's transfer."""

from __future__ import annotations

from random import Random
from typing import Any

from bridge.simulator.books import Terms
from bridge.simulator.faults.scene import Scene as AnyScene
from bridge.simulator.generic.books import Transfer
from bridge.simulator.generic.protocol import Generic, answered
from bridge.simulator.messages import Delivery

Scene = AnyScene[Generic]


def another_amount(scene: Scene) -> Delivery | None:
    """19: done as asked, and told as something else."""
    told = _transfer_told(scene)
    known = scene.provider.books.by_reference(told["id"]) if told else None
    if told is None or known is None:
        return None
    told.pop("requested", None)
    amount = scene.strike.params.get("amount")
    if amount is None:
        amount = wrong_amount(scene.provider, known.terms, scene.param("variant", None), scene.strike.chance)
    return scene.told(answered(told | {"amount": amount})).but(delay=scene.delay())


def wrong_amount(provider: Generic, terms: Terms, variant: str | None, chance: Random) -> str:
    """The amount as a provider with the wrong scale would tell it; always another one, in good form."""
    minor, one = terms.amount, 10 ** provider.books.currencies.exponents[terms.currency]
    scaled = {
        "thousandfold": minor * 1000,
        "thousandth": minor // 1000,
        "whole": minor // one * one,
        "tens": minor // (10 * one) * (10 * one),
    }
    wrong = {name: value for name, value in scaled.items() if value not in (0, minor)}
    chosen = chance.choice(tuple(wrong))
    return provider.books.currencies.text(wrong.get(variant or chosen, wrong["thousandfold"]), terms.currency)


def another_transfer(scene: Scene) -> Delivery | None:
    """20: done as asked, and answered with somebody else's body, or an older one."""
    told, books = _transfer_told(scene), scene.provider.books
    if told is None:
        return None
    older: Transfer | None = None
    if scene.one_of("variant", ("player", "older")) == "older":
        older = books.older_of_player(told["player"], told["provider_id"])
    other = told | {"player": books.another_player(told["player"])}
    content = scene.provider.shown(older, older.now) if older else other
    return scene.told(answered(content)).but(delay=scene.delay())


def another_known(scene: Scene) -> Delivery | None:
    """15, body another: asked about what is still to come, it tells the transfer that has changed most often."""
    books = scene.provider.books
    known = books.changed_most()
    if known is None or books.by_reference(scene.call.reference) is not None:
        return None
    return scene.told(answered(scene.provider.shown(known, known.now)))


def _transfer_told(scene: Scene) -> dict[str, Any] | None:
    """A copy of the transfer in a true answer, where it tells one."""
    answer = scene.success()
    return dict(answer.content) if answer and "provider_id" in answer.content else None
