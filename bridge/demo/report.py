"""The report of a demo: what was met, what became of it, what is left over, and the one last line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from bridge.demo.comparison import Comparison, Transfer
from bridge.demo.plan import CURRENCIES, written

STATES = ("confirmed", "reversed", "orphaned")
LEAST_FAULTED_IN_100 = 30
LEAST_KINDS = 10
MOST_ORPHANS_IN_100 = 3


@dataclass(frozen=True)
class Outcome:
    """Everything that a demo has found out. `met`: reference → cases; `kinds`: case → title, as planned."""

    transfers: list[Transfer]
    met: dict[str, set[int]]
    kinds: dict[int, str]
    compared: Comparison
    planned: int
    findings: list[str]
    trouble: list[str]

    @property
    def states(self) -> Counter[str]:
        """State → number of transfers."""
        return Counter(transfer.state for transfer in self.transfers)

    @property
    def faulted(self) -> int:
        """Transfers of which at least one request met a fault."""
        return sum(1 for transfer in self.transfers if self.met.get(transfer.reference))

    def of_kind(self, case: int) -> Counter[str]:
        """State → number of transfers that met this fault."""
        return Counter(transfer.state for transfer in self.transfers if case in self.met.get(transfer.reference, ()))


def kind_lines(outcome: Outcome) -> Iterator[str]:
    """How each kind of fault was resolved: by case number, how often it was met, and the end states."""
    yield f"{'case':4}  {'what the provider did':45}  {'met':>3}" + "".join(f"  {state:>9}" for state in STATES)
    for case, title in outcome.kinds.items():
        states = outcome.of_kind(case)
        ends = "".join(f"  {states[state]:>9}" for state in STATES)
        yield f"{case:>4}  {title:45}  {states.total():>3}{ends}"


def orphan_lines(outcome: Outcome) -> Iterator[str]:
    """Every orphan by its id, why it cannot be proved, and what it accounts for."""
    for transfer in outcome.transfers:
        if transfer.state == "orphaned":
            player, currency = transfer.holding
            share = written(outcome.compared.orphans.get(transfer.id, 0), currency)
            yield f"orphan {transfer.id}  {player}  {written(transfer.effect, currency)} {currency}  differs by {share}"
            yield f"       {transfer.reason}"


def currency_lines(outcome: Outcome) -> Iterator[str]:
    """Per currency the difference between the two books, and the sum of the orphans that account for it."""
    for currency in CURRENCIES:
        listed = [
            outcome.compared.orphans[transfer.id]
            for transfer in outcome.transfers
            if transfer.id in outcome.compared.orphans and transfer.holding[1] == currency
        ]
        totals = (outcome.compared.of_currency(currency), sum(listed))
        differs, explained = (written(units, currency) for units in totals)
        yield f"{currency}  our game accounts minus the provider's ledger: {differs}, of the orphans above: {explained}"


def failures(outcome: Outcome) -> Iterator[str]:
    """Why the demo has not shown what it should; none when it has."""
    yield from outcome.trouble
    yield from (f"unexplained: {sentence}" for sentence in outcome.compared.unexplained)
    yield from (f"verify: {sentence}" for sentence in outcome.findings)
    total = len(outcome.transfers)
    if total != outcome.planned:
        yield f"{outcome.planned} transfers were planned, {total} exist"
    pending = outcome.states["pending"]
    if pending:
        yield f"{pending} transfers are still pending"
    if outcome.faulted * 100 < LEAST_FAULTED_IN_100 * total:
        yield f"only {outcome.faulted} of {total} transfers met a fault"
    missed = [title for case, title in outcome.kinds.items() if not outcome.of_kind(case)]
    if missed:
        yield f"never met: {', '.join(missed)}"
    if len(outcome.kinds) - len(missed) < LEAST_KINDS:
        yield f"only {len(outcome.kinds) - len(missed)} kinds of fault were met"
    if outcome.states["orphaned"] * 100 > MOST_ORPHANS_IN_100 * total:
        yield f"{outcome.states['orphaned']} of {total} transfers are orphaned"


def last_line(outcome: Outcome) -> str:
    """The numbers, in one line that a script can read."""
    counts = {"transfers": len(outcome.transfers), "faulted": outcome.faulted}
    counts |= {state: outcome.states[state] for state in STATES}
    counts["unexplained"] = len(outcome.compared.unexplained)
    return " ".join(f"{name}={count}" for name, count in counts.items())
