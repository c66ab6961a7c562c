"""A feed that does not keep its promise (case 44): behind the time, again, out of order, changed afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

from bridge.simulator.faults.scene import Scene as AnyScene
from bridge.simulator.generic.books import Transfer
from bridge.simulator.generic.protocol import QUIRKY_FEED, Generic
from bridge.simulator.messages import MICROS, Delivery

Scene = AnyScene[Generic]
Row = tuple[int, Transfer]
TOLD_AGAIN = 3  # rows before the page that are delivered once more


def quirky_feed(scene: Scene) -> Delivery | None:
    """44: the whole feed (behind, again) or the rows concerned (late, amended) are not as promised."""
    answer = scene.success()
    if answer is None or scene.call.operation != "feed":
        return None
    after, limit = scene.provider.asked_of_feed(scene.call)
    told = scene.provider.feed(QUIRKS[_variant(scene)](scene, after), limit)
    return scene.told(told) if told != answer else None


def _concerned(scene: Scene, transfer: Transfer) -> bool:
    """Whether the script means this transfer; by rate, whether it is fated so."""
    script, terms = scene.strike.script, transfer.terms
    if script is None:
        return scene.choice.fated(terms.reference, terms.type) == QUIRKY_FEED
    return script.reference in ("", terms.reference) and script.player in ("", terms.player)


def _variant(scene: Scene) -> str:
    """As the script says; by rate one for the whole run, or nothing would ever come again as it was."""
    return str(scene.param("variant", Random(f"{scene.choice.seed}/feed").choice(tuple(QUIRKS))))


def _age(scene: Scene, transfer: Transfer) -> float:
    return (scene.provider.books.clock() - transfer.now.at) / MICROS


def _behind(scene: Scene, after: int) -> list[Row]:
    return [row for row in scene.provider.books.changes(after) if _age(scene, row[1]) >= scene.delay()]


def _again(scene: Scene, after: int) -> list[Row]:
    return scene.provider.books.changes(max(0, after - TOLD_AGAIN))


def _late(scene: Scene, after: int) -> list[Row]:
    """Held back while young; for as long again delivered to everybody, wherever they are by then."""
    delay, rows = scene.delay(), []
    for position, transfer in scene.provider.books.changes():
        age, concerned = _age(scene, transfer), _concerned(scene, transfer)
        if (concerned and delay <= age < 2 * delay) or (position > after and not (concerned and age < delay)):
            rows.append((position, transfer))
    return rows


def _amended(scene: Scene, after: int) -> list[Row]:
    """What is older than the delay tells one minor unit more than it did."""
    rows = scene.provider.books.changes(after)
    return [(at, _changed(each) if _is_old(scene, each) else each) for at, each in rows]


def _is_old(scene: Scene, transfer: Transfer) -> bool:
    return _concerned(scene, transfer) and _age(scene, transfer) >= scene.delay()


def _changed(transfer: Transfer) -> Transfer:
    amount = transfer.terms.amount + 1
    now, terms = replace(transfer.now, amount=amount), replace(transfer.terms, amount=amount)
    return replace(transfer, terms=terms, history=(*transfer.history[:-1], now))


QUIRKS: dict[str, Callable[[Scene, int], list[Row]]] = {
    "behind": _behind,
    "again": _again,
    "late": _late,
    "amended": _amended,
}
