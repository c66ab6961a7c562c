"""The plan of a demo: who moves what when, wins or loses in between, and which fault each transfer meets.

A function of the seed alone, so that the same demo can be seen again. The faults are announced to the
simulator's control port, one player at a time; the bridge knows nothing of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import cycle
from random import Random
from typing import Any

FAULTED_IN_100 = 40
ORPHANS_IN_100 = 2
"""Of 100 transfers so many meet a fault, and so many of those one that nobody can see through."""

CURRENCIES = {"EUR": (2, 100), "JPY": (0, 100), "BTC": (8, 1_000_000)}
"""Code → decimals, and the least amount of a transfer in minor units."""


@dataclass(frozen=True)
class Kind:
    """One way in which a provider lies: its case number, what happens, and what the simulator is told."""

    case: int
    title: str
    on: str
    params: Mapping[str, Any] = field(default_factory=dict)
    times: int = 1
    only: str = ""


KINDS = (
    Kind(1, "prepare executed, answer lost", "prepare", {"how": "reset"}),
    Kind(2, "prepare lost on the way", "prepare", {"how": "close"}),
    Kind(3, "complete executed, answer lost", "complete", {"how": "reset"}),
    Kind(4, "complete held until after the expiry", "complete"),
    Kind(5, "complete held to the instant of the expiry", "complete"),
    Kind(8, "token dies between prepare and complete", "complete", {"variant": "dead"}),
    Kind(9, "every complete refused with 503", "complete", times=3),
    Kind(13, "complete executed, then silence", "complete", {"how": "hang"}),
    Kind(14, "complete never executed, connection closed", "complete", {"how": "close"}),
    Kind(15, "complete executed late, look-ups say pending", "complete"),
    Kind(16, "complete executed, answered too late", "complete"),
    Kind(17, "complete executed, garbled answer", "complete", {"body": "truncated"}),
    Kind(18, "500, executed", "complete", {"status": 500, "commit": True}),
    Kind(20, "answer about an older transfer", "complete", {"variant": "older"}),
    Kind(26, "answer lost, then look-ups lie", "complete", {"variant": "late"}),
    Kind(28, "completed told first, moved later", "complete"),
    Kind(32, "a bet lands before the withdrawal", "prepare", only="out"),
    Kind(33, "withdrawal refused in game", "prepare", {"delay": 0.5}, only="out"),
    Kind(35, "credit at the provider exhausted", "prepare", only="in"),
    Kind(36, "maintenance", "complete", {"delay": 1}),
    Kind(39, "token refused once", "prepare", {"variant": "alive"}),
    Kind(40, "address not allowed", "prepare", {"variant": "drop"}),
    Kind(41, "too many requests", "prepare"),
)  # fmt: skip

UNPROVABLE = (
    Kind(26, "answer lost, then look-ups lie", "complete", {"variant": "retention"}),
    Kind(19, "success told with another amount", "complete", {"variant": "thousandfold"}),
)
"""No evidence can settle these: a person has to."""


@dataclass(frozen=True)
class Move:
    """One transfer of a player; before it, the player wins (+) or loses (−) `play` minor units at the provider."""

    number: int
    direction: str
    amount: int
    play: int
    fault: Kind | None = None


@dataclass(frozen=True)
class Gambler:
    """One player with one currency, and the moves in their order."""

    name: str
    currency: str
    moves: tuple[Move, ...]


def plan(seed: int, transfers: int, players: int) -> list[Gambler]:
    """Who does what; `transfers` in all, spread over `players`."""
    chance = Random(seed)  # noqa: S311 - a plan that can be made again; nothing here is secret
    lines = [[_move(chance, number, CURRENCIES[_currency(player)][1]) for number in range(player, transfers, players)]
             for player in range(players)]  # fmt: skip
    places = [(player, step) for player, line in enumerate(lines) for step in range(len(line))]
    chance.shuffle(places)
    waiting: set[int] = set()  # a player waits for an orphan's whole patience: one each, while there are enough
    for kind in _wanted(transfers):
        unprovable = kind in UNPROVABLE and len(waiting) < players
        player, step = place = next(
            (player, step)
            for player, step in places
            if _fits(kind, step, lines[player][step]) and not (unprovable and player in waiting)
        )
        places.remove(place)
        waiting |= {player} if unprovable else set()
        move = lines[player][step]
        # What is to be withdrawn is won just before, so that it is there and the fault has its stage.
        lines[player][step] = replace(move, fault=kind, play=move.amount if move.direction == "out" else move.play)
    return [Gambler(f"player-{player + 1:03}", _currency(player), tuple(line)) for player, line in enumerate(lines)]


def kinds_of(gamblers: list[Gambler]) -> dict[int, str]:
    """Case number → title of every fault that is planned."""
    planned = [move.fault for gambler in gamblers for move in gambler.moves if move.fault is not None]
    return {kind.case: kind.title for kind in sorted(planned, key=lambda kind: kind.case)}


def written(amount: int, currency: str) -> str:
    """Minor units as the decimal string that the interfaces take."""
    decimals = CURRENCIES[currency][0]
    sign, digits = ("-" if amount < 0 else ""), str(abs(amount)).rjust(decimals + 1, "0")
    return sign + (f"{digits[:-decimals]}.{digits[-decimals:]}" if decimals else digits)


def _wanted(transfers: int) -> Iterator[Kind]:
    """The faults of a demo: the few that nobody can see through, then every kind in turn."""
    orphans, faults = max(1, transfers * ORPHANS_IN_100 // 100), transfers * FAULTED_IN_100 // 100
    for _, kind in zip(range(orphans), cycle(UNPROVABLE), strict=False):
        yield kind
    for _, kind in zip(range(faults - orphans), cycle(KINDS), strict=False):
        yield kind


def _fits(kind: Kind, step: int, move: Move) -> bool:
    """An answer about an older transfer needs one; some faults are met in one direction only."""
    return kind.only in ("", move.direction) and (step >= 1 or kind.params.get("variant") != "older")


def _move(chance: Random, number: int, least: int) -> Move:
    direction = chance.choice(("in", "in", "out"))
    amount = least * chance.randint(1, 60) + chance.randint(0, least - 1)
    return Move(number, direction, amount, play=chance.choice((0, 1, -1)) * chance.randint(1, amount))


def _currency(player: int) -> str:
    return list(CURRENCIES)[player % len(CURRENCIES)]
