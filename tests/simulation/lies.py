"""How a provider lies in one seed: some cases of its table, told apart by whether they break its own contract.

A lost, late, garbled or doubled answer, a refusal, a wrong amount in an answer: the bridge has to be right about all of
these. Where a provider executes one id twice, or says for ever that it does not know what it has done, nobody can be
right by what it says; such a transfer is *named*, and everything else still has to hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import Any

from bridge.simulator.faults.cases import TABLES

ALWAYS_BREAKS = {"qtech": frozenset({28}), "generic": frozenset({27, 28})}
HONEST_VARIANTS: dict[str, dict[int, tuple[str, ...]]] = {
    "qtech": {},
    "generic": {
        21: ("duplicate", "busy", "created"),
        26: ("late", "rate", "maintenance"),
        53: ("duplicate", "order", "delayed", "forged", "amount", "old", "unknown", "twice", "storm", "anew"),
    },
}
BREAKING_VARIANTS: dict[str, dict[int, tuple[str, ...]]] = {
    "qtech": {},
    "generic": {21: ("twice",), 26: ("retention", "unrecorded"), 53: ("opposite",)},
}
INSTEAD = {"opposite": "another"}
"""What a provider tells unasked in the place of that, in every other of such stories: in all the first, no cancel of
another execution would ever be told."""

LATE: dict[str, dict[int, int]] = {"qtech": {}, "generic": {15: 12, 25: 4}}
LATE_HOURS, LATE_SHARE = 14, 0.35
"""What is executed after a look-up has said "not found" may be executed after people have decided, too. Until then some
providers answer whoever asks with another transfer, which may have changed more often (25), so that nothing proves
absence and people have to decide."""

UNASKED, UNASKED_WEIGHT = {53}, 8
"""What is told unasked goes wrong in twelve ways; one case of many, each would hardly ever be seen."""

BROKEN_WEIGHT = 4
"""What a provider denies that it has done, and then tells of, is what leaves both sides with the money: people need it
to have something to decide about."""

DISHONEST = 0.35
"""How many providers may break their contract."""

NEVER = {"qtech": (12, 42), "generic": (22, 42, 44)}
"""Cases that no request of ours here can show: the balance list, an id that is used twice, strangers, the feed."""


UNDECIDED = {"qtech": {13: 1}, "generic": {13: 1, 25: 3}}
"""What a provider shows in twin stories: its answer is lost though it was done, or says that it is not decided yet, and
then it is. The end is the same, and comes by a look-up or a callback."""


@dataclass(frozen=True)
class Lies:
    """A share of transfers, the cases that they meet with their weights, what is open in each, and which of them break
    the provider's own contract."""

    rate: Decimal
    cases: dict[int, int]
    params: dict[int, dict[str, Any]]
    breaking: frozenset[int]

    def as_rate(self) -> tuple[Decimal, dict[int, int], dict[int, dict[str, Any]]]:
        """As `Choice.set_rate` takes it."""
        return self.rate, self.cases, self.params


def undecided(protocol: str) -> Lies:
    """As UNDECIDED has it, for every other transfer."""
    return Lies(Decimal("0.5"), UNDECIDED[protocol], {25: {"variant": "success"}}, frozenset())


def shown_cases(protocol: str) -> list[int]:
    """The cases of a provider's table that a story may show."""
    return [case.number for case in TABLES[protocol].faults if case.number not in NEVER[protocol]]


def lies_of(seed: int, protocol: str) -> Lies:
    """What a provider of this protocol lies about in one seed."""
    dice = Random(f"{seed}/lies/{protocol}")
    dishonest = dice.random() < DISHONEST
    allowed = [number for number in shown_cases(protocol) if dishonest or number not in ALWAYS_BREAKS[protocol]]
    late = LATE[protocol] if Random(f"{seed}/is late").random() < LATE_SHARE else {}
    chosen = sorted({*dice.sample(allowed, dice.randint(3, len(allowed))), *late})
    params: dict[int, dict[str, Any]] = {}
    breaking = set(ALWAYS_BREAKS[protocol]) & set(chosen)
    for number, honest in HONEST_VARIANTS[protocol].items():
        worse = dishonest and dice.random() < (0.8 if number in UNASKED else 0.5)
        variant = dice.choice(BREAKING_VARIANTS[protocol][number] if worse else honest)
        instead = variant in INSTEAD and Random(f"{seed}/another execution").random() < 0.5
        params[number] = {"variant": INSTEAD[variant] if instead else variant}
        if worse and number in chosen:
            breaking.add(number)
    rate = Decimal(dice.choice(("0.2", "0.4", "0.7")))
    weights = {number: UNASKED_WEIGHT if number in UNASKED else 1 for number in chosen}
    weights |= dict.fromkeys(breaking - UNASKED, BROKEN_WEIGHT)
    if late:
        params[15] = {"body": "another", "delay": LATE_HOURS * 3600.0}
        weights, breaking = weights | late, breaking | {15}
    return Lies(rate, weights, params, frozenset(breaking))
