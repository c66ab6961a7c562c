"""What the providers truly did, by their own ledger lines, and what they lied about."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from tests.simulation.settings import CURRENCIES

SIGNS = {"completed": 1, "taken_back": -1}
SIDES = {"CREDIT": 1, "DEBIT": -1}
ENDS = ("completed", "cancelled")


class ProviderLedgers:
    """Every provider's ledger, line by line as it was written."""

    def __init__(self) -> None:
        self.lines: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.lies: dict[tuple[str, str], str] = {}
        self._nets: Counter[tuple[str, str]] = Counter()
        self._undone: set[tuple[str, str]] = set()
        self._owned: Counter[tuple[str, str, str]] = Counter()
        self._results: Counter[tuple[str, str, str]] = Counter()
        self._reserved: dict[tuple[str, str, str], dict[str, int]] = defaultdict(dict)
        self._held: dict[tuple[str, str, str], list[tuple[int, set[int]]]] = defaultdict(list)

    def wrote(self, provider: str, line: dict[str, Any], now: int) -> None:
        """One more line, at an instant of the world."""
        self.lines[provider].append(line)
        if "amount" not in line:
            return
        units = minor(line["amount"], line["currency"])
        lane = provider, line["player"], line["currency"]
        if line["kind"] == "result":
            self._owned[lane] += units
            self._results[lane] += units
        elif line["kind"] in SIGNS:
            moved = units * SIGNS[line["kind"]] * SIDES[line["type"]]
            self._owned[lane] += moved
            self._nets[provider, line["reference"]] += moved
            if line["kind"] == "taken_back":
                self._undone.add((provider, line["reference"]))
        reserved = self._reserved[lane]
        if line["kind"] == "prepared" and line["type"] == "DEBIT":
            reserved[line["id"]] = units
        elif line["kind"] in ENDS:
            reserved.pop(line["id"], None)
        self._held[lane].append((now, {self._owned[lane] - less for less in _sums(reserved.values())}))

    def lied(self, provider: str, reference: str, how: str) -> None:
        """The provider broke its own contract about a transfer: what is believed of it is not ours to answer for."""
        self.lies.setdefault((provider, reference), how)

    def net(self, row: Mapping[str, Any]) -> int:
        """What a transfer has done to the player's balance at its provider, in minor units."""
        return sum(self._nets[row["provider"], reference] for reference in references(row))

    def is_lied_about(self, row: Mapping[str, Any]) -> bool:
        """Whether the provider broke its contract about a transfer, or took back what it had confirmed and was not
        heard of yet."""
        return self.lied_about(row) > 0

    def lied_about(self, row: Mapping[str, Any]) -> int:
        """How far, in minor units, the truth may be from what is believed of a transfer, under names about which that
        is so: a sweep that is tried again asks for less than the try that was lied about. Twice what was asked for; all
        that was moved under a name where the provider has executed it more often than that."""
        legs = [leg for leg in row["legs"] if leg["holder"] == row["provider"]]
        names = {(row["provider"], leg["reference"]): leg["amount"] for leg in legs}
        false = [name for name in names if name in self.lies or name in self._undone]
        return sum(max(2 * names[name], abs(self._nets[name])) for name in false)

    def is_undone(self, row: Mapping[str, Any]) -> bool:
        """Whether the provider took back what it had confirmed."""
        return any((row["provider"], reference) in self._undone for reference in references(row))

    def held_since(self, lane: tuple[str, str, str], since: int) -> set[int]:
        """All that a player may have been told to have there from an instant on, in minor units: what is reserved is
        not there, until it expires, of which no line tells."""
        held = self._held[lane]
        before = [units for at, units in held if at < since][-1:]
        return set[int]().union(*(before or [{0}]), *(units for at, units in held if at >= since))

    def moved_by_transfers(self, provider: str, player: str, currency: str) -> int:
        """What a player owns there by transfers alone, in minor units."""
        lane = provider, player, currency
        return self._owned[lane] - self._results[lane]


def _sums(units: Iterable[int]) -> set[int]:
    """What any of them come to together, also none."""
    found = {0}
    for each in units:
        found |= {each + other for other in found}
    return found


def references(row: Mapping[str, Any]) -> list[str]:
    """Every name under which a transfer is known to its provider."""
    return [leg["reference"] for leg in row["legs"] if leg["holder"] == row["provider"]]


def minor(amount: str, currency: str) -> int:
    """A ledger file's amount in minor units, exactly."""
    exact = Decimal(amount).scaleb(CURRENCIES[currency])
    assert exact == int(exact), amount
    return int(exact)
