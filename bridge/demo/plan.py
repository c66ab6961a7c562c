"""The plan of a demo: who moves what when through which provider, wins or loses in between, which fault each transfer
meets, and who is called home at the end.

A function of the seed alone, so that the same demo can be seen again. The faults are announced to the
simulators' control ports, one player at a time; the bridge knows nothing of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import cycle
from random import Random

from bridge.demo.kinds import KINDS, UNPROVABLE, Kind
from bridge.up import SIMULATED

FAULTED_IN_100 = 40
ORPHANS_IN_100 = 2
"""Of 100 transfers so many meet a fault, and so many of those one that nobody can see through."""

MAX_IN_100 = 25
"""Of 100 withdrawals so many take all that is there."""

PLAYERS_PER_RECALL = 8
"""One player of so many is called home in the end."""

CURRENCIES = {"EUR": (2, 100), "JPY": (0, 100), "BTC": (8, 1_000_000)}
"""Code → decimals, and the least amount of a transfer in minor units."""

PROVIDERS = tuple(each.name for each in SIMULATED)


@dataclass(frozen=True)
class Move:
    """One transfer of a player; before it, the player wins (+) or loses (−) `play` minor units at the provider.

    `everything`: what is asked for is "max", and `amount` only what is won before.
    """

    number: int
    provider: str
    direction: str
    amount: int
    play: int
    everything: bool = False
    fault: Kind | None = None


@dataclass(frozen=True)
class Gambler:
    """One player with one currency, and the moves in their order; `recalled`: called home after them."""

    name: str
    currency: str
    moves: tuple[Move, ...]
    recalled: bool = False


Lines = list[list[Move]]
Place = tuple[int, int]
"""(player, step)"""


def plan(seed: int, transfers: int, players: int) -> list[Gambler]:
    """Who does what; `transfers` in all, spread over `players`, every other one of a player's through the same
    provider."""
    chance = Random(seed)  # noqa: S311 - a plan that can be made again; nothing here is secret
    lines = [[_move(chance, number, player, step) for step, number in enumerate(range(player, transfers, players))]
             for player in range(players)]  # fmt: skip
    places = [(player, step) for player, line in enumerate(lines) for step in range(len(line))]
    chance.shuffle(places)
    orphans, faults = max(1, transfers * ORPHANS_IN_100 // 100), transfers * FAULTED_IN_100 // 100
    _strike_unprovable(lines, places, orphans)
    for provider, share in zip(PROVIDERS, _shares(faults - orphans), strict=True):
        _strike(lines, [place for place in places if lines[place[0]][place[1]].provider == provider], share)
    home = set(chance.sample(range(players), max(1, players // PLAYERS_PER_RECALL)))
    return [
        Gambler(f"player-{player + 1:03}", _currency(player), tuple(line), player in home)
        for player, line in enumerate(lines)
    ]


def planned_faults(gamblers: list[Gambler]) -> dict[int, tuple[str, Kind]]:
    """Number of the transfer → provider and planned fault, those of one kind one after the other."""
    struck = [
        (move.provider, move.fault.case, move.fault.title, move.number, move.fault)
        for gambler in gamblers
        for move in gambler.moves
        if move.fault is not None
    ]
    order = sorted(struck, key=lambda each: (PROVIDERS.index(each[0]), *each[1:4]))
    return {number: (provider, kind) for provider, _, _, number, kind in order}


def written(amount: int, currency: str) -> str:
    """Minor units as the decimal string that the interfaces take."""
    decimals = CURRENCIES[currency][0]
    sign, digits = ("-" if amount < 0 else ""), str(abs(amount)).rjust(decimals + 1, "0")
    return sign + (f"{digits[:-decimals]}.{digits[-decimals:]}" if decimals else digits)


def _strike_unprovable(lines: Lines, places: list[Place], orphans: int) -> None:
    """The few that nobody can see through, each kind in turn, and of each provider. A player waits for the patience
    of such a transfer: one each, while there are enough players."""
    waiting: set[int] = set()
    for _, (provider, kind) in zip(range(orphans), _unprovable(), strict=False):
        fitting = [
            (player, step)
            for player, step in places
            if lines[player][step].provider == provider and _fits(kind, lines[player][step])
        ]
        player, step = place = next((each for each in fitting if each[0] not in waiting), fitting[0])
        places.remove(place)
        waiting.add(player)
        lines[player][step] = _struck(lines[player][step], kind)


def _unprovable() -> Iterator[tuple[str, Kind]]:
    kinds = {provider: cycle(UNPROVABLE[provider]) for provider in PROVIDERS}
    for provider in cycle(reversed(PROVIDERS)):
        yield provider, next(kinds[provider])


def _strike(lines: Lines, places: list[Place], faults: int) -> None:
    """Every kind of one provider in turn, until there are enough; one that fits nowhere any more is left out."""
    kinds = cycle(KINDS[lines[places[0][0]][places[0][1]].provider]) if places else iter(())
    while places and faults:
        kind = next(kinds)
        taken = next(filter(None, (_taken(lines, places, place, kind) for place in places)), ())
        if taken:
            player, step = taken[0]
            lines[player][step] = _struck(lines[player][step], kind)
            places = [place for place in places if place not in taken]
            faults -= 1


def _taken(lines: Lines, places: list[Place], place: Place, kind: Kind) -> tuple[Place, ...]:
    """The place, if the kind fits there. An answer about an older transfer needs one of the player at the same
    provider: a transfer in, which goes on without a fault, so that nobody refuses it."""
    player, step = place
    if not _fits(kind, lines[player][step]):
        return ()
    if not kind.older:
        return (place,)
    before = ((player, each) for each in range(step - len(PROVIDERS), -1, -len(PROVIDERS)))
    older = [each for each in before if each in places and lines[player][each[1]].direction == "in"]
    return (place, older[0]) if older else ()


def _fits(kind: Kind, move: Move) -> bool:
    """Some faults are met in one direction only."""
    return {"": move.direction, "max": "out"}.get(kind.only, kind.only) == move.direction


def _struck(move: Move, kind: Kind) -> Move:
    """What is to be withdrawn is won just before, so that it is there and the fault has its stage."""
    everything = {"": move.everything, "max": True}.get(kind.only, False)
    play = move.amount if move.direction == "out" else move.play
    return replace(move, fault=kind, everything=everything, play=play)


def _shares(number: int) -> list[int]:
    """A number in parts that are as equal as can be, one a provider; the last one has an unprovable one more."""
    return [(number + place) // len(PROVIDERS) for place in reversed(range(len(PROVIDERS)))]


def _move(chance: Random, number: int, player: int, step: int) -> Move:
    least = CURRENCIES[_currency(player)][1]
    direction = chance.choice(("in", "in", "out"))
    amount = least * chance.randint(1, 60) + chance.randint(0, least - 1)
    play = chance.choice((0, 1, -1)) * chance.randint(1, amount)
    everything = chance.randint(1, 100) <= MAX_IN_100 and direction == "out"
    # A "max" that finds nothing is no transfer: something is won before.
    provider = PROVIDERS[(player + step) % len(PROVIDERS)]
    return Move(number, provider, direction, amount, amount if everything else play, everything)


def _currency(player: int) -> str:
    return list(CURRENCIES)[player % len(CURRENCIES)]
