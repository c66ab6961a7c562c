"""The report of a demo: what was met, what became of it, what is left over, and the one last line."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from bridge.demo.comparison import Comparison, Holding, Transfer
from bridge.demo.kinds import Kind
from bridge.demo.plan import CURRENCIES, Gambler, planned_faults, written
from bridge.up import SIMULATED

STATES = ("confirmed", "reversed", "orphaned")
LEAST_FAULTED_IN_100 = 30
LEAST_KINDS = 10
MOST_ORPHANS_IN_100 = 3


@dataclass(frozen=True)
class Outcome:
    """Everything that a demo has found out.

    `met`: reference → cases. `sweeps`: transfer → state, as the recalls told; `home`: whose recall left nothing to
    be moved; `owned`: what the providers' own ledgers say that players have there.
    """

    gamblers: list[Gambler]
    transfers: list[Transfer]
    met: Mapping[str, set[int]]
    compared: Comparison
    sweeps: Mapping[str, str]
    home: list[str]
    owned: Mapping[Holding, int]
    findings: list[str]
    trouble: list[str]

    @cached_property
    def planned(self) -> dict[str, Holding]:
        """Key → provider, player and currency of every transfer that was planned."""
        return {
            f"move-{move.number}": (move.provider, each.name, each.currency)
            for each in self.gamblers
            for move in each.moves
        }

    @cached_property
    def moves(self) -> list[Transfer]:
        """The transfers of the plan, without the sweeps of recalls."""
        return [transfer for transfer in self.transfers if transfer.key in self.planned]

    @cached_property
    def kinds(self) -> dict[tuple[str, Kind], list[Transfer]]:
        """Provider and planned fault → the transfers that it was planned for and that met it."""
        transfers = {transfer.key: transfer for transfer in self.moves}
        found: dict[tuple[str, Kind], list[Transfer]] = {}
        for number, (provider, kind) in planned_faults(self.gamblers).items():
            members = found.setdefault((provider, kind), [])
            transfer = transfers.get(f"move-{number}")
            if transfer is not None and kind.case in self.cases(transfer):
                members.append(transfer)
        return found

    def cases(self, transfer: Transfer) -> set[int]:
        """The numbers of the faults that a transfer met, in whichever try."""
        return {case for reference in transfer.references for case in self.met.get(reference, ())}

    def at(self, provider: str) -> list[Transfer]:
        """The planned transfers through one provider."""
        return [transfer for transfer in self.moves if transfer.holding[0] == provider]

    def faulted(self, transfers: list[Transfer]) -> int:
        """How many of them met a fault, in a request or in a callback."""
        return sum(1 for transfer in transfers if self.cases(transfer))

    @property
    def states(self) -> Counter[str]:
        """State → number of planned transfers."""
        return Counter(transfer.state for transfer in self.moves)


def kind_lines(outcome: Outcome) -> Iterator[str]:
    """How each kind of fault was resolved, provider by provider: how often it was met, and the end states."""
    for each in SIMULATED:
        through = outcome.at(each.name)
        yield ""
        yield (
            f"provider {each.name}, {each.words}: {len(through)} transfers, "
            f"{outcome.faulted(through)} of them met a fault"
        )
        yield f"{'case':4}  {'what the provider did':46}  {'met':>3}" + "".join(f"  {state:>9}" for state in STATES)
        for (provider, kind), transfers in outcome.kinds.items():
            if provider == each.name:
                states = Counter(transfer.state for transfer in transfers)
                ends = "".join(f"  {states[state]:>9}" for state in STATES)
                yield f"{kind.case:>4}  {kind.title:46}  {len(transfers):>3}{ends}"
    yield ""


def sweep_lines(outcome: Outcome) -> Iterator[str]:
    """The withdrawals of "max", and the players who were called home beside the plan."""
    everything = {f"move-{move.number}" for each in outcome.gamblers for move in each.moves if move.everything}
    swept = [transfer for transfer in outcome.moves if transfer.key in everything]
    again = sum(1 for transfer in swept if len(transfer.references) > 1)
    yield f'max     {len(swept)} of the transfers took "max" out of a game, {again} of them in more than one try'
    states = Counter(outcome.sweeps.values())
    ends = ", ".join(f"{states[state]} {state}" for state in STATES if states[state]) or "none"
    called = sum(each.recalled for each in outcome.gamblers)
    left = "something of theirs is left" if any(_not_home(outcome)) else "nothing of theirs is left there"
    yield (
        f"recall  beside the {len(outcome.planned)} transfers; players called home from both providers: {called}, "
        f"by {len(outcome.sweeps)} sweeps ({ends}); {left}"
    )


def orphan_lines(outcome: Outcome) -> Iterator[str]:
    """Every orphan by its id, why it cannot be proved, and what it accounts for."""
    orphans = [transfer for transfer in outcome.transfers if transfer.state == "orphaned"]
    if orphans:
        yield "nobody can prove these, people decide; by so much each sets our game account apart from that ledger:"
    for transfer in orphans:
        provider, player, currency = transfer.holding
        share = written(outcome.compared.orphans.get(transfer.id, 0), currency)
        amount = f"{written(transfer.effect, currency)} {currency}"
        yield f"orphan {transfer.id}  {player} at {provider}  {amount}  differs by {share}"
        yield f"       {transfer.reason}"


def currency_lines(outcome: Outcome) -> Iterator[str]:
    """Per provider and currency the difference between the two books, and the sum of the orphans that account for
    it."""
    listed: defaultdict[tuple[str, str], int] = defaultdict(int)
    for transfer in outcome.transfers:
        provider, _, currency = transfer.holding
        listed[provider, currency] += outcome.compared.orphans.get(transfer.id, 0)
    for each in SIMULATED:
        for currency in CURRENCIES:
            totals = (outcome.compared.of(each.name, currency), listed[each.name, currency])
            differs, explained = (written(units, currency) for units in totals)
            books = f"{currency}  our game accounts at {each.name} minus its ledger"
            yield f"{books:55} {differs:>14}, of the orphans above {explained:>14}"


def failures(outcome: Outcome) -> Iterator[str]:
    """Why the demo has not shown what it should; none when it has."""
    yield from outcome.trouble
    yield from (f"unexplained: {sentence}" for sentence in outcome.compared.unexplained)
    yield from (f"verify: {sentence}" for sentence in outcome.findings)
    yield from _other_than_planned(outcome)
    yield from _not_home(outcome)
    pending = sum(transfer.state == "pending" for transfer in outcome.transfers)
    if pending:
        yield f"{pending} transfers are still pending"
    for each in SIMULATED:
        through = outcome.at(each.name)
        if not through or outcome.faulted(through) * 100 < LEAST_FAULTED_IN_100 * len(through):
            yield f"only {outcome.faulted(through)} of {len(through)} transfers through {each.name} met a fault"
    missed = [f"{kind.title} ({provider})" for (provider, kind), transfers in outcome.kinds.items() if not transfers]
    if missed:
        yield f"never met: {', '.join(missed)}"
    if len(outcome.kinds) - len(missed) < LEAST_KINDS:
        yield f"only {len(outcome.kinds) - len(missed)} kinds of fault were met"
    if outcome.states["orphaned"] * 100 > MOST_ORPHANS_IN_100 * len(outcome.moves):
        yield f"{outcome.states['orphaned']} of {len(outcome.moves)} transfers are orphaned"


def _other_than_planned(outcome: Outcome) -> Iterator[str]:
    """Every planned transfer is there, once, and beside them nothing but the sweeps that the recalls told."""
    there = {transfer.key: transfer.holding for transfer in outcome.moves}
    wrong = [key for key, holding in outcome.planned.items() if there.get(key) != holding]
    if wrong or len(outcome.moves) != len(outcome.planned):
        yield f"{len(outcome.planned)} transfers were planned, {len(outcome.moves)} exist; not as planned: {wrong}"
    beside = {transfer.id: transfer.state for transfer in outcome.transfers if transfer.key not in outcome.planned}
    if beside != outcome.sweeps:
        differ = sorted(each for each, _ in beside.items() ^ outcome.sweeps.items())
        yield f"the recalls told {len(outcome.sweeps)} sweeps, {len(beside)} exist; different: {', '.join(differ)}"


def _not_home(outcome: Outcome) -> Iterator[str]:
    recalled = {each.name for each in outcome.gamblers if each.recalled}
    yield from (f"the recall of {player} did not end" for player in sorted(recalled - set(outcome.home)))
    for (provider, player, currency), units in outcome.owned.items():
        if player in recalled and units:
            yield f"{player} was called home and still has {written(units, currency)} {currency} at {provider}"


def last_line(outcome: Outcome) -> str:
    """The numbers of the plan, in one line that a script can read."""
    counts = {"transfers": len(outcome.moves), "faulted": outcome.faulted(outcome.moves)}
    counts |= {state: outcome.states[state] for state in STATES}
    counts["unexplained"] = len(outcome.compared.unexplained)
    return " ".join(f"{name}={count}" for name, count in counts.items())
